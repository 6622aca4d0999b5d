"""Every metric of Lettrage: its name, labels and meaning. Source: the contract's "Metrics".

Labels are bounded: types, outcomes, states, kinds, régies, gateways, queues; never an invoice, account or
payment. With PROMETHEUS_MULTIPROC_DIR set before the first import (`lettrage up` does), processes share a
folder and one scrape shows them all; without it, each process shows its own.
"""

import os
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Final, NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from schemas.decisions import Applied, Done, Outcome
from schemas.events import ASKS, Event, EventType, Queue
from worker.domain.reasons import Reason

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""The text format that every Prometheus reads."""

SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter that no dashboard of ours reads


class BatchHistogram(Histogram):
    """A histogram that takes a batch at once: one event costs a bisection, not two locks."""

    def observe_all(self, values: Sequence[float]) -> None:
        """Count every value, in the histogram's unit."""
        buckets = Tally(bisect_left(self._upper_bounds, value) for value in values)
        for index, count in buckets.items():
            self._buckets[index].inc(count)
        self._sum.inc(sum(values))


EVENTS: Final = Counter("lettrage_events", "Events reconciled, by CloudEvents type and outcome.", ["type", "outcome"])
EVENT_SECONDS: Final = BatchHistogram(
    "lettrage_event_seconds",
    "From the event's receipt to its being applied.",
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600),
)
REACTIVATIONS: Final = Counter(
    "lettrage_reactivations", "Invoices that became payable again because their hold ended.", ["regie"]
)
REACTIVATION_LATENESS: Final = BatchHistogram(
    "lettrage_reactivation_lateness_seconds",
    "From a hold's end to its being written, on the database's clock.",
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
GATEWAY_REQUESTS: Final = Counter(
    "lettrage_gateway_requests", "Callbacks interpreted and questions asked.", ["gateway", "outcome"]
)
GATEWAY_REQUEST_SECONDS: Final = Histogram(
    "lettrage_gateway_request_seconds",
    "How long interpreting or asking took.",
    ["gateway"],
    buckets=(0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
NOTIFICATIONS: Final = Counter(
    "lettrage_notifications", "Attempts to tell a portal, by how they ended.", ["regie", "outcome"]
)
NOTIFICATION_SECONDS: Final = Histogram(
    "lettrage_notification_seconds",
    "How long attempts to tell a portal took.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 20),
)
CALLBACKS: Final = Counter("lettrage_callbacks", "Callbacks of gateways that got their outcome.", ["regie"])
UNVERIFIED_CALLBACKS: Final = Counter(
    "lettrage_unverified_callbacks", "Callbacks that proved nothing: forged, broken, or a wrong secret here.", ["regie"]
)
FOUND_BY_ASKING: Final = Counter(
    "lettrage_found_by_asking", "Payments that a question found paid while no callback about them waited.", ["regie"]
)
UNAUTHORISED_ASKS: Final = Counter(
    "lettrage_unauthorised_asks", "Questions that a gateway refused because it does not know the régie.", ["regie"]
)
UNAVAILABLE_ANSWERS: Final = Counter(
    "lettrage_unavailable_answers",
    "Requests answered 503, because the database did not answer or too many waited for it.",
)
CLIENT_CLOCK_SKEW_SECONDS: Final = Gauge(
    "lettrage_client_clock_skew_seconds",
    "From the time that a client gave its latest payment-started to its receipt; negative: its clock is ahead.",
    ["client"],
    multiprocess_mode="mostrecent",
)
ERASED: Final = Counter("lettrage_erased", "Rows blanked or removed because their time was over.", ["what"])
KINDS_ERASED: Final = ("raw", "personal", "notifications", "references", "replays")
"""What may be; see `worker.store.retention`."""
BELLS: Final = Counter(
    "lettrage_bells", "Bells: rung, coalesced into one that rings already, or missed.", ["queue", "outcome"]
)
REDIS_UP: Final = Gauge(
    "lettrage_redis_up", "Whether Redis answered last time (1) or not (0).", multiprocess_mode="mostrecent"
)
BUILD_INFO: Final = Gauge(
    "lettrage_build_info", "Always 1; which build runs.", ["version", "python"], multiprocess_mode="max"
)
STATE_READ_ERRORS: Final = Counter(
    "lettrage_state_read_errors",
    "Scrapes whose state gauges are absent because the database did not answer.",
)


MONEY_CAME: Final = frozenset({Reason.MONEY_RECEIVED, Reason.MONEY_RECEIVED_LATE, Reason.MONEY_RECEIVED_PROVISIONALLY})
"""What an answer brings that is about money nobody knew of."""


class StateGauge(NamedTuple):
    """A gauge whose values are read from the database when somebody scrapes."""

    help: str
    labels: tuple[str, ...]


STATE_GAUGES: Final = {
    "pending_events": StateGauge("Events received and not applied yet, the parked ones apart.", ("type",)),
    "oldest_pending_event_seconds": StateGauge(
        "Time since the oldest pending event was received; 0 without any.", ("type",)
    ),
    "parked_events": StateGauge("Events that failed too often and wait for a person.", ()),
    "invoices": StateGauge("Invoices in each state.", ("regie", "state")),
    "invoices_euros": StateGauge("What the invoices in each state amount to.", ("regie", "state")),
    "paid_euros": StateGauge("What payments received from gateways, reversals taken off.", ("regie",)),
    "refunded_euros": StateGauge("What was given back of payments, credit notes included.", ("regie",)),
    "to_give_back_euros": StateGauge("What open discrepancies say is to be given back to families.", ("regie",)),
    "late_payments": StateGauge("Payments whose money came after their hold's end.", ("regie",)),
    "overdue_holds": StateGauge("Holds that are over and not written so.", ("regie",)),
    "oldest_overdue_hold_seconds": StateGauge("Since when the first of them is over; 0 without any.", ("regie",)),
    "oldest_hold_seconds": StateGauge("Age of the oldest hold; 0 without any.", ("regie",)),
    "undelivered_notifications": StateGauge(
        "Notifications not delivered: waiting for their first attempt, failing, or given up.", ("regie", "state")
    ),
    "oldest_undelivered_notification_seconds": StateGauge(
        "Age of the oldest notification that waits to be told, the given up ones apart; 0 without any.", ("regie",)
    ),
    "disabled_portals": StateGauge("1 where a régie's portal answered 410 and is told nothing, else 0.", ("regie",)),
    "discrepancies": StateGauge("Open discrepancies.", ("regie", "kind")),
    "discrepancies_euros": StateGauge("What the open discrepancies amount to.", ("regie", "kind")),
    "oldest_discrepancy_seconds": StateGauge(
        "How long the oldest open discrepancy has been open; 0 without any.", ("regie",)
    ),
    "process_connections": StateGauge("Database connections of each kind of process; 0: none runs.", ("role",)),
    "lost_events": StateGauge(
        "Of the latest 100000 events, those that neither wait nor have an outcome; always 0.", ()
    ),
    "oldest_unsealed_event_seconds": StateGauge(
        "Time since the oldest event was applied that no seal has yet; 0 without any.", ()
    ),
    "state_age_seconds": StateGauge("How old the values are that each reading of the database gave.", ("reading",)),
}


class Sample(NamedTuple):
    """One value of a state gauge; `labels` in the order of STATE_GAUGES."""

    gauge: str
    labels: tuple[str, ...]
    value: float


def exposition(state: Iterable[Sample] = ()) -> bytes:
    """What a scrape answers, in Prometheus's text format. Reads files: call it off the event loop."""
    return generate_latest(_processes()) + generate_latest(_states(state))


def reconciled(done: Done) -> None:
    """Count what one transaction did: outcomes, how long each event took from receipt, holds ended and how late."""
    if done.decided_at is None:
        return
    for (kind, outcome), count in Tally((event.type, applied.outcome) for event, applied in done.applied).items():
        EVENTS.labels(kind, outcome).inc(count)
    EVENT_SECONDS.observe_all([(done.decided_at - event.received_at).total_seconds() for event, _ in done.applied])
    _add(REACTIVATIONS, (regie for regie, _ in done.lateness))
    REACTIVATION_LATENESS.observe_all([seconds for _, seconds in done.lateness])
    _tell_evidence(done.applied)


def know_regies(regies: Iterable[str]) -> None:
    """Show the series of these régies from the start: a rate needs the zero before the first event."""
    for regie in regies:
        for counter in (REACTIVATIONS, CALLBACKS, UNVERIFIED_CALLBACKS, FOUND_BY_ASKING, UNAUTHORISED_ASKS):
            counter.labels(regie)


def _tell_evidence(applied: Sequence[tuple[Event, Applied]]) -> None:
    """Count what gateways said by themselves, and what they said only when asked."""
    callbacks = [(event.regie, said.reason) for event, said in applied if event.type is EventType.GATEWAY_CALLBACK]
    _add(CALLBACKS, (regie for regie, _ in callbacks))
    _add(UNVERIFIED_CALLBACKS, (regie for regie, reason in callbacks if reason == Reason.UNVERIFIED_CALLBACK))
    answers = [(event, said.reason) for event, said in applied if event.type is EventType.GATEWAY_REPORT]
    _add(FOUND_BY_ASKING, (event.regie for event, reason in answers if event.source == ASKS and reason in MONEY_CAME))


def _add(counter: Counter, regies: Iterable[str]) -> None:
    for regie, count in Tally(regies).items():
        counter.labels(regie).inc(count)


def _processes() -> CollectorRegistry:
    if SHARED_FOLDER not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def _states(samples: Iterable[Sample]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_StateCollector(samples))
    return registry


class _StateCollector(Collector):
    """Values that were read already; a gauge without any is absent."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = list(samples)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        families: dict[str, GaugeMetricFamily] = {}
        for sample in self._samples:
            gauge = STATE_GAUGES[sample.gauge]
            family = families.setdefault(
                sample.gauge,
                GaugeMetricFamily(f"lettrage_{sample.gauge}", gauge.help, labels=gauge.labels),
            )
            family.add_metric(sample.labels, sample.value)
        return families.values()


def _build() -> str:
    try:
        return version("lettrage")
    except PackageNotFoundError:
        return "unknown"


def _start_at_zero() -> None:
    """Show every bounded series from the start: a rate needs the zero before the first event."""
    for kind in EventType:
        for outcome in Outcome:
            EVENTS.labels(kind, outcome)
    for queue in Queue:
        for heard in ("rung", "coalesced", "missed"):
            BELLS.labels(queue, heard)
    for what in KINDS_ERASED:
        ERASED.labels(what)
    BUILD_INFO.labels(_build(), python_version()).set(1)


_start_at_zero()
