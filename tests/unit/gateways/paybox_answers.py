"""Paybox answers as Paybox would sign them: its documented algorithm, written here without eopayment."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from urllib.parse import quote

from Cryptodome.PublicKey import RSA

from worker.gateways.port import GatewayConfig

SITE, RANG = "1234567", "001"
REFERENCE = "2026-11-23T093000_ABCDEFGHJKMN"
TRANSACTION = "13957441"
SHA1_INFO = bytes.fromhex("3021300906052b0e03021a05000414")
"""What stands before a SHA-1 digest in a PKCS #1 v1.5 signature."""

PAID = {
    "montant": "4250",
    "reference": REFERENCE,
    "code_autorisation": "168753",
    "erreur": "00000",
    "numero_appel": "30310733",
    "numero_transaction": TRANSACTION,
    "date_transaction": "23112026",
    "heure_transaction": "09:30:15",
    "site": SITE,
    "rang": RANG,
}
"""In the order of `PBX_RETOUR`, with what names the merchant."""


@cache
def key_of(owner: str) -> RSA.RsaKey:
    """A key pair; Paybox's own has as many bits."""
    return RSA.generate(1024)  # noqa: S505 (as short as the one that it stands for)


def query_of(fields: Mapping[str, str]) -> bytes:
    """Fields as Paybox writes them into an address."""
    return "&".join(f"{name}={quote(value)}" for name, value in fields.items()).encode()


def signature_of(text: bytes, owner: str = "paybox") -> bytes:
    """RSA over SHA-1, padded as PKCS #1 v1.5 says, in base 64 fit for an address."""
    key = key_of(owner)
    size = key.size_in_bytes()
    digest = SHA1_INFO + hashlib.sha1(text, usedforsecurity=False).digest()
    padded = b"\x00\x01" + b"\xff" * (size - 3 - len(digest)) + b"\x00" + digest
    raw = pow(int.from_bytes(padded), key.d, key.n).to_bytes(size)
    return quote(base64.b64encode(raw), safe="").encode()


def signed(fields: Mapping[str, str], owner: str = "paybox", before: bytes = b"") -> bytes:
    """A notification's query; `before`: a return address's own parameters, which a browser's return has signed."""
    text = before + query_of(fields)
    return text + b"&signature=" + signature_of(text, owner)


def without(*names: str) -> dict[str, str]:
    """The paid answer without some fields."""
    return {key: value for key, value in PAID.items() if key not in names}


def regie(mode: str = "production", **options: object) -> GatewayConfig:
    """A régie whose answers are signed with a key that the tests have."""
    own = {"site": SITE, "rang": RANG, "public_key": key_of("paybox").public_key().export_key().decode()}
    return GatewayConfig(regie="enfance", kind="paybox", mode=mode, options={**own, **options})
