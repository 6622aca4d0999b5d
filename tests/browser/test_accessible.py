"""Every page for everybody: judged by axe, magnified to 400 %, with the keyboard alone."""

import importlib.resources
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from examples.portal import frame, payment_pages
from examples.portal.families import Family as PortalFamily
from examples.portal.gateways import Departure
from examples.portal.visits import Visit
from tests.browser.acting import (
    AFTER_THE_HOLD,
    PAY,
    go_to_by_keyboard,
    go_to_payer,
    prepare,
    prepare_and_meet,
    tick,
    title_of,
)
from tests.browser.conftest import SIZES
from tests.browser.town import Town
from worker.demonstration.families import AFTER_SCHOOL, CANTEEN, CHILDHOOD, DIALLO, PASSWORD, ROSSI, Invoice

pytestmark = pytest.mark.browser

AXE = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
NOT_FOUND = "Erreur : Nous ne trouvons pas de dossier avec ce numéro et ce nom."

Judge = Callable[[Page, str], None]


@pytest.fixture
def scripts() -> bool:
    """Scripts run in every browser here."""
    return True


@pytest.fixture
def judge(screenshots: Path) -> Judge:
    """Judge a page as it is now, and keep pictures of it, magnified too."""

    def look(page: Page, name: str) -> None:
        width, height = SIZES["desktop"]
        page.set_viewport_size({"width": width, "height": height})
        assert (name, faults(page)) == (name, [])
        assert (name, landmarks(page)) == (name, ("fr", 1, 1, 1, 1))
        width, height = SIZES["zoomed"]
        page.set_viewport_size({"width": width, "height": height})
        page.screenshot(path=screenshots / f"{name}-zoomed.png", full_page=True)
        assert (name, too_wide(page)) == (name, [])
        assert (name, faults(page)) == (name, [])

    return look


def faults(page: Page) -> list[str]:
    """What axe finds, with all of its rules: which, and where."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document)")
    return [
        f"{violation['id']} at {node['target']}: {node['html']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def landmarks(page: Page) -> tuple[str | int | None, ...]:
    """The page's language, and how many titles, banners, main parts and footers it has."""
    roles = [page.get_by_role("banner"), page.get_by_role("main"), page.get_by_role("contentinfo")]
    return page.locator("html").get_attribute("lang"), page.locator("h1").count(), *(role.count() for role in roles)


def too_wide(page: Page) -> list[str]:
    """What sticks out of the screen to the right, so that one would have to scroll sideways."""
    found: list[str] = page.evaluate("""() => {
        const width = document.documentElement.clientWidth;
        if (document.documentElement.scrollWidth <= width) return [];
        return [...document.body.querySelectorAll('*')]
            .filter(one => one.getBoundingClientRect().right > width + 1).map(one => one.outerHTML.slice(0, 120));
    }""")
    return found


def test_the_judges_find_what_they_look_for(page: Page) -> None:
    """A field without a label, pale words, a line that is too long: each is found, so silence means something."""
    page.set_content('<html><body><input><p style="color:#ddd">Pâle</p><p style="width:200vw">Large</p></body></html>')
    found = " ".join(faults(page))
    assert all(rule in found for rule in ("label at", "color-contrast at", "html-has-lang at", "region at"))
    assert too_wide(page)


def test_signing_in_is_for_everybody(strangers_browser: BrowserContext, town: Town, judge: Judge) -> None:
    """The three pages before the first invoice, and each with an error."""
    page = strangers_browser.new_page()
    page.goto(f"{town.portal}/connexion")
    judge(page, "connexion")
    page.get_by_role("button", name="Se connecter").click()
    expect(page.get_by_label("Numéro de dossier")).to_be_focused()
    judge(page, "connexion-erreur")
    page.get_by_role("link", name="Créer mon accès").click()
    judge(page, "premiere-visite")
    page.get_by_role("button", name="Continuer").click()
    expect(page.get_by_label("Nom de famille")).to_have_accessible_description(NOT_FOUND)
    judge(page, "premiere-visite-erreur")
    page.get_by_label("Numéro de dossier").fill(ROSSI.account)
    page.get_by_label("Nom de famille").fill(ROSSI.name)
    page.get_by_role("button", name="Continuer").click()
    judge(page, "mot-de-passe")
    page.get_by_role("button", name="Enregistrer").click()
    expect(page.get_by_role("alert")).to_contain_text("au moins 12 caractères")
    judge(page, "mot-de-passe-erreur")


def test_billing_is_for_everybody(page: Page, town: Town, judge: Judge) -> None:
    """The home page and the three tabs, with something in each."""
    invoices = [town.owe(DIALLO, CHILDHOOD, cents) for cents in (123456, 99)]
    town.owe(DIALLO, AFTER_SCHOOL)
    town.owe(DIALLO, CANTEEN, means="direct_debit")
    page.goto(town.portal)
    judge(page, "accueil")
    page.goto(f"{town.portal}/facturation")
    judge(page, "payer-choisir")
    go_to_payer(page, town, CHILDHOOD)
    judge(page, "payer")
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_role("alert")).to_be_visible()
    judge(page, "payer-erreur")
    page.goto(f"{town.portal}/facturation/prelevements")
    judge(page, "prelevements")
    prepare_and_meet(page, town, invoices[0]).close()
    page.goto(f"{town.portal}/facturation/historique")
    judge(page, "historique")
    page.goto(f"{town.portal}/nulle-part")
    judge(page, "introuvable")


def test_a_payments_pages_are_for_everybody(
    page: Page, family_browser: BrowserContext, town: Town, judge: Judge
) -> None:
    """On the way and back: ready, begun elsewhere, under way, refused, cancelled, paid, by direct debit, unanswered."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    second = family_browser.new_page()
    go_to_payer(second, town, CHILDHOOD)
    tick(second, invoice)
    page.route("**/etat", lambda route: route.abort())  # a judge takes longer than a hold: the page stays as it is
    prepare_and_meet(page, town, invoice).close()
    second.get_by_role("button", name=PAY).click()
    expect(title_of(second)).to_have_text("Paiement impossible")
    judge(page, "preparation")
    judge(second, "impossible")
    second.close()
    prepare_and_meet(page, town, town.owe(DIALLO, CHILDHOOD)).close()
    page.get_by_role("link", name="J’ai terminé").click()
    expect(title_of(page)).to_have_text("Paiement en cours")
    judge(page, "en-cours")
    page.unroute("**/etat")
    for regie, button, title in ENDS:
        end = pay(family_browser, town, town.owe(DIALLO, regie), button)
        expect(title_of(end)).to_have_text(title)
        judge(end, title.lower().replace(" ", "-"))
        end.close()
    expect(title_of(page)).to_have_text("Paiement sans réponse", timeout=AFTER_THE_HOLD)
    judge(page, "sans-reponse")


ENDS = (
    (CHILDHOOD, "Carte refusée", "Paiement refusé"),
    (CHILDHOOD, "Annuler", "Paiement annulé"),
    (CHILDHOOD, "Payer", "Paiement reçu"),
    (AFTER_SCHOOL, "Payer par prélèvement", "Prélèvement accepté"),
)
"""At which régie, what is pressed, and what the family then reads."""


def pay(context: BrowserContext, town: Town, invoice: Invoice, button: str) -> Page:
    """Go through a payment; the window that it ends in."""
    page = context.new_page()
    with page.expect_popup() as opening:
        prepare(page, town, invoice)
    page.close()
    opening.value.get_by_role("button", name=button, exact=True).click()
    return opening.value


VISIT = Visit("token", PortalFamily(DIALLO.account, DIALLO.name, DIALLO.email), "everything")
RARE: dict[str, Any] = {
    "regie": CHILDHOOD,
    "reference": "0123456789abcdef",
    "amount_cents": 4250,
    "invoices": [{"number": "NAV-1"}, {"number": "NAV-2"}],
    "payable_again_at": None,
    "provisional": False,
    "reason": "money_reversed",
}
ADDRESS = "/paiements/enfance/0123456789abcdef"


@pytest.mark.parametrize(
    ("name", "html"),
    [
        ("depart", payment_pages.departure_page(VISIT, RARE, Departure("dialog", "/", {"vads_amount": "4250"}))),
        ("pas-encore-pret", payment_pages.undecided_page(VISIT, ADDRESS)),
        ("indisponible", frame.failure_page("Service momentanément indisponible", "Essayez encore.", VISIT)),
    ],
)
def test_what_is_rarely_seen_is_for_everybody(page: Page, town: Town, judge: Judge, name: str, html: str) -> None:
    """Pages that no family meets as long as all goes well, or for a moment only: as the portal writes them."""
    page.route(f"{town.portal}/rare", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.goto(f"{town.portal}/rare")
    judge(page, name)


def test_the_keyboard_is_enough(family_browser: BrowserContext, town: Town) -> None:
    """Signing in, ticking two invoices, going to the bank, paying: with Tab, Space, Enter and letters."""
    invoices = [town.owe(DIALLO, CHILDHOOD), town.owe(DIALLO, CHILDHOOD)]
    family_browser.clear_cookies()
    page = family_browser.new_page()
    page.goto(town.portal)
    go_to_by_keyboard(page, page.get_by_role("link", name="Aller au contenu"))
    page.keyboard.press("Enter")
    go_to_by_keyboard(page, page.get_by_label("Numéro de dossier"))
    page.keyboard.type(DIALLO.account)
    go_to_by_keyboard(page, page.get_by_label("Mot de passe", exact=True))
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(title_of(page)).to_have_text(f"Bonjour, {DIALLO.name}")
    go_to_by_keyboard(page, page.locator(f"a.button[href$='regie={CHILDHOOD}']"))
    page.keyboard.press("Enter")
    expect(title_of(page)).to_have_text("Facturation")
    for invoice in reversed(invoices):  # the newest comes first
        go_to_by_keyboard(page, page.get_by_role("checkbox", name=invoice.number))
        page.keyboard.press("Space")
    go_to_by_keyboard(page, page.get_by_role("button", name=PAY))
    with page.expect_popup() as opening:
        page.keyboard.press("Enter")
    bank = opening.value
    expect(title_of(bank)).to_have_text("Paiement par carte")
    go_to_by_keyboard(bank, bank.get_by_role("button", name="Payer", exact=True))
    bank.keyboard.press("Enter")
    expect(title_of(page)).to_have_text("Paiement reçu")
    assert [town.payments_of(invoice) for invoice in invoices] == [["paid"], ["paid"]]
