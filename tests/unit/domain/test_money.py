"""What follows from the facts: received, kept, to give back, missing. Amounts are cents."""

import pytest

from tests.unit.domain.office import HOLD, Office, at


@pytest.fixture
def twice(office: Office) -> Office:
    """An invoice of 900 that P and then Q paid."""
    office.issue("F", 900)
    office.pays("P", {"F": 900})
    office.pays("Q", {"F": 900})
    return office


# received, paid, reversed, refunded


def test_received_is_charges_minus_reversals(office: Office) -> None:
    """P and V count, reversals take away, R and A are nothing."""
    office.start("P", {"F": 900})
    for transaction, result in enumerate("PVRA"):
        office.report("P", result, 900, transaction=str(transaction))
    office.reverse("P", 300)
    assert office.payment("P").received_cents == 1500


def test_received_is_never_negative(office: Office) -> None:
    """More reversed than received is nothing received."""
    office.pays("P", {"F": 900})
    office.reverse("P", 1000)
    assert office.payment("P").received_cents == 0
    assert office.payment("P").state == "reversed"


def test_a_payment_is_paid_only_in_full(office: Office) -> None:
    """One cent less and nothing is paid."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.report("P", "P", 899)
    assert office.payment("P").state == "started"
    assert office.states() == {"F": "in_payment"}


def test_two_charges_together_pay(office: Office) -> None:
    """Received is a sum: what was missing may come with another transaction."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.report("P", "P", 899, transaction="t1")
    office.report("P", "P", 1, transaction="t2")
    assert office.states() == {"F": "paid"}
    assert office.open() == {}


def test_lines_of_a_paid_payment_are_credits_in_full(office: Office) -> None:
    """A payment of two invoices pays both."""
    office.issue("F", 500)
    office.issue("G", 200)
    office.pays("P", {"F": 500, "G": 200})
    assert office.states() == {"F": "paid", "G": "paid"}
    assert {office.invoice(number).paid_by for number in "FG"} == {"P"}


def test_lines_of_an_unpaid_payment_are_no_credits(office: Office) -> None:
    """500 of 700 received pays neither invoice."""
    office.issue("F", 500)
    office.issue("G", 200)
    office.pays("P", {"F": 500, "G": 200}, 500)
    office.later(HOLD)
    office.time_out("P")
    assert office.states() == {"F": "payable", "G": "payable"}
    assert office.open() == {("underpaid", "P", None): 500}


def test_a_provisional_direct_debit_pays(office: Office) -> None:
    """V counts, and is marked as provisional."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.report("P", "V", 900)
    assert office.states() == {"F": "paid"}
    assert office.payment("P").provisional
    assert office.payment("P").reason == "money_received_provisionally"


def test_a_rejected_direct_debit_makes_the_invoice_payable_again(office: Office) -> None:
    """V then Z: payment reversed, discrepancy reversed, and the family can pay again."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.report("P", "V", 900)
    assert office.report("P", "Z", 900) == "applied: money_rejected_later"
    assert office.payment("P").state == "reversed"
    assert not office.payment("P").provisional
    assert office.states() == {"F": "payable"}
    assert office.open() == {("reversed", "P", None): 900}
    assert office.start("Q", {"F": 900}) == "applied: hold_taken"


def test_a_reversed_payment_leaves_the_invoice_paid_where_something_else_covers_it(twice: Office) -> None:
    """The double becomes the payment."""
    twice.reverse("P", 900)
    assert twice.states() == {"F": "paid"}
    assert twice.invoice("F").paid_by == "Q"
    assert twice.open() == {("reversed", "P", None): 900}


def test_a_partial_reversal_reverses(office: Office) -> None:
    """Below its amount by one cent: reversed, and what is left is to be given back."""
    office.issue("F", 900)
    office.pays("P", {"F": 900})
    office.reverse("P", 1)
    assert office.payment("P").state == "reversed"
    assert office.states() == {"F": "payable"}
    assert office.open() == {("reversed", "P", None): 1, ("underpaid", "P", None): 899}


def test_a_reversal_of_what_was_too_much_leaves_the_payment_paid(office: Office) -> None:
    """Not below its amount: not reversed."""
    office.issue("F", 900)
    office.pays("P", {"F": 900}, 1000)
    office.reverse("P", 100)
    assert office.payment("P").state == "paid"
    assert office.open() == {}


def test_a_reversed_payment_that_is_paid_after_all_pays(office: Office) -> None:
    """A later charge of the same payment covers it again."""
    office.issue("F", 900)
    office.pays("P", {"F": 900})
    office.reverse("P", 900)
    office.report("P", "P", 900, transaction="again")
    assert office.states() == {"F": "paid"}
    assert office.open() == {}


def test_wholly_refunded(office: Office) -> None:
    """All given back: payment refunded, invoice payable again, nothing to explain."""
    office.issue("F", 900)
    office.pays("P", {"F": 900})
    office.refund("P", 900)
    assert office.payment("P").state == "refunded"
    assert office.states() == {"F": "payable"}
    assert office.open() == {}
    assert office.journal_of("F")[-1] == ("paid", "payable", "money_refunded")


def test_wholly_refunded_in_parts(office: Office) -> None:
    """The last part makes it whole."""
    office.issue("F", 900)
    office.pays("P", {"F": 900})
    office.refund("P", 500)
    assert office.payment("P").state == "paid"
    office.refund("P", 400)
    assert office.payment("P").state == "refunded"


def test_nothing_received_and_nothing_refunded_is_not_refunded(office: Office) -> None:
    """Refunds have to be above zero: 0 of 0 is not a refund."""
    office.start("P", {"F": 900})
    assert office.payment("P").state == "started"


def test_a_partly_refunded_payment_stays_paid_and_something_is_missing(office: Office) -> None:
    """Half given back of what was owed: the invoice stays paid, the half is missing."""
    office.issue("F", 900)
    office.pays("P", {"F": 900})
    office.refund("P", 400)
    assert office.states() == {"F": "paid"}
    assert office.open() == {("missing", "P", None): 400}


# the order of an invoice's states


def test_withdrawn_comes_before_paid(office: Office) -> None:
    """A paid invoice that is withdrawn is withdrawn, and its money is to be given back."""
    office.issue("F", 900)
    office.pays("P", {"F": 900})
    office.withdraw("F")
    assert office.states() == {"F": "withdrawn"}
    assert office.open() == {("paid_withdrawn", "P", "F"): 900}


def test_paid_comes_before_in_payment(office: Office) -> None:
    """Paid at the counter while the family is on the gateway's page."""
    office.issue("F", 900)
    office.issue("G", 100)
    office.start("P", {"F": 900, "G": 100})
    office.settle("F", 900)
    assert office.states() == {"F": "paid", "G": "in_payment"}


def test_an_invoice_of_nothing_is_paid(office: Office) -> None:
    """Credits of 0 cover a claim of 0."""
    office.issue("F", 0)
    assert office.states() == {"F": "paid"}


def test_a_withdrawal_taken_back_finds_the_money_again(office: Office) -> None:
    """Withdrawn, then issued again: paid by what is still there."""
    office.issue("F", 900)
    office.pays("P", {"F": 900})
    office.withdraw("F")
    office.issue("F", 900)
    assert office.states() == {"F": "paid"}
    assert office.open() == {}
    assert office.discrepancy("paid_withdrawn").state == "closed"


# the examples of the rules


def test_900_and_900_for_900(twice: Office) -> None:
    """900 double."""
    assert twice.open() == {("double_payment", "Q", "F"): 900}
    assert twice.invoice("F").paid_by == "P"


@pytest.mark.parametrize("reference", ["P", "Q"])
def test_refund_400_of_either_leaves_500(twice: Office, reference: str) -> None:
    """The less refunded one keeps the invoice."""
    twice.refund(reference, 400)
    assert twice.open() == {("double_payment", reference, "F"): 500}
    assert twice.states() == {"F": "paid"}


@pytest.mark.parametrize("reference", ["P", "Q"])
def test_refund_either_wholly_leaves_nothing(twice: Office, reference: str) -> None:
    """Invoice still paid, by the other."""
    twice.refund(reference, 900)
    assert twice.open() == {}
    assert twice.states() == {"F": "paid"}
    assert twice.invoice("F").paid_by == ({"P", "Q"} - {reference}).pop()


@pytest.mark.parametrize("reference", ["P", "Q"])
def test_reverse_either_wholly_leaves_nothing_to_give_back(twice: Office, reference: str) -> None:
    """Only that it was reversed remains to be seen."""
    twice.reverse(reference, 900)
    assert twice.open() == {("reversed", reference, None): 900}
    assert twice.states() == {"F": "paid"}


def test_1000_for_900(office: Office) -> None:
    """100 overpaid; refund 60 and 40 remain."""
    office.issue("F", 900)
    office.pays("P", {"F": 900}, 1000)
    assert office.open() == {("overpaid", "P", None): 100}
    office.refund("P", 60)
    assert office.open() == {("overpaid", "P", None): 40}


def test_900_for_1000(office: Office) -> None:
    """Unpaid, and all of it is underpaid."""
    office.issue("F", 1000)
    office.pays("P", {"F": 1000}, 900)
    office.later(HOLD)
    office.time_out("P")
    assert office.states() == {"F": "payable"}
    assert office.open() == {("underpaid", "P", None): 900}


def test_700_for_two_invoices_of_which_one_was_paid_in_cash(office: Office) -> None:
    """500 double, the 200 paid."""
    office.issue("F", 500)
    office.issue("G", 200)
    office.start("P", {"F": 500, "G": 200})
    office.settle("F", 500)
    office.report("P", "P", 700)
    assert office.states() == {"F": "paid", "G": "paid"}
    assert office.open() == {("double_payment", "P", "F"): 500}
    assert (office.invoice("F").paid_by, office.invoice("G").paid_by) == ("settled_elsewhere", "P")


def test_reissued_for_less(office: Office) -> None:
    """1000 → 800: 200 to give back."""
    office.issue("F", 1000)
    office.pays("P", {"F": 1000})
    office.issue("F", 800)
    assert office.states() == {"F": "paid"}
    assert office.open() == {("overpaid", "P", None): 200}


def test_reissued_for_more(office: Office) -> None:
    """1000 → 1200: payable, 200 missing."""
    office.issue("F", 1000)
    office.pays("P", {"F": 1000})
    office.issue("F", 1200)
    assert office.states() == {"F": "payable"}
    assert office.open() == {("missing", None, "F"): 200}


# who keeps what


def test_what_was_settled_elsewhere_keeps_first(office: Office) -> None:
    """Though it came last: the payment is the double."""
    office.issue("F", 900)
    office.pays("P", {"F": 900})
    office.settle("F", 900)
    assert office.open() == {("double_payment", "P", "F"): 900}
    assert office.invoice("F").paid_by == "settled_elsewhere"


def test_a_part_settled_elsewhere_leaves_the_rest_to_the_payment(office: Office) -> None:
    """600 of 900 at the counter: the payment keeps 300 of its line."""
    office.issue("F", 900)
    office.pays("P", {"F": 900})
    office.settle("F", 600)
    assert office.open() == {("double_payment", "P", "F"): 600}


def test_a_part_settled_elsewhere_pays_nothing_alone(office: Office) -> None:
    """No part payment: it stays payable, with what was settled."""
    office.issue("F", 900)
    office.settle("F", 600)
    assert office.states() == {"F": "payable"}
    assert office.invoice("F").settled_cents == 600
    assert office.open() == {}


def test_more_settled_elsewhere_than_owed(office: Office) -> None:
    """The rest is overpaid, by nobody's payment."""
    office.issue("F", 900)
    office.settle("F", 1000)
    assert office.open() == {("overpaid", None, "F"): 100}


def test_settled_elsewhere_of_a_withdrawn_invoice(office: Office) -> None:
    """All of it is to be given back."""
    office.issue("F", 900)
    office.settle("F", 900)
    office.withdraw("F")
    assert office.open() == {("paid_withdrawn", None, "F"): 900}


def test_a_bounced_cheque(office: Office) -> None:
    """Settled, then unsettled: payable again and nothing to explain."""
    office.issue("F", 900)
    office.settle("F", 900)
    office.unsettle("F", 900)
    assert office.states() == {"F": "payable"}
    assert office.journal_of("F")[-1] == ("paid", "payable", "settlement_taken_back")
    assert office.open() == {}


def test_more_taken_back_than_was_settled(office: Office) -> None:
    """What was given back and never owed is missing."""
    office.issue("F", 900)
    office.unsettle("F", 100)
    assert office.open() == {("missing", None, "F"): 100}
    assert office.invoice("F").settled_cents == -100


def test_the_payment_least_refunded_beyond_its_excess_keeps(office: Office) -> None:
    """P brought 100 too much and gave them back: that is no reason to lose the invoice."""
    office.issue("F", 900)
    office.pays("P", {"F": 900}, 1000)
    office.refund("P", 100)
    office.pays("Q", {"F": 900})
    assert office.open() == {("double_payment", "Q", "F"): 900}
    office.refund("P", 1)
    assert office.open() == {("double_payment", "P", "F"): 899}


def test_among_equals_the_earliest_received_keeps(office: Office) -> None:
    """Not the earliest started."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD)
    office.start("Q", {"F": 900})
    office.report("Q", "P", 900)
    office.later(60)
    office.report("P", "P", 900)
    assert office.open() == {("double_payment", "P", "F"): 900}


def test_refunds_reduce_what_is_to_give_back_from_the_last(office: Office) -> None:
    """Overpaid first, then the double, then what a withdrawn invoice brought."""
    office.issue("F", 100)
    office.issue("G", 200)
    office.pays("P", {"F": 100, "G": 200}, 350)
    office.withdraw("F")
    office.settle("G", 200)
    withdrawn, double, over = ("paid_withdrawn", "P", "F"), ("double_payment", "P", "G"), ("overpaid", "P", None)
    assert office.open() == {withdrawn: 100, double: 200, over: 50}
    office.refund("P", 60)
    assert office.open() == {withdrawn: 100, double: 190}
    office.refund("P", 200)
    assert office.open() == {withdrawn: 90}
    office.refund("P", 90)
    assert office.open() == {}
    assert office.payment("P").state == "refunded"


def test_refunding_more_than_came_is_missing(office: Office) -> None:
    """1000 given back of 900."""
    office.issue("F", 900)
    office.pays("P", {"F": 900})
    office.refund("P", 1000)
    assert office.payment("P").state == "refunded"
    assert office.open() == {("missing", "P", None): 100}


def test_missing_is_never_summed_with_what_is_to_give_back(office: Office) -> None:
    """One payment gave back too much, another brought too much: both stand."""
    office.issue("F", 900)
    office.issue("G", 900)
    office.pays("P", {"F": 900})
    office.pays("Q", {"G": 900}, 1000)
    office.refund("P", 1000)
    assert office.open() == {("missing", "P", None): 100, ("overpaid", "Q", None): 100}


# invoices not issued yet


def test_an_invoice_unknown_at_payment_started_is_created_from_it(office: Office) -> None:
    """It is there, in payment, for its line's amount and the account that was said."""
    office.start("P", {"F": 900}, account="DUPONT")
    invoice = office.invoice("F")
    assert (invoice.state, invoice.amount_cents, invoice.issued_cents) == ("in_payment", 900, None)
    assert invoice.account == "DUPONT"


def test_an_issued_invoices_account_is_not_the_payments_to_say(office: Office) -> None:
    """What was issued stands."""
    office.issue("F", 900, account="DUPONT")
    office.start("P", {"F": 900}, account="MARTIN")
    assert office.invoice("F").account == "DUPONT"


def test_not_issued_it_claims_the_largest_line_of_its_paid_payments(office: Office) -> None:
    """The other one's line is smaller, though it started later: its payment is the double."""
    office.start("P", {"F": 900}, time=0)
    office.later(HOLD)
    office.start("Q", {"F": 800})
    office.report("P", "P", 900)
    office.report("Q", "P", 800)
    assert office.invoice("F").amount_cents == 900
    assert office.open() == {("double_payment", "Q", "F"): 800}


def test_not_issued_and_not_paid_it_claims_its_latest_start(office: Office) -> None:
    """Latest by the start's own time."""
    office.start("P", {"F": 900}, time=0)
    office.later(HOLD)
    office.start("Q", {"F": 800}, time=HOLD)
    assert office.invoice("F").amount_cents == 800
    office.start("R", {"F": 700}, time=60)
    assert office.invoice("F").amount_cents == 800


def test_issued_later_for_another_amount_the_issue_decides(office: Office) -> None:
    """Paid 900 of what turns out to be 1000: payable, and the books say what is missing."""
    office.pays("P", {"F": 900})
    assert office.states() == {"F": "paid"}
    office.issue("F", 1000)
    assert office.states() == {"F": "payable"}
    assert office.open() == {("missing", None, "F"): 100}


# late money


def test_money_after_the_hold_is_late_and_still_pays(office: Office) -> None:
    """Nobody took the invoice meanwhile: the late payment pays it."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD)
    office.time_out("P")
    office.report("P", "P", 900)
    assert office.payment("P").late
    assert office.payment("P").reason == "money_received_late"
    assert office.journal_of("F")[-1] == ("payable", "paid", "money_received_late")


def test_late_goes_by_the_databases_clock_not_the_gateways(office: Office) -> None:
    """Paid in time by the gateway's clock, applied after the hold's end by ours: late."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD)
    office.report("P", "P", 900, gateway_time=at(60))
    assert office.payment("P").late


def test_money_in_the_last_moment_is_not_late(office: Office) -> None:
    """A microsecond before the deadline."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD - 0.000001)
    office.report("P", "P", 900)
    assert not office.payment("P").late


def test_a_late_payment_ends_the_hold_that_another_has(office: Office) -> None:
    """Before that family pays what is paid already; should its money come, it is the double."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD)
    office.start("Q", {"F": 900})
    assert office.states() == {"F": "in_payment"}
    office.report("P", "P", 900)
    assert office.states() == {"F": "paid"}
    assert office.payment("Q").hold_over
    assert (office.payment("Q").state, office.payment("Q").reason) == ("expired", "nothing_left_to_hold")
    office.report("Q", "P", 900)
    assert office.open() == {("double_payment", "Q", "F"): 900}


def test_a_second_charge_in_time_does_not_make_a_payment_late_or_less_late(office: Office) -> None:
    """Only the first money counts for `late`."""
    office.start("P", {"F": 900})
    office.report("P", "P", 900, transaction="t1")
    office.later(HOLD)
    office.report("P", "P", 900, transaction="t2")
    assert not office.payment("P").late


# payments that could not take a hold


def test_money_of_a_rejected_payment_counts_like_any_other(office: Office) -> None:
    """Rejected for an amount that differs; the family paid all the same."""
    office.issue("F", 1000)
    office.start("P", {"F": 900})
    assert office.payment("P").state == "rejected"
    office.report("P", "P", 900)
    assert office.payment("P").state == "paid"
    assert office.states() == {"F": "payable"}
    assert office.open() == {("missing", None, "F"): 100}


def test_money_of_a_rejected_payment_that_covers_the_invoice_pays_it(office: Office) -> None:
    """Q was turned away because P held; only Q's money came."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.start("Q", {"F": 900})
    office.report("Q", "P", 900)
    assert office.states() == {"F": "paid"}
    assert office.invoice("F").paid_by == "Q"
    assert office.payment("P").hold_over
    assert office.open() == {}
