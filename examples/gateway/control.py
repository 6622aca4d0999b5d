"""The control API: what tests and curious people use to make things go wrong, and to see what happened."""

from collections.abc import Callable, Iterable

from aiohttp import web

from examples.gateway.faults import ALLOWED, FaultError, Faults
from examples.gateway.payfip import PayFiP
from examples.gateway.payments import Payment

PROTOCOLS = ("lyra", "dummy", "payfip")


class Control:
    """`/control/…`, on the gateway's own port: this gateway is for tests."""

    def __init__(self, faults: Faults, payfip: PayFiP, payments: Callable[[], Iterable[Payment]]) -> None:
        self._faults = faults
        self._payfip = payfip
        self._payments = payments

    def routes(self) -> list[web.RouteDef]:
        """Say what answers where."""
        return [
            web.put("/control/faults/{reference}", self.spoil_payment),
            web.put("/control/service/{protocol}", self.spoil_service),
            web.post("/control/payments/{reference}/reject", self.reject),
            web.get("/control/payments", self.list_payments),
        ]

    async def spoil_payment(self, request: web.Request) -> web.Response:
        """Choose what goes wrong with one payment."""
        try:
            self._faults.spoil_payment(request.match_info["reference"], await request.read())
        except FaultError as error:
            return _wrong(str(error), ALLOWED)
        return web.Response(status=204)

    async def spoil_service(self, request: web.Request) -> web.Response:
        """Choose what goes wrong with every payment of a protocol."""
        protocol = request.match_info["protocol"]
        if protocol not in PROTOCOLS:
            return _wrong(f"no such protocol: {protocol}", PROTOCOLS)
        try:
            self._faults.spoil_service(protocol, await request.read())
        except FaultError as error:
            return _wrong(str(error), ALLOWED)
        return web.Response(status=204)

    async def reject(self, request: web.Request) -> web.Response:
        """Have the bank reject an accepted direct debit; as in life, it tells nobody: PayFiP must be asked."""
        operation = self._payfip.named(request.match_info["reference"])
        if operation is None:
            return web.json_response({"error": "no such PayFiP payment"}, status=404)
        try:
            operation.reject()
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=409)
        return web.Response(status=204)

    async def list_payments(self, _request: web.Request) -> web.Response:
        """List the payments, every try of their notifications, and when PayFiP was asked about them."""
        return web.json_response([payment.listed() for payment in self._payments()])


def _wrong(error: str, allowed: object) -> web.Response:
    return web.json_response({"error": error, "allowed": allowed}, status=422)
