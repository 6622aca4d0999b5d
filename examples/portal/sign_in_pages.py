"""The pages where a family says who it is."""

from html import escape

from examples.portal.frame import csrf, page
from examples.portal.passwords import MIN_CHARS
from examples.portal.visits import Visit


def sign_in_page(visit: Visit, follow: str, error: str | None = None, account: str = "") -> str:
    """Ask for the dossier and its password."""
    return page(
        _titled("Connexion", error),
        f"""<h1>Connexion</h1>
<p class="lead">Consultez et payez en ligne les factures de votre famille.</p>
<div class="sheet">{_error(error)}
<form method="post" action="/connexion" novalidate>{csrf(visit)}{_follow(follow)}
{_account(account, error)}
<div class="field"><label for="mot_de_passe">Mot de passe</label>
<input id="mot_de_passe" name="mot_de_passe" type="password" autocomplete="current-password" required{_faulty(error)}>
</div>
<button>Se connecter</button></form></div>
<section class="aside" aria-labelledby="premiere"><h2 id="premiere">C’est votre première visite ?</h2>
<p>Munissez-vous d’une facture : le numéro de dossier y figure en haut.</p>
<p><a href="/premiere-visite">Créer mon accès</a></p></section>
<section class="aside" aria-labelledby="oubli"><h2 id="oubli">Mot de passe oublié ?</h2>
<p>Présentez-vous à la régie avec une pièce d’identité : elle rouvrira votre première visite.</p></section>""",
        visit,
    )


def first_visit_page(visit: Visit, error: str | None = None, account: str = "", name: str = "") -> str:
    """Ask a family for what its invoices say of it."""
    return page(
        _titled("Première visite", error),
        f"""<h1>Première visite</h1>
<p class="lead">Étape 1 sur 2 : dites-nous qui vous êtes. Ces deux indications figurent sur vos factures.</p>
<div class="sheet">{_error(error)}
<form method="post" action="/premiere-visite" novalidate>{csrf(visit)}
{_account(account, error)}
<div class="field"><label for="nom">Nom de famille</label>
<input id="nom" name="nom" value="{escape(name)}" autocomplete="family-name" required{_faulty(error)}></div>
<button>Continuer</button></form></div>
<p><a href="/connexion">J’ai déjà un mot de passe</a></p>""",
        visit,
    )


def choose_password_page(visit: Visit, error: str | None = None) -> str:
    """Have a family choose its password."""
    assert visit.family is not None
    return page(
        _titled("Votre mot de passe", error),
        f"""<h1>Votre mot de passe</h1>
<p class="lead">Étape 2 sur 2 : choisissez le mot de passe du dossier {escape(visit.family.account)}.</p>
<div class="sheet">{_error(error)}
<form method="post" action="/mot-de-passe" novalidate>{csrf(visit)}
<input type="hidden" autocomplete="username" name="dossier" value="{escape(visit.family.account)}">
<div class="field"><label for="mot_de_passe">Nouveau mot de passe</label>
<p class="hint" id="regle">Au moins {MIN_CHARS} caractères. Une petite phrase convient très bien.</p>
<input id="mot_de_passe" name="mot_de_passe" type="password" autocomplete="new-password" required
 aria-describedby="regle{" erreur" if error else ""}"{_invalid(error)}></div>
<div class="field"><label for="encore">Le même, encore une fois</label>
<input id="encore" name="encore" type="password" autocomplete="new-password" required{_faulty(error)}></div>
<button>Enregistrer et voir mes factures</button></form></div>""",
        visit,
    )


def _titled(title: str, error: str | None) -> str:
    return f"Erreur : {title}" if error else title


def _error(error: str | None) -> str:
    return f'<p class="error" id="erreur" role="alert"><strong>Erreur :</strong> {escape(error)}</p>' if error else ""


def _follow(follow: str) -> str:
    return f'<input type="hidden" name="suite" value="{escape(follow)}">'


def _account(account: str, error: str | None) -> str:
    described = "exemple erreur" if error else "exemple"
    return f"""<div class="field"><label for="dossier">Numéro de dossier</label>
<p class="hint" id="exemple">Par exemple D-1001.</p>
<input id="dossier" name="dossier" value="{escape(account)}" autocomplete="username" autocapitalize="characters"
 spellcheck="false" required aria-describedby="{described}"{_invalid(error)}></div>"""


def _faulty(error: str | None) -> str:
    return f' aria-describedby="erreur"{_invalid(error)}' if error else ""


def _invalid(error: str | None) -> str:
    return ' aria-invalid="true"' if error else ""
