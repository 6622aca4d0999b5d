"""Whatever the order, the repetition, the batches and the time between: money follows the set of facts."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.records import Policy
from tests.model import Fact
from tests.property.desk import Desk, at, events_of
from tests.property.facts import sets_of_facts
from tests.property.judged import assert_agreed

HOLD = 1800
"""Seconds."""
POLICIES = st.builds(
    Policy,
    label=st.just("Régie Enfance"),
    gateway=st.just("dummy"),
    hold=st.sampled_from((30, HOLD)),
    on_cancel=st.sampled_from(("hold", "release")),
    when_in_doubt=st.sampled_from(("reactivate", "hold")),
)


@st.composite
def deliveries(draw: st.DrawFn, size: int) -> list[tuple[list[int], int, bool]]:
    """Batches of places in any order, some twice; after each, seconds that pass, and whether the clock sweeps."""
    places = draw(st.permutations(range(size)))
    again = draw(st.lists(st.integers(0, size - 1), max_size=4)) if size else []
    order = [*places, *again]
    batches = []
    while order:
        cut = draw(st.integers(1, 6))
        batch, order = order[:cut], order[cut:]
        passing = draw(st.sampled_from((0, 0, 1, 40, HOLD - 1, HOLD)))
        batches.append((batch, passing, draw(st.booleans())))
    return batches


def deliver(facts: list[Fact], batches: list[tuple[list[int], int, bool]], policy: Policy) -> Desk:
    """A desk after the deliveries, after every deadline."""
    desk, events, now = Desk(policy), events_of(facts), float(len(facts))
    for place, (batch, passing, swept) in enumerate(batches, len(facts)):
        desk.apply([events[n] for n in batch], at(now))
        now += passing
        if swept:
            desk.sweep(at(now), 1000 * place)
    desk.sweep(at(now + policy.hold_limit + HOLD), 1_000_000)
    return desk


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), sets_of_facts(), POLICIES)
def test_money_follows_the_set_of_facts(data: st.DataObject, facts: list[Fact], policy: Policy) -> None:
    """States, sums and discrepancies equal the judge's, which never heard of holds, batches or clocks."""
    batches = data.draw(deliveries(len(facts)))
    assert_agreed(deliver(facts, batches, policy), facts)
