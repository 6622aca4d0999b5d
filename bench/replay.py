"""Everything replayed, against applying it in the first place; a dry run and a replay find the same."""

import time
from typing import Any, Final, NamedTuple

from bench import families, ground
from bench.figures import Figure
from schemas.events import Event, Queue
from schemas.replays import Filter, ReplayView
from schemas.reports import Report
from worker.embedded import Servers
from worker.reconcile import Reconciler
from worker.replaying import Replayer
from worker.store.postgres import PostgresStore
from worker.store.replays import Replays, Wanted

BATCH: Final = 1000
PAYMENTS: Final = 20_000
"""Five events each."""
PAYMENTS_QUICK: Final = 100
EDIT: Final = """
UPDATE invoices SET state = 'withdrawn', withdrawn = true, paid_at = NULL, reason = 'x' WHERE id % 100 = 0
"""
CHANGES: Final = "SELECT change FROM replay_changes WHERE replay_id = $1 ORDER BY subject"


class Times(NamedTuple):
    """Seconds of each."""

    applied: float
    dry: float
    real: float
    mending: float


async def measure(servers: Servers, *, quick: bool) -> list[Figure]:
    """The row of the table."""
    events = families.events(PAYMENTS_QUICK if quick else PAYMENTS)
    async with ground.database(servers.database_url) as url, ground.store(url) as store:
        for batch in families.batches(events, BATCH):
            await store.record(batch)
        began = time.perf_counter()
        await Reconciler(store, _never, lambda _: None).drain(Queue.PAYMENT_STARTED)
        applied = time.perf_counter() - began
        await ground.run_sql(url, "VACUUM ANALYZE", "CHECKPOINT")
        _, dry = await _replayed(store, dry_run=True)
        healthy, real = await _replayed(store, dry_run=False)
        assert healthy.changed == 0, "a healthy database changed"
        await ground.run_sql(url, EDIT)
        foreseen, _ = await _replayed(store, dry_run=True)
        done, mending = await _replayed(store, dry_run=False)
        agreed = await _changes(store, foreseen.id) == await _changes(store, done.id)
        assert agreed, "a dry run and a replay differ"
    return [_figure(Times(applied, dry, real, mending), len(events), done.changed)]


async def _replayed(store: PostgresStore, *, dry_run: bool) -> tuple[ReplayView, float]:
    replayer = Replayer(Replays(store, "bench"), store.waiting, lambda _: None)
    replay_id = await replayer.begin(Wanted(Filter(), dry_run, None if dry_run else "bench", "bench"), None)
    began = time.perf_counter()
    view = await replayer.run(replay_id, lambda _: None)
    return view, time.perf_counter() - began


async def _changes(store: PostgresStore, replay_id: int) -> list[Any]:
    return [row["change"] for row in await store.pool.fetch(CHANGES, replay_id)]


async def _never(event: Event) -> Report:
    raise AssertionError(event)


def _figure(times: Times, count: int, changed: int) -> Figure:
    rates = [f"{count / seconds:,.0f}/s" for seconds in times]
    return Figure(
        what="everything replayed, against applying it in the first place",
        to_reach="0.5 ×",
        measured=f"{times.applied / times.real:,.2f} ×",
        how=f"{count:,} events in one process: applied {rates[0]}, replayed {rates[2]} (dry {rates[1]}) without a "
        f"change; with {changed:,} rows to put right {rates[3]}, the same as their dry run found",
    )
