"""What is hashed to seal the journal, and how: SHA-256 over fields that say their own length. docs/journal.md shows it.

A field is text (UTF-8), a whole number (decimal), bytes, or nothing. Times are whole microseconds since 1970, UTC.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

Field = str | int | bytes | None

SIZE: Final = 32
"""Bytes of a digest."""
BEGINNING: Final = bytes(SIZE)
"""What the first seal of a chain names as the one before."""
NOTHING: Final = b"\xff\xff\xff\xff"
"""In the place of a length: there is no value, which is not the same as an empty one."""

EVENT: Final = "lettrage.event.v1"
EVENT_WITH_FACTS: Final = "lettrage.event.v2"
APPLICATION: Final = "lettrage.application.v1"
SEAL: Final = "lettrage.seal.v1"


def digest(domain: str, fields: Iterable[Field]) -> bytes:
    """Hash fields in their order; what is hashed in one domain can't be taken for another's."""
    return sha256(b"".join([_spelt(domain), *map(_spelt, fields)])).digest()


def event_digest(fields: Iterable[Field]) -> bytes:
    """Digest one event as it came: place, régie, key, type, times, digests of data and raw bytes, trace."""
    return digest(EVENT, fields)


def event_digest_with_facts(fields: Iterable[Field], facts: bytes) -> bytes:
    """The same for an event in which something is personal: `facts` proves the rest of it once that is gone."""
    return digest(EVENT_WITH_FACTS, [*fields, facts])


def application_digest(outcome: Iterable[Field], journal: Sequence[Iterable[Field]]) -> bytes:
    """Digest what became of one event: its outcome, and the changes of state that it caused, oldest first."""
    return digest(APPLICATION, [*outcome, len(journal), *(field for entry in journal for field in entry)])


def seal_hash(regie: str, number: int, sealed_at: int, last_seq: int, digests: tuple[bytes, bytes, bytes]) -> bytes:
    """Hash one seal. `digests`: the seal's before it, and those of its events and of their applications, joined."""
    return digest(SEAL, [regie, number, sealed_at, last_seq, *digests])


def split(digests: bytes) -> list[bytes]:
    """Part what was joined."""
    return [digests[start : start + SIZE] for start in range(0, len(digests), SIZE)]


def _spelt(field: Field) -> bytes:
    match field:
        case None:
            return NOTHING
        case str():
            value = field.encode()
        case int():
            value = b"%d" % field
        case _:
            value = field
    return len(value).to_bytes(4) + value
