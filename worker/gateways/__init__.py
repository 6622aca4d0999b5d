"""Gateways: what a callback claims, what it proves, what its sender wants to read."""
