"""The demo's panel: what goes wrong is chosen at one click, and every invoice's way is seen as it happens."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.acting import go_to_bank, title_of
from tests.browser.conftest import opened
from tests.browser.test_accessible import Judge, judge
from tests.browser.town import Town, until
from worker.demonstration.families import CHILDHOOD, DIALLO

pytestmark = pytest.mark.browser
__all__ = ["judge"]  # a fixture, which pytest finds by its name here


@pytest.fixture
def panel(browser: Browser, town: Town) -> Iterator[Page]:
    """The panel in a browser of its own; what was made to go wrong is undone afterwards."""
    context = opened(browser, "desktop", scripts=True)
    page = context.new_page()
    page.goto(town.installation.addresses.panel)
    yield page
    choose(page, "arrive aussitôt")
    context.close()


def choose(panel: Page, words: str) -> None:
    """Choose what goes wrong from now on."""
    panel.get_by_role("radio", name=words).check()
    panel.get_by_role("button", name="Appliquer").click()
    expect(panel.get_by_role("radio", name=words)).to_be_checked()


def test_a_fault_is_chosen_and_the_invoice_is_followed(panel: Page, page: Page, town: Town) -> None:
    """The gateway calls twice; the panel shows the invoice go, step by step, without being reloaded."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    way = panel.get_by_role("article").filter(has_text=invoice.number)
    expect(way.get_by_role("listitem")).to_contain_text(["facture émise"])
    choose(panel, "arrive deux fois")
    go_to_bank(page, town, invoice)
    expect(way).to_contain_text("payable → en paiement")
    expect(way).to_contain_text("en paiement, payable à nouveau à")
    page.get_by_role("button", name="Payer", exact=True).click()
    expect(title_of(page)).to_have_text("Paiement reçu")
    expect(way).to_contain_text("en paiement → payée")
    until(lambda: len(town.at_gateway(invoice)[0]["tries"]) == 2)


def test_a_forged_notification_is_seen_to_change_nothing(panel: Page, page: Page, town: Town) -> None:
    """The family cancels and a stranger says that it paid: that proves nothing, and the invoice is still in payment."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    choose(panel, "est fausse")
    go_to_bank(page, town, invoice)
    page.get_by_role("button", name="Annuler", exact=True).click()
    unproven = panel.get_by_role("region", name="Notifications sans preuve")
    expect(unproven).to_contain_text(town.at_gateway(invoice)[0]["reference"])
    expect(unproven).to_contain_text("elle n’a changé aucune facture")
    way = panel.get_by_role("article").filter(has_text=invoice.number)
    expect(way).to_contain_text("en paiement, payable à nouveau à")
    expect(panel.get_by_text("Les heures sont celles de Paris.")).to_be_visible()


def test_the_panel_is_for_everybody(panel: Page, judge: Judge) -> None:
    """Judged by axe, magnified to 400 %."""
    judge(panel, "panneau")


def test_without_scripts_it_has_a_link_that_looks_again(browser: Browser, town: Town) -> None:
    """Everything is there at one more click."""
    context = opened(browser, "phone", scripts=False)
    page = context.new_page()
    page.goto(town.installation.addresses.panel)
    invoice = town.owe(DIALLO, CHILDHOOD)
    page.get_by_role("link", name="Actualiser").click()
    expect(page.get_by_role("article").filter(has_text=invoice.number)).to_be_visible()
    context.close()
