"""The pages that a payer sees. In French, without scripts."""

from html import escape

from examples.gateway.payments import Payment

STYLE = """
:root { color-scheme: light; --ink: #1d2433; --quiet: #5a6478; --line: #d5dae3; --go: #0b5d3b; --stop: #a3261b; }
* { box-sizing: border-box; }
body { margin: 0; background: #f3f5f8; color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 26rem; margin: 3rem auto; padding: 2rem; background: #fff; border: 1px solid var(--line);
  border-radius: .75rem; }
.bank { margin: 0; color: var(--quiet); font-size: .9rem; }
h1 { margin: .25rem 0 1.25rem; font-size: 1.4rem; line-height: 1.25; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .35rem 1rem; margin: 0 0 1.5rem; }
dt { color: var(--quiet); } dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
.amount { font-size: 1.25rem; font-weight: 700; }
form { display: grid; gap: .75rem; }
button { padding: .8rem 1rem; border: 2px solid var(--ink); border-radius: .5rem; background: #fff;
  color: var(--ink); font: inherit; font-weight: 600; cursor: pointer; }
button.pay { background: var(--go); border-color: var(--go); color: #fff; }
button.refuse { border-color: var(--stop); color: var(--stop); }
button:focus-visible, a:focus-visible { outline: 3px solid #1f5fbf; outline-offset: 2px; }
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
    return _page(
        "Paiement par carte",
        f"""<h1>Paiement par carte</h1>
<dl>
<dt>Bénéficiaire</dt><dd>{escape(payment.label)}</dd>
<dt>Référence</dt><dd>{escape(payment.reference)}</dd>
<dt>Montant</dt><dd class="amount">{euros(payment.cents)}</dd>
</dl>
<form method="post">
<button class="pay" name="choix" value="payer">Payer</button>
<button class="refuse" name="choix" value="refuser">Carte refusée</button>
<button name="choix" value="annuler">Annuler</button>
</form>
<p class="note">Fermer cette fenêtre ne prévient personne, comme dans la vraie vie.</p>""",
    )


def finished_page(payment: Payment) -> str:
    """Say that a choice was made, to who comes back with the browser's arrow."""
    return _page(
        "Paiement terminé",
        f"""<h1>Ce paiement est terminé</h1>
<p><a href="{escape(payment.back)}">Retourner sur le site du bénéficiaire</a></p>""",
    )


def refused_page(title: str, reason: str) -> str:
    """Say why there is nothing to pay here."""
    return _page(title, f"<h1>{escape(title)}</h1><p>{escape(reason)}</p>")


def euros(cents: int) -> str:
    """Write an amount as in France, with spaces that do not break."""
    whole = f"{cents // 100:,}".replace(",", "\u202f")
    return f"{whole},{cents % 100:02d}\u00a0€"
