"""Group commit: the events of requests that arrive together are recorded together.

A flush takes whatever came during the one before it, so nobody waits for a timer. Source: the design's rule 3 and
`performance.md` (25,000 against 6,700 events/s with an INSERT per request).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import asyncpg
import structlog

from monitoring.outages import Outage
from schemas.events import QUEUES, NewEvent, Queue, Receipt

log = structlog.get_logger()

MAX_WAITING = 10_000
"""Events held in memory for a commit: half a second of the fastest ingest, and at most some tens of megabytes."""
MAX_FLUSH = 1_000
"""Events in one commit; a single request's batch is never divided."""
REPEATS = 3
"""A flush whose outcome is unknown is tried so often before its callers are told to come back."""
REPEAT_SECONDS = 0.2
"""Between tries: a dropped connection is replaced at once, a restarting server is not waited for."""
PATIENCE_SECONDS = 5.0
"""A server that is silent for longer is not tried again: whoever waits behind it wants an answer."""

BAD_ROW = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, OverflowError, TypeError, ValueError)
"""The event's own fault, for ever (the last three: the driver could not write it down); everything else passes."""


class Records(Protocol):
    """Keeps facts, all or none."""

    async def record(self, events: Sequence[NewEvent]) -> list[Receipt]:
        """One receipt each, in their order, after the commit."""
        ...


class Overloaded(Exception):  # noqa: N818 (a state of ours, told as 503)
    """More waits for a commit than may be held, or the database cannot be reached. Nothing was promised."""


Receipts = list[Receipt | None]
"""In the order of the events; None for one that the database refuses. It got past every check: look at the log."""


@dataclass(eq=False, slots=True)
class _Waiting:
    events: Sequence[NewEvent]
    receipts: asyncio.Future[Receipts]


class Ingest:
    """Records events for many requests at once; `recorded` hears of each queue that got some, after the commit."""

    def __init__(self, store: Records, recorded: Callable[[Queue], object]) -> None:
        self._store = store
        self._recorded = recorded
        self._waiting: deque[_Waiting] = deque()
        self._held = 0
        self._flusher: asyncio.Task[None] | None = None
        self._outage = Outage("recording_fails", "recording_works")

    @property
    def held(self) -> int:
        """Events in memory that no commit has kept yet."""
        return self._held

    async def record(self, events: Sequence[NewEvent]) -> Receipts:
        """One receipt each, in their order, once they are committed; a cancelled caller cancels nothing.

        Raises:
            Overloaded: they could not be kept now; the same request may be sent again.
        """
        if self._held and self._held + len(events) > MAX_WAITING:
            raise Overloaded
        receipts: asyncio.Future[Receipts] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(events, receipts))
        self._held += len(events)
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush_all())
        return await receipts

    async def drain(self) -> None:
        """Wait until everything taken is committed or refused."""
        while self._flusher is not None:
            await asyncio.wait([self._flusher])

    async def _flush_all(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                try:
                    await self._flush(batch)
                finally:
                    self._held -= sum(len(waiting.events) for waiting in batch)
        finally:
            self._flusher = None

    def _take(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        count = len(batch[0].events)
        while self._waiting and count + len(self._waiting[0].events) <= MAX_FLUSH:
            batch.append(self._waiting.popleft())
            count += len(batch[-1].events)
        return batch

    async def _flush(self, batch: list[_Waiting]) -> None:
        try:
            receipts = await self._halved([event for waiting in batch for event in waiting.events])
        except Overloaded as error:
            _refuse(batch, error)
        except BaseException:
            _refuse(batch, Overloaded())
            raise
        else:
            _hand_out(batch, receipts)
            self._tell(batch)

    async def _halved(self, events: list[NewEvent]) -> Receipts:
        """Record events; while one of them is bad, halve them until only that one is left out."""
        try:
            return list(await self._surely(events))
        except BAD_ROW:
            if len(events) == 1:
                log.exception("event_unstorable", event_id=events[0].id, regie=events[0].regie)
                return [None]
            middle = len(events) // 2
            return await self._halved(events[:middle]) + await self._halved(events[middle:])

    async def _surely(self, events: Sequence[NewEvent]) -> list[Receipt]:
        """Record; an unknown outcome (the design's rule 10) is repeated: the same key is not kept twice."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        for _ in range(REPEATS):
            try:
                receipts = await self._store.record(events)
            except BAD_ROW:
                raise
            except Exception as error:  # noqa: BLE001 (whatever the driver raises, the outcome is unknown)
                self._outage.fails(error)
            else:
                self._outage.works()
                return receipts
            if time.monotonic() > give_up_at:
                break
            await asyncio.sleep(REPEAT_SECONDS)
        raise Overloaded

    def _tell(self, batch: list[_Waiting]) -> None:
        for queue in {QUEUES[event.type] for waiting in batch for event in waiting.events}:
            with suppress(Exception):  # the clock covers a lost bell
                self._recorded(queue)


def _hand_out(batch: list[_Waiting], receipts: Receipts) -> None:
    start = 0
    for waiting in batch:
        end = start + len(waiting.events)
        if not waiting.receipts.done():  # its client may have gone
            waiting.receipts.set_result(receipts[start:end])
        start = end


def _refuse(batch: list[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.receipts.done():
            waiting.receipts.set_exception(error)
