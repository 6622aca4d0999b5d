"""The store in memory, for simulations: the same port, the same dossiers, a clock of the caller's.

One transaction at a time and all or nothing, as PostgreSQL promises it; what is different there (locks, connections,
plans) is tested there.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from schemas.decisions import Applied, Decision, Done, Effect, JournalEntry
from schemas.events import QUEUES, Event, EventType, NewEvent, PaymentTimedOut, Queue, Receipt, digest_of, report_key
from schemas.records import (
    Adjustment,
    Ask,
    Charge,
    Discrepancy,
    DueAsk,
    GatewayReference,
    Invoice,
    Payment,
    Policy,
)
from worker.domain.keys import keys_of
from worker.store.grouping import Loaded, Names, dossiers_of, merged, spoken_for
from worker.store.port import Decide, Turn

LEASE = timedelta(seconds=2)
ASK_LEASE = timedelta(seconds=20)
MOST_PATIENT = timedelta(minutes=5)
CALLBACK_LEASE = timedelta(seconds=30)
LAST_TRY = 8
ALONE_AFTER = 2
EVIDENCE = {EventType.GATEWAY_CALLBACK, EventType.GATEWAY_REPORT}
EVIDENCE_WAIT = timedelta(seconds=2)


class Waiting(Struct):
    """What PostgreSQL keeps in `pending`."""

    event: Event
    queue: Queue
    subject: str | None
    attempts: int = 0
    leased_until: datetime | None = None
    claimed_at: datetime | None = None
    parked: bool = False
    asking: bool = False
    error: str | None = None


class Asking(Struct):
    """What PostgreSQL keeps in `asks`."""

    reference: GatewayReference
    due_at: datetime | None = None
    born_at: datetime | None = None
    leased_until: datetime | None = None
    asked_at: datetime | None = None
    called_at: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Tell whether it can be taken."""
        return self.due_at is not None and self.due_at <= now and (self.leased_until or now) <= now

    def was_called_since(self) -> bool:
        """Tell whether the gateway called after it was asked."""
        return self.called_at is not None and (self.asked_at is None or self.called_at > self.asked_at)


class Outcome(Struct):
    """What PostgreSQL keeps in `outcomes`."""

    applied: Applied
    decided_at: datetime


class Tables(Struct):
    """Everything that a transaction may change; copied before, put back when it fails."""

    events: dict[int, Event] = field(default_factory=dict)
    keys: dict[tuple[str, str, str], tuple[int, bytes]] = field(default_factory=dict)
    pending: dict[int, Waiting] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    invoices: dict[int, Invoice] = field(default_factory=dict)
    payments: dict[int, Payment] = field(default_factory=dict)
    references: dict[int, GatewayReference] = field(default_factory=dict)
    charges: dict[tuple[int, str], Charge] = field(default_factory=dict)
    adjustments: list[Adjustment] = field(default_factory=list)
    discrepancies: dict[str, Discrepancy] = field(default_factory=dict)
    asks: dict[int, Asking] = field(default_factory=dict)
    journal: list[JournalEntry] = field(default_factory=list)
    outbox: list[Effect] = field(default_factory=list)


class MemoryStore:
    """A `Store` whose tables are dicts. `clock` stands for the database's."""

    def __init__(self, clock: Callable[[], datetime], policies: dict[str, Policy]) -> None:
        self.tables = Tables()
        self.policies = policies
        self._clock = clock
        self._serial = 0

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    async def record(self, events: Sequence[NewEvent]) -> list[Receipt]:
        """Keep facts once; see the port."""
        return [self._record(event) for event in events]

    def _record(self, new: NewEvent) -> Receipt:
        key = (new.client, new.source, new.id)
        if key in self.tables.keys:
            place, digest = self.tables.keys[key]
            return Receipt(place=place, status="duplicate" if digest == new.digest else "conflict")
        event = self._keep(new)
        self.tables.pending[event.place] = Waiting(event, QUEUES[new.type], new.subject)
        return Receipt(place=event.place, status="accepted")

    def _keep(self, new: NewEvent) -> Event:
        place = self._next()
        event = Event(
            place=place,
            client=new.client,
            source=new.source,
            id=new.id,
            type=new.type,
            regie=new.regie,
            received_at=new.received_at or self._clock(),
            data=new.data,
            time=new.time,
            waited=new.waited,
            trace=new.trace,
        )
        self.tables.events[place] = event
        self.tables.keys[new.client, new.source, new.id] = place, new.digest
        return event

    async def claim(self, queue: Queue, limit: int) -> list[Event]:
        """Lease pending events; see the port."""
        callbacks = queue is Queue.GATEWAY_CALLBACK
        due = [
            waiting
            for _, waiting in sorted(self.tables.pending.items())
            if (waiting.queue is Queue.GATEWAY_CALLBACK) == callbacks and self._claimable(waiting)
        ][:limit]
        if due and due[0].attempts >= ALONE_AFTER:
            return self._lease(due[:1])
        return self._lease(waiting for waiting in due if waiting.attempts < ALONE_AFTER)

    def _claimable(self, waiting: Waiting) -> bool:
        return not waiting.parked and (waiting.leased_until is None or waiting.leased_until <= self._clock())

    def _lease(self, chosen: Iterable[Waiting]) -> list[Event]:
        events = []
        for waiting in chosen:
            waiting.attempts += 1
            waiting.claimed_at = self._clock()
            waiting.leased_until = self._clock() + LEASE
            if waiting.attempts > LAST_TRY:
                waiting.parked = True
            else:
                waiting.event.attempts = waiting.attempts
                waiting.event.reported = self._is_reported(waiting.event)
                events.append(copy.copy(waiting.event))
        return events

    def _is_reported(self, event: Event) -> bool:
        key = ("lettrage", *report_key(event.client, event.source, event.id))
        return event.type is EventType.GATEWAY_CALLBACK and key in self.tables.keys

    async def claim_evidence(self, limit: int) -> list[Event]:
        """Lease the evidence of holds that are over; see the port."""
        names = {name for payment in self._due()[:limit] for name in self._names_of(payment)}
        return self._lease(
            waiting
            for _, waiting in sorted(self.tables.pending.items())
            if self._is_evidence(waiting, names) and waiting.attempts == 0 and not waiting.parked
        )

    def _names_of(self, payment: Payment) -> set[tuple[str, str]]:
        return {(r.regie, r.gateway_reference) for r in self.tables.references.values() if r.payment_id == payment.id}

    @staticmethod
    def _is_evidence(waiting: Waiting, names: set[tuple[str, str]]) -> bool:
        return waiting.event.type in EVIDENCE and (waiting.event.regie, waiting.subject) in names

    def _due(self) -> list[Payment]:
        now = self._clock()
        due = [
            payment
            for payment in self.tables.payments.values()
            if payment.state is not None
            and not payment.hold_over
            and payment.payable_again_at is not None
            and payment.payable_again_at <= now
        ]
        return sorted(due, key=lambda payment: (payment.payable_again_at, payment.id))

    async def overtaking(self, events: Sequence[Event]) -> set[int]:
        """Nothing: here a batch is applied at once; see the port."""
        return set()

    async def apply(
        self,
        events: Sequence[Event],
        decide: Decide,
        reports: Mapping[int, NewEvent] | None = None,
        turn: Turn = nullcontext,
    ) -> Done:
        """Decide and write, all or nothing; see the port."""
        async with turn():
            mine = [event for event in events if event.place in self.tables.pending]
            return self._whole(lambda: self._apply(mine, decide, reports or {})) if mine else Done()

    def _whole(self, work: Callable[[], Done]) -> Done:
        before = copy.copy(self.tables)
        for name in Tables.__struct_fields__:
            setattr(self.tables, name, copy.copy(getattr(before, name)))
        try:
            return work()
        except BaseException:
            self.tables = before
            raise

    def _apply(self, mine: Sequence[Event], decide: Decide, reports: Mapping[int, NewEvent]) -> Done:
        answers: dict[int, int] = {}
        facts: list[Event] = []
        for event in mine:
            del self.tables.pending[event.place]
            if event.type is not EventType.GATEWAY_CALLBACK:
                facts.append(event)
            elif event.place in reports and _key(reports[event.place]) not in self.tables.keys:
                report = self._keep(reports[event.place])
                answers[event.place] = report.place
                facts.append(report)
        return self._reconcile(facts, decide, list(mine), answers)

    def _reconcile(
        self, facts: Sequence[Event], decide: Decide, taken: Sequence[Event], answers: dict[int, int]
    ) -> Done:
        now = self._clock()
        done = Done(decided_at=now)
        outcomes: dict[int, Applied] = {}
        for dossier, events in dossiers_of(self._load(facts), facts):
            decision = decide(dossier, events, self.policies[dossier.regie], now)
            self._save(decision)
            outcomes.update((applied.place, applied) for applied in decision.outcomes)
            done.lateness.extend((dossier.regie, seconds) for seconds in decision.lateness_seconds)
        outcomes.update(spoken_for(taken, answers, outcomes))
        seen = {event.place: event for event in (*facts, *taken)}
        for place in sorted(outcomes):
            assert place not in self.tables.outcomes, f"event {place} applied twice"
            self.tables.outcomes[place] = Outcome(outcomes[place], now)
            done.applied.append((seen[place], outcomes[place]))
        return done

    def _load(self, facts: Sequence[Event]) -> Loaded:
        names = merged(facts, keys_of)
        self._create(names)
        tables = self.tables
        invoices = {i.id for i in tables.invoices.values() if (i.regie, i.number) in names.invoices}
        payments = {p.id for p in tables.payments.values() if (p.regie, p.reference) in names.payments}
        named = names.references | names.looked_up
        references = {r.id for r in tables.references.values() if (r.regie, r.gateway_reference) in named}
        for key in names.discrepancies & tables.discrepancies.keys():
            row = tables.discrepancies[key]
            invoices.update(x for x in (row.invoice_id,) if x is not None)
            payments.update(x for x in (row.payment_id,) if x is not None)
        owners = [tables.references[i].payment_id for i in references]
        payments.update(owner for owner in owners if owner is not None)
        self._reach(invoices, payments)
        return self._copy(names, invoices, payments, references)

    def _create(self, names: Names) -> None:
        tables = self.tables
        known = {(i.regie, i.number) for i in tables.invoices.values()}
        for regie, number in sorted(names.invoices - known):
            row = Invoice(id=self._next(), regie=regie, number=number)
            tables.invoices[row.id] = row
        paid = {(p.regie, p.reference) for p in tables.payments.values()}
        for regie, reference in sorted(names.payments - paid):
            payment = Payment(id=self._next(), regie=regie, reference=reference)
            tables.payments[payment.id] = payment
        named = {(r.regie, r.gateway_reference) for r in tables.references.values()}
        for regie, name in sorted(names.references - named):
            gateway = GatewayReference(id=self._next(), regie=regie, gateway_reference=name)
            tables.references[gateway.id] = gateway

    def _reach(self, invoices: set[int], payments: set[int]) -> None:
        size = -1
        while size != len(invoices) + len(payments):
            size = len(invoices) + len(payments)
            for payment in self.tables.payments.values():
                lines = {line.invoice_id for line in payment.lines}
                if payment.id in payments or lines & invoices:
                    payments.add(payment.id)
                    invoices |= lines

    def _copy(self, names: Names, invoices: set[int], payments: set[int], references: set[int]) -> Loaded:
        tables = self.tables
        loaded = Loaded(names=names)
        loaded.invoices = {i: _fresh(tables.invoices[i]) for i in sorted(invoices)}
        loaded.payments = {i: _fresh(tables.payments[i]) for i in sorted(payments)}
        owned = {r.id for r in tables.references.values() if r.payment_id in payments}
        loaded.references = {i: _fresh(tables.references[i]) for i in sorted(references | owned)}
        loaded.charges = [_fresh(c) for c in tables.charges.values() if c.gateway_reference_id in loaded.references]
        loaded.adjustments = [
            _fresh(a) for a in tables.adjustments if a.payment_id in payments or a.invoice_id in invoices
        ]
        wanted = names.discrepancies | loaded.orphan_discrepancies()
        loaded.discrepancies = {
            key: _fresh(row)
            for key, row in tables.discrepancies.items()
            if key in wanted or row.payment_id in payments or row.invoice_id in invoices
        }
        return loaded

    def _save(self, decision: Decision) -> None:
        tables = self.tables
        tables.invoices.update(decision.invoices)
        tables.payments.update(decision.payments)
        tables.references.update(decision.references)
        tables.charges.update(((c.gateway_reference_id, c.transaction_id), c) for c in decision.charges)
        tables.adjustments.extend(decision.adjustments)
        tables.discrepancies.update(decision.discrepancies)
        tables.journal.extend(decision.journal)
        tables.outbox.extend(decision.effects)
        for ask in decision.asks.values():
            self._plan(ask)

    def _plan(self, ask: Ask) -> None:
        """Plan the next ask: at once, when the gateway called after it was asked; forget what needs no more."""
        key = ask.gateway_reference_id
        known = self.tables.asks.get(key) or Asking(self.tables.references[key])
        due_at = self._clock() if known.was_called_since() else ask.due_at
        self.tables.asks[key] = replace(known, due_at=due_at, born_at=known.born_at or ask.born_at, leased_until=None)
        if due_at is None:
            del self.tables.asks[key]

    async def call_back(self, claims: Sequence[tuple[Event, str]]) -> set[int]:
        """Take callbacks that make us ask; see the port."""
        unowned: set[int] = set()
        for event, name in claims:
            self._create(Names(references={(event.regie, name)}))
            reference = next(r for r in self.tables.references.values() if _name(r) == (event.regie, name))
            self._note_call(reference)
            if (waiting := self.tables.pending.get(event.place)) is not None:
                waiting.attempts = min(waiting.attempts, 1) if waiting.asking else waiting.attempts
                waiting.asking, waiting.subject = True, name
                waiting.leased_until = self._clock() + CALLBACK_LEASE
            if reference.payment_id is None:
                unowned.add(event.place)
        return unowned

    def _note_call(self, reference: GatewayReference) -> None:
        known = self.tables.asks.get(reference.id) or Asking(reference)
        due_at = known.due_at
        if reference.payment_id is not None:
            due_at = min(due_at or self._clock(), self._clock())
        self.tables.asks[reference.id] = replace(known, called_at=self._clock(), due_at=due_at)

    async def claim_asks(self, regies: Sequence[str], limit: int) -> list[DueAsk]:
        """Take asks that are due; see the port."""
        now = self._clock()
        due = [a for a in self.tables.asks.values() if a.reference.regie in regies and a.is_due(now)]
        due.sort(key=lambda asking: (asking.due_at, asking.reference.id))
        for asking in due[:limit]:
            asking.asked_at, asking.leased_until = now, now + ASK_LEASE
            age = now - (asking.born_at or now)
            asking.due_at = now + min(max(age / 8, ASK_LEASE), MOST_PATIENT)
        return [self._due_ask(asking, now) for asking in due[:limit]]

    def _due_ask(self, asking: Asking, now: datetime) -> DueAsk:
        owner = self.tables.references[asking.reference.id].payment_id
        payment = None if owner is None else self.tables.payments[owner]
        started = payment.start_time if payment else None
        start = self.tables.events.get(payment.start_place) if payment and payment.start_place is not None else None
        return DueAsk(
            gateway_reference_id=asking.reference.id,
            regie=asking.reference.regie,
            gateway_reference=asking.reference.gateway_reference,
            age_seconds=(now - (asking.born_at or started or now)).total_seconds(),
            asked_at=now,
            payment=payment.reference if payment else None,
            trace=start.trace if start else None,
        )

    async def called_back(self, asks: Sequence[DueAsk]) -> list[tuple[DueAsk, Event]]:
        """Find the callbacks that wait for asks; see the port."""
        asked = {(ask.regie, ask.gateway_reference): ask for ask in asks}
        return [
            (ask, copy.copy(waiting.event))
            for _, waiting in sorted(self.tables.pending.items())
            if waiting.asking
            and not waiting.parked
            and (ask := asked.get((waiting.event.regie, waiting.subject or ""))) is not None
            and waiting.event.received_at <= ask.asked_at
        ]

    async def asks_waiting(self, regies: Sequence[str], older_than_seconds: float) -> bool:
        """Tell whether an ask is due that nobody took; see the port."""
        before = self._clock() - timedelta(seconds=older_than_seconds)
        return any(
            asking.reference.regie in regies
            and asking.is_due(self._clock())
            and asking.due_at is not None
            and asking.due_at <= before
            for asking in self.tables.asks.values()
        )

    async def end_due_holds(self, decide: Decide, limit: int, part: int = 0, parts: int = 1) -> Done:
        """Write the end of holds that are over; see the port."""
        due = [payment for payment in self._endable() if payment.id % parts == part][:limit]
        return self._whole(lambda: self._time_out(due, decide)) if due else Done()

    def _endable(self) -> list[Payment]:
        aside = {(w.event.regie, w.subject) for w in self.tables.pending.values() if w.queue is Queue.PAYMENT_TIMEOUT}
        return [
            payment
            for payment in self._due()
            if (payment.regie, payment.reference) not in aside and not self._evidence_under_way(payment)
        ]

    async def give_back(self, events: Sequence[Event]) -> None:
        """Take back one attempt at events that could not be tried; see the port."""
        for event in events:
            if waiting := self.tables.pending.get(event.place):
                waiting.attempts = max(waiting.attempts - 1, 0)

    async def set_aside_due_hold(self, part: int = 0, parts: int = 1) -> None:
        """Make the oldest hold that is over a pending event; see the port."""
        due = [payment for payment in self._endable() if payment.id % parts == part]
        await self.record([_timed_out(payment) for payment in due[:1]])

    def _evidence_under_way(self, payment: Payment) -> bool:
        names = self._names_of(payment)
        assert payment.payable_again_at is not None
        return any(
            self._is_evidence(waiting, names)
            and not waiting.parked
            and waiting.event.received_at <= payment.payable_again_at
            and (waiting.attempts == 0 or (waiting.attempts == 1 and self._just_claimed(waiting)))
            for waiting in self.tables.pending.values()
        )

    def _just_claimed(self, waiting: Waiting) -> bool:
        return waiting.claimed_at is not None and waiting.claimed_at > self._clock() - EVIDENCE_WAIT

    def _time_out(self, due: Sequence[Payment], decide: Decide) -> Done:
        events = [self._keep(_timed_out(payment)) for payment in due]
        return self._reconcile(events, decide, [], {})

    async def put_off(self, event: Event, error: str) -> bool:
        """Give a failed event back; see the port."""
        waiting = self.tables.pending.get(event.place)
        if waiting is None:  # somebody else has done it meanwhile
            return False
        waiting.error, waiting.asking = error, False
        waiting.parked = waiting.attempts >= LAST_TRY
        waiting.leased_until = self._clock() + timedelta(seconds=min(2**waiting.attempts, 300))
        return waiting.parked

    async def next_deadline(self) -> float | None:
        """Seconds until the next hold is over; see the port."""
        ends = [
            payment.payable_again_at
            for payment in self.tables.payments.values()
            if payment.state is not None and not payment.hold_over and payment.payable_again_at is not None
        ]
        return (min(ends) - self._clock()).total_seconds() if ends else None

    async def waiting(self, older_than_seconds: float) -> list[Queue]:
        """Queues that nobody drained; see the port."""
        before = self._clock() - timedelta(seconds=older_than_seconds)
        return sorted(
            {
                waiting.queue
                for waiting in self.tables.pending.values()
                if self._claimable(waiting) and waiting.event.received_at <= before
            }
        )


def _fresh(row: Any) -> Any:  # noqa: ANN401 - any record
    """Copy a record, so that a decision thrown away leaves no trace."""
    fresh = copy.copy(row)
    if isinstance(fresh, Payment):
        fresh.lines = [copy.copy(line) for line in fresh.lines]
    elif isinstance(fresh, Discrepancy):
        fresh.detail = dict(fresh.detail)
    return fresh


def _timed_out(payment: Payment) -> NewEvent:
    assert payment.payable_again_at is not None
    data = PaymentTimedOut(regie=payment.regie, reference=payment.reference, due=payment.payable_again_at)
    return NewEvent(
        client="lettrage",
        source="/clock",
        id=f"{payment.regie}/{payment.reference}/{payment.payable_again_at.isoformat()}",
        type=EventType.PAYMENT_TIMED_OUT,
        regie=payment.regie,
        data=data,
        digest=digest_of(EventType.PAYMENT_TIMED_OUT, data),
        subject=payment.reference,
    )


def _name(reference: GatewayReference) -> tuple[str, str]:
    return reference.regie, reference.gateway_reference


def _key(new: NewEvent) -> tuple[str, str, str]:
    return new.client, new.source, new.id
