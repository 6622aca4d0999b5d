"""Sips 2.0's sealed answers: proof first, then what they say.

Source: Worldline Sips' guide of the Paypage POST connector and its data dictionary, and money.md, « Signed is not
enough ». The seal covers `Data` as it was sent, `name=value` joined by `|`; only what is in there is read.

A portal knows its `gateway_reference` before it sends the family away: it is the first value of what eopayment's
`request()` returns, the `transactionReference`. Sips takes one transaction a reference, so that it is the
transaction's identity too. An answer has no type of operation: refunds and cancels by the merchant send none.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from schemas.reports import Report, ReportResult
from worker.gateways.amounts import cents_of_cents
from worker.gateways.capabilities import CAPABILITIES
from worker.gateways.fields import first_values, pairs_of, repeated_names, usable_reference
from worker.gateways.local_time import utc_of
from worker.gateways.port import GatewayConfig, RawCallback, quoted, unproven

EURO = "978"
FORM = frozenset(("Data", "Seal", "InterfaceVersion", "Encode", "SealAlgorithm"))
"""The form's fields; all but the first two say how to read it, and are not signed: nobody asks them."""
REQUIRED = ("merchantId", "transactionReference", "currencyCode", "amount", "responseCode")
NO_VALUE = "null"
"""What Sips writes where there is none."""
SIMULATED = re.compile(CAPABILITIES["sips2"].published)
"""The merchants of Sips' simulator, and their keys: each is the merchant and `_KEY1`, for everybody."""
TO_VALIDATE = "VALIDATION"

STATUSES: dict[str, ReportResult] = {
    "00": ReportResult.PAID,  # accepted; Sips captures by itself unless the mode of capture says otherwise
    "02": ReportResult.REFUSED,  # the issuer wants a phone call
    "03": ReportResult.NOTHING,  # the merchant's contract is not valid
    "05": ReportResult.REFUSED,  # the bank said no
    "11": ReportResult.REFUSED,  # the card is on a list
    "12": ReportResult.NOTHING,  # the request's parameters are wrong
    "14": ReportResult.REFUSED,  # wrong card number, security code or bank details
    "17": ReportResult.ABANDONED,  # the payer cancelled
    "24": ReportResult.NOTHING,  # the merchant's operation does not fit the transaction's state
    "25": ReportResult.NOTHING,  # Sips does not know the transaction
    "30": ReportResult.NOTHING,  # error of format
    "34": ReportResult.REFUSED,  # suspicion of fraud
    "40": ReportResult.NOTHING,  # the merchant may not do this
    "51": ReportResult.REFUSED,  # the amount is too high
    "54": ReportResult.REFUSED,  # expired card
    "60": ReportResult.WAITING,  # pending
    "62": ReportResult.WAITING,  # the means of payment's confirmation is awaited
    "63": ReportResult.REFUSED,  # rules of security not kept, stopped
    "75": ReportResult.REFUSED,  # too many tries at the card's data
    "90": ReportResult.NOTHING,  # the service is away
    "94": ReportResult.NOTHING,  # the reference is taken: the other transaction may be paid
    "97": ReportResult.ABANDONED,  # the payer let the session run out
    "99": ReportResult.NOTHING,  # Sips' own trouble
}
"""`responseCode`, by Sips' data dictionary."""


def peek_sips2(pairs: Sequence[tuple[str, str]]) -> str | None:
    """The gateway reference that these fields claim."""
    data = _read(first_values(pairs).get("Data", ""))
    return usable_reference(first_values(data).get("transactionReference", ""))


def interpret_sips2(gateway: GatewayConfig, callback: RawCallback) -> Report:
    """What a Sips answer proves. Never raises."""
    pairs = pairs_of(callback.query, callback.body)
    reference = peek_sips2(pairs)
    form = first_values(pairs)
    data = _read(form.get("Data", ""))
    fields = first_values(data)
    return (
        _unreadable(gateway, form, fields, reference)
        or _unsigned(gateway, pairs, data, reference or "")
        or _unexpected(gateway, fields, reference or "")
        or _proven(gateway, fields, reference or "")
    )


def _read(data: str) -> list[tuple[str, str]]:
    """The fields of `Data` that have a value. Values may contain `=`, names may not."""
    parts = (part.partition("=") for part in data.split("|"))
    return [(name, value) for name, _, value in parts if value != NO_VALUE]


def _unreadable(
    gateway: GatewayConfig, form: Mapping[str, str], fields: Mapping[str, str], reference: str | None
) -> Report | None:
    if not form:
        return unproven(gateway, "", "unparsable")
    missing = [name for name in REQUIRED if not fields.get(name)] if form.get("Data") else ["Data"]
    if missing:
        return unproven(gateway, reference or "", "field_missing", field=" ".join(missing))
    if reference is None:
        return unproven(gateway, "", "reference_unreadable")
    if not form.get("Seal"):
        return unproven(gateway, reference, "signature_missing")
    return None


def _unsigned(
    gateway: GatewayConfig,
    pairs: Sequence[tuple[str, str]],
    data: Sequence[tuple[str, str]],
    reference: str,
) -> Report | None:
    form, merchant = first_values(pairs), first_values(data)["merchantId"]
    if not _sealed(_own_key(gateway), form):
        if SIMULATED.fullmatch(merchant) and _sealed(f"{merchant}_KEY1", form):
            return _test_answer(gateway, reference, merchant)
        return unproven(gateway, reference, "signature_invalid")
    foreign = _added_fields(pairs)
    if foreign:
        return unproven(gateway, reference, "field_not_signed", field=" ".join(foreign))
    repeated = repeated_names(data)
    if repeated:  # `|` is not escaped: whoever can write one into a value of theirs can write a field
        return unproven(gateway, reference, "answer_contradicts_itself", field=" ".join(repeated))
    return None


def _own_key(gateway: GatewayConfig) -> str:
    """The régie's key; none in production if the whole world knows it, as the one to which the library falls back."""
    key = str(gateway.options.get("secret_key") or "")
    return "" if gateway.mode != "test" and SIMULATED.fullmatch(key) else key


def _sealed(key: str, form: Mapping[str, str]) -> bool:
    """Whether `Data` is sealed with that key, by either of Sips' algorithms: both need it.

    The library is not asked: it seals again the fields that it read, so that repeated ones are gone before the
    seals are compared, falls back to a public key, and compares in a time that depends on the seal.
    """
    if not key:
        return False
    data, given = form["Data"].encode(), form["Seal"].encode()
    seals = (hashlib.sha256(data + key.encode()).hexdigest(), hmac.digest(key.encode(), data, "sha256").hex())
    return any(hmac.compare_digest(seal.encode(), given) for seal in seals)


def _added_fields(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Names that somebody put beside the form's: repeated, or foreign after the form began."""
    names = [name for name, _ in pairs]
    begun = next(place for place, name in enumerate(names) if name in FORM)
    repeated = [name for name in repeated_names(pairs) if name in FORM]
    return repeated + [name for name in names[begun:] if name not in FORM]


def _unexpected(gateway: GatewayConfig, fields: Mapping[str, str], reference: str) -> Report | None:
    """The first thing that differs from what this régie expects of an authentic answer."""
    merchant, currency = fields["merchantId"], fields["currencyCode"]
    own = str(gateway.options.get("merchant_id", ""))
    if gateway.mode != "test" and SIMULATED.fullmatch(merchant):
        return _test_answer(gateway, reference, merchant)
    if merchant != own:
        return unproven(gateway, reference, "wrong_merchant", received=merchant, expected=own)
    if currency != EURO:
        return unproven(gateway, reference, "wrong_currency", received=currency, expected=EURO)
    return None


def _test_answer(gateway: GatewayConfig, reference: str, merchant: str) -> Report:
    """It is of a merchant of Sips' simulator, where no simulation is expected, or not of that merchant."""
    expected = str(gateway.options.get("merchant_id", ""))
    report = unproven(gateway, reference, "test_answer", received=merchant, expected=expected)
    report.test = True
    return report


def _proven(gateway: GatewayConfig, fields: Mapping[str, str], reference: str) -> Report:
    """An authentic answer about this régie's money: classified by Sips' own code."""
    result = _result(fields)
    cents = cents_of_cents(fields["amount"])
    if cents is None or (result is ReportResult.PAID and cents == 0):
        return unproven(gateway, reference, "amount_unreadable", received=fields["amount"])
    if result is ReportResult.NOTHING:
        return unproven(gateway, reference, "neither_payment_nor_refusal", **_said(fields))
    return Report(
        regie=gateway.regie,
        gateway_reference=reference,
        transaction_id=reference,
        result=result,
        cents=cents,
        verified=True,
        test=gateway.mode == "test",
        why="signed",
        gateway_time=_time(fields.get("transactionDateTime", "")),
        detail=_said(fields),
    )


def _result(fields: Mapping[str, str]) -> ReportResult:
    result = STATUSES.get(fields["responseCode"], ReportResult.NOTHING)
    if result is ReportResult.PAID and fields.get("captureMode") == TO_VALIDATE:
        return ReportResult.WAITING  # lapses unless the merchant validates it by hand
    return result


def _said(fields: Mapping[str, str]) -> dict[str, str]:
    """What explains the result to a régisseur; no card, no name, no address is among it."""
    explaining = ("responseCode", "acquirerResponseCode", "captureMode")
    return quoted({name: fields[name] for name in explaining if fields.get(name)})


def _time(text: str) -> datetime | None:
    """ISO 8601 with its zone; the library knows only a form with a space and none, Paris's then."""
    return utc_of(text, "%Y-%m-%dT%H:%M:%S%z") or utc_of(text, "%Y-%m-%d %H:%M:%S")
