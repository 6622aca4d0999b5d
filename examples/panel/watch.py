"""What Lettrage knows of every invoice, read as a stranger reads it: over the public API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp

VIEWS = ("payable", "history", "direct_debit")
SHOWN = 30
"""Invoices on the page; those that changed last come first."""
UNPROVEN = "unverified_callback"
SHOWN_UNPROVEN = 5
"""Callbacks on the page that proved nothing."""


@dataclass
class Watch:
    """Reads invoices and their histories; a history is read again only when its invoice has changed."""

    session: aiohttp.ClientSession
    url: str
    token: str
    _histories: dict[tuple[str, str], tuple[int, list[dict[str, Any]]]] = field(default_factory=dict)

    async def invoices(self) -> list[dict[str, Any]]:
        """Every invoice of every régie, each with its `history` and its régie's `label`; the last changed first."""
        regies = (await self._get("/v1/regies"))["items"]
        found = {
            (invoice["regie"], invoice["number"]): invoice | {"regie_label": regie["label"]}
            for regie in regies
            for view in VIEWS
            for invoice in (await self._get(f"/v1/regies/{regie['code']}/invoices", {"view": view}))["items"]
        }
        for key, invoice in found.items():
            invoice["history"] = await self._history(key, invoice["version"])
        return sorted(found.values(), key=_changed, reverse=True)[:SHOWN]

    async def unproven(self) -> list[dict[str, Any]]:
        """Callbacks that came and proved nothing, each with its régie's `label`; the last one first."""
        found = []
        for regie in (await self._get("/v1/regies"))["items"]:
            discrepancies = await self._get(f"/v1/regies/{regie['code']}/discrepancies", {"state": "open"})
            found += [
                each | {"regie_label": regie["label"]} for each in discrepancies["items"] if each["kind"] == UNPROVEN
            ]
        return sorted(found, key=lambda each: str(each["opened_at"]), reverse=True)[:SHOWN_UNPROVEN]

    async def _history(self, key: tuple[str, str], version: int) -> list[dict[str, Any]]:
        known = self._histories.get(key)
        if known is None or known[0] != version:
            regie, number = key
            path = f"/v1/regies/{regie}/invoices/{quote(number, safe='')}/history"
            known = self._histories[key] = version, (await self._get(path))["items"]
        return known[1]

    async def _get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.session.get(f"{self.url}{path}", params=query, headers=headers) as response:
            response.raise_for_status()
            content: dict[str, Any] = await response.json()
            return content


def _changed(invoice: Mapping[str, Any]) -> str:
    history = invoice["history"]
    return history[-1]["at"] if history else ""
