"""What is hashed, by hand: anybody with the rows and SHA-256 must come to the same."""

import string
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain import seal

FIELDS = st.lists(st.none() | st.text() | st.integers() | st.binary())


def test_a_digest_is_of_fields_that_say_their_length() -> None:
    """The domain first; text as UTF-8, numbers in decimal, bytes as they are, nothing as a length of its own."""
    spelt = (
        b"\x00\x00\x00\x01d",
        b"\x00\x00\x00\x03\xc3\xa9a",
        b"\x00\x00\x00\x03-17",
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
    )
    assert seal.digest("d", ["éa", -17, b"", None]) == sha256(b"".join(spelt)).digest()


@given(FIELDS, FIELDS)
def test_other_fields_have_another_digest(one: list[seal.Field], other: list[seal.Field]) -> None:
    """Wherever one field ends and the next begins; a number and its decimal text are the same field."""
    same = [*map(_bytes, one)] == [*map(_bytes, other)]
    assert (seal.digest("d", one) == seal.digest("d", other)) == same


def _bytes(field: seal.Field) -> bytes | None:
    return field if field is None or isinstance(field, bytes) else str(field).encode()


def test_an_event_is_never_taken_for_an_application() -> None:
    """The same fields in another domain have another digest."""
    assert len({seal.event_digest([1]), seal.digest(seal.APPLICATION, [1]), seal.digest(seal.SEAL, [1])}) == 3


def test_changes_of_state_count() -> None:
    """Two entries are not one entry with as many fields, nor fields of the outcome."""
    outcome: list[seal.Field] = [1, "applied"]
    journals: list[list[list[seal.Field]]] = [[], [["a", "b"]], [["a"], ["b"]]]
    told = {seal.application_digest(outcome, journal) for journal in journals}
    assert len(told | {seal.application_digest([*outcome, 0], [])}) == 4


@pytest.mark.parametrize(
    "other",
    [
        ("sport", 2, 1_700_000_000_000_000, 17, (b"p" * 32, b"e" * 32, b"a" * 32)),
        ("enfance", 3, 1_700_000_000_000_000, 17, (b"p" * 32, b"e" * 32, b"a" * 32)),
        ("enfance", 2, 1_700_000_000_000_001, 17, (b"p" * 32, b"e" * 32, b"a" * 32)),
        ("enfance", 2, 1_700_000_000_000_000, 18, (b"p" * 32, b"e" * 32, b"a" * 32)),
        ("enfance", 2, 1_700_000_000_000_000, 17, (seal.BEGINNING, b"e" * 32, b"a" * 32)),
        ("enfance", 2, 1_700_000_000_000_000, 17, (b"p" * 32, b"e" * 31 + b"f", b"a" * 32)),
        ("enfance", 2, 1_700_000_000_000_000, 17, (b"p" * 32, b"e" * 32, b"a" * 31 + b"b")),
    ],
)
def test_a_seal_covers_everything_that_it_says(other: tuple[str, int, int, int, tuple[bytes, bytes, bytes]]) -> None:
    """Régie, number, time, last in the order, the seal before, events, applications: another one, another hash."""
    digests = b"p" * 32, b"e" * 32, b"a" * 32
    said = seal.seal_hash("enfance", 2, 1_700_000_000_000_000, 17, digests)
    assert said == seal.digest("lettrage.seal.v1", ["enfance", 2, 1_700_000_000_000_000, 17, *digests])
    assert seal.seal_hash(*other) != said


def test_digests_are_parted_as_they_were_joined() -> None:
    """Thirty-two bytes each."""
    digests = [sha256(letter.encode()).digest() for letter in string.ascii_letters]
    assert seal.split(b"".join(digests)) == digests
