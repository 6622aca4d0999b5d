"""The metrics of a process that serves nothing else: `/metrics` and `/livez` on METRICS_PORT."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog
from aiohttp import web

from monitoring import metrics

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving_metrics(host: str, port: int | None, token: str | None) -> AsyncIterator[None]:
    """Serve this process's metrics while inside; without a port, none. A port that is taken stops no work."""
    if port is None:
        yield
        return
    runner = web.AppRunner(_application(token), access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        log.error("metrics_not_served", host=host, port=port, error=str(error))  # noqa: TRY400 (no trace needed)
    try:
        yield
    finally:
        await runner.cleanup()


def is_authorized(header: str | None, token: str | None) -> bool:
    """Whether an `Authorization` header has the metrics token, if one is wanted."""
    given = (header or "").removeprefix("Bearer ").strip()
    return token is None or hmac.compare_digest(given.encode(), token.encode())


def _application(token: str | None) -> web.Application:
    application = web.Application()
    application.add_routes([web.get("/livez", _live), web.get("/metrics", _metrics(token))])
    return application


async def _live(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _metrics(token: str | None) -> Handler:
    async def show(request: web.Request) -> web.StreamResponse:
        if not is_authorized(request.headers.get("Authorization"), token):
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        text = await asyncio.to_thread(metrics.exposition)
        return web.Response(body=text, headers={"Content-Type": metrics.CONTENT_TYPE})

    return show
