"""Who is looking: a browser by its cookie, a family once it has signed in, and the proof that a form is ours."""

import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import quote

from aiohttp import web

from examples.portal.families import Family
from examples.portal.memory import TOKEN_BYTES, May

MAX_COOKIE_CHARS = 100
"""Ours have 43."""
CSRF_FIELD = "jeton"


@dataclass(frozen=True)
class Visit:
    """One request's visitor. `token` is the cookie's value, which a stranger's browser has, too."""

    token: str
    family: Family | None = None
    may: May | None = None

    @property
    def csrf(self) -> str:
        """What our forms carry: derived from the cookie, which no other site can read or choose."""
        return sha256(f"csrf {self.token}".encode()).hexdigest()

    def sent(self, csrf: object) -> bool:
        """Whether a form was made for this visitor."""
        return isinstance(csrf, str) and hmac.compare_digest(csrf.encode(), self.csrf.encode())

    @property
    def signed_in(self) -> Family | None:
        """The family, once it may see its invoices."""
        return self.family if self.may == "everything" else None


VISIT = web.RequestKey("visit", Visit)
"""Where a request keeps its visitor."""


class Cookie:
    """The one cookie. Over HTTPS it is bound to this host alone and never sent in clear."""

    def __init__(self, public_url: str) -> None:
        self._secure = public_url.startswith("https:")
        self._name = "__Host-espace" if self._secure else "espace"

    def read(self, request: web.Request) -> str | None:
        """The value that a browser brings, if it can be ours."""
        found = request.cookies.get(self._name, "")
        return found if 0 < len(found) <= MAX_COOKIE_CHARS else None

    def give(self, response: web.StreamResponse, token: str) -> None:
        """Have the browser keep a value until it is closed; no script reads it, no other site's form sends it."""
        response.set_cookie(self._name, token, httponly=True, samesite="Lax", secure=self._secure, path="/")


def strangers_token() -> str:
    """A value for a browser that has none yet."""
    return secrets.token_urlsafe(TOKEN_BYTES)


FamilyHandler = Callable[[web.Request, Visit, Family], Awaitable[web.StreamResponse]]


def for_family(handler: FamilyHandler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Let only a family in that has signed in; others sign in first, and go on to where they wanted."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        if visit.signed_in is not None:
            return await handler(request, visit, visit.signed_in)
        if visit.may == "choose_password":
            return go_to("/mot-de-passe")
        follow = request.path_qs if request.method == "GET" else "/"
        return go_to("/connexion" if follow == "/" else f"/connexion?suite={quote(follow, safe='/')}")

    return guarded


def go_to(address: str) -> web.Response:
    """Send the browser on."""
    return web.Response(status=303, headers={"Location": address})


def show(html: str, status: int = 200) -> web.Response:
    """Answer with a page."""
    return web.Response(text=html, status=status, content_type="text/html")


def local(path: str) -> str:
    """An address of this portal to go on to; the home page for anything that leads elsewhere."""
    leads_elsewhere = not path.startswith("/") or path.startswith("//") or "\\" in path or not path.isprintable()
    return "/" if leads_elsewhere else path
