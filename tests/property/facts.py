"""Random sets of facts: several payments on shared invoices, every kind of fact.

No two facts of one identity differ and no gateway reference has two owners, as the
rule about order says. Amounts are few and small, so that they meet often.
"""

from hypothesis import strategies as st

from tests.model import Fact, charge, issued, refunded, reversed_, settled, started, unsettled, withdrawn

NUMBERS = ("A", "B", "C")
REFERENCES = ("p", "q", "r", "s")
CENTS = st.sampled_from((100, 200, 300, 500))
SOME = st.sampled_from((0, 0, 1, 1, 2))
"""How many there are of something common."""
RARELY = st.sampled_from((0, 0, 0, 1))


@st.composite
def changes_of_an_invoice(draw: st.DrawFn, number: str) -> list[Fact]:
    """Issues and withdrawals, each at a time of its own; and what was settled elsewhere."""
    facts: list[Fact] = []
    for time in draw(st.lists(st.integers(0, 60), max_size=3, unique=True)):
        if draw(st.integers(0, 3)):
            facts.append(issued(number, draw(CENTS), time=time))
        else:
            facts.append(withdrawn(number, time=time))
    facts += [settled(number, draw(CENTS), f"s{n}") for n in range(draw(SOME))]
    facts += [unsettled(number, draw(CENTS), "s0") for _ in range(draw(RARELY))]
    return facts


@st.composite
def attempts_to_pay(draw: st.DrawFn, reference: str) -> list[Fact]:
    """One payment: its starts, its charges by each gateway reference, and what was given back."""
    lines = draw(st.dictionaries(st.sampled_from(NUMBERS), CENTS, min_size=1, max_size=3))
    amount = sum(lines.values())
    # No two payments start at one time: which is the latest would be the order's to say.
    time = draw(st.integers(0, 14)) * len(REFERENCES) + REFERENCES.index(reference)
    facts: list[Fact] = []
    transactions: list[str] = []
    for n in range(draw(st.sampled_from((1, 1, 1, 2)))):
        gateway_reference = f"{reference}{n}"
        if draw(st.integers(0, 7)):
            facts.append(started(reference, lines, gateway_reference=gateway_reference, time=time))
        for t in range(draw(st.sampled_from((0, 1, 1, 1, 2)))):
            transaction = f"t{n}{t}"
            transactions.append(transaction)
            told = st.sampled_from((amount, amount, amount, amount + 100, amount - 50))
            results = draw(st.lists(st.sampled_from("PVZRA"), min_size=1, max_size=3, unique=True))
            facts += [charge(gateway_reference, transaction, result, draw(told)) for result in results]
    back = st.sampled_from((100, 200, 300, amount))
    facts += [refunded(reference, draw(back), f"f{n}") for n in range(draw(SOME))]
    for name in draw(st.lists(st.sampled_from((*transactions, "b0", "b1")), max_size=1, unique=True)):
        facts.append(reversed_(reference, draw(back), name))
    return facts


@st.composite
def sets_of_facts(draw: st.DrawFn) -> list[Fact]:
    """Everything that happened to a few invoices and payments, in any order received."""
    facts: list[Fact] = []
    for number in NUMBERS[: draw(st.integers(1, 3))]:
        facts += draw(changes_of_an_invoice(number))
    for reference in REFERENCES[: draw(st.integers(0, 4))]:
        facts += draw(attempts_to_pay(reference))
    return draw(st.permutations(facts))
