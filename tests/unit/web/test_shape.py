"""The walk that finds every fault agrees with msgspec, which stops at the first."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from schemas.events import InvoiceIssued
from schemas.replays import ReplayAsked
from worker.web.cloudevents import SHAPES, Attributes
from worker.web.shape import faults, fields_of

_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(
        ["enfance", "F-1", "GET", "cash", "2026-11-23", "2026-11-23T09:00:00Z", "https://x.fr/a", 1, 4250]
    )
)
_values = st.recursive(_leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


def _objects(shape: type[Struct]) -> st.SearchStrategy[Any]:
    """Objects that come close to the shape: its own names, lines that come close to lines."""
    lines = st.lists(
        st.fixed_dictionaries(
            {"number": _leaves, "amount_cents": _leaves}, optional={"account": _leaves, "x": _leaves}
        ),
        max_size=3,
    )
    names = dict.fromkeys(fields_of(shape), _values | lines)
    return st.fixed_dictionaries({}, optional=names | {"x/~": _values})


@pytest.mark.parametrize("shape", [Attributes, *SHAPES.values()], ids=lambda shape: shape.__name__)
@given(data=st.data())
def test_faults_are_found_when_and_only_when_msgspec_refuses(shape: type[Struct], data: st.DataObject) -> None:
    """Random objects of nearly the right shape: no fault is missed, none is invented."""
    value = data.draw(_objects(shape) | _values)
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError:
        assert faults(value, shape, "/data")
    else:
        assert faults(value, shape, "/data") == []


CENTS = "must be a whole number of cents, such as 9000 for 90.00 EUR"
TIME = 'must be a time with its offset (RFC 3339), such as "2026-11-02T08:30:00Z" or "2026-11-02T09:30:00+01:00"'
DAY = 'must be a date, such as "2026-11-02"'


@pytest.mark.parametrize(
    ("shape", "wrong", "said"),
    [
        (InvoiceIssued, {"amount_cents": "9000"}, f"{CENTS}, not text"),
        (InvoiceIssued, {"amount_cents": 90.5}, f"{CENTS}, not a decimal number"),
        (InvoiceIssued, {"amount_cents": -1}, f"{CENTS}, from 0 to 99999999999"),
        (Attributes, {"time": "yesterday"}, TIME),
        (Attributes, {"time": "2026-11-02T08:30:00"}, TIME),
        (Attributes, {"time": 1795600000}, f"{TIME}, not a whole number"),
        (InvoiceIssued, {"issued_on": "02/11/2026"}, DAY),
        (InvoiceIssued, {"issued_on": 20261102}, f"{DAY}, not a whole number"),
        (InvoiceIssued, {"number": "a\nb"}, "must have no line break or other control character"),
        (InvoiceIssued, {"regie": "Enfance"}, "must be the code of a régie, 1 to 40 of a-z, 0-9 and -"),
        (ReplayAsked, {"comment": " "}, "must say something, without NUL characters"),
    ],
)
def test_a_fault_says_what_is_wanted_and_gives_an_example(
    shape: type[Struct], wrong: dict[str, Any], said: str
) -> None:
    """In words of whoever sends it: no library's, no pattern to read."""
    (name,) = wrong
    (fault,) = (each for each in faults(wrong, shape) if each.code != "missing")
    assert (fault.pointer, fault.detail) == (f"/{name}", said)


def test_a_fault_of_a_choice_names_what_there_is() -> None:
    """Every value that would do."""
    (fault,) = faults({"filter": {"outcome": "lost"}}, ReplayAsked)
    assert fault.detail == "must be one of applied, refused, ignored"
