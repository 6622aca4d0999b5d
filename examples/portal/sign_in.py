"""Signing in and out: first visit, password, session."""

import time

from aiohttp import web

from examples.portal import passwords, sign_in_pages
from examples.portal.families import Family, Registry
from examples.portal.memory import ATTEMPTS_SECONDS, May, Memory
from examples.portal.visits import VISIT, Cookie, Visit, go_to, local, show, strangers_token
from examples.portal.words import lasting

WRONG = "Ce numéro de dossier et ce mot de passe ne vont pas ensemble."
UNKNOWN = "Nous ne trouvons pas de dossier avec ce numéro et ce nom."
TAKEN = "Ce dossier a déjà un mot de passe : connectez-vous avec lui."
DIFFERENT = "Les deux mots de passe ne sont pas les mêmes."
TOO_MANY = f"Trop d’essais. Attendez {lasting(ATTEMPTS_SECONDS)}, puis recommencez."
INVALID, TOO_MANY_REQUESTS = 422, 429


class SignIn:
    """The way in. One answer for an unknown dossier and a wrong password, and one time to give it."""

    def __init__(self, registry: Registry, memory: Memory, cookie: Cookie) -> None:
        self._registry = registry
        self._memory = memory
        self._cookie = cookie

    def routes(self) -> list[web.RouteDef]:
        """Where a family says who it is."""
        return [
            web.get("/connexion", self.ask),
            web.post("/connexion", self.sign_in),
            web.get("/premiere-visite", self.ask_first),
            web.post("/premiere-visite", self.recognise),
            web.get("/mot-de-passe", self.ask_password),
            web.post("/mot-de-passe", self.keep_password),
            web.post("/deconnexion", self.sign_out),
        ]

    async def ask(self, request: web.Request) -> web.Response:
        """Show the form, to who is not signed in yet."""
        visit, follow = request[VISIT], local(request.query.get("suite", "/"))
        return go_to(follow) if visit.signed_in else show(sign_in_pages.sign_in_page(visit, follow))

    async def sign_in(self, request: web.Request) -> web.Response:
        """Compare dossier and password."""
        visit, form = request[VISIT], await request.post()
        account, password = str(form.get("dossier", "")), str(form.get("mot_de_passe", ""))
        follow = local(str(form.get("suite", "/")))
        if not self._may_try(account, request):
            return show(sign_in_pages.sign_in_page(visit, follow, TOO_MANY, account), TOO_MANY_REQUESTS)
        family = self._registry.find(account)
        kept = self._memory.password(family.account) if family else None
        is_right = await passwords.is_right(password, kept)
        if family is None or not is_right:
            return show(sign_in_pages.sign_in_page(visit, follow, WRONG, account), INVALID)
        return self._enter(request, family, "everything", follow)

    async def ask_first(self, request: web.Request) -> web.Response:
        """Show the form of the first visit."""
        return show(sign_in_pages.first_visit_page(request[VISIT]))

    async def recognise(self, request: web.Request) -> web.Response:
        """Compare dossier and name; whoever knows both, and comes first, chooses the password."""
        visit, form = request[VISIT], await request.post()
        account, name = str(form.get("dossier", "")), str(form.get("nom", ""))
        if not self._may_try(account, request):
            return show(sign_in_pages.first_visit_page(visit, TOO_MANY, account, name), TOO_MANY_REQUESTS)
        family = self._registry.recognise(account, name)
        if family is None:
            return show(sign_in_pages.first_visit_page(visit, UNKNOWN, account, name), INVALID)
        if self._memory.password(family.account):
            return show(sign_in_pages.sign_in_page(visit, "/", TAKEN, account), INVALID)
        return self._enter(request, family, "choose_password", "/mot-de-passe")

    async def ask_password(self, request: web.Request) -> web.Response:
        """Show where the password is chosen, to a family that was recognised."""
        visit = request[VISIT]
        return show(sign_in_pages.choose_password_page(visit)) if may_choose(visit) else go_to("/premiere-visite")

    async def keep_password(self, request: web.Request) -> web.Response:
        """Keep a first password and sign the family in; the other parent may have been quicker."""
        visit, form = request[VISIT], await request.post()
        if visit.family is None or not may_choose(visit):
            return go_to("/premiere-visite")
        password = str(form.get("mot_de_passe", ""))
        fault = passwords.fault(password, visit.family)
        if fault is None and password != str(form.get("encore", "")):
            fault = DIFFERENT
        if fault is not None:
            return show(sign_in_pages.choose_password_page(visit, fault), INVALID)
        if not self._memory.keep_password(visit.family.account, await passwords.digest(password)):
            return show(sign_in_pages.sign_in_page(visit, "/", TAKEN, visit.family.account), INVALID)
        return self._enter(request, visit.family, "everything", "/")

    async def sign_out(self, request: web.Request) -> web.Response:
        """End the session here, not only in the browser."""
        self._memory.close_session(request[VISIT].token)
        answer = go_to("/connexion")
        self._cookie.give(answer, strangers_token())
        return answer

    def _may_try(self, account: str, request: web.Request) -> bool:
        return self._memory.try_once(plain(account), request.remote or "", time.time())

    def _enter(self, request: web.Request, family: Family, may: May, address: str) -> web.Response:
        """Begin a session under a new cookie: what a stranger may have planted is worth nothing."""
        self._memory.forgive(family.account, request.remote or "")
        self._memory.close_session(request[VISIT].token)
        answer = go_to(address)
        self._cookie.give(answer, self._memory.open_session(family.account, may, time.time()))
        return answer


def may_choose(visit: Visit) -> bool:
    """Whether a family has just been recognised."""
    return visit.family is not None and visit.may == "choose_password"


MAX_ACCOUNT_CHARS = 40


def plain(account: str) -> str:
    """A dossier's number as tries are counted: however it is typed, it is one."""
    return account.strip().upper()[:MAX_ACCOUNT_CHARS]
