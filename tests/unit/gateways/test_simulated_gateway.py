"""The simulated gateway of the demo, against the adapter that must believe it, or not."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from examples.gateway import lyra
from examples.gateway.payfip import PayFiP
from examples.gateway.payments import Shop
from examples.gateway.server import Gateway
from schemas.reports import Report, ReportResult
from tests.unit.gateways.lyra_answers import PRODUCTION_KEY, SITE, hmac_signature, regie
from tests.unit.gateways.reading import report_of

REQUEST = {
    "vads_amount": "4250",
    "vads_ctx_mode": "PRODUCTION",
    "vads_currency": "978",
    "vads_ext_info_eopayment_trans_id": "P-1",
    "vads_site_id": SITE,
    "vads_trans_date": "20261123083000",
    "vads_trans_id": "aB3x9Z",
    "vads_url_return": "http://portail.example/retour?facture=7",
}
SIGNED = {**REQUEST, "signature": hmac_signature(REQUEST, PRODUCTION_KEY)}
LINK = {
    "transaction_id": "d-1",
    "amount": "42.50",
    "return_url": "http://portail.example/retour",
    "direct_notification_url": "http://127.0.0.1:9/nobody",
}
SOON = 5
"""Seconds; a notification takes milliseconds."""


@dataclass
class Lettrage:
    """Stands where Lettrage would: keeps the bodies of callbacks, answers what it is told to."""

    statuses: list[int] = field(default_factory=list)
    bodies: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    async def receive(self, request: web.Request) -> web.Response:
        """Take a callback."""
        self.bodies.put_nowait(await request.read())
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def next_report(self) -> Report:
        """What the adapter makes of the next callback."""
        return report_of(regie(), "POST", "", await asyncio.wait_for(self.bodies.get(), SOON))


@dataclass
class World:
    """A gateway that notifies a Lettrage."""

    lettrage: Lettrage
    gateway: Gateway
    browser: TestClient[web.Request, web.Application]

    async def open(self) -> ClientResponse:
        """Send the form, and follow to the payment page."""
        return await self.browser.post("/vads-payment/", data=SIGNED)

    async def choose(self, choice: str) -> str:
        """Open the payment page, press a button; the query that the browser brings back."""
        page = await self.open()
        left = await self.browser.post(page.url.path, data={"choix": choice}, allow_redirects=False)
        return urlsplit(left.headers["Location"]).query

    async def spoil(self, **fault: object) -> None:
        """Make something go wrong with the payment; nothing any more without a fault."""
        answer = await self.browser.put("/control/faults/P-1", json=fault or [])
        assert answer.status == 204

    async def tries(self) -> list[str]:
        """What became of each try of the notification."""
        payments = await (await self.browser.get("/control/payments")).json()
        tries: list[str] = payments[0]["tries"]
        return tries

    def nothing_is_sent(self) -> bool:
        """Whether no notification is under way, nor was."""
        payments = self.gateway.payments.values()
        return self.gateway.notifier.is_idle() and not any(payment.tries for payment in payments)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Both on ports of their own."""
    lettrage = Lettrage()
    receiving = web.Application()
    receiving.router.add_post("/callbacks", lettrage.receive)
    async with TestServer(receiving) as server:
        shop = Shop(SITE, "Régie Enfance", PRODUCTION_KEY, str(server.make_url("/callbacks")))
        gateway = Gateway([shop], PayFiP(), retry_seconds=0)
        async with TestClient(TestServer(gateway.application())) as browser:
            yield World(lettrage, gateway, browser)


def test_two_implementations_of_lyras_signature_agree() -> None:
    """The simulated gateway's own and the tests' own."""
    assert lyra.sign(REQUEST, PRODUCTION_KEY) == hmac_signature(REQUEST, PRODUCTION_KEY)


@pytest.mark.parametrize(("choice", "result"), [("payer", ReportResult.PAID), ("refuser", ReportResult.REFUSED)])
async def test_a_choice_is_notified_and_believed(world: World, choice: str, result: ReportResult) -> None:
    """The shop hears of a payment and of a refusal, signed."""
    await world.choose(choice)
    report = await world.lettrage.next_report()
    assert (report.verified, report.result, report.gateway_reference) == (True, result, "P-1")


async def test_an_abandonment_is_told_to_the_browser_alone(world: World) -> None:
    """As at Lyra by default; what the browser brings back is signed all the same."""
    query = await world.choose("annuler")
    report = report_of(regie(), "GET", query, b"")
    assert (report.verified, report.result) == (True, ReportResult.ABANDONED)
    assert world.nothing_is_sent()


async def test_a_notification_is_repeated_until_it_is_heard(world: World) -> None:
    """A shop that is down hears later, the same."""
    world.lettrage.statuses = [503, 500]
    await world.choose("payer")
    reports = [await world.lettrage.next_report() for _ in range(3)]
    assert reports[0] == reports[2]
    assert (await world.tries())[:2] == ["503", "500"]


async def test_a_second_press_changes_nothing(world: World) -> None:
    """The choice was made; the page says so and leads back."""
    await world.choose("payer")
    page = await world.browser.post("/vads-payment/", data=SIGNED)
    again = await world.browser.post(page.url.path, data={"choix": "annuler"})
    assert "Ce paiement est terminé" in await again.text()
    assert (await world.lettrage.next_report()).result is ReportResult.PAID


async def test_a_notification_can_come_twice(world: World) -> None:
    """Byte for byte."""
    await world.spoil(fault="duplicate")
    await world.choose("payer")
    first, second = [await asyncio.wait_for(world.lettrage.bodies.get(), SOON) for _ in range(2)]
    assert first == second


async def test_a_notification_can_stay_away(world: World) -> None:
    """Silence."""
    await world.spoil(fault="silence")
    await world.choose("payer")
    assert world.nothing_is_sent()


async def test_a_notification_can_be_forged(world: World) -> None:
    """It says paid where the payer left, and proves nothing."""
    await world.spoil(fault="forged")
    await world.choose("annuler")
    report = await world.lettrage.next_report()
    assert (report.verified, report.why) == (False, "signature_invalid")


async def test_a_form_that_nobody_signed_opens_nothing(world: World) -> None:
    """Amounts cannot be changed on the way to the bank."""
    answer = await world.browser.post("/vads-payment/", data={**SIGNED, "vads_amount": "1"})
    assert answer.status == 400
    assert "Signature invalide" in await answer.text()


async def test_the_dummy_answers_in_its_own_words(world: World) -> None:
    """No signature but the word."""
    page = await world.browser.get("/dummy/?" + urlencode(LINK))
    assert "42,50" in await page.text()
    left = await world.browser.post(page.url.path, data={"choix": "payer"}, allow_redirects=False)
    assert left.headers["Location"].endswith("?transaction_id=d-1&signed=1&ok=1")


async def test_a_notification_can_be_late(world: World) -> None:
    """By so many seconds."""
    await world.spoil(fault="late", delay_seconds=0.3)
    begun = time.monotonic()
    await world.choose("payer")
    await world.lettrage.next_report()
    assert time.monotonic() - begun >= 0.3


async def test_another_amount_can_be_paid(world: World) -> None:
    """Signed all the same: what was asked for is the portal's to compare."""
    await world.spoil(fault="wrong_amount", amount_cents=100)
    await world.choose("payer")
    report = await world.lettrage.next_report()
    assert (report.verified, report.cents) == (True, 100)


async def test_a_test_can_answer_production(world: World) -> None:
    """It says TEST; the adapter keeps it apart."""
    await world.spoil(fault="test")
    await world.choose("payer")
    report = await world.lettrage.next_report()
    assert (report.verified, report.test) == (False, True)


async def test_a_page_can_be_slow(world: World) -> None:
    """It opens, after so many seconds."""
    await world.spoil(fault="slow", delay_seconds=0.3)
    begun = time.monotonic()
    assert (await world.open()).status == 200
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(("fault", "status"), [("error", 500), ("unavailable", 503)])
async def test_a_page_can_fail(world: World, fault: str, status: int) -> None:
    """The form opens nothing while the fault lasts; then it does."""
    await world.spoil(fault=fault)
    assert (await world.open()).status == status
    await world.spoil()
    assert (await world.open()).status == 200


async def test_a_page_can_fail_to_come(world: World) -> None:
    """The browser waits until it gives up."""
    await world.spoil(fault="hang")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(world.open(), 0.3)


async def test_a_service_can_be_down_for_a_while(world: World) -> None:
    """All of Lyra, and nothing else; it ends by itself."""
    answer = await world.browser.put("/control/service/lyra", json={"fault": "unavailable", "seconds": 0.5})
    assert answer.status == 204
    assert (await world.open()).status == 503
    assert (await world.browser.get("/dummy/?" + urlencode(LINK))).status == 200
    await asyncio.sleep(0.6)
    assert (await world.open()).status == 200


async def test_a_payments_own_fault_comes_first(world: World) -> None:
    """A service that is late by an hour, a payment that is not."""
    await world.browser.put("/control/service/lyra", json={"fault": "late", "delay_seconds": 3600})
    await world.spoil(fault="late", delay_seconds=0)
    await world.choose("payer")
    assert (await world.lettrage.next_report()).result is ReportResult.PAID


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "not JSON"),
        ("[" * 30_000, "not JSON"),
        ("7", "is an object"),
        ("{}", "none of the allowed"),
        ('{"fault": []}', "none of the allowed"),
        ('{"fault": "flood"}', "none of the allowed"),
        ('{"fault": "silence", "delay_seconds": 3}', '"silence" takes no delay_seconds'),
        ('{"fault": "late"}', '"late" needs delay_seconds'),
        ('{"fault": "late", "delay_seconds": -1}', "from 0 to 3600"),
        ('{"fault": "late", "delay_seconds": NaN}', "from 0 to 3600"),
        ('{"fault": "late", "delay_seconds": true}', "from 0 to 3600"),
        ('{"fault": "late", "delay_seconds": "5"}', "from 0 to 3600"),
        ('{"fault": "late", "delay_seconds": null}', "from 0 to 3600"),
        ('{"fault": "hang", "seconds": 1e9}', "from 0 to 86400"),
        ('{"fault": "wrong_amount", "amount_cents": 1.5}', "whole number from 0 to 10000000"),
        ('[{"fault": "silence"}, {"fault": "flood"}]', "none of the allowed"),
    ],
)
async def test_a_fault_that_cannot_be_had_is_told(world: World, body: str, said: str) -> None:
    """What is wrong, and what is allowed; nothing of it is kept."""
    for path in ("faults/P-1", "service/lyra"):
        answer = await world.browser.put(f"/control/{path}", data=body)
        told = await answer.json()
        assert (answer.status, said in told["error"]) == (422, True), told
        assert told["allowed"]["late"] == "delay_seconds"
    assert world.gateway.faults.in_force("lyra", ["P-1"]) == {}


async def test_a_protocol_that_there_is_not_is_told(world: World) -> None:
    """With those that there are."""
    answer = await world.browser.put("/control/service/paypal", json={"fault": "hang"})
    assert (answer.status, (await answer.json())["allowed"]) == (422, ["lyra", "dummy", "payfip"])


async def test_two_protocols_have_nothing_in_common(world: World) -> None:
    """The dummy's payment has a name that Lyra's has too; each has its own page."""
    await world.open()
    page = await world.browser.get("/dummy/?" + urlencode({**LINK, "transaction_id": "P-1"}))
    assert "Régie Enfance" not in await page.text()
    assert len(world.gateway.payments) == 2


async def test_a_form_is_not_too_long(world: World) -> None:
    """64 KiB, then 413."""
    assert (await world.browser.post("/vads-payment/", data={"a": "1" * 65_536})).status == 413
