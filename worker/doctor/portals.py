"""Checks of what portals are told: which take nothing, and what waits for one that is not configured."""

from collections.abc import Iterable, Iterator
from typing import Final

from worker.doctor.check import Check, failed, ok, warning
from worker.doctor.database import Row
from worker.portals.port import target_of
from worker.settings import Portal, Settings

NAME: Final = "notifications"
LATE_SECONDS: Final = 60.0
"""Longer than any portal is left alone after failing: what waits so long untried is nobody's."""
RUNBOOKS: Final = "monitoring/runbooks"


def portals(rows: Iterable[Row], settings: Settings) -> Iterator[Check]:
    """Whether each portal takes what it is told; `rows` are the régies of which something is not delivered."""
    waiting = 0
    found: list[Check] = []
    for row in rows:
        regie = settings.regies.get(row["regie"])
        waiting += row["waiting"]
        found += _given_up(row)
        if regie is None:
            found += _departed(row, "is not configured here")
        elif regie.portal is None:
            found += _departed(row, "has no [regie.portal] here")
        else:
            found += _portal(row, regie.portal)
    yield from found or [ok(NAME, f"{waiting} are on their way")]


def _portal(row: Row, portal: Portal) -> Iterator[Check]:
    code = row["regie"]
    if row["disabled_for"] == target_of(portal.url):
        what = f"{code}: its portal answered 410 and is told nothing any more; {_waiting(row)}"
        mend = f"correct url under [regie.portal], or mend it and `lettrage notifications resend --regie {code}`"
        yield failed(NAME, what, f"{mend}: {RUNBOOKS}/notifications-given-up.md")
    elif row["failing"]:
        what = f"{code}: its portal does not take them; {_waiting(row)}, last answer: {_answer(row)}"
        mend = f"`lettrage notifications list --regie {code} --state failing` has every attempt"
        yield warning(NAME, what, f"{mend}: {RUNBOOKS}/notifications-failing.md")
    elif row["oldest_seconds"] > LATE_SECONDS and not row["sending"]:
        what = f"{code}: nobody sends them; {_waiting(row)}"
        yield failed(NAME, what, "see that `lettrage worker` runs with this configuration, and what its log says")


def _departed(row: Row, why: str) -> Iterator[Check]:
    """Nobody claims what is for a portal that is not configured; it is kept for it."""
    if row["waiting"]:
        code = row["regie"]
        mend = f"put the [[regie]] block of {code} back, with its [regie.portal], and they are sent"
        yield warning(NAME, f"{code} {why}, and its notifications wait for it: {_waiting(row)}", mend)


def _given_up(row: Row) -> Iterator[Check]:
    if row["given_up"]:
        code = row["regie"]
        mend = f"`lettrage notifications resend --regie {code}` once its portal is mended"
        what = f"{code}: {row['given_up']} were given up after days, last answer: {_answer(row)}"
        yield warning(NAME, what, f"{mend}: {RUNBOOKS}/notifications-given-up.md")


def _waiting(row: Row) -> str:
    if not row["waiting"]:
        return "none waits"
    return f"{row['waiting']} wait, the oldest since {row['since']:%Y-%m-%d %H:%M} UTC"


def _answer(row: Row) -> str:
    """How the latest attempt ended, as the list shows it; one that was never kept was cut off with its process."""
    if row["outcome"] is None:
        return "not known"
    return f"{row['outcome']} {row['status'] or row['error'] or ''}".strip()
