"""A batch of 1,000 events, kept and applied, with ten million events already there, against an empty database."""

import time
from pathlib import Path
from typing import Final, NamedTuple

from bench import families, ground
from bench.figures import Figure, median, spread
from schemas.events import Event, NewEvent, Queue
from schemas.reports import Report
from worker.embedded import Servers
from worker.reconcile import Reconciler
from worker.store.postgres import PostgresStore

FILL: Final = Path(__file__).with_suffix(".sql").read_text("utf-8")
BATCH: Final = 1000


class Size(NamedTuple):
    """How much of it. A family has five events."""

    families: int
    warm_up: int
    batches: int


FULL: Final = Size(families=2_000_000, warm_up=10, batches=60)
QUICK: Final = Size(families=400, warm_up=0, batches=2)


async def measure(servers: Servers, *, quick: bool) -> list[Figure]:
    """The row of the table."""
    size = QUICK if quick else FULL
    address = servers.database_url
    async with (
        ground.database(address) as full,
        ground.database(address) as empty,
        ground.store(full) as old,
        ground.store(empty) as new,
    ):
        await ground.run_sql(full, FILL.format(families=size.families))
        for url in (full, empty):
            await ground.run_sql(url, "VACUUM ANALYZE", "CHECKPOINT")
        with_history, without = await _batches(old, new, size)
    ratios = [one / other for one, other in zip(with_history, without, strict=True)]
    return [
        Figure(
            what=f"time of a batch of 1,000 with {size.families * 5:,} events in the table already, against none",
            to_reach="1.3 ×",
            measured=f"{median(with_history) / median(without):,.2f} ×",
            how=f"kept and applied in {median(with_history) * 1000:,.0f} ms against {median(without) * 1000:,.0f} ms; "
            f"medians of {len(ratios)} batches each, one here, one there; of the pairs {spread(ratios, 2)}",
        )
    ]


async def _batches(old: PostgresStore, new: PostgresStore, size: Size) -> tuple[list[float], list[float]]:
    """Seconds of each batch, the same one in both databases, taking turns at who goes first."""
    events = families.events((size.warm_up + size.batches) * BATCH // families.STEPS)
    taken: dict[PostgresStore, list[float]] = {old: [], new: []}
    for nth, batch in enumerate(families.batches(events, BATCH)):
        for store in (old, new) if nth % 2 else (new, old):
            taken[store].append(await _seconds(store, batch))
    return taken[old][size.warm_up :], taken[new][size.warm_up :]


async def _seconds(store: PostgresStore, batch: list[NewEvent]) -> float:
    began = time.perf_counter()
    await store.record(batch)
    done = await Reconciler(store, _never, lambda _: None).drain(Queue.PAYMENT_STARTED)
    assert done == len(batch)
    return time.perf_counter() - began


async def _never(event: Event) -> Report:
    raise AssertionError(event)
