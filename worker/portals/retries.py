"""When a notification is tried again: soon, then more and more slowly, never sooner than its portal asked."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

FIRST_SECONDS: Final = 5.0
"""A portal that was restarted is back by then."""
LONGEST_SECONDS: Final = 24 * 3600.0
"""Tried at least daily, until given up."""
FACTOR: Final = 3.0
"""From 5 s to 24 h in ten attempts."""
JITTER: Final = 0.25
"""What failed together is not tried again together."""
MOST_STEPS: Final = 30
"""Of an exponent that only grows: beyond, floats overflow."""


def retry_seconds(failures: int, retry_after_seconds: float | None) -> float:
    """The pause after so many failed attempts, in seconds; the portal's own wish when that is longer."""
    grown = FIRST_SECONDS * FACTOR ** min(failures - 1, MOST_STEPS)
    pause = grown * (1 + JITTER * random.random())  # noqa: S311 (no secret)
    return min(max(pause, retry_after_seconds or 0), LONGEST_SECONDS)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """What a Retry-After header asks for, in seconds from `now`; None without one that can be understood."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_SECONDS)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the second: an offset of a million years
        return None
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return min(max((aware - now).total_seconds(), 0.0), LONGEST_SECONDS)
