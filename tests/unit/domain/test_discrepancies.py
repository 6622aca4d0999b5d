"""Discrepancies follow the facts until someone closes them, for the amount that they saw."""

from collections.abc import Callable

import pytest

from tests.unit.domain.office import Office, at


@pytest.fixture
def double(office: Office) -> Office:
    """900 paid twice."""
    office.issue("F", 900)
    office.pays("P", {"F": 900})
    office.pays("Q", {"F": 900})
    return office


def test_one_discrepancy_per_kind_payment_and_invoice(office: Office) -> None:
    """Its amount follows the facts; its id does not change."""
    office.issue("F", 900)
    office.pays("P", {"F": 900}, 1000)
    opened = office.discrepancy("overpaid")
    office.later(60)
    office.report("P", "P", 50, transaction="more")
    moved = office.discrepancy("overpaid")
    assert (moved.id, moved.amount_cents, moved.opened_at, moved.changed_at) == (opened.id, 150, at(0), at(60))


def test_a_discrepancy_that_the_facts_explain_closes_by_itself(double: Office) -> None:
    """Refunded: nothing to give back any more, nobody had to close it."""
    double.refund("Q", 900)
    assert double.discrepancy("double_payment").state == "closed"
    assert double.discrepancy("double_payment").amount_cents == 0
    assert double.discrepancy("double_payment").resolution is None


def test_a_closed_discrepancy_opens_again_with_the_facts(double: Office) -> None:
    """Settled at the counter too: the first payment is now the double."""
    double.refund("Q", 900)
    double.later(60)
    double.report("Q", "P", 900, transaction="again")
    assert double.discrepancy("double_payment").state == "open"
    assert double.discrepancy("double_payment").opened_at == at(60)


@pytest.mark.parametrize("how", ["refunded", "written_off", "explained"])
def test_a_resolution_closes_and_moves_no_money(double: Office, how: str) -> None:
    """The amount stays on record."""
    assert double.resolve(double.discrepancy("double_payment"), how) == "applied: discrepancy_resolved"
    shown = double.discrepancy("double_payment")
    assert (shown.state, shown.resolution, shown.resolved_cents, shown.amount_cents) == ("resolved", how, 900, 900)
    assert shown.comment == "seen"
    assert double.payment("Q").refunded_cents == 0
    assert double.states() == {"F": "paid"}


def test_an_avoir_counts_as_a_refund(double: Office) -> None:
    """Credited: given back on the next invoice, so nothing is left to give back."""
    double.resolve(double.discrepancy("double_payment"), "credited")
    assert double.payment("Q").refunded_cents == 900
    assert double.payment("Q").state == "refunded"
    assert double.discrepancy("double_payment").amount_cents == 0
    assert double.open() == {}


def test_an_avoir_for_what_was_settled_elsewhere(office: Office) -> None:
    """It belongs to no payment, and is counted against the invoice."""
    office.issue("F", 900)
    office.settle("F", 1000)
    office.resolve(office.discrepancy("overpaid"), "credited")
    assert office.open() == {}
    assert office.states() == {"F": "paid"}
    assert office.discrepancy("overpaid").amount_cents == 0


def _missing(office: Office) -> None:
    office.unsettle("F", 100)


def _reversed(office: Office) -> None:
    office.pays("P", {"F": 900})
    office.reverse("P", 900)


def _unverified_callback(office: Office) -> None:
    office.report("P", "P", 900, verified=False)


def _unknown_payment(office: Office) -> None:
    office.report("P", "P", 900)


@pytest.mark.parametrize("opened", [_missing, _reversed, _unverified_callback, _unknown_payment])
def test_nothing_can_be_credited_where_nothing_is_to_be_given_back(
    office: Office, opened: Callable[[Office], None]
) -> None:
    """An avoir of a missing sum makes no sense."""
    office.issue("F", 900)
    opened(office)
    shown = office.discrepancy(opened.__name__.strip("_"))
    assert office.resolve(shown, "credited") == "refused: resolution_not_applicable"
    assert shown.state == "open"


def test_a_larger_amount_reopens(office: Office) -> None:
    """Written off at 100; then 50 more came."""
    office.issue("F", 900)
    office.pays("P", {"F": 900}, 1000)
    office.resolve(office.discrepancy("overpaid"), "written_off")
    assert office.open() == {}
    office.report("P", "P", 50, transaction="more")
    assert office.open() == {("overpaid", "P", None): 150}


def test_a_smaller_amount_stays_closed(office: Office) -> None:
    """The resolution holds up to what it closed."""
    office.issue("F", 900)
    office.pays("P", {"F": 900}, 1000)
    office.resolve(office.discrepancy("overpaid"), "written_off")
    office.refund("P", 60)
    assert office.discrepancy("overpaid").state == "resolved"
    assert office.discrepancy("overpaid").amount_cents == 40


def test_a_resolution_is_stamped_with_the_amount_that_was_seen(office: Office) -> None:
    """Closed for 100 while it had grown to 150 unseen: it stays open."""
    office.issue("F", 900)
    office.pays("P", {"F": 900}, 1000)
    seen = office.discrepancy("overpaid").amount_cents
    office.report("P", "P", 50, transaction="more")
    office.resolve(office.discrepancy("overpaid"), "written_off", seen)
    assert office.open() == {("overpaid", "P", None): 150}


def test_no_resolution_settles_an_invoice(office: Office) -> None:
    """Missing 200 written off: the invoice is still payable; invoice.settled is what pays it."""
    office.issue("F", 1000)
    office.pays("P", {"F": 1000})
    office.issue("F", 1200)
    office.resolve(office.discrepancy("missing"), "written_off")
    assert office.states() == {"F": "payable"}
    office.settle("F", 200)
    assert office.states() == {"F": "paid"}


def test_a_resolution_of_nothing_known_is_refused(double: Office) -> None:
    """Closed twice, or made up: refused by name."""
    shown = double.discrepancy("double_payment")
    double.resolve(shown, "explained")
    assert double.resolve(shown, "explained") == "refused: discrepancy_not_open"
    shown.id = "0" * 32
    assert double.resolve(shown, "explained") == "refused: discrepancy_unknown"


def test_an_open_discrepancy_marks_its_invoice_to_check(double: Office) -> None:
    """Until it is closed; and that is a new version of the invoice."""
    assert double.invoice("F").to_check
    double.resolve(double.discrepancy("double_payment"), "explained")
    assert not double.invoice("F").to_check


def test_a_payments_discrepancy_marks_all_its_invoices(office: Office) -> None:
    """Overpaid: nobody knows for which line."""
    office.issue("F", 500)
    office.issue("G", 200)
    office.pays("P", {"F": 500, "G": 200}, 800)
    assert office.invoice("F").to_check
    assert office.invoice("G").to_check


def test_the_dossier_holds_every_payment_that_ever_named_an_invoice(office: Office) -> None:
    """A refused one of yesterday that is paid today after all is a double."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.report("P", "R", transaction="t1")
    office.later(86400)
    office.time_out("P")
    office.pays("Q", {"F": 900})
    office.later(86400)
    office.report("P", "P", 900, transaction="t2")
    assert office.open() == {("double_payment", "P", "F"): 900}


def test_a_resolved_double_that_becomes_the_payment_is_done_with(double: Office) -> None:
    """P is reversed: Q's money is now what pays, and there is nothing to give back."""
    double.resolve(double.discrepancy("double_payment"), "explained")
    double.reverse("P", 900)
    assert double.discrepancy("double_payment").amount_cents == 0
    assert double.open() == {("reversed", "P", None): 900}


def test_nobody_resolves_another_regies_discrepancy() -> None:
    """Named by its id under one's own régie, it is unknown, and stays open."""
    office = Office()
    office.issue("F", 900)
    office.pays("P", {"F": 900}, cents=1000)
    shown = office.discrepancy("overpaid")
    shown.regie = "piscine"
    assert office.resolve(shown, "explained") == "refused: discrepancy_unknown"
    assert office.discrepancy("overpaid").state.value == "open"
