"""The demo's own client of Lettrage's API: it issues the invoices, and watches them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

from worker.demonstration.families import Invoice
from worker.demonstration.installation import DemoError

BATCH: Final = "application/cloudevents-batch+json"
OK, ACCEPTED, NOT_FOUND = 200, 202, 404


class Lettrage:
    """What of the API the demo needs."""

    def __init__(self, session: aiohttp.ClientSession, address: str, token: str) -> None:
        self._session = session
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}"}

    async def is_ready(self) -> bool:
        """Whether events may be sent."""
        try:
            async with self._session.get(f"{self._address}/readyz") as response:
                return response.status == OK
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def issue(self, invoices: Iterable[Invoice], portal: str) -> None:
        """Tell Lettrage what is owed, as the town's billing software would; the portal has the documents."""
        events = [issued(invoice, portal) for invoice in invoices]
        headers = {**self._headers, "Content-Type": BATCH}
        async with self._session.post(f"{self._address}/v1/events", json=events, headers=headers) as response:
            answer = await response.json()
            results = answer.get("results", [])
            if response.status != ACCEPTED or any(one["status"] != "accepted" for one in results):
                raise DemoError(f"Lettrage did not take the invoices: {response.status} {answer}")

    async def invoice(self, invoice: Invoice) -> dict[str, Any] | None:
        """The invoice as read; None while it is not known."""
        return await self._read(f"/v1/regies/{invoice.regie}/invoices/{invoice.number}")

    async def history(self, invoice: Invoice) -> list[dict[str, Any]]:
        """Its changes, oldest first."""
        found = await self._read(f"/v1/regies/{invoice.regie}/invoices/{invoice.number}/history")
        return list(found["items"]) if found else []

    async def unproven(self, regie: str) -> list[dict[str, Any]]:
        """Callbacks that this régie was sent and that prove nothing, as the open discrepancies that they are."""
        found = await self._read(f"/v1/regies/{regie}/discrepancies?state=open")
        return [each for each in found["items"] if each["kind"] == "unverified_callback"] if found else []

    async def payment(self, regie: str, reference: str) -> dict[str, Any]:
        """A payment as read."""
        found = await self._read(f"/v1/regies/{regie}/payments/{reference}")
        if found is None:
            raise DemoError(f"Lettrage does not know the payment {reference}")
        return found

    async def _read(self, path: str) -> dict[str, Any] | None:
        async with self._session.get(self._address + path, headers=self._headers) as response:
            if response.status == NOT_FOUND:
                return None
            if response.status != OK:
                raise DemoError(f"{path}: {response.status} {await response.text()}")
            found: dict[str, Any] = await response.json()
            return found


def issued(invoice: Invoice, portal: str) -> dict[str, Any]:
    """The event that says what is owed, and that the portal has its document."""
    now = datetime.now(UTC)
    means = {"means": invoice.means} if invoice.means else {}
    return {
        "specversion": "1.0",
        "type": "fr.lettrage.invoice.issued.v1",
        "source": "/facturation",
        "id": f"issued-{invoice.number}",
        "time": now.isoformat(),
        "data": {
            "regie": invoice.regie,
            "number": invoice.number,
            "account": invoice.family.account,
            "amount_cents": invoice.cents,
            "issued_on": now.date().isoformat(),
            "label": invoice.label,
            "document_url": portal + invoice.document_path,
            **means,
        },
    }
