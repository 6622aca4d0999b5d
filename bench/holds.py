"""Holds: 100,000 that fall due at once among 1,000,000, a new payment meanwhile, and the lateness of a trickle.

The clock is a real `lettrage clock`, the new payments go through a real `lettrage worker`. Lateness is the time of the
decision minus the deadline, both by the database's clock.
"""

import asyncio
import time
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg
import msgspec

from bench import ground, processes
from bench.figures import Figure, percentile
from schemas.events import EventType, NewEvent, PaymentStarted, Queue, StartedLine
from worker.broker import Bell
from worker.embedded import Servers
from worker.store.postgres import PostgresStore

FILL: Final = Path(__file__).with_suffix(".sql").read_text("utf-8")
LOOK_SECONDS: Final = 0.01
PATIENCE_SECONDS: Final = 600.0
LEAD_SECONDS: Final = 3
"""From the filling of a trickle to its first deadline."""


class Size(NamedTuple):
    """How much of it."""

    pending: int
    due: int
    new_payments: int
    trickling: int
    trickling_seconds: int


FULL: Final = Size(pending=1_000_000, due=100_000, new_payments=20, trickling=2_000, trickling_seconds=40)
QUICK: Final = Size(pending=2_000, due=500, new_payments=2, trickling=20, trickling_seconds=1)


class Burst(NamedTuple):
    """What happened while many holds ended at once."""

    seconds: float
    waits: list[float]
    accepted: int


async def measure(servers: Servers, *, quick: bool) -> list[Figure]:
    """Both rows of the table."""
    size = QUICK if quick else FULL
    async with ground.database(servers.database_url) as url, ground.store(url) as store:
        await _fill(url, 1, size.pending - size.due, "now() + interval '1 day' + i * interval '1 ms'")
        async with processes.running(processes.CLOCK, DATABASE_URL=url, REDIS_URL=servers.redis_url):
            late = await _trickle(url, size)
        await _fill(url, size.pending + 1, size.pending + size.due, "now() - (1000000000 - i) * interval '1 us'")
        await ground.run_sql(url, "VACUUM ANALYZE")
        burst = await _burst(url, servers.redis_url, store, size)
    return [
        Figure(
            what=f"holds written when {size.due:,} fall due at once among {size.pending:,}",
            to_reach="20,000/s, a new payment of any of them accepted",
            measured=f"{size.due / burst.seconds:,.0f}/s",
            how=f"written in {burst.seconds:,.1f} s; meanwhile {burst.accepted} of {size.new_payments} new payments "
            f"of invoices not written yet took their hold, within {max(burst.waits) * 1000:,.0f} ms",
        ),
        Figure(
            what=f"lateness of a reactivation with {size.pending:,} holds pending, trickling due, p99",
            to_reach="100 ms",
            measured=f"{percentile(late, 0.99) * 1000:,.0f} ms",
            how=f"p50 {percentile(late, 0.5) * 1000:,.0f} ms, worst {max(late) * 1000:,.0f} ms, of {size.trickling:,} "
            f"over {size.trickling_seconds} s",
        ),
    ]


async def _fill(url: str, first: int, last: int, due: str) -> None:
    await ground.run_sql(url, FILL.format(first=first, last=last, due=due))


async def _trickle(url: str, size: Size) -> list[float]:
    """Holds that end one by one; answers by how many seconds each was late."""
    first = size.pending - size.due + 1
    step = size.trickling_seconds / size.trickling
    due = f"now() + interval '{LEAD_SECONDS} s' + (i - {first}) * interval '{step:.6f} s'"
    await _fill(url, first, first + size.trickling - 1, due)
    ended = f"SELECT payable_again_at, hold_ended_at FROM payments WHERE id >= {first} AND hold_over"  # noqa: S608
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(found := await ground.fetch(url, ended)) < size.trickling:
            await asyncio.sleep(1)
    return [(row["hold_ended_at"] - row["payable_again_at"]).total_seconds() for row in found]


async def _burst(url: str, redis_url: str, store: PostgresStore, size: Size) -> Burst:
    """Let a clock end them all, and pay invoices that it has not come to yet."""
    environ = {"DATABASE_URL": url, "REDIS_URL": redis_url}
    async with processes.running(processes.WORKER, **environ), processes.running(processes.CLOCK, **environ):
        began = time.perf_counter()
        paying = asyncio.create_task(_pay(url, Bell(redis_url), store, size))
        connection = await asyncpg.connect(url)
        written = "SELECT last_value FROM outcomes_applied_seq_seq"  # cheap; says when it is worth looking at the holds
        left = "SELECT EXISTS (SELECT FROM holds WHERE payable_again_at < now() - interval '10 s')"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await connection.fetchval(written) < size.due + size.trickling:
                await asyncio.sleep(LOOK_SECONDS)
            while await connection.fetchval(left):
                await asyncio.sleep(LOOK_SECONDS)
        seconds = time.perf_counter() - began
        await connection.close()
        waits, accepted = await paying
    return Burst(seconds, waits, accepted)


async def _pay(url: str, bell: Bell, store: PostgresStore, size: Size) -> tuple[list[float], int]:
    """Start new payments, one after the other, of the invoices whose hold the clock writes last."""
    waits: list[float] = []
    taken = 0
    connection = await asyncpg.connect(url)
    for nth in range(size.new_payments):
        began = time.perf_counter()
        (receipt,) = await store.record([_again(size.pending + size.due - nth)])
        bell.ring(Queue.PAYMENT_STARTED)
        query = "SELECT reason FROM outcomes WHERE place = $1"
        while (reason := await connection.fetchval(query, receipt.place)) is None:
            await asyncio.sleep(LOOK_SECONDS)
        waits.append(time.perf_counter() - began)
        taken += reason == "hold_taken"
    await connection.close()
    await bell.close()
    return waits, taken


def _again(number: int) -> NewEvent:
    """A second payment of invoice `number`."""
    data = PaymentStarted(
        regie=ground.REGIE,
        reference=f"again-{number}",
        amount_cents=5000,
        invoices=[StartedLine(number=f"F2026-{number:07d}", amount_cents=5000)],
    )
    return NewEvent(
        client="portail",
        source="/bench",
        id=f"again-{number}",
        type=EventType.PAYMENT_STARTED,
        regie=ground.REGIE,
        data=data,
        digest=sha256(msgspec.json.encode(data)).digest(),
    )
