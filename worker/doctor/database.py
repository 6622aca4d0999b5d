"""Checks of the database: can it be reached, is it the right one, will it keep what it acknowledges."""

import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import asyncpg

from worker.doctor.check import Check, failed, ok, warning
from worker.store.migrate import MigrationError, SchemaNewerError, pending
from worker.store.postgres import SETTINGS
from worker.store.sql import load
from worker.store.views import QUERIES as VIEWS

QUERIES: Final = load("doctor.sql")

OLDEST_VERSION: Final = 150_000
"""PostgreSQL 15: NULLS NOT DISTINCT."""
CONNECT_SECONDS: Final = 5.0
QUERY_SECONDS: Final = 10.0
GRANT: Final = (
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA … TO this user, "
    "and SELECT, USAGE ON ALL SEQUENCES IN SCHEMA …; or use the owner's"
)
CONNECTIONS: Final = 62
"""Of one web, one worker and one clock, twice over: a rolling release runs old and new side by side."""
SKEW_SECONDS: Final = 5.0
"""The database's clock decides; a machine this far off confuses only whoever compares its logs."""

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection  # which is generic for type checkers alone

Row = Mapping[str, Any] | asyncpg.Record


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[Connection]:
    """A connection with the settings that Lettrage's own have."""
    connection = await asyncpg.connect(
        database_url,
        timeout=CONNECT_SECONDS,
        command_timeout=QUERY_SECONDS,
        server_settings={**SETTINGS, "application_name": "lettrage doctor"},
    )
    try:
        yield connection
    finally:
        await connection.close(timeout=CONNECT_SECONDS)


def unreachable(database_url: str, error: BaseException) -> Check:
    """Why nobody could connect. The address is told without its password."""
    what = f"{_place(database_url)} cannot be used: {type(error).__name__}: {error}".rstrip(": ")
    return failed("database", what, _mend(error))


def _place(database_url: str) -> str:
    parts = urlsplit(database_url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"PostgreSQL at {parts.hostname or 'its socket'}{port}{parts.path}"


def _mend(error: BaseException) -> str:
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return "correct user and password in DATABASE_URL, or allow them in the server's pg_hba.conf"
        case asyncpg.InvalidCatalogNameError():
            return "create that database (CREATE DATABASE), or correct its name in DATABASE_URL"
        case asyncpg.TooManyConnectionsError():
            return "raise max_connections, or end what uses them"
        case asyncpg.CannotConnectNowError():
            return "wait: the server is starting or stopping"
        case socket.gaierror():
            return "correct the host name in DATABASE_URL"
        case ssl.SSLError():
            return "correct sslmode and certificates in DATABASE_URL"
        case TimeoutError():
            return "open the way to it: a firewall drops what is sent there, or the server hangs"
        case ConnectionRefusedError():
            return "start the server, or correct host and port in DATABASE_URL"
        case _:
            return "correct DATABASE_URL, or ask whoever runs that server"


async def database(connection: Connection) -> list[Check]:
    """Everything about the server and the schema, on a connection made by `connected`."""
    before = datetime.now(UTC)
    began = time.monotonic()
    row = await connection.fetchrow(QUERIES.server)
    assert row is not None
    middle_seconds = (time.monotonic() - began) / 2
    behind = (row["now"] - before).total_seconds() - middle_seconds
    return [
        ok("database", "PostgreSQL answers"),
        *server(row),
        *durability(row),
        clock(behind),
        connections(row),
        *await session(connection),
        *await schema(connection),
    ]


async def identity(connection: Connection) -> str | None:
    """What tells this database from others, as each web on it says at `/readyz`."""
    found: str | None = await connection.fetchval(VIEWS.installation)
    return found


def server(row: Row) -> Iterator[Check]:
    """Whether it is a server that Lettrage can live on."""
    name = f"PostgreSQL {row['version_name']}"
    if row["version"] < OLDEST_VERSION:
        yield failed("database_version", f"{name} is too old", "upgrade to PostgreSQL 15 or later")
    else:
        yield ok("database_version", name)
    if row["encoding"] != "UTF8":
        mend = "create a database with ENCODING 'UTF8' and move the data there"
        yield failed("database_encoding", f"{row['encoding']} cannot hold every name", mend)
    if row["is_replica"] or row["read_only"] == "on":
        mend = "point DATABASE_URL at the primary, with default_transaction_read_only off"
        yield failed("database_role", "it takes no writes (a replica, or read only)", mend)
    if row["autovacuum"] != "on":
        yield warning("autovacuum", "it is off: tables grow and slow down", "set autovacuum = on")


def durability(row: Row) -> Iterator[Check]:
    """Whether what was acknowledged outlives a power cut."""
    lossy = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if row[name] == "off"]
    if not lossy:
        yield ok("durability", "commits are on disk before they are acknowledged")
    for name in lossy:
        what = f"{name} is off: an acknowledged payment can be lost"
        yield failed("durability", what, f"set {name} = on, for the server, the database and the user")


def clock(behind_seconds: float) -> Check:
    """How far this machine's clock is behind the database's, which decides."""
    shown = f"{abs(behind_seconds):.1f} s {'behind' if behind_seconds > 0 else 'ahead of'} the database's"
    if abs(behind_seconds) > SKEW_SECONDS:
        return warning("clock_skew", f"this machine's clock is {shown}", "let NTP set the clocks of both machines")
    return ok("clock_skew", "this machine and the database agree")


def connections(row: Row) -> Check:
    """Whether all processes find a connection."""
    room = row["max_connections"] - row["reserved_connections"]
    shown = f"{row['used_connections']} of {room} connections are used"
    mend = f"set max_connections to {CONNECTIONS + row['reserved_connections']} or more, or use fewer elsewhere"
    if room < CONNECTIONS or row["used_connections"] > room * 0.9:
        return warning("connections", shown, mend)
    return ok("connections", shown)


async def session(connection: Connection) -> list[Check]:
    """Whether the settings of a session arrive: a pooler may drop them, and with them timeouts and time zone."""
    rows = await connection.fetch(QUERIES.session, list(SETTINGS))
    lost = [row["name"] for row in rows if not _same(SETTINGS[row["name"]], row["value"])]
    if not lost:
        return [ok("session", "settings and time zone (UTC) arrive")]
    mend = "connect without a pooler, or let it pass startup parameters and pool whole sessions"
    return [failed("session", f"settings do not arrive: {', '.join(lost)}", mend)]


def _same(wanted: str, found: str | None) -> bool:
    """PostgreSQL shows 12000 ms as 12s."""
    if found is None:
        return False
    units = {"ms": 1, "s": 1000, "min": 60_000}
    for unit, milliseconds in units.items():
        digits = found.removesuffix(unit)
        if digits != found and digits.isdigit():
            return str(int(digits) * milliseconds) == wanted
    return found == wanted


async def schema(connection: Connection) -> list[Check]:
    """Whether the schema is this code's, and may be used."""
    try:
        missing = await pending(connection)
    except SchemaNewerError as error:
        return [failed("schema", str(error), "deploy the newer version here too")]
    except MigrationError as error:
        return [failed("schema", str(error), "put the migration's file back as it was released")]
    except asyncpg.InsufficientPrivilegeError as error:
        return [failed("permissions", f"this database user may not read the schema: {error}", GRANT)]
    if missing:
        return [
            failed("schema", f"it lacks {', '.join(missing)}", "run `lettrage migrate`"),
            *await _creation(connection),
        ]
    forbidden = await connection.fetch(QUERIES.forbidden)
    if forbidden:
        listed = ", ".join(f"{row['privilege']} on {row['name']}" for row in forbidden[:5])
        return [failed("permissions", f"this database user may not {listed}", GRANT)]
    return [ok("schema", "current"), ok("permissions", "all tables can be used")]


async def _creation(connection: Connection) -> list[Check]:
    if await connection.fetchval(QUERIES.may_create):
        return []
    mend = "GRANT CREATE ON SCHEMA … TO this user, or migrate as the schema's owner"
    return [failed("permissions", "this database user may not create tables", mend)]
