"""What a family does at the portal, and what it then reads: used by all browser tests."""

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.browser.town import HOLD_SECONDS, Town
from worker.demonstration.families import Invoice

AFTER_THE_HOLD = (HOLD_SECONDS + 15) * 1000
"""Milliseconds in which a page must have noticed that a hold is over, its own refreshing included."""
TO_THE_BANK = "Aller sur la page de paiement"
CARD = "Paiement par carte"
PAY = "Payer les factures cochées"
MAX_TABS = 60
"""More than any page has things to reach."""
TIME = r"à \d\d:\d\d"

Shoot = Callable[[Page, str], None]


def title_of(page: Page) -> Locator:
    """What a page is about."""
    return page.get_by_role("heading", level=1)


def go_to_payer(page: Page, town: Town, regie: str) -> None:
    """From the home page to a régie's invoices, by clicking."""
    page.goto(town.portal)
    page.locator(f"a.button[href$='regie={regie}']").click()
    expect(title_of(page)).to_have_text("Facturation")


def tick(page: Page, *invoices: Invoice) -> None:
    """Tick what is to be paid."""
    for invoice in invoices:
        page.get_by_role("checkbox", name=invoice.number).check()


def prepare(page: Page, town: Town, *invoices: Invoice) -> None:
    """From the home page to a payment that is ready, by clicking."""
    go_to_payer(page, town, invoices[0].regie)
    tick(page, *invoices)
    page.get_by_role("button", name=PAY).click()
    page.wait_for_url("**/preparation")  # to look at a page is to Chromium a click in it: its script goes first
    expect(title_of(page)).to_have_text("Votre paiement est prêt")


def prepare_and_meet(page: Page, town: Town, *invoices: Invoice) -> Page:
    """Begin a payment by card; the window that opens by itself, once it shows the bank.

    Sooner it could not be closed: Chromium forgets a close that meets a navigation (crbug.com/536385539).
    """
    with page.expect_popup() as opening:
        prepare(page, town, *invoices)
    expect(title_of(opening.value)).to_have_text(CARD)
    return opening.value


def go_to_bank(page: Page, town: Town, *invoices: Invoice) -> None:
    """From the home page to Lyra's page or the dummy's, without scripts."""
    prepare(page, town, *invoices)
    page.get_by_role("link", name=TO_THE_BANK).click()
    leave(page)


def leave(page: Page) -> None:
    """Press on where the gateway wants a form, which no script sends here."""
    button = page.get_by_role("button", name="Continuer vers la banque")
    bank = page.get_by_role("heading", level=1, name=CARD)
    expect(button.or_(bank)).to_be_visible()
    if button.is_visible():
        button.click()
    expect(bank).to_be_visible()


def go_to_payfip(page: Page, town: Town, invoice: Invoice) -> None:
    """From the home page to PayFiP's page, without scripts."""
    prepare(page, town, invoice)
    page.get_by_role("link", name=TO_THE_BANK).click()
    expect(title_of(page)).to_have_text("Paiement d’une facture")


def line_of(page: Page, invoice: Invoice) -> Locator:
    """What the shown tab says of an invoice."""
    return page.get_by_role("main").get_by_role("listitem").filter(has_text=f"n° {invoice.number}")


def expect_payable(page: Page, town: Town, invoice: Invoice) -> None:
    """Wait for the hold's end, then see the invoice where it can be paid."""
    town.wait_until(invoice, "payable")
    page.goto(f"{town.portal}/facturation?regie={invoice.regie}")
    expect(page.get_by_role("checkbox", name=invoice.number)).to_be_visible()


def reference_in(page: Page) -> str:
    """The payment's reference, from the page's address."""
    return page.url.partition("/paiements/")[2].split("/")[1]


def go_to_by_keyboard(page: Page, wanted: Locator) -> None:
    """Press Tab until this has the focus, which must be seen."""
    for _ in range(MAX_TABS):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            assert wanted.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
            return
    raise AssertionError(f"the keyboard does not reach {wanted}")
