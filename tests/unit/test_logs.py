"""Logs: one JSON object a line, static names, ids, and nothing that is secret or personal."""

import io
import json
import logging
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime

import asyncpg
import pytest
import structlog

from monitoring import logs
from monitoring.logs import REDACTED, about, asking, trace_id
from monitoring.outages import Outage
from schemas.decisions import Applied, Done, Outcome
from schemas.events import Event, EventType, PaymentStarted, StartedLine
from schemas.records import DueAsk

CARD = "4970100000000001"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the logs go; the defaults are put back afterwards."""
    written = io.StringIO()
    handlers, level = logging.root.handlers[:], logging.root.level
    logs.configure(written)
    yield written
    logging.captureWarnings(capture=False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """What was logged, parsed."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_log_is_one_line_of_json_with_its_name_first(stream: io.StringIO) -> None:
    """Machines read it line by line, people see when, how bad and what before anything else."""
    structlog.get_logger().info("invoice_reactivated", regie="enfance", invoice="F-1", text="two\nlines")
    (line,) = stream.getvalue().splitlines()
    assert list(json.loads(line)) == ["timestamp", "level", "event", "regie", "invoice", "text"]
    assert json.loads(line)["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    "field",
    [
        "token", "metrics_token", "secret", "secret_production", "password", "authorization", "Cookie", "account",
        "body", "raw", "query", "data", "headers", "card", "pan", "email", "iban", "database_url", "dsn",
        "private_key", "signature",
    ],
)  # fmt: skip
def test_a_field_that_may_be_private_is_redacted_by_its_name(stream: io.StringIO, field: str) -> None:
    """At any depth, whatever its value is."""
    structlog.get_logger().info("told", **{field: "s3cr3t-Dupont"}, inside=[{field: {"a": "s3cr3t-Dupont"}}])
    (line,) = lines(stream)
    assert line[field] == REDACTED
    assert "Dupont" not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        f"card {CARD} refused",
        "card 4970 1000 0000 0001 refused",
        "told jeanne.dupont@example.org so",
        "cannot reach postgresql://lettrage:s3cr3t@db/lettrage",
    ],
)
def test_free_text_is_scrubbed_of_what_it_may_quote(stream: io.StringIO, text: str) -> None:
    """Cards, e-mails and passwords in addresses, wherever an error quotes them."""
    structlog.get_logger().info("failed", error=text, errors=(ValueError(text),))
    for private in (CARD, "4970 1000", "jeanne.dupont", "s3cr3t"):
        assert private not in stream.getvalue()
    assert REDACTED in stream.getvalue()


def test_references_are_kept_even_when_they_look_like_cards(stream: io.StringIO) -> None:
    """A payment must be findable by its reference."""
    structlog.get_logger().info("payment_settled", payment=CARD, event_id=CARD)
    (line,) = lines(stream)
    assert (line["payment"], line["event_id"]) == (CARD, CARD)


def test_bytes_are_never_shown(stream: io.StringIO) -> None:
    """Raw callbacks are bytes."""
    structlog.get_logger().info("received", what=b"Dupont", inside=[b"Dupont"])
    assert "Dupont" not in stream.getvalue()


def test_an_exception_says_where_and_what_without_the_rows_that_postgresql_quotes(stream: io.StringIO) -> None:
    """The failing row would name a family."""
    error = asyncpg.CheckViolationError.new(
        {"S": "ERROR", "C": "23514", "M": "violates check", "D": "Failing row contains (1, Dupont)"}
    )
    try:
        raise error
    except asyncpg.CheckViolationError:
        structlog.get_logger().exception("batch_failed")
    (line,) = lines(stream)
    assert "violates check" in str(line["exception"])
    assert "test_logs.py" in str(line["exception"])
    assert "Dupont" not in stream.getvalue()


def test_what_an_event_is_about_is_bound_while_it_is_worked_on(stream: io.StringIO) -> None:
    """Event, type, régie, payment and trace; nothing of the family; gone afterwards."""
    with about(payment_started("e-1")):
        structlog.get_logger().info("inside")
    structlog.get_logger().info("outside")
    inside, outside = lines(stream)
    assert (
        inside.items()
        >= {
            "event_id": "e-1",
            "event_type": "fr.lettrage.payment.started.v1",
            "regie": "enfance",
            "payment": "P-1",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
        }.items()
    )
    assert set(outside) == {"timestamp", "level", "event"}
    assert "Dupont" not in stream.getvalue()


def test_each_event_of_a_small_batch_is_told_and_a_large_one_is_summed_up(stream: io.StringIO) -> None:
    """A quiet installation is read event by event; a busy one does not spend its time on lines."""
    applied = Applied(place=1, outcome=Outcome.APPLIED, reason="hold_taken")
    refused = Applied(place=2, outcome=Outcome.REFUSED, reason="invoice_paid")
    logs.reconciled(Done(applied=[(payment_started("e-1"), applied), (payment_started("e-2"), refused)]))
    logs.reconciled(Done(applied=[(payment_started("e"), applied)] * 900 + [(payment_started("e"), refused)] * 100))
    logs.reconciled(Done())
    first, second, third = lines(stream)
    assert (first["event"], first["event_id"], first["outcome"]) == ("event_reconciled", "e-1", "applied")
    assert (second["event_id"], second["reason"], second["payment"]) == ("e-2", "invoice_paid", "P-1")
    assert (third["event"], third["events"]) == ("batch_reconciled", 1000)
    assert (third["applied"], third["refused"]) == (900, 100)


def payment_started(event_id: str) -> Event:
    """An event with a trace and a family's account in it."""
    data = PaymentStarted(
        regie="enfance",
        reference="P-1",
        amount_cents=900,
        invoices=[StartedLine(number="F-1", amount_cents=900, account="Dupont")],
    )
    return Event(
        place=1,
        client="portail",
        source="/portail",
        id=event_id,
        type=EventType.PAYMENT_STARTED,
        regie="enfance",
        received_at=datetime.now(UTC),
        data=data,
        trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def test_what_a_gateway_is_asked_about_is_bound_while_it_is_asked(stream: io.StringIO) -> None:
    """Whoever looks for a payment or its trace finds the questions about it."""
    due = DueAsk(
        gateway_reference_id=1,
        regie="enfance",
        gateway_reference="idop-1",
        age_seconds=120,
        asked_at=datetime.now(UTC),
        payment="P-1",
        trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    with asking(due):
        structlog.get_logger().info("gateway_asked")
    (line,) = lines(stream)
    assert (line["regie"], line["payment"], line["gateway_reference"]) == ("enfance", "P-1", "idop-1")
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("header", [None, "", "nonsense", "00-short-b7ad6b7169203331-01", "a-b-c-d"])
def test_what_is_no_trace_has_no_id(header: str | None) -> None:
    """The header comes from outside."""
    assert trace_id(header) is None


def test_libraries_are_heard_from_warnings_on_and_scrubbed(stream: io.StringIO) -> None:
    """Their sentence is a field; eopayment, which logs its options at DEBUG, stays above it."""
    for name in ("eopayment", "eopayment.systempayv2", "aiohttp.access", "dramatiq.worker.Worker", "asyncpg"):
        logging.getLogger(name).debug("options: %r", {"secret": "Dupont"})
        logging.getLogger(name).info("GET /v1/callbacks/enfance?email=Dupont")
    logging.getLogger("aiohttp.server").warning("bad request from %s", "jeanne.dupont@example.org")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("library_said", "aiohttp.server", "warning")
    assert line["message"] == f"bad request from {REDACTED}"


def test_warnings_of_python_are_logged_too(stream: io.StringIO) -> None:
    """Nothing goes to stderr that is not JSON."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    (line,) = lines(stream)
    assert line["logger"] == "py.warnings"


@pytest.mark.usefixtures("stream")
def test_a_terminal_gets_text_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same fields, no JSON."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    logs.configure(terminal)
    structlog.get_logger().info("invoice_reactivated", token="s3cr3t")
    assert "invoice_reactivated" in terminal.getvalue()
    assert "s3cr3t" not in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


def test_an_outage_is_told_once_and_its_end_once(stream: io.StringIO) -> None:
    """A thousand failed tries are one line."""
    outage = Outage("redis_lost", "redis_back")
    outage.works()
    for _ in range(1000):
        outage.fails(ConnectionRefusedError("no"))
    outage.works()
    outage.works()
    assert [line["event"] for line in lines(stream)] == ["redis_lost", "redis_back"]


def test_threads_that_find_the_same_outage_tell_it_once(stream: io.StringIO) -> None:
    """All consumers of a lost server notice within a millisecond; one line is logged."""
    outage = Outage("redis_lost", "redis_back")
    together = threading.Barrier(8)

    class _SlowError(Exception):
        def __str__(self) -> str:
            time.sleep(0.01)  # whoever tests and sets in two steps lets the others in here
            return "no"

    def notice() -> None:
        together.wait()
        outage.fails(_SlowError())

    noticing = [threading.Thread(target=notice) for _ in range(8)]
    for thread in noticing:
        thread.start()
    for thread in noticing:
        thread.join()
    assert [line["event"] for line in lines(stream)] == ["redis_lost"]
