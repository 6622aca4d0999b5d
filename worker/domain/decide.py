"""`decide`: what a dossier becomes when events are applied to it.

Facts are recorded one by one, in the order received; after each that says something new, every state is derived anew
from the whole set.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from schemas.decisions import Applied, Decision, Dossier, Outcome
from schemas.events import Event, EventType
from schemas.records import (
    ChargeResult,
    Discrepancy,
    DiscrepancyKind,
    DiscrepancyState,
    Invoice,
    InvoiceState,
    Payment,
    PaymentState,
    Policy,
)
from worker.domain.case import Case
from worker.domain.keys import discrepancy_id
from worker.domain.money import (
    Received,
    Share,
    Subject,
    amount_of,
    differences,
    is_paid,
    is_reversed,
    received_for,
    share_of,
    wholly_refunded,
)
from worker.domain.reasons import Reason
from worker.domain.record import RECORD

_MONEY = frozenset({ChargeResult.PAID, ChargeResult.PROVISIONAL})

_ENDS_HOLD = frozenset(
    {PaymentState.PAID, PaymentState.REVERSED, PaymentState.REFUNDED, PaymentState.REJECTED, PaymentState.EXPIRED}
)


def decide(dossier: Dossier, events: Sequence[Event], policy: Policy, now: datetime) -> Decision:
    """Apply `events` (in the order received) to `dossier`, which is consumed; `now` is the database's clock, UTC.

    Answers the changed rows, the journal, what to tell the portal, and one named outcome per event.
    Raises AssertionError when an invariant is broken: the caller rolls back and parks.
    """
    case = Case(dossier, policy, now)
    for event in events:
        case.event, case.place = event, event.place
        case.touched.clear()
        outcome, reason = RECORD[event.type](case, event)
        case.decision.outcomes.append(Applied(place=event.place, outcome=outcome, reason=reason.value))
        if outcome is not Outcome.IGNORED or _was_asked(event):
            _derive(case, reason)
    return case.decision


def _was_asked(event: Event) -> bool:
    """Tell an answer to our own question: even without news it can begin or end a doubt."""
    return event.type is EventType.GATEWAY_REPORT and event.data.asked


def _derive(case: Case, reason: Reason) -> None:
    """Bring every state of the dossier in line with its facts."""
    payments = case.dossier.payments.values()
    sums: dict[int, Received] = {}
    paid: set[int] = set()
    shares: dict[int, Share] = {}
    for payment in payments:
        if payment.amount_cents is not None:
            sums[payment.id] = received = received_for(case, payment)
            _derive_payment(case, payment, received, reason)
            if payment.state is PaymentState.PAID:
                paid.add(payment.id)
    for invoice in case.dossier.invoices.values():
        amount = amount_of(case, invoice, paid)
        if amount is not None:
            shares[invoice.id] = share_of(case, invoice, amount, sums, paid)
            _derive_invoice(case, invoice, amount, shares[invoice.id], reason)
    for payment in payments:
        _end_empty_hold(case, payment)
    if case.charges or case.adjustments or case.dossier.discrepancies:
        _derive_discrepancies(case, differences(case, sums, paid, shares))
    _flag_invoices(case)


def _derive_payment(case: Case, payment: Payment, sums: Received, reason: Reason) -> None:
    _note_first_money(case, payment)
    state = _payment_state(payment, sums)
    summed = (sums.received, sums.refunds, sums.provisional)
    if summed != (payment.received_cents, payment.refunded_cents, payment.provisional):
        payment.received_cents, payment.refunded_cents, payment.provisional = summed
        case.touch_payment(payment)
    if state in _ENDS_HOLD:
        case.end_hold(payment)
    if state is not payment.state:
        before, payment.state = payment.state, state
        payment.reason = _payment_reason(payment, reason)
        payment.settled_at = case.now if state is PaymentState.PAID else None
        case.touch_payment(payment)
        case.journal_payment(payment, before, payment.reason)


def _note_first_money(case: Case, payment: Payment) -> None:
    """Late: its first money was applied after its hold's end by the database's clock."""
    charges = case.charges_of(payment)
    came = [(c.received_at, c.place) for c in charges if c.result in _MONEY and c.received_at is not None]
    if not came:
        return
    first = min(came)
    if payment.first_money_at is None and not payment.rejected:
        payment.late = case.over(payment) and not _doubt_ends_now(case, payment)
    if first != (payment.first_money_at, payment.first_money_place):
        payment.first_money_at, payment.first_money_place = first
        case.touch_payment(payment)


def _doubt_ends_now(case: Case, payment: Payment) -> bool:
    """Tell whether a hold kept past its deadline ends by this very answer, which brings what it was kept for."""
    assert payment.deadline is not None
    return not payment.hold_over and payment.deadline < case.now == payment.payable_again_at


def _payment_state(payment: Payment, sums: Received) -> PaymentState:
    """Derive a payment's state: money first, then what the gateway said, then the hold."""
    if wholly_refunded(sums):
        return PaymentState.REFUNDED
    if is_paid(payment, sums):
        return PaymentState.PAID
    if is_reversed(payment, sums):
        return PaymentState.REVERSED
    if payment.rejected:
        return PaymentState.REJECTED
    if sums.refused:
        return PaymentState.REFUSED
    if sums.abandoned:
        return PaymentState.CANCELLED
    return PaymentState.EXPIRED if payment.hold_over else PaymentState.STARTED


def _payment_reason(payment: Payment, reason: Reason) -> str:
    if payment.state is PaymentState.PAID:
        return Reason.MONEY_RECEIVED_LATE if payment.late else _received(payment)
    if payment.state is PaymentState.REFUNDED:
        return Reason.MONEY_REFUNDED
    return reason


def _received(payment: Payment) -> Reason:
    return Reason.MONEY_RECEIVED_PROVISIONALLY if payment.provisional else Reason.MONEY_RECEIVED


def _derive_invoice(case: Case, invoice: Invoice, amount: int, share: Share, reason: Reason) -> None:
    state = _invoice_state(case, invoice, amount, share)
    if state in {InvoiceState.PAID, InvoiceState.WITHDRAWN}:
        _leave_holds(case, invoice)
    paid_by = _paid_by(case, share) if state is InvoiceState.PAID else None
    before = (invoice.state, invoice.amount_cents, invoice.settled_cents, invoice.paid_by)
    if before != (state, amount, share.net_settled, paid_by) or invoice.id in case.touched:
        invoice.amount_cents, invoice.settled_cents, invoice.paid_by = amount, share.net_settled, paid_by
        _show(case, invoice, state, reason)


def _invoice_state(case: Case, invoice: Invoice, amount: int, share: Share) -> InvoiceState:
    if invoice.withdrawn:
        return InvoiceState.WITHDRAWN
    if share.credited >= amount:
        return InvoiceState.PAID
    if any(line.held for _, line in case.payers.get(invoice.id, ())):
        return InvoiceState.IN_PAYMENT
    return InvoiceState.PAYABLE


def _leave_holds(case: Case, invoice: Invoice) -> None:
    """A settled or withdrawn invoice leaves its hold at once; the hold's other invoices stay."""
    for payment, line in case.payers.get(invoice.id, ()):
        if line.held:
            line.held = False
            case.touch_payment(payment)


def _end_empty_hold(case: Case, payment: Payment) -> None:
    """End a hold that holds nothing any more before the family is sent to pay what is paid already."""
    if payment.hold_over or payment.payable_again_at is None or any(line.held for line in payment.lines):
        return
    if case.over(payment):
        return
    case.end_hold(payment)
    if payment.state is PaymentState.STARTED:
        payment.state, payment.reason = PaymentState.EXPIRED, Reason.NOTHING_LEFT_TO_HOLD
        case.journal_payment(payment, PaymentState.STARTED, payment.reason)


def _paid_by(case: Case, share: Share) -> str | None:
    """Name what keeps an invoice paid: the payment's reference, or the means when it was settled elsewhere."""
    if share.kept[None] or len(share.kept) == 1:
        return "settled_elsewhere"
    keeper = max(share.kept, key=lambda payment_id: share.kept[payment_id])
    return case.dossier.payments[keeper].reference if keeper is not None else None


def _show(case: Case, invoice: Invoice, state: InvoiceState, reason: Reason) -> None:
    """Write an invoice's new face, one version on, and tell the portal: each version is told once."""
    if invoice.id in case.taken_over:
        case.taken_over.discard(invoice.id)
        _show(case, invoice, InvoiceState.PAYABLE, Reason.HOLD_OVER)
    case.touch_invoice(invoice)
    invoice.version += 1
    before, invoice.state = invoice.state, state
    why = reason if state is before else _change_state(case, invoice, before, reason)
    case.tell_invoice(invoice, before, why)


def _change_state(case: Case, invoice: Invoice, before: InvoiceState | None, reason: Reason) -> str:
    """Write down that an invoice is in another state than before, and answer why."""
    invoice.reason = _invoice_reason(case, invoice, before, reason)
    invoice.paid_at = case.event.received_at if invoice.state is InvoiceState.PAID else None
    case.journal_invoice(invoice, before, invoice.reason)
    if case.event.type is EventType.PAYMENT_TIMED_OUT and invoice.state is InvoiceState.PAYABLE:
        case.decision.lateness_seconds.append((case.now - case.event.data.due).total_seconds())
    return invoice.reason


def _invoice_reason(case: Case, invoice: Invoice, before: InvoiceState | None, reason: Reason) -> str:
    if invoice.state is InvoiceState.PAID:
        payer = case.payments.get(invoice.paid_by or "")
        return Reason.SETTLED_ELSEWHERE if payer is None else payer.reason or Reason.MONEY_RECEIVED
    if invoice.state is InvoiceState.WITHDRAWN:
        return Reason.WITHDRAWN
    if before is None and invoice.state is InvoiceState.PAYABLE and invoice.issued_cents is None:
        return Reason.NAMED_BY_PAYMENT
    return reason


_FOLLOWED = frozenset(
    {
        DiscrepancyKind.DOUBLE_PAYMENT,
        DiscrepancyKind.UNDERPAID,
        DiscrepancyKind.OVERPAID,
        DiscrepancyKind.PAID_WITHDRAWN,
        DiscrepancyKind.MISSING,
        DiscrepancyKind.REVERSED,
        DiscrepancyKind.UNKNOWN_PAYMENT,
    }
)
"""Kinds whose amount follows the facts; the others stay as they were seen until someone resolves them."""


def _derive_discrepancies(case: Case, owed: dict[Subject, int]) -> None:
    """Open, move, close and reopen what the facts say of each subject."""
    dossier = case.dossier
    wanted = {new.id: new for new in [*_about_rows(case, owed), *_about_orphans(case)]}
    for key, known in dossier.discrepancies.items():
        if key not in wanted and _is_judged_here(case, known) and known.amount_cents + (known.state == "open") > 0:
            _follow(case, known, 0)
    for key, new in wanted.items():
        known_one = dossier.discrepancies.get(key)
        if known_one is None:
            _open(case, new)
        elif known_one.amount_cents != new.amount_cents or known_one.state is not DiscrepancyState.OPEN:
            _follow(case, known_one, new.amount_cents)


def _is_judged_here(case: Case, known: Discrepancy) -> bool:
    """Tell whether the dossier has what a discrepancy follows: who resolves an ownerless charge's names it alone."""
    return known.kind in _FOLLOWED and (known.kind is not DiscrepancyKind.UNKNOWN_PAYMENT or bool(case.charges))


def _about_rows(case: Case, owed: dict[Subject, int]) -> Iterator[Discrepancy]:
    for (kind, payment_id, invoice_id), cents in owed.items():
        payment = None if payment_id is None else case.dossier.payments[payment_id].reference
        invoice = None if invoice_id is None else case.dossier.invoices[invoice_id].number
        new = _discrepancy(case, kind, cents, (payment or "", invoice or "", ""))
        new.payment_id, new.invoice_id, new.payment, new.invoice = payment_id, invoice_id, payment, invoice
        yield new


def _about_orphans(case: Case) -> Iterator[Discrepancy]:
    """Show the money of charges that no payment owns yet."""
    for name, reference in case.references.items():
        if reference.payment_id is None:
            for charge in case.charges.get(reference.id, {}).values():
                if charge.result in _MONEY:
                    about = ("", "", f"{name} {charge.transaction_id}")
                    new = _discrepancy(case, DiscrepancyKind.UNKNOWN_PAYMENT, charge.cents or 0, about)
                    new.detail = {"gateway_reference": name, "transaction_id": charge.transaction_id}
                    yield new


def _discrepancy(case: Case, kind: DiscrepancyKind, cents: int, about: tuple[str, str, str]) -> Discrepancy:
    return Discrepancy(
        id=discrepancy_id(case.dossier.regie, kind, *about),
        regie=case.dossier.regie,
        kind=kind,
        amount_cents=cents,
        state=DiscrepancyState.OPEN,
        opened_at=case.now,
        changed_at=case.now,
        subject=about[2],
    )


def _open(case: Case, new: Discrepancy) -> None:
    case.dossier.discrepancies[new.id] = new
    case.tell_discrepancy(new, "discrepancy.opened")


def _follow(case: Case, known: Discrepancy, cents: int) -> None:
    """Move a discrepancy to what the facts say now; a resolution holds up to the amount that it closed."""
    state: DiscrepancyState
    if cents == 0:
        state = DiscrepancyState.CLOSED if known.state is DiscrepancyState.OPEN else known.state
    elif known.resolved_cents is not None and cents <= known.resolved_cents:
        state = DiscrepancyState.RESOLVED
    else:
        state = DiscrepancyState.OPEN
    if (cents, state) == (known.amount_cents, known.state):
        return
    before, known.amount_cents, known.state, known.changed_at = known.state, cents, state, case.now
    if state is DiscrepancyState.OPEN and before is not state:
        known.opened_at = case.now
        case.tell_discrepancy(known, "discrepancy.opened")
    elif state is not DiscrepancyState.OPEN and before is DiscrepancyState.OPEN:
        case.tell_discrepancy(known, "discrepancy.resolved")
    case.decision.discrepancies[known.id] = known


def _flag_invoices(case: Case) -> None:
    """Mark the invoices that a person should look at: an open discrepancy of theirs, or a gateway that cannot say."""
    checked: set[int | None] = set()
    payers: set[int | None] = set()
    for shown in case.dossier.discrepancies.values():
        if shown.state is DiscrepancyState.OPEN:
            checked.add(shown.invoice_id)
            payers.add(shown.payment_id)
    for payment in case.dossier.payments.values():
        doubtful = payment.doubt and not payment.hold_over and payment.payable_again_at != payment.deadline
        if doubtful or payment.id in payers:
            checked.update(line.invoice_id for line in payment.lines)
    for invoice in case.dossier.invoices.values():
        if invoice.to_check != (invoice.id in checked):
            invoice.to_check = not invoice.to_check
            case.touch_invoice(invoice)
