"""The judge is judged: every example of the rules about money, by hand."""

from collections.abc import Callable

import pytest

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
    still_open,
    unsettled,
    withdrawn,
)


def pays(reference: str, lines: dict[str, int], cents: int | None = None) -> list[Fact]:
    """A payment that the gateway says is paid, by default exactly."""
    return [
        started(reference, lines),
        charge(reference, f"t-{reference}", "P", sum(lines.values()) if cents is None else cents),
    ]


TWICE = [issued("A", 900), *pays("p", {"A": 900}), *pays("q", {"A": 900})]


def to_give_back(verdict: Verdict) -> int:
    """Cents to give back, over all discrepancies."""
    return sum(c for (kind, *_), c in verdict.discrepancies.items() if kind in TO_GIVE_BACK)


def test_an_exact_payment_leaves_nothing_to_do() -> None:
    """One payment of the amount: paid, no discrepancy."""
    verdict = judge([issued("A", 900), *pays("p", {"A": 900})])
    assert verdict.states == {"A": "paid"}
    assert verdict.discrepancies == {}


def test_900_and_900_for_900() -> None:
    """The second payment is the double, in full."""
    verdict = judge(TWICE)
    assert verdict.states == {"A": "paid"}
    assert verdict.discrepancies == {("double_payment", "q", "A"): 900}


@pytest.mark.parametrize("reference", ["p", "q"])
def test_refund_400_of_either_leaves_500(reference: str) -> None:
    """Whichever is refunded in part is the double: the less refunded one keeps."""
    verdict = judge([*TWICE, refunded(reference, 400, "f")])
    assert verdict.states == {"A": "paid"}
    assert verdict.discrepancies == {("double_payment", reference, "A"): 500}


@pytest.mark.parametrize("reference", ["p", "q"])
@pytest.mark.parametrize("undo", [refunded, reversed_])
def test_refund_or_reverse_either_wholly_leaves_nothing(reference: str, undo: Callable[[str, int, str], Fact]) -> None:
    """Nothing to give back and the invoice still paid."""
    verdict = judge([*TWICE, undo(reference, 900, "f")])
    assert verdict.states == {"A": "paid"}
    assert to_give_back(verdict) == 0
    assert verdict.payments[reference].outcome == undo.__name__.rstrip("_")


def test_1000_for_900() -> None:
    """100 too much; refund 60 and 40 remain."""
    facts = [issued("A", 900), *pays("p", {"A": 900}, 1000)]
    assert judge(facts).discrepancies == {("overpaid", "p", None): 100}
    facts.append(refunded("p", 60, "f"))
    assert judge(facts).discrepancies == {("overpaid", "p", None): 40}


def test_900_for_1000() -> None:
    """Not paid, and all of it is to give back."""
    verdict = judge([issued("A", 1000), *pays("p", {"A": 1000}, 900)])
    assert verdict.states == {"A": "payable"}
    assert verdict.discrepancies == {("underpaid", "p", None): 900}


def test_700_for_two_lines_when_one_was_paid_in_cash() -> None:
    """700 for 500 + 200: the 500 is double, the 200 is paid."""
    verdict = judge([issued("A", 500), issued("B", 200), settled("A", 500, "s"), *pays("p", {"A": 500, "B": 200})])
    assert verdict.states == {"A": "paid", "B": "paid"}
    assert verdict.discrepancies == {("double_payment", "p", "A"): 500}


def test_reissued_lower_then_higher() -> None:
    """Re-issued 1000 → 800 leaves 200 too much; → 1200 leaves it payable, 200 missing."""
    facts = [issued("A", 1000), *pays("p", {"A": 1000}), issued("A", 800)]
    assert judge(facts).states == {"A": "paid"}
    assert judge(facts).discrepancies == {("overpaid", "p", None): 200}
    facts.append(issued("A", 1200))
    assert judge(facts).states == {"A": "payable"}
    assert judge(facts).discrepancies == {("missing", None, "A"): 200}


def test_v_then_z_gives_the_invoice_back() -> None:
    """A rejected direct debit: payable again, payment and discrepancy reversed."""
    facts = [issued("A", 900), started("p", {"A": 900}), charge("p", "t", "V", 900)]
    assert judge(facts).states == {"A": "paid"}
    facts.append(charge("p", "t", "Z", 900))
    verdict = judge(facts)
    assert verdict.states == {"A": "payable"}
    assert verdict.payments["p"].outcome == "reversed"
    assert verdict.discrepancies == {("reversed", "p", None): 900}
    assert judge([facts[0], facts[3], facts[2], facts[1]]).states == verdict.states


def test_v_then_z_where_something_else_covers_it() -> None:
    """The other payment keeps the invoice paid."""
    verdict = judge([*TWICE, charge("p", "t-p", "P", 900), charge("q", "x", "V", 900)])
    assert verdict.discrepancies == {("double_payment", "q", "A"): 900, ("overpaid", "q", None): 900}
    verdict = judge([*TWICE[:3], started("q", {"A": 900}), charge("q", "x", "Z", 900)])
    assert verdict.states == {"A": "paid"}


def test_a_reversal_named_like_its_z_charge_counts_once() -> None:
    """Two idOps paid, one rejected and also told as a reversal: the other still pays."""
    facts = [
        issued("A", 900),
        started("p", {"A": 900}),
        charge("p", "t1", "P", 900),
        charge("p", "t2", "Z", 900),
        reversed_("p", 900, "t2"),
    ]
    assert judge(facts).states == {"A": "paid"}
    assert judge([*facts, reversed_("p", 900, "other")]).states == {"A": "payable"}


def test_wholly_refunded_is_payable_again() -> None:
    """The only payment refunded in full: payable, nothing owed either way."""
    verdict = judge([issued("A", 900), *pays("p", {"A": 900}), refunded("p", 900, "f")])
    assert verdict.states == {"A": "payable"}
    assert verdict.payments["p"].outcome == "refunded"
    assert verdict.discrepancies == {}


def test_a_part_refund_of_what_was_owed_is_missing() -> None:
    """400 of 900 given back while the invoice is owed: still paid, 400 missing."""
    verdict = judge([issued("A", 900), *pays("p", {"A": 900}), refunded("p", 400, "f")])
    assert verdict.states == {"A": "paid"}
    assert verdict.discrepancies == {("missing", "p", None): 400}


def test_the_same_identity_counts_once() -> None:
    """Charges, refunds, reversals and settlements repeated change nothing."""
    facts = [*TWICE, refunded("p", 400, "f"), reversed_("q", 100, "g"), settled("A", 50, "h")]
    assert judge([*facts, *facts[1:]]) == judge(facts)


def test_two_gateway_references_are_one_payment() -> None:
    """Both idOps were paid: both charges count, what is over is overpaid."""
    facts = [
        issued("A", 900),
        started("p", {"A": 900}, gateway_reference="one"),
        started("p", {"A": 900}, gateway_reference="two"),
        charge("one", "t", "P", 900),
        charge("two", "t", "P", 900),
    ]
    assert judge(facts).discrepancies == {("overpaid", "p", None): 900}


def test_a_second_start_with_other_lines_changes_nothing() -> None:
    """The first payment-started stands."""
    facts = [issued("A", 900), *pays("p", {"A": 900})]
    assert judge([*facts, started("p", {"A": 800}, gateway_reference="x")]) == judge(facts)


def test_a_gateway_reference_has_one_owner() -> None:
    """The second owner is refused and does not exist."""
    facts = [issued("A", 900), started("p", {"A": 900}), charge("p", "t", "P", 900)]
    assert judge([*facts, started("q", {"A": 900}, gateway_reference="p")]) == judge(facts)


def test_money_without_an_owner_waits() -> None:
    """A charge whose payment is unknown is shown, and counts once it has an owner."""
    facts = [issued("A", 900), charge("p", "t", "P", 900), charge("p", "u", "R", 900)]
    assert judge(facts).unknown_payments == {("p", "t"): 900}
    assert judge(facts).states == {"A": "payable"}
    assert judge([*facts, started("p", {"A": 900})]).states == {"A": "paid"}
    assert judge([*facts, started("p", {"A": 900})]).unknown_payments == {}


@pytest.mark.parametrize(
    ("results", "outcome"),
    [("PZ", "paid"), ("ZV", "reversed"), ("VR", "paid"), ("RA", None), ("AV", "paid"), ("ZR", "reversed")],
)
def test_results_of_one_charge_whatever_their_order(results: str, outcome: str | None) -> None:
    """P > Z > V > R, A."""
    base = [issued("A", 900), started("p", {"A": 900})]
    for order in (results, results[::-1]):
        told = [charge("p", "t", result, 900) for result in order]
        assert judge([*base, *told]).payments["p"].outcome == outcome


def test_withdrawn_gives_everything_back() -> None:
    """A payment's line and what was settled elsewhere of a withdrawn invoice."""
    verdict = judge([issued("A", 900), *pays("p", {"A": 900}), settled("A", 50, "s"), withdrawn("A")])
    assert verdict.states == {"A": "withdrawn"}
    assert verdict.discrepancies == {
        ("paid_withdrawn", "p", "A"): 900,
        ("paid_withdrawn", None, "A"): 50,
    }


def test_the_latest_of_issue_and_withdrawal_stands() -> None:
    """By their own time, whatever the order received; without time, when received."""
    assert judge([withdrawn("A", time=2), issued("A", 900, time=1)]).states == {"A": "withdrawn"}
    assert judge([withdrawn("A", time=1), issued("A", 900, time=2)]).states == {"A": "payable"}
    assert judge([withdrawn("A"), issued("A", 900)]).states == {"A": "payable"}


def test_paid_in_cash_and_twice_too_much() -> None:
    """Settled elsewhere beyond the amount is overpaid, without a payment."""
    verdict = judge([issued("A", 900), settled("A", 900, "s"), settled("A", 100, "t")])
    assert verdict.discrepancies == {("overpaid", None, "A"): 100}


def test_a_bounced_cheque() -> None:
    """Settled then unsettled: payable, nothing missing; unsettled alone: missing."""
    facts = [issued("A", 900), settled("A", 900, "s"), unsettled("A", 900, "s")]
    assert judge(facts).states == {"A": "payable"}
    assert judge(facts).discrepancies == {}
    verdict = judge([issued("A", 900), unsettled("A", 900, "s"), *pays("p", {"A": 900})])
    assert verdict.states == {"A": "payable"}
    assert verdict.discrepancies == {("missing", None, "A"): 900}


def test_an_invoice_not_issued_claims_what_was_paid_for_it() -> None:
    """The largest line of its paid payments, else its latest start."""
    facts = [started("p", {"A": 900}), started("q", {"A": 800})]
    assert judge(facts).invoices["A"].amount == 800
    facts += [charge("p", "t", "P", 900), charge("q", "t", "P", 800)]
    verdict = judge(facts)
    assert verdict.invoices["A"].amount == 900
    assert verdict.discrepancies == {("double_payment", "q", "A"): 800}


def test_facts_about_an_unknown_invoice_wait() -> None:
    """Settled and withdrawn before any issue or payment: nothing is shown yet."""
    verdict = judge([settled("A", 900, "s"), withdrawn("B")])
    assert verdict.invoices == {}
    assert verdict.discrepancies == {}
    assert judge([settled("A", 900, "s"), issued("A", 900)]).states == {"A": "paid"}


def test_refunds_reduce_from_the_last() -> None:
    """Overpaid first, then the doubles, then what was withdrawn."""
    facts = [
        issued("A", 100),
        issued("B", 100),
        issued("C", 100),
        settled("A", 100, "s"),
        withdrawn("B"),
        *pays("p", {"A": 100, "B": 100, "C": 100}, 350),
    ]
    whole = {
        ("overpaid", "p", None): 50,
        ("double_payment", "p", "A"): 100,
        ("paid_withdrawn", "p", "B"): 100,
    }
    assert judge(facts).discrepancies == whole
    assert judge([*facts, refunded("p", 80, "f")]).discrepancies == {
        ("double_payment", "p", "A"): 70,
        ("paid_withdrawn", "p", "B"): 100,
    }
    assert judge([*facts, refunded("p", 200, "f")]).discrepancies == {("paid_withdrawn", "p", "B"): 50}
    assert judge([*facts, refunded("p", 260, "f")]).discrepancies == {("missing", "p", None): 10}


def test_an_avoir_counts_as_a_refund() -> None:
    """Credited reduces; a closing of another kind leaves the amount, and a larger one reopens."""
    facts = [issued("A", 900), *pays("p", {"A": 900}, 1000)]
    avoir = resolution("r", "credited", 100, kind="overpaid", payment="p", invoice=None)
    assert judge([*facts, avoir]).discrepancies == {}
    explained = [*facts, resolution("r", "explained", 100, kind="overpaid", payment="p", invoice=None)]
    assert judge(explained).discrepancies == {("overpaid", "p", None): 100}
    assert still_open(judge(explained), explained) == set()
    explained.append(charge("p", "again", "P", 1))
    assert still_open(judge(explained), explained) == {("overpaid", "p", None)}


def test_a_reversal_below_the_amount() -> None:
    """Paid, then 100 of it reversed: unpaid, the rest is to give back."""
    verdict = judge([issued("A", 900), *pays("p", {"A": 900}), reversed_("p", 100, "f")])
    assert verdict.states == {"A": "payable"}
    assert verdict.discrepancies == {("underpaid", "p", None): 800, ("reversed", "p", None): 100}
    verdict = judge([issued("A", 900), *pays("p", {"A": 900}), reversed_("p", 1000, "f")])
    assert verdict.discrepancies == {("reversed", "p", None): 900}
