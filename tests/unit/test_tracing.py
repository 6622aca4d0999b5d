"""Traces: passed on untouched where nobody collects them, spans of one trace where somebody does."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from monitoring.tracing import ADDRESSES, Tracing
from schemas.decisions import Applied, Done, Outcome
from schemas.events import Event, EventType, PaymentStarted, StartedLine

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def kept() -> InMemorySpanExporter:
    """Where spans go."""
    return InMemorySpanExporter()


@pytest.fixture
def tracing(kept: InMemorySpanExporter) -> Iterator[Tracing]:
    """One that was begun."""
    begun = Tracing()
    begun._provider = TracerProvider(shutdown_on_exit=False)
    begun._provider.add_span_processor(SimpleSpanProcessor(kept))
    yield begun
    begun.end()


def done(*traces: str | None) -> Done:
    """A transaction that applied an event for each trace, decided 2 s after receipt."""
    data = PaymentStarted(
        regie="enfance",
        reference="P-1",
        amount_cents=900,
        invoices=[StartedLine(number="F-1", amount_cents=900)],
    )
    events = [
        Event(
            place=place,
            client="portail",
            source="/portail",
            id=f"e-{place}",
            type=EventType.PAYMENT_STARTED,
            regie="enfance",
            received_at=NOON,
            data=data,
            trace=trace,
        )
        for place, trace in enumerate(traces)
    ]
    applied = [(event, Applied(place=event.place, outcome=Outcome.APPLIED, reason="hold_taken")) for event in events]
    return Done(decided_at=NOON + timedelta(seconds=2), applied=applied)


def test_where_nobody_collects_a_trace_is_passed_on_as_it_came() -> None:
    """Nothing is made, nothing is lost, None stays None."""
    tracing = Tracing()
    with tracing.span("ask", "client", PARENT) as same, tracing.span("ask", "client", None) as none:
        assert (same, none) == (PARENT, None)
    tracing.reconciled(done(PARENT))
    tracing.end()


def test_no_address_no_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed extra alone sends nothing anywhere."""
    for name in ADDRESSES:
        monkeypatch.delenv(name, raising=False)
    tracing = Tracing()
    tracing.begin("web")
    assert tracing._provider is None


def test_an_address_without_the_extra_is_told_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process works on; the log says what to install."""
    monkeypatch.setenv(ADDRESSES[0], "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    tracing = Tracing()
    with structlog.testing.capture_logs() as logged:
        tracing.begin("web")
    assert [line["event"] for line in logged] == ["tracing_not_installed"]
    assert "otel" in logged[0]["mend"]
    with tracing.span("ask", "client", PARENT) as passed_on:
        assert passed_on == PARENT


def test_a_span_is_a_child_and_names_itself_to_whom_it_calls(tracing: Tracing, kept: InMemorySpanExporter) -> None:
    """The same trace; what is passed on names the new span, so that the next one is below it."""
    with tracing.span("ask", "client", PARENT, regie="enfance") as passed_on:
        pass
    (span,) = kept.get_finished_spans()
    assert passed_on == f"00-{TRACE_ID}-{span.context.span_id:016x}-01"
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert dict(span.attributes or {}) == {"lettrage.regie": "enfance"}


def test_without_a_trace_one_begins(tracing: Tracing, kept: InMemorySpanExporter) -> None:
    """Two requests that belong to no trace share none."""
    for _ in range(2):
        with tracing.span("take", "server", None) as passed_on:
            assert passed_on is not None
    first, second = kept.get_finished_spans()
    assert first.parent is None
    assert first.context.trace_id != second.context.trace_id


def test_a_failure_is_marked_by_its_type_alone(tracing: Tracing, kept: InMemorySpanExporter) -> None:
    """What an exception says may quote a family's data; it is raised on."""
    with pytest.raises(ValueError, match="martin"), tracing.span("ask", "client", PARENT):
        raise ValueError("martin@example.org")
    (span,) = kept.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError")
    assert not span.events


def test_an_events_span_lasts_from_receipt_to_decision(tracing: Tracing, kept: InMemorySpanExporter) -> None:
    """By the database's clock; events that nobody traced have none."""
    tracing.reconciled(done(None, PARENT))
    (span,) = kept.get_finished_spans()
    assert span.name == "reconcile fr.lettrage.payment.started.v1"
    assert span.start_time is not None
    assert span.end_time is not None
    assert (span.start_time, span.end_time - span.start_time) == (int(NOON.timestamp()) * 10**9, 2 * 10**9)
    assert dict(span.attributes or {}) == {
        "lettrage.regie": "enfance",
        "lettrage.event_id": "e-1",
        "lettrage.outcome": "applied",
        "lettrage.reason": "hold_taken",
    }


def test_what_was_not_sampled_is_not_sent(tracing: Tracing, kept: InMemorySpanExporter) -> None:
    """The caller's choice, as W3C's flag says it, is kept and passed on."""
    with tracing.span("ask", "client", PARENT[:-2] + "00") as passed_on:
        assert passed_on is not None
    assert passed_on.endswith("-00")
    assert not kept.get_finished_spans()
