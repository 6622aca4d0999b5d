"""Holds and deadlines: taken all or none, over by the database's clock, written by a sweep."""

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.domain.office import HOLD, Office, at

# taking a hold


def test_a_hold_is_taken_when_every_invoice_is_payable(office: Office) -> None:
    """Both in payment until the same moment."""
    office.issue("F", 500)
    office.issue("G", 200)
    assert office.start("P", {"F": 500, "G": 200}) == "applied: hold_taken"
    assert office.states() == {"F": "in_payment", "G": "in_payment"}
    assert office.payment("P").payable_again_at == at(HOLD)


def test_all_or_none(office: Office) -> None:
    """One invoice in payment turns the whole payment away, and says when to try again."""
    office.issue("F", 500)
    office.issue("G", 200)
    office.start("P", {"F": 500})
    office.later(60)
    assert office.start("Q", {"F": 500, "G": 200}) == "refused: invoice_in_payment"
    assert office.payment("Q").state == "rejected"
    assert office.payment("Q").payable_again_at == at(HOLD)
    assert office.states() == {"F": "in_payment", "G": "payable"}


def test_a_rejected_payment_is_told_the_latest_of_several_ends(office: Office) -> None:
    """Two holds in the way: free again when the later one is over."""
    office.start("P", {"F": 500})
    office.later(60)
    office.start("Q", {"G": 200})
    office.start("R", {"F": 500, "G": 200})
    assert office.payment("R").payable_again_at == at(60 + HOLD)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (lambda office: office.settle("F", 900), "invoice_paid"),
        (lambda office: office.withdraw("F"), "invoice_withdrawn"),
        (lambda office: office.issue("F", 1000), "line_amount_differs"),
        (lambda office: office.issue("F", 900, means="direct_debit"), "not_payable_online"),
    ],
)
def test_what_cannot_be_paid_online_takes_no_hold(office: Office, event: object, reason: str) -> None:
    """Paid, withdrawn, another amount or a direct debit: rejected by that name, and nothing to wait for."""
    office.issue("F", 900)
    event(office)  # type: ignore[operator]
    before = office.states()
    assert office.start("P", {"F": 900}) == f"refused: {reason}"
    assert (office.payment("P").state, office.payment("P").reason) == ("rejected", reason)
    assert office.payment("P").payable_again_at is None
    assert office.states() == before


def test_what_was_settled_before_anybody_named_it_takes_no_hold(office: Office) -> None:
    """Paid at the counter, known from this payment alone: the family must not be sent to pay it again."""
    office.settle("F", 900)
    assert office.start("P", {"F": 900, "G": 500}) == "refused: invoice_paid"
    assert office.states() == {"F": "paid", "G": "payable"}
    office.settle("H", 400)
    assert office.start("Q", {"H": 500}) == "applied: hold_taken", "a part of it was settled"


def test_money_for_a_direct_debit_invoice_counts(office: Office) -> None:
    """It should not have been paid online; it was."""
    office.issue("F", 900, means="direct_debit")
    office.pays("P", {"F": 900})
    assert office.states() == {"F": "paid"}


def test_another_payment_means_nothing_to_an_invoice_that_is_payable_again(office: Office) -> None:
    """After the hold a new attempt has a new reference and takes its own hold."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD)
    office.time_out("P")
    assert office.start("Q", {"F": 900}) == "applied: hold_taken"
    assert office.held("Q") == {"F"}


def test_an_ended_payment_is_not_revived(office: Office) -> None:
    """The same reference again after its end takes no hold."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD)
    office.time_out("P")
    assert office.start("P", {"F": 900}) == "ignored: payment_already_started"
    assert office.states() == {"F": "payable"}
    assert office.payment("P").state == "expired"


# the deadline


def test_the_deadline_counts_from_the_events_time(office: Office) -> None:
    """Received a minute later than it happened: a minute less is left."""
    office.later(60)
    office.start("P", {"F": 900}, time=0)
    assert office.payment("P").deadline == at(HOLD)


def test_the_deadline_never_counts_from_later_than_the_reception(office: Office) -> None:
    """A client whose clock is ahead gains nothing."""
    office.start("P", {"F": 900}, time=600)
    assert office.payment("P").deadline == at(HOLD)


def test_the_deadline_is_the_regies_choice() -> None:
    """30 seconds in a demo."""
    office = Office(hold=30)
    office.start("P", {"F": 900})
    assert office.payment("P").deadline == at(30)


def test_one_that_arrives_past_its_own_deadline_takes_none(office: Office) -> None:
    """It is on record as expired, and its money counts."""
    office.issue("F", 900)
    office.later(HOLD)
    assert office.start("P", {"F": 900}, time=0) == "applied: started_after_deadline"
    assert (office.payment("P").state, office.payment("P").reason) == ("expired", "started_after_deadline")
    assert office.states() == {"F": "payable"}
    office.report("P", "P", 900)
    assert office.states() == {"F": "paid"}
    assert office.payment("P").late


def test_one_that_arrives_a_moment_before_its_deadline_holds_for_that_moment(office: Office) -> None:
    """A microsecond is left."""
    office.later(HOLD - 0.000001)
    assert office.start("P", {"F": 900}, time=0) == "applied: hold_taken"


def test_a_hold_is_on_until_the_last_microsecond(office: Office) -> None:
    """Not one before."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD - 0.000001)
    assert office.time_out("P") == "ignored: hold_still_on"
    assert office.start("Q", {"F": 900}) == "refused: invoice_in_payment"
    assert office.states() == {"F": "in_payment"}


def test_a_hold_is_over_at_its_very_end(office: Office) -> None:
    """Now ≥ payable_again_at: the family can pay again, and is told how late that was written."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD)
    assert office.time_out("P") == "applied: hold_expired"
    assert (office.payment("P").state, office.payment("P").reason) == ("expired", "hold_expired")
    assert office.journal_of("F")[-1] == ("in_payment", "payable", "hold_expired")
    assert office.lateness == [0.0]


def test_lateness_is_told_per_invoice_that_was_made_payable(office: Office) -> None:
    """Two invoices, written a second and a half after the end."""
    office.start("P", {"F": 500, "G": 200})
    office.later(HOLD + 1.5)
    office.time_out("P")
    assert office.lateness == [1.5, 1.5]


def test_a_timeout_told_twice_is_nothing_new(office: Office) -> None:
    """Two clocks may sweep at once."""
    office.start("P", {"F": 900})
    office.later(HOLD)
    office.time_out("P")
    assert office.time_out("P") == "ignored: hold_already_over"


def test_a_cancelled_payments_hold_ends_without_changing_its_state(office: Office) -> None:
    """Cancelled it stays; its invoice is payable again at the deadline."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.report("P", "A")
    office.later(HOLD)
    office.time_out("P")
    assert office.payment("P").state == "cancelled"
    assert office.states() == {"F": "payable"}


# taking over a hold that is over but not written yet


def test_an_overdue_hold_is_taken_over(office: Office) -> None:
    """The next payment goes by the clock, not by what the sweep has written; the journal has both steps."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD)
    assert office.start("Q", {"F": 900}) == "applied: hold_taken"
    assert (office.held("P"), office.held("Q")) == (set(), {"F"})
    assert office.journal_of("F")[-2:] == [
        ("in_payment", "payable", "hold_over"),
        ("payable", "in_payment", "hold_taken"),
    ]


def test_the_sweep_still_writes_the_end_of_a_hold_that_was_taken_over(office: Office) -> None:
    """The old payment expires; the new one's hold is not touched."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD)
    office.start("Q", {"F": 900})
    assert office.payment("P").state == "started"
    assert office.time_out("P") == "applied: hold_expired"
    assert office.payment("P").state == "expired"
    assert office.states() == {"F": "in_payment"}
    assert office.held("Q") == {"F"}


def test_taking_over_one_invoice_of_two_leaves_the_other_to_the_sweep(office: Office) -> None:
    """The other reads as payable all the same: reads go by the clock."""
    office.start("P", {"F": 500, "G": 200})
    office.later(HOLD)
    office.start("Q", {"F": 500})
    assert office.held("P") == {"G"}
    office.time_out("P")
    assert office.states() == {"F": "in_payment", "G": "payable"}


# holds that end early


@pytest.mark.parametrize("leave", [lambda o: o.settle("F", 500), lambda o: o.withdraw("F")])
def test_a_settled_or_withdrawn_invoice_leaves_its_hold_and_the_others_stay(office: Office, leave: object) -> None:
    """The family is still paying the other one."""
    office.issue("F", 500)
    office.issue("G", 200)
    office.start("P", {"F": 500, "G": 200})
    leave(office)  # type: ignore[operator]
    assert office.held("P") == {"G"}
    assert not office.payment("P").hold_over
    assert office.payment("P").state == "started"


def test_a_settlement_taken_back_does_not_put_the_invoice_back_under_its_hold(office: Office) -> None:
    """It has left: payable, for whoever comes."""
    office.issue("F", 500)
    office.issue("G", 200)
    office.start("P", {"F": 500, "G": 200})
    office.settle("F", 500)
    office.unsettle("F", 500)
    assert office.states() == {"F": "payable", "G": "in_payment"}
    assert office.start("Q", {"F": 500}) == "applied: hold_taken"


def test_a_hold_that_holds_nothing_any_more_ends(office: Office) -> None:
    """Every invoice left it."""
    office.issue("F", 500)
    office.start("P", {"F": 500})
    office.settle("F", 500)
    assert office.payment("P").hold_over
    assert (office.payment("P").state, office.payment("P").reason) == ("expired", "nothing_left_to_hold")


def test_money_ends_the_hold(office: Office) -> None:
    """Paid: nothing to wait for."""
    office.start("P", {"F": 900})
    office.report("P", "P", 900)
    assert office.payment("P").hold_over
    assert office.payment("P").hold_ended_at == at(0)


@pytest.mark.parametrize(("result", "state"), [("R", "refused"), ("A", "cancelled")])
def test_by_default_a_cancel_changes_the_state_and_not_the_hold(office: Office, result: str, state: str) -> None:
    """After a cancel the invoice is reactivated at 30 minutes."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.report("P", result)
    assert office.payment("P").state == state
    assert office.states() == {"F": "in_payment"}
    assert office.payment("P").payable_again_at == at(HOLD)


@pytest.mark.parametrize(("result", "reason"), [("R", "released_by_refusal"), ("A", "released_by_cancel")])
def test_release_frees_at_once_on_a_verified_cancel_or_refusal(result: str, reason: str) -> None:
    """The régie's choice: on_cancel = "release"."""
    office = Office(on_cancel="release")
    office.issue("F", 900)
    office.start("P", {"F": 900})
    assert office.report("P", result) == f"applied: {reason}"
    assert office.states() == {"F": "payable"}
    assert office.payment("P").hold_over
    assert office.journal_of("F")[-1] == ("in_payment", "payable", reason)
    assert office.start("Q", {"F": 900}) == "applied: hold_taken"


@pytest.mark.parametrize("proof", [{"verified": False}, {"test": True}])
def test_an_unproven_cancel_releases_nothing(proof: dict[str, Any]) -> None:
    """Anybody can send one."""
    office = Office(on_cancel="release")
    office.start("P", {"F": 900})
    office.report("P", "A", **proof)
    assert office.held("P") == {"F"}
    assert office.payment("P").state == "started"


def test_a_refusal_that_comes_before_its_payment_started_does_not_release_it() -> None:
    """A fact about money waits; the hold is taken after it and runs its time."""
    office = Office(on_cancel="release")
    office.report("P", "R")
    office.start("P", {"F": 900})
    assert office.payment("P").state == "refused"


def test_released_and_paid_after_all(office: Office) -> None:
    """Refused, released, then another try on the same page succeeds: it pays, and was late."""
    office = Office(on_cancel="release")
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.report("P", "R", transaction="t1")
    office.report("P", "P", 900, transaction="t2")
    assert office.states() == {"F": "paid"}
    assert office.payment("P").late


# in doubt


def doubtful(**policy: str) -> Office:
    """A started payment of a régie whose gateway can be asked."""
    office = Office(gateway="payfip_ws", **policy)
    office.issue("F", 900)
    office.start("P", {"F": 900})
    return office


@pytest.mark.parametrize("result", ["waiting", "failed"])
def test_in_doubt_a_regie_may_hold_up_to_its_limit(result: str) -> None:
    """The last ask failed, or says in progress: free at hold_limit, flagged, and not overdue before."""
    office = doubtful(when_in_doubt="hold")
    assert office.report("P", result, asked=True) == "ignored: gateway_cannot_say"
    assert office.payment("P").payable_again_at == at(7200)
    assert office.payment("P").deadline == at(HOLD)
    assert office.invoice("F").to_check
    office.later(HOLD)
    assert office.time_out("P") == "ignored: hold_still_on"
    assert office.start("Q", {"F": 900}) == "refused: invoice_in_payment"
    assert office.payment("Q").payable_again_at == at(7200)
    office.later(7200 - HOLD)
    assert office.time_out("P") == "applied: hold_expired"
    assert not office.invoice("F").to_check


def test_the_hold_limit_is_the_regies_choice() -> None:
    """Counted from the start, like the deadline."""
    office = Office(gateway="payfip_ws", when_in_doubt="hold", hold_limit=3600)
    office.start("P", {"F": 900})
    office.report("P", "failed", asked=True)
    assert office.payment("P").payable_again_at == at(3600)


def test_a_hold_limit_below_the_hold_shortens_nothing() -> None:
    """Doubt never ends a hold early."""
    office = Office(gateway="payfip_ws", when_in_doubt="hold", hold_limit=60)
    office.start("P", {"F": 900})
    office.report("P", "failed", asked=True)
    assert office.payment("P").payable_again_at == at(HOLD)


def test_in_doubt_the_default_is_to_reactivate() -> None:
    """The deadline stands."""
    office = doubtful()
    office.report("P", "failed", asked=True)
    assert office.payment("P").doubt
    assert office.payment("P").payable_again_at == at(HOLD)
    assert not office.invoice("F").to_check


@pytest.mark.parametrize("result", ["waiting", "failed"])
def test_only_an_ask_makes_doubt(result: str) -> None:
    """A callback that cannot be read is not a gateway's answer: silence is not doubt."""
    office = doubtful(when_in_doubt="hold")
    office.report("P", result, asked=False)
    assert not office.payment("P").doubt
    assert office.payment("P").payable_again_at == at(HOLD)


def test_an_unverified_failure_makes_no_doubt() -> None:
    """What proves nothing moves no deadline."""
    office = doubtful(when_in_doubt="hold")
    office.report("P", "failed", asked=True, verified=False)
    assert office.payment("P").payable_again_at == at(HOLD)


def test_a_clear_answer_ends_the_doubt_and_brings_the_deadline_back() -> None:
    """Cancelled after all: over at the deadline again."""
    office = doubtful(when_in_doubt="hold")
    office.report("P", "failed", asked=True)
    office.report("P", "A", asked=True)
    assert not office.payment("P").doubt
    assert office.payment("P").payable_again_at == at(HOLD)
    assert not office.invoice("F").to_check


def test_a_clear_answer_after_the_deadline_ends_the_hold_now() -> None:
    """Not in the past: nobody is told that it was over an hour ago."""
    office = doubtful(when_in_doubt="hold")
    office.report("P", "failed", asked=True)
    office.later(HOLD + 600)
    office.report("P", "A", asked=True)
    assert office.payment("P").payable_again_at == at(HOLD + 600)
    assert office.time_out("P") == "applied: hold_expired"


def test_a_clear_answer_about_one_reference_ends_no_doubt_about_another() -> None:
    """A second idOp, opened late, may still be paid when the first is known not to have been."""
    office = doubtful(when_in_doubt="hold")
    office.start("P", {"F": 900}, gateway_reference="Q")
    office.report("Q", "waiting", asked=True)
    office.report("P", "nothing", asked=True)
    assert office.payment("P").doubt
    assert office.payment("P").payable_again_at == at(7200)
    office.report("Q", "nothing", asked=True)
    assert not office.payment("P").doubt
    assert office.payment("P").payable_again_at == at(HOLD)


def test_money_that_a_hold_in_doubt_was_kept_for_is_not_late() -> None:
    """Past the deadline, within the hold: the answer ends the doubt and pays at once."""
    office = doubtful(when_in_doubt="hold")
    office.report("P", "failed", asked=True)
    office.later(HOLD + 600)
    office.report("P", "P", 900, asked=True)
    assert (office.payment("P").state, office.payment("P").late) == ("paid", False)


def test_doubt_revives_no_hold_that_is_over() -> None:
    """Over is over, written or not."""
    office = doubtful(when_in_doubt="hold")
    office.later(HOLD)
    office.report("P", "failed", asked=True)
    assert office.payment("P").payable_again_at == at(HOLD)
    assert office.start("Q", {"F": 900}) == "applied: hold_taken"


def test_the_limit_is_a_time_of_the_database() -> None:
    """Both ends of a hold are kept as instants, so that a changed policy moves neither."""
    office = doubtful(when_in_doubt="hold")
    payment = office.payment("P")
    assert payment.deadline is not None
    assert payment.hold_limit == payment.deadline + timedelta(seconds=7200 - HOLD)
