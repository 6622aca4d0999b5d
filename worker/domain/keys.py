"""What an event names: the rows that a worker locks, created if missing, before it reads or decides anything."""

from collections.abc import Collection, Iterator, Sequence
from datetime import date, timedelta
from hashlib import sha256

from msgspec import Struct

from schemas.events import DossierRestored, Event, EventType
from schemas.records import DiscrepancyKind
from schemas.reports import Report

SEPARATOR = "\x1f"
"""Cannot stand in a number or a reference: control characters are refused at the door."""


class Keys(Struct, kw_only=True):
    """Names within one régie. `looked_up` references are read if they exist, never created: nothing proves them."""

    payments: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    invoices: tuple[str, ...] = ()
    looked_up: tuple[str, ...] = ()
    discrepancies: tuple[str, ...] = ()


def discrepancy_id(regie: str, kind: DiscrepancyKind, *subject: str) -> str:
    """Name a discrepancy by what it is about, so that finding it again finds the same row."""
    return sha256(SEPARATOR.join((regie, kind, *subject)).encode()).hexdigest()[:32]


def gateway_reference_of(event: Event) -> str:
    """Give the gateway reference of a payment-started: by default the portal's own reference."""
    return event.data.gateway_reference or event.data.reference  # type: ignore[no-any-return]


def unproven_kind(report: Report) -> DiscrepancyKind:
    """Tell a test answer, whichever key signed it, from one that proves nothing."""
    return DiscrepancyKind.TEST_PAYMENT if report.test else DiscrepancyKind.UNVERIFIED_CALLBACK


def unproven_id(event: Event) -> str:
    """Name the one discrepancy that all unproven answers about a reference share on a day (UTC)."""
    return _unproven_on(event, unproven_kind(event.data), event.received_at.date())


def unasked_ids(event: Event) -> tuple[str, ...]:
    """Name what callbacks may have opened that came before their payment-started, a moment before an answer."""
    today = event.received_at.date()
    days = (today, today - timedelta(days=1))
    return tuple(_unproven_on(event, DiscrepancyKind.UNVERIFIED_CALLBACK, day) for day in days)


def _unproven_on(event: Event, kind: DiscrepancyKind, day: date) -> str:
    return discrepancy_id(event.regie, kind, event.data.gateway_reference, day.isoformat())


def keys_of(event: Event) -> Keys:
    """List what `event` names. A report that proves nothing creates no row but its discrepancy."""
    data = event.data
    match event.type:
        case EventType.PAYMENT_STARTED:
            numbers = tuple(line.number for line in data.invoices)
            return Keys(payments=(data.reference,), references=(gateway_reference_of(event),), invoices=numbers)
        case EventType.GATEWAY_REPORT:
            shown = (unproven_id(event), *(unasked_ids(event) if data.asked else ()))
            if data.verified:
                return Keys(references=(data.gateway_reference,), discrepancies=shown)
            return Keys(looked_up=(data.gateway_reference,), discrepancies=shown)
        case EventType.PAYMENT_REFUNDED | EventType.PAYMENT_REVERSED | EventType.PAYMENT_TIMED_OUT:
            return Keys(payments=(data.reference,))
        case EventType.DISCREPANCY_RESOLVED:
            return Keys(discrepancies=(data.id,))
        case EventType.DOSSIER_RESTORED:
            return _of_restored(data)
        case EventType.EVENTS_BLANKED:
            return Keys(discrepancies=(data.digest,))  # the name of none: it is decided alone, about no row
        case EventType.GATEWAY_CALLBACK:
            return Keys()
        case _:
            return Keys(invoices=(data.number,))


def with_followers(events: Sequence[Event], first: Collection[int]) -> set[int]:
    """Places of the events at `first`, and of each one after them that names something of theirs, however far."""
    found: set[int] = set()
    names: set[tuple[str, str, str]] = set()
    for event in events:
        mine = set(_names_of(event))
        if event.place in first or names & mine:
            found.add(event.place)
            names |= mine
    return found


def _names_of(event: Event) -> Iterator[tuple[str, str, str]]:
    keys = keys_of(event)
    kinds = {
        "payment": keys.payments,
        "reference": keys.references + keys.looked_up,
        "invoice": keys.invoices,
        "discrepancy": keys.discrepancies,
    }
    for kind, found in kinds.items():
        yield from ((event.regie, kind, name) for name in found)


def _of_restored(data: DossierRestored) -> Keys:
    """A restored dossier is known by the rows that were put right, or by what it is found by."""
    payments = {row.payment for row in data.rows if row.payment is not None}
    invoices = {row.invoice for row in data.rows if row.invoice is not None}
    return Keys(
        payments=tuple(sorted(payments | _known(data.reference))),
        invoices=tuple(sorted(invoices | _known(data.number))),
        references=tuple(_known(data.gateway_reference)),
        discrepancies=tuple(_known(data.id)),
    )


def _known(name: str | None) -> set[str]:
    return set() if name is None else {name}
