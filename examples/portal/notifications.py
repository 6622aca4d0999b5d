"""What Lettrage tells by itself: Standard Webhooks, verified, the highest version of each invoice kept."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from examples.portal.lettrage import Lettrage, LettrageError
from examples.portal.memory import Memory

NOTIFICATIONS = "/notifications"
PREFIX = "whsec_"
TOLERANCE_SECONDS = 5 * 60
"""How far a timestamp may be off: what somebody has recorded cannot be sent for ever."""
KINDS = {"regie": str, "number": str, "account": str | None, "state": str, "version": int}
"""What an invoice's notification must say."""
MALFORMED, UNSIGNED, TAKEN = 400, 401, 204


class NotificationError(Exception):
    """Not a notification of Lettrage's; `status` is what it is answered with."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Notifications:
    """Takes notifications in. `secrets`: `whsec_…`, two while one replaces the other; without any, nothing is taken."""

    def __init__(self, lettrage: Lettrage, memory: Memory, secrets: Sequence[str]) -> None:
        self._lettrage = lettrage
        self._memory = memory
        self._keys = [base64.b64decode(secret.removeprefix(PREFIX)) for secret in secrets]
        self._reading: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """Where they come in."""
        return [web.post(NOTIFICATIONS, self.take)] if self._keys else []

    async def take(self, request: web.Request) -> web.Response:
        """Keep what is told of an invoice, and answer at once. In any order, any number of times, it ends the same."""
        try:
            told = verified(request.headers, await request.read(), self._keys, time.time())
            invoice = invoice_in(told)
        except NotificationError as error:
            return web.json_response({"error": str(error)}, status=error.status)
        if invoice is not None and self._memory.hear(invoice):
            self._look_up(invoice["regie"], invoice["number"])
        return web.Response(status=TAKEN)

    def _look_up(self, regie: str, number: str) -> None:
        """Read an invoice of which there is news, in a while: a notification does not say how much it is now."""
        task = asyncio.create_task(self._read(regie, number))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read(self, regie: str, number: str) -> None:
        try:
            told, invoice = await asyncio.gather(self._lettrage.regie(regie), self._lettrage.invoice(regie, number))
        except LettrageError as error:
            print(error, flush=True)  # the next page that shows it reads it
            return
        if invoice is not None:
            self._memory.read(told, [invoice])


def verified(headers: Mapping[str, str], body: bytes, keys: Sequence[bytes], now: float) -> dict[str, Any]:
    """The notification, if one of the keys has signed it a moment ago. Raises NotificationError."""
    told = [headers.get(name, "") for name in ("webhook-id", "webhook-timestamp", "webhook-signature")]
    number, timestamp, signatures = told
    if not all(told) or not timestamp.isdecimal():
        raise NotificationError(MALFORMED, "webhook-id, webhook-timestamp or webhook-signature is missing")
    signed = f"{number}.{timestamp}.".encode() + body
    expected = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys]
    given = [signature.encode() for signature in signatures.split()]
    if not any(hmac.compare_digest(one, other) for one in expected for other in given):
        raise NotificationError(UNSIGNED, "no signature of ours")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise NotificationError(UNSIGNED, "too old, or from the future")
    try:
        content: dict[str, Any] = json.loads(body)
    except ValueError as error:
        raise NotificationError(MALFORMED, "not JSON") from error
    return content


def invoice_in(told: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a notification says of an invoice; None where it is about something else. Raises NotificationError."""
    if not str(told.get("type")).startswith("invoice."):
        return None
    data = told.get("data")
    if not isinstance(data, dict) or not all(isinstance(data.get(key), kind) for key, kind in KINDS.items()):
        raise NotificationError(MALFORMED, f"data has not all of {', '.join(KINDS)}")
    return data
