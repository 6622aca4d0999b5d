"""One régie's portal and gateway, as people and processes find them: what is sent is sent until it is acknowledged."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from schemas.decisions import Outcome
from schemas.events import QUEUES, EventType, NewEvent, Receipt
from schemas.records import InvoiceState, Policy
from tests.property.desk import at, data_of
from tests.simulation.gateway import Said, callback
from tests.simulation.ledger import KIND, Ledger, claim
from worker.gateways.capabilities import CAPABILITIES

if TYPE_CHECKING:
    from datetime import datetime

    from schemas.events import GatewayCallback
    from tests.model import Fact
    from tests.simulation.world import World

WATCH_SECONDS = 150
"""Of a payment whose gateway is asked: its last look is in the calm, when there is an answer to be had."""
SERVICES = ("north", "south")
"""Gateways that are asked; two régies may share one."""


class Town:
    """A régie with its policy."""

    def __init__(self, world: World, regie: str) -> None:
        self.world = world
        self.regie = regie
        self.random = random = world.random
        self.facts: dict[str, Fact] = {}
        """What was told, by the id of its event; a callback as what the gateway said."""
        self.hold = random.choice((3, 6, 12))
        asked = random.random() < 0.5
        self.ledger = Ledger(world, regie, random.choice(SERVICES), self.hold) if asked else None
        """What its gateway knows; None where a callback says all."""
        self.policy = Policy(
            label=f"Régie {regie}",
            gateway=KIND if asked else "dummy",
            hold=self.hold,
            hold_limit=2 * self.hold,
            on_cancel=random.choice(("hold", "release")),
            when_in_doubt=random.choice(("reactivate", "hold")),
            watch=WATCH_SECONDS,
            notify=random.random() < 0.5,
            polls=CAPABILITIES[KIND].poll_seconds if asked else (),
        )

    def now(self) -> float:
        """Seconds since the world began."""
        return self.world.now()

    # what is sent

    async def tell(self, fact: Fact) -> int:
        """Send a fact until it is acknowledged; the place of its event."""
        kind, data = data_of(fact)
        data.regie = self.regie
        time = fact.get("time")
        event = self._event(kind, data, fact.get("number"), None if time is None else at(time))
        self.facts[event.id] = fact
        return await self._send(event)

    async def call_back(self, said: Said) -> None:
        """Something happens at the gateway, which calls; one that is asked keeps it, and may or may not call."""
        if self.ledger is None:
            await self._call(callback(self.regie, said), said.reference, {"fact": "callback", "said": said})
            return
        self.ledger.write(said)
        if self.random.random() < self.ledger.tells:
            await self.claim(said.reference)

    async def claim(self, reference: str) -> None:
        """Somebody says that there is something to know of a payment: its gateway, or a stranger."""
        await self._call(claim(self.regie, reference), reference, {"fact": "claim", "reference": reference})

    async def _call(self, data: GatewayCallback, subject: str, told: Fact) -> None:
        """Send a callback as the weather allows: late, several times, or never."""
        world = self.world
        if world.happens("callback_lost"):
            world.note(f"a callback of {self.regie} is lost: {told}")
            return
        for _ in range(1 + world.happens("repeated") + world.happens("repeated")):
            event = self._event(EventType.GATEWAY_CALLBACK, data, subject)
            self.facts[event.id] = told
            world.under_way.append(world.loop.create_task(self._late(event)))
        await asyncio.sleep(world.some_seconds("callback_seconds"))

    async def _late(self, event: NewEvent) -> None:
        """A callback of a gateway that tries again until it is answered."""
        await asyncio.sleep(self.world.some_seconds("callback_seconds"))
        await self._send(event)

    def _event(self, kind: EventType, data: object, subject: str | None, time: datetime | None = None) -> NewEvent:
        event = NewEvent(
            client="portal",
            source="/world",
            id=f"e{len(self.world.sent)}",
            type=kind,
            regie=self.regie,
            data=data,
            digest=sha256(kind.encode() + msgspec.json.encode(data)).digest(),
            time=time,
            subject=subject,
        )
        self.world.sent.append(event)
        return event

    async def _send(self, event: NewEvent) -> int:
        """Until it is acknowledged: the same event, again and again."""
        world = self.world
        while True:
            receipt = await self._post(event)
            if receipt is not None:
                world.acknowledged[event.id] = receipt.place
                if not world.happens("repeated"):
                    return receipt.place
            await asyncio.sleep(0.2 + self.random.random())

    async def _post(self, event: NewEvent) -> Receipt | None:
        """One request to a web process: stored, then acknowledged, then the bell. None: no reply was read."""
        world = self.world
        await asyncio.sleep(world.some_seconds("store_seconds"))
        if world.happens("refused") or world.happens("killed_before"):
            return None
        (receipt,) = await world.store.record([event])
        assert receipt.status in {"accepted", "duplicate"}
        if world.happens("killed_after") or world.happens("unanswered"):
            return None
        world.ring(QUEUES[event.type])
        return None if world.happens("reply_lost") else receipt

    # what a portal reads

    def shown(self) -> dict[str, tuple[InvoiceState, int]]:
        """What the portal shows: state and cents of each invoice."""
        return {
            row.number: (row.state, row.amount_cents or 0)
            for row in self.world.store.tables.invoices.values()
            if row.state is not None and row.regie == self.regie
        }

    async def may_pay(self, place: int, seconds: float) -> bool | None:
        """Whether the payment-started at `place` holds its invoices; None when nobody said so in time."""
        end = self.now() + seconds
        while self.now() < end:
            outcome = self.world.store.tables.outcomes.get(place)
            if outcome is not None:
                return outcome.applied.outcome is Outcome.APPLIED
            await asyncio.sleep(0.1)
        return None
