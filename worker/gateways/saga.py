"""Saga (Futur System): its notification carries an idOp of PayFiP's and nothing else, so the town's Saga is asked.

Source: domain.md, the table of gateways, and eopayment 3.15. The library's own reading is not used: it calls P5
waiting for twenty minutes of its own clock. An answer names no idOp: it is about the one that was asked for. It says
neither test nor means of payment: the régie's mode decides, and a direct debit looks like a card.
"""

import re
from collections.abc import Mapping
from typing import Final

from schemas.reports import Report, ReportResult
from worker.gateways.amounts import cents_of_euros
from worker.gateways.asked import (
    MODE_OF_TEST,
    amount_differs,
    answered,
    differing,
    in_progress,
    merchant_differs,
    unknown,
)
from worker.gateways.exchange import Deadline
from worker.gateways.library_soap import SagaAccess, saga_payment, saga_service
from worker.gateways.port import Answer, Checked, GatewayConfig, GatewayUnavailableError, Question

RESULTS: Final[dict[str, ReportResult]] = {
    "paye": ReportResult.PAID,
    "refus": ReportResult.REFUSED,
    "abandon": ReportResult.ABANDONED,
}
"""`etat`."""
CODE: Final = re.compile(r"\bP[0-9]\b")
"""PayFiP's own code, in the words of an error."""
UNKNOWN: Final = "P1"
NO_RESULT: Final = "P5"
ACCOUNTS: Final = ("compte", "numcp")
"""Where an answer names the account: the first by Saga's description, the second in its real answers."""


def ask_saga(gateway: GatewayConfig, question: Question) -> Answer:
    """What Saga says of an idOp. Blocks for at most ASK_SECONDS.

    Raises:
        GatewayUnavailableError: it said nothing sensible.
    """
    said = saga_payment(_access(gateway), question.gateway_reference, Deadline())
    if said.fault:
        report = _without_result(gateway, question, said.fault)
    else:
        report = _report(gateway, question.gateway_reference, said.fields)
    return Answer(report=report, raw=said.raw)


def check_saga(gateway: GatewayConfig) -> Checked:
    """Whether Saga describes its service; nothing is paid or created by asking.

    Raises:
        GatewayUnavailableError: it does not, or nobody is there.
    """
    service = saga_service(_access(gateway), Deadline())
    return Checked(found=service.address, skew_seconds=service.skew_seconds)


def _access(gateway: GatewayConfig) -> SagaAccess:
    options = gateway.options
    return SagaAccess(
        base_url=str(options.get("base_url", "")),
        login=str(options.get("login") or ""),
        password=str(options.get("password") or ""),
    )


def _without_result(gateway: GatewayConfig, question: Question, fault: str) -> Report:
    """What an error says of an idOp; the code is PayFiP's, in whatever words, and the idOp's age decides."""
    code = CODE.search(fault)
    if code is not None and code[0] == UNKNOWN:
        return unknown(gateway, question.gateway_reference, fault=fault)
    if code is not None and code[0] == NO_RESULT:
        return in_progress(gateway, question, fault=fault)
    raise GatewayUnavailableError("malfunction", fault)


def _report(gateway: GatewayConfig, reference: str, fields: Mapping[str, str]) -> Report:
    account = next((fields[name] for name in ACCOUNTS if name in fields), None)
    return (
        merchant_differs(gateway, reference, "num_service", fields.get("num_service", ""))
        or (merchant_differs(gateway, reference, "compte", account) if account is not None else None)
        or _classified(gateway, reference, fields)
    )


def _classified(gateway: GatewayConfig, reference: str, fields: Mapping[str, str]) -> Report:
    etat, montant = fields.get("etat", ""), fields.get("montant", "")
    result = RESULTS.get(etat)
    if result is None:
        return differing(gateway, reference, "neither_payment_nor_refusal", etat=etat)
    cents = cents_of_euros(montant)
    return amount_differs(gateway, reference, result, cents, montant) or answered(
        gateway,
        reference,
        result,
        transaction_id=reference,  # an idOp is paid once
        test=gateway.mode == MODE_OF_TEST,
        cents=cents,
        detail={"etat": etat},
    )
