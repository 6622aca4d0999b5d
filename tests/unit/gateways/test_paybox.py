"""What a Paybox answer proves, and every way in which it proves nothing.

It cannot say that it is a credit, nor its currency: see the adapter.
"""

import base64
from datetime import UTC, datetime
from urllib.parse import quote, unquote_to_bytes

import eopayment
import pytest
from eopayment import paybox
from hypothesis import given
from hypothesis import strategies as st

from schemas.reports import Report, ReportResult
from tests.unit.gateways.paybox_answers import (
    PAID,
    RANG,
    REFERENCE,
    SITE,
    TRANSACTION,
    key_of,
    query_of,
    regie,
    signature_of,
    signed,
    without,
)
from tests.unit.gateways.reading import assert_proves_nothing, report_of
from worker.gateways.interpret import peek, reply
from worker.gateways.library import paybox_signed
from worker.gateways.paybox import STATUSES
from worker.gateways.port import GatewayConfig

OWN = b"facture=F-12&langue=fr&"
MERCHANT = f"site={SITE}&rang={RANG}&".encode()


def called(query: bytes, gateway: GatewayConfig | None = None) -> Report:
    """The notification as Paybox calls it."""
    return report_of(gateway or regie(), "GET", query.decode("latin-1"), b"")


def test_a_signed_payment_is_believed_in_full() -> None:
    """Amount in cents, Paybox's own transaction number, its time in UTC."""
    assert called(signed(PAID)) == Report(
        regie="enfance",
        gateway_reference=REFERENCE,
        transaction_id=TRANSACTION,
        result=ReportResult.PAID,
        verified=True,
        test=False,
        cents=4250,
        why="signed",
        gateway_time=datetime(2026, 11, 23, 8, 30, 15, tzinfo=UTC),
        detail={"erreur": "00000"},
    )


def test_our_signatures_are_those_of_the_library() -> None:
    """The tests' own algorithm and eopayment's agree, so that neither is tested against itself."""
    text = query_of(PAID)
    raw = base64.b64decode(signature_of(text).replace(b"%2B", b"+").replace(b"%2F", b"/").replace(b"%3D", b"="))
    assert paybox.verify(text, raw, key=key_of("paybox").public_key().export_key())


def test_without_an_option_paybox_s_own_key_counts() -> None:
    """A signature that Paybox's test platform made in 2012: production has the same key, so site and rang must bind."""
    text = b"Mt=1000&Ref=CMD1349338388&Auto=XXXXXX&Erreur=00000"
    signature = base64.b64decode(
        "QnhlnuOpcbfUruOU7kKG/ZmDPsDzM31VrpMIObQomYwEE/afhJiDPkWVN9+r3JVFXBsFnqo3VlOVzxQVVahXpF7eWiJoAe5LcIoqSvms"
        "96SFFv9LfndS/3zAO5fF/tR4Us3rOSUwT1Hs2AS17R3B9ATwBMhKt1l3DPw9hClpFw0="
    )
    assert paybox_signed("", text, signature)
    assert not paybox_signed("", text + b"0", signature)


def test_the_return_of_the_browser_proves_as_much() -> None:
    """There Paybox signs the return address's own parameters too."""
    report = called(signed(PAID, before=OWN))
    assert (report.verified, report.result) == (True, ReportResult.PAID)


def test_the_address_s_own_parameters_are_not_signed_in_a_notification() -> None:
    """They come first, mean nothing to us, and leave what follows them proven."""
    report = called(OWN + signed(PAID))
    assert (report.verified, report.result) == (True, ReportResult.PAID)


def test_the_merchant_may_be_named_by_the_return_address() -> None:
    """Signed in a browser's return, wherever they stand in it."""
    report = called(signed(without("site", "rang"), before=MERCHANT))
    assert (report.verified, report.result) == (True, ReportResult.PAID)


def test_a_post_proves_as_much() -> None:
    """`PBX_RUF1=POST`: the same text in the body."""
    report = report_of(regie(), "POST", "", signed(PAID))
    assert (report.verified, report.result) == (True, ReportResult.PAID)


def test_the_reference_is_what_a_portal_gets_from_the_library() -> None:
    """What `request()` returns at the start is `PBX_CMD`, which comes back; also with an order number."""
    options = {"site": SITE, "rang": RANG, "identifiant": "1", "shared_secret": "ab" * 64}
    for chosen in ({}, {"transaction_id": "P 7"}, {"transaction_id": "P-7", "orderid": "F/12"}):
        reference, _, form = eopayment.get_backend("paybox")(options).request(42.5, email="x@example.org", **chosen)
        sent = {field["name"]: field["value"] for field in form.fields}
        assert sent["PBX_RETOUR"].startswith("montant:M;reference:R;")
        query = signed({**PAID, "reference": sent["PBX_CMD"]})
        assert called(query).gateway_reference == peek("paybox", query.decode(), b"") == reference


@pytest.mark.parametrize(("code", "result"), STATUSES.items())
def test_each_code_of_paybox_has_one_meaning(code: str, result: ReportResult) -> None:
    """Paid and refused and abandoned speak of money; waiting is verified and changes nothing."""
    report = called(signed({**PAID, "erreur": code}))
    if result is ReportResult.NOTHING:
        assert_proves_nothing(report, "neither_payment_nor_refusal")
        assert report.detail == {"erreur": code}
    else:
        assert (report.verified, report.result) == (True, result)


@pytest.mark.parametrize("code", ["0", "000000", "00106", "00200", "paid", "٠٠٠٠٠"])
def test_an_unknown_code_is_shown(code: str) -> None:
    """What Paybox may invent tomorrow is for a person, not for a guess."""
    assert_proves_nothing(called(signed({**PAID, "erreur": code})), "neither_payment_nor_refusal")


def test_a_refusal_has_no_authorisation() -> None:
    """Paybox leaves out what it has not; the library raises on it."""
    answer = {**without("code_autorisation"), "erreur": "00105"}
    with pytest.raises(KeyError):
        eopayment.get_backend("paybox")({}).response(signed(answer).decode(), callback=True)
    report = called(signed(answer))
    assert (report.result, report.transaction_id) == (ReportResult.REFUSED, TRANSACTION)


@pytest.mark.parametrize("number", [None, "", "0", "0000000000"])
def test_a_cancel_needs_no_transaction(number: str | None) -> None:
    """There is none when the payer leaves; the reference stands in for its id."""
    answer = {**without("code_autorisation", "numero_transaction"), "erreur": "00001"}
    report = called(signed(answer if number is None else {**answer, "numero_transaction": number}))
    assert (report.result, report.transaction_id) == (ReportResult.ABANDONED, REFERENCE)


@pytest.mark.parametrize("number", [None, "", "0", "abc"])
def test_a_payment_needs_its_transaction(number: str | None) -> None:
    """Without it, two payments could not be told apart."""
    answer = without("numero_transaction")
    report = called(signed(answer if number is None else {**answer, "numero_transaction": number}))
    assert_proves_nothing(report, "field_missing")
    assert report.detail == {"field": "numero_transaction"}


@pytest.mark.parametrize(("day", "hour"), [("20261123", "09:30:15"), ("31022026", "09:30:15"), ("23112026", "9h")])
def test_a_time_that_paybox_does_not_write_is_none(day: str, hour: str) -> None:
    """It decides nothing: the payment counts."""
    report = called(signed({**PAID, "date_transaction": day, "heure_transaction": hour}))
    assert (report.result, report.gateway_time) == (ReportResult.PAID, None)


def test_a_summer_time_is_two_hours_before() -> None:
    """Paybox's clock is Paris's."""
    report = called(signed({**PAID, "date_transaction": "14072026"}))
    assert report.gateway_time == datetime(2026, 7, 14, 7, 30, 15, tzinfo=UTC)


def test_a_test_regie_believes_what_the_same_key_signed() -> None:
    """An answer cannot say test but by its authorisation; the régie's mode does."""
    for answer in (PAID, {**PAID, "code_autorisation": "XXXXXX"}):
        report = called(signed(answer), regie("test"))
        assert (report.verified, report.test, report.result) == (True, True, ReportResult.PAID)


@pytest.mark.parametrize("code", ["00000", "00105", "99999"])
def test_a_simulated_authorisation_in_production_says_that_it_is_a_test(code: str) -> None:
    """No bank was asked: Paybox's test platform signs with the same key, and knows the same site and rang."""
    report = called(signed({**PAID, "code_autorisation": "XXXXXX", "erreur": code}))
    assert_proves_nothing(report, "test_answer")
    assert report.test


def test_a_lower_amount_counts_with_its_cents() -> None:
    """What was paid is what was signed."""
    report = called(signed({**PAID, "montant": "1"}))
    assert (report.result, report.cents) == (ReportResult.PAID, 1)


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("wrong_merchant", {"site": "7654321"}),
        ("wrong_merchant", {"rang": "002"}),
        ("wrong_merchant", {"rang": "01"}),
        ("wrong_merchant", {"site": f"{SITE} {RANG}"}),
        ("amount_unreadable", {"montant": "-4250"}),
        ("amount_unreadable", {"montant": "42.50"}),
        ("amount_unreadable", {"montant": "٤٢"}),
        ("amount_unreadable", {"montant": "0"}),
        ("amount_unreadable", {"montant": "999999999999"}),
        ("reference_unreadable", {"reference": "x" * 101}),
        ("reference_unreadable", {"reference": "a\x00b"}),
        ("field_missing", {"reference": ""}),
    ],
)
def test_signed_is_not_enough(why: str, change: dict[str, str]) -> None:
    """Paybox's key, but not our merchant, amount or reference."""
    assert_proves_nothing(called(signed({**PAID, **change})), why)


def test_what_differs_is_said_with_both_values() -> None:
    """A régisseur sees whose money it is."""
    report = called(signed({**PAID, "rang": "002"}))
    assert report.detail == {"received": f"{SITE} 002", "expected": f"{SITE} {RANG}"}


@pytest.mark.parametrize("name", ["site", "rang", "montant", "reference", "erreur"])
def test_a_missing_field_is_named(name: str) -> None:
    """Signed without it: nothing is assumed in its place, least of all the merchant."""
    report = called(signed(without(name)))
    assert_proves_nothing(report, "field_missing")
    assert report.detail == {"field": name}


def test_one_byte_changed_proves_nothing() -> None:
    """Names, values, separators and signature: every byte of them."""
    query = signed(PAID)
    forged = [query[:place] + bytes([query[place] ^ 1]) + query[place + 1 :] for place in range(len(query))]
    assert [each for each in forged if called(each).verified] == []


def test_a_signature_has_one_spelling() -> None:
    """Base 64 leaves bits of its last letter unused: whoever sets them has changed what Paybox wrote."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    before, equals, signature = signed(PAID).rpartition(b"signature=")
    assert equals
    written = unquote_to_bytes(signature)
    last = written.rstrip(b"=")[-1:]
    other = alphabet[alphabet.index(last) ^ 1 :][:1]
    respelled = written.replace(last + b"=", other + b"=")
    assert base64.b64decode(respelled) == base64.b64decode(written)
    assert called(before + equals + quote(respelled, safe="").encode()).verified is False


def test_another_key_is_a_stranger_s() -> None:
    """And with Paybox's own key expected, the tests' is one."""
    assert_proves_nothing(called(signed(PAID, owner="stranger")), "signature_invalid")
    assert_proves_nothing(called(signed(PAID), regie(public_key="")), "signature_invalid")
    assert_proves_nothing(called(signed(PAID), regie(public_key="no key")), "signature_invalid")


@pytest.mark.parametrize("before", [MERCHANT, b"montant=1&", b"erreur=00000&", OWN + b"site=" + SITE.encode() + b"&"])
def test_a_field_before_what_is_signed_is_nobody_s(before: bytes) -> None:
    """A notification's own fields are signed, those of its address are not: no field that is read may be there."""
    assert_proves_nothing(called(before + signed(PAID)), "field_not_signed")


def test_a_notification_s_address_cannot_name_the_merchant() -> None:
    """Site and rang before the signed part would be anybody's."""
    report = called(MERCHANT + signed(without("site", "rang")))
    assert_proves_nothing(report, "field_not_signed")
    assert report.detail == {"field": "site rang"}


@pytest.mark.parametrize("added", [b"&montant=1", b"&signature=x", b"&x=1", b"&x", b"&site=" + SITE.encode()])
def test_a_field_appended_after_the_signature_spoils_the_answer(added: bytes) -> None:
    """The library reads it like the others."""
    assert_proves_nothing(called(signed(PAID) + added), "field_not_signed")


@pytest.mark.parametrize("name", ["montant", "erreur", "site", "numero_transaction"])
def test_a_field_repeated_under_the_signature_spoils_the_answer(name: str) -> None:
    """A return address that already has one of Paybox's names says two things."""
    report = called(signed(PAID, before=f"{name}={PAID[name]}&".encode()))
    assert_proves_nothing(report, "field_not_signed")
    assert report.detail == {"field": name}


@pytest.mark.parametrize("end", [b"", b"&signature=", b"&Signature=x"])
def test_an_answer_without_signature_proves_nothing(end: bytes) -> None:
    """As any stranger can write it."""
    assert_proves_nothing(called(query_of(PAID) + end), "signature_missing")


@pytest.mark.parametrize("signature", [b"x", b"%C3%A9", b"AAAA", b"A" * 172, b"A" * 5000, b"=", b"%00"])
def test_another_signature_proves_nothing(signature: bytes) -> None:
    """No base 64, too short, too long, invented."""
    assert_proves_nothing(called(query_of(PAID) + b"&signature=" + signature), "signature_invalid")


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"{}", b"a", b"&&&", b"signature", b"a=1&" * 500, b"%00=%ff"])
def test_garbage_is_kept_and_called_so(body: bytes) -> None:
    """It proves nothing, it breaks nothing."""
    assert called(body).why in {"unparsable", "field_missing"}


NAMES = st.sampled_from([*PAID, "signature", "x"])
NEARLY = st.lists(st.tuples(NAMES, st.text(max_size=20)), max_size=4)


@given(changes=NEARLY, added=st.binary(max_size=20), place=st.integers(0, 400))
def test_no_answer_breaks_the_adapter(changes: list[tuple[str, str]], added: bytes, place: int) -> None:
    """Signed or not, whatever it says: a report, and no proof of an answer that was touched after it was signed."""
    query = signed({**PAID, **dict(changes)})
    assert called(query).regie == "enfance"
    touched = query[:place] + added + query[place:]
    assert touched == query or not called(touched).verified or added.strip(b"&") == b"" or touched.endswith(query)


def test_no_secret_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nor the authorisation, which is the payer's bank's business."""
    caplog.set_level("DEBUG")
    shown = repr(called(signed(PAID)))
    assert PAID["code_autorisation"] not in shown
    assert caplog.text == ""


def test_paybox_reads_an_empty_page() -> None:
    """Anything else and it mails the merchant that its notification failed."""
    answer = reply("paybox", signed(PAID).decode(), b"")
    assert (answer.status, answer.body) == (200, b"")
