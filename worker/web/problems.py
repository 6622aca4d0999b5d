"""What the API answers when it cannot do what was asked: RFC 9457 problems, each with a stable `type`.

Source: the contract's "HTTP"; `docs/errors.md` lists every kind, and a test keeps the two equal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import msgspec
from aiohttp import web
from msgspec import Struct

PREFIX = "urn:lettrage:problem:"
"""A type is a name, not an address: it stays the same wherever Lettrage is installed."""
MAX_FAULTS = 100
"""More faults than a person reads; a broken list of a million lines must not be answered with a million."""


class Fault(Struct, kw_only=True, frozen=True):
    """One thing wrong with what was sent: where (RFC 6901, from the event's root), which kind, in words."""

    pointer: str
    code: str
    detail: str


class Problem(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """An RFC 9457 problem. `errors` has every fault found, up to `MAX_FAULTS`."""

    type: str
    title: str
    status: int
    detail: str = ""
    errors: Sequence[Fault] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem: the end of its `type`, its HTTP status and its title."""

    slug: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """The URI that names this kind for ever."""
        return PREFIX + self.slug

    def problem(self, detail: str = "", errors: Sequence[Fault] = ()) -> Problem:
        """This kind, about one request."""
        return Problem(type=self.type, title=self.title, status=self.status, detail=detail, errors=errors[:MAX_FAULTS])


BAD_REQUEST = Kind("bad-request", 400, "This is not HTTP that can be understood")
NOT_JSON = Kind("not-json", 400, "The body is not JSON")
NOT_A_CLOUDEVENT = Kind("not-a-cloudevent", 400, "This is not a CloudEvent 1.0")
INVALID_PARAMETER = Kind("invalid-parameter", 422, "A parameter of the address is not valid")
UNAUTHORIZED = Kind("unauthorized", 401, "A known bearer token is needed")
SCOPE_MISSING = Kind("scope-missing", 403, "The token does not have this scope")
REGIE_FORBIDDEN = Kind("regie-forbidden", 403, "The token is not for this régie")
NOT_FOUND = Kind("not-found", 404, "There is nothing at this address")
REGIE_NOT_FOUND = Kind("regie-not-found", 404, "No such régie")
INVOICE_NOT_FOUND = Kind("invoice-not-found", 404, "No such invoice in this régie")
PAYMENT_NOT_FOUND = Kind("payment-not-found", 404, "No such payment in this régie")
NOTIFICATION_NOT_FOUND = Kind("notification-not-found", 404, "No such notification")
DISCREPANCY_NOT_FOUND = Kind("discrepancy-not-found", 404, "No such discrepancy")
REPLAY_NOT_FOUND = Kind("replay-not-found", 404, "No such replay")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "This address does not take this method")
TOO_SLOW = Kind("too-slow", 408, "The body did not arrive in time")
EVENT_CONFLICT = Kind("event-conflict", 409, "This source and id were used for another event")
DISCREPANCY_NOT_OPEN = Kind("discrepancy-not-open", 409, "This discrepancy is not open")
RESOLUTION_NOT_APPLICABLE = Kind("resolution-not-applicable", 409, "This discrepancy cannot be resolved in this way")
DISCREPANCY_AMOUNT_CHANGED = Kind("discrepancy-amount-changed", 409, "This discrepancy has another amount now")
TOO_LARGE = Kind("too-large", 413, "The body is too large")
TOO_MANY_EVENTS = Kind("too-many-events", 413, "Too many events in one batch")
UNSUPPORTED_MEDIA_TYPE = Kind("unsupported-media-type", 415, "This media type is not understood here")
EXPECTATION_FAILED = Kind("expectation-failed", 417, "Only 100-continue can be expected")
INVALID_REQUEST = Kind("invalid-request", 422, "The body is not what is asked for here")
INVALID_EVENT = Kind("invalid-event", 422, "The event is not valid")
TOO_MANY_CALLBACKS = Kind("too-many-callbacks", 429, "Too many callbacks that prove nothing")
INTERNAL = Kind("internal", 500, "This should not have happened")
UNAVAILABLE = Kind("unavailable", 503, "The database cannot be reached, or too much waits for it")

KINDS: tuple[Kind, ...] = tuple(kind for kind in list(globals().values()) if isinstance(kind, Kind))
"""Every kind, in the order of `docs/errors.md`."""

_BY_STATUS = {
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    408: TOO_SLOW,
    413: TOO_LARGE,
    415: UNSUPPORTED_MEDIA_TYPE,
    417: EXPECTATION_FAILED,
}
"""What aiohttp itself refuses with, in our words."""

MEDIA_TYPE = "application/problem+json"
SERVER = "lettrage"
"""The server's name without its version: nobody needs to know which holes to try."""
RETRY_AFTER_SECONDS = {TOO_MANY_CALLBACKS.type: 10, UNAVAILABLE.type: 2}
"""A database restarts in a few seconds; a bucket of callbacks fills again in some more."""


class Refused(Exception):  # noqa: N818 (it is what happens to a request, not an error of ours)
    """The request cannot be done; `problem` is the answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem


def kind_of_status(status: int) -> Kind:
    """The kind that says what a bare HTTP status says."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return BAD_REQUEST if status < HTTPStatus.INTERNAL_SERVER_ERROR else INTERNAL


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    """The problem as a response, with what its status owes the caller."""
    sent = {"Content-Type": MEDIA_TYPE, "Server": SERVER, **(headers or {})}
    if problem.status == HTTPStatus.UNAUTHORIZED:
        sent["WWW-Authenticate"] = 'Bearer realm="lettrage"'
    if problem.type in RETRY_AFTER_SECONDS:
        sent["Retry-After"] = str(RETRY_AFTER_SECONDS[problem.type])
    return web.Response(status=problem.status, body=msgspec.json.encode(problem) + b"\n", headers=sent)
