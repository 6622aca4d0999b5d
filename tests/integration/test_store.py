"""The store's promises, the same for PostgreSQL and for the memory that simulations use."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from schemas.decisions import Decision, Dossier
from schemas.events import DiscrepancyResolved, Event, EventType, Queue
from schemas.records import Policy
from schemas.reports import Report
from tests.integration.worlds import (
    HOLD,
    POLICY,
    REGIE,
    MemoryWorld,
    PostgresWorld,
    World,
    callback,
    drained,
    fact,
    issued,
    recorded,
    refunded,
    report_of,
    said,
    settled,
    started,
    states,
)
from worker.domain.decide import decide
from worker.store.postgres import PostgresStore

LEASE_SECONDS = 2
EVIDENCE_SECONDS = 2
LAST_TRY = 8


@pytest.fixture(params=["memory", "postgresql"])
async def world(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[World]:
    """Each store, with one régie."""
    if request.param == "memory":
        yield MemoryWorld()
        return
    store = await PostgresStore.open(database_url)
    await store.sync_policies({REGIE: POLICY})
    yield PostgresWorld(store)
    await store.close()


def exploding(_dossier: Dossier, _events: Sequence[Event], _policy: Policy, _now: datetime) -> Decision:
    """A decision that fails."""
    raise AssertionError("an invariant is broken")


# record


async def test_facts_are_kept_in_the_order_given(world: World) -> None:
    """Places grow with the batch: they are the order received."""
    receipts = await world.store.record([issued("C"), issued("A"), issued("B")])
    places = [receipt.place for receipt in receipts]
    assert places == sorted(set(places))
    assert {receipt.status for receipt in receipts} == {"accepted"}
    assert list(await world.pending()) == places


async def test_nothing_to_keep_is_nothing(world: World) -> None:
    """An empty batch answers an empty list."""
    assert await world.store.record([]) == []


async def test_the_same_fact_again_is_a_duplicate(world: World) -> None:
    """Same key, same content: its place is the first one's, and nothing more waits."""
    (first,) = await world.store.record([issued("F", event_id="1")])
    (again,) = await world.store.record([issued("F", event_id="1")])
    assert (again.place, again.status) == (first.place, "duplicate")
    assert len(await world.pending()) == 1


async def test_another_content_under_a_known_key_is_a_conflict(world: World) -> None:
    """The first one stands."""
    (first,) = await world.store.record([issued("F", 900, event_id="1")])
    (again,) = await world.store.record([issued("F", 800, event_id="1")])
    assert (again.place, again.status) == (first.place, "conflict")
    assert len(await world.pending()) == 1


async def test_a_key_is_client_source_and_id(world: World) -> None:
    """Another client or source may use the same id."""
    base, other_client, other_source = (issued("F", event_id="1") for _ in range(3))
    other_client.client = "another"
    other_source.source = "/another"
    receipts = await world.store.record([base, other_client, other_source])
    assert [receipt.status for receipt in receipts] == ["accepted"] * 3


async def test_one_batch_may_repeat_itself(world: World) -> None:
    """Within a batch the first of a key stands: the others are its duplicates or conflicts."""
    batch = [
        issued("F", 900, event_id="1"),
        issued("F", 900, event_id="1"),
        issued("F", 800, event_id="1"),
        issued("G", 900, event_id="2"),
    ]
    receipts = await world.store.record(batch)
    assert [receipt.status for receipt in receipts] == ["accepted", "duplicate", "conflict", "accepted"]
    assert len({receipt.place for receipt in receipts[:3]}) == 1
    assert len(await world.pending()) == 2


async def test_a_batch_may_repeat_what_is_known(world: World) -> None:
    """Each is compared with what was kept, not with its neighbour in the batch."""
    await recorded(world, issued("F", 900, event_id="1"))
    batch = [issued("F", 800, event_id="1"), issued("F", 900, event_id="1"), issued("F", 800, event_id="1")]
    receipts = await world.store.record(batch)
    assert [receipt.status for receipt in receipts] == ["conflict", "duplicate", "conflict"]


async def test_a_duplicate_of_something_done_is_a_duplicate(world: World) -> None:
    """It does not wait again."""
    await recorded(world, issued("F", event_id="1"))
    await drained(world)
    (again,) = await world.store.record([issued("F", event_id="1")])
    assert again.status == "duplicate"
    assert await world.pending() == {}


async def test_a_fact_is_received_when_it_is_kept_unless_it_says_otherwise(world: World) -> None:
    """By the store's clock; an archive keeps its own time."""
    then = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    now, archived = await recorded(world, issued("F"), issued("G", received_at=then))
    assert abs(datetime.now(UTC) - await world.received_at(now)) < timedelta(minutes=1)
    assert await world.received_at(archived) == then


async def test_of_facts_received_together_the_one_placed_last_stands(world: World) -> None:
    """Facts kept at once, without a time of their own, are ordered by their places, whatever their ids."""
    for number in range(5):
        invoice = f"F-{number}"
        await recorded(
            world, issued(invoice, 900, event_id=f"{number}-b"), issued(invoice, 1000, event_id=f"{number}-a")
        )
    await drained(world)
    assert {row[1] for row in (await world.snapshot())["invoices"].values()} == {1000}


# claim


async def test_claims_come_oldest_first_and_whole(world: World) -> None:
    """What was kept is what is claimed, up to the limit."""
    kept = [
        issued("F", trace="00-t", waited=True, time=datetime(2026, 11, 23, tzinfo=UTC)),
        started("P", "F"),
        settled("G"),
    ]
    places = await recorded(world, *kept)
    first = await world.store.claim(Queue.PAYMENT_STARTED, 2)
    assert [event.place for event in first] == places[:2]
    event, new = first[0], kept[0]
    assert (event.id, event.type, event.regie, event.data) == (new.id, new.type, new.regie, new.data)
    assert (event.time, event.trace, event.waited, event.attempts) == (new.time, "00-t", True, 1)
    assert [event.place for event in await world.store.claim(Queue.PAYMENT_STARTED, 2)] == places[2:]


async def test_nothing_is_claimed_twice_while_it_is_leased(world: World) -> None:
    """Somebody is at it."""
    await recorded(world, issued("F"))
    assert await world.store.claim(Queue.INVOICE_CHANGED, 10)
    assert await world.store.claim(Queue.INVOICE_CHANGED, 10) == []


async def test_a_lease_ends(world: World) -> None:
    """A killed worker's events are claimable again, and its attempt counted."""
    await recorded(world, issued("F"))
    await world.store.claim(Queue.INVOICE_CHANGED, 10)
    await world.later(LEASE_SECONDS)
    (event,) = await world.store.claim(Queue.INVOICE_CHANGED, 10)
    assert event.attempts == 2


@pytest.mark.parametrize("queue", [queue for queue in Queue if queue is not Queue.GATEWAY_CALLBACK])
async def test_facts_are_claimed_together_whatever_their_queue(world: World, queue: Queue) -> None:
    """An invoice's facts are never overtaken by a payment-started."""
    facts = await recorded(world, issued("F"), started("P", "F"), refunded("P"))
    await recorded(world, callback("P"))
    assert [event.place for event in await world.store.claim(queue, 10)] == facts


async def test_callbacks_are_claimed_apart(world: World) -> None:
    """They need a gateway, which may be slow."""
    await recorded(world, issued("F"), started("P", "F"))
    (place,) = await recorded(world, callback("P"))
    assert [event.place for event in await world.store.claim(Queue.GATEWAY_CALLBACK, 10)] == [place]


@pytest.mark.parametrize(("queue", "make"), [(Queue.INVOICE_CHANGED, issued), (Queue.GATEWAY_CALLBACK, callback)])
async def test_what_came_back_twice_comes_alone(world: World, queue: Queue, make: object) -> None:
    """An event whose worker died twice takes no others with it; the others go on without it."""
    places = await recorded(world, *(make(name) for name in "ABC"))  # type: ignore[operator]
    for _ in range(2):
        assert len(await world.store.claim(queue, 10)) == 3
        await world.later(LEASE_SECONDS)
    (fresh,) = await recorded(world, make("D"))  # type: ignore[operator]
    alone = [[event.place for event in await world.store.claim(queue, 10)] for _ in range(4)]
    assert alone == [[places[0]], [places[1]], [places[2]], [fresh]]


async def test_what_came_back_twice_waits_for_a_batch_that_is_older(world: World) -> None:
    """It is not its turn yet: the ones before it go together."""
    (suspect,) = await recorded(world, issued("B"))
    for _ in range(2):
        await world.store.claim(Queue.INVOICE_CHANGED, 10)
        await world.later(LEASE_SECONDS)
    fresh = await recorded(world, issued("C"), issued("D"))
    assert [event.place for event in await world.store.claim(Queue.INVOICE_CHANGED, 10)] == [suspect]
    assert [event.place for event in await world.store.claim(Queue.INVOICE_CHANGED, 10)] == fresh


# put off and park


async def test_a_failed_event_comes_back_after_a_backoff(world: World) -> None:
    """2 s after the first failure, 4 s after the second; its error is on record."""
    (place,) = await recorded(world, issued("F"))
    (event,) = await world.store.claim(Queue.INVOICE_CHANGED, 10)
    assert not await world.store.put_off(event, "ValueError: no")
    assert (await world.pending())[place].error == "ValueError: no"
    await world.later(1)
    assert await world.store.claim(Queue.INVOICE_CHANGED, 10) == []
    await world.later(1)
    (event,) = await world.store.claim(Queue.INVOICE_CHANGED, 10)
    await world.store.put_off(event, "ValueError: no")
    await world.later(3)
    assert await world.store.claim(Queue.INVOICE_CHANGED, 10) == []
    await world.later(1)
    assert await world.store.claim(Queue.INVOICE_CHANGED, 10)


async def test_after_eight_tries_an_event_is_parked(world: World) -> None:
    """Visible, counted, never claimed again, never expired."""
    (place,) = await recorded(world, issued("F"))
    parked = []
    for _ in range(LAST_TRY):
        (event,) = await world.store.claim(Queue.INVOICE_CHANGED, 10)
        parked.append(await world.store.put_off(event, "AssertionError: x"))
        await world.later(300)
    assert parked == [False] * (LAST_TRY - 1) + [True]
    await world.later(86400)
    assert await world.store.claim(Queue.INVOICE_CHANGED, 10) == []
    assert await world.store.waiting(0) == []
    assert (await world.pending())[place] == (LAST_TRY, True, "AssertionError: x")


async def test_an_event_that_kills_its_worker_at_every_try_is_parked(world: World) -> None:
    """Nobody lives to put it off: the next claim does."""
    (place,) = await recorded(world, issued("F"))
    for _ in range(LAST_TRY):
        assert await world.store.claim(Queue.INVOICE_CHANGED, 10)
        await world.later(LEASE_SECONDS)
    assert await world.store.claim(Queue.INVOICE_CHANGED, 10) == []
    assert (await world.pending())[place].parked


async def test_putting_off_what_another_has_done_is_nothing(world: World) -> None:
    """A slow worker gives back what a quicker one applied."""
    await recorded(world, issued("F"))
    (event,) = await world.store.claim(Queue.INVOICE_CHANGED, 10)
    await world.store.apply([event], decide)
    assert not await world.store.put_off(event, "TimeoutError: x")
    assert await world.pending() == {}


# apply


async def test_applied_exactly_once(world: World) -> None:
    """The same claim applied again says and does nothing."""
    (place,) = await recorded(world, issued("F"))
    events = await world.store.claim(Queue.INVOICE_CHANGED, 10)
    done = await world.store.apply(events, decide)
    before = await world.snapshot()
    again = await world.store.apply(events, decide)
    assert [(event.place, applied.reason) for event, applied in done.applied] == [(place, "issued")]
    assert again.applied == []
    assert await world.snapshot() == before
    assert await world.outcomes() == {place: ("applied", "issued")}
    assert await world.pending() == {}


async def test_what_another_did_meanwhile_is_left_out(world: World) -> None:
    """Of two events one was done: only the other is applied."""
    places = await recorded(world, issued("F"), issued("G"))
    events = await world.store.claim(Queue.INVOICE_CHANGED, 10)
    await world.store.apply(events[:1], decide)
    done = await world.store.apply(events, decide)
    assert [event.place for event, _ in done.applied] == places[1:]


async def test_all_or_nothing(world: World) -> None:
    """A decision that fails leaves no trace: not a row, not an outcome, and the events still wait."""
    await recorded(world, issued("F"))
    await drained(world)
    before = await world.snapshot()
    places = await recorded(world, started("P", "F"), issued("G"))
    events = await world.store.claim(Queue.PAYMENT_STARTED, 10)
    with pytest.raises(AssertionError, match="an invariant is broken"):
        await world.store.apply(events, exploding)
    assert await world.snapshot() == before
    assert list(await world.pending()) == places
    assert len(await world.outcomes()) == 1


async def test_a_failure_in_the_last_dossier_undoes_the_first(world: World) -> None:
    """Several dossiers in a batch are one transaction."""
    calls = []

    def second_fails(dossier: Dossier, events: Sequence[Event], policy: Policy, now: datetime) -> Decision:
        calls.append(len(events))
        if len(calls) == 2:
            raise AssertionError
        return decide(dossier, events, policy, now)

    await recorded(world, issued("F"), issued("G"))
    events = await world.store.claim(Queue.INVOICE_CHANGED, 10)
    with pytest.raises(AssertionError):
        await world.store.apply(events, second_fails)
    assert calls == [1, 1]
    assert await world.outcomes() == {}


async def test_what_shares_money_is_one_dossier(world: World) -> None:
    """Invoices that one payment names, and payments that name one invoice; the others are decided apart."""
    seen = []

    def spied(dossier: Dossier, events: Sequence[Event], policy: Policy, now: datetime) -> Decision:
        seen.append((len(events), sorted(row.number for row in dossier.invoices.values())))
        return decide(dossier, events, policy, now)

    await recorded(world, issued("A"), issued("B"), issued("C"), issued("D"), started("P", "A", "B"))
    await drained(world)
    await recorded(world, settled("C"), started("Q", "B", "C"), settled("A"), settled("D"))
    await world.store.apply(await world.store.claim(Queue.PAYMENT_STARTED, 10), spied)
    assert sorted(seen) == [(1, ["D"]), (3, ["A", "B", "C"])]


async def test_events_of_a_dossier_are_decided_in_the_order_received(world: World) -> None:
    """Whatever the order in which they were handed over."""
    first, second = await recorded(world, started("P", "F"), started("Q", "F"))
    events = await world.store.claim(Queue.PAYMENT_STARTED, 10)
    await world.store.apply(events[::-1], decide)
    assert await world.outcomes() == {first: ("applied", "hold_taken"), second: ("refused", "invoice_in_payment")}


async def test_an_event_that_lettrage_already_applied_needs_no_claim_to_be_seen(world: World) -> None:
    """Done tells events with their outcomes and when that was decided."""
    await recorded(world, issued("F", waited=True))
    done = await drained(world)
    ((event, applied),) = done.applied
    assert (event.type, event.waited, applied.outcome) == (EventType.INVOICE_ISSUED, True, "applied")
    assert done.decided_at is not None


# callbacks and their reports


async def test_a_callback_gets_the_outcome_of_its_report(world: World) -> None:
    """The report is an event of its own, received when its callback was; both are done in one transaction."""
    await recorded(world, started("P", "F"))
    await drained(world)
    (place,) = await recorded(world, callback("P"))
    (event,) = await world.store.claim(Queue.GATEWAY_CALLBACK, 10)
    await world.later(1)
    event.received_at = await world.received_at(place)
    done = await world.store.apply([event], decide, {place: report_of(event, said("P"))})
    kinds = [(event.type, applied.reason) for event, applied in done.applied]
    assert sorted(kinds) == [
        (EventType.GATEWAY_CALLBACK, "money_received"),
        (EventType.GATEWAY_REPORT, "money_received"),
    ]
    report = max(await world.outcomes())
    assert await world.received_at(report) == await world.received_at(place)
    assert await states(world) == {"F": "paid"}
    assert await world.pending() == {}


async def test_a_callback_applied_twice_makes_one_report(world: World) -> None:
    """Two workers read it, one writes."""
    (place,) = await recorded(world, callback("P"))
    (event,) = await world.store.claim(Queue.GATEWAY_CALLBACK, 10)
    await world.store.apply([event], decide, {place: report_of(event, said("P"))})
    again = await world.store.apply([event], decide, {place: report_of(event, said("P"))})
    assert again.applied == []
    assert len(await world.outcomes()) == 2


async def test_resolving_money_that_nobody_owns_leaves_its_amount(world: World) -> None:
    """Who resolves names the discrepancy alone, not the charge: what it says of the charge stands."""
    await recorded(world, callback("P"))
    (event,) = await world.store.claim(Queue.GATEWAY_CALLBACK, 10)
    await world.store.apply([event], decide, {event.place: report_of(event, said("P"))})
    (shown,) = (await world.snapshot())["discrepancies"]
    data = DiscrepancyResolved(regie=REGIE, id=shown, resolution="explained", amount_cents=900, comment="another till")
    await recorded(world, fact(EventType.DISCREPANCY_RESOLVED, data))
    await drained(world)
    assert (await world.snapshot())["discrepancies"] == {shown: ("unknown_payment", 900, "resolved")}


async def test_reports_of_other_events_are_left_alone(world: World) -> None:
    """After a bisection a half carries the reports of the whole batch."""
    places = await recorded(world, callback("P"), callback("Q"))
    events = await world.store.claim(Queue.GATEWAY_CALLBACK, 10)
    reports = {event.place: report_of(event, said(name)) for event, name in zip(events, "PQ", strict=True)}
    await world.store.apply(events[:1], decide, reports)
    assert list(await world.pending()) == places[1:]
    await world.store.apply(events[1:], decide, reports)
    assert len(await world.outcomes()) == 4


async def called_back(world: World, *reports: Report) -> None:
    """A callback for each report, applied together."""
    await recorded(world, *(callback(report.gateway_reference) for report in reports))
    events = await world.store.claim(Queue.GATEWAY_CALLBACK, 100)
    told = {event.place: report_of(event, report) for event, report in zip(events, reports, strict=True)}
    await world.store.apply(events, decide, told)


async def discrepancies(world: World) -> list[tuple[str, int, str]]:
    """Kind, cents and state of each."""
    return sorted((await world.snapshot())["discrepancies"].values())


async def test_unproven_answers_are_one_discrepancy_and_no_row_else(world: World) -> None:
    """However many, together or apart; an unknown reference is not created by them."""
    forged = [said("made-up", cents=cents) for cents in (100, 900, 500)]
    for report in forged:
        report.verified = False
    await called_back(world, *forged[:2])
    await called_back(world, forged[2])
    snapshot = await world.snapshot()
    assert await discrepancies(world) == [("unverified_callback", 900, "open")]
    assert (snapshot["owners"], snapshot["charges"], snapshot["payments"]) == ({}, {}, {})


async def test_money_without_an_owner_waits_for_it(world: World) -> None:
    """Shown as unknown until its payment starts; then it pays, and nothing is left to explain."""
    await called_back(world, said("P"))
    assert await discrepancies(world) == [("unknown_payment", 900, "open")]
    await recorded(world, issued("F"), started("P", "F"))
    await drained(world)
    assert await states(world) == {"F": "paid"}
    assert await discrepancies(world) == [("unknown_payment", 0, "closed")]


async def test_a_discrepancy_is_resolved_by_an_event(world: World) -> None:
    """For the amount that was seen; a larger one reopens it."""
    await recorded(world, issued("F"), started("P", "F"))
    await drained(world)
    await called_back(world, said("P", cents=1000))
    (key,) = (await world.snapshot())["discrepancies"]
    seen = DiscrepancyResolved(regie=REGIE, id=key, resolution="written_off", amount_cents=100, comment="seen")
    (place,) = await recorded(world, fact(EventType.DISCREPANCY_RESOLVED, seen))
    await drained(world)
    assert (await world.outcomes())[place] == ("applied", "discrepancy_resolved")
    assert await discrepancies(world) == [("overpaid", 100, "resolved")]
    await called_back(world, said("P", cents=50, transaction="more"))
    assert await discrepancies(world) == [("overpaid", 150, "open")]


# holds


async def test_a_hold_that_is_over_is_ended_by_an_event_of_ours(world: World) -> None:
    """payment.timed_out, with its outcome and how late it was written."""
    await recorded(world, issued("F"), started("P", "F"))
    await drained(world)
    assert (await world.store.end_due_holds(decide, 10)).applied == []
    await world.later(HOLD)
    done = await world.store.end_due_holds(decide, 10)
    ((event, applied),) = done.applied
    assert (event.type, applied.reason) == (EventType.PAYMENT_TIMED_OUT, "hold_expired")
    ((regie, seconds),) = done.lateness
    assert regie == REGIE
    assert 0 <= seconds < 60
    assert await states(world) == {"F": "payable"}
    assert (await world.store.end_due_holds(decide, 10)).applied == []


async def test_holds_end_in_the_order_of_their_ends_up_to_a_limit(world: World) -> None:
    """The longest over comes first."""
    for reference in "PQR":
        await recorded(world, started(reference, f"F-{reference}"))
        await drained(world)
        await world.later(10)
    await world.later(HOLD)
    first = await world.store.end_due_holds(decide, 2)
    assert {event.data.reference for event, _ in first.applied} == {"P", "Q"}
    second = await world.store.end_due_holds(decide, 2)
    assert {event.data.reference for event, _ in second.applied} == {"R"}


async def test_a_sweep_that_fails_ends_nothing(world: World) -> None:
    """No event of ours without its outcome."""
    await recorded(world, started("P", "F"))
    await drained(world)
    await world.later(HOLD)
    with pytest.raises(AssertionError):
        await world.store.end_due_holds(exploding, 10)
    assert len(await world.outcomes()) == 1
    assert len((await world.store.end_due_holds(decide, 10)).applied) == 1


async def held_and_over(world: World, *evidence_in_time: str) -> list[int]:
    """A payment P whose hold is over by a second, with callbacks that came in time; their places."""
    await recorded(world, issued("F"), started("P", "F"))
    await drained(world)
    await world.later(HOLD - 5)
    places = await recorded(world, *(callback(subject) for subject in evidence_in_time))
    await world.later(6)
    return places


async def test_evidence_comes_before_the_timeout(world: World) -> None:
    """A stored callback nobody has tried keeps the hold; claimed as evidence and applied, it pays."""
    (place,) = await held_and_over(world, "P")
    assert (await world.store.end_due_holds(decide, 10)).applied == []
    (event,) = await world.store.claim_evidence(10)
    assert (event.place, event.attempts) == (place, 1)
    await world.store.apply([event], decide, {place: report_of(event, said("P"))})
    assert (await world.store.end_due_holds(decide, 10)).applied == []
    assert await states(world) == {"F": "paid"}


async def test_an_ask_under_way_delays_the_timeout_by_at_most_two_seconds(world: World) -> None:
    """Then the hold is over, whatever the gateway will say."""
    await held_and_over(world, "P")
    assert await world.store.claim_evidence(10)
    await world.later(EVIDENCE_SECONDS / 4)
    assert (await world.store.end_due_holds(decide, 10)).applied == []
    await world.later(EVIDENCE_SECONDS)
    assert len((await world.store.end_due_holds(decide, 10)).applied) == 1
    assert await states(world) == {"F": "payable"}


async def test_a_hold_that_waited_for_its_evidence_ends_with_the_next_sweep(world: World) -> None:
    """Sweeps that found nothing to do meanwhile have not passed it by."""
    await held_and_over(world, "P")
    await world.later(2)
    assert await world.store.claim_evidence(10)
    await world.later(EVIDENCE_SECONDS / 4)
    assert (await world.store.end_due_holds(decide, 10)).applied == []
    await world.later(EVIDENCE_SECONDS)
    assert len((await world.store.end_due_holds(decide, 10)).applied) == 1


async def test_evidence_that_failed_once_delays_nothing(world: World) -> None:
    """It is tried again in its own time."""
    await held_and_over(world, "P")
    (event,) = await world.store.claim_evidence(10)
    await world.store.put_off(event, "TimeoutError: gateway")
    await world.later(EVIDENCE_SECONDS)
    assert await world.store.claim_evidence(10) == []
    assert len((await world.store.end_due_holds(decide, 10)).applied) == 1


async def test_evidence_that_came_after_the_end_delays_nothing(world: World) -> None:
    """The hold was over when it arrived."""
    await held_and_over(world)
    await recorded(world, callback("P"))
    assert len((await world.store.end_due_holds(decide, 10)).applied) == 1


async def test_anothers_evidence_delays_nothing(world: World) -> None:
    """Only what is about one of the payment's gateway references."""
    await held_and_over(world, "Q")
    assert await world.store.claim_evidence(10) == []
    assert len((await world.store.end_due_holds(decide, 10)).applied) == 1


async def test_evidence_of_any_of_the_payments_references_counts(world: World) -> None:
    """An idOp opens once: the payment may have several."""
    await recorded(world, started("P", "F", gateway_reference="idop-1"), started("P", "F", gateway_reference="idop-2"))
    await drained(world)
    await world.later(HOLD - 5)
    await recorded(world, callback("idop-1"))
    await world.later(6)
    assert (await world.store.end_due_holds(decide, 10)).applied == []
    assert len(await world.store.claim_evidence(10)) == 1


async def test_evidence_of_holds_that_are_on_is_not_in_a_hurry(world: World) -> None:
    """It is claimed as any other callback."""
    await recorded(world, started("P", "F"))
    await drained(world)
    await recorded(world, callback("P"))
    assert await world.store.claim_evidence(10) == []
    assert len(await world.store.claim(Queue.GATEWAY_CALLBACK, 10)) == 1


async def test_evidence_of_one_payment_keeps_no_other(world: World) -> None:
    """Others due at the same moment end at it."""
    await recorded(world, started("P", "F"), started("Q", "G"))
    await drained(world)
    await world.later(HOLD - 5)
    await recorded(world, callback("P"))
    await world.later(6)
    done = await world.store.end_due_holds(decide, 10)
    assert [event.data.reference for event, _ in done.applied] == ["Q"]


async def test_the_next_deadline_is_told_in_seconds(world: World) -> None:
    """None without holds; negative once it has passed; gone when its hold has ended."""
    assert await world.store.next_deadline() is None
    await recorded(world, started("P", "F"), started("Q", "G"))
    await drained(world)
    due = await world.store.next_deadline()
    assert due is not None
    assert HOLD - 60 < due <= HOLD
    await world.later(HOLD + 5)
    due = await world.store.next_deadline()
    assert due is not None
    assert -65 < due <= -5
    await world.store.end_due_holds(decide, 10)
    assert await world.store.next_deadline() is None


async def test_money_takes_the_timer_away(world: World) -> None:
    """Paid: there is nothing to end."""
    await recorded(world, started("P", "F"))
    await drained(world)
    (place,) = await recorded(world, callback("P"))
    (event,) = await world.store.claim(Queue.GATEWAY_CALLBACK, 10)
    await world.store.apply([event], decide, {place: report_of(event, said("P"))})
    assert await world.store.next_deadline() is None
    assert (await world.snapshot())["timers"] == set()


async def test_a_hold_that_is_over_can_be_taken_over_before_it_is_written(world: World) -> None:
    """The next payment goes by the clock; the sweep writes the old one's end and leaves the new hold alone."""
    await recorded(world, issued("F"), started("P", "F"))
    await drained(world)
    await world.later(HOLD)
    (place,) = await recorded(world, started("Q", "F"))
    await drained(world)
    assert (await world.outcomes())[place] == ("applied", "hold_taken")
    await world.store.end_due_holds(decide, 10)
    snapshot = await world.snapshot()
    assert snapshot["held"] == {("Q", "F")}
    assert snapshot["timers"] == {"Q"}
    assert snapshot["payments"]["P"][0] == "expired"


# waiting


async def test_waiting_names_the_queues_that_nobody_drained(world: World) -> None:
    """Only what is old enough and claimable."""
    assert await world.store.waiting(0) == []
    await recorded(world, issued("F"), callback("P"))
    assert await world.store.waiting(60) == []
    await world.later(61)
    assert set(await world.store.waiting(60)) == {Queue.INVOICE_CHANGED, Queue.GATEWAY_CALLBACK}
    await world.store.claim(Queue.INVOICE_CHANGED, 10)
    assert await world.store.waiting(60) == [Queue.GATEWAY_CALLBACK]
    await world.later(LEASE_SECONDS)
    assert set(await world.store.waiting(60)) == {Queue.INVOICE_CHANGED, Queue.GATEWAY_CALLBACK}


async def test_what_was_put_off_waits_when_its_time_comes(world: World) -> None:
    """Not before: nobody could claim it."""
    await recorded(world, issued("F"))
    (event,) = await world.store.claim(Queue.INVOICE_CHANGED, 10)
    await world.store.put_off(event, "x")
    assert await world.store.waiting(0) == []
    await world.later(2)
    assert await world.store.waiting(0) == [Queue.INVOICE_CHANGED]


async def test_many_at_once_share_the_work(world: World) -> None:
    """Claims that run together never overlap."""
    places = await recorded(world, *(issued(f"F-{n}") for n in range(40)))
    claims = await asyncio.gather(*(world.store.claim(Queue.INVOICE_CHANGED, 10) for _ in range(8)))
    claimed = [event.place for claim in claims for event in claim]
    assert len(claimed) == len(set(claimed))
    assert set(claimed) <= set(places)


# an archive brings callbacks and their reports


@pytest.mark.parametrize("client", ["", "portail"])
async def test_a_callback_whose_report_is_kept_is_claimed_as_such(world: World, client: str) -> None:
    """Whoever claims it need not read it again; it is done as saying nothing new, and its report counts once."""
    called = callback("G")
    called.client = client
    (place,) = await recorded(world, called)
    (claimed,) = await world.store.claim(Queue.GATEWAY_CALLBACK, 10)
    assert not claimed.reported
    await world.later(LEASE_SECONDS + 1)
    await recorded(world, report_of(claimed, said("G")))
    (again,) = await world.store.claim(Queue.GATEWAY_CALLBACK, 10)
    assert again.reported
    done = await world.store.apply([again], decide)
    assert [(event.place, each.outcome, each.reason) for event, each in done.applied] == [
        (place, "ignored", "result_already_known")
    ]


async def test_a_report_that_came_while_its_callback_was_read_stands(world: World) -> None:
    """The one that was read here is not kept a second time, and the callback is done."""
    await recorded(world, callback("G"))
    (claimed,) = await world.store.claim(Queue.GATEWAY_CALLBACK, 10)
    await recorded(world, report_of(claimed, said("G")))
    done = await world.store.apply([claimed], decide, {claimed.place: report_of(claimed, said("G", "R"))})
    assert [(event.type, each.reason) for event, each in done.applied] == [
        (EventType.GATEWAY_CALLBACK, "result_already_known")
    ]
    (told,) = (await drained(world)).applied
    assert told[1].reason == "waits_for_payment"
    assert await world.pending() == {}
