"""All that this portal asks of Lettrage, over HTTP."""

import base64
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web

TIMEOUT_SECONDS = 10
"""Longer than the 5 s that a payment's start waits for its outcome."""
SECONDS_FOR_A_CALLBACK = 2
"""A family that comes back is not kept longer; the page says what is known then, and asks again."""
OK, ACCEPTED, NOT_FOUND = 200, 202, 404


class LettrageError(Exception):
    """Lettrage did not answer, or not with a success; the family is told to try again. `status` None: no answer."""

    def __init__(self, asked: str, status: int | None, said: str) -> None:
        super().__init__(f"{asked}: {status or 'no answer'} {said}")
        self.status = status


class Lettrage:
    """Lettrage's API, as far as a portal needs it. Amounts are integer cents, times RFC 3339 in UTC."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    async def open(self, _app: web.Application) -> AsyncIterator[None]:
        """Keep connections while the portal runs."""
        headers = {"Authorization": f"Bearer {self._token}"}
        timeout = aiohttp.ClientTimeout(TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(self._url, headers=headers, timeout=timeout) as self._session:
            yield

    async def regie(self, code: str) -> dict[str, Any]:
        """Read one régie."""
        return await self._get(f"/v1/regies/{code}")

    async def invoices(self, regie: str, account: str, view: str) -> list[dict[str, Any]]:
        """List a family's invoices: `payable`, `history` or `direct_debit`."""
        found: list[dict[str, Any]] = []
        query = {"account": account, "view": view, "limit": "100"}
        while True:
            page = await self._get(f"/v1/regies/{regie}/invoices", query)
            found += page["items"]
            if not page["next_cursor"]:
                return found
            query["cursor"] = page["next_cursor"]

    async def invoice(self, regie: str, number: str) -> dict[str, Any] | None:
        """Read one invoice; None if there is no such one."""
        return await self._find(f"/v1/regies/{regie}/invoices/{_quoted(number)}")

    async def payment(self, regie: str, reference: str) -> dict[str, Any] | None:
        """Read one payment; None if Lettrage does not know it, perhaps not yet."""
        return await self._find(f"/v1/regies/{regie}/payments/{_quoted(reference)}")

    async def start_payment(
        self, regie: str, reference: str, gateway_reference: str, invoices: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any] | None:
        """Start a payment of these invoices and return it, once Lettrage has decided; None while it has not.

        The event's id is made from the gateway's reference: asked twice, it is the same event and the same payment.
        With another gateway reference it is one more way to pay the same payment.
        """
        lines = [{key: invoice[key] for key in ("number", "amount_cents", "account")} for invoice in invoices]
        answer = await self._send(
            "fr.lettrage.payment.started.v1",
            f"start-{gateway_reference}",
            {
                "regie": regie,
                "reference": reference,
                "gateway_reference": gateway_reference,
                "amount_cents": sum(line["amount_cents"] for line in lines),
                "invoices": lines,
            },
            wait_seconds=5,
        )
        return answer.get("payment") or await self.payment(regie, reference)

    async def forward_callback(self, regie: str, query: str) -> None:
        """Pass on, byte for byte, what the gateway made the family's browser bring back."""
        await self._send(
            "fr.lettrage.gateway.callback.v1",
            str(uuid.uuid4()),
            {"regie": regie, "method": "GET", "query": query, "body": base64.b64encode(b"").decode()},
            wait_seconds=SECONDS_FOR_A_CALLBACK,
        )

    async def _send(
        self, event_type: str, event_id: str, data: Mapping[str, Any], *, wait_seconds: int
    ) -> dict[str, Any]:
        event = {
            "specversion": "1.0",
            "type": event_type,
            "source": "/portail",
            "id": event_id,
            "time": datetime.now(UTC).isoformat(),
            "data": data,
        }
        headers = {"Content-Type": "application/cloudevents+json", "Prefer": f"wait={wait_seconds}"}
        return await self._answer("POST", "/v1/events", json=event, headers=headers)

    async def _find(self, path: str) -> dict[str, Any] | None:
        try:
            return await self._get(path)
        except LettrageError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def _get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        return await self._answer("GET", path, params=query)

    async def _answer(self, method: str, path: str, **request: Any) -> dict[str, Any]:  # noqa: ANN401 (aiohttp's own)
        try:
            async with self._session.request(method, path, **request) as response:
                if response.status not in (OK, ACCEPTED):
                    raise LettrageError(f"{method} {path}", response.status, await response.text())
                content: dict[str, Any] = await response.json()
                return content
        except (aiohttp.ClientError, TimeoutError) as error:
            raise LettrageError(f"{method} {path}", None, repr(error)) from error


def _quoted(segment: str) -> str:
    return quote(segment, safe="")
