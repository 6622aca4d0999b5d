"""Sealing what was applied, beside the work: any number of processes at once, a batch at a time, nothing skipped.

Numbers in the order of application are given before their transaction commits, so a later one may be seen before an
earlier one. So a sealer first notes the last number given, then a transaction of its own that began after it. Once no
transaction older than that one runs, all that will ever be seen up to that number is seen.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import asyncpg

from worker.domain import seal
from worker.store.sql import load

QUERIES: Final = load("seals.sql")

BATCH: Final = 500
"""Events sealed in one transaction: some ten milliseconds of a clock that has holds to end."""
ACQUIRE_SECONDS: Final = 10.0
EVENT_FIELDS: Final = 11
OUTCOME_FIELDS: Final = 5
"""The columns of `unsealed` that say what came; one has the digest of its facts; the next say what became of it."""

Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"
Row: TypeAlias = Mapping[str, Any]


class Mark(NamedTuple):
    """Numbers up to `last` are settled once no transaction before `transaction` runs any more."""

    last: int
    transaction: str


class Link(NamedTuple):
    """Where a chain ends."""

    length: int
    head: bytes


class Digests(NamedTuple):
    """One event as it is sealed."""

    place: int
    applied_seq: int
    event: bytes
    without_facts: bytes
    """As versions before 0006 seal it, and everybody what has no facts apart."""
    application: bytes


class Sealer:
    """Seals on the connections of a store. What it remembers is a hint: a restart loses nothing."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool
        self._mark: Mark | None = None
        self._sealed_to = 0

    async def seal(self) -> bool:
        """Seal the next events whose number is settled; True when more of them wait.

        Raises whatever the database does; then nothing was sealed, or all of it was: again is safe.
        """
        try:
            self._mark = self._mark or await self._look()
            return self._mark is not None and await self._seal(self._mark)
        except BaseException:
            self._mark, self._sealed_to = None, 0  # they may be another server's, after a failover
            raise

    async def _look(self) -> Mark | None:
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            last = await conn.fetchval(QUERIES.last_number)
            if last == self._sealed_to:
                return None
            return Mark(last, await conn.fetchval(QUERIES.transaction))

    async def _seal(self, mark: Mark) -> bool:
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            if not await conn.fetchval(QUERIES.one_sealer):
                return False
            if not await conn.fetchval(QUERIES.is_settled, mark.transaction):
                return False
            sealed_to = await conn.fetchval(QUERIES.sealed_to)
            rows = await conn.fetch(QUERIES.unsealed, sealed_to, mark.last, BATCH)
            await _lengthen(conn, rows)
        if len(rows) == BATCH:
            return True
        self._mark, self._sealed_to = None, mark.last
        return False


async def digests_of(conn: Connection, rows: Sequence[Row]) -> list[Digests]:
    """Digest events, read as `unsealed` reads them, with what they wrote into the journal."""
    changes = defaultdict(list)
    for change in await conn.fetch(QUERIES.changes, [row["place"] for row in rows]):
        changes[change["place"]].append(tuple(change)[1:])
    return [_digests(tuple(row.values()), changes[row["place"]]) for row in rows]


def _digests(fields: tuple[Any, ...], journal: Sequence[tuple[Any, ...]]) -> Digests:
    event, facts = fields[:EVENT_FIELDS], fields[EVENT_FIELDS]
    outcome = fields[EVENT_FIELDS + 1 : EVENT_FIELDS + 1 + OUTCOME_FIELDS]
    without_facts = seal.event_digest(event)
    whole = without_facts if facts is None else seal.event_digest_with_facts(event, facts)
    return Digests(event[0], outcome[0], whole, without_facts, seal.application_digest(outcome, journal))


async def _lengthen(conn: Connection, rows: Sequence[Row]) -> None:
    """Add one seal to the chain of each régie among these events."""
    by_regie: dict[str, list[Digests]] = defaultdict(list)
    for row, digests in zip(rows, await digests_of(conn, rows), strict=True):
        by_regie[row["regie"]].append(digests)
    ends = {row["regie"]: Link(row["length"], row["head"]) for row in await conn.fetch(QUERIES.chains, list(by_regie))}
    now = await conn.fetchval(QUERIES.now)
    for regie, sealed in by_regie.items():
        await _add(conn, regie, ends.get(regie, Link(0, seal.BEGINNING)), now, sealed)


async def _add(conn: Connection, regie: str, end: Link, now: int, sealed: Sequence[Digests]) -> None:
    number, last_seq = end.length + 1, sealed[-1].applied_seq
    digests = end.head, _joined(each.event for each in sealed), _joined(each.application for each in sealed)
    hashed = seal.seal_hash(regie, number, now, last_seq, digests)
    places = [each.place for each in sealed]
    await conn.execute(QUERIES.seal, regie, number, now, last_seq, places, *digests[1:], end.head, hashed)
    await conn.execute(QUERIES.lengthen, regie, number, hashed, last_seq)


def _joined(digests: Iterable[bytes]) -> bytes:
    return b"".join(digests)
