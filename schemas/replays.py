"""Replays: what is asked for, how far one is, what it changed or would change."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct, field

from schemas.decisions import Outcome
from schemas.events import NO_NUL, Comment, EventType, RegieCode


class ReplayState(StrEnum):
    """How far a replay is."""

    RUNNING = "running"
    DONE = "done"


MAX_IDS = 1000
"""Ids in one filter: more are better said by time, régie or type."""
EventId = Annotated[str, Meta(min_length=1, max_length=1000), NO_NUL]


class Filter(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which events to replay: those that meet all that is said. Nothing said: all that were applied."""

    ids: Annotated[list[EventId], Meta(min_length=1, max_length=MAX_IDS)] | None = None
    since: Annotated[datetime, Meta(tz=True)] | None = None
    """Received at or after."""
    until: Annotated[datetime, Meta(tz=True)] | None = None
    """Received before."""
    regie: RegieCode | None = None
    type: EventType | None = None
    outcome: Outcome | None = None
    parked: bool = False
    """Only events that failed too often; without it, only events that have an outcome."""


class ReplayAsked(Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of a request for a replay."""

    filter: Filter
    dry_run: bool = False
    comment: Comment | None = None
    """Why; wanted unless it is a dry run."""


class Change(Struct, kw_only=True, frozen=True):
    """One row that was, or would be, put right. Of an invoice, else of a payment, a discrepancy, a reference."""

    regie: str
    invoice: str | None = None
    payment: str | None = None
    discrepancy: str | None = None
    gateway_reference: str | None = None
    """Of charges that no payment owns."""
    before: str | None = field(name="from", default=None)
    after: str | None = field(name="to", default=None)
    """States; the same when something else differs."""
    reason: str
    """Why it is in its new state; never empty."""
    fields: list[str] = field(default_factory=list)
    """What differs, by name: values may be personal data."""


class ReplayView(Struct, kw_only=True):
    """A replay as read."""

    id: int
    state: ReplayState
    filter: Filter
    dry_run: bool
    comment: str | None
    client: str
    created_at: datetime
    finished_at: datetime | None
    matched: int | None
    """Events; None while they are not counted."""
    replayed: int
    """Events whose dossiers are recomputed, so far; of parked ones: that were tried again."""
    changed: int
    failed: int
    """Dossiers that could not be recomputed; the log says why."""
    outcomes: dict[str, int]
    """Of parked events: how many were applied, refused, ignored, parked again, or still wait."""
    changes: list[Change] = field(default_factory=list)
    """The first thousand."""
