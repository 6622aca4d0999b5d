"""PayFiP, the web service of the régies (`payfip_ws`): its notification carries only an idOp, so it is asked.

Source: domain.md, "Facts that bite", and the DGFiP's integration guide. The library's own reading is not used: it
calls P5 waiting for two hours, an abandon waiting for two minutes, and a direct debit paid.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.reports import Report, ReportResult
from worker.gateways.asked import MODE_OF_TEST, answered, cents_of, differing, merchant_differs, test_differs
from worker.gateways.capabilities import CAPABILITIES
from worker.gateways.exchange import Deadline
from worker.gateways.library_soap import payfip_client, payfip_payment
from worker.gateways.port import Answer, Checked, GatewayConfig, GatewayUnavailableError, Question

RESULTS: Final[dict[str, ReportResult]] = {
    "P": ReportResult.PAID,  # by card
    "V": ReportResult.PROVISIONAL,  # a direct debit was accepted; the bank may refuse it days later
    "Z": ReportResult.REJECTED_LATER,  # that refusal
    "R": ReportResult.REFUSED,  # the card was
    "A": ReportResult.ABANDONED,  # the payer left the page by its button
}
"""`resultrans`."""
MONEY: Final = (ReportResult.PAID, ReportResult.PROVISIONAL, ReportResult.REJECTED_LATER)
PRODUCTION: Final = "W"
TESTS: Final = ("T", "X")
"""`saisie` of payments with published test cards: T, and X, which opens the service to a new régie. No money moves."""
UNKNOWN: Final = "P1"
"""Never created, or purged: an idOp that nobody paid is forgotten the night after."""
NO_RESULT: Final = "P5"
"""Created, and nothing more is known: the payer may be paying, or have closed the window."""
CLIENT_FAULTS: Final = "T"
"""The first letter of what PayFiP objects to in a client number: unknown, not open, without access."""
PARIS: Final = "Europe/Paris"
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
    reference = question.gateway_reference
    if fault == UNKNOWN:  # at any age: nobody can pay an idOp that PayFiP does not know
        return answered(gateway, reference, ReportResult.NOTHING, "payment_unknown_to_gateway", detail={"fault": fault})
    if fault != NO_RESULT:
        raise _refused(fault)
    if question.age_seconds < CAPABILITIES[gateway.kind].idle_seconds:
        return answered(gateway, reference, ReportResult.WAITING, "in_progress", detail={"fault": fault})
    return answered(gateway, reference, ReportResult.NOTHING, "not_paid", detail={"fault": fault})


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
    result = RESULTS.get(fields.get("resultrans", ""))
    if result is None:
        return differing(gateway, reference, "neither_payment_nor_refusal", **_said(fields))
    if result in MONEY and not cents_of(fields.get("montant", "")):
        return differing(gateway, reference, "amount_unreadable", received=fields.get("montant", ""))
    return None


def _proven(gateway: GatewayConfig, reference: str, fields: Mapping[str, str]) -> Report:
    return answered(
        gateway,
        reference,
        RESULTS[fields["resultrans"]],
        transaction_id=reference,  # an idOp is paid once; the library's transaction id changes with the result
        test=gateway.mode == MODE_OF_TEST,
        cents=cents_of(fields.get("montant", "")),
        gateway_time=_paris_minute(fields.get("dattrans", "") + fields.get("heurtrans", "")),
        detail=_said(fields),
    )


def _said(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: fields[name] for name in EXPLAINING if name in fields}


def _paris_minute(text: str) -> datetime | None:
    """`JJMMAAAAHHMM`, Paris time: of the two that an hour of October may mean, the first."""
    try:
        return datetime.strptime(text, "%d%m%Y%H%M").replace(tzinfo=ZoneInfo(PARIS)).astimezone(UTC)
    except (ValueError, OverflowError, ZoneInfoNotFoundError):
        return None
