"""The panel's page: what to try, what to make go wrong, and every invoice's way as it happens. In French."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from examples.panel.server import Settings

PARIS = ZoneInfo("Europe/Paris")
SILENT = '<p class="error">Lettrage ne répond pas. Cette page réessaie d’elle-même.</p>'

STATES = {
    None: "inconnue",
    "payable": "payable",
    "in_payment": "en paiement",
    "paid": "payée",
    "withdrawn": "retirée",
}
REASONS = {
    "issued": "facture émise",
    "hold_taken": "un paiement commence",
    "hold_expired": "le délai est passé sans argent : réactivée",
    "hold_over": "le délai était passé : un autre paiement la prend",
    "money_received": "le site de paiement prouve le paiement",
    "money_received_late": "payée après sa réactivation",
    "money_received_provisionally": "prélèvement accepté ; la banque peut encore le rejeter",
    "money_rejected_later": "prélèvement rejeté par la banque",
    "released_by_refusal": "carte refusée : libérée aussitôt",
    "released_by_cancel": "paiement annulé : libérée aussitôt",
    "settled_elsewhere": "payée au guichet",
    "withdrawn": "facture retirée",
}
"""The commonest; any other is shown by its name in the API."""


def panel_page(settings: "Settings", chosen: str, invoices: str) -> str:
    """Write the whole page; `invoices` is its part that follows them."""
    return f"""<!doctype html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lettrage en démonstration</title>
<link rel="stylesheet" href="/panel.css">
<script src="/panel.js" defer></script>
</head>
<body>
<header><h1>Lettrage en démonstration</h1>
<p>Les familles sont inventées, aucun argent ne circule. Ici un paiement a {settings.hold_seconds} secondes
pour aboutir, 30 minutes en vrai ; ensuite la facture redevient payable.</p></header>
<main>
<div class="side">
<section aria-labelledby="jouer"><h2 id="jouer">1. Payez, ou ne payez pas</h2>
<p>Ouvrez le <a href="{escape(settings.portal_url)}" target="portail">portail des familles</a> (nouvel onglet) :
dossier <strong>{escape(settings.account)}</strong>, mot de passe <strong>{escape(settings.password)}</strong>.
Payez, faites-vous refuser, annulez, ou fermez la fenêtre de la banque.</p></section>
<section aria-labelledby="panne"><h2 id="panne">2. Dérangez le site de paiement</h2>
<p>Un choix vaut pour les paiements qui suivent, jusqu’au prochain choix.</p>
<form method="post" action="/panne"><fieldset><legend>Sa notification…</legend>
{"".join(_choice(name, words, name == chosen) for name, words in _choices(settings))}
</fieldset><button>Appliquer</button></form></section>
</div>
<section class="ways" aria-labelledby="chemins"><h2 id="chemins">3. Regardez les factures</h2>
<p>Les heures sont celles de Paris.</p>
<noscript><p><a href="/">Actualiser</a></p></noscript>
<div id="factures">{invoices}</div></section>
</main>
<footer><p>Autres fenêtres : <a href="{escape(settings.gateway_url)}/control/payments">ce que le site de paiement
a vu</a> (JSON), <a href="{escape(settings.lettrage_url)}/metrics">les mesures de Lettrage</a>.</p></footer>
</body>
</html>
"""


def _choices(settings: "Settings") -> Iterable[tuple[str, str]]:
    return (
        ("aucun", "arrive aussitôt : tout va bien"),
        ("silence", "n’arrive jamais : silence"),
        ("retard", f"arrive {settings.late_seconds} secondes plus tard, après la réactivation"),
        ("double", "arrive deux fois"),
        ("faux", "est fausse : quelqu’un sans clé prétend qu’on a payé"),
    )


def _choice(name: str, words: str, is_chosen: bool) -> str:  # noqa: FBT001 (the attribute is there or is not)
    checked = " checked" if is_chosen else ""
    return f'<label><input type="radio" name="panne" value="{name}"{checked}> {escape(words)}</label>\n'


def invoices_part(invoices: Iterable[Mapping[str, Any]]) -> str:
    """Write the invoices, each with its way."""
    return "".join(map(_invoice, invoices)) or "<p>Aucune facture encore.</p>"


def unproven_part(discrepancies: Iterable[Mapping[str, Any]]) -> str:
    """Write which notifications came and proved nothing; nothing when none did."""
    items = "".join(map(_unproven, discrepancies))
    return (
        f'<section class="unproven" aria-label="Notifications sans preuve"><ol>{items}</ol></section>' if items else ""
    )


def _unproven(discrepancy: Mapping[str, Any]) -> str:
    detail = discrepancy["detail"]
    times = "" if detail.get("count", "1") == "1" else f" ({escape(detail['count'])} fois)"
    named = discrepancy["payment"] or detail.get("gateway_reference") or "inconnu"
    return f"""<li><time>{_time(discrepancy["opened_at"])}</time> {escape(discrepancy["regie_label"])} : notification
sans preuve reçue{times}, paiement {escape(named)} <span>Gardée et comptée, mais elle n’a changé aucune facture
(<code>{escape(detail.get("why", ""))}</code>).</span></li>"""


def _invoice(invoice: Mapping[str, Any]) -> str:
    state = invoice["state"]
    until = invoice.get("payable_again_at")
    again = f", payable à nouveau à {_time(until)}" if state == "in_payment" and until else ""
    return f"""<article class="{escape(str(state))}">
<h3>{escape(invoice["number"])} <span>{escape(invoice["regie_label"])}, {_euros(invoice["amount_cents"])}</span></h3>
<p class="state">{STATES.get(state, escape(str(state)))}{again}</p>
<ol>{"".join(map(_step, invoice["history"]))}</ol>
</article>
"""


def _step(change: Mapping[str, Any]) -> str:
    before, after = (STATES.get(change[key], escape(str(change[key]))) for key in ("from", "to"))
    reason = REASONS.get(change["reason"]) or f"<code>{escape(change['reason'])}</code>"
    way = after if change["from"] is None else f"{before} → {after}"
    return f"<li><time>{_time(change['at'])}</time> {way} <span>{reason}</span></li>"


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(PARIS):%H:%M:%S}"


def _euros(cents: int) -> str:
    return f"{cents // 100},{cents % 100:02d}\u00a0€"
