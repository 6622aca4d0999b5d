"""`/livez`, `/readyz`, `/metrics`: for who runs it. Source: the contract's "Operations"."""

from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from monitoring.metrics import CONTENT_TYPE
from monitoring.server import is_authorized
from worker.web.answers import json_answer
from worker.web.contracts.describing import Answer, Operation
from worker.web.ports import App
from worker.web.problems import SERVER, UNAUTHORIZED, UNAVAILABLE, answer


class Live(Struct, kw_only=True):
    """This process answers."""

    status: Annotated[str, Meta(extra_json_schema={"const": "ok"})] = "ok"


class Ready(Struct, kw_only=True):
    """What this process can do. Without Redis it is ready all the same."""

    status: Annotated[str, Meta(extra_json_schema={"enum": ["ready", "not_ready"]})]
    database: bool
    """It can be reached."""
    schema: bool
    """It is what this version needs."""
    redis: bool
    installation: str | None = None
    """The same from every web on one database, another on any other; null while it is not ready."""


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/livez",
        name="isAlive",
        tag="Operations",
        summary="Whether the process answers",
        answers=(Answer(about="It does", shape=Live),),
    ),
    Operation(
        method="GET",
        path="/readyz",
        name="isReady",
        tag="Operations",
        summary="Whether requests may be sent here",
        answers=(
            Answer(about="They may", shape=Ready),
            Answer(status=503, about="The database cannot be reached, or its schema is not current", shape=Ready),
        ),
    ),
    Operation(
        method="GET",
        path="/metrics",
        name="readMetrics",
        tag="Operations",
        summary="Every metric, for Prometheus",
        about="With `LETTRAGE_METRICS_TOKEN` set, that token is needed as `Authorization: Bearer`.",
        answers=(Answer(about="In Prometheus's text format", media_type="text/plain"),),
        problems=(UNAUTHORIZED, UNAVAILABLE),
    ),
)


class Operations:
    """Says how this process is."""

    def __init__(self, app: App) -> None:
        self._app = app
        token = app.settings.metrics_token
        self._metrics_token = None if token is None else token.reveal()

    def routes(self) -> list[web.RouteDef]:
        """Where each is asked; probes may ask with HEAD."""
        return [web.get("/livez", self.livez), web.get("/readyz", self.readyz), web.get("/metrics", self.metrics)]

    async def livez(self, _request: web.Request) -> web.Response:
        """This process answers."""
        return json_answer(Live())

    async def readyz(self, _request: web.Request) -> web.Response:
        """The database answers and its schema is current; Redis is told, but nobody needs it."""
        found = await self._app.readiness()
        said = Ready(
            status="ready" if found.ready else "not_ready",
            database=found.database,
            schema=found.schema,
            redis=found.redis,
            installation=await self._app.views.installation() if found.ready else None,
        )
        return json_answer(said, 200 if found.ready else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """Every metric, in Prometheus's text format."""
        if not is_authorized(request.headers.get("Authorization"), self._metrics_token):
            return answer(UNAUTHORIZED.problem("Send the metrics token as Authorization: Bearer"))
        text = await self._app.scrape()
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE, "Server": SERVER})
