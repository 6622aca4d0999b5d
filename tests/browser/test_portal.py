"""A family clicks through the example portal and the simulated gateway, without JavaScript."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import HOLD_SECONDS, Town
from worker.demonstration.families import AFTER_SCHOOL, CANTEEN, CHILDHOOD, DIALLO, Invoice

pytestmark = pytest.mark.browser

AFTER_THE_HOLD = (HOLD_SECONDS + 8) * 1000
"""Milliseconds in which a held invoice must be payable again, page loads included."""

Shoot = Callable[[Page, str], None]


@pytest.fixture
def shoot(screenshots: Path, size: str) -> Shoot:
    """Keep a picture of a page, for people to look at."""

    def keep(page: Page, name: str) -> None:
        page.screenshot(path=screenshots / f"{name}-{size}.png", full_page=True)

    return keep


def go_to_invoices(page: Page, town: Town) -> None:
    """From the portal's first page to the family's invoices, by clicking."""
    page.goto(town.portal)
    page.get_by_role("link", name=DIALLO.name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Facturation")


def press_pay(page: Page, invoice: Invoice) -> None:
    """Press this invoice's own button."""
    page.get_by_role("button", name=f"Payer la facture {invoice.number}").click()


def go_to_gateway(page: Page, town: Town, invoice: Invoice) -> None:
    """From the portal to the bank's page, by clicking."""
    go_to_invoices(page, town)
    press_pay(page, invoice)
    expect(page.get_by_role("heading", level=1)).to_have_text("Votre paiement est prêt")
    page.get_by_role("button", name="Aller sur la page de paiement").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Paiement par carte")


def go_to_payfip(page: Page, town: Town, invoice: Invoice) -> None:
    """From the portal to PayFiP's page, by clicking."""
    go_to_invoices(page, town)
    press_pay(page, invoice)
    page.get_by_role("button", name="Aller sur la page de paiement").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Paiement d’une facture")


def row_of(page: Page, invoice: Invoice) -> str:
    """What the shown tab says of an invoice; empty if it is not there."""
    rows = page.get_by_role("row").filter(has_text=invoice.number)
    return rows.first.inner_text() if rows.count() else ""


def expect_payable_again(page: Page, town: Town, invoice: Invoice) -> None:
    """Wait for the hold's end, as a family does: by looking at its invoices again."""
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    button = page.get_by_role("button", name=f"Payer la facture {invoice.number}")
    deadline = AFTER_THE_HOLD
    while not button.count() and deadline > 0:
        page.wait_for_timeout(500)
        deadline -= 500
        page.goto(f"{town.portal}/dossier/{DIALLO.account}")
    expect(button).to_be_visible()


@pytest.mark.parametrize(
    ("regie", "size"),
    [(CHILDHOOD, "desktop"), (CHILDHOOD, "phone"), (CANTEEN, "desktop")],
    indirect=["size"],
)
def test_a_family_pays(page: Page, town: Town, shoot: Shoot, regie: str) -> None:
    """Through the signed gateway and the dummy: the portal says thank you, Historique says paid."""
    invoice = town.owe(DIALLO, regie)
    go_to_invoices(page, town)
    shoot(page, "payer")
    press_pay(page, invoice)
    shoot(page, "depart")
    page.get_by_role("button", name="Aller sur la page de paiement").click()
    shoot(page, "gateway")
    page.get_by_role("button", name="Payer", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Paiement reçu")
    shoot(page, "paid")
    page.get_by_role("link", name="Historique").click()
    assert "Payée le" in row_of(page, invoice)
    shoot(page, "historique")
    assert town.payments_of(invoice) == ["paid"]


@pytest.mark.parametrize("size", ["desktop", "phone"], indirect=True)
@pytest.mark.parametrize(
    "choice",
    [
        ("Payer par carte", "P", "Paiement reçu"),
        ("Payer par prélèvement", "V", "Prélèvement accepté"),
        ("Carte refusée", "R", "Paiement refusé"),
        ("Annuler", "A", "Paiement annulé"),
    ],
)
def test_payfips_page_leads_back_to_what_became_of_the_payment(
    page: Page, town: Town, shoot: Shoot, choice: tuple[str, str, str]
) -> None:
    """The browser brings back an idOp alone: PayFiP is asked, and the portal says what it answered."""
    button, result, title = choice
    invoice = town.owe(DIALLO, AFTER_SCHOOL)
    go_to_payfip(page, town, invoice)
    shoot(page, "payfip")
    expect(
        page.get_by_role("definition").filter(has_text=f"Facture {invoice.number.replace('-', ' ')}")
    ).to_be_visible()
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    shoot(page, f"payfip-{result}")
    assert [payment["result"] for payment in town.at_payfip(invoice)] == [result]


def test_payfips_page_opens_once(page: Page, family_browser: BrowserContext, town: Town, shoot: Shoot) -> None:
    """A second tab is told so and led back to the portal; the first one can still pay."""
    invoice = town.owe(DIALLO, AFTER_SCHOOL)
    go_to_payfip(page, town, invoice)
    second = family_browser.new_page()
    second.goto(town.installation.addresses.gateway + town.at_payfip(invoice)[0]["page"])
    expect(second.get_by_role("heading", level=1)).to_have_text("Paiement déjà ouvert")
    shoot(second, "payfip-opened")
    second.get_by_role("link", name="Retourner").click()
    expect(second.get_by_role("heading", level=1)).to_have_text("Paiement en cours")
    page.get_by_role("button", name="Payer par carte").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Paiement reçu")
    assert [payment["result"] for payment in town.at_payfip(invoice)] == ["P"]


def test_payfip_out_of_order_starts_nothing(page: Page, town: Town, shoot: Shoot) -> None:
    """Without an idOp there is no payment: the family reads so, and the invoice stays where it was."""
    invoice = town.owe(DIALLO, AFTER_SCHOOL)
    go_to_invoices(page, town)
    town.spoil_payfip([{"fault": "unavailable"}])
    press_pay(page, invoice)
    expect(page.get_by_role("heading", level=1)).to_have_text("Service momentanément indisponible")
    shoot(page, "payfip-down")
    town.spoil_payfip([])
    assert town.payments_of(invoice) == []
    go_to_payfip(page, town, invoice)


def test_a_refused_card_is_said_and_can_try_again_later(page: Page, town: Town, shoot: Shoot) -> None:
    """The page says that nothing was taken and when to try again."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    go_to_gateway(page, town, invoice)
    page.get_by_role("button", name="Carte refusée").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Paiement refusé")
    expect(page.get_by_text("de nouveau être payée")).to_contain_text(re.compile(r"à \d\d:\d\d:\d\d"))
    shoot(page, "refused")
    expect_payable_again(page, town, invoice)


@pytest.mark.parametrize("size", ["desktop", "phone"], indirect=True)
def test_a_cancelled_payment_stays_in_the_history_until_its_hold_ends(page: Page, town: Town, shoot: Shoot) -> None:
    """Cancelled at the bank: not payable at once, with the time said, then payable again."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    go_to_gateway(page, town, invoice)
    page.get_by_role("button", name="Annuler").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Paiement annulé")
    shoot(page, "cancelled")
    page.get_by_role("link", name="Mes factures").click()
    assert row_of(page, invoice) == ""
    page.get_by_role("link", name="Historique").click()
    assert "En cours de paiement" in row_of(page, invoice)
    assert re.search(r"de nouveau payable à \d\d:\d\d:\d\d", row_of(page, invoice))
    shoot(page, "historique-in-payment")
    expect_payable_again(page, town, invoice)
    assert town.payments_of(invoice) == ["cancelled"]


def test_a_closed_window_tells_nobody(page: Page, family_browser: BrowserContext, town: Town, shoot: Shoot) -> None:
    """The portal does not pretend to know: the payment is under way until the hold ends, then unanswered."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    go_to_invoices(page, town)
    press_pay(page, invoice)
    payment = page.url.removesuffix("/depart")
    page.get_by_role("button", name="Aller sur la page de paiement").click()
    page.close()
    later = family_browser.new_page()
    later.goto(payment)
    expect(later.get_by_role("heading", level=1)).to_have_text("Paiement en cours")
    shoot(later, "started")
    expect(later.get_by_role("heading", level=1)).to_have_text("Paiement sans réponse", timeout=AFTER_THE_HOLD)
    shoot(later, "expired")
    expect_payable_again(later, town, invoice)
    assert town.payments_of(invoice) == ["expired"]


def test_a_double_click_is_one_payment(page: Page, town: Town) -> None:
    """An impatient family starts one payment, and goes on with it."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    go_to_invoices(page, town)
    button = page.get_by_role("button", name=f"Payer la facture {invoice.number}")
    button.dblclick(no_wait_after=True)
    expect(page.get_by_role("heading", level=1)).to_have_text("Votre paiement est prêt")
    assert town.payments_of(invoice) == ["started"]


def test_a_second_tab_cannot_pay_the_same_invoice(
    page: Page, family_browser: BrowserContext, town: Town, shoot: Shoot
) -> None:
    """Both tabs showed the button; the second is told that a payment is under way, and until when."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    second = family_browser.new_page()
    go_to_invoices(page, town)
    go_to_invoices(second, town)
    press_pay(page, invoice)
    expect(page.get_by_role("heading", level=1)).to_have_text("Votre paiement est prêt")
    press_pay(second, invoice)
    expect(second.get_by_role("heading", level=1)).to_have_text("Paiement impossible")
    expect(second.get_by_role("status")).to_contain_text("déjà en cours")
    expect(second.get_by_role("status")).to_contain_text(re.compile(r"à \d\d:\d\d:\d\d"))
    shoot(second, "rejected")
    assert sorted(town.payments_of(invoice)) == ["rejected", "started"]


def test_coming_back_to_a_finished_payment_page_leads_home(page: Page, town: Town, shoot: Shoot) -> None:
    """The browser's arrow after paying: the bank says that it is over, and does not take money twice."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    go_to_gateway(page, town, invoice)
    bank = page.url
    page.get_by_role("button", name="Payer", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Paiement reçu")
    page.goto(bank)
    expect(page.get_by_role("heading", level=1)).to_have_text("Ce paiement est terminé")
    shoot(page, "gateway-finished")
    page.get_by_role("link", name="Retourner").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Paiement reçu")
    assert town.payments_of(invoice) == ["paid"]


def test_another_familys_payment_is_not_shown(page: Page, town: Town) -> None:
    """An address is not a key: the payment belongs to its dossier."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    go_to_invoices(page, town)
    press_pay(page, invoice)
    page.goto(page.url.replace(DIALLO.account, "D-1001"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Page introuvable")
