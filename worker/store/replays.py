"""Replays on PostgreSQL: dossiers are locked as reconciling locks them, read, recomputed from their facts, put right.

A replay's row goes first. Each batch commits what it changed together with how far the replay is, so that whoever takes
over a replay goes on where the last one was killed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from msgspec import Struct, field, structs

from schemas.decisions import Applied, Decision, Done, Dossier
from schemas.events import DossierRestored, Event, EventType, NewEvent, Queue, RestoredRow, digest_of
from schemas.records import Policy
from schemas.replays import Change, Filter, ReplayState, ReplayView
from worker.domain.decide import decide
from worker.domain.keys import keys_of
from worker.domain.recomputing import Fact, blank, recompute
from worker.domain.restoring import Restoration, Scene, restored
from worker.store import postgres, rows
from worker.store.changes import add_outcomes, changes_of
from worker.store.facts import Known, grow, pairs
from worker.store.grouping import Loaded, Name, Names, dossiers_of, merged
from worker.store.postgres import Connection, GrewError, PostgresStore
from worker.store.sql import load

QUERIES: Final = load("replays.sql")

BATCH: Final = 500
"""Events whose dossiers are locked at once: short enough for a family not to notice."""
PAGE: Final = 5_000
"""Places looked at for one batch: most events belong to a dossier that an earlier event of the replay has brought."""
LEASE: Final = timedelta(seconds=15)
"""A killed runner's replay is taken over after that; a batch takes a fraction of it."""
SHOWN: Final = 1_000
"""Changes in one answer."""
SCAN_SECONDS: Final = 600.0
"""For finding the few events of a filter among many millions; nothing is locked meanwhile but the replay itself."""
GROWS: Final = 5
"""Times that the facts of a batch may name more than was locked, before it is left to raise."""

log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode
_filter_of = msgspec.json.Decoder(Filter)
_change_of = msgspec.json.Decoder(Change)


class Seen:
    """Places whose dossiers are done with in this run: a bit each."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, place: int) -> None:
        """Note a place."""
        byte = place >> 3
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1024 - len(self._bits)))
        self._bits[byte] |= 1 << (place & 7)

    def __contains__(self, place: int) -> bool:
        """Tell whether a place was noted."""
        byte = place >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & 1 << (place & 7))


class Wanted(NamedTuple):
    """A replay that somebody asks for. `regies`: those that they reach, None for all."""

    filter: Filter
    dry_run: bool
    comment: str | None
    client: str
    regies: Sequence[str] | None = None


class Kept(NamedTuple):
    """A replay as read, with the régies that whoever asked for it reached (None: all)."""

    view: ReplayView
    regies: Sequence[str] | None


class Step(NamedTuple):
    """What one batch did."""

    events: int
    """Whose dossiers were recomputed, others of theirs included."""
    done: bool
    """Nothing is left, or it is not ours any more."""
    rung: tuple[Queue, ...] = ()
    """Queues that were given events back."""


class _Held(Struct, kw_only=True):
    """A replay's row, locked."""

    id: int
    filter: Filter
    regies: list[str] | None
    dry_run: bool
    comment: str | None
    client: str
    last_place: int
    cursor_place: int


class _Line(Struct, kw_only=True):
    """A change, and what it is kept once for: a batch that is done again after a crash keeps it once."""

    subject: str
    change: Change


class _Batch(Struct, kw_only=True):
    """What a batch found."""

    lines: list[_Line] = field(default_factory=list)
    failed: int = 0
    places: list[int] = field(default_factory=list)


class Replays:
    """The replays of an installation, for one process that runs some of them under the name `runner`."""

    def __init__(self, store: PostgresStore, runner: str) -> None:
        self._store = store
        self._runner = runner
        self._policies: dict[tuple[str, int], Policy] = {}
        self._seen: dict[int, Seen] = {}

    async def count(self, wanted: Wanted, most: int | None = None) -> int:
        """Count the events that a filter matches, at most so many."""
        query = QUERIES.count_parked if wanted.filter.parked else QUERIES.count_matched
        async with self._store.transaction() as conn:
            await conn.execute(QUERIES.take_time)
            last = await conn.fetchval(QUERIES.last_place)
            said = _said(wanted.filter, wanted.regies)
            found: int = await conn.fetchval(query, most, last, *said, timeout=SCAN_SECONDS)
        return found

    async def create(self, wanted: Wanted) -> int:
        """Keep who asked for what and why; it is this process's to run first. Answers its id."""
        async with self._store.transaction() as conn:
            key: int = await conn.fetchval(
                QUERIES.create,
                _encode(wanted.filter).decode(),
                None if wanted.regies is None else list(wanted.regies),
                wanted.dry_run,
                wanted.comment,
                wanted.client,
                self._runner,
                LEASE,
            )
        return key

    async def set_matched(self, replay_id: int, matched: int) -> None:
        """Keep how many events there are to replay."""
        async with self._store.transaction() as conn:
            await conn.execute(QUERIES.set_matched, replay_id, matched)

    async def claim(self) -> int | None:
        """Take a replay that nobody runs, or go on with one's own."""
        async with self._store.transaction() as conn:
            key: int | None = await conn.fetchval(QUERIES.claim, self._runner, LEASE)
        return key

    async def leave(self, replay_id: int) -> None:
        """Let another process go on with a replay at once."""
        self._seen.pop(replay_id, None)
        async with self._store.transaction() as conn:
            await conn.execute(QUERIES.leave, replay_id, self._runner)

    async def view(self, replay_id: int) -> Kept | None:
        """Give a replay as it stands; None: there is no such replay."""
        async with self._store.transaction() as conn:
            row = await conn.fetchrow(QUERIES.replay, replay_id)
            if row is None:
                return None
            changes = await conn.fetch(QUERIES.changes, replay_id, SHOWN)
            outcomes = await conn.fetch(QUERIES.parked_outcomes, replay_id)
        values = {name: row[name] for name in row.keys() if name != "regies"}  # noqa: SIM118 (a record is no mapping)
        view = ReplayView(
            **{
                **values,
                "state": ReplayState(row["state"]),
                "filter": _filter_of.decode(row["filter"]),
                "outcomes": {each["outcome"]: each["events"] for each in outcomes},
                "changes": [_change_of.decode(each["change"]) for each in changes],
            }
        )
        return Kept(view, row["regies"])

    async def step(self, replay_id: int) -> Step:
        """Do one batch of a replay of ours, and commit it with how far that is."""
        return await self._store.again(partial(self._step, replay_id))

    async def _step(self, replay_id: int) -> Step:
        async with self._store.transaction() as conn:
            row = await conn.fetchrow(QUERIES.hold, replay_id, self._runner, LEASE)
            if row is None:
                self._seen.pop(replay_id, None)
                return Step(0, done=True)
            held = _Held(**{**dict(row), "filter": _filter_of.decode(row["filter"])})
            step, batch = await (self._parked(conn, held) if held.filter.parked else self._applied(conn, held))
        seen = self._seen.setdefault(replay_id, Seen())
        for place in batch.places:
            seen.add(place)
        if step.done:
            self._seen.pop(replay_id, None)
        return step

    # events that were applied

    async def _applied(self, conn: Connection, held: _Held) -> tuple[Step, _Batch]:
        found = [row["place"] for row in await self._matching(conn, QUERIES.matched, held, PAGE)]
        seen = self._seen.get(held.id) or Seen()
        cursor, fresh, passed = _next(found, seen)
        batch = await self._replayed(conn, held, fresh) if fresh else _Batch()
        await _move_on(conn, held, cursor or held.last_place, passed, batch)
        done = len(found) < PAGE and passed == len(found)
        if done:
            await conn.execute(QUERIES.finish, held.id)
        return Step(len(batch.places), done), batch

    @staticmethod
    async def _matching(conn: Connection, query: str, held: _Held, limit: int) -> Sequence[Any]:
        said = _said(held.filter, held.regies)
        await conn.execute(QUERIES.take_time)
        found: Sequence[Any] = await conn.fetch(
            query, held.cursor_place, held.last_place, *said, limit, timeout=SCAN_SECONDS
        )
        await conn.execute(QUERIES.hurry)
        return found

    async def _replayed(self, conn: Connection, held: _Held, places: Sequence[int]) -> _Batch:
        """Recompute the dossiers of some events and put them right. A dry run writes nothing, by the same way."""
        matched = [_event(row) for row in await conn.fetch(QUERIES.named_by, rows.numbers(places))]
        if not matched:
            return _Batch(places=list(places))
        names = merged(matched, keys_of)
        for known_before in (True, *(False for _ in range(GROWS))):
            work = conn.transaction()
            await work.start()
            if not known_before:
                await _add_missing(conn, names)
            loaded = Loaded(names=names)
            await postgres.load_named(conn, loaded, {event.regie for event in matched})
            facts = await self._facts(conn, loaded)
            grown = grow(names, loaded, [fact.event for fact in facts], await _journalled(conn, loaded))
            cases = [] if grown else _cases(held, loaded, facts)
            if cases and not await _resolved_apart(conn, names, loaded, cases):
                found = await _restorations(conn, loaded, cases)
                await (work.rollback() if held.dry_run else _written(conn, work, held, loaded, found))
                return _batch(facts, cases, found)
            await work.rollback()
            if not (cases or grown):
                return _Batch(places=list(places))  # they are about no row: refused ones, and records of blankings
        raise GrewError

    async def _facts(self, conn: Connection, loaded: Loaded) -> list[Fact]:
        """Every applied fact about what is loaded, in the order of application."""
        known = Known(loaded)
        found = [(_event(row), row) for row in await _facts_named(conn, known.names())]
        kept = [(event, row) for event, row in found if known.has(event)]
        await self._learn_policies(conn, {(event.regie, row["policy_version"]) for event, row in kept})
        return [
            Fact(event, self._policies[event.regie, row["policy_version"]], row["decided_at"]) for event, row in kept
        ]

    async def _learn_policies(self, conn: Connection, versions: set[tuple[str, int]]) -> None:
        missing = {regie for regie, version in versions if (regie, version) not in self._policies}
        if missing:
            for row in rows.read_policies(await conn.fetchval(QUERIES.policies, sorted(missing))):
                self._policies[row.regie, row.version] = row.body

    # events that were parked

    async def _parked(self, conn: Connection, held: _Held) -> tuple[Step, _Batch]:
        """Give parked events back; once all were given back, look what became of them."""
        found = [row["place"] for row in await self._matching(conn, QUERIES.matched_parked, held, BATCH)]
        if found and held.dry_run:
            batch = _Batch(lines=await _foreseen(conn, found))
            await _move_on(conn, held, found[-1], len(found), batch)
            return Step(len(found), done=False), batch
        if found:
            queues = await conn.fetch(QUERIES.unpark, held.id, rows.numbers(found))
            await _move_on(conn, held, found[-1], len(found), _Batch())
            return Step(len(found), done=False, rung=tuple(Queue(row["queue"]) for row in queues)), _Batch()
        return await self._look_back(conn, held), _Batch()

    async def _look_back(self, conn: Connection, held: _Held) -> Step:
        outcomes = {row["outcome"] for row in await conn.fetch(QUERIES.parked_outcomes, held.id)}
        if "waiting" in outcomes:
            return Step(0, done=False)
        caused = await conn.fetch(QUERIES.parked_changes, held.id)
        lines = [_Line(subject=f"journal {row['id']}", change=_caused(row)) for row in caused]
        await _move_on(conn, held, held.last_place, 0, _Batch(lines=lines))
        await conn.execute(QUERIES.finish, held.id)
        return Step(0, done=True)


async def _foreseen(conn: Connection, places: Sequence[int]) -> list[_Line]:
    """Decide parked events, each alone, and take it back. What a callback says is known once it is read."""
    lines: list[_Line] = []
    for row in await conn.fetch(QUERIES.named_by, rows.numbers(places)):
        work = conn.transaction()
        await work.start()
        try:
            changes = await _foretold(conn, _event(row))
            lines += [_Line(subject=f"{row['place']}/{nth}", change=change) for nth, change in enumerate(changes)]
        except Exception as error:  # noqa: BLE001 - what parked it may do so again
            log.info("parked_event_would_fail", place=row["place"], error=type(error).__name__)
        await work.rollback()
    return lines


async def _foretold(conn: Connection, event: Event) -> list[Change]:
    """What an event would change if it were applied now."""
    names = merged([event], keys_of)
    await _add_missing(conn, names)
    loaded = Loaded(names=names)
    await postgres.load_named(conn, loaded, {event.regie})
    assert loaded.now is not None
    changes: list[Change] = []
    for dossier, events in dossiers_of(loaded, [event]):
        decision = decide(dossier, events, loaded.policies[dossier.regie][1], loaded.now)
        for entry in decision.journal:
            invoice = dossier.invoices.get(entry.invoice_id or 0)
            payment = dossier.payments.get(entry.payment_id or 0)
            changes.append(
                Change(
                    regie=entry.regie,
                    invoice=None if invoice is None else invoice.number,
                    payment=None if payment is None else payment.reference,
                    before=entry.before,
                    after=entry.after,
                    reason=entry.reason,
                    fields=["state"],
                )
            )
    return changes


def _caused(row: Mapping[str, Any]) -> Change:
    told = {name: row[name] for name in ("regie", "invoice", "payment", "before", "after", "reason")}
    return Change(**told, fields=["state"])


class _Case(NamedTuple):
    """A dossier as it is and as its facts say; None: nobody can say, the log tells why."""

    stored: Dossier
    expected: Dossier | None


class _Found(NamedTuple):
    """What puts a dossier right, and the dossier as it is to be."""

    restoration: Restoration
    expected: Dossier


def _cases(held: _Held, loaded: Loaded, facts: Sequence[Fact]) -> list[_Case]:
    """Part what is loaded into dossiers, and recompute each."""
    loaded.names = merged([fact.event for fact in facts], keys_of)
    by_place = {fact.event.place: (nth, fact) for nth, fact in enumerate(facts)}
    cases: list[_Case] = []
    for stored, events in dossiers_of(loaded, [fact.event for fact in facts]):
        mine = [fact for _, fact in sorted(by_place[event.place] for event in events)]
        cases.append(_Case(stored, _recomputed(held, stored, mine)))
    return cases


def _recomputed(held: _Held, stored: Dossier, facts: Sequence[Fact]) -> Dossier | None:
    expected = blank(stored)
    try:
        recompute(expected, facts)
    except Exception as error:  # noqa: BLE001 - one dossier must not keep the others from being put right
        told = {"replay": held.id, "regie": stored.regie, "place": facts[-1].event.place}
        log.error("dossier_not_recomputed", **told, error=type(error).__name__)  # noqa: TRY400 - a traceback has values
        return None
    return expected


def _shown(cases: Sequence[_Case]) -> set[str]:
    """Name the discrepancies that facts opened, however they ended."""
    return {key for case in cases if case.expected for key in case.expected.discrepancies}


async def _resolved_apart(conn: Connection, names: Names, loaded: Loaded, cases: Sequence[_Case]) -> bool:
    """Add discrepancies that nothing loaded leads to any more, and that a person resolved; False: there are none."""
    unknown = _shown(cases) - loaded.discrepancies.keys()
    found = await _facts_named(
        conn, {(regie, key) for regie in {case.stored.regie for case in cases} for key in unknown}
    )
    resolved = {event.data.id for event in map(_event, found) if event.type is EventType.DISCREPANCY_RESOLVED}
    names.discrepancies |= resolved
    return bool(resolved)


async def _restorations(conn: Connection, loaded: Loaded, cases: Sequence[_Case]) -> list[_Found]:
    """Compare everything that is locked with what the facts say."""
    await _read_shown(conn, loaded, cases)
    timers = await conn.fetch(QUERIES.timers, rows.numbers(loaded.payments))
    loaded.timers = {row["payment_id"]: row["payable_again_at"] for row in timers}
    assert loaded.now is not None
    found: list[_Found] = []
    for stored, expected in cases:
        if expected is not None:
            scene = Scene(loaded.policies[stored.regie][1], loaded.now)
            found.append(_Found(restored(stored, loaded.timers, expected, scene), expected))
    return [each for each in found if each.restoration.changes]


def _batch(facts: Sequence[Fact], cases: Sequence[_Case], found: Sequence[_Found]) -> _Batch:
    return _Batch(
        lines=[_Line(subject=_subject(change), change=change) for each in found for change in each.restoration.changes],
        failed=sum(case.expected is None for case in cases),
        places=[fact.event.place for fact in facts],
    )


def _next(places: Sequence[int], seen: Seen) -> tuple[int | None, list[int], int]:
    """Choose the next batch: up to where, which events, and how many were passed."""
    fresh: list[int] = []
    passed = 0
    cursor = None
    for place in places:
        if len(fresh) == BATCH:
            break
        if place not in seen:
            fresh.append(place)
        cursor = place
        passed += 1
    return cursor, fresh, passed


def _said(wanted: Filter, regies: Sequence[str] | None) -> tuple[Any, ...]:
    """The conditions of a filter, as `matched` takes them."""
    reached = [wanted.regie] if wanted.regie is not None else None if regies is None else list(regies)
    kind, outcome = wanted.type and wanted.type.value, wanted.outcome and wanted.outcome.value
    return wanted.ids, wanted.since, wanted.until, reached, kind, outcome


def _event(row: Mapping[str, Any]) -> Event:
    return rows.event({**row, "attempts": 0, "waited": False})


async def _facts_named(conn: Connection, names: set[Name]) -> Sequence[Any]:
    found: Sequence[Any] = await conn.fetch(QUERIES.facts, *pairs(names))
    return found


async def _journalled(conn: Connection, loaded: Loaded) -> set[Name]:
    """Name the payments that ever changed an invoice of these."""
    found = await conn.fetch(QUERIES.payers_journalled, rows.numbers(loaded.invoices))
    return {(row["regie"], row["reference"]) for row in found}


async def _add_missing(conn: Connection, names: Names) -> None:
    """Create the named rows that are missing, to be filled from their facts."""
    accounts = rows.json_text([None] * len(names.invoices))
    await conn.execute(
        postgres.QUERIES.add_missing,
        *pairs(names.references),
        *pairs(names.invoices),
        accounts,
        *pairs(names.payments),
    )


async def _read_shown(conn: Connection, loaded: Loaded, cases: Sequence[_Case]) -> None:
    """Lock and read the discrepancies of each dossier, last of all.

    GrewError: a fact came meanwhile about a reference that has no row to lock.
    """
    ids = sorted(loaded.discrepancies.keys() | _shown(cases))
    shown = {row.id: row for row in rows.read_discrepancies(await conn.fetchval(QUERIES.lock_shown, ids))}
    loaded.changed_at = {row.id: row.changed_at for row in shown.values()}
    for stored, expected in cases:
        keys = {*stored.discrepancies, *(() if expected is None else expected.discrepancies)}
        stored.discrepancies = {key: shown[key] for key in keys if key in shown}
    loose = loaded.names.looked_up - Known(loaded).references
    if loose:
        again = [_event(row) for row in await _facts_named(conn, loose)]
        if any(event.type is EventType.GATEWAY_REPORT and event.place not in loaded.names.by_event for event in again):
            raise GrewError


async def _written(
    conn: Connection,
    work: Any,  # noqa: ANN401 (a transaction)
    held: _Held,
    loaded: Loaded,
    found: Sequence[_Found],
) -> None:
    """Put right what differs: first what must go, then the rows as they should be, with who had it done and why."""
    if found:
        assert loaded.now is not None
        await _drop(conn, loaded, [each.restoration for each in found])
        told = [_restored_event(held, loaded.now, nth, each.restoration) for nth, each in enumerate(found)]
        kept = await postgres.keep_own(conn, told)
        events = sorted(kept.values(), key=attrgetter("place"))
        decided = [_decided(loaded, each, event) for each, event in zip(found, events, strict=True)]
        changes = changes_of(loaded, [decision for decision, _ in decided])
        over = {row.id for row in changes.payments if row.hold_over or row.state is None}
        changes.ended = sorted(over & loaded.timers.keys())
        outcomes = [(event, outcome) for event, (_, outcome) in zip(events, decided, strict=True)]
        add_outcomes(changes, loaded, Done(applied=outcomes))
        await postgres.save(conn, loaded.now, changes)
        await postgres.save_apart(conn, loaded, [decision for decision, _ in decided])
    await work.commit()


def _decided(loaded: Loaded, found: _Found, event: Event) -> tuple[Decision, Applied]:
    """Decide the event that keeps a restoration, and write with it the rows that were put right."""
    assert loaded.now is not None
    decision = decide(found.expected, [event], loaded.policies[event.regie][1], loaded.now)
    (outcome,) = decision.outcomes
    rows_of = found.restoration.decision
    rows_of.journal = decision.journal
    found_so = [structs.replace(effect, place=event.place) for effect in rows_of.effects]
    rows_of.effects = [*decision.effects, *found_so]
    return rows_of, outcome


def _restored_event(held: _Held, now: datetime, nth: int, found: Restoration) -> NewEvent:
    """The event that says which replay restored a dossier, who asked for it and why: it is sealed with the others."""
    assert held.comment is not None, "only a dry run has none"
    first = found.changes[0]
    data = DossierRestored(
        regie=first.regie,
        replay=held.id,
        by=held.client,
        comment=held.comment,
        rows=found.rows,
        **_found_by(first, found.rows),
    )
    return NewEvent(
        client="lettrage",
        source=f"/replays/{held.id}",
        id=f"{now.isoformat()}/{nth}",
        type=EventType.DOSSIER_RESTORED,
        regie=first.regie,
        data=data,
        digest=digest_of(EventType.DOSSIER_RESTORED, data),
    )


def _found_by(first: Change, restored_rows: Sequence[RestoredRow]) -> dict[str, str | None]:
    """One name of the dossier, by which the event is found again."""
    for row in restored_rows:
        return {"number": row.invoice} if row.invoice is not None else {"reference": row.payment}
    if first.gateway_reference is not None:
        return {"gateway_reference": first.gateway_reference}
    return {"id": first.discrepancy}


async def _drop(conn: Connection, loaded: Loaded, found: Sequence[Restoration]) -> None:
    """Take away lines that are written anew, and what no fact tells of."""
    lines = {payment_id for each in found for payment_id in each.lines}
    loaded.lines = {key: held for key, held in loaded.lines.items() if key[0] not in lines}
    charges = [key for each in found for key in each.charges]
    adjustments = [row for each in found for row in each.adjustments]
    await conn.execute(QUERIES.drop_lines, sorted(lines))
    await conn.execute(QUERIES.drop_charges, [key for key, _ in charges], [name for _, name in charges])
    names = ("kind", "fact_id", "invoice_id", "payment_id")
    await conn.execute(QUERIES.drop_adjustments, *rows.columns(adjustments, names))


async def _move_on(conn: Connection, held: _Held, cursor: int, passed: int, batch: _Batch) -> None:
    """Keep how far a replay is, with what this batch changed."""
    lines = [{"subject": line.subject, "change": line.change} for line in batch.lines]
    await conn.execute(QUERIES.move_on, held.id, cursor, passed, batch.failed, rows.json_text(lines), LEASE)


def _subject(change: Change) -> str:
    for kind in ("discrepancy", "invoice", "payment"):
        if (name := getattr(change, kind)) is not None:
            return f"{kind} {change.regie}/{name}"
    return f"reference {change.regie}/{change.gateway_reference}"
