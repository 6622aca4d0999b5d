"""The facts that come in: CloudEvents types and the shape of their data.

Source: the contract's event table. Every struct refuses unknown fields, so that a misspelt one is told, not lost, and
leaves out defaults, so that a field left out and one said to be null are the same content.
"""

from datetime import date, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.json import Encoder

from schemas.reports import Report

MAX_CENTS = 99_999_999_999
"""Just under a billion euros: far above any invoice, far below what overflows BIGINT when summed."""
MAX_LINES = 100
"""Invoices in one payment; a family's basket has a handful."""
MAX_CALLBACK_BYTES = 65_536
"""A gateway's notification has a few kilobytes; the contract answers 413 above this."""
MAX_CALLBACK_HEADERS = 100
"""More headers than any gateway sends."""

Cents = Annotated[int, Meta(ge=1, le=MAX_CENTS)]
CentsOrZero = Annotated[int, Meta(ge=0, le=MAX_CENTS)]
MUST = "must"
"""Where a pattern says what it asks for, so that whoever does not meet it need not read the pattern."""
NO_CONTROLS = Meta(pattern=r"^[^\x00-\x1f\x7f]+\Z", extra={MUST: "have no line break or other control character"})
NO_NUL = Meta(pattern=r"^[^\x00]*\Z", extra={MUST: "have no NUL character"})
Name = Annotated[str, Meta(min_length=1, max_length=100), NO_CONTROLS]
Text = Annotated[str, Meta(max_length=500), NO_NUL]
RegieCode = Annotated[
    str, Meta(pattern=r"^[a-z0-9-]{1,40}\Z", extra={MUST: "be the code of a régie, 1 to 40 of a-z, 0-9 and -"})
]
ResolutionName = Annotated[
    str,
    Meta(
        pattern=r"^(refunded|credited|written_off|explained)\Z",
        extra={MUST: "be one of refunded, credited, written_off, explained"},
    ),
]
"""One of `schemas.records.Resolution`."""
Comment = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=500,
        pattern=r"^[^\x00]*[^\x00\s][^\x00]*\Z",
        extra={MUST: "say something, without NUL characters"},
    ),
]
"""A person's reason, for the next one who looks: never blank."""
Means = Annotated[str, Meta(min_length=1, max_length=40), NO_CONTROLS]
CallbackBody = Annotated[
    str,
    Meta(
        extra_json_schema={
            "contentEncoding": "base64",
            "maxLength": -(-MAX_CALLBACK_BYTES // 3) * 4,
            "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
        }
    ),
]
"""Only told here: whoever takes a callback decodes it, and counts the bytes."""
CallbackHeaders = Annotated[
    dict[str, str],
    Meta(
        extra_json_schema={
            "maxProperties": MAX_CALLBACK_HEADERS,
            "propertyNames": {"pattern": r"^[^\x00]*$"},
            "patternProperties": {"": {"type": "string", "pattern": r"^[^\x00]*$"}},
        }
    ),
]
"""Only told here: whoever takes a callback counts them."""


class EventType(StrEnum):
    """Every type of event that Lettrage stores."""

    INVOICE_ISSUED = "fr.lettrage.invoice.issued.v1"
    INVOICE_WITHDRAWN = "fr.lettrage.invoice.withdrawn.v1"
    INVOICE_SETTLED = "fr.lettrage.invoice.settled.v1"
    INVOICE_UNSETTLED = "fr.lettrage.invoice.unsettled.v1"
    PAYMENT_STARTED = "fr.lettrage.payment.started.v1"
    GATEWAY_CALLBACK = "fr.lettrage.gateway.callback.v1"
    PAYMENT_REFUNDED = "fr.lettrage.payment.refunded.v1"
    PAYMENT_REVERSED = "fr.lettrage.payment.reversed.v1"
    GATEWAY_REPORT = "fr.lettrage.gateway.report.v1"
    PAYMENT_TIMED_OUT = "fr.lettrage.payment.timed_out.v1"
    DISCREPANCY_RESOLVED = "fr.lettrage.discrepancy.resolved.v1"
    DOSSIER_RESTORED = "fr.lettrage.dossier.restored.v1"
    EVENTS_BLANKED = "fr.lettrage.events.blanked.v1"


OURS = frozenset(
    {
        EventType.GATEWAY_REPORT,
        EventType.PAYMENT_TIMED_OUT,
        EventType.DISCREPANCY_RESOLVED,
        EventType.DOSSIER_RESTORED,
        EventType.EVENTS_BLANKED,
    }
)
"""Types that only Lettrage itself writes; 422 from outside."""


class Queue(StrEnum):
    """What a Dramatiq message names; an actor drains it."""

    PAYMENT_STARTED = "payment-started"
    GATEWAY_CALLBACK = "gateway-callback"
    PAYMENT_TIMEOUT = "payment-timeout"
    INVOICE_CHANGED = "invoice-changed"
    PAYMENT_CORRECTED = "payment-corrected"
    GATEWAY_ASK = "gateway-ask"
    NOTIFICATION = "notification"


QUEUES: dict[EventType, Queue] = {
    EventType.INVOICE_ISSUED: Queue.INVOICE_CHANGED,
    EventType.INVOICE_WITHDRAWN: Queue.INVOICE_CHANGED,
    EventType.INVOICE_SETTLED: Queue.INVOICE_CHANGED,
    EventType.INVOICE_UNSETTLED: Queue.INVOICE_CHANGED,
    EventType.PAYMENT_STARTED: Queue.PAYMENT_STARTED,
    EventType.GATEWAY_CALLBACK: Queue.GATEWAY_CALLBACK,
    EventType.PAYMENT_REFUNDED: Queue.PAYMENT_CORRECTED,
    EventType.PAYMENT_REVERSED: Queue.PAYMENT_CORRECTED,
    EventType.GATEWAY_REPORT: Queue.PAYMENT_CORRECTED,
    EventType.PAYMENT_TIMED_OUT: Queue.PAYMENT_TIMEOUT,
    EventType.DISCREPANCY_RESOLVED: Queue.PAYMENT_CORRECTED,
    EventType.DOSSIER_RESTORED: Queue.PAYMENT_CORRECTED,
    EventType.EVENTS_BLANKED: Queue.PAYMENT_CORRECTED,
}


class InvoiceIssued(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A family owes this; issued again, the latest stands."""

    regie: RegieCode
    number: Name
    account: Name
    """Of the family that owes it."""
    amount_cents: CentsOrZero
    issued_on: date | None = None
    label: Text | None = None
    document_url: (
        Annotated[
            str,
            Meta(
                max_length=2000,
                pattern=r"^https?://[^\x00-\x20]+\Z",
                extra={MUST: "be an address that begins with https:// or http://, without spaces"},
            ),
        ]
        | None
    ) = None
    means: Means | None = None
    """`direct_debit`: never payable online."""


class InvoiceWithdrawn(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The invoice is no longer owed."""

    regie: RegieCode
    number: Name
    reason: Text | None = None


class InvoiceSettled(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Paid elsewhere (counter, cheque, transfer)."""

    regie: RegieCode
    number: Name
    amount_cents: Cents
    means: Means
    fact_id: Name | None = None
    """The same one counts once; left out: the event's id."""


class InvoiceUnsettled(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A settlement taken back (a bounced cheque)."""

    regie: RegieCode
    number: Name
    amount_cents: Cents
    means: Means
    fact_id: Name | None = None
    """The same one counts once; left out: the event's id."""


class StartedLine(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One invoice of a payment."""

    number: Name
    amount_cents: Cents
    account: Name | None = None


class PaymentStarted(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A family leaves for the gateway. The amounts of its invoices sum to its own, and each is named once."""

    regie: RegieCode
    reference: Name
    amount_cents: Cents
    invoices: Annotated[list[StartedLine], Meta(min_length=1, max_length=MAX_LINES)]
    gateway_reference: Name | None = None
    """What the gateway calls the payment; left out: `reference`."""


class GatewayCallback(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A callback as received, by us or by the portal. `body` is base64."""

    regie: RegieCode
    method: Annotated[str, Meta(pattern=r"^(GET|POST)\Z", extra={MUST: "be GET or POST"})]
    query: Annotated[str, Meta(max_length=MAX_CALLBACK_BYTES), NO_NUL] = ""
    """As it stood in the address, after the `?`."""
    body: CallbackBody = ""
    headers: CallbackHeaders | None = None
    """Those that prove something: signatures, above all."""


class PaymentRefunded(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Money given back to the family."""

    regie: RegieCode
    reference: Name
    amount_cents: Cents
    reason: Text | None = None
    fact_id: Name | None = None
    """The same one counts once; left out: the event's id."""


class PaymentReversed(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Money taken back by the bank."""

    regie: RegieCode
    reference: Name
    amount_cents: Cents
    reason: Text | None = None
    fact_id: Name | None = None
    """The same one counts once; left out: the event's id."""


class PaymentTimedOut(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Ours: the hold's end, written by the sweep."""

    regie: RegieCode
    reference: Name
    due: Annotated[datetime, Meta(tz=True)]


class DiscrepancyResolved(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Ours: a person closed a discrepancy, for the amount that they saw."""

    regie: RegieCode
    id: Name
    resolution: ResolutionName
    amount_cents: CentsOrZero
    comment: Comment
    by: Name | None = None
    """The client's name in the configuration, or who sat at the command line."""


class RestoredRow(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An invoice or a payment that was put right: the state in which it was found, and an invoice's version since."""

    invoice: Name | None = None
    payment: Name | None = None
    was: str | None = None
    version: int = 0


class DossierRestored(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Ours: a replay put rows right that said something else than their facts.

    It is found by one of the names that it has: `number`, `reference`, `gateway_reference` or a discrepancy's `id`.
    """

    regie: RegieCode
    replay: int
    by: Name
    comment: Comment
    rows: list[RestoredRow]
    number: Name | None = None
    reference: Name | None = None
    gateway_reference: Name | None = None
    id: Name | None = None


class EventsBlanked(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Ours: the time of some events of this database is over: what was raw or personal in them is gone, for good.

    `digest` proves what is left of them: see docs/journal.md.
    """

    regie: RegieCode
    what: Annotated[str, Meta(pattern=r"^(raw|personal)\Z")]
    """`raw`: gateways' own words; `personal`: what families' dossiers say about people."""
    before: Annotated[datetime, Meta(tz=True)]
    """What was older has gone."""
    events: Annotated[int, Meta(ge=1)]
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


DATA: dict[EventType, type[Struct]] = {
    EventType.INVOICE_ISSUED: InvoiceIssued,
    EventType.INVOICE_WITHDRAWN: InvoiceWithdrawn,
    EventType.INVOICE_SETTLED: InvoiceSettled,
    EventType.INVOICE_UNSETTLED: InvoiceUnsettled,
    EventType.PAYMENT_STARTED: PaymentStarted,
    EventType.GATEWAY_CALLBACK: GatewayCallback,
    EventType.PAYMENT_REFUNDED: PaymentRefunded,
    EventType.PAYMENT_REVERSED: PaymentReversed,
    EventType.GATEWAY_REPORT: Report,
    EventType.PAYMENT_TIMED_OUT: PaymentTimedOut,
    EventType.DISCREPANCY_RESOLVED: DiscrepancyResolved,
    EventType.DOSSIER_RESTORED: DossierRestored,
    EventType.EVENTS_BLANKED: EventsBlanked,
}
"""The shape of each type's data, in memory and as JSON."""


_canonical = Encoder(order="deterministic").encode


def digest_of(kind: EventType, data: Struct) -> bytes:
    """What tells the same content from other content: the type and the data, not their spelling, time or trace."""
    return sha256(kind.encode() + b"\n" + _canonical(data)).digest()


class Event(Struct, kw_only=True):
    """A stored fact. `place` is its position in the inbox; `data` one of the structs above (or a Report)."""

    place: int
    client: str
    source: str
    id: str
    type: EventType
    regie: str
    received_at: datetime
    data: Any
    time: datetime | None = None
    attempts: int = 0
    waited: bool = False
    """Somebody holds a request open for its outcome."""
    trace: str | None = None
    reported: bool = False
    """A callback whose report is kept already, or whose words are gone: an archive brought it. It is not read again."""


class NewEvent(Struct, kw_only=True):
    """An event on its way in. `data` is the validated struct; `digest` is of type and data alone."""

    client: str
    source: str
    id: str
    type: EventType
    regie: str
    data: Any
    digest: bytes
    time: datetime | None = None
    received_at: datetime | None = None
    """None: now, by the database's clock. A report was received when its callback was."""
    raw: bytes | None = None
    facts: bytes | None = None
    """Digest of what stays when personal fields go (`worker.domain.retention`); None: nothing in it is personal."""
    blanked: bytes | None = None
    """Of an event that an archive kept blanked: the digest that it had when it was whole."""
    subject: str | None = None
    """What others must wait for: the gateway reference of a callback or report, the number of an invoice's fact."""
    trace: str | None = None
    waited: bool = False


class Receipt(Struct, kw_only=True):
    """What became of a NewEvent: `accepted`, `duplicate` or `conflict` (the same key with other content)."""

    place: int
    status: str


ASKS = "/asks"
"""Source of the report of a question that no callback waited for."""


def report_key(client: str, source: str, event_id: str) -> tuple[str, str]:
    """Source and id of the report that speaks for a callback: made of the callback's own, which an archive keeps.

    The callback's place would not do: it is another one in every database.
    """
    return (f"{source}#{client}" if client else source), event_id
