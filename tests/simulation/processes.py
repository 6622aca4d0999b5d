"""Processes that can die at any moment, and the store as they see it."""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import Context, ContextVar
from functools import partial
from typing import Any, Protocol, TypeVar, cast

from schemas.decisions import Done
from schemas.events import Queue
from tests.simulation.gateway import Gateway
from worker.asker import Answers, Asker
from worker.clock import Clock
from worker.gateways.services import Service
from worker.lane import Lane
from worker.reconcile import Reconciler
from worker.store.memory import MemoryStore
from worker.store.port import Store, StoreUnavailableError

T = TypeVar("T")

RUNNING: ContextVar["Process | None"] = ContextVar("RUNNING", default=None)
"""The process whose code runs: every task that it starts dies with it."""


class World(Protocol):
    """What a process needs of the world."""

    store: MemoryStore
    gateway: Gateway

    def services(self) -> list[Service]:
        """The web services of gateways that are asked, as one process sees them."""
        ...

    def happens(self, trouble: str) -> bool:
        """Whether this trouble strikes now."""
        ...

    def some_seconds(self, most: str) -> float:
        """A delay of the weather's."""
        ...

    def ring(self, queue: Queue) -> None:
        """Ring the bell, if there is one."""
        ...

    def look(self) -> None:
        """Check what must hold after every commit."""
        ...

    def note(self, text: str) -> None:
        """Write something down for whoever reads a failed seed."""
        ...


def task_of_process(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
    *,
    context: Context | None = None,
) -> asyncio.Future[T]:
    """A task factory: tasks belong to the process that starts them."""
    task = asyncio.Task(coroutine, loop=loop, context=context)
    process = RUNNING.get()
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(process.forget)
    return task


class Process:
    """A worker, a clock or a web process: what runs in it, until it is killed."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.tasks: dict[asyncio.Task[Any], None] = {}
        """In the order begun: a set's order is not the seed's."""
        self.death = asyncio.Event()
        self.store = cast("Store", ShakyStore(self))
        self.reconciler = Reconciler(self.store, world.gateway, _unobserved, lambda: world.ring(Queue.GATEWAY_ASK))
        self.asker = Asker(self.store, world.services(), self.take_answers)
        facts = Lane(Drained(self.reconciler, Queue.PAYMENT_STARTED))
        self.lanes = dict.fromkeys(Queue, facts)
        self.lanes[Queue.GATEWAY_CALLBACK] = Lane(Drained(self.reconciler, Queue.GATEWAY_CALLBACK))
        self.lanes[Queue.PAYMENT_TIMEOUT] = Lane(self.reconciler.end_due_holds)

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something in this process."""
        token = RUNNING.set(self)
        asyncio.get_running_loop().create_task(work)  # kept in self.tasks by the task factory
        RUNNING.reset(token)

    def forget(self, task: asyncio.Task[Any]) -> None:
        """A task has ended."""
        self.tasks.pop(task, None)

    def kill(self) -> None:
        """Stop all of it, wherever it is. What it had not committed never happened."""
        self.world.note(f"{self.name} is killed")
        self.death.set()
        for task in list(self.tasks):
            task.cancel()

    async def stop(self) -> None:
        """End as a release ends it: what it has begun is done, and nothing new."""
        self.world.note(f"{self.name} is stopped")
        self.reconciler.stop()
        await self.asker.close()
        self.kill()

    # what the clock and the bell ask of it, as the application does

    async def drain(self, queue: Queue) -> None:
        """Reconcile what waits; what fails stays pending, for the clock. Questions are only begun."""
        if queue is Queue.GATEWAY_ASK:
            self.asker.wake()
            return
        try:
            await self.lanes[queue].run()
        except StoreUnavailableError as error:
            self.world.note(f"{self.name} gives up {queue}: {error!r}")

    async def take_answers(self, answers: Answers) -> None:
        """Have answers applied."""
        await self.reconciler.take_answers(answers)
        await self.drain(Queue.PAYMENT_CORRECTED)

    async def end_due_holds(self) -> None:
        """Write the end of every hold that is over."""
        await self.lanes[Queue.PAYMENT_TIMEOUT].run()

    async def next_deadline(self) -> float | None:
        """Seconds until the next hold is over."""
        return await self.store.next_deadline()

    async def waiting(self, older_than_seconds: float) -> Sequence[Queue]:
        """Queues that nobody drained for that long."""
        found = await self.store.waiting(older_than_seconds)
        regies = self.asker.regies
        if regies and await self.store.asks_waiting(regies, older_than_seconds):
            found.append(Queue.GATEWAY_ASK)
        return found

    def ring(self, queue: Queue) -> None:
        """Wake whoever drains that queue."""
        self.world.ring(queue)

    async def seal(self) -> bool:
        """Nothing is sealed here: tests with real transactions say what sealing does."""
        return False

    async def erase(self) -> bool:
        """Nothing gets so old here."""
        return False

    async def advance_replays(self) -> float:
        """Nobody replays in these worlds; seconds until the next look."""
        return 3600

    async def run_clock(self) -> None:
        """Be a clock until killed."""
        await Clock(self).run(asyncio.Event())


def _unobserved(_done: Done) -> None:
    """No metrics here."""


class Drained:
    """A queue's work, for its lane."""

    def __init__(self, reconciler: Reconciler, queue: Queue) -> None:
        self.reconciler = reconciler
        self.queue = queue

    async def __call__(self) -> None:
        """Drain it."""
        await self.reconciler.drain(self.queue)


class ShakyStore:
    """The one store, through one process's connection: slow, unreachable, unanswering, or the last thing it saw."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.world = process.world

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Any method of the port."""
        return partial(self._through, name, getattr(self.world.store, name))

    async def _through(
        self, what: str, work: Callable[..., Coroutine[Any, Any, T]], *arguments: object, **named: object
    ) -> T:
        """One transaction; what commits is looked at before anything else happens."""
        world = self.world
        await asyncio.sleep(world.some_seconds("store_seconds"))
        if world.happens("refused"):
            world.note(f"{self.process.name}: {what} is refused")
            raise StoreUnavailableError("refused")
        if world.happens("killed_before"):
            await self._die(what)
        answer = await work(*arguments, **named)
        world.look()
        if world.happens("killed_after"):
            await self._die(what)
        await asyncio.sleep(world.some_seconds("store_seconds"))
        if world.happens("unanswered"):
            world.note(f"{self.process.name}: {what} is committed, but unanswered")
            raise StoreUnavailableError("unanswered")
        return answer

    async def _die(self, what: str) -> None:
        self.world.note(f"{self.process.name}: dies at {what}")
        self.process.kill()
        await asyncio.get_running_loop().create_future()
