"""A régie lives through anything, holds included; the judge looks on after every step."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from schemas.decisions import Decision
from schemas.events import DiscrepancyResolved, Event, EventType
from schemas.records import Discrepancy, InvoiceState, Payment, PaymentState, Policy
from schemas.reports import Report, ReportResult
from tests.model import (
    TO_GIVE_BACK,
    Fact,
    Verdict,
    charge,
    issued,
    judge,
    refunded,
    resolution,
    reversed_,
    settled,
    started,
    unsettled,
    withdrawn,
)
from tests.property.desk import REGIE, UNJUDGED, Desk, at, data_of
from tests.property.facts import CENTS, NUMBERS
from tests.property.judged import assert_agreed
from tests.property.portal import Portal
from worker.domain import transitions

ANSWERS_WITHOUT_NEWS = (ReportResult.WAITING, ReportResult.FAILED, ReportResult.NOTHING)
HOLD, HOLD_LIMIT = 1800, 7200
"""Seconds."""
NUMBER = st.sampled_from(NUMBERS)
NAME = st.sampled_from(("one", "two", "t1", "t2"))
"""Of a transaction or of a fact: a reversal may be named like a charge."""
AGE = st.sampled_from((None, None, None, None, 10, HOLD - 1, HOLD, 100_000))
"""Seconds since an event says it happened, when it was received; None: it does not say."""
PASSING = st.sampled_from((1, 1, 600, HOLD - 1, HOLD, HOLD_LIMIT))


class Regie(RuleBasedStateMachine):
    """Facts come, time passes, the clock sweeps, people resolve; everything is told to the judge as well."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.facts: list[Fact] = []
        self.events: list[Event] = []
        self.lines: dict[str, dict[str, int]] = {}
        self.ended: set[str] = set()
        self.shown: dict[tuple[int | None, int | None], str] = {}
        self.written = 0
        self.portal = Portal()
        self.heard = 0

    @initialize(on_cancel=st.sampled_from(("hold", "release")), when_in_doubt=st.sampled_from(("reactivate", "hold")))
    def open(self, on_cancel: str, when_in_doubt: str) -> None:
        """A régie with its policy."""
        self.desk = Desk(
            Policy(
                label="Régie Enfance",
                gateway="dummy",
                hold=HOLD,
                hold_limit=HOLD_LIMIT,
                on_cancel=on_cancel,
                when_in_doubt=when_in_doubt,
                notify=True,
            )
        )

    # facts

    def tell(self, fact: Fact, age: int | None = None) -> None:
        """Desk and judge are told the same."""
        kind, data = data_of(fact)
        time = None if age is None else self.now - age
        said: dict[str, Any] = {**fact, "received": self.now}
        if "time" in fact:
            said["time"] = time
        self.receive(kind, data, None if time is None else at(time))
        self.facts.append(said)

    def receive(self, kind: EventType, data: object, time: datetime | None = None) -> Decision:
        """An event is stored and applied at once."""
        event = Event(
            place=len(self.events),
            client="portal",
            source="/test",
            id=f"e{len(self.events)}",
            type=kind,
            regie=REGIE,
            received_at=at(self.now),
            time=time,
            data=data,
        )
        self.events.append(event)
        return self.desk.apply([event], at(self.now))

    @rule(number=NUMBER, cents=CENTS, age=AGE)
    def issue(self, number: str, cents: int, age: int | None) -> None:
        """An invoice is issued, or issued again."""
        self.tell(issued(number, cents), age)

    @rule(number=NUMBER, cents=CENTS, name=NAME, what=st.sampled_from("wssssu"), age=AGE)
    def change(self, number: str, cents: int, name: str, what: str, age: int | None) -> None:
        """It is withdrawn, or paid at the counter, or the cheque bounced."""
        if what == "w":
            self.tell(withdrawn(number), age)
        else:
            self.tell((settled if what == "s" else unsettled)(number, cents, name))

    @rule(numbers=st.sets(NUMBER, min_size=1), cents=CENTS, shown=st.sampled_from((True, True, True, False)), age=AGE)
    def start(self, numbers: set[str], cents: int, shown: bool, age: int | None) -> None:  # noqa: FBT001
        """A family leaves for the gateway; it mostly pays what the portal shows."""
        reference = f"p{len(self.lines)}"
        amounts = {row.number: row.amount_cents for row in self.desk.dossier.invoices.values() if shown}
        lines = {number: amounts.get(number) or cents for number in sorted(numbers)}
        self.lines[reference] = lines
        self.tell(started(reference, lines), age)

    @rule(data=st.data(), key=st.sampled_from(("own", "own", "second", "third", "somebody's")))
    def click_again(self, data: st.DataObject, key: str) -> None:
        """The same payment, perhaps with a new gateway reference, perhaps with one that another may own."""
        reference = self.any_payment(data)
        keys = {"own": reference, "somebody's": "p0"}
        self.tell(
            started(reference, self.lines.get(reference, {"A": 100}), gateway_reference=keys.get(key, reference + key))
        )

    @rule(data=st.data(), cents=CENTS)
    def conflict(self, data: st.DataObject, cents: int) -> None:
        """The same reference for something else is refused."""
        reference = self.any_payment(data)
        if reference in self.lines and self.lines[reference] != {"A": cents}:
            self.tell(started(reference, {"A": cents}, gateway_reference="conflict"))

    def any_payment(self, data: st.DataObject) -> str:
        """A payment that started, else one that nobody knows yet."""
        return data.draw(st.sampled_from([*self.lines, f"p{len(self.lines)}"]))

    def amount(self, reference: str) -> int:
        """Cents that the payment is for."""
        return sum(self.lines.get(reference, {"A": 100}).values())

    @rule(data=st.data(), name=NAME, result=st.sampled_from("PPPVVZRA"), key=st.sampled_from(("", "", "second")))
    def report(self, data: st.DataObject, name: str, result: str, key: str) -> None:
        """The gateway says how a charge went, by one of the payment's gateway references."""
        reference = self.any_payment(data)
        self.tell(charge(reference + key, name, result, self.amount(reference)))

    @rule(data=st.data(), name=NAME, result=st.sampled_from("PVZRA"), more=st.sampled_from((100, -50, -99)))
    def report_of_another_amount(self, data: st.DataObject, name: str, result: str, more: int) -> None:
        """The gateway took more or less than it was asked to."""
        reference = self.any_payment(data)
        self.tell(charge(reference, name, result, self.amount(reference) + more))

    @rule(
        data=st.data(),
        name=NAME,
        part=st.sampled_from((1, 1, 2, 3)),
        give_back=st.sampled_from((refunded, refunded, reversed_)),
    )
    def correct(self, data: st.DataObject, name: str, part: int, give_back: Callable[[str, int, str], Fact]) -> None:
        """Money goes back to the family, or the bank takes it: all or a part."""
        reference = self.any_payment(data)
        self.tell(give_back(reference, self.amount(reference) // part, name))

    # what is no fact about money

    @rule(data=st.data(), result=st.sampled_from(list(ReportResult)), test=st.booleans(), verified=st.booleans())
    def unproven_report(self, data: st.DataObject, result: ReportResult, test: bool, verified: bool) -> None:  # noqa: FBT001
        """A forged or a test answer settles nothing and releases nothing."""
        report = Report(
            regie=REGIE,
            gateway_reference=self.any_payment(data),
            transaction_id="t1",
            result=result,
            verified=verified and test,
            test=test,
            cents=100,
        )
        before = self.desk.states(), self.holders(), self.desk.received()
        self.receive(EventType.GATEWAY_REPORT, report)
        assert (self.desk.states(), self.holders(), self.desk.received()) == before

    @rule(data=st.data(), result=st.sampled_from(ANSWERS_WITHOUT_NEWS), asked=st.booleans())
    def no_answer(self, data: st.DataObject, result: ReportResult, asked: bool) -> None:  # noqa: FBT001
        """The gateway cannot say: at most a reason to hold longer, where the régie chose so. Or it knows of nothing."""
        report = Report(
            regie=REGIE,
            gateway_reference=self.any_payment(data),
            transaction_id="",
            result=result,
            verified=True,
            asked=asked,
        )
        self.receive(EventType.GATEWAY_REPORT, report)

    # time, repetition, people

    @rule(seconds=PASSING, swept=st.booleans())
    def pass_time(self, seconds: int, swept: bool) -> None:  # noqa: FBT001
        """Time passes; the clock may be late."""
        self.now += seconds
        if swept:
            self.sweep()

    def sweep(self) -> None:
        """Every hold that is over is written so, and none that is not."""
        self.desk.sweep(at(self.now), 1_000_000)
        for payment in self.desk.dossier.payments.values():
            if payment.payable_again_at is not None and payment.payable_again_at <= at(self.now):
                assert payment.hold_over

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """An event applied again changes no state and tells nobody anything."""
        if self.events:
            decision = self.desk.apply([data.draw(st.sampled_from(self.events))], at(self.now))
            assert decision.journal == []

    @rule(data=st.data(), how=st.sampled_from(("refunded", "credited", "written_off", "explained")))
    def resolve(self, data: st.DataObject, how: str) -> None:
        """A person closes a discrepancy for the amount shown."""
        opened = self.open_discrepancies()
        if not opened:
            return
        one = data.draw(st.sampled_from(opened))
        key = (one.kind.value, one.payment, one.invoice)
        data_ = DiscrepancyResolved(
            regie=REGIE, id=one.id, resolution=how, amount_cents=one.amount_cents, comment="seen"
        )
        before = self.to_give_back()
        decision = self.receive(EventType.DISCREPANCY_RESOLVED, data_)
        if decision.outcomes[0].outcome == "applied":
            kind, payment, invoice = key
            fact = resolution(str(len(self.events)), how, one.amount_cents, kind=kind, payment=payment, invoice=invoice)
            self.facts.append({**fact, "received": self.now})
            # An avoir is a refund, and refunds reduce a payment's amounts from the last: perhaps another one's. They
            # may also make another payment keep the invoice; only the net is sure.
            if how == "credited":
                assert self.to_give_back() == before - one.amount_cents
            else:
                assert one.id not in {other.id for other in self.open_discrepancies()}

    def to_give_back(self) -> int:
        """Cents, whoever has closed what, less what payments gave back that was owed."""
        found = self.desk.discrepancies().items()
        missing = sum(cents for (kind, payment, _), cents in found if kind == "missing" and payment)
        return sum(cents for (kind, *_), cents in found if kind in TO_GIVE_BACK) - missing

    def open_discrepancies(self) -> list[Discrepancy]:
        """Those that somebody must look at."""
        rows = self.desk.dossier.discrepancies.values()
        return [row for row in sorted(rows, key=lambda row: row.id) if row.state == "open"]

    # what must always hold

    def holders(self) -> dict[str, list[Payment]]:
        """Payments that hold each invoice, by number."""
        rows = self.desk.dossier
        found: dict[str, list[Payment]] = {row.number: [] for row in rows.invoices.values()}
        for payment in rows.payments.values():
            for line in payment.lines:
                if line.held:
                    found[rows.invoices[line.invoice_id].number].append(payment)
        return found

    @invariant()
    def money_is_as_judged(self) -> None:
        """At every moment: a held invoice is in payment, any other is what the facts alone say."""
        if not hasattr(self, "desk"):
            return
        verdict = judge(self.facts)
        holders = self.holders()
        expected = {number: "in_payment" if holders[number] else state for number, state in verdict.states.items()}
        assert self.desk.states() == expected
        for number, held_by in holders.items():
            assert len(held_by) <= 1, "an invoice is never held by two payments"
            assert not held_by or verdict.states[number] == "payable", "a covered invoice leaves its hold at once"
        assert self.desk.settled() == {n: i.credits - paid_lines(verdict, n) for n, i in verdict.invoices.items()}

    @invariant()
    def every_hold_ends_and_only_once(self) -> None:
        """Whoever holds has a deadline and is not ended; an ended payment is never revived."""
        if not hasattr(self, "desk"):
            return
        alive = {PaymentState.STARTED, PaymentState.REFUSED, PaymentState.CANCELLED}
        for held_by in self.holders().values():
            for payment in held_by:
                assert payment.state in alive
                assert not payment.hold_over
                assert payment.deadline is not None
                assert payment.payable_again_at is not None
                assert payment.hold_limit is not None
                assert payment.deadline <= payment.payable_again_at <= payment.hold_limit
        over = {p.reference for p in self.desk.dossier.payments.values() if p.hold_over}
        assert self.ended <= over
        self.ended = over

    @invariant()
    def every_change_is_written_with_its_reason(self) -> None:
        """The journal chains from state to state, by the table, and never without a reason."""
        if not hasattr(self, "desk"):
            return
        for entry in self.desk.journal[self.written :]:
            key = (entry.invoice_id, entry.payment_id if entry.invoice_id is None else None)
            assert entry.reason
            assert entry.before == self.shown.get(key)
            assert entry.before != entry.after
            assert_in_table(entry.before, entry.after, of_invoice=entry.invoice_id is not None)
            self.shown[key] = entry.after
        self.written = len(self.desk.journal)
        rows = self.desk.dossier
        for invoice in rows.invoices.values():
            assert self.shown.get((invoice.id, None)) == invoice.state
            assert invoice.state is None or invoice.reason
        for payment in rows.payments.values():
            assert self.shown.get((None, payment.id)) == payment.state
            assert payment.state is None or payment.reason

    @invariant()
    def the_portal_shows_what_is_read(self) -> None:
        """By notifications alone, the later ones heard first, it shows what is read; no version comes twice."""
        if not hasattr(self, "desk"):
            return
        for effect in reversed(self.desk.effects[self.heard :]):
            if effect.type.startswith("invoice."):
                self.portal.hear(effect.data)
        self.heard = len(self.desk.effects)
        assert self.portal.invoices == self.desk.shown()
        for number, versions in self.portal.versions.items():
            assert sorted(versions) == list(range(1, self.portal.invoices[number].version + 1))

    @invariant()
    def an_open_discrepancy_is_about_money_or_proof(self) -> None:
        """What follows the facts is open only with an amount, closed only without one or up to what was resolved."""
        if not hasattr(self, "desk"):
            return
        for row in self.desk.dossier.discrepancies.values():
            if row.kind in UNJUDGED - {"unknown_payment"}:
                continue
            if row.state == "open":
                assert row.amount_cents > 0
            elif row.amount_cents > 0:
                assert row.resolved_cents is not None
                assert row.amount_cents <= row.resolved_cents

    def teardown(self) -> None:
        """After all deadlines the judge decides everything."""
        if not hasattr(self, "desk"):
            return
        self.now += HOLD_LIMIT
        self.sweep()
        assert_agreed(self.desk, self.facts)


def paid_lines(verdict: Verdict, number: str) -> int:
    """Cents that paid payments credit an invoice."""
    return sum(p.lines.get(number, 0) for p in verdict.payments.values() if p.paid)


def assert_in_table(before: str | None, after: str, *, of_invoice: bool) -> None:
    """The change is one that the table of transitions knows."""
    if of_invoice:
        known = InvoiceState(before) if before else None
        assert InvoiceState(after) in transitions.INVOICE[known]
    else:
        was = PaymentState(before) if before else None
        assert PaymentState(after) in transitions.PAYMENT[was]


TestRegie = Regie.TestCase
TestRegie.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
