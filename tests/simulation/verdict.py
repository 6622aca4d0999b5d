"""What must be true of every world: during it after each commit, and once it has come to rest."""

from collections import Counter
from collections.abc import Iterator

from schemas.events import EventType
from schemas.records import InvoiceState, PaymentState
from tests.model import Fact, Verdict, judge
from tests.property.desk import BEGINNING, UNJUDGED
from tests.simulation.gateway import fact_of
from tests.simulation.town import Town
from tests.simulation.world import World

LATENESS_SECONDS = 3.0
"""In fair weather: two for evidence under way, and the clock's slowed pace."""

MAX_SHOWN = 2000
"""Characters of a complaint."""


class BrokenWorldError(AssertionError):
    """Something that must always hold does not."""


def require(holds: bool, what: str, *about: object) -> None:  # noqa: FBT001 - an assertion, also under -O
    """Raise unless it holds."""
    if not holds:
        raise BrokenWorldError(f"{what}: {', '.join(map(repr, about))[:MAX_SHOWN]}")


def watch(world: World) -> None:
    """After each commit: nobody's invoice is held twice, and every hold has its end and its face."""
    tables = world.store.tables
    holder: dict[int, str] = {}
    for payment in tables.payments.values():
        for line in payment.lines:
            if line.held:
                require(line.invoice_id not in holder, "held by two payments", payment, holder.get(line.invoice_id))
                require(not payment.hold_over and payment.payable_again_at is not None, "a hold without end", payment)
                holder[line.invoice_id] = payment.reference
    for invoice in tables.invoices.values():
        in_payment = invoice.state is InvoiceState.IN_PAYMENT
        require(in_payment == (invoice.id in holder), "in payment is to be held", invoice)


def pronounce(world: World) -> None:
    """At the end: everything arrived, once; everything is as the judge says."""
    everything_is_done(world)
    for town in world.towns:
        money_is_as_judged(town, judge(facts_in(town)))
        the_portal_was_told(town)
    every_hold_ended_once(world)
    the_journal_tells_it_all(world)
    fair_weather_is_punctual(world)


def everything_is_done(world: World) -> None:
    """Every acknowledged event is stored once and has one outcome; nothing waits, nothing is parked."""
    tables = world.store.tables
    require(not world.surprises, "errors that no weather explains", *world.surprises)
    require(not tables.pending, "still pending", *tables.pending.values())
    require(set(world.acknowledged) == {event.id for event in world.sent}, "never acknowledged")
    kept = Counter((event.client, event.source, event.id) for event in tables.events.values())
    require(max(kept.values()) == 1, "kept twice", kept.most_common(1))
    for event_id, place in world.acknowledged.items():
        require(tables.events[place].id == event_id, "acknowledged elsewhere", event_id)
        require(place in tables.outcomes, "acknowledged, without an outcome", event_id)
    require(set(tables.events) == set(tables.outcomes), "an outcome for each event, and no other")
    reports = [event for event in tables.events.values() if event.type is EventType.GATEWAY_REPORT]
    callbacks = [event for event in tables.events.values() if event.type is EventType.GATEWAY_CALLBACK]
    require(len(reports) == len(callbacks), "one report for each callback", len(reports), len(callbacks))


def facts_in(town: Town) -> list[Fact]:
    """What people and gateways told, in the order received."""
    return [fact for _, fact in sorted(_received(town), key=lambda pair: pair[0])]


def _received(town: Town) -> Iterator[tuple[tuple[float, int], Fact]]:
    world = town.world
    for event_id, told in town.facts.items():
        event = world.store.tables.events[world.acknowledged[event_id]]
        fact = fact_of(told["said"]) if told["fact"] == "callback" else told
        if fact is not None:
            seconds = (event.received_at - BEGINNING).total_seconds()
            yield (seconds, event.place), {**fact, "received": seconds}


def money_is_as_judged(town: Town, verdict: Verdict) -> None:
    """States, sums and discrepancies of one régie."""
    tables = town.world.store.tables
    states = states_of(town)
    require(states == verdict.states, "states", states, verdict.states)
    by_money = {PaymentState.PAID, PaymentState.REFUNDED, PaymentState.REVERSED}
    received = {
        row.reference: (row.received_cents, row.refunded_cents, row.state.value if row.state in by_money else None)
        for row in tables.payments.values()
        if row.state is not None and row.regie == town.regie
    }
    expected = {ref: (p.received, p.refunds, p.outcome) for ref, p in verdict.payments.items()}
    require(received == expected, "payments", received, expected)
    found = {
        (row.kind.value, row.payment, row.invoice): row.amount_cents
        for row in tables.discrepancies.values()
        if row.amount_cents > 0 and row.kind not in UNJUDGED and row.regie == town.regie
    }
    require(found == verdict.discrepancies, "discrepancies", found, verdict.discrepancies)
    unknown = {
        row.subject: row.amount_cents
        for row in tables.discrepancies.values()
        if row.amount_cents > 0 and row.kind == "unknown_payment" and row.regie == town.regie
    }
    expected_unknown = {" ".join(key): cents for key, cents in verdict.unknown_payments.items()}
    require(unknown == expected_unknown, "unknown payments", unknown, expected_unknown)


def states_of(town: Town) -> dict[str, str]:
    """State of each of a régie's invoices, by number."""
    rows = town.world.store.tables.invoices.values()
    return {row.number: row.state.value for row in rows if row.state is not None and row.regie == town.regie}


def every_hold_ended_once(world: World) -> None:
    """No hold is left, none ended by the clock before its time, none twice."""
    tables = world.store.tables
    for payment in tables.payments.values():
        require(payment.state is None or payment.hold_over, "a hold is left", payment)
    payments = {(row.regie, row.reference): row for row in tables.payments.values()}
    expired: Counter[tuple[str, str]] = Counter()
    for place, outcome in tables.outcomes.items():
        event = tables.events[place]
        if event.type is EventType.PAYMENT_TIMED_OUT and outcome.applied.outcome == "applied":
            expired[event.regie, event.data.reference] += 1
            payment = payments[event.regie, event.data.reference]
            require(payment.deadline is not None and outcome.decided_at >= payment.deadline, "too early", payment)
    require(not expired or max(expired.values()) == 1, "a hold ended twice", expired)


def the_journal_tells_it_all(world: World) -> None:
    """From nothing to what is, each step from where the last one led, each with a reason."""
    tables = world.store.tables
    shown: dict[tuple[int | None, int | None], str] = {}
    for entry in tables.journal:
        row = (entry.invoice_id, None) if entry.invoice_id is not None else (None, entry.payment_id)
        require(bool(entry.reason), "without a reason", entry)
        require(entry.before == shown.get(row), "from where it was not", entry)
        require(entry.place in tables.outcomes, "of no event", entry)
        shown[row] = entry.after
    for invoice in tables.invoices.values():
        require(shown.get((invoice.id, None)) == invoice.state, "another face than its journal's", invoice)
    for payment in tables.payments.values():
        require(shown.get((None, payment.id)) == payment.state, "another state than its journal's", payment)


def the_portal_was_told(town: Town) -> None:
    """An invoice's highest version is its truth; nobody is told anything where nobody listens."""
    told: dict[str, tuple[int, str]] = {}
    for effect in town.world.store.tables.outbox:
        if effect.type.startswith("invoice.") and effect.regie == town.regie:
            number, version = effect.data["number"], effect.data["version"]
            require(version > told.get(number, (0, ""))[0], "an older version", effect)
            told[number] = (version, effect.data["state"])
    truth = states_of(town) if town.policy.notify else {}
    require({number: state for number, (_, state) in told.items()} == truth, "told", told, truth)


def fair_weather_is_punctual(world: World) -> None:
    """Where nothing is broken or slow, a hold ends at its deadline, after the evidence that was there before it."""
    if not world.weather.is_fair:
        return
    tables = world.store.tables
    payments = {(row.regie, row.reference): row for row in tables.payments.values()}
    for place, outcome in tables.outcomes.items():
        event = tables.events[place]
        if event.type is EventType.PAYMENT_TIMED_OUT:
            late = (outcome.decided_at - event.data.due).total_seconds()
            require(late <= LATENESS_SECONDS, "late", event, late)
            payment = payments[event.regie, event.data.reference]
            if payment.first_money_at is not None and payment.first_money_at < event.data.due:
                assert payment.first_money_place is not None
                evidence = tables.outcomes[payment.first_money_place]
                require(evidence.decided_at <= outcome.decided_at, "ended before its evidence", payment)
