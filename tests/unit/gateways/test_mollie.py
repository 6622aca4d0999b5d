"""Mollie is asked with the régie's key: each status, each thing that differs, each silence."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from schemas.reports import Report, ReportResult
from tests.unit.gateways.serving import Asked, Machine, Reaction, closed_port, machine, serves
from worker.gateways.exchange import Deadline
from worker.gateways.interpret import ask, check, interpret, peek
from worker.gateways.port import Answer, Claim, GatewayConfig, GatewayUnavailableError, Question

ID = "tr_5B8cwPMGnU6qLbRvo7qEZo"
KEY = "live_tressecret0123456789"
PAID = {
    "resource": "payment",
    "id": ID,
    "mode": "live",
    "amount": {"value": "42.50", "currency": "EUR"},
    "amountRefunded": {"value": "0.00", "currency": "EUR"},
    "status": "paid",
    "method": "creditcard",
    "paidAt": "2026-11-23T09:30:12+01:00",
    "metadata": {"email": "famille@example.org"},
    "details": {"cardHolder": "Z. Béranger", "cardNumber": "1234"},
}
UNKNOWN = {"status": 404, "title": "Not Found", "detail": f"No payment exists with token {ID}.", "_links": {}}


@pytest.fixture
def mollie() -> Iterator[Machine]:
    """Mollie's machine."""
    with machine() as mollie:
        yield mollie


def regie(url: str = "http://localhost", mode: str = "production") -> GatewayConfig:
    """A régie whose Mollie is the machine at that address."""
    options = {"api_key": KEY if mode == "production" else "test_autresecret", "service_url": f"{url}/v2/"}
    return GatewayConfig(regie="enfance", kind="mollie", mode=mode, options=options)


def says(document: object, status: int = 200) -> Reaction:
    """A JSON answer."""
    return Reaction(status=status, body=json.dumps(document).encode(), headers={"Content-Type": "application/hal+json"})


def asked(mollie: Machine, reaction: Reaction, mode: str = "production", reference: str = ID) -> Answer:
    """What comes of one question, an hour after the start."""
    mollie.react = serves(reaction)
    return ask(regie(mollie.url, mode), Question(gateway_reference=reference, age_seconds=3600))


def why_not(mollie: Machine, reaction: Reaction) -> tuple[str, str]:
    """Why nothing can be said of the payment, and the gateway's own words."""
    with pytest.raises(GatewayUnavailableError) as raised:
        asked(mollie, reaction)
    assert KEY not in raised.value.said
    return raised.value.why, raised.value.said


def test_a_webhook_is_a_claim() -> None:
    """`id` in the body."""
    body = f"id={ID}".encode()
    assert interpret(regie(), "POST", "", body, {}) == Claim(gateway_reference=ID)
    assert peek("mollie", "", body) == ID


NASTY = [
    "..",
    "../methods",
    "tr_1/refunds",
    "tr_1?embed=x",
    "tr_1#",
    "tr_1%2F..",
    "tr 1",
    "é",
    "tr_1\\x",
    "@evil.example",
]


@pytest.mark.parametrize("nasty", NASTY)
def test_what_is_no_id_makes_nobody_ask(mollie: Machine, nasty: str) -> None:
    """A stranger's id becomes part of an address: neither the callback nor the question lets it be another one."""
    report = interpret(regie(), "POST", "", urlencode({"id": nasty}).encode(), {})
    assert isinstance(report, Report)
    assert (report.verified, report.why) == (False, "reference_unreadable")
    answer = asked(mollie, says(PAID), reference=nasty).report
    assert (answer.result, answer.why) == (ReportResult.NOTHING, "payment_unknown_to_gateway")
    assert mollie.asked == []


@pytest.mark.parametrize(
    ("body", "why"), [(b"", "unparsable"), (b"payment=tr_1", "field_missing"), (b"id=", "reference_unreadable")]
)
def test_a_webhook_without_an_id_is_kept_and_shown(body: bytes, why: str) -> None:
    """With what is wrong with it."""
    report = interpret(regie(), "POST", "", body, {})
    assert isinstance(report, Report)
    assert (report.verified, report.why) == (False, why)


def test_the_payment_is_fetched_with_the_key(mollie: Machine) -> None:
    """By its id, and nothing else is asked."""
    answer = asked(mollie, says(PAID))
    assert answer.raw == says(PAID).body
    (question,) = mollie.asked
    assert (question.method, question.path, question.body) == ("GET", f"/v2/payments/{ID}", b"")
    assert question.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("status", "result", "why"),
    [
        ("paid", ReportResult.PAID, "asked"),
        ("failed", ReportResult.REFUSED, "asked"),
        ("canceled", ReportResult.ABANDONED, "asked"),
        ("open", ReportResult.WAITING, "asked"),
        ("pending", ReportResult.WAITING, "asked"),
        ("authorized", ReportResult.WAITING, "asked"),
        ("expired", ReportResult.NOTHING, "not_paid"),
    ],
)
def test_each_status_is_what_mollie_means(mollie: Machine, status: str, result: ReportResult, why: str) -> None:
    """An open payment can be paid, whatever its age: Mollie ends it by itself."""
    report = asked(mollie, says({**PAID, "status": status})).report
    assert (report.result, report.why, report.verified, report.asked) == (result, why, True, True)
    assert report.detail["status"] == status


def test_a_paid_payment_says_its_money_and_its_time(mollie: Machine) -> None:
    """Cents, UTC, Mollie's id; nothing of the family."""
    report = asked(mollie, says(PAID)).report
    assert (report.cents, report.transaction_id, report.gateway_reference, report.test) == (4250, ID, ID, False)
    assert report.gateway_time == datetime(2026, 11, 23, 8, 30, 12, tzinfo=UTC)
    assert report.detail == {"status": "paid", "method": "creditcard", "amountRefunded": "0.00"}


def test_of_a_reserved_payment_what_was_captured_is_money(mollie: Machine) -> None:
    """Which may be less than what was reserved."""
    captured = {"amountCaptured": {"value": "40.00", "currency": "EUR"}}
    assert asked(mollie, says({**PAID, **captured})).report.cents == 4000


def test_money_given_back_is_shown_and_changes_nothing(mollie: Machine) -> None:
    """Only the portal's own events are refunds and reversals; whoever reconciles sees that Mollie made one."""
    given_back = {name: {"value": "42.50", "currency": "EUR"} for name in ("amountRefunded", "amountChargedBack")}
    report = asked(mollie, says({**PAID, **given_back})).report
    assert (report.result, report.cents) == (ReportResult.PAID, 4250)
    assert (report.detail["amountRefunded"], report.detail["amountChargedBack"]) == ("42.50", "42.50")


@pytest.mark.parametrize(
    ("mode", "said", "why", "test"),
    [
        ("production", "test", "test_answer", True),
        ("test", "live", "wrong_mode", False),
        ("production", "TEST", "wrong_mode", False),
        ("production", "Live", "wrong_mode", False),
    ],
)
def test_another_mode_settles_nothing(mollie: Machine, mode: str, said: str, why: str, test: bool) -> None:  # noqa: FBT001
    """In exact case."""
    report = asked(mollie, says({**PAID, "mode": said}), mode).report
    assert (report.verified, report.asked, report.why, report.test) == (False, True, why, test)


def test_a_test_payment_counts_in_a_test_regie(mollie: Machine) -> None:
    """There it is what is expected."""
    report = asked(mollie, says({**PAID, "mode": "test"}), "test").report
    assert (report.verified, report.test, report.result) == (True, True, ReportResult.PAID)


def test_other_money_settles_nothing(mollie: Machine) -> None:
    """Euros only."""
    report = asked(mollie, says({**PAID, "amount": {"value": "42.50", "currency": "CHF"}})).report
    assert (report.verified, report.why) == (False, "wrong_currency")
    assert report.detail == {"received": "CHF", "expected": "EUR"}


@pytest.mark.parametrize("value", ["0.00", "-1.00", "42.505", "42,50", "1e3", "", "99999999999.00"])
def test_money_without_a_readable_amount_settles_nothing(mollie: Machine, value: str) -> None:
    """Exact euros and cents."""
    report = asked(mollie, says({**PAID, "amount": {"value": value, "currency": "EUR"}})).report
    assert (report.verified, report.why) == (False, "amount_unreadable")


@pytest.mark.parametrize("status", ["", "PAID", "charged_back", "shipping"])
def test_a_status_that_mollie_does_not_have_is_not_guessed(mollie: Machine, status: str) -> None:
    """It is shown."""
    report = asked(mollie, says({**PAID, "status": status})).report
    assert (report.verified, report.why) == (False, "neither_payment_nor_refusal")


def test_a_payment_that_mollie_does_not_know_is_no_doubt(mollie: Machine) -> None:
    """By its own « Not Found »."""
    report = asked(mollie, says(UNKNOWN, 404)).report
    assert (report.result, report.verified, report.why) == (ReportResult.NOTHING, True, "payment_unknown_to_gateway")


@pytest.mark.parametrize(
    "reaction",
    [
        Reaction(status=404, body=b"<html>Not Found</html>"),
        says({"detail": "no such route"}, 404),
        says({**PAID, "id": "tr_other"}),
        says({name: value for name, value in PAID.items() if name != "amount"}),
        says({**PAID, "amount": "42.50"}),
        says({**PAID, "status": None}),
        says([PAID]),
        says(None),
        Reaction(body=b"", headers={"Content-Type": "application/json"}),
        Reaction(body=b"<html>Bienvenue</html>"),
        Reaction(body=says(PAID).body[:-5]),
        Reaction(body=b"[" * 100_000),
        Reaction(body=b'{"id": "\xff"}'),
        Reaction(body=says(PAID).body, promised_bytes=10_000),
        Reaction(body=says(PAID).body + b" " * (1 << 20)),
        Reaction(status=302, headers={"Location": "https://example.org/"}),
        Reaction(status=204),
        says({"status": 422}, 422),
    ],
)
def test_what_is_no_answer_to_the_question_is_never_not_paid(mollie: Machine, reaction: Reaction) -> None:
    """Garbage, another's answer, a page, a redirect, a part, too much, a « not found » of some other machine."""
    assert why_not(mollie, reaction)[0] == "protocol"


@pytest.mark.parametrize(
    ("status", "why"),
    [(401, "unauthorised"), (403, "unauthorised"), (429, "malfunction"), (500, "malfunction"), (503, "malfunction")],
)
def test_a_refused_question_is_never_not_paid(mollie: Machine, status: int, why: str) -> None:
    """A key that Mollie does not take, a Mollie out of order."""
    assert why_not(mollie, says({"status": status}, status)) == (why, f"HTTP {status}")


def test_nobody_there_is_never_not_paid() -> None:
    """The port is closed."""
    with pytest.raises(GatewayUnavailableError) as raised:
        ask(regie(f"http://127.0.0.1:{closed_port()}"), Question(gateway_reference=ID, age_seconds=1))
    assert raised.value.why == "unreachable"


def test_a_hanging_service_is_left(mollie: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library itself would wait for ever."""
    monkeypatch.setattr("worker.gateways.mollie.Deadline", lambda: Deadline(0.3))
    assert why_not(mollie, Reaction(hangs=True))[0] == "timeout"


def test_each_of_many_questions_gets_its_own_answer() -> None:
    """Sixteen threads at once."""

    def react(question: Asked) -> Reaction:
        number = int(question.path.rpartition("_")[2])
        document = {**PAID, "id": f"tr_{number}", "amount": {"value": f"{number}.00", "currency": "EUR"}}
        return replace(says(document), after_seconds=(number % 7) / 200)

    with machine(react) as mollie, ThreadPoolExecutor(16) as threads:
        gateway = regie(mollie.url)
        questions = [Question(gateway_reference=f"tr_{number}", age_seconds=1) for number in range(1, 101)]
        answers = list(threads.map(lambda question: ask(gateway, question), questions))
    for number, answer in enumerate(answers, 1):
        assert (answer.report.gateway_reference, answer.report.cents) == (f"tr_{number}", number * 100)
        assert json.loads(answer.raw)["id"] == f"tr_{number}"


def test_checking_asks_whose_key_it_is(mollie: Machine) -> None:
    """No payment is touched."""
    mollie.react = serves(says({"resource": "profile", "id": "pfl_1", "mode": "live", "name": "Ville"}))
    assert check(regie(mollie.url)).found == "pfl_1 Ville (live)"
    assert [(question.method, question.path) for question in mollie.asked] == [("GET", "/v2/profiles/me")]


def test_checking_says_when_the_key_is_not_taken(mollie: Machine) -> None:
    """Unauthorised."""
    mollie.react = serves(says({"status": 401}, 401))
    with pytest.raises(GatewayUnavailableError) as raised:
        check(regie(mollie.url))
    assert raised.value.why == "unauthorised"
