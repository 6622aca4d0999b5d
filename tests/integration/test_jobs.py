"""The worker's process on real servers: bells answered, outages survived, nothing lost when it ends."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from schemas.events import QUEUES, EventType, PaymentTimedOut, Queue
from tests.integration.processes import free_port, lettrage, started, until, until_nothing_waits
from worker.broker import Bell
from worker.store.migrate import migrate
from worker.store.postgres import PostgresStore

SOON = 10
"""Seconds that a busy machine may take for what needs milliseconds."""
ON_TIME_SECONDS = 2.0
"""Far above a bell's 10 ms, so that a busy machine passes; a worker that does not hear would take for ever."""


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    """Where the test's events are recorded."""
    opened = await PostgresStore.open(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def bell(redis_url: str) -> AsyncIterator[Bell]:
    """What rings for them."""
    opened = Bell(redis_url)
    yield opened
    await opened.close()


async def test_a_recorded_and_rung_event_gets_its_outcome(
    tmp_path: Path, database_url: str, redis_url: str, store: PostgresStore, bell: Bell
) -> None:
    """No clock runs: the bell alone brings the worker."""
    async with lettrage("worker", tmp_path, database_url, redis_url) as worker:
        await worker.until_logged("process_ready")
        for number in range(10):
            await store.record([started(f"P-{number}")])
            bell.ring(Queue.PAYMENT_STARTED)
            await asyncio.wait_for(until_nothing_waits(store), SOON)
        assert await worker.stop() == 0
    assert await store.pool.fetchval("SELECT count(*) FROM outcomes WHERE outcome = 'applied'") == 10
    assert worker.events() == ["process_ready", *["event_reconciled"] * 10, "process_stopped"]


@pytest.mark.parametrize("queue", [queue for queue in Queue if queue in QUEUES.values()])
async def test_every_bell_is_answered(
    tmp_path: Path, database_url: str, redis_url: str, bell: Bell, queue: Queue
) -> None:
    """Each queue has a running actor: its bell is taken, its flag cleared, nothing left in Redis."""
    async with lettrage("worker", tmp_path, database_url, redis_url) as worker:
        await worker.until_logged("process_ready")
        bell.ring(queue)
        await asyncio.gather(*bell._ringing.values())
        keys = [f"lettrage:ringing:{queue.value}", f"lettrage:{queue.value}", f"lettrage:{queue.value}.msgs"]
        await asyncio.wait_for(until(lambda: _gone(bell, keys)), SOON)


async def test_a_hold_that_a_sweep_set_aside_is_tried_again_by_its_own_bell(
    tmp_path: Path, database_url: str, redis_url: str, store: PostgresStore, bell: Bell
) -> None:
    """It is an event of the queue payment-timeout: nothing else need happen for it to be taken."""
    async with lettrage("worker", tmp_path, database_url, redis_url) as worker:
        await worker.until_logged("process_ready")
        data = PaymentTimedOut(regie="enfance", reference="P-1", due=datetime.now(UTC))
        kind = EventType.PAYMENT_TIMED_OUT
        await store.record([replace(started("P-1"), source="/clock", type=kind, data=data)])
        bell.ring(Queue.PAYMENT_TIMEOUT)
        await asyncio.wait_for(until_nothing_waits(store), SOON)


async def test_what_came_while_no_worker_ran_is_taken_at_its_start(
    tmp_path: Path, database_url: str, redis_url: str, store: PostgresStore
) -> None:
    """Without a bell and without a clock."""
    await store.record([started("P-1"), started("P-2")])
    async with lettrage("clock", tmp_path, database_url, redis_url) as clock:  # stores the régie's policy
        await clock.until_logged("process_ready")
    async with lettrage("worker", tmp_path, database_url, redis_url) as worker:
        await worker.until_logged("process_ready")
        await asyncio.wait_for(until_nothing_waits(store), SOON)


async def test_the_worker_waits_for_the_schema(tmp_path: Path, empty_database_url: str, redis_url: str) -> None:
    """It starts before the migration, says so once, and works as soon as the schema is there."""
    async with lettrage("worker", tmp_path, empty_database_url, redis_url) as worker:
        await worker.until_logged("database_awaited")
        await migrate(empty_database_url)
        await asyncio.wait_for(worker.until_logged("process_ready"), SOON)
        assert worker.events().count("database_awaited") == 1


async def test_a_worker_that_waits_for_its_database_ends_when_told(tmp_path: Path, redis_url: str) -> None:
    """There is no server at its address; SIGTERM is obeyed all the same."""
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    async with lettrage("worker", tmp_path, nowhere, redis_url) as worker:
        await worker.until_logged("database_awaited")
        assert await worker.stop() == 0


async def test_the_worker_survives_the_loss_of_every_connection(
    tmp_path: Path, database_url: str, redis_url: str, store: PostgresStore, bell: Bell
) -> None:
    """As in a restart of the database; the next bell is answered on new connections."""
    async with lettrage("worker", tmp_path, database_url, redis_url) as worker:
        await worker.until_logged("process_ready")
        await store.record([started("P-1")])
        bell.ring(Queue.PAYMENT_STARTED)
        await asyncio.wait_for(until_nothing_waits(store), SOON)
        await store.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lettrage worker'"
        )
        await store.record([started("P-2")])
        async with asyncio.timeout(SOON):
            while await store.pool.fetchval("SELECT count(*) FROM pending"):
                bell.ring(Queue.PAYMENT_STARTED)
                await asyncio.sleep(0.1)
        assert worker.running.returncode is None


async def test_a_worker_told_to_end_amid_work_leaves_no_half_of_it(
    tmp_path: Path, database_url: str, redis_url: str, store: PostgresStore, bell: Bell
) -> None:
    """It ends after its batch; what it did is done, what it did not do is claimable at once, nothing is leased."""
    async with lettrage("worker", tmp_path, database_url, redis_url) as worker:
        await worker.until_logged("process_ready")
        await store.record([started(f"P-{number}") for number in range(20_000)])
        bell.ring(Queue.PAYMENT_STARTED)
        await until(lambda: store.pool.fetchval("SELECT EXISTS (SELECT FROM outcomes)"))
        assert await worker.stop() == 0
    counts = await store.pool.fetchrow(
        "SELECT (SELECT count(*) FROM outcomes) AS done, (SELECT count(*) FROM pending) AS waiting,"
        " (SELECT count(*) FROM pending WHERE leased_until > clock_timestamp()) AS leased"
    )
    assert counts is not None
    assert counts["done"] + counts["waiting"] == 20_000
    assert counts["waiting"] > 0
    assert counts["leased"] == 0


async def test_without_redis_the_worker_stays_up_and_the_clock_drains(
    tmp_path: Path, database_url: str, store: PostgresStore
) -> None:
    """No Redis at all: both processes run, and an event still gets its outcome, a second late."""
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    async with (
        lettrage("worker", tmp_path, database_url, nowhere) as worker,
        lettrage("clock", tmp_path, database_url, nowhere) as clock,
    ):
        await worker.until_logged("redis_lost")
        await clock.until_logged("process_ready")
        for number in range(3):
            (receipt,) = await store.record([started(f"P-{number}")])
            await asyncio.wait_for(until_nothing_waits(store), SOON)
            took = await _seconds_until_decided(store.pool, receipt.place)
            assert took < ON_TIME_SECONDS
        assert await worker.stop() == 0
        assert await clock.stop() == 0
    assert worker.events().count("redis_lost") == 1


async def _gone(bell: Bell, keys: list[str]) -> bool:
    return not await bell._redis.exists(*keys)


async def _seconds_until_decided(pool: "asyncpg.Pool[asyncpg.Record]", place: int) -> float:
    took: float = await pool.fetchval(
        "SELECT extract(epoch FROM o.decided_at - e.received_at)::float8"
        " FROM events AS e JOIN outcomes AS o USING (place) WHERE place = $1",
        place,
    )
    return took


def test_the_queues_of_all_event_types_are_known() -> None:
    """What has no queue would never be claimed."""
    assert set(QUEUES) == set(EventType)
