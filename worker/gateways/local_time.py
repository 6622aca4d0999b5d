"""Times as French gateways write them: theirs are Europe/Paris where they name no zone, ours are UTC."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")


def utc_of(text: str, form: str) -> datetime | None:
    """A time written in that form of `strptime`, in Paris unless it names its zone; None if it is not."""
    try:
        written = datetime.strptime(text, form)  # noqa: DTZ007 (the zone is given below)
        return (written if written.tzinfo else written.replace(tzinfo=PARIS)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
