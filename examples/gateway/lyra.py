"""Lyra's form protocol, seen from Lyra: requests are checked, answers are signed (HMAC-SHA-256)."""

import base64
import hmac
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

OUTCOMES = {
    "payer": {"vads_trans_status": "AUTHORISED", "vads_result": "00", "vads_auth_result": "00"},
    "refuser": {"vads_trans_status": "REFUSED", "vads_result": "05", "vads_auth_result": "51"},
    "annuler": {"vads_trans_status": "ABANDONED", "vads_result": "17", "vads_auth_result": ""},
}
"""What the payer chose, in Lyra's words; 51 is a bank's « not enough money »."""


def sign(fields: Mapping[str, str], key: str) -> str:
    """Sign the values of `vads_*` fields: by order of name, joined by `+`, the key last."""
    values = [fields[name] for name in sorted(fields) if name.startswith("vads_")]
    text = "+".join([*values, key])
    return base64.b64encode(hmac.digest(key.encode(), text.encode(), "sha256")).decode()


def is_signed(fields: Mapping[str, str], key: str) -> bool:
    """Tell whether a request comes from the shop."""
    return hmac.compare_digest(sign(fields, key).encode(), fields.get("signature", "").encode())


def reference_of(fields: Mapping[str, str]) -> str:
    """What the portal calls this payment: its own reference if it sent one, else date and number."""
    chosen = fields.get("vads_ext_info_eopayment_trans_id")
    return chosen or f"{fields['vads_trans_date']}_{fields['vads_trans_id']}"


def answer(request: Mapping[str, str], choice: str, key: str) -> dict[str, str]:
    """Answer a request with what the payer chose, signed."""
    fields = {name: value for name, value in request.items() if name.startswith("vads_")}
    fields |= OUTCOMES[choice]
    fields |= {
        "vads_operation_type": "DEBIT",
        "vads_effective_creation_date": datetime.now(UTC).strftime("%Y%m%d%H%M%S"),
    }
    if choice != "annuler":
        fields |= {
            "vads_trans_uuid": uuid.uuid4().hex,
            "vads_auth_number": secrets.token_hex(3),
            "vads_card_brand": "CB",
            "vads_card_number": "497010XXXXXX0014",
        }
    return {**fields, "signature": sign(fields, key)}


def forged(request: Mapping[str, str]) -> dict[str, str]:
    """Say « paid » without having the key."""
    return answer(request, "payer", key=secrets.token_hex(8))
