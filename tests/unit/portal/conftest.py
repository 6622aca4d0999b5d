"""The example portal in this process, before a Lettrage that answers what a test tells it to."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from examples.portal import passwords
from examples.portal.families import Family, Registry
from examples.portal.gateways import DummyGateway
from examples.portal.server import Portal, Settings

FAMILY = Family("D-1001", "Famille Léger", "leger@example.org")
PASSWORD = "un cartable tout neuf"
INVOICE: dict[str, Any] = {
    "regie": "enfance",
    "number": "F-1",
    "account": FAMILY.account,
    "amount_cents": 4200,
    "issued_on": None,
    "label": "Goûter <b>& devoirs</b>",
    "document_url": "javascript:alert(1)",
    "means": None,
    "state": "payable",
    "payable_again_at": None,
    "to_check": False,
    "paid_at": None,
    "payments": [],
    "version": 1,
}


@dataclass
class Lettrage:
    """Answers by path: a status and a content; whatever else is asked for is not there. `asked` keeps the events."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer as told."""
        if request.method == "POST":
            self.asked.append(await request.json())
        status, content = self.answers.get(request.path, (404, {}))
        return web.json_response(content, status=status)


@dataclass
class Visitor:
    """A browser without a screen."""

    client: TestClient[web.Request, web.Application]
    html: str = ""
    status: int = 0
    path: str = ""

    async def open(self, path: str) -> None:
        """Show a page, redirects followed."""
        async with self.client.get(path) as answer:
            self.status, self.html, self.path = answer.status, await answer.text(), answer.url.path

    async def send(self, path: str, **fields: str) -> None:
        """Send a form with the proof that the shown page carries."""
        found = re.search(r'name="jeton" value="([0-9a-f]{64})"', self.html)
        assert found, self.html
        async with self.client.post(path, data={"jeton": found[1], **fields}) as answer:
            self.status, self.html, self.path = answer.status, await answer.text(), answer.url.path

    async def visit_first(self, account: str = FAMILY.account, name: str = FAMILY.name) -> None:
        """Say who one is."""
        await self.open("/premiere-visite")
        await self.send("/premiere-visite", dossier=account, nom=name)

    async def choose(self, password: str = PASSWORD) -> None:
        """Choose a password."""
        await self.send("/mot-de-passe", mot_de_passe=password, encore=password)

    async def sign_in(self, account: str = FAMILY.account, password: str = PASSWORD) -> None:
        """Sign in."""
        await self.open("/connexion")
        await self.send("/connexion", dossier=account, mot_de_passe=password)

    @property
    def words(self) -> str:
        """What is read on the page."""
        return unescape(re.sub(r"<[^>]*>|\s+", " ", self.html))


@pytest.fixture(autouse=True)
def cheap_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests at a thousandth of their cost; what they are worth is not tried here."""
    monkeypatch.setattr(passwords, "COST", 2**5)


@pytest.fixture
async def lettrage() -> AsyncIterator[tuple[Lettrage, str]]:
    """A Lettrage that knows one régie and one invoice, and its address."""
    told = Lettrage()
    told.answers = {
        "/v1/regies/enfance": (200, {"code": "enfance", "label": "Régie Enfance"}),
        "/v1/regies/enfance/invoices": (200, {"items": [INVOICE], "next_cursor": None}),
        "/v1/regies/enfance/invoices/F-1": (200, INVOICE),
    }
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", told.answer)
    async with TestServer(app) as server:
        yield told, str(server.make_url("/"))


@pytest.fixture
async def portal(lettrage: tuple[Lettrage, str]) -> AsyncIterator[TestServer]:
    """The portal, with a family and a régie."""
    gateway = DummyGateway("enfance", "http://bank.example/dummy/", "http://lettrage.example/callback")
    settings = Settings("http://portal.example", lettrage[1], "token")
    server = TestServer(Portal(Registry([FAMILY]), {"enfance": gateway}, settings).application())
    async with server:
        yield server


@pytest.fixture
async def visitor(portal: TestServer) -> AsyncIterator[Visitor]:
    """A browser that was never here."""
    async with TestClient(portal) as client:
        yield Visitor(client)


@pytest.fixture
async def other(portal: TestServer) -> AsyncIterator[Visitor]:
    """Another browser."""
    async with TestClient(portal) as client:
        yield Visitor(client)
