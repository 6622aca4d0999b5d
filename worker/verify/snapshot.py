"""One snapshot of the database for several processes: read only, and nothing that is committed meanwhile is seen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import asyncpg

from worker.store.sql import load

QUERIES: Final = load("verify.sql")
CONNECT_SECONDS: Final = 10.0
STATEMENT_MILLISECONDS: Final = 600_000
"""Ten minutes: the longest reads every event there is."""
SETTINGS: Final = {
    "timezone": "UTC",
    "application_name": "lettrage verify",
    "statement_timeout": str(STATEMENT_MILLISECONDS),
    "idle_in_transaction_session_timeout": "0",
    "jit": "off",
}

Connection: TypeAlias = "asyncpg.Connection[Any]"


@asynccontextmanager
async def snapshot(database_url: str, name: str | None = None) -> AsyncIterator[Connection]:
    """A connection that sees the database as it is now, or as the snapshot of that name does, until the end.

    Raises whatever the driver does when the database cannot be reached.
    """
    connection: Connection = await asyncpg.connect(database_url, timeout=CONNECT_SECONDS, server_settings=SETTINGS)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            if name is not None:
                await connection.execute(f"SET TRANSACTION SNAPSHOT '{name}'")
            yield connection
    finally:
        await connection.close(timeout=CONNECT_SECONDS)


async def exported(connection: Connection) -> str:
    """Name the snapshot of a connection, for others."""
    name: str = await connection.fetchval(QUERIES.export_snapshot)
    return name
