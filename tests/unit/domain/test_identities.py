"""Facts, each with an identity: the same identity counts once."""

import itertools
from collections.abc import Callable

import pytest

from schemas.events import Event, EventType, PaymentRefunded
from tests.unit.domain.office import HOLD, REGIE, Office, at


def test_the_latest_issue_stands_by_its_time(office: Office) -> None:
    """Of two issues, the one with the later `time` gives the amount, though it was received first."""
    office.issue("F", 800, time=60)
    assert office.issue("F", 900, time=30) == "ignored: older_than_known"
    assert office.invoice("F").amount_cents == 800


def test_an_issue_without_a_time_stands_at_its_reception(office: Office) -> None:
    """What has no `time` is ordered by when it was received."""
    office.later(60)
    office.issue("F", 800)
    office.later(60)
    assert office.issue("F", 900, time=30) == "ignored: older_than_known"
    assert office.issue("F", 1000) == "applied: reissued"
    assert office.invoice("F").amount_cents == 1000


def test_of_two_issues_at_one_time_the_one_received_last_stands(office: Office) -> None:
    """At the same `time`, the place in the order received decides."""
    office.issue("F", 800, time=30)
    assert office.issue("F", 900, time=30) == "applied: reissued"
    assert office.invoice("F").amount_cents == 900


def test_a_withdrawal_older_than_the_issue_does_not_stand(office: Office) -> None:
    """Issued and withdrawn are one identity: the latest of both."""
    office.issue("F", 900, time=60)
    assert office.withdraw("F", time=30) == "ignored: older_than_known"
    assert office.states() == {"F": "payable"}


def test_a_withdrawal_is_taken_back_by_a_later_issue(office: Office) -> None:
    """Withdrawn, then issued again: payable."""
    office.issue("F", 900, time=30)
    office.withdraw("F", time=60)
    assert office.states() == {"F": "withdrawn"}
    assert office.issue("F", 900, time=90) == "applied: reissued"
    assert office.states() == {"F": "payable"}


def test_an_issue_received_after_a_later_withdrawal_still_gives_the_amount(office: Office) -> None:
    """The withdrawal stands, and carries no amount: the issue gives it, whatever the order."""
    office.withdraw("F", time=60)
    assert office.states() == {"F": None}
    assert office.issue("F", 900, time=30) == "applied: issued"
    assert office.states() == {"F": "withdrawn"}
    assert office.invoice("F").amount_cents == 900


def test_an_invoice_issued_twice_alike_is_one(office: Office) -> None:
    """Nothing new is said, and nothing changes but the time that stands."""
    office.issue("F", 900, time=30)
    assert office.issue("F", 900, time=60) == "ignored: invoice_already_known"
    assert office.journal_of("F") == [(None, "payable", "issued")]


def test_a_second_click_is_the_same_payment(office: Office) -> None:
    """The same payment-started again takes no second hold and moves no deadline."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    deadline = office.payment("P").deadline
    office.later(600)
    assert office.start("P", {"F": 900}) == "ignored: payment_already_started"
    assert office.payment("P").deadline == deadline
    assert office.held("P") == {"F"}


def test_the_same_payment_with_another_gateway_reference_has_two(office: Office) -> None:
    """An idOp opens once: the second belongs to the same payment, and is now its latest."""
    office.issue("F", 900)
    office.start("P", {"F": 900}, gateway_reference="idop-1")
    assert office.start("P", {"F": 900}, gateway_reference="idop-2") == "applied: gateway_reference_added"
    assert [row.payment_id for row in office.dossier.references.values()] == [1, 1]
    assert office.payment("P").latest_reference == "idop-2"


def test_the_first_gateway_reference_is_known_for_good(office: Office) -> None:
    """A click again with the first reference is no third one."""
    office.start("P", {"F": 900}, gateway_reference="idop-1")
    office.start("P", {"F": 900}, gateway_reference="idop-2")
    assert office.start("P", {"F": 900}, gateway_reference="idop-1") == "ignored: payment_already_started"


def test_charges_of_both_gateway_references_count(office: Office) -> None:
    """Both idOps may be paid: the family paid twice, and is owed the second."""
    office.issue("F", 900)
    office.start("P", {"F": 900}, gateway_reference="idop-1")
    office.start("P", {"F": 900}, gateway_reference="idop-2")
    office.report("idop-1", "P", 900, transaction="idop-1")
    office.report("idop-2", "P", 900, transaction="idop-2")
    assert office.payment("P").received_cents == 1800
    assert office.open() == {("overpaid", "P", None): 900}


@pytest.mark.parametrize("lines", [{"F": 800}, {"F": 900, "G": 100}, {"G": 900}])
def test_a_payment_started_differently_is_a_conflict(office: Office, lines: dict[str, int]) -> None:
    """Other amounts or other invoices under a known reference are refused and change nothing."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    before = office.journal[:]
    assert office.start("P", lines) == "refused: payment_conflict"
    assert office.journal == before
    assert office.held("P") == {"F"}


def test_a_gateway_reference_belongs_to_one_payment(office: Office) -> None:
    """A second owner is refused; the second payment does not come into being."""
    office.issue("F", 900)
    office.start("P", {"F": 900}, gateway_reference="idop")
    assert office.start("Q", {"G": 500}, gateway_reference="idop") == "refused: gateway_reference_in_use"
    assert office.payment("Q").state is None
    office.report("idop", "P", 900)
    assert office.states()["F"] == "paid"


def test_a_known_payment_cannot_take_anothers_gateway_reference(office: Office) -> None:
    """Refused too when the second owner is started already."""
    office.start("P", {"F": 900}, gateway_reference="idop-1")
    office.start("Q", {"G": 500}, gateway_reference="idop-2")
    assert office.start("Q", {"G": 500}, gateway_reference="idop-1") == "refused: gateway_reference_in_use"


def test_a_charge_told_twice_counts_once(office: Office) -> None:
    """A gateway repeats its callbacks."""
    office.start("P", {"F": 900})
    office.report("P", "P", 900)
    assert office.report("P", "P", 900) == "ignored: result_already_known"
    assert office.payment("P").received_cents == 900


def test_two_transactions_of_one_payment_are_two_charges(office: Office) -> None:
    """The transaction's id is the identity, not the payment."""
    office.start("P", {"F": 900})
    office.report("P", "P", 900, transaction="t1")
    office.report("P", "P", 900, transaction="t2")
    assert office.payment("P").received_cents == 1800


def test_one_transaction_id_of_two_gateway_references_is_two_charges(office: Office) -> None:
    """The identity is the gateway reference and the transaction together."""
    office.start("P", {"F": 900})
    office.start("Q", {"G": 500})
    office.report("P", "P", 900, transaction="t")
    office.report("Q", "P", 500, transaction="t")
    assert office.states() == {"F": "paid", "G": "paid"}


@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [("P", "Z"), ("P", "V"), ("P", "R"), ("P", "A"), ("Z", "V"), ("Z", "R"), ("Z", "A"), ("V", "R"), ("V", "A")],
)
@pytest.mark.parametrize("turned", [False, True])
def test_results_of_one_charge_have_a_rank(stronger: str, weaker: str, turned: bool) -> None:  # noqa: FBT001
    """P > Z > V > R, A, whatever their order."""
    told, alone = Office(), Office()
    for office, results in ((told, (weaker, stronger) if turned else (stronger, weaker)), (alone, (stronger,))):
        office.issue("F", 900)
        office.start("P", {"F": 900})
        for result in results:
            office.report("P", result, 900)
    assert told.payment("P").state is alone.payment("P").state
    assert told.payment("P").received_cents == alone.payment("P").received_cents
    assert told.states() == alone.states()
    assert told.open() == alone.open()


@pytest.mark.parametrize("correct", ["refund", "reverse"])
def test_a_correction_counts_once_by_its_fact_id(office: Office, correct: str) -> None:
    """The same fact_id is the same fact, though another event tells it."""
    office.pays("P", {"F": 900})
    getattr(office, correct)("P", 400, "fact")
    assert getattr(office, correct)("P", 400, "fact") == "ignored: fact_already_counted"
    payment = office.payment("P")
    assert (payment.received_cents, payment.refunded_cents) == {"refund": (900, 400), "reverse": (500, 0)}[correct]


@pytest.mark.parametrize("correct", ["refund", "reverse"])
def test_a_correction_without_a_fact_id_is_its_event(office: Office, correct: str) -> None:
    """By default two events are two facts."""
    office.pays("P", {"F": 900})
    getattr(office, correct)("P", 100)
    getattr(office, correct)("P", 100)
    payment = office.payment("P")
    assert (payment.received_cents, payment.refunded_cents) == {"refund": (900, 200), "reverse": (700, 0)}[correct]


def test_source_and_id_cannot_be_taken_for_another_pair(office: Office) -> None:
    """Both may have spaces: where one ends and the other begins tells two events apart."""
    office.start("P", {"F": 900})
    data = PaymentRefunded(regie=REGIE, reference="P", amount_cents=100)
    for place, (source, event_id) in enumerate([("/a b", "c"), ("/a", "b c")], start=10):
        event = Event(
            place=place,
            client="portail",
            source=source,
            id=event_id,
            type=EventType.PAYMENT_REFUNDED,
            regie=REGIE,
            received_at=at(0),
            data=data,
        )
        office.apply(event)
    assert office.payment("P").refunded_cents == 200


def test_a_refund_and_a_reversal_may_share_a_fact_id(office: Office) -> None:
    """The type is part of the identity."""
    office.pays("P", {"F": 900})
    office.refund("P", 100, "fact")
    office.reverse("P", 200, "fact")
    assert (office.payment("P").received_cents, office.payment("P").refunded_cents) == (700, 100)


def test_two_payments_may_share_a_fact_id(office: Office) -> None:
    """The reference is part of the identity."""
    office.pays("P", {"F": 900})
    office.pays("Q", {"G": 900})
    office.refund("P", 100, "fact")
    assert office.refund("Q", 100, "fact") == "applied: money_refunded"


def test_a_settlement_counts_once_by_its_fact_id(office: Office) -> None:
    """Settled and unsettled have an identity each."""
    office.issue("F", 900)
    office.settle("F", 500, "slip")
    assert office.settle("F", 500, "slip") == "ignored: fact_already_counted"
    office.unsettle("F", 200, "slip")
    assert office.unsettle("F", 200, "slip") == "ignored: fact_already_counted"
    assert office.invoice("F").settled_cents == 300


@pytest.mark.parametrize("first", ["Z", "reversed"])
def test_a_reversal_named_after_a_rejected_charge_counts_once_with_it(office: Office, first: str) -> None:
    """The bank's Z and the portal's reversal of the same transaction are one fact, in either order."""
    office.start("P", {"F": 900})
    office.report("P", "V", 900, transaction="idop")
    if first == "Z":
        office.report("P", "Z", 900, transaction="idop")
        office.reverse("P", 900, "idop")
    else:
        office.reverse("P", 900, "idop")
        office.report("P", "Z", 900, transaction="idop")
    assert office.payment("P").state == "reversed"
    assert office.open() == {("reversed", "P", None): 900}
    office.report("P", "P", 900, transaction="again")
    assert office.payment("P").received_cents == 900


def test_facts_about_an_unknown_payment_wait_for_it(office: Office) -> None:
    """Money, refunds and reversals that came first count as soon as the payment starts."""
    assert office.report("P", "P", 900) == "applied: waits_for_payment"
    assert office.refund("P", 100) == "applied: waits_for_payment"
    assert office.payment("P").state is None
    office.start("P", {"F": 1000})
    assert (office.payment("P").received_cents, office.payment("P").refunded_cents) == (900, 100)


def test_facts_about_an_unknown_invoice_wait_for_it(office: Office) -> None:
    """What was settled elsewhere before the invoice is known pays it once it is."""
    assert office.settle("F", 900) == "applied: waits_for_invoice"
    assert office.states() == {"F": None}
    office.issue("F", 900)
    assert office.states() == {"F": "paid"}
    assert office.journal_of("F") == [(None, "paid", "settled_elsewhere")]


def test_a_charge_without_an_owner_shows_as_unknown_payment(office: Office) -> None:
    """Money that nobody started is kept and shown, until its payment comes."""
    office.report("P", "P", 900, transaction="t")
    shown = office.discrepancy("unknown_payment")
    assert (shown.amount_cents, shown.subject, shown.payment) == (900, "P t", None)
    assert shown.detail == {"gateway_reference": "P", "transaction_id": "t"}
    office.issue("F", 900)
    office.start("P", {"F": 900})
    assert office.states() == {"F": "paid"}
    assert office.open() == {}
    assert office.discrepancy("unknown_payment").state == "closed"


def test_a_refusal_without_an_owner_is_no_discrepancy(office: Office) -> None:
    """No money came: nothing to explain."""
    office.report("P", "R")
    office.report("P", "A")
    assert office.dossier.discrepancies == {}


def test_an_owners_second_reference_brings_the_charges_that_waited(office: Office) -> None:
    """A charge on an idOp that its payment names later is that payment's."""
    office.start("P", {"F": 900}, gateway_reference="idop-1")
    office.report("idop-2", "P", 900)
    assert office.open() == {("unknown_payment", None, None): 900}
    office.start("P", {"F": 900}, gateway_reference="idop-2")
    assert office.payment("P").state == "paid"
    assert office.open() == {}


def test_a_gateway_that_names_no_amount_means_the_payments(office: Office) -> None:
    """The dummy says paid and no more."""
    office.start("P", {"F": 900})
    office.report("P", "P", None)
    assert office.payment("P").received_cents == 900


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_order_received_changes_no_money(order: tuple[int, ...]) -> None:
    """One invoice, two payments of it and a refund: the same end in each of the 24 orders."""
    office = Office()
    facts: list[Callable[[], object]] = [
        lambda: office.issue("F", 900, time=10),
        lambda: office.pays("P", {"F": 900}),
        lambda: office.pays("Q", {"F": 900}),
        lambda: office.refund("P", 400, "fact"),
    ]
    for n in order:
        facts[n]()
    office.later(HOLD)
    assert office.states() == {"F": "paid"}
    assert office.open() == {("double_payment", "P", "F"): 500}
