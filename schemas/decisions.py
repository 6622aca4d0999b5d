"""What `decide` reads and answers."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from schemas.events import Event
from schemas.records import Adjustment, Ask, Charge, Discrepancy, GatewayReference, Invoice, Payment


class Outcome(StrEnum):
    """What became of an event: `applied` (it said something new), `refused` (may not be), `ignored` (known already)."""

    APPLIED = "applied"
    REFUSED = "refused"
    IGNORED = "ignored"


class Dossier(Struct, kw_only=True):
    """Invoices and payments that share money, whole: every payment that ever named one of its invoices."""

    regie: str
    invoices: dict[int, Invoice] = field(default_factory=dict)
    payments: dict[int, Payment] = field(default_factory=dict)
    references: dict[int, GatewayReference] = field(default_factory=dict)
    charges: list[Charge] = field(default_factory=list)
    adjustments: list[Adjustment] = field(default_factory=list)
    discrepancies: dict[str, Discrepancy] = field(default_factory=dict)


class JournalEntry(Struct, kw_only=True, frozen=True):
    """One change of state of one invoice or payment, and the event that caused it."""

    place: int
    regie: str
    at: datetime
    reason: str
    before: str | None
    after: str
    invoice_id: int | None = None
    payment_id: int | None = None


class Effect(Struct, kw_only=True, frozen=True):
    """Something the régie's portal is to be told; `data` is the notification's own.

    `place` is that of the event that caused it; None until there is one: a replay keeps its event once it knows what
    differs.
    """

    place: int | None
    regie: str
    type: str
    at: datetime
    data: dict[str, Any]


class Applied(Struct, kw_only=True, frozen=True):
    """The named outcome of one event."""

    place: int
    outcome: Outcome
    reason: str


class Decision(Struct, kw_only=True):
    """The difference that events make. Changed records are whole; keys are the dossier's."""

    outcomes: list[Applied] = field(default_factory=list)
    journal: list[JournalEntry] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    invoices: dict[int, Invoice] = field(default_factory=dict)
    payments: dict[int, Payment] = field(default_factory=dict)
    references: dict[int, GatewayReference] = field(default_factory=dict)
    charges: list[Charge] = field(default_factory=list)
    adjustments: list[Adjustment] = field(default_factory=list)
    discrepancies: dict[str, Discrepancy] = field(default_factory=dict)
    asks: dict[int, Ask] = field(default_factory=dict)
    lateness_seconds: list[float] = field(default_factory=list)
    """One per invoice that a deadline made payable again: how long after it that was decided."""


class Done(Struct, kw_only=True):
    """What one transaction did: events with their outcomes, and how late it ended which régie's holds (seconds)."""

    decided_at: datetime | None = None
    applied: list[tuple[Event, Applied]] = field(default_factory=list)
    lateness: list[tuple[str, float]] = field(default_factory=list)
