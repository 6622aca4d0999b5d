"""The store on PostgreSQL: the only truth. Every method is one short transaction; `apply` is the heart.

Whatever a driver's exception says, the outcome of a transaction is unknown then: the connection is dropped and the same
work is done again, which is safe because what was done is no longer pending.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, Self, TypeAlias, TypeVar

import asyncpg
import msgspec

from schemas.decisions import Applied, Decision, Done, Dossier
from schemas.events import QUEUES, Event, EventType, NewEvent, PaymentTimedOut, Queue, Receipt, digest_of
from schemas.records import Discrepancy, DueAsk, GatewayReference, Line, Policy
from worker.domain.keys import keys_of
from worker.domain.retention import facts_digest
from worker.store import asks, rows
from worker.store.changes import Changes, add_outcomes, changes_of
from worker.store.grouping import Loaded, Names, dossiers_of, merged, spoken_for
from worker.store.port import Decide, StoreUnavailableError, Turn
from worker.store.sql import load

QUERIES = load("queries.sql")

QUEUE_NAMES = rows.json_text({kind.value: queue.value for kind, queue in QUEUES.items()})
"""Each type's queue, as JSON."""

T = TypeVar("T")

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Any]"

LEASE = timedelta(seconds=2)
"""From claim to take, which is milliseconds, or a batch and a moment for what gives way to another worker: a killed
worker's events are claimable again that soon."""
LAST_TRY = 8
"""After that many tries an event is parked."""
PART = 250
"""Dossiers decided while the ones before them are written: enough for one statement to be worth its round trip."""
COMMAND_SECONDS = 15.0
"""Longer than `statement_timeout`, so that the server gives up first and says why."""
ACQUIRE_SECONDS = 10.0
TRIES = 6
"""Of one transaction that lost a race; each waits longer."""
FULL_SWEEP = timedelta(seconds=5)
"""Deadlines can be born below the low-water mark of sweeps, which is only a hint: so often it is not believed."""
MARK_LAG = timedelta(seconds=2)

SETTINGS = {
    "timezone": "UTC",
    "statement_timeout": "12000",
    "lock_timeout": "8000",
    "idle_in_transaction_session_timeout": "10000",
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "random_page_cost": "1.1",
}
"""Every query here looks a few keys up by an index. A generic plan cached while the inbox is empty, or a whole table
hashed or merged that statistics or a kept plan still call small, makes each batch cost O(backlog) or O(history)."""


class GrewError(Exception):
    """Another worker is at the same dossier, which grew between looking and locking: roll back and take it again."""


class UnknownRegieError(Exception):
    """An event names a régie that no policy was ever stored for; start a process with it in the configuration."""


UNKNOWN = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
)
"""The server went away, is out of something, or took too long: nobody knows what was committed."""

RACES = (GrewError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.UniqueViolationError)
"""What another worker's commit explains: again, at once."""


class PostgresStore:
    """Facts in, states out. One per process, opened on its event loop."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self.pool = pool
        self._applying: set[int] = set()
        self._marks: dict[int, tuple[datetime, float]] = {}

    @classmethod
    async def open(cls, database_url: str, *, size: int = 4, application_name: str = "lettrage") -> Self:
        """Open the pool. Raises OSError or asyncpg.PostgresError when the database can't be reached."""
        pool = await asyncpg.create_pool(
            database_url,
            min_size=1,
            max_size=size,
            command_timeout=COMMAND_SECONDS,
            timeout=ACQUIRE_SECONDS,
            reset=keep_session,
            server_settings={**SETTINGS, "application_name": application_name},
        )
        return cls(pool)

    async def close(self) -> None:
        """Close the pool, by force when a query hangs."""
        try:
            await asyncio.wait_for(self.pool.close(), timeout=3)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self.pool.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """Lend a connection. Raises StoreUnavailableError when none can be had, or when its outcome is unknown."""
        try:
            async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
                try:
                    yield conn
                except UNKNOWN:
                    with suppress(asyncpg.InterfaceError):  # the pool has given it up already
                        conn.terminate()
                    raise
        except asyncpg.QueryCanceledError:
            raise
        except UNKNOWN as error:
            raise StoreUnavailableError(f"{type(error).__name__}: {error}") from error

    @asynccontextmanager
    async def _statement(self) -> AsyncIterator[Connection]:
        """Lend a connection for one statement that writes: its own transaction, two messages to the server less."""
        async with self._connection() as conn:
            yield conn

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with self._connection() as conn, conn.transaction():
            yield conn

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection within a transaction. Raises StoreUnavailableError when its outcome is unknown."""
        return self._transaction()

    async def again(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` again when it lost a race with another transaction."""
        return await self._again(work)

    async def sync_policies(self, policies: Mapping[str, Policy]) -> None:
        """Make the configuration's policies current, each a new version when it differs; others stay as they are."""
        for code, policy in sorted(policies.items()):
            await self._again(partial(self._sync_policy, code, policy))

    async def _sync_policy(self, code: str, policy: Policy) -> None:
        async with self._transaction() as conn:
            await conn.execute(QUERIES.sync_policy, code, policy.label, rows.json_text(policy))

    async def _again(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do `work` again when it lost a race with another transaction."""
        for attempt in range(1, TRIES):
            try:
                return await work()
            except RACES:
                await asyncio.sleep(0.005 * attempt * attempt)
        return await work()

    async def record(self, events: Sequence[NewEvent]) -> list[Receipt]:
        """Keep facts, all or none; see the port."""
        first: dict[tuple[str, str, str], NewEvent] = {}
        for event in events:
            first.setdefault((event.client, event.source, event.id), event)
        fresh = _with_facts(first.values())
        async with self._statement() as conn:
            kept = await conn.fetch(QUERIES.record, rows.json_text(fresh), QUEUE_NAMES)
            receipts = {_key(fresh[row["nth"] - 1]): (row["place"], b"") for row in kept}
            missing = [event for event in fresh if _key(event) not in receipts]
            if missing:
                known = await conn.fetch(QUERIES.known, *rows.columns(missing, ("client", "source", "id")))
                for row in known:
                    receipts[_key(missing[row["nth"] - 1])] = row["place"], bytes(row["digest"])
        return [self._receipt(event, first[_key(event)], *receipts[_key(event)]) for event in events]

    @staticmethod
    def _receipt(event: NewEvent, first: NewEvent, place: int, known: bytes) -> Receipt:
        """Say what became of an event; `known` is the digest of what was kept before, empty when nothing was."""
        if event is first and not known:
            return Receipt(place=place, status="accepted")
        same = (known or first.digest) in {event.digest, event.blanked}
        return Receipt(place=place, status="duplicate" if same else "conflict")

    async def claim(self, queue: Queue, limit: int) -> list[Event]:
        """Lease pending events; see the port."""
        query = QUERIES.claim_callbacks if queue is Queue.GATEWAY_CALLBACK else QUERIES.claim_facts
        return await self._lease(query, limit)

    async def claim_evidence(self, limit: int) -> list[Event]:
        """Lease the evidence of holds that are over; see the port."""
        return await self._lease(QUERIES.claim_evidence, limit)

    async def _lease(self, query: str, limit: int) -> list[Event]:
        async with self._statement() as conn:
            leased = await conn.fetch(query, limit, LEASE)
        found: list[Event] = []
        for row in leased:
            try:
                found.append(rows.event(row))
            except (msgspec.ValidationError, rows.UnknownTypeError) as error:
                await self._put_off(row["place"], f"data not of its type: {error}")
        return [event for event in found if not await self._exhausted(event)]

    async def _exhausted(self, event: Event) -> bool:
        """Park what took its worker down at every try; it came alone, so nothing else waits for this."""
        return event.attempts > LAST_TRY and await self._put_off(event.place, "its worker died at every try")

    async def apply(
        self,
        events: Sequence[Event],
        decide: Decide,
        reports: Mapping[int, NewEvent] | None = None,
        turn: Turn = nullcontext,
    ) -> Done:
        """Lock, read, decide, save and mark done in one transaction; see the port."""
        return await self._again(partial(self._apply, events, decide, reports or {}, turn))

    async def overtaking(self, events: Sequence[Event]) -> set[int]:
        """Find what would overtake another worker's earlier facts; see the port."""
        starts = [
            (event.regie, line.number, event.place)
            for event in events
            if event.type is EventType.PAYMENT_STARTED
            for line in event.data.invoices
        ]
        if not starts:
            return set()
        named = list(map(list, zip(*starts, strict=True)))
        ours = list(self._applying.union(event.place for event in events))
        async with self._connection() as conn:
            return {row["place"] for row in await conn.fetch(QUERIES.overtaking, *named, ours)}

    async def _apply(
        self,
        events: Sequence[Event],
        decide: Decide,
        reports: Mapping[int, NewEvent],
        turn: Turn,
    ) -> Done:
        async with AsyncExitStack() as until_committed, self._transaction() as conn:
            places = rows.numbers(event.place for event in events)
            taken = {row["place"] for row in await conn.fetch(QUERIES.take, places)}
            mine = [event for event in events if event.place in taken]
            if not mine:
                return Done()
            told = {event.place: reports[event.place] for event in mine if event.place in reports}
            own = await keep_own(conn, list(told.values()))
            answers = {place: own[key].place for place, new in told.items() if (key := (new.source, new.id)) in own}
            facts = [*(event for event in mine if event.type is not EventType.GATEWAY_CALLBACK), *own.values()]
            named = [*mine, *own.values()]
            loaded = Loaded(names=merged(named, keys_of))
            await _add_missing(conn, loaded.names, named)
            await until_committed.enter_async_context(turn())
            until_committed.callback(self._applying.difference_update, taken - self._applying)
            self._applying |= taken
            await load_named(conn, loaded, {event.regie for event in named})
            return await _reconcile(conn, loaded, facts, decide, _Callbacks(mine, answers))

    async def call_back(self, claims: Sequence[tuple[Event, str]]) -> set[int]:
        """Take callbacks that make us ask; see the port."""
        return await self._again(partial(self._call_back, claims))

    async def _call_back(self, claims: Sequence[tuple[Event, str]]) -> set[int]:
        named = {event.place: (event.regie, reference) for event, reference in claims}
        async with self._transaction() as conn:
            await asks.wait_for_asks(conn, claims)
            references = await _lock_references(conn, set(named.values()))
            await asks.note_calls(conn, [row.id for row in references])
        owned = {(row.regie, row.gateway_reference) for row in references if row.payment_id is not None}
        return {place for place, name in named.items() if name not in owned}

    async def claim_asks(self, regies: Sequence[str], limit: int) -> list[DueAsk]:
        """Take asks that are due; see the port."""
        async with self._statement() as conn:
            return await asks.claim(conn, regies, limit)

    async def called_back(self, due: Sequence[DueAsk]) -> list[tuple[DueAsk, Event]]:
        """Find the callbacks that wait for asks; see the port."""
        async with self._connection() as conn:
            return await asks.called_back(conn, due)

    async def asks_waiting(self, regies: Sequence[str], older_than_seconds: float) -> bool:
        """Tell whether an ask is due that nobody took; see the port."""
        async with self._connection() as conn:
            return await asks.waiting(conn, regies, timedelta(seconds=older_than_seconds))

    async def end_due_holds(self, decide: Decide, limit: int, part: int = 0, parts: int = 1) -> Done:
        """Write the end of holds that are over; see the port."""
        return await self._again(partial(self._end_due_holds, decide, limit, part, parts))

    async def _end_due_holds(self, decide: Decide, limit: int, part: int, parts: int) -> Done:
        async with self._transaction() as conn:
            if not await conn.fetchval(QUERIES.one_sweep, part):
                return Done()
            full, mark = self._low_water_mark(part)
            due = await conn.fetch(QUERIES.due_holds, limit, mark, part, parts)
            if not due:
                if full:
                    await self._raise_mark(conn, part)
                return Done()
            own = await keep_own(conn, [_timed_out(row) for row in due])
            events = list(own.values())
            loaded = Loaded(names=merged(events, keys_of))
            await load_named(conn, loaded, {event.regie for event in events})
            assert loaded.now is not None
            loaded.now = max(loaded.now, due[-1]["payable_again_at"])  # a clock set back meanwhile takes no end back
            return await _reconcile(conn, loaded, events, decide, _Callbacks([], {}))

    async def give_back(self, events: Sequence[Event]) -> None:
        """Take back one attempt at events that could not be tried; see the port."""
        async with self._transaction() as conn:
            await conn.execute(QUERIES.give_back, [event.place for event in events])

    async def set_aside_due_hold(self, part: int = 0, parts: int = 1) -> None:
        """Make the oldest hold that is over a pending event; see the port."""
        async with self._connection() as conn:
            due = await conn.fetch(QUERIES.due_holds, 1, None, part, parts)
        await self.record([_timed_out(row) for row in due])

    def _low_water_mark(self, part: int) -> tuple[bool, datetime | None]:
        """Where to look from: past what earlier sweeps ended, whose dead index entries cost time; now and then, all."""
        mark, since = self._marks.get(part, (None, 0.0))
        full = mark is None or asyncio.get_running_loop().time() - since >= FULL_SWEEP.total_seconds()
        return full, None if full else mark

    async def _raise_mark(self, conn: Connection, part: int) -> None:
        mark = await conn.fetchval(QUERIES.low_water_mark, MARK_LAG)
        self._marks[part] = mark, asyncio.get_running_loop().time()

    async def put_off(self, event: Event, error: str) -> bool:
        """Give a failed event back; see the port."""
        return await self._put_off(event.place, error)

    async def _put_off(self, place: int, error: str) -> bool:
        async with self._transaction() as conn:
            return bool(await conn.fetchval(QUERIES.put_off, place, error, LAST_TRY))

    async def next_deadline(self) -> float | None:
        """Seconds until the next hold is over; see the port."""
        async with self._connection() as conn:
            seconds: float | None = await conn.fetchval(QUERIES.next_deadline)
        return seconds

    async def waiting(self, older_than_seconds: float) -> list[Queue]:
        """Queues that nobody drained; see the port."""
        async with self._connection() as conn:
            found = await conn.fetch(QUERIES.waiting, timedelta(seconds=older_than_seconds))
        known = set(Queue)  # a newer release may have others, while both run
        return [Queue(row["queue"]) for row in found if row["queue"] in known]


async def keep_session(_connection: "asyncpg.Connection[Any]") -> None:
    """Nothing here changes a session beyond its transaction: a round trip to undo that would only cost time."""


class _Callbacks(NamedTuple):
    """Events to be marked done with, and for each callback the place of the report that speaks for it."""

    taken: list[Event]
    answers: dict[int, int]


def _key(event: NewEvent) -> tuple[str, str, str]:
    return event.client, event.source, event.id


def _timed_out(row: Any) -> NewEvent:  # noqa: ANN401 - an asyncpg.Record
    regie, reference, due = row["regie"], row["reference"], row["payable_again_at"]
    data = PaymentTimedOut(regie=regie, reference=reference, due=due)
    return NewEvent(
        client="lettrage",
        source="/clock",
        id=f"{regie}/{reference}/{due.isoformat()}",
        type=EventType.PAYMENT_TIMED_OUT,
        regie=regie,
        data=data,
        digest=digest_of(EventType.PAYMENT_TIMED_OUT, data),
        subject=reference,
    )


async def keep_own(conn: Connection, events: Sequence[NewEvent]) -> dict[tuple[str, str], Event]:
    """Keep events of our own; those kept before by another are left out: they are another's to apply."""
    if not events:
        return {}
    by_key = {(event.source, event.id): event for event in events}
    kept = await conn.fetch(QUERIES.keep_own, rows.json_text(_with_facts(events)))
    return {
        (row["source"], row["id"]): _event(by_key[row["source"], row["id"]], row["place"], row["received_at"])
        for row in kept
    }


def _with_facts(events: Iterable[NewEvent]) -> list[NewEvent]:
    """Give events the digest of what will be left of them, so that it is sealed while they are whole."""
    found = list(events)
    for event in found:
        event.facts = facts_digest(event.type, event.data)
    return found


def _event(new: NewEvent, place: int, received_at: datetime) -> Event:
    return Event(
        place=place,
        client="lettrage",
        source=new.source,
        id=new.id,
        type=new.type,
        regie=new.regie,
        received_at=received_at,
        data=new.data,
        trace=new.trace,
    )


async def _reconcile(
    conn: Connection, loaded: Loaded, events: Sequence[Event], decide: Decide, callbacks: _Callbacks
) -> Done:
    """Decide and save what is loaded and locked, in the caller's transaction."""
    policies, now = loaded.policies, loaded.now
    assert now is not None
    done = Done(decided_at=now)
    decisions: list[Decision] = []
    outcomes: dict[int, Applied] = {}
    changes = Changes()
    async with _Behind() as behind:
        for part in _parts(dossiers_of(loaded, events)):
            if decisions:
                await behind.write(save(conn, now, changes))
            decided = [decide(dossier, mine, policies[dossier.regie][1], now) for dossier, mine in part]
            for (dossier, _), decision in zip(part, decided, strict=True):
                outcomes.update((applied.place, applied) for applied in decision.outcomes)
                done.lateness.extend((dossier.regie, seconds) for seconds in decision.lateness_seconds)
            decisions += decided
            changes = changes_of(loaded, decided)
    outcomes.update(spoken_for(callbacks.taken, callbacks.answers, outcomes))
    seen = {event.place: event for event in (*events, *callbacks.taken)}
    done.applied = [(seen[place], outcomes[place]) for place in sorted(outcomes)]
    add_outcomes(changes, loaded, done)
    await save(conn, now, changes)
    await save_apart(conn, loaded, decisions)
    return done


Part = list[tuple[Dossier, list[Event]]]


def _parts(dossiers: Iterator[tuple[Dossier, list[Event]]]) -> Iterator[Part]:
    while part := list(islice(dossiers, PART)):
        yield part


async def save(conn: Connection, now: datetime, changes: Changes) -> None:
    """Write what decisions change."""
    await conn.execute(QUERIES.save, now, *changes.texts())


class _Behind:
    """Writes what one part of a batch changed while the next part is decided: the database works meanwhile."""

    def __init__(self) -> None:
        self._writing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, failure: type[BaseException] | None, *_: object) -> None:
        """A connection takes one statement at a time: whatever failed, what is being written ends before a rollback."""
        if self._writing is None:
            return
        await asyncio.wait({self._writing})
        broken = self._writing.exception()
        if broken is not None and failure is None:
            raise broken

    async def write(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin to write, once what was begun before is written; raises what that raised."""
        if self._writing is not None:
            await self._writing
        self._writing = asyncio.create_task(work)
        for _ in ("begins", "is sent"):  # a turn of the loop each, before this process is busy with deciding
            await asyncio.sleep(0)


async def _lock_references(conn: Connection, names: set[tuple[str, str]]) -> list[GatewayReference]:
    """Lock what a callback and its payment-started both name, whichever comes first."""
    await conn.execute(QUERIES.add_references, *_pairs(names))
    found = await conn.fetch(QUERIES.lock_references, *_pairs(names))
    return [GatewayReference(**dict(row)) for row in found]


async def load_named(conn: Connection, loaded: Loaded, regies: Iterable[str]) -> None:
    """Lock everything that is named and what belongs to it, in the one order, then read it. GrewError: again."""
    names = loaded.names
    locked = await conn.fetchrow(
        QUERIES.lock,
        *_pairs(names.references | names.looked_up),
        *_pairs(names.invoices),
        *_pairs(names.payments),
        sorted(names.discrepancies),
    )
    assert locked is not None
    await _read_dossiers(conn, loaded, locked, sorted(set(regies)))


async def _add_missing(conn: Connection, names: Names, events: Sequence[Event]) -> None:
    issued = {(e.regie, e.data.number): e.data.account for e in events if e.type is EventType.INVOICE_ISSUED}
    accounts = rows.json_text([issued.get(name) for name in sorted(names.invoices)])
    await conn.execute(
        QUERIES.add_missing, *_pairs(names.references), *_pairs(names.invoices), accounts, *_pairs(names.payments)
    )


def _pairs(names: set[tuple[str, str]]) -> tuple[str, str]:
    """Régies and names, in order, as two JSON texts."""
    ordered = sorted(names)
    return rows.json_text([regie for regie, _ in ordered]), rows.json_text([name for _, name in ordered])


async def _read_dossiers(conn: Connection, loaded: Loaded, locked: rows.Row, regies: list[str]) -> None:
    """Read what is locked and what decides: later than the locks, or somebody decided later still.

    GrewError: something belongs to what was not reached when the locks were taken.
    """
    discrepancies = sorted(loaded.names.discrepancies)
    read = await conn.fetchrow(
        QUERIES.read_dossiers, locked["invoices"], locked["payments"], locked["refs"], discrepancies, regies
    )
    assert read is not None
    loaded.now = read["now"]
    loaded.policies = {row.regie: (row.version, row.body) for row in rows.read_policies(read["policies"])}
    if missing := set(regies) - loaded.policies.keys():
        raise UnknownRegieError(", ".join(sorted(missing)))
    loaded.invoices = {row.id: row for row in rows.read_invoices(read["invoices"])}
    loaded.payments = {row.id: row for row in rows.read_payments(read["payments"])}
    loaded.references = {row.id: row for row in rows.read_references(read["refs"])}
    _place_lines(loaded, rows.read_lines(read["lines"]))
    holding = (row for row in loaded.payments.values() if row.state is not None and not row.hold_over)
    loaded.timers = {row.id: row.payable_again_at for row in holding}
    loaded.charges = rows.read_charges(read["charges"])
    loaded.adjustments = rows.read_adjustments(read["adjustments"])
    known = rows.read_discrepancies(read["discrepancies"])
    if orphans := loaded.orphan_discrepancies():
        known += rows.read_discrepancies(await conn.fetchval(QUERIES.read_orphans, sorted(orphans)))
    loaded.discrepancies = {row.id: row for row in known}
    loaded.changed_at = {row.id: row.changed_at for row in known}


def _place_lines(loaded: Loaded, lines: Sequence[rows.StoredLine]) -> None:
    """Give each payment its lines. GrewError: one belongs to what is not locked, or a reference's owner is not."""
    for row in lines:
        if row.payment_id not in loaded.payments or row.invoice_id not in loaded.invoices:
            raise GrewError
        line = Line(invoice_id=row.invoice_id, cents=row.cents, held=row.held)
        loaded.payments[row.payment_id].lines.append(line)
        loaded.lines[row.payment_id, row.invoice_id] = row.held
    if any(row.payment_id is not None and row.payment_id not in loaded.payments for row in loaded.references.values()):
        raise GrewError


async def save_apart(conn: Connection, loaded: Loaded, decisions: Sequence[Decision]) -> None:
    """Write what takes locks of its own, last: asks, and discrepancies by id."""
    planned = [ask for decision in decisions for ask in decision.asks.values()]
    if planned:
        await asks.save(conn, planned)
    discrepancies = [row for decision in decisions for row in decision.discrepancies.values()]
    if discrepancies:
        await _save_discrepancies(conn, loaded, discrepancies)


async def _save_discrepancies(conn: Connection, loaded: Loaded, changed: Sequence[Discrepancy]) -> None:
    """Write discrepancies. GrewError: another wrote one since it was read; without a payment nothing kept it away."""
    ids = [row.id for row in changed]
    stored = {row["id"]: row["changed_at"] for row in await conn.fetch(QUERIES.lock_discrepancies, ids)}
    if stored != {key: loaded.changed_at[key] for key in ids if key in loaded.changed_at}:
        raise GrewError
    kept = await conn.fetch(QUERIES.save_discrepancies, rows.json_text(changed))
    if any(row["is_new"] == (row["id"] in stored) for row in kept):
        raise GrewError
