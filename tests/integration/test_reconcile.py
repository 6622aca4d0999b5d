"""Reconciling on PostgreSQL through everything that can go wrong between a claim and its commit."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.decisions import Decision, Done, Dossier
from schemas.events import Event, EventType, Queue
from schemas.records import Policy
from schemas.reports import Report
from tests.integration.processes import until
from tests.integration.worlds import (
    HOLD,
    POLICY,
    REGIE,
    PostgresWorld,
    callback,
    issued,
    recorded,
    refunded,
    said,
    settled,
    started,
    states,
)
from worker import reconcile
from worker.domain.decide import decide
from worker.reconcile import BATCH, PATIENCE_SECONDS, Reconciler
from worker.store import postgres
from worker.store.grouping import Loaded
from worker.store.port import StoreUnavailableError
from worker.store.postgres import PostgresStore
from worker.store.rows import Row

ROOT = Path(__file__).parents[2]
LAST_TRY = 8


class AmbiguousStore(PostgresStore):
    """A store whose connection breaks after the commit, or just before it, as often as the test says."""

    after_commit = 0
    before_commit = 0
    claims_are_spared = True

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        spared = self.claims_are_spared and CLAIMING.get()
        async with super()._transaction() as connection:
            yield connection
            if self.before_commit and not spared:
                self.before_commit -= 1
                raise StoreUnavailableError("lost before the commit")
        if self.after_commit and not spared:
            self.after_commit -= 1
            raise StoreUnavailableError("lost after the commit")

    @asynccontextmanager
    async def _statement(self) -> AsyncIterator[Any]:
        spared = self.claims_are_spared and CLAIMING.get()
        if self.before_commit and not spared:
            self.before_commit -= 1
            raise StoreUnavailableError("lost before the statement")
        async with super()._statement() as connection:
            yield connection
        if self.after_commit and not spared:
            self.after_commit -= 1
            raise StoreUnavailableError("lost after the commit")

    async def claim(self, queue: Queue, limit: int) -> list[Event]:
        """Claim; only a test about claims breaks these."""
        token = CLAIMING.set(True)
        try:
            return await super().claim(queue, limit)
        finally:
            CLAIMING.reset(token)


CLAIMING: ContextVar[bool] = ContextVar("claiming", default=False)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[PostgresWorld]:
    """A store that breaks when told to."""
    store = await AmbiguousStore.open(database_url)
    await store.sync_policies({REGIE: POLICY})
    yield PostgresWorld(store)
    await store.close()


class Desk:
    """A reconciler, and what it did."""

    def __init__(self, world: PostgresWorld) -> None:
        self.done: list[Done] = []
        self.asked: list[str] = []
        self.reconciler = Reconciler(world.store, self.interpret, self.done.append)

    async def interpret(self, event: Event) -> Report:
        """Read the callback's query: it names result and reference, or what goes wrong."""
        query: str = event.data.query
        self.asked.append(query)
        if query == "unreadable":
            raise TimeoutError("the gateway does not answer")
        result, _, reference = query.partition(" ")
        return said(reference, result)

    @property
    def applied(self) -> list[str]:
        """Ids of events in the order applied."""
        return [event.id for done in self.done for event, _ in done.applied]


def store_of(world: PostgresWorld) -> AmbiguousStore:
    """The world's store, to be told when to break."""
    assert isinstance(world.postgres, AmbiguousStore)
    return world.postgres


# the way of an event


async def test_everything_claimable_is_applied(world: PostgresWorld) -> None:
    """More than a batch: claimed again and again until nothing is left."""
    places = await recorded(world, *(issued(f"F{n}") for n in range(BATCH + 5)))
    desk = Desk(world)
    assert await desk.reconciler.drain(Queue.INVOICE_CHANGED) == len(places)
    assert [len(done.applied) for done in desk.done] == [BATCH, 5]
    assert sorted(await world.outcomes()) == places


async def test_who_would_overtake_another_workers_fact_waits_and_nobody_else_does(
    world: PostgresWorld, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A family is not sent to pay what another worker is about to settle; what names the same stays behind it."""
    monkeypatch.setattr(reconcile, "GIVE_WAY_SECONDS", [0.01] * 3000)
    await recorded(world, settled("F", subject="F"))
    elsewhere = await PostgresStore.open(database_url)
    taken = await elsewhere.claim(Queue.INVOICE_CHANGED, 1)
    waiting = await recorded(world, started("P", "F", "G"), refunded("P"), started("Q", "G", "H"), issued("H"))
    others = await recorded(world, started("R", "I"), refunded("R"))
    desk = Desk(world)
    draining = asyncio.create_task(desk.reconciler.drain(Queue.PAYMENT_STARTED))
    await until(world.outcomes)
    assert sorted(await world.outcomes()) == others

    await elsewhere.apply(taken, decide)
    await elsewhere.close()
    assert await draining == len(waiting + others)
    assert len(desk.done) == 2
    assert (await world.outcomes())[waiting[0]][0] == "refused"


async def test_what_cannot_be_said_to_overtake_is_applied(
    world: PostgresWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Giving way is a courtesy: where it fails, no batch fails with it."""
    start, other = await recorded(world, started("P", "F"), issued("G"))

    async def fails(_events: object) -> None:
        raise ValueError

    monkeypatch.setattr(world.store, "overtaking", fails)
    desk = Desk(world)
    assert await desk.reconciler.drain(Queue.PAYMENT_STARTED) == 2
    assert sorted(await world.outcomes()) == [start, other]


async def test_a_worker_that_died_over_an_earlier_fact_is_not_waited_for(world: PostgresWorld) -> None:
    """Longer than a moment."""
    await recorded(world, settled("F", subject="F"))
    await world.store.claim(Queue.INVOICE_CHANGED, 1)
    (start,) = await recorded(world, started("P", "F"))
    desk = Desk(world)
    assert await desk.reconciler.drain(Queue.PAYMENT_STARTED) == 1
    assert sorted(await world.outcomes()) == [start]


async def test_a_callback_is_read_outside_any_transaction(world: PostgresWorld) -> None:
    """While a gateway is asked, nothing is locked and no transaction is open."""
    await recorded(world, started("P", "F"), callback("P", "P P"))
    desk = Desk(world)
    await desk.reconciler.drain(Queue.PAYMENT_STARTED)
    seen: list[int] = []

    async def look(event: Event) -> Report:
        (row,) = await world.rows(
            "SELECT count(*) AS open FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
        )
        seen.append(row["open"])
        return await desk.interpret(event)

    await Reconciler(world.store, look, desk.done.append).drain(Queue.GATEWAY_CALLBACK)
    assert seen == [0]
    assert await states(world) == {"F": "paid"}


async def test_a_callback_that_cannot_be_read_now_is_put_off_and_the_others_go_on(world: PostgresWorld) -> None:
    """One gateway that is down delays nobody else."""
    bad, good = await recorded(world, callback("P", "unreadable"), callback("Q", "P Q"))
    desk = Desk(world)
    await desk.reconciler.drain(Queue.GATEWAY_CALLBACK)
    assert good in await world.outcomes()
    assert (await world.pending())[bad] == (1, False, "TimeoutError: the gateway does not answer")


async def test_a_stopped_reconciler_claims_nothing_more(world: PostgresWorld) -> None:
    """What was begun ends; the rest is another's."""
    await recorded(world, issued("F"))
    desk = Desk(world)
    desk.reconciler.stop()
    assert await desk.reconciler.drain(Queue.INVOICE_CHANGED) == 0
    assert await desk.reconciler.end_due_holds() == 0


async def test_a_sweep_reads_the_evidence_first(world: PostgresWorld) -> None:
    """A callback that came in time and nobody took: it pays, and the other hold ends."""
    await recorded(world, started("P", "F"), started("Q", "G"))
    desk = Desk(world)
    await desk.reconciler.drain(Queue.PAYMENT_STARTED)
    await world.later(HOLD - 5)
    await recorded(world, callback("P", "P P"))
    await world.later(6)
    assert await desk.reconciler.end_due_holds() == 1
    assert await states(world) == {"F": "paid", "G": "payable"}


async def test_a_sweep_ends_more_holds_than_one_batch(world: PostgresWorld) -> None:
    """Batch after batch, in one call."""
    await recorded(world, *(started(f"P{n}", f"F{n}") for n in range(BATCH + 10)))
    desk = Desk(world)
    await desk.reconciler.drain(Queue.PAYMENT_STARTED)
    await world.later(HOLD)
    assert await desk.reconciler.end_due_holds() == BATCH + 10
    assert set((await states(world)).values()) == {"payable"}


async def test_what_somebody_waits_for_is_told(world: PostgresWorld, database_url: str) -> None:
    """A request held open hears of its outcome; others make no noise."""
    heard: list[str] = []
    (quiet, waited) = await recorded(world, issued("F"), issued("G", waited=True))
    async with world.postgres.pool.acquire() as connection:
        told = asyncio.Event()

        def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            heard.append(str(payload))
            told.set()

        await connection.add_listener("lettrage_done", hear)
        await Desk(world).reconciler.drain(Queue.INVOICE_CHANGED)
        await asyncio.wait_for(told.wait(), 10)
        await connection.remove_listener("lettrage_done", hear)
    assert heard == [str(waited)]
    assert quiet != waited


async def test_a_regie_that_no_process_ever_had_is_put_off(world: PostgresWorld) -> None:
    """Its policy is unknown; the events of other régies go on."""
    stranger = issued("F")
    stranger.regie = "cantine"
    bad, good = await recorded(world, stranger, issued("G"))
    desk = Desk(world)
    assert await desk.reconciler.drain(Queue.INVOICE_CHANGED) == 1
    assert good in await world.outcomes()
    assert "cantine" in str((await world.pending())[bad].error)


# unknown outcomes


@pytest.mark.parametrize("lost", ["after_commit", "before_commit"])
@pytest.mark.parametrize("times", [1, 3])
async def test_an_unknown_outcome_is_repeated_safely(world: PostgresWorld, lost: str, times: int) -> None:
    """Committed but told lost, or lost before: in the end each event is applied once."""
    places = await recorded(world, issued("F"), started("P", "F"), started("Q", "G"))
    setattr(store_of(world), lost, times)
    await Desk(world).reconciler.drain(Queue.PAYMENT_STARTED)
    assert sorted(await world.outcomes()) == places
    journal = (await world.snapshot())["journal"]
    assert len(journal) == len(set(journal)) == 5
    assert await world.pending() == {}


@pytest.mark.parametrize("lost", ["after_commit", "before_commit"])
async def test_a_callback_whose_outcome_is_unknown_has_one_report(world: PostgresWorld, lost: str) -> None:
    """The report event is written with it, once."""
    await recorded(world, started("P", "F"), callback("P", "P P"))
    desk = Desk(world)
    await desk.reconciler.drain(Queue.PAYMENT_STARTED)
    setattr(store_of(world), lost, 1)
    await desk.reconciler.drain(Queue.GATEWAY_CALLBACK)
    (row,) = await world.rows("SELECT count(*) AS reports FROM events WHERE type = $1", EventType.GATEWAY_REPORT.value)
    assert row["reports"] == 1
    assert await states(world) == {"F": "paid"}


@pytest.mark.parametrize("lost", ["after_commit", "before_commit"])
async def test_facts_whose_keeping_is_unknown_are_sent_again(world: PostgresWorld, lost: str) -> None:
    """The same batch again: accepted or duplicate, kept once."""
    facts = [issued("F"), issued("G")]
    setattr(store_of(world), lost, 1)
    with pytest.raises(StoreUnavailableError):
        await world.store.record(facts)
    again = await world.store.record(facts)
    assert {receipt.status for receipt in again} == {"duplicate" if lost == "after_commit" else "accepted"}
    assert len(await world.pending()) == 2


@pytest.mark.parametrize("lost", ["after_commit", "before_commit"])
async def test_a_sweep_whose_outcome_is_unknown_is_swept_again(world: PostgresWorld, lost: str) -> None:
    """Each hold ends once."""
    await recorded(world, *(started(f"P{n}", f"F{n}") for n in range(5)))
    desk = Desk(world)
    await desk.reconciler.drain(Queue.PAYMENT_STARTED)
    await world.later(HOLD)
    setattr(store_of(world), lost, 1)
    with pytest.raises(StoreUnavailableError):
        await world.store.end_due_holds(decide, 100)
    await world.store.end_due_holds(decide, 100)
    ended = [row for row in (await world.snapshot())["journal"] if row[4] == "hold_expired"]
    assert len(ended) == len(set(ended)) == 10
    assert await world.store.next_deadline() is None


async def test_an_outage_spends_no_try(world: PostgresWorld) -> None:
    """What the store kept from being tried was not tried: however long it lasts, nothing healthy is parked."""
    await recorded(world, issued("F"))
    desk = Desk(world)
    store_of(world).before_commit = len(PATIENCE_SECONDS) + 1
    with pytest.raises(StoreUnavailableError):
        await desk.reconciler.drain(Queue.INVOICE_CHANGED)
    assert [row["attempts"] for row in await world.rows("SELECT attempts FROM pending")] == [0]
    await world.later(2)
    await desk.reconciler.drain(Queue.INVOICE_CHANGED)
    assert await states(world) == {"F": "payable"}


async def test_a_claim_whose_outcome_is_unknown_costs_an_attempt_and_a_lease(world: PostgresWorld) -> None:
    """Nobody knows who has it: it is claimable again when the lease ends."""
    (place,) = await recorded(world, issued("F"))
    store_of(world).after_commit = 1
    store_of(world).claims_are_spared = False
    with pytest.raises(StoreUnavailableError):
        await world.store.claim(Queue.INVOICE_CHANGED, 10)
    assert await world.store.claim(Queue.INVOICE_CHANGED, 10) == []
    await world.later(2)
    (event,) = await world.store.claim(Queue.INVOICE_CHANGED, 10)
    assert (event.place, event.attempts) == (place, 2)


async def test_a_store_out_of_reach_for_long_leaves_everything_pending(world: PostgresWorld) -> None:
    """After a few tries the drain gives up and says so; nothing is put off for it."""
    (place,) = await recorded(world, issued("F"))
    store_of(world).before_commit = 100
    with pytest.raises(StoreUnavailableError):
        await Desk(world).reconciler.drain(Queue.INVOICE_CHANGED)
    store_of(world).before_commit = 0
    assert (await world.pending())[place] == (1, False, None)


async def test_a_connection_that_was_cut_is_replaced(world: PostgresWorld, database_url: str) -> None:
    """Every backend is terminated between a claim and its transaction: the next try finds a new one."""
    await recorded(world, callback("P", "P P"))
    desk = Desk(world)

    async def cut(event: Event) -> Report:
        await cut_connections(database_url)
        return await desk.interpret(event)

    reconciler = Reconciler(world.store, cut, desk.done.append)
    assert await reconciler.drain(Queue.GATEWAY_CALLBACK) == 2


async def cut_connections(database_url: str) -> None:
    """Terminate every backend of a database but the one that does it."""
    other = await PostgresStore.open(database_url, size=1)
    await other.pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await other.close()


# poison


class Poison:
    """A decision that fails for some invoices, and counts the transactions that were tried."""

    def __init__(self, *numbers: str) -> None:
        self.numbers = set(numbers)
        self.batches: list[int] = []

    def __call__(self, dossier: Dossier, events: Sequence[Event], policy: Policy, now: datetime) -> Decision:
        """Decide, unless poisoned."""
        if any(event.data.number in self.numbers for event in events):
            raise AssertionError("poison")
        return decide(dossier, events, policy, now)


class CountingStore(AmbiguousStore):
    """Counts its applies."""

    applies = 0

    async def apply(self, *arguments: Any, **named: Any) -> Done:  # noqa: ANN401
        """Apply, counted."""
        self.applies += 1
        return await super().apply(*arguments, **named)


async def test_poison_in_a_batch_of_a_thousand_stops_nobody(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bisected in 21 transactions at most: 999 applied at the first try, one put off, after its tries parked."""
    store = await CountingStore.open(database_url)
    await store.sync_policies({REGIE: POLICY})
    world = PostgresWorld(store)
    places = await recorded(world, *(issued(f"F{n}") for n in range(BATCH)))
    monkeypatch.setattr(reconcile, "decide", Poison("F700"))
    desk = Desk(world)
    assert await desk.reconciler.drain(Queue.INVOICE_CHANGED) == BATCH - 1
    assert store.applies <= 21
    assert await world.pending() == {places[700]: (1, False, "AssertionError: poison")}
    for _ in range(LAST_TRY - 1):
        await world.later(300)
        assert await desk.reconciler.drain(Queue.INVOICE_CHANGED) == 0
    assert await world.pending() == {places[700]: (LAST_TRY, True, "AssertionError: poison")}
    await world.later(86400)
    assert await desk.reconciler.drain(Queue.INVOICE_CHANGED) == 0
    assert places[700] not in await world.outcomes()
    await store.close()


async def test_much_poison_is_found_one_by_one(world: PostgresWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten of a hundred: ninety applied."""
    poisoned = {f"F{n}" for n in range(0, 100, 10)}
    await recorded(world, *(issued(f"F{n}") for n in range(100)))
    monkeypatch.setattr(reconcile, "decide", Poison(*poisoned))
    assert await Desk(world).reconciler.drain(Queue.INVOICE_CHANGED) == 90
    assert len(await world.pending()) == 10


async def test_poison_keeps_what_came_after_it_on_the_same_invoice_in_order(
    world: PostgresWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts are sets: what comes later is applied, and the poison, once cured, changes what it must."""
    first, second = await recorded(world, issued("F", 900), started("P", "F"))
    poison = Poison("F")

    def cured_for_starts(dossier: Dossier, events: Sequence[Event], policy: Policy, now: datetime) -> Decision:
        if any(event.type is EventType.INVOICE_ISSUED for event in events) and poison.numbers:
            raise AssertionError("poison")
        return decide(dossier, events, policy, now)

    monkeypatch.setattr(reconcile, "decide", cured_for_starts)
    desk = Desk(world)
    await desk.reconciler.drain(Queue.INVOICE_CHANGED)
    assert set(await world.outcomes()) == {second}
    poison.numbers.clear()
    await world.later(2)
    await desk.reconciler.drain(Queue.INVOICE_CHANGED)
    assert set(await world.outcomes()) == {first, second}
    assert await states(world) == {"F": "in_payment"}


async def test_what_the_database_refuses_is_poison_too(world: PostgresWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision that breaks an invariant is rolled back by a check, and the others go on."""

    def impossible(dossier: Dossier, events: Sequence[Event], policy: Policy, now: datetime) -> Decision:
        decision = decide(dossier, events, policy, now)
        for invoice in decision.invoices.values():
            if invoice.number == "F1":
                invoice.amount_cents = -1
        return decision

    monkeypatch.setattr(reconcile, "decide", impossible)
    places = await recorded(world, issued("F0"), issued("F1"), issued("F2"))
    assert await Desk(world).reconciler.drain(Queue.INVOICE_CHANGED) == 2
    assert list(await world.pending()) == places[1:2]
    assert "CheckViolationError" in str((await world.pending())[places[1]].error)


async def test_data_that_is_not_of_its_type_parks_by_itself(world: PostgresWorld) -> None:
    """Whatever wrote it: the batch goes on without it."""
    bad, good = await recorded(world, issued("F"), issued("G"))
    await world.rows("UPDATE events SET data = '{\"regie\": 1}' WHERE place = $1", bad)
    desk = Desk(world)
    assert await desk.reconciler.drain(Queue.INVOICE_CHANGED) == 1
    assert good in await world.outcomes()
    assert "data not of its type" in str((await world.pending())[bad].error)
    for _ in range(LAST_TRY):
        await world.later(300)
        await desk.reconciler.drain(Queue.INVOICE_CHANGED)
    assert (await world.pending())[bad].parked


async def test_a_type_of_a_newer_release_parks_by_itself(world: PostgresWorld) -> None:
    """While releases are mixed, an older worker leaves what it does not know, and does the rest."""
    first, newer, last = await recorded(world, issued("F"), issued("G"), issued("H"))
    await world.rows("UPDATE events SET type = 'fr.lettrage.invoice.forgiven.v9' WHERE place = $1", newer)
    desk = Desk(world)
    assert await desk.reconciler.drain(Queue.INVOICE_CHANGED) == 2
    assert sorted(await world.outcomes()) == [first, last]
    waiting = (await world.pending())[newer]
    assert (waiting.attempts, waiting.error) == (1, "data not of its type: fr.lettrage.invoice.forgiven.v9")


async def test_a_queue_of_a_newer_release_keeps_no_other_from_being_seen(world: PostgresWorld) -> None:
    """An older clock rings for what it knows."""
    newer, _ = await recorded(world, issued("F"), started("P", "F"))
    await world.rows("ALTER TABLE pending DROP CONSTRAINT pending_queue_check")
    await world.rows("UPDATE pending SET queue = 'invoice-forgiven' WHERE place = $1", newer)
    assert await world.store.waiting(0) == [Queue.PAYMENT_STARTED]


async def test_suspects_come_alone_and_the_drain_goes_on_behind_them(world: PostgresWorld) -> None:
    """Two workers died with a batch: its events are tried one by one, and what came later follows, in one drain."""
    places = await recorded(world, *(issued(f"F{n}") for n in range(20)))
    for _ in range(2):
        assert len(await world.store.claim(Queue.INVOICE_CHANGED, BATCH)) == 20
        await world.later(2)
    places += await recorded(world, issued("later"), issued("still later"))
    desk = Desk(world)
    assert await desk.reconciler.drain(Queue.INVOICE_CHANGED) == 22
    assert sorted(await world.outcomes()) == places
    assert [len(done.applied) for done in desk.done][:20] == [1] * 20


async def test_a_hold_whose_end_fails_keeps_no_other_locked(
    world: PostgresWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bisected like any batch: the others end, the one that fails is an event of its own that parks."""
    await recorded(world, *(started(f"P{n}", f"F{n}") for n in range(20)))
    desk = Desk(world)
    await desk.reconciler.drain(Queue.PAYMENT_STARTED)
    await world.later(HOLD)

    def poisoned(dossier: Dossier, events: Sequence[Event], policy: Policy, now: datetime) -> Decision:
        if any(event.data.reference == "P7" for event in events):
            raise AssertionError("poison")
        return decide(dossier, events, policy, now)

    monkeypatch.setattr(reconcile, "decide", poisoned)
    for _ in range(5):
        await desk.reconciler.end_due_holds()
    found = await states(world)
    assert {number for number, state in found.items() if state != "payable"} == {"F7"}
    monkeypatch.setattr(reconcile, "decide", decide)
    await world.later(300)
    await desk.reconciler.drain(Queue.PAYMENT_TIMEOUT)
    await desk.reconciler.end_due_holds()
    assert set((await states(world)).values()) == {"payable"}


async def test_a_clock_set_back_during_a_sweep_takes_no_end_back(
    world: PostgresWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was over when the sweep looked ends, though the database's clock says less when it decides."""
    await recorded(world, started("P", "F"))
    desk = Desk(world)
    await desk.reconciler.drain(Queue.PAYMENT_STARTED)
    await world.later(HOLD)
    read = postgres._read_dossiers

    async def set_back(conn: postgres.Connection, loaded: Loaded, locked: Row, regies: list[str]) -> None:
        await read(conn, loaded, locked, regies)
        assert loaded.now is not None
        loaded.now -= timedelta(minutes=1)

    monkeypatch.setattr(postgres, "_read_dossiers", set_back)
    assert await desk.reconciler.end_due_holds() == 1
    assert await states(world) == {"F": "payable"}


# killed workers

KILLED = """
    import asyncio, os, signal, sys
    from schemas.events import Queue
    from tests.integration.worlds import decide
    from worker.store.postgres import PostgresStore

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    async def main(address, moment):
        store = await PostgresStore.open(address)
        events = await store.claim(Queue.PAYMENT_STARTED, 10)
        assert events
        if moment == "claimed":
            die()
        if moment == "deciding":
            await store.apply(events, die)
        await store.apply(events, decide)
        die()

    asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("moment", ["claimed", "deciding", "applied"])
async def test_a_worker_killed_at_any_moment(world: PostgresWorld, database_url: str, moment: str) -> None:
    """By kill -9 after its claim, in its transaction or after its commit: each event is applied once all the same."""
    places = await recorded(world, issued("F"), started("P", "F"))
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", textwrap.dedent(KILLED), database_url, moment],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    if moment == "applied":
        assert await world.pending() == {}
    else:
        assert {row.attempts for row in (await world.pending()).values()} == {1}
        assert await world.store.claim(Queue.PAYMENT_STARTED, 10) == [], "still leased"
    await world.later(2)
    await Desk(world).reconciler.drain(Queue.PAYMENT_STARTED)
    assert sorted(await world.outcomes()) == places
    assert await states(world) == {"F": "in_payment"}
    assert len((await world.snapshot())["journal"]) == 3
