"""One régie's office: a dossier, the hand that decides, and a clock that the test moves. Times are seconds."""

# ruff: noqa: ANN401 (what a fact says is any struct of schemas.events)

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import msgpack

from schemas.decisions import Decision, Dossier, Effect, JournalEntry
from schemas.events import (
    DiscrepancyResolved,
    DossierRestored,
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
    RestoredRow,
    StartedLine,
)
from schemas.records import Discrepancy, GatewayReference, Invoice, Payment, PaymentState, Policy
from schemas.reports import Report, ReportResult
from worker.domain import transitions
from worker.domain.decide import decide
from worker.domain.keys import keys_of

REGIE = "enfance"
BEGINNING = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
HOLD = 1800
"""The example's hold, in seconds: 30 minutes."""


def at(seconds: float) -> datetime:
    """That many seconds after the beginning."""
    return BEGINNING + timedelta(seconds=seconds)


class Office:
    """Applies one event at a time, keeps what was decided, and checks what holds of every decision."""

    def __init__(self, **policy: Any) -> None:
        self.policy = Policy(**({"label": "Régie Enfance", "gateway": "dummy"} | policy))
        self.dossier = Dossier(regie=REGIE)
        self.journal: list[JournalEntry] = []
        self.effects: list[Effect] = []
        self.lateness: list[float] = []
        self.asks: dict[str, float | None] = {}
        self.now = 0.0
        self.place = 0

    # what happens

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def issue(self, number: str, cents: int, *, time: float | None = None, **data: Any) -> str:
        """Issue an invoice."""
        said: dict[str, Any] = {"regie": REGIE, "number": number, "account": "DUPONT", "amount_cents": cents} | data
        return self.tell(EventType.INVOICE_ISSUED, InvoiceIssued(**said), time=time)

    def withdraw(self, number: str, *, time: float | None = None) -> str:
        """Withdraw an invoice."""
        return self.tell(EventType.INVOICE_WITHDRAWN, InvoiceWithdrawn(regie=REGIE, number=number), time=time)

    def settle(self, number: str, cents: int, fact_id: str | None = None) -> str:
        """Have an invoice paid at the counter."""
        data = InvoiceSettled(regie=REGIE, number=number, amount_cents=cents, means="cash", fact_id=fact_id)
        return self.tell(EventType.INVOICE_SETTLED, data)

    def unsettle(self, number: str, cents: int, fact_id: str | None = None) -> str:
        """Take a settlement back."""
        data = InvoiceUnsettled(regie=REGIE, number=number, amount_cents=cents, means="cheque", fact_id=fact_id)
        return self.tell(EventType.INVOICE_UNSETTLED, data)

    def start(
        self,
        reference: str,
        lines: dict[str, int],
        *,
        gateway_reference: str | None = None,
        account: str | None = None,
        time: float | None = None,
    ) -> str:
        """Start a payment of these invoices."""
        data = PaymentStarted(
            regie=REGIE,
            reference=reference,
            amount_cents=sum(lines.values()),
            invoices=[StartedLine(number=n, amount_cents=cents, account=account) for n, cents in lines.items()],
            gateway_reference=gateway_reference,
        )
        return self.tell(EventType.PAYMENT_STARTED, data, time=time)

    def report(
        self, gateway_reference: str, result: str, cents: int | None = None, transaction: str = "t", **said: Any
    ) -> str:
        """Hear what the gateway says; verified unless told otherwise."""
        data = Report(
            regie=REGIE,
            gateway_reference=gateway_reference,
            transaction_id=transaction,
            result=ReportResult(result),
            cents=cents,
            **({"verified": True} | said),
        )
        return self.tell(EventType.GATEWAY_REPORT, data)

    def refund(self, reference: str, cents: int, fact_id: str | None = None) -> str:
        """Give money back."""
        data = PaymentRefunded(regie=REGIE, reference=reference, amount_cents=cents, fact_id=fact_id)
        return self.tell(EventType.PAYMENT_REFUNDED, data)

    def reverse(self, reference: str, cents: int, fact_id: str | None = None) -> str:
        """Have the bank take money back."""
        data = PaymentReversed(regie=REGIE, reference=reference, amount_cents=cents, fact_id=fact_id)
        return self.tell(EventType.PAYMENT_REVERSED, data)

    def time_out(self, reference: str) -> str:
        """Sweep one payment's hold, due or not."""
        known = {row.reference: row.payable_again_at for row in self.dossier.payments.values()}
        due = known.get(reference) or at(self.now)
        data = PaymentTimedOut(regie=REGIE, reference=reference, due=due)
        return self.tell(EventType.PAYMENT_TIMED_OUT, data)

    def resolve(self, shown: Discrepancy, resolution: str, cents: int | None = None) -> str:
        """Close a discrepancy for the amount that stands there, or for another."""
        return self.tell(
            EventType.DISCREPANCY_RESOLVED,
            DiscrepancyResolved(
                regie=REGIE,
                id=shown.id,
                resolution=resolution,
                amount_cents=shown.amount_cents if cents is None else cents,
                comment="seen",
            ),
        )

    def restore(self, reference: str, number: str, was: str | None = None, version: int = 0) -> str:
        """Hear that a replay put a payment and an invoice right; the invoice was found in that state."""
        rows = [RestoredRow(payment=reference), RestoredRow(invoice=number, was=was, version=version)]
        data = DossierRestored(regie=REGIE, replay=1, by="admin", comment="edited", rows=rows, number=number)
        return self.tell(EventType.DOSSIER_RESTORED, data)

    def pays(self, reference: str, lines: dict[str, int], cents: int | None = None) -> None:
        """Start a payment that the gateway says is paid, exactly unless told otherwise."""
        self.start(reference, lines)
        self.report(reference, "P", sum(lines.values()) if cents is None else cents, transaction=f"t-{reference}")

    # how it is decided

    def tell(self, kind: EventType, data: Any, *, time: float | None = None, received: float | None = None) -> str:
        """Apply one event now; answer its outcome and reason."""
        self.place += 1
        event = Event(
            place=self.place,
            client="portail",
            source="/portail",
            id=f"e-{self.place}",
            type=kind,
            regie=REGIE,
            received_at=at(self.now if received is None else received),
            data=data,
            time=None if time is None else at(time),
        )
        (applied,) = self.apply(event).outcomes
        return f"{applied.outcome.value}: {applied.reason}"

    def apply(self, *events: Event) -> Decision:
        """Decide on a copy; keep only what the decision answers, as a database would."""
        for event in events:
            self._create(event)
        copy = msgpack.decode(msgpack.encode(self.dossier), type=Dossier)
        decision = decide(copy, events, self.policy, at(self.now))
        self._save(decision)
        self._check(decision, events)
        return decision

    def _create(self, event: Event) -> None:
        """Make the rows that an event names, as the store does before it decides."""
        keys, dossier = keys_of(event), self.dossier
        for name in keys.payments:
            if name not in {row.reference for row in dossier.payments.values()}:
                payment = Payment(id=len(dossier.payments) + 1, regie=REGIE, reference=name)
                dossier.payments[payment.id] = payment
        for name in keys.invoices:
            if name not in {row.number for row in dossier.invoices.values()}:
                invoice = Invoice(id=len(dossier.invoices) + 1, regie=REGIE, number=name)
                dossier.invoices[invoice.id] = invoice
        for name in keys.references:
            if name not in {row.gateway_reference for row in dossier.references.values()}:
                reference = GatewayReference(id=len(dossier.references) + 1, regie=REGIE, gateway_reference=name)
                dossier.references[reference.id] = reference

    def _save(self, decision: Decision) -> None:
        dossier = self.dossier
        dossier.invoices.update(decision.invoices)
        dossier.payments.update(decision.payments)
        dossier.references.update(decision.references)
        dossier.discrepancies.update(decision.discrepancies)
        dossier.adjustments.extend(decision.adjustments)
        charges = {(c.gateway_reference_id, c.transaction_id): c for c in [*dossier.charges, *decision.charges]}
        dossier.charges = list(charges.values())
        self.journal.extend(decision.journal)
        self.effects.extend(decision.effects)
        self.lateness.extend(decision.lateness_seconds)
        for ask in decision.asks.values():
            due = None if ask.due_at is None else (ask.due_at - BEGINNING).total_seconds()
            self.asks[ask.gateway_reference] = due

    def _check(self, decision: Decision, events: tuple[Event, ...]) -> None:
        """What must hold of every decision, whatever was decided."""
        places = [event.place for event in events]
        assert [applied.place for applied in decision.outcomes] == places, "one outcome per event, in their order"
        assert all(applied.reason for applied in decision.outcomes)
        for entry in decision.journal:
            assert entry.reason
            assert entry.place in places
            assert (entry.invoice_id, entry.payment_id) != (None, None)
            table: Any = transitions.PAYMENT if entry.invoice_id is None else transitions.INVOICE
            assert entry.after in table[entry.before]
        held = [line.invoice_id for row in self.dossier.payments.values() for line in row.lines if line.held]
        assert len(held) == len(set(held)), "an invoice has one holder at most"
        for payment in self.dossier.payments.values():
            assert payment.state is None or payment.reason
            assert payment.state is not PaymentState.PAID or payment.received_cents >= (payment.amount_cents or 0)
            assert not (payment.hold_over and any(line.held for line in payment.lines))
        assert all(row.reason for row in self.dossier.invoices.values() if row.state is not None)
        assert all(effect.data.get("reason") or "kind" in effect.data for effect in decision.effects)
        assert all(effect.place in places for effect in decision.effects)

    # what is seen

    def invoice(self, number: str) -> Invoice:
        """One invoice, by number."""
        return next(row for row in self.dossier.invoices.values() if row.number == number)

    def payment(self, reference: str) -> Payment:
        """One payment, by reference."""
        return next(row for row in self.dossier.payments.values() if row.reference == reference)

    def states(self) -> dict[str, str | None]:
        """State of every invoice, by number."""
        return {row.number: row.state and row.state.value for row in self.dossier.invoices.values()}

    def held(self, reference: str) -> set[str]:
        """Numbers of the invoices that a payment holds."""
        return {self.dossier.invoices[x.invoice_id].number for x in self.payment(reference).lines if x.held}

    def open(self) -> dict[tuple[str, str | None, str | None], int]:
        """Cents of every open discrepancy, by kind, payment and invoice."""
        return {
            (row.kind.value, row.payment, row.invoice): row.amount_cents
            for row in self.dossier.discrepancies.values()
            if row.state.value == "open"
        }

    def discrepancy(self, kind: str) -> Discrepancy:
        """The only discrepancy of a kind."""
        (found,) = [row for row in self.dossier.discrepancies.values() if row.kind.value == kind]
        return found

    def discrepancies(self, kind: str) -> list[Discrepancy]:
        """All of a kind, whatever became of them."""
        return [row for row in self.dossier.discrepancies.values() if row.kind.value == kind]

    def next_ask(self, gateway_reference: str) -> float | None:
        """When the gateway is asked next about one of its references, in seconds; None: not again."""
        return self.asks.get(gateway_reference)

    def journal_of(self, number: str) -> list[tuple[str | None, str, str]]:
        """Every change of an invoice: from, to, why."""
        invoice_id = self.invoice(number).id
        return [(e.before, e.after, e.reason) for e in self.journal if e.invoice_id == invoice_id]
