"""A payment's way through the portal: begun, on its way to the gateway, come back."""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from examples.portal import payment_pages
from examples.portal.billing import Billing
from examples.portal.billing_pages import Choice
from examples.portal.families import Family
from examples.portal.frame import failure_page
from examples.portal.gateways import Gateway, Order
from examples.portal.lettrage import Lettrage, LettrageError
from examples.portal.memory import Memory
from examples.portal.payfip import PayFiPError
from examples.portal.payment_pages import Attempt
from examples.portal.visits import Visit, for_family, go_to, show

REFERENCE = re.compile(r"[0-9a-f]{16}")
REFERENCE_CHARS = 16
SEED = re.compile(r"[0-9a-f]{16}")
MAX_INVOICES = 100
"""What Lettrage takes in one payment."""
NOTHING_TICKED = "Cochez au moins une facture."
TOO_MANY_TICKED = f"Cochez {MAX_INVOICES} factures au plus ; les autres feront un second paiement."
UNSURE = "Nous ne savons pas si votre paiement est prêt. Vous n’avez rien payé : essayez encore, ce sera le même."
NOT_CREATED = "Le site de paiement ne répond pas. Vos factures n’ont pas bougé : essayez encore, ou plus tard."
UNAVAILABLE = 503


@dataclass(frozen=True)
class Found:
    """A family's own payment. `payment` None: it was begun, and Lettrage has not decided about it yet."""

    payment: dict[str, Any] | None
    invoices: list[dict[str, Any]]
    address: str


class Paying:
    """Starts payments, sends families to their gateways, and tells the truth when they come back."""

    def __init__(
        self, lettrage: Lettrage, gateways: Mapping[str, Gateway], memory: Memory, billing: Billing, public_url: str
    ) -> None:
        self._lettrage = lettrage
        self._gateways = gateways
        self._memory = memory
        self._billing = billing
        self._public_url = public_url

    def routes(self) -> list[web.RouteDef]:
        """A payment's addresses; its reference is known to the family alone, and is no key to anything."""
        payment = "/paiements/{regie}/{reference}"
        return [
            web.post("/paiements", for_family(self.begin)),
            web.get(payment, for_family(self.tell)),
            web.get(payment + "/etat", for_family(self.state)),
            web.get(payment + "/preparation", for_family(self.prepare)),
            web.get(payment + "/depart", for_family(self.depart)),
            web.get(payment + "/retour", for_family(self.come_back)),
        ]

    async def begin(self, request: web.Request, visit: Visit, family: Family) -> web.Response:
        """Start a payment of what is ticked, and go on only when Lettrage says `started`."""
        form = await request.post()
        regie, seed = str(form.get("regie")), str(form.get("cle"))
        numbers = tuple(sorted({str(number) for number in form.getall("facture", [])}))
        if regie not in self._gateways or not SEED.fullmatch(seed):
            raise web.HTTPNotFound
        if not 1 <= len(numbers) <= MAX_INVOICES:
            error = TOO_MANY_TICKED if numbers else NOTHING_TICKED
            return await self._billing.ask_again(visit, family, regie, Choice(numbers, error, seed))
        attempt = Attempt(regie, seed, numbers)
        try:
            return await self._start(attempt, family)
        except LettrageError as error:
            print(error, flush=True)
            return _unavailable(visit, attempt, UNSURE)
        except PayFiPError as error:
            print(error, flush=True)
            return _unavailable(visit, attempt, NOT_CREATED)

    async def _start(self, attempt: Attempt, family: Family) -> web.Response:
        """Start it. The amounts are Lettrage's, never the browser's.

        What the gateway calls the payment must be known first; a page of PayFiP that was created for a payment which
        may not start is never opened.
        """
        regie, reference = attempt.regie, reference_of(attempt, family)
        invoices = await self._own_invoices(regie, attempt.numbers, family)
        self._memory.keep_payment(regie, reference, family.account)
        address = _address(regie, reference)
        cents = sum(invoice["amount_cents"] for invoice in invoices)
        return_url = f"{self._public_url}{address}/retour"
        order = Order(reference, attempt.numbers, cents, family.email, return_url)
        gateway_reference = await self._gateways[regie].gateway_reference(order)
        payment = await self._lettrage.start_payment(regie, reference, gateway_reference, invoices)
        is_started = payment is not None and payment["state"] == "started"
        return go_to(f"{address}/preparation" if is_started else address)

    async def prepare(self, request: web.Request, visit: Visit, family: Family) -> web.Response:
        """Show the way to the gateway, while the payment may still be made."""
        found = await self._find(request, family)
        if found.payment is None or found.payment["state"] != "started":
            return go_to(found.address)
        return show(payment_pages.preparation_page(visit, found.payment, found.address, datetime.now(UTC)))

    async def depart(self, request: web.Request, visit: Visit, family: Family) -> web.Response:
        """Go to the gateway. Whoever comes from an old tab, after the hold's end, is told so and pays nothing."""
        found = await self._find(request, family)
        if found.payment is None or found.payment["state"] != "started":
            return go_to(found.address)
        return_url = f"{self._public_url}{found.address}/retour"
        departure = self._gateways[found.payment["regie"]].departure(found.payment, return_url)
        if departure.link is not None:
            return go_to(departure.link)
        return show(payment_pages.departure_page(visit, found.payment, departure))

    async def come_back(self, request: web.Request, _visit: Visit, family: Family) -> web.Response:
        """Pass on what the browser brought back, then show what is known; a reload passes on nothing.

        Nothing in the address is believed here. If Lettrage cannot take it now, the gateway tells it by itself.
        """
        found = await self._find(request, family)
        query = request.raw_path.partition("?")[2]
        if query:
            try:
                await self._lettrage.forward_callback(request.match_info["regie"], query)
            except LettrageError as error:
                print(error, flush=True)
        return go_to(found.address)

    async def tell(self, request: web.Request, visit: Visit, family: Family) -> web.Response:
        """Tell what is known of a payment."""
        found = await self._find(request, family)
        if found.payment is None:
            return show(payment_pages.undecided_page(visit, found.address))
        return show(payment_pages.payment_page(visit, found.payment, found.address, datetime.now(UTC), found.invoices))

    async def state(self, request: web.Request, _visit: Visit, family: Family) -> web.Response:
        """Tell a page that waits whether there is news."""
        found = await self._find(request, family)
        return web.json_response({"state": found.payment["state"] if found.payment else "undecided"})

    async def _find(self, request: web.Request, family: Family) -> Found:
        """Find a family's own payment: it began it here, and all of its invoices are its own. Else there is none."""
        regie, reference = request.match_info["regie"], request.match_info["reference"]
        if regie not in self._gateways or not REFERENCE.fullmatch(reference):
            raise web.HTTPNotFound
        payment = await self._lettrage.payment(regie, reference)
        if payment is None and self._memory.payer(regie, reference) != family.account:
            raise web.HTTPNotFound
        numbers = tuple(line["number"] for line in payment["invoices"]) if payment else ()
        return Found(payment, await self._own_invoices(regie, numbers, family), _address(regie, reference))

    async def _own_invoices(self, regie: str, numbers: tuple[str, ...], family: Family) -> list[dict[str, Any]]:
        read = await asyncio.gather(*(self._lettrage.invoice(regie, number) for number in numbers))
        own = [invoice for invoice in read if invoice is not None and invoice["account"] == family.account]
        if len(own) != len(numbers):
            raise web.HTTPNotFound
        return own


def reference_of(attempt: Attempt, family: Family) -> str:
    """The payment's reference: of this page, this family, these invoices.

    Pressed twice it is the same payment; ticked otherwise, with the browser's arrow, it is another one.
    """
    told = "\0".join((attempt.seed, family.account, attempt.regie, *attempt.numbers))
    return hashlib.sha256(told.encode()).hexdigest()[:REFERENCE_CHARS]


def _address(regie: str, reference: str) -> str:
    return f"/paiements/{regie}/{reference}"


def _unavailable(visit: Visit, attempt: Attempt, sentence: str) -> web.Response:
    again = payment_pages.try_again(visit, attempt)
    return show(failure_page("Service momentanément indisponible", sentence, visit, again), UNAVAILABLE)
