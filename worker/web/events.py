"""`POST /v1/events`: facts in, answered after the commit. Source: the contract's section of that name."""

import base64
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

from aiohttp import web
from msgspec import Meta, Struct

from monitoring.tracing import TRACING
from schemas.decisions import Outcome
from schemas.events import EventType, NewEvent, Receipt
from schemas.views import OutcomeView, PaymentView
from worker.gateways.interpret import peek
from worker.settings import Client
from worker.store.outcomes import Outcomes
from worker.web.access import caller
from worker.web.answers import json_answer
from worker.web.bodies import body_of, refuse_encoded
from worker.web.cloudevents import BATCH, PLAIN, STRUCTURED, id_of, is_trace, judge, judge_archived, read
from worker.web.contracts.describing import EVENT, EVENT_BATCH, EVENT_DATA, Answer, Body, Operation, Parameter
from worker.web.ingest import Ingest
from worker.web.preferences import PREFER, PREFERENCE_APPLIED, wait_seconds
from worker.web.problems import (
    EVENT_CONFLICT,
    INVALID_EVENT,
    INVALID_PARAMETER,
    NOT_A_CLOUDEVENT,
    NOT_JSON,
    REGIE_FORBIDDEN,
    TOO_LARGE,
    TOO_MANY_EVENTS,
    TOO_SLOW,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    Fault,
    Problem,
    Refused,
    answer,
)
from worker.web.regies import Regies

MAX_BODY_BYTES: Final = 1_048_576
"""The contract's 1 MiB."""


Status = Annotated[str, Meta(extra_json_schema={"enum": ["accepted", "duplicate"]})]
"""What became of an event that is kept."""


class Accepted(Struct, kw_only=True):
    """The answer to a single event."""

    id: str
    status: Status
    """`duplicate`: the same event was kept before."""


class Reconciled(Struct, kw_only=True):
    """The answer to a single event whose sender waited for its outcome, and got it."""

    id: str
    status: Status
    outcome: Annotated[str, Meta(extra_json_schema={"enum": [outcome.value for outcome in Outcome]})]
    reason: str
    """Why, as docs/reasons.md lists it; never empty."""


class ReconciledPayment(Reconciled, kw_only=True):
    """The same, for an event about a payment: the payment as read."""

    payment: PaymentView


class Result(Struct, kw_only=True, omit_defaults=True):
    """The answer to one event of a batch."""

    id: str | None
    """As it was sent, where it could be read."""
    status: Annotated[str, Meta(extra_json_schema={"enum": ["accepted", "duplicate", "conflict", "rejected"]})]
    problem: Problem | None = None
    """Of a conflict or a rejected event alone."""


class Results(Struct, kw_only=True):
    """The answer to a batch: one result for each event, in their order."""

    results: list[Result]


class Door(NamedTuple):
    """A way in: the scope that opens it, and what is let through."""

    scope: str
    judge: Callable[[object, Client, datetime], NewEvent | Problem]


EVERYDAY: Final = Door("events", judge)
ARCHIVE: Final = Door("admin", judge_archived)
"""`?archive=true`: an admin gives back what `lettrage events list --json` printed."""


OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/v1/events",
        name="sendEvents",
        tag="Events",
        summary="Send an event, or a batch of them",
        about=(
            "CloudEvents 1.0 over HTTP, in all three modes. The answer comes after the commit; the same event sent "
            "again is answered `duplicate`. It is the same when `source`, `id`, `type` and `data` are."
        ),
        scope="events",
        parameters=(
            Parameter(
                name="archive",
                shape=Literal["true"],
                about="The body is an `ArchivedEvent`, or a batch of them, and needs the scope `admin` instead.",
            ),
            PREFER,
            *(
                Parameter(name=f"ce-{name}", shape=str, where="header", about=f"In binary mode: the event's `{name}`.")
                for name in ("specversion", "id", "source", "type", "time")
            ),
        ),
        body=Body(
            shapes={STRUCTURED: EVENT, BATCH: EVENT_BATCH, PLAIN: EVENT_DATA},
            about=(
                f"`{STRUCTURED}`: one event. `{BATCH}`: a list of them. `{PLAIN}` with `ce-` headers: the data of one "
                f"event. At most {MAX_BODY_BYTES} bytes, not compressed."
            ),
        ),
        answers=(
            Answer(
                status=202,
                about="Kept; of a batch: what became of each event",
                shape=(Accepted, Results),
                headers=PREFERENCE_APPLIED,
            ),
            Answer(
                about="Reconciled while the caller waited",
                shape=(Reconciled, ReconciledPayment),
                headers=PREFERENCE_APPLIED,
            ),
        ),
        problems=(
            NOT_JSON,
            NOT_A_CLOUDEVENT,
            REGIE_FORBIDDEN,
            TOO_SLOW,
            EVENT_CONFLICT,
            TOO_LARGE,
            TOO_MANY_EVENTS,
            UNSUPPORTED_MEDIA_TYPE,
            INVALID_EVENT,
            INVALID_PARAMETER,
            UNAVAILABLE,
        ),
    ),
)


class EventsIn:
    """Takes events from clients."""

    def __init__(
        self,
        clients: Mapping[str, Client],
        regies: Regies,
        ingest: Ingest,
        outcomes: Outcomes,
        skew: Callable[[str, datetime, datetime], object],
    ) -> None:
        self._clients = clients
        self._regies = regies
        self._ingest = ingest
        self._outcomes = outcomes
        self._skew = skew

    async def post(self, request: web.Request) -> web.Response:
        """One event, or a batch of them."""
        door = _door(request)
        client = caller(request, self._clients, door.scope)
        refuse_encoded(request)
        headers = request.headers
        body = await body_of(request, MAX_BODY_BYTES)
        sent = read(headers.get("Content-Type", ""), headers.items(), body)
        if isinstance(sent, Problem):
            return answer(sent)
        passed_on = _trace(headers)
        if isinstance(sent, list):
            return await self._batch(door, client, sent, passed_on)
        event = await self._checked(door, client, sent)
        if isinstance(event, Problem):
            return answer(event)
        about = {"regie": event.regie, "event_id": event.id}
        with TRACING.span(f"take {event.type}", "server", event.trace or passed_on, **about) as event.trace:
            return await self._single(event, wait_seconds(headers.getall("Prefer", ())))

    async def _single(self, event: NewEvent, wait: int | None) -> web.Response:
        event.waited = wait is not None
        (receipt,) = await self._ingest.record([event])
        if wait is None or receipt is None or receipt.status == "conflict":
            refused = _refusal(receipt)
            return answer(refused) if refused else json_answer(_accepted(event, receipt), 202)
        claimed = event.subject if event.type is EventType.GATEWAY_CALLBACK else None
        found = await self._outcomes.outcome(receipt.place, wait, claimed)
        applied = {"Preference-Applied": f"wait={wait}"}
        if found is None:
            return json_answer(_accepted(event, receipt), 202, applied)
        return json_answer(_reconciled(event, receipt, found), 200, applied)

    async def _batch(self, door: Door, client: Client, sent: list[Any], passed_on: str | None) -> web.Response:
        judged = [await self._checked(door, client, each) for each in sent]
        for each in judged:
            if isinstance(each, NewEvent):
                each.trace = each.trace or passed_on
        receipts = iter(await self._ingest.record([each for each in judged if isinstance(each, NewEvent)]))
        results = [
            _result(id_of(each), verdict if isinstance(verdict, Problem) else next(receipts))
            for each, verdict in zip(sent, judged, strict=True)
        ]
        return json_answer(Results(results=results), 202)

    async def _checked(self, door: Door, client: Client, sent: object) -> NewEvent | Problem:
        now = self._regies.now()
        event = door.judge(sent, client, now)
        if isinstance(event, Problem):
            return event
        gateway = await self._regies.gateway(event.regie)
        if gateway is None:
            unknown = Fault(pointer="/data/regie", code="unknown_regie", detail="is no régie of this installation")
            return INVALID_EVENT.problem(errors=[unknown])
        event.subject = _subject(event, gateway)
        if door is EVERYDAY and event.time is not None and event.type is EventType.PAYMENT_STARTED:
            self._skew(client.name, event.time, now)
        return event


def _door(request: web.Request) -> Door:
    """The way in that was asked for.

    Raises:
        Refused: 422, one that there is not.
    """
    asked = request.query.get("archive") if request.query_string else None
    if asked not in (None, "true"):
        raise Refused(INVALID_PARAMETER.problem("'archive' must be true, or left out"))
    return ARCHIVE if asked else EVERYDAY


def _trace(headers: Mapping[str, str]) -> str | None:
    """The trace that a request belongs to; an event's own goes before it."""
    trace = headers.get("traceparent")
    return trace if is_trace(trace) else None


def _subject(event: NewEvent, gateway: str) -> str | None:
    """What others must wait for: the number of an invoice's fact, the reference that a callback claims."""
    match event.type:
        case EventType.GATEWAY_CALLBACK:
            return peek(gateway, event.data.query, base64.b64decode(event.data.body))
        case EventType.GATEWAY_REPORT:
            reference: str = event.data.gateway_reference
            return reference
        case EventType.PAYMENT_TIMED_OUT:
            named: str = event.data.reference
            return named
        case _:
            return getattr(event.data, "number", None)


def _refusal(receipt: Receipt | None) -> Problem | None:
    if receipt is None:
        return INVALID_EVENT.problem("The database refuses this event; the log of the server says why")
    if receipt.status == "conflict":
        return EVENT_CONFLICT.problem("Another type or data was stored under this source and id; nothing changed")
    return None


def _accepted(event: NewEvent, receipt: Receipt | None) -> Accepted:
    assert receipt is not None
    return Accepted(id=event.id, status=receipt.status)


def _reconciled(event: NewEvent, receipt: Receipt, found: OutcomeView) -> Reconciled:
    said = {"id": event.id, "status": receipt.status, "outcome": str(found.outcome), "reason": found.reason}
    return Reconciled(**said) if found.payment is None else ReconciledPayment(**said, payment=found.payment)


def _result(event_id: str | None, verdict: Problem | Receipt | None) -> Result:
    if isinstance(verdict, Problem):
        return Result(id=event_id, status="rejected", problem=verdict)
    refused = _refusal(verdict)
    if verdict is None or refused is not None:
        return Result(id=event_id, status="rejected" if verdict is None else verdict.status, problem=refused)
    return Result(id=event_id, status=verdict.status)
