"""Sips answers as Sips would seal them: its documented algorithms, written here without eopayment."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from worker.gateways.port import GatewayConfig

Seal = Callable[[str, str], str]
MERCHANT, KEY = "211000021310001", "S9i8qClCnb2CZU3y3Vn0toIOgz3z_aBi79akR30vM9o"
SIMULATED, SIMULATED_KEY = "002001000000001", "002001000000001_KEY1"
REFERENCE = "6f1c0b5e4a3d4d3b9b0e5a7c8d9e0f1a"

PAID = {
    "captureDay": "0",
    "captureMode": "AUTHOR_CAPTURE",
    "currencyCode": "978",
    "merchantId": MERCHANT,
    "orderChannel": "INTERNET",
    "responseCode": "00",
    "transactionDateTime": "2026-11-23T09:30:15+01:00",
    "transactionReference": REFERENCE,
    "keyVersion": "1",
    "acquirerResponseCode": "00",
    "amount": "4250",
    "authorisationId": "12345",
    "maskedPan": "4970##########14",
    "scoreInfo": "SI;N;CARD_COUNTRY=FRA",
    "customerEmail": "famille@example.org",
    "holderAuthentStatus": "SUCCESS",
    "transactionOrigin": "INTERNET",
    "paymentPattern": "ONE_SHOT",
    "mandateId": "null",
}


def sha256_seal(data: str, key: str) -> str:
    """SHA-256 of the data and the key, in hex."""
    return hashlib.sha256(f"{data}{key}".encode()).hexdigest()


def hmac_seal(data: str, key: str) -> str:
    """HMAC-SHA-256 of the data with the key, in hex."""
    return hmac.digest(key.encode(), data.encode(), "sha256").hex()


def data_of(fields: Mapping[str, str]) -> str:
    """Fields as Sips writes them."""
    return "|".join(f"{name}={value}" for name, value in fields.items())


def posted(data: str, seal: str) -> bytes:
    """The body of an automatic response."""
    return urlencode({"Data": data, "Encode": "", "Seal": seal, "InterfaceVersion": "HP_2.3"}).encode()


def signed(fields: Mapping[str, str], key: str = KEY, seal: Seal = sha256_seal) -> bytes:
    """The body of an automatic response, sealed."""
    data = data_of(fields)
    return posted(data, seal(data, key))


def without(name: str) -> dict[str, str]:
    """The paid answer without one field."""
    return {key: value for key, value in PAID.items() if key != name}


def regie(mode: str = "production", **options: object) -> GatewayConfig:
    """A régie with its own key."""
    own = {"merchant_id": MERCHANT, "secret_key": KEY}
    return GatewayConfig(regie="enfance", kind="sips2", mode=mode, options={**own, **options})
