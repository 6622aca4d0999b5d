"""`GET|POST /v1/callbacks/{regie}`: whatever a gateway, or a stranger, sends; stored byte for byte before the answer.

No token: gateways have none. What it proves is found out later, from what was stored; here only whether it spends
the quotas. Source: the contract's section of that name.
"""

import base64
import re
import time
from collections.abc import Mapping
from secrets import token_hex
from typing import Final

from aiohttp import web

from monitoring.tracing import TRACING
from schemas.events import MAX_CALLBACK_BYTES, EventType, GatewayCallback, NewEvent, RegieCode, digest_of
from schemas.reports import Report
from worker.app import gateways_of
from worker.gateways.interpret import interpret, peek, reply
from worker.settings import Settings
from worker.web.bodies import body_of
from worker.web.contracts.describing import Answer, Body, Operation, Parameter
from worker.web.ingest import Ingest
from worker.web.problems import (
    INVALID_EVENT,
    REGIE_NOT_FOUND,
    SERVER,
    TOO_LARGE,
    TOO_MANY_CALLBACKS,
    TOO_SLOW,
    UNAVAILABLE,
    Refused,
    answer,
)
from worker.web.quotas import CallbackQuotas, address_of
from worker.web.regies import Regies

KEPT_HEADERS: Final = re.compile(r"content-(type|encoding)|.*signature.*|x-gcs-.*")
"""What interpreting needs: the rest says more about whoever sent it than about money."""
MAX_KEPT_HEADERS: Final = 20
"""No gateway signs with more."""
_CODE: Final = re.compile(r"[a-z0-9-]{1,40}")
_NO_URL: Final = re.compile(rb"[^\x21-\x7e]")


OPERATIONS: Final = tuple(
    Operation(
        method=method,
        path="/v1/callbacks/{regie}",
        name=name,
        tag="Callbacks",
        summary=f"A gateway calls back by {method}",
        about=(
            "Where a régie's gateway sends its notifications; this path alone is for a public proxy. No token: what a "
            "callback says is believed when it proves it, or when its gateway says so too. It is kept byte for byte "
            "before it is answered."
        ),
        parameters=(Parameter(name="regie", shape=RegieCode, where="path", about="The régie's code."),),
        body=Body(shapes={"*/*": None}, about=f"At most {MAX_CALLBACK_BYTES} bytes.", required=False),
        answers=(Answer(about="Kept. The body is what this gateway wants to read", media_type="text/plain"),),
        problems=(REGIE_NOT_FOUND, TOO_SLOW, TOO_LARGE, INVALID_EVENT, TOO_MANY_CALLBACKS, UNAVAILABLE),
    )
    for method, name in (("GET", "callBackByGet"), ("POST", "callBackByPost"))
)


class CallbacksIn:
    """Takes callbacks from gateways."""

    def __init__(
        self,
        settings: Settings,
        regies: Regies,
        ingest: Ingest,
        quotas: CallbackQuotas,
    ) -> None:
        self._gateways = gateways_of(settings)
        self._proxies = settings.trusted_proxies
        self._regies = regies
        self._ingest = ingest
        self._quotas = quotas

    async def take(self, request: web.Request) -> web.Response:
        """Store one callback and give its gateway the answer that it wants to read."""
        code = request.match_info["regie"]
        kind = await self._regies.gateway(code) if _CODE.fullmatch(code) else None
        if kind is None:
            return answer(REGIE_NOT_FOUND.problem("No régie of this name was ever configured"))
        body = await body_of(request, MAX_CALLBACK_BYTES)
        target = request.raw_path.encode("utf-8", "surrogateescape")
        query = _readable(target.partition(b"?")[2])
        if len(query) > MAX_CALLBACK_BYTES:
            return answer(TOO_LARGE.problem(f"At most {MAX_CALLBACK_BYTES} bytes"))
        callback = GatewayCallback(
            regie=code,
            method=request.method,
            query=query,
            body=base64.b64encode(body).decode(),
            headers=_kept(request.headers) or None,
        )
        event = _event(callback, kind, target, body)
        self._spend(event, body, self._address(request))
        with TRACING.span(f"take {event.type}", "server", None, regie=code, event_id=event.id) as event.trace:
            (receipt,) = await self._ingest.record([event])
        if receipt is None:
            return answer(INVALID_EVENT.problem("The database refuses this callback; the log of the server says why"))
        wanted = reply(kind, query, body)
        headers = {"Content-Type": wanted.content_type, "Server": SERVER}
        return web.Response(status=wanted.status, body=wanted.body, headers=headers)

    def _address(self, request: web.Request) -> str:
        return address_of(request.remote or "", request.headers.getall("X-Forwarded-For", ()), self._proxies)

    def _spend(self, event: NewEvent, body: bytes, address: str) -> None:
        """Count a callback that proves nothing.

        Raises:
            Refused: 429, its quotas are spent.
        """
        if self._proves(event.data, body) and self._quotas.is_news(event.digest):
            return
        if not self._quotas.spend(event.regie, address, len(event.raw or b"")):
            raise Refused(TOO_MANY_CALLBACKS.problem("Callbacks with a valid signature are still taken"))

    def _proves(self, callback: GatewayCallback, body: bytes) -> bool:
        gateway = self._gateways.get(callback.regie)
        if gateway is None:  # it left the configuration, and its keys with it
            return False
        read = interpret(gateway, callback.method, callback.query, body, callback.headers or {})
        return isinstance(read, Report) and read.verified


def _event(callback: GatewayCallback, kind: str, target: bytes, body: bytes) -> NewEvent:
    """Each arrival is a fact of its own: a gateway's callbacks may be identical and mean different things."""
    return NewEvent(
        client="",
        source=f"/callbacks/{callback.regie}",
        id=f"{time.time_ns():016x}{token_hex(8)}",  # in the order of arrival, which its index likes
        type=EventType.GATEWAY_CALLBACK,
        regie=callback.regie,
        data=callback,
        digest=digest_of(EventType.GATEWAY_CALLBACK, callback),
        raw=target + b"\r\n\r\n" + body,
        subject=peek(kind, callback.query, body),
    )


def _readable(query: bytes) -> str:
    """The query as text, percent-encoding what may not stand in an address; `raw` keeps the bytes themselves."""
    return _NO_URL.sub(lambda wrong: b"%%%02X" % wrong[0][0], query).decode()


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name.lower(): value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for name, value in headers.items()
        if KEPT_HEADERS.fullmatch(name.lower())
    }
    return dict(list(kept.items())[:MAX_KEPT_HEADERS])
