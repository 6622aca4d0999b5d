"""What comes of gateways whose callbacks prove nothing: a claim, a question, an answer.

An answer to our own question is proof: it came over TLS from the gateway's own address, about a reference that we
named.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from schemas.reports import Report, ReportResult
from worker.gateways.capabilities import CAPABILITIES
from worker.gateways.fields import first_of, pairs_of
from worker.gateways.port import Claim, GatewayConfig, Question, RawCallback, quoted, unproven

EURO: Final = "EUR"
MODE_OF_TEST: Final = "test"
MONEY: Final = (ReportResult.PAID, ReportResult.PROVISIONAL, ReportResult.REJECTED_LATER)


def interpret_claim(gateway: GatewayConfig, callback: RawCallback) -> Report | Claim:
    """Which payment a callback wants to be asked about; anybody can send one. Never raises."""
    pairs = pairs_of(callback.query, callback.body)
    names = CAPABILITIES[gateway.kind].reference_fields
    if not pairs:
        return unproven(gateway, "", "unparsable")
    if not any(name in names for name, _ in pairs):
        return unproven(gateway, "", "field_missing", field=names[0])
    reference = first_of(pairs, names)
    return Claim(gateway_reference=reference) if reference else unproven(gateway, "", "reference_unreadable")


def answered(
    gateway: GatewayConfig,
    reference: str,
    result: ReportResult,
    why: str = "asked",
    *,
    transaction_id: str = "",
    test: bool = False,
    cents: int | None = None,
    gateway_time: datetime | None = None,
    detail: Mapping[str, str] | None = None,
) -> Report:
    """The report of an answer that can be believed. `why`: `asked`, or what is known instead of a result."""
    return Report(
        regie=gateway.regie,
        gateway_reference=reference,
        transaction_id=transaction_id,
        result=result,
        verified=True,
        test=test,
        asked=True,
        cents=cents,
        why=why,
        gateway_time=gateway_time,
        detail=quoted(detail or {}),
    )


def differing(gateway: GatewayConfig, reference: str, why: str, **values: str) -> Report:
    """The report of an answer that is not what this régie expects: kept and shown, and nothing follows from it."""
    report = unproven(gateway, reference, why, **values)
    report.asked = True
    return report


def test_differs(gateway: GatewayConfig, reference: str, *, test: bool, received: str) -> Report | None:
    """The report of an answer of the other mode than the régie's; None if it is the régie's own.

    An answer that says test in production is no money. One that says production in a test régie may well be, and is
    for people to look at.
    """
    if test == (gateway.mode == MODE_OF_TEST):
        return None
    report = differing(
        gateway, reference, "test_answer" if test else "wrong_mode", received=received, expected=gateway.mode
    )
    report.test = test
    return report


def merchant_differs(gateway: GatewayConfig, reference: str, option: str, received: str) -> Report | None:
    """The report of an answer about another merchant than the régie's option says; None if it is the régie's."""
    expected = str(gateway.options.get(option, ""))
    if received == expected:
        return None
    return differing(gateway, reference, "wrong_merchant", received=received, expected=expected)


def currency_differs(gateway: GatewayConfig, reference: str, received: str) -> Report | None:
    """The report of an answer in another money than euros; None if it is in euros."""
    if received == EURO:
        return None
    return differing(gateway, reference, "wrong_currency", received=received, expected=EURO)


def amount_differs(
    gateway: GatewayConfig, reference: str, result: ReportResult, cents: int | None, written: str
) -> Report | None:
    """The report of an answer that speaks of money and names no amount that could be paid; None if it names one."""
    if result not in MONEY or cents:
        return None
    return differing(gateway, reference, "amount_unreadable", received=written)


def unknown(gateway: GatewayConfig, reference: str, **detail: str) -> Report:
    """The report of a gateway that knows no such payment: nobody can pay it there, so it is no doubt, at any age."""
    return answered(gateway, reference, ReportResult.NOTHING, "payment_unknown_to_gateway", detail=detail)


def in_progress(gateway: GatewayConfig, question: Question, **detail: str) -> Report:
    """The report of a gateway that knows no result of a payment and never ends it by itself: its age decides."""
    if question.age_seconds < CAPABILITIES[gateway.kind].idle_seconds:
        return answered(gateway, question.gateway_reference, ReportResult.WAITING, "in_progress", detail=detail)
    return not_paid(gateway, question.gateway_reference, **detail)


def not_paid(gateway: GatewayConfig, reference: str, **detail: str) -> Report:
    """The report of a payment that is over, unpaid, without anybody's refusal or cancel."""
    return answered(gateway, reference, ReportResult.NOTHING, "not_paid", detail=detail)
