"""What portals were told, and telling it again; scope `admin`."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from schemas.events import Queue, RegieCode
from schemas.notifications import outbox_id
from schemas.views import NotificationPage
from worker.settings import Client
from worker.store.deliveries import STATES, Deliveries, chosen, notifications
from worker.store.views import CursorError, Views
from worker.web.access import caller, check_regie
from worker.web.answers import json_answer
from worker.web.bodies import asked_for, body_of, refuse_encoded
from worker.web.contracts.describing import JSON, Answer, Body, Operation, Parameter, choice
from worker.web.problems import (
    INVALID_PARAMETER,
    INVALID_REQUEST,
    NOT_JSON,
    NOTIFICATION_NOT_FOUND,
    REGIE_FORBIDDEN,
    TOO_LARGE,
    TOO_SLOW,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    Refused,
)
from worker.web.reading import PAGE_PARAMETERS, limit_of, not_a_cursor, one_of, parameters

MAX_BODY_BYTES: Final = 65_536
"""A thousand ids and their commas."""
MAX_IDS: Final = 1000
"""In one request; a whole régie's are named by the régie."""


class Resend(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which notifications to send again: these, or all of a régie that were not delivered."""

    ids: Annotated[list[Annotated[str, Meta(max_length=60)]], Meta(min_length=1, max_length=MAX_IDS)] | None = None
    """`webhook_id`s, or places in the outbox."""
    regie: RegieCode | None = None
    dry_run: bool = False
    """Only say how many they are."""


class Resent(Struct, kw_only=True):
    """How many notifications were meant, and how many of them are sent again."""

    matched: int
    resent: int


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/v1/admin/notifications",
        name="listNotifications",
        tag="Administration",
        summary="Some notifications, newest first, with every attempt to deliver them",
        scope="admin",
        parameters=(
            Parameter(name="regie", shape=str, about="Those to one régie's portal alone.", example="enfance"),
            Parameter(name="state", shape=choice(STATES), about="Those in this state alone."),
            *PAGE_PARAMETERS,
        ),
        answers=(Answer(about="A page of them", shape=NotificationPage),),
        problems=(REGIE_FORBIDDEN, INVALID_PARAMETER, UNAVAILABLE),
    ),
    Operation(
        method="POST",
        path="/v1/admin/notifications/resend",
        name="resendNotifications",
        tag="Administration",
        summary="Send notifications again",
        about="Either those with these ids, or all of a régie that were not delivered.",
        scope="admin",
        body=Body(shapes={JSON: Resend}, about=f"`ids` or `regie`, not both. At most {MAX_BODY_BYTES} bytes."),
        answers=(Answer(about="How many they are", shape=Resent),),
        problems=(
            NOT_JSON,
            REGIE_FORBIDDEN,
            NOTIFICATION_NOT_FOUND,
            TOO_SLOW,
            TOO_LARGE,
            UNSUPPORTED_MEDIA_TYPE,
            INVALID_REQUEST,
            UNAVAILABLE,
        ),
    ),
)


class Notifications:
    """Answers what admins ask about notifications."""

    def __init__(
        self, clients: Mapping[str, Client], views: Views, deliveries: Deliveries, ring: Callable[[Queue], None]
    ) -> None:
        self._clients = clients
        self._views = views
        self._deliveries = deliveries
        self._ring = ring

    def routes(self) -> list[web.RouteDef]:
        """Where each is asked."""
        where = "/v1/admin/notifications"
        return [web.get(where, self.list, allow_head=False), web.post(f"{where}/resend", self.resend)]

    async def list(self, request: web.Request) -> web.Response:
        """Some notifications, newest first, with their attempts."""
        client = caller(request, self._clients, "admin")
        asked = parameters(request, "regie", "state", "limit", "cursor")
        regies = _reached(client, asked.get("regie"))
        state = one_of(asked, "state", STATES)
        try:
            page = await notifications(
                self._views, regies=regies, state=state, limit=limit_of(asked), cursor=asked.get("cursor")
            )
        except CursorError:
            raise not_a_cursor() from None
        return json_answer(page)

    async def resend(self, request: web.Request) -> web.Response:
        """Send notifications again, or count them."""
        client = caller(request, self._clients, "admin")
        asked = await _body(request)
        regies = _reached(client, asked.regie)
        ids = None if asked.ids is None else _places(asked.ids)
        matched = await chosen(self._views, ids, regies)
        if ids is not None and matched < len(ids):
            raise Refused(NOTIFICATION_NOT_FOUND.problem(f"{len(ids) - matched} of the ids"))
        if not asked.dry_run:
            matched = await self._deliveries.resend(ids, regies)
            self._ring(Queue.NOTIFICATION)
        return json_answer(Resent(matched=matched, resent=0 if asked.dry_run else matched))


def _reached(client: Client, regie: str | None) -> list[str] | None:
    """The régies that are meant: the named one, else all that the client reaches (None: any)."""
    if regie is not None:
        check_regie(client, regie)
        return [regie]
    return None if "*" in client.regies else sorted(client.regies)


async def _body(request: web.Request) -> Resend:
    refuse_encoded(request)
    asked = asked_for(await body_of(request, MAX_BODY_BYTES), Resend)
    if (asked.ids is None) == (asked.regie is None):
        raise Refused(INVALID_REQUEST.problem("Send either ids or regie"))
    return asked


def _places(ids: "list[str]") -> "list[int]":
    """Their places in the outbox, each once.

    Raises:
        Refused: 404; no notification ever had such an id.
    """
    places = {outbox_id(text) for text in ids}
    if None in places:
        raise Refused(NOTIFICATION_NOT_FOUND.problem("An id is msg_… or a number"))
    return sorted(place for place in places if place is not None)
