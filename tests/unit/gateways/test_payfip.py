"""PayFiP is asked: each of its answers, each of its silences, many at once."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from schemas.reports import Report, ReportResult
from tests.unit.gateways.payfip_answers import (
    FAULTS,
    IDOP,
    NUMCLI,
    PAID,
    SERVICE,
    detail,
    fault,
    idop_in,
    regie,
    response,
    soap,
)
from tests.unit.gateways.serving import Asked, Machine, Reaction, closed_port, machine, serves
from worker.gateways.exchange import Deadline
from worker.gateways.interpret import ask, check, interpret, peek
from worker.gateways.port import Answer, Claim, GatewayUnavailableError, Question

YOUNG = 60.0


@pytest.fixture
def payfip() -> Iterator[Machine]:
    """PayFiP's machine."""
    with machine() as payfip:
        yield payfip


def asked(payfip: Machine, reaction: Reaction, mode: str = "production", age: float = YOUNG) -> Answer:
    """What comes of one question."""
    payfip.react = serves(reaction)
    return ask(regie(payfip.url, mode), Question(gateway_reference=IDOP, age_seconds=age))


def why_not(payfip: Machine, reaction: Reaction) -> tuple[str, str]:
    """Why nothing can be said of the payment, and the gateway's own words."""
    with pytest.raises(GatewayUnavailableError) as raised:
        asked(payfip, reaction)
    return raised.value.why, raised.value.said


@pytest.mark.parametrize(
    ("query", "body"),
    [
        (f"idop={IDOP}", b""),
        (f"idOp={IDOP}", b""),
        ("", f"idop={IDOP}".encode()),
        ("", f"idOp={IDOP}".encode()),
    ],
)
def test_a_notification_is_a_claim(query: str, body: bytes) -> None:
    """In the query or the body, in both spellings that PayFiP has; it proves nothing and makes us ask."""
    claim = interpret(regie("http://localhost"), "POST", query, body, {})
    assert claim == Claim(gateway_reference=IDOP)
    assert peek("payfip_ws", query, body) == IDOP


@pytest.mark.parametrize(
    ("query", "body", "why"),
    [
        ("", b"", "unparsable"),
        ("numcli=1&resultrans=P", b"", "field_missing"),
        ("idop=", b"", "reference_unreadable"),
        ("idop=a%00b", b"", "reference_unreadable"),
        ("idop=" + "x" * 101, b"", "reference_unreadable"),
    ],
)
def test_a_notification_without_an_idop_is_kept_and_shown(query: str, body: bytes, why: str) -> None:
    """Whatever else it says: anybody can send one."""
    report = interpret(regie("http://localhost"), "POST", query, body, {})
    assert isinstance(report, Report)
    assert (report.verified, report.result, report.why) == (False, ReportResult.NOTHING, why)


@pytest.mark.parametrize(
    ("resultrans", "result"),
    [
        ("P", ReportResult.PAID),
        ("V", ReportResult.PROVISIONAL),
        ("Z", ReportResult.REJECTED_LATER),
        ("R", ReportResult.REFUSED),
        ("A", ReportResult.ABANDONED),
    ],
)
def test_each_result_is_what_payfip_says(payfip: Machine, resultrans: str, result: ReportResult) -> None:
    """An abandon is an abandon at once; a direct debit is provisional."""
    report = asked(payfip, detail({**PAID, "resultrans": resultrans})).report
    assert (report.result, report.verified, report.asked, report.test) == (result, True, True, False)
    assert (report.gateway_reference, report.transaction_id, report.cents, report.why) == (IDOP, IDOP, 4250, "asked")


def test_an_answer_is_kept_as_it_came_and_shown_without_the_family(payfip: Machine) -> None:
    """Raw bytes for whoever must prove it; no e-mail, no free text in what is shown. Its time is Paris's."""
    answer = asked(payfip, detail())
    assert answer.raw == detail().body
    assert answer.report.gateway_time == datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
    assert answer.report.detail == {
        "resultrans": "P",
        "refdet": "20261123093000P0001",
        "exer": "2026",
        "numauto": "112233445566-tip",
        "saisie": "W",
    }


@pytest.mark.parametrize(
    ("dattrans", "heurtrans", "expected"),
    [
        ("14072026", "0005", datetime(2026, 7, 13, 22, 5, tzinfo=UTC)),
        ("25102026", "0230", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("", "", None),
        ("31022026", "0930", None),
        ("23112026", "2561", None),
    ],
)
def test_the_gateways_time_is_read_where_it_can_be(
    payfip: Machine, dattrans: str, heurtrans: str, expected: datetime | None
) -> None:
    """Summer time, the hour that comes twice, and what is no time; the money counts in every case."""
    report = asked(payfip, detail({**PAID, "dattrans": dattrans, "heurtrans": heurtrans})).report
    assert (report.gateway_time, report.result) == (expected, ReportResult.PAID)


@pytest.mark.parametrize(
    ("age", "result", "why"),
    [
        (0.0, ReportResult.WAITING, "in_progress"),
        (14 * 60 + 59, ReportResult.WAITING, "in_progress"),
        (15 * 60, ReportResult.NOTHING, "not_paid"),
        (30 * 60, ReportResult.NOTHING, "not_paid"),
    ],
)
def test_p5_means_what_the_age_of_the_idop_says(payfip: Machine, age: float, result: ReportResult, why: str) -> None:
    """While its page can be open, in progress; afterwards known not to be paid, which is no doubt."""
    report = asked(payfip, fault("P5", "Résultat de la transaction non connu."), age=age).report
    assert (report.result, report.why, report.verified, report.asked) == (result, why, True, True)
    assert report.detail == {"fault": "P5"}


@pytest.mark.parametrize("age", [0.0, 86_400.0])
def test_p1_means_that_payfip_knows_no_such_payment(payfip: Machine, age: float) -> None:
    """Never created, or purged in the night; nobody can pay it, so it is no doubt at any age."""
    answer = asked(payfip, fault("P1", "IdOp incorrect."), age=age)
    report = answer.report
    assert (report.result, report.why, report.verified) == (ReportResult.NOTHING, "payment_unknown_to_gateway", True)
    assert answer.raw == fault("P1", "IdOp incorrect.").body


@pytest.mark.parametrize(
    ("code", "why"), [("T2", "unauthorised"), ("T4", "unauthorised"), ("P3", "protocol"), ("S1", "protocol")]
)
def test_other_functional_faults_are_about_us_and_not_about_the_payment(payfip: Machine, code: str, why: str) -> None:
    """A client number that PayFiP does not know, a question that it does not understand: somebody must mend it."""
    assert why_not(payfip, fault(code)) == (why, code)


@pytest.mark.parametrize("saisie", ["T", "X"])
def test_a_test_payment_is_no_money_in_production(payfip: Machine, saisie: str) -> None:
    """T and X, activation, are paid with published test cards."""
    report = asked(payfip, detail({**PAID, "saisie": saisie})).report
    assert (report.verified, report.test, report.asked, report.why) == (False, True, True, "test_answer")
    assert report.result is ReportResult.NOTHING


@pytest.mark.parametrize("saisie", ["T", "X"])
def test_a_test_payment_counts_in_a_test_regie(payfip: Machine, saisie: str) -> None:
    """There it is what is expected."""
    report = asked(payfip, detail({**PAID, "saisie": saisie}), mode="test").report
    assert (report.verified, report.test, report.result) == (True, True, ReportResult.PAID)


@pytest.mark.parametrize(("mode", "saisie"), [("test", "W"), ("production", "M"), ("production", ""), ("test", "")])
def test_another_mode_is_for_people_to_look_at(payfip: Machine, mode: str, saisie: str) -> None:
    """Real money in a test régie, or a mode that nobody knows."""
    report = asked(payfip, detail({**PAID, "saisie": saisie}), mode=mode).report
    assert (report.verified, report.test, report.why) == (False, False, "wrong_mode")


@pytest.mark.parametrize("numcli", ["090910", ""])
def test_another_merchants_payment_is_not_ours(payfip: Machine, numcli: str) -> None:
    """Somebody sent us the idOp of another town."""
    report = asked(payfip, detail({**PAID, "numcli": numcli})).report
    assert (report.verified, report.asked, report.why) == (False, True, "wrong_merchant")
    assert report.detail == {"received": numcli, "expected": NUMCLI}


@pytest.mark.parametrize("resultrans", ["", "p", "X", "PP"])
def test_a_result_that_payfip_does_not_have_is_not_guessed(payfip: Machine, resultrans: str) -> None:
    """In exact case."""
    report = asked(payfip, detail({**PAID, "resultrans": resultrans})).report
    assert (report.verified, report.why) == (False, "neither_payment_nor_refusal")


@pytest.mark.parametrize("montant", ["", "0", "42.50", "-1", "9" * 12, "٤٢"])
def test_money_without_a_readable_amount_settles_nothing(payfip: Machine, montant: str) -> None:
    """Cents, and no more of them than can be held."""
    report = asked(payfip, detail({**PAID, "montant": montant})).report
    assert (report.verified, report.why) == (False, "amount_unreadable")


def test_a_refusal_needs_no_amount(payfip: Machine) -> None:
    """Nothing was paid."""
    report = asked(payfip, detail({**PAID, "resultrans": "R", "montant": ""})).report
    assert (report.result, report.cents, report.verified) == (ReportResult.REFUSED, None, True)


@pytest.mark.parametrize(
    "reaction",
    [
        detail({**PAID, "idOp": "another"}),
        detail({**PAID, "idOp": ""}),
        soap(f'<ns2:recupererDetailPaiementSecuriseResponse xmlns:ns2="{SERVICE}"/>'),
        soap(""),
        response("recupererDetailClient", {"numcli": NUMCLI}),
        Reaction(body=b"<html>Bienvenue</html>", headers={"Content-Type": "text/html"}),
        Reaction(body=b"not XML"),
        Reaction(body=b"{}", headers={"Content-Type": "application/json"}),
        Reaction(body=detail().body[:-30]),
        Reaction(body=b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + detail().body.partition(b"?>")[2]),
        Reaction(body=detail().body + b" " * (1 << 20)),
        Reaction(body=detail().body, promised_bytes=10_000),
        Reaction(body=detail().body, headers={"Content-Type": "multipart/related; boundary=x"}, status=202),
        Reaction(status=302, headers={"Location": "https://example.org/"}),
        Reaction(status=404, body=b"<html/>"),
        Reaction(raw=b"SSH-2.0-OpenSSH_9.6\r\n"),
    ],
)
def test_what_is_no_answer_to_the_question_is_never_not_paid(payfip: Machine, reaction: Reaction) -> None:
    """Garbage, another's answer, a page, a redirect, a part, too much."""
    assert why_not(payfip, reaction)[0] == "protocol"


@pytest.mark.parametrize(
    "reaction",
    [
        Reaction(status=503, body=b"<html>Maintenance</html>"),
        Reaction(status=502),
        Reaction(status=500, body=b"<html>Erreur</html>"),
        Reaction(status=500),
        Reaction(status=429),
        fault("", kind="TechIndisponibiliteErreur"),
        fault("D9", kind="TechDysfonctionnementErreur"),
        fault("P5", kind="TechProtocolaireErreur"),
        soap(
            f"<S:Fault><faultcode>S:Server</faultcode><faultstring>{FAULTS}.FonctionnelleErreur</faultstring></S:Fault>"
        ),
        Reaction(status=500, body=detail().body),
    ],
)
def test_a_service_out_of_order_is_never_not_paid(payfip: Machine, reaction: Reaction) -> None:
    """Only a functional fault, by its code, is about the payment; a technical one with a familiar code is not."""
    assert why_not(payfip, reaction)[0] == "malfunction"


@pytest.mark.parametrize("status", [401, 403])
def test_a_service_that_lets_nobody_in_is_never_not_paid(payfip: Machine, status: int) -> None:
    """A certificate or an address that PayFiP does not know."""
    assert why_not(payfip, Reaction(status=status)) == ("unauthorised", f"HTTP {status}")


def test_nobody_there_is_never_not_paid() -> None:
    """The port is closed, or the name means nothing."""
    for url in (f"http://127.0.0.1:{closed_port()}", "https://payfip.invalid"):
        with pytest.raises(GatewayUnavailableError) as raised:
            ask(regie(url), Question(gateway_reference=IDOP, age_seconds=YOUNG))
        assert raised.value.why == "unreachable"


@pytest.mark.parametrize("reaction", [Reaction(hangs=True), Reaction(body=detail().body, drip_seconds=0.05)])
def test_a_hanging_service_is_left(payfip: Machine, monkeypatch: pytest.MonkeyPatch, reaction: Reaction) -> None:
    """Silent, or one byte after another: the deadline is for the whole of it."""
    monkeypatch.setattr("worker.gateways.payfip.Deadline", lambda: Deadline(0.5))
    assert why_not(payfip, reaction)[0] == "timeout"


def test_an_idop_cannot_become_anything_else_in_the_question(payfip: Machine) -> None:
    """What a stranger wrote into a callback is text in our question."""
    nasty = "</idOp><idOp>&x;"
    payfip.react = serves(detail({**PAID, "idOp": nasty}))
    report = ask(regie(payfip.url), Question(gateway_reference=nasty, age_seconds=YOUNG)).report
    assert report.gateway_reference == nasty
    assert payfip.asked[0].body.count(b"<idOp>") == 1
    assert payfip.asked[0].path == "/tpa/services/securite"


def test_each_of_many_questions_gets_its_own_answer() -> None:
    """Sixteen threads at once, a PayFiP that answers in any order, faults among the answers: nothing is mixed up."""
    chance = random.Random(7)

    def react(question: Asked) -> Reaction:
        idop = idop_in(question)
        number = int(idop)
        fields = {**PAID, "idOp": idop, "montant": str(number), "resultrans": "PVRA"[number % 4]}
        reaction = fault("P5", idop) if number % 5 == 0 else detail(fields)
        return replace(reaction, after_seconds=chance.random() / 20)

    with machine(react) as payfip, ThreadPoolExecutor(16) as threads:
        gateway = regie(payfip.url)
        numbers = range(1, 161)
        questions = [Question(gateway_reference=str(number), age_seconds=YOUNG) for number in numbers]
        answers = list(threads.map(lambda question: ask(gateway, question), questions))
    for number, answer in zip(numbers, answers, strict=True):
        assert answer.report.gateway_reference == str(number)
        assert str(number).encode() in answer.raw
        if number % 5 == 0:
            assert answer.report.result is ReportResult.WAITING
        else:
            assert (answer.report.result, answer.report.cents) == (ReportResult("PVRA"[number % 4]), number)


def test_two_services_are_not_mixed_up() -> None:
    """Each régie's question goes to its own address."""
    with machine(serves(detail())) as one, machine(serves(fault("P1"))) as other, ThreadPoolExecutor(8) as threads:
        question = Question(gateway_reference=IDOP, age_seconds=YOUNG)
        places = [one, other] * 20
        answers = list(threads.map(lambda place: ask(regie(place.url), question).report.result, places))
    assert answers == [ReportResult.PAID, ReportResult.NOTHING] * 20


def test_checking_asks_whom_the_client_number_names(payfip: Machine) -> None:
    """No idOp is created, no payment touched; the clock is read on the way."""
    names = {"libelleN1": "VILLE", "libelleN2": "REGIE ENFANCE", "libelleN3": "", "numcli": NUMCLI}
    said = response("recupererDetailClient", names)
    slow = format_datetime(datetime.now(UTC) - timedelta(minutes=3), usegmt=True)
    payfip.react = serves(replace(said, headers={"Date": slow}))
    checked = check(regie(payfip.url))
    assert checked.found == f"{NUMCLI} VILLE REGIE ENFANCE"
    assert checked.skew_seconds == pytest.approx(-180, abs=2)
    assert b"recupererDetailClient" in payfip.asked[0].body
    assert NUMCLI.encode() in payfip.asked[0].body


def test_checking_says_when_payfip_does_not_know_us(payfip: Machine) -> None:
    """By its own code."""
    payfip.react = serves(fault("T2"))
    with pytest.raises(GatewayUnavailableError) as raised:
        check(regie(payfip.url))
    assert (raised.value.why, raised.value.said) == ("unauthorised", "T2")
