"""Tells portals what is due, a few attempts at once at each, and has every end of an attempt kept.

What it holds in memory may be lost: a notification whose attempt never ended is another's after its lease, under the
same webhook-id.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec import structs

from monitoring import logs
from monitoring.outages import Outage
from monitoring.tracing import TRACING
from worker.lane import Lane
from worker.portals.port import Attempt, DueNotification, SendOutcome
from worker.portals.retries import retry_seconds
from worker.portals.sending import AT_ONCE
from worker.store.deliveries import Claimed, Result, Room

RETRY_SECONDS: Final = 1.0
"""After a store that could not be reached; whoever rings meanwhile is heard at once."""
CLOSE_SECONDS: Final = 5.0
"""For attempts under way when the process ends; what is cut off is sent again by another, under the same id."""


class Deliveries(Protocol):
    """What notifying needs of the store."""

    async def claim(self, portals: Sequence[Room]) -> list[Claimed]:
        """Take what is due; see the store."""
        ...

    async def waiting(self, portals: Sequence[Room], older_than_seconds: float) -> bool:
        """Whether something is due that nobody took; see the store."""
        ...

    async def finish(self, results: Sequence[Result]) -> None:
        """Keep how attempts ended; see the store."""
        ...


class Portal(Protocol):
    """A régie's portal."""

    regie: str
    target: str

    async def send(self, due: DueNotification) -> Attempt:
        """Tell it once. Never raises."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


Observe = Callable[[DueNotification, Attempt], None]
"""Told of each attempt, and at what."""


class Notifier:
    """Tells while there is something due. Begins at the first `wake`; any number of them may run anywhere."""

    def __init__(self, store: Deliveries, portals: Sequence[Portal], observe: Observe) -> None:
        self._store = store
        self._portals = {portal.regie: portal for portal in portals}
        self._observe = observe
        self._sending: dict[str, set[asyncio.Task[None]]] = {regie: set() for regie in self._portals}
        self._woken = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._results: list[Result] = []
        self._finishing = Lane(self._finish)
        self._claiming = Outage("notifications_unclaimed", "notifications_claimed")
        self._keeping = Outage("attempts_unkept", "attempts_kept")
        self._stopped = False

    @property
    def regies(self) -> frozenset[str]:
        """Whose portals are told here."""
        return frozenset(self._portals)

    def wake(self) -> None:
        """Look what is due; returns at once."""
        if self._looking is None and self._portals and not self._stopped:
            self._looking = asyncio.create_task(self._look())
        self._woken.set()

    async def waiting(self, older_than_seconds: float) -> bool:
        """Whether something is due at one of these portals that nobody took for that long."""
        return bool(self._portals) and await self._store.waiting(self._rooms(), older_than_seconds)

    async def close(self) -> None:
        """Tell nothing more, keep how the attempts under way end, and hang up."""
        self._stopped = True
        if self._looking is not None:
            self._looking.cancel()
        under_way = {task for tasks in self._sending.values() for task in tasks}
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.gather(*(portal.close() for portal in self._portals.values()))

    def _rooms(self) -> list[Room]:
        """Every portal that may have another attempt now."""
        free = {regie: AT_ONCE - len(tasks) for regie, tasks in self._sending.items()}
        return [Room(regie, self._portals[regie].target, room) for regie, room in free.items() if room > 0]

    async def _look(self) -> None:
        """Take what is due whenever it may be, for the portals that have room."""
        while True:
            self._woken.clear()
            try:
                await self._begin()
                self._claiming.works()
            except Exception as error:  # noqa: BLE001 (nothing may stop the telling)
                self._claiming.fails(error)
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._woken.set)
            await self._woken.wait()

    async def _begin(self) -> None:
        rooms = self._rooms()
        for claimed in await self._store.claim(rooms) if rooms else ():
            task = asyncio.create_task(self._send(claimed))
            under_way = self._sending[claimed.regie]
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            task.add_done_callback(lambda _: self._woken.set())

    async def _send(self, claimed: Claimed) -> None:
        due = DueNotification(**claimed._asdict())
        portal = self._portals[claimed.regie]
        about = {"regie": due.regie, "webhook_id": due.webhook_id, "type": due.type}
        with logs.telling(due), TRACING.span("tell", "client", due.trace, **about) as trace:
            attempt = await portal.send(structs.replace(due, trace=trace))
            self._observe(due, attempt)
        self._results.append(_result(due, attempt, portal.target))
        await self._finishing.run()

    async def _finish(self) -> None:
        """Keep every end that came meanwhile; what cannot be kept is sent again."""
        results, self._results = self._results, []
        if not results:  # whoever asked for this turn was answered for in the one before
            return
        try:
            await self._store.finish(results)
            self._keeping.works()
        except Exception as error:  # noqa: BLE001 (nothing may stop the telling)
            self._keeping.fails(error)
        self._woken.set()  # what follows a delivered notification may be due since


def _result(due: DueNotification, attempt: Attempt, target: str) -> Result:
    delivered = attempt.outcome is SendOutcome.DELIVERED
    return Result(
        id=due.id,
        regie=due.regie,
        attempts=due.attempts,
        outcome=attempt.outcome.value,
        status=attempt.status,
        error=attempt.error,
        milliseconds=attempt.milliseconds,
        pause_seconds=None if delivered else retry_seconds(due.own_failures + 1, attempt.retry_after_seconds),
        wish_seconds=0.0 if delivered else attempt.retry_after_seconds or 0.0,
        disabled_for=target if attempt.outcome is SendOutcome.GONE else None,
    )
