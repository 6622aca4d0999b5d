"""The processes that serve no requests: the worker and the clock. SIGTERM or SIGINT drains and ends them."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Final

import dramatiq
import structlog

from monitoring.server import serving_metrics
from schemas.events import Queue
from worker.app import App, Role
from worker.broker import DoorbellBroker, actor_name, listening
from worker.clock import Clock
from worker.settings import Settings

YOUNG_OBJECTS: Final = 20_000
"""Before the collector looks at them: a batch makes that many, nearly all of which are gone with it."""
DRAIN_SECONDS: Final = 12.0
"""How long what was begun may take after SIGTERM: as long as a statement; the supervisor kills after 18 s."""

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()

Work = Callable[[App, asyncio.Event], Awaitable[None]]


async def run_worker(settings: Settings) -> None:
    """Answer bells until told to stop."""
    await _run(settings, "worker", _answer_bells)


async def run_clock(settings: Settings) -> None:
    """End holds and look for what nobody picked up, until told to stop."""
    await _run(settings, "clock", _keep_time)


async def _answer_bells(app: App, stop: asyncio.Event) -> None:
    assert app.settings.redis_url is not None  # App.open has seen to it
    broker = DoorbellBroker(app.settings.redis_url, app.bell.line)
    dramatiq.set_broker(broker)  # before the actors' modules are imported: they declare themselves to it
    for queue in Queue:
        import_module(f"jobs.{actor_name(queue)}")
    async with listening(broker, DRAIN_SECONDS):
        for queue in await app.waiting(older_than_seconds=0):
            app.ring(queue)  # what came while no worker ran
        await stop.wait()
        app.stop()


async def _keep_time(app: App, stop: asyncio.Event) -> None:
    clock = asyncio.create_task(Clock(app).run(stop))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({clock, stopped}, return_when=asyncio.FIRST_COMPLETED)
    app.stop()
    await asyncio.wait_for(clock, DRAIN_SECONDS)


def _settle_memory() -> None:
    """Keep the collector from reading what lives as long as the process, at every turn."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)


async def _run(settings: Settings, role: Role, work: Work) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    token = settings.metrics_token.reveal() if settings.metrics_token else None
    async with (
        serving_metrics(settings.metrics_host, settings.metrics_port, token),
        AsyncExitStack() as stack,
    ):
        app = await unless_stopped(stack.enter_async_context(App.open(settings, role)), stop)
        if app is not None:
            _settle_memory()
            await work(app, stop)
    log.info("process_stopped", role=role)


async def unless_stopped(opening: Awaitable[App], stop: asyncio.Event) -> App | None:
    """The application once it is open; None when told to stop while it waited for the database."""
    opened = asyncio.ensure_future(opening)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({opened, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if opened.done():
        return opened.result()
    opened.cancel()
    await asyncio.wait({opened})
    return None
