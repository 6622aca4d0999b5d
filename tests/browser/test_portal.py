"""A family clicks through the example portal and the simulated gateway; without JavaScript unless said."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.acting import (
    AFTER_THE_HOLD,
    PAY,
    TIME,
    TO_THE_BANK,
    Shoot,
    expect_payable,
    go_to_bank,
    go_to_payer,
    go_to_payfip,
    leave,
    line_of,
    prepare,
    reference_in,
    tick,
    title_of,
)
from tests.browser.town import Town, until
from worker.demonstration.families import (
    AFTER_SCHOOL,
    CANTEEN,
    CHILDHOOD,
    DIALLO,
    LEFT_TO_CLICK,
    LEROY,
    MARTIN,
    PASSWORD,
)

pytestmark = pytest.mark.browser


def test_a_first_visit_leads_to_the_invoices(strangers_browser: BrowserContext, town: Town, shoot: Shoot) -> None:
    """Dossier and name, then a password of one's own; what is wrong is said in text; signed out is signed out."""
    town.issue(next(invoice for invoice in LEFT_TO_CLICK if invoice.family == LEROY))
    page = strangers_browser.new_page()
    page.goto(f"{town.portal}/facturation?regie=enfance")
    expect(title_of(page)).to_have_text("Connexion")
    shoot(page, "connexion")
    page.get_by_role("link", name="Créer mon accès").click()
    page.get_by_label("Numéro de dossier").fill(LEROY.account.lower())
    page.get_by_label("Nom de famille").fill("Martin")
    page.get_by_role("button", name="Continuer").click()
    expect(page.get_by_role("alert")).to_contain_text("Nous ne trouvons pas de dossier")
    shoot(page, "premiere-visite-erreur")
    page.get_by_label("Nom de famille").fill("LEROY")
    page.get_by_role("button", name="Continuer").click()
    page.get_by_label("Nouveau mot de passe").fill("trop court")
    page.get_by_label("Le même, encore une fois").fill("trop court")
    page.get_by_role("button", name="Enregistrer").click()
    expect(page.get_by_role("alert")).to_contain_text("au moins 12 caractères")
    shoot(page, "mot-de-passe-erreur")
    page.get_by_label("Nouveau mot de passe").fill(PASSWORD)
    page.get_by_label("Le même, encore une fois").fill(PASSWORD)
    page.get_by_role("button", name="Enregistrer").click()
    expect(title_of(page)).to_have_text("Bonjour, Famille Leroy")
    expect(page.get_by_text("Régie Enfance : 1 facture en attente")).to_be_visible()
    shoot(page, "accueil")

    page.get_by_role("button", name="Se déconnecter").click()
    page.goto(f"{town.portal}/facturation?regie=enfance")
    page.get_by_label("Numéro de dossier").fill(LEROY.account)
    page.get_by_label("Mot de passe", exact=True).fill("un autre mot de passe")
    page.get_by_role("button", name="Se connecter").click()
    expect(page.get_by_role("alert")).to_contain_text("ne vont pas ensemble")
    shoot(page, "connexion-erreur")
    page.get_by_label("Mot de passe", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Se connecter").click()
    expect(page.get_by_role("heading", name="2. Cochez les factures à payer")).to_be_visible()


@pytest.mark.parametrize(
    ("regie", "size"),
    [(CHILDHOOD, "desktop"), (CHILDHOOD, "phone"), (CANTEEN, "desktop")],
    indirect=["size"],
)
def test_a_family_pays(page: Page, town: Town, shoot: Shoot, regie: str) -> None:
    """Through the signed gateway and the dummy: the portal says thank you, Historique says paid."""
    invoice = town.owe(DIALLO, regie)
    go_to_payer(page, town, regie)
    tick(page, invoice)
    shoot(page, "payer")
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_text("Si vous n’allez pas au bout dans les 10 secondes")).to_be_visible()
    shoot(page, "preparation-sans-script")
    page.get_by_role("link", name=TO_THE_BANK).click()
    leave(page)
    page.get_by_role("button", name="Payer", exact=True).click()
    expect(title_of(page)).to_have_text("Paiement reçu")
    shoot(page, "paye")
    page.get_by_role("link", name="Historique").click()
    expect(line_of(page, invoice)).to_contain_text("Payée le")
    shoot(page, "historique")
    assert town.payments_of(invoice) == ["paid"]


def test_several_invoices_are_one_payment(page: Page, town: Town, shoot: Shoot) -> None:
    """Ticked together, added up by the server where no script does, paid at once; the one left out stays."""
    first, second, left_out = (town.owe(DIALLO, CHILDHOOD, cents) for cents in (123456, 1005, 700))
    go_to_payer(page, town, CHILDHOOD)
    tick(page, first, second)
    page.get_by_role("button", name="Calculer le total").click()
    expect(page.get_by_role("status")).to_have_text("1\u202f244,61\u00a0€")
    expect(page.get_by_role("checkbox", name=second.number)).to_be_checked()
    expect(page.get_by_role("checkbox", name=left_out.number)).not_to_be_checked()
    shoot(page, "payer-plusieurs")
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_text("ces factures seront payables à nouveau")).to_be_visible()
    page.get_by_role("link", name=TO_THE_BANK).click()
    leave(page)
    expect(page.get_by_text("1\u202f244,61\u00a0€")).to_be_visible()
    page.get_by_role("button", name="Payer", exact=True).click()
    expect(page.get_by_text("Merci. Les factures sont réglées.")).to_be_visible()
    shoot(page, "paye-plusieurs")
    assert [town.payments_of(invoice) for invoice in (first, second, left_out)] == [["paid"], ["paid"], []]


def test_nothing_ticked_is_said(page: Page, town: Town, shoot: Shoot) -> None:
    """In words, at the boxes; and nothing has begun."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    go_to_payer(page, town, CHILDHOOD)
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_role("alert")).to_contain_text("Cochez au moins une facture")
    expect(page).to_have_title(re.compile("^Erreur"))
    shoot(page, "payer-erreur")
    assert town.payments_of(invoice) == []


@pytest.mark.parametrize(
    ("choice", "size"),
    [
        (("Payer par carte", "P", "Paiement reçu"), "desktop"),
        (("Payer par prélèvement", "V", "Prélèvement accepté"), "phone"),
        (("Carte refusée", "R", "Paiement refusé"), "phone"),
        (("Annuler", "A", "Paiement annulé"), "desktop"),
    ],
    indirect=["size"],
)
def test_payfips_page_leads_back_to_what_became_of_the_payment(
    page: Page, town: Town, shoot: Shoot, choice: tuple[str, str, str]
) -> None:
    """The browser brings back an idOp alone: PayFiP is asked, and the portal says what it answered."""
    button, result, title = choice
    invoice = town.owe(DIALLO, AFTER_SCHOOL)
    go_to_payfip(page, town, invoice)
    expect(
        page.get_by_role("definition").filter(has_text=f"Facture {invoice.number.replace('-', ' ')}")
    ).to_be_visible()
    page.get_by_role("button", name=button).click()
    expect(title_of(page)).to_have_text(title)
    shoot(page, f"payfip-{result}")
    assert [payment["result"] for payment in town.at_gateway(invoice)] == [result]


def test_payfips_page_opens_once(page: Page, family_browser: BrowserContext, town: Town) -> None:
    """A second tab is told so and led back to the portal; the first one can still pay."""
    invoice = town.owe(DIALLO, AFTER_SCHOOL)
    prepare(page, town, invoice)
    second = family_browser.new_page()
    second.goto(page.url)
    page.get_by_role("link", name=TO_THE_BANK).click()
    expect(title_of(page)).to_have_text("Paiement d’une facture")
    second.get_by_role("link", name=TO_THE_BANK).click()
    expect(title_of(second)).to_have_text("Paiement déjà ouvert")
    second.get_by_role("link", name="Retourner").click()
    expect(title_of(second)).to_have_text("Paiement en cours")
    page.get_by_role("button", name="Payer par carte").click()
    expect(title_of(page)).to_have_text("Paiement reçu")
    assert [payment["result"] for payment in town.at_gateway(invoice)] == ["P"]


def test_payfip_out_of_order_starts_nothing(page: Page, town: Town, shoot: Shoot) -> None:
    """Without an idOp there is no payment: the family reads so, and one button later it is the same payment."""
    invoice = town.owe(DIALLO, AFTER_SCHOOL)
    go_to_payer(page, town, AFTER_SCHOOL)
    tick(page, invoice)
    town.spoil_payfip([{"fault": "unavailable"}])
    page.get_by_role("button", name=PAY).click()
    expect(title_of(page)).to_have_text("Service momentanément indisponible")
    shoot(page, "payfip-en-panne")
    town.spoil_payfip([])
    assert town.payments_of(invoice) == []
    page.get_by_role("button", name="Essayer encore").click()
    expect(title_of(page)).to_have_text("Votre paiement est prêt")
    assert town.payments_of(invoice) == ["started"]


def test_a_refused_card_can_try_again_later(page: Page, town: Town, shoot: Shoot) -> None:
    """The page says that nothing was taken and when to try again; then the family pays."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    go_to_bank(page, town, invoice)
    page.get_by_role("button", name="Carte refusée").click()
    expect(title_of(page)).to_have_text("Paiement refusé")
    expect(page.get_by_text("à nouveau")).to_contain_text(re.compile(TIME))
    shoot(page, "refuse")
    expect_payable(page, town, invoice)
    go_to_bank(page, town, invoice)
    page.get_by_role("button", name="Payer", exact=True).click()
    expect(title_of(page)).to_have_text("Paiement reçu")
    assert sorted(town.payments_of(invoice)) == ["paid", "refused"]


@pytest.mark.parametrize("size", ["phone"], indirect=True)
def test_a_cancelled_payment_stays_in_the_history_until_its_hold_ends(page: Page, town: Town, shoot: Shoot) -> None:
    """Cancelled at the bank: not payable at once, with the time said, then payable again; its page says so."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    go_to_bank(page, town, invoice)
    page.get_by_role("button", name="Annuler").click()
    expect(title_of(page)).to_have_text("Paiement annulé")
    told = page.url
    shoot(page, "annule")
    page.get_by_role("link", name="Mes factures").click()
    expect(title_of(page)).to_have_text("Facturation")
    expect(page.get_by_role("checkbox", name=invoice.number)).to_have_count(0)
    page.get_by_role("link", name="Historique").click()
    expect(line_of(page, invoice)).to_contain_text("En cours de paiement")
    expect(line_of(page, invoice)).to_contain_text(re.compile(f"payable à nouveau {TIME}"))
    shoot(page, "historique-en-cours")
    expect_payable(page, town, invoice)
    page.goto(told)
    expect(page.get_by_text("La facture peut être payée à nouveau.")).to_be_visible()
    assert town.payments_of(invoice) == ["cancelled"]


@pytest.mark.parametrize("scripts", [False, True], indirect=True)
def test_a_closed_window_tells_nobody(
    page: Page,
    family_browser: BrowserContext,
    town: Town,
    shoot: Shoot,
    scripts: bool,  # noqa: FBT001 (a fixture)
) -> None:
    """The portal does not pretend to know: under way until the hold ends, then unanswered, without anybody's click.

    The button of an old tab leads to no bank then: another may be paying.
    """
    invoice = town.owe(DIALLO, CHILDHOOD)
    prepare(page, town, invoice)
    payment = page.url.removesuffix("/preparation")
    later = family_browser.new_page()
    later.goto(payment)
    expect(title_of(later)).to_have_text("Paiement en cours")
    shoot(later, "en-cours")
    expect(title_of(later)).to_have_text("Paiement sans réponse", timeout=AFTER_THE_HOLD)
    shoot(later, "sans-reponse")
    if scripts:
        expect(title_of(page)).to_have_text("Paiement sans réponse")
    else:
        page.get_by_role("link", name=TO_THE_BANK).click()
        expect(title_of(page)).to_have_text("Paiement sans réponse")
    expect_payable(later, town, invoice)
    assert town.payments_of(invoice) == ["expired"]


@pytest.mark.parametrize("scripts", [False, True], indirect=True)
def test_who_is_back_before_the_bank_has_told_reads_so(
    page: Page,
    town: Town,
    scripts: bool,  # noqa: FBT001 (a fixture)
) -> None:
    """Paid, window closed, and the bank's notification is late: « en cours », then « reçu » without anybody's click."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    prepare(page, town, invoice)
    payment = page.url.removesuffix("/preparation")
    town.spoil(reference_in(page), {"fault": "late", "delay_seconds": 2})
    page.goto(f"{payment}/depart")
    if not scripts:
        leave(page)
    page.wait_for_url(f"{town.gateway}/**")
    assert page.request.post(page.url, form={"choix": "payer"}, max_redirects=0).status == 303
    page.goto(payment)
    expect(title_of(page)).to_have_text("Paiement en cours")
    expect(page.get_by_text("n’essayez pas une seconde fois")).to_be_visible()
    expect(title_of(page)).to_have_text("Paiement reçu")


def test_a_double_click_is_one_payment(page: Page, town: Town) -> None:
    """An impatient family starts one payment, and goes on with it."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    go_to_payer(page, town, CHILDHOOD)
    tick(page, invoice)
    page.get_by_role("button", name=PAY).dblclick(no_wait_after=True)
    expect(title_of(page)).to_have_text("Votre paiement est prêt")
    assert town.payments_of(invoice) == ["started"]


def test_a_second_tab_cannot_pay_the_same_invoice(
    page: Page, family_browser: BrowserContext, town: Town, shoot: Shoot
) -> None:
    """Both tabs showed the invoice; the second is told that a payment is under way, and until when."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    second = family_browser.new_page()
    for tab in (page, second):
        go_to_payer(tab, town, CHILDHOOD)
        tick(tab, invoice)
    page.get_by_role("button", name=PAY).click()
    expect(title_of(page)).to_have_text("Votre paiement est prêt")
    second.get_by_role("button", name=PAY).click()
    expect(title_of(second)).to_have_text("Paiement impossible")
    expect(second.get_by_role("status")).to_contain_text("déjà en cours")
    expect(second.get_by_role("status")).to_contain_text(re.compile(TIME))
    shoot(second, "impossible")
    assert sorted(town.payments_of(invoice)) == ["rejected", "started"]


def test_two_parents_pay_at_the_same_time(
    page: Page, family_browser: BrowserContext, town: Town, other_parents_browser: BrowserContext
) -> None:
    """Two sessions of one family: each pays something else, both payments stand, each sees what the other did."""
    first, second = town.owe(DIALLO, CHILDHOOD), town.owe(DIALLO, CHILDHOOD)
    other = other_parents_browser.new_page()
    prepare(page, town, first)
    prepare(other, town, second)
    for tab in (page, other):
        tab.get_by_role("link", name=TO_THE_BANK).click()
        leave(tab)
        tab.get_by_role("button", name="Payer", exact=True).click()
        expect(title_of(tab)).to_have_text("Paiement reçu")
    other.get_by_role("link", name="Historique").click()
    for invoice in (first, second):
        expect(line_of(other, invoice)).to_contain_text("Payée le")


def test_the_browsers_arrow_does_not_pay_twice(page: Page, town: Town) -> None:
    """Back from the preparation page: what is being paid is gone; something else ticked there is another payment."""
    first, second = town.owe(DIALLO, CHILDHOOD), town.owe(DIALLO, CHILDHOOD)
    prepare(page, town, first)
    page.go_back()
    expect(page.get_by_role("checkbox", name=second.number)).to_be_visible()
    expect(page.get_by_role("checkbox", name=first.number)).to_have_count(0)
    tick(page, second)
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_role("definition").filter(has_text=second.number)).to_be_visible()
    assert [town.payments_of(invoice) for invoice in (first, second)] == [["started"], ["started"]]


def test_coming_back_to_a_finished_payment_page_leads_home(page: Page, town: Town) -> None:
    """The browser's arrow after paying: the bank says that it is over, and does not take money twice."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    go_to_bank(page, town, invoice)
    page.get_by_role("button", name="Payer", exact=True).click()
    expect(title_of(page)).to_have_text("Paiement reçu")
    page.go_back()
    expect(title_of(page)).to_have_text("Ce paiement est terminé")
    page.get_by_role("link", name="Retourner").click()
    expect(title_of(page)).to_have_text("Paiement reçu")
    assert town.payments_of(invoice) == ["paid"]


def test_a_withdrawn_invoice_is_not_paid(page: Page, town: Town, shoot: Shoot) -> None:
    """It was on the screen, and was withdrawn meanwhile: the family reads that there is nothing to pay."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    go_to_payer(page, town, CHILDHOOD)
    tick(page, invoice)
    town.withdraw(invoice)
    page.get_by_role("button", name=PAY).click()
    expect(page.get_by_role("status")).to_contain_text("a été annulée")
    shoot(page, "retiree")


def test_the_portal_is_told_of_what_nobody_looked_at(town: Town) -> None:
    """Lettrage's own notifications, signed, over HTTP: a new invoice, then its withdrawal, without a page opened."""
    invoice = town.owe(DIALLO, CANTEEN)
    until(lambda: town.told_to_portal(invoice) == "payable")
    town.withdraw(invoice)
    until(lambda: town.told_to_portal(invoice) == "withdrawn")


def test_direct_debits_have_their_own_tab(page: Page, town: Town, shoot: Shoot) -> None:
    """They are shown, and never to be ticked."""
    invoice = town.owe(DIALLO, CANTEEN, means="direct_debit")
    page.goto(f"{town.portal}/facturation?regie={CANTEEN}")
    expect(page.get_by_role("checkbox", name=invoice.number)).to_have_count(0)
    page.get_by_role("link", name="Mes prélèvements").click()
    expect(line_of(page, invoice)).to_contain_text("À prélever")
    shoot(page, "prelevements")


def test_an_invoices_document_is_its_familys(
    page: Page, family_browser: BrowserContext, town: Town, other_familys_browser: BrowserContext
) -> None:
    """The link leads to a PDF; another family's session gets nothing there."""
    invoice = next(invoice for invoice in LEFT_TO_CLICK if invoice.family == DIALLO)
    town.issue(invoice)
    go_to_payer(page, town, invoice.regie)
    link = page.get_by_role("link", name=f"Voir la facture n° {invoice.number}").get_attribute("href")
    assert link is not None
    answer = family_browser.request.get(link)
    assert (answer.status, answer.headers["content-type"], answer.body()[:5]) == (200, "application/pdf", b"%PDF-")
    assert other_familys_browser.request.get(link).status == 404


def test_another_family_sees_nothing(page: Page, town: Town, other_familys_browser: BrowserContext) -> None:
    """An address is not a key: to another family's session a payment is not there, nor is anything of its invoices."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    prepare(page, town, invoice)
    payment = page.url.removesuffix("/preparation")
    for step in ("", "/etat", "/preparation", "/depart", "/retour", "/retour?vads_trans_status=AUTHORISED"):
        answer = other_familys_browser.request.get(payment + step)
        assert (step, answer.status, invoice.number in answer.text()) == (step, 404, False)
    other = other_familys_browser.new_page()
    for tab in ("", "/facturation?regie=enfance", "/facturation/historique", "/facturation/prelevements"):
        other.goto(town.portal + tab)
        expect(other.get_by_role("banner")).to_contain_text(MARTIN.account)
        expect(other.get_by_text(invoice.number)).to_have_count(0)
    assert town.payments_of(invoice) == ["started"]


def test_another_familys_invoice_cannot_be_ticked(page: Page, town: Town) -> None:
    """A number typed into the form is not a way to see, or to hold, what somebody else owes."""
    own, other = town.owe(DIALLO, CHILDHOOD), town.owe(MARTIN, CHILDHOOD)
    go_to_payer(page, town, CHILDHOOD)
    seed, csrf = (page.locator(f"form.bill input[name={name}]").get_attribute("value") for name in ("cle", "jeton"))
    for numbers in ([other.number], [own.number, other.number]):
        form = f"regie=enfance&cle={seed}&jeton={csrf}&" + "&".join(f"facture={number}" for number in numbers)
        answer = page.request.post(
            f"{town.portal}/paiements", data=form, headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        assert answer.status == 404
    assert town.payments_of(own) == town.payments_of(other) == []


def test_a_form_of_another_site_is_refused(page: Page, town: Town) -> None:
    """Without the proof that it is ours, whatever its cookie says; nothing begins."""
    invoice = town.owe(DIALLO, CHILDHOOD)
    go_to_payer(page, town, CHILDHOOD)
    seed = page.locator("form.bill input[name=cle]").get_attribute("value")
    form: dict[str, str | float | bool] = {
        "regie": "enfance",
        "cle": str(seed),
        "facture": invoice.number,
        "jeton": "0" * 64,
    }
    answer = page.request.post(f"{town.portal}/paiements", form=form)
    assert answer.status == 403
    assert "Page expirée" in answer.text()
    assert town.payments_of(invoice) == []
