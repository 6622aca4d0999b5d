"""The rule about order, on the judge itself: who received what first decides no money."""

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.model import TO_GIVE_BACK, Fact, Verdict, judge
from tests.property.facts import sets_of_facts


def to_give_back(verdict: Verdict) -> int:
    """Cents to give back, over all discrepancies."""
    return sum(c for (kind, *_), c in verdict.discrepancies.items() if kind in TO_GIVE_BACK)


def missing_of_payments(verdict: Verdict) -> int:
    """Cents of payments given back that were owed."""
    return sum(c for (kind, ref, _), c in verdict.discrepancies.items() if kind == "missing" and ref)


def beyond(verdict: Verdict) -> list[int]:
    """How far each paid payment was refunded into what it owes, where it was."""
    all_of_them = [p.refunds - (p.received - p.amount) for p in verdict.payments.values() if p.paid]
    return [cents for cents in all_of_them if cents > 0]


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sets_of_facts(), st.randoms(use_true_random=False))
def test_no_order_received_changes_states_or_sums(facts: list[Fact], random: Random) -> None:
    """States, credits, what each payment received, and the net to give back follow the set.

    The sum to give back alone does too, unless two payments were refunded equally far
    beyond their excess: then the first received keeps, and their lines may differ.
    """
    shuffled = list(facts)
    random.shuffle(shuffled)
    one, other = judge(facts), judge(shuffled)
    assert one.states == other.states
    assert {n: i.credits for n, i in one.invoices.items()} == {n: i.credits for n, i in other.invoices.items()}
    assert {r: (p.received, p.outcome) for r, p in one.payments.items()} == {
        r: (p.received, p.outcome) for r, p in other.payments.items()
    }
    assert one.unknown_payments == other.unknown_payments
    assert to_give_back(one) - missing_of_payments(one) == to_give_back(other) - missing_of_payments(other)
    if len(set(beyond(one))) == len(beyond(one)):
        assert to_give_back(one) == to_give_back(other)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sets_of_facts())
def test_every_cent_is_accounted_for(facts: list[Fact]) -> None:
    """Received − refunds − kept is exactly what is to give back − what is missing, payment by payment."""
    verdict = judge(facts)
    for ref, payment in verdict.payments.items():
        to_explain = payment.received - payment.refunds - sum(payment.kept.values())
        explained = sum(
            -cents if kind == "missing" else cents
            for (kind, payer, _), cents in verdict.discrepancies.items()
            if payer == ref and kind != "reversed"
        )
        assert to_explain == explained
    for number, invoice in verdict.invoices.items():
        kept = invoice.kept_elsewhere + sum(p.kept.get(number, 0) for p in verdict.payments.values())
        assert kept <= (0 if invoice.state == "withdrawn" else invoice.amount)
