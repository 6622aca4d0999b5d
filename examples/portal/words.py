"""Amounts, times and numbers as a French family reads them: euros, Paris, plurals."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")
SECONDS_MATTER = timedelta(minutes=2)
"""Nearer than this a time is told to the second; else to the minute that it is over by."""
MINUTE = timedelta(minutes=1)


def euros(cents: int) -> str:
    """Write an amount, with spaces that do not break."""
    whole = f"{cents // 100:,}".replace(",", "\u202f")
    return f"{whole},{cents % 100:02d}\u00a0€"


def day(text: str | None) -> str:
    """Write a date, or the Paris day of a time."""
    if not text:
        return ""
    told = instant(text).astimezone(PARIS).date() if "T" in text else date.fromisoformat(text)
    return f"{told:%d/%m/%Y}"


def clock(text: str, now: datetime) -> str:
    """Write the Paris time of an RFC 3339 time: never a minute that is not there yet, to the second when it is near."""
    at = instant(text).astimezone(PARIS)
    if at - now < SECONDS_MATTER:
        return f"{at:%H:%M:%S}"
    told = at if at == at.replace(second=0, microsecond=0) else at.replace(second=0, microsecond=0) + MINUTE
    is_today = told.date() == now.astimezone(PARIS).date()
    return f"{told:%H:%M}" if is_today else f"{told:%H:%M} le {told:%d/%m}"


def lasting(seconds: float) -> str:
    """Write a duration in words: « 30 minutes », « 1 minute et 30 secondes », « 2 heures »."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    parts = [
        counted(count, name) for count, name in ((hours, "heure"), (minutes, "minute"), (left, "seconde")) if count
    ]
    return " et ".join(parts) or counted(0, "seconde")


def counted(count: int, name: str) -> str:
    """Write a number with its noun; in French, zero and one are singular."""
    return f"{count}\u00a0{name}{'s' if count > 1 else ''}"


def instant(text: str) -> datetime:
    """Read an RFC 3339 time."""
    return datetime.fromisoformat(text).astimezone(UTC)
