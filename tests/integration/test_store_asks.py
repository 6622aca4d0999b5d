"""Asking gateways: what is due when, who waits for the answer, and that no call is ever missed. Both stores alike."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from schemas.decisions import Decision
from schemas.events import Event, EventType, NewEvent, Queue
from schemas.records import DueAsk
from schemas.reports import Report
from tests.integration.worlds import (
    ASKED,
    ASKED_POLICY,
    HOLD,
    POLICY,
    REGIE,
    MemoryWorld,
    PostgresWorld,
    World,
    callback,
    recorded,
    said,
    started,
    states,
)
from worker import reconcile
from worker.gateways.port import Answer, Claim
from worker.reconcile import Reconciler
from worker.store.postgres import PostgresStore

MINUTE = 60
LEASE_SECONDS = 20
CALLBACK_LEASE_SECONDS = 30
LAST_TRY = 8
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(params=["memory", "postgresql"])
async def world(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[World]:
    """Each store, with a régie whose gateway can be asked."""
    if request.param == "memory":
        yield MemoryWorld()
        return
    store = await PostgresStore.open(database_url)
    await store.sync_policies({REGIE: POLICY, ASKED: ASKED_POLICY})
    yield PostgresWorld(store)
    await store.close()


def of_asked(new: NewEvent) -> NewEvent:
    """The same fact, of the régie whose gateway is asked."""
    return replace(new, regie=ASKED, data=replace(new.data, regie=ASKED))


class Desk:
    """A reconciler of a gateway whose callbacks are no proof, and what it was told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rung = 0
        self.outcomes: dict[str, str] = {}
        self.traces: dict[str, str | None] = {}
        self.reconciler = Reconciler(world.store, self.interpret, self.observe, self.ring)

    async def interpret(self, event: Event) -> Report | Claim:
        """Every callback claims the reference that its query names."""
        return Claim(gateway_reference=event.data.query)

    def observe(self, done: Any) -> None:  # noqa: ANN401
        """Keep outcomes by event id, and the traces of reports by the reference that they are about."""
        self.outcomes |= {event.id: f"{a.outcome.value}: {a.reason}" for event, a in done.applied}
        reports = [event for event, _ in done.applied if event.type is EventType.GATEWAY_REPORT]
        self.traces |= {event.data.gateway_reference: event.trace for event in reports}

    def ring(self) -> None:
        """Somebody is to ask."""
        self.rung += 1

    async def start(self, reference: str = "P", number: str = "F", **told: Any) -> None:  # noqa: ANN401
        """A family leaves for the gateway."""
        await recorded(self.world, of_asked(started(reference, number, **told)))
        await self.facts()

    async def call(self, reference: str = "P", event_id: str = "c") -> None:
        """The gateway calls, and its callback is looked at."""
        await recorded(self.world, of_asked(callback(reference, reference, event_id=event_id)))
        await self.callbacks()

    async def facts(self) -> None:
        """Apply what needs no gateway."""
        await self.reconciler.drain(Queue.PAYMENT_STARTED)

    async def callbacks(self) -> None:
        """Look at callbacks."""
        await self.reconciler.drain(Queue.GATEWAY_CALLBACK)

    async def due(self, limit: int = 10) -> list[DueAsk]:
        """Take what is due."""
        return await self.world.store.claim_asks([ASKED], limit)

    async def answer(self, due: Sequence[DueAsk], result: str = "P") -> None:
        """The gateway answers each."""
        answers = [(ask, Answer(report=answered(ask, result), raw=b"<answer/>")) for ask in due]
        await self.reconciler.take_answers(answers)
        await self.facts()


def answered(due: DueAsk, result: str) -> Report:
    """What the gateway says when asked."""
    report = said(due.gateway_reference, result, transaction=due.gateway_reference)
    return replace(report, regie=ASKED, asked=True, why="asked")


@pytest.fixture
def desk(world: World) -> Desk:
    """Somebody who works with the store."""
    return Desk(world)


async def test_a_started_payment_is_asked_about_on_schedule(desk: Desk, world: World) -> None:
    """After 2, 5, 10, 16, 25 and 29 minutes while the gateway knows nothing, and on after the hold's end."""
    await desk.start()
    assert await desk.due() == []
    asked_at = []
    for minute in range(1, 35):
        await world.later(MINUTE)
        if due := await desk.due():
            asked_at.append(minute)
            assert abs(due[0].age_seconds - minute * MINUTE) < MINUTE / 2
            await desk.answer(due, "nothing")
    assert asked_at == [2, 5, 10, 16, 25, 29, 31, 33]


async def test_a_payment_found_settles_and_is_asked_about_no_more(desk: Desk, world: World) -> None:
    """No notification ever came: the answer alone pays."""
    await desk.start()
    await world.later(2 * MINUTE)
    await desk.answer(await desk.due())
    assert await states(world) == {"F": "paid"}
    await world.later(2 * HOLD)
    assert await desk.due() == []


async def test_an_ask_belongs_to_its_payments_trace_and_so_does_its_answer(desk: Desk, world: World) -> None:
    """One trace from the portal's request to what the gateway says minutes later; without one there is none."""
    await desk.start("P", "F", trace=TRACE)
    await desk.start("Q", "G")
    await world.later(2 * MINUTE)
    due = sorted(await desk.due(), key=lambda ask: ask.gateway_reference)
    assert [(ask.payment, ask.trace) for ask in due] == [("P", TRACE), ("Q", None)]
    await desk.answer(due)
    assert desk.traces == {"P": TRACE, "Q": None}


async def test_one_ask_in_flight(desk: Desk, world: World) -> None:
    """Who took it has it, until its lease ends: a killed worker's ask is another's then."""
    await desk.start()
    await world.later(2 * MINUTE)
    assert len(await desk.due()) == 1
    assert await desk.due() == []
    await world.later(LEASE_SECONDS + 1)
    assert len(await desk.due()) == 1


async def test_oldest_first_up_to_the_limit_and_only_of_ones_own_regies(desk: Desk, world: World) -> None:
    """Whoever has no keys of a régie does not take its asks."""
    await desk.start("P", "F")
    await world.later(5)
    await desk.start("Q", "G")
    await world.later(3 * MINUTE)
    assert await world.store.claim_asks([REGIE], 10) == []
    assert [ask.gateway_reference for ask in await desk.due(1)] == ["P"]
    assert [ask.gateway_reference for ask in await desk.due(1)] == ["Q"]


async def test_a_callback_makes_us_ask_at_once_and_gets_the_answers_outcome(desk: Desk, world: World) -> None:
    """It waits for the answer: whoever sent it and waits is told the truth, not that it will be sought."""
    await desk.start()
    await desk.call()
    assert desk.rung == 1
    assert "c" not in desk.outcomes
    due = await desk.due()
    await desk.answer(due)
    assert desk.outcomes["c"] == "applied: money_received"
    assert await states(world) == {"F": "paid"}
    assert await world.pending() == {}


async def test_callbacks_about_one_reference_share_an_answer(desk: Desk, world: World) -> None:
    """Ten callbacks, one ask: the first speaks, the others say nothing new."""
    await desk.start()
    for nth in range(3):
        await desk.call(event_id=f"c{nth}")
    await desk.answer(await desk.due())
    assert [desk.outcomes[f"c{nth}"] for nth in range(3)] == [
        "applied: money_received",
        "ignored: result_already_known",
        "ignored: result_already_known",
    ]
    assert await desk.due() == []


async def test_a_callback_that_comes_while_the_gateway_is_asked_makes_us_ask_again(desk: Desk, world: World) -> None:
    """The answer under way may be older than what it announces."""
    await desk.start()
    await desk.call(event_id="early")
    due = await desk.due()
    await world.later(1)
    await desk.call(event_id="late")
    assert await desk.due() == [], "one ask in flight"
    await desk.answer(due, "nothing")
    assert desk.outcomes["early"] == "ignored: gateway_knows_no_payment"
    assert "late" not in desk.outcomes
    await desk.answer(await desk.due())
    assert desk.outcomes["late"] == "applied: money_received"


async def test_a_callback_about_what_nobody_started_asks_nobody_and_is_shown(desk: Desk, world: World) -> None:
    """A stranger's idOp costs one discrepancy, and no question."""
    await desk.call("unknown")
    assert desk.rung == 0
    assert await desk.due() == []
    assert desk.outcomes["c"] == "refused: unverified_callback"
    kinds = [(kind, state) for kind, _, state in (await world.snapshot())["discrepancies"].values()]
    assert kinds == [("unverified_callback", "open")]


async def test_a_callback_that_came_first_is_asked_about_once_its_payment_starts(desk: Desk, world: World) -> None:
    """And what was shown meanwhile is closed: the gateway has spoken for it."""
    await desk.call()
    await desk.start()
    await desk.answer(await desk.due())
    assert await states(world) == {"F": "paid"}
    kinds = [(kind, state) for kind, _, state in (await world.snapshot())["discrepancies"].values()]
    assert kinds == [("unverified_callback", "closed")]


async def test_a_second_reference_of_a_payment_is_asked_about_too(desk: Desk, world: World) -> None:
    """A second idOp: both may be paid, and both charges count."""
    await desk.start(gateway_reference="one")
    await world.later(MINUTE)
    await desk.start(gateway_reference="two")
    await world.later(2 * MINUTE)
    due = await desk.due()
    assert {ask.gateway_reference for ask in due} == {"one", "two"}
    await desk.answer(due)
    assert (await world.snapshot())["payments"]["P"][:2] == ("paid", 1800)


async def test_a_callback_without_an_answer_asks_again(desk: Desk, world: World) -> None:
    """Whoever asked died: the callback is looked at again, any number of times, and never parked for it."""
    await desk.start()
    await desk.call()
    for _ in range(10):
        await desk.due()
        await world.later(CALLBACK_LEASE_SECONDS + 1)
        await desk.callbacks()
    assert [waiting.parked for waiting in (await world.pending()).values()] == [False]
    await desk.answer(await desk.due())
    assert desk.outcomes["c"] == "applied: money_received"


async def test_a_callback_taken_in_before_its_gateway_was_known_hears_the_answer(desk: Desk, world: World) -> None:
    """A web process that did not know yet that the régie's gateway changed found no reference in it."""
    await desk.start()
    await recorded(world, replace(of_asked(callback("P", "P", event_id="c")), subject=None))
    await desk.callbacks()
    await desk.answer(await desk.due())
    assert desk.outcomes["c"] == "applied: money_received"
    assert await world.pending() == {}


async def test_callbacks_that_wait_long_keep_nobody_behind_them(desk: Desk, world: World) -> None:
    """A slow gateway's are still looked at together, with whatever came after them: none is claimed alone."""
    for name in ("P", "Q", "R"):
        await desk.start(name, f"F-{name}")
        await desk.call(name, event_id=f"c-{name}")
    for _ in range(3):
        await world.later(CALLBACK_LEASE_SECONDS + 1)
        await desk.callbacks()
    await world.later(CALLBACK_LEASE_SECONDS + 1)
    await recorded(world, callback("S", event_id="signed"))
    claimed = await world.store.claim(Queue.GATEWAY_CALLBACK, 10)
    assert [event.id for event in claimed] == ["c-P", "c-Q", "c-R", "signed"]


async def test_a_callback_whose_answer_cannot_be_applied_is_parked(
    desk: Desk, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After eight tries, each with an ask of its own: visible, and no question more."""
    await desk.start()
    await desk.call()
    monkeypatch.setattr(reconcile, "decide", _failing)
    for _ in range(LAST_TRY):
        await desk.answer(await desk.due())
        await world.later(2 ** (LAST_TRY + 1))
        await desk.callbacks()
    (waiting,) = (await world.pending()).values()
    assert (waiting.parked, waiting.attempts) == (True, LAST_TRY)
    assert "an invariant is broken" in (waiting.error or "")


def _failing(*_arguments: object) -> Decision:
    raise AssertionError("an invariant is broken")


async def test_a_payment_that_is_settled_is_asked_about_when_its_gateway_calls_again(desk: Desk, world: World) -> None:
    """Nothing is planned any more; a call plans it."""
    await desk.start()
    await desk.call(event_id="c1")
    await desk.answer(await desk.due())
    await world.later(MINUTE)
    await desk.call(event_id="c2")
    due = await desk.due()
    assert abs(due[0].age_seconds - MINUTE) < MINUTE / 2, "as old as its start, which was forgotten here"
    await desk.answer(due)
    assert desk.outcomes["c2"] == "ignored: result_already_known"
    assert await desk.due() == []


async def test_a_failed_ask_is_soon_repeated_and_is_doubt(desk: Desk, world: World) -> None:
    """An eighth of its age later, not before ten seconds."""
    await desk.start()
    await desk.call()
    await desk.answer(await desk.due(), "failed")
    assert desk.outcomes["c"] == "ignored: gateway_cannot_say"
    await world.later(9)
    assert await desk.due() == []
    await world.later(2)
    assert len(await desk.due()) == 1


async def test_the_clock_is_told_of_asks_that_nobody_took(desk: Desk, world: World) -> None:
    """For one's own régies, once they are due for that long."""
    await desk.start()
    await world.later(2 * MINUTE)
    assert not await world.store.asks_waiting([ASKED], 5)
    await world.later(6)
    assert await world.store.asks_waiting([ASKED], 5)
    assert not await world.store.asks_waiting([REGIE], 5)
    await desk.due()
    assert not await world.store.asks_waiting([ASKED], 0)


async def test_a_call_just_before_the_deadline_delays_it_while_the_gateway_is_asked(desk: Desk, world: World) -> None:
    """Evidence first, for at most two seconds; then the hold ends, and the money is late."""
    await desk.start()
    await world.later(HOLD - 1)
    await desk.call()
    await world.later(1)
    assert await desk.reconciler.end_due_holds() == 0
    await world.later(2)
    assert await desk.reconciler.end_due_holds() == 1
    await desk.answer(await desk.due())
    assert await states(world) == {"F": "paid"}


async def test_a_callback_and_its_payment_started_never_miss_each_other(database_url: str) -> None:
    """Two workers take them at once, in any interleaving: either the callback waits for its ask, or the start asks."""
    store = await PostgresStore.open(database_url, size=8)
    await store.sync_policies({ASKED: ASKED_POLICY})
    world = PostgresWorld(store)
    desk = Desk(world)
    names = [f"P{n}" for n in range(40)]
    for name in names:
        await recorded(
            world, of_asked(started(name, f"F-{name}")), of_asked(callback(name, name, event_id=f"c-{name}"))
        )
        await asyncio.gather(desk.facts(), desk.callbacks())
    due = await desk.due(100)
    assert {ask.gateway_reference for ask in due} == set(names)
    await desk.answer(due)
    assert set((await states(world)).values()) == {"paid"}
    assert await world.pending() == {}
    await store.close()


async def test_the_answer_is_kept_in_the_gateways_own_words(database_url: str) -> None:
    """With and without a callback that waits for it."""
    store = await PostgresStore.open(database_url)
    await store.sync_policies({ASKED: ASKED_POLICY})
    world = PostgresWorld(store)
    desk = Desk(world)
    await desk.start()
    await desk.call()
    await desk.answer(await desk.due(), "nothing")
    await world.later(5 * MINUTE)
    await desk.answer(await desk.due())
    kept = await world.rows("SELECT raw FROM events WHERE type = 'fr.lettrage.gateway.report.v1' ORDER BY place")
    assert [row["raw"] for row in kept] == [b"<answer/>", b"<answer/>"]
    await store.close()
