"""What an Ogone answer proves, and every way in which it proves nothing.

No signed field names the merchant or says test: an answer is bound by its key.
"""

from urllib.parse import quote, urlencode

import eopayment
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reports import Report, ReportResult
from tests.unit.gateways.ogone_answers import (
    KEY,
    PAID,
    PAYID,
    PSPID,
    REFERENCE,
    regie,
    signature_of,
    signed,
    without,
)
from tests.unit.gateways.reading import assert_proves_nothing, report_of
from worker.gateways.interpret import peek, reply
from worker.gateways.ogone import REFUNDS, STATUSES
from worker.gateways.port import GatewayConfig


def posted(body: bytes, gateway: GatewayConfig | None = None) -> Report:
    """The notification as Ogone posts it."""
    return report_of(gateway or regie(), "POST", "", body)


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_a_signed_payment_is_believed_in_full(algorithm: str, charset: str) -> None:
    """All of Ogone's algorithms and charsets; euros become cents, PAYID is the transaction."""
    assert posted(signed(PAID, algorithm=algorithm, charset=charset)) == Report(
        regie="enfance",
        gateway_reference=REFERENCE,
        transaction_id=PAYID,
        result=ReportResult.PAID,
        verified=True,
        test=False,
        cents=4250,
        why="signed",
        detail={"STATUS": "9", "NCERROR": "0"},
    )


@pytest.mark.parametrize(("sent", "hashed"), [("utf-8", "iso-8859-1"), ("iso-8859-1", "utf-8")])
def test_what_is_signed_may_be_in_another_charset_than_what_is_sent(sent: str, hashed: str) -> None:
    """Both are set apart in Ogone's back office."""
    body = urlencode({**PAID, "SHASIGN": signature_of(PAID, charset=hashed)}, encoding=sent).encode()
    assert posted(body).verified


def test_our_signatures_are_those_of_the_library() -> None:
    """The tests' own algorithm and eopayment's agree, so that neither is tested against itself."""
    for algorithm in ("sha1", "sha256", "sha512"):
        backend = eopayment.get_backend("ogone")({"sha_out": KEY, "hash_algorithm": algorithm})
        assert backend.sha_sign_out(PAID, encoding="utf-8") == signature_of(PAID, algorithm=algorithm)


def test_our_signatures_are_those_of_ogone() -> None:
    """The example of its integration guide; it has no COMPLUS, so the order's number is the reference."""
    body = (
        b"ACCEPTANCE=1234&AMOUNT=15.00&BRAND=VISA&CARDNO=xxxxxxxxxxxx1111&CURRENCY=EUR&NCERROR=0&ORDERID=12"
        b"&PAYID=32100123&PM=CreditCard&STATUS=9&SHASIGN=8DC2A769700CA4B3DF87FE8E3B6FD162D6F6A5FA"
    )
    report = posted(body, regie(sha_out="Mysecretsig1875!?"))
    assert (report.verified, report.cents, report.gateway_reference) == (True, 1500, "12")


def test_an_algorithm_chosen_by_the_regie_is_the_only_one() -> None:
    """`hash_algorithm` pins it."""
    for algorithm, why in (("sha512", "signed"), ("sha1", "signature_invalid")):
        assert posted(signed(PAID, algorithm=algorithm), regie(hash_algorithm="sha512")).why == why


def test_the_names_may_be_written_in_any_case() -> None:
    """Ogone signs them in capitals, however it sends them."""
    for write in (str.upper, str.lower):
        fields = {write(name): value for name, value in PAID.items()}
        body = signed(fields).replace(b"SHASIGN", write("shasign").encode())
        assert posted(body).gateway_reference == peek("ogone", "", body) == REFERENCE
        assert posted(body).verified


def test_the_return_of_the_browser_proves_as_much() -> None:
    """A GET to the return address, which may have parameters of its own before Ogone's."""
    report = report_of(regie(), "GET", "facture=F-12&" + signed(PAID).decode(), b"")
    assert (report.verified, report.result) == (True, ReportResult.PAID)


def test_the_reference_is_what_a_portal_gets_from_the_library() -> None:
    """What `request()` returns at the start is COMPLUS, and ORDERID unless the portal chose another."""
    backend = eopayment.get_backend("ogone")({"pspid": PSPID, "sha_in": "in", "sha_out": KEY})
    for chosen in ({}, {"transaction_id": "P-7"}, {"transaction_id": "P-7", "orderid": "F12"}):
        reference, _, form = backend.request(42.5, **chosen)
        sent = {field["name"]: field["value"] for field in form.fields}
        body = signed({**PAID, "orderID": sent["ORDERID"], "COMPLUS": sent["COMPLUS"]})
        assert posted(body).gateway_reference == peek("ogone", "", body) == reference
        if "orderid" not in chosen:
            body = signed({**without("COMPLUS"), "orderID": sent["ORDERID"]})
            assert posted(body).gateway_reference == peek("ogone", "", body) == reference


@pytest.mark.parametrize(("status", "result"), STATUSES.items())
def test_each_status_of_ogone_has_one_meaning(status: str, result: ReportResult) -> None:
    """Paid and refused and abandoned speak of money; waiting is verified and changes nothing."""
    report = posted(signed({**PAID, "STATUS": status}))
    if result is ReportResult.NOTHING:
        assert_proves_nothing(report, "neither_payment_nor_refusal")
        assert report.detail == {"STATUS": status, "NCERROR": "0"}
    else:
        assert (report.verified, report.result) == (True, result)


@pytest.mark.parametrize("status", REFUNDS)
def test_a_credit_is_neither_payment_nor_refusal(status: str) -> None:
    """Kept and shown: only `payment.refunded` counts as money given back."""
    report = posted(signed({**PAID, "STATUS": status}))
    assert_proves_nothing(report, "operation_credit")
    assert report.detail == {"received": status}


@pytest.mark.parametrize("status", ["00", "09", "3", "9 ", "90", "98", "paid", "٩"])
def test_an_unknown_status_is_shown(status: str) -> None:
    """What Ogone may invent tomorrow is for a person, not for a guess."""
    assert_proves_nothing(posted(signed({**PAID, "STATUS": status})), "neither_payment_nor_refusal")


@pytest.mark.parametrize("payid", [None, "", "0"])
def test_a_cancel_needs_no_transaction_and_a_payment_does(payid: str | None) -> None:
    """The reference stands in where nothing was paid; two payments could not be told apart without."""
    answer = without("PAYID") if payid is None else {**PAID, "PAYID": payid}
    report = posted(signed({**answer, "STATUS": "1"}))
    assert (report.result, report.transaction_id) == (ReportResult.ABANDONED, REFERENCE)
    report = posted(signed(answer))
    assert_proves_nothing(report, "field_missing")
    assert report.detail == {"field": "PAYID"}


def test_a_test_regie_believes_what_its_key_signed() -> None:
    """An answer cannot say test; the régie's mode does."""
    report = posted(signed(PAID), regie("test"))
    assert (report.verified, report.test, report.result) == (True, True, ReportResult.PAID)


@pytest.mark.parametrize(
    ("amount", "cents"), [("42", 4200), ("42.5", 4250), ("42.50", 4250), ("0.01", 1), ("04.07", 407), ("4.29", 429)]
)
def test_euros_are_read_to_the_cent(amount: str, cents: int) -> None:
    """Without floats; a lower amount counts with its cents."""
    report = posted(signed({**PAID, "amount": amount}))
    assert (report.result, report.cents) == (ReportResult.PAID, cents)


@pytest.mark.parametrize(
    "amount",
    ["42.505", "42.500", "42,50", "-42.50", "+42", "4e1", ".5", "42.", " 42", "٤٢", "0", "0.00", "NaN", "9999999999"],
)
def test_an_amount_that_is_not_exact_cents_is_not_believed(amount: str) -> None:
    """Nothing is rounded."""
    report = posted(signed({**PAID, "amount": amount}))
    assert_proves_nothing(report, "amount_unreadable")
    assert report.detail["received"] == amount


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("wrong_currency", {"currency": "USD"}),
        ("wrong_currency", {"currency": "eur"}),
        ("wrong_currency", {"currency": "978"}),
        ("reference_unreadable", {"COMPLUS": "x" * 101}),
        ("reference_unreadable", {"COMPLUS": "a\x00b"}),
    ],
)
def test_signed_is_not_enough(why: str, change: dict[str, str]) -> None:
    """The right key, but not our currency or reference."""
    assert_proves_nothing(posted(signed({**PAID, **change})), why)


def test_what_differs_is_said_with_both_values() -> None:
    """A régisseur sees whose money it is."""
    report = posted(signed({**PAID, "currency": "USD"}))
    assert report.detail == {"received": "USD", "expected": "EUR"}


@pytest.mark.parametrize("name", ["amount", "currency", "STATUS"])
def test_a_missing_field_is_named(name: str) -> None:
    """Signed without it: nothing is assumed in its place."""
    report = posted(signed(without(name)))
    assert_proves_nothing(report, "field_missing")
    assert report.detail == {"field": name.upper()}


def test_an_answer_about_nothing_is_unreadable() -> None:
    """Neither COMPLUS nor an order."""
    assert_proves_nothing(posted(signed(without("COMPLUS", "orderID"))), "reference_unreadable")


BODY = signed(PAID)


def test_one_byte_changed_settles_nothing_else() -> None:
    """Every byte: it proves nothing, or what was signed, as an empty field is as good as none."""
    forged = [BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :] for place in range(len(BODY))]
    reports = [posted(each) for each in forged]
    assert [each for each in reports if each.verified and each != posted(BODY)] == []
    assert sum(each.verified for each in reports) <= len("AAVCheck")


@pytest.mark.parametrize("name", sorted(name for name, value in PAID.items() if value))
def test_a_changed_value_breaks_the_signature(name: str) -> None:
    """Every field that has one is under the signature."""
    body = urlencode({**PAID, name: PAID[name] + "0", "SHASIGN": signature_of(PAID)}).encode()
    assert not posted(body).verified


def test_another_key_is_a_stranger_s() -> None:
    """Another régie's, or the one that signs requests."""
    assert_proves_nothing(posted(signed(PAID, "autreregie")), "signature_invalid")
    assert_proves_nothing(posted(signed(PAID, "in"), regie(sha_in="in")), "signature_invalid")


@pytest.mark.parametrize("key", [None, ""])
def test_a_regie_without_the_key_believes_nobody(key: str | None) -> None:
    """The library asks whether the *other* key is set, and then signs with none."""
    for stranger in ("None", ""):
        report = posted(signed(PAID, stranger), regie(sha_out=key, sha_in="in"))
        assert_proves_nothing(report, "signature_invalid")


@pytest.mark.parametrize("added", [b"&AMOUNT=1", b"&status=9", b"&SHASIGN=x", b"&x=1", b"&x", b"&PSPID=OTHER", b"&IP="])
def test_a_field_added_to_what_is_signed_spoils_the_answer(added: bytes) -> None:
    """Repeated in any case, or foreign: somebody touched what Ogone had signed. The merchant's name would be."""
    assert_proves_nothing(posted(BODY + added), "field_not_signed")


def test_a_field_repeated_before_spoils_the_answer() -> None:
    """A return address that already has one of Ogone's names."""
    report = posted(b"PAYID=" + PAYID.encode() + b"&" + BODY)
    assert_proves_nothing(report, "field_not_signed")
    assert report.detail == {"field": "PAYID"}


def test_an_answer_without_signature_proves_nothing() -> None:
    """As any stranger can write it."""
    for end in ("", "&SHASIGN=", "&SHASIGNATURE=x"):
        assert_proves_nothing(posted((urlencode(PAID) + end).encode()), "signature_missing")


@pytest.mark.parametrize("signature", ["x", "é", "0" * 40, "None"])
def test_another_signature_proves_nothing(signature: str) -> None:
    """Invented, not even ASCII."""
    body = (urlencode(PAID) + "&SHASIGN=" + quote(signature)).encode()
    assert_proves_nothing(posted(body), "signature_invalid")


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"{}", b"a", b"&&&", b"SHASIGN", b"a=1&" * 500, b"%00=%ff"])
def test_garbage_is_kept_and_called_so(body: bytes) -> None:
    """It proves nothing, it breaks nothing; the library raises on some."""
    assert posted(body).why in {"unparsable", "field_missing"}


@given(
    changes=st.dictionaries(st.sampled_from([*PAID, "x", "ſtatus"]), st.text(max_size=20)),
    signature=st.text(max_size=50),
    raw=st.binary(max_size=20),
)
def test_no_answer_breaks_the_adapter(changes: dict[str, str], signature: str, raw: bytes) -> None:
    """Signed or not, in whatever charset: a report, and no proof of what is not signed."""
    fields = {**PAID, **changes}
    assert posted(signed(fields)).regie == "enfance"
    assert posted(raw + signed(fields)).regie == "enfance"
    assert not posted((urlencode({**fields, "SHASIGN": signature})).encode() + raw).verified


def test_no_card_no_name_leaves_the_adapter() -> None:
    """Personal and card data stay in the raw answer."""
    for body in (BODY, signed({**PAID, "currency": "USD"}), signed(PAID, "x")):
        shown = repr(posted(body))
        assert "1111" not in shown
        assert "ranger" not in shown


def test_no_secret_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG the library logs its options, keys included; it is kept above."""
    caplog.set_level("DEBUG")
    posted(BODY)
    posted(signed(PAID, "x"))
    assert KEY not in caplog.text
    assert KEY not in repr(regie())


def test_ogone_reads_nothing() -> None:
    """It looks at the status alone."""
    answer = reply("ogone", "", BODY)
    assert (answer.status, answer.body) == (200, b"")
