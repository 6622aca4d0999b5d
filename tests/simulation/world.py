"""One world from one seed: people, portals, gateways, processes, faults; then calm, and the judge."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from random import Random
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest.mock import patch

import structlog

import worker.clock
from schemas.events import NewEvent, Queue
from tests.property.desk import at
from tests.simulation import people
from tests.simulation.gateway import Gateway
from tests.simulation.loop import VirtualLoop
from tests.simulation.processes import Process, task_of_process
from tests.simulation.town import Town
from tests.simulation.weather import Weather, weather_of
from worker.gateways.interpret import ask
from worker.gateways.port import Answer, GatewayConfig, Question
from worker.gateways.services import Breaker, Service
from worker.store.memory import MemoryStore

CALM_SECONDS = 600
"""How long everything may take to come to rest once nothing goes wrong any more: more than the longest backoff."""
REGIES = ("enfance", "cantine")
"""Their invoices, payments and gateway references have the same names: what tells them apart is the régie."""
RESTART_SECONDS = 1.0
"""Until whoever watches over the processes has started a dead one again."""

EXPECTED = ("StoreUnavailableError", "TimeoutError")
"""Errors that the weather brings, as they are logged."""

TOLD = ("gateway_answer_unreadable",)
"""Log events that name an error of the world's own making: a ledger answers now and then what no library can read."""

PACE = {
    "TICK_SECONDS": 0.25,
    "WATCH_SECONDS": 0.5,
    "RING_AFTER_SECONDS": 0.4,
    "DRAIN_AFTER_SECONDS": 0.8,
    "SEAL_SECONDS": 3600.0,  # nothing is sealed here
}
"""The clock's own pace, slower: the world has a hundred thousand seconds to live through in a minute."""
SLOW_PACE = {"TICK_SECONDS": 4.0, "WATCH_SECONDS": 5.0}
"""Once all that is left is to ask again now and then until the watch is over."""
LIFE_SECONDS = 20.0
"""Within which a process is stopped where releases come often."""


class World:
    """Everything that one seed makes happen."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.weather: Weather = weather_of(self.random)
        self.storm = True
        self.calm_since = float("inf")
        self.loop = VirtualLoop()
        self.loop.set_task_factory(task_of_process)
        self.loop.set_exception_handler(self._surprised)
        self.towns = [Town(self, regie) for regie in REGIES[: self.random.choice((1, 1, 2))]]
        self.store = MemoryStore(self.clock, {town.regie: town.policy for town in self.towns})
        self.ledgers = {town.regie: town.ledger for town in self.towns if town.ledger is not None}
        self.gateway = Gateway(
            lambda: self.happens("gateway_fails"),
            lambda: self.some_seconds("gateway_seconds"),
            {regie: ledger.config for regie, ledger in self.ledgers.items()},
        )
        self.loop.blocking = self._ask
        self.sent: list[NewEvent] = []
        self.acknowledged: dict[str, int] = {}
        """Places, by the id of what was sent."""
        self.under_way: list[asyncio.Task[None]] = []
        """Callbacks on their way."""
        self.rung: set[Queue] = set()
        self.workers: list[Process] = []
        self.surprises: list[str] = []
        """Errors that no weather explains; a process outlives them, the world does not."""
        self.notes: list[tuple[float, str]] = []
        self.watched: Callable[[], None] = lambda: None

    # time and chance

    def now(self) -> float:
        """Seconds since the world began."""
        return self.loop.now

    def clock(self) -> datetime:
        """The database's clock."""
        return at(self.loop.now)

    def happens(self, trouble: str) -> bool:
        """Whether this trouble strikes now; nothing does once the storm is over."""
        chance: float = getattr(self.weather, trouble)
        return self.storm and chance > 0 and self.random.random() < chance

    def some_seconds(self, most: str) -> float:
        """A delay, up to the weather's."""
        seconds: float = getattr(self.weather, most)
        return self.random.random() * (seconds if self.storm else min(seconds, 0.01))

    def note(self, text: str) -> None:
        """Write something down for whoever reads a failed seed."""
        self.notes.append((self.loop.now, text))

    def look(self) -> None:
        """After every commit."""
        self.watched()

    # gateways that are asked

    def services(self) -> list[Service]:
        """Their web services, as one process sees them: each has its own circuit breakers."""
        found: dict[str, dict[str, GatewayConfig]] = {}
        for regie, ledger in self.ledgers.items():
            found.setdefault(ledger.service, {})[regie] = ledger.config
        return [Service(name, gateways, Breaker(self.now)) for name, gateways in found.items()]

    async def _ask(self, function: object, gateway: GatewayConfig, question: Question) -> Answer:
        """What a process has a thread do: ask."""
        assert function is ask, "nothing else blocks a thread"
        return await self.ledgers[gateway.regie].answer(question)

    # the whole life

    def live(self) -> None:
        """Let everything happen, then let everything come to rest."""
        with self._paced(), self._logged():
            try:
                self.loop.run_until_complete(self._live())
            finally:
                self._end()

    @contextmanager
    def _paced(self) -> Iterator[None]:
        """The real clock's code, on the world's time."""
        time = SimpleNamespace(monotonic=self.now)
        with ExitStack() as stack:
            for name, value in {"time": time, **PACE}.items():
                stack.enter_context(patch.object(worker.clock, name, value))
            yield

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """What processes log is noted, with the world's time, and goes nowhere else."""
        processors = structlog.get_config()["processors"]
        before = list(processors)
        processors[:] = [self._note_log]
        try:
            yield
        finally:
            processors[:] = before

    def _surprised(self, _loop: object, context: dict[str, Any]) -> None:
        self.surprises.append(repr(context.get("exception") or context["message"]))

    def _note_log(self, _logger: object, level: str, said: MutableMapping[str, Any]) -> NoReturn:
        self.note(f"log {level}: {dict(said)}")
        error = str(said.get("error", ""))
        if error and said["event"] not in TOLD and not error.startswith(EXPECTED):
            self.surprises.append(error)
        raise structlog.DropEvent

    def _end(self) -> None:
        self.storm = False
        while left := asyncio.all_tasks(self.loop):
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(left))
        self.loop.close()

    async def _live(self) -> None:
        for n in range(self.random.choice((1, 2, 3))):
            self.keep_alive(f"worker {n}", _be_a_worker)
        for n in range(self.random.choice((1, 2))):
            self.keep_alive(f"clock {n}", Process.run_clock)
        await asyncio.gather(*self._people())
        await asyncio.gather(*self.under_way)
        self.storm = False
        self.calm_since = self.now()
        self.note("calm")
        await self._rest()

    def _people(self) -> list[Coroutine[Any, Any, None]]:
        return [work for town in self.towns for work in people.of(town)]

    async def _rest(self) -> None:
        """Wait until nothing is pending and no hold is on: nobody helps, only the processes."""
        await self._until(self.is_at_rest)
        self._replay_what_is_parked()
        await self._until(self.is_at_rest)
        for name, seconds in SLOW_PACE.items():
            setattr(worker.clock, name, seconds)
        await self._until(lambda: self.is_at_rest() and self.is_done_asking())

    async def _until(self, holds: Callable[[], bool]) -> None:
        end = self.now() + CALM_SECONDS
        while self.now() < end and not holds():  # noqa: ASYNC110 - a look at the tables, from outside
            await asyncio.sleep(0.5)

    def is_at_rest(self) -> bool:
        """Whether everything that was to be done is done."""
        tables = self.store.tables
        held = any(p.state is not None and not p.hold_over for p in tables.payments.values())
        return not held and all(waiting.parked for waiting in tables.pending.values())

    def is_done_asking(self) -> bool:
        """Whether every watch is over: no question is due, now or later."""
        return all(asking.due_at is None for asking in self.store.tables.asks.values())

    def _replay_what_is_parked(self) -> None:
        """What the storm failed too often stands parked; a person has it tried again, once, in the calm."""
        for waiting in filter(lambda waiting: waiting.parked, self.store.tables.pending.values()):
            self.note(f"parked after {waiting.attempts} tries: {waiting.event.id}, {waiting.error}")
            waiting.parked, waiting.attempts, waiting.leased_until = False, 0, None

    # processes

    def keep_alive(self, name: str, work: Callable[[Process], Coroutine[Any, Any, None]]) -> None:
        """Run a process, and another one whenever it dies."""
        process = Process(self, name)
        if name.startswith("worker"):
            self.workers.append(process)

        async def watch() -> None:
            process.start(work(process))
            if self.happens("restarted"):
                self.loop.call_later(self.random.random() * LIFE_SECONDS, self._stop, process)
            await process.death.wait()
            if process in self.workers:
                self.workers.remove(process)
            await asyncio.sleep(self.random.random() * RESTART_SECONDS)
            self.keep_alive(name, work)

        self.loop.create_task(watch())

    def _stop(self, process: Process) -> None:
        if not process.death.is_set():
            process.start(process.stop())

    def ring(self, queue: Queue) -> None:
        """The bell: coalesced, and lost when Redis is."""
        if self.weather.bell_dead or self.happens("bell_lost") or queue in self.rung:
            return
        self.rung.add(queue)
        self.loop.call_later(0.005, self._heard, queue)

    def _heard(self, queue: Queue) -> None:
        self.rung.discard(queue)
        alive = [process for process in self.workers if not process.death.is_set()]
        if alive:
            process = self.random.choice(alive)
            process.start(process.drain(queue))


async def _be_a_worker(_process: Process) -> None:
    """Nothing by itself: it waits for the bell."""
