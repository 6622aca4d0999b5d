"""Asking gateways from an event loop: each service has its own threads, limits and circuit breaker.

One that is down or slow delays no other: what it holds up is its own threads. Source: design.md, "Deadlines and
gateways".
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from worker.gateways.capabilities import CAPABILITIES
from worker.gateways.interpret import ask
from worker.gateways.port import Answer, GatewayConfig, GatewayUnavailableError, Question, failed

AT_ONCE: Final = 16
"""Questions under way at one service: 1,000 answers of 200 ms come within 13 s, and no service calls that a flood."""
LIMIT_SECONDS: Final = 12.0
"""For one question, from outside; what an adapter bounds by itself ends earlier, and a lease of an ask later."""
OPENS_AFTER: Final = 5
"""Payments about which questions in a row brought no sensible answer, after which a service is left alone."""
REST_SECONDS: Final = 20.0
"""For so long; then one question tries whether it is back."""
ADDRESSES: Final = ("service_url", "base_url", "environment")
"""Options that tell one service of a kind from another."""
OUR_FAULT: Final = frozenset({"unauthorised"})
"""Failures that say nothing about the service: other régies' questions may be answered."""

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()


class Breaker:
    """Leaves a service alone that does not answer: open for a rest, then one trial decides.

    It opens when different questions failed. One that fails again says nothing new: it neither opens it nor is a
    trial, or what a service cannot say of a few payments would keep everybody else's from being asked about.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failing: set[Hashable] = set()
        self._rests_until = 0.0

    def lets_through(self, about: Hashable) -> bool:
        """Whether a question may be asked now; one that may after a rest is the trial, and new ones wait for it."""
        if len(self._failing) < OPENS_AFTER:
            return True
        if self._clock() < self._rests_until:
            return False
        if about not in self._failing:
            self._rest()
        return True

    def answered(self) -> None:
        """The service works."""
        self._failing.clear()

    def failed(self, about: Hashable) -> None:
        """It does not answer this question."""
        if about in self._failing:
            return
        self._failing.add(about)
        if len(self._failing) >= OPENS_AFTER:
            self._rest()

    def _rest(self) -> None:
        self._rests_until = self._clock() + REST_SECONDS


class Service:
    """One gateway's web service, for every régie that uses it."""

    def __init__(self, name: str, gateways: Mapping[str, GatewayConfig], breaker: Breaker | None = None) -> None:
        self.name = name
        self._gateways = gateways
        self._breaker = breaker or Breaker()
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix=f"asks {name}")

    @property
    def regies(self) -> list[str]:
        """Whose payments are asked about here."""
        return sorted(self._gateways)

    def kind_of(self, regie: str) -> str:
        """The eopayment kind of a régie's gateway."""
        return self._gateways[regie].kind

    async def ask(self, regie: str, question: Question) -> Answer:
        """What the service says now; `failed` where it says nothing sensible in time. Never raises."""
        gateway = self._gateways[regie]
        about = regie, question.gateway_reference
        if not self._breaker.lets_through(about):
            return failed(gateway, question.gateway_reference, GatewayUnavailableError("left_alone"))
        try:
            answer = await self._within_limit(gateway, question)
        except GatewayUnavailableError as error:
            if error.why not in OUR_FAULT:
                self._breaker.failed(about)
            return failed(gateway, question.gateway_reference, error)
        self._breaker.answered()
        return answer

    async def _within_limit(self, gateway: GatewayConfig, question: Question) -> Answer:
        asking = asyncio.get_running_loop().run_in_executor(self._threads, ask, gateway, question)
        try:
            return await asyncio.wait_for(asking, LIMIT_SECONDS)
        except TimeoutError:
            raise GatewayUnavailableError("timeout") from None
        except GatewayUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an answer provokes in a library is no reason to believe "not paid"
            what = type(error).__name__  # a traceback or a message may quote the answer
            log.error("gateway_answer_unreadable", regie=gateway.regie, gateway=gateway.kind, error=what)  # noqa: TRY400
            raise GatewayUnavailableError("malfunction", what) from None

    def close(self) -> None:
        """Ask nothing more; whoever is still asking ends with its own time limit."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def services_of(gateways: Mapping[str, GatewayConfig]) -> list[Service]:
    """The services that can be asked, each with its régies."""
    found: dict[str, dict[str, GatewayConfig]] = {}
    for regie, gateway in gateways.items():
        if CAPABILITIES[gateway.kind].pollable:
            found.setdefault(_name(gateway), {})[regie] = gateway
    return [Service(name, mine) for name, mine in sorted(found.items())]


def _name(gateway: GatewayConfig) -> str:
    address = next((str(gateway.options[name]) for name in ADDRESSES if gateway.options.get(name)), "")
    return f"{gateway.kind} {address}".strip()
