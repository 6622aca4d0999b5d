"""The web process: routes, what every request has in common, and how it starts and stops."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from typing import Final

import asyncpg
import structlog
from aiohttp import hdrs, web
from prometheus_client import Gauge

from monitoring.metrics import CLIENT_CLOCK_SKEW_SECONDS, UNAVAILABLE_ANSWERS
from worker.app import App as Composed
from worker.processes import unless_stopped
from worker.settings import Settings
from worker.store.outcomes import Outcomes
from worker.store.port import StoreUnavailableError
from worker.web.admin import Admin
from worker.web.callbacks import CallbacksIn
from worker.web.connections import Runner
from worker.web.contracts.files import files, page
from worker.web.contracts.page import POLICY
from worker.web.documents import Documents
from worker.web.events import EventsIn
from worker.web.ingest import Ingest, Overloaded
from worker.web.notifications import Notifications
from worker.web.operations import Operations
from worker.web.ports import App
from worker.web.problems import EXPECTATION_FAILED, INTERNAL, UNAVAILABLE, Refused, answer, kind_of_status
from worker.web.quotas import CallbackQuotas
from worker.web.reading import Reading
from worker.web.regies import Regies
from worker.web.replays import ReplaysIn

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()

SHUTDOWN_SECONDS: Final = 10.5
"""The longest wait that a caller may ask for, and a moment; aiohttp may spend it twice, which is below 25 s."""
BACKLOG: Final = 1024
"""Connections that the kernel holds while the loop is busy."""

DATABASE_ERRORS: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    StoreUnavailableError,
)
"""Whatever the driver raises: asking again later may help."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(app: App) -> web.Application:
    """Every route on `app`'s parts, which stay open as long as it serves."""
    settings = app.settings
    configured = {code: regie.policy.gateway for code, regie in settings.regies.items()}
    regies = Regies(app.views, configured)
    ingest = Ingest(app.store, app.bell.ring)
    assert settings.database_url is not None, "the caller finds the embedded server's address"
    outcomes = Outcomes(settings.database_url, app.views.outcome)
    events = EventsIn(settings.clients, regies, ingest, outcomes, _Skew())
    callbacks = CallbacksIn(settings, regies, ingest, CallbackQuotas())
    reading = Reading(settings.clients, regies, app.views)
    application = web.Application(middlewares=[_problems])
    routes = [
        web.post("/v1/events", events.post),
        web.get("/v1/callbacks/{regie}", callbacks.take, allow_head=False),
        web.post("/v1/callbacks/{regie}", callbacks.take),
        *reading.routes(),
        *Notifications(settings.clients, app.views, app.deliveries, app.bell.ring).routes(),
        *Admin(settings.clients, app.views, ingest, outcomes).routes(),
        *ReplaysIn(settings.clients, app.replayer).routes(),
        *Operations(app).routes(),
        *Documents(files(), page(), POLICY).routes(),
    ]
    for route in routes:
        route.kwargs["expect_handler"] = _expected
    application.add_routes(routes)
    application.cleanup_ctx.append(_background(outcomes, regies, ingest))
    return application


@asynccontextmanager
async def serving(app: App, host: str, port: int) -> AsyncIterator[int]:
    """Serve while inside; yields the port, a free one when 0 was asked for. Leaving drains."""
    runner = Runner(create_app(app), shutdown_seconds=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def serve(settings: Settings) -> None:
    """The web process, until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        app = await unless_stopped(stack.enter_async_context(Composed.open(settings, "web")), stop)
        if app is not None:
            port = await stack.enter_async_context(serving(app, settings.host, settings.port))
            log.info("web_serving", host=settings.host, port=port)
            await stop.wait()
    log.info("process_stopped", role="web")


def _background(outcomes: Outcomes, regies: Regies, ingest: Ingest) -> Callable[[web.Application], AsyncIterator[None]]:
    async def run(_application: web.Application) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(outcomes.listen()), asyncio.create_task(regies.keep_fresh())]
        yield
        await ingest.drain()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task

    return run


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong, the answer is a problem."""
    try:
        return await handler(request)
    except Refused as refused:
        return answer(refused.problem)
    except web.HTTPException as refused:
        allowed = {"Allow": refused.headers[hdrs.ALLOW]} if hdrs.ALLOW in refused.headers else None
        return answer(kind_of_status(refused.status).problem(), allowed)
    except Overloaded:
        UNAVAILABLE_ANSWERS.inc()
        return answer(UNAVAILABLE.problem("Nothing is known to be stored; send the same again"))
    except DATABASE_ERRORS as error:
        UNAVAILABLE_ANSWERS.inc()
        log.warning("request_without_database", error=type(error).__name__)
        return answer(UNAVAILABLE.problem("The database does not answer"))
    except Exception:
        log.exception("request_failed")
        return answer(INTERNAL.problem("It is in the log of the server"))


async def _expected(request: web.Request) -> web.StreamResponse | None:
    """Let a client that asks first send its body; the handler refuses what it does not want by its length."""
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        return answer(EXPECTATION_FAILED.problem())
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # nothing of the answer itself was sent
    return None


class _Skew:
    """Shows how far each client's clock is behind the database's (negative: ahead), by its latest payment-started."""

    def __init__(self) -> None:
        self._gauges: dict[str, Gauge] = {}

    def __call__(self, client: str, said: datetime, now: datetime) -> None:
        gauge = self._gauges.get(client)
        if gauge is None:
            gauge = self._gauges[client] = CLIENT_CLOCK_SKEW_SECONDS.labels(client)
        gauge.set((now - said).total_seconds())
