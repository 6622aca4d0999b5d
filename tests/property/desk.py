"""One régie on a desk: its whole dossier, and `decide` as the only hand that changes it.

What is kept between two decisions is exactly what the decision answered: a row that was
changed but not answered is lost here, as it would be in a database.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from msgspec import msgpack

from schemas.decisions import Decision, Dossier, Effect, JournalEntry
from schemas.events import (
    Event,
    EventType,
    InvoiceIssued,
    InvoiceSettled,
    InvoiceUnsettled,
    InvoiceWithdrawn,
    PaymentRefunded,
    PaymentReversed,
    PaymentStarted,
    PaymentTimedOut,
    StartedLine,
)
from schemas.records import GatewayReference, Invoice, Payment, Policy
from schemas.reports import Report, ReportResult
from tests.model import Fact, Key
from worker.domain.decide import decide
from worker.domain.keys import keys_of

REGIE = "enfance"
BEGINNING = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
"""Second 0 of every fact's time."""


UNJUDGED = frozenset({"unknown_payment", "unverified_callback", "test_payment", "gateway_silent"})
"""Discrepancies that are about no payment's or invoice's money."""


def at(seconds: float) -> datetime:
    """That many seconds after the beginning."""
    return BEGINNING + timedelta(seconds=seconds)


def event_of(fact: Fact, place: int) -> Event:
    """The fact as an event, received one second a place after the beginning."""
    kind, data = data_of(fact)
    time = fact.get("time")
    return Event(
        place=place,
        client="portal",
        source="/test",
        id=f"e{place}",
        type=kind,
        regie=REGIE,
        received_at=at(place),
        time=None if time is None else at(time),
        data=data,
    )


def data_of(fact: Fact) -> tuple[EventType, Any]:
    """The type and the data of the event that tells a fact."""
    match fact:
        case {"fact": "issued", "number": number, "cents": cents}:
            data = InvoiceIssued(regie=REGIE, number=number, account="family", amount_cents=cents)
            return EventType.INVOICE_ISSUED, data
        case {"fact": "withdrawn", "number": number}:
            return EventType.INVOICE_WITHDRAWN, InvoiceWithdrawn(regie=REGIE, number=number)
        case {"fact": "started", "reference": reference, "lines": lines, "gateway_reference": key}:
            return EventType.PAYMENT_STARTED, PaymentStarted(
                regie=REGIE,
                reference=reference,
                amount_cents=sum(lines.values()),
                invoices=[StartedLine(number=number, amount_cents=cents) for number, cents in lines.items()],
                gateway_reference=key,
            )
        case {"fact": "charge", "gateway_reference": key, "transaction": t, "result": r, "cents": cents}:
            return EventType.GATEWAY_REPORT, Report(
                regie=REGIE,
                gateway_reference=key,
                transaction_id=t,
                result=ReportResult(r),
                verified=True,
                cents=cents,
            )
        case {"fact": "refunded" | "reversed" as kind, "reference": reference, "cents": cents}:
            correction = {"refunded": PaymentRefunded, "reversed": PaymentReversed}[kind]
            return EventType(f"fr.lettrage.payment.{kind}.v1"), correction(
                regie=REGIE, reference=reference, amount_cents=cents, fact_id=fact["fact_id"]
            )
        case {"fact": "settled" | "unsettled" as kind, "number": number, "cents": cents}:
            settlement = {"settled": InvoiceSettled, "unsettled": InvoiceUnsettled}[kind]
            return EventType(f"fr.lettrage.invoice.{kind}.v1"), settlement(
                regie=REGIE, number=number, amount_cents=cents, means="cash", fact_id=fact["fact_id"]
            )
        case _:
            raise ValueError(fact)


class Shown(NamedTuple):
    """What a portal shows of an invoice, of all that a notification tells."""

    version: int
    state: str
    payable_again_at: datetime | None
    account: str | None


class Desk:
    """Applies events at a moment and keeps what was decided."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy(label="Régie Enfance", gateway="dummy")
        self.dossier = Dossier(regie=REGIE)
        self.journal: list[JournalEntry] = []
        self.effects: list[Effect] = []
        self.last = Decision()

    def apply(self, events: Sequence[Event], now: datetime) -> Decision:
        """Decide on a copy; keep the answer."""
        for event in events:
            self._create(event)
        copy = msgpack.decode(msgpack.encode(self.dossier), type=Dossier)
        decision = decide(copy, events, self.policy, now)
        self._save(decision)
        self.last = decision
        return decision

    def _create(self, event: Event) -> None:
        """The rows that an event names are there before it is decided, as in the store."""
        keys, dossier = keys_of(event), self.dossier
        known_payments = {row.reference for row in dossier.payments.values()}
        known_invoices = {row.number for row in dossier.invoices.values()}
        known_references = {row.gateway_reference for row in dossier.references.values()}
        for name in sorted(set(keys.payments) - known_payments):
            row = Payment(id=len(dossier.payments) + 1, regie=REGIE, reference=name)
            dossier.payments[row.id] = row
        for name in sorted(set(keys.invoices) - known_invoices):
            invoice = Invoice(id=len(dossier.invoices) + 1, regie=REGIE, number=name)
            dossier.invoices[invoice.id] = invoice
        for name in sorted(set(keys.references) - known_references):
            reference = GatewayReference(id=len(dossier.references) + 1, regie=REGIE, gateway_reference=name)
            dossier.references[reference.id] = reference

    def _save(self, decision: Decision) -> None:
        dossier = self.dossier
        dossier.invoices.update(decision.invoices)
        dossier.payments.update(decision.payments)
        dossier.references.update(decision.references)
        dossier.discrepancies.update(decision.discrepancies)
        dossier.adjustments.extend(decision.adjustments)
        charges = {(c.gateway_reference_id, c.transaction_id): c for c in dossier.charges}
        charges.update({(c.gateway_reference_id, c.transaction_id): c for c in decision.charges})
        dossier.charges = list(charges.values())
        self.journal.extend(decision.journal)
        self.effects.extend(decision.effects)

    def sweep(self, now: datetime, place: int) -> None:
        """Write the end of every hold that is over, as the clock does."""
        due = [
            row
            for row in self.dossier.payments.values()
            if not row.hold_over and row.payable_again_at is not None and row.payable_again_at <= now
        ]
        for n, row in enumerate(due):
            assert row.payable_again_at is not None
            self.apply(
                [
                    Event(
                        place=place + n,
                        client="clock",
                        source="/clock",
                        id=f"timeout {row.reference}",
                        type=EventType.PAYMENT_TIMED_OUT,
                        regie=REGIE,
                        received_at=now,
                        data=PaymentTimedOut(regie=REGIE, reference=row.reference, due=row.payable_again_at),
                    )
                ],
                now,
            )

    # what a portal shows

    def shown(self) -> dict[str, Shown]:
        """Every invoice that anybody sees, as read once nothing that is over waits to be written so."""
        held_until = {
            line.invoice_id: row.payable_again_at
            for row in self.dossier.payments.values()
            for line in row.lines
            if line.held
        }
        return {
            row.number: Shown(row.version, row.state.value, held_until.get(row.id), row.account)
            for row in self.dossier.invoices.values()
            if row.state is not None
        }

    # what the judge is asked about, in its own words

    def states(self) -> dict[str, str]:
        """State of each invoice that anybody sees."""
        return {row.number: row.state.value for row in self.dossier.invoices.values() if row.state is not None}

    def received(self) -> dict[str, tuple[int, int, str | None]]:
        """Of each payment that exists: received, refunds, and what money says of it."""
        by_money = {"paid", "refunded", "reversed"}
        return {
            row.reference: (
                row.received_cents,
                row.refunded_cents,
                row.state.value if row.state.value in by_money else None,
            )
            for row in self.dossier.payments.values()
            if row.state is not None
        }

    def settled(self) -> dict[str, int]:
        """What was settled elsewhere of each invoice that anybody sees."""
        return {row.number: row.settled_cents for row in self.dossier.invoices.values() if row.state is not None}

    def discrepancies(self) -> Mapping[Key, int]:
        """Amounts to explain, whoever has closed them since."""
        return {
            (row.kind.value, row.payment, row.invoice): row.amount_cents
            for row in self.dossier.discrepancies.values()
            if row.amount_cents > 0 and row.kind not in UNJUDGED
        }

    def unknown_payments(self) -> dict[str, int]:
        """Money without an owner, by gateway reference and transaction."""
        return {
            row.subject: row.amount_cents
            for row in self.dossier.discrepancies.values()
            if row.amount_cents > 0 and row.kind == "unknown_payment"
        }


def events_of(facts: Iterable[Fact]) -> list[Event]:
    """The facts as events, received in their order."""
    return [event_of(fact, place) for place, fact in enumerate(facts)]
