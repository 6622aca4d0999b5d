"""The pages that a payer sees. In French, without scripts."""

from collections.abc import Mapping
from html import escape

from examples.gateway.operation import Operation
from examples.gateway.payments import Payment

STYLE = """
:root { color-scheme: light; --ink: #1d2433; --quiet: #5a6478; --line: #d5dae3; --go: #0b5d3b; --stop: #a3261b; }
* { box-sizing: border-box; }
body { margin: 0; background: #f3f5f8; color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 26rem; margin: 3rem auto; padding: 2rem; background: #fff; border: 1px solid var(--line);
  border-radius: .75rem; }
.bank { margin: 0; color: var(--quiet); font-size: .9rem; }
h1 { margin: .25rem 0 1.25rem; font-size: 1.4rem; line-height: 1.25; }
dl { display: grid; grid-template-columns: auto 1fr; align-items: baseline; gap: .35rem 1rem; margin: 0 0 1.5rem; }
dt { color: var(--quiet); } dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
.amount { font-size: 1.25rem; font-weight: 700; }
form { display: grid; gap: .75rem; }
button { padding: .8rem 1rem; border: 2px solid var(--ink); border-radius: .5rem; background: #fff;
  color: var(--ink); font: inherit; font-weight: 600; cursor: pointer; }
button.pay { background: var(--go); border-color: var(--go); color: #fff; }
button.refuse { border-color: var(--stop); color: var(--stop); }
button:focus-visible, a:focus-visible { outline: 3px solid #1f5fbf; outline-offset: 2px; }
section { display: grid; gap: .75rem; padding: 1rem; border: 1px solid var(--line); border-radius: .5rem; }
h2 { margin: 0; font-size: 1rem; }
section p { margin: 0; color: var(--quiet); font-size: .9rem; }
.mode { margin: 0 0 1rem; padding: .5rem .75rem; border-left: .25rem solid #b57a10; background: #fdf6e7;
  font-size: .9rem; }
.note { margin: 1.5rem 0 0; color: var(--quiet); font-size: .9rem; }
"""


def _page(title: str, content: str) -> str:
    return f"""<!doctype html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} — Banque simulée</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<p class="bank">Banque simulée : aucun argent ne circule</p>
{content}
</main>
</body>
</html>"""


def payment_page(payment: Payment) -> str:
    """Ask the payer: pay, be refused, or cancel."""
    return _operation_page(payment) if isinstance(payment, Operation) else _card_page(payment)


def _card_page(payment: Payment) -> str:
    facts = {"Bénéficiaire": payment.label, "Référence": payment.reference}
    return _page(
        "Paiement par carte",
        f"""<h1>Paiement par carte</h1>
{_facts(facts, payment.cents)}
<form method="post">
<button class="pay" name="choix" value="payer">Payer</button>
<button class="refuse" name="choix" value="refuser">Carte refusée</button>
<button name="choix" value="annuler">Annuler</button>
</form>
{CLOSING}""",
    )


def _operation_page(operation: Operation) -> str:
    asked = operation.request
    facts = {
        "Bénéficiaire": operation.label,
        "Objet": asked.get("objet", ""),
        "Référence": operation.reference,
        "Exercice": asked["exer"],
        "Courriel": asked["mel"],
    }
    return _page(
        "Paiement d’une facture",
        f"""<h1>Paiement d’une facture</h1>
{MODES.get(asked["saisie"], "")}{_facts(facts, operation.cents)}
<form method="post">
<section aria-labelledby="carte"><h2 id="carte">Par carte bancaire</h2>
<button class="pay" name="choix" value="payer">Payer par carte</button>
<button class="refuse" name="choix" value="refuser">Carte refusée</button></section>
<section aria-labelledby="prelevement"><h2 id="prelevement">Par prélèvement</h2>
<p>Accepté tout de suite, débité dans quelques jours : d’ici là, la banque peut encore le rejeter.</p>
<button class="pay" name="choix" value="prelever">Payer par prélèvement</button></section>
<button name="choix" value="annuler">Annuler</button>
</form>
{CLOSING}""",
    )


CLOSING = '<p class="note">Fermer cette fenêtre ne prévient personne, comme dans la vraie vie.</p>'
MODES = {
    "T": '<p class="mode">Paiement de test : la régie ne recevra rien.</p>',
    "X": '<p class="mode">Paiement d’activation : la régie vérifie son raccordement.</p>',
}
"""What to say by `saisie`; in production, nothing."""
NOT_OPENED = {
    "P1": ("Paiement inconnu", "Cette opération n’existe pas, ou n’existe plus."),
    "P3": ("Paiement déjà ouvert", "Cette page ne s’ouvre qu’une fois. Elle l’a déjà été, ici ou ailleurs."),
    "P4": ("Paiement expiré", "Cette page devait être ouverte dans les 15 minutes. Rien n’a été débité."),
}
"""A title and a sentence by PayFiP's code."""


def not_opened_page(code: str, back: str | None) -> str:
    """Say why an idOp opens nothing, and lead back to the portal where it is known."""
    title, sentence = NOT_OPENED[code]
    return _page(title, f"<h1>{title}</h1><p>{sentence}</p>{_way_back(back) if back else ''}")


def _facts(facts: Mapping[str, str], cents: int) -> str:
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>\n" for name, text in facts.items() if text)
    return f"""<dl>
{rows}<dt>Montant</dt><dd class="amount">{euros(cents)}</dd>
</dl>"""


def _way_back(address: str) -> str:
    return f'<p><a href="{escape(address)}">Retourner sur le site du bénéficiaire</a></p>'


def finished_page(payment: Payment) -> str:
    """Say that a choice was made, to who comes back with the browser's arrow."""
    return _page(
        "Paiement terminé",
        f"<h1>Ce paiement est terminé</h1>{_way_back(payment.back)}",
    )


def refused_page(title: str, reason: str) -> str:
    """Say why there is nothing to pay here."""
    return _page(title, f"<h1>{escape(title)}</h1><p>{escape(reason)}</p>")


def euros(cents: int) -> str:
    """Write an amount as in France, with spaces that do not break."""
    whole = f"{cents // 100:,}".replace(",", "\u202f")
    return f"{whole},{cents % 100:02d}\u00a0€"
