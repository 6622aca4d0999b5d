"""What happens to families, as events: the same work for everything that is compared.

Five events a payment, in the order in which they come: the invoice is issued; its payment is started; the gateway's
verified report; the same report again, as gateways do; and one more. The more is, out of ten payments: a second click
(six), the invoice issued again with another label (two), a refund of all of it (one), a settlement at the counter, so
that the family paid twice (one). Eight of ten reports say paid, two say refused. Payments run beside each other: an
event comes one to two thousand payments after the one before it, so that no batch of 1,000 holds two events of one
payment: each of its rows is found, locked, read and written in five batches.
"""

import random
from collections.abc import Iterator
from hashlib import sha256

import msgspec

from bench.ground import REGIE
from schemas.events import (
    EventType,
    InvoiceIssued,
    InvoiceSettled,
    NewEvent,
    PaymentRefunded,
    PaymentStarted,
    StartedLine,
)
from schemas.reports import Report, ReportResult

STEPS = 5
"""Events a payment."""
LAG = 1_000
"""Payments begun between two events of one payment."""
SEED = 20261123


def events(payments: int, *, first: int = 0) -> list[NewEvent]:
    """All events of `payments` families, in the order in which they come; `first` numbers the first family."""
    chance = random.Random(SEED)
    coming = [
        (family + step * LAG + chance.random() * LAG, family, step)
        for family in range(first, first + payments)
        for step in range(STEPS)
    ]
    last_step = dict.fromkeys(range(first, first + payments), -1.0)
    ordered: list[tuple[float, int, int]] = []
    for when, family, step in sorted(coming, key=lambda each: (each[1], each[2])):
        last_step[family] = max(when, last_step[family])
        ordered.append((last_step[family], family, step))
    return [event(family, step) for _, family, step in sorted(ordered)]


def event(family: int, step: int) -> NewEvent:
    """The event of one family at one of its five steps."""
    kind, data, subject = _fact(family, step)
    return NewEvent(
        client="portail",
        source="/bench",
        id=sha256(f"{family} {step}".encode()).hexdigest()[:32],
        type=kind,
        regie=REGIE,
        data=data,
        digest=sha256(kind.encode() + b"\n" + msgspec.json.encode(data, order="deterministic")).digest(),
        subject=subject,
    )


def cents(family: int) -> int:
    """What a family owes."""
    return 1_000 + family % 9_000


def _fact(family: int, step: int) -> tuple[EventType, msgspec.Struct, str | None]:
    number = f"F2026-{family:07d}"
    match step:
        case 0:
            return EventType.INVOICE_ISSUED, _invoice(family, "Restauration scolaire, octobre"), number
        case 1:
            return EventType.PAYMENT_STARTED, _payment(family), None
        case 2 | 3:
            return EventType.GATEWAY_REPORT, _report(family), f"R{family:09d}"
        case _:
            return _more(family, number)


def _more(family: int, number: str) -> tuple[EventType, msgspec.Struct, str | None]:
    match family % 10:
        case 6 | 7:
            return EventType.INVOICE_ISSUED, _invoice(family, "Restauration scolaire, octobre, rectifiée"), number
        case 8:
            refund = PaymentRefunded(regie=REGIE, reference=f"P{family:09d}", amount_cents=cents(family))
            return EventType.PAYMENT_REFUNDED, refund, None
        case 9:
            paid = InvoiceSettled(regie=REGIE, number=number, amount_cents=cents(family), means="cash")
            return EventType.INVOICE_SETTLED, paid, number
        case _:
            return EventType.PAYMENT_STARTED, _payment(family), None


def _invoice(family: int, label: str) -> InvoiceIssued:
    return InvoiceIssued(
        regie=REGIE,
        number=f"F2026-{family:07d}",
        account=f"C{family // 3:06d}",
        amount_cents=cents(family),
        label=label,
    )


def _payment(family: int) -> PaymentStarted:
    return PaymentStarted(
        regie=REGIE,
        reference=f"P{family:09d}",
        amount_cents=cents(family),
        invoices=[StartedLine(number=f"F2026-{family:07d}", amount_cents=cents(family))],
        gateway_reference=f"R{family:09d}",
    )


def _report(family: int) -> Report:
    paid = family % 10 not in {2, 3}
    return Report(
        regie=REGIE,
        gateway_reference=f"R{family:09d}",
        transaction_id=f"T{family:09d}",
        result=ReportResult.PAID if paid else ReportResult.REFUSED,
        verified=True,
        cents=cents(family),
        why="signed",
    )


def batches(all_events: list[NewEvent], size: int) -> Iterator[list[NewEvent]]:
    """The same events, `size` at a time."""
    for start in range(0, len(all_events), size):
        yield all_events[start : start + size]
