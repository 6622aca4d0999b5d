"""Replays over HTTP; scope `admin`. Source: the contract's "Admin"."""

import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from schemas.replays import ReplayAsked, ReplayState, ReplayView
from worker.replaying import Replayer
from worker.settings import Client
from worker.store.replays import Kept, Wanted
from worker.web.access import caller, check_regie
from worker.web.answers import json_answer
from worker.web.bodies import asked_for, body_of, refuse_encoded
from worker.web.contracts.describing import JSON, Answer, Body, Operation, Parameter
from worker.web.problems import (
    INVALID_REQUEST,
    NOT_JSON,
    REGIE_FORBIDDEN,
    REPLAY_NOT_FOUND,
    TOO_LARGE,
    TOO_SLOW,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    Fault,
    Refused,
)

MAX_BODY_BYTES: Final = 1_048_576
"""A thousand ids, each as long as an event's may be."""
_ID: Final = re.compile(r"[1-9][0-9]{0,17}")

OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/v1/admin/replays",
        name="replay",
        tag="Administration",
        summary="Compute dossiers anew from their events, or give parked events back",
        about=(
            "Each event counts with the policy and the time that were its own: where the books are right, nothing "
            "changes. No gateway is asked. A `comment` is wanted unless it is a dry run."
        ),
        scope="admin",
        body=Body(shapes={JSON: ReplayAsked}, about=f"At most {MAX_BODY_BYTES} bytes."),
        answers=(
            Answer(about="Done: what it changed, or would change", shape=ReplayView),
            Answer(
                status=202,
                about="Over 1,000 events: it runs beside the work",
                shape=ReplayView,
                headers={"Location": "Where to read how far it is."},
            ),
        ),
        problems=(
            NOT_JSON,
            REGIE_FORBIDDEN,
            TOO_SLOW,
            TOO_LARGE,
            UNSUPPORTED_MEDIA_TYPE,
            INVALID_REQUEST,
            UNAVAILABLE,
        ),
    ),
    Operation(
        method="GET",
        path="/v1/admin/replays/{id}",
        name="readReplay",
        tag="Administration",
        summary="How far a replay is, and what it changed",
        scope="admin",
        parameters=(Parameter(name="id", shape=str, where="path", about="The replay's.", example="12"),),
        answers=(Answer(about="The replay", shape=ReplayView),),
        problems=(REPLAY_NOT_FOUND, UNAVAILABLE),
    ),
)


class ReplaysIn:
    """Takes replays that admins ask for, and shows how far they are."""

    def __init__(self, clients: Mapping[str, Client], replayer: Replayer) -> None:
        self._clients = clients
        self._replayer = replayer

    def routes(self) -> list[web.RouteDef]:
        """Where each thing is asked for."""
        where = "/v1/admin/replays"
        return [web.post(where, self.ask), web.get(f"{where}/{{id}}", self.show, allow_head=False)]

    async def ask(self, request: web.Request) -> web.Response:
        """Replay: at once what is little, beside the work what is much."""
        client = caller(request, self._clients, "admin")
        refuse_encoded(request)
        asked = _asked(await body_of(request, MAX_BODY_BYTES))
        if asked.filter.regie is not None:
            check_regie(client, asked.filter.regie)
        wanted = Wanted(asked.filter, asked.dry_run, asked.comment, client.name, _reach(client))
        return _answer(await self._replayer.ask(wanted))

    async def show(self, request: web.Request) -> web.Response:
        """How far a replay is, and what it changed."""
        client = caller(request, self._clients, "admin")
        replay_id = request.match_info["id"]
        found = await self._replayer.find(int(replay_id)) if _ID.fullmatch(replay_id) else None
        if found is None:
            raise Refused(REPLAY_NOT_FOUND.problem())
        _check_reach(client, found)
        return json_answer(found.view)


def _reach(client: Client) -> list[str] | None:
    """The régies that a client reaches; None for all."""
    return None if "*" in client.regies else sorted(client.regies)


def _check_reach(client: Client, found: Kept) -> None:
    """Let a client see replays of its own régies: a replay of all is shown to who reaches all.

    Raises:
        Refused: 404; it does not say that there is such a replay.
    """
    touched = found.regies if found.view.filter.regie is None else [found.view.filter.regie]
    reach = _reach(client)
    if reach is not None and (touched is None or not set(touched) <= set(reach)):
        raise Refused(REPLAY_NOT_FOUND.problem())


def _asked(body: bytes) -> ReplayAsked:
    """What a body asks for.

    Raises:
        Refused: 400 for what is no JSON, 422 with every fault of it.
    """
    asked = asked_for(body, ReplayAsked)
    if asked.comment is None and not asked.dry_run:
        fault = Fault(pointer="/comment", code="missing", detail="is required unless it is a dry run")
        raise Refused(INVALID_REQUEST.problem(errors=[fault]))
    return asked


def _answer(view: ReplayView) -> web.Response:
    if view.state is ReplayState.DONE:
        return json_answer(view)
    return json_answer(view, 202, {"Location": f"/v1/admin/replays/{view.id}"})
