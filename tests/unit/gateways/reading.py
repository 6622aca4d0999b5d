"""What a callback proves, where it is known to prove or refuse by itself."""

from collections.abc import Mapping

from schemas.reports import Report, ReportResult
from worker.gateways.interpret import interpret
from worker.gateways.port import GatewayConfig


def report_of(
    gateway: GatewayConfig, method: str, query: str, body: bytes, headers: Mapping[str, str] | None = None
) -> Report:
    """The report of a callback; one that only makes us ask its gateway is a failure here."""
    found = interpret(gateway, method, query, body, headers or {})
    assert isinstance(found, Report)
    return found


def assert_proves_nothing(report: Report, why: str) -> None:
    """Nothing that `decide` could take for money or for a cancel, and the reason said."""
    assert (report.verified, report.result, report.cents) == (False, ReportResult.NOTHING, None)
    assert report.why == why
