"""A simulated PayFiP that notifies a portal, and eopayment's own client of PayFiP's web service to ask it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from eopayment.payfip_ws import PayFiP as Library

from examples.gateway.payfip import PayFiP, Regie
from examples.gateway.server import Gateway

NUMCLI = "006271"
REFDET = "ab12cd34ef567890"
SOON_SECONDS = 5
"""A notification takes milliseconds."""
LIBRARY_SECONDS = 5
OPEN_SECONDS, PURGE_SECONDS = 20.0, 100.0
"""Minutes and a day, shortened; the town's clock stands still unless a test moves it."""
TEN_IN_PARIS = 1795424400.0
"""2026-11-23 10:00:00 in Paris, as seconds since 1970."""


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = TEN_IN_PARIS

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@dataclass(frozen=True)
class Heard:
    """A notification as it came."""

    method: str
    query: Mapping[str, list[str]]
    body: Mapping[str, list[str]]


@dataclass
class Town:
    """Everything that a test of the simulated PayFiP needs."""

    gateway: Gateway
    clock: Clock
    browser: TestClient[web.Request, web.Application]
    portal: str
    library: Library
    heard: asyncio.Queue[Heard] = field(default_factory=asyncio.Queue)

    async def receive(self, request: web.Request) -> web.Response:
        """Stand where the portal would."""
        body = (await request.read()).decode()
        self.heard.put_nowait(Heard(request.method, parse_qs(request.query_string), parse_qs(body)))
        return web.Response()

    async def next_heard(self) -> Heard:
        """Wait for the next notification."""
        return await asyncio.wait_for(self.heard.get(), SOON_SECONDS)

    def asked(self, **other: str | None) -> dict[str, Any]:
        """What a portal asks for, in eopayment's words."""
        return {
            "numcli": NUMCLI,
            "saisie": "T",
            "exer": "2026",
            "refdet": REFDET,
            "montant": "8640",
            "mel": "famille@example.org",
            "objet": "Facture PER 2026 0301",
            "url_notification": f"{self.portal}/notification",
            "url_redirect": f"{self.portal}/retour",
            **other,
        }

    async def create(self, **other: str | None) -> str:
        """Create a payment, as the library does; its idOp."""
        found = await asyncio.to_thread(self.library.get_idop, timeout=LIBRARY_SECONDS, **self.asked(**other))
        return str(found)

    async def look_up(self, idop: str, timeout_seconds: float = LIBRARY_SECONDS) -> dict[str, str | None]:
        """Ask what became of a payment, as the library does."""
        found = await asyncio.to_thread(self.library.get_info_paiement, idop, timeout=timeout_seconds)
        return {name: found[name] for name in found}

    async def open(self, idop: str) -> str:
        """Open the payment page; its path."""
        page = await self.browser.get("/tpa/paiementws.web", params={"idop": idop})
        assert page.status == 200, await page.text()
        return page.url.path

    async def choose(self, idop: str, choice: str) -> str:
        """Open the page and press a button; where the browser is sent."""
        path = await self.open(idop)
        left = await self.browser.post(path, data={"choix": choice}, allow_redirects=False)
        return left.headers["Location"]

    async def control(self, method: str, path: str, json: object = None) -> tuple[int, Any]:
        """Speak to the control API; status and answer."""
        async with self.browser.request(method, f"/control/{path}", json=json) as answer:
            return answer.status, await answer.json() if answer.content_type == "application/json" else None

    async def spoil(self, name: str, **fault: object) -> None:
        """Make something go wrong with a payment."""
        assert await self.control("PUT", f"faults/{name}", fault) == (204, None)

    async def spoil_service(self, **fault: object) -> None:
        """Make something go wrong with all of PayFiP."""
        assert await self.control("PUT", "service/payfip", fault) == (204, None)

    async def listed(self) -> dict[str, Any]:
        """What the gateway lists of its only payment."""
        _, payments = await self.control("GET", "payments")
        (only,) = payments
        found: dict[str, Any] = only
        return found


@asynccontextmanager
async def running(library: Library) -> AsyncIterator[Town]:
    """Both on ports of their own, the library pointed at the gateway's."""
    clock = Clock()
    payfip = PayFiP([Regie(NUMCLI, ["Ville de Lettrage", "Régie Périscolaire"])], OPEN_SECONDS, PURGE_SECONDS, clock)
    gateway = Gateway([], payfip, retry_seconds=0)
    receiving = web.Application()
    async with TestClient(TestServer(gateway.application())) as browser:
        town = Town(gateway, clock, browser, "", library)
        receiving.router.add_route("*", "/{any}", town.receive)
        async with TestServer(receiving) as portal:
            town.portal = str(portal.make_url("")).rstrip("/")
            address = str(browser.make_url("/tpa/services/securite"))
            library.client.service._binding_options["address"] = address
            yield town
