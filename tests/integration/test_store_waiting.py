"""One transaction waits for another's locks, and must then see all that the other wrote."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import pytest

from schemas.decisions import Decision, Dossier
from schemas.events import Event, EventType, NewEvent, Queue
from schemas.records import Policy
from tests.integration.worlds import POLICY, REGIE, PostgresWorld, callback, recorded, report_of, said, started
from worker.domain.decide import decide
from worker.store.port import Decide
from worker.store.postgres import PostgresStore

SEEN_WAITING_SECONDS = 0.01
"""Between two looks whether the second transaction waits for a lock."""
PATIENCE_SECONDS = 10
"""Should nobody ever say go on."""

WAITS = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[PostgresWorld]:
    """A régie on PostgreSQL."""
    store = await PostgresStore.open(database_url)
    await store.sync_policies({REGIE: POLICY})
    yield PostgresWorld(store)
    await store.close()


@pytest.mark.parametrize("first", ["callback", "start"])
async def test_a_known_reference_without_an_owner_meets_its_payment(
    world: PostgresWorld, database_url: str, first: str
) -> None:
    """An earlier refusal made the reference's row: the money and the payment-started still lock each other out."""
    await recorded(world, callback("P", "refused"))
    await apply_all(world)
    await recorded(world, callback("P", "paid"), started("P", "F"))
    start, call = await claimed(world)
    await one_behind_the_other(world, database_url, [call, start] if first == "callback" else [start, call])
    found = await world.snapshot()
    assert found["payments"]["P"][0] == "paid"
    assert {kind for kind, _, state in found["discrepancies"].values() if state == "open"} == set()


async def test_a_dossier_that_grew_while_it_was_waited_for(world: PostgresWorld, database_url: str) -> None:
    """Money waits behind another payment of the same invoice, and takes the invoice out of that one's hold."""
    await recorded(world, started("P", "F"))
    await apply_all(world)
    await world.later(POLICY.hold)
    await recorded(world, started("Q", "F", "G"), callback("P", "paid"))
    await one_behind_the_other(world, database_url, await claimed(world))
    found = await world.snapshot()
    assert found["payments"]["P"][0] == "paid"
    assert found["held"] == {("Q", "G")}


ANSWERS = {"refused": said("P", "R", transaction="first"), "paid": said("P", "P", transaction="second")}


def told(event: Event) -> dict[int, NewEvent]:
    """What a callback turns out to say, by its place."""
    return (
        {event.place: report_of(event, ANSWERS[event.data.query])} if event.type is EventType.GATEWAY_CALLBACK else {}
    )


async def claimed(world: PostgresWorld) -> list[Event]:
    """What waits: the fact, then the callback."""
    facts = await world.store.claim(Queue.PAYMENT_STARTED, 10)
    return [*facts, *await world.store.claim(Queue.GATEWAY_CALLBACK, 10)]


async def apply_all(world: PostgresWorld) -> None:
    """Apply what waits."""
    for event in await claimed(world):
        await world.store.apply([event], decide, told(event))


async def one_behind_the_other(world: PostgresWorld, database_url: str, events: Sequence[Event]) -> None:
    """Apply two events, each on connections of its own: the second begins while the first decides."""
    first, second = events
    deciding, may_go_on = threading.Event(), threading.Event()

    def decide_slowly(dossier: Dossier, events: Sequence[Event], policy: Policy, now: datetime) -> Decision:
        deciding.set()
        may_go_on.wait(PATIENCE_SECONDS)
        return decide(dossier, events, policy, now)

    leader = asyncio.create_task(asyncio.to_thread(apply_alone, database_url, first, decide_slowly))
    await asyncio.to_thread(deciding.wait)
    follower = asyncio.create_task(asyncio.to_thread(apply_alone, database_url, second, decide))
    while not follower.done() and not await world.rows(WAITS):  # noqa: ASYNC110 - the lock is another program's
        await asyncio.sleep(SEEN_WAITING_SECONDS)
    may_go_on.set()
    await asyncio.gather(leader, follower)


def apply_alone(database_url: str, event: Event, decided: Decide) -> None:
    """Apply one event on a loop of its own."""

    async def apply() -> None:
        store = await PostgresStore.open(database_url, size=1)
        try:
            await store.apply([event], decided, told(event))
        finally:
            await store.close()

    asyncio.run(apply())
