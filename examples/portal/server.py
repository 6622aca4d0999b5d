"""The portal's HTTP side."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from examples.portal import pages
from examples.portal.gateways import Gateway, Order
from examples.portal.lettrage import Lettrage, LettrageError
from examples.portal.pages import Family
from examples.portal.payfip import PayFiPError

STYLE = Path(__file__).with_name("style.css")
REFERENCE = re.compile(r"[0-9a-f]{16}")
REFRESH_SECONDS = 5
"""How often a page that waits for the bank asks again by itself."""
UNAVAILABLE = "Service momentanément indisponible"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Portal:
    """A few families, the régies they owe to, and how each of those is paid."""

    def __init__(self, families: list[Family], gateways: Mapping[str, Gateway], lettrage_url: str, token: str) -> None:
        self.families = {family.account: family for family in families}
        self.gateways = gateways
        self._lettrage_url = lettrage_url
        self._token = token

    def application(self) -> web.Application:
        """Build the application, with its routes."""
        app = web.Application(middlewares=[tell_failures])
        app.cleanup_ctx.append(self._open_lettrage)
        payment = "/dossier/{account}/{regie}/paiements/{reference}"
        app.router.add_get("/", self.choose_family)
        app.router.add_get("/style.css", style)
        app.router.add_get("/dossier/{account}", self.show_payable)
        app.router.add_get("/dossier/{account}/historique", self.show_history)
        app.router.add_post("/dossier/{account}/paiements", self.begin)
        app.router.add_get(payment, self.show_payment)
        app.router.add_get(payment + "/depart", self.depart)
        app.router.add_get(payment + "/retour", self.come_back)
        return app

    async def _open_lettrage(self, _app: web.Application) -> AsyncIterator[None]:
        self.lettrage = Lettrage(self._lettrage_url, self._token)
        yield
        await self.lettrage.close()

    async def choose_family(self, _request: web.Request) -> web.Response:
        """Show the families."""
        return page(pages.families_page(self.families.values()))

    async def show_payable(self, request: web.Request) -> web.Response:
        """Show the Payer tab."""
        family = self._family(request)
        return page(pages.payable_page(family, await self._by_regie(family, "payable")))

    async def show_history(self, request: web.Request) -> web.Response:
        """Show the Historique tab."""
        family = self._family(request)
        return page(pages.history_page(family, await self._by_regie(family, "history")))

    async def _by_regie(self, family: Family, view: str) -> list[tuple[dict[str, Any], list[Any]]]:
        return [
            (await self.lettrage.regie(code), await self.lettrage.invoices(code, family.account, view))
            for code in self.gateways
        ]

    async def begin(self, request: web.Request) -> web.Response:
        """Start a payment, and go on only when Lettrage says `started`.

        The reference came with the button: the second of two clicks starts the same payment. The amount is
        Lettrage's, never the browser's. What the gateway calls the payment must be known first; a page of PayFiP that
        was created for a payment which may not start is never opened.
        """
        family = self._family(request)
        form = await request.post()
        regie, reference = str(form.get("regie")), str(form.get("reference"))
        if regie not in self.gateways or not REFERENCE.fullmatch(reference):
            raise web.HTTPSeeOther(family.home)
        invoice = await self.lettrage.invoice(regie, str(form.get("facture")))
        if invoice["account"] != family.account:
            raise web.HTTPNotFound
        address = f"{family.home}/{regie}/paiements/{reference}"
        return_url = f"{request.url.origin()}{address}/retour"
        order = Order(reference, invoice["number"], invoice["amount_cents"], family.email, return_url)
        gateway_reference = await self.gateways[regie].gateway_reference(order)
        payment = await self.lettrage.start_payment(regie, reference, gateway_reference, invoice)
        raise web.HTTPSeeOther(f"{address}/depart" if payment["state"] == "started" else address)

    async def depart(self, request: web.Request) -> web.Response:
        """Show the way to the gateway, while the payment may still be made."""
        family, payment, address = await self._payment(request)
        if payment["state"] != "started":
            raise web.HTTPSeeOther(address)
        return_url = f"{request.url.origin()}{address}/retour"
        departure = self.gateways[payment["regie"]].departure(payment, return_url)
        return page(pages.departure_page(family, payment, departure))

    async def come_back(self, request: web.Request) -> web.Response:
        """Pass on what the browser brought back, then show what is known; a reload passes on nothing."""
        _, payment, address = await self._payment(request)
        query = request.raw_path.partition("?")[2]
        if query:
            await self.lettrage.forward_callback(payment["regie"], query)
        raise web.HTTPSeeOther(address)

    async def show_payment(self, request: web.Request) -> web.Response:
        """Tell what is known of a payment."""
        family, payment, address = await self._payment(request)
        shown = page(pages.payment_page(family, payment, address))
        if payment["state"] == "started":
            shown.headers["Refresh"] = str(REFRESH_SECONDS)
        return shown

    def _family(self, request: web.Request) -> Family:
        family = self.families.get(request.match_info["account"])
        if family is None:
            raise web.HTTPNotFound
        return family

    async def _payment(self, request: web.Request) -> tuple[Family, dict[str, Any], str]:
        """Find a family's own payment, and its address here."""
        family = self._family(request)
        regie, reference = request.match_info["regie"], request.match_info["reference"]
        if regie not in self.gateways or not REFERENCE.fullmatch(reference):
            raise web.HTTPNotFound
        payment = await self.lettrage.payment(regie, reference)
        invoice = await self.lettrage.invoice(regie, payment["invoices"][0]["number"])
        if invoice["account"] != family.account:
            raise web.HTTPNotFound
        return family, payment, f"{family.home}/{regie}/paiements/{reference}"


@web.middleware
async def tell_failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what goes wrong into a page in French; what exactly went wrong goes to the log."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return page(pages.failure_page("Page introuvable", "Cette adresse ne mène à rien."), 404)
    except LettrageError as error:
        print(error, flush=True)
        sentence = "Nous n’avons pas pu lire vos factures. Rien n’a été payé par cette page : essayez plus tard."
        return page(pages.failure_page(UNAVAILABLE, sentence), 503)
    except PayFiPError as error:
        print(error, flush=True)
        sentence = "Le site de paiement ne répond pas. Votre facture n’a pas bougé : essayez plus tard."
        return page(pages.failure_page(UNAVAILABLE, sentence), 503)


async def style(_request: web.Request) -> web.FileResponse:
    """Serve the style sheet."""
    return web.FileResponse(STYLE)


def page(html: str, status: int = 200) -> web.Response:
    """Answer with a page that no browser keeps: what it says changes by the second."""
    headers = {"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'self'"}
    return web.Response(text=html, status=status, content_type="text/html", headers=headers)
