"""A gateway's service that speaks JSON over HTTPS: one document is fetched, of a shape that we name.

The library's own `call_endpoint` is not used: it sets no time limit, follows redirects, reads without bound, and
quotes whole answers in its exceptions.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import msgspec

from schemas.reports import Report
from worker.gateways.asked import interpret_claim
from worker.gateways.exchange import OK, Deadline, exchange, refuse
from worker.gateways.port import Claim, GatewayConfig, GatewayUnavailableError, RawCallback, unproven

IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What these gateways call a payment. Anything else would be another place in an address: `..`, `/`, `?`."""
MISSING: Final = (404, 410)
JSON: Final = {"Accept": "application/json"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(Generic[T]):
    """What a service said; `content` None: it says, in its own form, that there is no such thing."""

    content: T | None
    raw: bytes = field(repr=False)
    skew_seconds: float | None = None


def fetched(
    deadline: Deadline, url: str, headers: Mapping[str, str], shape: type[T], missing: type[msgspec.Struct]
) -> Document[T]:
    """The document at that address, read as `shape`; `missing` is the shape of the service's own "not found".

    Raises:
        GatewayUnavailableError: it said nothing sensible. A "not found" of another form may be of any machine between.
    """
    answer = exchange(deadline, "GET", url, {**JSON, **headers})
    if answer.status in MISSING and _has_shape(answer.body, missing):
        return Document(content=None, raw=answer.body, skew_seconds=answer.skew_seconds)
    if answer.status != OK:
        raise refuse(answer)
    return Document(content=read(answer.body, shape), raw=answer.body, skew_seconds=answer.skew_seconds)


def read(body: bytes, shape: type[T]) -> T:
    """A document of that shape.

    Raises:
        GatewayUnavailableError: `protocol`, it has another shape.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GatewayUnavailableError("protocol", type(error).__name__) from error


def _has_shape(body: bytes, shape: type[Any]) -> bool:
    try:
        read(body, shape)
    except GatewayUnavailableError:
        return False
    return True


def interpret_identifier(gateway: GatewayConfig, callback: RawCallback) -> Report | Claim:
    """Which payment a callback wants to be asked about, where payments have identifiers. Never raises."""
    return identified(gateway, interpret_claim(gateway, callback))


def identified(gateway: GatewayConfig, claim: Report | Claim) -> Report | Claim:
    """The claim, if its reference is one that these gateways give; what else it is was not sent by them."""
    if isinstance(claim, Claim) and not IDENTIFIER.fullmatch(claim.gateway_reference):
        return unproven(gateway, claim.gateway_reference, "reference_unreadable")
    return claim


def under(url: str, *path: str) -> str:
    """An address below another."""
    return "/".join((url.rstrip("/"), *path))
