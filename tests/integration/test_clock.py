"""The clock's process on real servers: holds end on time, once, whoever else is at it, whatever is down."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from schemas.events import Queue
from tests.integration.processes import (
    free_port,
    lettrage,
    started,
    until_no_hold_is_left,
    until_nothing_waits,
)
from worker.store.postgres import PostgresStore

SOON = 15
"""Seconds that a busy machine may take for what needs milliseconds."""
HOLDS = 200


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    """Where the test's events are recorded."""
    opened = await PostgresStore.open(database_url)
    yield opened
    await opened.close()


async def test_two_clocks_end_every_hold_once_and_never_early(
    tmp_path: Path, database_url: str, redis_url: str, store: PostgresStore
) -> None:
    """No worker runs. Each hold ends once, after its deadline; the journal has one reactivation per invoice."""
    async with (
        lettrage("clock", tmp_path, database_url, redis_url, hold="4s") as one,
        lettrage("clock", tmp_path, database_url, redis_url, hold="4s") as other,
    ):
        await one.until_logged("process_ready")
        await other.until_logged("process_ready")
        await store.record([started(f"P-{number}") for number in range(HOLDS)])
        await asyncio.wait_for(until_nothing_waits(store), SOON)
        await asyncio.wait_for(until_no_hold_is_left(store), SOON)
        assert await one.stop() == 0
        assert await other.stop() == 0
    ended = await store.pool.fetchrow(
        "SELECT count(*) AS ends, count(DISTINCT invoice_id) AS invoices, min(j.at - p.payable_again_at) AS earliest"
        " FROM journal AS j JOIN payment_lines AS l USING (invoice_id) JOIN payments AS p ON p.id = l.payment_id"
        " WHERE j.before = 'in_payment' AND j.after = 'payable'"
    )
    assert ended is not None
    assert (ended["ends"], ended["invoices"]) == (HOLDS, HOLDS)
    assert ended["earliest"].total_seconds() >= 0


async def test_the_clock_survives_the_loss_of_its_connections(
    tmp_path: Path, database_url: str, redis_url: str, store: PostgresStore
) -> None:
    """As in a restart of the database, again and again; holds that end afterwards are ended all the same."""
    async with lettrage("clock", tmp_path, database_url, redis_url, hold="1s") as clock:
        await clock.until_logged("process_ready")
        for number in range(3):
            await store.pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lettrage clock'"
            )
            await store.record([started(f"P-{number}")])
            await asyncio.wait_for(until_nothing_waits(store), SOON)
            await asyncio.wait_for(until_no_hold_is_left(store), SOON)
        assert clock.running.returncode is None


async def test_the_clock_rings_for_what_lost_its_bell(
    tmp_path: Path, database_url: str, redis_url: str, store: PostgresStore
) -> None:
    """An event recorded and not rung for is found; with the clock alone it is drained by it."""
    async with lettrage("clock", tmp_path, database_url, redis_url) as clock:
        await clock.until_logged("process_ready")
        await store.record([started("P-1")])
        await asyncio.wait_for(until_nothing_waits(store), SOON)


async def metrics_with(client: aiohttp.ClientSession, name: str) -> str:
    """The metrics once they have `name`: a process counts what it did just after the commit that others see."""
    while True:
        async with client.get("/metrics") as answer:
            text = await answer.text()
        if name in text:
            return text
        await asyncio.sleep(0.02)


async def test_the_clock_serves_its_metrics(
    tmp_path: Path, database_url: str, redis_url: str, store: PostgresStore
) -> None:
    """On METRICS_PORT: what it reconciled, how late it reactivated, and that it lives."""
    port = free_port()
    async with (
        lettrage("clock", tmp_path, database_url, redis_url, hold="4s", metrics_port=port) as clock,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        await clock.until_logged("process_ready")
        await store.record([started("P-1")])
        await asyncio.wait_for(until_nothing_waits(store), SOON)
        await asyncio.wait_for(until_no_hold_is_left(store), SOON)
        text = await asyncio.wait_for(metrics_with(client, 'lettrage_reactivations_total{regie="enfance"} 1.0'), SOON)
        async with client.get("/livez") as answer:
            assert answer.status == 200
    assert 'lettrage_events_total{outcome="applied",type="fr.lettrage.payment.started.v1"} 1.0' in text
    assert "lettrage_reactivation_lateness_seconds_count 1.0" in text
    assert f'lettrage_bells_total{{outcome="rung",queue="{Queue.PAYMENT_STARTED.value}"}}' in text
