"""End to end: events kept durably in batches, then applied by one `lettrage worker`; the naive way; the floor."""

import asyncio
import time
from typing import Final, NamedTuple

import asyncpg

from bench import families, floor, ground, naive, processes
from bench.figures import Figure, median, spread
from bench.floor import Spent
from schemas.events import Event, NewEvent, Queue
from schemas.reports import Report
from worker.broker import Bell
from worker.embedded import Servers
from worker.reconcile import Reconciler

BATCH: Final = 1000
LOOK_SECONDS: Final = 0.02
PATIENCE_SECONDS: Final = 600.0


class Size(NamedTuple):
    """How much of it."""

    payments: int
    naive_payments: int
    rounds: int


FULL: Final = Size(payments=20_000, naive_payments=400, rounds=3)
QUICK: Final = Size(payments=400, naive_payments=10, rounds=1)


class Round(NamedTuple):
    """What the three took, interleaved, so that a neighbour's burst hits all of them."""

    ours: Spent
    naive: Spent
    floor: Spent
    worker_cpu: float


async def measure(servers: Servers, *, quick: bool) -> list[Figure]:
    """Both ratios of the table."""
    size = QUICK if quick else FULL
    events = families.events(size.payments)
    few = families.events(size.naive_payments)
    async with ground.database(servers.database_url) as reference:
        await _become_floor(reference, events)
        rounds = [await _round(servers, reference, events, few) for _ in range(size.rounds)]
    return _figures(rounds, len(events), len(few))


async def _round(servers: Servers, reference: str, events: list[NewEvent], few: list[NewEvent]) -> Round:
    async with ground.database(servers.database_url) as url:
        ours, cpu = await _ours(url, servers.redis_url, events)
    async with ground.database(servers.database_url, template=reference) as url:
        lowest = await floor.write_again(url, BATCH)
        assert await floor.differing(url) == 0, "the floor wrote other rows than Lettrage"
    async with ground.database(servers.database_url) as url:
        slow = await _naive(url, servers.redis_url, few)
    return Round(ours=ours, naive=slow, floor=lowest, worker_cpu=cpu)


async def _become_floor(url: str, events: list[NewEvent]) -> None:
    """Apply everything once, keeping what is written."""
    async with ground.store(url) as store:
        for batch in families.batches(events, BATCH):
            await store.record(batch)
        await floor.capture(url)
        await Reconciler(store, _never, lambda _: None).drain(Queue.PAYMENT_STARTED)
    await floor.turn_into_floor(url)


async def _never(event: Event) -> Report:
    raise AssertionError(event)


async def _ours(url: str, redis_url: str, events: list[NewEvent]) -> tuple[Spent, float]:
    """Record everything, then ring; a worker that is already there does the rest."""
    async with (
        processes.running(processes.WORKER, DATABASE_URL=url, REDIS_URL=redis_url) as worker,
        ground.store(url) as store,
    ):
        cpu = processes.cpu_seconds(worker.pid)
        began = time.perf_counter()
        for batch in families.batches(events, BATCH):
            await store.record(batch)
        recorded = time.perf_counter()
        bell = Bell(redis_url)
        bell.ring(Queue.PAYMENT_STARTED)
        await all_applied(url, len(events))
        applied = time.perf_counter()
        await bell.close()
        return Spent(recorded - began, applied - recorded), processes.cpu_seconds(worker.pid) - cpu


async def all_applied(url: str, count: int) -> None:
    """Wait until every event has its outcome; the sequence says cheaply when it is worth counting."""
    connection = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await connection.fetchval("SELECT last_value FROM outcomes_applied_seq_seq") < count:
                await asyncio.sleep(LOOK_SECONDS)
            while await connection.fetchval("SELECT count(*) FROM outcomes") < count:
                await asyncio.sleep(LOOK_SECONDS)
    finally:
        await connection.close()


async def _naive(url: str, redis_url: str, events: list[NewEvent]) -> Spent:
    """The same events, recorded in batches as well; then a message and a transaction for each."""
    async with ground.store(url) as store:
        began = time.perf_counter()
        receipts = [receipt for batch in families.batches(events, BATCH) for receipt in await store.record(batch)]
        recording = time.perf_counter() - began
    await asyncio.to_thread(naive.send, [receipt.place for receipt in receipts], redis_url)
    return Spent(recording, await naive.apply_all(url, redis_url, len(events)))


def _figures(rounds: list[Round], count: int, few: int) -> list[Figure]:
    ours = count / median([each.ours.total for each in rounds])
    slow = few / median([each.naive.total for each in rounds])
    lowest = count / median([each.floor.total for each in rounds])
    recording = count / median([each.ours.recording for each in rounds])
    applying = count / median([each.ours.applying for each in rounds])
    cpu = median([each.worker_cpu for each in rounds]) / count * 1e6
    parts = (
        f"recorded {recording:,.0f}/s, applied {applying:,.0f}/s; the worker's Python: {cpu:,.0f} µs of CPU an event"
    )
    floors = median([each.floor.recording for each in rounds]), median([each.floor.applying for each in rounds])
    return [
        Figure(
            what="events reconciled end to end, against one message and one transaction per event",
            to_reach="25 ×",
            measured=f"{spread([each.naive.total / few * count / each.ours.total for each in rounds])} ×",
            how=f"{ours:,.0f} events/s against {slow:,.0f}; {count:,} events ({few:,} for the naive); {parts}",
        ),
        Figure(
            what="the same against the set-based floor",
            to_reach="0.5 ×, aim 0.65",
            measured=f"{spread([each.floor.total / each.ours.total for each in rounds], 2)} ×",
            how=f"{ours:,.0f} events/s against {lowest:,.0f} "
            f"(floor: recorded {count / floors[0]:,.0f}/s, applied {count / floors[1]:,.0f}/s)",
        ),
    ]
