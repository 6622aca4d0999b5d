"""The example portal's own few lines of SOAP, against the simulated PayFiP and against what is none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from eopayment.payfip_ws import PayFiP as Library

from examples.portal import payfip
from examples.portal.gateways import Order, PayFiPGateway
from examples.portal.payfip import ENVELOPE, SERVICE, PayFiPError
from tests.unit.gateways.payfip_town import NUMCLI, REFDET, Town, running

ORDER = Order(
    REFDET, ("PÉR-2026/0301",), 8640, "famille+a&b@example.org", "http://portail.example/retour?facture=7&de=b"
)


@pytest.fixture(scope="module")
def library() -> Library:
    """One client for all tests."""
    return Library()


@pytest.fixture
async def town(library: Library) -> AsyncIterator[Town]:
    """A simulated PayFiP."""
    async with running(library) as town:
        yield town


def gateway(service_url: str) -> PayFiPGateway:
    """How the portal sends families there."""
    notify_url = "http://lettrage.example/v1/callbacks/perisco"
    return PayFiPGateway("perisco", service_url, "http://payfip.example/page", NUMCLI, "T", notify_url)


def town_gateway(town: Town) -> PayFiPGateway:
    """The simulated one."""
    return gateway(str(town.browser.make_url("/tpa/services/securite")))


async def test_a_payment_is_created_as_it_was_ordered(town: Town) -> None:
    """Every field arrives as it was; the object in the few letters that PayFiP allows."""
    sent = town_gateway(town)
    idop = await sent.gateway_reference(ORDER)
    arrived = town.gateway.payfip.operations[idop].request
    assert arrived == {
        "exer": arrived["exer"],
        "mel": "famille+a&b@example.org",
        "montant": "8640",
        "numcli": NUMCLI,
        "objet": "Facture PER 2026 0301",
        "refdet": REFDET,
        "saisie": "T",
        "urlnotif": "http://lettrage.example/v1/callbacks/perisco",
        "urlredirect": "http://portail.example/retour?facture=7&de=b",
    }
    departure = sent.departure({"gateway_reference": idop}, "http://elsewhere.example")
    assert (departure.method, departure.url, departure.fields) == ("get", "http://payfip.example/page", {"idop": idop})


async def test_two_clicks_create_one_payment(town: Town) -> None:
    """At once or one after the other; another reference is another payment."""
    sent = town_gateway(town)
    first, second = await asyncio.gather(sent.gateway_reference(ORDER), sent.gateway_reference(ORDER))
    third = await sent.gateway_reference(ORDER)
    other = await sent.gateway_reference(replace(ORDER, reference="other"))
    assert first == second == third != other
    assert len(town.gateway.payfip.operations) == 2


async def test_a_family_that_gives_up_spoils_nothing(town: Town) -> None:
    """The browser that asked is gone; who asks again gets what it began."""
    sent = town_gateway(town)
    await town.spoil_service(fault="slow", delay_seconds=0.2)
    gone = asyncio.create_task(sent.gateway_reference(ORDER))
    await asyncio.sleep(0.05)
    gone.cancel()
    assert await sent.gateway_reference(ORDER) in town.gateway.payfip.operations
    assert len(town.gateway.payfip.operations) == 1


async def test_a_refusal_is_told_with_its_code(town: Town) -> None:
    """For the log."""
    with pytest.raises(PayFiPError, match=r"PayFiP: M3 Montant inférieur") as raised:
        await town_gateway(town).gateway_reference(replace(ORDER, cents=99))
    assert raised.value.code == "M3"


async def test_it_can_be_tried_again_after_a_failure(town: Town) -> None:
    """What failed is not remembered."""
    sent = town_gateway(town)
    await town.spoil_service(fault="unavailable")
    with pytest.raises(PayFiPError, match=r"999 Service momentanément indisponible"):
        await sent.gateway_reference(ORDER)
    await town.control("PUT", "service/payfip", [])
    assert await sent.gateway_reference(ORDER)


async def test_it_does_not_wait_for_ever(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """PayFiP accepts and never answers."""
    monkeypatch.setattr(payfip, "TIMEOUT_SECONDS", 0.2)
    await town.spoil_service(fault="hang")
    with pytest.raises(PayFiPError, match="TimeoutError"):
        await town_gateway(town).gateway_reference(ORDER)


@asynccontextmanager
async def answering(body: bytes) -> AsyncIterator[str]:
    """The address of a server that answers everything with this."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="text/xml")

    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


def envelope(content: str) -> bytes:
    """An answer with this in its body."""
    return f'<S:Envelope xmlns:S="{ENVELOPE}"><S:Body>{content}</S:Body></S:Envelope>'.encode()


def created(idop: str) -> str:
    """The answer to a creation."""
    name = "creerPaiementSecuriseResponse"
    return f'<p:{name} xmlns:p="{SERVICE}"><return><idOp>{idop}</idOp></return></p:{name}>'


BOMB = '<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not XML"),
        (b"<h1>Internal Server Error", "not XML"),
        (b'<?xml version="1.0" encoding="nothing"?><a/>', "not XML"),
        (envelope(""), "neither an idOp nor a fault"),
        (envelope(created("")), "neither an idOp nor a fault"),
        (envelope("<S:Fault/>"), "a fault without a word"),
        (BOMB.encode() + envelope(created("&b;")), "document type"),
        ((BOMB + envelope(created("&b;")).decode()).encode("utf-16"), "document type"),
        (envelope(created("1" * 65_536)), "too long"),
    ],
)
async def test_what_makes_no_sense_is_no_payment(body: bytes, said: str) -> None:
    """The family is not sent anywhere; no entity is expanded."""
    async with answering(body) as url:
        with pytest.raises(PayFiPError, match=said):
            await gateway(url).gateway_reference(ORDER)


async def test_an_answer_in_pieces_is_read_to_its_end() -> None:
    """Whatever its size below the limit."""
    async with answering(envelope(created("1" * 60_000))) as url:
        assert await gateway(url).gateway_reference(ORDER) == "1" * 60_000


async def test_nobody_there_is_no_payment() -> None:
    """Nothing listens."""
    with pytest.raises(PayFiPError, match="ClientConnectorError"):
        await gateway("http://127.0.0.1:9/").gateway_reference(ORDER)
