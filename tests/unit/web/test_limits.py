"""The limits that operators read are those of the code."""

import re
from pathlib import Path

from schemas.events import MAX_CALLBACK_BYTES, MAX_CENTS, MAX_LINES, Name
from worker.store.views import MAX_LIMIT
from worker.web import bodies, cloudevents, connections, events, ingest, preferences, problems, quotas

DOCUMENT = (Path(__file__).parents[3] / "docs/limits.md").read_text()
ATTRIBUTES = cloudevents.Attributes.__annotations__


def _length(hint: object) -> int:
    limits, *_ = hint.__metadata__  # type: ignore[attr-defined]
    return int(limits.max_length)


def test_every_limit_is_documented() -> None:
    """Each number of docs/limits.md, in its order, is the constant it speaks of."""
    rows = [row.split("|")[1:3] for row in re.findall(r"^\|.*\|$", DOCUMENT, re.MULTILINE)]
    told = [int(number) for what, limit in rows if "--" not in what for number in re.findall(r"\d+", limit)]
    assert told == [
        events.MAX_BODY_BYTES,
        cloudevents.MAX_BATCH,
        MAX_LINES,
        _length(ATTRIBUTES["id"]),
        _length(ATTRIBUTES["source"]),
        _length(Name),
        MAX_CENTS,
        cloudevents.MAX_AHEAD.total_seconds() / 3600,
        cloudevents.MAX_AGE.days,
        preferences.MAX_WAIT_SECONDS,
        problems.MAX_FAULTS,
        MAX_LIMIT,
        ingest.MAX_WAITING,
        connections.MAX_HEADER_BYTES,
        connections.MAX_HEADERS,
        connections.HEADER_SECONDS,
        bodies.BODY_SECONDS,
        connections.REQUEST_SECONDS,
        connections.IDLE_SECONDS,
        MAX_CALLBACK_BYTES,
        quotas.ADDRESS_AT_ONCE,
        quotas.ADDRESS_PER_SECOND,
        quotas.REGIE_AT_ONCE,
        quotas.REGIE_PER_SECOND,
        quotas.REGIE_BYTES_PER_DAY,
        quotas.REPEATS_AT_ONCE,
        quotas.REPEATS_PER_SECOND * 60,
    ]
