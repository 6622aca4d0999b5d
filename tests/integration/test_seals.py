"""Sealing on PostgreSQL: everything once, in order, nothing skipped, whoever else is at it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from schemas.events import Queue
from tests.integration.worlds import ASKED, ASKED_POLICY, POLICY, REGIE, issued, started
from worker.domain import seal
from worker.domain.decide import decide
from worker.store import seals
from worker.store.postgres import PostgresStore
from worker.store.seals import Sealer

JOURNAL = Path(__file__).parents[2] / "docs" / "journal.md"
SOON = 15
"""Seconds that a busy machine may take for what needs milliseconds."""
TAKE_A_NUMBER = """
WITH taken AS (DELETE FROM pending WHERE place = $1)
INSERT INTO outcomes (place, outcome, reason, decided_at, policy_version)
VALUES ($1, 'applied', 'issued', clock_timestamp(), 1)
"""
"""What a worker's transaction does that matters here."""


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    """A store of two régies."""
    opened = await PostgresStore.open(database_url)
    await opened.sync_policies({REGIE: POLICY, ASKED: ASKED_POLICY})
    yield opened
    await opened.close()


async def apply_all(store: PostgresStore) -> None:
    """Apply what waits, in one transaction."""
    await store.apply(await store.claim(Queue.PAYMENT_STARTED, 1000), decide)


async def seal_all(store: PostgresStore, *sealers: Sealer) -> None:
    """Let sealers seal at once until every application is sealed."""
    async with asyncio.timeout(SOON):
        while await store.pool.fetchval(
            "SELECT coalesce(max(applied_seq), 0) > (SELECT coalesce(max(last_seq), 0) FROM chains) FROM outcomes"
        ):
            await asyncio.gather(*(sealer.seal() for sealer in sealers))


async def sealed(store: PostgresStore, regie: str = REGIE) -> list[int]:
    """The places that a régie's seals name, seal after seal; the chain must hold."""
    places: list[int] = []
    previous = seal.BEGINNING
    found = await store.pool.fetch(
        "SELECT *, (extract(EPOCH FROM sealed_at) * 1000000)::bigint AS us FROM seals WHERE regie = $1 ORDER BY number",
        regie,
    )
    for number, row in enumerate(found, 1):
        digests = previous, row["events"], row["applications"]
        previous = seal.seal_hash(regie, number, row["us"], row["last_seq"], digests)
        assert (row["number"], row["hash"]) == (number, previous)
        places += row["places"]
    end = await store.pool.fetchrow("SELECT length, head FROM chains WHERE regie = $1", regie)
    assert (end and tuple(end)) == ((len(found), previous) if found else None)
    return places


async def applied(store: PostgresStore, regie: str = REGIE) -> list[int]:
    """The places of a régie's events in the order of their application."""
    found = await store.pool.fetch(
        "SELECT place FROM outcomes JOIN events USING (place) WHERE regie = $1 ORDER BY applied_seq", regie
    )
    return [row["place"] for row in found]


async def test_every_application_is_sealed_once_in_its_order(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches of three, by four sealers at once, while more is applied; each régie has a chain of its own."""
    monkeypatch.setattr(seals, "BATCH", 3)
    sealers = [Sealer(store.pool) for _ in range(4)]
    for number in range(20):
        asked = issued(f"A-{number}")
        asked.regie = asked.data.regie = ASKED
        await store.record([issued(f"F-{number}"), started(f"P-{number}", f"F-{number}"), asked])
        await asyncio.gather(apply_all(store), *(sealer.seal() for sealer in sealers))
    await seal_all(store, *sealers)
    for regie, count in ((REGIE, 40), (ASKED, 20)):
        places = await sealed(store, regie)
        assert len(places) == count
        assert places == await applied(store, regie)


@asynccontextmanager
async def transaction(database_url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A transaction of another process, committed at the end."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


async def test_what_is_committed_late_is_not_skipped(store: PostgresStore, database_url: str) -> None:
    """While an earlier number is not committed, a later one that is waits for it; then both are sealed, in order."""
    (late,) = await store.record([issued("F-late")])
    sealer = Sealer(store.pool)
    async with transaction(database_url) as other:
        await other.execute(TAKE_A_NUMBER, late.place)
        (soon,) = await store.record([issued("F-soon")])
        await apply_all(store)
        assert await applied(store) == [soon.place]
        for _ in range(3):
            assert not await sealer.seal()
        assert await sealed(store) == []
    await seal_all(store, sealer)
    assert await sealed(store) == [late.place, soon.place]


async def test_a_number_that_is_never_committed_keeps_nobody(store: PostgresStore, database_url: str) -> None:
    """A transaction that is rolled back leaves a gap; what comes after it is sealed."""
    (lost,) = await store.record([issued("F-lost")])
    sealer = Sealer(store.pool)
    async with transaction(database_url) as other:
        await other.execute(TAKE_A_NUMBER, lost.place)
        await other.execute("ROLLBACK; BEGIN")
    await apply_all(store)
    await seal_all(store, sealer)
    assert await sealed(store) == [lost.place]


async def test_work_that_never_pauses_does_not_keep_sealing_back(store: PostgresStore, database_url: str) -> None:
    """There is always a transaction under way; a sealer waits for those that were, not for those that come."""
    sealer = Sealer(store.pool)
    await store.record([issued("F-1")])
    await apply_all(store)
    async with transaction(database_url) as first:
        await first.execute("SELECT pg_current_xact_id()")
        assert not await sealer.seal()
        async with transaction(database_url) as second:
            await second.execute("SELECT pg_current_xact_id()")
            await first.execute("COMMIT; BEGIN")
            await seal_all(store, sealer)
    assert len(await sealed(store)) == 1


async def test_an_idle_database_is_left_alone(store: PostgresStore) -> None:
    """Once everything is sealed, looking costs no transaction number and writes nothing."""
    sealer = Sealer(store.pool)
    await store.record([issued("F-1")])
    await apply_all(store)
    await seal_all(store, sealer)
    before = await store.pool.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
    for _ in range(5):
        assert not await sealer.seal()
    assert await store.pool.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::text") == before


async def test_a_sealer_that_fails_starts_afresh(store: PostgresStore) -> None:
    """A connection that breaks costs nothing but time."""
    sealer = Sealer(store.pool)
    await store.record([issued("F-1")])
    await apply_all(store)
    await store.pool.execute("ALTER TABLE chains RENAME TO hidden")
    with pytest.raises(asyncpg.UndefinedTableError):
        await sealer.seal()
    await store.pool.execute("ALTER TABLE hidden RENAME TO chains")
    await seal_all(store, sealer)
    assert await sealed(store) == await applied(store)


@pytest.mark.parametrize("statement", ["UPDATE seals SET places = '{1}'", "DELETE FROM seals", "TRUNCATE seals"])
async def test_seals_are_append_only(store: PostgresStore, statement: str) -> None:
    """The database refuses anything but adding."""
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await store.pool.execute(statement)


async def test_a_seal_is_recomputed_by_hand(store: PostgresStore) -> None:
    """The document's SQL, as it stands there, gives the hash of a régie's first seal."""
    await store.record([issued("F-1"), started("P-1", "F-1")])
    await apply_all(store)
    await seal_all(store, Sealer(store.pool))
    (statement,) = re.findall(r"```sql\n(.*?);\n```", JOURNAL.read_text("utf-8"), re.DOTALL)
    by_hand = await store.pool.fetchval(statement.replace("'enfance'", f"'{REGIE}'"))
    assert by_hand == await store.pool.fetchval("SELECT hash FROM seals WHERE regie = $1 AND number = 1", REGIE)
