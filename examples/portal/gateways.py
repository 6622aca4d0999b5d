"""How a family is sent to the gateway: the form or link that its protocol asks for.

A real portal has its gateway's own library for this. What matters to Lettrage is what the gateway calls the payment.
Lyra and the dummy take the payment's own reference; PayFiP gives an idOp of its own, so it must be asked first, and the
payment is started with that.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from yarl import URL

from examples.portal.payfip import create_payment

PARIS = ZoneInfo("Europe/Paris")
MAX_OBJET_CHARS = 100


@dataclass(frozen=True)
class Order:
    """What a family is about to pay: the payment's reference, its invoices, where the browser comes back."""

    reference: str
    numbers: tuple[str, ...]
    cents: int
    email: str
    return_url: str


@dataclass(frozen=True)
class Departure:
    """A form that the family's browser submits: `method`, `url`, hidden `fields`."""

    method: str
    url: str
    fields: Mapping[str, str]

    @property
    def link(self) -> str | None:
        """The whole address where following it is enough; None where a form must be posted."""
        return str(URL(self.url).update_query(self.fields)) if self.method == "get" else None


@dataclass(frozen=True)
class LyraGateway:
    """Lyra's form, signed with the shop's key."""

    regie: str
    url: str
    site_id: str
    key: str
    mode: str

    async def gateway_reference(self, order: Order) -> str:
        """Lyra gives back whatever name it was given."""
        return order.reference

    def departure(self, payment: Mapping[str, Any], return_url: str) -> Departure:
        """Build the form; the same payment gives the same one, so that two clicks open one payment."""
        started = datetime.fromisoformat(payment["started_at"])
        fields = {
            "vads_action_mode": "INTERACTIVE",
            "vads_amount": str(payment["amount_cents"]),
            "vads_ctx_mode": self.mode,
            "vads_currency": "978",
            "vads_ext_info_eopayment_trans_id": payment["gateway_reference"],
            "vads_page_action": "PAYMENT",
            "vads_payment_config": "SINGLE",
            "vads_return_mode": "GET",
            "vads_site_id": self.site_id,
            "vads_trans_date": started.strftime("%Y%m%d%H%M%S"),
            "vads_trans_id": _six_characters(payment["reference"]),
            "vads_url_return": return_url,
            "vads_version": "V2",
        }
        text = "+".join([*(fields[name] for name in sorted(fields)), self.key])
        signature = base64.b64encode(hmac.digest(self.key.encode(), text.encode(), "sha256")).decode()
        return Departure("post", self.url, {**fields, "signature": signature})


@dataclass(frozen=True)
class DummyGateway:
    """The dummy's link: nothing is signed, for tests and demos."""

    regie: str
    url: str
    notify_url: str

    async def gateway_reference(self, order: Order) -> str:
        """The dummy gives back whatever name it was given."""
        return order.reference

    def departure(self, payment: Mapping[str, Any], return_url: str) -> Departure:
        """Build the link; the dummy wants its amount in euros."""
        fields = {
            "transaction_id": payment["gateway_reference"],
            "amount": f"{payment['amount_cents'] / 100:.2f}",
            "return_url": return_url,
            "direct_notification_url": self.notify_url,
            "origin": self.regie,
        }
        return Departure("get", self.url, fields)


@dataclass(frozen=True)
class PayFiPGateway:
    """PayFiP's web service: it creates the payment, and calls it by an idOp that opens its page once."""

    regie: str
    service_url: str
    payment_url: str
    numcli: str
    saisie: str
    notify_url: str
    _created: dict[str, asyncio.Task[str]] = field(default_factory=dict, init=False)

    async def gateway_reference(self, order: Order) -> str:
        """Have the payment created, once: a second click waits for what the first one began."""
        known = self._created.get(order.reference)
        if known is None or _has_failed(known):
            known = self._created[order.reference] = asyncio.create_task(self._create(order))
        return await asyncio.shield(known)

    async def _create(self, order: Order) -> str:
        return await create_payment(
            self.service_url,
            {
                "exer": f"{datetime.now(PARIS):%Y}",
                "mel": order.email,
                "montant": str(order.cents),
                "numcli": self.numcli,
                "objet": _plain(_named(order.numbers)),
                "refdet": order.reference,
                "saisie": self.saisie,
                "urlnotif": self.notify_url,
                "urlredirect": order.return_url,
            },
        )

    def departure(self, payment: Mapping[str, Any], return_url: str) -> Departure:
        """Open the page of the idOp; where the browser comes back was told when it was created."""
        return Departure("get", self.payment_url, {"idop": payment["gateway_reference"]})


def _has_failed(creation: asyncio.Task[str]) -> bool:
    return creation.done() and (creation.cancelled() or creation.exception() is not None)


def _named(numbers: tuple[str, ...]) -> str:
    return f"Facture{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"


def _plain(text: str) -> str:
    """The text in the letters and digits that PayFiP allows in an `objet`."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", " ", letters).strip()[:MAX_OBJET_CHARS]


Gateway = LyraGateway | DummyGateway | PayFiPGateway
KINDS: Mapping[str, type[Gateway]] = {
    "systempayv2": LyraGateway,
    "dummy": DummyGateway,
    "payfip_ws": PayFiPGateway,
}


def form_origins(gateways: Iterable[Gateway]) -> set[str]:
    """Where browsers must be allowed to send a form: the gateways that want one."""
    return {str(URL(gateway.url).origin()) for gateway in gateways if isinstance(gateway, LyraGateway)}


def _six_characters(reference: str) -> str:
    """A transaction number of Lyra's form, always the same for a payment."""
    return hashlib.sha256(reference.encode()).hexdigest()[:6]
