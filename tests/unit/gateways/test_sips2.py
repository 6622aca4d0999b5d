"""What a Sips answer proves, and every way in which it proves nothing.

It has no type of operation: no answer can say that it is a credit.
"""

from datetime import UTC, datetime

import eopayment
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reports import Report, ReportResult
from tests.unit.gateways.reading import assert_proves_nothing, report_of
from tests.unit.gateways.sips2_answers import (
    KEY,
    MERCHANT,
    PAID,
    REFERENCE,
    SIMULATED,
    SIMULATED_KEY,
    Seal,
    data_of,
    hmac_seal,
    posted,
    regie,
    sha256_seal,
    signed,
    without,
)
from worker.gateways.interpret import peek, reply
from worker.gateways.port import GatewayConfig
from worker.gateways.sips2 import STATUSES


def answered(body: bytes, gateway: GatewayConfig | None = None) -> Report:
    """The automatic response as Sips posts it."""
    return report_of(gateway or regie(), "POST", "", body)


@pytest.mark.parametrize("seal", [sha256_seal, hmac_seal])
def test_a_sealed_payment_is_believed_in_full(seal: Seal) -> None:
    """Both of Sips' algorithms; amount in cents, the reference as transaction, its time in UTC."""
    assert answered(signed(PAID, seal=seal)) == Report(
        regie="enfance",
        gateway_reference=REFERENCE,
        transaction_id=REFERENCE,
        result=ReportResult.PAID,
        verified=True,
        test=False,
        cents=4250,
        why="signed",
        gateway_time=datetime(2026, 11, 23, 8, 30, 15, tzinfo=UTC),
        detail={"responseCode": "00", "acquirerResponseCode": "00", "captureMode": "AUTHOR_CAPTURE"},
    )


def test_our_seals_are_those_of_the_library() -> None:
    """The tests' own algorithm and eopayment's agree, so that neither is tested against itself."""
    backend = eopayment.get_backend("sips2")({"merchant_id": MERCHANT, "secret_key": KEY})
    assert backend.seal_data(PAID) == sha256_seal(data_of(PAID), KEY)


def test_our_seals_are_those_of_sips() -> None:
    """A seal that Sips' simulator made."""
    data = (
        "captureDay=0|captureMode=AUTHOR_CAPTURE|currencyCode=978|merchantId=002001000000001|orderChannel=INTERNET"
        "|responseCode=00|transactionDateTime=2018-02-06T07:54:23+01:00|transactionReference=b4fb98a9c2c|keyVersion=1"
        "|acquirerResponseCode=00|amount=2|authorisationId=12345|guaranteeIndicator=Y|cardCSCResultCode=4D"
        "|panExpiryDate=201902|paymentMeanBrand=VISA|paymentMeanType=CARD|customerIpAddress=194.78.195.168"
        "|maskedPan=4500#############01|holderAuthentRelegation=N|holderAuthentStatus=3D_SUCCESS"
        "|tokenPan=g011040a730424d1ba6|transactionOrigin=INTERNET|paymentPattern=ONE_SHOT"
    )
    seal = "56bddfce68695b9b8a9de51c426aae31bb303fb15570f343975eaa3bd33c8c59"
    assert sha256_seal(data, SIMULATED_KEY) == seal
    report = answered(posted(data, seal), regie("test", merchant_id=SIMULATED, secret_key=SIMULATED_KEY))
    assert (report.verified, report.test, report.cents) == (True, True, 2)
    assert report.gateway_time == datetime(2018, 2, 6, 6, 54, 23, tzinfo=UTC)


def test_the_reference_is_what_a_portal_gets_from_the_library() -> None:
    """What `request()` returns at the start comes back as `transactionReference`."""
    backend = eopayment.get_backend("sips2")({"merchant_id": MERCHANT, "secret_key": KEY})
    for chosen in ({}, {"transaction_id": "P7"}, {"transaction_id": "P7", "orderid": "F12"}):
        reference, _, form = backend.request(42.5, **chosen)
        sent = dict(pair.split("=", 1) for pair in form.fields[0]["value"].split("|"))
        body = signed({**PAID, "transactionReference": sent["transactionReference"]})
        assert answered(body).gateway_reference == peek("sips2", "", body) == reference


@pytest.mark.parametrize(("code", "result"), STATUSES.items())
def test_each_code_of_sips_has_one_meaning(code: str, result: ReportResult) -> None:
    """Paid and refused and abandoned speak of money; waiting is verified and changes nothing."""
    report = answered(signed({**PAID, "responseCode": code}))
    if result is ReportResult.NOTHING:
        assert_proves_nothing(report, "neither_payment_nor_refusal")
        assert report.detail["responseCode"] == code
    else:
        assert (report.verified, report.result) == (True, result)


@pytest.mark.parametrize("code", ["0", "000", "01", "98", "accepted", "٠٠"])
def test_an_unknown_code_is_shown(code: str) -> None:
    """What Sips may invent tomorrow is for a person, not for a guess."""
    assert_proves_nothing(answered(signed({**PAID, "responseCode": code})), "neither_payment_nor_refusal")


def test_what_the_merchant_must_validate_is_not_paid_yet() -> None:
    """It lapses unless somebody does; the other modes capture by themselves."""
    for mode, result in (("VALIDATION", "waiting"), ("IMMEDIATE", "P"), ("AUTHOR_CAPTURE", "P")):
        report = answered(signed({**PAID, "captureMode": mode}))
        assert (report.verified, report.result) == (True, result)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-07-14T09:30:15+02:00", datetime(2026, 7, 14, 7, 30, 15, tzinfo=UTC)),
        ("2026-07-14 09:30:15", datetime(2026, 7, 14, 7, 30, 15, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("14/07/2026", None),
        ("null", None),
    ],
)
def test_its_time_is_read_in_its_zone_else_in_paris(text: str, at: datetime | None) -> None:
    """What cannot be read decides nothing: the payment counts."""
    report = answered(signed({**PAID, "transactionDateTime": text}))
    assert (report.result, report.gateway_time) == (ReportResult.PAID, at)


def test_a_test_regie_believes_what_its_own_key_sealed() -> None:
    """Also the simulator's, if that is what it was given; the régie's mode says test."""
    report = answered(signed(PAID), regie("test"))
    assert (report.verified, report.test, report.result) == (True, True, ReportResult.PAID)


@pytest.mark.parametrize("merchant", ["002001000000001", "002001000000003"])
def test_a_simulated_payment_in_production_says_that_it_is_a_test(merchant: str) -> None:
    """The simulator's merchants, sealed with their public keys or with the régie's own."""
    answer = {**PAID, "merchantId": merchant}
    for key in (f"{merchant}_KEY1", KEY):
        report = answered(signed(answer, key))
        assert_proves_nothing(report, "test_answer")
        assert report.test
        assert report.detail == {"received": merchant, "expected": MERCHANT}


@pytest.mark.parametrize("mode", ["production", "test"])
@pytest.mark.parametrize("seal", [sha256_seal, hmac_seal])
def test_the_bank_s_public_key_never_proves(mode: str, seal: Seal) -> None:
    """The library falls back to it where a régie has no key: anybody could settle anything."""
    for options in ({}, {"secret_key": None}, {"secret_key": ""}):
        gateway = GatewayConfig(regie="enfance", kind="sips2", mode=mode, options={"merchant_id": MERCHANT, **options})
        for key in (SIMULATED_KEY, "", "None"):
            assert_proves_nothing(answered(signed(PAID, key, seal), gateway), "signature_invalid")


def test_the_public_key_is_no_key_in_production_even_if_it_is_configured() -> None:
    """The configuration refuses it; the adapter would too."""
    for number in (1, 3):
        public = f"00200100000000{number}_KEY1"
        assert_proves_nothing(answered(signed(PAID, public), regie(secret_key=public)), "signature_invalid")


def test_a_simulated_payment_at_another_test_merchant_is_not_ours() -> None:
    """A test régie of its own merchant takes no simulation of another."""
    report = answered(signed({**PAID, "merchantId": SIMULATED}), regie("test"))
    assert_proves_nothing(report, "wrong_merchant")


def test_a_lower_amount_counts_with_its_cents() -> None:
    """What was paid is what was sealed."""
    report = answered(signed({**PAID, "amount": "1"}))
    assert (report.result, report.cents) == (ReportResult.PAID, 1)


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("wrong_merchant", {"merchantId": "211000021310002"}),
        ("wrong_currency", {"currencyCode": "840"}),
        ("wrong_currency", {"currencyCode": "EUR"}),
        ("amount_unreadable", {"amount": "-4250"}),
        ("amount_unreadable", {"amount": "42.50"}),
        ("amount_unreadable", {"amount": "٤٢"}),
        ("amount_unreadable", {"amount": "0"}),
        ("amount_unreadable", {"amount": "999999999999"}),
        ("reference_unreadable", {"transactionReference": "x" * 101}),
        ("reference_unreadable", {"transactionReference": "a\x00b"}),
        ("field_missing", {"transactionReference": "null"}),
    ],
)
def test_sealed_is_not_enough(why: str, change: dict[str, str]) -> None:
    """The right key, but not our merchant, currency, amount or reference."""
    assert_proves_nothing(answered(signed({**PAID, **change})), why)


def test_what_differs_is_said_with_both_values() -> None:
    """A régisseur sees whose money it is."""
    report = answered(signed({**PAID, "currencyCode": "840"}))
    assert report.detail == {"received": "840", "expected": "978"}


@pytest.mark.parametrize("name", ["merchantId", "transactionReference", "currencyCode", "amount", "responseCode"])
def test_a_missing_field_is_named(name: str) -> None:
    """Sealed without it: nothing is assumed in its place."""
    report = answered(signed(without(name)))
    assert_proves_nothing(report, "field_missing")
    assert report.detail == {"field": name}


BODY = signed(PAID)


def test_one_byte_changed_proves_nothing() -> None:
    """Every byte but those of what is not sealed, which nobody reads."""
    sealed = BODY.index(b"&InterfaceVersion=")
    forged = [BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :] for place in range(sealed)]
    assert [each for each in forged if answered(each).verified and b"Encode=" in each] == []


def test_another_key_is_a_stranger_s() -> None:
    """Another régie's, or one letter."""
    assert_proves_nothing(answered(signed(PAID, KEY[:-1])), "signature_invalid")
    assert_proves_nothing(answered(signed(PAID, "autreregie")), "signature_invalid")


@pytest.mark.parametrize("added", [b"&Data=x", b"&Seal=x", b"&amount=1", b"&x", b"&Data=" + data_of(PAID).encode()])
def test_a_field_appended_to_the_form_spoils_the_answer(added: bytes) -> None:
    """Repeated or foreign: somebody touched what Sips had sent."""
    assert_proves_nothing(answered(BODY + added), "field_not_signed")


def test_the_return_of_the_browser_proves_as_much() -> None:
    """To an address with parameters of its own before Sips' form."""
    report = report_of(regie(), "GET", "facture=F-12&" + BODY.decode(), b"")
    assert (report.verified, report.result) == (True, ReportResult.PAID)


@pytest.mark.parametrize("injected", ["responseCode=00", "amount=1", "merchantId=" + MERCHANT])
def test_a_value_with_a_bar_cannot_become_a_field(injected: str) -> None:
    """A payer called « x|responseCode=00 » says it twice: the library would take the last, under a valid seal."""
    answer = {**PAID, "responseCode": "05", "customerId": f"x|{injected}"}
    report = answered(signed(answer))
    assert_proves_nothing(report, "answer_contradicts_itself")
    assert report.detail == {"field": injected.partition("=")[0]}


def test_an_answer_without_seal_proves_nothing() -> None:
    """As any stranger can write it."""
    assert_proves_nothing(answered(posted(data_of(PAID), "")), "signature_missing")
    assert_proves_nothing(answered(BODY.replace(b"Seal=", b"Sea=")), "signature_missing")


@pytest.mark.parametrize("seal", ["x", "é", "0" * 64, "None"])
def test_another_seal_proves_nothing(seal: str) -> None:
    """Invented, not even ASCII."""
    assert_proves_nothing(answered(posted(data_of(PAID), seal)), "signature_invalid")


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00\xff", b"{}", b"a", b"&&&", b"Data", b"Data=", b"Data=%7C%7C&Seal=x", b"a=1&" * 500, b"Seal=%ff"],
)
def test_garbage_is_kept_and_called_so(body: bytes) -> None:
    """It proves nothing, it breaks nothing; the library raises on some."""
    assert answered(body).why in {"unparsable", "field_missing"}


@given(changes=st.dictionaries(st.sampled_from([*PAID, "x"]), st.text(max_size=20)), seal=st.text(max_size=70))
def test_no_answer_breaks_the_adapter(changes: dict[str, str], seal: str) -> None:
    """Sealed or not, whatever it says: a report, and no proof of what is not sealed."""
    data = data_of({**PAID, **changes})
    assert answered(posted(data, sha256_seal(data, KEY))).regie == "enfance"
    assert not answered(posted(data, seal)).verified


def test_no_card_no_address_leaves_the_adapter() -> None:
    """Personal and card data stay in the raw answer."""
    for body in (BODY, signed({**PAID, "merchantId": "1"}), signed(PAID, "x")):
        shown = repr(answered(body))
        assert "4970" not in shown
        assert "famille@" not in shown


def test_no_secret_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG too."""
    caplog.set_level("DEBUG")
    answered(BODY)
    assert KEY not in caplog.text
    assert KEY not in repr(regie())


def test_sips_reads_nothing() -> None:
    """It looks at the status alone."""
    answer = reply("sips2", "", BODY)
    assert (answer.status, answer.body) == (200, b"")
