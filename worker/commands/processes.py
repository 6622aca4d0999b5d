"""`lettrage web`, `worker` and `clock`: each waits for its database, works until SIGTERM, then drains."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import import_module
from typing import Final

import asyncpg
import click
import structlog
import uvloop

from monitoring import logs
from worker.commands.exits import Failed
from worker.commands.help import Command
from worker.commands.installation import UNREACHABLE, settings_or_fail, with_servers
from worker.settings import Settings
from worker.store.migrate import MigrationError, pending
from worker.supervise import end_with_supervisor

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Main = Callable[[Settings, asyncio.Event], Awaitable[None]]
"""A process's work: goes on until the event is set, then finishes what it has begun."""

MAINS: Final = {
    "web": "worker.web.server:serve",
    "worker": "worker.app:run_worker",
    "clock": "worker.app:run_clock",
}

RETRY_SECONDS: Final = 0.5
"""Between two looks at a database that is not ready: soon enough for a person who waits, cheap for the server."""
CONNECT_SECONDS: Final = 5.0
"""A database that takes longer to let somebody in is not ready."""
DRAIN_SECONDS: Final = 17.0
"""For what was begun; below the supervisor's patience, and far below the 25 s of platforms."""


@click.command(
    cls=Command,
    examples=(
        "lettrage web",
        "HOST=0.0.0.0 PORT=8000 DATABASE_URL=postgresql://... REDIS_URL=redis://... lettrage web",
    ),
)
def web() -> None:
    """Serve the HTTP API on HOST and PORT (127.0.0.1:8080).

    Waits for the database and its schema, logs to stderr, drains on SIGTERM. May run any number of
    times. `lettrage up` runs all three processes together.
    """
    run("web")


@click.command(
    cls=Command,
    examples=("lettrage worker", "METRICS_PORT=9101 lettrage worker"),
)
def worker() -> None:
    """Reconcile events: what invoices and payments become because of them.

    Waits for the database and its schema, logs to stderr, drains on SIGTERM. May run any number of
    times. With METRICS_PORT, serves its metrics there.
    """
    run("worker")


@click.command(
    cls=Command,
    examples=("lettrage clock", "METRICS_PORT=9102 lettrage clock"),
)
def clock() -> None:
    """End holds the moment they are over, and drain what no worker has picked up.

    Waits for the database and its schema, logs to stderr, drains on SIGTERM. May run any number of
    times. With METRICS_PORT, serves its metrics there.
    """
    run("clock")


def run(name: str) -> None:
    """Run one process of this installation until it is told to end.

    Raises:
        TryLater: there is no address of a database or of Redis.
        Failed: the configuration has faults, or the port is taken.
    """
    end_with_supervisor()
    logs.configure()
    settings = with_servers(settings_or_fail(), name)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signalled(settings, name))
    except OSError as error:
        raise Failed(f"lettrage {name} cannot go on: {error}") from error


async def _until_signalled(settings: Settings, name: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await ready(settings.database_url or "", stop)
    if stop.is_set():
        return
    log.info("started", process=name)
    await _drained(asyncio.ensure_future(_main(name)(settings, stop)), stop)
    log.info("ended", process=name)


async def _drained(work: "asyncio.Future[None]", stop: asyncio.Event) -> None:
    """Wait for the work; once it was told to stop, only so long."""
    work.add_done_callback(lambda _: stop.set())
    await stop.wait()
    try:
        await asyncio.wait_for(work, DRAIN_SECONDS)
    except TimeoutError:
        log.warning("drain_took_too_long", seconds=DRAIN_SECONDS)


def _main(name: str) -> Main:
    """The process's work; imported only now: what one process needs, another does not pay for."""
    module, _, function = MAINS[name].partition(":")
    main: Main = getattr(import_module(module), function)
    return main


async def ready(database_url: str, stop: asyncio.Event) -> None:
    """Wait until the database answers and its schema is this code's, or `stop` is set; say why it takes long."""
    told = None
    while not stop.is_set():
        why = await obstacle(database_url)
        if why is None:
            break
        if why != told:
            log.warning("waiting_for_database", because=why)
            told = why
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
    if told is not None and not stop.is_set():
        log.info("database_ready")


async def obstacle(database_url: str) -> str | None:
    """Why nothing can work with this database now; None when everything can."""
    try:
        connection = await asyncpg.connect(database_url, timeout=CONNECT_SECONDS)
        try:
            missing = await pending(connection)
        finally:
            await connection.close(timeout=CONNECT_SECONDS)
    except MigrationError as error:
        return str(error)
    except UNREACHABLE as error:
        return f"the database does not answer: {type(error).__name__}: {error}"
    return f"the schema lacks {', '.join(missing)}: run `lettrage migrate`" if missing else None
