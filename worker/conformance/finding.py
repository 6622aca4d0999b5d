"""One finding about a portal."""

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """What was found. Only a `fault` makes a portal one that does not conform."""

    OK = "ok"
    FAULT = "fault"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was tried, what the portal made of it, and what to do about it; `mend` is empty when that is nothing.

    `name` is stable, for programs; `what` and `mend` are for people.
    """

    name: str
    result: Result
    what: str
    mend: str = ""


def ok(name: str, what: str) -> Finding:
    """The portal did what it should."""
    return Finding(name=name, result=Result.OK, what=what)


def fault(name: str, what: str, mend: str) -> Finding:
    """It did not."""
    return Finding(name=name, result=Result.FAULT, what=what, mend=mend)


def unchecked(name: str, what: str, mend: str) -> Finding:
    """Nobody knows; `mend` says how to find out."""
    return Finding(name=name, result=Result.UNCHECKED, what=what, mend=mend)
