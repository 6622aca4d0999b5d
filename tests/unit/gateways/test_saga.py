"""A town's Saga is asked: its description first, then each state, each error, many at once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from schemas.reports import Report, ReportResult
from tests.unit.gateways.saga_answers import IDOP, PAID, described, erreur, idop_in, ok, regie, returned
from tests.unit.gateways.serving import Asked, Machine, Reaction, closed_port, machine, serves
from worker.gateways.exchange import Deadline
from worker.gateways.interpret import ask, check, interpret, peek
from worker.gateways.port import Answer, Claim, GatewayUnavailableError, Question


@pytest.fixture
def saga() -> Iterator[Machine]:
    """Saga's machine."""
    with machine() as saga:
        yield saga


def saying(saga: Machine, answer: Callable[[Asked], Reaction], address: str = "") -> None:
    """Have it describe itself, and answer so."""
    description = described(address or f"{saga.url}/saga/ws")
    saga.react = lambda question: description if question.method == "GET" else answer(question)


def asked(saga: Machine, reaction: Reaction, mode: str = "production", age: float = 60) -> Answer:
    """What comes of one question."""
    saying(saga, serves(reaction))
    return ask(regie(saga.url, mode), Question(gateway_reference=IDOP, age_seconds=age))


def why_not(saga: Machine, reaction: Reaction) -> tuple[str, str]:
    """Why nothing can be said of the payment, and the gateway's own words."""
    with pytest.raises(GatewayUnavailableError) as raised:
        asked(saga, reaction)
    return raised.value.why, raised.value.said


@pytest.mark.parametrize(("query", "body"), [(f"idop={IDOP}", b""), ("", f"idop={IDOP}".encode())])
def test_a_notification_is_a_claim(query: str, body: bytes) -> None:
    """It proves nothing and makes us ask."""
    assert interpret(regie("http://localhost"), "POST", query, body, {}) == Claim(gateway_reference=IDOP)
    assert peek("saga", query, body) == IDOP


def test_a_notification_without_an_idop_is_kept_and_shown() -> None:
    """Whatever else it says."""
    report = interpret(regie("http://localhost"), "POST", "etat=paye", b"", {})
    assert isinstance(report, Report)
    assert (report.verified, report.why) == (False, "field_missing")


@pytest.mark.parametrize(
    ("etat", "result"),
    [("paye", ReportResult.PAID), ("refus", ReportResult.REFUSED), ("abandon", ReportResult.ABANDONED)],
)
def test_each_state_is_what_saga_says(saga: Machine, etat: str, result: ReportResult) -> None:
    """An amount in euros becomes exact cents; nothing of the family is shown."""
    answer = asked(saga, ok({**PAID, "etat": etat}))
    report = answer.report
    assert (report.result, report.verified, report.asked, report.test) == (result, True, True, False)
    assert (report.gateway_reference, report.transaction_id, report.cents) == (IDOP, IDOP, 4250)
    assert report.detail == {"etat": etat}
    assert answer.raw == ok({**PAID, "etat": etat}).body


def test_the_regies_mode_decides_what_is_test(saga: Machine) -> None:
    """Saga does not say."""
    report = asked(saga, ok(PAID), mode="test").report
    assert (report.verified, report.test) == (True, True)


@pytest.mark.parametrize(("montant", "cents"), [("42.5", 4250), ("42", 4200), ("0.29", 29), ("1234567.89", 123456789)])
def test_euros_are_exact(saga: Machine, montant: str, cents: int) -> None:
    """0.29 × 100 is 28.999… to a float."""
    assert asked(saga, ok({**PAID, "montant": montant})).report.cents == cents


@pytest.mark.parametrize("montant", ["", "0", "0.00", "-1", "42,50", "42.505", "1e3", "NaN"])
def test_money_without_a_readable_amount_settles_nothing(saga: Machine, montant: str) -> None:
    """No guess."""
    report = asked(saga, ok({**PAID, "montant": montant})).report
    assert (report.verified, report.why) == (False, "amount_unreadable")


@pytest.mark.parametrize("changed", [{"num_service": "869"}, {"num_service": ""}, {"numcp": "70689"}, {"compte": "1"}])
def test_another_services_payment_is_not_ours(saga: Machine, changed: dict[str, str]) -> None:
    """Service and account, under the name of the description or that of real answers."""
    report = asked(saga, ok({**PAID, **changed})).report
    assert (report.verified, report.asked, report.why) == (False, True, "wrong_merchant")


def test_an_answer_may_leave_the_account_out(saga: Machine) -> None:
    """The service's number ties it to the régie."""
    assert asked(saga, ok({name: value for name, value in PAID.items() if name != "numcp"})).report.verified


@pytest.mark.parametrize("etat", ["", "PAYE", "en cours"])
def test_a_state_that_saga_does_not_have_is_not_guessed(saga: Machine, etat: str) -> None:
    """In exact case."""
    report = asked(saga, ok({**PAID, "etat": etat})).report
    assert (report.verified, report.why) == (False, "neither_payment_nor_refusal")


@pytest.mark.parametrize(
    ("age", "result", "why"),
    [
        (14 * 60 + 59, ReportResult.WAITING, "in_progress"),
        (15 * 60, ReportResult.NOTHING, "not_paid"),
    ],
)
@pytest.mark.parametrize("words", ["P5 : Résultat de la transaction non connu.", "Erreur PayFiP (P5)", "P5"])
def test_p5_means_what_the_age_of_the_idop_says(
    saga: Machine, words: str, age: float, result: ReportResult, why: str
) -> None:
    """In whatever words Saga passes PayFiP's code on."""
    report = asked(saga, erreur(words), age=age).report
    assert (report.result, report.why, report.verified, report.asked) == (result, why, True, True)


def test_p1_means_that_payfip_knows_no_such_payment(saga: Machine) -> None:
    """No doubt."""
    report = asked(saga, erreur("P1 : IdOp incorrect.")).report
    assert (report.result, report.why, report.verified) == (ReportResult.NOTHING, "payment_unknown_to_gateway", True)


@pytest.mark.parametrize("words", ["foobar", "P55", "XP5", "P3 : idOp déjà utilisé", "Impossible de joindre PayFiP"])
def test_any_other_error_is_never_not_paid(saga: Machine, words: str) -> None:
    """Nor is a code that only looks like one."""
    assert why_not(saga, erreur(words)) == ("malfunction", words)


FAULT = (
    '<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/"><SOAP-ENV:Body><SOAP-ENV:Fault>'
    "<faultcode>SOAP-ENV:Server</faultcode><faultstring>P5</faultstring></SOAP-ENV:Fault></SOAP-ENV:Body>"
    "</SOAP-ENV:Envelope>"
)


@pytest.mark.parametrize(
    ("reaction", "why"),
    [
        (returned("<ko/>"), "protocol"),
        (returned("not XML"), "protocol"),
        (returned(""), "protocol"),
        (returned("<erreur/>"), "protocol"),
        (Reaction(body=b"<html>Bienvenue</html>"), "protocol"),
        (Reaction(body=b"nothing"), "protocol"),
        (Reaction(body=ok(PAID).body[:-20]), "protocol"),
        (Reaction(body=ok(PAID).body + b" " * (1 << 20)), "protocol"),
        (Reaction(status=302, headers={"Location": "https://example.org"}), "protocol"),
        (Reaction(status=404), "protocol"),
        (Reaction(status=500, body=FAULT.encode()), "malfunction"),
        (Reaction(body=FAULT.encode()), "malfunction"),
        (Reaction(status=503, body=b"<html/>"), "malfunction"),
        (Reaction(status=401), "unauthorised"),
        (Reaction(status=403), "unauthorised"),
        (Reaction(hangs_up=True), "unreachable"),
    ],
)
def test_what_is_no_answer_to_the_question_is_never_not_paid(saga: Machine, reaction: Reaction, why: str) -> None:
    """Garbage, a page, a redirect, a fault in familiar words, a service out of order."""
    assert why_not(saga, reaction)[0] == why


@pytest.mark.parametrize(
    ("description", "why"),
    [
        (Reaction(body=b"<html/>"), "protocol"),
        (Reaction(body=b"nothing"), "protocol"),
        (Reaction(status=404), "protocol"),
        (Reaction(status=503), "malfunction"),
        (Reaction(status=302, headers={"Location": "https://example.org"}), "protocol"),
        (Reaction(body=described("http://saga.example/ws").body), "protocol"),
        (Reaction(body=described("https://u:p@saga.example/ws").body), "protocol"),
        (Reaction(body=b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + described("").body.partition(b"?>")[2]), "protocol"),
    ],
)
def test_a_saga_that_does_not_describe_itself_is_never_not_paid(saga: Machine, description: Reaction, why: str) -> None:
    """Or that sends us where anybody between could answer."""
    saga.react = serves(description)
    with pytest.raises(GatewayUnavailableError) as raised:
        ask(regie(saga.url), Question(gateway_reference=IDOP, age_seconds=60))
    assert raised.value.why == why


def test_nobody_there_is_never_not_paid() -> None:
    """The port is closed."""
    with pytest.raises(GatewayUnavailableError) as raised:
        ask(regie(f"http://127.0.0.1:{closed_port()}"), Question(gateway_reference=IDOP, age_seconds=60))
    assert raised.value.why == "unreachable"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_hanging_service_is_left(saga: Machine, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Describing itself or answering; the deadline is for both."""
    monkeypatch.setattr("worker.gateways.saga.Deadline", lambda: Deadline(0.4))
    description = described(f"{saga.url}/ws")
    saga.react = lambda question: Reaction(hangs=True) if question.method == method else description
    with pytest.raises(GatewayUnavailableError) as raised:
        ask(regie(saga.url), Question(gateway_reference=IDOP, age_seconds=60))
    assert raised.value.why == "timeout"


def test_the_description_is_fetched_once(saga: Machine) -> None:
    """The library fetches it for every question."""
    for _ in range(3):
        asked(saga, ok(PAID))
    assert [question.method for question in saga.asked] == ["GET", "POST", "POST", "POST"]
    assert saga.asked[0].path == "/saga/paiement_internet_ws_ministere?wsdl"


def test_the_description_is_fetched_again_after_trouble() -> None:
    """A service that moved is found without a restart; one that is asked by many is described once."""
    with machine() as before, machine() as after:
        saying(before, serves(ok(PAID)))
        question = Question(gateway_reference=IDOP, age_seconds=60)
        ask(regie(before.url), question)
        saying(before, serves(Reaction(status=404)), f"{after.url}/ws")
        saying(after, serves(ok(PAID)))
        with pytest.raises(GatewayUnavailableError):
            ask(regie(before.url), question)
        assert ask(regie(before.url), question).report.verified
        assert [each.path for each in after.asked] == ["/ws"]


def test_with_a_login_the_secure_service_is_asked(saga: Machine) -> None:
    """With a token in the envelope."""
    saying(saga, serves(ok(PAID)))
    ask(regie(saga.url, login="ville", password="tressecret"), Question(gateway_reference=IDOP, age_seconds=60))
    assert saga.asked[0].path == "/saga/paiement_internet_ws_ministere_secure?wsdl"
    assert b"<wsse:Username>ville</wsse:Username>" in saga.asked[1].body.replace(b"ns0:", b"wsse:")
    assert b"tressecret" in saga.asked[1].body


def test_each_of_many_questions_gets_its_own_answer() -> None:
    """Sixteen threads at once, from the first question on."""
    with machine() as saga, ThreadPoolExecutor(16) as threads:

        def answer(question: Asked) -> Reaction:
            number = int(idop_in(question))
            said = erreur(f"P5 {number}") if number % 5 == 0 else ok({**PAID, "montant": f"{number}.00"})
            return replace(said, after_seconds=(number % 7) / 200)

        saying(saga, answer)
        gateway = regie(saga.url)
        numbers = range(1, 101)
        questions = [Question(gateway_reference=str(number), age_seconds=60) for number in numbers]
        answers = list(threads.map(lambda question: ask(gateway, question), questions))
        assert [question.method for question in saga.asked].count("GET") == 1
    for number, each in zip(numbers, answers, strict=True):
        assert each.report.gateway_reference == str(number)
        assert f"{number}".encode() in each.raw
        expected = (ReportResult.WAITING, None) if number % 5 == 0 else (ReportResult.PAID, number * 100)
        assert (each.report.result, each.report.cents) == expected


def test_checking_reads_the_description_anew(saga: Machine) -> None:
    """And says where questions go; none is asked."""
    asked(saga, ok(PAID))
    saga.asked.clear()
    assert check(regie(saga.url)).found == f"{saga.url}/saga/ws"
    assert [question.method for question in saga.asked] == ["GET"]


def test_checking_says_when_there_is_no_description(saga: Machine) -> None:
    """Whatever was known before."""
    asked(saga, ok(PAID))
    saga.react = serves(Reaction(status=404))
    with pytest.raises(GatewayUnavailableError) as raised:
        check(regie(saga.url))
    assert raised.value.why == "protocol"
