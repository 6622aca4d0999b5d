"""The example portal when Lettrage is slow, away, or says what is rare; browsers play the rest."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from examples.portal.families import Family
from examples.portal.paying import reference_of
from examples.portal.payment_pages import PAYMENTS, TONES, Attempt, payment_page
from examples.portal.visits import Visit
from examples.portal.words import clock, counted, day, euros, lasting
from schemas.records import PaymentState
from tests.unit.portal.conftest import FAMILY, INVOICE, Lettrage, Visitor

SEED = "0123456789abcdef"
REFERENCE = reference_of(Attempt("enfance", SEED, ("F-1",)), FAMILY)
NOW = datetime(2026, 11, 25, 17, 0, 30, tzinfo=UTC)


def payment(state: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 (a payment's fields)
    """A payment as read."""
    return {
        "regie": "enfance",
        "reference": REFERENCE,
        "gateway_reference": REFERENCE,
        "state": state,
        "amount_cents": 4200,
        "invoices": [{"number": "F-1", "amount_cents": 4200}],
        "started_at": NOW.isoformat(),
        "deadline": (NOW + timedelta(minutes=30)).isoformat(),
        "payable_again_at": (NOW + timedelta(minutes=30)).isoformat(),
        "provisional": False,
        "reason": "hold_taken",
        **more,
    }


@pytest.fixture
async def family(visitor: Visitor) -> Visitor:
    """A family that has signed in."""
    await visitor.visit_first()
    await visitor.choose()
    return visitor


async def pay(family: Visitor) -> None:
    """Press the button."""
    await family.open("/facturation?regie=enfance")
    await family.send("/paiements", regie="enfance", cle=SEED, facture="F-1")


async def test_nobody_goes_to_the_bank_before_lettrage_has_decided(
    family: Visitor, lettrage: tuple[Lettrage, str]
) -> None:
    """202: the family waits on a page that asks again, and gets on once the payment is started."""
    lettrage[0].answers["/v1/events"] = (202, {"status": "accepted"})
    await pay(family)
    address = f"/paiements/enfance/{REFERENCE}"
    assert family.path == address
    assert "n’est pas encore prêt" in family.words
    await family.open(f"{address}/depart")
    assert family.path == address
    await family.open(f"{address}/etat")
    assert '"undecided"' in family.html
    lettrage[0].answers[f"/v1/regies/enfance/payments/{REFERENCE}"] = (200, payment("started"))
    await family.open(f"{address}/preparation")
    assert "Votre paiement est prêt" in family.words


async def test_an_outage_is_told_and_the_second_press_is_the_same_payment(
    family: Visitor, lettrage: tuple[Lettrage, str]
) -> None:
    """The outcome is unknown: the page offers to ask again, and the event has the same id."""
    lettrage[0].answers["/v1/events"] = (503, {})
    await pay(family)
    assert family.status == 503
    assert "Essayer encore" in family.words
    await pay(family)
    first, second = lettrage[0].asked
    assert (first["id"], first["data"]) == (second["id"], second["data"])


async def test_whoever_is_back_from_the_bank_during_an_outage_is_told_not_to_pay_again(
    family: Visitor, lettrage: tuple[Lettrage, str]
) -> None:
    """Lettrage cannot be read: nothing is said that is not known."""
    lettrage[0].answers[f"/v1/regies/enfance/payments/{REFERENCE}"] = (500, {})
    await family.open(f"/paiements/enfance/{REFERENCE}/retour?ok=1")
    assert family.status == 503
    assert "Ne payez pas une seconde fois" in family.words


async def test_what_the_browser_brings_back_is_passed_on_byte_for_byte_and_believed_by_nobody(
    family: Visitor, lettrage: tuple[Lettrage, str]
) -> None:
    """The address says paid; the page says what Lettrage says."""
    lettrage[0].answers[f"/v1/regies/enfance/payments/{REFERENCE}"] = (200, payment("started"))
    await family.open(f"/paiements/enfance/{REFERENCE}/retour?ok=1&signed=1&x=%C3%A9+%20")
    assert "Paiement en cours" in family.words
    assert lettrage[0].asked[-1]["data"]["query"] == "ok=1&signed=1&x=%C3%A9+%20"


async def test_what_an_invoice_says_is_shown_as_text(family: Visitor) -> None:
    """A label is not HTML, and a document that is no web address is not linked to."""
    await family.open("/facturation?regie=enfance")
    assert "Goûter &lt;b&gt;&amp; devoirs&lt;/b&gt;" in family.html
    assert "javascript:" not in family.html


async def test_an_invoice_of_another_family_is_not_there(family: Visitor, lettrage: tuple[Lettrage, str]) -> None:
    """Nor is a payment that names one."""
    lettrage[0].answers["/v1/regies/enfance/invoices/F-1"] = (200, {**INVOICE, "account": "D-2"})
    lettrage[0].answers[f"/v1/regies/enfance/payments/{REFERENCE}"] = (200, payment("paid"))
    await pay(family)
    assert family.status == 404
    await family.open(f"/paiements/enfance/{REFERENCE}")
    assert family.status == 404
    assert lettrage[0].asked == []


def test_a_reference_is_of_one_page_one_family_and_what_is_ticked() -> None:
    """The same is the same payment; anything else is another."""
    other = Family("D-2", "Famille Autre", "")
    attempts = [Attempt("enfance", SEED, ("F-1", "F-2")), Attempt("enfance", "f" * 16, ("F-1",))]
    found = [reference_of(attempt, FAMILY) for attempt in attempts]
    assert len({REFERENCE, *found, reference_of(Attempt("enfance", SEED, ("F-1",)), other)}) == 4
    assert reference_of(Attempt("enfance", SEED, ("F-1",)), FAMILY) == REFERENCE


@pytest.mark.parametrize("state", [state.value for state in PaymentState])
def test_every_state_of_a_payment_has_its_words(state: str) -> None:
    """Whatever Lettrage may say, a family can read."""
    html = payment_page(Visit("token", FAMILY, "everything"), payment(state), "/here", NOW, [INVOICE])
    assert PAYMENTS[state].title in html
    assert TONES[state] in html


def test_an_expired_payment_promises_nothing_that_is_not_so() -> None:
    """Its invoice may be in another payment by now: then it does not say that it can be paid."""
    visit = Visit("token", FAMILY, "everything")
    over = payment("expired", payable_again_at=(NOW - timedelta(minutes=1)).isoformat())
    assert "peut être payée à nouveau" in payment_page(visit, over, "/here", NOW, [INVOICE])
    held = {**INVOICE, "state": "in_payment"}
    assert "à nouveau" not in payment_page(visit, over, "/here", NOW, [held])


def test_times_are_told_in_paris_and_never_too_early() -> None:
    """To the second when it is near, else to the minute by which it is over; tomorrow is said."""
    assert clock((NOW + timedelta(seconds=30)).isoformat(), NOW) == "18:01:00"
    assert clock((NOW + timedelta(minutes=30)).isoformat(), NOW) == "18:31"
    assert clock("2026-11-25T18:30:00Z", NOW) == "19:30"
    assert clock("2026-11-25T23:10:00.5Z", NOW) == "00:11 le 26/11"
    assert clock("2026-07-01T10:00:00Z", datetime(2026, 7, 1, 9, 0, tzinfo=UTC)) == "12:00"
    assert day("2026-11-25T23:30:00Z") == "26/11/2026"
    assert day("2026-11-02") == "02/11/2026"


def test_numbers_are_written_as_in_france() -> None:
    """Euros, plurals, durations."""
    assert euros(123456789) == "1\u202f234\u202f567,89\u00a0€"
    assert [counted(count, "facture") for count in (0, 1, 2)] == ["0\u00a0facture", "1\u00a0facture", "2\u00a0factures"]
    assert lasting(1800).replace("\u00a0", " ") == "30 minutes"
    assert lasting(5400).replace("\u00a0", " ") == "1 heure et 30 minutes"
    assert lasting(30).replace("\u00a0", " ") == "30 secondes"
