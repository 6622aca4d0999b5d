"""The whole proof: the chains followed, every dossier decided again, and what is in no dossier named."""

import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Struct, field

from schemas.events import EventType, digest_of
from worker.store import rows
from worker.verify.blankings import wrong_with_blanking
from worker.verify.chain import Chains, Places, Sealed
from worker.verify.differences import About, Difference
from worker.verify.dossiers import PORTION, Families, names_of
from worker.verify.hands import Hands, hands, spread
from worker.verify.portion import Found, about_event
from worker.verify.snapshot import QUERIES, Connection, snapshot

SMALL: Final = 5_000
"""Events that one process has decided again before others would have started."""
MOST_PROCESSES: Final = 8
FETCHED: Final = 2_000
KEPT: Final = 1_000
"""Differences that are told one by one; more of them are counted."""

Item = TypeVar("Item")
Progress = Callable[[int], None]
"""Is told how many events were looked at; each is twice, in its seal and in its dossier."""
Regies = Sequence[str] | None


class UnknownRegieError(Exception):
    """Nothing here was ever called so: its books would be all right, being empty."""


class ChainEnd(Struct, kw_only=True):
    """How far a régie's chain reaches. Kept elsewhere, `head` proves later that nothing before it was rewritten."""

    regie: str
    seals: int
    head: str


class Verdict(Struct, kw_only=True):
    """What `verify` says."""

    ok: bool = True
    events: int = 0
    waiting: int = 0
    invoices: int = 0
    payments: int = 0
    discrepancies: int = 0
    unsealed: int = 0
    """Applied since the last seal."""
    blanked: int = 0
    """Events that lost what was raw or personal when their time was over."""
    unproven: int = 0
    """Of these, those whose facts are proved by the record of their blanking alone: versions before 0.2 sealed them."""
    chains: list[ChainEnd] = field(default_factory=list)
    found: int = 0
    """Differences."""
    differences: list[Difference] = field(default_factory=list)

    def add(self, differences: Iterable[Difference]) -> None:
        """Keep what is wrong, up to a number of them."""
        for difference in differences:
            self.ok = False
            self.found += 1
            if len(self.differences) < KEPT:
                self.differences.append(difference)


async def proved_books(database_url: str, regies: Regies = None, progress: Progress = lambda _: None) -> Verdict:
    """Prove the books of some régies, or of all, as they are at this moment.

    Raises:
        UnknownRegieError: a régie was never configured here.
        Exception: whatever the driver raises when the database cannot be reached or is not migrated.
    """
    async with snapshot(database_url) as conn:
        if unknown := await conn.fetchval(QUERIES.unknown_regies, regies or []):
            raise UnknownRegieError(", ".join(unknown))
        count = await conn.fetchval(QUERIES.applied)
        processes = 1 if count < SMALL else min(os.cpu_count() or 1, MOST_PROCESSES)
        async with hands(conn, database_url, processes) as workers:
            return await proved(conn, workers, regies, progress)


async def proved(
    conn: Connection, workers: Hands, regies: Regies = None, progress: Progress = lambda _: None
) -> Verdict:
    """Prove the books that a transaction sees, in which nothing changes meanwhile."""
    return await _Verification(conn, workers, regies, progress).whole()


class _Verification:
    def __init__(self, conn: Connection, workers: Hands, regies: Regies, progress: Progress) -> None:
        self._conn = conn
        self._hands = workers
        self._regies = regies
        self._progress = progress
        self._verdict = Verdict()
        self._chains = Chains()
        self._families = Families()
        self._looked_at = {name: Places() for name in ("invoices", "payments", "references")}
        self._discrepancies: set[str] = set()
        self._done = 0

    async def whole(self) -> Verdict:
        """Everything, in the order in which what is found explains what follows."""
        await self._prove_chains()
        await self._prove_blankings()
        await self._gather()
        await self._decide_again()
        await self._look_for_strays()
        return self._verdict

    def _move(self, events: int) -> None:
        self._done += events
        self._progress(self._done)

    async def _prove_chains(self) -> None:
        async for compared in spread(self._seals(), self._hands.compare, self._hands.width):
            self._verdict.add(compared.differences)
            self._verdict.blanked += compared.blanked
            self._verdict.unproven += compared.unproven
            self._move(compared.events)
        self._verdict.add(self._chains.differences)
        self._verdict.chains = [
            ChainEnd(regie=each.regie, seals=each.seals, head=each.head.hex()) for each in self._chains.found.values()
        ]

    async def _prove_blankings(self) -> None:
        """What is left of events is what the event that records their blanking, which is sealed itself, says."""
        some: list[rows.Row] = []
        async for row in self._conn.cursor(QUERIES.blanked, self._regies, prefetch=FETCHED):
            if some and row["blanking"] != some[0]["blanking"]:
                self._verdict.add(wrong_with_blanking(some))
                some = []
            some.append(row)
        if some:
            self._verdict.add(wrong_with_blanking(some))

    async def _seals(self) -> AsyncIterator[list[Sealed]]:
        """Seals, some at a time: those of quiet days have an event or two."""
        some: list[Sealed] = []
        async for sealed in self._chains.follow(self._conn, self._regies):
            some.append(sealed)
            if sum(len(each.places) for each in some) >= PORTION:
                yield some
                some = []
        if some:
            yield some

    async def _gather(self) -> None:
        """Find which events belong together; every one is sealed, or was applied after the last seal."""
        async for row in self._conn.cursor(QUERIES.named, self._regies, prefetch=FETCHED):
            place, number = row["place"], row["applied_seq"]
            self._families.add(place, number, _names(row))
            if place not in self._chains.sealed:
                self._not_sealed(row["regie"], place, number)
        for row in await self._conn.fetch(QUERIES.discrepancy_names, self._regies):
            named = [("payment", row["payment"]), ("invoice", row["invoice"]), ("reference", row["reference"])]
            about = [(kind, row["regie"], name) for kind, name in named if name is not None]
            self._families.join([("discrepancy", row["id"]), *about])
        self._verdict.events = len(self._families)

    def _not_sealed(self, regie: str, place: int, number: int) -> None:
        if number > self._chains.sealed_to:
            self._verdict.unsealed += 1
        else:
            about = About(regie=regie, table="outcomes", row=f"event {place}")
            self._verdict.add([about.is_wrong("is in no seal, though later ones are")])

    async def _decide_again(self) -> None:
        async for found in spread(_one_by_one(self._families.portions()), self._hands.examine, self._hands.width):
            self._verdict.add(found.differences)
            self._note(found)
            self._move(found.events)

    def _note(self, found: Found) -> None:
        for name, places in self._looked_at.items():
            for number in getattr(found, name):
                if number > 0:
                    places.add(number)
        self._discrepancies.update(found.discrepancies)

    async def _look_for_strays(self) -> None:
        """Name the rows that no applied event leads to, and the events that are nowhere else."""
        self._verdict.invoices = await self._count_rows(QUERIES.invoice_ids, "invoices", "invoices")
        self._verdict.payments = await self._count_rows(QUERIES.payment_ids, "payments", "payments")
        await self._count_rows(QUERIES.reference_ids, "references", "gateway_references")
        async for row in self._conn.cursor(QUERIES.discrepancy_ids, self._regies, prefetch=FETCHED):
            self._verdict.discrepancies += 1
            if row["id"] not in self._discrepancies:
                about = About(regie=row["regie"], table="discrepancies", row=f"{row['name']} {row['id']}")
                self._verdict.add([about.is_wrong("is explained by no event")])
        async for row in self._conn.cursor(QUERIES.without_outcome, self._regies, prefetch=FETCHED):
            about = About(regie=row["regie"], table="events", row=f"{row['place']}")
            what = "waits, though it has an outcome" if row["waits"] else "neither waits nor has an outcome"
            self._verdict.add([about.is_wrong(what)])
        await self._look_at_waiting()
        if self._regies is None:
            await self._look_for_orphans()

    async def _count_rows(self, query: str, looked_at: str, table: str) -> int:
        count = 0
        async for row in self._conn.cursor(query, self._regies, prefetch=FETCHED):
            count += 1
            if row["id"] not in self._looked_at[looked_at]:
                about = About(regie=row["regie"], table=table, row=row["name"])
                self._verdict.add([about.is_wrong("is explained by no event")])
        return count

    async def _look_at_waiting(self) -> None:
        """Events that wait, or are parked, are not sealed yet: their digest is all that proves them."""
        async for row in self._conn.cursor(QUERIES.waiting, self._regies, prefetch=FETCHED):
            self._verdict.waiting += 1
            if not _has_its_digest(row):
                about = about_event(row["regie"], row["place"], row["client"], row["source"], row["id"])
                self._verdict.add([about.is_wrong("type or data are not those of its digest", "data")])

    async def _look_for_orphans(self) -> None:
        async for row in self._conn.cursor(QUERIES.without_event, prefetch=FETCHED):
            of = "" if row["table"] == "outcomes" else f"{row['id']}: "
            about = About(regie=None, table=row["table"], row=f"{of}event {row['place']}")
            self._verdict.add([about.is_wrong("its event is gone, or has no outcome")])


async def _one_by_one(portions: Iterable[Item]) -> AsyncIterator[Item]:
    for portion in portions:
        yield portion


def _names(row: rows.Row) -> list[object]:
    """What an event names; a callback goes with its report. One that cannot be read is alone."""
    if row["type"] == EventType.GATEWAY_CALLBACK:
        return [("event", row["report"] or row["place"])]
    try:
        names = names_of(rows.event(row))
    except (msgspec.ValidationError, rows.UnknownTypeError):
        return [("event", row["place"])]
    return [("event", row["place"]), *names] if row["type"] == EventType.GATEWAY_REPORT else names


def _has_its_digest(row: rows.Row) -> bool:
    """Tell whether an event that waits is as it was received; of a type that is not known here nobody can tell."""
    try:
        event = rows.event(row)
    except rows.UnknownTypeError:
        return True
    except msgspec.ValidationError:
        return False
    digest: bytes = row["digest"]
    return digest_of(event.type, event.data) == digest
