"""The state gauges' values, read from PostgreSQL when somebody scrapes. Source: the contract's "Metrics"."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Final, Self

import asyncpg

from monitoring.metrics import Sample
from schemas.events import EventType
from schemas.records import DiscrepancyKind, InvoiceState
from worker.domain.record import GIVES_BACK
from worker.store.sql import load

QUERIES: Final = load("metrics.sql")

ACQUIRE_SECONDS: Final = 2
"""A scrape does not wait longer for a connection, made or free."""
QUERY_SECONDS: Final = 60
"""Longer than counting ten million invoices takes on one core of a busy machine."""
LOCK_TIMEOUT: Final = "2000"
"""Milliseconds: a migration that alters a table is not waited for."""
CONNECTIONS: Final = 2
"""One for what is counted, one table after the other; one for the quick statements."""
COUNTED: Final = frozenset({"invoices", "payments", "oldest_holds", "lost"})
"""Statements that read a whole table, or much of one."""
PROCESSES: Final = ("web", "worker", "clock")
CENTS_PER_EURO: Final = 100

Row = Mapping[str, object] | asyncpg.Record


class Gauges:
    """Reads the gauges of STATE_GAUGES, in groups that cost one statement each."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool
        self._counting = asyncio.Lock()

    @classmethod
    async def open(cls, database_url: str) -> Self:
        """Gauges on connections of their own, made at the first scrape: counting takes none from requests."""
        pool = await asyncpg.create_pool(
            database_url,
            min_size=0,
            max_size=CONNECTIONS,
            timeout=ACQUIRE_SECONDS,
            command_timeout=QUERY_SECONDS,
            server_settings={
                "application_name": "lettrage metrics",
                "default_transaction_read_only": "on",
                "lock_timeout": LOCK_TIMEOUT,
                "max_parallel_workers_per_gather": "0",  # counting is in no hurry: one core, never all of them
                "jit": "off",
            },
        )
        return cls(pool)

    async def close(self) -> None:
        """Drop the connections; a reading under way is of no use any more."""
        self._pool.terminate()

    def readings(self) -> dict[str, Callable[[], Coroutine[object, object, list[Sample]]]]:
        """What there is to read, by the query's name; each raises whatever the driver does."""
        return {name: self._reading(name, samples) for name, samples in _SAMPLES.items()}

    def _reading(self, query: str, samples: "Samples") -> Callable[[], Coroutine[object, object, list[Sample]]]:
        async def read() -> list[Sample]:
            async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
                return list(samples(await connection.fetch(vars(QUERIES)[query])))

        async def read_in_turn() -> list[Sample]:
            async with self._counting:
                return await read()

        return read_in_turn if query in COUNTED else read


def _pending(rows: Iterable[Row]) -> Iterator[Sample]:
    waiting = {row["type"]: row for row in rows}
    for kind in EventType:
        row = waiting.get(kind.value, {"waiting": 0, "oldest_seconds": 0})
        yield Sample("pending_events", (kind.value,), _number(row["waiting"]))
        yield Sample("oldest_pending_event_seconds", (kind.value,), max(0.0, _number(row["oldest_seconds"])))


def _parked(rows: Iterable[Row]) -> Iterator[Sample]:
    for row in rows:
        yield Sample("parked_events", (), _number(row["parked"]))


def _invoices(rows: Iterable[Row]) -> Iterator[Sample]:
    yield from _by_regie(rows, "state", "invoices", [state.value for state in InvoiceState])


def _payments(rows: Iterable[Row]) -> Iterator[Sample]:
    for row in rows:
        regie = (str(row["regie"]),)
        yield Sample("paid_euros", regie, _number(row["paid_cents"]) / CENTS_PER_EURO)
        yield Sample("refunded_euros", regie, _number(row["refunded_cents"]) / CENTS_PER_EURO)
        yield Sample("late_payments", regie, _number(row["late"]))


def _oldest_holds(rows: Iterable[Row]) -> Iterator[Sample]:
    for row in rows:
        yield Sample("oldest_hold_seconds", (str(row["regie"]),), _number(row["oldest_seconds"]))


def _overdue(rows: Iterable[Row]) -> Iterator[Sample]:
    for row in rows:
        regie = (str(row["regie"]),)
        yield Sample("overdue_holds", regie, _number(row["overdue"]))
        yield Sample("oldest_overdue_hold_seconds", regie, _number(row["oldest_seconds"]))


def _undelivered(rows: Iterable[Row]) -> Iterator[Sample]:
    for row in rows:
        regie = str(row["regie"])
        for state in ("waiting", "failing", "given_up"):
            yield Sample("undelivered_notifications", (regie, state), _number(row[state]))
        yield Sample("oldest_undelivered_notification_seconds", (regie,), _number(row["oldest_seconds"]))
        yield Sample("disabled_portals", (regie,), _number(row["disabled"]))


def _discrepancies(rows: Iterable[Row]) -> Iterator[Sample]:
    found = list(rows)
    yield from _by_regie(found, "kind", "discrepancies", [kind.value for kind in DiscrepancyKind])
    for regie in {str(row["regie"]) for row in found}:
        cents = [_number(row["cents"]) for row in found if row["regie"] == regie and row["kind"] in GIVES_BACK]
        yield Sample("to_give_back_euros", (regie,), sum(cents) / CENTS_PER_EURO)


def _oldest_discrepancies(rows: Iterable[Row]) -> Iterator[Sample]:
    for row in rows:
        yield Sample("oldest_discrepancy_seconds", (str(row["regie"]),), max(0.0, _number(row["oldest_seconds"])))


def _processes(rows: Iterable[Row]) -> Iterator[Sample]:
    connected = {row["role"]: _number(row["connections"]) for row in rows}
    for role in PROCESSES:
        yield Sample("process_connections", (role,), connected.get(role, 0.0))


def _unsealed(rows: Iterable[Row]) -> Iterator[Sample]:
    for row in rows:
        yield Sample("oldest_unsealed_event_seconds", (), max(0.0, _number(row["oldest_seconds"])))


def _lost(rows: Iterable[Row]) -> Iterator[Sample]:
    for row in rows:
        yield Sample("lost_events", (), _number(row["lost"]))


def _by_regie(rows: Iterable[Row], label: str, gauge: str, values: list[str]) -> Iterator[Sample]:
    """A count and an amount for every régie and every value of a label, zeros too: a gap is not a zero."""
    counted = {(row["regie"], row[label]): row for row in rows}
    nothing: Row = {gauge: 0, "cents": 0}
    for regie in {str(regie) for regie, _ in counted}:
        for value in values:
            row = counted.get((regie, value), nothing)
            yield Sample(gauge, (regie, value), _number(row[gauge]))
            yield Sample(f"{gauge}_euros", (regie, value), _number(row["cents"]) / CENTS_PER_EURO)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


Samples = Callable[[Iterable[Row]], Iterator[Sample]]

_SAMPLES: Final[dict[str, Samples]] = {
    "pending": _pending,
    "parked": _parked,
    "overdue": _overdue,
    "processes": _processes,
    "discrepancies": _discrepancies,
    "oldest_discrepancies": _oldest_discrepancies,
    "undelivered": _undelivered,
    "unsealed": _unsealed,
    "invoices": _invoices,
    "payments": _payments,
    "oldest_holds": _oldest_holds,
    "lost": _lost,
}
