"""What the example portal makes of notifications: signed ones are kept, the highest version wins, in any order."""

import base64
import itertools
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from standardwebhooks import Webhook

from examples.portal.families import Registry
from examples.portal.gateways import DummyGateway
from examples.portal.server import Portal, Settings
from tests.unit.portal.conftest import FAMILY, INVOICE, Lettrage, Visitor
from worker.conformance.check import Trial
from worker.conformance.finding import Result
from worker.conformance.portal import Patience
from worker.conformance.portal import Portal as Tried
from worker.conformance.samples import Samples

SECRET = "whsec_" + base64.b64encode(b"a portal's own secret, 32 bytes.").decode()
NEXT = "whsec_" + base64.b64encode(b"the one that comes after it: 32.").decode()
NUMBERS = itertools.count(1)
SURE = Patience(answer=20, shown=20, steady=0.3, poll=0.02)
"""For a busy machine: whatever is right is waited for."""


@pytest.fixture
def portal(lettrage: tuple[Lettrage, str]) -> Portal:
    """A portal that is told of changes."""
    gateway = DummyGateway("enfance", "http://bank.example/dummy/", "http://lettrage.example/callback")
    settings = Settings("http://portal.example", lettrage[1], "token", notification_secrets=[SECRET, NEXT])
    return Portal(Registry([FAMILY]), {"enfance": gateway}, settings)


@pytest.fixture
async def family(portal: Portal) -> AsyncIterator[Visitor]:
    """A family that has signed in there."""
    async with TestClient(TestServer(portal.application())) as client:
        visitor = Visitor(client)
        await visitor.visit_first()
        await visitor.choose()
        yield visitor


@pytest.fixture
async def untold_visitor(lettrage: tuple[Lettrage, str]) -> AsyncIterator[Visitor]:
    """A browser at a portal that is told nothing."""
    gateway = DummyGateway("enfance", "http://bank.example/dummy/", "http://lettrage.example/callback")
    settings = Settings("http://portal.example", lettrage[1], "token")
    app = Portal(Registry([FAMILY]), {"enfance": gateway}, settings).application()
    async with TestClient(TestServer(app)) as client:
        yield Visitor(client)


def invoice(version: int, state: str, number: str = "F-1") -> str:
    """The body of a notification."""
    data = {"regie": "enfance", "number": number, "account": FAMILY.account, "state": state, "version": version}
    more = {"payable_again_at": None, "payment": None, "reason": "issued"}
    return json.dumps({"type": f"invoice.{state}", "timestamp": "2026-11-25T14:26:40Z", "data": {**data, **more}})


async def send(
    family: Visitor, body: str, secret: str = SECRET, at: datetime | None = None, signed: str | None = None
) -> int:
    """Send it, signed by the standard's own library, and return the status."""
    number, when = f"msg_{next(NUMBERS)}", at or datetime.now(UTC)
    signature = Webhook(secret).sign(number, when, signed or body)
    headers = {
        "webhook-id": number,
        "webhook-timestamp": str(int(when.timestamp())),
        "webhook-signature": signature,
        "Content-Type": "application/json",
    }
    async with family.client.post("/notifications", data=body, headers=headers) as answer:
        return answer.status


def go_away(lettrage: Lettrage) -> None:
    """Lettrage's API answers nobody."""
    lettrage.answers = {path: (503, {}) for path in lettrage.answers}


async def test_the_home_page_is_right_while_lettrage_is_away(
    family: Visitor, portal: Portal, lettrage: tuple[Lettrage, str]
) -> None:
    """Read once, then told of a change: the page counts as Lettrage would, and says that it cannot ask."""
    await family.open("/")
    assert "1 facture en attente" in family.words.replace("\u00a0", " ")
    for version, cents in ((1, 700), (2, 800)):  # neither says an amount, so it is looked up afterwards
        second = {"number": "F-2", "amount_cents": cents}
        lettrage[0].answers["/v1/regies/enfance/invoices/F-2"] = (200, {**INVOICE, **second, "version": version})
        assert await send(family, invoice(version, "payable", "F-2"), NEXT) == 204
        while second not in portal._memory.payable("enfance", FAMILY.account):
            await family.open("/connexion")
    go_away(lettrage[0])
    await family.open("/")
    assert family.status == 200
    assert "2 factures en attente" in family.words.replace("\u00a0", " ")
    assert "50,00" in family.words
    assert "momentanément illisibles" in family.words
    assert "/facturation?regie=" not in family.html
    assert await send(family, invoice(2, "paid")) == 204
    await family.open("/")
    assert "1 facture en attente" in family.words.replace("\u00a0", " ")
    assert "8,00" in family.words


@pytest.mark.parametrize("order", list(itertools.permutations([(1, "payable"), (2, "in_payment"), (3, "paid")])))
async def test_any_order_and_any_repetition_end_the_same(
    family: Visitor, lettrage: tuple[Lettrage, str], order: tuple[tuple[int, str], ...]
) -> None:
    """The highest version is what counts."""
    for version, state in [*order, *reversed(order)]:
        assert await send(family, invoice(version, state, "F-9")) == 204
    go_away(lettrage[0])
    await family.open("/")
    assert "1 facture en attente" in family.words.replace("\u00a0", " ")  # the one that was read at sign-in


async def test_what_is_not_signed_just_now_is_refused(family: Visitor, lettrage: tuple[Lettrage, str]) -> None:
    """Another secret, another body, an old or a future one, no signature, no JSON, no version: nothing is kept."""
    forged = "whsec_" + base64.b64encode(b"somebody else's secret: 32 bytes").decode()
    assert await send(family, invoice(9, "payable", "F-9"), forged) == 401
    assert await send(family, invoice(9, "payable", "F-9"), signed=invoice(9, "paid")) == 401
    for minutes in (-6, 6):
        old = datetime.now(UTC) + timedelta(minutes=minutes)
        assert await send(family, invoice(9, "payable", "F-9"), at=old) == 401
    assert await send(family, "no JSON") == 400
    assert await send(family, json.dumps({"type": "invoice.paid", "data": {"regie": "enfance"}})) == 400
    assert await send(family, invoice(9, "payable").replace("9", '"9"')) == 400
    async with family.client.post("/notifications", data=invoice(9, "payable", "F-9")) as answer:
        assert answer.status == 400
    go_away(lettrage[0])
    await family.open("/")
    assert "1 facture en attente" in family.words.replace("\u00a0", " ")  # the one that was read at sign-in


async def test_a_discrepancy_is_taken_and_is_no_familys_business(family: Visitor) -> None:
    """Answered 2xx, or it would be sent for days."""
    assert await send(family, json.dumps({"type": "discrepancy.opened", "data": {"id": "1"}})) == 204


async def test_without_notifications_an_outage_is_an_outage(
    untold_visitor: Visitor, lettrage: tuple[Lettrage, str]
) -> None:
    """A portal that is told nothing shows nothing that may have changed; and takes no notifications."""
    await untold_visitor.visit_first()
    await untold_visitor.choose()
    await untold_visitor.open("/")
    go_away(lettrage[0])
    await untold_visitor.open("/")
    assert untold_visitor.status == 503
    async with untold_visitor.client.post("/notifications", data="{}") as answer:
        assert answer.status in (404, 405)


async def test_the_kit_for_portals_finds_nothing_wrong(lettrage: tuple[Lettrage, str], tmp_path: Path) -> None:
    """All of `lettrage portal check`, against what integrators copy from; what the portal keeps is shown beside it."""
    kept = tmp_path / "portal.sqlite"

    async def state(request: web.Request) -> web.Response:
        wanted = (request.match_info["regie"], request.match_info["number"])
        with closing(sqlite3.connect(kept)) as db:
            query = "SELECT state, version FROM invoices WHERE regie = ? AND number = ?"
            row = db.execute(query, wanted).fetchone()
        return web.json_response({"state": row[0], "version": row[1]}) if row else web.json_response({}, status=404)

    settings = Settings("http://portal.example", lettrage[1], "token", state=kept, notification_secrets=[SECRET])
    app = Portal(Registry([FAMILY]), {}, settings).application()
    beside = web.Application()
    beside.router.add_get("/state/{regie}/{number}", state)
    async with TestServer(app) as portal, TestServer(beside) as shown:
        seen = Tried(str(portal.make_url("/notifications")), SURE, f"{shown.make_url('/')}state/{{regie}}/{{number}}")
        samples = Samples("enfance", "F/0042", "0123abcd", 1_700_000_000)
        try:
            found = [finding async for finding in Trial(seen, SECRET, samples).findings()]
        finally:
            await seen.close()
    assert {finding.name: finding.what for finding in found if finding.result is not Result.OK} == {}
