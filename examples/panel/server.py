"""The panel's HTTP side: one page, the part of it that follows the invoices, and the faults that were chosen."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from examples.panel import pages
from examples.panel.watch import Watch

HERE = Path(__file__).parent
TIMEOUT_SECONDS = 5
PROTOCOLS = ("lyra", "dummy", "payfip")
"""All that the simulated gateway speaks: what goes wrong goes wrong for every régie."""


@dataclass(frozen=True)
class Settings:
    """Where everything is. `late_seconds`: how late a late notification comes, past the hold's end."""

    lettrage_url: str
    token: str
    portal_url: str
    gateway_url: str
    account: str
    password: str
    hold_seconds: int
    late_seconds: int


class Panel:
    """The demo's panel."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._faults: dict[str, list[dict[str, Any]]] = {
            "aucun": [],
            "silence": [{"fault": "silence"}],
            "retard": [{"fault": "late", "delay_seconds": settings.late_seconds}],
            "double": [{"fault": "duplicate"}],
            "faux": [{"fault": "forged"}],
        }
        self._chosen = "aucun"

    def application(self) -> web.Application:
        """Build the application, with its routes."""
        app = web.Application()
        app.cleanup_ctx.append(self._open_client)
        app.router.add_get("/", self.show)
        app.router.add_get("/factures", self.follow)
        app.router.add_post("/panne", self.choose)
        app.router.add_get("/panel.css", _file("panel.css"))
        app.router.add_get("/panel.js", _file("panel.js"))
        return app

    async def _open_client(self, _app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT_SECONDS)) as session:
            self._session = session
            self._watch = Watch(session, self._settings.lettrage_url, self._settings.token)
            yield

    async def show(self, _request: web.Request) -> web.Response:
        """Show the whole page."""
        return _page(pages.panel_page(self._settings, self._chosen, await self._invoices()))

    async def follow(self, _request: web.Request) -> web.Response:
        """Show the invoices alone: what the script puts in the place of the old ones."""
        return _page(await self._invoices())

    async def _invoices(self) -> str:
        try:
            unproven, invoices = await asyncio.gather(self._watch.unproven(), self._watch.invoices())
            return pages.unproven_part(unproven) + pages.invoices_part(invoices)
        except (aiohttp.ClientError, TimeoutError):
            return pages.SILENT

    async def choose(self, request: web.Request) -> web.Response:
        """Have the gateway make one thing go wrong, or nothing."""
        wanted = str((await request.post()).get("panne"))
        if wanted not in self._faults:
            raise web.HTTPBadRequest
        try:
            await asyncio.gather(*(self._spoil(protocol, self._faults[wanted]) for protocol in PROTOCOLS))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise web.HTTPBadGateway(text="Le site de paiement simulé ne répond pas.") from error
        self._chosen = wanted
        raise web.HTTPSeeOther("/#panne")

    async def _spoil(self, protocol: str, faults: list[dict[str, Any]]) -> None:
        address = f"{self._settings.gateway_url}/control/service/{protocol}"
        async with self._session.put(address, json=faults) as response:
            response.raise_for_status()


def _page(html: str) -> web.Response:
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    }
    return web.Response(text=html, content_type="text/html", headers=headers)


def _file(name: str) -> Any:  # noqa: ANN401 (aiohttp's own kinds of handler)
    async def serve(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(HERE / name)

    return serve
