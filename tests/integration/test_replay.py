"""Replays: what facts say, whatever the configuration says today; what was tampered with is put right, and said.

Days are those of the stores' comparison: random, with holds that end, money that comes late, twice and for nobody.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import asyncpg
import pytest
from msgspec.structs import replace

from schemas.events import EventType, PaymentStarted, Queue, StartedLine
from schemas.replays import Filter, ReplayState, ReplayView
from tests.integration.judged import assert_judged
from tests.integration.test_store_twins import Day, played
from tests.integration.worlds import (
    ASKED,
    ASKED_POLICY,
    POLICY,
    REGIE,
    PostgresWorld,
    callback,
    fact,
    said,
    started,
)
from worker.reconcile import Reconciler
from worker.replaying import AT_ONCE, Replayer
from worker.store import replays
from worker.store.postgres import PostgresStore
from worker.store.replays import Replays, Seen, Wanted

DERIVED = (
    "invoices",
    "payments",
    "payment_lines",
    "gateway_references",
    "charges",
    "adjustments",
    "discrepancies",
    "holds",
)
KEPT = ("events", "outcomes", "journal", "outbox", *DERIVED)
DECIDED = """
UPDATE outcomes SET decided_at = decided_at - $1::interval;
UPDATE events SET time = time - $1::interval;
UPDATE invoices SET paid_at = paid_at - $1::interval;
UPDATE payments SET hold_ended_at = hold_ended_at - $1::interval, settled_at = settled_at - $1::interval;
UPDATE discrepancies SET opened_at = opened_at - $1::interval, changed_at = changed_at - $1::interval
"""
"""What the stores' comparison leaves where it was: here a decision's time decides again."""


class Past(PostgresWorld):
    """A database whose past moves back as a whole when time passes."""

    async def later(self, seconds: float) -> None:
        """Let time pass."""
        await super().later(seconds)
        async with self.postgres.pool.acquire() as connection, connection.transaction():
            for statement in DECIDED.split(";"):
                await connection.execute(statement, timedelta(seconds=seconds))


class Town(NamedTuple):
    """A database in which a day has happened, and who replays there."""

    world: PostgresWorld
    replayer: Replayer

    async def replay(self, *, dry_run: bool = False, **filtered: Any) -> ReplayView:  # noqa: ANN401 (a filter's fields)
        """Replay to the end, in one go."""
        return await self.replayer.run(await self.begun(dry_run=dry_run, **filtered), lambda _: None)

    async def begun(self, *, dry_run: bool = False, **filtered: Any) -> int:  # noqa: ANN401 (a filter's fields)
        """A replay that is asked for, and not run."""
        return await self.replayer.begin(wanted(dry_run=dry_run, **filtered), None)

    async def rows(self, *names: str) -> dict[str, list[Any]]:
        """Tables to the last column."""
        return {name: await self.sql(f"SELECT * FROM {name} AS t ORDER BY t::text") for name in names or KEPT}

    async def sql(self, statement: str, *arguments: object) -> list[Any]:
        """What a statement answers."""
        return [tuple(row) for row in await self.world.postgres.pool.fetch(statement, *arguments)]


def wanted(*, dry_run: bool = False, **filtered: Any) -> Wanted:  # noqa: ANN401 (a filter's fields)
    """What an admin asks for."""
    return Wanted(Filter(**filtered), dry_run, None if dry_run else "rows were edited by hand", "admin")


async def quiet(_seconds: float) -> Sequence[Queue]:
    """Nothing waits."""
    return []


def replayer(store: PostgresStore, name: str = "test") -> Replayer:
    """Who replays: another process for each name."""
    return Replayer(Replays(store, name), quiet, lambda _: None)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    """A database with a régie that tells its portal."""
    opened = await PostgresStore.open(database_url)
    await opened.sync_policies({REGIE: replace(POLICY, notify=True)})
    yield opened
    await opened.close()


async def lived(store: PostgresStore, seed: int = 1) -> Town:
    """A day has happened."""
    world = Past(store)
    await played(world, Day(seed))
    return Town(world, replayer(store))


@pytest.fixture
async def town(store: PostgresStore) -> Town:
    """A day on which invoices were paid."""
    return await lived(store)


@pytest.mark.parametrize("seed", range(6))
async def test_replaying_everything_changes_nothing(store: PostgresStore, seed: int) -> None:
    """Not a column of a row, not a line of the journal, and nobody is told."""
    town = await lived(store, seed)
    before = await town.rows()
    view = await town.replay()
    assert view.changes == []
    assert (view.changed, view.failed) == (0, 0)
    assert view.matched == view.replayed == len(before["outcomes"]) > 0
    assert await town.rows() == before


async def test_whatever_the_configuration_says_today(town: Town) -> None:
    """Another hold, another choice on a cancel, another mode since: each event keeps the policy that was its own."""
    store = town.world.postgres
    await store.sync_policies({REGIE: replace(POLICY, hold=60, on_cancel="release", mode="test", watch=60)})
    before = await town.rows()
    assert (await town.replay()).changes == []
    assert await town.rows() == before


async def test_some_days_had_two_policies(store: PostgresStore) -> None:
    """A day, other choices, another day with the same names: everything replayed changes nothing."""
    town = await lived(store, 2)
    await store.sync_policies({REGIE: replace(POLICY, hold=60, on_cancel="release")})
    day = Day(3)
    day._numbers = iter(range(1_000, 2_000))
    await played(town.world, day)
    before = await town.rows()
    assert (await town.replay()).changes == []
    assert await town.rows() == before


TAMPERED = {
    "an invoice's state": "UPDATE invoices SET state = 'payable', paid_at = NULL, paid_by = NULL WHERE state = 'paid'",
    "an invoice's amount": "UPDATE invoices SET amount_cents = amount_cents + 1, version = version + 7",
    "an invoice's version": "UPDATE invoices SET version = 0",
    "an invoice's fact": "UPDATE invoices SET withdrawn = true, issued_cents = 1, means = 'X' WHERE account <> ''",
    "a payment's state": "UPDATE payments SET state = 'expired', reason = 'x' WHERE state = 'paid'",
    "a payment's money": "UPDATE payments SET received_cents = received_cents + 100, late = NOT late",
    "a charge that came": "DELETE FROM charges",
    "a charge that did not": "INSERT INTO charges SELECT id, 'forged', 'P', 900, now(), 1 FROM gateway_references",
    "what a charge says": "UPDATE charges SET result = 'R', received_at = NULL, place = NULL",
    "a refund": "DELETE FROM adjustments",
    "cash that nobody brought": "INSERT INTO adjustments SELECT 'settled', 'forged', 900, 1, id FROM invoices",
    "an owner": "UPDATE gateway_references SET payment_id = NULL, doubt = true",
    "a line": "DELETE FROM payment_lines",
    "a line's cents": "UPDATE payment_lines SET cents = cents + 1",
    "a discrepancy's amount": "UPDATE discrepancies SET amount_cents = amount_cents + 1, state = 'open'",
    "a discrepancy": "DELETE FROM discrepancies",
    "a hold that was over": "INSERT INTO holds SELECT id, now() + interval '1 day' FROM payments",
}


async def test_what_was_tampered_with_is_put_right(town: Town, subtests: pytest.Subtests) -> None:
    """By a dry run it is shown and stays; by a replay each row says again what its facts say, but for its version."""
    for what, statement in TAMPERED.items():
        with subtests.test(what):
            await _tampered(town, statement)
    without_event = await town.sql("SELECT DISTINCT type FROM outbox WHERE place IS NULL")
    assert without_event == [], "what is told of a discrepancy that was put right has its event too"
    await assert_judged(town.world.postgres.pool, REGIE)


async def _tampered(town: Town, statement: str) -> None:
    before = await town.rows()
    await town.sql(statement)
    tampered = await town.rows()
    foreseen = await town.replay(dry_run=True)
    assert await town.rows() == tampered != before
    done = await town.replay()
    assert done.changes == foreseen.changes != []
    assert done.changed == foreseen.changed == len(done.changes)
    assert done.failed == 0
    assert versionless(await town.rows(*DERIVED)) == versionless({name: before[name] for name in DERIVED})
    assert {*before["journal"]} <= {*(await town.rows("journal"))["journal"]}
    assert all(change.reason and change.fields for change in done.changes)
    again = await town.rows()
    assert (await town.replay()).changes == []
    assert await town.rows() == again


def versionless(tables: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Rows without what the database made of them: an invoice's version, which only grows."""
    return tables | {"invoices": sorted((*row[:4], *row[5:]) for row in tables["invoices"])}


async def test_who_restored_what_and_why_is_kept(town: Town) -> None:
    """In the journal, by an event of ours, sealed like any other; the portal is told under a new version."""
    await town.sql(TAMPERED["an invoice's state"])
    versions = dict(await town.sql("SELECT number, version FROM invoices"))
    told = await town.sql("SELECT max(id) FROM outbox")
    view = await town.replay()
    restored = [change for change in view.changes if change.invoice is not None]
    assert {(change.before, change.after, change.reason) for change in restored} <= {
        ("payable", "paid", reason)
        for reason in ("money_received", "money_received_late", "settled_elsewhere", "money_received_provisionally")
    }
    journal = await town.sql(
        "SELECT i.number, j.before, j.after, j.reason,"
        " e.type, e.source, e.data ->> 'by', e.data ->> 'comment', o.reason"
        " FROM journal AS j JOIN invoices AS i ON i.id = j.invoice_id JOIN events AS e ON e.place = j.place"
        " JOIN outcomes AS o ON o.place = e.place WHERE j.reason = 'restored_by_replay' ORDER BY j.id"
    )
    why = ("fr.lettrage.dossier.restored.v1", f"/replays/{view.id}", "admin", "rows were edited by hand")
    assert sorted(journal) == sorted(
        (change.invoice, "payable", "paid", "restored_by_replay", *why, "restored_by_replay") for change in restored
    )
    now = dict(await town.sql("SELECT number, version FROM invoices"))
    changed = {change.invoice for change in restored}
    assert {number for number in now if now[number] == versions[number] + 1} == changed
    sent = await town.sql("SELECT data ->> 'number', (data ->> 'version')::int FROM outbox WHERE id > $1", *told[0])
    assert sorted(sent) == sorted((number, now[number]) for number in changed)
    kinds = await town.sql(
        "SELECT DISTINCT e.type FROM outbox AS t LEFT JOIN events AS e USING (place) WHERE t.id > $1", *told[0]
    )
    assert kinds == [("fr.lettrage.dossier.restored.v1",)]
    assert (view.client, view.comment, view.state) == ("admin", "rows were edited by hand", ReplayState.DONE)


async def test_the_journal_stays_append_only(town: Town) -> None:
    """Whatever is replayed."""
    for statement in ("UPDATE journal SET reason = 'x'", "DELETE FROM journal", "TRUNCATE journal"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await town.sql(statement)


async def test_a_replay_that_is_killed_goes_on(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runner dies between batches and in the middle of one; another takes it over, and it all ends the same."""
    monkeypatch.setattr(replays, "BATCH", 7)
    before = await town.rows()
    await town.sql(TAMPERED["an invoice's state"])
    foreseen = await town.replay(dry_run=True)
    store = town.world.postgres
    replay_id = await town.begun()
    dying = Replays(store, "test")
    assert not (await dying.step(replay_id)).done
    monkeypatch.setattr(replays, "_move_on", _killed)
    with pytest.raises(asyncio.CancelledError):
        await dying.step(replay_id)
    monkeypatch.undo()
    monkeypatch.setattr(replays, "BATCH", 7)
    other = replayer(store, "another")
    assert await Replays(store, "another").claim() is None
    await town.sql("UPDATE replays SET leased_until = now()")
    for _ in range(200):
        await other.advance()
    done = await other.view(replay_id)
    assert done.state is ReplayState.DONE
    assert done.changes == foreseen.changes
    assert versionless(await town.rows(*DERIVED)) == versionless({name: before[name] for name in DERIVED})
    assert (await dying.step(replay_id)).done


async def _killed(*_arguments: object) -> None:
    """What a process that is killed does next."""
    raise asyncio.CancelledError


async def test_two_replays_at_once_put_each_row_right_once(town: Town) -> None:
    """Whoever comes second finds nothing to do."""
    await town.sql(TAMPERED["an invoice's state"])
    foreseen = await town.replay(dry_run=True)
    other = Town(town.world, replayer(town.world.postgres, "another"))
    both = await asyncio.gather(town.replay(), other.replay())
    assert sum(view.changed for view in both) == foreseen.changed


async def test_a_filter_chooses_whose_dossiers_are_looked_at(town: Town) -> None:
    """By id, time, régie, type and outcome; what no chosen event is about stays as it is."""
    assert (await town.replay(regie="nobody")).matched == 0
    assert (await town.replay(outcome="refused", dry_run=True)).matched == await counted(town, "outcome = 'refused'")
    kind = "fr.lettrage.payment.refunded.v1"
    assert (await town.replay(type=kind, dry_run=True)).matched == await counted(town, f"type = '{kind}'")
    (when,) = (await town.sql("SELECT received_at FROM events ORDER BY place OFFSET 20 LIMIT 1"))[0]
    found = [(await town.replay(dry_run=True, **{name: when})).matched for name in ("since", "until")]
    assert sum(matched or 0 for matched in found) == await counted(town, "true")
    assert all(found)


async def counted(town: Town, condition: str) -> int:
    """How many applied events there are."""
    ((count,),) = await town.sql(f"SELECT count(*) FROM events JOIN outcomes USING (place) WHERE {condition}")
    return int(count)


async def test_one_event_brings_its_dossier_and_no_other(town: Town) -> None:
    """A payment's callback is enough to put its invoice right, with everything that shares money with it."""
    store = town.world.postgres
    await store.record([started("alone", "Z", event_id="z-1"), callback("alone", "z-2", event_id="z-2")])
    reconciler = Reconciler(store, _says_paid, lambda _: None)
    for queue in (Queue.PAYMENT_STARTED, Queue.GATEWAY_CALLBACK):
        await reconciler.drain(queue)
    await town.sql(TAMPERED["an invoice's state"])
    view = await town.replay(ids=["z-2"])
    assert [(change.invoice, change.before, change.after) for change in view.changes] == [("Z", "payable", "paid")]
    assert view.matched == 2, "the callback, and the report that has its id"
    assert (await town.replay(dry_run=True)).changed > 0


async def _says_paid(_event: object) -> Any:  # noqa: ANN401 (a report)
    return said("alone")


async def test_a_busy_database_has_precedence(town: Town) -> None:
    """While events wait, a replay waits for them; not for ever."""
    await town.begun()
    busy = Replayer(Replays(town.world.postgres, "test"), _waits, lambda _: None)
    assert await busy.advance() > 0
    assert (await town.sql("SELECT replayed FROM replays"))[0] == (0,)
    busy._giving_way_since = -float("inf")
    await busy.advance()
    assert (await town.sql("SELECT replayed FROM replays"))[0] > (0,)


async def _waits(_seconds: float) -> Sequence[Queue]:
    return [Queue.PAYMENT_STARTED]


async def test_much_is_left_to_a_clock(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks is answered at once; the clock that looks next runs it to its end."""
    monkeypatch.setattr("worker.replaying.AT_ONCE", 10)
    view = await town.replayer.ask(wanted())
    assert (view.state, view.matched, view.replayed) == (ReplayState.RUNNING, None, 0)
    clock = replayer(town.world.postgres, "clock")
    while (done := await clock.view(view.id)).state is ReplayState.RUNNING:
        await clock.advance()
    assert done.matched == done.replayed == await counted(town, "true") > 10
    assert AT_ONCE == 1_000


async def test_no_gateway_is_asked(town: Town) -> None:
    """A payment at a gateway that can be asked is put right, and no question is planned that was not there before."""
    store = town.world.postgres
    await store.sync_policies({ASKED: ASKED_POLICY})
    data = PaymentStarted(
        regie=ASKED, reference="swim", amount_cents=900, invoices=[StartedLine(number="S", amount_cents=900)]
    )
    await store.record([fact(EventType.PAYMENT_STARTED, data, event_id="swim-1")])
    await Reconciler(store, _says_paid, lambda _: None).drain(Queue.PAYMENT_STARTED)
    before = await town.rows("asks")
    await town.sql("UPDATE payments SET state = 'refused' WHERE reference = 'swim'")
    assert [change.payment for change in (await town.replay(regie=ASKED)).changes] == ["swim"]
    assert await town.rows("asks") == before != {"asks": []}


# parked events


async def test_parked_events_are_tried_again_and_told_of(town: Town) -> None:
    """A dry run says what each would change; a replay gives them back, and says what became of them."""
    store = town.world.postgres
    rung: list[Queue] = []
    ringing = Replayer(Replays(store, "test"), quiet, rung.append)
    await store.record([started("parked", "Y", event_id="y-1")])
    await town.sql("UPDATE pending SET parked = true, attempts = 8, error = 'x'")
    before = await town.rows()
    foreseen = await town.replay(dry_run=True, parked=True)
    told = [(change.invoice, change.payment, change.before, change.after, change.reason) for change in foreseen.changes]
    assert ("Y", "parked", None, "in_payment", "hold_taken") in told
    assert await town.rows() == before
    replay_id = await town.replayer.begin(wanted(parked=True), None)
    steps = Replays(store, "test")
    assert not (await steps.step(replay_id)).done
    assert await town.sql("SELECT parked, attempts FROM pending") == [(False, 0)]
    assert (await ringing.view(replay_id)).outcomes == {"waiting": 1}
    assert not (await steps.step(replay_id)).done
    await Reconciler(store, _says_paid, lambda _: None).drain(Queue.PAYMENT_STARTED)
    assert (await steps.step(replay_id)).done
    done = await ringing.view(replay_id)
    assert (done.matched, done.outcomes) == (1, {"applied": 1})
    assert [(c.invoice, c.payment, c.before, c.after, c.reason) for c in done.changes] == told
    assert (await town.replay(parked=True)).matched == 0


async def test_what_was_given_back_is_rung_for(town: Town) -> None:
    """The workers hear of it at once."""
    store = town.world.postgres
    rung: list[Queue] = []
    await store.record([started("parked", "Y", event_id="y-1")])
    await town.sql("UPDATE pending SET parked = true, attempts = 8, error = 'x'")
    await town.replayer.begin(wanted(parked=True), None)
    await Replayer(Replays(store, "test"), quiet, rung.append).advance()
    assert rung == [Queue.PAYMENT_STARTED]


async def test_a_parked_event_that_fails_again_is_parked_again(town: Town) -> None:
    """The replay ends, and says so."""
    store = town.world.postgres
    await store.record([started("parked", "Y", event_id="y-1")])
    await town.sql("UPDATE pending SET parked = true, attempts = 8, error = 'x'")
    replay_id = await town.begun(parked=True)
    steps = Replays(store, "test")
    await steps.step(replay_id)
    await town.sql("UPDATE pending SET parked = true, attempts = 8")
    assert (await steps.step(replay_id)).done
    view = await town.replayer.view(replay_id)
    assert (view.outcomes, view.changes) == ({"parked": 1}, [])


def test_places_are_noted_in_a_bit_each() -> None:
    """Far ones too; and no other."""
    seen = Seen()
    places = {1, 7, 8, 9, 8_191, 8_192, 1_000_003}
    for place in places:
        seen.add(place)
    assert {place for place in range(1_000_010) if place in seen} == places
