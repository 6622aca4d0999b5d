"""Worldline Direct: what its signed webhooks prove, what it says when asked, and everything that proves nothing."""

import base64
import copy
import hashlib
import hmac
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from schemas.reports import Report, ReportResult
from tests.unit.gateways.serving import Asked, Machine, Reaction, closed_port, machine, serves
from worker.gateways.exchange import Deadline
from worker.gateways.interpret import ask, check, interpret, peek
from worker.gateways.library import worldline_address
from worker.gateways.port import Answer, Claim, GatewayConfig, GatewayUnavailableError, Question

CHECKOUT = "4311628069"
PSPID = "VilleEnfance"
SECRET = "secretdeswebhooks"
API_SECRET = "tressecret"
YOUNG, OLD = 60.0, 3600.0


def payment(status: str = "CAPTURED", code: int | None = 9, **changed: object) -> dict[str, Any]:
    """A payment as Worldline writes it, in webhooks and in answers."""
    return {
        "id": "3066019730_0",
        "status": status,
        "statusOutput": {"statusCode": code, "statusCategory": "COMPLETED", "isCancellable": False},
        "hostedCheckoutSpecificOutput": {"hostedCheckoutId": CHECKOUT, "variant": "100"},
        "paymentOutput": {
            "amountOfMoney": {"amount": 4250, "currencyCode": "EUR"},
            "references": {"merchantReference": "P-0001 "},
            "cardPaymentMethodSpecificOutput": {"card": {"cardNumber": "************7977", "expiryDate": "1029"}},
            "customer": {"contactDetails": {"emailAddress": "famille@example.org"}},
        },
        **changed,
    }


def event(payment: dict[str, Any] | None, kind: str = "payment.captured", **changed: object) -> dict[str, Any]:
    """A webhook's content."""
    about = {} if payment is None else {"payment": payment}
    known = {"apiVersion": "v1", "id": "34b8a607", "created": "2026-11-23T09:30:12.000+0100", "merchantId": PSPID}
    return {**known, "type": kind, **about, **changed}


def checkout(payment: dict[str, Any] | None, status: str = "PAYMENT_CREATED") -> Reaction:
    """GetHostedCheckout's answer."""
    created = {} if payment is None else {"createdPaymentOutput": {"payment": payment, "paymentStatusCategory": "x"}}
    return says({"status": status, **created})


def says(document: object, status: int = 200) -> Reaction:
    """A JSON answer."""
    return Reaction(status=status, body=json.dumps(document).encode())


def problem(status: int) -> Reaction:
    """Worldline's own refusal."""
    error = {"errorCode": "50001130", "category": "PAYMENT_PLATFORM_ERROR", "httpStatusCode": status, "message": ""}
    return says({"errorId": "a0f4", "errors": [error], "status": status}, status)


def regie(url: str = "http://localhost", mode: str = "production", **options: object) -> GatewayConfig:
    """A régie whose Worldline is the machine at that address."""
    known = {"pspid": PSPID, "api_key": "cle", "api_secret": API_SECRET, "webhook_secret": SECRET, "service_url": url}
    return GatewayConfig(regie="enfance", kind="worldline", mode=mode, options={**known, **options})


def signature(body: bytes, secret: str = SECRET) -> str:
    """HMAC-SHA256 of the body, in base64."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def notified(
    content: object, gateway: GatewayConfig | None = None, secret: str = SECRET, header: str = "x-gcs-signature"
) -> Report:
    """What a webhook proves that is signed with that secret."""
    body = json.dumps(content).encode()
    headers = {header: signature(body, secret), "x-gcs-keyid": "d7d5"}
    found = interpret(gateway or regie(), "POST", "", body, headers)
    assert isinstance(found, Report)
    assert peek("worldline", "", body) in (found.gateway_reference, None)
    return found


@pytest.fixture
def worldline() -> Iterator[Machine]:
    """Worldline's machine."""
    with machine() as worldline:
        yield worldline


def asked(worldline: Machine, reaction: Reaction, age: float = YOUNG, mode: str = "production") -> Answer:
    """What comes of one question."""
    worldline.react = serves(reaction)
    return ask(regie(worldline.url, mode), Question(gateway_reference=CHECKOUT, age_seconds=age))


STATUSES = [
    ("CAPTURED", 9, ReportResult.PAID),
    ("CAPTURE_REQUESTED", 91, ReportResult.PROVISIONAL),
    ("REJECTED_CAPTURE", 93, ReportResult.REJECTED_LATER),
    ("REJECTED", 2, ReportResult.REFUSED),
    ("CANCELLED", 1, ReportResult.ABANDONED),
    ("CREATED", 0, ReportResult.WAITING),
    ("REDIRECTED", 46, ReportResult.WAITING),
    ("PENDING_PAYMENT", 55, ReportResult.WAITING),
    ("AUTHORIZATION_REQUESTED", 51, ReportResult.WAITING),
    ("PENDING_FRAUD_APPROVAL", 50, ReportResult.WAITING),
    ("PENDING_APPROVAL", 5, ReportResult.WAITING),
    ("PENDING_COMPLETION", 5, ReportResult.WAITING),
    ("PENDING_CAPTURE", 5, ReportResult.WAITING),
]
FOR_PEOPLE = [
    ("REJECTED", 83, "neither_payment_nor_refusal"),
    ("REJECTED", 73, "neither_payment_nor_refusal"),
    ("REJECTED", None, "neither_payment_nor_refusal"),
    ("CANCELLED", 6, "neither_payment_nor_refusal"),
    ("CANCELLED", 7, "neither_payment_nor_refusal"),
    ("ACCOUNT_VERIFIED", 5, "neither_payment_nor_refusal"),
    ("captured", 9, "neither_payment_nor_refusal"),
    ("", 9, "neither_payment_nor_refusal"),
    ("REFUND_REQUESTED", 81, "operation_credit"),
    ("REFUNDED", 8, "operation_credit"),
    ("REVERSED", 8, "operation_credit"),
    ("CHARGEBACKED", 8, "operation_credit"),
]


@pytest.mark.parametrize(("status", "code", "result"), STATUSES)
def test_each_status_of_a_genuine_webhook_is_proof(status: str, code: int, result: ReportResult) -> None:
    """Signed, about this merchant; it was not asked for."""
    report = notified(event(payment(status, code)))
    assert (report.result, report.verified, report.asked, report.why) == (result, True, False, "signed")
    assert (report.gateway_reference, report.transaction_id, report.cents) == (CHECKOUT, "3066019730", 4250)
    assert report.test is False


@pytest.mark.parametrize(("status", "code", "result"), STATUSES)
def test_each_status_when_asked_is_the_same(worldline: Machine, status: str, code: int, result: ReportResult) -> None:
    """While the payer may still be paying."""
    answer = asked(worldline, checkout(payment(status, code)))
    report = answer.report
    assert (report.result, report.verified, report.asked) == (result, True, True)
    assert answer.raw == checkout(payment(status, code)).body


@pytest.mark.parametrize(("status", "code", "why"), FOR_PEOPLE)
def test_what_is_neither_payment_nor_refusal_is_for_people(
    worldline: Machine, status: str, code: int | None, why: str
) -> None:
    """A refused refund is called REJECTED like a refused payment: the code tells them apart."""
    for report in (notified(event(payment(status, code))), asked(worldline, checkout(payment(status, code))).report):
        assert (report.verified, report.result, report.why) == (False, ReportResult.NOTHING, why)
        assert report.detail.get("status", "") == status


def test_an_authorisation_and_its_capture_are_one_charge() -> None:
    """What follows the `_` counts operations."""
    first = notified(event(payment("CAPTURE_REQUESTED", 91)))
    second = notified(event(payment("CAPTURED", 9, id="3066019730_1")))
    assert first.transaction_id == second.transaction_id


def test_nothing_of_the_family_is_shown() -> None:
    """Only what explains the result."""
    expected = {"status": "CAPTURED", "statusCode": "9", "merchantReference": "P-0001 ", "payment": "3066019730_0"}
    assert notified(event(payment())).detail == expected


def test_a_webhook_may_come_in_a_list() -> None:
    """As in Worldline's own example; of several, none is read."""
    assert notified([event(payment())]).verified
    body = json.dumps([event(payment()), event(payment())]).encode()
    found = interpret(regie(), "POST", "", body, {"x-gcs-signature": signature(body)})
    assert isinstance(found, Report)
    assert not found.verified


def test_the_header_may_be_written_in_any_case() -> None:
    """A portal passes on what it received."""
    assert notified(event(payment()), header="X-GCS-Signature").verified


def test_another_secret_proves_nothing() -> None:
    """Nor does the API's."""
    for secret in ("", "autre", API_SECRET):
        report = notified(event(payment()), secret=secret)
        assert (report.verified, report.why) == (False, "signature_invalid")


def test_one_byte_changed_proves_nothing() -> None:
    """The signature is over the bytes, not over what they mean."""
    body = json.dumps(event(payment())).encode()
    headers = {"x-gcs-signature": signature(body)}
    for changed in (body.replace(b"4250", b"4251"), body + b" ", body.replace(b'", "', b'","', 1)):
        report = interpret(regie(), "POST", "", changed, headers)
        assert isinstance(report, Report)
        assert (report.verified, report.why) == (False, "signature_invalid")


@pytest.mark.parametrize("headers", [{}, {"x-gcs-signature": ""}, {"x-gcs-keyid": "d7d5"}])
def test_an_unsigned_webhook_proves_nothing(headers: dict[str, str]) -> None:
    """Where we have the secret."""
    report = interpret(regie(), "POST", "", json.dumps(event(payment())).encode(), headers)
    assert isinstance(report, Report)
    assert (report.verified, report.why) == (False, "signature_missing")


@pytest.mark.parametrize("given", ["é", "\ud800", "=" * 5000])
def test_a_signature_of_any_bytes_is_only_wrong(given: str) -> None:
    """No exception."""
    report = interpret(regie(), "POST", "", json.dumps(event(payment())).encode(), {"x-gcs-signature": given})
    assert isinstance(report, Report)
    assert report.why == "signature_invalid"


def test_without_the_secret_a_webhook_is_a_claim() -> None:
    """It makes us ask, signed or not."""
    body = json.dumps(event(payment())).encode()
    gateway = regie(webhook_secret="")
    assert interpret(gateway, "POST", "", body, {}) == Claim(gateway_reference=CHECKOUT)
    assert interpret(gateway, "POST", "", body, {"x-gcs-signature": "x"}) == Claim(gateway_reference=CHECKOUT)


@pytest.mark.parametrize("secret", [SECRET, ""])
def test_a_webhook_about_no_checkout_is_nobodys(secret: str) -> None:
    """A payment by a link or a terminal: no payment-started names it."""
    bare = payment()
    del bare["hostedCheckoutSpecificOutput"]
    for content in (event(bare), event(None, "payment.test"), event(None, "refund.refund_requested", refund={})):
        report = notified(content, regie(webhook_secret=secret))
        assert (report.verified, report.why) == (False, "reference_unreadable")


@pytest.mark.parametrize("checkout_id", ["..", "1/2", "1?x", "é"])
def test_an_id_that_is_none_makes_nobody_ask(worldline: Machine, checkout_id: str) -> None:
    """It would be another address."""
    content = event(payment(hostedCheckoutSpecificOutput={"hostedCheckoutId": checkout_id}))
    report = notified(content, regie(webhook_secret=""))
    assert (report.verified, report.why) == (False, "reference_unreadable")
    answer = ask(regie(worldline.url), Question(gateway_reference=checkout_id, age_seconds=YOUNG))
    assert answer.report.why == "payment_unknown_to_gateway"
    assert worldline.asked == []


@pytest.mark.parametrize("merchant", ["AutreVille", "", "villeenfance"])
def test_another_merchants_webhook_is_not_ours(merchant: str) -> None:
    """One secret may serve several."""
    report = notified(event(payment(), merchantId=merchant))
    assert (report.verified, report.why) == (False, "wrong_merchant")
    assert report.detail == {"received": merchant, "expected": PSPID}


@pytest.mark.parametrize("kind", ["refund.refund_requested", "payout.x", "", "Payment.captured"])
def test_a_webhook_about_something_else_is_no_payment(kind: str) -> None:
    """Even if a payment is in it."""
    report = notified(event(payment(), kind))
    assert (report.verified, report.why) == (False, "operation_not_debit")


def _changed(path: str, value: object) -> dict[str, Any]:
    document = copy.deepcopy(payment())
    place = document
    *parents, last = path.split(".")
    for parent in parents:
        place = place[parent]
    place[last] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("paymentOutput.amountOfMoney.currencyCode", "USD", "wrong_currency"),
        ("paymentOutput.amountOfMoney.amount", 0, "amount_unreadable"),
        ("paymentOutput.amountOfMoney.amount", -1, "amount_unreadable"),
        ("paymentOutput.amountOfMoney.amount", 10**12, "amount_unreadable"),
        ("paymentOutput", None, "field_missing"),
        ("id", "_0", "field_missing"),
        ("id", "a\x00b_0", "field_missing"),
    ],
)
def test_what_is_no_money_of_a_payment_settles_nothing(worldline: Machine, path: str, value: object, why: str) -> None:
    """Signed or asked for."""
    document = _changed(path, value)
    for report in (notified(event(document)), asked(worldline, checkout(document)).report):
        assert (report.verified, report.result, report.why) == (False, ReportResult.NOTHING, why)


def test_the_regies_mode_decides_what_is_test(worldline: Machine) -> None:
    """Keys and address are those of one environment."""
    for report in (
        notified(event(payment()), regie(mode="test")),
        asked(worldline, checkout(payment()), mode="test").report,
    ):
        assert (report.verified, report.test) == (True, True)


def test_a_payers_return_is_a_claim() -> None:
    """Anybody can write that address."""
    query = f"RETURNMAC=dd70af3f&hostedCheckoutId={CHECKOUT}"
    assert interpret(regie(), "GET", query, b"", {}) == Claim(gateway_reference=CHECKOUT)
    assert peek("worldline", query, b"") == CHECKOUT


@pytest.mark.parametrize(
    ("query", "body", "why"),
    [
        ("", b"", "unparsable"),
        ("RETURNMAC=1", b"", "field_missing"),
        ("hostedCheckoutId=", b"", "reference_unreadable"),
        ("hostedCheckoutId=..", b"", "reference_unreadable"),
        ("", b"{}", "unparsable"),
        ("", b"[" * 100_000, "unparsable"),
    ],
)
def test_what_names_no_checkout_is_kept_and_shown(query: str, body: bytes, why: str) -> None:
    """With what is wrong with it."""
    report = interpret(regie(), "POST", query, body, {})
    assert isinstance(report, Report)
    assert (report.verified, report.why) == (False, why)


def test_the_question_is_signed(worldline: Machine) -> None:
    """By Worldline's own scheme, written here without the library: method, type, date, path; HMAC-SHA256."""
    asked(worldline, checkout(payment()))
    (question,) = worldline.asked
    path = f"/v2/{PSPID}/hostedcheckouts/{CHECKOUT}"
    assert (question.method, question.path, question.body) == ("GET", path, b"")
    signed = f"GET\n\n{question.headers['Date']}\n{path}\n".encode()
    assert question.headers["Authorization"] == f"GCS v1HMAC:cle:{signature(signed, API_SECRET)}"
    assert question.headers["Date"].endswith(" GMT")


@pytest.mark.parametrize(
    ("age", "result", "why"),
    [
        (14 * 60 + 59, ReportResult.WAITING, "in_progress"),
        (15 * 60, ReportResult.NOTHING, "not_paid"),
    ],
)
@pytest.mark.parametrize(
    "reaction",
    [
        checkout(None, "IN_PROGRESS"),
        checkout(payment("CREATED", 0)),
        checkout(payment("REDIRECTED", 46)),
        checkout(payment("REJECTED", 2), "IN_PROGRESS"),
    ],
)
def test_an_unfinished_checkout_means_what_its_age_says(
    worldline: Machine, reaction: Reaction, age: float, result: ReportResult, why: str
) -> None:
    """It stays so for ever when the payer closed the window."""
    report = asked(worldline, reaction, age).report
    assert (report.result, report.why, report.verified, report.asked) == (result, why, True, True)


@pytest.mark.parametrize("status", ["AUTHORIZATION_REQUESTED", "PENDING_CAPTURE", "PENDING_FRAUD_APPROVAL"])
def test_what_waits_for_others_than_the_payer_waits_at_any_age(worldline: Machine, status: str) -> None:
    """A bank, a merchant: money may still come."""
    assert asked(worldline, checkout(payment(status, 5)), OLD).report.result is ReportResult.WAITING


def test_a_checkout_that_the_payer_cancelled_is_abandoned(worldline: Machine) -> None:
    """No payment was made."""
    report = asked(worldline, checkout(None, "CANCELLED_BY_CONSUMER")).report
    assert (report.result, report.verified, report.transaction_id) == (ReportResult.ABANDONED, True, CHECKOUT)


def test_a_checkout_without_a_means_of_payment_is_not_paid(worldline: Machine) -> None:
    """Nobody refused, nobody cancelled."""
    report = asked(worldline, checkout(None, "CLIENT_NOT_ELIGIBLE_FOR_SELECTED_PAYMENT_PRODUCT")).report
    assert (report.result, report.verified, report.why) == (ReportResult.NOTHING, True, "not_paid")


@pytest.mark.parametrize("reaction", [checkout(None), checkout(payment(), "DONE"), checkout(None, "")])
def test_a_state_that_worldline_does_not_have_is_not_guessed(worldline: Machine, reaction: Reaction) -> None:
    """A payment created, and none there."""
    report = asked(worldline, reaction).report
    assert (report.verified, report.asked, report.why) == (False, True, "neither_payment_nor_refusal")


def test_a_checkout_that_worldline_does_not_know_is_no_doubt(worldline: Machine) -> None:
    """By its own form of « not found »."""
    report = asked(worldline, problem(404)).report
    assert (report.result, report.verified, report.why) == (ReportResult.NOTHING, True, "payment_unknown_to_gateway")


@pytest.mark.parametrize(
    ("reaction", "why"),
    [
        (Reaction(status=404, body=b"<html/>"), "protocol"),
        (says({"errorId": "x", "errors": []}, 404), "protocol"),
        (says({"createdPaymentOutput": None}), "protocol"),
        (checkout(payment(paymentOutput={"amountOfMoney": {"amount": "4250", "currencyCode": "EUR"}})), "protocol"),
        (says([]), "protocol"),
        (Reaction(body=b"<html/>"), "protocol"),
        (Reaction(status=302, headers={"Location": "https://example.org/"}), "protocol"),
        (problem(400), "protocol"),
        (problem(401), "unauthorised"),
        (problem(403), "unauthorised"),
        (problem(429), "malfunction"),
        (problem(500), "malfunction"),
        (Reaction(status=503, body=b"<html/>"), "malfunction"),
    ],
)
def test_what_is_no_answer_is_never_not_paid(worldline: Machine, reaction: Reaction, why: str) -> None:
    """Garbage, a refusal of the keys or of the clock, a service out of order."""
    with pytest.raises(GatewayUnavailableError) as raised:
        asked(worldline, reaction)
    assert raised.value.why == why
    assert API_SECRET not in raised.value.said


def test_nobody_there_is_never_not_paid() -> None:
    """The port is closed."""
    with pytest.raises(GatewayUnavailableError) as raised:
        ask(regie(f"http://127.0.0.1:{closed_port()}"), Question(gateway_reference=CHECKOUT, age_seconds=1))
    assert raised.value.why == "unreachable"


def test_a_hanging_service_is_left(worldline: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bounded time."""
    monkeypatch.setattr("worker.gateways.worldline.Deadline", lambda: Deadline(0.3))
    with pytest.raises(GatewayUnavailableError) as raised:
        asked(worldline, Reaction(hangs=True))
    assert raised.value.why == "timeout"


def test_each_of_many_questions_gets_its_own_answer() -> None:
    """Sixteen threads at once."""

    def react(question: Asked) -> Reaction:
        number = int(question.path.rpartition("/")[2])
        document = _changed("paymentOutput.amountOfMoney.amount", number)
        return replace(checkout(document), after_seconds=(number % 7) / 200)

    with machine(react) as worldline, ThreadPoolExecutor(16) as threads:
        gateway = regie(worldline.url)
        questions = [Question(gateway_reference=str(number), age_seconds=1) for number in range(1, 101)]
        answers = list(threads.map(lambda question: ask(gateway, question), questions))
    for number, answer in enumerate(answers, 1):
        assert (answer.report.gateway_reference, answer.report.cents) == (str(number), number)


@pytest.mark.parametrize(
    ("mode", "options", "address"),
    [
        ("production", {}, "https://payment.direct.worldline-solutions.com"),
        ("test", {}, "https://payment.preprod.direct.worldline-solutions.com"),
        ("production", {"environment": "prod"}, "https://payment.direct.worldline-solutions.com"),
        ("test", {"environment": "preprod"}, "https://payment.preprod.direct.worldline-solutions.com"),
        ("production", {"service_url": "https://payment.cawl.example"}, "https://payment.cawl.example"),
    ],
)
def test_it_is_asked_in_the_regies_environment(mode: str, options: dict[str, object], address: str) -> None:
    """Or where the régie says: banks sell the same service under their own names."""
    assert worldline_address(options, mode) == address


def test_checking_tests_the_connection(worldline: Machine) -> None:
    """Signed as a question is; no payment is touched."""
    worldline.react = serves(says({"result": "OK"}))
    assert check(regie(worldline.url)).found == f"{PSPID} OK"
    assert worldline.asked[0].path == f"/v2/{PSPID}/services/testconnection"


def test_checking_says_when_the_keys_are_not_taken(worldline: Machine) -> None:
    """Unauthorised."""
    worldline.react = serves(problem(403))
    with pytest.raises(GatewayUnavailableError) as raised:
        check(regie(worldline.url))
    assert raised.value.why == "unauthorised"
