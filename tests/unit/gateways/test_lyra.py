"""What a Lyra answer proves, and every way in which it proves nothing."""

from datetime import UTC, datetime
from urllib.parse import urlencode

import eopayment
import pytest

from schemas.reports import Report, ReportResult
from tests.unit.gateways.lyra_answers import (
    PAID,
    PRODUCTION_KEY,
    SITE,
    TEST_KEY,
    UUID,
    Sign,
    hmac_signature,
    regie,
    sha1_signature,
    signed,
    without,
)
from tests.unit.gateways.reading import assert_proves_nothing, report_of
from worker.gateways.interpret import peek, reply
from worker.gateways.lyra import STATUSES
from worker.gateways.port import GatewayConfig

REFERENCE = "20261123083000_aB3x9Z"
TEST_ANSWER = {**PAID, "vads_ctx_mode": "TEST"}


def posted(body: bytes, gateway: GatewayConfig | None = None) -> Report:
    """The notification as Lyra posts it."""
    return report_of(gateway or regie(), "POST", "", body)


@pytest.mark.parametrize("sign", [sha1_signature, hmac_signature])
def test_a_signed_payment_is_believed_in_full(sign: Sign) -> None:
    """Both of Lyra's algorithms; amount in cents, Lyra's own transaction id, time in UTC."""
    report = posted(signed(PAID, sign=sign))
    assert report == Report(
        regie="enfance",
        gateway_reference=REFERENCE,
        transaction_id=UUID,
        result=ReportResult.PAID,
        verified=True,
        test=False,
        cents=4250,
        why="signed",
        gateway_time=datetime(2026, 11, 23, 8, 30, 15, tzinfo=UTC),
        detail={"vads_trans_status": "AUTHORISED", "vads_result": "00", "vads_auth_result": "00"},
    )


def test_our_signatures_are_those_of_the_library() -> None:
    """The tests' own algorithm and eopayment's agree, so that neither is tested against itself."""
    for name, sign in (("sha1", sha1_signature), ("hmac_sha256", hmac_signature)):
        backend = eopayment.get_backend("systempayv2")({"secret_production": PRODUCTION_KEY, "signature_algo": name})
        assert backend.signature(PAID) == sign(PAID, PRODUCTION_KEY)


def test_an_algorithm_chosen_by_the_regie_is_the_only_one() -> None:
    """`signature_algo` pins it."""
    report = posted(signed(PAID, sign=sha1_signature), regie(signature_algo="hmac_sha256"))
    assert_proves_nothing(report, "signature_invalid")


def test_the_return_of_the_browser_proves_as_much() -> None:
    """A GET to the return address, which may have parameters of its own before Lyra's."""
    query = "facture=F-12&" + signed(PAID).decode()
    report = report_of(regie(), "GET", query, b"")
    assert (report.verified, report.result) == (True, ReportResult.PAID)


def test_the_reference_chosen_by_the_portal_wins() -> None:
    """`request(transaction_id=…)` of the library travels in a field of its own."""
    body = signed({**PAID, "vads_ext_info_eopayment_trans_id": "PAIEMENT-7"})
    assert posted(body).gateway_reference == "PAIEMENT-7"
    assert peek("systempayv2", "", body) == "PAIEMENT-7"


def test_the_reference_is_what_a_portal_gets_from_the_library() -> None:
    """What `request()` returns at the start is what the answer is matched by."""
    backend = eopayment.get_backend("systempayv2")(
        {"vads_site_id": SITE, "vads_ctx_mode": "PRODUCTION", "secret_production": PRODUCTION_KEY}
    )
    reference, _, form = backend.request(42.5)
    sent = {field["name"]: field["value"] for field in form.fields}
    answer = {**PAID, "vads_trans_date": sent["vads_trans_date"], "vads_trans_id": sent["vads_trans_id"]}
    assert posted(signed(answer)).gateway_reference == reference


@pytest.mark.parametrize(("status", "result"), STATUSES.items())
def test_each_status_of_lyra_has_one_meaning(status: str, result: ReportResult) -> None:
    """Paid and refused and abandoned speak of money; waiting is verified and changes nothing."""
    report = posted(signed({**PAID, "vads_trans_status": status}))
    if result is ReportResult.NOTHING:
        assert_proves_nothing(report, "neither_payment_nor_refusal")
        assert report.detail["vads_trans_status"] == status
    else:
        assert (report.verified, report.result) == (True, result)


@pytest.mark.parametrize(
    ("code", "result"),
    [("00", ReportResult.PAID), ("05", ReportResult.REFUSED), ("17", ReportResult.ABANDONED)],
)
def test_an_old_answer_without_status_is_read_by_its_result(code: str, result: ReportResult) -> None:
    """`vads_result` where `vads_trans_status` is not given."""
    report = posted(signed({**without("vads_trans_status"), "vads_result": code}))
    assert (report.verified, report.result) == (True, result)


@pytest.mark.parametrize("status", ["", "PAID", "authorised"])
def test_an_unknown_status_with_an_unknown_result_is_shown(status: str) -> None:
    """What Lyra may invent tomorrow is for a person, not for a guess."""
    report = posted(signed({**PAID, "vads_trans_status": status, "vads_result": "96"}))
    assert_proves_nothing(report, "neither_payment_nor_refusal")


def test_an_abandonment_needs_no_transaction() -> None:
    """Lyra creates none when the payer leaves; the reference stands in for its id."""
    answer = {**without("vads_trans_uuid"), "vads_trans_status": "ABANDONED", "vads_result": "17"}
    report = posted(signed(answer))
    assert (report.result, report.transaction_id) == (ReportResult.ABANDONED, REFERENCE)


def test_a_test_payment_settles_in_a_test_regie() -> None:
    """Signed with the test key, where test is expected."""
    report = posted(signed(TEST_ANSWER, TEST_KEY), regie("test"))
    assert (report.verified, report.test, report.result) == (True, True, ReportResult.PAID)


@pytest.mark.parametrize("key", [TEST_KEY, PRODUCTION_KEY])
@pytest.mark.parametrize("spelling", ["TEST", "test", "Test"])
def test_a_test_answer_in_production_says_that_it_is_a_test(key: str, spelling: str) -> None:
    """Whichever of the régie's keys signed it, in whatever spelling."""
    report = posted(signed({**PAID, "vads_ctx_mode": spelling}, key))
    assert_proves_nothing(report, "test_answer")
    assert report.test
    assert report.detail == {"received": spelling, "expected": "PRODUCTION"}


def test_a_badly_spelt_test_settles_nothing_even_in_a_test_regie() -> None:
    """Lyra writes it in capitals; what doesn't is not Lyra."""
    report = posted(signed({**PAID, "vads_ctx_mode": "test"}, TEST_KEY), regie("test"))
    assert_proves_nothing(report, "test_answer")


def test_a_stranger_cannot_even_say_test() -> None:
    """A made-up test answer is unproven, and is not called a test payment."""
    report = posted(signed(TEST_ANSWER, "anotherkey"))
    assert_proves_nothing(report, "signature_invalid")
    assert not report.test


def test_a_production_answer_signed_with_the_test_key_is_forged() -> None:
    """Test keys are shared with developers: they may not settle real invoices."""
    assert_proves_nothing(posted(signed(PAID, TEST_KEY)), "signature_invalid")


def test_a_test_answer_signed_with_the_production_key_is_nothing_to_a_test_regie() -> None:
    """There only the test key proves."""
    assert_proves_nothing(posted(signed(TEST_ANSWER, PRODUCTION_KEY), regie("test")), "signature_invalid")


def test_a_production_answer_is_not_expected_in_a_test_regie() -> None:
    """Real money at a test régie is for a person to look at."""
    assert_proves_nothing(posted(signed(PAID), regie("test")), "wrong_mode")


@pytest.mark.parametrize("mode", ["foo", "production", "Production", "PRODUCTION ", "TES", "secret_test", "teſt"])
def test_a_mode_that_lyra_does_not_write(mode: str) -> None:
    """Exact case; the library raises on some of them and believes others."""
    report = posted(signed({**PAID, "vads_ctx_mode": mode}))
    assert (report.verified, report.result) == (False, ReportResult.NOTHING)
    assert report.why in {"wrong_mode", "signature_invalid"}


FORGERIES = [
    ("wrong_merchant", {"vads_site_id": "87654321"}),
    ("wrong_currency", {"vads_currency": "840"}),
    ("operation_credit", {"vads_operation_type": "CREDIT"}),
    ("operation_not_debit", {"vads_operation_type": "VERIFICATION"}),
    ("operation_not_debit", {"vads_operation_type": "debit"}),
    ("amount_unreadable", {"vads_amount": "-4250"}),
    ("amount_unreadable", {"vads_amount": "42.50"}),
    ("amount_unreadable", {"vads_amount": "٤٢"}),
    ("amount_unreadable", {"vads_amount": "999999999999"}),
    ("amount_unreadable", {"vads_amount": "0"}),
    ("answer_contradicts_itself", {"vads_result": "05"}),
    ("reference_unreadable", {"vads_ext_info_eopayment_trans_id": "x" * 101}),
    ("reference_unreadable", {"vads_ext_info_eopayment_trans_id": "a\x00b"}),
]


@pytest.mark.parametrize(("why", "change"), FORGERIES)
def test_signed_is_not_enough(why: str, change: dict[str, str]) -> None:
    """The right key, but not our shop, currency, operation or amount."""
    assert_proves_nothing(posted(signed({**PAID, **change})), why)


def test_what_differs_is_said_with_both_values() -> None:
    """A régisseur sees whose money it is."""
    report = posted(signed({**PAID, "vads_site_id": "87654321"}))
    assert report.detail == {"received": "87654321", "expected": SITE}


@pytest.mark.parametrize("place", range(0, len(signed(PAID)), 7))
def test_one_byte_changed_settles_nothing_else(place: int) -> None:
    """The answer proves nothing, or nothing but what was signed: Lyra leaves the names of fields unsigned."""
    body = bytearray(signed(PAID))
    body[place] ^= 1
    forged, genuine = posted(bytes(body)), posted(signed(PAID))
    assert not forged.verified or _money(forged) == _money(genuine)


def _money(report: Report) -> tuple[object, ...]:
    return report.gateway_reference, report.transaction_id, report.result, report.cents, report.test


def test_a_renamed_status_cannot_turn_waiting_into_paid() -> None:
    """The signature survives a renamed field; `vads_result` alone would then say paid."""
    genuine = {**PAID, "vads_trans_status": "AUTHORISED_TO_VALIDATE"}
    body = signed(genuine).replace(b"vads_trans_status", b"vads_trans_statut")
    assert_proves_nothing(posted(body), "answer_contradicts_itself")


def test_a_name_with_plus_signs_cannot_become_fields() -> None:
    """A payer called « x+AUTHORISED+… » splits it into fields of their own, and renames the refusal."""
    genuine = {**PAID, "vads_trans_status": "REFUSED", "vads_user_info": "x+AUTHORISED+forged+y"}
    forged = {key: value for key, value in genuine.items() if key not in ("vads_trans_status", "vads_user_info")}
    forged |= {"vads_trans_ie": "REFUSED", "vads_trans_if": UUID, "vads_trans_ig": "x"}
    forged |= {"vads_trans_status": "AUTHORISED", "vads_trans_uuid": "forged", "vads_y": "y"}
    signature = hmac_signature(genuine, PRODUCTION_KEY)
    assert hmac_signature(forged, PRODUCTION_KEY) == signature, "the forgery has a valid signature"
    body = urlencode({**forged, "signature": signature}).encode()
    assert_proves_nothing(posted(body), "answer_contradicts_itself")


@pytest.mark.parametrize("name", sorted(PAID))
def test_a_changed_value_breaks_the_signature(name: str) -> None:
    """Every `vads_*` field is under the signature."""
    genuine = sha1_signature(PAID, PRODUCTION_KEY)
    body = urlencode({**PAID, name: PAID[name] + "0", "signature": genuine}).encode()
    assert not posted(body).verified


@pytest.mark.parametrize(
    "name",
    [
        "vads_ctx_mode",
        "vads_site_id",
        "vads_currency",
        "vads_operation_type",
        "vads_amount",
        "vads_trans_uuid",
    ],
)
def test_a_missing_field_is_named(name: str) -> None:
    """Signed without it: nothing is assumed in its place."""
    report = posted(signed(without(name)))
    assert_proves_nothing(report, "field_missing")
    assert report.detail == {"field": name}


@pytest.mark.parametrize("signature", ["", "0" * 40, "é", "None"])
def test_another_signature_proves_nothing(signature: str) -> None:
    """Empty, invented, not even ASCII."""
    body = urlencode({**PAID, "signature": signature}).encode()
    assert not posted(body).verified


def test_another_secret_proves_nothing() -> None:
    """Another régie's key is a stranger's."""
    assert_proves_nothing(posted(signed(PAID, "autreregie")), "signature_invalid")


def test_a_regie_without_the_key_believes_nobody() -> None:
    """Without a secret the library signs with the word « None »: anybody could."""
    gateway = GatewayConfig(regie="enfance", kind="systempayv2", mode="production", options={"vads_site_id": SITE})
    for sign in (sha1_signature, hmac_signature):
        assert_proves_nothing(posted(signed(PAID, "None", sign), gateway), "signature_invalid")
        assert_proves_nothing(posted(signed(PAID, "", sign), gateway), "signature_invalid")


@pytest.mark.parametrize("added", [b"&vads_amount=1", b"&signature=x", b"&amount=1", b"&x"])
def test_a_field_appended_after_the_signature_spoils_the_answer(added: bytes) -> None:
    """Repeated or foreign: somebody touched what Lyra had signed."""
    assert_proves_nothing(posted(signed(PAID) + added), "field_not_signed")


def test_a_new_lyra_field_is_under_the_signature() -> None:
    """One more `vads_*` field is signed or wrong."""
    assert_proves_nothing(posted(signed(PAID) + b"&vads_extra=1"), "signature_invalid")


@pytest.mark.parametrize(
    "body", [b"", b"\x00\xff", b"{}", b"a", b"=", b"&&&", b"vads_amount", b"a=1&" * 500, b"%00=%ff"]
)
def test_garbage_is_kept_and_called_so(body: bytes) -> None:
    """It proves nothing, it breaks nothing."""
    report = posted(body)
    assert not report.verified
    assert report.why in {"unparsable", "field_missing"}


def test_no_card_no_name_no_address_leaves_the_adapter() -> None:
    """Personal and card data stay in the raw answer."""
    for body in (signed(PAID), signed({**PAID, "vads_site_id": "1"}), signed(PAID, "x")):
        shown = repr(posted(body))
        assert "497010" not in shown
        assert "famille@" not in shown
        assert "ranger" not in shown


def test_no_secret_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG the library logs its keys and what it signs; it is kept above."""
    caplog.set_level("DEBUG")
    posted(signed(PAID))
    assert PRODUCTION_KEY not in caplog.text
    assert PRODUCTION_KEY not in repr(regie())


def test_lyra_reads_ok() -> None:
    """The answer is shown in its back office."""
    answer = reply("systempayv2", "", signed(PAID))
    assert (answer.status, answer.content_type, answer.body) == (200, "text/plain", b"OK")
