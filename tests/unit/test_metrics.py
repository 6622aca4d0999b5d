"""Metrics: the contract's names and labels, a format that Prometheus accepts, values that add up."""

import asyncio
import itertools
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.parser import text_string_to_metric_families

from monitoring import metrics
from monitoring.metrics import EVENT_SECONDS, STATE_GAUGES, Sample, exposition, reconciled
from monitoring.state import StateGauges
from schemas.decisions import Applied, Done, Outcome
from schemas.events import ASKS, Event, EventType
from worker.domain.reasons import Reason

CONTRACT = {
    "lettrage_events": {"type", "outcome"},
    "lettrage_event_seconds": set(),
    "lettrage_pending_events": {"type"},
    "lettrage_oldest_pending_event_seconds": {"type"},
    "lettrage_parked_events": set(),
    "lettrage_invoices": {"regie", "state"},
    "lettrage_invoices_euros": {"regie", "state"},
    "lettrage_reactivations": {"regie"},
    "lettrage_reactivation_lateness_seconds": set(),
    "lettrage_overdue_holds": {"regie"},
    "lettrage_oldest_hold_seconds": {"regie"},
    "lettrage_discrepancies": {"regie", "kind"},
    "lettrage_discrepancies_euros": {"regie", "kind"},
    "lettrage_gateway_requests": {"gateway", "outcome"},
    "lettrage_gateway_request_seconds": {"gateway"},
    "lettrage_redis_up": set(),
}
"""Names without the `_total` that counters get, and labels; `build_info` may have any."""

EVERY_STATE_GAUGE = [Sample(name, tuple("x" for _ in gauge.labels), 1.0) for name, gauge in STATE_GAUGES.items()]


@pytest.fixture
def shown() -> bytes:
    """A scrape with every metric in it."""
    metrics.REACTIVATIONS.labels("enfance").inc()
    metrics.know_regies(["enfance"])
    metrics.GATEWAY_REQUESTS.labels("dummy", "signed").inc()
    metrics.GATEWAY_REQUEST_SECONDS.labels("dummy").observe(0.1)
    return exposition(EVERY_STATE_GAUGE)


def test_every_metric_of_the_contract_is_shown_with_its_labels(shown: bytes) -> None:
    """Dashboards are written against these names and labels."""
    found = {family.name: family for family in text_string_to_metric_families(shown.decode())}
    for name, labels in CONTRACT.items():
        for sample in found[name].samples:
            assert set(sample.labels) - {"le"} == labels, name
    assert found["lettrage_build_info"].samples[0].value == 1


def test_no_label_can_name_a_family(shown: bytes) -> None:
    """Neither invoice, account nor payment is a label of anything."""
    labels = {
        label
        for family in text_string_to_metric_families(shown.decode())
        if family.name.startswith("lettrage_")
        for sample in family.samples
        for label in sample.labels
    }
    assert labels <= {
        "type",
        "outcome",
        "regie",
        "state",
        "kind",
        "what",
        "role",
        "reading",
        "gateway",
        "queue",
        "client",
        "le",
        "version",
        "python",
    }


def test_promtool_has_nothing_to_say(shown: bytes, promtool: str) -> None:
    """Prometheus's own linter accepts names, units and help texts."""
    checked = subprocess.run([promtool, "check", "metrics"], input=shown, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_outcomes_are_counted_by_type_and_timed_from_receipt() -> None:
    """Two events of one batch: each counts once, under its own outcome, with its own time."""
    now = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    early, late = _event(1, now - timedelta(seconds=0.2)), _event(2, now - timedelta(seconds=4))
    applied = Applied(place=1, outcome=Outcome.APPLIED, reason="started")
    refused = Applied(place=2, outcome=Outcome.REFUSED, reason="started_after_deadline")
    before = _events("applied"), _events("refused"), _seconds("event", "count"), _seconds("event", "sum")
    reconciled(Done(decided_at=now, applied=[(early, applied), (late, refused)]))
    after = _events("applied"), _events("refused"), _seconds("event", "count"), _seconds("event", "sum")
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 2, pytest.approx(4.2)]


def test_reactivations_are_counted_with_how_late_they_were() -> None:
    """One per invoice that a deadline made payable again, under its régie."""
    labels = {"regie": "cantine"}
    before = _seconds("reactivation_lateness", "sum")
    lateness = [("cantine", 0.01), ("cantine", 0.03)]
    reconciled(Done(decided_at=datetime.now(UTC), lateness=lateness))
    assert REGISTRY.get_sample_value("lettrage_reactivations_total", labels) == 2
    assert _seconds("reactivation_lateness", "sum") - before == pytest.approx(0.04)


def test_a_transaction_that_did_nothing_counts_nothing() -> None:
    """What another worker did is counted there."""
    before = _events("applied"), _seconds("event", "count")
    reconciled(Done())
    assert (_events("applied"), _seconds("event", "count")) == before


def test_a_batch_of_times_counts_like_each_alone() -> None:
    """The histogram's shortcut says the same as the library, on bounds too."""
    values = [0.0, 0.005, 0.0051, 0.3, 60, 3600, 3601]
    registry = CollectorRegistry()
    at_once = metrics.BatchHistogram("a", "At once.", registry=registry, buckets=EVENT_SECONDS._upper_bounds)
    one_by_one = Histogram("b", "One by one.", registry=registry, buckets=EVENT_SECONDS._upper_bounds)
    at_once.observe_all(values)
    for value in values:
        one_by_one.observe(value)
    ours, theirs = ([(s.labels, s.value) for s in next(iter(h.collect())).samples] for h in (at_once, one_by_one))
    assert ours == theirs


def test_processes_that_share_a_folder_are_shown_by_one_scrape(tmp_path: Path) -> None:
    """Two processes count, one scrapes: sums of both, the state gauges too, and a gauge of the latest."""
    environ = {**os.environ, metrics.SHARED_FOLDER: str(tmp_path)}
    count = (
        "from monitoring import metrics as m; m.REACTIVATIONS.labels('enfance').inc(2); m.REDIS_UP.set({});"
        " m.EVENT_SECONDS.observe_all([0.004, 0.004, 9])"
    )
    for up in (0, 1):
        subprocess.run([sys.executable, "-c", count.format(up)], env=environ, check=True)
    scrape = "import sys; from monitoring import metrics as m; sys.stdout.buffer.write(m.exposition([{}]))"
    sample = "m.Sample('parked_events', (), 3)"
    text = subprocess.run(
        [sys.executable, "-c", scrape.format(sample)], env=environ, check=True, capture_output=True
    ).stdout.decode()
    assert 'lettrage_reactivations_total{regie="enfance"} 4.0\n' in text
    assert "lettrage_redis_up 1.0\n" in text
    assert 'lettrage_event_seconds_bucket{le="0.005"} 4.0\n' in text
    assert "lettrage_event_seconds_count 6.0\n" in text
    assert "lettrage_event_seconds_sum 18.016\n" in text
    assert "lettrage_parked_events 3.0\n" in text
    assert text.count("# TYPE lettrage_parked_events") == 1


async def test_who_scrapes_at_once_shares_one_reading() -> None:
    """A hundred scrapes in a moment read the database once."""
    readings = 0

    async def read() -> list[Sample]:
        nonlocal readings
        readings += 1
        await asyncio.sleep(0)
        return [Sample("parked_events", (), 1)]

    gauges = StateGauges({"parked": read})
    answers = await asyncio.gather(*(gauges.samples() for _ in range(100)))
    assert {answer[0] for answer in answers} == {Sample("parked_events", (), 1)}
    assert readings == 1


async def test_without_the_database_its_gauges_are_absent_and_the_others_stay() -> None:
    """A value that is not known is not shown; the failure is counted; other groups do not suffer."""

    async def fail() -> list[Sample]:
        raise OSError

    async def read() -> list[Sample]:
        return [Sample("parked_events", (), 1)]

    before = REGISTRY.get_sample_value("lettrage_state_read_errors_total") or 0.0
    shown = await StateGauges({"a": fail, "b": read}).samples()
    assert [(sample.gauge, sample.labels) for sample in shown] == [("parked_events", ()), ("state_age_seconds", ("b",))]
    assert REGISTRY.get_sample_value("lettrage_state_read_errors_total") == before + 1


async def test_a_reading_that_hangs_does_not_hang_the_scrape(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scrape is answered without it, and the next one does not start a second reading."""
    monkeypatch.setattr("monitoring.state.FIRST_ANSWER_SECONDS", 0.01)
    readings = 0
    end = asyncio.Event()

    async def hang() -> list[Sample]:
        nonlocal readings
        readings += 1
        await end.wait()
        return [Sample("parked_events", (), 1)]

    gauges = StateGauges({"parked": hang})
    assert await gauges.samples() == []
    assert await gauges.samples() == []
    end.set()
    while not await gauges.samples():
        pass
    assert readings == 1


async def test_no_scrape_waits_for_counting_and_the_age_of_what_is_shown_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a reading takes its time, a scrape shows the one before, older at each look; then the new one."""
    monkeypatch.setattr("monitoring.state.FRESH_SECONDS", 0)
    monkeypatch.setattr("monitoring.state.READING_SHARE", 0)
    values = itertools.count(1)
    counting = asyncio.Event()
    counting.set()

    async def count() -> list[Sample]:
        await counting.wait()
        return [Sample("invoices", ("enfance", "paid"), next(values))]

    gauges = StateGauges({"invoices": count})
    assert [sample.value for sample in await gauges.samples()] == [1, pytest.approx(0, abs=0.5)]
    counting.clear()
    (first, age), (second, later) = await gauges.samples(), await gauges.samples()
    assert (first.value, second.value) == (1, 1)
    assert (age.gauge, age.labels) == ("state_age_seconds", ("invoices",))
    assert later.value > age.value > 0
    counting.set()
    assert (await gauges.samples())[0].value > 1


def test_callbacks_are_counted_by_regie_and_those_that_prove_nothing_apart() -> None:
    """Of three callbacks one is forged; a payment-started beside them is no callback."""
    counters = (metrics.CALLBACKS, metrics.UNVERIFIED_CALLBACKS)
    before = [_of_regie(counter, "cantine") for counter in counters]
    said = [Reason.MONEY_RECEIVED, Reason.UNVERIFIED_CALLBACK, Reason.RESULT_ALREADY_KNOWN]
    callbacks = [_decided(EventType.GATEWAY_CALLBACK, "/callbacks/cantine", reason) for reason in said]
    started = _decided(EventType.PAYMENT_STARTED, "/portail", Reason.HOLD_TAKEN)
    reconciled(Done(decided_at=datetime.now(UTC), applied=[*callbacks, started]))
    assert [_of_regie(counter, "cantine") - b for counter, b in zip(counters, before, strict=True)] == [3, 1]


def test_money_that_only_a_question_found_is_counted() -> None:
    """Not the answer that a callback made us ask for, nor one that brought nothing new."""
    before = _of_regie(metrics.FOUND_BY_ASKING, "cantine")
    told = [
        _decided(EventType.GATEWAY_REPORT, ASKS, Reason.MONEY_RECEIVED_LATE),
        _decided(EventType.GATEWAY_REPORT, ASKS, Reason.RESULT_ALREADY_KNOWN),
        _decided(EventType.GATEWAY_REPORT, "/callbacks/cantine", Reason.MONEY_RECEIVED),
    ]
    reconciled(Done(decided_at=datetime.now(UTC), applied=told))
    assert _of_regie(metrics.FOUND_BY_ASKING, "cantine") - before == 1


def test_a_configured_regie_shows_its_zeros() -> None:
    """Prometheus sees no increase in a series that begins at one."""
    metrics.know_regies(["voirie"])
    for name in ("reactivations", "callbacks", "unverified_callbacks", "found_by_asking", "unauthorised_asks"):
        assert REGISTRY.get_sample_value(f"lettrage_{name}_total", {"regie": "voirie"}) == 0, name


@pytest.mark.parametrize(("histogram", "seconds"), [(EVENT_SECONDS, 5.0), (metrics.REACTIVATION_LATENESS, 1.0)])
def test_a_histogram_has_a_bucket_where_its_promise_is(histogram: Histogram, seconds: float) -> None:
    """What docs/slo.md promises is counted, not interpolated."""
    assert seconds in histogram._upper_bounds


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus's checker, installed by `make test` where the machine lets it."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool here (Debian: apt-get install prometheus)")
    return found


def _event(place: int, received_at: datetime) -> Event:
    return Event(
        place=place,
        client="portail",
        source="/portail",
        id=str(place),
        type=EventType.PAYMENT_STARTED,
        regie="enfance",
        received_at=received_at,
        data=None,
    )


def _decided(kind: EventType, source: str, reason: Reason) -> tuple[Event, Applied]:
    event = Event(
        place=1,
        client="",
        source=source,
        id="1",
        type=kind,
        regie="cantine",
        received_at=datetime.now(UTC),
        data=None,
    )
    return event, Applied(place=1, outcome=Outcome.APPLIED, reason=reason)


def _of_regie(counter: Counter, regie: str) -> float:
    return REGISTRY.get_sample_value(f"{counter._name}_total", {"regie": regie}) or 0.0


def _events(outcome: str) -> float:
    labels = {"type": EventType.PAYMENT_STARTED.value, "outcome": outcome}
    return REGISTRY.get_sample_value("lettrage_events_total", labels) or 0.0


def _seconds(name: str, part: str) -> float:
    return REGISTRY.get_sample_value(f"lettrage_{name}_seconds_{part}") or 0.0
