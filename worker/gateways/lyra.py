"""Lyra's signed form answers (`systempayv2`): proof first, then what they say.

Source: Lyra's form API reference (`vads_*` fields of the notification and of the return), and money.md,
« Signed is not enough ». Only `vads_*` fields are signed, so only those are read.

A portal knows its `gateway_reference` before it sends the family away: it is the first value of what
eopayment's `request()` returns. That is `vads_ext_info_eopayment_trans_id` when the portal chose it
(`request(transaction_id=…)`), else `vads_trans_date` and `vads_trans_id` joined by `_`.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from schemas.events import MAX_CENTS
from schemas.reports import Report, ReportResult
from worker.gateways.fields import pairs_of, usable_reference
from worker.gateways.library import lyra_signed
from worker.gateways.port import GatewayConfig, RawCallback, quoted, unproven

EURO = "978"
MODES = {"production": "PRODUCTION", "test": "TEST"}
"""A régie's mode, and how Lyra writes it: in capitals, nothing else."""
REQUIRED = (
    "signature",
    "vads_ctx_mode",
    "vads_site_id",
    "vads_currency",
    "vads_operation_type",
    "vads_amount",
)

STATUSES: dict[str, ReportResult] = {
    "AUTHORISED": ReportResult.PAID,  # the bank accepted; Lyra captures by itself on the expected date
    "CAPTURED": ReportResult.PAID,  # sent to the bank
    "AUTHORISED_TO_VALIDATE": ReportResult.WAITING,  # lapses unless the merchant validates it by hand
    "WAITING_AUTHORISATION": ReportResult.WAITING,  # late capture: the full amount was not asked for yet
    "WAITING_AUTHORISATION_TO_VALIDATE": ReportResult.WAITING,  # both of the above
    "UNDER_VERIFICATION": ReportResult.WAITING,  # the acquirer has not answered yet
    "INITIAL": ReportResult.WAITING,  # the same: the acquirer's answer is awaited
    "PRE_AUTHORISED": ReportResult.WAITING,  # an estimate was reserved, nothing is paid
    "SUSPENDED": ReportResult.WAITING,  # capture blocked for a time; CAPTURED or CAPTURE_FAILED follows
    "REFUSED": ReportResult.REFUSED,  # the bank said no
    "ABANDONED": ReportResult.ABANDONED,  # the payer left; no transaction exists
    "ACCEPTED": ReportResult.NOTHING,  # a card was verified: never captured
    "NOT_CREATED": ReportResult.NOTHING,  # no transaction; not the bank's refusal either
    "CANCELLED": ReportResult.NOTHING,  # by the merchant before capture: for a person to look at
    "CAPTURE_FAILED": ReportResult.NOTHING,  # authorised, but the money will not come: for a person
    "EXPIRED": ReportResult.NOTHING,  # nobody validated it in time
}
"""`vads_trans_status`, by Lyra's reference."""
UNPAID_STATUSES = frozenset(status for status, result in STATUSES.items() if result is not ReportResult.PAID)
RESULTS: dict[str, ReportResult] = {
    "00": ReportResult.PAID,
    "05": ReportResult.REFUSED,
    "17": ReportResult.ABANDONED,
}
"""`vads_result`, read only where an old form version gives no `vads_trans_status`."""
ACCEPTED = "00"
CENTS = re.compile(r"[0-9]{1,12}")
TIMESTAMP = re.compile(r"[0-9]{14}")


def peek_reference(pairs: Sequence[tuple[str, str]]) -> str | None:
    """The gateway reference that these fields claim."""
    return _reference(_first_values(pairs))


def interpret_lyra(gateway: GatewayConfig, callback: RawCallback) -> Report:
    """What a Lyra answer proves. Never raises."""
    pairs = pairs_of(callback.query, callback.body)
    fields = _first_values(pairs)
    reference = _reference(fields)
    return (
        _unreadable(gateway, pairs, fields, reference)
        or _unsigned(gateway, pairs, fields, reference or "")
        or _unexpected(gateway, fields, reference or "")
        or _proven(gateway, fields, reference or "")
    )


def _first_values(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    return dict(reversed(pairs))


def _reference(fields: Mapping[str, str]) -> str | None:
    chosen = fields.get("vads_ext_info_eopayment_trans_id")
    if chosen:
        return usable_reference(chosen)
    date, number = fields.get("vads_trans_date"), fields.get("vads_trans_id")
    return usable_reference(f"{date}_{number}") if date and number else None


def _unreadable(
    gateway: GatewayConfig,
    pairs: Sequence[tuple[str, str]],
    fields: Mapping[str, str],
    reference: str | None,
) -> Report | None:
    if not pairs:
        return unproven(gateway, "", "unparsable")
    missing = [name for name in REQUIRED if not fields.get(name)]
    if not (fields.get("vads_trans_status") or fields.get("vads_result")):
        missing.append("vads_trans_status")
    if missing:
        return unproven(gateway, reference or "", "field_missing", field=" ".join(missing))
    if reference is None:
        return unproven(gateway, "", "reference_unreadable")
    return None


def _unsigned(
    gateway: GatewayConfig, pairs: Sequence[tuple[str, str]], fields: Mapping[str, str], reference: str
) -> Report | None:
    mode = fields["vads_ctx_mode"]
    if mode.upper() not in MODES.values():
        return unproven(gateway, reference, "wrong_mode", received=mode)
    if not _signed_by_any_key(gateway, fields):
        return unproven(gateway, reference, "signature_invalid", mode=mode)
    foreign = _added_fields(pairs)
    if foreign:
        return unproven(gateway, reference, "field_not_signed", field=" ".join(foreign))
    return None


def _signed_by_any_key(gateway: GatewayConfig, fields: Mapping[str, str]) -> bool:
    """Signed with the key of its mode; or, when it says test, with any key of this régie."""
    if lyra_signed(gateway.kind, gateway.options, fields):
        return True
    if fields["vads_ctx_mode"].upper() != MODES["test"] or gateway.mode == "test":
        return False
    production_key = gateway.options.get("secret_production")
    return lyra_signed(gateway.kind, {**gateway.options, "secret_test": production_key}, fields)


def _added_fields(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Names that somebody put beside the signed ones: repeated, or foreign after Lyra's own began.

    Foreign ones before are the return address's own parameters: Lyra appends its fields to them.
    """
    names = [name for name, _ in pairs]
    repeated = [name for name, count in Counter(names).items() if count > 1 and _is_lyras(name)]
    begun = next((place for place, name in enumerate(names) if name.startswith("vads_")), len(names))
    return repeated + [name for name in names[begun:] if not _is_lyras(name)]


def _is_lyras(name: str) -> bool:
    return name.startswith("vads_") or name == "signature"


def _unexpected(gateway: GatewayConfig, fields: Mapping[str, str], reference: str) -> Report | None:
    """The first thing that differs from what this régie expects of an authentic answer."""
    mode = fields["vads_ctx_mode"]
    if mode.upper() == MODES["test"] and (gateway.mode != "test" or mode != MODES["test"]):
        return _test_answer(gateway, reference, mode)
    if mode != MODES[gateway.mode]:
        return unproven(gateway, reference, "wrong_mode", received=mode, expected=MODES[gateway.mode])
    site, currency, operation = (fields[name] for name in ("vads_site_id", "vads_currency", "vads_operation_type"))
    own_site = str(gateway.options.get("vads_site_id", ""))
    if site != own_site:
        return unproven(gateway, reference, "wrong_merchant", received=site, expected=own_site)
    if currency != EURO:
        return unproven(gateway, reference, "wrong_currency", received=currency, expected=EURO)
    if operation != "DEBIT":
        return unproven(gateway, reference, _operation_reason(operation), received=operation)
    if not CENTS.fullmatch(fields["vads_amount"]) or int(fields["vads_amount"]) > MAX_CENTS:
        return unproven(gateway, reference, "amount_unreadable", received=fields["vads_amount"])
    return None


def _test_answer(gateway: GatewayConfig, reference: str, mode: str) -> Report:
    """It says test, in whatever spelling, where test is not expected or not so written."""
    report = unproven(gateway, reference, "test_answer", received=mode, expected=MODES[gateway.mode])
    report.test = True
    return report


def _operation_reason(operation: str) -> str:
    return "operation_credit" if operation == "CREDIT" else "operation_not_debit"


def _proven(gateway: GatewayConfig, fields: Mapping[str, str], reference: str) -> Report:
    """An authentic answer about this régie's money: classified by Lyra's own status."""
    result = _result(fields)
    transaction_id = usable_reference(fields.get("vads_trans_uuid", ""))
    cents = int(fields["vads_amount"])
    if result is ReportResult.PAID and transaction_id is None:
        return unproven(gateway, reference, "field_missing", field="vads_trans_uuid")
    if result is ReportResult.PAID and cents == 0:
        return unproven(gateway, reference, "amount_unreadable", received=fields["vads_amount"])
    if result is ReportResult.PAID and _contradicted(fields):
        return unproven(gateway, reference, "answer_contradicts_itself", **_said(fields))
    if result is ReportResult.NOTHING:
        return unproven(gateway, reference, "neither_payment_nor_refusal", **_said(fields))
    return Report(
        regie=gateway.regie,
        gateway_reference=reference,
        transaction_id=transaction_id or reference,  # an abandonment has no transaction
        result=result,
        cents=cents,
        verified=True,
        test=fields["vads_ctx_mode"] == MODES["test"],
        why="signed",
        gateway_time=_created_at(fields.get("vads_effective_creation_date", "")),
        detail=_said(fields),
    )


def _contradicted(fields: Mapping[str, str]) -> bool:
    """Whether anything else in a paid answer says that it is not paid.

    Lyra signs values joined by `+` in the order of their names, and not the names: whoever holds a genuine
    refusal could rename its status, or split a value of their own (a name with `+` in it) into a new one. The
    genuine status is then still there, under another name.
    """
    if fields.get("vads_result", ACCEPTED) not in ("", ACCEPTED):
        return True
    others = (value for name, value in fields.items() if name not in ("vads_trans_status", "signature"))
    words = {word for value in others for word in value.split("+")}
    return not words.isdisjoint(UNPAID_STATUSES)


def _result(fields: Mapping[str, str]) -> ReportResult:
    status = fields.get("vads_trans_status")
    if status:
        return STATUSES.get(status, ReportResult.NOTHING)
    return RESULTS.get(fields["vads_result"], ReportResult.NOTHING)


def _said(fields: Mapping[str, str]) -> dict[str, str]:
    """What explains the result to a régisseur; no card, no name, no e-mail is among it."""
    explaining = ("vads_trans_status", "vads_result", "vads_auth_result", "vads_url_check_src")
    return quoted({name: fields[name] for name in explaining if fields.get(name)})


def _created_at(text: str) -> datetime | None:
    """`vads_effective_creation_date`: UTC, `YYYYMMDDhhmmss`."""
    if not TIMESTAMP.fullmatch(text):
        return None
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
