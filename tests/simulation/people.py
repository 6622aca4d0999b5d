"""Families and the régie: what they do, when, and how patient they are."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from schemas.records import InvoiceState
from tests.model import issued, refunded, reversed_, settled, started, unsettled, withdrawn
from tests.simulation.gateway import Said
from tests.simulation.town import Town

CENTS = (100, 200, 300, 500)
PATIENCE_SECONDS = 5.0
"""How long a portal waits to hear that it may send the family to the gateway."""


def of(town: Town) -> list[Coroutine[Any, Any, None]]:
    """Everybody who has to do with a régie."""
    numbers = ["A", "B", "C"][: town.random.choice((1, 2, 3))]
    families = [f"p{n}" for n in range(town.random.choice((1, 2, 3, 5)))]
    strangers = [] if town.ledger is None else [invent(town, families) for _ in range(town.random.choice((0, 0, 1, 2)))]
    return [
        *(issue(town, number) for number in numbers),
        *(pay(town, family, numbers) for family in families),
        *strangers,
    ]


async def issue(town: Town, number: str) -> None:
    """An invoice's life as the régie tells it."""
    random = town.random
    await asyncio.sleep(random.choice((0, 0, random.uniform(0, 10))))
    if random.random() < 0.9:
        await town.tell(issued(number, random.choice(CENTS), time=said(town)))
    for n in range(random.choice((0, 0, 0, 1, 2))):
        await asyncio.sleep(random.uniform(0, 15))
        await town.tell(
            random.choice(
                (
                    issued(number, random.choice(CENTS), time=said(town)),
                    withdrawn(number, time=said(town)),
                    settled(number, random.choice(CENTS), f"s{n}"),
                    settled(number, random.choice(CENTS), f"s{n}"),
                    unsettled(number, random.choice(CENTS), f"s{n}"),
                )
            )
        )


async def invent(town: Town, families: list[str]) -> None:
    """A stranger calls in the gateway's name, about payments of families or of nobody, known already or not yet."""
    for _ in range(town.random.choice((1, 2, 4))):
        await asyncio.sleep(town.random.uniform(0, 12))
        await town.claim(town.random.choice((*families, "nobody", "no one")))


def said(town: Town) -> float | None:
    """When an event says that it happened: mostly it does not say, or just before it was sent."""
    return town.random.choice((None, town.now(), town.now() - town.random.uniform(0, 20)))


async def pay(town: Town, reference: str, numbers: list[str]) -> None:
    """A family pays what its portal shows, if the portal lets it; some portals let everybody."""
    random = town.random
    await asyncio.sleep(random.uniform(0, 12))
    lines = basket(town, numbers)
    time = town.now() - random.choice((0, 0, 0, random.uniform(0, 2), 2 * town.hold))
    if random.random() < 0.03:  # a correction that overtakes its payment waits for it
        await town.tell(random.choice((refunded, reversed_))(reference, 100, "early"))
    if town.ledger is not None and random.random() < 0.1:  # the gateway calls before the portal has told us
        await town.claim(reference)
    place = await town.tell(started(reference, lines, time=time))
    if random.random() < 0.2:
        await town.tell(started(reference, lines, time=time))
    if await town.may_pay(place, PATIENCE_SECONDS) or random.random() < 0.2:
        await at_the_gateway(town, reference, lines, time)
        await after(town, reference, sum(lines.values()))


def basket(town: Town, numbers: list[str]) -> dict[str, int]:
    """Payable invoices with the cents shown; sometimes anything."""
    random, shown = town.random, town.shown()
    payable = [n for n in numbers if n in shown and shown[n][0] is InvoiceState.PAYABLE]
    chosen = payable if payable and random.random() < 0.8 else numbers
    chosen = random.sample(chosen, random.choice((1, 1, min(2, len(chosen)))))
    return {n: shown[n][1] if n in shown else random.choice(CENTS) for n in sorted(chosen)}


async def at_the_gateway(town: Town, reference: str, lines: dict[str, int], time: float) -> None:
    """What a family does there; most pay."""
    await asyncio.sleep(town.random.uniform(0, 3))
    act = town.random.choice((*(pays,) * 6, *ACTS, *(() if town.ledger is None else ACTS_ASKED)))
    await act(Visit(town, reference, lines, time))


@dataclass(frozen=True)
class Visit:
    """One payment's visit to the gateway."""

    town: Town
    reference: str
    lines: dict[str, int]
    time: float

    @property
    def cents(self) -> int:
        """What is to be paid."""
        return sum(self.lines.values())

    async def says(self, result: str, transaction: str = "t1", kind: str = "signed") -> None:
        """The gateway says how a charge of the whole amount went."""
        await self.town.call_back(Said(self.reference, transaction, result, self.cents, kind))

    async def wait(self, seconds: float) -> None:
        """Up to so many seconds."""
        await asyncio.sleep(self.town.random.uniform(0, seconds))


async def pays(visit: Visit) -> None:
    """By card."""
    await visit.says("P")


async def is_refused(visit: Visit) -> None:
    """And gives up."""
    await visit.says("R")


async def cancels(visit: Visit) -> None:
    """And the gateway says so."""
    await visit.says("A")


async def vanishes(visit: Visit) -> None:
    """Closes the window: nobody tells us."""
    await visit.wait(0)


async def is_just_in_time(visit: Visit) -> None:
    """Pays in the last moments before the deadline."""
    deadline = visit.time + visit.town.hold
    await asyncio.sleep(max(0, deadline - visit.town.now() - visit.town.random.uniform(0, 1)))
    await visit.says("P")


async def is_late(visit: Visit) -> None:
    """Pays after the deadline."""
    await asyncio.sleep(visit.town.hold)
    await visit.says("P")


async def tries_again(visit: Visit) -> None:
    """With another card."""
    await visit.says("R")
    await visit.wait(3)
    await visit.says("P", "t2")


async def pays_twice(visit: Visit) -> None:
    """In two windows, each with its own gateway reference."""
    second = f"{visit.reference}-second"
    await visit.town.tell(started(visit.reference, visit.lines, gateway_reference=second, time=visit.time))
    await visit.says("P")
    await visit.town.call_back(Said(second, "t2", "P", visit.cents))


async def is_debited(visit: Visit) -> None:
    """From its bank account: provisional."""
    await visit.says("V")


async def is_rejected(visit: Visit) -> None:
    """The bank rejects the debit later."""
    await visit.says("V")
    await visit.wait(10)
    await visit.says("Z")


async def is_confirmed(visit: Visit) -> None:
    """The debit becomes final later."""
    await visit.says("V")
    await visit.wait(10)
    await visit.says("P")


async def is_off(visit: Visit) -> None:
    """The gateway takes another amount."""
    cents = visit.cents + visit.town.random.choice((-50, 100))
    await visit.town.call_back(Said(visit.reference, "t1", "P", cents))


async def is_forged(visit: Visit) -> None:
    """Somebody else says that it is paid."""
    await visit.says("P", kind="forged")


async def is_testing(visit: Visit) -> None:
    """The gateway says so, but only for a test."""
    await visit.says("P", kind="test")


async def is_waiting(visit: Visit) -> None:
    """The gateway cannot say yet, and perhaps never will."""
    await visit.says("waiting", "")
    if visit.town.random.random() < 0.5:
        await visit.wait(visit.town.hold)
        await visit.says("P")


async def is_silent(visit: Visit) -> None:
    """The gateway never says anything sensible of this payment."""
    await visit.says("failed", "")


async def falls_silent(visit: Visit) -> None:
    """It does at first."""
    await visit.says(visit.town.random.choice("VR"))
    await visit.wait(10)
    await visit.says("failed", "")


async def is_silent_once(visit: Visit) -> None:
    """Of two attempts it knows one, or neither."""
    second = f"{visit.reference}-second"
    await visit.town.tell(started(visit.reference, visit.lines, gateway_reference=second, time=visit.time))
    await visit.says("failed", "")
    await visit.town.call_back(Said(second, "t2", visit.town.random.choice(("P", "A", "waiting")), visit.cents))


async def is_another_merchants(visit: Visit) -> None:
    """What the gateway says is about somebody else's payment."""
    await visit.says("P", kind="foreign")


ACTS = (
    is_refused,
    cancels,
    vanishes,
    is_just_in_time,
    is_late,
    tries_again,
    pays_twice,
    is_debited,
    is_rejected,
    is_confirmed,
    is_off,
    is_forged,
    is_testing,
    is_waiting,
)


ACTS_ASKED = (is_silent, falls_silent, is_silent_once, is_another_merchants)
"""What only a gateway that is asked can do."""


async def after(town: Town, reference: str, cents: int) -> None:
    """Sometimes money goes back, in whole or in part, and is told twice under one name."""
    random = town.random
    if random.random() < 0.75:
        return
    await asyncio.sleep(random.uniform(0, 10))
    give_back = random.choice((refunded, refunded, reversed_))
    fact = give_back(reference, random.choice((cents, cents, cents // 2)), random.choice(("f1", "t1")))
    for _ in range(random.choice((1, 1, 2))):
        await town.tell(fact)
