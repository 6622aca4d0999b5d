"""Examples of everything, in one story: the Martins' bill for the canteen, paid on the second try.

They are structs, so that a type checker reads them; tests send them to a live Lettrage.
"""

from datetime import UTC, date, datetime
from typing import Any, Final

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from schemas.events import (
    OURS,
    DiscrepancyResolved,
    DossierRestored,
    EventsBlanked,
    EventType,
    GatewayCallback,
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
from schemas.notifications import NOTIFICATIONS, DiscrepancyChange, InvoiceChange, NotificationType, webhook_id
from schemas.records import DiscrepancyKind, DiscrepancyState, InvoiceState, PaymentState, Resolution
from schemas.replays import Change, Filter, ReplayAsked, ReplayState, ReplayView
from schemas.reports import Report, ReportResult
from schemas.views import (
    AttemptView,
    DiscrepancyPage,
    DiscrepancyView,
    History,
    HistoryItem,
    InvoiceCounts,
    InvoicePage,
    InvoicePayment,
    InvoiceView,
    NotificationPage,
    NotificationView,
    PaidInvoice,
    PaymentView,
    RegieList,
    RegieView,
)
from worker.settings import OURS as OUR_NAME
from worker.web.admin import Resolve
from worker.web.events import Accepted, ReconciledPayment, Result, Results
from worker.web.notifications import Resend, Resent
from worker.web.operations import Ready
from worker.web.problems import EVENT_CONFLICT, INVALID_EVENT, Fault, Problem

REGIE: Final = "enfance"
NUMBER: Final = "F-2026-0042"
ACCOUNT: Final = "D-1001"
REFERENCE: Final = "P-0002"
CENTS: Final = 9000
REPLAY_ID: Final = 12
REPLAYED_BECAUSE: Final = "F-2026-0040 was edited by hand"


def _at(hour: int, minute: int, second: int = 0) -> datetime:
    return datetime(2026, 11, 23, hour, minute, second, tzinfo=UTC)


STARTED_AT: Final = _at(9, 27, 50)
DEADLINE: Final = _at(9, 57, 50)
PAID_AT: Final = _at(9, 31, 12)

_DATA: Final[dict[EventType, Struct]] = {
    EventType.INVOICE_ISSUED: InvoiceIssued(
        regie=REGIE,
        number=NUMBER,
        account=ACCOUNT,
        amount_cents=CENTS,
        issued_on=date(2026, 11, 2),
        label="Restauration scolaire, octobre 2026",
        document_url="https://portail.example/factures/F-2026-0042.pdf",
    ),
    EventType.INVOICE_WITHDRAWN: InvoiceWithdrawn(regie=REGIE, number="F-2026-0041", reason="Issued twice"),
    EventType.INVOICE_SETTLED: InvoiceSettled(
        regie=REGIE, number="F-2026-0043", amount_cents=4500, means="cheque", fact_id="receipt-778"
    ),
    EventType.INVOICE_UNSETTLED: InvoiceUnsettled(
        regie=REGIE, number="F-2026-0043", amount_cents=4500, means="cheque", fact_id="bounced-778"
    ),
    EventType.PAYMENT_STARTED: PaymentStarted(
        regie=REGIE,
        reference=REFERENCE,
        amount_cents=CENTS,
        invoices=[StartedLine(number=NUMBER, amount_cents=CENTS, account=ACCOUNT)],
    ),
    EventType.GATEWAY_CALLBACK: GatewayCallback(
        regie=REGIE, method="GET", query=f"transaction_id={REFERENCE}&ok=1&signed=1"
    ),
    EventType.PAYMENT_REFUNDED: PaymentRefunded(
        regie=REGIE, reference=REFERENCE, amount_cents=CENTS, reason="Paid at the counter as well", fact_id="refund-12"
    ),
    EventType.PAYMENT_REVERSED: PaymentReversed(
        regie=REGIE, reference=REFERENCE, amount_cents=CENTS, reason="Disputed by the card's holder"
    ),
    EventType.GATEWAY_REPORT: Report(
        regie=REGIE,
        gateway_reference=REFERENCE,
        transaction_id="T-1",
        result=ReportResult.PAID,
        verified=True,
        cents=CENTS,
        why="signed",
    ),
    EventType.PAYMENT_TIMED_OUT: PaymentTimedOut(regie=REGIE, reference="P-0001", due=DEADLINE),
    EventType.DISCREPANCY_RESOLVED: DiscrepancyResolved(
        regie=REGIE,
        id="1f6a2b3c4d5e6f708192a3b4c5d6e7f8",
        resolution="explained",
        amount_cents=0,
        comment="The family had two windows open",
    ),
    EventType.DOSSIER_RESTORED: DossierRestored(
        regie=REGIE,
        replay=REPLAY_ID,
        by="admin",
        comment=REPLAYED_BECAUSE,
        rows=[RestoredRow(invoice="F-2026-0040", was="paid", version=6)],
        number="F-2026-0040",
    ),
    EventType.EVENTS_BLANKED: EventsBlanked(
        regie=REGIE,
        what="personal",
        before=datetime(2024, 11, 23, 12, 0, tzinfo=UTC),
        events=212,
        digest="5d0f1c6c1b1f0b6f8a3a6f5a2ad3f1f3c2c6c0e5cf9d3c1a7a0a4d2b7e9f6c31",
    ),
}


def _event(kind: EventType, data: Struct) -> dict[str, Any]:
    name = kind.removeprefix("fr.lettrage.").removesuffix(".v1")
    mine = {"recordedtime": to_builtins(DEADLINE), "lettrageclient": OUR_NAME} if kind in OURS else {}
    source = "lettrage" if kind in OURS else "/portail"
    return {
        "specversion": "1.0",
        "type": kind.value,
        "source": source,
        "id": f"{name}-1",
        **mine,
        "data": to_builtins(data),
    }


EVENTS: Final = [_event(kind, data) for kind, data in _DATA.items()]
"""One of each type, whole."""

DISCREPANCY: Final = DiscrepancyView(
    id="1f6a2b3c4d5e6f708192a3b4c5d6e7f8",
    kind=DiscrepancyKind.DOUBLE_PAYMENT,
    opened_at=PAID_AT,
    payment=REFERENCE,
    invoice=NUMBER,
    amount_cents=CENTS,
    detail={"gateway_reference": REFERENCE},
    state=DiscrepancyState.OPEN,
    regie=REGIE,
)
OPENED: Final = DiscrepancyChange(
    id=DISCREPANCY.id,
    kind=DISCREPANCY.kind,
    opened_at=DISCREPANCY.opened_at,
    payment=DISCREPANCY.payment,
    invoice=DISCREPANCY.invoice,
    amount_cents=DISCREPANCY.amount_cents,
    detail=DISCREPANCY.detail,
    state=DISCREPANCY.state,
    regie=DISCREPANCY.regie,
    resolution=None,
    comment=None,
)
INVOICE: Final = InvoiceView(
    regie=REGIE,
    number=NUMBER,
    account=ACCOUNT,
    amount_cents=CENTS,
    issued_on=date(2026, 11, 2),
    label="Restauration scolaire, octobre 2026",
    document_url="https://portail.example/factures/F-2026-0042.pdf",
    means=None,
    state=InvoiceState.PAID,
    payable_again_at=None,
    to_check=False,
    paid_at=PAID_AT,
    paid_by=REFERENCE,
    payments=[
        InvoicePayment(reference="P-0001", state=PaymentState.REFUSED, amount_cents=CENTS),
        InvoicePayment(reference=REFERENCE, state=PaymentState.PAID, amount_cents=CENTS),
    ],
    version=5,
)
PAYMENT: Final = PaymentView(
    regie=REGIE,
    reference=REFERENCE,
    gateway_reference=REFERENCE,
    gateway_references=[REFERENCE],
    state=PaymentState.STARTED,
    amount_cents=CENTS,
    received_cents=0,
    invoices=[PaidInvoice(number=NUMBER, amount_cents=CENTS)],
    started_at=STARTED_AT,
    deadline=DEADLINE,
    payable_again_at=DEADLINE,
    settled_at=None,
    late=False,
    provisional=False,
    reason="hold_taken",
)
REGIE_READ: Final = RegieView(
    code=REGIE,
    label="Régie Enfance",
    invoices=InvoiceCounts(payable=412, in_payment=3, paid=1893, withdrawn=7),
    payable_cents=3_104_550,
    open_discrepancies=1,
)
HISTORY: Final = History(
    items=[
        HistoryItem(
            at=_at(9, 23, 55),
            event_id="issued-F-2026-0042",
            event_type=EventType.INVOICE_ISSUED,
            payment=None,
            before=None,
            after=InvoiceState.PAYABLE,
            reason="issued",
        ),
        HistoryItem(
            at=STARTED_AT,
            event_id="started-P-0002",
            event_type=EventType.PAYMENT_STARTED,
            payment=REFERENCE,
            before=InvoiceState.PAYABLE,
            after=InvoiceState.IN_PAYMENT,
            reason="hold_taken",
        ),
    ]
)


def _change(state: InvoiceState, version: int, reason: str) -> InvoiceChange:
    held = state is InvoiceState.IN_PAYMENT
    return InvoiceChange(
        regie=REGIE,
        number=NUMBER,
        account=ACCOUNT,
        state=state,
        version=version,
        payable_again_at=DEADLINE if held else None,
        payment=REFERENCE if version > 1 else None,
        reason=reason,
    )


_TOLD: Final[dict[NotificationType, Struct]] = {
    NotificationType.INVOICE_PAYABLE: _change(InvoiceState.PAYABLE, 1, "issued"),
    NotificationType.INVOICE_IN_PAYMENT: _change(InvoiceState.IN_PAYMENT, 2, "hold_taken"),
    NotificationType.INVOICE_PAID: _change(InvoiceState.PAID, 3, "money_received"),
    NotificationType.INVOICE_REACTIVATED: _change(InvoiceState.PAYABLE, 3, "hold_expired"),
    NotificationType.INVOICE_WITHDRAWN: _change(InvoiceState.WITHDRAWN, 4, "withdrawn"),
    NotificationType.DISCREPANCY_OPENED: OPENED,
    NotificationType.DISCREPANCY_RESOLVED: replace(
        OPENED, state=DiscrepancyState.RESOLVED, resolution=Resolution.REFUNDED, comment="Given back by transfer"
    ),
}


def _told(kind: NotificationType, data: Struct) -> dict[str, Any]:
    told: dict[str, Any] = to_builtins({"type": kind.value, "timestamp": PAID_AT, "data": data})
    return told


NOTIFICATIONS_TOLD: Final = {kind: _told(kind, _TOLD[kind]) for kind in NOTIFICATIONS}
"""One of each type, whole."""

NOTIFICATION: Final = NotificationView(
    id=1042,
    webhook_id=webhook_id(1042, PAID_AT),
    regie=REGIE,
    type=NotificationType.INVOICE_PAID,
    at=PAID_AT,
    data=NOTIFICATIONS_TOLD[NotificationType.INVOICE_PAID]["data"],
    state="delivered",
    next_attempt_at=None,
    attempts=[AttemptView(at=PAID_AT, outcome="delivered", status=204, error=None, milliseconds=38)],
)
REPLAY: Final = ReplayView(
    id=REPLAY_ID,
    state=ReplayState.DONE,
    filter=Filter(regie=REGIE),
    dry_run=False,
    comment=REPLAYED_BECAUSE,
    client="admin",
    created_at=PAID_AT,
    finished_at=PAID_AT,
    matched=42,
    replayed=42,
    changed=1,
    failed=0,
    outcomes={},
    changes=[
        Change(
            regie=REGIE, invoice="F-2026-0040", before="paid", after="payable", reason="hold_expired", fields=["state"]
        )
    ],
)
PROBLEM: Final = INVALID_EVENT.problem(
    errors=[
        Fault(pointer="/data/amount_cents", code="sum_differs", detail="is 301, but its invoices sum to 300"),
        Fault(pointer="/data/invoices/2/number", code="twice", detail="is the same invoice as /data/invoices/0"),
    ]
)

OF_STRUCTS: Final[dict[type, list[Struct]]] = {
    Problem: [PROBLEM, EVENT_CONFLICT.problem("Another type or data was stored under this source and id")],
    RegieView: [REGIE_READ],
    RegieList: [RegieList(items=[REGIE_READ])],
    InvoiceView: [INVOICE],
    InvoicePage: [InvoicePage(items=[INVOICE], next_cursor=None)],
    History: [HISTORY],
    PaymentView: [PAYMENT],
    DiscrepancyView: [DISCREPANCY],
    DiscrepancyPage: [DiscrepancyPage(items=[DISCREPANCY], next_cursor=None)],
    NotificationPage: [NotificationPage(items=[NOTIFICATION], next_cursor="1042")],
    Accepted: [Accepted(id="payment.started-1", status="accepted")],
    ReconciledPayment: [
        ReconciledPayment(
            id="payment.started-1", status="accepted", outcome="applied", reason="hold_taken", payment=PAYMENT
        )
    ],
    Results: [
        Results(
            results=[
                Result(id="invoice.issued-1", status="duplicate"),
                Result(id="payment.started-1", status="rejected", problem=PROBLEM),
            ]
        )
    ],
    Resolve: [Resolve(resolution="refunded", comment="Given back by transfer", amount_cents=CENTS)],
    ReplayAsked: [ReplayAsked(filter=Filter(regie=REGIE), comment=REPLAYED_BECAUSE)],
    ReplayView: [REPLAY],
    Resend: [Resend(ids=[NOTIFICATION.webhook_id])],
    Resent: [Resent(matched=1, resent=1)],
    Ready: [Ready(status="ready", database=True, schema=True, redis=False)],
}
"""Of what is answered and asked. Events and notifications have theirs whole: `EVENTS`, `NOTIFICATIONS_TOLD`."""
