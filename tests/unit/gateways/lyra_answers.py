"""Lyra answers as Lyra would sign them: its documented algorithm, written here without eopayment."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from worker.gateways.port import GatewayConfig

Sign = Callable[[Mapping[str, str], str], str]
PRODUCTION_KEY = "prodkey0123456789"
TEST_KEY = "testkey9876543210"
SITE = "12345678"
UUID = "5b2f0f8e6f0d4ad1a4bfa4a2f1c7b9d0"

PAID = {
    "vads_amount": "4250",
    "vads_auth_result": "00",
    "vads_ctx_mode": "PRODUCTION",
    "vads_currency": "978",
    "vads_effective_creation_date": "20261123083015",
    "vads_operation_type": "DEBIT",
    "vads_result": "00",
    "vads_site_id": SITE,
    "vads_trans_date": "20261123083000",
    "vads_trans_id": "aB3x9Z",
    "vads_trans_status": "AUTHORISED",
    "vads_trans_uuid": UUID,
    "vads_card_number": "497010XXXXXX0014",
    "vads_cust_email": "famille@example.org",
    "vads_cust_last_name": "Béranger",
}


def sha1_signature(fields: Mapping[str, str], key: str) -> str:
    """Values of the `vads_*` fields by order of name, then the key, joined by `+`; SHA-1 in hex."""
    return hashlib.sha1(_to_sign(fields, key), usedforsecurity=False).hexdigest()


def hmac_signature(fields: Mapping[str, str], key: str) -> str:
    """The same text under HMAC-SHA-256 with the key, in base 64."""
    return base64.b64encode(hmac.digest(key.encode(), _to_sign(fields, key), "sha256")).decode()


def _to_sign(fields: Mapping[str, str], key: str) -> bytes:
    values = [value for name, value in sorted(fields.items()) if name.startswith("vads_")]
    return "+".join([*values, key]).encode()


def signed(
    fields: Mapping[str, str],
    key: str = PRODUCTION_KEY,
    sign: Sign = hmac_signature,
) -> bytes:
    """The body of a notification."""
    return urlencode({**fields, "signature": sign(fields, key)}).encode()


def without(name: str) -> dict[str, str]:
    """The paid answer without one field."""
    return {key: value for key, value in PAID.items() if key != name}


def regie(mode: str = "production", **options: object) -> GatewayConfig:
    """A régie with both keys, as a portal keeps them while it goes live."""
    own = {"vads_site_id": SITE, "secret_production": PRODUCTION_KEY, "secret_test": TEST_KEY}
    return GatewayConfig(regie="enfance", kind="systempayv2", mode=mode, options={**own, **options})
