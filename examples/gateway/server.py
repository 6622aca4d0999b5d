"""The gateway's HTTP side: the ways in of its three protocols, and the payment pages."""

from collections.abc import Iterable
from itertools import chain

from aiohttp import web

from examples.gateway import lyra, pages, soap
from examples.gateway.control import Control
from examples.gateway.faults import Faults
from examples.gateway.notify import Notifier
from examples.gateway.operation import Operation
from examples.gateway.payfip import DeclaredError, PayFiP
from examples.gateway.payments import DummyPayment, LyraPayment, Payment, Shop

MAX_BODY_BYTES = 64 * 1024
"""The largest form or SOAP message of any portal has a few hundred bytes."""


class Gateway:
    """Everything the gateway knows; it forgets it when it stops."""

    def __init__(self, shops: Iterable[Shop], payfip: PayFiP, retry_seconds: float) -> None:
        self.shops = {shop.site_id: shop for shop in shops}
        self.payfip = payfip
        self.payments: dict[str, Payment] = {}
        self.faults = Faults()
        self.notifier = Notifier(retry_seconds)

    def application(self) -> web.Application:
        """Build the application, with its routes."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.cleanup_ctx.append(self.notifier.open_client)
        app.on_shutdown.append(self.faults.close)
        app.router.add_post("/vads-payment/", self.begin_lyra)
        app.router.add_get("/dummy/", self.begin_dummy)
        app.router.add_post("/tpa/services/securite", self.serve_payfip)
        app.router.add_get("/tpa/paiementws.web", self.open_payfip, allow_head=False)
        app.router.add_get("/paiement/{session}", self.show)
        app.router.add_post("/paiement/{session}", self.choose)
        app.add_routes(Control(self.faults, self.payfip, self.all_payments).routes())
        return app

    def all_payments(self) -> Iterable[Payment]:
        """Those with a page, and PayFiP's that nobody has opened."""
        unopened = (operation for operation in self.payfip.operations.values() if not operation.opened)
        return chain(self.payments.values(), unopened)

    async def begin_lyra(self, request: web.Request) -> web.Response:
        """Take a signed form; the same one twice is the same payment."""
        form = await request.post()
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        shop = self.shops.get(fields.get("vads_site_id", ""))
        if shop is None:
            return refused("Boutique inconnue", "Le champ vads_site_id n'est celui d'aucune boutique.")
        if not lyra.is_signed(fields, shop.key):
            return refused("Signature invalide", "Ce formulaire n'a pas été signé avec la clé de la boutique.")
        try:
            payment = LyraPayment(
                reference=lyra.reference_of(fields),
                label=shop.label,
                cents=int(fields["vads_amount"]),
                return_url=fields["vads_url_return"],
                request=fields,
                shop=shop,
            )
        except (KeyError, ValueError):
            return refused("Formulaire incomplet", "Un champ obligatoire manque ou n'est pas lisible.")
        return await self._begin(payment, request)

    async def begin_dummy(self, request: web.Request) -> web.Response:
        """Take a dummy link."""
        query = request.query
        try:
            payment = DummyPayment(
                reference=query["transaction_id"],
                label=query.get("origin", "Régie"),
                cents=round(float(query["amount"]) * 100),
                return_url=query["return_url"],
                notify_url=query["direct_notification_url"],
            )
        except (KeyError, ValueError, OverflowError):
            return refused("Lien incomplet", "Un paramètre obligatoire manque ou n'est pas lisible.")
        return await self._begin(payment, request)

    async def _begin(self, payment: Payment, request: web.Request) -> web.Response:
        await self._endure(payment, request)
        known = next((known for known in self.payments.values() if is_same(known, payment)), payment)
        self.payments.setdefault(known.session, known)
        raise web.HTTPSeeOther(f"/paiement/{known.session}")

    async def serve_payfip(self, request: web.Request) -> web.Response:
        """Answer one call of PayFiP's web service."""
        try:
            call = soap.read(await request.read())
            faults = self.faults.in_force("payfip", self.payfip.hear(call))
            await self.faults.endure(faults, request)
            return xml(soap.answer(call.operation, self.payfip.answer(call, faults)))
        except soap.SoapError as error:
            return xml(soap.fault(error.code, str(error)), 500)
        except DeclaredError as error:
            return xml(soap.fault("Server", str(error), soap.declared(error.kind, error.fields)), 500)

    async def open_payfip(self, request: web.Request) -> web.Response:
        """Open the payment page of an idOp: the first time, and not too late."""
        idop = request.query.get("idop", "")
        try:
            operation = self.payfip.open(idop)
        except DeclaredError as error:
            return not_opened(error, self.payfip.operations.get(idop))
        self.payments[operation.session] = operation
        raise web.HTTPSeeOther(f"/paiement/{operation.session}")

    async def show(self, request: web.Request) -> web.Response:
        """Show the payment page, or that it is over."""
        payment = await self._payment(request)
        if payment.choice is not None:
            return page(pages.finished_page(payment))
        if payment.is_over():
            return refused("Session expirée", "Ce paiement a été ouvert trop longtemps. Rien n'a été débité.")
        return page(pages.payment_page(payment))

    async def choose(self, request: web.Request) -> web.Response:
        """Take the payer's choice, once; tell the shop, send the browser back."""
        payment = await self._payment(request)
        choice = (await request.post()).get("choix")
        if payment.choice is not None or payment.is_over() or choice not in payment.choices:
            raise web.HTTPSeeOther(request.path)
        faults = self.faults.in_force(payment.protocol, payment.names)
        self.notifier.notify(payment, payment.choose(str(choice), faults), faults)
        raise web.HTTPSeeOther(payment.back)

    async def _payment(self, request: web.Request) -> Payment:
        payment = self.payments.get(request.match_info["session"])
        if payment is None:
            raise web.HTTPNotFound(
                text=pages.refused_page("Paiement inconnu", "Cette page de paiement n'existe pas."),
                content_type="text/html",
            )
        await self._endure(payment, request)
        return payment

    async def _endure(self, payment: Payment, request: web.Request) -> None:
        """Let a page fail as asked. PayFiP's never does: what can fail there is the service that portals ask."""
        if payment.protocol == "payfip":
            return
        faults = self.faults.in_force(payment.protocol, payment.names)
        await self.faults.endure(faults, request)
        if "unavailable" in faults:
            raise web.HTTPServiceUnavailable(
                text=pages.refused_page("Service indisponible", "Le paiement est momentanément impossible."),
                content_type="text/html",
            )


def is_same(known: Payment, begun: Payment) -> bool:
    """Tell whether a form or link was opened before: the references of two protocols have nothing in common."""
    return (known.protocol, known.reference) == (begun.protocol, begun.reference)


def not_opened(error: DeclaredError, operation: Operation | None) -> web.Response:
    """Say why a page does not open, and lead back whoever comes from a portal."""
    back = operation.return_url if operation is not None else None
    return page(pages.not_opened_page(error.code, back), status=400)


def page(html: str, status: int = 200) -> web.Response:
    """Answer with a page that no browser keeps."""
    return web.Response(text=html, status=status, content_type="text/html", headers={"Cache-Control": "no-store"})


def refused(title: str, reason: str) -> web.Response:
    """Answer that there is nothing to pay."""
    return page(pages.refused_page(title, reason), status=400)


def xml(body: bytes, status: int = 200) -> web.Response:
    """Answer with a SOAP message; SOAP 1.1 wants 500 for a fault."""
    return web.Response(body=body, status=status, content_type="text/xml", charset="utf-8")
