"""A gateway that is asked: its callbacks are claims; what it knows is in its ledger, not always to be had."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING, NoReturn, Protocol
from urllib.parse import urlencode

from schemas.events import GatewayCallback
from schemas.records import GatewayReference
from schemas.reports import Report, ReportResult
from tests.simulation.gateway import Said
from worker.gateways.asked import answered, differing, test_differs
from worker.gateways.port import Answer, GatewayConfig, GatewayUnavailableError, Question
from worker.store.memory import MemoryStore

if TYPE_CHECKING:
    from tests.simulation.weather import Weather

KIND = "payfip_ws"
"""A gateway of this kind is asked; how it is spoken to is simulated, what its callbacks are is not."""
HANGS_SECONDS = 60
"""Far longer than any question is let take."""
IDLE_SHARE = 0.5
"""Of a hold, during which a gateway says that a payment which it knows nothing of may still be in progress."""
UNSAYABLE = frozenset({"waiting", "failed"})
"""What a gateway says that cannot say."""


class World(Protocol):
    """What a ledger needs of the world."""

    random: Random
    weather: "Weather"
    storm: bool
    store: MemoryStore

    def now(self) -> float:
        """Seconds since the world began."""
        ...

    def happens(self, trouble: str) -> bool:
        """Whether this trouble strikes now."""
        ...

    def some_seconds(self, most: str) -> float:
        """A delay of the weather's."""
        ...

    def note(self, text: str) -> None:
        """Write something down for whoever reads a failed seed."""
        ...


@dataclass
class Asked:
    """One question that reached the gateway, with what the store knew of it then."""

    reference: str
    owned: bool
    asked_at: datetime | None
    called_at: datetime | None
    began: float
    ended: float = float("inf")


def claim(regie: str, reference: str) -> GatewayCallback:
    """A callback that says nothing but which payment to ask about. Anybody can send one."""
    return GatewayCallback(regie=regie, method="GET", query=urlencode({"idOp": reference}))


class Ledger:
    """What one régie's gateway knows, and every question that it was asked."""

    def __init__(self, world: World, regie: str, service: str, hold: float) -> None:
        self.world = world
        self.service = service
        self.config = GatewayConfig(regie=regie, kind=KIND, mode="production", options={"service_url": service})
        self.tells = world.random.choice((1.0, 1.0, 0.5, 0.0))
        """How often it calls at all when it has something to say."""
        self.known: dict[str, list[Said]] = {}
        """By reference, what happened, in order: it says the last."""
        self.asked: list[Asked] = []
        self._idle_seconds = IDLE_SHARE * hold

    def write(self, said: Said) -> None:
        """Something happened at the gateway. What somebody else invents is not in its ledger."""
        if said.kind != "forged":
            self.world.note(f"the ledger of {self.config.regie}: {said}")
            self.known.setdefault(said.reference, []).append(said)

    def says(self, reference: str) -> Said | None:
        """What it says of a payment now, if it can; None before anything happened."""
        return self.known[reference][-1] if reference in self.known else None

    def cannot_say(self, reference: str) -> bool:
        """Whether it does not know what became of a payment, now or ever."""
        known = self.says(reference)
        return known is not None and known.result in UNSAYABLE

    async def answer(self, question: Question) -> Answer:
        """What it says of a payment now, at its own pace, when it can. Raises as an adapter does, or hangs."""
        world, reference = self.world, question.gateway_reference
        with self._noted(reference):
            await asyncio.sleep(world.some_seconds("gateway_seconds"))
            await self._fail_if_it_must(reference)
            report = self._report(question)
            await asyncio.sleep(world.some_seconds("gateway_seconds"))
            return Answer(report=report, raw=report.result.encode())

    @contextmanager
    def _noted(self, reference: str) -> Iterator[None]:
        row = self._row(reference)
        planned = None if row is None else self.world.store.tables.asks.get(row.id)
        asked = Asked(
            reference=reference,
            owned=row is not None and row.payment_id is not None,
            asked_at=None if planned is None else planned.asked_at,
            called_at=None if planned is None else planned.called_at,
            began=self.world.now(),
        )
        self.asked.append(asked)
        self.world.note(f"{self.config.regie} is asked about {reference}")
        try:
            yield
        finally:
            asked.ended = self.world.now()

    def _row(self, reference: str) -> GatewayReference | None:
        rows = self.world.store.tables.references.values()
        return next((r for r in rows if (r.regie, r.gateway_reference) == (self.config.regie, reference)), None)

    async def _fail_if_it_must(self, reference: str) -> None:
        """One reference may be unreadable for ever; all of them are while the service is out."""
        known = self.says(reference)
        if known is not None and known.result == "failed":
            raise GatewayUnavailableError("protocol")
        if self._is_out() or self.world.happens("gateway_fails"):
            await self.world.random.choice(FAILURES)()

    def _is_out(self) -> bool:
        world = self.world
        return world.storm and any(begins <= world.now() < ends for begins, ends in world.weather.outages)

    def _report(self, question: Question) -> Report:
        reference = question.gateway_reference
        known = self.says(reference)
        if known is None:
            idle = question.age_seconds < self._idle_seconds
            return answered(self.config, reference, ReportResult.WAITING if idle else ReportResult.NOTHING)
        if known.kind == "foreign":
            return differing(self.config, reference, "wrong_merchant")
        return test_differs(self.config, reference, test=known.kind == "test", received="") or answered(
            self.config,
            reference,
            ReportResult(known.result),
            transaction_id=known.transaction,
            cents=known.cents,
        )


async def _is_unreachable() -> NoReturn:
    raise GatewayUnavailableError("unreachable")


async def _has_other_keys() -> NoReturn:
    raise GatewayUnavailableError("unauthorised")


async def _talks_nonsense() -> NoReturn:
    raise ValueError("an answer that no library can read")


async def _hangs() -> None:
    await asyncio.sleep(HANGS_SECONDS)


FAILURES: tuple[Callable[[], Awaitable[None]], ...] = (
    _is_unreachable,
    _is_unreachable,
    _has_other_keys,
    _talks_nonsense,
    _hangs,
)
