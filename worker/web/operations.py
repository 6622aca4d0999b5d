"""`/livez`, `/readyz`, `/metrics`: for who runs it. Source: the contract's "Operations"."""

from aiohttp import web
from msgspec import to_builtins

from monitoring.metrics import CONTENT_TYPE
from monitoring.server import is_authorized
from worker.web.answers import json_answer
from worker.web.ports import App
from worker.web.problems import SERVER, UNAUTHORIZED, answer


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
        return json_answer({"status": "ok"})

    async def readyz(self, _request: web.Request) -> web.Response:
        """The database answers and its schema is current; Redis is told, but nobody needs it."""
        found = await self._app.readiness()
        said = {"status": "ready" if found.ready else "not_ready", **to_builtins(found)}
        return json_answer(said, 200 if found.ready else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """Every metric, in Prometheus's text format."""
        if not is_authorized(request.headers.get("Authorization"), self._metrics_token):
            return answer(UNAUTHORIZED.problem("Send the metrics token as Authorization: Bearer"))
        text = await self._app.scrape()
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE, "Server": SERVER})
