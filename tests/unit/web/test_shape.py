"""The walk that finds every fault agrees with msgspec, which stops at the first."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

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
