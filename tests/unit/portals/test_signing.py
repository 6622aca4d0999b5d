"""Signatures, judged by the reference library of Standard Webhooks."""

import base64
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from worker.portals.signing import signed_headers

OLD = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
BODY = '{"type":"invoice.paid","data":{"number":"F-1","account":"Zoé"}}'.encode()


def headers(*secrets: str, at: int | None = None) -> dict[str, str]:
    """What is sent with the body."""
    return signed_headers(secrets, "msg_1_a", int(time.time()) if at is None else at, BODY)


def test_a_receiver_believes_what_we_sign() -> None:
    """By the reference implementation, byte for byte."""
    Webhook(OLD).verify(BODY, headers(OLD))


def test_a_receiver_with_either_secret_believes_during_rotation() -> None:
    """Two signatures, separated by a space: each verifies with its own secret, and a third secret with none."""
    sent = headers(OLD, NEW)
    assert [part[:3] for part in sent["webhook-signature"].split(" ")] == ["v1,", "v1,"]
    for known in (OLD, NEW):
        Webhook(known).verify(BODY, sent)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(b"x" * 32).decode()).verify(BODY, sent)


def test_what_was_changed_on_the_way_is_not_believed() -> None:
    """Body, id and time are all signed."""
    sent = headers(OLD)
    for changed, body in (
        (sent, BODY + b" "),
        (sent | {"webhook-id": "msg_2_a"}, BODY),
        (sent | {"webhook-timestamp": str(int(time.time()) + 1)}, BODY),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(OLD).verify(body, changed)


def test_the_time_is_the_attempts() -> None:
    """A receiver refuses what was signed long ago: each attempt is signed anew."""
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(BODY, headers(OLD, at=int(time.time()) - 3600))
