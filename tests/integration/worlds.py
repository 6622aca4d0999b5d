"""The two stores behind one door, with a clock that tests can move, and words for the facts that they keep."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple, Protocol

import msgspec

from schemas.decisions import Done
from schemas.events import (
    Event,
    EventType,
    GatewayCallback,
    InvoiceIssued,
    InvoiceSettled,
    NewEvent,
    PaymentRefunded,
    PaymentStarted,
    Queue,
    StartedLine,
    report_key,
)
from schemas.records import Policy
from schemas.reports import Report, ReportResult
from worker.domain.decide import decide
from worker.store.memory import MemoryStore
from worker.store.port import Store
from worker.store.postgres import PostgresStore

REGIE = "enfance"
HOLD = 1800
POLICY = Policy(label="Régie Enfance", gateway="dummy", hold=HOLD)
ASKED = "piscine"
ASKED_POLICY = Policy(label="Régie Piscine", gateway="payfip_ws", hold=HOLD, polls=(120, 300, 600, 960, 1500, 1740))
"""A régie whose gateway can be asked."""
NUMBERS = itertools.count(1)


def fact(kind: EventType, data: Any, *, event_id: str | None = None, **told: Any) -> NewEvent:  # noqa: ANN401
    """An event on its way in, with an id of its own unless told otherwise."""
    return NewEvent(
        client="portail",
        source="/portail",
        id=event_id or f"e-{next(NUMBERS)}",
        type=kind,
        regie=data.regie,
        data=data,
        digest=sha256(kind.encode() + msgspec.json.encode(data)).digest(),
        **told,
    )


def issued(number: str, cents: int = 900, **told: Any) -> NewEvent:  # noqa: ANN401
    """An invoice is owed."""
    data = InvoiceIssued(regie=REGIE, number=number, account="DUPONT", amount_cents=cents)
    return fact(EventType.INVOICE_ISSUED, data, **told)


def settled(number: str, cents: int = 900, **told: Any) -> NewEvent:  # noqa: ANN401
    """An invoice was paid at the counter."""
    data = InvoiceSettled(regie=REGIE, number=number, amount_cents=cents, means="cash")
    return fact(EventType.INVOICE_SETTLED, data, **told)


def started(
    reference: str,
    *numbers: str,
    cents: int = 900,
    gateway_reference: str | None = None,
    **told: Any,  # noqa: ANN401
) -> NewEvent:
    """A family leaves for the gateway to pay these invoices."""
    data = PaymentStarted(
        regie=REGIE,
        reference=reference,
        amount_cents=cents * len(numbers),
        invoices=[StartedLine(number=number, amount_cents=cents) for number in numbers],
        gateway_reference=gateway_reference,
    )
    return fact(EventType.PAYMENT_STARTED, data, **told)


def refunded(reference: str, cents: int = 900, **told: Any) -> NewEvent:  # noqa: ANN401
    """Money was given back."""
    data = PaymentRefunded(regie=REGIE, reference=reference, amount_cents=cents)
    return fact(EventType.PAYMENT_REFUNDED, data, **told)


def callback(subject: str, query: str = "paid", **told: Any) -> NewEvent:  # noqa: ANN401
    """A gateway calls about one of its references."""
    data = GatewayCallback(regie=REGIE, method="GET", query=query)
    return fact(EventType.GATEWAY_CALLBACK, data, subject=subject, **told)


def said(reference: str, result: str = "P", cents: int | None = 900, transaction: str = "t") -> Report:
    """What a callback turns out to say."""
    return Report(
        regie=REGIE,
        gateway_reference=reference,
        transaction_id=transaction,
        result=ReportResult(result),
        verified=True,
        cents=cents,
    )


def report_of(event: Event, report: Report) -> NewEvent:
    """The report event that speaks for a callback, as the reconciler makes it."""
    source, event_id = report_key(event.client, event.source, event.id)
    return NewEvent(
        client="lettrage",
        source=source,
        id=event_id,
        type=EventType.GATEWAY_REPORT,
        regie=event.regie,
        data=report,
        digest=sha256(msgspec.json.encode(report)).digest(),
        received_at=event.received_at,
    )


class Pending(NamedTuple):
    """What waits, of one event."""

    attempts: int
    parked: bool
    error: str | None


class World(Protocol):
    """One store, and what a test may see and move around it."""

    store: Store

    async def later(self, seconds: float) -> None:
        """Let time pass."""
        ...

    async def pending(self) -> dict[int, Pending]:
        """What waits, by place."""
        ...

    async def outcomes(self) -> dict[int, tuple[str, str]]:
        """Outcome and reason of every event that has one, by place."""
        ...

    async def received_at(self, place: int) -> datetime:
        """When an event was received."""
        ...

    async def snapshot(self) -> dict[str, Any]:
        """Everything that was derived, without ids and times: comparable between stores."""
        ...


async def recorded(world: World, *events: NewEvent) -> list[int]:
    """Keep facts; their places."""
    return [receipt.place for receipt in await world.store.record(events)]


async def drained(world: World, queue: Queue = Queue.PAYMENT_STARTED) -> Done:
    """Claim and apply everything of a queue that needs no gateway."""
    return await world.store.apply(await world.store.claim(queue, 1000), decide)


async def states(world: World) -> dict[str, str | None]:
    """State of every invoice, by number."""
    invoices = (await world.snapshot())["invoices"]
    return {number: row[0] for number, row in invoices.items()}


class MemoryWorld:
    """The store of simulations."""

    def __init__(self) -> None:
        self.passed = timedelta()
        self.memory = MemoryStore(lambda: datetime.now(UTC) + self.passed, {REGIE: POLICY, ASKED: ASKED_POLICY})
        self.store: Store = self.memory

    async def later(self, seconds: float) -> None:
        """Let time pass."""
        self.passed += timedelta(seconds=seconds)

    async def pending(self) -> dict[int, Pending]:
        """What waits, by place."""
        found = self.memory.tables.pending
        return {place: Pending(row.attempts, row.parked, row.error) for place, row in sorted(found.items())}

    async def outcomes(self) -> dict[int, tuple[str, str]]:
        """Outcome and reason, by place."""
        found = self.memory.tables.outcomes
        return {place: (row.applied.outcome.value, row.applied.reason) for place, row in sorted(found.items())}

    async def received_at(self, place: int) -> datetime:
        """When an event was received."""
        return self.memory.tables.events[place].received_at

    async def snapshot(self) -> dict[str, Any]:
        """Everything that was derived."""
        tables = self.memory.tables
        numbers = {row.id: row.number for row in tables.invoices.values()}
        references = {row.id: row.reference for row in tables.payments.values()}
        return {
            "invoices": {
                row.number: (row.state and row.state.value, row.amount_cents, row.version, row.paid_by, row.reason)
                for row in tables.invoices.values()
            },
            "payments": {
                row.reference: (row.state and row.state.value, row.received_cents, row.refunded_cents, row.hold_over)
                for row in tables.payments.values()
            },
            "held": {
                (references[payment.id], numbers[line.invoice_id])
                for payment in tables.payments.values()
                for line in payment.lines
                if line.held
            },
            "timers": {
                row.reference for row in tables.payments.values() if row.state is not None and not row.hold_over
            },
            "charges": {
                (tables.references[reference].gateway_reference, transaction): (row.result.value, row.cents)
                for (reference, transaction), row in tables.charges.items()
            },
            "owners": {
                row.gateway_reference: row.payment_id and references[row.payment_id]
                for row in tables.references.values()
            },
            "adjustments": sorted((row.kind.value, row.cents) for row in tables.adjustments),
            "discrepancies": {
                key: (row.kind.value, row.amount_cents, row.state.value) for key, row in tables.discrepancies.items()
            },
            "journal": [
                (
                    numbers.get(row.invoice_id or 0),
                    references.get(row.payment_id or 0),
                    row.before,
                    row.after,
                    row.reason,
                )
                for row in tables.journal
            ],
        }


LATER = """
UPDATE pending SET leased_until = leased_until - $1::interval, claimed_at = claimed_at - $1::interval;
UPDATE events SET received_at = received_at - $1::interval;
UPDATE holds SET payable_again_at = payable_again_at - $1::interval;
UPDATE asks SET born_at = born_at - $1::interval, due_at = due_at - $1::interval, asked_at = asked_at - $1::interval,
    leased_until = leased_until - $1::interval, called_at = called_at - $1::interval;
UPDATE invoices SET fact_time = fact_time - $1::interval, issue_time = issue_time - $1::interval;
UPDATE charges SET received_at = received_at - $1::interval;
UPDATE payments
SET start_time = start_time - $1::interval, deadline = deadline - $1::interval, hold_limit = hold_limit - $1::interval,
    payable_again_at = payable_again_at - $1::interval, first_money_at = first_money_at - $1::interval
"""
"""The database's clock cannot be moved: everything that happened moves back instead."""


class PostgresWorld:
    """The store of production."""

    def __init__(self, store: PostgresStore) -> None:
        self.postgres = store
        self.store: Store = store

    async def later(self, seconds: float) -> None:
        """Let time pass."""
        async with self.postgres.pool.acquire() as connection, connection.transaction():
            for statement in LATER.split(";"):
                await connection.execute(statement, timedelta(seconds=seconds))
        marks = self.postgres._marks
        marks.update({part: (mark - timedelta(seconds=seconds), since) for part, (mark, since) in marks.items()})

    async def rows(self, query: str, *arguments: object) -> Sequence[Any]:
        """What a query finds."""
        found: Sequence[Any] = await self.postgres.pool.fetch(query, *arguments)
        return found

    async def pending(self) -> dict[int, Pending]:
        """What waits, by place."""
        found = await self.rows("SELECT place, attempts, parked, error FROM pending ORDER BY place")
        return {row["place"]: Pending(row["attempts"], row["parked"], row["error"]) for row in found}

    async def outcomes(self) -> dict[int, tuple[str, str]]:
        """Outcome and reason, by place."""
        found = await self.rows("SELECT place, outcome, reason FROM outcomes ORDER BY place")
        return {row["place"]: (row["outcome"], row["reason"]) for row in found}

    async def received_at(self, place: int) -> datetime:
        """When an event was received."""
        (row,) = await self.rows("SELECT received_at FROM events WHERE place = $1", place)
        when: datetime = row["received_at"]
        return when

    async def snapshot(self) -> dict[str, Any]:
        """Everything that was derived."""
        invoices = await self.rows("SELECT number, state, amount_cents, version, paid_by, reason FROM invoices")
        payments = await self.rows("SELECT reference, state, received_cents, refunded_cents, hold_over FROM payments")
        held = await self.rows(
            "SELECT p.reference, i.number FROM payment_lines AS l JOIN payments AS p ON p.id = l.payment_id"
            " JOIN invoices AS i ON i.id = l.invoice_id WHERE l.held"
        )
        timers = await self.rows("SELECT reference FROM holds JOIN payments ON id = payment_id")
        charges = await self.rows(
            "SELECT gateway_reference, transaction_id, result, cents FROM charges"
            " JOIN gateway_references AS r ON r.id = gateway_reference_id"
        )
        owners = await self.rows(
            "SELECT r.gateway_reference, p.reference FROM gateway_references AS r"
            " LEFT JOIN payments AS p ON p.id = r.payment_id"
        )
        adjustments = await self.rows("SELECT kind, cents FROM adjustments ORDER BY kind, cents")
        discrepancies = await self.rows("SELECT id, kind, amount_cents, state FROM discrepancies")
        journal = await self.rows(
            "SELECT i.number, p.reference, j.before, j.after, j.reason FROM journal AS j"
            " LEFT JOIN invoices AS i ON i.id = j.invoice_id LEFT JOIN payments AS p ON p.id = j.payment_id"
            " ORDER BY j.id"
        )
        return {
            "invoices": {row["number"]: tuple(row)[1:] for row in invoices},
            "payments": {row["reference"]: tuple(row)[1:] for row in payments},
            "held": {tuple(row) for row in held},
            "timers": {row["reference"] for row in timers},
            "charges": {tuple(row)[:2]: tuple(row)[2:] for row in charges},
            "owners": {row["gateway_reference"]: row["reference"] for row in owners},
            "adjustments": [tuple(row) for row in adjustments],
            "discrepancies": {row["id"]: tuple(row)[1:] for row in discrepancies},
            "journal": [tuple(row) for row in journal],
        }
