"""`lettrage web`, `worker` and `clock`: each waits for its database, works until SIGTERM, then drains."""

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, Final

import click
import structlog
import uvloop

from monitoring import logs
from worker.commands.exits import Failed
from worker.commands.help import Command
from worker.commands.installation import refuse_taken_port, settings_or_fail, with_servers
from worker.settings import Settings
from worker.supervise import end_with_supervisor

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()

MAINS: Final = {
    "web": "worker.web.server:serve",
    "worker": "worker.processes:run_worker",
    "clock": "worker.processes:run_clock",
}


@click.command(
    cls=Command,
    examples=("lettrage web", "HOST=0.0.0.0 PORT=80 DATABASE_URL=postgresql://... REDIS_URL=redis://... lettrage web"),
)
def web() -> None:
    """Serve the HTTP API on HOST and PORT (127.0.0.1:8080).

    Waits for the database and its schema, logs to stderr, drains on SIGTERM. May run any number of
    times. `lettrage up` runs all three processes together.
    """
    run("web")


@click.command(cls=Command, examples=("lettrage worker", "METRICS_PORT=9101 lettrage worker"))
def worker() -> None:
    """Reconcile events: what invoices and payments become because of them.

    Waits for the database and its schema, logs to stderr, drains on SIGTERM. May run any number of
    times. With METRICS_PORT, serves its metrics there.
    """
    run("worker")


@click.command(cls=Command, examples=("lettrage clock", "METRICS_PORT=9102 lettrage clock"))
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
        Conflict: another program has the port.
        Failed: the configuration has faults, or nobody foresaw what happened.
    """
    end_with_supervisor()
    logs.configure()
    settings = with_servers(settings_or_fail())
    if name == "web":
        refuse_taken_port(settings)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main(name)(settings))
    except Exception as error:  # the log is where whoever looks after a process looks
        log.exception("process_failed", process=name)
        raise Failed(f"lettrage {name} cannot go on: {type(error).__name__}: {error}") from None


def _main(name: str) -> Callable[[Settings], Coroutine[Any, Any, None]]:
    """The process's work until a signal; imported only now: what one process needs, another does not pay for."""
    module, _, function = MAINS[name].partition(":")
    main: Callable[[Settings], Coroutine[Any, Any, None]] = getattr(import_module(module), function)
    return main
