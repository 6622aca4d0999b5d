"""Reconciling: claim what is pending, read what gateways said, decide and write, put off what fails.

Nothing here waits for Redis, and no gateway is asked inside a transaction.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import NamedTuple

import structlog

from monitoring.logs import trace_id
from schemas.decisions import Done
from schemas.events import ASKS, Event, EventType, NewEvent, Queue, digest_of, report_key
from schemas.records import DueAsk
from schemas.reports import Report, ReportResult
from worker.domain.decide import decide
from worker.domain.keys import with_followers
from worker.domain.record import PAYMENT_UNKNOWN
from worker.gateways.port import Answer, Claim
from worker.store.port import Store, StoreUnavailableError

Interpret = Callable[[Event], Awaitable[Report | Claim]]
"""Reads a callback; a claim is no proof by itself: its gateway is to be asked. Raises when it can't be read for now."""

Observe = Callable[[Done], None]
"""Is told what each transaction did, after its commit."""

Wake = Callable[[], None]
"""Has whoever asks gateways look what is due; returns at once."""

PassOn = Callable[[], None]

BATCH = 1000
"""Events decided in one transaction: past a few hundred, more gain little and are lost together."""

ALONE_AFTER = 2
"""Tries after which the store gives an event alone (worker.store.port)."""

SIDE_BY_SIDE = 2
"""Batches at once while there is a backlog: one is decided here while the database works on the other."""

PATIENCE_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses while the store can't be reached; then the events' lease ends and whoever comes next takes them."""

GIVE_WAY_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
"""Pauses for another worker's earlier facts; its batch takes less, and one that died over them is not waited for."""

log = structlog.get_logger()


class _Read(NamedTuple):
    """Callbacks with the reports that speak for them, by place, and facts that need none."""

    events: list[Event]
    reports: Mapping[int, NewEvent]


def nobody() -> None:
    """Wake nobody: nothing here is asked."""


class Reconciler:
    """Does the work of a bell: any number of them may run at once, anywhere."""

    def __init__(self, store: Store, interpret: Interpret, observe: Observe, ask: Wake = nobody) -> None:
        self._store = store
        self._interpret = interpret
        self._observe = observe
        self._ask = ask
        self._turn = asyncio.Lock()
        self._deciding = asyncio.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Claim nothing more: what is under way ends after its batch."""
        self._stopped = True

    async def drain(self, queue: Queue) -> int:
        """Apply everything claimable of `queue`'s kind; answers how many events got their outcome.

        Raises StoreUnavailableError when the store stays out of reach: nothing is lost, the lease ends.
        """
        total, more = await self._drain_batch(queue)
        if not more:
            return total
        return total + await _sum_of(self._drain_on(queue) for _ in range(SIDE_BY_SIDE))

    async def _drain_on(self, queue: Queue) -> int:
        total = 0
        while True:
            done, more = await self._drain_batch(queue)
            total += done
            if not more:
                return total

    async def _drain_batch(self, queue: Queue) -> tuple[int, bool]:
        """Claim and handle one batch; answers how many events are done and whether more may wait.

        Batches of facts take turns: one is claimed while the one before is decided, and locks when that is committed.
        """
        pass_on = await self._take_turn(queue)
        try:
            events = [] if self._stopped else await self._store.claim(queue, BATCH)
            return await self._handle(events, pass_on) if events else 0, _more_may_wait(events)
        finally:
            pass_on()

    async def _take_turn(self, queue: Queue) -> PassOn:
        """Wait for one's turn among batches of facts; answers what passes it on, which may be called again."""
        if queue is Queue.GATEWAY_CALLBACK:
            return _nothing
        await self._turn.acquire()
        left = [self._turn.release]

        def pass_on() -> None:
            if left:
                left.pop()()

        return pass_on

    @asynccontextmanager
    async def _in_turn(self, pass_on: PassOn) -> AsyncIterator[None]:
        """Lock, decide and commit alone in this process, in the order received, while the next batch is made ready.

        Side by side, a batch would find the rows that the other is about to change, wait, and look for them again.
        What gave way has passed its turn on, and comes between two batches.
        """
        async with self._deciding:
            pass_on()
            yield

    async def take_answers(self, answers: Sequence[tuple[DueAsk, Answer]]) -> None:
        """Apply what gateways answered: for the callbacks that made us ask, else as facts of their own.

        Of several callbacks about one reference the first speaks, the others say nothing new.
        """
        waiting = await self._store.called_back([due for due, _ in answers])
        by_reference = {due.gateway_reference_id: answer for due, answer in answers}
        first: dict[int, Event] = {}
        for due, callback in waiting:
            first.setdefault(due.gateway_reference_id, callback)
        reports = {callback.place: _report(callback, by_reference[key]) for key, callback in first.items()}
        await self._store.record(
            [_own_report(*asked) for asked in answers if asked[0].gateway_reference_id not in first]
        )
        if waiting:
            await self._apply(_Read([callback for _, callback in waiting], reports), _nothing)

    async def end_due_holds(self) -> int:
        """Write the end of every hold that is over, its evidence first; answers how many holds."""
        while not self._stopped and (evidence := await self._store.claim_evidence(BATCH)):
            await self._handle(evidence, _nothing)
        return await _sum_of(self._end_part(part) for part in range(SIDE_BY_SIDE))

    async def _end_part(self, part: int) -> int:
        total = 0
        while True:
            done = await self._sweep(part, BATCH)
            self._observe(done)
            total += len(done.applied)
            if self._stopped or len(done.applied) < BATCH:
                return total

    async def _sweep(self, part: int, limit: int) -> Done:
        """End holds; when that fails, fewer, until the one that fails stands alone and is set aside as an event."""
        try:
            return await self._store.end_due_holds(decide, limit, part, SIDE_BY_SIDE)
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a hold provokes must not keep the others locked
            if limit > 1:
                return await self._sweep(part, limit // 2)
            await self._store.set_aside_due_hold(part, SIDE_BY_SIDE)
            log.error("hold_set_aside", error=type(error).__name__)  # noqa: TRY400 - no traceback with values in it
            return Done()

    async def _handle(self, events: Sequence[Event], pass_on: PassOn) -> int:
        read = await self._read(events)
        *earlier, last = _runs(read.events)
        total = 0
        for run in earlier:
            total += await self._apply_in_order(_Read(run, read.reports), _nothing)
        return total + (await self._apply_in_order(_Read(last, read.reports), pass_on) if last else 0)

    async def _apply_in_order(self, read: _Read, pass_on: PassOn) -> int:
        """Apply a batch; what would overtake facts in another worker's hands comes after the rest, a moment later."""
        later = await self._overtaking(read.events)
        if not later:
            return await self._apply(read, pass_on)
        ready, waiting = ([e for e in read.events if (e.place in later) is late] for late in (False, True))
        total = await self._apply(_Read(ready, read.reports), pass_on) if ready else 0
        pass_on()
        for pause in GIVE_WAY_SECONDS:
            await asyncio.sleep(pause)
            if not await self._overtaking(waiting):
                break
        return total + await self._apply(_Read(waiting, read.reports), pass_on)

    async def _overtaking(self, events: Sequence[Event]) -> set[int]:
        """Places of what would overtake, with what names the same after it; none when it can't be found out.

        Giving way is a courtesy: whatever is wrong here is found again by applying, which knows whose fault it is.
        """
        if any(event.type is EventType.PAYMENT_STARTED for event in events):
            with suppress(Exception):
                return with_followers(events, await self._store.overtaking(events))
        return set()

    async def _read(self, events: Sequence[Event]) -> _Read:
        """Turn callbacks into reports; one that can't be read now is put off, the others go on.

        One whose report is kept already goes on without: its gateway is not asked again.
        """
        callbacks = [e for e in events if e.type is EventType.GATEWAY_CALLBACK and not e.reported]
        if not callbacks:
            return _Read(list(events), {})
        answers = await asyncio.gather(*map(self._interpret, callbacks), return_exceptions=True)
        reports: dict[int, NewEvent] = {}
        claims: list[tuple[Event, str]] = []
        for callback, answer in zip(callbacks, answers, strict=True):
            if isinstance(answer, Report):
                reports[callback.place] = _report(callback, Answer(report=answer))
            elif isinstance(answer, Claim):
                claims.append((callback, answer.gateway_reference))
            elif isinstance(answer, Exception):
                await self._put_off(callback, answer)
            else:
                raise answer
        reports |= await self._call_back(claims)
        unread = {callback.place for callback in callbacks} - reports.keys()
        kept = [event for event in events if event.place not in unread]
        return _Read(kept, reports)

    async def _call_back(self, claims: Sequence[tuple[Event, str]]) -> dict[int, NewEvent]:
        """Let callbacks wait for the answer of their gateway; those about what nobody started are told so now."""
        if not claims:
            return {}
        unowned = await self._store.call_back(claims)
        if len(unowned) < len(claims):
            self._ask()
        return {
            callback.place: _report(callback, Answer(report=_unknown(callback, reference)))
            for callback, reference in claims
            if callback.place in unowned
        }

    async def _apply(self, read: _Read, pass_on: PassOn) -> int:
        """Apply a batch; one that fails is cut in two, until the event that fails stands alone and is put off."""
        try:
            done = await self._patiently(read, pass_on)
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an event provokes must not block the others
            if len(read.events) == 1:
                await self._put_off(read.events[0], error)
                return 0
            middle = len(read.events) // 2
            first = await self._apply(_Read(read.events[:middle], read.reports), pass_on)
            return first + await self._apply(_Read(read.events[middle:], read.reports), pass_on)
        self._observe(done)
        return len(done.applied)

    async def _patiently(self, read: _Read, pass_on: PassOn) -> Done:
        """Repeat the same work while the store can't say what became of it: what was done is not done again."""
        turn = partial(self._in_turn, pass_on)
        for pause in PATIENCE_SECONDS:
            try:
                return await self._store.apply(read.events, decide, read.reports, turn)
            except StoreUnavailableError:
                await asyncio.sleep(pause)
        try:
            return await self._store.apply(read.events, decide, read.reports, turn)
        except StoreUnavailableError:
            with suppress(StoreUnavailableError):  # then one attempt is lost for the whole outage, which is little
                await self._store.give_back(read.events)
            raise

    async def _put_off(self, event: Event, error: Exception) -> None:
        parked = await self._store.put_off(event, f"{type(error).__name__}: {error}")
        log.error(
            "event_parked" if parked else "event_put_off",
            event_id=event.id,
            event_type=event.type.value,
            place=event.place,
            regie=event.regie,
            attempts=event.attempts,
            trace_id=trace_id(event.trace),
            error=type(error).__name__,
        )


async def _sum_of(works: Iterable[Awaitable[int]]) -> int:
    """Do works side by side to their ends; then raise the first failure, if any."""
    counts = await asyncio.gather(*works, return_exceptions=True)
    for count in counts:
        if isinstance(count, BaseException):
            raise count
    return sum(count for count in counts if isinstance(count, int))


def _runs(events: list[Event]) -> list[list[Event]]:
    """Part a batch where a discrepancy is resolved: what opens it is written first, should an archive bring both."""
    runs: list[list[Event]] = [[]]
    for event in events:
        if event.type is EventType.DISCREPANCY_RESOLVED and runs[-1]:
            runs.append([])
        runs[-1].append(event)
    return runs


def _nothing() -> None:
    pass


def _more_may_wait(events: Sequence[Event]) -> bool:
    """Tell whether a claim left something: a full one did, and an event that came alone went before the others."""
    return len(events) == BATCH or (len(events) == 1 and events[0].attempts > ALONE_AFTER)


def _unknown(callback: Event, reference: str) -> Report:
    return Report(
        regie=callback.regie,
        gateway_reference=reference,
        transaction_id="",
        result=ReportResult.NOTHING,
        verified=False,
        why=PAYMENT_UNKNOWN,
    )


def _report(callback: Event, answer: Answer) -> NewEvent:
    """The report that speaks for a callback. One that its gateway was asked for was received with the answer."""
    source, event_id = report_key(callback.client, callback.source, callback.id)
    report = answer.report
    return NewEvent(
        client="lettrage",
        source=source,
        id=event_id,
        type=EventType.GATEWAY_REPORT,
        regie=callback.regie,
        data=report,
        digest=digest_of(EventType.GATEWAY_REPORT, report),
        received_at=None if report.asked else callback.received_at,
        raw=answer.raw or None,
        trace=callback.trace,
    )


def _own_report(due: DueAsk, answer: Answer) -> NewEvent:
    """The report of an ask that no callback waits for: kept before it is decided, like any other fact."""
    return NewEvent(
        client="lettrage",
        source=ASKS,
        id=f"{due.regie}/{due.gateway_reference}/{due.asked_at.isoformat()}",
        type=EventType.GATEWAY_REPORT,
        regie=due.regie,
        data=answer.report,
        digest=digest_of(EventType.GATEWAY_REPORT, answer.report),
        raw=answer.raw or None,
        subject=due.gateway_reference,
        trace=due.trace,
    )
