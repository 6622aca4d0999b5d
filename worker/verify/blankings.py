"""What blanking left: as the sealed record of it says, with the facts that were sealed while the event was whole."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from schemas.events import Event, EventType, digest_of
from worker.domain.retention import PERSONAL_TYPES, Blanked, blanking_digest, facts_digest, is_blank
from worker.verify.differences import About, Difference

Row = Mapping[str, Any]

MAY_LOSE: Final = PERSONAL_TYPES | {EventType.GATEWAY_CALLBACK}
"""Types of which blanking leaves less; of all others it may take raw bytes alone."""
SHOWN: Final = 10
"""Places named at once; each of them is named by what is wrong with it, too."""


def wrong_with_data(event: Event, row: Row, about: About) -> Iterator[Difference]:
    """Compare an event's data with its digest; of one that was blanked, with what its blanking recorded."""
    digest, rest = row["digest"], row["rest"]
    if digest_of(event.type, event.data) != (digest if rest is None else rest):
        whose = "type or data are not those of its digest"
        yield about.is_wrong(whose if rest is None else "is not what its blanking left", "data")
    elif rest not in {None, digest} and event.type not in MAY_LOSE:
        yield about.is_wrong("was changed by a blanking: nothing in it is personal", "data")
    elif rest is not None and not is_blank(event.type, event.data):
        yield about.is_wrong("says what a blanking would have taken", "data")
    if row["facts"] is not None and facts_digest(event.type, event.data) != row["facts"]:
        yield about.is_wrong("facts are not those that were sealed", "data")


def wrong_with_blanking(blanked: Sequence[Row]) -> Iterator[Difference]:
    """Compare what one blanking left of its events, by place, with the event that records it."""
    first = blanked[0]
    about = About(regie=first["regie"], table="events", row=f"{first['blanking']}")
    if first["recorded_type"] != EventType.EVENTS_BLANKED:
        places = ", ".join(str(row["place"]) for row in blanked[:SHOWN])
        yield about.is_wrong(f"records no blanking, though {len(blanked)} events name it: {places}")
        return
    left = [Blanked(row["place"], row["raw_digest"], row["rest"]) for row in blanked]
    if blanking_digest(left) != first["recorded_digest"]:
        yield about.differs("digest", blanking_digest(left), first["recorded_digest"])
    for row in blanked:
        if row["regie"] != row["recorded_regie"]:
            named = About(regie=row["regie"], table="events", row=f"{row['place']}")
            yield named.is_wrong(f"was blanked by another régie's record, {first['blanking']}", "blanking")
