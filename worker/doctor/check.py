"""One finding about an installation."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How bad it is. Only `failed` makes an installation a broken one."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was looked at, what was found, and how to mend it; `mend` is empty when nothing is to be done.

    `name` is stable, for programs; `what` and `mend` are for people.
    """

    name: str
    status: Status
    what: str
    mend: str = ""


def ok(name: str, what: str) -> Check:
    """Nothing to be done."""
    return Check(name=name, status=Status.OK, what=what)


def warning(name: str, what: str, mend: str) -> Check:
    """It works, and somebody should know."""
    return Check(name=name, status=Status.WARNING, what=what, mend=mend)


def failed(name: str, what: str, mend: str) -> Check:
    """It does not work, or money may be wrong because of it."""
    return Check(name=name, status=Status.FAILED, what=what, mend=mend)
