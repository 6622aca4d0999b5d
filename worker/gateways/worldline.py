"""Worldline Direct: a signed webhook proves, a payer's return only makes us ask, and it can be asked at any time.

Source: Worldline Direct's documentation (« Webhooks », « Statuses », « Authentication », GetHostedCheckout) and
eopayment 3.15, whose own reading stumbles over the status of a refusal, over unfinished checkouts and over dates with
a time zone, and which knows no webhooks. An answer does not say test: the régie's mode decides, its address and its
keys are those of one environment.

A portal knows its `gateway_reference` before it sends the family away: it is the first value of what eopayment's
`request()` returns, the hosted checkout's id.
"""

import base64
import hmac
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final, Literal

from msgspec import Struct

from schemas.reports import Report, ReportResult
from worker.gateways.amounts import cents_of_cents
from worker.gateways.asked import (
    MODE_OF_TEST,
    amount_differs,
    answered,
    currency_differs,
    differing,
    in_progress,
    not_paid,
    unknown,
)
from worker.gateways.capabilities import CAPABILITIES
from worker.gateways.exchange import Deadline
from worker.gateways.fields import first_of, pairs_of, usable_reference
from worker.gateways.json_service import (
    IDENTIFIER,
    Document,
    T,
    fetched,
    identified,
    interpret_identifier,
    read,
    under,
)
from worker.gateways.library import worldline_address, worldline_authorization
from worker.gateways.port import (
    Answer,
    Checked,
    Claim,
    GatewayConfig,
    GatewayUnavailableError,
    Question,
    RawCallback,
    unproven,
)

KIND: Final = "worldline"
SIGNATURE: Final = "x-gcs-signature"
STATUSES: Final[dict[str, ReportResult]] = {
    "CAPTURED": ReportResult.PAID,
    "CAPTURE_REQUESTED": ReportResult.PROVISIONAL,  # accepted, and the acquirer may still refuse to take it
    "REJECTED_CAPTURE": ReportResult.REJECTED_LATER,  # that refusal
    "REJECTED": ReportResult.REFUSED,
    "CANCELLED": ReportResult.ABANDONED,
    "CREATED": ReportResult.WAITING,  # the payer's turn
    "REDIRECTED": ReportResult.WAITING,  # the payer is at the bank's page, or has closed it
    "PENDING_PAYMENT": ReportResult.WAITING,  # the payer's turn
    "AUTHORIZATION_REQUESTED": ReportResult.WAITING,  # the bank has not answered yet
    "PENDING_FRAUD_APPROVAL": ReportResult.WAITING,  # somebody looks at it
    "PENDING_APPROVAL": ReportResult.WAITING,  # lapses unless the merchant approves it
    "PENDING_COMPLETION": ReportResult.WAITING,  # the same
    "PENDING_CAPTURE": ReportResult.WAITING,  # reserved, and only money once the merchant captures it
}
"""`status` of a payment. Refunds, reversals and verified cards are for people."""
PAYERS_TURN: Final = ("CREATED", "REDIRECTED", "PENDING_PAYMENT")
"""Worldline never ends these when the payer has closed the window."""
OWN_CODES: Final = {"REJECTED": 2, "CANCELLED": 1}
"""`statusCode` of a refusal by the bank, and of a cancel by the payer. The same words also stand for what became of the
merchant's refund (83) or cancel (6, 7, 63, 73), and then the payment was paid or at least accepted."""
GIVEN_BACK: Final = ("REFUND_REQUESTED", "REFUNDED", "REVERSED", "CHARGEBACK_NOTIFICATION", "CHARGEBACKED")


class _Money(Struct, rename="camel"):
    amount: int
    currency_code: str


class _References(Struct, rename="camel"):
    merchant_reference: str = ""


class _Output(Struct, rename="camel"):
    amount_of_money: _Money
    references: _References | None = None


class _StatusOutput(Struct, rename="camel"):
    status_code: int | None = None


class _FromCheckout(Struct, rename="camel"):
    hosted_checkout_id: str = ""


class _Payment(Struct, rename="camel"):
    id: str
    status: str
    payment_output: _Output | None = None
    status_output: _StatusOutput | None = None
    hosted_checkout_specific_output: _FromCheckout | None = None


class _Created(Struct, rename="camel"):
    payment: _Payment | None = None


class _Checkout(Struct, rename="camel"):
    status: str
    created_payment_output: _Created | None = None


class _Event(Struct, rename="camel"):
    type: str
    merchant_id: str = ""
    payment: _Payment | None = None


class _Tested(Struct):
    result: str


class _Error(Struct, rename="camel"):
    http_status_code: Literal[404]


class _Missing(Struct, rename="camel"):
    error_id: str
    errors: tuple[_Error]


def peek_worldline(query: str, body: bytes) -> str | None:
    """The hosted checkout that a webhook or a payer's return names."""
    event = _event(body)
    if event is None:
        return first_of(pairs_of(query, body), CAPABILITIES[KIND].reference_fields)
    return usable_reference(_checkout_of(event))


def interpret_worldline(gateway: GatewayConfig, callback: RawCallback) -> Report | Claim:
    """What a webhook proves, or which checkout we are to ask about. Never raises."""
    event = _event(callback.body)
    if event is None:
        return interpret_identifier(gateway, callback)
    reference = usable_reference(_checkout_of(event))
    if reference is None:
        return unproven(gateway, "", "reference_unreadable", type=event.type)
    secret = str(gateway.options.get("webhook_secret") or "")
    if not secret:
        return identified(gateway, Claim(gateway_reference=reference))
    return _unsigned(gateway, secret, callback, reference) or _notified(gateway, event, reference)


def ask_worldline(gateway: GatewayConfig, question: Question) -> Answer:
    """What Worldline says of a hosted checkout. Blocks for at most ASK_SECONDS.

    Raises:
        GatewayUnavailableError: it said nothing sensible.
    """
    reference = question.gateway_reference
    if not IDENTIFIER.fullmatch(reference):  # Worldline has never given it
        return Answer(report=unknown(gateway, reference))
    found = _fetched(gateway, f"hostedcheckouts/{reference}", _Checkout)
    report = unknown(gateway, reference) if found.content is None else _report(gateway, question, found.content)
    return Answer(report=report, raw=found.raw)


def check_worldline(gateway: GatewayConfig) -> Checked:
    """Whether Worldline takes the régie's keys; nothing is paid or created by asking.

    Raises:
        GatewayUnavailableError: it said nothing sensible, or does not take them.
    """
    found = _fetched(gateway, "services/testconnection", _Tested)
    if found.content is None:
        raise GatewayUnavailableError("protocol", "no test of the connection")
    return Checked(found=f"{_pspid(gateway)} {found.content.result}", skew_seconds=found.skew_seconds)


def _pspid(gateway: GatewayConfig) -> str:
    return str(gateway.options.get("pspid", ""))


def _fetched(gateway: GatewayConfig, endpoint: str, shape: type[T]) -> Document[T]:
    """The request is signed with its time: Worldline refuses one that is minutes off."""
    date = format_datetime(datetime.now(UTC), usegmt=True)
    headers = {"Date": date, "Authorization": worldline_authorization(gateway.options, endpoint, date)}
    url = under(worldline_address(gateway.options, gateway.mode), "v2", _pspid(gateway), endpoint)
    return fetched(Deadline(), url, headers, shape, _Missing)


def _event(body: bytes) -> _Event | None:
    """The event of a webhook; Worldline's own examples show it alone and in a list."""
    try:
        return read(body, _Event)
    except GatewayUnavailableError:
        pass
    try:
        return read(body, tuple[_Event])[0]
    except GatewayUnavailableError:
        return None


def _checkout_of(event: _Event) -> str:
    origin = event.payment.hosted_checkout_specific_output if event.payment is not None else None
    return origin.hosted_checkout_id if origin is not None else ""


def _unsigned(gateway: GatewayConfig, secret: str, callback: RawCallback, reference: str) -> Report | None:
    """The signature is over the body's bytes, and the secret tells which key it is of."""
    given = next((value for name, value in callback.headers.items() if name.lower() == SIGNATURE), "")
    if not given:
        return unproven(gateway, reference, "signature_missing")
    expected = base64.b64encode(hmac.digest(secret.encode(), callback.body, "sha256"))
    if not hmac.compare_digest(expected, given.strip().encode("utf-8", "replace")):
        return unproven(gateway, reference, "signature_invalid")
    return None


def _notified(gateway: GatewayConfig, event: _Event, reference: str) -> Report:
    """What a genuine webhook says."""
    if event.merchant_id != _pspid(gateway):
        received, expected = event.merchant_id, _pspid(gateway)
        return unproven(gateway, reference, "wrong_merchant", received=received, expected=expected)
    if not event.type.startswith("payment.") or event.payment is None:
        return unproven(gateway, reference, "operation_not_debit", received=event.type)
    report = _payment_report(gateway, reference, event.payment)
    report.asked = False
    report.why = "signed" if report.verified else report.why
    return report


def _report(gateway: GatewayConfig, question: Question, checkout: _Checkout) -> Report:
    """What a checkout says: its payment's status, or how far the payer came."""
    reference, payment = question.gateway_reference, _payment_of(checkout)
    if checkout.status == "PAYMENT_CREATED" and payment is not None:
        report = _payment_report(gateway, reference, payment)
        waits_for_payer = report.result is ReportResult.WAITING and payment.status in PAYERS_TURN
        return in_progress(gateway, question, **report.detail) if waits_for_payer else report
    if checkout.status == "CANCELLED_BY_CONSUMER":
        return answered(
            gateway,
            reference,
            ReportResult.ABANDONED,
            transaction_id=reference,  # no payment was made
            test=gateway.mode == MODE_OF_TEST,
            detail={"status": checkout.status},
        )
    if checkout.status == "IN_PROGRESS":  # until somebody pays, for ever
        return in_progress(gateway, question, status=checkout.status)
    if checkout.status == "CLIENT_NOT_ELIGIBLE_FOR_SELECTED_PAYMENT_PRODUCT":
        return not_paid(gateway, reference, status=checkout.status)
    return differing(gateway, reference, "neither_payment_nor_refusal", status=checkout.status)


def _payment_of(checkout: _Checkout) -> _Payment | None:
    return checkout.created_payment_output.payment if checkout.created_payment_output is not None else None


def _payment_report(gateway: GatewayConfig, reference: str, payment: _Payment) -> Report:
    said = _said(payment)
    if payment.status in GIVEN_BACK:
        return differing(gateway, reference, "operation_credit", **said)
    result = _result(payment)
    if result is None:
        return differing(gateway, reference, "neither_payment_nor_refusal", **said)
    money = payment.payment_output.amount_of_money if payment.payment_output is not None else None
    transaction_id = _transaction_of(payment)
    if money is None or transaction_id is None:
        field = "amountOfMoney" if money is None else "id"
        return differing(gateway, reference, "field_missing", field=field, **said)
    cents = cents_of_cents(str(money.amount))
    return (
        currency_differs(gateway, reference, money.currency_code)
        or amount_differs(gateway, reference, result, cents, str(money.amount))
        or answered(
            gateway,
            reference,
            result,
            transaction_id=transaction_id,
            test=gateway.mode == MODE_OF_TEST,
            cents=cents,
            detail=said,
        )
    )


def _result(payment: _Payment) -> ReportResult | None:
    """What the status says of the payment; None where it is about something that was done with it later."""
    own_code = OWN_CODES.get(payment.status)
    if own_code is not None and own_code != _code(payment):
        return None
    return STATUSES.get(payment.status)


def _code(payment: _Payment) -> int | None:
    return payment.status_output.status_code if payment.status_output is not None else None


def _transaction_of(payment: _Payment) -> str | None:
    """What follows the `_` counts the operations on a payment: its authorisation and its capture are one charge."""
    return usable_reference(payment.id.partition("_")[0])


def _said(payment: _Payment) -> dict[str, str]:
    references = payment.payment_output.references if payment.payment_output is not None else None
    said = {
        "status": payment.status,
        "statusCode": str(_code(payment) or ""),
        "merchantReference": references.merchant_reference if references is not None else "",
        "payment": payment.id,
    }
    return {name: value for name, value in said.items() if value}
