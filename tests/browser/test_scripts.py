"""The same portal where scripts run: the pop-up, the button after 5 s, both leading to one payment; the live total."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.acting import (
    AFTER_THE_HOLD,
    CARD,
    PAY,
    TO_THE_BANK,
    Shoot,
    expect_payable,
    go_to_by_keyboard,
    go_to_payer,
    line_of,
    prepare,
    prepare_and_meet,
    tick,
    title_of,
)
from tests.browser.town import Town
from worker.demonstration.families import AFTER_SCHOOL, CANTEEN, CHILDHOOD, DIALLO

pytestmark = pytest.mark.browser

OFFERED_AFTER = 5000
"""Milliseconds after which a page offers its button, and not before."""
WHEN_SHOWN = """button => new Promise(seen => {
    const look = () => button.hidden ? requestAnimationFrame(look) : seen(performance.now());
    look();
})"""
"""Milliseconds from a page's beginning to its button's."""


@pytest.fixture
def scripts() -> bool:
    """Scripts run in every browser here."""
    return True


@pytest.mark.parametrize(
    ("regie", "size"),
    [(CHILDHOOD, "desktop"), (CHILDHOOD, "phone"), (CANTEEN, "desktop")],
    indirect=["size"],
)
def test_a_family_pays_in_the_window_that_opens_by_itself(page: Page, town: Town, shoot: Shoot, regie: str) -> None:
    """Several invoices, one payment: both windows say that it is received, without another click."""
    first, second = town.owe(DIALLO, regie, 100000), town.owe(DIALLO, regie, 234)
    popup = prepare_and_meet(page, town, first, second)
    expect(popup.get_by_text("1\u202f002,34\u00a0€")).to_be_visible()
    shoot(page, "preparation")
    shoot(popup, "banque")
    popup.get_by_role("button", name="Payer", exact=True).click()
    expect(title_of(popup)).to_have_text("Paiement reçu")
    expect(title_of(page)).to_have_text("Paiement reçu")
    shoot(popup, "fenetre-paye")
    expect(page.get_by_role("button", name="Fermer cette fenêtre")).to_be_hidden()
    with popup.expect_event("close"):
        popup.get_by_role("button", name="Fermer cette fenêtre").click()
    assert town.payments_of(first) == town.payments_of(second) == ["paid"]


def test_where_windows_are_blocked_the_button_leads_to_the_same_payment(
    blocking_family_browser: BrowserContext, town: Town, shoot: Shoot
) -> None:
    """Nothing opens; after 5 s, and not before, there is the button: one payment, one page at the bank."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    page = blocking_family_browser.new_page()
    prepare(page, town, invoice)
    button = page.get_by_role("link", name=TO_THE_BANK)
    expect(button).to_be_hidden()
    expect(page.get_by_role("status")).to_contain_text("s’ouvre dans une nouvelle fenêtre")
    assert page.locator("[data-depart]").evaluate(WHEN_SHOWN) >= OFFERED_AFTER
    assert blocking_family_browser.pages == [page]
    expect(page.get_by_role("status")).to_contain_text("c’est le même paiement")
    shoot(page, "preparation-bouton")
    with page.expect_popup() as opening:
        button.click()
    expect(title_of(opening.value)).to_have_text(CARD)
    opening.value.get_by_role("button", name="Payer", exact=True).click()
    expect(title_of(page)).to_have_text("Paiement reçu")
    assert town.payments_of(invoice) == ["paid"]
    assert len(town.at_gateway(invoice)) == 1


@pytest.mark.parametrize("regie", [CHILDHOOD, AFTER_SCHOOL])
def test_a_double_click_on_both_ways_to_pay_is_one_payment(
    page: Page, family_browser: BrowserContext, town: Town, regie: str
) -> None:
    """The window has opened, then the button is pressed, twice: the same window, the same page, one payment."""
    invoice = town.owe(DIALLO, regie)
    go_to_payer(page, town, regie)
    tick(page, invoice)
    with page.expect_popup() as opening:
        page.get_by_role("button", name=PAY).dblclick(no_wait_after=True)
    popup = opening.value
    popup.wait_for_url(f"{town.gateway}/**")
    shown = popup.url
    page.get_by_role("link", name=TO_THE_BANK).dblclick(no_wait_after=True)
    expect(page.get_by_role("status")).to_contain_text("c’est le même paiement")
    assert len(family_browser.pages) == 2
    assert popup.url == shown
    assert town.payments_of(invoice) == ["started"]
    assert len(town.at_gateway(invoice)) == 1


def test_refused_then_paid(page: Page, town: Town, shoot: Shoot) -> None:
    """Refused in its window: the portal says so and until when; then the family pays."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    popup = prepare_and_meet(page, town, invoice)
    popup.get_by_role("button", name="Carte refusée").click()
    expect(title_of(page)).to_have_text("Paiement refusé")
    expect(title_of(popup)).to_have_text("Paiement refusé")
    popup.close()
    expect_payable(page, town, invoice)
    popup = prepare_and_meet(page, town, invoice)
    popup.get_by_role("button", name="Payer", exact=True).click()
    expect(title_of(page)).to_have_text("Paiement reçu")
    assert sorted(town.payments_of(invoice)) == ["paid", "refused"]


@pytest.mark.parametrize("size", ["phone"], indirect=True)
def test_a_closed_window_can_be_opened_again_until_the_time_is_up(page: Page, town: Town, shoot: Shoot) -> None:
    """The time left is counted down; the button opens the same payment; at the end the page says so by itself."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    prepare_and_meet(page, town, invoice).close()
    with page.expect_popup() as opening:
        page.get_by_role("link", name=TO_THE_BANK).click()
    expect(title_of(opening.value)).to_have_text(CARD)
    assert len(town.at_gateway(invoice)) == 1
    opening.value.close()
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"^[0-4]\s?s$"))
    expect(title_of(page)).to_have_text("Paiement sans réponse", timeout=AFTER_THE_HOLD)
    assert town.payments_of(invoice) == ["expired"]


def test_two_tabs_pay_one_invoice_once(page: Page, family_browser: BrowserContext, town: Town, shoot: Shoot) -> None:
    """The second tab is told why it cannot, opens no window, and sees the invoice paid in Historique afterwards."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    second = family_browser.new_page()
    go_to_payer(second, town, CHILDHOOD)
    tick(second, invoice)
    popup = prepare_and_meet(page, town, invoice)
    second.get_by_role("button", name=PAY).click()
    expect(title_of(second)).to_have_text("Paiement impossible")
    shoot(second, "impossible-script")
    assert len(family_browser.pages) == 3
    popup.get_by_role("button", name="Payer", exact=True).click()
    expect(title_of(page)).to_have_text("Paiement reçu")
    second.get_by_role("link", name="Historique").click()
    expect(line_of(second, invoice)).to_contain_text("Payée le")
    assert sorted(town.payments_of(invoice)) == ["paid", "rejected"]


def test_neither_a_reload_nor_the_browsers_arrow_opens_a_second_window(
    page: Page, family_browser: BrowserContext, town: Town
) -> None:
    """The window opens by itself once; coming back to the page, the family has the button at once."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    popup = prepare_and_meet(page, town, invoice)
    popup.close()
    for again in (page.reload, lambda: (page.goto(town.portal), page.go_back())):
        again()
        expect(page.get_by_role("link", name=TO_THE_BANK)).to_be_visible()
        expect(page.get_by_role("status")).to_contain_text("a déjà été ouverte")
        assert family_browser.pages == [page]
    go_to_by_keyboard(page, page.get_by_role("link", name=TO_THE_BANK))
    with page.expect_popup() as opening:
        page.keyboard.press("Enter")
    expect(title_of(opening.value)).to_have_text(CARD)
    assert town.payments_of(invoice) == ["started"]
    assert len(town.at_gateway(invoice)) == 1


def test_the_total_is_live(page: Page, town: Town, shoot: Shoot) -> None:
    """It follows the boxes, as the server would add them up; there is no button for it."""
    first, second = town.owe(DIALLO, CANTEEN, 123456), town.owe(DIALLO, CANTEEN, 1005)
    go_to_payer(page, town, CANTEEN)
    total = page.get_by_role("main").get_by_role("status")
    expect(page.get_by_role("button", name="Calculer le total")).to_be_hidden()
    expect(total).to_have_text("0,00\u00a0€")
    tick(page, first, second)
    expect(total).to_have_text("1\u202f244,61\u00a0€")
    page.get_by_role("checkbox", name=first.number).uncheck()
    expect(total).to_have_text("10,05\u00a0€")
    shoot(page, "total")
