"""A person closes a discrepancy: found, made an event of ours, stored, and told what became of it.

The event's id is made of what was asked, of what was seen, and of when the discrepancy opened: a second click is the
same event. Who asked is in its data; the row of the discrepancy says how it stands, its events how it came to that.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from schemas.decisions import Outcome
from schemas.events import DiscrepancyResolved, EventType, NewEvent, Receipt, digest_of
from schemas.records import DiscrepancyState, Resolution
from schemas.views import BooksSide, BothSides, DiscrepancyView, MoneySide, OutcomeView
from worker.domain.keys import SEPARATOR
from worker.domain.record import GIVES_BACK
from worker.domain.retention import shown as still_known
from worker.store.sql import load
from worker.store.views import Views

QUERIES: Final = load("resolutions.sql")
CLIENT: Final = "lettrage"
"""The client of the events that we write; nobody else may have that name."""

_detail_of = msgspec.json.Decoder(dict[str, str])
_money_of = msgspec.json.Decoder(list[MoneySide])
_books_of = msgspec.json.Decoder(list[BooksSide])
_data_of = msgspec.json.Decoder(DiscrepancyResolved)


class Sought(NamedTuple):
    """Which discrepancies are wanted; what is None does not matter."""

    ids: Sequence[str] | None = None
    regie: str | None = None
    kind: str | None = None
    state: str | None = None
    payment: str | None = None
    invoice: str | None = None
    older_than: timedelta | None = None


class Wanted(NamedTuple):
    """What a person asks for. `amount_cents`: what they saw; None: whatever it amounts to now."""

    resolution: Resolution
    comment: str
    by: str
    amount_cents: int | None = None


class Refusal(StrEnum):
    """Why a discrepancy was not closed, or not wholly."""

    UNKNOWN = "discrepancy_unknown"
    NOT_OPEN = "discrepancy_not_open"
    NOT_APPLICABLE = "resolution_not_applicable"
    AMOUNT_CHANGED = "amount_changed"
    UNSTORABLE = "unstorable"


class Resolved(NamedTuple):
    """What became of a resolution. Without `outcome` and `refusal` it is stored, and nobody has applied it yet."""

    discrepancy: DiscrepancyView
    event_id: str | None = None
    status: str | None = None
    """Of the event: `accepted`, or `duplicate` when the same was asked before."""
    outcome: OutcomeView | None = None
    refusal: Refusal | None = None


class Desk(NamedTuple):
    """What resolving needs: reading, keeping, and waiting for an outcome at most `seconds`."""

    views: Views
    record: Callable[[Sequence[NewEvent]], Awaitable[Sequence[Receipt | None]]]
    outcome: Callable[[int, float], Awaitable[OutcomeView | None]]
    seconds: float


async def find(views: Views, sought: Sought, limit: int) -> list[BothSides]:
    """Discrepancies with both their sides, oldest first."""
    rows = await views.rows(QUERIES.discrepancies, *sought, limit)
    return [_both_sides(dict(row)) for row in rows]


async def find_one(views: Views, discrepancy_id: str) -> DiscrepancyView | None:
    """One discrepancy as read."""
    found = await find(views, Sought(ids=[discrepancy_id]), 1)
    return found[0].discrepancy if found else None


def foreseen(shown: DiscrepancyView, wanted: Wanted) -> Refusal | None:
    """What keeps a discrepancy, as it was just read, from being resolved so; who applies the event looks again."""
    if shown.state is not DiscrepancyState.OPEN:
        return Refusal.NOT_OPEN
    if wanted.resolution is Resolution.CREDITED and shown.kind not in GIVES_BACK:
        return Refusal.NOT_APPLICABLE
    if wanted.amount_cents not in (None, shown.amount_cents):
        return Refusal.AMOUNT_CHANGED
    return None


async def resolve(shown: DiscrepancyView, wanted: Wanted, desk: Desk) -> Resolved:
    """Close a discrepancy that was just read; asking for the same again gives the same answer.

    Raises whatever reading and keeping do.
    """
    refusal = foreseen(shown, wanted)
    if refusal is Refusal.NOT_OPEN:
        return await _asked_before(shown, wanted, desk)
    if refusal is not None:
        return Resolved(shown, refusal=refusal)
    event = event_of(shown, wanted)
    (receipt,) = await desk.record([event])
    if receipt is None:
        return Resolved(shown, refusal=Refusal.UNSTORABLE)
    return await _told(shown, event.id, receipt, desk)


def event_of(shown: DiscrepancyView, wanted: Wanted) -> NewEvent:
    """The fact that a person closed what they saw."""
    cents = shown.amount_cents if wanted.amount_cents is None else wanted.amount_cents
    data = DiscrepancyResolved(
        regie=shown.regie,
        id=shown.id,
        resolution=wanted.resolution.value,
        amount_cents=cents,
        comment=wanted.comment,
        by=wanted.by,
    )
    said = SEPARATOR.join((wanted.resolution, str(cents), wanted.by, wanted.comment))
    return NewEvent(
        client=CLIENT,
        source=_source(shown.id),
        id=f"{_opening(shown.opened_at)}-{sha256(said.encode()).hexdigest()[:32]}",
        type=EventType.DISCREPANCY_RESOLVED,
        regie=shown.regie,
        data=data,
        digest=digest_of(EventType.DISCREPANCY_RESOLVED, data),
        waited=True,
    )


async def _asked_before(shown: DiscrepancyView, wanted: Wanted, desk: Desk) -> Resolved:
    """The answer to what closed it, when that is what is asked for again; else it is not open."""
    for row in await desk.views.rows(QUERIES.resolutions, CLIENT, _source(shown.id)):
        data = _data_of.decode(row["data"])
        if row["id"].startswith(_opening(shown.opened_at)) and _is_same(data, wanted):
            return await _told(shown, row["id"], Receipt(place=row["place"], status="duplicate"), desk)
    return Resolved(shown, refusal=Refusal.NOT_OPEN)


def _is_same(data: DiscrepancyResolved, wanted: Wanted) -> bool:
    return (data.resolution, data.comment, data.by) == (
        wanted.resolution,
        wanted.comment,
        wanted.by,
    ) and wanted.amount_cents in (None, data.amount_cents)


async def _told(shown: DiscrepancyView, event_id: str, receipt: Receipt, desk: Desk) -> Resolved:
    outcome = await desk.outcome(receipt.place, desk.seconds)
    if outcome is None:
        return Resolved(shown, event_id, receipt.status)
    now = await find_one(desk.views, shown.id) or shown
    return Resolved(now, event_id, receipt.status, outcome, _refusal(outcome, now))


def _refusal(outcome: OutcomeView, now: DiscrepancyView) -> Refusal | None:
    if outcome.outcome != Outcome.APPLIED:
        return Refusal(outcome.reason)
    return Refusal.AMOUNT_CHANGED if now.state is DiscrepancyState.OPEN else None


def _source(discrepancy_id: str) -> str:
    """The source of a discrepancy's resolutions, by which they are found; the queries know it too."""
    return f"/discrepancies/{discrepancy_id}"


def _opening(opened_at: datetime) -> str:
    """What tells one opening of a discrepancy from the next."""
    return opened_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def _both_sides(row: dict[str, object]) -> BothSides:
    money, books = row.pop("money"), row.pop("books")
    comment = row["comment"]
    readable = {"detail": _detail_of.decode(str(row["detail"])), "comment": comment and still_known(str(comment))}
    values = {**row, **readable}
    return BothSides(
        discrepancy=msgspec.convert(values, DiscrepancyView),
        money=_money_of.decode(str(money or "[]")),
        books=_books_of.decode(str(books or "[]")),
    )
