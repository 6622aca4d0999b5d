"""Brings the database's schema to what this code needs: plain SQL files, each applied once, in order, forward only.

A file is `migrations/NNNN_name.sql`, counted from 0001 without gaps. Each is applied in one transaction together with
its row in `schema_migrations`, under an advisory lock that lives as long as that transaction: any number of processes
may migrate at once, behind a connection pooler too. The hash of what was applied is kept, so that a file changed
afterwards is noticed.

Code works on a schema with migrations that it does not know, so that two releases run side by side and a release can be
taken back: what would break older code says in its name which migration a code must know to be safe, as
`0012_needs_0010_drop_label.sql`, and that older code starts no more.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg
import stamina

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

__all__ = ["MIGRATIONS", "Migration", "MigrationError", "SchemaNewerError", "current", "load", "migrate", "pending"]

MIGRATIONS: Final = Path(__file__).parent / "migrations"
NAME: Final = re.compile(r"(\d{4})_(?:needs_(\d{4})_)?([a-z0-9_]+)\.sql")
ADVISORY_LOCK: Final = 0x6C657474  # "lett": any number that nobody else takes in this database
CONNECT_SECONDS: Final = 10.0
OTHERS_SECONDS: Final = 300  # another process may be applying a long migration
TABLE_LOCK_SECONDS: Final = 3  # a waiting ALTER TABLE makes everybody behind it wait
BLOCKED_ATTEMPTS: Final = 10  # with stamina's pauses, about half a minute of traffic

LEDGER: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY CHECK (version > 0),
    name text NOT NULL,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


class MigrationError(Exception):
    """The migrations' files and the database disagree; the message says how, and what to do."""


class SchemaNewerError(MigrationError):
    """The database was migrated by newer code, and no longer is what this code needs: deploy newer code."""


@dataclass(frozen=True)
class Migration:
    """One step of the schema."""

    version: int
    name: str  # as the file's, without the suffix
    text: str

    @property
    def sha256(self) -> str:
        """What was applied, recognisably."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def load(folder: Path = MIGRATIONS) -> list[Migration]:
    """All migrations of a folder, in order. Raises MigrationError where a name or a number is wrong."""
    found = sorted(folder.glob("*.sql"))
    misnamed = [file.name for file in found if NAME.fullmatch(file.name) is None]
    if misnamed:
        raise MigrationError(f"name these NNNN_name.sql, in lower case: {', '.join(misnamed)}")
    migrations = [Migration(int(file.name[:4]), file.stem, file.read_text()) for file in found]
    idle = [each.name for each in migrations if "_needs_" in each.name and not 0 < _needed(each.name) <= each.version]
    if idle:
        raise MigrationError(f"after needs_ say a migration that is there by then, NNNN: {', '.join(idle)}")
    if [migration.version for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationError(f"number them 0001, 0002, … each once: {', '.join(file.name for file in found)}")
    return migrations


async def migrate(database: str | Connection, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what is missing and return its names; safe to run by several processes at once.

    `database` is an address or an open connection that has no transaction. Raises MigrationError (nothing was changed)
    where files and database disagree, and asyncpg's LockNotAvailableError where traffic let no change through:
    what was applied until then stays, and running it again goes on from there.
    """
    if not isinstance(database, str):
        return await _apply_all(database, load(folder))
    connection = await asyncpg.connect(database, timeout=CONNECT_SECONDS)
    try:
        return await _apply_all(connection, load(folder))
    finally:
        await connection.close(timeout=CONNECT_SECONDS)


async def pending(connection: Connection, folder: Path = MIGRATIONS) -> list[str]:
    """Names of the migrations that the database lacks. Raises MigrationError where files and database disagree."""
    exists = await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL")
    applied = await _applied(connection) if exists else []
    return [migration.name for migration in _missing(load(folder), applied)]


async def current(connection: Connection, folder: Path = MIGRATIONS) -> bool:
    """Whether the database has every migration. Raises SchemaNewerError where it has one that breaks this code."""
    return not await pending(connection, folder)


async def _apply_all(connection: Connection, migrations: list[Migration]) -> list[str]:
    names = []
    while (applied := await _apply_next(connection, migrations)) is not None:
        names.append(applied)
    return names


@stamina.retry(on=asyncpg.LockNotAvailableError, attempts=BLOCKED_ATTEMPTS, timeout=None, wait_max=5.0)
async def _apply_next(connection: Connection, migrations: list[Migration]) -> str | None:
    """Apply the first missing migration in a transaction of its own; None where none is missing."""
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{OTHERS_SECONDS}s'")
        await connection.execute("SET LOCAL statement_timeout = 0")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", ADVISORY_LOCK)
        await connection.execute("SET LOCAL client_min_messages = warning")
        await connection.execute(LEDGER)
        missing = _missing(migrations, await _applied(connection))
        if not missing:
            return None
        await connection.execute(f"SET LOCAL lock_timeout = '{TABLE_LOCK_SECONDS}s'")
        await connection.execute(missing[0].text)
        await _record(connection, missing[0])
        return missing[0].name


def _needed(name: str) -> int:
    """The migration that a code must know to work on what this one leaves; 0 when it breaks nobody."""
    found = NAME.fullmatch(f"{name}.sql")
    return int(found[2] or 0) if found else 0


async def _applied(connection: Connection) -> list[asyncpg.Record]:
    return await connection.fetch("SELECT version, name, sha256 FROM schema_migrations ORDER BY version")


async def _record(connection: Connection, migration: Migration) -> None:
    await connection.execute(
        "INSERT INTO schema_migrations (version, name, sha256) VALUES ($1, $2, $3)",
        migration.version,
        migration.name,
        migration.sha256,
    )


def _missing(migrations: Sequence[Migration], applied: Sequence[asyncpg.Record]) -> Sequence[Migration]:
    """The migrations after the last applied one, once those before are found to be the same."""
    breaking = [row["name"] for row in applied if _needed(row["name"]) > len(migrations)]
    if breaking:
        raise SchemaNewerError(
            f"the database has migrations that need newer code than this ({', '.join(breaking)}): run newer code"
        )
    for migration, row in zip(migrations, applied, strict=False):
        if migration.sha256 != row["sha256"]:
            raise MigrationError(
                f"{migration.name} was changed after it was applied (as {row['name']}): "
                "put the file back as it was, and write the change as a new migration"
            )
    return migrations[len(applied) :]
