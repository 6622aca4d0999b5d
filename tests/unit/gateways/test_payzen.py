"""PayZen is Lyra by another name: it reads as `systempayv2` does, in every example."""

import eopayment
import pytest

from schemas.reports import ReportResult
from tests.unit.gateways.lyra_answers import (
    PAID,
    PRODUCTION_KEY,
    SITE,
    TEST_KEY,
    regie,
    sha1_signature,
    signed,
    without,
)
from tests.unit.gateways.reading import report_of
from tests.unit.gateways.test_lyra import FORGERIES
from worker.gateways.interpret import peek, reply
from worker.gateways.lyra import STATUSES
from worker.gateways.port import GatewayConfig

TEST_ANSWERS = [{**PAID, "vads_ctx_mode": spelling} for spelling in ("TEST", "test", "Test", "foo", "production")]
BODIES = [
    signed(PAID),
    signed(PAID, sign=sha1_signature),
    signed(PAID, "anotherkey"),
    signed(PAID, TEST_KEY),
    signed(PAID) + b"&vads_amount=1",
    signed(PAID) + b"&x=1",
    b"",
    b"vads_amount",
    *(signed({**PAID, **change}) for _, change in FORGERIES),
    *(signed({**PAID, "vads_trans_status": status}) for status in (*STATUSES, "PAID")),
    *(signed(answer, key) for answer in TEST_ANSWERS for key in (TEST_KEY, PRODUCTION_KEY)),
    *(signed(without(name)) for name in PAID),
]


def payzen(gateway: GatewayConfig) -> GatewayConfig:
    """The same régie at PayZen."""
    return GatewayConfig(regie=gateway.regie, kind="payzen", mode=gateway.mode, options=gateway.options)


@pytest.mark.parametrize("mode", ["production", "test"])
@pytest.mark.parametrize("body", BODIES)
def test_payzen_reads_as_systempay_does(body: bytes, mode: str) -> None:
    """Genuine, forged, test, garbage: the same report, word for word."""
    assert report_of(payzen(regie(mode)), "POST", "", body) == report_of(regie(mode), "POST", "", body)
    assert peek("payzen", "", body) == peek("systempayv2", "", body)


def test_a_payzen_payment_is_believed() -> None:
    """With its amount, under the reference that a portal gets from the library's `request()`."""
    backend = eopayment.get_backend("payzen")(
        {"vads_site_id": SITE, "vads_ctx_mode": "PRODUCTION", "secret_production": PRODUCTION_KEY}
    )
    reference, _, form = backend.request(42.5)
    sent = {field["name"]: field["value"] for field in form.fields}
    answer = {**PAID, "vads_trans_date": sent["vads_trans_date"], "vads_trans_id": sent["vads_trans_id"]}
    report = report_of(payzen(regie()), "POST", "", signed(answer))
    assert (report.verified, report.result, report.cents) == (True, ReportResult.PAID, 4250)
    assert report.gateway_reference == reference


def test_payzen_reads_ok() -> None:
    """As Lyra's other houses."""
    answer = reply("payzen", "", signed(PAID))
    assert (answer.status, answer.content_type, answer.body) == (200, "text/plain", b"OK")
