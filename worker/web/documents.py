"""The contracts, served to programs and people: no token, cached by their ETag."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from aiohttp import web

from schemas.events import EventType
from schemas.notifications import NotificationType
from worker.web.contracts.describing import Answer, Operation, Parameter, choice
from worker.web.problems import NOT_FOUND, SERVER, Refused

MAX_AGE_SECONDS: Final = 300
"""How long nobody asks again; a release is known that soon."""
JSON_TYPE: Final = "application/json"
SCHEMA_TYPE: Final = "application/schema+json"
PAGE_TYPE: Final = "text/html"
PAGE: Final = "docs"
"""Not `/`: that is left for people who look after régies."""

_CACHED: Final = {"ETag": "Of this version of the document", "Cache-Control": "How long it need not be asked for again"}


def _described(path: str, name: str, summary: str, answer: Answer, *parameters: Parameter) -> Operation:
    return Operation(
        method="GET",
        path=path,
        name=name,
        tag="Documents",
        summary=summary,
        parameters=parameters,
        answers=(answer, Answer(status=304, about="`If-None-Match` names this version", media_type=None)),
        problems=(NOT_FOUND,) if parameters else (),
    )


OPERATIONS: Final = (
    _described(
        f"/{PAGE}",
        "readPage",
        "This API as a page to read",
        Answer(about="HTML, which needs nothing else", media_type=PAGE_TYPE, headers=_CACHED),
    ),
    _described(
        "/openapi.json",
        "readOpenApi",
        "This API as OpenAPI 3.1",
        Answer(about="The document", shape=dict[str, Any], headers=_CACHED),
    ),
    _described(
        "/asyncapi.json",
        "readAsyncApi",
        "Events and notifications as AsyncAPI 3",
        Answer(about="The document", shape=dict[str, Any], headers=_CACHED),
    ),
    _described(
        "/schemas/events/{type}.json",
        "readEventSchema",
        "The JSON Schema of one type of event",
        Answer(about="Draft 2020-12", shape=dict[str, Any], media_type=SCHEMA_TYPE, headers=_CACHED),
        Parameter(name="type", shape=choice(EventType), where="path", about="The event's type."),
    ),
    _described(
        "/schemas/notifications/{type}.json",
        "readNotificationSchema",
        "The JSON Schema of one type of notification",
        Answer(about="Draft 2020-12", shape=dict[str, Any], media_type=SCHEMA_TYPE, headers=_CACHED),
        Parameter(name="type", shape=choice(NotificationType), where="path", about="The notification's type."),
    ),
)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A document, ready to be sent."""

    body: bytes
    etag: str
    headers: Mapping[str, str]


class Documents:
    """Serves documents that are made already. `policy`: the page's Content-Security-Policy."""

    def __init__(self, files: Mapping[str, bytes], page: bytes, policy: str) -> None:
        self._kept = {path: _json(path, body) for path, body in files.items()}
        guarded = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
        self._kept[PAGE] = _kept(page, f"{PAGE_TYPE}; charset=utf-8", guarded)

    def routes(self) -> list[web.RouteDef]:
        """Where each is asked for; with HEAD too, as caches do."""
        return [web.get(operation.path, self.read) for operation in OPERATIONS]

    async def read(self, request: web.Request) -> web.Response:
        """One document, or that it is still the same."""
        kept = self._kept.get(request.path.removeprefix("/"))
        if kept is None:
            raise Refused(NOT_FOUND.problem("No type has this name"))
        if any(known.value in (kept.etag, "*") for known in request.if_none_match or ()):
            return web.Response(status=304, headers=kept.headers)
        return web.Response(body=kept.body, headers=kept.headers)


def _json(path: str, body: bytes) -> _Kept:
    return _kept(body, SCHEMA_TYPE if path.startswith("schemas/") else JSON_TYPE, {})


def _kept(body: bytes, media_type: str, more: Mapping[str, str]) -> _Kept:
    etag = sha256(body).hexdigest()[:32]
    headers = {
        "Content-Type": media_type,
        "ETag": f'"{etag}"',
        "Cache-Control": f"public, max-age={MAX_AGE_SECONDS}",
        "X-Content-Type-Options": "nosniff",
        "Server": SERVER,
    }
    return _Kept(body, etag, {**headers, **more})
