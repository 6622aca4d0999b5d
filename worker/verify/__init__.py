"""Proof that the books are right: the seals hold, and the facts, decided again, give what the tables say."""
