"""Ogone answers as Ogone would sign them: its documented algorithm, written here without eopayment."""

import hashlib
from collections.abc import Mapping
from urllib.parse import urlencode

from worker.gateways.port import GatewayConfig

PSPID, KEY = "VILLEENFANCE", "Mysecretsig1875!?"
REFERENCE = "8d2b2c9a5e1f4c1e9d3f0a7b6c5d4e3f"
PAYID = "3021123456"
UNSIGNED = ("SHASIGN", "PSPID", "NCERRORPLUS")
"""Names that are on no list of what SHA-OUT signs."""

PAID = {
    "orderID": "CMD-77",
    "currency": "EUR",
    "amount": "42.5",
    "PM": "CreditCard",
    "ACCEPTANCE": "test123",
    "STATUS": "9",
    "CARDNO": "XXXXXXXXXXXX1111",
    "ED": "1227",
    "CN": "Béranger Noël",
    "TRXDATE": "11/23/26",
    "PAYID": PAYID,
    "NCERROR": "0",
    "BRAND": "VISA",
    "AAVCheck": "",
    "IP": "192.0.2.7",
    "COMPLUS": REFERENCE,
}


def signature_of(fields: Mapping[str, str], key: str = KEY, algorithm: str = "sha1", charset: str = "utf-8") -> str:
    """`NAME=value` by order of name in capitals, without empty ones, each followed by the key; hashed, in hex."""
    written = sorted(
        f"{name.upper()}={value}{key}" for name, value in fields.items() if value and name.upper() not in UNSIGNED
    )
    return hashlib.new(algorithm, "".join(written).encode(charset), usedforsecurity=False).hexdigest().upper()


def signed(fields: Mapping[str, str], key: str = KEY, algorithm: str = "sha1", charset: str = "utf-8") -> bytes:
    """The body of a notification, or the query of a browser's return."""
    signature = signature_of(fields, key, algorithm, charset)
    return urlencode({**fields, "SHASIGN": signature}, encoding=charset).encode()


def without(*names: str) -> dict[str, str]:
    """The paid answer without some fields."""
    return {key: value for key, value in PAID.items() if key not in names}


def regie(mode: str = "production", **options: object) -> GatewayConfig:
    """A régie with its own key."""
    return GatewayConfig(regie="enfance", kind="ogone", mode=mode, options={"pspid": PSPID, "sha_out": KEY, **options})
