"""What telling a portal is about: whose it is, what is sent, and how that ended."""

from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any

from msgspec import Struct

from schemas.notifications import webhook_id


class PortalConfig(Struct, kw_only=True, frozen=True):
    """A régie's portal; `secrets` are one Standard Webhooks secret, or two while one replaces the other."""

    regie: str
    url: str
    secrets: tuple[str, ...]
    private: bool = False
    """Whether its address may be one of an inner network or of this machine."""

    @property
    def target(self) -> str:
        """What stands for its address where the address itself, which may hold a secret, must not be kept."""
        return target_of(self.url)


def target_of(url: str) -> str:
    """A portal's address, digested: what is kept of it in the database."""
    return sha256(url.encode()).hexdigest()


class SendOutcome(StrEnum):
    """How one attempt ended. All but the first are tried again; `GONE` disables the portal."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    GONE = "gone"
    REDIRECTED = "redirected"
    TIMED_OUT = "timed_out"
    UNREACHABLE = "unreachable"
    ADDRESS_FORBIDDEN = "address_forbidden"


class DueNotification(Struct, kw_only=True, frozen=True):
    """A row of the outbox that is to be sent now.

    `attempts` counts this one; `own_failures` those before it that failed while the portal was not down. `event_id` is
    the id of the event that it tells of, `trace` the W3C `traceparent` that goes with it.
    """

    id: int
    regie: str
    type: str
    at: datetime
    data: dict[str, Any]
    attempts: int
    own_failures: int = 0
    event_id: str | None = None
    trace: str | None = None

    @property
    def webhook_id(self) -> str:
        """The same at every attempt, and never another's."""
        return webhook_id(self.id, self.at)


class Attempt(Struct, kw_only=True, frozen=True):
    """How an attempt ended: the portal's status if it answered, else what went wrong; how long it took."""

    outcome: SendOutcome
    milliseconds: int
    status: int | None = None
    error: str | None = None
    retry_after_seconds: float | None = None
    """How long the portal asked to be left alone."""
