"""The simulations' store does as PostgreSQL does: the same random days leave the same rows and the same journal."""

from random import Random
from typing import Any

import pytest

from schemas.decisions import Done
from schemas.events import Event, EventType, NewEvent, Queue
from schemas.reports import Report
from tests.integration.judged import assert_judged
from tests.integration.worlds import (
    HOLD,
    POLICY,
    REGIE,
    MemoryWorld,
    PostgresWorld,
    callback,
    issued,
    refunded,
    said,
    settled,
    started,
)
from worker.reconcile import Reconciler
from worker.store.postgres import PostgresStore

DAYS = 12
STEPS = 40
ENDS = 3
"""Of a hold: a day is long enough for every invoice to be tried again."""


class Day:
    """What happens, drawn from a seed: the same for every store that it is played to."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._numbers = iter(range(10_000))
        self.answers: dict[str, Report] = {}

    def steps(self) -> list[Any]:
        """Facts to record, seconds to let pass, or what to do."""
        return [step for _ in range(STEPS) for step in self._step()]

    def _step(self) -> list[Any]:
        match self._random.randrange(8):
            case 0:
                return [self._random.choice((1.0, HOLD / 3, float(HOLD)))]
            case 1 | 2:
                return ["sweep"]
            case 3:
                return ["drain"]
            case _:
                return [[self._fact() for _ in range(self._random.randint(1, 4))]]

    def _fact(self) -> NewEvent:
        random, event_id = self._random, f"e-{next(self._numbers)}"
        number, reference = random.choice("ABCD"), random.choice("pqrst")
        cents = random.choice((900, 900, 450))
        match random.randrange(7):
            case 0:
                return issued(number, cents, event_id=event_id)
            case 1:
                return settled(number, cents, event_id=event_id)
            case 2:
                return refunded(reference, cents, event_id=event_id)
            case 3 | 4:
                numbers = sorted(random.sample("ABCD", random.choice((1, 1, 2))))
                return started(f"{reference}{random.randrange(3)}", *numbers, cents=cents, event_id=event_id)
            case _:
                return self._callback(f"{reference}{random.randrange(3)}", event_id)

    def _callback(self, reference: str, event_id: str) -> NewEvent:
        random = self._random
        answer = said(reference, random.choice("PPPVZRA"), random.choice((900, 1800)), random.choice("tu"))
        self.answers[event_id] = answer
        return callback(reference, event_id, event_id=event_id)


async def played(world: MemoryWorld | PostgresWorld, day: Day) -> list[tuple[str, str]]:
    """Every event with the reason of its outcome."""
    told: list[tuple[str, str]] = []

    def observe(done: Done) -> None:
        told.extend((event.id if event.client == "portail" else event.type, a.reason) for event, a in done.applied)

    async def interpret(event: Event) -> Report:
        return day.answers[event.data.query]

    reconciler = Reconciler(world.store, interpret, observe)
    for step in day.steps():
        if isinstance(step, float):
            await world.later(step)
        elif step == "sweep":
            await reconciler.end_due_holds()
        elif step == "drain":
            await reconciler.drain(Queue.PAYMENT_STARTED)
            await reconciler.drain(Queue.GATEWAY_CALLBACK)
        else:
            await world.store.record(step)
    await reconciler.drain(Queue.PAYMENT_STARTED)
    await reconciler.drain(Queue.GATEWAY_CALLBACK)
    await world.later(ENDS * HOLD)
    await reconciler.end_due_holds()
    return told


@pytest.mark.parametrize("seed", range(DAYS))
async def test_the_same_day_ends_the_same(database_url: str, seed: int) -> None:
    """Rows, outcomes, every invoice's story; and the judge agrees with both."""
    store = await PostgresStore.open(database_url)
    await store.sync_policies({REGIE: POLICY})
    memory, postgres = MemoryWorld(), PostgresWorld(store)
    in_memory = await played(memory, Day(seed))
    in_postgres = await played(postgres, Day(seed))
    assert sorted(in_memory) == sorted(in_postgres)
    assert told_apart(await memory.snapshot()) == told_apart(await postgres.snapshot())
    assert list((await postgres.pending()).values()) == list((await memory.pending()).values())
    await assert_judged(store.pool, REGIE)
    await store.close()


def told_apart(snapshot: dict[str, Any]) -> dict[str, Any]:
    """The journal as one story per invoice and per payment: holds that end in one sweep have no order among them."""
    stories: dict[tuple[Any, Any], list[Any]] = {}
    for number, reference, *change in snapshot["journal"]:
        stories.setdefault((number, reference if number is None else None), []).append((reference, *change))
    return snapshot | {"journal": stories}


def test_days_are_busy() -> None:
    """The days draw every kind of fact; a test of nothing would pass."""
    kinds = {new.type for seed in range(DAYS) for step in Day(seed).steps() if isinstance(step, list) for new in step}
    assert kinds == {
        EventType.INVOICE_ISSUED,
        EventType.INVOICE_SETTLED,
        EventType.PAYMENT_REFUNDED,
        EventType.PAYMENT_STARTED,
        EventType.GATEWAY_CALLBACK,
    }
