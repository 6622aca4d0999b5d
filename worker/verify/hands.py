"""Who does the reading and deciding: this process alone, or several beside it, all in one snapshot."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing import get_context
from typing import Final, Protocol, TypeVar

from worker.store import rows
from worker.verify import chain, portion
from worker.verify.chain import Compared, Sealed
from worker.verify.portion import Found, Versions
from worker.verify.snapshot import QUERIES, Connection, exported, snapshot

Item = TypeVar("Item")
Answer = TypeVar("Answer")

LOOK_UP: Final = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
"""What a helper reads are a few hundred rows by their keys; a table that statistics call small is not read for them."""
AHEAD: Final = 2
"""Pieces of work given out for each process: one is done, one is there when it is."""


class Hands(Protocol):
    """Does pieces of work."""

    width: int
    """Pieces that may be given out at once."""

    async def examine(self, dossiers: Sequence[Sequence[int]]) -> Found:
        """Decide dossiers again; see `portion`."""
        ...

    async def compare(self, seals: Sequence[Sealed]) -> Compared:
        """Compare seals with what they seal; see `chain`."""
        ...


class Alone:
    """This process's own connection."""

    width = 1

    def __init__(self, conn: Connection, versions: Versions) -> None:
        self._conn = conn
        self._versions = versions

    async def examine(self, dossiers: Sequence[Sequence[int]]) -> Found:
        """Decide dossiers again."""
        return await portion.examine(self._conn, dossiers, self._versions)

    async def compare(self, seals: Sequence[Sealed]) -> Compared:
        """Compare seals with what they seal."""
        return await chain.compare(self._conn, seals)


class Several:
    """Processes, each with a connection to the same snapshot."""

    def __init__(self, pool: ProcessPoolExecutor, processes: int) -> None:
        self._pool = pool
        self.width = AHEAD * processes

    async def examine(self, dossiers: Sequence[Sequence[int]]) -> Found:
        """Decide dossiers again, elsewhere."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _examine, dossiers)

    async def compare(self, seals: Sequence[Sealed]) -> Compared:
        """Compare seals with what they seal, elsewhere."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _compare, seals)


@asynccontextmanager
async def hands(conn: Connection, database_url: str, processes: int) -> AsyncIterator[Hands]:
    """Whoever does the work, for one process or several."""
    if processes == 1:
        yield await _alone(conn)
        return
    pool = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(database_url, await exported(conn))
    )
    try:
        yield Several(pool, processes)
    finally:
        pool.shutdown(cancel_futures=True)


async def spread(
    items: AsyncIterator[Item], work: Callable[[Item], Awaitable[Answer]], width: int
) -> AsyncIterator[Answer]:
    """Do `work` on each item, `width` at once, and answer as they are done."""
    under_way: set[asyncio.Future[Answer]] = set()
    try:
        async for item in items:
            under_way.add(asyncio.ensure_future(work(item)))
            if len(under_way) >= width:
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    yield each.result()
        for each in asyncio.as_completed(list(under_way)):
            yield await each
    finally:
        for each in under_way:
            each.cancel()


async def _alone(conn: Connection) -> Alone:
    policies = rows.read_policies(await conn.fetchval(QUERIES.policies))
    return Alone(conn, {(row.regie, row.version): row.body for row in policies})


class _Helper:
    """What one helping process has: its loop, and its connection for as long as it lives."""

    def __init__(self, database_url: str, snapshot_name: str) -> None:
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.hands = self.runner.run(self._open(database_url, snapshot_name))

    async def _open(self, database_url: str, snapshot_name: str) -> Alone:
        conn = await self.stack.enter_async_context(snapshot(database_url, snapshot_name))
        await conn.execute(LOOK_UP)
        return await _alone(conn)


_helpers: list[_Helper] = []
"""Of this process: one, once it has begun."""


def _begin(database_url: str, snapshot_name: str) -> None:
    _helpers.append(_Helper(database_url, snapshot_name))


def _examine(dossiers: Sequence[Sequence[int]]) -> Found:
    return _helpers[0].runner.run(_helpers[0].hands.examine(dossiers))


def _compare(seals: Sequence[Sealed]) -> Compared:
    return _helpers[0].runner.run(_helpers[0].hands.compare(seals))
