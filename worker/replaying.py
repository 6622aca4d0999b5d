"""Running replays: a batch at a time, beside the work, no faster than it bears, by whoever is there to go on.

A replay asks no gateway, and rings for what it gave back to the workers.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from schemas.events import Queue
from schemas.replays import ReplayState, ReplayView
from worker.store.replays import Kept, Replays, Wanted

AT_ONCE: Final = 1_000
"""Events that are replayed while whoever asks waits; more run beside the work. Source: the contract's "Admin"."""
WAIT_SECONDS: Final = 8.0
"""Most that whoever asks waits for: a thousand take a fraction of it, parked ones what their workers take."""
EVENTS_PER_SECOND: Final = 20_000
"""Recomputed at most: above that, a replay would take the database from families."""
LOOK_SECONDS: Final = 0.1
"""Between two looks at parked events that were given back."""
IDLE_SECONDS: Final = 1.0
"""Between two looks for a replay to run, or to take over."""
OLD_SECONDS: Final = 0.5
"""Events that wait for longer have precedence over a replay."""
GIVEN_WAY_SECONDS: Final = 5.0
"""For so long at a time; then a batch is done all the same, so that every replay ends."""

Waiting = Callable[[float], Awaitable[Sequence[Queue]]]
"""Queues with events that nobody took for so many seconds."""
Ring = Callable[[Queue], None]

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()


class Replayer:
    """Runs replays in one process; any number of processes may."""

    def __init__(self, replays: Replays, waiting: Waiting, ring: Ring) -> None:
        self._replays = replays
        self._waiting = waiting
        self._ring = ring
        self._giving_way_since: float | None = None

    async def ask(self, wanted: Wanted) -> ReplayView:
        """Keep a replay that somebody asks for, and do it if it is small; else a clock does. Raises as the store."""
        matched = await self._replays.count(wanted, AT_ONCE + 1)
        replay_id = await self.begin(wanted, matched if matched <= AT_ONCE else None)
        log.info("replay_asked", replay=replay_id, client=wanted.client, dry_run=wanted.dry_run)
        try:
            if matched <= AT_ONCE:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._run(replay_id)
        except TimeoutError:
            pass
        finally:
            await self._replays.leave(replay_id)
        return await self.view(replay_id)

    async def begin(self, wanted: Wanted, matched: int | None) -> int:
        """Keep a replay that somebody asks for; it is this process's to run. Answers its id."""
        replay_id = await self._replays.create(wanted)
        if matched is not None:
            await self._replays.set_matched(replay_id, matched)
        return replay_id

    async def count(self, wanted: Wanted) -> int:
        """Count the events that a filter matches."""
        return await self._replays.count(wanted)

    async def run(self, replay_id: int, show: Callable[[int], None]) -> ReplayView:
        """Run a replay of this process's to its end, beside the work; `show` is told how many events are done."""
        try:
            while (view := await self.view(replay_id)).state is ReplayState.RUNNING:
                show(view.replayed)
                await asyncio.sleep(await self._batch(replay_id))
        finally:
            await self._replays.leave(replay_id)
        return view

    async def advance(self) -> float:
        """Do a batch of the oldest replay that nobody runs; seconds until the next look."""
        replay_id = await self._replays.claim()
        if replay_id is None:
            return IDLE_SECONDS
        return await self._batch(replay_id)

    async def view(self, replay_id: int) -> ReplayView:
        """Read a replay that is known to be there."""
        found = await self._replays.view(replay_id)
        assert found is not None, "no replay is ever deleted"
        return found.view

    async def find(self, replay_id: int) -> Kept | None:
        """Read a replay, with the régies of whoever asked for it."""
        return await self._replays.view(replay_id)

    async def _run(self, replay_id: int) -> None:
        while not (step := await self._replays.step(replay_id)).done:
            for queue in step.rung:
                self._ring(queue)
            await asyncio.sleep(0 if step.events else LOOK_SECONDS)

    async def _batch(self, replay_id: int) -> float:
        """Do a batch, unless the work has precedence; seconds until the next."""
        if await self._gives_way():
            return LOOK_SECONDS
        began = time.monotonic()
        step = await self._replays.step(replay_id)
        for queue in step.rung:
            self._ring(queue)
        if not step.events:
            return LOOK_SECONDS
        return max(0.0, step.events / EVENTS_PER_SECOND - (time.monotonic() - began))

    async def _gives_way(self) -> bool:
        now = time.monotonic()
        if not await self._waiting(OLD_SECONDS):
            self._giving_way_since = None
            return False
        since = self._giving_way_since or now
        self._giving_way_since = since if now - since < GIVEN_WAY_SECONDS else None
        return now - since < GIVEN_WAY_SECONDS
