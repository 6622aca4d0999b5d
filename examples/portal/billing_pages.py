"""What a family owes, pays and has paid: the home page and the three tabs of Facturation."""

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

from examples.portal.frame import csrf, current, links, page
from examples.portal.visits import Visit
from examples.portal.words import clock, counted, day, euros

Row = Mapping[str, Any]
State = Callable[[Row, datetime], str]
"""Says in a sentence how an invoice stands."""
TABS = {
    "Payer": "/facturation",
    "Historique": "/facturation/historique",
    "Mes prélèvements": "/facturation/prelevements",
}


@dataclass(frozen=True)
class Account:
    """What a family has at one régie."""

    regie: Row
    invoices: Sequence[Row]

    @property
    def code(self) -> str:
        """The régie's code."""
        return str(self.regie["code"])

    @property
    def label(self) -> str:
        """The régie's name, for a page."""
        return escape(self.regie["label"])

    @property
    def cents(self) -> int | None:
        """What the invoices come to; None while the amount of one is not known."""
        amounts = [invoice["amount_cents"] for invoice in self.invoices]
        return None if None in amounts else sum(amounts)

    @property
    def pending(self) -> str:
        """« 2 factures en attente »."""
        return f"{counted(len(self.invoices), 'facture')} en attente" if self.invoices else "aucune facture en attente"


@dataclass(frozen=True)
class Choice:
    """What a family has ticked so far. `seed` makes the payment's reference: pressed twice, it is one payment."""

    ticked: Collection[str] = ()
    error: str | None = None
    seed: str = ""


def home_page(visit: Visit, accounts: Iterable[Account]) -> str:
    """Say, by régie, how many invoices wait."""
    return _home(visit, "".join(_home_card(account, _way_to_pay(account)) for account in accounts))


def remembered_home_page(visit: Visit, accounts: Iterable[Account]) -> str:
    """Say it from what was last heard, while Lettrage cannot be read; nothing can be paid meanwhile."""
    notice = f'<p class="notice" role="status">{AWAY}</p>'
    return _home(visit, "".join(_home_card(account, "") for account in accounts), notice)


AWAY = (
    "Vos factures sont momentanément illisibles ; ces nombres sont ceux des dernières nouvelles reçues."
    " Vous pourrez payer dans quelques minutes."
)


def _home(visit: Visit, cards: str, notice: str = "") -> str:
    assert visit.family is not None
    return page(
        "Accueil",
        f'<h1>Bonjour, {escape(visit.family.name)}</h1>{notice}<ul class="regies">{cards}</ul>'
        '<p class="steps"><a href="/facturation/historique">Voir mes paiements des 24 derniers mois</a></p>',
        visit,
        section="Accueil",
    )


def _home_card(account: Account, way_to_pay: str) -> str:
    if not account.invoices:
        return (
            f'<li class="card"><h2>{account.label}</h2><p><span class="skip">{account.label} : </span>'
            "Aucune facture en attente</p></li>"
        )
    total = "" if account.cents is None else f'<p class="sum">{euros(account.cents)}</p>'
    return f"""<li class="card due"><h2>{account.label}</h2>
<p><span class="skip">{account.label} : </span>{account.pending}</p>
{total}{way_to_pay}</li>"""


def _way_to_pay(account: Account) -> str:
    return f"""<p><a class="button" href="/facturation?regie={escape(account.code)}">Payer
<span class="skip"> : {account.label}</span></a></p>"""


def payable_page(visit: Visit, accounts: Sequence[Account], chosen: Account | None, choice: Choice) -> str:
    """Have a family choose a régie, then its invoices."""
    regies = "".join(_regie_to_choose(account, chosen) for account in accounts)
    title = "Erreur : Facturation, Payer" if choice.error else "Facturation, Payer"
    return _tab(
        "Payer",
        f"""<nav class="choose" aria-labelledby="choisir"><h2 id="choisir">1. Choisissez une régie</h2>
<ul>{regies}</ul></nav>
{_invoices_to_tick(visit, chosen, choice) if chosen else ""}""",
        visit,
        title,
    )


def _regie_to_choose(account: Account, chosen: Account | None) -> str:
    return f"""<li><a href="/facturation?regie={escape(account.code)}"{current(account is chosen)}>
<strong>{account.label}</strong><span class="skip"> : </span>{account.pending}</a></li>"""


def _invoices_to_tick(visit: Visit, account: Account, choice: Choice) -> str:
    if not account.invoices:
        return f"""<section aria-labelledby="cocher"><h2 id="cocher">2. Cochez les factures à payer</h2>
<p>{account.label} : rien à payer pour le moment.</p></section>"""
    rows = "".join(_invoice_to_tick(invoice, choice) for invoice in account.invoices)
    total = sum(invoice["amount_cents"] for invoice in account.invoices if invoice["number"] in choice.ticked)
    told = euros(total) if choice.ticked else "à calculer"
    described = ' aria-describedby="erreur"' if choice.error else ""
    return f"""<form class="bill" method="post" action="/paiements" data-total>{csrf(visit)}
<input type="hidden" name="regie" value="{escape(account.code)}">
<input type="hidden" name="cle" value="{escape(choice.seed) or secrets.token_hex(8)}">
<h2 id="cocher">2. Cochez les factures à payer</h2>{_error(choice.error)}
<fieldset aria-labelledby="cocher"{described}><ul class="invoices">{rows}</ul></fieldset>
<div class="checkout"><p class="total">Total <output aria-live="polite" data-sum>{told}</output></p>
<p class="steps"><button class="quiet" formaction="/facturation" data-needless>Calculer le total</button>
<button>Payer les factures cochées</button></p></div></form>"""


def _invoice_to_tick(invoice: Row, choice: Choice) -> str:
    number = escape(invoice["number"])
    ticked = " checked" if invoice["number"] in choice.ticked else ""
    return f"""<li><label><input type="checkbox" name="facture" value="{number}"
 data-cents="{invoice["amount_cents"]}"{ticked}><span class="what"><span class="label">{_label(invoice)}</span>
<span class="number">n° {number}{_issued(invoice)}</span></span>
<span class="amount">{euros(invoice["amount_cents"])}</span></label>{_document(invoice)}</li>"""


def _error(error: str | None) -> str:
    return f'<p class="error" id="erreur" role="alert"><strong>Erreur :</strong> {error}</p>' if error else ""


def history_page(visit: Visit, accounts: Iterable[Account], now: datetime) -> str:
    """Show what is paid, or being paid."""
    lists = "".join(_list(account, now, _paid_state) for account in accounts if account.invoices)
    empty = "<section><p>Aucune facture payée, ni en cours de paiement.</p></section>"
    intro = '<p class="lead">Vos factures payées ou en cours de paiement, sur 24 mois.</p>'
    return _tab("Historique", intro + (lists or empty), visit)


def debits_page(visit: Visit, accounts: Iterable[Account], now: datetime) -> str:
    """Show what the bank will take by itself."""
    lists = "".join(_list(account, now, _debit_state) for account in accounts if account.invoices)
    empty = "<section><p>Aucune de vos factures n’est prélevée.</p></section>"
    intro = '<p class="lead">Ces factures sont prélevées sur votre compte : vous n’avez rien à faire.</p>'
    return _tab("Mes prélèvements", intro + (lists or empty), visit)


def _list(account: Account, now: datetime, state: State) -> str:
    rows = "".join(
        f"""<li><div class="what"><span class="label">{_label(invoice)}</span>
<span class="number">n° {escape(invoice["number"])}{_issued(invoice)}</span></div>
<span class="amount">{euros(invoice["amount_cents"])}</span>
<p class="told">{state(invoice, now)}</p>{_document(invoice)}</li>"""
        for invoice in account.invoices
    )
    code = escape(account.code)
    return f"""<section aria-labelledby="{code}"><h2 id="{code}">{account.label}</h2>
<ul class="invoices">{rows}</ul></section>"""


def _paid_state(invoice: Row, now: datetime) -> str:
    if invoice["state"] == "paid":
        when = f" le {day(invoice['paid_at'])}" if invoice["paid_at"] else ""
        return f'<span class="state paid">Payée{when}</span>'
    if invoice["to_check"]:
        return '<span class="state in_payment">En cours de vérification auprès de la banque</span>' + _again(
            invoice, now
        )
    return '<span class="state in_payment">En cours de paiement</span>' + _again(invoice, now)


def _again(invoice: Row, now: datetime) -> str:
    again = invoice["payable_again_at"]
    return f' <span class="again">payable à nouveau à {clock(again, now)}</span>' if again else ""


def _debit_state(invoice: Row, now: datetime) -> str:
    if invoice["state"] == "paid":
        return _paid_state(invoice, now)
    if invoice["state"] == "withdrawn":
        return '<span class="state">Annulée : elle ne sera pas prélevée</span>'
    return '<span class="state">À prélever</span>'


def _tab(name: str, content: str, visit: Visit, title: str = "") -> str:
    return page(
        title or f"Facturation, {name}",
        f'<h1>Facturation</h1><nav class="tabs" aria-label="Facturation"><ul>{links(TABS, name)}</ul></nav>{content}',
        visit,
        section="Facturation",
    )


def _label(invoice: Row) -> str:
    return escape(invoice["label"] or "Facture")


def _issued(invoice: Row) -> str:
    return f", du {day(invoice['issued_on'])}" if invoice["issued_on"] else ""


def _document(invoice: Row) -> str:
    """Link to the invoice itself, wherever the billing software keeps it; nothing but the web is linked to."""
    address = invoice["document_url"] or ""
    if not address.startswith(("https://", "http://")):
        return ""
    return (
        f'<a class="document" href="{escape(address)}">Voir la facture'
        f'<span class="skip"> n° {escape(invoice["number"])}</span> (PDF)</a>'
    )
