"""Telling portals: 10,000 notifications to 50 of them, of which 5 never answer. This process is the worker."""

import asyncio
import base64
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple

import aiohttp
import structlog

from bench import ground, processes
from bench.figures import Figure
from schemas.events import Queue
from schemas.records import Policy
from worker.app import App
from worker.embedded import Servers
from worker.secret import Secret
from worker.settings import Portal, Regie, Settings

SECRET: Final = "whsec_" + base64.b64encode(bytes(32)).decode()
VERSIONS: Final = 4
"""Of each invoice, told one after another."""
LOOK_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 600.0

FILL: Final = """
WITH told AS (
    INSERT INTO outbox (regie, type, at, data)
    SELECT
        'r' || r, 'invoice.paid', now(),
        jsonb_build_object(
            'regie', 'r' || r, 'number', 'F-' || i, 'account', 'DUPONT', 'state', 'paid', 'version', v,
            'payable_again_at', NULL, 'payment', 'P-' || i, 'reason', 'money_received'
        )
    FROM
        generate_series(1, $3::integer) AS v,
        generate_series(1, $2::integer) AS i,
        generate_series(1, $1::integer) AS r
    ORDER BY v, i, r
    RETURNING id, regie, data
)
INSERT INTO deliveries (outbox_id, regie, subject, due_at)
SELECT id, regie, 'invoice ' || (data ->> 'number'), now() FROM told
"""
LEFT: Final = "SELECT count(*) FROM deliveries WHERE regie = ANY($1::text[])"


class Size(NamedTuple):
    """How many portals, how many of them hang, and how many invoices each has."""

    portals: int
    hanging: int
    invoices: int


FULL: Final = Size(portals=50, hanging=5, invoices=50)
QUICK: Final = Size(portals=4, hanging=1, invoices=2)


async def measure(servers: Servers, *, quick: bool) -> list[Figure]:
    """The row of the table."""
    size = QUICK if quick else FULL
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with ground.database(servers.database_url) as url, _portals() as address:
        settings = _settings(url, servers.redis_url, address, size)
        async with App.open(settings, "worker") as app:
            await app.store.pool.execute(FILL, size.portals, size.invoices, VERSIONS)
            await app.store.pool.execute("ANALYZE")
            seconds = await _tell(app, size)
    count = size.portals * size.invoices * VERSIONS
    rate = (size.portals - size.hanging) * size.invoices * VERSIONS / seconds
    return [
        Figure(
            what=f"{count:,} notifications to {size.portals} portals, {size.hanging} of which never answer",
            to_reach="the others are told everything within 120 s",
            measured=f"{seconds:,.1f} s",
            how=f"{rate:,.0f}/s delivered and kept, by one process; {VERSIONS} of each invoice, in order; the portals "
            "share the machine's cores",
        )
    ]


@asynccontextmanager
async def _portals() -> AsyncIterator[str]:
    """Portals that answer or hang; where they are."""
    port = processes.free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.portals", str(port))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as session:
            while not await _listens(session, port):
                await asyncio.sleep(LOOK_SECONDS)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def _listens(session: aiohttp.ClientSession, port: int) -> bool:
    with suppress(aiohttp.ClientError):
        async with session.get(f"http://127.0.0.1:{port}/quick"):
            return True
    return False


def _settings(database_url: str, redis_url: str, address: str, size: Size) -> Settings:
    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        regies={code: _regie(code, f"{address}/hangs") for code in _codes(1, size.hanging)}
        | {code: _regie(code, f"{address}/quick") for code in _codes(size.hanging + 1, size.portals)},
    )


def _codes(first: int, last: int) -> list[str]:
    return [f"r{number}" for number in range(first, last + 1)]


def _regie(code: str, url: str) -> Regie:
    policy = Policy(label="Régie de mesure", gateway="dummy", mode="test", notify=True)
    return Regie(code=code, policy=policy, options={}, portal=Portal(url=url, secret=Secret(SECRET), private=True))


async def _tell(app: App, size: Size) -> float:
    """Seconds until every portal that answers has been told everything."""
    answering = _codes(size.hanging + 1, size.portals)
    began = time.perf_counter()
    await app.drain(Queue.NOTIFICATION)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await app.store.pool.fetchval(LEFT, answering):
            await asyncio.sleep(LOOK_SECONDS)
    return time.perf_counter() - began
