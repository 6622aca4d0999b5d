"""Amounts as gateways write them, in whole cents: never through a float, and nothing that is not exact."""

import re

from schemas.events import MAX_CENTS

_CENTS = re.compile(r"[0-9]{1,12}")
_EUROS = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,2}))?")


def cents_of_cents(text: str) -> int | None:
    """Cents written as cents, such as `4250`; None for anything else, or more than a payment may be."""
    return _possible(int(text)) if _CENTS.fullmatch(text) else None


def cents_of_euros(text: str) -> int | None:
    """Cents written as euros, such as `42.5` or `42.50`; None for anything that is not exactly whole cents."""
    written = _EUROS.fullmatch(text)
    if written is None:
        return None
    euros, rest = written.groups(default="")
    return _possible(int(euros) * 100 + int(rest.ljust(2, "0")))


def _possible(cents: int) -> int | None:
    return cents if cents <= MAX_CENTS else None
