"""Turns facts about payments and invoices into states: the domain, its store, and the processes around them."""
