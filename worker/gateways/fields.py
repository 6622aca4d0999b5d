"""Form fields of a raw callback, and the payment that it claims to be about."""

from collections import Counter
from collections.abc import Sequence
from urllib.parse import parse_qsl

MAX_FIELDS = 300
"""Lyra sends about 60, the most of all; parsing stays under a millisecond whatever a stranger posts."""
MAX_REFERENCE_CHARS = 100
"""As long as a payment's gateway reference may be; a longer one belongs to nobody."""


def pairs_of(query: str, body: bytes) -> list[tuple[str, str]]:
    """The fields of the body if it has any, else of the query; none if they cannot be read."""
    return _pairs(body) or _pairs(query.encode("utf-8", "replace"))


def raw_of(query: str, body: bytes) -> bytes:
    """The bytes that `pairs_of` reads, as they came: what some gateways sign."""
    return body if _pairs(body) else query.encode("utf-8", "replace")


def first_values(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Each field's first value; whoever reads them looks for repeated ones apart."""
    return dict(reversed(pairs))


def repeated_names(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Names that occur more than once: a gateway writes each of its fields once."""
    return [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    text = raw.decode("utf-8", "replace")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return []
    return pairs if "=" in text else []  # bare words are no fields


def first_of(pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> str | None:
    """What the first of these names that is present says first, if a payment may be called so."""
    fields = first_values(pairs)
    return next((usable_reference(fields[name]) for name in names if name in fields), None)


def usable_reference(text: str) -> str | None:
    """The text, if a payment may have it as its gateway reference."""
    fits = 0 < len(text) <= MAX_REFERENCE_CHARS and text.isprintable()
    return text if fits else None
