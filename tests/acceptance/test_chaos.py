"""Real processes on real servers, hurt at random under load: nothing lost, nothing twice, every hold ended once.

`LETTRAGE_CHAOS_SECONDS` says how long (60 by default), `LETTRAGE_CHAOS_SEED` what happens; both are printed.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from random import Random
from typing import NamedTuple

import asyncpg
import pytest
from aiohttp import ClientSession, TCPConnector

from tests.chaos.families import Portals, live
from tests.chaos.installation import HOLD_SECONDS, Installation
from tests.chaos.verdict import assert_nothing_lost, counted
from tests.conftest import temporary_folder
from worker.verify.books import Verdict, proved_books

SECONDS = float(os.environ.get("LETTRAGE_CHAOS_SECONDS", "60"))
SEED = os.environ.get("LETTRAGE_CHAOS_SEED") or str(Random().randrange(10**9))
FAMILIES = 48
"""At a time, each with a connection of its own."""
FEW = 12
"""Where others test beside them: it is mostly waited for."""
PAUSE_SECONDS = (0.2, 1.5)
"""Between two faults: sometimes one comes while another is being recovered from."""
RECOVERY_SECONDS = 5.0
"""From the last fault to an empty backlog; from when somebody is back to empty it, where starting a process takes as
long as that: a machine with other things to do proves nothing."""
WAITS = "SELECT EXISTS (SELECT FROM pending WHERE NOT parked)"
DRAINING = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND application_name IN ('lettrage worker', 'lettrage clock')
)
"""
PATIENCE_SECONDS = 60.0
"""After which waiting for it is given up."""


@pytest.mark.timeout(SECONDS + 300)
async def test_nothing_is_lost_whatever_dies() -> None:
    """Kills, freezes, floods of lost replies; then every fact counted once and every sum as judged."""
    random = Random(SEED)
    say(seed=SEED, seconds=SECONDS)
    with temporary_folder() as folder:
        installation = Installation(folder, random)
        async with installation.running(), ClientSession(connector=TCPConnector(limit=FAMILIES)) as http:
            portals = Portals(http, installation.addresses, random)
            lives = asyncio.create_task(live(portals, FAMILIES))
            try:
                await hurt_for(installation, SECONDS)
            except BaseException:
                lives.cancel()
                tell_logs(folder)
                raise
            portals.open = False
            recovery = await until_nothing_waits(installation, lives)
            await installation.note_deadlocks()
            database = await asyncpg.connect(installation.direct_url)
            await asyncio.sleep(HOLD_SECONDS)
            await until_no_hold_is_left(database)
            say(
                faults=dict(installation.faults.most_common()),
                deadlocks=installation.deadlocks,
                dropped_bytes=installation.proxy.dropped_bytes,
                recovery=recovery._asdict(),
                **await counted(database, portals),
            )
            try:
                await assert_nothing_lost(database, portals)
                assert_proved(await proved_books(installation.direct_url))
                assert installation.deadlocks == 0
                assert recovery.empty_seconds - recovery.manned_seconds <= RECOVERY_SECONDS
            except BaseException:
                tell_logs(folder)
                raise
            finally:
                await database.close()


async def test_connections_that_go_silent_are_given_up() -> None:
    """Every wait is bounded: when a router forgets all connections to PostgreSQL, new ones do the same work again."""
    random = Random(SEED)
    with temporary_folder() as folder:
        installation = Installation(folder, random)
        async with installation.running(), ClientSession(connector=TCPConnector(limit=FEW)) as http:
            portals = Portals(http, installation.addresses, random)
            lives = asyncio.create_task(live(portals, FEW))
            await until_acknowledged(portals, FEW)
            installation.proxy.silence()
            began = time.monotonic()
            await until_acknowledged(portals, len(portals.acknowledged) + FEW)
            given_up = time.monotonic() - began
            portals.open = False
            await until_nothing_waits(installation, lives)
            database = await asyncpg.connect(installation.direct_url)
            await asyncio.sleep(HOLD_SECONDS)
            await until_no_hold_is_left(database)
            say(given_up_after_seconds=round(given_up, 2), **await counted(database, portals))
            await assert_nothing_lost(database, portals)
            await database.close()


def assert_proved(verdict: Verdict) -> None:
    """The chains hold, and every fact decided again gives what the tables say."""
    assert verdict.differences == []
    assert verdict.events > verdict.unsealed


async def hurt_for(installation: Installation, seconds: float) -> None:
    """Fault after fault."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(installation.pause(*PAUSE_SECONDS))
        await installation.hurt()


async def until_acknowledged(portals: Portals, events: int) -> None:
    """Return once so many events were acknowledged."""
    while len(portals.acknowledged) < events:  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0.01)


class Recovery(NamedTuple):
    """Seconds from the last fault."""

    manned_seconds: float
    """Until a worker or a clock was connected."""
    empty_seconds: float
    """Until nothing waited."""


async def until_nothing_waits(installation: Installation, lives: "asyncio.Task[None]") -> Recovery:
    """Return, from when the last fault is over, once nobody sends anything more and nothing waits."""
    began = time.monotonic()
    database = await asyncpg.connect(installation.direct_url)
    manned = emptied = None
    while not lives.done() or emptied is None:
        passed = round(time.monotonic() - began, 2)
        assert passed < PATIENCE_SECONDS, await database.fetch("SELECT * FROM pending LIMIT 5")
        if manned is None and await database.fetchval(DRAINING):
            manned = passed
        if emptied is None and not await database.fetchval(WAITS):
            emptied = passed
        await asyncio.sleep(0.02)
    await lives
    while await database.fetchval(WAITS):
        assert time.monotonic() - began < 2 * PATIENCE_SECONDS, await database.fetch("SELECT * FROM pending LIMIT 5")
        await asyncio.sleep(0.02)
    await database.close()
    return Recovery(emptied if manned is None else min(manned, emptied), emptied)


async def until_no_hold_is_left(database: asyncpg.Connection) -> None:
    """Return once every hold is written as over."""
    began = time.monotonic()
    while await database.fetchval("SELECT EXISTS (SELECT FROM holds) OR EXISTS (SELECT FROM pending)"):
        assert time.monotonic() - began < PATIENCE_SECONDS
        await asyncio.sleep(0.05)


def say(**facts: object) -> None:
    """Print the counts, for whoever reads the test's output."""
    sys.stderr.write(json.dumps(facts, ensure_ascii=False, indent=1) + "\n")


def tell_logs(folder: Path) -> None:
    """The end of what each process said."""
    for log in sorted(folder.glob("*.log")):
        lines = log.read_text().splitlines()
        errors = [line for line in lines if '"level":"error"' in line][-20:]
        sys.stderr.write("\n".join((f"--- {log.name}", *errors, "...", *lines[-20:], "")))
