"""When a gateway is asked: during the hold, after it, and until the watch is over. Minutes after the start."""

from datetime import timedelta
from typing import Any

import pytest

from schemas.records import DiscrepancyState
from tests.unit.domain.office import HOLD, Office, at

MINUTE = 60
POLLS = (120, 300, 600, 960, 1500, 1740)
"""PayFiP's."""
SECONDS_TO_MIDNIGHT = (at(0).replace(hour=0, minute=0, second=0) + timedelta(days=1) - at(0)).total_seconds()
OF_TEST: dict[str, Any] = {"verified": False, "test": True, "why": "test_answer"}


def asked(**policy: object) -> Office:
    """A started payment of a régie whose gateway can be asked."""
    office = Office(**({"gateway": "payfip_ws", "polls": POLLS} | policy))
    office.start("P", {"F": 900})
    return office


def minutes(office: Office, until: float, result: str = "nothing") -> list[float]:
    """When the gateway is asked, while it answers the same each time."""
    found: list[float] = []
    while (due := office.next_ask("P")) is not None and due <= until * MINUTE:
        office.later(due - office.now)
        office.report("P", result, asked=True)
        found.append(round(due / MINUTE, 2))
    return found


def test_the_schedule_of_half_an_hour_and_of_the_watch() -> None:
    """Before the end as the gateway's schedule says; then ever more slowly, hourly in the end, last when it is over."""
    office = asked()
    assert minutes(office, 30 + 60 + 120) == [2, 5, 10, 16, 25, 29, 30.25, 31, 33, 37, 45, 60, 90, 150, 210]
    last = minutes(office, 3 * 24 * 60)
    assert last[-1] == 30 + 24 * 60
    assert office.next_ask("P") is None


@pytest.mark.parametrize(
    ("hold", "expected"),
    [
        (30, [2 / 60, 16 / 60, 29 / 60, 45 / 60, 1.5]),
        (900, [1, 2.5, 5, 8, 12.5, 14.5, 15.25, 16]),
        (7200, [2, 5, 10, 16, 25, 29, 30, 60, 90, 119, 120.25, 121]),
    ],
)
def test_a_shorter_hold_shortens_the_schedule_and_a_longer_one_goes_on(hold: int, expected: list[float]) -> None:
    """Ten seconds apart at least, and once just before the end, so that it is decided knowingly."""
    office = asked(hold=hold, hold_limit=max(hold, 7200))
    assert minutes(office, hold / 60 + 1) == [round(each, 2) for each in expected]


def test_a_short_watch_ends_with_a_last_look() -> None:
    """The end of the watch is itself an ask."""
    office = asked(watch=45)
    assert minutes(office, 24 * 60)[-2:] == [30.25, 30.75]


def test_nobody_asks_a_gateway_that_cannot_be_asked() -> None:
    """No schedule, no ask, whatever it says."""
    office = asked(polls=())
    assert office.next_ask("P") is None
    office.report("P", "R", asked=True)
    assert office.next_ask("P") is None


@pytest.mark.parametrize("result", ["P", "Z"])
def test_nothing_follows_a_final_answer(result: str) -> None:
    """Paid, or rejected after all."""
    office = asked()
    office.report("P", result, 900, asked=True)
    assert office.next_ask("P") is None


@pytest.mark.parametrize("result", ["V", "R", "A", "waiting", "nothing"])
def test_what_may_change_is_asked_about_on(result: str) -> None:
    """A debit may be rejected, a refusal followed by another card, an abandonment still become a payment."""
    office = asked()
    office.later(3 * MINUTE)
    office.report("P", result, 900 if result == "V" else None, asked=True)
    assert office.next_ask("P") == 5 * MINUTE


def test_a_debit_is_watched_to_the_end_and_its_rejection_reverses() -> None:
    """V, then Z hours later: payable again."""
    office = asked()
    office.report("P", "V", 900, asked=True)
    assert office.payment("P").state == "paid"
    assert office.payment("P").provisional
    office.later(10 * 3600)
    office.report("P", "Z", 900, asked=True)
    assert (office.payment("P").state, office.invoice("F").state) == ("reversed", "payable")


@pytest.mark.parametrize(("age", "pause"), [(0, 10), (60, 10), (600, 75), (2400 + HOLD, 300)])
def test_a_failed_ask_is_repeated_by_its_age(age: int, pause: int) -> None:
    """After an eighth of it, at least ten seconds and at most five minutes."""
    office = asked()
    office.later(age)
    office.report("P", "failed", asked=True)
    assert office.next_ask("P") == age + pause


def test_a_failed_ask_never_waits_past_the_schedule() -> None:
    """Just before the hold's end it is asked again, however long the backoff."""
    office = asked()
    office.later(28 * MINUTE)
    office.report("P", "failed", asked=True)
    assert office.next_ask("P") == 29 * MINUTE


def test_a_gateway_down_to_the_end_of_the_watch_is_silent() -> None:
    """A person must ask it: shown with the amount, and the invoice flagged."""
    office = asked(watch=3600)
    minutes(office, 24 * 60, "failed")
    (shown,) = office.discrepancies("gateway_silent")
    assert (shown.amount_cents, shown.payment, shown.state) == (900, "P", DiscrepancyState.OPEN)
    assert office.invoice("F").to_check
    assert office.next_ask("P") is None


@pytest.mark.parametrize("result", ["nothing", "A", "R"])
def test_a_gateway_that_answers_is_not_silent(result: str) -> None:
    """Knowing of no payment is an answer."""
    office = asked(watch=3600)
    minutes(office, 24 * 60, result)
    assert office.discrepancies("gateway_silent") == []


def test_silence_ends_when_the_truth_comes() -> None:
    """By a callback days later, or by an ask that it provokes."""
    office = asked(watch=3600)
    minutes(office, 24 * 60, "failed")
    office.report("P", "P", 900)
    (shown,) = office.discrepancies("gateway_silent")
    assert shown.state is DiscrepancyState.CLOSED
    assert not office.invoice("F").to_check


def test_an_outage_at_the_end_of_the_watch_is_asked_past() -> None:
    """For a quarter of it more: shown as silent meanwhile, and closed by the answer."""
    office = asked(watch=3600)
    office.later(HOLD + 3600)
    office.report("P", "failed", asked=True)
    assert office.discrepancy("gateway_silent").state is DiscrepancyState.OPEN
    again = office.next_ask("P")
    assert again is not None
    assert HOLD + 3600 < again <= HOLD + 3600 + 900
    office.later(again - office.now)
    office.report("P", "nothing", asked=True)
    assert office.discrepancy("gateway_silent").state is DiscrepancyState.CLOSED
    assert office.next_ask("P") is None


def test_silence_about_one_reference_is_not_ended_by_an_answer_about_another() -> None:
    """Of two idOps one was never answered about: it may have been paid, whatever the other's answer."""
    office = asked(watch=3600)
    office.start("P", {"F": 900}, gateway_reference="Q")
    office.later(HOLD + 3600)
    office.report("Q", "failed", asked=True)
    office.report("P", "nothing", asked=True)
    (shown,) = office.discrepancies("gateway_silent")
    assert (shown.state, shown.detail["gateway_reference"]) == (DiscrepancyState.OPEN, "Q")


def test_no_silence_about_a_payment_whose_money_came() -> None:
    """Its debit is not known to be final, but nobody need ask whether it was paid."""
    office = asked(watch=3600)
    office.report("P", "V", 900, asked=True)
    minutes(office, 24 * 60, "failed")
    assert office.discrepancies("gateway_silent") == []


def test_an_old_payment_brought_by_an_archive_is_not_asked_about() -> None:
    """Its watch was over before it came."""
    office = Office(gateway="payfip_ws", polls=POLLS)
    office.later(3 * 86400)
    office.start("P", {"F": 900}, time=0)
    assert office.next_ask("P") is None


def test_a_rejected_payment_is_asked_about_too() -> None:
    """Its family may have reached the gateway all the same."""
    office = asked()
    office.start("Q", {"F": 900})
    assert office.payment("Q").state == "rejected"
    assert office.next_ask("Q") == 2 * MINUTE


def test_an_answer_that_proves_nothing_is_no_end_of_asking() -> None:
    """Another merchant's payment under this reference: shown, and asked about on."""
    office = asked()
    assert office.report("P", "nothing", asked=True, verified=False, why="wrong_merchant") == (
        "refused: unverified_callback"
    )
    assert office.next_ask("P") == 2 * MINUTE


def test_the_last_look_too_is_ten_seconds_after_the_one_before() -> None:
    """A watch that ends five seconds after a look ends five seconds later."""
    office = asked(watch=20)
    assert minutes(office, 24 * 60)[-2:] == [30.25, round(30 + 25 / 60, 2)]


def test_silence_is_about_one_reference() -> None:
    """Of two attempts the gateway knows one: nobody knows what became of the other."""
    office = asked(watch=3600)
    office.start("P", {"F": 900}, gateway_reference="second")
    minutes(office, 24 * 60, "failed")
    office.report("second", "nothing", asked=True)
    assert [(row.subject, row.state) for row in office.discrepancies("gateway_silent")] == [("P", "open")]
    assert office.invoice("F").to_check


def test_the_money_of_one_reference_ends_the_silence_about_another() -> None:
    """Nobody need ask whether the payment was paid."""
    office = asked(watch=3600)
    office.start("P", {"F": 900}, gateway_reference="second")
    minutes(office, 24 * 60, "failed")
    office.report("second", "P", 900, asked=True)
    assert [(row.subject, row.state) for row in office.discrepancies("gateway_silent")] == [("P", "closed")]


def test_a_gateway_that_falls_silent_again_is_shown_again() -> None:
    """It answered once that it knew nothing; then it called, and could not say why."""
    office = asked(watch=3600)
    for result in ("failed", "nothing", "failed"):
        office.later(3 * 3600)
        office.report("P", result, asked=True)
    (shown,) = office.discrepancies("gateway_silent")
    assert shown.state is DiscrepancyState.OPEN


CALLED: dict[str, Any] = {"verified": False, "why": "payment_unknown"}
"""What is told of a callback about what nobody has started yet."""


@pytest.mark.parametrize("said", [{"result": "R"}, {"result": "failed"}, {"result": "nothing", **OF_TEST}])
def test_a_call_before_the_start_is_closed_by_any_answer(said: dict[str, Any]) -> None:
    """The gateway was asked for it, the day after if need be: what it says now is shown for itself."""
    office = Office(gateway="payfip_ws", polls=POLLS)
    office.later(SECONDS_TO_MIDNIGHT - 1)
    office.report("P", "nothing", **CALLED)
    office.later(2)
    office.start("P", {"F": 900})
    office.report("P", asked=True, **said)
    assert office.discrepancy("unverified_callback").state is DiscrepancyState.CLOSED


def test_a_call_before_the_start_does_not_hide_another_merchants_answer() -> None:
    """They share one discrepancy, which is open for what the answer says."""
    office = Office(gateway="payfip_ws", polls=POLLS)
    office.report("P", "nothing", **CALLED)
    office.start("P", {"F": 900})
    office.report("P", "nothing", asked=True, verified=False, why="wrong_merchant")
    shown = office.discrepancy("unverified_callback")
    assert (shown.state, shown.detail["why"]) == (DiscrepancyState.OPEN, "wrong_merchant")
