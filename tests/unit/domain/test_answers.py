"""What a gateway says and does not prove: kept, counted, shown, and no fact about money."""

import pytest

from tests.unit.domain.office import HOLD, Office

DAY = 86400


@pytest.mark.parametrize("result", ["P", "V", "Z", "R", "A", "waiting", "failed", "nothing"])
def test_an_unverified_answer_settles_nothing(office: Office, result: str) -> None:
    """Whatever it says, no charge is kept, no state moves, one discrepancy shows it."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    before = office.journal[:]
    assert office.report("P", result, 900, verified=False, why="signature_invalid") == "refused: unverified_callback"
    assert office.dossier.charges == []
    assert office.journal == before
    shown = office.discrepancy("unverified_callback")
    assert (shown.payment, shown.amount_cents, shown.detail["why"]) == ("P", 900, "signature_invalid")


def test_an_unverified_answer_marks_the_invoice_to_check(office: Office) -> None:
    """Somebody should look at it."""
    office.start("P", {"F": 900})
    office.report("P", "P", 900, verified=False)
    assert office.invoice("F").to_check


@pytest.mark.parametrize("verified", [True, False])
def test_a_test_answer_never_settles_in_production(office: Office, verified: bool) -> None:  # noqa: FBT001
    """Whichever key signed it, it says test: kept as that."""
    office.start("P", {"F": 900})
    assert office.report("P", "P", 900, test=True, verified=verified) == "refused: test_payment"
    assert office.states() == {"F": "in_payment"}
    assert office.open() == {("test_payment", "P", None): 900}


def test_a_test_answer_settles_in_a_regie_in_test() -> None:
    """There it is a fact, when it is proven."""
    office = Office(mode="test")
    office.start("P", {"F": 900})
    assert office.report("P", "P", 900, test=True) == "applied: money_received"
    assert office.states() == {"F": "paid"}


def test_an_unverified_test_answer_settles_nowhere() -> None:
    """Test mode lowers no bar for proof."""
    office = Office(mode="test")
    office.start("P", {"F": 900})
    assert office.report("P", "P", 900, test=True, verified=False) == "refused: test_payment"
    assert office.states() == {"F": "in_payment"}


def test_unproven_answers_coalesce_per_reference_and_day(office: Office) -> None:
    """A thousand forged callbacks are one thing to look at, with their count."""
    office.start("P", {"F": 900})
    for cents in (100, 900, 500):
        office.report("P", "P", cents, verified=False)
    shown = office.discrepancy("unverified_callback")
    assert (shown.detail["count"], shown.amount_cents) == ("3", 900)


def test_an_explained_answer_stays_so_until_a_larger_one_comes(office: Office) -> None:
    """More of the same day is counted; what names more money than was explained opens it again."""
    office.report("P", "P", 900, verified=False)
    office.resolve(office.discrepancy("unverified_callback"), "explained")
    office.report("P", "P", 900, verified=False)
    assert office.discrepancy("unverified_callback").state == "resolved"
    assert office.discrepancy("unverified_callback").detail["count"] == "2"
    office.report("P", "P", 901, verified=False)
    assert office.open() == {("unverified_callback", None, None): 901}


def test_unproven_answers_about_two_references_are_two(office: Office) -> None:
    """One discrepancy each."""
    office.report("P", "P", 900, verified=False)
    office.report("Q", "P", 900, verified=False)
    assert len(office.dossier.discrepancies) == 2


def test_unproven_answers_of_two_days_are_two(office: Office) -> None:
    """Yesterday's may be explained already."""
    office.report("P", "P", 900, verified=False)
    office.later(DAY)
    office.report("P", "P", 900, verified=False)
    assert len(office.dossier.discrepancies) == 2


def test_unverified_and_test_answers_are_two(office: Office) -> None:
    """They are explained differently."""
    office.report("P", "P", 900, verified=False)
    office.report("P", "P", 900, test=True)
    assert {row.kind for row in office.dossier.discrepancies.values()} == {"unverified_callback", "test_payment"}


def test_an_unproven_answer_about_nothing_known_creates_no_row_but_its_discrepancy(office: Office) -> None:
    """The open endpoint fills no table of payments."""
    office.report("made-up", "P", 900, verified=False)
    assert (office.dossier.payments, office.dossier.references) == ({}, {})
    assert office.open() == {("unverified_callback", None, None): 900}


def test_money_does_not_follow_unproven_answers(office: Office) -> None:
    """Proven later: paid, and the forged one stays to be explained."""
    office.start("P", {"F": 900})
    office.report("P", "P", 900, verified=False)
    office.report("P", "P", 900)
    assert office.states() == {"F": "paid"}
    assert office.open() == {("unverified_callback", "P", None): 900}


def test_a_credit_is_neither_payment_nor_refund(office: Office) -> None:
    """A verified answer about another operation: no charge, no state."""
    office.pays("P", {"F": 900})
    assert office.report("P", "nothing", 900, why="operation_type") == "ignored: not_about_money"
    assert office.payment("P").received_cents == 900
    assert office.payment("P").refunded_cents == 0


def test_waiting_is_no_fact(office: Office) -> None:
    """In progress: nothing moves."""
    office.start("P", {"F": 900})
    assert office.report("P", "waiting") == "ignored: gateway_cannot_say"
    assert office.payment("P").state == "started"


def test_refused_then_paid_on_the_same_page(office: Office) -> None:
    """Two tries are two transactions: the second pays."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.report("P", "R", transaction="t1")
    office.later(60)
    office.report("P", "P", 900, transaction="t2")
    assert office.payment("P").state == "paid"
    assert not office.payment("P").late
    assert office.states() == {"F": "paid"}


def test_a_refusal_after_the_money_changes_nothing_about_it(office: Office) -> None:
    """Out of order, or a second window."""
    office.pays("P", {"F": 900})
    office.report("P", "R", transaction="t2")
    assert office.payment("P").state == "paid"


def test_a_refusal_after_the_hold_names_how_the_payment_ended(office: Office) -> None:
    """Expired, then the gateway says why."""
    office.start("P", {"F": 900})
    office.later(HOLD)
    office.time_out("P")
    office.report("P", "R")
    assert office.payment("P").state == "refused"
    assert office.states() == {"F": "payable"}


def test_the_better_result_may_bring_less(office: Office) -> None:
    """V of 900, then P of 800 of the same charge: no longer enough; the hold is over, so it is expired."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.report("P", "V", 900)
    office.report("P", "P", 800)
    assert office.payment("P").state == "expired"
    assert office.states() == {"F": "payable"}
    assert office.open() == {("underpaid", "P", None): 800}
