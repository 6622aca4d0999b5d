"""What a portal is told, over random facts: applied in any order, it is what a reading answers."""

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.records import Policy
from tests.model import Fact
from tests.property.desk import Desk, at, events_of
from tests.property.facts import sets_of_facts
from tests.property.portal import Portal

HOLD = 1800
"""Seconds."""


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sets_of_facts(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_notifications_in_any_order_show_what_a_reading_answers(facts: list[Fact], size: int, random: Random) -> None:
    """Decided in batches, swept at the end; told shuffled and some of them twice. Each version is written once."""
    desk, portal = Desk(Policy(label="Régie Enfance", gateway="dummy", notify=True)), Portal()
    events = events_of(facts)
    for first in range(0, len(events), size):
        batch = events[first : first + size]
        desk.apply(batch, batch[-1].received_at)
    desk.sweep(at(2 * HOLD), len(events))
    told = [effect.data for effect in desk.effects if effect.type.startswith("invoice.")]
    versions = {(data["number"], data["version"]) for data in told}
    assert len(versions) == len(told) == sum(shown.version for shown in desk.shown().values())
    told += random.sample(told, len(told) // 2)
    random.shuffle(told)
    for data in told:
        portal.hear(data)
    assert portal.invoices == desk.shown()
