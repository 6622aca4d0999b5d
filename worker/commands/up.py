"""`lettrage up`: all of Lettrage on one machine."""

import http.client
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from monitoring import logs
from worker.commands.exits import Failed
from worker.commands.help import Command
from worker.commands.installation import alone, refuse_taken_port, settings_or_fail
from worker.commands.output import say
from worker.commands.schema import migrated
from worker.settings import Settings
from worker.supervise import Look, Program, Service, Supervisor

PROCESSES: Final = ("web", "worker", "clock")
LETTRAGE: Final = (sys.executable, "-P", "-m", "worker.cli")
"""-P: a folder called `worker` where `up` was started is not ours."""
METRICS_FOLDER: Final = "metrics"
"""In the state folder: where the processes share their metrics, so that one scrape of web shows all."""
LOOK_SECONDS: Final = 0.3
"""For one look at whether web answers; the supervisor waits meanwhile."""


@click.command(
    cls=Command,
    examples=(
        "lettrage up",
        "PORT=8000 LETTRAGE_STATE_DIR=/var/lib/lettrage lettrage up",
        "DATABASE_URL=postgresql://... REDIS_URL=redis://... lettrage up",
    ),
)
def up() -> None:
    """Run everything on this machine until Ctrl-C: web, worker and clock.

    Without DATABASE_URL or REDIS_URL it also runs its own PostgreSQL or Valkey, whose data stays in
    LETTRAGE_STATE_DIR (.lettrage). The schema is migrated first. Whatever dies is started again.
    Works without any configuration, to look around.
    """
    logs.configure()
    settings = settings_or_fail()
    with alone(settings.state_dir):
        refuse_taken_port(settings)
        servers = Servers(settings)
        try:
            servers.ensure()
            for name in migrated(servers.database_url):
                say(f"Migrated: {name}")
            _guide(settings)
            Supervisor(_programs(settings, servers), [servers]).run(Greeting(settings).look)
        finally:
            servers.stop()


class Servers(Service):
    """The servers of this installation: those that are configured, and for what is not, embedded ones."""

    name = "servers"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.database_url = settings.database_url or ""
        self.redis_url = settings.redis_url or ""
        self._embedded = None
        if not (self.database_url and self.redis_url):
            from worker.embedded import Embedded  # noqa: PLC0415 (never imported when both addresses are configured)

            self._embedded = Embedded(settings.state_dir)
        self._started = False

    def ensure(self) -> Look:
        """Start the embedded servers unless they run, or none is needed."""
        if self._embedded is None or (self._started and self._embedded.alive()):
            return Look.RUNS
        before = (self.database_url, self.redis_url)
        self._start()
        moved = self._started and before != (self.database_url, self.redis_url)
        self._started = True
        return Look.MOVED if moved else Look.RESTARTED

    def stop(self) -> None:
        """Stop the embedded servers, unless another command still uses them."""
        if self._embedded is not None:
            self._embedded.stop()
            self._started = False

    def _start(self) -> None:
        from worker.embedded import EmbeddedError  # noqa: PLC0415 (as above)

        assert self._embedded is not None
        try:
            started = self._embedded.start(
                postgres=self._settings.database_url is None, valkey=self._settings.redis_url is None
            )
        except EmbeddedError as error:
            raise Failed(str(error)) from None
        self.database_url = self._settings.database_url or started.database_url
        self.redis_url = self._settings.redis_url or started.redis_url
        if not self._started:
            say(f"The servers' data is in {self._settings.state_dir}.")


class Greeting:
    """Says once that web answers, and where."""

    def __init__(self, settings: Settings) -> None:
        self._address = urlsplit(settings.own_url)
        self._said = False

    def look(self) -> None:
        """See whether web answers by now."""
        if self._said:
            return
        host = self._address.hostname or ""
        connection = http.client.HTTPConnection(host, self._address.port, timeout=LOOK_SECONDS)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz")
            if connection.getresponse().status == http.HTTPStatus.OK:
                say(f"Lettrage is up: {self._address.geturl()}  (/readyz, /metrics). Ctrl-C ends it.")
                self._said = True
        connection.close()


def _programs(settings: Settings, servers: Servers) -> list[Program]:
    folder = _empty(settings.state_dir / METRICS_FOLDER)

    def program(name: str) -> Program:
        def environ() -> Mapping[str, str]:
            return {
                **os.environ,
                **_metrics_port(settings, name),
                "DATABASE_URL": servers.database_url,
                "REDIS_URL": servers.redis_url,
                "PROMETHEUS_MULTIPROC_DIR": str(folder),
            }

        return Program(name=name, argv=(*LETTRAGE, name), environ=environ)

    return [program(name) for name in PROCESSES]


def _metrics_port(settings: Settings, name: str) -> dict[str, str]:
    """Worker and clock cannot share a port: the clock has the next one."""
    if settings.metrics_port is None or name == "web":
        return {}
    return {"METRICS_PORT": str(settings.metrics_port + (name == "clock"))}


def _empty(folder: Path) -> Path:
    """The folder, without what an earlier run counted: those processes are gone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


def _guide(settings: Settings) -> None:
    """What to do next where nothing is configured yet."""
    if settings.config is None:
        say("There is no lettrage.toml here yet: examples/lettrage.toml is one to start from.")
    if not settings.regies:
        say("No régie is configured: events and callbacks will be refused. Add a [[regie]] block.")
    if not settings.clients:
        say("No client may call the API: `lettrage token portail --scope events --scope read --regie '*'` makes one.")
