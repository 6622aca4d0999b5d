"""The portal put together: who is looking, what every answer has, what is said when something fails."""

import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from examples.portal.billing import Billing
from examples.portal.families import Registry
from examples.portal.frame import failure_page
from examples.portal.gateways import Gateway, form_origins
from examples.portal.lettrage import Lettrage, LettrageError
from examples.portal.memory import Memory
from examples.portal.notifications import NOTIFICATIONS, Notifications
from examples.portal.paying import Paying
from examples.portal.sign_in import SignIn
from examples.portal.visits import CSRF_FIELD, VISIT, Cookie, Visit, show, strangers_token

HERE = Path(__file__).parent
ASSETS = ("style.css", "portal.js", "icon.svg")
MAX_BODY_BYTES = 128 * 1024
"""A notification may have half of it, a form with a hundred invoices has a twentieth."""
FORBIDDEN, NOT_FOUND, UNAVAILABLE, BROKEN = 403, 404, 503, 500
AWAY = (
    "Nous ne pouvons pas lire vos factures pour le moment. Si vous venez de payer, rien n’est perdu : la banque nous"
    " préviendra. Ne payez pas une seconde fois ; revenez dans quelques minutes."
)
STALE = "Cette page n’était plus à jour, ou votre navigateur refuse les cookies. Rien n’a été fait : reprenez ici."

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Settings:
    """What the portal is told. `public_url`: where browsers find it, without a final slash."""

    public_url: str
    lettrage_url: str
    token: str
    state: Path | None = None
    documents: Path | None = None
    notification_secrets: Sequence[str] = ()


class Portal:
    """The families, the régies they owe to, and how each of those is paid."""

    def __init__(self, registry: Registry, gateways: Mapping[str, Gateway], settings: Settings) -> None:
        self._registry = registry
        self._cookie = Cookie(settings.public_url)
        self._memory = Memory(settings.state)
        self._lettrage = Lettrage(settings.lettrage_url, settings.token)
        notifications = Notifications(self._lettrage, self._memory, settings.notification_secrets)
        billing = Billing(
            self._lettrage,
            self._memory,
            list(gateways),
            is_told=bool(settings.notification_secrets),
            documents=settings.documents,
        )
        paying = Paying(self._lettrage, gateways, self._memory, billing, settings.public_url)
        sign_in = SignIn(registry, self._memory, self._cookie)
        self._routes = [
            *sign_in.routes(),
            *billing.routes(),
            *paying.routes(),
            *notifications.routes(),
            *assets(),
        ]
        self._headers = headers(form_origins(gateways.values()))

    def application(self) -> web.Application:
        """Build the application, with its routes."""
        middlewares = [self.protect, self.recognise, tell_failures, check_form]
        app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY_BYTES)
        app.cleanup_ctx.append(self._lettrage.open)
        app.cleanup_ctx.append(self._close_memory)
        app.add_routes(self._routes)
        return app

    async def _close_memory(self, _app: web.Application) -> AsyncIterator[None]:
        yield
        self._memory.close()

    @web.middleware
    async def protect(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Give every answer what keeps browsers from doing more than we mean."""
        answer = await handler(request)
        for name, value in self._headers.items():
            answer.headers.setdefault(name, value)
        return answer

    @web.middleware
    async def recognise(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """See who is looking. A browser without a cookie gets one with its first page, so that its forms are known."""
        brought = self._cookie.read(request)
        request[VISIT] = self._visit(brought) if brought else Visit(strangers_token())
        answer = await handler(request)
        if not brought and not answer.cookies and answer.content_type == "text/html":
            self._cookie.give(answer, request[VISIT].token)
        return answer

    def _visit(self, token: str) -> Visit:
        session = self._memory.session(token, time.time())
        family = self._registry.find(session.account) if session else None
        return Visit(token, family, session.may) if session and family else Visit(token)


@web.middleware
async def tell_failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what goes wrong into a page in French; what exactly went wrong goes to the log."""
    visit = request[VISIT]
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status == NOT_FOUND:
            return show(failure_page("Page introuvable", "Cette adresse ne mène à rien.", visit), NOT_FOUND)
        return show(
            failure_page("Demande refusée", "Nous ne pouvons pas répondre à cette demande.", visit), error.status
        )
    except LettrageError as error:
        print(error, flush=True)
        return show(failure_page("Service momentanément indisponible", AWAY, visit), UNAVAILABLE)
    except Exception:  # noqa: BLE001 (a family reads French, whatever broke)
        traceback.print_exc()
        return show(failure_page("Une erreur s’est produite", AWAY, visit), BROKEN)


@web.middleware
async def check_form(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take a form only from whom it was made for: another site cannot send one in a family's name."""
    if request.method == "POST" and request.path != NOTIFICATIONS:  # those are signed
        form = await request.post()
        if not request[VISIT].sent(form.get(CSRF_FIELD)):
            return show(failure_page("Page expirée", STALE, request[VISIT]), FORBIDDEN)
    return await handler(request)


def headers(form_targets: set[str]) -> dict[str, str]:
    """What every answer has. Nothing is loaded from elsewhere; forms go to us, or to a gateway that wants one."""
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "form-action": " ".join(["'self'", *sorted(form_targets)]),
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    return {
        "Cache-Control": "no-store",  # what a page says changes by the second, and is one family's
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }


def assets() -> list[web.RouteDef]:
    """The style sheet, the script, the sign: all that pages load."""
    return [web.get(f"/{name}", _asset(HERE / name)) for name in ASSETS]


def _asset(file: Path) -> Handler:
    async def serve(_request: web.Request) -> web.StreamResponse:
        return web.FileResponse(file, headers={"Cache-Control": "no-cache"})

    return serve
