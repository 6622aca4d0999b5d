"""What must be true of every world: during it after each commit, and once it has come to rest."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from schemas.decisions import JournalEntry
from schemas.events import EventType, report_key
from schemas.records import InvoiceState, PaymentState
from schemas.reports import ReportResult
from tests.model import Fact, Verdict, judge, payments_of, placed
from tests.property.desk import BEGINNING, UNJUDGED
from tests.simulation.gateway import Said, fact_of
from tests.simulation.ledger import Asked, Ledger
from tests.simulation.town import Town
from tests.simulation.world import World
from worker.domain.asking import APART
from worker.domain.reasons import Reason
from worker.domain.record import PAYMENT_UNKNOWN
from worker.store.memory import Tables
from worker.verify.compare import Books, journals
from worker.verify.recompute import Application, Recomputation, batches
from worker.verify.stored import Stored, StoredEntry

OWN_QUESTIONS = "/asks"
"""The source of reports of questions that no callback made us ask."""
LATENESS_SECONDS = 3.0
"""In fair weather: two for evidence under way, and the clock's slowed pace."""

CALM_WATCH_SECONDS = 45.0
"""Of a watch that must be in the calm: a circuit breaker's rest, and time to ask again."""
NEVER = (float("inf"), 0)
"""When and where we heard of what we never heard of."""
MONEY = frozenset({ReportResult.PAID, ReportResult.PROVISIONAL})

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
        callbacks_were_answered(town)
        if town.ledger is not None:
            questions_were_proper(town.ledger)
            silence_is_shown(town, town.ledger)
            claims_about_nobody_are_shown(town)
    every_hold_ended_once(world)
    the_books_come_out_again(world)
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


def callbacks_were_answered(town: Town) -> None:
    """One report speaks for each callback; of claims, for all that one answer came for, in one transaction."""
    tables = town.world.store.tables
    mine = [event for event in tables.events.values() if event.regie == town.regie]
    reports = {(event.source, event.id): event for event in mine if event.type is EventType.GATEWAY_REPORT}
    spoken = {
        (event.data.gateway_reference, tables.outcomes[event.place].decided_at)
        for event in reports.values()
        if event.source != OWN_QUESTIONS
    }
    for event in mine:
        if event.type is EventType.GATEWAY_CALLBACK:
            told, outcome = town.facts[event.id], tables.outcomes[event.place]
            own = reports.pop(report_key(event.client, event.source, event.id), None)
            shared = own is None and town.ledger is not None and (told["reference"], outcome.decided_at) in spoken
            require(own is not None or shared, "a callback that nothing speaks for", event)
            reason = Reason.RESULT_ALREADY_KNOWN if own is None else tables.outcomes[own.place].applied.reason
            require(outcome.applied.reason == reason, "a callback with another outcome than its report", event, outcome)
    require(all(source == OWN_QUESTIONS for source, _ in reports), "a report that nobody asked for", reports)
    require(town.ledger is not None or not reports, "a gateway that cannot be asked was", reports)


def questions_were_proper(ledger: Ledger) -> None:
    """Only about payments that are known, one at a time about each, and not again at once unless somebody called."""
    latest: dict[str, Asked] = {}
    for asked in ledger.asked:
        require(asked.owned and asked.asked_at is not None, "asked about what nobody started", asked)
        before = latest.get(asked.reference)
        if before is not None:
            assert before.asked_at is not None
            assert asked.asked_at is not None
            require(before.ended <= asked.began, "two questions at once about one payment", before, asked)
            called = asked.called_at is not None and asked.called_at >= before.asked_at
            require(called or asked.asked_at - before.asked_at >= APART, "asked again too soon", before, asked)
        latest[asked.reference] = asked


def silence_is_shown(town: Town, ledger: Ledger) -> None:
    """Exactly where the watch ended without a sensible last answer, and no money ever came of the payment."""
    tables = town.world.store.tables
    paid = {reference for reference, _ in first_money(town)}
    silent: set[str] = set()
    for payment in tables.payments.values():
        if payment.regie == town.regie and payment.state is not None:
            names = {row.gateway_reference for row in tables.references.values() if row.payment_id == payment.id}
            if not names & paid:
                silent.update(name for name in names if ledger.cannot_say(name))
            assert payment.deadline is not None
            watched = (payment.deadline - BEGINNING).total_seconds() + town.policy.watch - town.world.calm_since
            require(watched >= CALM_WATCH_SECONDS, "the watch was over before the storm: no world to judge", watched)
    shown = {
        row.subject
        for row in tables.discrepancies.values()
        if row.regie == town.regie and row.kind == "gateway_silent" and row.state == "open"
    }
    require(shown == silent, "silent", shown, silent)


def claims_about_nobody_are_shown(town: Town) -> None:
    """A call about what nobody ever started is open, once; of what was started since, its gateway has spoken."""
    tables = town.world.store.tables
    owned = {row.gateway_reference for row in tables.references.values() if row.payment_id and row.regie == town.regie}
    claimed = {told["reference"] for told in town.facts.values() if told["fact"] == "claim"}
    shown = [
        row.subject
        for row in tables.discrepancies.values()
        if row.regie == town.regie and row.detail.get("why") == PAYMENT_UNKNOWN and row.state == "open"
    ]
    require(sorted(shown) == sorted(claimed - owned), "claims about nobody", shown, claimed, owned)


def facts_in(town: Town) -> list[Fact]:
    """What people and gateways told, in the order received."""
    return [fact for _, fact in sorted(_received(town), key=lambda pair: pair[0])]


def _received(town: Town) -> Iterator[tuple[tuple[float, int], Fact]]:
    world = town.world
    for event_id, told in town.facts.items():
        event = world.store.tables.events[world.acknowledged[event_id]]
        fact = fact_of(told["said"]) if told["fact"] == "callback" else told
        if fact is not None and told["fact"] != "claim":
            seconds = (event.received_at - BEGINNING).total_seconds()
            yield (seconds, event.place), {**fact, "received": seconds}
    if town.ledger is not None:
        yield from _found_out(town, town.ledger)


def _found_out(town: Town, ledger: Ledger) -> Iterator[tuple[tuple[float, int], Fact]]:
    """What the gateway knows in the end of every payment that somebody started, heard of as early as we did."""
    starts = [fact for fact in town.facts.values() if fact["fact"] == "started"]
    owned = {name for payment in payments_of(placed(starts)).values() for name in payment["gateway_references"]}
    came = first_money(town)
    for reference in sorted(owned & ledger.known.keys()):
        for said in _knowable(ledger, reference, came):
            if (fact := fact_of(said)) is not None:
                when = came.get((reference, said.transaction), NEVER)
                yield when, {**fact, "received": when[0]}


def _knowable(ledger: Ledger, reference: str, came: dict[tuple[str, str], tuple[float, int]]) -> list[Said]:
    """The last that a gateway said of a payment; where it says nothing any more, the money that we heard of before."""
    if not ledger.cannot_say(reference):
        return ledger.known[reference][-1:]
    return [said for said in ledger.known[reference] if (reference, said.transaction) in came]


def first_money(town: Town) -> dict[tuple[str, str], tuple[float, int]]:
    """When and where we heard of the money of each transaction first."""
    first: dict[tuple[str, str], tuple[float, int]] = {}
    for event in town.world.store.tables.events.values():
        if event.type is EventType.GATEWAY_REPORT and event.regie == town.regie and event.data.result in MONEY:
            when = (event.received_at - BEGINNING).total_seconds(), event.place
            identity = event.data.gateway_reference, event.data.transaction_id
            first[identity] = min(first.get(identity, when), when)
    return first


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


def the_books_come_out_again(world: World) -> None:
    """Every fact, decided again in its order and at its time, gives what is stored, as `lettrage verify` would find."""
    tables = world.store.tables
    stored = Stored(
        invoices=tables.invoices,
        payments=tables.payments,
        references=tables.references,
        charges=tables.charges,
        adjustments=tables.adjustments,
        discrepancies=tables.discrepancies,
        holds={
            row.id: row.payable_again_at
            for row in tables.payments.values()
            if row.state is not None and not row.hold_over and row.payable_again_at is not None
        },
        numbers={
            "invoices": {(row.regie, row.number): row.id for row in tables.invoices.values()},
            "payments": {(row.regie, row.reference): row.id for row in tables.payments.values()},
            "references": {(row.regie, row.gateway_reference): row.id for row in tables.references.values()},
        },
    )
    book = Recomputation(stored.number, {(town.regie, 1): town.policy for town in world.towns})
    for batch in batches(_applied(tables)):
        book.apply_again(batch)
    outcomes = {place: (each.applied.outcome, each.applied.reason) for place, each in tables.outcomes.items()}
    require(book.outcomes() == outcomes, "other outcomes, decided again")
    entries = [StoredEntry(id=n, **_fields(entry)) for n, entry in enumerate(tables.journal)]
    different = [*Books([book]).differences(stored), *journals(entries, book.journal())]
    require(not different, "other books, decided again", *different)


def _applied(tables: Tables) -> Iterator[Application]:
    for place, each in tables.outcomes.items():
        yield Application(
            event=tables.events[place],
            outcome=each.applied.outcome,
            reason=each.applied.reason,
            decided_at=each.decided_at,
            policy_version=1,
        )


def _fields(entry: JournalEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in JournalEntry.__struct_fields__}


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
