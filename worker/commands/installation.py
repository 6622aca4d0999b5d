"""The installation that a command works on: its settings, its servers, its database."""

import asyncio
import errno
import fcntl
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import asyncpg

from worker.commands.exits import Conflict, Failed, TryLater
from worker.commands.output import say
from worker.doctor.machine import try_to_listen
from worker.settings import Settings, SettingsError, load, load_database
from worker.store.views import Views
from worker.supervise import SUPERVISOR
from worker.table import Problem

Answer = TypeVar("Answer")

UNREACHABLE: Final = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError)
"""What a database that is down, starting, full or not ours raises while it is asked."""


def settings_or_fail() -> Settings:
    """This installation's settings; what is wrong with them is told at once, and ends the command."""
    return _settings_or_fail(load)


def database_settings() -> Settings:
    """Those of a command that has to do with the database alone, with its address: no secret of a régie is needed.

    Raises:
        TryLater: no database is configured, and none runs here.
    """
    return with_database(_settings_or_fail(load_database))


def _settings_or_fail(loaded: Callable[[Mapping[str, str]], Settings]) -> Settings:
    try:
        settings = loaded(os.environ)
    except SettingsError as error:
        raise Failed(told(error.problems)) from None
    if SUPERVISOR not in os.environ:  # the supervisor has said it already
        for warning in settings.warnings:
            say(f"Warning: {warning}")
    return settings


def told(problems: list[Problem]) -> str:
    """Faults of a configuration, one a line."""
    count = "one fault" if len(problems) == 1 else f"{len(problems)} faults"
    return "\n  ".join([f"the configuration has {count}, so nothing starts:", *map(str, problems)])


def with_database(settings: Settings) -> Settings:
    """The settings with the database's address: the configured one, or that of the server that runs here.

    Raises:
        TryLater: neither is there.
    """
    url = settings.database_url or _embedded_url(settings.state_dir, "postgres", "DATABASE_URL")
    return replace(settings, database_url=url)


def with_servers(settings: Settings) -> Settings:
    """The settings with the addresses of database and Redis; see `with_database`."""
    url = settings.redis_url or _embedded_url(settings.state_dir, "valkey", "REDIS_URL")
    return with_database(replace(settings, redis_url=url))


def _embedded_url(state_dir: Path, server: str, variable: str) -> str:
    url = running_server(state_dir, server)
    if url is None:
        raise TryLater(
            f"{variable} is not set, and no `lettrage up` runs in {state_dir}.\n"
            f"Start `lettrage up` there, or set {variable} (or LETTRAGE_STATE_DIR)."
        )
    return url


def running_server(state_dir: Path, server: str) -> str | None:
    """The address of an embedded server that runs; None when it does not, or is another user's."""
    from worker.embedded import PROGRAMS, Home  # noqa: PLC0415 (never imported when the addresses are configured)

    home = Home(state_dir.resolve(), server)
    try:
        if home.server() is None or not home.is_occupied():
            return None
        return PROGRAMS[server].url(home.identity())
    except (OSError, ValueError):
        return None


def reading(ask: Callable[[Views], Awaitable[Answer]]) -> Answer:
    """What a question to this installation's database answers.

    Raises:
        TryLater: the database cannot be reached, or has no schema yet.
    """
    return asyncio.run(_asked(database_settings().database_url or "", ask))


async def _asked(database_url: str, ask: Callable[[Views], Awaitable[Answer]]) -> Answer:
    try:
        views = await Views.open(database_url, size=1)
        try:
            return await ask(views)
        finally:
            await views.close()
    except UNREACHABLE as error:
        raise TryLater(unreachable(error)) from None


def unreachable(error: BaseException) -> str:
    """Why the database does not answer, and who knows more."""
    if isinstance(error, asyncpg.UndefinedTableError):
        return "The database has no schema yet: run `lettrage migrate`."
    what = str(error) or type(error).__name__
    return f"The database does not answer: {what}\n`lettrage doctor` says how to mend it."


def refuse_taken_port(settings: Settings) -> None:
    """See that web can have its port, before anything is started.

    Raises:
        Conflict: another program has it.
        Failed: nobody can have it here.
    """
    try:
        try_to_listen(settings.host, settings.port)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise Conflict(f"Another program listens on {where}: stop it, or set PORT to a free one.") from None
        raise Failed(f"Nobody can listen on {where} ({error.strerror or error}): correct HOST or PORT.") from None


@contextmanager
def alone(state_dir: Path) -> Iterator[None]:
    """Hold the folder for one `lettrage up`.

    Raises:
        Conflict: another one runs there.
        Failed: the folder cannot be written.
    """
    path = state_dir / "up.lock"
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failed(f"{state_dir} cannot be used ({error.strerror}): set another LETTRAGE_STATE_DIR") from None
    try:
        _take(file, state_dir)
        yield
    finally:
        os.close(file)


def _take(file: int, state_dir: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(f"`lettrage up` runs already in {state_dir}; use another LETTRAGE_STATE_DIR") from None
