"""What a measurement says, and how several of them are summed up."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """One row of the table."""

    what: str
    to_reach: str
    measured: str
    how: str
    """What was done, with the absolute figures behind a ratio."""


def median(values: Sequence[float]) -> float:
    """The middle one: a neighbour's burst on the same machine does not move it."""
    return statistics.median(values)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """The median, and between which values it lies."""
    if len(values) == 1:
        return f"{values[0]:,.{digits}f}"
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def rate(count: float, seconds: Sequence[float]) -> str:
    """Events a second."""
    return f"{count / median(seconds):,.0f}/s"


def percentile(values: Sequence[float], part: float) -> float:
    """The value that `part` of them (0 to 1) do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
