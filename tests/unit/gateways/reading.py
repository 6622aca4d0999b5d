"""What a callback proves, where it is known to prove or refuse by itself."""

from collections.abc import Mapping

from schemas.reports import Report
from worker.gateways.interpret import interpret
from worker.gateways.port import GatewayConfig


def report_of(
    gateway: GatewayConfig, method: str, query: str, body: bytes, headers: Mapping[str, str] | None = None
) -> Report:
    """The report of a callback; one that only makes us ask its gateway is a failure here."""
    found = interpret(gateway, method, query, body, headers or {})
    assert isinstance(found, Report)
    return found
