"""Checks of the régies' gateways: whether those that are asked answer, and to whom. Nothing is paid or created."""

import asyncio
from collections.abc import Iterator
from typing import Final

from worker.doctor.check import Check, failed, ok, warning
from worker.settings import Settings

LIMIT_SECONDS: Final = 12.0
"""For one gateway, from outside; a check bounds its own waits below that."""
SKEW_SECONDS: Final = 60.0
"""Between a gateway's clock and this machine's: TLS and signed requests begin to fail beyond minutes."""
MENDS: Final = {
    "unreachable": "see whether this machine may reach the gateway: name, network, proxy (HTTPS_PROXY), certificates",
    "timeout": "try again; when it lasts, see whether a firewall drops what is sent there",
    "malfunction": "try again later: the gateway is out of order, and is asked again by itself",
    "protocol": "see whether the address in [regie.options] is the gateway's",
    "unauthorised": "see whether the credentials and the merchant number in [regie.options] are this régie's",
}
"""What to do about each way in which a gateway does not answer."""


async def gateways(settings: Settings) -> list[Check]:
    """What each régie's gateway says, all of them asked at once."""
    found = await asyncio.gather(*(_gateway(settings, code) for code in settings.regies))
    return [check for checks in found for check in checks]


async def _gateway(settings: Settings, code: str) -> list[Check]:
    """Imports what asks gateways only now: who has no régie does not pay for it."""
    from worker.app import gateways_of  # noqa: PLC0415 (see the docstring)
    from worker.gateways.capabilities import CAPABILITIES  # noqa: PLC0415
    from worker.gateways.interpret import check  # noqa: PLC0415
    from worker.gateways.port import GatewayUnavailableError  # noqa: PLC0415

    gateway = gateways_of(settings)[code]
    capability = CAPABILITIES.get(gateway.kind)
    if capability is None:  # told among the faults of the configuration
        return []
    if not capability.pollable:
        said = (
            "its callbacks are believed when they are proven" if capability.callback_is_proof else "it proves nothing"
        )
        return [ok("gateways", f"{code}: {gateway.kind} cannot be asked; {said}")]
    try:
        answer = await asyncio.wait_for(asyncio.to_thread(check, gateway), LIMIT_SECONDS)
    except TimeoutError:
        return [_silent(code, gateway.kind, "timeout", "")]
    except GatewayUnavailableError as error:
        return [_silent(code, gateway.kind, error.why, error.said)]
    return [ok("gateways", f"{code}: {gateway.kind} answers: {answer.found}"), *_clock(code, answer.skew_seconds)]


def _silent(code: str, kind: str, why: str, said: str) -> Check:
    what = f"{code}: {kind} does not answer as it should: {why}" + (f" ({said})" if said else "")
    return failed("gateways", what, MENDS[why])


def _clock(code: str, skew_seconds: float | None) -> Iterator[Check]:
    if skew_seconds is not None and abs(skew_seconds) > SKEW_SECONDS:
        what = f"{code}: its gateway's clock and this machine's differ by {abs(skew_seconds):.0f} s"
        yield warning("gateway_clocks", what, "let NTP set this machine's clock")
