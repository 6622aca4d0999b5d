"""How notifications are named to their receivers."""

from datetime import datetime


def webhook_id(outbox_id: int, at: datetime) -> str:
    """A notification's id for its receiver.

    The time is in it, to the microsecond: a database that was restored counts on from an older number, and a receiver
    that remembers ids must not take its next notification for one it had.
    """
    return f"msg_{outbox_id}_{int(at.timestamp() * 1_000_000):x}"


def outbox_id(text: str) -> int | None:
    """The place in the outbox that a webhook-id, or the number alone, names; None when it names none."""
    number = text.removeprefix("msg_").partition("_")[0]
    return int(number) if number.isascii() and number.isdigit() and len(number) < len(str(2**63)) else None
