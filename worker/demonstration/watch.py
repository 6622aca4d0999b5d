"""Who watches: reads every invoice over and over, and tells each change once, in their order."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from worker.demonstration.families import Invoice
from worker.demonstration.lettrage import Lettrage

POLL_SECONDS: Final = 0.5
"""A person sees no delay, and a dozen invoices cost nothing."""

Change = dict[str, Any]


class Watch:
    """What is known of each invoice, by number. `seen_payable_at`: first read payable after being in payment."""

    def __init__(
        self,
        lettrage: Lettrage,
        invoices: Sequence[Invoice],
        tell: Callable[[Invoice, Change], None],
        tell_unproven: Callable[[str, Change], None],
    ) -> None:
        self._lettrage = lettrage
        self._invoices = invoices
        self._regies = sorted({invoice.regie for invoice in invoices})
        self._tell = tell
        self._tell_unproven = tell_unproven
        self._told: dict[str, int] = {}
        self._counted: dict[str, str] = {}
        self.read: dict[str, dict[str, Any]] = {}
        self.seen_payable_at: dict[str, datetime] = {}

    async def for_ever(self) -> NoReturn:
        """Look, again and again, until cancelled."""
        while True:
            found = await asyncio.gather(*(self._look(invoice) for invoice in self._invoices))
            news = [(invoice, change) for changes in found for invoice, change in changes]
            for invoice, change in sorted(news, key=_when):
                self._tell(invoice, change)
            for regie in self._regies:
                await self._look_for_unproven(regie)
            await asyncio.sleep(POLL_SECONDS)

    async def _look_for_unproven(self, regie: str) -> None:
        """What came since the last look and proved nothing; it changed nothing, so that nobody else tells of it."""
        for found in await self._lettrage.unproven(regie):
            count = found["detail"]["count"]
            if self._counted.get(found["id"]) != count:
                self._counted[found["id"]] = count
                self._tell_unproven(regie, found)

    async def _look(self, invoice: Invoice) -> list[tuple[Invoice, Change]]:
        """What changed since the last look."""
        found = await self._lettrage.invoice(invoice)
        if found is None:
            return []
        before = self.read.get(invoice.number)
        if before and (before["state"], found["state"]) == ("in_payment", "payable"):
            self.seen_payable_at.setdefault(invoice.number, datetime.now(UTC))
        self.read[invoice.number] = found
        if before and before["version"] == found["version"]:
            return []
        changes = await self._lettrage.history(invoice)
        told = self._told.get(invoice.number, 0)
        self._told[invoice.number] = len(changes)
        return [(invoice, change) for change in changes[told:]]


def _when(news: tuple[Invoice, Change]) -> tuple[datetime, str]:
    invoice, change = news
    return datetime.fromisoformat(change["at"]), invoice.number
