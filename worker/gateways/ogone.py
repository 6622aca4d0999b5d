"""Ogone's signed answers (Ingenico e-Commerce): proof first, then what they say.

Source: Ingenico's e-Commerce integration guide (feedback parameters, SHA-OUT) and its list of statuses, and money.md,
« Signed is not enough ». Of the fields of an answer, whatever the case of their names, those of SHA-OUT's list that
are not empty are signed, so only those are read.

A portal knows its `gateway_reference` before it sends the family away: it is the first value of what eopayment's
`request()` returns, the `COMPLUS`, which comes back; where it does not, `ORDERID` stands in, as in the library: the
same unless the portal chose another. No signed field names the merchant: an answer is bound to it by its key, and
one with a `PSPID` has a field that nobody signed. None says whether it is a test: the régie's mode decides.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

from schemas.reports import Report, ReportResult
from worker.gateways.amounts import cents_of_euros
from worker.gateways.fields import first_values, pairs_of, raw_of, repeated_names, usable_reference
from worker.gateways.library import ogone_signed, ogone_signed_names
from worker.gateways.port import GatewayConfig, RawCallback, quoted, unproven

EURO = "EUR"
SIGNATURE = "SHASIGN"
REQUIRED = ("AMOUNT", "CURRENCY", "STATUS")
CHARSETS = ("utf-8", "iso-8859-1")
"""Those that a portal can choose in Ogone's back office: of what is sent, and of what is signed."""
NO_TRANSACTION = "0"

STATUSES: dict[str, ReportResult] = {
    "0": ReportResult.NOTHING,  # the request is invalid or incomplete
    "1": ReportResult.ABANDONED,  # cancelled by the payer
    "2": ReportResult.REFUSED,  # the bank said no
    "4": ReportResult.WAITING,  # the order is stored
    "40": ReportResult.WAITING,  # the same, an external answer is awaited
    "41": ReportResult.WAITING,  # the payer's payment is awaited
    "46": ReportResult.WAITING,  # the payer's authentication is awaited
    "5": ReportResult.WAITING,  # authorised: nothing is paid unless the merchant captures it
    "50": ReportResult.WAITING,  # the same, an external answer is awaited
    "51": ReportResult.WAITING,  # the authorisation will be asked for later
    "52": ReportResult.NOTHING,  # nobody knows whether it was authorised: for a person to ask
    "55": ReportResult.WAITING,  # on hold
    "56": ReportResult.WAITING,  # payments in instalments are scheduled
    "57": ReportResult.NOTHING,  # an instalment went wrong
    "59": ReportResult.WAITING,  # the merchant must ask for the authorisation by hand
    "6": ReportResult.NOTHING,  # authorised, then cancelled by the merchant
    "61": ReportResult.NOTHING,  # that cancel is awaited
    "62": ReportResult.NOTHING,  # that cancel is uncertain
    "63": ReportResult.NOTHING,  # that cancel was refused
    "64": ReportResult.NOTHING,  # authorised, then cancelled
    "7": ReportResult.NOTHING,  # the payment was deleted by the merchant
    "71": ReportResult.NOTHING,  # that deletion is awaited
    "72": ReportResult.NOTHING,  # that deletion is uncertain
    "73": ReportResult.NOTHING,  # that deletion was refused
    "74": ReportResult.NOTHING,  # the payment was deleted
    "75": ReportResult.NOTHING,  # the merchant deletes it elsewhere
    "9": ReportResult.PAID,  # paid: the capture was asked for and granted
    "91": ReportResult.WAITING,  # the capture is under way
    "92": ReportResult.NOTHING,  # nobody knows whether it was captured: for a person to ask
    "93": ReportResult.NOTHING,  # authorised, but the capture was refused: for a person
    "94": ReportResult.REFUSED,  # declined by the bank
    "95": ReportResult.PAID,  # paid, by the merchant's own word at Ogone
    "99": ReportResult.WAITING,  # under way
}
"""`STATUS`, by Ingenico's list; those of refunds, which begin with 8, are apart."""
REFUNDS = ("8", "81", "82", "83", "84", "85")
"""`STATUS` of money given back: done, awaited, uncertain, refused, declined, or given back elsewhere."""


def peek_ogone(pairs: Sequence[tuple[str, str]]) -> str | None:
    """The gateway reference that these fields claim."""
    fields = first_values(_capitals(pairs))
    return usable_reference(fields.get("COMPLUS") or fields.get("ORDERID", ""))


def interpret_ogone(gateway: GatewayConfig, callback: RawCallback) -> Report:
    """What an Ogone answer proves. Never raises."""
    raw = raw_of(callback.query, callback.body)
    pairs = pairs_of(callback.query, callback.body)
    unreadable = _unreadable(gateway, pairs)
    if unreadable is not None:
        return unreadable
    signed = _signed_pairs(gateway, raw)
    if signed is None:
        return unproven(gateway, peek_ogone(pairs) or "", "signature_invalid")
    fields, reference = first_values(signed), peek_ogone(signed)
    if reference is None:
        return unproven(gateway, "", "reference_unreadable")
    foreign = _added_fields(signed)
    if foreign:
        return unproven(gateway, reference, "field_not_signed", field=" ".join(foreign))
    return _unexpected(gateway, fields, reference) or _proven(gateway, fields, reference)


def _capitals(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.upper(), value) for name, value in pairs]


def _unreadable(gateway: GatewayConfig, pairs: Sequence[tuple[str, str]]) -> Report | None:
    if not pairs:
        return unproven(gateway, "", "unparsable")
    fields, reference = first_values(_capitals(pairs)), peek_ogone(pairs)
    missing = [name for name in REQUIRED if not fields.get(name)]
    if missing:
        return unproven(gateway, reference or "", "field_missing", field=" ".join(missing))
    if reference is None:
        return unproven(gateway, "", "reference_unreadable")
    if not fields.get(SIGNATURE):
        return unproven(gateway, reference, "signature_missing")
    return None


def _signed_pairs(gateway: GatewayConfig, raw: bytes) -> list[tuple[str, str]] | None:
    """The fields, names in capitals, in the charset in which the signature fits them; None if it fits in none."""
    for sent_in in CHARSETS:
        pairs = _read(raw, sent_in)
        if pairs is not None and ogone_signed(gateway.options, first_values(pairs), CHARSETS):
            return pairs
    return None


def _read(raw: bytes, charset: str) -> list[tuple[str, str]] | None:
    try:
        return _capitals(parse_qsl(raw.decode(charset), keep_blank_values=True, encoding=charset, errors="strict"))
    except UnicodeDecodeError:
        return None


def _added_fields(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Names that somebody put beside the signed ones: repeated, or foreign after Ogone's own began.

    Foreign ones before are the return address's own parameters: Ogone appends its fields to them.
    """
    own = ogone_signed_names() | {SIGNATURE}
    names = [name for name, _ in pairs]
    begun = next(place for place, name in enumerate(names) if name in own)
    repeated = [name for name in repeated_names(pairs) if name in own]
    return repeated + [name for name in names[begun:] if name not in own]


def _unexpected(gateway: GatewayConfig, fields: Mapping[str, str], reference: str) -> Report | None:
    """The first thing that differs from what this régie expects of an authentic answer."""
    if fields["CURRENCY"] != EURO:
        return unproven(gateway, reference, "wrong_currency", received=fields["CURRENCY"], expected=EURO)
    if fields["STATUS"] in REFUNDS:
        return unproven(gateway, reference, "operation_credit", received=fields["STATUS"])
    return None


def _proven(gateway: GatewayConfig, fields: Mapping[str, str], reference: str) -> Report:
    """An authentic answer about this régie's money: classified by Ogone's own status."""
    result = STATUSES.get(fields["STATUS"], ReportResult.NOTHING)
    cents = cents_of_euros(fields["AMOUNT"])
    payid = fields.get("PAYID", "")
    transaction_id = usable_reference(payid) if payid != NO_TRANSACTION else None
    if cents is None or (result is ReportResult.PAID and cents == 0):
        return unproven(gateway, reference, "amount_unreadable", received=fields["AMOUNT"])
    if result is ReportResult.PAID and transaction_id is None:
        return unproven(gateway, reference, "field_missing", field="PAYID")
    if result is ReportResult.NOTHING:
        return unproven(gateway, reference, "neither_payment_nor_refusal", **_said(fields))
    return Report(
        regie=gateway.regie,
        gateway_reference=reference,
        transaction_id=transaction_id or reference,  # a cancel may have no transaction
        result=result,
        cents=cents,
        verified=True,
        test=gateway.mode == "test",
        why="signed",
        detail=_said(fields),  # no time: TRXDATE is a day without an hour
    )


def _said(fields: Mapping[str, str]) -> dict[str, str]:
    """What explains the result to a régisseur; no card, no name, no address is among it."""
    explaining = ("STATUS", "NCERROR")
    return quoted({name: fields[name] for name in explaining if fields.get(name)})
