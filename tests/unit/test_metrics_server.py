"""The port of a process that serves nothing else, and what readiness finds."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from monitoring import health
from monitoring.health import Readiness, readiness
from monitoring.metrics import CONTENT_TYPE
from monitoring.server import is_authorized, serving_metrics


@pytest.fixture
def port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free: int = probe.getsockname()[1]
        return free


@pytest.fixture
async def client(port: int) -> AsyncIterator[aiohttp.ClientSession]:
    """Who scrapes it."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session


async def test_metrics_are_served_with_their_format(port: int, client: aiohttp.ClientSession) -> None:
    """Prometheus reads the format from the header."""
    async with serving_metrics("127.0.0.1", port, None), client.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == CONTENT_TYPE
        assert b"lettrage_build_info" in await answer.read()


async def test_a_token_once_set_is_required(port: int, client: aiohttp.ClientSession) -> None:
    """Without it, or with another, nothing is shown; that the process lives is no secret."""
    async with serving_metrics("127.0.0.1", port, "right"):
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": "Bearer right"}, 200),
        ):
            async with client.get("/metrics", headers=headers) as answer:
                assert answer.status == status
        async with client.get("/livez") as answer:
            assert answer.status == 200


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer é", "Basic right"])
def test_what_is_not_the_token_is_refused(header: str | None) -> None:
    """Whatever the header says, comparing it does not fail."""
    assert not is_authorized(header, "right")


async def test_without_a_port_nothing_is_served(port: int, client: aiohttp.ClientSession) -> None:
    """METRICS_PORT is a choice."""
    async with serving_metrics("127.0.0.1", None, None):
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get("/metrics")


async def test_a_port_that_is_taken_stops_no_work(port: int) -> None:
    """Holds must end whether or not somebody measures it."""
    async with serving_metrics("127.0.0.1", port, None), serving_metrics("127.0.0.1", port, None):
        pass


async def _yes() -> bool:
    return True


async def _no() -> bool:
    return False


async def _raises() -> bool:
    raise ConnectionRefusedError


async def _hangs() -> bool:
    return await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("schema", "redis", "found", "ready"),
    [
        (_yes, _yes, Readiness(database=True, schema=True, redis=True), True),
        (_yes, _no, Readiness(database=True, schema=True, redis=False), True),
        (_yes, _raises, Readiness(database=True, schema=True, redis=False), True),
        (_no, _yes, Readiness(database=True, schema=False, redis=True), False),
        (_raises, _yes, Readiness(database=False, schema=False, redis=True), False),
        (_hangs, _yes, Readiness(database=False, schema=False, redis=True), False),
    ],
)
async def test_ready_means_database_and_schema_and_redis_is_only_told(
    monkeypatch: pytest.MonkeyPatch,
    schema: Callable[[], Awaitable[bool]],
    redis: Callable[[], Awaitable[bool]],
    found: Readiness,
    *,
    ready: bool,
) -> None:
    """A check that raises or hangs has found nothing, and takes no other along."""
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.01)
    assert await readiness(schema, redis) == found
    assert found.ready is ready
