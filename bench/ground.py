"""What is measured on: servers of the benchmark's own, and a fresh, migrated database for each run."""

import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from schemas.records import Policy
from worker.embedded import Embedded, Servers
from worker.store.migrate import migrate
from worker.store.postgres import PostgresStore

REGIE = "bench"
POLICY = Policy(label="Régie de mesure", gateway="dummy", mode="test")

_numbers = itertools.count(1)


@contextmanager
def servers() -> Iterator[Servers]:
    """PostgreSQL and Valkey as `lettrage up` starts them, in a temporary folder, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="lettrage-bench-"))
    try:
        with Embedded(folder) as embedded:
            yield embedded.start()
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def database(address: str, *, template: str | None = None) -> AsyncIterator[str]:
    """The address of a migrated database of one run's own, gone afterwards; a copy of `template`'s, or a fresh one."""
    name = f"bench_{next(_numbers)}"
    copied = f" TEMPLATE {urlsplit(template).path[1:]}" if template else ""
    await run_sql(address, f"CREATE DATABASE {name}{copied}")
    own = urlsplit(address)._replace(path=f"/{name}").geturl()
    try:
        if template is None:
            await migrate(own)
        yield own
    finally:
        await run_sql(address, f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def store(database_url: str, *, size: int = 4) -> AsyncIterator[PostgresStore]:
    """The store of one process, with the régie that everything here happens in."""
    opened = await PostgresStore.open(database_url, size=size, application_name="lettrage bench")
    try:
        await opened.sync_policies({REGIE: POLICY})
        yield opened
    finally:
        await opened.close()


async def run_sql(database_url: str, *statements: str) -> None:
    """Run statements on a connection of their own, each by itself."""
    connection = await asyncpg.connect(database_url)
    try:
        for statement in statements:
            await connection.execute(statement, timeout=None)
    finally:
        await connection.close()


async def fetch(database_url: str, query: str) -> list[Any]:
    """Read rows on a connection of their own."""
    connection = await asyncpg.connect(database_url)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()
