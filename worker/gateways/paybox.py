"""Paybox's signed answers: proof first, then what they say.

Source: Paybox System's integration manual (the return addresses, the notification, `PBX_RETOUR` and its codes), and
money.md, « Signed is not enough ».

Paybox signs the text of the query, as it stands, up to its signature, which comes last. Of a notification it signs
its own fields alone, of a browser's return all that follows the `?`, the return address's own parameters first. It
has one key for all merchants, and for its test platform: what says whose answer it is are `site` and `rang`, which
must be under the signature like everything that is read. `PBX_RETOUR` knows no code for them: they are parameters of
the return address, signed in a browser's return. That keeps other merchants' honest answers out. It does not keep out
a merchant who has Paybox sign a return address made up for the purpose: of a dishonest one, nothing in this protocol
does.

A portal knows its `gateway_reference` before it sends the family away: it is the first value of what eopayment's
`request()` returns, the `PBX_CMD`, and comes back as `reference`. A refund at the counter of Paybox has no answer, so
none can say that it is a credit; nor does an answer name its currency, which the portal signed at the start.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_to_bytes

from schemas.reports import Report, ReportResult
from worker.gateways.amounts import cents_of_cents
from worker.gateways.fields import first_values, pairs_of, raw_of, repeated_names, usable_reference
from worker.gateways.library import paybox_signed
from worker.gateways.local_time import utc_of
from worker.gateways.port import GatewayConfig, RawCallback, quoted, unproven

PAYBOXS_OWN = (
    "montant",
    "reference",
    "code_autorisation",
    "erreur",
    "numero_appel",
    "numero_transaction",
    "date_transaction",
    "heure_transaction",
)
"""What eopayment's `PBX_RETOUR` asks for, but the signature."""
MERCHANT = ("site", "rang")
READ = frozenset((*PAYBOXS_OWN, *MERCHANT))
REQUIRED = ("montant", "reference", "erreur", *MERCHANT)
SIMULATED = "XXXXXX"
"""The authorisation number where no bank was asked: Paybox's test platform, or a shop that is in test."""
NUMBER = re.compile(r"0*[1-9][0-9]{0,19}")

STATUSES: dict[str, ReportResult] = {
    "00000": ReportResult.PAID,  # authorised; Paybox captures by itself
    "00001": ReportResult.ABANDONED,  # the payer cancelled; also said where the bank's centre was out of reach
    "00003": ReportResult.NOTHING,  # Paybox's own error
    "00004": ReportResult.REFUSED,  # wrong card number or security code
    "00006": ReportResult.NOTHING,  # Paybox does not know this site, rang or identifiant
    "00008": ReportResult.REFUSED,  # wrong date of expiry
    "00009": ReportResult.NOTHING,  # a subscription was not created
    "00010": ReportResult.NOTHING,  # unknown currency
    "00011": ReportResult.NOTHING,  # wrong amount in the request
    "00015": ReportResult.NOTHING,  # paid already, under this reference: by another answer than this
    "00016": ReportResult.NOTHING,  # the subscriber exists already
    "00021": ReportResult.REFUSED,  # this kind of card is not accepted
    "00029": ReportResult.REFUSED,  # not the card that was asked for
    "00030": ReportResult.ABANDONED,  # the payer stayed on the page for more than 15 min
    "00031": ReportResult.NOTHING,  # reserved
    "00032": ReportResult.NOTHING,  # reserved
    "00033": ReportResult.REFUSED,  # the payer's country is not accepted
    "00040": ReportResult.REFUSED,  # no 3-D Secure, stopped by the filter
    "00100": ReportResult.NOTHING,  # approved: never sent, Paybox writes 00000 instead
    "00101": ReportResult.REFUSED,  # call the card's issuer
    "00102": ReportResult.REFUSED,  # call the card's issuer
    "00103": ReportResult.NOTHING,  # the bank does not know the merchant
    "00104": ReportResult.REFUSED,  # keep the card
    "00105": ReportResult.REFUSED,  # do not honour
    "00107": ReportResult.REFUSED,  # keep the card
    "00108": ReportResult.REFUSED,  # to be approved after identification, which nobody does online
    "00112": ReportResult.REFUSED,  # invalid transaction
    "00113": ReportResult.REFUSED,  # invalid amount
    "00114": ReportResult.REFUSED,  # wrong card number
    "00115": ReportResult.REFUSED,  # unknown issuer
    "00117": ReportResult.ABANDONED,  # the payer cancelled
    "00119": ReportResult.REFUSED,  # to be tried again later
    "00120": ReportResult.REFUSED,  # the bank's server answered wrongly
    "00124": ReportResult.REFUSED,  # the bank's file could not be updated
    "00125": ReportResult.REFUSED,  # the bank does not find the record
    "00126": ReportResult.NOTHING,  # a record was replaced: which one is for a person to find out
    "00127": ReportResult.REFUSED,  # the bank's file could not be edited
    "00128": ReportResult.REFUSED,  # access to the bank's file denied
    "00129": ReportResult.REFUSED,  # the bank's file could not be updated
    "00130": ReportResult.REFUSED,  # error of format
    "00131": ReportResult.REFUSED,  # unknown acquirer
    "00133": ReportResult.REFUSED,  # expired card
    "00134": ReportResult.REFUSED,  # suspicion of fraud
    "00138": ReportResult.REFUSED,  # too many tries of the secret code
    "00141": ReportResult.REFUSED,  # lost card
    "00143": ReportResult.REFUSED,  # stolen card
    "00151": ReportResult.REFUSED,  # not enough money
    "00154": ReportResult.REFUSED,  # expired card
    "00155": ReportResult.REFUSED,  # wrong secret code
    "00156": ReportResult.REFUSED,  # the card is not in the file
    "00157": ReportResult.REFUSED,  # not allowed to this holder
    "00158": ReportResult.REFUSED,  # not allowed at this terminal
    "00159": ReportResult.REFUSED,  # suspicion of fraud
    "00160": ReportResult.REFUSED,  # the merchant must call the bank
    "00161": ReportResult.REFUSED,  # above the card's limit
    "00163": ReportResult.REFUSED,  # rules of security not kept
    "00168": ReportResult.REFUSED,  # no answer of the bank in time: Paybox captures nothing
    "00175": ReportResult.REFUSED,  # too many tries of the secret code
    "00176": ReportResult.REFUSED,  # the card was stopped
    "00177": ReportResult.REFUSED,  # not registered yet
    "00182": ReportResult.REFUSED,  # wrong security code
    "00189": ReportResult.REFUSED,  # the holder was not authenticated
    "00190": ReportResult.REFUSED,  # the bank's system pauses
    "00191": ReportResult.REFUSED,  # the issuer cannot be reached
    "00194": ReportResult.NOTHING,  # asked twice: the other request may have been granted
    "00196": ReportResult.REFUSED,  # the bank's system is out of order
    "00197": ReportResult.REFUSED,  # the bank took too long
    "00198": ReportResult.REFUSED,  # the bank's server cannot be reached
    "00199": ReportResult.REFUSED,  # incident at the initiator's
    "99999": ReportResult.WAITING,  # the means of payment's issuer has not confirmed yet
}
"""`erreur`, by Paybox's manual: `001xx` is what the bank's authorisation centre answered."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer taken apart: each field, and the bytes that it came as."""

    segments: Sequence[bytes]
    pairs: Sequence[tuple[str, str]]
    end: int
    """How many fields come before the signature."""

    @property
    def signature(self) -> bytes | None:
        """What the signature says; None if it says nothing that a signature could, or not in its one spelling."""
        text = unquote_to_bytes(self.segments[self.end].partition(b"=")[2])
        try:
            signature = base64.b64decode(text, validate=True)
        except binascii.Error:
            return None
        return signature if base64.b64encode(signature) == text else None


def interpret_paybox(gateway: GatewayConfig, callback: RawCallback) -> Report:
    """What a Paybox answer proves. Never raises."""
    pairs = pairs_of(callback.query, callback.body)
    claimed = usable_reference(first_values(pairs).get("reference", ""))
    unreadable = _unreadable(gateway, pairs, claimed)
    if unreadable is not None or claimed is None:
        return unreadable or unproven(gateway, "", "reference_unreadable")
    segments = [each for each in raw_of(callback.query, callback.body).split(b"&") if each]
    answer = _Answer(segments, pairs, [name for name, _ in pairs].index("signature"))
    begin = _first_signed(gateway, answer)
    if begin is None:
        return unproven(gateway, claimed, "signature_invalid")
    foreign = _added_fields(answer, begin)
    if foreign:
        return unproven(gateway, claimed, "field_not_signed", field=" ".join(foreign))
    fields = dict(pairs[begin : answer.end])
    return _unexpected(gateway, fields, claimed) or _proven(gateway, fields, claimed)


def _unreadable(gateway: GatewayConfig, pairs: Sequence[tuple[str, str]], claimed: str | None) -> Report | None:
    if not pairs:
        return unproven(gateway, "", "unparsable")
    fields = first_values(pairs)
    missing = [name for name in REQUIRED if not fields.get(name)]
    if missing:
        return unproven(gateway, claimed or "", "field_missing", field=" ".join(missing))
    if not fields.get("signature"):
        return unproven(gateway, claimed or "", "signature_missing")
    return None


def _first_signed(gateway: GatewayConfig, answer: _Answer) -> int | None:
    """From which field on the signature covers everything before itself; None if it covers nothing."""
    signature = answer.signature
    if signature is None:
        return None
    public_key = str(gateway.options.get("public_key") or "")
    return next((begin for begin in _beginnings(answer) if _covers(public_key, answer, begin, signature)), None)


def _covers(public_key: str, answer: _Answer, begin: int, signature: bytes) -> bool:
    return paybox_signed(public_key, b"&".join(answer.segments[begin : answer.end]), signature)


def _beginnings(answer: _Answer) -> Iterator[int]:
    """Where what is signed can begin: with the query, with what names the merchant, or with Paybox's own fields."""
    names = [name for name, _ in answer.pairs[: answer.end]]
    once = next(place for place in range(len(names) + 1) if _each_once(names[place:]))
    firsts = [
        next((place for place in range(once, len(names)) if names[place] in ours), 0)
        for ours in (READ, frozenset(PAYBOXS_OWN))
    ]
    yield from sorted({0, *firsts})


def _each_once(names: Sequence[str]) -> bool:
    """Whether none of the fields that are read is repeated: Paybox repeats none, whatever stands before its own."""
    read = [name for name in names if name in READ]
    return len(read) == len(set(read))


def _added_fields(answer: _Answer, begin: int) -> list[str]:
    """Names that somebody put beside the signed ones, or twice among them.

    The address's own parameters may come before: no field that is read is among them.
    """
    signed = answer.pairs[begin : answer.end]
    before = [name for name, _ in answer.pairs[:begin] if name in READ]
    return before + repeated_names(signed) + [name for name, _ in answer.pairs[answer.end + 1 :]]


def _unexpected(gateway: GatewayConfig, fields: Mapping[str, str], reference: str) -> Report | None:
    """The first thing that differs from what this régie expects of an authentic answer."""
    if fields.get("code_autorisation") == SIMULATED and gateway.mode != "test":
        report = unproven(gateway, reference, "test_answer", received=SIMULATED, expected=gateway.mode)
        report.test = True
        return report
    merchant = " ".join(fields[name] for name in MERCHANT)
    own = " ".join(str(gateway.options.get(name, "")) for name in MERCHANT)
    if merchant != own:
        return unproven(gateway, reference, "wrong_merchant", received=merchant, expected=own)
    return None


def _proven(gateway: GatewayConfig, fields: Mapping[str, str], reference: str) -> Report:
    """An authentic answer about this régie's money: classified by Paybox's own code."""
    result = STATUSES.get(fields["erreur"], ReportResult.NOTHING)
    cents = cents_of_cents(fields["montant"])
    transaction = fields.get("numero_transaction", "")
    transaction_id = transaction if NUMBER.fullmatch(transaction) else None
    if cents is None or (result is ReportResult.PAID and cents == 0):
        return unproven(gateway, reference, "amount_unreadable", received=fields["montant"])
    if result is ReportResult.PAID and transaction_id is None:
        return unproven(gateway, reference, "field_missing", field="numero_transaction")
    if result is ReportResult.NOTHING:
        return unproven(gateway, reference, "neither_payment_nor_refusal", erreur=fields["erreur"])
    return Report(
        regie=gateway.regie,
        gateway_reference=reference,
        transaction_id=transaction_id or reference,  # a cancel has no transaction
        result=result,
        cents=cents,
        verified=True,
        test=gateway.mode == "test",
        why="signed",
        gateway_time=_time(fields),
        detail=quoted({"erreur": fields["erreur"]}),
    )


def _time(fields: Mapping[str, str]) -> datetime | None:
    """Paybox's day is written day first by its manual; the library reads the year first, and so finds none."""
    return utc_of(f"{fields.get('date_transaction')} {fields.get('heure_transaction')}", "%d%m%Y %H:%M:%S")
