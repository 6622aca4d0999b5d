"""What every page has: its language, its landmarks, its title, who is signed in."""

from html import escape

from examples.portal.visits import CSRF_FIELD, Visit

SITE = "Espace famille"
SECTIONS = {"Accueil": "/", "Facturation": "/facturation"}


def page(title: str, content: str, visit: Visit, *, section: str = "", refresh_seconds: int | None = None) -> str:
    """Write a whole page. `section` is the menu's entry that it belongs to.

    `refresh_seconds` is for browsers without JavaScript; with it, the script asks, and only changes what changed.
    """
    refresh = f'<noscript><meta http-equiv="refresh" content="{refresh_seconds}"></noscript>' if refresh_seconds else ""
    return f"""<!doctype html>
<html lang="fr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · {SITE}</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
<script src="/portal.js" defer></script>
{refresh}</head>
<body>
<a class="skip" href="#contenu">Aller au contenu</a>
<header><div class="inner">
<a class="brand" href="/"><img src="/icon.svg" alt="" width="34" height="34"><span>{SITE}</span></a>
{_who(visit)}</div>{_menu(visit, section)}</header>
<main id="contenu" tabindex="-1">
{content}
</main>
<footer><div class="inner">
<p>Portail de démonstration : les familles et les sommes sont inventées.</p>
<p>Une question sur une facture ? Adressez-vous à la régie qui l’a émise.</p>
</div></footer>
</body>
</html>
"""


def _who(visit: Visit) -> str:
    family = visit.signed_in
    if family is None:
        return ""
    return f"""<form class="who" method="post" action="/deconnexion">{csrf(visit)}
<p><strong>{escape(family.name)}</strong><span>dossier {escape(family.account)}</span></p>
<button class="plain">Se déconnecter</button></form>
"""


def _menu(visit: Visit, section: str) -> str:
    if visit.signed_in is None:
        return ""
    return f'<nav class="menu" aria-label="Menu principal"><ul>{links(SECTIONS, section)}</ul></nav>'


def links(targets: dict[str, str], here: str) -> str:
    """Write the entries of a menu, the current one marked for eyes and ears."""
    return "".join(
        f'<li><a href="{escape(address)}"{current(name == here)}>{escape(name)}</a></li>'
        for name, address in targets.items()
    )


def current(is_here: bool) -> str:  # noqa: FBT001 (the attribute is there or is not)
    """The attribute that marks where one is in a menu."""
    return ' aria-current="page"' if is_here else ""


def csrf(visit: Visit) -> str:
    """The hidden field that proves that a form is ours."""
    return f'<input type="hidden" name="{CSRF_FIELD}" value="{visit.csrf}">'


def failure_page(title: str, sentence: str, visit: Visit, more: str = "") -> str:
    """Say what went wrong, in words, and where to go on. `more` is HTML."""
    return page(
        title,
        f'<h1>{escape(title)}</h1><div class="card stop"><p>{escape(sentence)}</p>{more}'
        '<p class="steps"><a href="/">Revenir à l’accueil</a></p></div>',
        visit,
    )
