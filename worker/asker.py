"""Asks gateways what is due, as many questions at once as each service takes, and has the answers applied.

What it holds in memory may be lost: an ask whose answer never came is another's after its lease.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog
from msgspec import structs

from monitoring import logs
from monitoring.outages import Outage
from monitoring.tracing import TRACING
from schemas.records import DueAsk
from worker.gateways.port import Answer, Question
from worker.gateways.services import AT_ONCE
from worker.lane import Lane

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()

Answers = Sequence[tuple[DueAsk, Answer]]

CLOSE_SECONDS: Final = 5.0
"""What is not answered by then is asked again by another process: a shutdown stays below 25 s."""
RETRY_SECONDS: Final = 1.0
"""After a store that could not be reached; whoever rings meanwhile is heard at once."""


class Asks(Protocol):
    """What asking needs of the store."""

    async def claim_asks(self, regies: Sequence[str], limit: int) -> list[DueAsk]:
        """Take asks that are due; see the store."""
        ...


class Service(Protocol):
    """A gateway's web service."""

    name: str

    @property
    def regies(self) -> list[str]:
        """Whose payments are asked about here."""
        ...

    async def ask(self, regie: str, question: Question) -> Answer:
        """What it says now. Never raises."""
        ...


class Asker:
    """Asks while there is something due. Begins at the first `wake`; any number of them may run anywhere."""

    def __init__(self, store: Asks, services: Sequence[Service], take: Callable[[Answers], Awaitable[None]]) -> None:
        self._store = store
        self._services = {service.name: service for service in services}
        self._take = take
        self._woken = {name: asyncio.Event() for name in self._services}
        self._looking: list[asyncio.Task[None]] = []
        self._asking: dict[str, set[asyncio.Task[None]]] = {name: set() for name in self._services}
        self._answers: list[tuple[DueAsk, Answer]] = []
        self._applying = Lane(self._apply)
        self._claiming = Outage("asks_unclaimed", "asks_claimed")
        self._taking = Outage("answers_untaken", "answers_taken")
        self._stopped = False

    @property
    def regies(self) -> list[str]:
        """Whose gateways can be asked here."""
        return sorted(regie for service in self._services.values() for regie in service.regies)

    def wake(self) -> None:
        """Look what is due; returns at once."""
        if not self._looking and not self._stopped:
            self._looking = [asyncio.create_task(self._look(name)) for name in self._services]
        for woken in self._woken.values():
            woken.set()

    async def close(self) -> None:
        """Ask nothing more, and have what is being asked applied."""
        self._stopped = True
        for task in self._looking:
            task.cancel()
        under_way = {task for tasks in self._asking.values() for task in tasks}
        if under_way:
            await asyncio.wait(under_way, timeout=CLOSE_SECONDS)

    async def _look(self, name: str) -> None:
        """Take what is due at one service whenever it may be, while a question more can be asked."""
        while True:
            self._woken[name].clear()
            try:
                await self._begin(name)
                self._claiming.works()
            except Exception as error:  # noqa: BLE001 (nothing may stop the asking)
                self._claiming.fails(error)
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._woken[name].set)
            await self._woken[name].wait()

    async def _begin(self, name: str) -> None:
        service, under_way = self._services[name], self._asking[name]
        free = AT_ONCE - len(under_way)
        for due in await self._store.claim_asks(service.regies, free) if free else ():
            task = asyncio.create_task(self._ask(service, due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            task.add_done_callback(lambda _: self._woken[name].set())

    async def _ask(self, service: Service, due: DueAsk) -> None:
        question = Question(gateway_reference=due.gateway_reference, age_seconds=due.age_seconds)
        about = {"regie": due.regie, "gateway_reference": due.gateway_reference}
        with logs.asking(due), TRACING.span("ask", "client", due.trace, gateway=service.name, **about) as trace:
            answer = await service.ask(due.regie, question)
            log.info("gateway_asked", gateway=service.name, result=answer.report.result.name, why=answer.report.why)
        self._answers.append((structs.replace(due, trace=trace), answer))
        await self._applying.run()

    async def _apply(self) -> None:
        """Have everything applied that was answered meanwhile; answers that nobody takes are asked for again."""
        answers, self._answers = self._answers, []
        if not answers:  # whoever asked for this turn was answered for in the one before
            return
        try:
            await self._take(answers)
            self._taking.works()
        except Exception as error:  # noqa: BLE001 (nothing may stop the asking)
            self._taking.fails(error)
