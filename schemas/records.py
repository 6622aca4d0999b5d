"""The rows that `decide` reads and changes: invoices, payments, charges, adjustments, discrepancies.

Money is integer cents (EUR), times are aware UTC datetimes. A record mirrors its table column by column.
"""

from datetime import date, datetime
from enum import StrEnum

from msgspec import Struct, field


class InvoiceState(StrEnum):
    """What a family sees of an invoice."""

    PAYABLE = "payable"
    IN_PAYMENT = "in_payment"
    PAID = "paid"
    WITHDRAWN = "withdrawn"


class PaymentState(StrEnum):
    """How one attempt to pay ended, or that it has not."""

    STARTED = "started"
    PAID = "paid"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REVERSED = "reversed"
    REFUNDED = "refunded"


class DiscrepancyKind(StrEnum):
    """Something that money or gateway says and the books do not."""

    DOUBLE_PAYMENT = "double_payment"
    UNDERPAID = "underpaid"
    OVERPAID = "overpaid"
    PAID_WITHDRAWN = "paid_withdrawn"
    MISSING = "missing"
    UNKNOWN_PAYMENT = "unknown_payment"
    UNVERIFIED_CALLBACK = "unverified_callback"
    TEST_PAYMENT = "test_payment"
    REVERSED = "reversed"
    GATEWAY_SILENT = "gateway_silent"


class DiscrepancyState(StrEnum):
    """`closed`: the facts moved on by themselves. `resolved`: a person closed it, with a comment."""

    OPEN = "open"
    CLOSED = "closed"
    RESOLVED = "resolved"


class Resolution(StrEnum):
    """How a person closed a discrepancy."""

    REFUNDED = "refunded"
    CREDITED = "credited"
    WRITTEN_OFF = "written_off"
    EXPLAINED = "explained"


class AdjustmentKind(StrEnum):
    """Money that moved outside the gateway's charges."""

    SETTLED = "settled"
    UNSETTLED = "unsettled"
    REFUNDED = "refunded"
    REVERSED = "reversed"
    CREDITED = "credited"


class ChargeResult(StrEnum):
    """The results of a charge that say something about money; the letters are PayFiP's."""

    PAID = "P"
    PROVISIONAL = "V"
    REJECTED_LATER = "Z"
    REFUSED = "R"
    ABANDONED = "A"


class Invoice(Struct, kw_only=True, omit_defaults=True):
    """One invoice of a régie. `state` None: only waiting facts name it, nobody sees it."""

    id: int
    regie: str
    number: str
    state: InvoiceState | None = None
    version: int = 0
    account: str | None = None
    issued_cents: int | None = None
    """None: not issued yet, known from a payment-started."""
    amount_cents: int | None = None
    """The claim as shown: issued, else the largest line of its payments."""
    means: str | None = None
    issued_on: date | None = None
    label: str | None = None
    document_url: str | None = None
    withdrawn: bool = False
    fact_time: datetime | None = None
    fact_place: int | None = None
    """`time` and place of the issued or withdrawn fact that stands."""
    issue_time: datetime | None = None
    issue_place: int | None = None
    """`time` and place of the latest issue: a withdrawal carries no amount."""
    settled_cents: int = 0
    """Settled elsewhere minus unsettled; may be negative."""
    paid_at: datetime | None = None
    paid_by: str | None = None
    to_check: bool = False
    reason: str | None = None


class Line(Struct, kw_only=True):
    """What one payment pays of one invoice. `held`: the invoice is locked by this payment."""

    invoice_id: int
    cents: int
    held: bool = False


class Payment(Struct, kw_only=True, omit_defaults=True):
    """One attempt to pay. `state` None: facts about it wait, its payment-started has not come."""

    id: int
    regie: str
    reference: str
    state: PaymentState | None = None
    reason: str | None = None
    amount_cents: int | None = None
    lines: list[Line] = field(default_factory=list)
    start_time: datetime | None = None
    """The event's `time`, else when it was received: orders starts."""
    start_place: int | None = None
    deadline: datetime | None = None
    hold_limit: datetime | None = None
    payable_again_at: datetime | None = None
    """When its hold is over: the deadline, later while in doubt. For a rejected payment: when to try again."""
    hold_over: bool = False
    """The hold has ended, or was never taken."""
    hold_ended_at: datetime | None = None
    rejected: bool = False
    doubt: bool = False
    """The gateway cannot say what became of one of its references."""
    late: bool = False
    received_cents: int = 0
    refunded_cents: int = 0
    provisional: bool = False
    first_money_at: datetime | None = None
    first_money_place: int | None = None
    """When its first P or V was received: orders what is kept."""
    settled_at: datetime | None = None
    latest_reference: str | None = None


class GatewayReference(Struct, kw_only=True):
    """The gateway's name of a payment; `payment_id` None while nobody owns it."""

    id: int
    regie: str
    gateway_reference: str
    payment_id: int | None = None
    doubt: bool = False
    """The gateway's last answer about it was that it cannot say."""


class Ask(Struct, kw_only=True):
    """When a gateway is asked next about one of its references; `due_at` None: not again, unless it calls back."""

    gateway_reference_id: int
    regie: str
    gateway_reference: str
    due_at: datetime | None
    born_at: datetime | None = None
    """When a payment-started brought the reference; None: it is known already."""


class DueAsk(Struct, kw_only=True, frozen=True):
    """An ask that is this process's to make. `asked_at`: when it was taken, by the database's clock.

    `payment` is the reference of the payment that it is about, `trace` the `traceparent` that its start came with.
    """

    gateway_reference_id: int
    regie: str
    gateway_reference: str
    age_seconds: float
    asked_at: datetime
    payment: str | None = None
    trace: str | None = None


class Charge(Struct, kw_only=True):
    """The highest result that the gateway proved for one of its transactions."""

    gateway_reference_id: int
    transaction_id: str
    result: ChargeResult
    cents: int | None
    """None: the gateway does not say; its payment's amount counts."""
    received_at: datetime | None
    place: int | None
    """When and where its first P or V was received; None while there was none."""


class Adjustment(Struct, kw_only=True):
    """One fact that settles, unsettles, refunds, reverses or credits. Of an invoice or of a payment, never both."""

    kind: AdjustmentKind
    fact_id: str
    cents: int
    place: int
    invoice_id: int | None = None
    payment_id: int | None = None
    means: str | None = None


class Discrepancy(Struct, kw_only=True):
    """One thing to explain. `id` is made from (régie, kind, payment, invoice, subject): the same one twice is one."""

    id: str
    regie: str
    kind: DiscrepancyKind
    amount_cents: int
    state: DiscrepancyState
    opened_at: datetime
    changed_at: datetime
    payment_id: int | None = None
    invoice_id: int | None = None
    payment: str | None = None
    invoice: str | None = None
    subject: str = ""
    """What else tells it apart: gateway reference, transaction, day."""
    detail: dict[str, str] = field(default_factory=dict)
    resolution: Resolution | None = None
    resolved_cents: int | None = None
    """The amount that the resolution closed; a larger one reopens it."""
    comment: str | None = None


class Policy(Struct, kw_only=True, frozen=True):
    """What a régie chose; versioned, without secrets. Durations are seconds."""

    label: str
    gateway: str
    mode: str = "production"
    hold: int = 1800
    on_cancel: str = "hold"
    when_in_doubt: str = "reactivate"
    hold_limit: int = 7200
    watch: int = 86400
    notify: bool = False
    polls: tuple[int, ...] = ()
    """When its gateway is asked, after the start of a payment with a hold of half an hour; empty: it cannot be."""


class Retention(Struct, kw_only=True, frozen=True):
    """How long an installation keeps what it need not keep for ever, in calendar months."""

    months: int = 24
    """What dossiers say about people: as long as families see their invoices."""
    raw_months: int = 13
    """Gateways' own words: as long as a payer may dispute a payment at the bank."""
    notification_months: int = 3
    """Notifications that were delivered."""
