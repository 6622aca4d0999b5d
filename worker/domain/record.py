"""How each fact enters a dossier: one function a type, each answering with a named outcome."""

from collections.abc import Callable
from datetime import datetime, timedelta

from schemas.decisions import Outcome
from schemas.events import Event, EventType
from schemas.records import (
    Adjustment,
    AdjustmentKind,
    Charge,
    ChargeResult,
    Discrepancy,
    DiscrepancyKind,
    DiscrepancyState,
    GatewayReference,
    Invoice,
    InvoiceState,
    Line,
    Payment,
    Resolution,
)
from schemas.reports import Report, ReportResult
from worker.domain.asking import CANNOT_SAY, first_ask, next_ask, watch_is_over
from worker.domain.case import Case
from worker.domain.keys import SEPARATOR, discrepancy_id, gateway_reference_of, unasked_ids, unproven_id, unproven_kind
from worker.domain.money import RANK, net_settled
from worker.domain.reasons import Reason

Named = tuple[Outcome, Reason]

APPLIED, REFUSED, IGNORED = Outcome.APPLIED, Outcome.REFUSED, Outcome.IGNORED

DIRECT_DEBIT = "direct_debit"
"""The means of an invoice that is never payable online."""

MONEY = {ReportResult.PAID, ReportResult.PROVISIONAL}

RESULTS = {
    ReportResult.PAID: Reason.MONEY_RECEIVED,
    ReportResult.PROVISIONAL: Reason.MONEY_RECEIVED_PROVISIONALLY,
    ReportResult.REJECTED_LATER: Reason.MONEY_REJECTED_LATER,
    ReportResult.REFUSED: Reason.REFUSED_BY_GATEWAY,
    ReportResult.ABANDONED: Reason.CANCELLED_BY_PAYER,
}

PAYMENT_UNKNOWN = "payment_unknown"
"""Why a callback that is no proof by itself could not even be asked about: no payment-started has named it yet."""

RELEASES = {
    ReportResult.REFUSED: Reason.RELEASED_BY_REFUSAL,
    ReportResult.ABANDONED: Reason.RELEASED_BY_CANCEL,
}


def said_at(event: Event) -> datetime:
    """Give the time that orders facts: the event's own, else when it was received."""
    return event.time or event.received_at


def _newer(event: Event, time: datetime | None, place: int | None) -> bool:
    return time is None or place is None or (said_at(event), event.place) > (time, place)


def invoice_issued(case: Case, event: Event) -> Named:
    """The latest issue gives an invoice its amount and its holder; the latest of issue and withdrawal stands."""
    data = event.data
    invoice = case.invoices[data.number]
    newest = _newer(event, invoice.fact_time, invoice.fact_place)
    if not _newer(event, invoice.issue_time, invoice.issue_place):
        return IGNORED, Reason.OLDER_THAN_KNOWN
    known_before = invoice.issued_cents is not None
    shown = (data.account, data.amount_cents, data.issued_on, data.label, data.document_url, data.means)
    same = known_before and shown == _shown(invoice) and not (newest and invoice.withdrawn)
    invoice.issue_time, invoice.issue_place = said_at(event), event.place
    if newest:
        invoice.fact_time, invoice.fact_place = said_at(event), event.place
        invoice.withdrawn = False
    invoice.account, invoice.issued_cents = data.account, data.amount_cents
    invoice.issued_on, invoice.label = data.issued_on, data.label
    invoice.document_url, invoice.means = data.document_url, data.means
    case.touch_invoice(invoice)
    if same:
        return IGNORED, Reason.INVOICE_ALREADY_KNOWN
    return APPLIED, Reason.REISSUED if known_before else Reason.ISSUED


def _shown(invoice: Invoice) -> tuple[object, ...]:
    return (
        invoice.account,
        invoice.issued_cents,
        invoice.issued_on,
        invoice.label,
        invoice.document_url,
        invoice.means,
    )


def invoice_withdrawn(case: Case, event: Event) -> Named:
    """No longer owed, unless it was issued again later."""
    invoice = case.invoices[event.data.number]
    if not _newer(event, invoice.fact_time, invoice.fact_place):
        return IGNORED, Reason.OLDER_THAN_KNOWN
    invoice.fact_time, invoice.fact_place = said_at(event), event.place
    case.touch_invoice(invoice)
    if invoice.withdrawn:
        return IGNORED, Reason.INVOICE_ALREADY_KNOWN
    invoice.withdrawn = True
    return APPLIED, _waits_or(case, invoice, Reason.WITHDRAWN)


def _waits_or(case: Case, invoice: Invoice, reason: Reason) -> Reason:
    known = invoice.issued_cents is not None or case.payers.get(invoice.id)
    return reason if known else Reason.WAITS_FOR_INVOICE


def _fact_id(event: Event) -> str:
    return event.data.fact_id or SEPARATOR.join(("event", event.client, event.source, event.id))


def _settlement(case: Case, event: Event, kind: AdjustmentKind, reason: Reason) -> Named:
    data = event.data
    invoice = case.invoices[data.number]
    fact = Adjustment(
        kind=kind,
        fact_id=_fact_id(event),
        cents=data.amount_cents,
        place=event.place,
        invoice_id=invoice.id,
        means=data.means,
    )
    if not case.adjust(fact):
        return IGNORED, Reason.FACT_ALREADY_COUNTED
    case.touch_invoice(invoice)
    return APPLIED, _waits_or(case, invoice, reason)


def invoice_settled(case: Case, event: Event) -> Named:
    """Paid elsewhere."""
    return _settlement(case, event, AdjustmentKind.SETTLED, Reason.SETTLED_ELSEWHERE)


def invoice_unsettled(case: Case, event: Event) -> Named:
    """A settlement taken back."""
    return _settlement(case, event, AdjustmentKind.UNSETTLED, Reason.SETTLEMENT_TAKEN_BACK)


def _correction(case: Case, event: Event, kind: AdjustmentKind, reason: Reason) -> Named:
    data = event.data
    payment = case.payments[data.reference]
    fact = Adjustment(
        kind=kind,
        fact_id=_fact_id(event),
        cents=data.amount_cents,
        place=event.place,
        payment_id=payment.id,
    )
    if not case.adjust(fact):
        return IGNORED, Reason.FACT_ALREADY_COUNTED
    case.touch_payment(payment)
    return APPLIED, Reason.WAITS_FOR_PAYMENT if payment.state is None else reason


def payment_refunded(case: Case, event: Event) -> Named:
    """Money given back to the family."""
    return _correction(case, event, AdjustmentKind.REFUNDED, Reason.MONEY_REFUNDED)


def payment_reversed(case: Case, event: Event) -> Named:
    """Money taken back by the bank."""
    return _correction(case, event, AdjustmentKind.REVERSED, Reason.MONEY_REVERSED)


def payment_started(case: Case, event: Event) -> Named:
    """The first payment-started of a reference stands; the same again is a second click."""
    data = event.data
    payment = case.payments[data.reference]
    reference = case.references[gateway_reference_of(event)]
    lines = {case.invoices[line.number].id: line.amount_cents for line in data.invoices}
    if payment.state is not None and (payment.amount_cents, _cents_by_invoice(payment)) != (data.amount_cents, lines):
        return REFUSED, Reason.PAYMENT_CONFLICT
    if reference.payment_id not in {None, payment.id}:
        return REFUSED, Reason.GATEWAY_REFERENCE_IN_USE
    if payment.state is not None:
        if reference.payment_id == payment.id:
            return IGNORED, Reason.PAYMENT_ALREADY_STARTED
        _own(case, event, reference, payment)
        return APPLIED, Reason.GATEWAY_REFERENCE_ADDED
    _open_payment(case, event, payment)
    _own(case, event, reference, payment)
    return _take_hold(case, payment)


def _own(case: Case, event: Event, reference: GatewayReference, payment: Payment) -> None:
    """Give a payment its gateway reference; from now on the gateway is asked about it, if it can be."""
    case.own(reference, payment)
    due_at = first_ask(case.policy, payment, case.now)
    if due_at is not None:
        case.ask(reference, due_at, born_at=min(said_at(event), event.received_at))


def _cents_by_invoice(payment: Payment) -> dict[int, int]:
    return {line.invoice_id: line.cents for line in payment.lines}


def _open_payment(case: Case, event: Event, payment: Payment) -> None:
    data = event.data
    started = min(said_at(event), event.received_at)
    payment.amount_cents = data.amount_cents
    payment.lines = [Line(invoice_id=case.invoices[x.number].id, cents=x.amount_cents) for x in data.invoices]
    payment.start_time, payment.start_place = said_at(event), event.place
    payment.deadline = payment.payable_again_at = started + timedelta(seconds=case.policy.hold)
    payment.hold_limit = started + timedelta(seconds=case.policy.hold_limit)
    case.index_lines(payment)
    for line in data.invoices:
        invoice = case.invoices[line.number]
        if invoice.account is None and line.account is not None:
            invoice.account = line.account
            case.touch_invoice(invoice)


def _take_hold(case: Case, payment: Payment) -> Named:
    """Lock every invoice of a new payment, or none."""
    if case.over(payment):
        case.end_hold(payment)
        return APPLIED, Reason.STARTED_AFTER_DEADLINE
    refusal = _why_not(case, payment)
    if refusal is not None:
        payment.rejected = True
        payment.payable_again_at = _try_again_at(case, payment)
        case.end_hold(payment)
        return REFUSED, refusal
    for line in payment.lines:
        _free_from_overdue(case, line)
        line.held = True
    return APPLIED, Reason.HOLD_TAKEN


def _holder(case: Case, line: Line) -> Payment | None:
    """Find the payment whose hold on the line's invoice is still on."""
    for payment, other in case.payers.get(line.invoice_id, ()):
        if other.held and not case.over(payment):
            return payment
    return None


def _free_from_overdue(case: Case, line: Line) -> None:
    """Take an invoice over from a hold that is over but not written yet; the sweep writes the rest of it."""
    for payment, other in case.payers.get(line.invoice_id, ()):
        if other.held:
            other.held = False
            case.touch_payment(payment)
            case.take_over(case.dossier.invoices[line.invoice_id])


def _why_not(case: Case, payment: Payment) -> Reason | None:
    """Name the first thing that keeps a payment from its hold."""
    invoices = [(case.dossier.invoices[line.invoice_id], line) for line in payment.lines]
    if any(invoice.means == DIRECT_DEBIT for invoice, _ in invoices):
        return Reason.NOT_PAYABLE_ONLINE
    if any(invoice.withdrawn for invoice, _ in invoices):
        return Reason.INVOICE_WITHDRAWN
    if any(_is_paid(case, invoice, line) for invoice, line in invoices):
        return Reason.INVOICE_PAID
    if any(invoice.issued_cents not in {None, line.cents} for invoice, line in invoices):
        return Reason.LINE_AMOUNT_DIFFERS
    if any(_holder(case, line) for _, line in invoices):
        return Reason.INVOICE_IN_PAYMENT
    return None


def _is_paid(case: Case, invoice: Invoice, line: Line) -> bool:
    """Tell whether an invoice is paid; one that is known from this line alone may have been settled before."""
    settled_before = invoice.issued_cents is None and net_settled(case, invoice) >= line.cents
    return settled_before or invoice.state is InvoiceState.PAID


def _try_again_at(case: Case, payment: Payment) -> datetime | None:
    holders = [holder for line in payment.lines if (holder := _holder(case, line)) is not None]
    return max((holder.payable_again_at for holder in holders if holder.payable_again_at is not None), default=None)


def payment_timed_out(case: Case, event: Event) -> Named:
    """The hold is over by the database's clock, and no evidence came."""
    payment = case.payments[event.data.reference]
    if payment.state is None or payment.hold_over:
        return IGNORED, Reason.HOLD_ALREADY_OVER
    if not case.over(payment):
        return IGNORED, Reason.HOLD_STILL_ON
    case.end_hold(payment)
    return APPLIED, Reason.HOLD_EXPIRED


def gateway_report(case: Case, event: Event) -> Named:
    """What a gateway said. Only a verified answer of the régie's own mode is a fact about money."""
    report: Report = event.data
    reference = case.references.get(report.gateway_reference)
    payment = None if reference is None else case.owner(reference)
    if reference is not None and payment is not None and report.asked:
        _answered(case, reference, payment, report)
        _explain_calls(case, event)
    if not report.verified or (report.test and case.policy.mode != "test"):
        return _unproven(case, event)
    assert reference is not None, "whoever locks a proven report creates its reference"
    if report.result in CANNOT_SAY:
        return IGNORED, Reason.GATEWAY_CANNOT_SAY
    if report.result is ReportResult.NOTHING:
        return IGNORED, Reason.GATEWAY_KNOWS_NO_PAYMENT if report.asked else Reason.NOT_ABOUT_MONEY
    if not _charge(case, event, reference.id):
        return IGNORED, Reason.RESULT_ALREADY_KNOWN
    if payment is None:
        return APPLIED, Reason.WAITS_FOR_PAYMENT
    case.touch_payment(payment)
    _end_silence(case, payment, report)
    return APPLIED, _release(case, payment, report) or RESULTS[report.result]


def _answered(case: Case, reference: GatewayReference, payment: Payment, report: Report) -> None:
    """What an ask changes whatever its answer: the doubt, when to ask again, and whether the gateway is silent."""
    if report.verified:
        _note_doubt(case, reference, payment, report)
    case.ask(reference, next_ask(case.policy, payment, report, case.now))
    if report.result not in CANNOT_SAY:
        _end_silence(case, payment, report)
    elif case.policy.polls and payment.first_money_at is None and watch_is_over(case.policy, payment, case.now):
        _note_silence(case, payment, report)


def _note_silence(case: Case, payment: Payment, report: Report) -> None:
    """The watch is over and the gateway could not say what became of a reference: a person must ask about it."""
    about = (payment.reference, "", report.gateway_reference)
    key = discrepancy_id(case.dossier.regie, DiscrepancyKind.GATEWAY_SILENT, *about)
    known = case.dossier.discrepancies.get(key)
    if known is not None and known.state is not DiscrepancyState.CLOSED:
        return
    shown = Discrepancy(
        id=key,
        regie=case.dossier.regie,
        kind=DiscrepancyKind.GATEWAY_SILENT,
        amount_cents=payment.amount_cents or 0,
        state=DiscrepancyState.OPEN,
        opened_at=case.now,
        changed_at=case.now,
        payment_id=payment.id,
        payment=payment.reference,
        subject=report.gateway_reference,
        detail={**report.detail, "gateway_reference": report.gateway_reference, "why": report.why},
    )
    case.dossier.discrepancies[key] = shown
    case.tell_discrepancy(shown, "discrepancy.opened")


def _end_silence(case: Case, payment: Payment, report: Report) -> None:
    """An answer ends the silence about its own reference; once money came, nobody need ask about the others either."""
    for shown in list(case.dossier.discrepancies.values()):
        about = shown.kind is DiscrepancyKind.GATEWAY_SILENT and shown.payment_id == payment.id
        if about and (report.result in MONEY or shown.subject == report.gateway_reference):
            _close(case, shown)


def _explain_calls(case: Case, event: Event) -> None:
    """Callbacks that came before their payment-started need nobody any more: their gateway has spoken for them."""
    for key in unasked_ids(event):
        shown = case.dossier.discrepancies.get(key)
        if shown is not None and shown.detail.get("why") == PAYMENT_UNKNOWN:
            _close(case, shown)


def _close(case: Case, shown: Discrepancy) -> None:
    if shown.state is DiscrepancyState.OPEN:
        shown.state, shown.changed_at = DiscrepancyState.CLOSED, case.now
        case.tell_discrepancy(shown, "discrepancy.resolved")


def _charge(case: Case, event: Event, reference_id: int) -> bool:
    """Keep the better of two results of one transaction, and when its money first came. False: nothing new."""
    report: Report = event.data
    result = ChargeResult(report.result.value)
    known = case.charges.get(reference_id, {}).get(report.transaction_id)
    came = (event.received_at, event.place) if report.result in MONEY else None
    before = None if known is None or known.received_at is None else (known.received_at, known.place)
    first = min((x for x in (came, before) if x is not None), default=(None, None))
    better = known is None or RANK[result] > RANK[known.result]
    if known is not None and not better and first == (before or (None, None)):
        return False
    case.keep_charge(
        Charge(
            gateway_reference_id=reference_id,
            transaction_id=report.transaction_id,
            result=result if better or known is None else known.result,
            cents=report.cents if better or known is None else known.cents,
            received_at=first[0],
            place=first[1],
        )
    )
    return True


def _note_doubt(case: Case, reference: GatewayReference, payment: Payment, report: Report) -> None:
    """While a gateway that can be asked cannot say, a régie may choose to keep the hold, up to its limit.

    A payment with two references can be paid by either: what is known of one ends no doubt about the other.
    """
    if reference.doubt != (report.result in CANNOT_SAY):
        reference.doubt = not reference.doubt
        case.decision.references[reference.id] = reference
    payment.doubt = any(owned.doubt for owned in case.owned[payment.id])
    case.touch_payment(payment)
    if case.over(payment) or payment.deadline is None or payment.hold_limit is None:
        return
    shown = payment.payable_again_at
    if payment.doubt and case.policy.when_in_doubt == "hold":
        payment.payable_again_at = max(payment.deadline, payment.hold_limit)
    elif not payment.doubt:
        payment.payable_again_at = max(payment.deadline, case.now)
    for line in payment.lines:
        if line.held and payment.payable_again_at != shown:
            case.touch_invoice(case.dossier.invoices[line.invoice_id])


def _release(case: Case, payment: Payment, report: Report) -> Reason | None:
    """Where the régie chose so, an authenticated refusal or cancel frees the invoices at once."""
    if case.policy.on_cancel != "release" or payment.hold_over or report.result not in RELEASES:
        return None
    case.end_hold(payment)
    return RELEASES[report.result]


def _unproven(case: Case, event: Event) -> Named:
    """Keep, count and show an answer that proves nothing: one discrepancy per reference and day."""
    report: Report = event.data
    kind = unproven_kind(report)
    reference = case.references.get(report.gateway_reference)
    payment = None if reference is None else case.owner(reference)
    key = unproven_id(event)
    known = case.dossier.discrepancies.get(key)
    seen = int(known.detail.get("count", "0")) if known is not None else 0
    cents = max(report.cents or 0, known.amount_cents if known is not None else 0)
    reopened = (
        known is None
        or known.state is DiscrepancyState.CLOSED
        or cents > (known.amount_cents if known.resolved_cents is None else known.resolved_cents)
    )
    shown = Discrepancy(
        id=key,
        regie=case.dossier.regie,
        kind=kind,
        amount_cents=cents,
        state=DiscrepancyState.OPEN if known is None or reopened else known.state,
        opened_at=case.now if known is None else known.opened_at,
        changed_at=case.now,
        payment_id=None if payment is None else payment.id,
        payment=None if payment is None else payment.reference,
        subject=report.gateway_reference,
        detail={
            **report.detail,
            "gateway_reference": report.gateway_reference,
            "why": report.why,
            "count": str(seen + 1),
        },
        resolution=None if known is None else known.resolution,
        resolved_cents=None if known is None else known.resolved_cents,
        comment=None if known is None else known.comment,
    )
    case.dossier.discrepancies[key] = case.decision.discrepancies[key] = shown
    reason = Reason.TEST_PAYMENT if kind is DiscrepancyKind.TEST_PAYMENT else Reason.UNVERIFIED_CALLBACK
    return REFUSED, reason


GIVES_BACK = {
    DiscrepancyKind.DOUBLE_PAYMENT,
    DiscrepancyKind.UNDERPAID,
    DiscrepancyKind.OVERPAID,
    DiscrepancyKind.PAID_WITHDRAWN,
}
"""What an avoir can settle; anything else has nothing to give back."""


def discrepancy_resolved(case: Case, event: Event) -> Named:
    """A person closed a discrepancy, for the amount that they saw; an avoir counts as a refund of it."""
    data = event.data
    known = case.dossier.discrepancies.get(data.id)
    if known is None or known.regie != data.regie:
        return REFUSED, Reason.DISCREPANCY_UNKNOWN
    if known.state is not DiscrepancyState.OPEN:
        return REFUSED, Reason.DISCREPANCY_NOT_OPEN
    resolution = Resolution(data.resolution)
    credited = resolution is Resolution.CREDITED
    if credited and known.kind not in GIVES_BACK:
        return REFUSED, Reason.RESOLUTION_NOT_APPLICABLE
    if credited:
        _credit(case, event, known)
    known.state = DiscrepancyState.RESOLVED
    known.resolution = resolution
    known.resolved_cents = 0 if credited else data.amount_cents
    known.comment = data.comment
    known.changed_at = case.now
    case.tell_discrepancy(known, "discrepancy.resolved")
    return APPLIED, Reason.DISCREPANCY_RESOLVED


def _credit(case: Case, event: Event, known: Discrepancy) -> None:
    payment_id = known.payment_id
    case.adjust(
        Adjustment(
            kind=AdjustmentKind.CREDITED,
            fact_id=f"{known.id} {event.place}",
            cents=min(event.data.amount_cents, known.amount_cents),
            place=event.place,
            payment_id=payment_id,
            invoice_id=known.invoice_id if payment_id is None else None,
        )
    )
    if payment_id is not None:
        case.touch_payment(case.dossier.payments[payment_id])


def dossier_restored(case: Case, event: Event) -> Named:
    """A replay put rows right that said something else than their facts: the other facts say what is right.

    What it found is written down, and an invoice's version goes on from the one that was shown.
    """
    for row in event.data.rows:
        if row.invoice is not None:
            case.restore_invoice(case.invoices[row.invoice], row.was, row.version)
        elif row.payment is not None:
            case.restore_payment(case.payments[row.payment], row.was)
    return APPLIED, Reason.RESTORED_BY_REPLAY


def events_blanked(_case: Case, _event: Event) -> Named:
    """What was raw or personal in some events is gone; what they say about money is as it was."""
    return APPLIED, Reason.RETENTION_OVER


RECORD: dict[EventType, Callable[[Case, Event], Named]] = {
    EventType.INVOICE_ISSUED: invoice_issued,
    EventType.INVOICE_WITHDRAWN: invoice_withdrawn,
    EventType.INVOICE_SETTLED: invoice_settled,
    EventType.INVOICE_UNSETTLED: invoice_unsettled,
    EventType.PAYMENT_STARTED: payment_started,
    EventType.PAYMENT_REFUNDED: payment_refunded,
    EventType.PAYMENT_REVERSED: payment_reversed,
    EventType.PAYMENT_TIMED_OUT: payment_timed_out,
    EventType.GATEWAY_REPORT: gateway_report,
    EventType.DISCREPANCY_RESOLVED: discrepancy_resolved,
    EventType.DOSSIER_RESTORED: dossier_restored,
    EventType.EVENTS_BLANKED: events_blanked,
}
