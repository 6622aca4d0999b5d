"""Sealing what was applied, and `lettrage verify` on all of it: chains followed, every event decided again."""

import time
from typing import Final, NamedTuple

from bench import families, ground
from bench.figures import Figure
from schemas.events import Event, Queue
from schemas.reports import Report
from worker.embedded import Servers
from worker.reconcile import Reconciler
from worker.store.postgres import PostgresStore
from worker.store.seals import Sealer
from worker.verify.books import proved_books

BATCH: Final = 1000
MILLION: Final = 1_000_000


class Spent(NamedTuple):
    """Seconds that sealing took, those of them that Python worked, and seconds that the proof took."""

    sealing: float
    sealing_cpu: float
    proving: float


async def measure(servers: Servers, *, quick: bool) -> list[Figure]:
    """Both rows of the table."""
    payments = 400 if quick else 200_000
    count = payments * families.STEPS
    async with ground.database(servers.database_url) as url:
        spent = await _spent(url, payments)
    return [
        Figure(
            what="sealing: Python's CPU beside that of applying, for each event",
            to_reach="a quarter",
            measured=f"{spent.sealing_cpu / count * 1e6:,.0f} µs",
            how=f"{count:,} events sealed in {spent.sealing:,.1f} s, without pauses; "
            "what applying takes is in the row of events reconciled end to end",
        ),
        Figure(
            what="`lettrage verify`, 1,000,000 events",
            to_reach="300 s",
            measured=f"{spent.proving / count * MILLION:,.0f} s",
            how=f"{count:,} events in {spent.proving:,.1f} s, with a process for each core",
        ),
    ]


async def _spent(url: str, payments: int) -> Spent:
    async with ground.store(url) as store:
        for batch in families.batches(families.events(payments), BATCH):
            await store.record(batch)
        await Reconciler(store, _never, lambda _: None).drain(Queue.PAYMENT_STARTED)
        began, cpu = time.perf_counter(), time.process_time()
        await _seal_all(store)
        sealing, sealing_cpu = time.perf_counter() - began, time.process_time() - cpu
    began = time.perf_counter()
    verdict = await proved_books(url)
    assert verdict.ok, verdict.differences
    return Spent(sealing, sealing_cpu, time.perf_counter() - began)


async def _seal_all(store: PostgresStore) -> None:
    sealer = Sealer(store.pool)
    last = await store.pool.fetchval("SELECT max(applied_seq) FROM outcomes")
    while (await store.pool.fetchval("SELECT max(last_seq) FROM chains") or 0) < last:
        await sealer.seal()


async def _never(event: Event) -> Report:
    raise AssertionError(event)
