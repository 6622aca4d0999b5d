"""PayFiP, the web service of the régies (`payfip_ws`): its notification carries only an idOp, so it is asked.

Source: domain.md, "Facts that bite", and the DGFiP's integration guide. The library's own reading is not used: it
calls P5 waiting for two hours, an abandon waiting for two minutes, and a direct debit paid.
"""

from collections.abc import Mapping
from typing import Final

from schemas.reports import Report, ReportResult
from worker.gateways.amounts import cents_of_cents
from worker.gateways.asked import (
    MODE_OF_TEST,
    amount_differs,
    answered,
    differing,
    in_progress,
    merchant_differs,
    test_differs,
    unknown,
)
from worker.gateways.exchange import Deadline
from worker.gateways.library_soap import payfip_client, payfip_payment
from worker.gateways.local_time import utc_of
from worker.gateways.port import Answer, Checked, GatewayConfig, GatewayUnavailableError, Question

RESULTS: Final[dict[str, ReportResult]] = {
    "P": ReportResult.PAID,  # by card
    "V": ReportResult.PROVISIONAL,  # a direct debit was accepted; the bank may refuse it days later
    "Z": ReportResult.REJECTED_LATER,  # that refusal
    "R": ReportResult.REFUSED,  # the card was
    "A": ReportResult.ABANDONED,  # the payer left the page by its button
}
"""`resultrans`."""
PRODUCTION: Final = "W"
TESTS: Final = ("T", "X")
"""`saisie` of payments with published test cards: T, and X, which opens the service to a new régie. No money moves."""
UNKNOWN: Final = "P1"
"""Never created, or purged: an idOp that nobody paid is forgotten the night after."""
NO_RESULT: Final = "P5"
"""Created, and nothing more is known: the payer may be paying, or have closed the window."""
CLIENT_FAULTS: Final = "T"
"""The first letter of what PayFiP objects to in a client number: unknown, not open, without access."""
EXPLAINING: Final = ("resultrans", "refdet", "exer", "numauto", "saisie")
"""What tells a régisseur which payment this is; the payer's address (`mel`) and the free text are left out."""


def ask_payfip(gateway: GatewayConfig, question: Question) -> Answer:
    """What PayFiP says of an idOp. Blocks for at most ASK_SECONDS.

    Raises:
        GatewayUnavailableError: it said nothing sensible.
    """
    said = payfip_payment(_service_url(gateway), question.gateway_reference, Deadline())
    report = _without_result(gateway, question, said.fault) if said.fault else _report(gateway, question, said.fields)
    return Answer(report=report, raw=said.raw)


def check_payfip(gateway: GatewayConfig) -> Checked:
    """Whom PayFiP takes this régie's client number for; asking that moves nothing.

    Raises:
        GatewayUnavailableError: it said nothing sensible, or does not know the number.
    """
    numcli = str(gateway.options.get("numcli", ""))
    said = payfip_client(_service_url(gateway), numcli, Deadline())
    if said.fault:
        raise _refused(said.fault)
    names = (said.fields.get(name, "") for name in ("libelleN1", "libelleN2", "libelleN3"))
    return Checked(found=f"{numcli} {' '.join(filter(None, names))}".strip(), skew_seconds=said.skew_seconds)


def _service_url(gateway: GatewayConfig) -> str | None:
    url = gateway.options.get("service_url")
    return str(url) if url else None


def _without_result(gateway: GatewayConfig, question: Question, fault: str) -> Report:
    """What a functional fault says of an idOp; its age decides, not the fault alone."""
    if fault == UNKNOWN:
        return unknown(gateway, question.gateway_reference, fault=fault)
    if fault != NO_RESULT:
        raise _refused(fault)
    return in_progress(gateway, question, fault=fault)


def _refused(fault: str) -> GatewayUnavailableError:
    """A fault about our question instead of the payment."""
    return GatewayUnavailableError("unauthorised" if fault.startswith(CLIENT_FAULTS) else "protocol", fault)


def _report(gateway: GatewayConfig, question: Question, fields: Mapping[str, str]) -> Report:
    reference = question.gateway_reference
    if fields.get("idOp") != reference:
        raise GatewayUnavailableError("protocol", "an answer about another idOp")
    return (
        merchant_differs(gateway, reference, "numcli", fields.get("numcli", ""))
        or _mode_differs(gateway, reference, fields.get("saisie", ""))
        or _unreadable(gateway, reference, fields)
        or _proven(gateway, reference, fields)
    )


def _mode_differs(gateway: GatewayConfig, reference: str, saisie: str) -> Report | None:
    if saisie not in (PRODUCTION, *TESTS):
        return differing(gateway, reference, "wrong_mode", received=saisie, expected=gateway.mode)
    return test_differs(gateway, reference, test=saisie in TESTS, received=saisie)


def _unreadable(gateway: GatewayConfig, reference: str, fields: Mapping[str, str]) -> Report | None:
    result, montant = RESULTS.get(fields.get("resultrans", "")), fields.get("montant", "")
    if result is None:
        return differing(gateway, reference, "neither_payment_nor_refusal", **_said(fields))
    return amount_differs(gateway, reference, result, cents_of_cents(montant), montant)


def _proven(gateway: GatewayConfig, reference: str, fields: Mapping[str, str]) -> Report:
    return answered(
        gateway,
        reference,
        RESULTS[fields["resultrans"]],
        transaction_id=reference,  # an idOp is paid once; the library's transaction id changes with the result
        test=gateway.mode == MODE_OF_TEST,
        cents=cents_of_cents(fields.get("montant", "")),
        gateway_time=utc_of(fields.get("dattrans", "") + fields.get("heurtrans", ""), "%d%m%Y%H%M"),
        detail=_said(fields),
    )


def _said(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: fields[name] for name in EXPLAINING if name in fields}
