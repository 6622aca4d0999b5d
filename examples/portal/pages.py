"""The portal's pages, in French, without scripts. Times are shown in Paris, amounts in euros."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from examples.portal.gateways import Departure

PARIS = ZoneInfo("Europe/Paris")
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """Who is looking; every family here is made up."""

    account: str
    name: str
    email: str

    @property
    def home(self) -> str:
        """The address of its invoices."""
        return f"/dossier/{self.account}"


@dataclass(frozen=True)
class Told:
    """What a payment's state means to a family: a title, a sentence."""

    title: str
    sentence: str


PAYMENTS = {
    "started": Told(
        "Paiement en cours",
        "La banque ne nous a encore rien dit. Si vous avez payé, n’essayez pas une seconde fois : la réponse"
        " peut prendre quelques minutes.",
    ),
    "paid": Told("Paiement reçu", "Merci. La facture est réglée."),
    "refused": Told("Paiement refusé", "La banque a refusé ce paiement. Rien n’a été débité."),
    "cancelled": Told("Paiement annulé", "Vous avez quitté la page de paiement. Rien n’a été débité."),
    "expired": Told(
        "Paiement sans réponse",
        "Aucun paiement ne nous est parvenu dans le temps prévu. La facture peut de nouveau être payée.",
    ),
    "rejected": Told("Paiement impossible", "Cette facture ne peut pas être payée en ligne pour l’instant."),
    "reversed": Told("Paiement rejeté", "La banque a repris ce paiement. La facture est de nouveau due."),
    "refunded": Told("Paiement remboursé", "Cette somme vous a été rendue."),
}
DIRECT_DEBIT = Told(
    "Prélèvement accepté",
    "Merci. La facture est réglée, sauf si votre banque rejette ce prélèvement dans les prochains jours.",
)
"""What `paid` means while it is provisional."""
REJECTIONS = {
    "invoice_in_payment": "Un autre paiement de cette facture est déjà en cours, peut-être dans un autre onglet.",
    "invoice_paid": "Cette facture est déjà payée.",
    "invoice_withdrawn": "Cette facture a été annulée : il n’y a rien à payer.",
    "not_payable_online": "Cette facture est payée par prélèvement : il n’y a rien à faire.",
}
"""Why a payment could not begin, where the family should know more."""


def families_page(families: Iterable[Family]) -> str:
    """Choose a family; a real portal signs it in."""
    links = "".join(
        f'<li><a href="{family.home}">{escape(family.name)}'
        f'<span class="number">dossier {escape(family.account)}</span></a></li>'
        for family in families
    )
    return _page(
        "Choisir une famille",
        f"""<h1>Espace famille</h1>
<section aria-labelledby="familles"><h2 id="familles">Quel dossier voulez-vous consulter ?</h2>
<ul class="families">{links}</ul></section>
<p class="quiet">Portail de démonstration : les familles sont inventées et personne ne s’identifie.</p>""",
    )


def payable_page(family: Family, regies: Iterable[tuple[Row, list[Row]]]) -> str:
    """Show what can be paid, by régie."""
    sections = "".join(_payable_section(family, regie, invoices) for regie, invoices in regies)
    return _billing_page(family, "Payer", sections)


def _payable_section(family: Family, regie: Row, invoices: list[Row]) -> str:
    title = f"{escape(regie['label'])} : {_counted(len(invoices))} en attente"
    heading = f'<h2 id="{escape(regie["code"])}">{title}</h2>'
    if not invoices:
        return f'<section aria-labelledby="{escape(regie["code"])}">{heading}<p>Rien à payer.</p></section>'
    rows = "".join(_payable_row(family, invoice) for invoice in invoices)
    return f"""<section aria-labelledby="{escape(regie["code"])}">{heading}<table>
<thead><tr><th scope="col">Facture</th><th scope="col">Émise le</th><th scope="col" class="amount">Montant</th>
<th scope="col"><span class="skip">Action</span></th></tr></thead>
<tbody>{rows}</tbody></table></section>"""


def _payable_row(family: Family, invoice: Row) -> str:
    """Offer to pay one invoice; the payment's reference is made here, so that two clicks are one payment."""
    number = escape(invoice["number"])
    return f"""<tr><td>{_named(invoice)}</td><td>{_day(invoice["issued_on"])}</td>
<td class="amount">{euros(invoice["amount_cents"])}</td>
<td class="action"><form method="post" action="{family.home}/paiements">
<input type="hidden" name="regie" value="{escape(invoice["regie"])}">
<input type="hidden" name="facture" value="{number}">
<input type="hidden" name="reference" value="{secrets.token_hex(8)}">
<button aria-label="Payer la facture {number}">Payer</button></form></td></tr>"""


def history_page(family: Family, regies: Iterable[tuple[Row, list[Row]]]) -> str:
    """Show what is paid, or being paid."""
    sections = "".join(_history_section(regie, invoices) for regie, invoices in regies if invoices)
    empty = "<section><p>Aucune facture payée, ni en cours de paiement.</p></section>"
    return _billing_page(family, "Historique", sections or empty)


def _history_section(regie: Row, invoices: list[Row]) -> str:
    rows = "".join(
        f"""<tr><td>{_named(invoice)}</td><td>{_day(invoice["issued_on"])}</td>
<td class="amount">{euros(invoice["amount_cents"])}</td><td>{_invoice_state(invoice)}</td></tr>"""
        for invoice in invoices
    )
    return f"""<section aria-labelledby="{escape(regie["code"])}">
<h2 id="{escape(regie["code"])}">{escape(regie["label"])}</h2><table>
<thead><tr><th scope="col">Facture</th><th scope="col">Émise le</th><th scope="col" class="amount">Montant</th>
<th scope="col">État</th></tr></thead>
<tbody>{rows}</tbody></table></section>"""


def _invoice_state(invoice: Row) -> str:
    if invoice["state"] == "paid":
        when = f" le {_day(invoice['paid_at'])}" if invoice["paid_at"] else ""
        return f'<span class="state paid">Payée{when}</span>'
    again = invoice["payable_again_at"]
    return '<span class="state in_payment">En cours de paiement</span>' + (
        f'<span class="again">de nouveau payable à {clock(again)}</span>' if again else ""
    )


def departure_page(family: Family, payment: Row, departure: Departure) -> str:
    """Send the family to the gateway, having told it what happens if it does not come back."""
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in departure.fields.items()
    )
    return _page(
        "Votre paiement est prêt",
        f"""<h1>Votre paiement est prêt</h1>
<div class="card started">{_facts(payment)}
<p>Vous allez payer sur le site de la banque. Si vous n’allez pas au bout, la facture pourra de nouveau être
payée <strong>à {clock(payment["payable_again_at"])}</strong>.</p>
<form class="steps" method="{departure.method}" action="{escape(departure.url)}">{fields}
<button>Aller sur la page de paiement</button>
<a href="{family.home}/historique">Ne pas payer maintenant</a></form></div>""",
        family,
    )


def payment_page(family: Family, payment: Row, address: str) -> str:
    """Tell what is known of a payment, and nothing else."""
    provisional = payment["state"] == "paid" and payment["provisional"]
    told = DIRECT_DEBIT if provisional else PAYMENTS[payment["state"]]
    sentence = REJECTIONS.get(payment["reason"], told.sentence)
    return _page(
        told.title,
        f"""<h1>{told.title}</h1>
<div class="card {payment["state"]}" role="status"><p>{sentence}</p>{_again(payment)}{_facts(payment)}
<p class="steps">{_next_steps(family, payment, address)}</p></div>""",
        family,
    )


def _again(payment: Row) -> str:
    again = payment["payable_again_at"]
    if payment["state"] not in ("started", "refused", "cancelled", "rejected") or not again:
        return ""
    if datetime.fromisoformat(again) <= datetime.now(PARIS):
        return "<p>La facture peut de nouveau être payée.</p>"
    unless = "Sans réponse d’ici là, la" if payment["state"] == "started" else "La"
    return f"<p>{unless} facture pourra de nouveau être payée <strong>à {clock(again)}</strong>.</p>"


def _facts(payment: Row) -> str:
    numbers = ", ".join(line["number"] for line in payment["invoices"])
    return f"""<dl><dt>Facture</dt><dd>{escape(numbers)}</dd>
<dt>Montant</dt><dd>{euros(payment["amount_cents"])}</dd>
<dt>Référence du paiement</dt><dd>{escape(payment["reference"])}</dd></dl>"""


def _next_steps(family: Family, payment: Row, address: str) -> str:
    invoices = f'<a href="{family.home}">Mes factures</a> <a href="{family.home}/historique">Historique</a>'
    if payment["state"] == "started":
        return (
            f'<a class="button" href="{address}">Actualiser</a>'
            f'<a href="{address}/depart">Revenir à la page de paiement</a>{invoices}'
        )
    return invoices


def failure_page(title: str, sentence: str, family: Family | None = None) -> str:
    """Say what went wrong and that nothing was paid by it."""
    return _page(title, f'<h1>{title}</h1><div class="card refused"><p>{sentence}</p></div>', family)


def _billing_page(family: Family, current: str, content: str) -> str:
    tabs = {"Payer": family.home, "Historique": f"{family.home}/historique"}
    links = "".join(
        f'<li><a href="{address}"{" aria-current=" + repr("page") if name == current else ""}>{name}</a></li>'
        for name, address in tabs.items()
    )
    return _page(
        f"Facturation, {current}",
        f'<h1>Facturation</h1><nav aria-label="Facturation"><ul>{links}</ul></nav>{content}',
        family,
    )


def _page(title: str, content: str, family: Family | None = None) -> str:
    who = f"{escape(family.name)}, dossier {escape(family.account)}" if family else "Démonstration"
    return f"""<!doctype html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} — Espace famille</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<a class="skip" href="#contenu">Aller au contenu</a>
<header><div class="inner"><a href="/">Espace famille</a><span>{who}</span></div></header>
<main id="contenu">{content}</main>
</body>
</html>"""


def _named(invoice: Row) -> str:
    number = escape(invoice["number"])
    label = escape(invoice["label"] or "Facture")
    if invoice["document_url"]:
        label = f'<a href="{escape(invoice["document_url"])}">{label}</a>'
    return f'{label}<span class="number">n° {number}</span>'


def _counted(count: int) -> str:
    return f"{count} facture{'s' if count > 1 else ''}"


def _day(text: str | None) -> str:
    """Write a date, or the Paris day of a time."""
    if not text:
        return ""
    day = datetime.fromisoformat(text).astimezone(PARIS).date() if "T" in text else date.fromisoformat(text)
    return f"{day:%d/%m/%Y}"


def clock(text: str) -> str:
    """Write the Paris time of an RFC 3339 time, to the second: the demo's holds last 30."""
    return f"{datetime.fromisoformat(text).astimezone(PARIS):%H:%M:%S}"


def euros(cents: int) -> str:
    """Write an amount as in France, with spaces that do not break."""
    whole = f"{cents // 100:,}".replace(",", "\u202f")
    return f"{whole},{cents % 100:02d}\u00a0€"
