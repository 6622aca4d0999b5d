"""What is personal in a fact, when its time is over, and what is left of it then.

Facts about money stay: numbers, references, amounts, times. Fields about people go. Where `decide` compares such a
field with another (an invoice issued again, with the same label?), what takes its place is equal where the values were,
so that the same facts give the same books. What takes its place is numbered within a dossier and made from nothing: no
key and no dictionary leads from it to what was there.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from enum import StrEnum
from itertools import count
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from schemas.decisions import Dossier
from schemas.events import EventType, GatewayCallback
from schemas.records import Discrepancy, DiscrepancyState, Invoice, InvoiceState
from worker.domain import seal

FACTS: Final = "lettrage.facts.v1"
BLANKING: Final = "lettrage.blanking.v1"

_BLANK = re.compile(r"\[blanked ([0-9]+)\]|https://blanked\.invalid/([0-9]+)")
"""What stands for a value that is gone, or for an address."""

Stand = Callable[[str | None], str | None]
"""Gives what stands for a value; None stays None."""


class Stands(NamedTuple):
    """What stands for a personal text, and for a personal address."""

    text: Stand
    address: Stand


def shown(value: str | None) -> str | None:
    """A personal value as it is read: None where it is gone."""
    return None if value is None or _BLANK.fullmatch(value) else value


class Blanks:
    """What stands for the values of one dossier: the same for the same value, and itself for what is gone already."""

    def __init__(self, values: Iterable[str | None]) -> None:
        self._stands: dict[str, int] = {}
        taken = {int(found[1] or found[2]) for found in map(_found, values) if found}
        self._free = (number for number in count(1) if number not in taken)  # small, whatever a portal says

    def text(self, value: str | None) -> str | None:
        """What stands for a text."""
        return value if shown(value) is None else f"[blanked {self._number(str(value))}]"

    def address(self, value: str | None) -> str | None:
        """What stands for an address: one that is never anybody's."""
        return value if shown(value) is None else f"https://blanked.invalid/{self._number(str(value))}"

    def _number(self, value: str) -> int:
        if value not in self._stands:
            self._stands[value] = next(self._free)
        return self._stands[value]


def _found(value: str | None) -> re.Match[str] | None:
    return None if value is None else _BLANK.fullmatch(value)


def _issued(data: Any, stands: Stands) -> Any:  # noqa: ANN401 (data of an event)
    account, label = stands.text(data.account), stands.text(data.label)
    return replace(data, account=account, label=label, document_url=stands.address(data.document_url))


def _started(data: Any, stands: Stands) -> Any:  # noqa: ANN401
    return replace(data, invoices=[replace(line, account=stands.text(line.account)) for line in data.invoices])


def _reasoned(data: Any, _: Stands) -> Any:  # noqa: ANN401
    """Why a person did it, in their words; nothing is ever compared with it."""
    return replace(data, reason=None)


def _resolved(data: Any, stands: Stands) -> Any:  # noqa: ANN401
    return replace(data, comment=stands.text(data.comment), by=None)


def _restored(data: Any, stands: Stands) -> Any:  # noqa: ANN401
    return replace(data, comment=stands.text(data.comment), by=stands.text(data.by))


_PERSONAL: Final[dict[EventType, Callable[[Any, Stands], Any]]] = {
    EventType.INVOICE_ISSUED: _issued,
    EventType.INVOICE_WITHDRAWN: _reasoned,
    EventType.PAYMENT_STARTED: _started,
    EventType.PAYMENT_REFUNDED: _reasoned,
    EventType.PAYMENT_REVERSED: _reasoned,
    EventType.DISCREPANCY_RESOLVED: _resolved,
    EventType.DOSSIER_RESTORED: _restored,
}
"""Types that say something about people, and what is left of each when it is gone."""

PERSONAL_TYPES: Final = frozenset(_PERSONAL)


def personal_values(data: Struct) -> Iterator[str | None]:
    """Every value of a fact that something may stand for."""
    for name in ("account", "label", "document_url", "comment", "by"):
        yield getattr(data, name, None)
    for line in getattr(data, "invoices", ()):
        yield line.account


def blanked(kind: EventType, data: Any, blanks: Blanks) -> Any:  # noqa: ANN401 (data of an event)
    """What is left of a fact without what it says about people; the same again if it was blanked before."""
    without = _PERSONAL.get(kind)
    return data if without is None else without(data, Stands(blanks.text, blanks.address))


def blanked_callback(data: GatewayCallback) -> GatewayCallback:
    """What is left of a callback: that there was one. What it proved is in its report."""
    return GatewayCallback(regie=data.regie, method=data.method)


def is_blank(kind: EventType, data: Any) -> bool:  # noqa: ANN401 (data of an event)
    """Tell whether there is nothing in a fact that a blanking would take: it is what one leaves."""
    if kind is EventType.GATEWAY_CALLBACK:
        return bool(data == blanked_callback(data))
    return bool(data == blanked(kind, data, Blanks(())))


def _nothing(value: str | None) -> str | None:
    """In the place of any value, the same: that there was one is a fact."""
    return None if value is None else ""


_NOTHING: Final = Stands(_nothing, _nothing)
_canonical: Final = msgspec.json.Encoder(order="deterministic").encode


def facts_digest(kind: EventType, data: Any) -> bytes | None:  # noqa: ANN401 (data of an event)
    """Digest of what stays of a fact when its time is over, the same before and after; None: nothing in it may go."""
    without = _PERSONAL.get(kind)
    if without is None:
        return None
    return seal.digest(FACTS, [kind.value, _canonical(without(data, _NOTHING))])


class Blanked(NamedTuple):
    """What is recorded of one event whose time is over. `rest`: digest of its type and of what is left of its data."""

    place: int
    raw: bytes | None
    """SHA-256 of the raw bytes that it had."""
    rest: bytes


def blanking_digest(events: Sequence[Blanked]) -> str:
    """What the event that records a blanking says of all of them, by place, in hexadecimal digits."""
    fields: list[seal.Field] = [len(events), *(field for each in sorted(events) for field in each)]
    return seal.digest(BLANKING, fields).hex()


class Horizon(NamedTuple):
    """What happened before is over. `day` is that of Paris, by which families see their invoices."""

    time: datetime
    day: date


class Kept(StrEnum):
    """Why a dossier is not blanked, though one of its facts is old enough."""

    RECENT = "recent"
    """Something happened to it since, or a family still sees one of its invoices in Historique."""
    WAITING = "waiting"
    """A fact about it waits to be applied, or is parked."""
    HELD = "held"
    """A hold is on."""
    OWED = "owed"
    """An invoice of it is still to be paid."""
    UNEXPLAINED = "unexplained"
    """A discrepancy of it is open."""


class Dated(NamedTuple):
    """A fact of a dossier: when it was received, and whether it has its outcome."""

    received_at: datetime
    applied: bool


_OWED: Final = frozenset({InvoiceState.PAYABLE, InvoiceState.IN_PAYMENT})


def why_kept(dossier: Dossier, facts: Sequence[Dated], horizon: Horizon) -> Kept | None:
    """Tell what keeps a dossier whole; None: its time is over, and it is done with."""
    invoices = dossier.invoices.values()
    if any(not fact.applied for fact in facts):
        return Kept.WAITING
    if any(payment.state is not None and not payment.hold_over for payment in dossier.payments.values()):
        return Kept.HELD
    if any(invoice.state in _OWED for invoice in invoices):
        return Kept.OWED
    if any(row.state is DiscrepancyState.OPEN for row in dossier.discrepancies.values()):
        return Kept.UNEXPLAINED
    seen = (invoice.issued_on for invoice in invoices if invoice.issued_on is not None)
    if any(day >= horizon.day for day in seen) or any(fact.received_at >= horizon.time for fact in facts):
        return Kept.RECENT
    return None


def blanked_invoice(row: Invoice, blanks: Blanks) -> Invoice:
    """An invoice's row as its blanked facts make it."""
    account, label = blanks.text(row.account), blanks.text(row.label)
    return replace(row, account=account, label=label, document_url=blanks.address(row.document_url))


def blanked_discrepancy(row: Discrepancy, blanks: Blanks) -> Discrepancy:
    """A discrepancy's row as its blanked facts make it."""
    return replace(row, comment=blanks.text(row.comment))
