"""Keyware (EMS, on Ginger Payments): its webhook carries an order's id and nothing else, so the order is fetched.

Source: Ginger Payments' API reference (orders) and eopayment 3.15. An order is paid once, by one of its transactions,
so that it is the charge's identity. Money given back is an order of its own, which nobody here knows.
"""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct, field

from schemas.reports import Report, ReportResult
from worker.gateways.amounts import cents_of_cents
from worker.gateways.asked import (
    MODE_OF_TEST,
    amount_differs,
    answered,
    currency_differs,
    differing,
    interpret_claim,
    not_paid,
    test_differs,
    unknown,
)
from worker.gateways.capabilities import CAPABILITIES
from worker.gateways.exchange import Deadline
from worker.gateways.fields import first_of, pairs_of, usable_reference
from worker.gateways.json_service import IDENTIFIER, fetched, identified, read, under
from worker.gateways.library import default_of
from worker.gateways.port import (
    Answer,
    Checked,
    Claim,
    GatewayConfig,
    GatewayUnavailableError,
    Question,
    RawCallback,
)

KIND: Final = "keyware"
RESULTS: Final[dict[str, ReportResult]] = {
    "completed": ReportResult.PAID,
    "new": ReportResult.WAITING,  # nobody has paid yet; Ginger ends it by itself, as expired
    "processing": ReportResult.WAITING,  # begun, and the bank has not answered yet
    "accepted": ReportResult.WAITING,  # reserved, and only money once somebody captures it
    "error": ReportResult.REFUSED,
    "cancelled": ReportResult.ABANDONED,
    "expired": ReportResult.NOTHING,  # nobody paid in time, and nobody cancelled either
}
"""`status` of an order; `see-transactions`, when its transactions differ, is for people."""
TEST_FLAG: Final = "is-test"


class _Transaction(Struct):
    status: str = ""
    payment_method: str = ""


class _Order(Struct):
    id: str
    status: str
    amount: int
    currency: str
    flags: Sequence[str] | None = None
    completed: datetime | None = None
    transactions: Sequence[_Transaction] = field(default_factory=list)


class _Notice(Struct):
    order_id: str


class _Currencies(Struct):
    payment_methods: dict[str, object]


class _NotFound(Struct):
    status: Literal[404, 410]


class _Missing(Struct):
    error: _NotFound


def peek_keyware(query: str, body: bytes) -> str | None:
    """The order that a webhook names: Ginger posts JSON, a payer comes back with a query."""
    try:
        return usable_reference(read(body, _Notice).order_id)
    except GatewayUnavailableError:
        return first_of(pairs_of(query, body), CAPABILITIES[KIND].reference_fields)


def interpret_keyware(gateway: GatewayConfig, callback: RawCallback) -> Report | Claim:
    """Which order a webhook wants to be asked about. Never raises."""
    reference = peek_keyware(callback.query, callback.body)
    claim = Claim(gateway_reference=reference) if reference else interpret_claim(gateway, callback)
    return identified(gateway, claim)


def ask_keyware(gateway: GatewayConfig, question: Question) -> Answer:
    """What Keyware says of an order. Blocks for at most ASK_SECONDS.

    Raises:
        GatewayUnavailableError: it said nothing sensible.
    """
    reference = question.gateway_reference
    if not IDENTIFIER.fullmatch(reference):  # Keyware has never given it
        return Answer(report=unknown(gateway, reference))
    found = fetched(Deadline(), _address(gateway, "orders", reference), _key(gateway), _Order, _Missing)
    report = unknown(gateway, reference) if found.content is None else _report(gateway, reference, found.content)
    return Answer(report=report, raw=found.raw)


def check_keyware(gateway: GatewayConfig) -> Checked:
    """What the régie's key opens; nothing is paid or created by asking.

    Raises:
        GatewayUnavailableError: Keyware said nothing sensible, or does not take the key.
    """
    address = _address(gateway, "merchants", "self", "projects", "self", "currencies")
    found = fetched(Deadline(), address, _key(gateway), _Currencies, _Missing)
    if found.content is None:
        raise GatewayUnavailableError("protocol", "no project")
    return Checked(found=", ".join(sorted(found.content.payment_methods)), skew_seconds=found.skew_seconds)


def _address(gateway: GatewayConfig, *path: str) -> str:
    return under(str(gateway.options.get("service_url") or default_of(KIND, "service_url")), *path)


def _key(gateway: GatewayConfig) -> dict[str, str]:
    """The key is a user without a password."""
    pair = f"{gateway.options.get('api_key', '')}:"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _report(gateway: GatewayConfig, reference: str, order: _Order) -> Report:
    if order.id != reference:
        raise GatewayUnavailableError("protocol", "an answer about another order")
    test = TEST_FLAG in (order.flags or ())
    return (
        test_differs(gateway, reference, test=test, received=TEST_FLAG if test else "")
        or currency_differs(gateway, reference, order.currency)
        or _classified(gateway, reference, order)
    )


def _classified(gateway: GatewayConfig, reference: str, order: _Order) -> Report:
    result, said = RESULTS.get(order.status), _said(order)
    if result is None:
        return differing(gateway, reference, "neither_payment_nor_refusal", **said)
    if result is ReportResult.NOTHING:
        return not_paid(gateway, reference, **said)
    cents = cents_of_cents(str(order.amount))
    return amount_differs(gateway, reference, result, cents, str(order.amount)) or answered(
        gateway,
        reference,
        result,
        transaction_id=order.id,
        test=gateway.mode == MODE_OF_TEST,
        cents=cents,
        gateway_time=order.completed.astimezone(UTC) if order.completed and order.completed.tzinfo else None,
        detail=said,
    )


def _said(order: _Order) -> dict[str, str]:
    transactions = " ".join(f"{each.payment_method}:{each.status}" for each in order.transactions)
    return {"status": order.status, **({"transactions": transactions} if transactions else {})}
