"""The library's dummy gateway: for tests and the demo, never in production, as anybody can write `signed=1`.

Its `gateway_reference` is the `transaction_id` that eopayment's `request()` returns; it has no other.
"""

from urllib.parse import urlencode

from schemas.reports import Report, ReportResult
from worker.gateways.fields import pairs_of, usable_reference
from worker.gateways.library import DummyAnswer, LibraryError, dummy_answer
from worker.gateways.port import GatewayConfig, RawCallback, unproven


def interpret_dummy(gateway: GatewayConfig, callback: RawCallback) -> Report:
    """What a dummy answer says. It names no amount: the payment's own counts. Never raises."""
    pairs = pairs_of(callback.query, callback.body)
    try:
        answer = dummy_answer(gateway.options, urlencode(pairs))
    except LibraryError:
        return unproven(gateway, "", "unparsable")
    reference = usable_reference(answer.reference)
    if reference is None:
        return unproven(gateway, "", "reference_unreadable")
    if gateway.mode != "test":
        report = unproven(gateway, reference, "test_answer", expected=gateway.mode)
        report.test = True
        return report
    if not answer.signed:
        return unproven(gateway, reference, "signature_missing")
    return Report(
        regie=gateway.regie,
        gateway_reference=reference,
        transaction_id=reference,
        result=_result(answer),
        verified=True,
        test=True,
        why="signed",
    )


def _result(answer: DummyAnswer) -> ReportResult:
    if answer.waiting:
        return ReportResult.WAITING
    return ReportResult.PAID if answer.paid else ReportResult.REFUSED
