"""A payment's pages: on the way to the bank, and what became of it."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import NamedTuple

from examples.portal.billing_pages import Row
from examples.portal.frame import csrf, page
from examples.portal.gateways import Departure
from examples.portal.visits import Visit
from examples.portal.words import clock, euros, instant, lasting

REFRESH_SECONDS = 5
"""How often a page that waits for the bank asks again by itself."""


class Told(NamedTuple):
    """What a payment's state means to a family: a title, a sentence about one invoice, and about several."""

    title: str
    one: str
    several: str


PAYMENTS = {
    "started": Told(
        "Paiement en cours",
        "La banque ne nous a encore rien dit. Si vous avez payé, n’essayez pas une seconde fois : la réponse"
        " peut prendre quelques minutes. Cette page se met à jour seule.",
        "La banque ne nous a encore rien dit. Si vous avez payé, n’essayez pas une seconde fois : la réponse"
        " peut prendre quelques minutes. Cette page se met à jour seule.",
    ),
    "paid": Told("Paiement reçu", "Merci. La facture est réglée.", "Merci. Les factures sont réglées."),
    "refused": Told(
        "Paiement refusé",
        "La banque a refusé ce paiement. Rien n’a été débité.",
        "La banque a refusé ce paiement. Rien n’a été débité.",
    ),
    "cancelled": Told(
        "Paiement annulé",
        "Vous avez quitté la page de paiement. Rien n’a été débité.",
        "Vous avez quitté la page de paiement. Rien n’a été débité.",
    ),
    "expired": Told(
        "Paiement sans réponse",
        "Aucun paiement ne nous est parvenu dans le temps prévu. S’il arrive plus tard, il comptera.",
        "Aucun paiement ne nous est parvenu dans le temps prévu. S’il arrive plus tard, il comptera.",
    ),
    "rejected": Told(
        "Paiement impossible",
        "Cette facture ne peut pas être payée en ligne pour l’instant. Rien n’a été débité.",
        "L’une de ces factures ne peut pas être payée en ligne pour l’instant. Rien n’a été débité.",
    ),
    "reversed": Told(
        "Paiement rejeté",
        "La banque a repris ce paiement. La facture est de nouveau due.",
        "La banque a repris ce paiement. Les factures sont de nouveau dues.",
    ),
    "refunded": Told("Paiement remboursé", "Cette somme vous a été rendue.", "Cette somme vous a été rendue."),
}
DIRECT_DEBIT = Told(
    "Prélèvement accepté",
    "Merci. La facture est réglée, sauf si votre banque rejette ce prélèvement dans les prochains jours.",
    "Merci. Les factures sont réglées, sauf si votre banque rejette ce prélèvement dans les prochains jours.",
)
"""What `paid` means while it is provisional."""
REJECTIONS = {
    "invoice_in_payment": (
        "Un autre paiement de cette facture est déjà en cours, peut-être dans un autre onglet ou par l’autre parent.",
        (
            "Un autre paiement de l’une de ces factures est déjà en cours, peut-être dans un autre onglet ou par"
            " l’autre parent."
        ),
    ),
    "invoice_paid": ("Cette facture est déjà payée.", "L’une de ces factures est déjà payée."),
    "invoice_withdrawn": (
        "Cette facture a été annulée : il n’y a rien à payer.",
        "L’une de ces factures a été annulée : il n’y a rien à payer pour elle.",
    ),
    "not_payable_online": (
        "Cette facture est payée par prélèvement : il n’y a rien à faire.",
        "L’une de ces factures est payée par prélèvement : il n’y a rien à faire pour elle.",
    ),
    "line_amount_differs": (
        "Le montant de cette facture vient de changer. Reprenez depuis vos factures.",
        "Le montant de l’une de ces factures vient de changer. Reprenez depuis vos factures.",
    ),
}
"""Why a payment could not begin, where the family should know more."""


class Attempt(NamedTuple):
    """What a family has just asked to pay; kept in the page so that asking again is the same payment."""

    regie: str
    seed: str
    numbers: tuple[str, ...]


def preparation_page(visit: Visit, payment: Row, address: str, now: datetime) -> str:
    """On the way to the bank: its page opens by itself where scripts run; the button leads to the same payment."""
    several = len(payment["invoices"]) > 1
    again = payment["payable_again_at"]
    left = max((instant(again) - now).total_seconds(), 0)
    whole = (instant(payment["deadline"]) - instant(payment["started_at"])).total_seconds()
    return page(
        "Votre paiement est prêt",
        f"""<h1>Votre paiement est prêt</h1>
<div class="card wait" data-preparation data-watch="{address}/etat" data-state="started" data-leads="{address}">
{_facts(payment)}
<p>Vous allez payer sur le site de la banque. Si vous n’allez pas au bout dans les
<strong>{lasting(whole)}</strong>, {"ces factures seront payables" if several else "cette facture sera payable"}
à nouveau à <strong>{clock(again, now)}</strong>.</p>
<p class="timer" data-countdown="{left:.1f}" hidden>Temps restant <span role="timer"></span></p>
<p class="quiet" role="status" data-said></p>
<p class="steps"><a class="button" href="{address}/depart" data-depart="paiement-{escape(payment["reference"])}">Aller
sur la page de paiement</a>
<a href="{address}">J’ai terminé : voir où en est mon paiement</a></p></div>""",
        visit,
        section="Facturation",
    )


def departure_page(visit: Visit, payment: Row, departure: Departure) -> str:
    """Hand over to a gateway that wants a form: a script sends it at once, a button does without one."""
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in departure.fields.items()
    )
    return page(
        "Vers la page de paiement",
        f"""<h1>Vers la page de paiement</h1><div class="card wait">{_facts(payment)}
<p>Vous quittez ce portail pour le site de la banque.</p>
<form method="{departure.method}" action="{escape(departure.url)}" data-leave>{fields}
<button>Continuer vers la banque</button></form></div>""",
        visit,
        section="Facturation",
    )


def payment_page(visit: Visit, payment: Row, address: str, now: datetime, invoices: Sequence[Row]) -> str:
    """Tell what is known of a payment and of its invoices, and nothing else."""
    state = payment["state"]
    waits = state == "started"
    told = DIRECT_DEBIT if state == "paid" and payment["provisional"] else PAYMENTS[state]
    several = len(payment["invoices"]) > 1
    sentences = REJECTIONS.get(payment["reason"], told[1:])
    watch = f' data-watch="{address}/etat" data-state="started" data-leads="{address}"' if waits else ""
    return page(
        told.title,
        f"""<h1>{told.title}</h1>
<div class="card {TONES[state]}" role="status"{watch}><p>{sentences[several]}</p>{_again(payment, now, invoices)}
{_facts(payment)}</div>
<p class="steps">{_next_steps(payment, address)}</p>""",
        visit,
        section="Facturation",
        refresh_seconds=REFRESH_SECONDS if waits else None,
    )


TONES = {
    "started": "wait",
    "paid": "good",
    "refused": "stop",
    "cancelled": "wait",
    "expired": "wait",
    "rejected": "stop",
    "reversed": "stop",
    "refunded": "good",
}
"""How a card looks; its words say the same."""


def undecided_page(visit: Visit, address: str) -> str:
    """Say that the payment is not ready yet: nobody is sent to the bank before it is."""
    return page(
        "Paiement en préparation",
        f"""<h1>Paiement en préparation</h1>
<div class="card wait" role="status" data-watch="{address}/etat" data-state="undecided" data-leads="{address}">
<p>Votre demande est enregistrée, mais le paiement n’est pas encore prêt. Cette page se met à jour seule.</p></div>
<p class="steps"><a class="button" href="{address}">Actualiser</a> <a href="/facturation">Mes factures</a></p>""",
        visit,
        section="Facturation",
        refresh_seconds=REFRESH_SECONDS,
    )


def try_again(visit: Visit, attempt: Attempt) -> str:
    """A button that asks for the same payment once more; whatever became of the first try, there will be one."""
    numbers = "".join(f'<input type="hidden" name="facture" value="{escape(number)}">' for number in attempt.numbers)
    return f"""<form method="post" action="/paiements">{csrf(visit)}
<input type="hidden" name="regie" value="{escape(attempt.regie)}">
<input type="hidden" name="cle" value="{escape(attempt.seed)}">{numbers}
<button>Essayer encore</button></form>"""


def _again(payment: Row, now: datetime, invoices: Sequence[Row]) -> str:
    """When to try again. After that time, only if it is so: another payment may have begun, or paid."""
    again = payment["payable_again_at"]
    if payment["state"] not in ("started", "refused", "cancelled", "expired", "rejected") or not again:
        return ""
    several = len(invoices) > 1
    if all(invoice["state"] == "payable" for invoice in invoices):
        return f"<p>{'Les factures peuvent' if several else 'La facture peut'} être payée{'s'[:several]} à nouveau.</p>"
    if instant(again) <= now:
        return ""
    unless = "Sans réponse d’ici là, " if payment["state"] == "started" else ""
    what = "les factures seront payables" if several else "la facture sera payable"
    sentence = f"{unless}{what} à nouveau à <strong>{clock(again, now)}</strong>."
    return f"<p>{sentence[0].upper()}{sentence[1:]}</p>"


def _facts(payment: Row) -> str:
    lines = payment["invoices"]
    numbers = "".join(f"<dd>{escape(line['number'])}</dd>" for line in lines)
    return f"""<dl><div><dt>Facture{"s"[: len(lines) - 1]}</dt>{numbers}</div>
<div><dt>Montant</dt><dd class="sum">{euros(payment["amount_cents"])}</dd></div>
<div><dt>Référence du paiement</dt><dd>{escape(payment["reference"])}</dd></div></dl>"""


def _next_steps(payment: Row, address: str) -> str:
    invoices = '<a href="/facturation">Mes factures</a> <a href="/facturation/historique">Historique</a>'
    close = '<button class="quiet" type="button" data-close hidden>Fermer cette fenêtre</button>'
    if payment["state"] == "started":
        return (
            f'<a class="button" href="{address}">Actualiser</a> '
            f'<a href="{address}/preparation">Revenir à la page de paiement</a> {invoices}{close}'
        )
    return invoices + close
