"""Some dossiers: their facts decided again, and what comes out compared with the tables, row by row."""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct, field

from schemas.events import Event
from schemas.records import Policy
from worker.domain.keys import keys_of
from worker.store import rows
from worker.store.grouping import merged
from worker.verify.blankings import wrong_with_data
from worker.verify.compare import Books, journals
from worker.verify.differences import About, Difference
from worker.verify.dossiers import PORTION
from worker.verify.recompute import Application, Recomputation, batches, unseen_first
from worker.verify.snapshot import QUERIES, Connection
from worker.verify.stored import Stored, journal_of

Versions = Mapping[tuple[str, int], Policy]
Row = Mapping[str, Any]


def _numbers() -> "array[int]":
    return array("q")


class Found(Struct, kw_only=True):
    """What is wrong in some dossiers, and which rows were looked at."""

    events: int = 0
    differences: list[Difference] = field(default_factory=list)
    invoices: Any = field(default_factory=_numbers)
    payments: Any = field(default_factory=_numbers)
    references: Any = field(default_factory=_numbers)
    discrepancies: list[str] = field(default_factory=list)

    def add(self, other: "Found") -> None:
        """Add what was found elsewhere."""
        self.events += other.events
        for name in ("differences", "invoices", "payments", "references", "discrepancies"):
            getattr(self, name).extend(getattr(other, name))


Order = Callable[[Sequence[list[Application]]], Sequence[list[Application]]]
"""In which order transactions are decided again."""


async def examine(conn: Connection, dossiers: Sequence[Sequence[int]], versions: Versions) -> Found:
    """Decide dossiers again, each given by the places of its events in the order of their application."""
    found = await _examined(conn, dossiers, versions, _as_numbered)
    if not found.differences:
        return found
    found = Found()
    for dossier in dossiers:
        found.add(await _examined_alone(conn, dossier, versions))
    return found


async def _examined_alone(conn: Connection, dossier: Sequence[int], versions: Versions) -> Found:
    """Decide one dossier again; what differs counts only if it does in the other order, too, that may have been."""
    found = await _examined(conn, [dossier], versions, _as_numbered)
    if not found.differences or len(dossier) > PORTION:
        return found
    otherwise = await _examined(conn, [dossier], versions, unseen_first)
    return found if otherwise.differences else otherwise


def _as_numbered(told: Sequence[list[Application]]) -> Sequence[list[Application]]:
    return told


async def _examined(conn: Connection, dossiers: Sequence[Sequence[int]], versions: Versions, order: Order) -> Found:
    again = _Again(conn, versions, order, len(dossiers))
    if len(dossiers) == 1:
        (places,) = dossiers
        for start in range(0, len(places), PORTION):
            await again.decide([places[start : start + PORTION]], is_last=start + PORTION >= len(places))
    else:
        await again.decide(dossiers, is_last=True)
    return await again.compared()


class _Again:
    """The books of some dossiers while they are made again."""

    def __init__(self, conn: Connection, versions: Versions, order: Order, count: int) -> None:
        self._conn = conn
        self._order = order
        self._stored = Stored()
        self._found = Found()
        self._books = [Recomputation(self._stored.number, versions) for _ in range(count)]
        self._held_back: list[list[Application]] = [[] for _ in range(count)]
        self._undecided: set[int] = set()

    async def decide(self, dossiers: Sequence[Sequence[int]], *, is_last: bool) -> None:
        """Read and decide the next events of each dossier; its last transaction waits for what may belong to it."""
        read = await self._read(list(chain.from_iterable(dossiers)))
        names = merged([application.event for application in read.values()], keys_of)
        await self._stored.read(self._conn, names)
        decided: dict[int, Application] = {}
        for nth, places in enumerate(dossiers):
            told = self._held_back[nth] + [read[place] for place in places if place in read]
            whole = batches(told)
            self._held_back[nth] = [] if is_last or not whole else whole.pop()
            decided.update(self._decide(nth, self._order(whole)))
        await self._compare_applications(decided)

    async def _read(self, places: Sequence[int]) -> dict[int, Application]:
        applications: dict[int, Application] = {}
        for row in await self._conn.fetch(QUERIES.applications, places):
            event = self._event(row)
            if event is not None:
                applications[event.place] = Application(
                    event=event,
                    outcome=row["outcome"],
                    reason=row["reason"],
                    decided_at=row["decided_at"],
                    policy_version=row["policy_version"],
                )
        self._found.events += len(places)
        return applications

    def _event(self, row: Row) -> Event | None:
        """Read an event; one that is not what it was received as is told."""
        about = about_event(row["regie"], row["place"], row["client"], row["source"], row["id"])
        try:
            event = rows.event(row)
        except (msgspec.ValidationError, rows.UnknownTypeError) as error:
            self._tell([about.is_wrong(f"cannot be read ({type(error).__name__})", "data")])
            return None
        self._tell(wrong_with_data(event, row, about))
        return event

    def _decide(self, nth: int, whole: Sequence[Sequence[Application]]) -> dict[int, Application]:
        """Decide transactions of one dossier; where that fails, it is told, and the dossier is left there."""
        decided: dict[int, Application] = {}
        for batch in whole if nth not in self._undecided else ():
            try:
                self._books[nth].apply_again(batch)
            except Exception as error:  # noqa: BLE001 - whatever facts that cannot be provoke, other dossiers are read
                self._undecided.add(nth)
                event = batch[0].event
                about = about_event(event.regie, event.place, event.client, event.source, event.id)
                self._tell([about.is_wrong(f"cannot be decided again ({type(error).__name__})")])
                break
            decided.update((application.event.place, application) for application in batch)
        return decided

    async def _compare_applications(self, decided: Mapping[int, Application]) -> None:
        for book in self._books:
            for place, expected in book.outcomes().items():
                if place in decided:
                    self._tell(_of_outcome(decided[place], *expected))
        written = await journal_of(self._conn, decided)
        due = [entry for book in self._books for entry in book.journal() if entry.place in decided]
        self._tell(journals(written, due))

    async def compared(self) -> Found:
        """Compare the rows that came out."""
        books = Books(book for nth, book in enumerate(self._books) if nth not in self._undecided)
        await self._stored.read_discrepancies(self._conn, books.discrepancies)
        self._tell(books.differences(self._stored))
        looked_at = self._stored if self._undecided else books
        self._found.invoices.extend(looked_at.invoices)
        self._found.payments.extend(looked_at.payments)
        self._found.references.extend(looked_at.references)
        self._found.discrepancies.extend(looked_at.discrepancies)
        return self._found

    def _tell(self, differences: Iterable[Difference]) -> None:
        self._found.differences.extend(differences)


def about_event(regie: str, place: int, client: str, source: str, event_id: str) -> About:
    """Name an event by its place and its key."""
    return About(regie=regie, table="events", row=f"{place} ({client or 'gateway'} {source} {event_id})")


def _of_outcome(application: Application, outcome: str, reason: str) -> Iterable[Difference]:
    event = application.event
    about = About(regie=event.regie, table="outcomes", row=f"event {event.place}")
    if application.outcome != outcome:
        yield about.differs("outcome", application.outcome, outcome)
    if application.reason != reason:
        yield about.differs("reason", application.reason, reason)
