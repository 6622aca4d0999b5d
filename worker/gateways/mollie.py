"""Mollie: its webhook carries an id and nothing else, so the payment is fetched with the régie's key.

Source: Mollie's API reference (payments, « Handling payment status »).
"""

from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct

from schemas.reports import Report, ReportResult
from worker.gateways.amounts import cents_of_euros
from worker.gateways.asked import (
    amount_differs,
    answered,
    currency_differs,
    differing,
    not_paid,
    test_differs,
    unknown,
)
from worker.gateways.exchange import Deadline
from worker.gateways.json_service import IDENTIFIER, fetched, under
from worker.gateways.library import default_of
from worker.gateways.port import Answer, Checked, GatewayConfig, GatewayUnavailableError, Question

KIND: Final = "mollie"
RESULTS: Final[dict[str, ReportResult]] = {
    "paid": ReportResult.PAID,  # definitive
    "open": ReportResult.WAITING,  # can still be paid; Mollie ends it by itself, as expired
    "pending": ReportResult.WAITING,  # begun, and the bank has not answered yet
    "authorized": ReportResult.WAITING,  # reserved, and only money once somebody captures it
    "failed": ReportResult.REFUSED,  # definitive
    "canceled": ReportResult.ABANDONED,  # definitive: by the payer
    "expired": ReportResult.NOTHING,  # definitive: nobody paid in time, and nobody cancelled either
}
"""`status` of a payment. Money given back or charged back leaves it `paid`: only events of the portal count as that."""
TESTS: Final = {"live": False, "test": True}
"""`mode`, in exact case."""


class _Money(Struct):
    value: str
    currency: str


class _Payment(Struct, rename="camel"):
    id: str
    mode: str
    status: str
    amount: _Money
    amount_captured: _Money | None = None
    """Of a payment that was reserved first: what was taken of it, which may be less."""
    amount_refunded: _Money | None = None
    amount_charged_back: _Money | None = None
    method: str | None = None
    paid_at: datetime | None = None


class _Profile(Struct):
    id: str
    mode: str
    name: str = ""


class _Missing(Struct):
    status: Literal[404, 410]


def ask_mollie(gateway: GatewayConfig, question: Question) -> Answer:
    """What Mollie says of a payment. Blocks for at most ASK_SECONDS.

    Raises:
        GatewayUnavailableError: it said nothing sensible.
    """
    reference = question.gateway_reference
    if not IDENTIFIER.fullmatch(reference):  # Mollie has never given it
        return Answer(report=unknown(gateway, reference))
    found = fetched(Deadline(), _address(gateway, "payments", reference), _key(gateway), _Payment, _Missing)
    report = unknown(gateway, reference) if found.content is None else _report(gateway, reference, found.content)
    return Answer(report=report, raw=found.raw)


def check_mollie(gateway: GatewayConfig) -> Checked:
    """Whose key the régie has; nothing is paid or created by asking.

    Raises:
        GatewayUnavailableError: Mollie said nothing sensible, or does not take the key.
    """
    found = fetched(Deadline(), _address(gateway, "profiles", "me"), _key(gateway), _Profile, _Missing)
    if found.content is None:
        raise GatewayUnavailableError("protocol", "no profile")
    profile = found.content
    return Checked(found=f"{profile.id} {profile.name} ({profile.mode})", skew_seconds=found.skew_seconds)


def _address(gateway: GatewayConfig, *path: str) -> str:
    return under(str(gateway.options.get("service_url") or default_of(KIND, "service_url")), *path)


def _key(gateway: GatewayConfig) -> dict[str, str]:
    return {"Authorization": f"Bearer {gateway.options.get('api_key', '')}"}


def _report(gateway: GatewayConfig, reference: str, payment: _Payment) -> Report:
    if payment.id != reference:
        raise GatewayUnavailableError("protocol", "an answer about another payment")
    return (
        _mode_differs(gateway, reference, payment)
        or currency_differs(gateway, reference, _taken(payment).currency)
        or _classified(gateway, reference, payment)
    )


def _mode_differs(gateway: GatewayConfig, reference: str, payment: _Payment) -> Report | None:
    if payment.mode not in TESTS:
        return differing(gateway, reference, "wrong_mode", received=payment.mode, expected=gateway.mode)
    return test_differs(gateway, reference, test=TESTS[payment.mode], received=payment.mode)


def _taken(payment: _Payment) -> _Money:
    return payment.amount_captured or payment.amount


def _classified(gateway: GatewayConfig, reference: str, payment: _Payment) -> Report:
    result, said = RESULTS.get(payment.status), _said(payment)
    if result is None:
        return differing(gateway, reference, "neither_payment_nor_refusal", **said)
    if result is ReportResult.NOTHING:
        return not_paid(gateway, reference, **said)
    cents = cents_of_euros(_taken(payment).value)
    return amount_differs(gateway, reference, result, cents, _taken(payment).value) or answered(
        gateway,
        reference,
        result,
        transaction_id=payment.id,
        test=TESTS[payment.mode],
        cents=cents,
        gateway_time=_utc(payment.paid_at),
        detail=said,
    )


def _said(payment: _Payment) -> dict[str, str]:
    """What explains the result to a régisseur, with what Mollie gave back: somebody must say so to the books."""
    given_back = {
        "amountRefunded": payment.amount_refunded,
        "amountChargedBack": payment.amount_charged_back,
    }
    amounts = {name: money.value for name, money in given_back.items() if money is not None}
    return {"status": payment.status, **({"method": payment.method} if payment.method else {}), **amounts}


def _utc(time: datetime | None) -> datetime | None:
    return time.astimezone(UTC) if time is not None and time.tzinfo is not None else None
