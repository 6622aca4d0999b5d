"""Standard Webhooks: the headers that prove who sent a body, and when. Source: standardwebhooks.com, version 1."""

import base64
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"


def signed_headers(secrets: Sequence[str], webhook_id: str, sent_at_seconds: int, body: bytes) -> dict[str, str]:
    """The three headers of an attempt; one signature for each secret, so that a receiver may know either."""
    content = f"{webhook_id}.{sent_at_seconds}.".encode() + body
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(sent_at_seconds),
        "webhook-signature": " ".join(f"v1,{_signature(secret, content)}" for secret in secrets),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()
