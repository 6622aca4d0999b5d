"""A portal's client of Lettrage: Python's standard library. What its commands do is in README.md beside it."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

VIEWS = ("payable", "history", "direct_debit")
TIMEOUT_SECONDS = 10
"""Longer than a payment's start waits for its outcome."""
TRIES = 3
TOLERANCE_SECONDS = 300
"""How old a notification may be, or how far ahead its sender's clock."""


class Refused(Exception):  # noqa: N818 (an answer, not a failure)
    """The answer is no, and would be again."""


class TryLater(Exception):  # noqa: N818 (a state of the server's)
    """No answer yet; the same again is safe."""


def call(path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """One request and its answer. After a time-out, a broken connection, a 429 or a 5xx the same is sent again."""
    token = {"Authorization": f"Bearer {os.environ['LETTRAGE_TOKEN']}"}
    request = urllib.request.Request(os.environ["LETTRAGE_URL"] + path, body, token | (headers or {}))  # noqa: S310
    why = ""
    for attempt in range(TRIES):
        time.sleep(attempt)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 (the operator's own)
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            why = f"Lettrage answered {error.code}"
            if error.code != HTTPStatus.TOO_MANY_REQUESTS and error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise Refused(f"{why}: {error.read().decode(errors='replace')}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = f"Lettrage does not answer ({type(error).__name__})"
    raise TryLater(f"{why}; try again later.")


def send(kind: str, event_id: str, data: dict[str, Any]) -> tuple[int, Any]:
    """Send an event, wait for its outcome: 200, or 202 without. Its id is given: sent again, it is the same event."""
    event = {"specversion": "1.0", "type": f"fr.lettrage.{kind}.v1", "source": "/portail", "id": event_id}
    body = json.dumps(event | {"time": datetime.now(UTC).isoformat(), "data": data}).encode()
    headers = {"Content-Type": "application/cloudevents+json", "Prefer": "wait=5"}
    status, answer = call("/v1/events", body, headers)
    for _ in range(TRIES - 1):
        if status == HTTPStatus.OK:
            break
        time.sleep(1)
        status, answer = call("/v1/events", body, headers)
    return status, answer


def tab(regie: str, account: str, view: str) -> Iterator[dict[str, Any]]:
    """A tab's invoices, page after page."""
    query = {"account": account, "view": view, "limit": "100"}
    while True:
        _, page = call(f"/v1/regies/{regie}/invoices?{urlencode(query)}")
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]


def start(regie: str, reference: str, lines: dict[str, int]) -> dict[str, Any]:
    """Start a payment, `lines` being cents by invoice number. Send the family on only when its state is `started`."""
    invoices = [{"number": number, "amount_cents": cents} for number, cents in lines.items()]
    data = {"regie": regie, "reference": reference, "amount_cents": sum(lines.values()), "invoices": invoices}
    status, answer = send("payment.started", f"started-{reference}", data)
    if status != HTTPStatus.OK:
        raise TryLater("Lettrage has not decided yet; try the same again.")
    payment: dict[str, Any] = answer.get("payment") or {"state": answer["reason"]}
    return payment


def forward(regie: str, method: str, query: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    """Pass on what a gateway sent to the portal, byte for byte."""
    data = {"regie": regie, "method": method, "query": query, "body": base64.b64encode(body).decode()}
    _, answer = send("gateway.callback", f"callback-{uuid.uuid4()}", data | {"headers": headers})
    outcome: dict[str, Any] = answer
    return outcome


def verify(headers: Any, body: bytes, secrets: Iterable[str], now: float) -> bytes:  # noqa: ANN401 (anything with get)
    """The body, if one of our secrets made one of its signatures, not long ago. There are two during a rotation."""
    message_id, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not re.fullmatch(r"[0-9]{1,12}", at) or abs(now - int(at)) > TOLERANCE_SECONDS:
        raise Refused("Sent more than five minutes ago, or in the future.")
    signed = f"{message_id}.{at}.".encode() + body
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
        for signature in headers.get("webhook-signature", "").split(" "):
            if hmac.compare_digest(signature.encode(), expected):
                return body
    raise Refused("No signature of Lettrage's.")


def newest(bodies: Iterable[bytes], regie: str, number: str) -> dict[str, Any] | None:
    """What to show of an invoice: of all that was verified, in any order, the highest version is its truth."""
    told = (body for body in map(json.loads, bodies) if body["type"].startswith("invoice."))
    about = (body["data"] for body in told if (body["data"]["regie"], body["data"]["number"]) == (regie, number))
    return max(about, key=lambda data: int(data["version"]), default=None)


def main(command: str, *args: str) -> int:
    """Do one command; the exit code."""
    match command, args:
        case "tabs", (regie, account):
            for view in VIEWS:
                for each in tab(regie, account, view):
                    again = each["payable_again_at"] or "-"
                    print(view, each["number"], each["amount_cents"], each["state"], again, sep="\t")
        case "pay", (regie, reference, _, *_):
            lines = {number: int(cents) for number, _, cents in (line.rpartition("=") for line in args[2:])}
            payment = start(regie, reference, lines)
            print(payment["state"], payment.get("payable_again_at") or "-", sep="\t")
            if payment["state"] != "started":
                raise Refused("Do not send the family to the gateway.")
        case "forward", (regie, method, query, *rest):
            passed = {name: value.lstrip() for name, _, value in (line.partition(":") for line in rest)}
            body = sys.stdin.buffer.read() if method == "POST" else b""
            answer = forward(regie, method, query, body, passed)
            print(answer.get("outcome", answer["status"]), answer.get("reason", "-"), sep="\t")
        case "verify", ():
            headers, body = http.client.parse_headers(sys.stdin.buffer), sys.stdin.buffer.read()
            secrets = os.environ["PORTAL_WEBHOOK_SECRET"].split()
            sys.stdout.buffer.write(verify(headers, body, secrets, time.time()) + b"\n")
        case "shown", (regie, number):
            data = newest(sys.stdin.buffer, regie, number)
            if data is None:
                print("Nothing is known of this invoice.", file=sys.stderr)
                return 3
            print(data["state"], data["version"], sep="\t")
        case _:
            print(
                "tabs REGIE ACCOUNT | pay REGIE REFERENCE NUMBER=CENTS… | "
                "forward REGIE METHOD QUERY [NAME:VALUE…] | verify | shown REGIE NUMBER",
                file=sys.stderr,
            )
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*(sys.argv[1:] or [""])))
    except Refused as error:
        sys.exit(str(error))
    except TryLater as error:
        print(error, file=sys.stderr)
        sys.exit(75)
