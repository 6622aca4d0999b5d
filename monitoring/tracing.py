"""Traces: where an event's time went, from the portal's request to the gateway's answer, in OpenTelemetry's terms.

Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` says where to send them and the `otel` extra is installed; what is configured
otherwise is configured by OpenTelemetry's own variables. W3C's `traceparent` is kept and passed on with or without it.
Source: https://www.w3.org/TR/trace-context/ and OpenTelemetry's specification of OTLP's exporter.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

import structlog

from schemas.decisions import Done

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanContext

ADDRESSES: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Either says where traces go; without one there are none."""
EXPORT_SECONDS: Final = 5
"""For one batch of spans: a collector that hangs must not keep a process from ending."""

Part = Literal["server", "client", "consumer"]
"""What a span is to whoever called: it serves a request, makes one, or does what was asked for earlier."""

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()


class Tracing:
    """Makes spans; one that was never begun makes none, and passes on the trace that it was given."""

    def __init__(self) -> None:
        self._provider: TracerProvider | None = None

    def begin(self, role: str) -> None:
        """Send this process's spans from now on, where the environment says so. Call after every fork."""
        if not any(os.environ.get(name) for name in ADDRESSES):
            return
        try:
            self._provider = _provider(role)
        except ImportError:
            log.warning("tracing_not_installed", mend="install the extra: pip install -e '.[otel]'")

    def end(self) -> None:
        """Send what is left, for a few seconds at most."""
        if self._provider is not None:
            self._provider.shutdown()
            self._provider = None

    @contextmanager
    def span(self, name: str, part: Part, trace: str | None, **about: str) -> Iterator[str | None]:
        """What happens inside, as one span below `trace`; yields the `traceparent` to pass on.

        An exception that leaves it marks the span as failed, with the exception's type alone.
        """
        if self._provider is None:
            yield trace
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415 - the extra may not be installed

        tracer = self._provider.get_tracer("lettrage")
        span = tracer.start_span(name, _parent(trace), SpanKind[part.upper()], _attributes(about))
        try:
            yield _passed_on(span.get_span_context())
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            span.end()

    def reconciled(self, done: Done) -> None:
        """One span for each event that came with a trace: from its receipt to the decision that was just committed."""
        if self._provider is None or done.decided_at is None:
            return
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - the extra may not be installed

        tracer = self._provider.get_tracer("lettrage")
        for event, applied in done.applied:
            if event.trace is None:
                continue
            about = {"regie": event.regie, "event_id": event.id, "outcome": applied.outcome, "reason": applied.reason}
            span = tracer.start_span(
                f"reconcile {event.type}",
                _parent(event.trace),
                SpanKind.CONSUMER,
                _attributes(about),
                start_time=_nanoseconds(event.received_at),
            )
            span.end(max(_nanoseconds(done.decided_at), _nanoseconds(event.received_at)))


TRACING: Final = Tracing()
"""This process's."""


def _provider(role: str) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - optional
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - optional
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - optional

    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", f"lettrage-{role}")})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=EXPORT_SECONDS)))
    return provider


def _parent(trace: str | None) -> "Context":
    """The context that a `traceparent` names; an empty one for anything else, which begins a new trace."""
    from opentelemetry.context import Context  # noqa: PLC0415 - the extra may not be installed
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - same

    return TraceContextTextMapPropagator().extract({"traceparent": trace} if trace else {}, Context())


def _passed_on(context: "SpanContext") -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _attributes(about: dict[str, str]) -> dict[str, str]:
    return {f"lettrage.{name}": str(value) for name, value in about.items()}


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000
