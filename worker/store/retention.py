"""What goes when its time is over, on PostgreSQL: a batch at a time, beside the work, by whichever clock is there.

Nothing is remembered but how far this process has looked, which is a hint: what is blanked or removed is in no index of
what is still to be. What was kept because something was open is looked at again a day later.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
import structlog
from msgspec import Struct, field

from schemas.decisions import Done, Dossier
from schemas.events import Event, EventsBlanked, EventType, NewEvent, digest_of
from schemas.records import Retention
from worker.domain.decide import decide
from worker.domain.keys import keys_of
from worker.domain.retention import (
    PERSONAL_TYPES,
    Blanked,
    Blanks,
    Dated,
    Horizon,
    Kept,
    blanked,
    blanked_callback,
    blanked_discrepancy,
    blanked_invoice,
    blanking_digest,
    personal_values,
    why_kept,
)
from worker.store import postgres, rows
from worker.store.changes import Changes, add_outcomes
from worker.store.facts import Known, grow, pairs
from worker.store.grouping import Loaded, Name, Names, dossiers_of, merged
from worker.store.postgres import Connection, GrewError, PostgresStore
from worker.store.sql import load

QUERIES: Final = load("retention.sql")

BATCH: Final = 500
"""Rows blanked or removed in one transaction: some ten milliseconds of a database that has holds to end."""
DOSSIERS: Final = 100
"""Facts whose dossiers are locked at once: nobody came back to them for months, and who does has not long to wait."""
GROWS: Final = 5
"""Times that a batch may turn out to share money with more than was locked, before each is taken alone."""
AGAIN_SECONDS: Final = 24 * 3600.0
"""What was kept, because a family still owes or a discrepancy is open, is looked at again so often."""
GONE: Final = "[blanked]"
"""In the place of who had events replayed, and why."""
SOURCE: Final = "/retention"
UNREADABLE: Final = (
    GrewError,
    postgres.UnknownRegieError,
    rows.UnknownTypeError,
    msgspec.ValidationError,
    AssertionError,
    LookupError,
)
"""What a dossier provokes that is not whole: `verify` says what is wrong with it."""

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()


class Step(NamedTuple):
    """What one batch did: how many rows of what it blanked or removed, and whether more may wait."""

    erased: Counter[str]
    more: bool
    kept: Counter[Kept]
    """Facts that are old enough, by what keeps their dossiers whole."""


class Cursor(NamedTuple):
    """How far a pass has looked: time and place of the last event, or a row's number."""

    time: datetime = datetime.min.replace(tzinfo=UTC)
    place: int = 0


class _Left(Struct, kw_only=True):
    """An event as it is left, as `blank_events` takes it. `data` None: whatever it was."""

    place: int
    regie: str
    data: Any
    rest: bytes
    raw_digest: bytes | None
    blanking: int = 0


class _Batch(Struct, kw_only=True):
    """What the dossiers of some facts become."""

    events: list[_Left] = field(default_factory=list)
    invoices: list[dict[str, Any]] = field(default_factory=list)
    discrepancies: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[int, Kept] = field(default_factory=dict)
    """What keeps a fact, by its place."""


class _Seen(NamedTuple):
    """What a look found: the events that it was about, and what becomes of them and of their dossiers."""

    horizon: Horizon
    looked_at: Sequence[Any]
    batch: _Batch
    more: bool

    def kept(self) -> Counter[Kept]:
        """How many of the events that it was about are kept, by what keeps them."""
        kept = self.batch.kept
        return Counter(kept[row["place"]] for row in self.looked_at if row["place"] in kept)


Stage: TypeAlias = Callable[[Connection, Cursor], Awaitable[tuple[Step, Cursor]]]
Look: TypeAlias = Callable[[Connection, Cursor], Awaitable[_Seen]]


class Eraser:
    """Blanks and removes in one process; any number of processes may."""

    def __init__(self, store: PostgresStore, periods: Retention) -> None:
        self._store = store
        self._periods = periods
        self._stages: tuple[Stage, ...] = (
            self._raw,
            self._personal,
            self._notifications,
            self._references,
            self._replays,
        )
        self._cursors = [Cursor()] * len(self._stages)
        self._stage = 0
        self._begun_at = -float("inf")

    async def step(self) -> Step:
        """Do one batch. Raises whatever the database does: then nothing was done, or all of it; again is safe.

        What fails comes again when everything else had its turn.
        """
        now = asyncio.get_running_loop().time()
        if now - self._begun_at >= AGAIN_SECONDS:
            self._begun_at = now
            self._cursors = [Cursor()] * len(self._stages)
        stage = self._stage
        self._stage = (stage + 1) % len(self._stages)
        work = partial(self._alone, self._stages[stage], self._cursors[stage])
        step, self._cursors[stage] = await self._store.again(work)
        if step.more:
            self._stage = stage
            return step
        return step._replace(more=self._stage > 0)

    async def preview(self) -> Step:
        """Count what is to be blanked, and what keeps the rest; nothing is written."""
        total = _done(more=False)
        for what, look in (("raw", self._look_at_raw), ("personal", self._look_at_dossiers)):
            cursor, more = Cursor(), True
            while more:
                seen = await self._store.again(partial(self._seen, look, cursor))
                places = {row["place"] for row in seen.looked_at}
                total.erased[what] += sum(each.place in places for each in seen.batch.events)
                total.kept.update(seen.kept())
                cursor, more = _after(seen.looked_at, cursor), seen.more
        return total

    async def _alone(self, stage: Stage, cursor: Cursor) -> tuple[Step, Cursor]:
        """Do a batch in a transaction, unless another process is at it."""
        async with self._store.transaction() as conn:
            if not await conn.fetchval(QUERIES.one_at_a_time):
                return _done(more=False), cursor
            return await stage(conn, cursor)

    async def _seen(self, look: Look, cursor: Cursor) -> _Seen:
        """Look, and leave everything as it is."""
        async with self._store.transaction() as conn:
            work = conn.transaction()
            await work.start()
            seen = await look(conn, cursor)
            await work.rollback()
            return seen

    # gateways' own words

    async def _raw(self, conn: Connection, cursor: Cursor) -> tuple[Step, Cursor]:
        seen = await self._look_at_raw(conn, cursor)
        await _blank(conn, "raw", seen.horizon, seen.batch.events)
        return _done(raw=len(seen.batch.events), more=seen.more), _after(seen.looked_at, cursor)

    async def _look_at_raw(self, conn: Connection, cursor: Cursor) -> _Seen:
        horizon = await _horizon(conn, self._periods.raw_months)
        found = await conn.fetch(QUERIES.with_raw, horizon.time, *cursor, BATCH)
        left = [each for row in found if row["applied"] and (each := _without_raw(row)) is not None]
        return _Seen(horizon, found, _Batch(events=left), more=len(found) == BATCH)

    # dossiers

    async def _personal(self, conn: Connection, cursor: Cursor) -> tuple[Step, Cursor]:
        seen = await self._look_at_dossiers(conn, cursor)
        await _save(conn, seen.horizon, seen.batch)
        step = _done(personal=len(seen.batch.events), more=seen.more)
        return step._replace(kept=seen.kept()), _after(seen.looked_at, cursor)

    async def _look_at_dossiers(self, conn: Connection, cursor: Cursor) -> _Seen:
        horizon = await _horizon(conn, self._periods.months)
        found = await conn.fetch(QUERIES.personal, horizon.time, *cursor, DOSSIERS)
        looked_at, batch = await _looked_at(conn, horizon, found)
        batch.kept |= {row["place"]: Kept.WAITING for row in looked_at if not row["applied"]}
        return _Seen(horizon, looked_at, batch, more=len(found) == DOSSIERS or len(looked_at) < len(found))

    # notifications, calls about nobody, replays

    async def _notifications(self, conn: Connection, cursor: Cursor) -> tuple[Step, Cursor]:
        delivered = await _horizon(conn, self._periods.notification_months)
        undelivered = await _horizon(conn, self._periods.months)
        found = await conn.fetchrow(QUERIES.told, cursor.place, BATCH, delivered.time, undelivered.time)
        assert found is not None
        removed = _count(await conn.execute(QUERIES.remove_notifications, found["ids"]))
        if removed:
            await conn.execute(QUERIES.remove_deliveries, found["ids"])
            await conn.execute(QUERIES.remove_attempts, found["ids"])
        if found["last"] is None or found["reached"]:
            return _done(notifications=removed, more=False), cursor
        return _done(notifications=removed, more=found["looked_at"] == BATCH), Cursor(place=found["last"])

    async def _references(self, conn: Connection, cursor: Cursor) -> tuple[Step, Cursor]:
        horizon = await _horizon(conn, self._periods.raw_months)
        found = await conn.fetch(QUERIES.unknown_references, horizon.time, BATCH)
        ids = rows.numbers(row["id"] for row in found)
        forgotten = _count(await conn.execute(QUERIES.remove_asks, ids, horizon.time))
        await conn.execute(QUERIES.remove_references, ids)
        return _done(references=forgotten, more=forgotten == BATCH), cursor

    async def _replays(self, conn: Connection, cursor: Cursor) -> tuple[Step, Cursor]:
        horizon = await _horizon(conn, self._periods.months)
        found = await conn.fetchrow(QUERIES.blank_replays, horizon.time, cursor.place, BATCH, GONE)
        assert found is not None
        more = found["looked_at"] == BATCH
        return _done(replays=found["blanked"], more=more), Cursor(place=found["last"] or cursor.place)


def _done(*, more: bool, **erased: int) -> Step:
    """A batch that looked at no dossier, or kept none."""
    return Step(Counter({what: rows_ for what, rows_ in erased.items() if rows_}), more, Counter())


def _after(found: Sequence[Any], cursor: Cursor) -> Cursor:
    return Cursor(found[-1]["received_at"], found[-1]["place"]) if found else cursor


def _count(status: str) -> int:
    """How many rows a statement changed, from what PostgreSQL says of it."""
    return int(status.rpartition(" ")[2])


async def _horizon(conn: Connection, months: int) -> Horizon:
    row = await conn.fetchrow(QUERIES.horizon, months)
    assert row is not None
    return Horizon(row["time"], row["day"])


def _event(row: Mapping[str, Any]) -> Event:
    return rows.event({**row, "attempts": 0, "waited": False})


def _without_raw(row: Mapping[str, Any]) -> _Left | None:
    """What is left of a callback, or of an answer; None: it is not what it was received as, which stays to be seen."""
    if row["type"] != EventType.GATEWAY_CALLBACK:
        return _left(row, None, row["digest"])
    try:
        event = _event(row)
    except msgspec.ValidationError:
        return None
    if digest_of(event.type, event.data) != row["digest"]:
        return None
    data = blanked_callback(event.data)
    return _left(row, data, digest_of(event.type, data))


def _left(row: Mapping[str, Any], data: Any, rest: bytes) -> _Left:  # noqa: ANN401 (data of an event)
    return _Left(place=row["place"], regie=row["regie"], data=data, rest=rest, raw_digest=row["raw_digest"])


async def _looked_at(conn: Connection, horizon: Horizon, found: Sequence[Any]) -> tuple[Sequence[Any], _Batch]:
    """Look at the dossiers of some facts together; where that fails, of the first alone. Answers of which it did."""
    failure = ""
    for some in (found, found[:1]):
        try:
            return some, await _dossiers(conn, horizon, some)
        except UNREADABLE as error:
            failure = type(error).__name__
    log.error("dossier_not_blanked", place=found[0]["place"], regie=found[0]["regie"], error=failure)
    return found[:1], _Batch()


async def _dossiers(conn: Connection, horizon: Horizon, found: Sequence[Any]) -> _Batch:
    """Lock the dossiers of some facts, whole, and part what goes from what stays.

    GrewError: they share money with more each time, or with what is not there.
    """
    asked = [_event(row) for row in found if row["applied"]]
    names = merged(asked, keys_of)
    for _ in range(GROWS):
        try:
            async with conn.transaction():
                return await _locked(conn, horizon, asked, names)
        except GrewError:  # a refused start may name a reference that nobody owns, which was forgotten meanwhile
            await conn.execute(postgres.QUERIES.add_references, *pairs(names.references))
    async with conn.transaction():
        return await _locked(conn, horizon, asked, names)


async def _locked(conn: Connection, horizon: Horizon, asked: Sequence[Event], names: Names) -> _Batch:
    """The same once. GrewError: facts name more, which is among `names` now."""
    if not asked:
        return _Batch()
    loaded = Loaded(names=names)
    await postgres.load_named(conn, loaded, {event.regie for event in asked})
    known = Known(loaded)
    mine = {event.place for event in asked}
    facts = await conn.fetch(QUERIES.facts, *pairs(known.names()), rows.numbers(mine))
    events = [(event, row) for row in facts if known.has(event := _event(row)) or event.place in mine]
    if _grew(names, loaded, [event for event, _ in events]):
        raise GrewError
    awaited = {(row["regie"], row["name"]) for row in await conn.fetch(QUERIES.awaited, *pairs(known.names()))}
    return _parted(loaded, horizon, events, awaited)


def _grew(names: Names, loaded: Loaded, events: Sequence[Event]) -> bool:
    """Whether facts name what was not locked; of discrepancies that facts may have opened, most are not there."""
    shown = merged(events, keys_of).discrepancies - names.discrepancies
    names.discrepancies |= shown
    return grow(names, loaded, events) or bool(shown)


def _parted(loaded: Loaded, horizon: Horizon, events: Sequence[tuple[Event, Any]], awaited: set[Name]) -> _Batch:
    """Blank the dossiers whose time is over; say of the others why not."""
    batch = _Batch()
    by_place = {event.place: row for event, row in events}
    loaded.names = merged([event for event, _ in events], keys_of)
    for dossier, mine in dossiers_of(loaded, [event for event, _ in events]):
        facts = [Dated(event.received_at, by_place[event.place]["applied"]) for event in mine]
        if _is_awaited(dossier, awaited):
            facts.append(Dated(horizon.time, applied=False))
        kept = why_kept(dossier, facts, horizon)
        if kept is None:
            _blank_dossier(batch, dossier, [(event, by_place[event.place]) for event in mine])
        else:
            batch.kept.update((event.place, kept) for event in mine)
    return batch


def _is_awaited(dossier: Dossier, awaited: set[Name]) -> bool:
    """Whether something waits that is not among the facts: a callback that claims one of its references."""
    named = {row.gateway_reference for row in dossier.references.values()}
    named |= {row.reference for row in dossier.payments.values()} | {row.number for row in dossier.invoices.values()}
    return any((dossier.regie, name) in awaited for name in named)


def _blank_dossier(batch: _Batch, dossier: Dossier, events: Sequence[tuple[Event, Any]]) -> None:
    """Blank the facts of a dossier that are whole, and its rows as these facts make them.

    A fact that is not what it was received as stays as it is: what was tampered with is to be found, not to be covered.
    """
    blanks = Blanks(value for event, _ in events for value in personal_values(event.data))
    for event, row in events:
        left = blanked(event.type, event.data, blanks)
        if not row["blanked"] and event.type in PERSONAL_TYPES and digest_of(event.type, event.data) == row["digest"]:
            batch.events.append(_left(row, left, digest_of(event.type, left)))
    for invoice in dossier.invoices.values():
        now = blanked_invoice(invoice, blanks)
        if now != invoice:
            names = ("id", "account", "label", "document_url")
            batch.invoices.append({name: getattr(now, name) for name in names})
    for shown in dossier.discrepancies.values():
        if (gone := blanked_discrepancy(shown, blanks)) != shown:
            batch.discrepancies.append({"id": gone.id, "comment": gone.comment})


async def _save(conn: Connection, horizon: Horizon, batch: _Batch) -> None:
    """Write what is left of dossiers, discrepancies last of all locks but events, which nobody else locks."""
    if not batch.events:
        return
    await conn.execute(QUERIES.blank_invoices, rows.json_text(batch.invoices))
    await conn.execute(QUERIES.lock_shown, [row["id"] for row in batch.discrepancies])
    await conn.execute(QUERIES.blank_discrepancies, rows.json_text(batch.discrepancies))
    await _blank(conn, "personal", horizon, batch.events)


async def _blank(conn: Connection, what: str, horizon: Horizon, left: Sequence[_Left]) -> None:
    """Take from events what is over, with one event for each régie that records it and is decided like any other."""
    if not left:
        return
    by_regie: dict[str, list[_Left]] = {}
    for each in left:
        by_regie.setdefault(each.regie, []).append(each)
    loaded = Loaded(names=Names())
    await postgres.load_named(conn, loaded, by_regie)
    assert loaded.now is not None
    records = [_record(regie, what, horizon, mine) for regie, mine in sorted(by_regie.items())]
    kept = await postgres.keep_own(conn, records)
    events = sorted(kept.values(), key=_place)
    assert len(events) == len(by_regie), "its id has the time of this blanking"
    for event in events:
        for each in by_regie[event.regie]:
            each.blanking = event.place
    if _count(await conn.execute(QUERIES.blank_events, rows.json_text(left))) < len(left):
        raise GrewError  # a record must not say more than what was blanked
    decided = [decide(Dossier(regie=e.regie), [e], loaded.policies[e.regie][1], loaded.now) for e in events]
    changes = Changes()
    outcomes = [(event, decision.outcomes[0]) for event, decision in zip(events, decided, strict=True)]
    add_outcomes(changes, loaded, Done(applied=outcomes))
    await postgres.save(conn, loaded.now, changes)


def _place(event: Event) -> int:
    return event.place


def _record(regie: str, what: str, horizon: Horizon, left: Sequence[_Left]) -> NewEvent:
    """The event that proves what is left of some events of a régie.

    Its id has the time: a restored backup whose archive knows of the same blanking has it done again.
    """
    digest = blanking_digest([Blanked(each.place, each.raw_digest, each.rest) for each in left])
    data = EventsBlanked(regie=regie, what=what, before=horizon.time, events=len(left), digest=digest)
    return NewEvent(
        client="lettrage",
        source=SOURCE,
        id=f"{horizon.time.isoformat()}/{digest}",
        type=EventType.EVENTS_BLANKED,
        regie=regie,
        data=data,
        digest=digest_of(EventType.EVENTS_BLANKED, data),
    )
