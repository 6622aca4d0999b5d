"""Keyware is asked with the régie's key: each status, each thing that differs, each silence."""

import json
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from schemas.reports import Report, ReportResult
from tests.unit.gateways.serving import Machine, Reaction, closed_port, machine, serves
from worker.gateways.exchange import Deadline
from worker.gateways.interpret import ask, check, interpret, peek
from worker.gateways.port import Answer, Claim, GatewayConfig, GatewayUnavailableError, Question

ID = "1c969951-f5f1-4290-ae41-6177961fb3cb"
KEY = "cleftressecrete"
PAID = {
    "id": ID,
    "status": "completed",
    "amount": 4250,
    "currency": "EUR",
    "completed": "2026-11-23T08:30:12.345678+00:00",
    "customer": {"email_address": "famille@example.org"},
    "flags": [],
    "transactions": [{"id": "t1", "status": "completed", "payment_method": "bancontact", "amount": 4250}],
}
UNKNOWN = {"error": {"status": 404, "type": "NotFoundError", "value": "Order not found"}}


@pytest.fixture
def keyware() -> Iterator[Machine]:
    """Keyware's machine."""
    with machine() as keyware:
        yield keyware


def regie(url: str = "http://localhost", mode: str = "production") -> GatewayConfig:
    """A régie whose Keyware is the machine at that address."""
    options = {"api_key": KEY, "service_url": f"{url}/v1/"}
    return GatewayConfig(regie="enfance", kind="keyware", mode=mode, options=options)


def says(document: object, status: int = 200) -> Reaction:
    """A JSON answer."""
    return Reaction(status=status, body=json.dumps(document).encode())


def asked(keyware: Machine, reaction: Reaction, mode: str = "production", reference: str = ID) -> Answer:
    """What comes of one question, an hour after the start."""
    keyware.react = serves(reaction)
    return ask(regie(keyware.url, mode), Question(gateway_reference=reference, age_seconds=3600))


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", json.dumps({"event": "status_changed", "order_id": ID, "project_id": "a=b"}).encode()),
        (f"order_id={ID}&project_id=1", b""),
        ("", f"order_id={ID}".encode()),
    ],
)
def test_a_webhook_is_a_claim(query: str, body: bytes) -> None:
    """Posted as JSON, as Ginger does, or in the address of a payer who comes back."""
    assert interpret(regie(), "POST", query, body, {}) == Claim(gateway_reference=ID)
    assert peek("keyware", query, body) == ID


@pytest.mark.parametrize("nasty", ["..", "../merchants", "1/refunds", "1?x", "1 2", "é"])
def test_what_is_no_id_makes_nobody_ask(keyware: Machine, nasty: str) -> None:
    """In either form; the question does not let it be another address either."""
    for query, body in ((urlencode({"order_id": nasty}), b""), ("", json.dumps({"order_id": nasty}).encode())):
        report = interpret(regie(), "POST", query, body, {})
        assert isinstance(report, Report)
        assert (report.verified, report.why) == (False, "reference_unreadable")
    assert asked(keyware, says(PAID), reference=nasty).report.why == "payment_unknown_to_gateway"
    assert keyware.asked == []


@pytest.mark.parametrize(
    ("query", "body", "why"),
    [
        ("", b"", "unparsable"),
        ("", b'{"order_id": ""}', "unparsable"),
        ("", b'{"event": "x"}', "unparsable"),
        ("project_id=1", b"", "field_missing"),
        ("order_id=", b"", "reference_unreadable"),
    ],
)
def test_a_webhook_without_an_order_is_kept_and_shown(query: str, body: bytes, why: str) -> None:
    """With what is wrong with it."""
    report = interpret(regie(), "POST", query, body, {})
    assert isinstance(report, Report)
    assert (report.verified, report.why) == (False, why)


def test_the_order_is_fetched_with_the_key(keyware: Machine) -> None:
    """The key is a user without a password."""
    answer = asked(keyware, says(PAID))
    assert answer.raw == says(PAID).body
    (question,) = keyware.asked
    assert (question.method, question.path) == ("GET", f"/v1/orders/{ID}")
    assert question.headers["Authorization"] == "Basic Y2xlZnRyZXNzZWNyZXRlOg=="


@pytest.mark.parametrize(
    ("status", "result", "why"),
    [
        ("completed", ReportResult.PAID, "asked"),
        ("error", ReportResult.REFUSED, "asked"),
        ("cancelled", ReportResult.ABANDONED, "asked"),
        ("new", ReportResult.WAITING, "asked"),
        ("processing", ReportResult.WAITING, "asked"),
        ("accepted", ReportResult.WAITING, "asked"),
        ("expired", ReportResult.NOTHING, "not_paid"),
    ],
)
def test_each_status_is_what_keyware_means(keyware: Machine, status: str, result: ReportResult, why: str) -> None:
    """Of the order as a whole."""
    report = asked(keyware, says({**PAID, "status": status})).report
    assert (report.result, report.why, report.verified, report.asked) == (result, why, True, True)


def test_a_paid_order_says_its_money(keyware: Machine) -> None:
    """Cents, the order's id; nothing of the family."""
    report = asked(keyware, says(PAID)).report
    assert (report.cents, report.transaction_id, report.test) == (4250, ID, False)
    assert report.gateway_time is not None
    assert report.gateway_time.isoformat() == "2026-11-23T08:30:12.345678+00:00"
    assert report.detail == {"status": "completed", "transactions": "bancontact:completed"}


def test_an_order_may_say_little(keyware: Machine) -> None:
    """Flags, transactions and times are not always there."""
    little = {name: PAID[name] for name in ("id", "status", "amount", "currency")}
    report = asked(keyware, says({**little, "flags": None})).report
    assert (report.result, report.gateway_time) == (ReportResult.PAID, None)


@pytest.mark.parametrize(
    ("mode", "flags", "why", "test"),
    [("production", ["is-test"], "test_answer", True), ("test", [], "wrong_mode", False)],
)
def test_another_mode_settles_nothing(keyware: Machine, mode: str, flags: list[str], why: str, test: bool) -> None:  # noqa: FBT001
    """A flag says test; without it, it is money."""
    report = asked(keyware, says({**PAID, "flags": flags}), mode).report
    assert (report.verified, report.asked, report.why, report.test) == (False, True, why, test)


def test_a_test_order_counts_in_a_test_regie(keyware: Machine) -> None:
    """There it is what is expected."""
    report = asked(keyware, says({**PAID, "flags": ["is-test"]}), "test").report
    assert (report.verified, report.test, report.result) == (True, True, ReportResult.PAID)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"currency": "USD"}, "wrong_currency"),
        ({"amount": 0}, "amount_unreadable"),
        ({"amount": -4250}, "amount_unreadable"),
        ({"amount": 10**12}, "amount_unreadable"),
        ({"status": "see-transactions"}, "neither_payment_nor_refusal"),
        ({"status": "COMPLETED"}, "neither_payment_nor_refusal"),
    ],
)
def test_what_differs_settles_nothing_and_is_shown(keyware: Machine, changed: dict[str, object], why: str) -> None:
    """Other money, no money, an order whose transactions must be looked at."""
    report = asked(keyware, says({**PAID, **changed})).report
    assert (report.verified, report.asked, report.why) == (False, True, why)


def test_an_order_that_keyware_does_not_know_is_no_doubt(keyware: Machine) -> None:
    """By its own « NotFoundError »."""
    report = asked(keyware, says(UNKNOWN, 404)).report
    assert (report.result, report.verified, report.why) == (ReportResult.NOTHING, True, "payment_unknown_to_gateway")


@pytest.mark.parametrize(
    ("reaction", "why"),
    [
        (Reaction(status=404, body=b"<html/>"), "protocol"),
        (says({"status": 404}, 404), "protocol"),
        (says({**PAID, "id": "another"}), "protocol"),
        (says({**PAID, "amount": "4250"}), "protocol"),
        (says({**PAID, "amount": 42.5}), "protocol"),
        (Reaction(body=b"<html/>"), "protocol"),
        (Reaction(status=302, headers={"Location": "https://example.org/"}), "protocol"),
        (says({}, 401), "unauthorised"),
        (says({}, 403), "unauthorised"),
        (says({}, 429), "malfunction"),
        (says({}, 502), "malfunction"),
    ],
)
def test_what_is_no_answer_is_never_not_paid(keyware: Machine, reaction: Reaction, why: str) -> None:
    """Garbage, another's answer, a refusal of the key, a service out of order."""
    with pytest.raises(GatewayUnavailableError) as raised:
        asked(keyware, reaction)
    assert raised.value.why == why
    assert KEY not in raised.value.said


def test_nobody_there_is_never_not_paid() -> None:
    """The port is closed."""
    with pytest.raises(GatewayUnavailableError) as raised:
        ask(regie(f"http://127.0.0.1:{closed_port()}"), Question(gateway_reference=ID, age_seconds=1))
    assert raised.value.why == "unreachable"


def test_a_hanging_service_is_left(keyware: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library itself would wait for ever."""
    monkeypatch.setattr("worker.gateways.keyware.Deadline", lambda: Deadline(0.3))
    with pytest.raises(GatewayUnavailableError) as raised:
        asked(keyware, Reaction(hangs=True))
    assert raised.value.why == "timeout"


def test_checking_asks_what_the_key_opens(keyware: Machine) -> None:
    """No order is touched."""
    keyware.react = serves(says({"payment_methods": {"ideal": {}, "bancontact": {}}}))
    assert check(regie(keyware.url)).found == "bancontact, ideal"
    assert [(each.method, each.path) for each in keyware.asked] == [
        ("GET", "/v1/merchants/self/projects/self/currencies")
    ]


def test_checking_says_when_the_key_is_not_taken(keyware: Machine) -> None:
    """Unauthorised."""
    keyware.react = serves(says({}, 401))
    with pytest.raises(GatewayUnavailableError) as raised:
        check(regie(keyware.url))
    assert raised.value.why == "unauthorised"
