"""More workers on one database: what they apply, and what an event costs PostgreSQL, a worker, the disk."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Final, NamedTuple

from bench import families, ground, processes
from bench.figures import Figure, median, spread
from bench.reconcile import BATCH, all_applied
from schemas.events import Queue
from worker.broker import Bell
from worker.embedded import Servers

RING_SECONDS: Final = 0.02
"""As web does while events come: a bell wakes one worker, the next bell another."""
SERVER: Final = r"SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)::integer AS pid"
BYTES: Final = """
SELECT pg_database_size(current_database()) AS tables, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS wal
"""


class Size(NamedTuple):
    """How much of it."""

    payments: int
    rounds: int


FULL: Final = Size(payments=10_000, rounds=3)
QUICK: Final = Size(payments=200, rounds=1)


class Cost(NamedTuple):
    """What was used so far; what a run used is the difference."""

    seconds: float
    worker_cpu: float
    server_cpu: float
    tables: float
    wal: float


async def measure(servers: Servers, *, quick: bool) -> list[Figure]:
    """Two workers against one, in turns."""
    size = QUICK if quick else FULL
    events = size.payments * families.STEPS
    rounds = [[await _run(servers, count, size.payments) for count in (1, 2)] for _ in range(size.rounds)]
    one, two = (Cost(*map(median, zip(*costs, strict=True))) for costs in zip(*rounds, strict=True))
    costs = (
        f"kept and applied, an event costs PostgreSQL {one.server_cpu / events * 1e6:,.0f} µs of CPU, "
        f"{one.tables / events:,.0f} bytes of tables and indexes and {one.wal / events:,.0f} of WAL; "
        f"applied, a worker {one.worker_cpu / events * 1e6:,.0f} µs"
    )
    return [
        Figure(
            what="events applied by two workers, against one",
            to_reach="reported",
            measured=f"{spread([one.seconds / two.seconds for one, two in rounds], 2)} ×",
            how=f"{events / two.seconds:,.0f} events/s against {events / one.seconds:,.0f}, on the cores that "
            f"PostgreSQL uses too; {costs}",
        )
    ]


async def _run(servers: Servers, workers: int, payments: int) -> Cost:
    events = families.events(payments)
    async with ground.database(servers.database_url) as url, AsyncExitStack() as stack:
        settings = {"DATABASE_URL": url, "REDIS_URL": servers.redis_url}
        pids = [
            (await stack.enter_async_context(processes.running(processes.WORKER, **settings))).pid
            for _ in range(workers)
        ]
        store = await stack.enter_async_context(ground.store(url))
        before = await _so_far(url, pids)
        for batch in families.batches(events, BATCH):
            await store.record(batch)
        began = time.perf_counter()
        ringing = asyncio.create_task(_ring(servers.redis_url))
        await all_applied(url, len(events))
        seconds = time.perf_counter() - began
        ringing.cancel()
        after = await _so_far(url, pids)
        used = Cost(*(late - early for late, early in zip(after, before, strict=True)))
        return used._replace(seconds=seconds)


async def _ring(redis_url: str) -> None:
    bell = Bell(redis_url)
    try:
        while True:
            bell.ring(Queue.PAYMENT_STARTED)
            await asyncio.sleep(RING_SECONDS)
    finally:
        await bell.close()


async def _so_far(url: str, workers: list[int]) -> Cost:
    ((server,),) = await ground.fetch(url, SERVER)
    ((tables, wal),) = await ground.fetch(url, BYTES)
    return Cost(
        seconds=time.perf_counter(),
        worker_cpu=sum(map(processes.cpu_seconds, workers)),
        server_cpu=processes.family_cpu_seconds(server),
        tables=tables,
        wal=wal,
    )
