"""What can be made to go wrong: how it is asked for, and what of it is in force."""

import asyncio
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

ALLOWED: Mapping[str, str | None] = {
    "silence": None,
    "late": "delay_seconds",
    "duplicate": None,
    "forged": None,
    "by_get": None,
    "spelled_idOp": None,
    "slow": "delay_seconds",
    "hang": None,
    "error": None,
    "unavailable": None,
    "malfunction": None,
    "protocol": None,
    "wrong_amount": "amount_cents",
    "test": None,
}
"""Every fault, and the number that it needs."""
LARGEST: Mapping[str, float] = {"delay_seconds": 3600, "seconds": 86400, "amount_cents": 10_000_000}
"""Nobody waits longer than an hour, no fault is forgotten for more than a day, PayFiP takes 100,000 € at most."""
HANG_SECONDS = 600
"""Longer than any client waits; then the connection is dropped, so that none is kept for ever."""


class FaultError(Exception):
    """A fault that cannot be had; the message says what is wrong with the request."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, until a time of the clock that `Faults` has."""

    name: str
    until: float = math.inf
    delay_seconds: float = 0
    amount_cents: int = 0


InForce = Mapping[str, Fault]
"""The faults that concern one request or one notification, by name."""


class Faults:
    """Which faults were asked for: of one payment, by any of its names, or of all that speak a protocol."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._payments: dict[str, tuple[Fault, ...]] = {}
        self._services: dict[str, tuple[Fault, ...]] = {}
        self._closing = asyncio.Event()

    def spoil_payment(self, name: str, wanted: bytes) -> None:
        """Replace the faults of a payment, known already or not. Raises FaultError."""
        self._payments[name] = read(wanted, self._clock())

    def spoil_service(self, protocol: str, wanted: bytes) -> None:
        """Replace the faults of all payments of a protocol. Raises FaultError."""
        self._services[protocol] = read(wanted, self._clock())

    def in_force(self, protocol: str, names: Iterable[str]) -> InForce:
        """The faults that concern a payment now; its own come before those of its protocol."""
        own = [fault for name in names for fault in self._payments.get(name, ())]
        found = [*self._services.get(protocol, ()), *own]
        return {fault.name: fault for fault in found if fault.until > self._clock()}

    async def endure(self, faults: InForce, request: web.Request) -> None:
        """Answer slowly, never, or not sensibly: what can happen to any HTTP request. Raises for the last two."""
        if "slow" in faults:
            await self._rest(faults["slow"].delay_seconds)
        if "hang" in faults:
            await self._rest(HANG_SECONDS)
            if request.transport is not None:
                request.transport.abort()
            raise web.HTTPServiceUnavailable
        if "error" in faults:
            raise web.HTTPInternalServerError(text="<h1>Internal Server Error</h1>", content_type="text/html")

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def close(self, _app: web.Application) -> None:
        """Let nothing hang any longer: the gateway stops."""
        self._closing.set()


def read(wanted: bytes, now: float) -> tuple[Fault, ...]:
    """Read one fault, or a list of them; an empty list takes all back. Raises FaultError."""
    try:
        found = json.loads(wanted)
    except (ValueError, RecursionError) as error:
        raise FaultError("the body is not JSON") from error
    return tuple(_fault(item, now) for item in (found if isinstance(found, list) else [found]))


def _fault(item: object, now: float) -> Fault:
    if not isinstance(item, dict):
        raise FaultError("a fault is an object")
    name = item.get("fault")
    if not isinstance(name, str) or name not in ALLOWED:
        raise FaultError('"fault" is none of the allowed ones')
    needed = ALLOWED[name]
    surplus = item.keys() - {"fault", "seconds", needed}
    if surplus:
        raise FaultError(f'"{name}" takes no {", ".join(sorted(surplus))}')
    if needed is not None and needed not in item:
        raise FaultError(f'"{name}" needs {needed}')
    numbers = {key: _number(key, value) for key, value in item.items() if key != "fault"}
    return Fault(
        name=name,
        until=now + numbers.get("seconds", math.inf),
        delay_seconds=numbers.get("delay_seconds", 0),
        amount_cents=int(numbers.get("amount_cents", 0)),
    )


def _number(key: str, value: Any) -> float:  # noqa: ANN401 (whatever JSON can hold)
    kinds = (int,) if key == "amount_cents" else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value <= LARGEST[key]:
        raise FaultError(f'"{key}" is a{" whole" if kinds == (int,) else ""} number from 0 to {LARGEST[key]}')
    return float(value)
