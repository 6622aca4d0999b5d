"""State gauges on a real PostgreSQL: what a scrape says is what the tables say; without it, they are absent."""

import asyncio
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from monitoring.metrics import STATE_GAUGES, Sample
from monitoring.state import StateGauges
from schemas.events import EventType, InvoiceIssued, InvoiceSettled, NewEvent, Queue
from schemas.records import Policy
from tests.integration.processes import free_port, started
from worker.reconcile import Reconciler
from worker.store.gauges import COUNTED, Gauges
from worker.store.postgres import PostgresStore
from worker.store.seals import Sealer

REGIES = {
    "enfance": Policy(label="Enfance", gateway="dummy", mode="test"),
    "sport": Policy(label="Sport", gateway="dummy"),
}


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    """A store with two régies, the second without anything."""
    opened = await PostgresStore.open(database_url)
    await opened.sync_policies(REGIES)
    yield opened
    await opened.close()


@pytest.fixture
async def gauges(database_url: str) -> AsyncIterator[Gauges]:
    """What a scrape reads with."""
    opened = await Gauges.open(database_url)
    yield opened
    await opened.close()


async def read(gauges: Gauges) -> dict[tuple[str, ...], float]:
    """Every value by its name and labels."""
    samples: list[Sample] = []
    for reading in gauges.readings().values():
        samples += await reading()
    values = {(sample.gauge, *sample.labels): sample.value for sample in samples}
    assert len(values) == len(samples), "one value per series"
    return values


def fact(number: int, kind: EventType, data: Any) -> NewEvent:  # noqa: ANN401 (one of the events' shapes)
    """An event about an invoice."""
    return NewEvent(
        client="facturation",
        source="/facturation",
        id=str(number),
        type=kind,
        regie="enfance",
        data=data,
        digest=sha256(msgspec.json.encode(data)).digest(),
    )


async def reconcile(store: PostgresStore, *events: NewEvent) -> None:
    """Record and apply."""
    await store.record(events)
    await Reconciler(store, interpret=_never, observe=lambda _done: None).drain(Queue.INVOICE_CHANGED)


async def _never(_event: object) -> Any:  # noqa: ANN401 (it answers nothing)
    raise AssertionError("no callback here")


async def test_invoices_and_their_euros_are_counted_by_regie_and_state(store: PostgresStore, gauges: Gauges) -> None:
    """One in payment, one paid, one payable; a régie without any shows its zeros."""
    await reconcile(
        store,
        *(
            fact(
                n,
                EventType.INVOICE_ISSUED,
                InvoiceIssued(regie="enfance", number=f"F-{n}", account="A", amount_cents=1050),
            )
            for n in range(3)
        ),
        fact(
            9, EventType.INVOICE_SETTLED, InvoiceSettled(regie="enfance", number="F-1", amount_cents=1050, means="cash")
        ),
        started("P-0", "F-0", 1050),
    )
    values = await read(gauges)
    counts = [values["invoices", "enfance", state] for state in ("payable", "in_payment", "paid", "withdrawn")]
    assert counts == [1, 1, 1, 0]
    assert values["invoices_euros", "enfance", "paid"] == 10.5
    assert values["invoices", "sport", "payable"] == 0
    assert values["invoices_euros", "sport", "payable"] == 0


async def test_a_double_payment_is_counted_in_number_and_euros(store: PostgresStore, gauges: Gauges) -> None:
    """Settled twice: what is to give back shows under its kind."""
    issued = InvoiceIssued(regie="enfance", number="F-1", account="A", amount_cents=900)
    settled = InvoiceSettled(regie="enfance", number="F-1", amount_cents=900, means="cash")
    await reconcile(
        store,
        fact(1, EventType.INVOICE_ISSUED, issued),
        fact(2, EventType.INVOICE_SETTLED, settled),
        fact(3, EventType.INVOICE_SETTLED, msgspec.structs.replace(settled, means="cheque")),
    )
    values = await read(gauges)
    counted = {key: value for key, value in values.items() if key[0] == "discrepancies" and value}
    (key,) = counted
    assert counted[key] == 1
    assert values["discrepancies_euros", *key[1:]] == 9.0
    assert values["discrepancies", "sport", "missing"] == 0


async def test_pending_and_parked_events_are_told_apart(store: PostgresStore, gauges: Gauges) -> None:
    """Pending by type with the oldest one's age; a parked event waits for a person, not for a worker."""
    await store.record([started("P-1"), started("P-2"), started("P-3")])
    await store.pool.execute("UPDATE pending SET parked = true WHERE place = (SELECT max(place) FROM pending)")
    await store.pool.execute("UPDATE events SET received_at = now() - interval '60 s' WHERE id = 'P-1'")
    values = await read(gauges)
    kind = EventType.PAYMENT_STARTED.value
    assert values["pending_events", kind] == 2
    assert 60 <= values["oldest_pending_event_seconds", kind] < 120
    assert values["parked_events",] == 1
    assert values["pending_events", EventType.INVOICE_ISSUED.value] == 0
    assert values["oldest_pending_event_seconds", EventType.INVOICE_ISSUED.value] == 0


async def test_overdue_holds_and_the_oldest_holds_age(store: PostgresStore, gauges: Gauges) -> None:
    """A hold past its end that nobody wrote is overdue, until the sweep; a running one only has an age."""
    await reconcile(store, started("P-1"), started("P-2"))
    await store.pool.execute(
        "UPDATE holds SET payable_again_at = now() - interval '1 s' WHERE payment_id = (SELECT min(id) FROM payments)"
    )
    await store.pool.execute("UPDATE payments SET start_time = now() - interval '100 s' WHERE reference = 'P-2'")
    values = await read(gauges)
    assert values["overdue_holds", "enfance"] == 1
    assert 100 <= values["oldest_hold_seconds", "enfance"] < 160
    assert 1 <= values["oldest_overdue_hold_seconds", "enfance"] < 60
    for name in ("overdue_holds", "oldest_overdue_hold_seconds", "oldest_hold_seconds"):
        assert values[name, "sport"] == 0


async def test_what_was_paid_refunded_and_is_to_give_back_in_euros(store: PostgresStore, gauges: Gauges) -> None:
    """Each equals what the tables say in cents, counted from scratch; a régie without payments shows its zeros."""
    await reconcile(store, started("P-1"), started("P-2"))
    await store.pool.execute(
        "UPDATE payments SET state = 'paid', received_cents = 1150, refunded_cents = 250, hold_over = true,"
        " settled_at = now(), late = reference = 'P-2'"
    )
    await open_discrepancies(store, double_payment=300, overpaid=50, missing=7000, gateway_silent=900)
    values = await read(gauges)
    shown = [values[name, "enfance"] for name in ("paid_euros", "refunded_euros", "late_payments")]
    assert shown == [23.0, 5.0, 1.0]
    assert values["to_give_back_euros", "enfance"] == 3.5, "what is missing or unsaid is not to give back"
    for name in ("paid_euros", "refunded_euros", "late_payments", "to_give_back_euros"):
        assert values[name, "sport"] == 0


async def test_the_age_of_the_oldest_discrepancy_counts_the_open_ones_alone(
    store: PostgresStore, gauges: Gauges
) -> None:
    """One that is closed is nobody's work any more, however old."""
    await open_discrepancies(store, missing=100, overpaid=100)
    await store.pool.execute(
        "UPDATE discrepancies SET opened_at = now() - interval '1 h' WHERE kind = 'missing';"
        "UPDATE discrepancies SET opened_at = now() - interval '9 h', state = 'closed' WHERE kind = 'overpaid'"
    )
    values = await read(gauges)
    assert 3600 <= values["oldest_discrepancy_seconds", "enfance"] < 3700
    assert values["oldest_discrepancy_seconds", "sport"] == 0


async def test_processes_are_seen_by_their_connections(store: PostgresStore, gauges: Gauges, database_url: str) -> None:
    """A clock that is connected, a worker that is not: no process has to be scraped to be missed."""
    assert (await read(gauges))["process_connections", "clock"] == 0
    clock = await PostgresStore.open(database_url, application_name="lettrage clock")
    values = await read(gauges)
    assert values["process_connections", "clock"] == 1
    assert values["process_connections", "worker"] == 0
    await clock.close()


async def test_an_event_that_neither_waits_nor_has_an_outcome_is_lost_and_told(
    store: PostgresStore, gauges: Gauges
) -> None:
    """What waits, is parked or is done is not lost; what left the pending ones without an outcome is."""
    await reconcile(store, started("P-1"))
    await store.record([started("P-2"), started("P-3")])
    await store.pool.execute("UPDATE pending SET parked = true WHERE place = (SELECT max(place) FROM pending)")
    assert (await read(gauges))["lost_events",] == 0
    await store.pool.execute("DELETE FROM pending WHERE NOT parked")
    assert (await read(gauges))["lost_events",] == 1


async def test_what_was_applied_and_is_not_sealed_shows_its_age(store: PostgresStore, gauges: Gauges) -> None:
    """The oldest counts, from its application on; what waits is not to be sealed yet, what is sealed is no more."""
    await store.record([started("P-1")])
    assert (await read(gauges))["oldest_unsealed_event_seconds",] == 0
    await reconcile(store, started("P-2"))
    await reconcile(store, started("P-3"))
    await store.pool.execute(
        "UPDATE outcomes SET decided_at = now() - interval '10 min' WHERE place = (SELECT min(place) FROM outcomes)"
    )
    assert 600 <= (await read(gauges))["oldest_unsealed_event_seconds",] < 700
    sealer = Sealer(store.pool)
    async with asyncio.timeout(15):
        while (await read(gauges))["oldest_unsealed_event_seconds",]:
            await sealer.seal()
    assert await store.pool.fetchval("SELECT sum(cardinality(places)) FROM seals") == 3


async def open_discrepancies(store: PostgresStore, **cents: int) -> None:
    """One of each kind."""
    await store.pool.executemany(
        "INSERT INTO discrepancies (id, regie, kind, amount_cents, state, opened_at, changed_at)"
        " VALUES ($1, 'enfance', $1, $2, 'open', now(), now())",
        list(cents.items()),
    )


async def test_undelivered_notifications_are_counted_by_what_became_of_them(
    store: PostgresStore, gauges: Gauges
) -> None:
    """One waits, two fail, one is given up; a portal that answered 410 shows; a régie without any shows zeros.

    One is being told for the first time: it has not failed.
    """
    await store.pool.execute(
        "INSERT INTO deliveries (outbox_id, regie, subject, due_at, attempts, given_up)"
        " SELECT n, 'enfance', 'invoice F-' || n, now(), n - 1, n = 4 FROM generate_series(1, 4) AS n;"
        "INSERT INTO deliveries (outbox_id, regie, subject, due_at, attempts, leased_until)"
        " VALUES (5, 'enfance', 'invoice F-5', now(), 1, now() + interval '20 s')"
    )
    await store.pool.execute("INSERT INTO portals (regie, disabled_for) VALUES ('enfance', 'x')")
    values = await read(gauges)
    states = ("waiting", "failing", "given_up")
    assert [values["undelivered_notifications", "enfance", state] for state in states] == [2, 2, 1]
    assert [values["undelivered_notifications", "sport", state] for state in states] == [0, 0, 0]
    assert (values["disabled_portals", "enfance"], values["disabled_portals", "sport"]) == (1, 0)


async def test_the_oldest_notification_that_waits_is_seen_though_its_regie_left(
    store: PostgresStore, gauges: Gauges
) -> None:
    """Nobody claims it any more; one that was given up, or delivered, waits no longer."""
    await store.pool.execute(
        "INSERT INTO outbox (regie, type, at, data)"
        " SELECT 'enfance', 'invoice.paid', now() - n * interval '1 hour', '{}' FROM generate_series(9, 1, -1) AS n;"
        "INSERT INTO deliveries (outbox_id, regie, subject, due_at, given_up)"
        " SELECT id, regie, 'invoice ' || id, at, id = 2 FROM outbox WHERE id BETWEEN 2 AND 5"
    )
    values = await read(gauges)
    assert 7 * 3600 <= values["oldest_undelivered_notification_seconds", "enfance"] < 7 * 3600 + 60
    assert values["oldest_undelivered_notification_seconds", "sport"] == 0


async def test_every_state_gauge_has_values_and_no_other_is_read(store: PostgresStore, gauges: Gauges) -> None:
    """A gauge that is described and never read would be a gap on every dashboard."""
    await store.record([started("P-1")])
    ages = {"state_age_seconds"}
    assert {key[0] for key in await read(gauges)} | ages == set(STATE_GAUGES)


async def test_counting_leaves_a_connection_to_what_is_quick(
    store: PostgresStore, gauges: Gauges, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While whole tables are counted, and wait for a lock here, pending events are read at once."""
    monkeypatch.setattr("worker.store.gauges.ACQUIRE_SECONDS", 0.5)
    readings = gauges.readings()
    async with store.pool.acquire() as connection:
        lock = connection.transaction()
        await lock.start()
        await connection.execute("LOCK TABLE invoices, payments IN ACCESS EXCLUSIVE MODE")
        counting = [asyncio.create_task(readings[name]()) for name in sorted(COUNTED)]
        await asyncio.sleep(0)
        assert await readings["pending"]()
        await lock.rollback()
    assert all(await asyncio.gather(*counting[:1]))
    await asyncio.gather(*counting)


async def test_with_the_database_gone_the_gauges_are_absent_and_the_answer_is_quick(database_url: str) -> None:
    """Nobody listens at the address: no value, no exception, no wait."""
    address, _, rest = database_url.rpartition("@")
    gauges = await Gauges.open(f"{address}@127.0.0.1:{free_port()}/{rest.partition('/')[2]}")
    began = time.monotonic()
    assert await StateGauges(gauges.readings()).samples() == []
    assert time.monotonic() - began < 5
    await gauges.close()
