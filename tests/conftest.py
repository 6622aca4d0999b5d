"""Servers and databases for all tests.

- `servers`: PostgreSQL and Valkey of this test session's own, started at first use in a temporary folder, stopped at
  its end; should the session be killed, they stop by themselves (worker/embedded.py).
- `postgres`: the address of that PostgreSQL's own database. With `--older-postgres`, that of Debian's PostgreSQL 15
  instead, for the tests that take a database; the others are left out.
- `database_url`: a fresh, migrated database for one test, copied from a template in a few hundredths of a second.
- `empty_database_url`: a fresh database with nothing in it.
- `redis_url`: the session's Valkey, emptied before each test.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import tempfile
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import asyncpg
import hypothesis
import pytest
import redis

from tests.memory import settle_memory
from tests.older_postgres import OlderPostgres, is_installed
from worker.embedded import Embedded, Servers
from worker.store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE: Final = "lettrage_template"
NUMBERS: Final = itertools.count(1)
MEMORY: Final = Path("/dev/shm")  # noqa: S108 (only a folder with a random name is made there)
"""Linux's file system in memory."""
ROOM_BYTES: Final = 8 * 1024**3
"""For the servers of a few sessions at once: each may keep 2 GB of its log (worker/embedded.py)."""

# How long an example takes says how busy the machine is, and nothing about what is tested.
hypothesis.settings.register_profile("here", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("here")

# A script's background job ignores Ctrl-C, and whatever it starts would too: also what is told to stop by it here.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the choice of the older PostgreSQL."""
    parser.addoption("--older-postgres", action="store_true", help="run the database tests on Debian's PostgreSQL 15")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On the older PostgreSQL, run only the tests that take a database."""
    if not config.getoption("--older-postgres"):
        return
    chosen = [item for item in items if "postgres" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def pytest_collection_finish() -> None:
    """What modules made lives as long as the session: the collector need not read it again and again."""
    settle_memory()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL 18 and Valkey 9 for this session."""
    with folder_for_servers() as folder, Embedded(folder) as embedded:
        yield embedded.start()


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of the PostgreSQL that this session tests with."""
    if not request.config.getoption("--older-postgres"):
        yield request.getfixturevalue("servers").database_url
        return
    if not is_installed():
        pytest.skip("no older PostgreSQL here (Debian: apt-get install postgresql-15)")
    with folder_for_servers() as folder, OlderPostgres(folder) as address:
        yield address


@pytest.fixture(scope="session")
def template(postgres: str) -> str:
    """The name of a migrated database that is copied for each test."""
    execute(postgres, f"CREATE DATABASE {TEMPLATE}")
    asyncio.run(migrate(with_database(postgres, TEMPLATE)))
    return TEMPLATE


@pytest.fixture
def database_url(postgres: str, template: str) -> Iterator[str]:
    """The address of a migrated database of this test's own."""
    with database(postgres, template) as address:
        yield address


@pytest.fixture
def empty_database_url(postgres: str) -> Iterator[str]:
    """The address of an empty database of this test's own."""
    with database(postgres, "template1") as address:
        yield address


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """The address of an empty Valkey."""
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushall()
    return servers.redis_url


@contextmanager
def database(postgres: str, template: str) -> Iterator[str]:
    """A database copied from another one, gone afterwards whoever is still connected."""
    name = f"test_{next(NUMBERS)}"
    execute(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield with_database(postgres, name)
    execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def folder_for_servers() -> AbstractContextManager[Path]:
    """A temporary folder in memory where there is plenty: a database for each test is hundreds of files made and gone.

    Nothing is proved by a disk here: tests that kill servers, and the chaos, have folders of their own, on disk.
    """
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # the file system may be larger than what is left
    roomy = MEMORY.is_dir() and min(free, shutil.disk_usage(MEMORY).free) >= ROOM_BYTES
    return temporary_folder(MEMORY if roomy else None)


@contextmanager
def temporary_folder(where: Path | None = None) -> Iterator[Path]:
    """A folder that is gone afterwards, whoever owns what is in it; where temporary ones are, if nothing is said."""
    folder = Path(tempfile.mkdtemp(prefix="lettrage-tests-", dir=where))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def with_database(address: str, name: str) -> str:
    """The same server's address of another database."""
    return urlsplit(address)._replace(path=f"/{name}").geturl()


def execute(address: str, statement: str) -> None:
    """Run one statement on a connection of its own."""

    async def run() -> None:
        connection = await asyncpg.connect(address)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())
