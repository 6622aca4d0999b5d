"""What a worker and a clock keep of a million events: nothing, or their memory would grow."""

import asyncio
from pathlib import Path
from typing import Final, NamedTuple

from bench import families, ground, processes
from bench.figures import Figure
from schemas.events import Queue
from worker.broker import Bell
from worker.embedded import Servers

BATCH: Final = 1000
CHUNK: Final = 10_000
"""Families at a time: this process holds no more of them."""
PATIENCE_SECONDS: Final = 1_800.0
LOOK_SECONDS: Final = 0.2
KIB: Final = 1024


class Size(NamedTuple):
    """How much of it. A family has five events."""

    families: int


FULL: Final = Size(families=200_000)
QUICK: Final = Size(families=400)


class Memory(NamedTuple):
    """Resident bytes."""

    worker: int
    clock: int


async def measure(servers: Servers, *, quick: bool) -> list[Figure]:
    """The row of the table."""
    size = QUICK if quick else FULL
    async with ground.database(servers.database_url) as url:
        environ = {"DATABASE_URL": url, "REDIS_URL": servers.redis_url}
        async with (
            processes.running(processes.WORKER, **environ) as worker,
            processes.running(processes.CLOCK, **environ) as clock,
        ):
            before = Memory(_resident(worker.pid), _resident(clock.pid))
            seen = [before]
            for first in range(0, size.families, CHUNK):
                await _apply(url, servers.redis_url, first, min(CHUNK, size.families - first))
                seen.append(Memory(_resident(worker.pid), _resident(clock.pid)))
    early = seen[1 + len(seen) // 10]
    return [
        Figure(
            what=f"memory of a worker and of a clock, before and after {size.families * 5:,} events",
            to_reach="flat, under 150 MB each",
            measured=f"worker {_mb(before.worker)} → {_mb(seen[-1].worker)} MB, "
            f"clock {_mb(before.clock)} → {_mb(seen[-1].clock)} MB",
            how=f"resident, idle at first; after a tenth of them {_mb(early.worker)} and {_mb(early.clock)} MB, "
            f"at most {_mb(max(each.worker for each in seen))} and {_mb(max(each.clock for each in seen))} MB",
        )
    ]


def _resident(pid: int) -> int:
    """Bytes that a process has in memory."""
    status = Path("/proc", str(pid), "status").read_text()
    return next(int(line.split()[1]) * KIB for line in status.splitlines() if line.startswith("VmRSS:"))


def _mb(number: int) -> str:
    return f"{number / 1e6:,.0f}"


async def _apply(url: str, redis_url: str, first: int, count: int) -> None:
    """Record a chunk and wait until it is applied, by whichever of the two."""
    bell = Bell(redis_url)
    async with ground.store(url) as store:
        for batch in families.batches(families.events(count, first=first), BATCH):
            await store.record(batch)
            bell.ring(Queue.PAYMENT_STARTED)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await store.pool.fetchval("SELECT EXISTS (SELECT FROM pending)"):
                await asyncio.sleep(LOOK_SECONDS)
    await bell.close()
