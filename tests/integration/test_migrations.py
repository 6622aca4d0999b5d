"""Migrations: applied once, in order, by any number of processes at once, and never silently different."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.schema import DOCUMENTED, documented_from
from worker.store.migrate import MigrationError, SchemaNewerError, current, load, migrate, pending


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to an empty database."""
    opened = await asyncpg.connect(empty_database_url)
    yield opened
    await opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two migrations of no interest."""
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id integer);")
    (tmp_path / "0002_second.sql").write_text("CREATE TABLE second (id integer); INSERT INTO second VALUES (2);")
    return tmp_path


async def tables(connection: asyncpg.Connection[asyncpg.Record]) -> set[str]:
    """Names of the tables there are."""
    rows = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    return {row["relname"] for row in rows}


async def test_what_is_missing_is_applied_in_order(
    connection: asyncpg.Connection[asyncpg.Record], folder: Path
) -> None:
    """An empty database gets all migrations, a current one none, and each is asked for what it lacks."""
    assert await pending(connection, folder) == ["0001_first", "0002_second"]
    assert not await current(connection, folder)

    assert await migrate(connection, folder) == ["0001_first", "0002_second"]

    assert await current(connection, folder)
    assert await migrate(connection, folder) == []
    (folder / "0003_third.sql").write_text("CREATE TABLE third (id integer);")
    assert await migrate(connection, folder) == ["0003_third"]
    assert await tables(connection) == {"first", "second", "third", "schema_migrations"}


async def test_a_failing_file_leaves_no_trace(connection: asyncpg.Connection[asyncpg.Record], folder: Path) -> None:
    """A file is applied whole or not at all, and those before it stay applied."""
    (folder / "0002_second.sql").write_text("CREATE TABLE second (id integer); SELECT 1 / 0;")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, folder)

    assert await tables(connection) == {"first", "schema_migrations"}
    assert await pending(connection, folder) == ["0002_second"]


async def test_a_file_changed_after_it_was_applied_is_an_error(
    connection: asyncpg.Connection[asyncpg.Record], folder: Path
) -> None:
    """The error names the file and says what to do, before anything is changed."""
    await migrate(connection, folder)
    (folder / "0001_first.sql").write_text("CREATE TABLE first (id bigint);")
    (folder / "0003_third.sql").write_text("CREATE TABLE third (id integer);")

    with pytest.raises(MigrationError, match=r"0001_first was changed .* put the file back"):
        await migrate(connection, folder)
    with pytest.raises(MigrationError, match="0001_first"):
        await current(connection, folder)

    assert "third" not in await tables(connection)


async def test_code_works_on_a_schema_with_more_than_it_knows(
    connection: asyncpg.Connection[asyncpg.Record], folder: Path
) -> None:
    """Two releases run side by side, and one can be taken back: nothing is missing, nothing is done."""
    await migrate(connection, folder)
    (folder / "0002_second.sql").unlink()

    assert await current(connection, folder)
    assert await pending(connection, folder) == []
    assert await migrate(connection, folder) == []


async def test_a_schema_that_breaks_older_code_is_named(
    connection: asyncpg.Connection[asyncpg.Record], folder: Path
) -> None:
    """A migration's name says which code it leaves working; code from before that says what it meets, and stops."""
    (folder / "0003_needs_0002_third.sql").write_text("DROP TABLE first;")
    await migrate(connection, folder)

    (folder / "0003_needs_0002_third.sql").unlink()
    assert await current(connection, folder)

    (folder / "0002_second.sql").unlink()
    for act in (migrate, pending, current):
        with pytest.raises(SchemaNewerError, match="0003_needs_0002_third"):
            await act(connection, folder)


@pytest.mark.parametrize("name", ["0003_needs_2_third", "0003_needs_0004_third", "0003_needs_0000_third"])
def test_a_need_that_protects_nobody_is_refused(folder: Path, name: str) -> None:
    """No migration's number, or one that its own code does not know."""
    (folder / f"{name}.sql").write_text("DROP TABLE first;")
    with pytest.raises(MigrationError, match=name):
        load(folder)


async def test_several_migrating_at_once_apply_each_file_once(empty_database_url: str, folder: Path) -> None:
    """Eight processes that start together share the work: together they report each file once, none fails."""
    for number in range(3, 8):
        (folder / f"000{number}_more.sql").write_text(f"CREATE TABLE more_{number} (id integer);")

    applied = await asyncio.gather(*(migrate(empty_database_url, folder) for _ in range(8)))

    assert sorted(name for names in applied for name in names) == [migration.name for migration in load(folder)]


async def test_a_table_in_use_delays_a_migration_but_not_those_behind_it(
    connection: asyncpg.Connection[asyncpg.Record],
    empty_database_url: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A migration that cannot get its lock steps back, so that readers go on, and gets it when the table is free."""
    monkeypatch.setattr("worker.store.migrate.TABLE_LOCK_SECONDS", 1)
    await migrate(connection, folder)
    (folder / "0003_alter.sql").write_text("ALTER TABLE first ADD COLUMN more integer;")
    reader = await asyncpg.connect(empty_database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SELECT * FROM first")

    migrating = asyncio.create_task(migrate(empty_database_url, folder))
    await somebody_waits(reader)
    await reader.execute("SELECT * FROM first", timeout=5)  # waits behind the ALTER for its second at most
    await transaction.rollback()

    assert await migrating == ["0003_alter"]
    await reader.close()


async def somebody_waits(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Return once somebody waits for a table's lock."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
    while not await connection.fetchval(waiting):  # noqa: ASYNC110 - PostgreSQL announces no waiting
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "names",
    [["0001_a.sql", "0003_b.sql"], ["0001_a.sql", "0001_b.sql"], ["0002_a.sql"], ["1_a.sql"], ["0001-a.sql"]],
    ids=["gap", "twice", "no first", "short number", "wrong sign"],
)
def test_misnamed_files_are_refused(tmp_path: Path, names: list[str]) -> None:
    """A gap, a number used twice or a strange name is an error before a database is touched."""
    for name in names:
        (tmp_path / name).write_text("SELECT 1;")

    with pytest.raises(MigrationError):
        load(tmp_path)


async def test_the_migrations_give_the_documented_schema(database_url: str, request: pytest.FixtureRequest) -> None:
    """docs/schema.sql is what the migrations make; `make schema` writes it anew."""
    if request.config.getoption("--older-postgres"):
        pytest.skip(
            "pg_dump words a few things otherwise on an older server; that they apply there is shown by all tests"
        )

    assert await documented_from(database_url) == DOCUMENTED.read_text()
