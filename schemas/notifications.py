"""What portals are told, and how it is named to them. Source: the contract's "Outgoing notifications"."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from schemas.records import DiscrepancyKind, DiscrepancyState, InvoiceState, Resolution


class NotificationType(StrEnum):
    """What a notification tells."""

    INVOICE_PAYABLE = "invoice.payable"
    INVOICE_IN_PAYMENT = "invoice.in_payment"
    INVOICE_PAID = "invoice.paid"
    INVOICE_REACTIVATED = "invoice.reactivated"
    INVOICE_WITHDRAWN = "invoice.withdrawn"
    DISCREPANCY_OPENED = "discrepancy.opened"
    DISCREPANCY_RESOLVED = "discrepancy.resolved"


class InvoiceChange(Struct, kw_only=True):
    """An invoice's new version, and why there is one. The highest `version` of an invoice is its truth."""

    regie: str
    number: str
    account: str | None
    """Of the family; null while only a payment named the invoice."""
    state: InvoiceState
    version: int
    """One more with each change of the invoice, of its amount too; each is told once."""
    payable_again_at: datetime | None
    """When its hold is over; only while it is in payment."""
    payment: str | None
    """The reference of the payment that the change was about."""
    reason: str


class InvoiceNotification(Struct, kw_only=True):
    """An invoice changed."""

    type: str
    timestamp: datetime
    """When it changed, by the database's clock."""
    data: InvoiceChange


class DiscrepancyChange(Struct, kw_only=True):
    """A discrepancy as read, without who closed it and when."""

    id: str
    kind: DiscrepancyKind
    opened_at: datetime
    payment: str | None
    """A payment's reference."""
    invoice: str | None
    """An invoice's number."""
    amount_cents: int
    detail: dict[str, str]
    state: DiscrepancyState
    regie: str
    resolution: Resolution | None
    """The latest one; of an open discrepancy: it was closed once, and more came."""
    comment: str | None


class DiscrepancyNotification(Struct, kw_only=True):
    """A discrepancy opened, or is done with."""

    type: str
    timestamp: datetime
    """When that happened, by the database's clock."""
    data: DiscrepancyChange


NOTIFICATIONS: dict[NotificationType, type[InvoiceNotification | DiscrepancyNotification]] = {
    kind: DiscrepancyNotification if kind.startswith("discrepancy.") else InvoiceNotification
    for kind in NotificationType
}
"""The shape of each type's body."""


def webhook_id(outbox_id: int, at: datetime) -> str:
    """A notification's id for its receiver.

    The time is in it, to the microsecond: a database that was restored counts on from an older number, and a receiver
    that remembers ids must not take its next notification for one it had.
    """
    return f"msg_{outbox_id}_{int(at.timestamp() * 1_000_000):x}"


def outbox_id(text: str) -> int | None:
    """The place in the outbox that a webhook-id, or the number alone, names; None when it names none."""
    number = text.removeprefix("msg_").partition("_")[0]
    return int(number) if number.isascii() and number.isdigit() and len(number) < len(str(2**63)) else None
