"""What most would build: one Dramatiq message and one transaction per event, everything by default.

Through the same `decide`, the same store and the same tables as Lettrage; events are recorded in batches for it, too.
A Dramatiq worker of one process runs this file, with Dramatiq's eight threads and its default middleware, and the
middleware that Dramatiq's manual asks for actors that are coroutines.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AsyncIO

from bench.ground import fetch
from schemas.events import Event
from worker.domain.decide import decide
from worker.store import rows
from worker.store.postgres import PostgresStore

DATABASE: Final = "BENCH_DATABASE_URL"
REDIS: Final = "BENCH_REDIS_URL"
CONNECTIONS: Final = 8
"""One for each of Dramatiq's threads."""
LOOK_SECONDS: Final = 0.05
START_SECONDS: Final = 60
"""A worker on a busy machine takes seconds to import everything."""

_EVENT: Final = """
SELECT place, client, source, id, type, regie, received_at, data, time, trace, 1 AS attempts, false AS waited
FROM events
WHERE place = $1
"""

broker = RedisBroker(url=os.environ.get(REDIS, "redis://127.0.0.1:6379/0"))  # type: ignore[no-untyped-call]
broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)

_opened: dict[str, asyncio.Task[PostgresStore]] = {}


@dramatiq.actor
async def apply(place: int) -> None:
    """Apply one event."""
    if not _opened:
        opening = PostgresStore.open(os.environ[DATABASE], size=CONNECTIONS, application_name="naive")
        _opened["store"] = asyncio.create_task(opening)
    store = await _opened["store"]
    await store.apply([await _event(store, place)], decide)


async def _event(store: PostgresStore, place: int) -> Event:
    async with store.pool.acquire() as connection:
        row = await connection.fetchrow(_EVENT, place)
    assert row is not None
    return rows.event(row)


@asynccontextmanager
async def worker(database_url: str, redis_url: str) -> AsyncIterator[None]:
    """A Dramatiq worker of one process, otherwise by default."""
    environ = os.environ | {DATABASE: database_url, REDIS: redis_url}
    command = [sys.executable, "-m", "dramatiq", "bench.naive", "--processes", "1"]
    nowhere = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, env=environ, stdout=nowhere, stderr=nowhere)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


def send(places: Sequence[int], redis_url: str) -> float:
    """Send a message for each event, by default one after the other; answers the seconds that it took."""
    sender = RedisBroker(url=redis_url)  # type: ignore[no-untyped-call]
    began = time.perf_counter()
    for place in places:
        sender.enqueue(apply.message(place))
    return time.perf_counter() - began


async def applied(database_url: str) -> int:
    """How many events have their outcome."""
    return int((await fetch(database_url, "SELECT count(*) FROM outcomes"))[0][0])


async def apply_all(database_url: str, redis_url: str, count: int) -> float:
    """Let a worker handle every message; answers the seconds from its first outcome to its last."""
    async with worker(database_url, redis_url):
        first, seen = 0.0, 0
        started = time.perf_counter()
        while True:
            done = await applied(database_url)
            now = time.perf_counter()
            assert done or now - started < START_SECONDS, "the naive worker does nothing"
            if done and not first:
                first, seen = now, done
            if done >= count:
                return (now - first) / (done - seen) * count
            await asyncio.sleep(LOOK_SECONDS)
