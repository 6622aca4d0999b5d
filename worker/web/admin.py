"""The admin's half of the API: discrepancies are resolved by people. Source: the contract's "Admin"."""

import re
from collections.abc import Mapping
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from schemas.decisions import Outcome
from schemas.events import CentsOrZero, Comment, ResolutionName
from schemas.records import Resolution
from schemas.views import DiscrepancyView
from worker.settings import Client
from worker.store.outcomes import Outcomes
from worker.store.resolutions import Desk, Refusal, Resolved, Wanted, find_one, resolve
from worker.store.views import Views
from worker.web.access import caller, check_regie
from worker.web.answers import json_answer
from worker.web.bodies import asked_for, body_of, refuse_encoded
from worker.web.contracts.describing import JSON, Answer, Body, Operation, Parameter
from worker.web.ingest import Ingest
from worker.web.preferences import PREFER, PREFERENCE_APPLIED, wait_seconds
from worker.web.problems import (
    DISCREPANCY_AMOUNT_CHANGED,
    DISCREPANCY_NOT_FOUND,
    DISCREPANCY_NOT_OPEN,
    INVALID_REQUEST,
    NOT_JSON,
    REGIE_FORBIDDEN,
    RESOLUTION_NOT_APPLICABLE,
    TOO_LARGE,
    TOO_SLOW,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    Refused,
)

MAX_BODY_BYTES: Final = 16_384
"""A comment has at most 500 characters, each at most twelve bytes of JSON."""
WAIT_SECONDS: Final = 5
"""How long a person waits for a resolution to be applied when they do not say: it takes milliseconds."""
_ID: Final = re.compile(r"[0-9a-f]{32}")


class Resolve(Struct, kw_only=True, forbid_unknown_fields=True):
    """The body of a request. `amount_cents`: what the person saw; left out, whatever it amounts to now."""

    resolution: ResolutionName
    comment: Comment
    amount_cents: CentsOrZero | None = None


class ResolutionKept(Struct, kw_only=True):
    """The answer while nobody has applied the resolution; `id` is its event's."""

    id: str
    status: Annotated[str, Meta(extra_json_schema={"enum": ["accepted", "duplicate"]})]


class ResolutionApplied(ResolutionKept, kw_only=True):
    """The answer once it is applied: the discrepancy as read."""

    outcome: Annotated[str, Meta(extra_json_schema={"enum": [outcome.value for outcome in Outcome]})]
    reason: str
    discrepancy: DiscrepancyView


OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/v1/admin/discrepancies/{id}/resolve",
        name="resolveDiscrepancy",
        tag="Administration",
        summary="Close a discrepancy, and say why",
        about="More money, or another amount, opens it again.",
        scope="admin",
        parameters=(
            Parameter(
                name="id",
                shape=str,
                where="path",
                about="The discrepancy's.",
                example="1f6a2b3c4d5e6f708192a3b4c5d6e7f8",
            ),
            PREFER,
        ),
        body=Body(shapes={JSON: Resolve}, about=f"At most {MAX_BODY_BYTES} bytes."),
        answers=(
            Answer(about="Closed: the discrepancy as read", shape=ResolutionApplied, headers=PREFERENCE_APPLIED),
            Answer(status=202, about="Kept, not applied yet", shape=ResolutionKept, headers=PREFERENCE_APPLIED),
        ),
        problems=(
            NOT_JSON,
            REGIE_FORBIDDEN,
            DISCREPANCY_NOT_FOUND,
            TOO_SLOW,
            DISCREPANCY_NOT_OPEN,
            RESOLUTION_NOT_APPLICABLE,
            DISCREPANCY_AMOUNT_CHANGED,
            TOO_LARGE,
            UNSUPPORTED_MEDIA_TYPE,
            INVALID_REQUEST,
            UNAVAILABLE,
        ),
    ),
)


class Admin:
    """Does what only admins may."""

    def __init__(self, clients: Mapping[str, Client], views: Views, ingest: Ingest, outcomes: Outcomes) -> None:
        self._clients = clients
        self._views = views
        self._ingest = ingest
        self._outcomes = outcomes

    def routes(self) -> list[web.RouteDef]:
        """Where each thing is asked for."""
        return [web.post("/v1/admin/discrepancies/{id}/resolve", self.resolve)]

    async def resolve(self, request: web.Request) -> web.Response:
        """Close one discrepancy, in the name of the client."""
        client = caller(request, self._clients, "admin")
        refuse_encoded(request)
        asked = asked_for(await body_of(request, MAX_BODY_BYTES), Resolve)
        shown = await self._shown(request, client)
        wanted = Wanted(Resolution(asked.resolution), asked.comment, client.name, asked.amount_cents)
        preferred = wait_seconds(request.headers.getall("Prefer", ()))
        desk = Desk(self._views, self._ingest.record, self._outcomes.outcome, preferred or WAIT_SECONDS)
        return _answer(await resolve(shown, wanted, desk), preferred)

    async def _shown(self, request: web.Request, client: Client) -> DiscrepancyView:
        discrepancy_id = request.match_info["id"]
        shown = await find_one(self._views, discrepancy_id) if _ID.fullmatch(discrepancy_id) else None
        if shown is None:
            raise Refused(DISCREPANCY_NOT_FOUND.problem())
        check_regie(client, shown.regie)
        return shown


def _answer(resolved: Resolved, preferred: int | None) -> web.Response:
    if resolved.refusal is not None:
        raise Refused(_problem(resolved))
    assert resolved.event_id is not None
    assert resolved.status is not None
    applied = {} if preferred is None else {"Preference-Applied": f"wait={preferred}"}
    if resolved.outcome is None:
        return json_answer(ResolutionKept(id=resolved.event_id, status=resolved.status), 202, applied)
    answered = ResolutionApplied(
        id=resolved.event_id,
        status=resolved.status,
        outcome=resolved.outcome.outcome,
        reason=resolved.outcome.reason,
        discrepancy=resolved.discrepancy,
    )
    return json_answer(answered, 200, applied)


def _problem(resolved: Resolved) -> Problem:
    shown = resolved.discrepancy
    match resolved.refusal:
        case Refusal.NOT_OPEN:
            return DISCREPANCY_NOT_OPEN.problem(f"It is {shown.state}")
        case Refusal.NOT_APPLICABLE:
            return RESOLUTION_NOT_APPLICABLE.problem(f"Nothing is to be given back for {shown.kind}")
        case Refusal.AMOUNT_CHANGED if resolved.outcome is None:
            return DISCREPANCY_AMOUNT_CHANGED.problem(f"It is {shown.amount_cents} cents now; nothing was resolved")
        case Refusal.AMOUNT_CHANGED:
            said = f"The resolution counts for what was seen; {shown.amount_cents} cents are open now"
            return DISCREPANCY_AMOUNT_CHANGED.problem(said)
        case Refusal.UNKNOWN:
            return DISCREPANCY_NOT_FOUND.problem()
        case _:
            return INVALID_REQUEST.problem("The database refuses this; the log of the server says why")
