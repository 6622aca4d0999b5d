"""The gateway's HTTP side: payment pages, notifications with retries, faults on demand."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from examples.gateway import lyra, pages
from examples.gateway.payments import DummyPayment, LyraPayment, Notification, Payment, Shop

TRIES = 4
"""Lyra gives up after as many."""
NOTIFY_TIMEOUT_SECONDS = 10
FAULTS = ("silence", "late", "duplicate", "forged")


@dataclass(frozen=True)
class Fault:
    """What is to go wrong with the notification of one payment."""

    name: str
    delay_seconds: float = 0


class Gateway:
    """Everything the gateway knows; it forgets it when it stops."""

    def __init__(self, shops: list[Shop], retry_seconds: float) -> None:
        self.shops = {shop.site_id: shop for shop in shops}
        self.retry_seconds = retry_seconds
        self.payments: dict[str, Payment] = {}
        self.faults: dict[str, Fault] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        """Build the application, with its routes."""
        app = web.Application()
        app.cleanup_ctx.append(self._open_client)
        app.router.add_post("/vads-payment/", self.begin_lyra)
        app.router.add_get("/dummy/", self.begin_dummy)
        app.router.add_get("/paiement/{session}", self.show)
        app.router.add_post("/paiement/{session}", self.choose)
        app.router.add_put("/control/faults/{reference}", self.set_fault)
        app.router.add_get("/control/payments", self.list_payments)
        return app

    async def _open_client(self, _app: web.Application) -> AsyncIterator[None]:
        timeout = aiohttp.ClientTimeout(total=NOTIFY_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as self.client:
            yield
            for task in self._sending:
                task.cancel()

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
        return self._begin(payment)

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
        return self._begin(payment)

    def _begin(self, payment: Payment) -> web.Response:
        known = next((p for p in self.payments.values() if p.reference == payment.reference), payment)
        self.payments.setdefault(known.session, known)
        raise web.HTTPSeeOther(f"/paiement/{known.session}")

    async def show(self, request: web.Request) -> web.Response:
        """Show the payment page, or that it is over."""
        payment = self._payment(request)
        if payment.choice is not None:
            return page(pages.finished_page(payment))
        if payment.is_over():
            return refused("Session expirée", "Ce paiement a été ouvert trop longtemps. Rien n'a été débité.")
        return page(pages.payment_page(payment))

    async def choose(self, request: web.Request) -> web.Response:
        """Take the payer's choice, once; tell the shop, send the browser back."""
        payment = self._payment(request)
        choice = (await request.post()).get("choix")
        if payment.choice is not None or payment.is_over() or choice not in lyra.OUTCOMES:
            raise web.HTTPSeeOther(request.path)
        notification = payment.choose(str(choice))
        self._notify(payment, notification)
        raise web.HTTPSeeOther(payment.back)

    def _payment(self, request: web.Request) -> Payment:
        payment = self.payments.get(request.match_info["session"])
        if payment is None:
            raise web.HTTPNotFound(
                text=pages.refused_page("Paiement inconnu", "Cette page de paiement n'existe pas."),
                content_type="text/html",
            )
        return payment

    def _notify(self, payment: Payment, notification: Notification | None) -> None:
        fault = self.faults.get(payment.reference, Fault(""))
        if fault.name == "forged":
            self._send(payment, payment.forge(), 0)
        elif notification is not None and fault.name != "silence":
            for _ in range(2 if fault.name == "duplicate" else 1):
                self._send(payment, notification, fault.delay_seconds)

    def _send(self, payment: Payment, notification: Notification, delay_seconds: float) -> None:
        task = asyncio.create_task(self._try_until_heard(payment, notification, delay_seconds))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _try_until_heard(self, payment: Payment, notification: Notification, delay: float) -> None:
        await asyncio.sleep(delay)
        for _ in range(TRIES):
            heard = await self._try(notification)
            payment.tries.append(heard)
            if heard == "200":
                return
            await asyncio.sleep(self.retry_seconds)

    async def _try(self, notification: Notification) -> str:
        fields = dict(notification.fields)
        posted, asked = (fields, None) if notification.method == "POST" else (None, fields)
        try:
            async with self.client.request(notification.method, notification.url, data=posted, params=asked) as answer:
                return str(answer.status)
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__

    async def set_fault(self, request: web.Request) -> web.Response:
        """Choose what will go wrong with a payment's notification."""
        wanted = await request.json()
        if wanted.get("fault") not in FAULTS:
            return web.json_response({"allowed": FAULTS}, status=422)
        fault = Fault(wanted["fault"], float(wanted.get("delay_seconds", 0)))
        self.faults[request.match_info["reference"]] = fault
        return web.Response(status=204)

    async def list_payments(self, _request: web.Request) -> web.Response:
        """List the payments and every try of their notifications."""
        return web.json_response(
            [
                {
                    "reference": payment.reference,
                    "amount_cents": payment.cents,
                    "choice": payment.choice,
                    "page": f"/paiement/{payment.session}",
                    "tries": payment.tries,
                }
                for payment in self.payments.values()
            ]
        )


def page(html: str) -> web.Response:
    """Answer with a page that no browser keeps."""
    return web.Response(text=html, content_type="text/html", headers={"Cache-Control": "no-store"})


def refused(title: str, reason: str) -> web.Response:
    """Answer that there is nothing to pay."""
    return web.Response(text=pages.refused_page(title, reason), content_type="text/html", status=400)
