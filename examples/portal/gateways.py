"""How a family is sent to the gateway: the form or link that its protocol asks for.

A real portal has its gateway's own library for this. What matters to Lettrage is that the reference goes there and
comes back: here it is the payment's own, so nothing more needs to be told.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Departure:
    """A form that the family's browser submits: `method`, `url`, hidden `fields`."""

    method: str
    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class LyraGateway:
    """Lyra's form, signed with the shop's key."""

    regie: str
    url: str
    site_id: str
    key: str
    mode: str

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


Gateway = LyraGateway | DummyGateway
KINDS: Mapping[str, type[LyraGateway | DummyGateway]] = {
    "systempayv2": LyraGateway,
    "dummy": DummyGateway,
}


def _six_characters(reference: str) -> str:
    """A transaction number of Lyra's form, always the same for a payment."""
    return hashlib.sha256(reference.encode()).hexdigest()[:6]
