"""Payments under way at the gateway, and what Lyra's protocol and the dummy's make of them."""

import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import urlencode

from examples.gateway import lyra
from examples.gateway.faults import InForce

SESSION_SECONDS = 600
"""Lyra's longest: after that the payer must start again."""


@dataclass
class Shop:
    """A merchant of the gateway: a régie's contract."""

    site_id: str
    label: str
    key: str
    notify_url: str


@dataclass
class Payment:
    """One payment page. `choice` None: the payer is still looking at it, or has closed it."""

    protocol: ClassVar[str]
    choices: ClassVar[Collection[str]] = tuple(lyra.OUTCOMES)

    reference: str
    label: str
    cents: int
    return_url: str
    session: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    begun: float = field(default_factory=time.monotonic)
    choice: str | None = None
    back: str = ""
    tries: list[str] = field(default_factory=list)

    @property
    def names(self) -> Collection[str]:
        """What the control API may call it."""
        return (self.reference,)

    def is_over(self) -> bool:
        """Tell whether its session has lasted too long."""
        return time.monotonic() - self.begun > SESSION_SECONDS

    def choose(self, choice: str, faults: InForce) -> "Notification | None":
        """Take the payer's choice: where to send the browser (`back`), and what to tell the shop."""
        raise NotImplementedError

    def forge(self) -> "Notification":
        """Say « paid » as a stranger would."""
        raise NotImplementedError

    def listed(self) -> dict[str, object]:
        """Describe it for `GET /control/payments`."""
        return {
            "protocol": self.protocol,
            "reference": self.reference,
            "amount_cents": self.cents,
            "choice": self.choice,
            "page": f"/paiement/{self.session}",
            "tries": self.tries,
        }


@dataclass(frozen=True)
class Notification:
    """One HTTP request to the shop."""

    method: str
    url: str
    fields: Mapping[str, str]


@dataclass
class LyraPayment(Payment):
    """Asked for by a signed form."""

    protocol = "lyra"

    request: Mapping[str, str] = field(default_factory=dict)
    shop: Shop = field(default_factory=lambda: Shop("", "", "", ""))

    def choose(self, choice: str, faults: InForce) -> Notification | None:
        """Tell the browser everything, and the shop everything but an abandonment, as Lyra does."""
        self.choice = choice
        answer = lyra.answer({**self.request, **_spoilt(faults)}, choice, self.shop.key)
        self.back = appended(self.return_url, answer)
        if choice == "annuler":
            return None
        return Notification("POST", self.shop.notify_url, answer)

    def forge(self) -> Notification:
        """Post an answer signed with another key."""
        return Notification("POST", self.shop.notify_url, lyra.forged(self.request))


def _spoilt(faults: InForce) -> dict[str, str]:
    """What Lyra answers instead of what it was asked for; it signs that all the same."""
    fields = {}
    if "wrong_amount" in faults:
        fields["vads_amount"] = str(faults["wrong_amount"].amount_cents)
    if "test" in faults:
        fields["vads_ctx_mode"] = "TEST"
    return fields


@dataclass
class DummyPayment(Payment):
    """Asked for by a link that anybody can write."""

    protocol = "dummy"

    notify_url: str = ""

    def choose(self, choice: str, faults: InForce) -> Notification | None:
        """Tell the browser and the shop the same, unless the payer leaves. Its answers have no amount to spoil."""
        self.choice = choice
        outcome = {"ok": "1"} if choice == "payer" else {"nok": "1", "reason": choice}
        answer = {"transaction_id": self.reference, "signed": "1", **outcome}
        self.back = appended(self.return_url, answer)
        return None if choice == "annuler" else Notification("GET", self.notify_url, answer)

    def forge(self) -> Notification:
        """Leave out the word that stands for a signature."""
        return Notification("GET", self.notify_url, {"transaction_id": self.reference, "ok": "1"})


def appended(url: str, fields: Mapping[str, str]) -> str:
    """Add an answer to a return address, after the parameters that it has."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(fields)}"
