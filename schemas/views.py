"""What the API answers: the contract's keys, in its order. Money is integer cents, times are aware UTC datetimes.

Reads go by the database's clock: a hold that is over reads so, whether the sweep has written it or not.
"""

from datetime import date, datetime
from typing import Any

from msgspec import Struct

from schemas.decisions import Outcome
from schemas.records import DiscrepancyKind, DiscrepancyState, InvoiceState, PaymentState, Resolution


class InvoiceCounts(Struct, kw_only=True):
    """Invoices of a régie in each state, as read."""

    payable: int = 0
    in_payment: int = 0
    paid: int = 0
    withdrawn: int = 0


class RegieView(Struct, kw_only=True):
    """A régie at a glance."""

    code: str
    label: str
    invoices: InvoiceCounts
    payable_cents: int
    open_discrepancies: int


class InvoicePayment(Struct, kw_only=True):
    """A payment that named the invoice. `amount_cents` is its line for this invoice."""

    reference: str
    state: PaymentState
    amount_cents: int


class InvoiceView(Struct, kw_only=True):
    """An invoice as read. `payable_again_at` only while it is in payment."""

    regie: str
    number: str
    account: str | None
    amount_cents: int
    issued_on: date | None
    label: str | None
    document_url: str | None
    means: str | None
    state: InvoiceState
    payable_again_at: datetime | None
    to_check: bool
    """A person should look: an open discrepancy of its own, or a gateway that cannot say."""
    paid_at: datetime | None
    """When the fact that made it paid was received, however late it was applied; null while it is not paid."""
    paid_by: str | None
    """The reference of the payment that paid it, or `settled_elsewhere`; null while it is not paid."""
    payments: list[InvoicePayment]
    version: int
    """Grows with each change: of two readings, the higher one is the later."""


class RegieList(Struct, kw_only=True):
    """Every régie that the caller may see."""

    items: list[RegieView]


class HistoryItem(Struct, kw_only=True, rename={"before": "from", "after": "to"}):
    """One change of an invoice's state, the event that caused it and the payment that it was about."""

    at: datetime
    event_id: str
    event_type: str
    payment: str | None
    before: InvoiceState | None
    after: InvoiceState
    reason: str


class History(Struct, kw_only=True):
    """How an invoice came to its state, oldest change first."""

    items: list[HistoryItem]


class PaidInvoice(Struct, kw_only=True):
    """One line of a payment."""

    number: str
    amount_cents: int


class PaymentView(Struct, kw_only=True):
    """A payment as read.

    `payable_again_at`: when its invoices are (or were) free again; of a rejected one, when to try again; null once
    money came.
    """

    regie: str
    reference: str
    gateway_reference: str | None
    gateway_references: list[str]
    state: PaymentState
    amount_cents: int
    received_cents: int
    invoices: list[PaidInvoice]
    started_at: datetime
    deadline: datetime
    """When its hold ends, unless money comes."""
    payable_again_at: datetime | None
    settled_at: datetime | None
    """When it became paid; null while it is not."""
    late: bool
    """Money came after the hold was over."""
    provisional: bool
    """The money is a direct debit's, which the bank may still reject."""
    reason: str


class DiscrepancyView(Struct, kw_only=True):
    """Something that money or gateway says and the books do not. `payment` is a reference, `invoice` a number."""

    id: str
    kind: DiscrepancyKind
    opened_at: datetime
    payment: str | None
    invoice: str | None
    amount_cents: int
    detail: dict[str, str]
    state: DiscrepancyState
    regie: str
    resolution: Resolution | None = None
    """The latest one; of an open discrepancy: it was closed once, and more came."""
    comment: str | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    """A client's name, or who sat at the command line."""


class MoneySide(Struct, kw_only=True):
    """What money says of a discrepancy: one payment, what came in for it and what was given back."""

    reference: str
    state: PaymentState
    amount_cents: int
    received_cents: int
    refunded_cents: int


class BooksSide(Struct, kw_only=True):
    """What the books say of a discrepancy: one invoice."""

    number: str
    state: InvoiceState
    amount_cents: int
    paid_by: str | None


class BothSides(Struct, kw_only=True):
    """A discrepancy with the payments and the invoices that it is about; none: nobody has named them yet."""

    discrepancy: DiscrepancyView
    money: list[MoneySide]
    books: list[BooksSide]


class EventView(Struct, kw_only=True):
    """A stored event and what became of it; `outcome` None while it waits, `parked` when it failed too often."""

    place: int
    client: str
    source: str
    id: str
    type: str
    regie: str
    time: datetime | None
    received_at: datetime
    outcome: Outcome | None
    reason: str | None
    decided_at: datetime | None
    attempts: int
    parked: bool
    error: str | None
    trace: str | None
    data: Any = None
    """Only when one event is asked for."""


class OutcomeView(Struct, kw_only=True):
    """What became of an event, and, when it was about one, the payment as read."""

    outcome: Outcome
    reason: str
    payment: PaymentView | None = None


class Page(Struct, kw_only=True):
    """Some of a list, and where the next ones start; None: there are no more."""

    items: list[Any]
    next_cursor: str | None


class InvoicePage(Page, kw_only=True):
    """Some invoices, newest known first. `next_cursor` null: there are no more."""

    items: list[InvoiceView]


class DiscrepancyPage(Page, kw_only=True):
    """Some discrepancies, oldest first. `next_cursor` null: there are no more."""

    items: list[DiscrepancyView]


class AttemptView(Struct, kw_only=True, frozen=True):
    """One attempt to tell a portal: its status if it answered, else what went wrong."""

    at: datetime
    outcome: str
    status: int | None
    error: str | None
    milliseconds: int


class NotificationView(Struct, kw_only=True, frozen=True):
    """A notification, and every attempt to deliver it, oldest first. `id` is its place in the outbox."""

    id: int
    webhook_id: str
    regie: str
    type: str
    at: datetime
    data: dict[str, Any]
    state: str
    next_attempt_at: datetime | None
    attempts: list[AttemptView]


class NotificationPage(Page, kw_only=True):
    """Some notifications, newest first. `next_cursor` null: there are no more."""

    items: list[NotificationView]
