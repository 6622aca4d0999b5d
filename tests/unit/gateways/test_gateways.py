"""The port as a whole: the dummy, the kinds not interpreted yet, and bytes from strangers."""

import logging

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.reports import Report, ReportResult
from tests.unit.gateways.lyra_answers import PAID, regie, signed
from tests.unit.gateways.reading import report_of
from worker.gateways.capabilities import CAPABILITIES
from worker.gateways.interpret import ASKERS, CHECKERS, INTERPRETERS, interpret, peek, reply
from worker.gateways.port import GatewayConfig

DUMMY = GatewayConfig(regie="cantine", kind="dummy", mode="test")


def dummy(query: str, gateway: GatewayConfig = DUMMY) -> Report:
    """A dummy callback, as its service sends it: a GET."""
    return report_of(gateway, "GET", query, b"")


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ("ok=1", ReportResult.PAID),
        ("nok=1&reason=refus", ReportResult.REFUSED),
        ("waiting=1", ReportResult.WAITING),
    ],
)
def test_the_dummy_is_believed_in_a_test_regie(answer: str, result: ReportResult) -> None:
    """Its answers say no amount: the payment's own counts."""
    report = dummy(f"transaction_id=abc&signed=1&{answer}")
    assert (report.verified, report.test, report.result, report.cents) == (True, True, result, None)
    assert (report.gateway_reference, report.transaction_id) == ("abc", "abc")


def test_the_dummy_may_answer_in_the_body() -> None:
    """A POST of the same fields."""
    report = report_of(DUMMY, "POST", "", b"transaction_id=abc&signed=1&ok=1")
    assert report.verified


def test_an_unsigned_dummy_answer_proves_nothing() -> None:
    """As real gateways' unsigned ones."""
    report = dummy("transaction_id=abc&ok=1")
    assert (report.verified, report.why) == (False, "signature_missing")


def test_the_dummy_proves_nothing_in_production() -> None:
    """The configuration refuses it; the adapter would too."""
    production = GatewayConfig(regie="cantine", kind="dummy", mode="production")
    report = dummy("transaction_id=abc&signed=1&ok=1", production)
    assert (report.verified, report.test, report.result) == (False, True, ReportResult.NOTHING)


@pytest.mark.parametrize("query", ["", "ok=1&signed=1", "transaction_id=&signed=1&ok=1", "x"])
def test_a_dummy_answer_about_nothing_is_unreadable(query: str) -> None:
    """Without a transaction there is nothing to settle."""
    report = dummy(query)
    assert (report.verified, report.gateway_reference) == (False, "")


@pytest.mark.parametrize("kind", [*sorted(CAPABILITIES.keys() - INTERPRETERS.keys()), "departed"])
def test_a_kind_that_this_version_cannot_read_changes_nothing_and_is_shown(kind: str) -> None:
    """Kept with its reason, whatever it says; also for a gateway that left the configuration."""
    gateway = GatewayConfig(regie="enfance", kind=kind, mode="production")
    report = report_of(gateway, "POST", "", signed(PAID))
    assert (report.verified, report.result) == (False, ReportResult.NOTHING)
    assert (report.why, report.detail) == ("gateway_not_interpreted", {"kind": kind})


@pytest.mark.parametrize(
    ("kind", "query", "body", "reference"),
    [
        ("systempayv2", "", signed(PAID), "20261123083000_aB3x9Z"),
        ("payzen", signed(PAID).decode(), b"", "20261123083000_aB3x9Z"),
        ("dummy", "transaction_id=abc&ok=1", b"", "abc"),
        ("payfip_ws", "idop=1f2e", b"", "1f2e"),
        ("payfip_ws", "", b"idOp=1f2e", "1f2e"),
        ("paybox", "reference=R1&erreur=00000", b"", "R1"),
        ("mollie", "", b"id=tr_7", "tr_7"),
        ("payfip_ws", "numcli=1", b"", None),
        ("payfip_ws", "idop=" + "x" * 101, b"", None),
        ("payfip_ws", "idop=a%00b", b"", None),
        ("systempayv2", "vads_trans_date=20261123083000", b"", None),
        ("departed", "idop=1", b"", None),
    ],
)
def test_a_raw_callback_says_which_payment_it_claims(kind: str, query: str, body: bytes, reference: str | None) -> None:
    """Unverified, in whatever name that gateway gives it; never what a column could not hold."""
    assert peek(kind, query, body) == reference


def test_peek_and_interpret_agree() -> None:
    """Both read the same part when body and query name different payments."""
    query = signed({**PAID, "vads_trans_id": "zzzzzz"}).decode()
    body = signed(PAID)
    report = report_of(regie(), "POST", query, body)
    assert report.gateway_reference == peek("systempayv2", query, body) == "20261123083000_aB3x9Z"


@pytest.mark.parametrize("kind", [*sorted(CAPABILITIES), "departed"])
def test_every_gateway_gets_a_quiet_success(kind: str) -> None:
    """Callbacks stop being repeated once answered 200."""
    assert reply(kind, "", b"").status == 200


@pytest.mark.parametrize("name", ["eopayment.worldline", "requests", "urllib3.connectionpool", "zeep.transports"])
def test_no_library_logs_what_it_was_given(name: str) -> None:
    """At DEBUG they log options and requests, secrets and families included, whatever the level of everything else."""
    assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)


def test_whoever_can_be_asked_can_be_checked() -> None:
    """And is said to be askable: the schedule and the adapters are of one mind."""
    pollable = {kind for kind, capability in CAPABILITIES.items() if capability.pollable}
    assert pollable == ASKERS.keys() == CHECKERS.keys()


LYRA_NAMES = st.sampled_from([*PAID, "signature", "vads_ext_info_eopayment_trans_id", "x"])
NEARLY_LYRA = st.dictionaries(LYRA_NAMES, st.text(max_size=30)).map(lambda fields: signed({**PAID, **fields}))
BODIES = st.one_of(st.binary(max_size=2000), NEARLY_LYRA)
QUERIES = st.text(st.characters(codec=None), max_size=500)


@given(kind=st.sampled_from([*CAPABILITIES, "departed"]), query=QUERIES, body=BODIES)
@example(kind="systempayv2", query="vads_ctx_mode=foo&signature=\ud800", body=b"")
@example(kind="payfip_ws", query="idop=%ed%a0%80", body=b"")
@example(kind="keyware", query="", body=b'{"order_id": "\\ud800"}')
@example(kind="worldline", query="", body=b'{"type": "\\u0000", "payment": {"id": "", "status": "\\ud800"}}')
@example(
    kind="worldline",
    query="",
    body=b'{"type":"payment.x","payment":{"id":"1","status":"x","hostedCheckoutSpecificOutput":{"hostedCheckoutId":"1"}}}',
)
@example(kind="dummy", query="transaction_id=%ed%a0%80&signed=1", body=b"")
@example(kind="systempayv2", query="", body=b"&".join(b"a%d=" % n for n in range(1000)))
def test_no_bytes_break_the_port(kind: str, query: str, body: bytes) -> None:
    """Whatever comes is interpreted without an exception, into text that PostgreSQL can hold."""
    for mode in ("production", "test"):
        gateway = GatewayConfig(regie="enfance", kind=kind, mode=mode, options=dict(regie().options))
        found = interpret(gateway, "POST", query, body, {})
        claimed = peek(kind, query, body) or ""
        reply(kind, query, body)
        said = (found.transaction_id, *found.detail.values()) if isinstance(found, Report) else ()
        for text in (found.gateway_reference, claimed, *said):
            assert text == "" or text.isprintable()
            text.encode()
