"""Several workers on one PostgreSQL: nobody misses anybody, nobody waits for ever, nothing is done twice."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from schemas.decisions import Decision, Dossier
from schemas.events import DiscrepancyResolved, Event, EventType, NewEvent, Queue
from schemas.records import Policy
from schemas.reports import Report
from tests.integration.judged import assert_judged
from tests.integration.worlds import (
    HOLD,
    POLICY,
    REGIE,
    PostgresWorld,
    callback,
    fact,
    issued,
    recorded,
    refunded,
    report_of,
    said,
    settled,
    started,
    states,
)
from worker.domain.decide import decide
from worker.store.postgres import PostgresStore

ROUNDS = 60
SHORT_HOLD = 1
"""Seconds; holds then end while the batches of a test are being applied."""
PATIENCE_SECONDS = 0.4
"""How long one transaction waits at its decision for the other: long enough to meet, were nothing in the way."""


@asynccontextmanager
async def worlds(database_url: str, number: int, policy: Policy = POLICY) -> AsyncIterator[list[PostgresWorld]]:
    """As many stores as workers, each with connections of its own."""
    async with AsyncExitStack() as stack:
        stores = [await PostgresStore.open(database_url, size=2) for _ in range(number)]
        for store in stores:
            stack.push_async_callback(store.close)
        await stores[0].sync_policies({REGIE: policy})
        yield [PostgresWorld(store) for store in stores]


def told(events: Sequence[Event], answers: dict[str, Report]) -> dict[int, NewEvent]:
    """The reports that speak for the callbacks among `events`, by what their query asks for."""
    return {
        event.place: report_of(event, answers[event.data.query])
        for event in events
        if event.type is EventType.GATEWAY_CALLBACK
    }


MEETINGS = {
    "a callback and its payment-started": (
        [callback("P", "P"), started("P", "F")],
        {"P": said("P")},
        {"F": "paid"},
    ),
    "a callback and a second reference of its payment": (
        [callback("idop-2", "P"), started("P", "F", gateway_reference="idop-2")],
        {"P": said("idop-2")},
        {"F": "paid"},
    ),
    "two callbacks of one payment by both its references": (
        [callback("idop-1", "1"), callback("idop-2", "2")],
        {"1": said("idop-1", cents=450, transaction="1"), "2": said("idop-2", cents=450, transaction="2")},
        {"F": "paid"},
    ),
    "two payments of one new invoice": ([started("P", "F"), started("Q", "F")], {}, {"F": "in_payment"}),
    "a refund and its payment's money": (
        [refunded("P"), callback("P", "P")],
        {"P": said("P")},
        {"F": "payable"},
    ),
    "a settlement and a payment-started": ([settled("F"), started("P", "F")], {}, {"F": "paid"}),
    "a dossier that grows at its other end": (
        [callback("P", "P"), started("Q", "F", "G")],
        {"P": said("P")},
        {"F": "paid"},
    ),
}


@pytest.mark.parametrize("meeting", MEETINGS)
async def test_transactions_that_share_money_never_decide_at_once(database_url: str, meeting: str) -> None:
    """Each in a thread of its own waits at its decision for the other, and must not meet it there.

    Had one read its dossier before the other wrote, both would stand there with half of the truth.
    """
    facts, answers, expected = MEETINGS[meeting]
    async with worlds(database_url, 1) as (world,):
        await _begun(world, meeting)
        await recorded(world, *facts)
        events = [*await world.store.claim(Queue.PAYMENT_STARTED, 10), *await world.store.claim(_CALLBACKS, 10)]
        assert len(events) == 2
        met = threading.Barrier(2)
        await asyncio.gather(*(asyncio.to_thread(_apply_alone, database_url, event, answers, met) for event in events))
        assert met.broken, "two transactions decided about the same money at once"
        found = await states(world)
        assert {number: found[number] for number in expected} == expected
        assert len(await world.pending()) == 0


_CALLBACKS = Queue.GATEWAY_CALLBACK


async def _begun(world: PostgresWorld, meeting: str) -> None:
    """What the meeting's two events find."""
    if "its payment" in meeting or "other end" in meeting:
        await recorded(world, issued("F"))
    if "second reference" in meeting or "both its references" in meeting:
        await recorded(world, started("P", "F", gateway_reference="idop-1"))
    if "both its references" in meeting:
        await recorded(world, started("P", "F", gateway_reference="idop-2"))
    if "other end" in meeting or "refund" in meeting:
        await recorded(world, started("P", "F"))
    await world.store.apply(await world.store.claim(Queue.PAYMENT_STARTED, 10), decide)


def _apply_alone(database_url: str, event: Event, answers: dict[str, Report], met: threading.Barrier) -> None:
    """Apply one event on a loop and a connection of its own, waiting at its decision for another."""

    def wait_and_decide(dossier: Dossier, events: Sequence[Event], policy: Policy, now: datetime) -> Decision:
        with suppress(threading.BrokenBarrierError):  # nobody came: the other one waits for our locks
            met.wait(PATIENCE_SECONDS)
        return decide(dossier, events, policy, now)

    async def apply() -> None:
        store = await PostgresStore.open(database_url, size=1)
        try:
            await store.apply([event], wait_and_decide, told([event], answers))
        finally:
            await store.close()

    asyncio.run(apply())


async def test_transactions_that_share_nothing_do_decide_at_once(database_url: str) -> None:
    """The test above can fail: two strangers do meet."""
    async with worlds(database_url, 1) as (world,):
        await recorded(world, started("P", "F"), started("Q", "G"))
        events = await world.store.claim(Queue.PAYMENT_STARTED, 10)
        met = threading.Barrier(2)
        await asyncio.gather(*(asyncio.to_thread(_apply_alone, database_url, event, {}, met) for event in events))
        assert not met.broken


@pytest.mark.parametrize("order", ["callback first", "start first", "at once"])
async def test_a_callback_and_its_payment_started_never_miss_each_other(database_url: str, order: str) -> None:
    """Two workers take them at the same moment, many times: the money always finds its payment."""
    numbers = random.Random(order)
    async with worlds(database_url, 2) as (one, other):
        for n in range(ROUNDS):
            await recorded(one, started(f"P{n}", f"F{n}"), callback(f"P{n}", "P"))
            (start,) = await one.store.claim(Queue.PAYMENT_STARTED, 10)
            (call,) = await other.store.claim(Queue.GATEWAY_CALLBACK, 10)
            head_start = 0.0 if order == "at once" else numbers.random() * 0.004
            await asyncio.gather(
                _after(head_start if order == "callback first" else 0, lambda e=start: one.store.apply([e], decide)),  # type: ignore[misc]
                _after(
                    head_start if order == "start first" else 0,
                    lambda e=call, n=n: other.store.apply([e], decide, told([e], {"P": said(f"P{n}")})),  # type: ignore[misc]
                ),
            )
        assert set((await states(one)).values()) == {"paid"}
        assert await one.rows("SELECT 1 FROM discrepancies WHERE state = 'open'") == []
        assert await deadlocks(one) == 0


async def _after(seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    await asyncio.sleep(seconds)
    await work()


async def test_dossiers_that_grow_together_end_as_one(database_url: str) -> None:
    """Payments chain the same invoices together from both ends, at once: each sees the whole in the end."""
    async with worlds(database_url, 4) as workers:
        for n in range(ROUNDS // 4):
            chain = [started(f"{n}-{i}", f"{n}-F{i}", f"{n}-F{i + 1}") for i in range(4)]
            await recorded(workers[0], *chain)
            events = await workers[0].store.claim(Queue.PAYMENT_STARTED, 10)
            await asyncio.gather(
                *(w.store.apply([event], decide) for w, event in zip(workers, reversed(events), strict=True))
            )
            taken = await workers[0].rows(
                "SELECT count(*) FILTER (WHERE held) AS held, count(*) AS lines FROM payment_lines AS l"
                " JOIN payments AS p ON p.id = l.payment_id WHERE p.reference LIKE $1",
                f"{n}-%",
            )
            assert taken[0]["lines"] == 8
            assert taken[0]["held"] in {2, 4}, "all or none, and never two holds on one invoice"
        assert await deadlocks(workers[0]) == 0


async def deadlocks(world: PostgresWorld) -> int:
    """Deadlocks that this database had to break since it was made."""
    (row,) = await world.rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    count: int = row["deadlocks"]
    return count


async def test_no_order_of_overlapping_batches_deadlocks(database_url: str) -> None:
    """Four workers take the same events in random batches while sweeps run: no deadlock, each once, money right."""
    numbers = random.Random(20261123)
    async with worlds(database_url, 5, Policy(label="Enfance", gateway="dummy", hold=SHORT_HOLD)) as (
        *workers,
        sweeper,
    ):
        facts, answers = _tangle(numbers)
        places = await recorded(sweeper, *facts)
        events = [*await sweeper.store.claim(Queue.PAYMENT_STARTED, 1000), *await sweeper.store.claim(_CALLBACKS, 1000)]
        assert len(events) == len(places)
        applied: list[int] = []
        busy = asyncio.Event()

        async def work(world: PostgresWorld) -> None:
            for _ in range(12):
                batch = numbers.sample(events, numbers.randint(20, 120))
                done = await world.store.apply(batch, decide, told(batch, answers))
                applied.extend(event.place for event, _ in done.applied)

        async def sweep() -> None:
            while not busy.is_set():
                await sweeper.store.end_due_holds(decide, 7)

        sweeping = asyncio.create_task(sweep())
        await asyncio.gather(*map(work, workers))
        busy.set()
        await sweeping
        rest = await workers[0].store.apply(events, decide, told(events, answers))
        applied.extend(event.place for event, _ in rest.applied)
        await sweeper.later(60)
        await sweeper.store.end_due_holds(decide, 1000)

        assert len(applied) == len(set(applied)), "an event was applied twice"
        assert set(places) <= set(await sweeper.outcomes())
        assert await sweeper.pending() == {}
        assert await deadlocks(sweeper) == 0
        await assert_judged(sweeper.postgres.pool, REGIE)


def _tangle(numbers: random.Random) -> tuple[list[NewEvent], dict[str, Report]]:
    """Payments of shared invoices, with all kinds of facts about them, in a random order."""
    now = datetime.now(UTC)
    facts: list[NewEvent] = [issued(f"F{n}") for n in range(20)]
    answers: dict[str, Report] = {}
    for n in range(60):
        invoices = [f"F{i}" for i in numbers.sample(range(20), numbers.randint(1, 3))]
        begins = now + timedelta(seconds=numbers.uniform(-SHORT_HOLD, 5))
        facts.append(started(f"P{n}", *invoices, received_at=begins))
        for t in range(numbers.choice((0, 1, 1, 2))):
            query = f"P{n}/{t}"
            answers[query] = said(f"P{n}", numbers.choice("PPPVZRA"), 900 * len(invoices), transaction=str(t))
            facts.append(callback(f"P{n}", query))
        if not numbers.randrange(4):
            facts.append(refunded(f"P{n}", numbers.choice((300, 900))))
    facts += [settled(f"F{n}") for n in range(0, 20, 5)]
    numbers.shuffle(facts)
    return facts, answers


async def test_two_sweeps_at_once_end_each_hold_once(database_url: str) -> None:
    """Any number of clocks: one event per hold."""
    async with worlds(database_url, 4) as workers:
        await recorded(workers[0], *(started(f"P{n}", f"F{n}") for n in range(50)))
        await workers[0].store.apply(await workers[0].store.claim(Queue.PAYMENT_STARTED, 100), decide)
        await workers[0].later(HOLD)
        for _ in range(10):
            await asyncio.gather(*(w.store.end_due_holds(decide, 20) for w in workers))
        ended = await workers[0].rows(
            "SELECT count(*) AS events, count(DISTINCT data ->> 'reference') AS holds FROM events WHERE type = $1",
            EventType.PAYMENT_TIMED_OUT.value,
        )
        assert tuple(ended[0]) == (50, 50)
        assert await deadlocks(workers[0]) == 0


async def test_a_sweep_and_the_money_of_the_same_hold(database_url: str) -> None:
    """Whoever is first, the invoice is paid and the hold ended once."""
    async with worlds(database_url, 2) as (worker, clock):
        for n in range(ROUNDS):
            await recorded(worker, started(f"P{n}", f"F{n}"))
            await worker.store.apply(await worker.store.claim(Queue.PAYMENT_STARTED, 10), decide)
            await worker.later(HOLD)
            await recorded(worker, callback(f"P{n}", "P"))
            events = await worker.store.claim(_CALLBACKS, 10)
            await asyncio.gather(
                worker.store.apply(events, decide, told(events, {"P": said(f"P{n}")})),
                clock.store.end_due_holds(decide, 10),
            )
        assert set((await states(worker)).values()) == {"paid"}
        twice = await worker.rows(
            "SELECT i.number FROM journal AS j JOIN invoices AS i ON i.id = j.invoice_id"
            " WHERE j.before = 'in_payment' GROUP BY i.number HAVING count(*) <> 1"
        )
        assert twice == []
        assert await deadlocks(worker) == 0


async def test_the_same_events_applied_by_all_at_once_are_done_once(database_url: str) -> None:
    """A lease that ended too soon: four workers hold the same claim."""
    async with worlds(database_url, 4) as workers:
        await recorded(workers[0], *(started(f"P{n}", f"F{n % 7}") for n in range(70)))
        events = await workers[0].store.claim(Queue.PAYMENT_STARTED, 100)
        done = await asyncio.gather(*(w.store.apply(events, decide) for w in workers))
        assert sorted(len(d.applied) for d in done) == [0, 0, 0, 70]


async def test_policies_synced_by_many_processes_are_one_version(database_url: str) -> None:
    """Processes start together: one version of each policy, and the latest one stands."""
    async with worlds(database_url, 4) as workers:
        changed = Policy(label="Régie Enfance", gateway="dummy", hold=60)
        await asyncio.gather(*(w.postgres.sync_policies({REGIE: changed, "cantine": POLICY}) for w in workers))
        found = await workers[0].rows("SELECT regie, count(*) AS versions FROM policies GROUP BY regie ORDER BY regie")
        assert [tuple(row) for row in found] == [("cantine", 1), (REGIE, 2)]


async def test_the_same_facts_kept_by_many_at_once_in_any_order(database_url: str) -> None:
    """A client sends its batch again, differently ordered, to other web processes: kept once, and no deadlock."""
    numbers = random.Random(1)
    async with worlds(database_url, 4) as workers:
        for n in range(ROUNDS // 2):
            facts = [issued(f"F{n}-{i}") for i in range(60)]
            receipts = await asyncio.gather(*(w.store.record(numbers.sample(facts, 60)) for w in workers))
            accepted = [receipt.place for each in receipts for receipt in each if receipt.status == "accepted"]
            assert len(accepted) == len(set(accepted)) == 60
        assert await deadlocks(workers[0]) == 0


def unproven(reference: str) -> Report:
    """An answer that anybody could have sent."""
    report = said(reference)
    report.verified = False
    return report


@pytest.mark.parametrize("other", ["another answer", "a person", "its payment"])
async def test_a_discrepancy_that_no_payment_owns_loses_nothing(database_url: str, other: str) -> None:
    """No row of anybody's is locked for it: what two read at once, the second writes only after reading it again."""
    async with worlds(database_url, 1) as (world,):
        proven = other == "its payment"
        await recorded(world, callback("P", "first"))
        events = await world.store.claim(_CALLBACKS, 10)
        await world.store.apply(events, decide, told(events, {"first": said("P") if proven else unproven("P")}))
        (key,) = (await world.snapshot())["discrepancies"]
        closing = DiscrepancyResolved(regie=REGIE, id=key, resolution="explained", amount_cents=900, comment="seen")
        facts = {
            "another answer": [callback("P", "second"), callback("P", "third")],
            "a person": [fact(EventType.DISCREPANCY_RESOLVED, closing), callback("P", "second")],
            "its payment": [fact(EventType.DISCREPANCY_RESOLVED, closing), started("P", "F")],
        }[other]
        await recorded(world, *facts)
        events = [*await world.store.claim(Queue.PAYMENT_STARTED, 10), *await world.store.claim(_CALLBACKS, 10)]
        answers = {"second": unproven("P"), "third": unproven("P")}
        met = threading.Barrier(2)
        await asyncio.gather(*(asyncio.to_thread(_apply_alone, database_url, event, answers, met) for event in events))
        (row,) = await world.rows(
            "SELECT detail ->> 'count' AS count, state, amount_cents, resolution FROM discrepancies"
        )
        reasons = {reason for _, reason in (await world.outcomes()).values()}
        if other == "another answer":
            assert row["count"] == "3"
        if other == "a person":
            assert (row["count"], row["state"], row["resolution"]) == ("2", "resolved", "explained")
        if other == "its payment":
            assert row["amount_cents"] == 0
            assert ("discrepancy_resolved" in reasons) == (row["resolution"] is not None)
