"""When a notification is tried again."""

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.notifications import outbox_id, webhook_id
from worker.portals.retries import retry_after_seconds, retry_seconds

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DAY = 24 * 3600


def test_pauses_grow_from_five_seconds_to_a_day() -> None:
    """Each is longer than the one before, with some jitter, until a day, which none exceeds."""
    pauses = [retry_seconds(attempt, None) for attempt in range(1, 12)]
    assert 5 <= pauses[0] <= 6.25
    assert all(later > earlier for earlier, later in itertools.pairwise(pauses[:10]))
    assert pauses[-1] == DAY
    assert retry_seconds(10_000, None) == DAY


def test_pauses_differ() -> None:
    """What failed together is not tried again together."""
    assert len({retry_seconds(3, None) for _ in range(20)}) > 1


def test_a_portals_wish_is_honoured() -> None:
    """It is never tried sooner than it asked; a wish beyond a day counts as a day."""
    assert retry_seconds(1, 120) == 120
    assert retry_seconds(9, 1) > 30_000
    assert retry_seconds(1, 10 * DAY) == DAY


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("Wed, 25 Nov 2026 12:00:30 GMT", 30.0),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1" * 500, DAY),
        ("Wed, 25 Nov 2026 12:00:30 +99999999999999999999", None),
        ("Wed, 25 Nov 2026 13:00:30 +0100", 30.0),
        ("Wed, 25 Nov 2027 12:00:00 GMT", DAY),
        (None, None),
        ("", None),
    ],
)
def test_retry_after_in_both_forms(header: str | None, seconds: float | None) -> None:
    """Seconds or a date; anything else is as if it were not there."""
    assert retry_after_seconds(header, NOW) == seconds


@given(st.one_of(st.text(), st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ [\d:]+ [+-]?\w+")))
def test_no_header_breaks_anything(header: str) -> None:
    """Whatever a portal sends is a pause of up to a day, or nothing."""
    seconds = retry_after_seconds(header, NOW)
    assert seconds is None or 0 <= seconds <= DAY


def test_an_id_names_its_place() -> None:
    """The same notification has the same id; the same number at another time, as after a restore, has another."""
    assert webhook_id(7, NOW) == webhook_id(7, NOW)
    assert webhook_id(7, NOW) != webhook_id(7, NOW.replace(second=1))
    assert outbox_id(webhook_id(7, NOW)) == outbox_id("7") == 7
    assert outbox_id("x") is None
    assert outbox_id("9" * 30) is None
