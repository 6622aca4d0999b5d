"""Events as they were stored, for an archive: all of them, in an order in which another installation can take them."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from schemas.events import EventType, report_key
from worker.store.sql import load
from worker.store.views import MAX_PLACE, Views

QUERIES: Final = load("archive.sql")

PAGE: Final = 500
"""Events read at once: some megabytes when each is a gateway's largest request."""
HELD_BACK: Final = 10_000
"""Callbacks that wait for their report: it follows within seconds, or it was printed before."""


class ArchivedEvent(Struct, kw_only=True):
    """A stored event as a CloudEvent; what CloudEvents has no name for is in extension attributes.

    `recordedtime` is CloudEvents' own extension: when the event was received. Sent back with `lettrageclient` and
    `lettrageraw`, it is the same event again. The other extensions are for who reads; what became of an event
    is decided anew by who takes it.
    """

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    time: datetime | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    recordedtime: datetime
    lettrageclient: str
    """Who sent it; empty: a gateway."""
    lettrageplace: str
    """Text: CloudEvents' whole numbers end at 2^31."""
    lettrageoutcome: str | UnsetType = UNSET
    lettragereason: str | UnsetType = UNSET
    lettragedecided: datetime | UnsetType = UNSET
    lettrageattempts: int | UnsetType = UNSET
    lettrageparked: bool | UnsetType = UNSET
    lettrageerror: str | UnsetType = UNSET
    data: msgspec.Raw
    lettrageraw: bytes | UnsetType = UNSET
    """A gateway's request, byte for byte."""
    lettrageblanked: bytes | UnsetType = UNSET
    """Of an event whose time is over: the digest that it had while it was whole, by which it is known again."""

    @property
    def is_read(self) -> bool:
        """Whether it is a callback that was read: its report says what it said."""
        return self.type == EventType.GATEWAY_CALLBACK and self.lettrageoutcome is not UNSET


async def archived(
    views: Views,
    *,
    regie: str | None = None,
    event_type: str | None = None,
    parked: bool = False,
    between: tuple[int, int] | None = None,
) -> AsyncIterator[ArchivedEvent]:
    """The events of a régie, of a type, or that are parked, whose place is in `between`, its first excluded.

    They come in the order received, which is that of their application but for those that were tried again. A callback
    comes after the report that was made of it, so that whoever takes both need not read it again.
    """
    held: OrderedDict[tuple[str, str], ArchivedEvent] = OrderedDict()
    async for event in _in_order(views, regie, event_type, between or (0, MAX_PLACE), parked=parked):
        if event.is_read and event_type is None:
            held[report_key(event.lettrageclient, event.source, event.id)] = event
            if len(held) > HELD_BACK:
                yield held.popitem(last=False)[1]
            continue
        yield event
        if event.type == EventType.GATEWAY_REPORT and (event.source, event.id) in held:
            yield held.pop((event.source, event.id))
    for event in held.values():
        yield event


async def _in_order(
    views: Views, regie: str | None, event_type: str | None, between: tuple[int, int], *, parked: bool
) -> AsyncIterator[ArchivedEvent]:
    after, last = between
    while True:
        rows = await views.rows(QUERIES.archive, regie, event_type, parked, after, last, PAGE)
        for row in rows:
            yield _event(row)
        if len(rows) < PAGE:
            return
        after = rows[-1]["place"]


def _event(row: Mapping[str, Any]) -> ArchivedEvent:
    return ArchivedEvent(
        id=row["id"],
        source=row["source"],
        type=row["type"],
        time=_known(row["time"]),
        traceparent=_known(row["trace"]),
        recordedtime=row["received_at"],
        lettrageclient=row["client"],
        lettrageplace=str(row["place"]),
        lettrageoutcome=_known(row["outcome"]),
        lettragereason=_known(row["reason"]),
        lettragedecided=_known(row["decided_at"]),
        lettrageattempts=_known(row["attempts"]),
        lettrageparked=_known(row["parked"] or None),
        lettrageerror=_known(row["error"]),
        data=msgspec.Raw(row["data"].encode()),
        lettrageraw=_known(row["raw"]),
        lettrageblanked=_known(row["blanked"]),
    )


def _known(value: Any) -> Any:  # noqa: ANN401 (whatever a column holds)
    return UNSET if value is None else value
