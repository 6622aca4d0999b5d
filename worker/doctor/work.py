"""Checks of the work itself: who does it, what is late, who is not told, whose clock is wrong."""

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from worker.doctor.check import Check, failed, ok, warning
from worker.doctor.database import QUERIES, Connection, Row
from worker.doctor.portals import portals
from worker.settings import Settings
from worker.store.gauges import QUERIES as STATE

PROCESSES: Final = {
    "web": "nobody takes events or callbacks",
    "worker": "events wait until the clock takes them",
    "clock": "holds do not end by themselves",
}
"""Each process, and what its absence means."""
SHOWN_AS: Final = {"web": "lettrage web", "worker": "lettrage worker", "clock": "lettrage clock"}
OVERDUE_SECONDS: Final = 10.0
"""A sweep of 100,000 holds due at once takes less."""
UNSEALED_SECONDS: Final = 300.0
"""Clocks seal once a second; a large import, or a first upgrade, is sealed in minutes."""
LATE_SECONDS: Final = 60.0
"""An event that waits longer is not merely queueing."""
BEHIND_SECONDS: Final = 30.0
"""A payment whose start is dated that far back loses as much of its hold."""
AHEAD_SECONDS: Final = 300.0
"""A client this far ahead costs nobody anything yet; above an hour its payments are refused."""


async def work(connection: Connection, settings: Settings, alive: Collection[str]) -> list[Check]:
    """Everything about the work under way; `alive` are processes that were seen elsewhere than in the database."""
    shown = {row["name"] for row in await connection.fetch(QUERIES.processes)}
    holds = await connection.fetchrow(QUERIES.holds)
    pending = await connection.fetchrow(QUERIES.pending)
    assert holds is not None
    assert pending is not None
    unsealed = await connection.fetchval(STATE.unsealed)
    known = [row["code"] for row in await connection.fetch(QUERIES.regies)]
    untold = await connection.fetch(QUERIES.notifications)
    clocks = await connection.fetch(QUERIES.clocks)
    running = {name for name, application in SHOWN_AS.items() if application in shown} | set(alive)
    return [
        *processes(running),
        overdue(holds),
        *waiting(pending),
        sealing(unsealed),
        *departed(known, settings),
        *portals(untold, settings),
        *client_clocks(clocks),
    ]


def processes(running: Collection[str]) -> Iterator[Check]:
    """Whether each kind of process runs, on whatever machine."""
    for name, absence in PROCESSES.items():
        if name in running:
            yield ok(f"{name}_process", "at least one runs")
        else:
            mend = f"start `lettrage {name}`, or `lettrage up` which runs all three"
            yield failed(f"{name}_process", f"none is connected to the database: {absence}", mend)


def overdue(row: Row) -> Check:
    """Whether holds end on time."""
    if row["oldest_seconds"] < OVERDUE_SECONDS:
        return ok("holds", "none is overdue")
    what = f"{row['overdue']} are over and not written so, the oldest for {row['oldest_seconds']:.0f} s"
    return failed("holds", what, "see that `lettrage clock` runs, and what its log says")


def waiting(row: Row) -> Iterator[Check]:
    """Whether events are applied, and whether some never will be without a person."""
    if row["oldest_seconds"] > LATE_SECONDS:
        what = f"{row['waiting']} wait, the oldest for {row['oldest_seconds']:.0f} s"
        yield failed("pending_events", what, "see that `lettrage worker` runs, and what its log says")
    else:
        yield ok("pending_events", f"{row['waiting']} wait")
    if row["parked"]:
        mend = "`lettrage events list --parked` says why; they are kept until somebody has seen to it"
        yield failed("parked_events", f"{row['parked']} failed too often and wait for a person", mend)


def sealing(oldest_seconds: float) -> Check:
    """Whether what was applied is sealed."""
    if oldest_seconds < UNSEALED_SECONDS:
        return ok("seals", "the journal is sealed")
    what = f"what was applied {oldest_seconds:.0f} s ago has no seal: a journal that is rewritten would not show"
    return warning("seals", what, "see that `lettrage clock` runs, and monitoring/runbooks/journal-unsealed.md")


def departed(known: Iterable[str], settings: Settings) -> Iterator[Check]:
    """Régies that left the configuration: their callbacks are stored, and cannot be read without their keys."""
    for code in known:
        if code not in settings.regies:
            mend = f"put the [[regie]] block of {code} back until its last payment is settled"
            yield warning("regies", f"{code} is known to the database and not configured here", mend)


def client_clocks(rows: Iterable[Row]) -> Iterator[Check]:
    """Whether portals date their payments right: a hold is counted from the event's time."""
    for row in rows:
        behind = row["behind_seconds"]
        mend = f"let NTP set the clock of {row['client']}'s machine"
        if behind > BEHIND_SECONDS:
            what = f"{row['client']} dates payments {behind:.0f} s back: its holds are that much shorter"
            yield warning("client_clocks", what, mend)
        elif behind < -AHEAD_SECONDS:
            what = f"{row['client']} dates payments {-behind:.0f} s ahead; above an hour they are refused"
            yield warning("client_clocks", what, mend)
        else:
            yield ok("client_clocks", f"{row['client']} agrees with the database")
