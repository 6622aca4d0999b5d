"""What a desk and the judge must agree on."""

from collections.abc import Sequence

from tests.model import Fact, Verdict, judge
from tests.property.desk import Desk


def assert_agreed(desk: Desk, facts: Sequence[Fact]) -> Verdict:
    """Compare everything that facts decide, once no hold is on; `facts` in the order received."""
    verdict = judge(facts)
    assert desk.states() == verdict.states
    assert desk.received() == {ref: (p.received, p.refunds, p.outcome) for ref, p in verdict.payments.items()}
    assert desk.discrepancies() == verdict.discrepancies
    assert desk.unknown_payments() == {" ".join(key): cents for key, cents in verdict.unknown_payments.items()}
    return verdict
