"""Counter-examples that chance found once, kept so that it need not find them again."""

from msgspec import structs

from schemas.records import Policy
from tests.model import charge, issued, refunded, started
from tests.property.desk import Desk, at, events_of
from tests.property.judged import assert_agreed

HOLD = 1800
"""Seconds."""


def test_money_that_was_rejected_later_earns_no_place() -> None:
    """Of two payments the earliest received keeps; what the bank took back was not received then."""
    facts = [
        issued("A", 100),
        started("p", {"A": 100}),
        started("q", {"A": 100}),
        charge("p", "t1", "V", 100),
        charge("q", "t1", "P", 100),
        charge("p", "t1", "Z", 100),
        charge("p", "t2", "P", 100),
    ]
    desk = Desk()
    for event in events_of(facts):
        desk.apply([event], event.received_at)
    desk.sweep(at(2 * HOLD), 1000)
    assert_agreed(desk, facts)
    assert desk.discrepancies() == {("double_payment", "p", "A"): 100}


def test_taken_over_by_a_payment_that_is_refunded_already() -> None:
    """Over but unwritten, then taken by who holds nothing after all: payable, and the portal is told so last."""
    facts = [
        issued("A", 100),
        started("p", {"A": 100}),
        refunded("q", 100, "f"),
        started("q", {"A": 100}, time=2 * HOLD),
    ]
    desk = Desk(Policy(label="Régie Enfance", gateway="dummy", notify=True))
    *events, last = events_of(facts)
    desk.apply(events, at(3))
    told = desk.apply([structs.replace(last, received_at=at(2 * HOLD))], at(2 * HOLD)).effects
    assert desk.states() == {"A": "payable"}
    assert [(entry.before, entry.after) for entry in desk.journal if entry.invoice_id] == [
        (None, "payable"),
        ("payable", "in_payment"),
        ("in_payment", "payable"),
    ]
    assert [effect.data["state"] for effect in told if effect.type == "invoice.reactivated"] == ["payable"]
