"""A dossier while it is being decided: its rows by name, and which of them have changed."""

from datetime import datetime
from typing import Any

from schemas.decisions import Decision, Dossier, Effect, JournalEntry
from schemas.events import Event
from schemas.records import (
    Adjustment,
    AdjustmentKind,
    Ask,
    Charge,
    Discrepancy,
    GatewayReference,
    Invoice,
    InvoiceState,
    Line,
    Payment,
    Policy,
)
from worker.domain import transitions
from worker.domain.reasons import Reason
from worker.domain.retention import shown as still_known

_TOLD = {
    InvoiceState.PAYABLE: "invoice.payable",
    InvoiceState.IN_PAYMENT: "invoice.in_payment",
    InvoiceState.PAID: "invoice.paid",
    InvoiceState.WITHDRAWN: "invoice.withdrawn",
}


class Case:
    """One dossier, one policy, one instant. `now` is the database's clock, read after the locks were taken."""

    __slots__ = (
        "adjustments",
        "charges",
        "decision",
        "dossier",
        "event",
        "held_by",
        "invoices",
        "now",
        "owned",
        "payers",
        "payments",
        "place",
        "policy",
        "references",
        "taken_over",
        "touched",
    )

    event: Event
    place: int | None
    """Of the event at hand; None while a replay compares."""

    def __init__(self, dossier: Dossier, policy: Policy, now: datetime) -> None:
        self.dossier = dossier
        self.policy = policy
        self.now = now
        self.place = None
        self.decision = Decision()
        self.touched: set[int] = set()
        self.taken_over: set[int] = set()
        self.invoices = {row.number: row for row in dossier.invoices.values()}
        self.payments = {row.reference: row for row in dossier.payments.values()}
        self.references = {row.gateway_reference: row for row in dossier.references.values()}
        self.charges: dict[int, dict[str, Charge]] = {}
        self.owned: dict[int, list[GatewayReference]] = {}
        self.payers: dict[int, list[tuple[Payment, Line]]] = {}
        self.adjustments: dict[tuple[int | None, int | None], list[Adjustment]] = {}
        for charge in dossier.charges:
            self.charges.setdefault(charge.gateway_reference_id, {})[charge.transaction_id] = charge
        for row in dossier.references.values():
            if row.payment_id is not None:
                self.owned.setdefault(row.payment_id, []).append(row)
        for payment in dossier.payments.values():
            self.index_lines(payment)
        for adjustment in dossier.adjustments:
            self._index_adjustment(adjustment)

    def index_lines(self, payment: Payment) -> None:
        """Make the lines of `payment` findable from their invoices."""
        for line in payment.lines:
            self.payers.setdefault(line.invoice_id, []).append((payment, line))

    def _index_adjustment(self, adjustment: Adjustment) -> None:
        self.adjustments.setdefault((adjustment.invoice_id, adjustment.payment_id), []).append(adjustment)

    def own(self, reference: GatewayReference, payment: Payment) -> None:
        """Give a gateway reference its owner, and the charges that waited for one."""
        if reference.payment_id is None:
            reference.payment_id = payment.id
            self.owned.setdefault(payment.id, []).append(reference)
            self.decision.references[reference.id] = reference
        payment.latest_reference = reference.gateway_reference
        self.touch_payment(payment)

    def owner(self, reference: GatewayReference) -> Payment | None:
        """Find who owns a gateway reference; None while its charges wait."""
        return None if reference.payment_id is None else self.dossier.payments[reference.payment_id]

    def charges_of(self, payment: Payment) -> list[Charge]:
        """List what the gateway proved about `payment`, over all its gateway references."""
        found: list[Charge] = []
        for reference in self.owned.get(payment.id, ()):
            found.extend(self.charges.get(reference.id, {}).values())
        return found

    def keep_charge(self, charge: Charge) -> None:
        """Keep a new or better result of a transaction."""
        self.charges.setdefault(charge.gateway_reference_id, {})[charge.transaction_id] = charge
        self.decision.charges.append(charge)

    def adjust(self, adjustment: Adjustment) -> bool:
        """Count a fact once: False when the same `fact_id` was counted already."""
        if any(a.kind is adjustment.kind and a.fact_id == adjustment.fact_id for a in self._same(adjustment)):
            return False
        self._index_adjustment(adjustment)
        self.decision.adjustments.append(adjustment)
        return True

    def _same(self, adjustment: Adjustment) -> list[Adjustment]:
        return self.adjustments.get((adjustment.invoice_id, adjustment.payment_id), [])

    def adjusted(self, row: Invoice, *kinds: AdjustmentKind) -> int:
        """Sum the adjustments of an invoice, in cents."""
        facts = self.adjustments.get((row.id, None))
        return sum(a.cents for a in facts if a.kind in kinds) if facts else 0

    def touch_invoice(self, invoice: Invoice) -> None:
        """Mark an invoice as changed by the event at hand."""
        self.touched.add(invoice.id)
        self.decision.invoices[invoice.id] = invoice

    def take_over(self, invoice: Invoice) -> None:
        """Mark an invoice whose hold was over but not written: it is payable first, then whatever it becomes now."""
        self.taken_over.add(invoice.id)
        self.touch_invoice(invoice)

    def touch_payment(self, payment: Payment) -> None:
        """Mark a payment as changed."""
        self.decision.payments[payment.id] = payment

    def over(self, payment: Payment) -> bool:
        """Tell whether a payment's hold is over, written or not."""
        return payment.hold_over or payment.payable_again_at is None or payment.payable_again_at <= self.now

    def end_hold(self, payment: Payment) -> None:
        """End what is left of a hold; its lines are free at once."""
        if payment.hold_over:
            return
        payment.hold_over = True
        payment.hold_ended_at = self.now
        for line in payment.lines:
            line.held = False
        self.touch_payment(payment)

    def ask(self, reference: GatewayReference, due_at: datetime | None, born_at: datetime | None = None) -> None:
        """Say when the gateway is asked next about one of its references."""
        self.decision.asks[reference.id] = Ask(
            gateway_reference_id=reference.id,
            regie=reference.regie,
            gateway_reference=reference.gateway_reference,
            due_at=due_at,
            born_at=born_at,
        )

    def tell_discrepancy(self, shown: Discrepancy, kind: str) -> None:
        """Keep a discrepancy that opened or is done with, and tell the portal."""
        self.decision.discrepancies[shown.id] = shown
        if not self.policy.notify:
            return
        data = {
            "id": shown.id,
            "kind": shown.kind.value,
            "opened_at": shown.opened_at,
            "payment": shown.payment,
            "invoice": shown.invoice,
            "amount_cents": shown.amount_cents,
            "detail": shown.detail,
            "state": shown.state.value,
            "regie": shown.regie,
            "resolution": None if shown.resolution is None else shown.resolution.value,
            "comment": still_known(shown.comment),
        }
        self._tell(shown.regie, kind, data)

    def tell_invoice(self, invoice: Invoice, before: str | None, reason: str) -> None:
        """Tell the portal of an invoice's new version, and why there is one; `before` is the state that it was in."""
        if not self.policy.notify:
            return
        assert invoice.state is not None
        reactivated = before == InvoiceState.IN_PAYMENT and invoice.state is InvoiceState.PAYABLE
        held = invoice.state is InvoiceState.IN_PAYMENT
        holder = next((payer for payer, line in self.payers.get(invoice.id, ()) if held and line.held), None)
        payment_id = self._payment_of_event()
        data = {
            "regie": invoice.regie,
            "number": invoice.number,
            "account": still_known(invoice.account),
            "state": invoice.state.value,
            "version": invoice.version,
            "payable_again_at": None if holder is None else holder.payable_again_at,
            "payment": None if payment_id is None else self.dossier.payments[payment_id].reference,
            "reason": reason,
        }
        kind = "invoice.reactivated" if reactivated else _TOLD[invoice.state]
        self._tell(invoice.regie, kind, data)

    def _tell(self, regie: str, kind: str, data: dict[str, Any]) -> None:
        self.decision.effects.append(Effect(place=self.place, regie=regie, type=kind, at=self.now, data=data))

    def restore_invoice(self, invoice: Invoice, was: str | None, version: int) -> None:
        """Carry an invoice that said something else than its facts on from the version shown, and tell the portal.

        That it was found in another state is written down.
        """
        is_news = version > invoice.version
        invoice.version = max(invoice.version, version)
        self.decision.invoices[invoice.id] = invoice
        if invoice.state is None:
            return
        if was != invoice.state:
            self._journal(was, invoice.state, Reason.RESTORED_BY_REPLAY, invoice.id, None)
        if is_news:
            self.tell_invoice(invoice, was, Reason.RESTORED_BY_REPLAY)

    def restore_payment(self, payment: Payment, was: str | None) -> None:
        """Write down that a payment was found in another state than its facts say."""
        if payment.state is not None and was != payment.state:
            self._journal(was, payment.state, Reason.RESTORED_BY_REPLAY, None, payment.id)

    def journal_invoice(self, invoice: Invoice, before: str | None, reason: str) -> None:
        """Write down a change of an invoice's state."""
        after = invoice.state
        assert after is not None
        assert after in transitions.INVOICE[before], (invoice.number, before, after)  # type: ignore[index]
        self._journal(before, after, reason, invoice.id, self._payment_of_event())

    def journal_payment(self, payment: Payment, before: str | None, reason: str) -> None:
        """Write down a change of a payment's state."""
        after = payment.state
        assert after is not None
        assert after in transitions.PAYMENT[before], (payment.reference, before, after)  # type: ignore[index]
        self._journal(before, after, reason, None, payment.id)

    def _journal(
        self, before: str | None, after: str, reason: str, invoice_id: int | None, payment_id: int | None
    ) -> None:
        self.decision.journal.append(
            JournalEntry(
                place=self.event.place,
                regie=self.dossier.regie,
                at=self.now,
                reason=reason,
                before=before,
                after=after,
                invoice_id=invoice_id,
                payment_id=payment_id,
            )
        )

    def _payment_of_event(self) -> int | None:
        data = self.event.data
        payment = self.payments.get(getattr(data, "reference", ""))
        if payment is not None:
            return payment.id
        reference = self.references.get(getattr(data, "gateway_reference", None) or "")
        return None if reference is None else reference.payment_id
