"""The clock: ends holds as they are over, drains what nobody picked up, seals, runs replays, erases what is over.

Any number may run at once: nothing here is theirs, and every step is safe to do twice. The database's clock decides;
this process's only says how long to sleep. Source: design.md, "Deadlines and gateways" and rules 1 and 7.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from monitoring.outages import Outage
from schemas.events import Queue

TICK_SECONDS: Final = 0.03
"""Between two looks at the next deadline: a hold may be taken meanwhile that ends before it."""
FULL_SWEEP_SECONDS: Final = 5
"""The next deadline is only a hint: so often the sweep does not believe it."""
WATCH_SECONDS: Final = 0.2
"""Between two looks at what waits; with the two below, an unheard event is taken within 0.7 s."""
RING_AFTER_SECONDS: Final = 0.2
"""An event that waits longer has lost its bell, or its next attempt is due: ring for it."""
DRAIN_AFTER_SECONDS: Final = 0.5
"""An event that waits longer is drained here: no worker hears, or none has time."""
SEAL_SECONDS: Final = 1.0
"""Between two looks at what was applied and is not sealed yet."""
SEAL_ON_SECONDS: Final = 0.05
"""Between two batches while more wait: the work, and the ends of holds, come first."""
ERASE_SECONDS: Final = 60.0
"""Between two looks for what is kept no longer: a minute more of months."""
ERASE_ON_SECONDS: Final = 0.5
"""Between two batches while more wait, as after an upgrade: a thousand rows a second are soon enough."""
BACKOFF_SECONDS: Final = (0.1, 0.2, 0.5, 1.0)
"""After each failure in a row; recovery is noticed within the last."""


class Timepiece(Protocol):
    """What the clock needs of the application."""

    async def next_deadline(self) -> float | None:
        """Seconds until the next hold is over (negative: overdue), None without holds."""
        ...

    async def end_due_holds(self) -> None:
        """Write the end of every hold that is over."""
        ...

    async def waiting(self, older_than_seconds: float) -> Sequence[Queue]:
        """Queues with events that nobody took for that long."""
        ...

    async def drain(self, queue: Queue) -> None:
        """Reconcile what waits in that queue."""
        ...

    def ring(self, queue: Queue) -> None:
        """Wake whoever drains that queue."""
        ...

    async def seal(self) -> bool:
        """Seal some of what was applied; True when more waits."""
        ...

    async def advance_replays(self) -> float:
        """Do a batch of a replay that nobody runs; seconds until the next look."""
        ...

    async def erase(self) -> bool:
        """Blank or remove some of what is kept no longer; True when more waits."""
        ...


class Clock:
    """Sweeps and watches until told to stop, whatever fails meanwhile."""

    def __init__(self, app: Timepiece) -> None:
        self._app = app
        self._swept_at = -float("inf")
        self._draining: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until `stop` is set; then finish what was begun."""
        await asyncio.gather(
            _repeat(self._sweep, Outage("sweep_failing", "sweep_works"), stop),
            _repeat(self._watch, Outage("watch_failing", "watch_works"), stop),
            _repeat(self._seal, Outage("sealing_failing", "sealing_works"), stop),
            _repeat(self._app.advance_replays, Outage("replay_failing", "replay_works"), stop),
            _repeat(self._erase, Outage("erasing_failing", "erasing_works"), stop),
        )
        await asyncio.gather(*self._draining, return_exceptions=True)

    async def _sweep(self) -> float:
        """End what is due; seconds until the next look."""
        due = await self._app.next_deadline()
        overdue = due is not None and due <= 0
        if overdue or time.monotonic() - self._swept_at >= FULL_SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            await self._app.end_due_holds()
        return TICK_SECONDS if due is None or overdue else min(due, TICK_SECONDS)

    async def _watch(self) -> float:
        """Ring for what waits, drain what waits too long; seconds until the next look."""
        unheard = await self._app.waiting(RING_AFTER_SECONDS)
        for queue in unheard:
            self._app.ring(queue)
        for queue in await self._app.waiting(DRAIN_AFTER_SECONDS) if unheard else ():
            self._drain_beside(queue)
        return WATCH_SECONDS

    async def _seal(self) -> float:
        """Seal a batch; seconds until the next."""
        return SEAL_ON_SECONDS if await self._app.seal() else SEAL_SECONDS

    async def _erase(self) -> float:
        """Blank or remove a batch; seconds until the next."""
        return ERASE_ON_SECONDS if await self._app.erase() else ERASE_SECONDS

    def _drain_beside(self, queue: Queue) -> None:
        """Drain without waiting for it: a slow gateway must not keep the other queues."""
        task = asyncio.create_task(self._app.drain(queue))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)


async def _repeat(step: Callable[[], Awaitable[float]], outage: Outage, stop: asyncio.Event) -> None:
    """Do a step again and again, at the pace that it answers; after a failure more slowly, told once."""
    failures = 0
    while not stop.is_set():
        try:
            pause = await step()
            outage.works()
            failures = 0
        except Exception as error:  # noqa: BLE001 (nothing may stop the clock)
            outage.fails(error)
            pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
            failures += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):  # no task of its own, as wait_for has on 3.11: this is 30 times a second
                await stop.wait()
