"""The simulated PayFiP, asked by eopayment's own client, which reads its answers by the real WSDL."""

import asyncio
import time
from collections.abc import AsyncIterator
from xml.etree import ElementTree as ET

import pytest
import zeep.exceptions
from eopayment.payfip_ws import PayFiP as Library
from eopayment.payfip_ws import PayFiPError
from eopayment.payfip_ws import Payment as LibraryPayment

from examples.gateway import soap
from tests.unit.gateways.payfip_town import NUMCLI, OPEN_SECONDS, PURGE_SECONDS, REFDET, Town, running

UNKNOWN = "8626f3ed-1022-4311-81f7-2900ec9b266d"
A_MINUTE = 60
MANY = 200


@pytest.fixture(scope="module")
def library() -> Library:
    """One client for all tests: it takes a while to read the WSDL."""
    return Library()


@pytest.fixture
async def town(library: Library) -> AsyncIterator[Town]:
    """A simulated PayFiP, whose clock shows ten o'clock in Paris."""
    async with running(library) as town:
        yield town


async def code_of(town: Town, idop: str) -> str:
    """The code of the fault that a look-up ends with."""
    with pytest.raises(PayFiPError) as raised:
        await town.look_up(idop)
    return str(raised.value.code)


async def test_the_library_reads_what_a_card_paid(town: Town) -> None:
    """Every field of the schema, with Paris's day and minute."""
    idop = await town.create()
    await town.choose(idop, "payer")
    told = await town.look_up(idop)
    numauto = told.pop("numauto")
    assert numauto
    assert told == {
        "dattrans": "23112026",
        "exer": "2026",
        "heurtrans": "1000",
        "idOp": idop,
        "mel": "famille@example.org",
        "montant": "8640",
        "numcli": NUMCLI,
        "objet": "Facture PER 2026 0301",
        "refdet": REFDET,
        "resultrans": "P",
        "saisie": "T",
    }


@pytest.mark.parametrize(("choice", "result"), [("payer", "P"), ("prelever", "V"), ("refuser", "R"), ("annuler", "A")])
async def test_every_choice_has_its_letter(town: Town, choice: str, result: str) -> None:
    """Card paid, direct debit accepted, card refused, abandoned; only money that moves has an authorisation."""
    idop = await town.create()
    await town.choose(idop, choice)
    told = await town.look_up(idop)
    assert told["resultrans"] == result
    assert bool(told["numauto"]) is (result in "PV")


async def test_summer_in_paris_is_two_hours_from_utc(town: Town) -> None:
    """`dattrans` and `heurtrans` follow Paris over midnight and through its time changes."""
    town.clock.now = 1785535140.0  # 2026-07-31 21:59 UTC
    idop = await town.create()
    await town.choose(idop, "payer")
    told = await town.look_up(idop)
    assert (told["dattrans"], told["heurtrans"]) == ("31072026", "2359")


@pytest.mark.parametrize("saisie", ["T", "X", "W"])
async def test_the_mode_is_echoed(town: Town, saisie: str) -> None:
    """Test, activation, production."""
    idop = await town.create(saisie=saisie)
    await town.choose(idop, "payer")
    assert (await town.look_up(idop))["saisie"] == saisie


async def test_an_objet_may_be_left_out(town: Town) -> None:
    """Then it is not told either."""
    idop = await town.create(objet=None)
    await town.choose(idop, "payer")
    assert (await town.look_up(idop))["objet"] is None


async def test_the_library_reads_who_a_client_is(town: Town) -> None:
    """Its lines, as the payer reads them."""
    found = await asyncio.to_thread(town.library.get_info_client, NUMCLI)
    assert {name: found[name] for name in found} == {
        "libelleN1": "Ville de Lettrage",
        "libelleN2": "Régie Périscolaire",
        "libelleN3": None,
        "numcli": NUMCLI,
    }


async def test_an_unknown_client_is_refused(town: Town) -> None:
    """By its own operation as by the creation of a payment."""
    with pytest.raises(PayFiPError, match="T2"):
        await asyncio.to_thread(town.library.get_info_client, "999999")


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("numcli", "6271", "T1"),
        ("numcli", "999999", "T2"),
        ("saisie", "M", "S1"),
        ("exer", "26", "E1"),
        ("refdet", "ENF-2026-0101", "R3"),
        ("refdet", "a" * 31, "R3"),
        ("objet", "Crèche", "O1"),
        ("montant", "86,40", "M1"),
        ("montant", None, "M1"),
        ("montant", "99", "M3"),
        ("montant", "10000001", "M5"),
        ("mel", None, "A1"),
        ("mel", "famille", "A2"),
        ("url_notification", "portail.example", "N1"),
        ("url_notification", "http://[", "N1"),
        ("url_notification", "http://portail.example/" + "a" * 250, "N1"),
        ("url_redirect", None, "D1"),
    ],
)
async def test_what_cannot_be_created_is_refused(town: Town, field: str, value: str | None, code: str) -> None:
    """Each parameter has its codes, which the library finds in the fault."""
    with pytest.raises(PayFiPError) as raised:
        await town.create(**{field: value})
    assert raised.value.code == code
    assert raised.value.message.endswith(".")
    assert await town.control("GET", "payments") == (200, [])


@pytest.mark.parametrize("montant", ["100", "10000000"])
async def test_the_least_and_the_most_can_be_paid(town: Town, montant: str) -> None:
    """1 € and 100,000 €."""
    assert await town.create(montant=montant)


async def test_nothing_is_known_until_the_payer_chooses(town: Town) -> None:
    """P5, opened or not, after the 15 minutes as before."""
    idop = await town.create()
    assert await code_of(town, idop) == "P5"
    await town.open(idop)
    assert await code_of(town, idop) == "P5"
    town.clock.now += OPEN_SECONDS + 1
    assert await code_of(town, idop) == "P5"


async def test_an_idop_that_nobody_created_is_unknown(town: Town) -> None:
    """P1."""
    assert await code_of(town, UNKNOWN) == "P1"


async def test_what_was_not_paid_is_forgotten(town: Town) -> None:
    """P5 until the purge, P1 after it."""
    idop = await town.create()
    town.clock.now += PURGE_SECONDS
    assert await code_of(town, idop) == "P5"
    town.clock.now += 1
    assert await code_of(town, idop) == "P1"


async def test_a_result_is_not_forgotten(town: Town) -> None:
    """The purge is for what was not paid."""
    idop = await town.create()
    await town.choose(idop, "refuser")
    town.clock.now += PURGE_SECONDS + 1
    assert (await town.look_up(idop))["resultrans"] == "R"


async def test_the_page_opens_once(town: Town) -> None:
    """Another tab, or another person, finds out so, and is led back; a reload of the page itself is none."""
    idop = await town.create()
    path = await town.open(idop)
    again = await town.browser.get("/tpa/paiementws.web", params={"idop": idop})
    text = await again.text()
    assert (again.status, "Paiement déjà ouvert" in text, f"{town.portal}/retour" in text) == (400, True, True)
    assert (await town.browser.get(path)).status == 200


async def test_the_page_opens_for_so_long(town: Town) -> None:
    """15 minutes, here shortened; whoever opened it in time may pay a little later."""
    late, slow = await town.create(), await town.create()
    town.clock.now += OPEN_SECONDS
    path = await town.open(slow)
    town.clock.now += 1
    refused = await town.browser.get("/tpa/paiementws.web", params={"idop": late})
    assert (refused.status, "Paiement expiré" in await refused.text()) == (400, True)
    await town.browser.post(path, data={"choix": "payer"}, allow_redirects=False)
    assert (await town.look_up(slow))["resultrans"] == "P"


@pytest.mark.parametrize("query", ["?idop=" + UNKNOWN, "", "?idop=%3Cscript%3E"])
async def test_an_unknown_idop_opens_nothing(town: Town, query: str) -> None:
    """It says so, without repeating what it was given."""
    page = await town.browser.get("/tpa/paiementws.web" + query)
    text = await page.text()
    assert (page.status, "Paiement inconnu" in text, "<script>" in text) == (400, True, False)


async def test_the_notification_says_only_whose_it_is(town: Town) -> None:
    """An idOp, unsigned; the browser brings back the same."""
    idop = await town.create()
    back = await town.choose(idop, "payer")
    heard = await town.next_heard()
    assert (heard.method, heard.query, heard.body) == ("POST", {}, {"idop": [idop]})
    assert back == f"{town.portal}/retour?idop={idop}"


async def test_the_notification_can_be_a_get_spelled_the_other_way(town: Town) -> None:
    """Both are seen in life; what `urlnotif` had in its query stays there."""
    idop = await town.create(url_notification=f"{town.portal}/notification?regie=perisco")
    status, _ = await town.control("PUT", f"faults/{idop}", [{"fault": "by_get"}, {"fault": "spelled_idOp"}])
    await town.choose(idop, "annuler")
    heard = await town.next_heard()
    assert status == 204
    assert (heard.method, heard.query, heard.body) == ("GET", {"regie": ["perisco"], "idOp": [idop]}, {})


async def test_a_closed_window_tells_nobody(town: Town) -> None:
    """Opened and left: no notification, no result."""
    idop = await town.create()
    await town.open(idop)
    assert town.gateway.notifier.is_idle()
    assert (await town.listed())["result"] is None


async def test_an_accepted_direct_debit_can_be_rejected_later(town: Town) -> None:
    """V, then Z on demand; only once, and nobody is told: PayFiP must be asked."""
    idop = await town.create()
    await town.choose(idop, "prelever")
    await town.next_heard()
    assert (await town.look_up(idop))["resultrans"] == "V"
    assert await town.control("POST", f"payments/{REFDET}/reject") == (204, None)
    assert (await town.look_up(idop))["resultrans"] == "Z"
    assert town.gateway.notifier.is_idle()
    status, told = await town.control("POST", f"payments/{idop}/reject")
    assert (status, "only an accepted direct debit" in told["error"]) == (409, True)


async def test_what_is_not_a_direct_debit_cannot_be_rejected(town: Town) -> None:
    """Neither a card's payment, nor what nobody paid, nor what nobody created."""
    idop = await town.create()
    assert (await town.control("POST", f"payments/{idop}/reject"))[0] == 409
    await town.choose(idop, "payer")
    assert (await town.control("POST", f"payments/{idop}/reject"))[0] == 409
    assert (await town.control("POST", "payments/nobody/reject"))[0] == 404


async def test_a_reference_may_have_two_idops(town: Town) -> None:
    """Two operations, two results; the reference alone means the latest."""
    first, second = await town.create(), await town.create()
    await town.choose(first, "payer")
    await town.choose(second, "prelever")
    await town.control("POST", f"payments/{REFDET}/reject")
    assert [(await town.look_up(idop))["resultrans"] for idop in (first, second)] == ["P", "Z"]


async def test_the_library_understands_the_whole_of_a_payment(town: Town) -> None:
    """The library's own reading of state and time, from creation to payment."""
    idop = await town.create()
    payment = LibraryPayment({"numcli": NUMCLI})
    payment.payfip = town.library
    waiting = await asyncio.to_thread(payment.payment_status, idop)
    await town.choose(idop, "payer")
    paid = await asyncio.to_thread(payment.payment_status, idop)
    assert (waiting.is_paid(), paid.is_paid(), paid.test, paid.order_id) == (False, True, True, idop)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("unavailable", "TechIndisponibiliteErreur"),
        ("malfunction", "TechDysfonctionnementErreur"),
        ("protocol", "TechProtocolaireErreur"),
    ],
)
async def test_technical_faults_have_the_wsdls_shape(town: Town, fault: str, kind: str) -> None:
    """The declared detail is found, and read by the schema."""
    idop = await town.create()
    await town.spoil(idop, fault=fault)
    with pytest.raises(PayFiPError) as raised:
        await town.look_up(idop)
    soap_fault = raised.value.origin
    assert isinstance(soap_fault, zeep.exceptions.Fault)
    assert soap_fault.message == f"fr.gouv.finances.cp.tpa.webservice.exceptions.{kind}"
    detail = soap_fault.detail[0]
    declared = town.library.client.get_element(detail.tag)
    read = declared.parse(detail, town.library.client.wsdl.types)
    assert (declared.name, read.code, read.severite) == (kind, "999", 3)


async def test_functional_faults_have_the_wsdls_shape(town: Town) -> None:
    """Every field of the schema is there, in its order."""
    with pytest.raises(zeep.exceptions.Fault) as raised:
        await asyncio.to_thread(town.library.client.service.recupererDetailPaiementSecurise, {"idOp": UNKNOWN})
    detail = raised.value.detail[0]
    read = town.library.client.get_element(detail.tag).parse(detail, town.library.client.wsdl.types)
    assert (read.code, read.libelle, read.severite) == ("P1", "IdOp incorrect.", 2)


async def test_a_fault_of_the_service_concerns_everything_for_a_while(town: Town) -> None:
    """Also what is created meanwhile; an empty list ends it, and so does its time."""
    idop = await town.create()
    await town.choose(idop, "payer")
    await town.spoil_service(fault="unavailable", seconds=3600)
    assert await code_of(town, idop) == "unknown"
    with pytest.raises(PayFiPError):
        await town.create()
    assert (await town.control("PUT", "service/payfip", []))[0] == 204
    assert (await town.look_up(idop))["resultrans"] == "P"
    await town.spoil_service(fault="unavailable", seconds=0)
    assert (await town.look_up(idop))["resultrans"] == "P"


async def test_an_answer_can_be_slow(town: Town) -> None:
    """It comes, after so many seconds."""
    idop = await town.create()
    await town.choose(idop, "payer")
    await town.spoil(idop, fault="slow", delay_seconds=0.3)
    begun = time.monotonic()
    assert (await town.look_up(idop))["resultrans"] == "P"
    assert time.monotonic() - begun >= 0.3


async def test_an_answer_can_fail_to_come(town: Town) -> None:
    """The library's own timeout ends it; another payment is answered meanwhile, and the gateway can be stopped."""
    idop, other = await town.create(), await town.create(refdet="other")
    await town.choose(other, "payer")
    await town.spoil(idop, fault="hang")
    hanging = asyncio.create_task(town.look_up(idop, timeout_seconds=1))
    assert (await town.look_up(other, timeout_seconds=1))["resultrans"] == "P"
    with pytest.raises(PayFiPError, match="HTTP error"):
        await hanging


async def test_the_gateway_stops_though_something_hangs(library: Library) -> None:
    """A request that is never answered is let go."""
    async with running(library) as town:
        idop = await town.create()
        await town.spoil(idop, fault="hang")
        hanging = asyncio.create_task(town.look_up(idop, timeout_seconds=60))
        await asked(town)
        begun = time.monotonic()
    with pytest.raises(PayFiPError, match="HTTP error"):
        await hanging
    assert time.monotonic() - begun < 10


async def asked(town: Town) -> None:
    """Wait until the gateway has heard an ask."""
    for _ in range(500):
        if (await town.listed())["asked_at"]:
            return
        await asyncio.sleep(0.01)
    pytest.fail("nobody asked")


async def test_the_server_can_break(town: Town) -> None:
    """500 and no SOAP at all."""
    idop = await town.create()
    await town.spoil(REFDET, fault="error")
    assert await code_of(town, idop) == "unknown"
    answer = await town.browser.post("/tpa/services/securite", data=asking(idop))
    assert (answer.status, answer.content_type) == (500, "text/html")


@pytest.mark.parametrize(
    ("fault", "field", "value"),
    [
        ({"fault": "wrong_amount", "amount_cents": 100}, "montant", "100"),
        ({"fault": "test"}, "saisie", "T"),
    ],
)
async def test_an_answer_can_be_another(town: Town, fault: dict[str, object], field: str, value: str) -> None:
    """Another amount, or a test where production was asked for."""
    idop = await town.create(saisie="W")
    await town.choose(idop, "payer")
    before = await town.look_up(idop)
    await town.spoil(idop, **fault)
    assert before != {**before, field: value} == await town.look_up(idop)


async def test_a_forged_notification_claims_what_is_not_so(town: Town) -> None:
    """It says paid where the payer left; who asks is told the truth."""
    idop = await town.create()
    await town.spoil(idop, fault="forged")
    await town.choose(idop, "annuler")
    heard = await town.next_heard()
    assert (heard.body["idop"], heard.body["resultrans"]) == ([idop], ["P"])
    assert (await town.look_up(idop))["resultrans"] == "A"


async def test_a_notification_can_come_late_and_twice(town: Town) -> None:
    """Faults add up."""
    idop = await town.create()
    await town.control("PUT", f"faults/{idop}", [{"fault": "late", "delay_seconds": 0.3}, {"fault": "duplicate"}])
    begun = time.monotonic()
    await town.choose(idop, "payer")
    first, second = await town.next_heard(), await town.next_heard()
    assert first == second
    assert time.monotonic() - begun >= 0.3


async def test_a_notification_can_fail_to_come(town: Town) -> None:
    """PayFiP knows, and says so to whoever asks."""
    idop = await town.create()
    await town.spoil(REFDET, fault="silence")
    await town.choose(idop, "payer")
    assert town.gateway.notifier.is_idle()
    assert (await town.look_up(idop))["resultrans"] == "P"
    assert town.heard.empty()


async def test_it_lists_when_it_was_asked(town: Town) -> None:
    """Every ask, whatever its answer."""
    idop = await town.create()
    await code_of(town, idop)
    town.clock.now += A_MINUTE
    await town.spoil(idop, fault="unavailable")
    await code_of(town, idop)
    listed = await town.listed()
    assert listed["asked_at"] == ["2026-11-23T09:00:00+00:00", "2026-11-23T09:01:00+00:00"]
    assert (listed["protocol"], listed["reference"], listed["result"]) == ("payfip", REFDET, None)


def asking(idop: str) -> bytes:
    """A look-up as it travels."""
    arg0 = f"<arg0><idOp>{idop}</idOp></arg0>"
    body = f'<t:recupererDetailPaiementSecurise xmlns:t="{soap.SERVICE}">{arg0}</t:recupererDetailPaiementSecurise>'
    return f'<e:Envelope xmlns:e="{soap.ENVELOPE}"><e:Body>{body}</e:Body></e:Envelope>'.encode()


async def test_many_ask_at_once(town: Town) -> None:
    """200 look-ups of 200 payments: each has its own answer."""
    idops = [town.gateway.payfip.create(creation(town, f"m{number}")).idop for number in range(MANY)]
    for number, idop in enumerate(idops):
        town.gateway.payfip.open(idop).choose("payer" if number % 2 else "prelever", {})
    answers = await asyncio.gather(*(post(town, asking(idop)) for idop in idops))
    for number, (status, text) in enumerate(answers):
        assert status == 200
        assert f"<refdet>m{number}</refdet><resultrans>{'P' if number % 2 else 'V'}</resultrans>" in text


def creation(town: Town, refdet: str) -> dict[str, str]:
    """What the service reads of a creation."""
    words = {"url_notification": "urlnotif", "url_redirect": "urlredirect"}
    return {words.get(name, name): text for name, text in town.asked(refdet=refdet).items()}


async def post(town: Town, body: bytes) -> tuple[int, str]:
    """Send a message to the service; status and text."""
    async with town.browser.post("/tpa/services/securite", data=body) as answer:
        return answer.status, await answer.text()


BOMB = b'<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
STEAL = b'<!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "Client"),
        (b"idop=1", "Client"),
        (b"\x00\xff\xfe", "Client"),
        (b"<e:Envelope", "Client"),
        (b'<?xml version="1.0" encoding="nothing"?><a/>', "Client"),
        (b'<?xml version="1.0" encoding="utf-32"?><a/>', "Client"),
        (b"<a>" * 10_000, "Client"),
        (b"<a>" * 8_000 + b"</a>" * 8_000, "VersionMismatch"),
        (b"<Envelope/>", "VersionMismatch"),
        (
            asking(UNKNOWN).replace(soap.ENVELOPE.encode(), b"http://www.w3.org/2003/05/soap-envelope"),
            "VersionMismatch",
        ),
        (f'<e:Envelope xmlns:e="{soap.ENVELOPE}"><e:Body/></e:Envelope>'.encode(), "Client"),
        (asking(UNKNOWN).replace(soap.SERVICE.encode(), b"urn:other"), "Client"),
        (asking(UNKNOWN).replace(b"recupererDetailPaiementSecurise", b"effacerTout"), "Client"),
        (BOMB + asking("&b;"), "Client"),
        (STEAL + asking("&a;"), "Client"),
    ],
)
async def test_garbage_gets_a_fault(town: Town, body: bytes, code: str) -> None:
    """SOAP's own faults, quickly, and no entity is expanded or fetched."""
    status, text = await post(town, body)
    assert status == 500
    assert f"<faultcode>S:{code}</faultcode>" in text
    assert "Traceback" not in text
    ET.fromstring(text)  # noqa: S314 (our own)


async def test_a_call_without_its_argument_is_answered(town: Town) -> None:
    """The schema allows it; there is no such idOp."""
    status, text = await post(town, asking(UNKNOWN).replace(f"<arg0><idOp>{UNKNOWN}</idOp></arg0>".encode(), b""))
    assert (status, "<code>P1</code>" in text) == (500, True)


async def test_the_spelling_of_a_parameter_matters(town: Town) -> None:
    """`idop` is not `idOp`: the real service says P1 then."""
    idop = await town.create()
    _, text = await post(town, asking(idop).replace(b"idOp>", b"idop>"))
    assert "<code>P1</code>" in text


async def test_text_is_escaped(town: Town) -> None:
    """An address with an ampersand comes back as it was, through the library's parser."""
    idop = await town.create(mel="a&b<c>@example.org")
    await town.choose(idop, "payer")
    assert (await town.look_up(idop))["mel"] == "a&b<c>@example.org"


async def test_a_message_is_not_too_long(town: Town) -> None:
    """64 KiB, then 413."""
    status, _ = await post(town, asking("1" * 65_536))
    assert status == 413
