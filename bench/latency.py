"""POST of one event to applied, on an idle system run by `lettrage up`: with Redis, then with Redis stopped.

The client asks for the outcome with `Prefer: wait=5`: its answer comes when the event is applied and committed.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import msgspec

from bench import families, ground, processes
from bench.figures import Figure, percentile
from schemas.events import NewEvent
from worker.embedded import Embedded, Servers

WARM_UP: Final = 30
IDLE_SECONDS: Final = 0.02
"""Between an answer and the next event: each finds everything asleep."""
WAIT: Final = "wait=5"


class Size(NamedTuple):
    """How many events."""

    up: int
    stopped: int


FULL: Final = Size(up=500, stopped=60)
QUICK: Final = Size(up=5, stopped=2)


async def measure(servers: Servers, *, quick: bool) -> list[Figure]:
    """Both rows of the table."""
    size = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="lettrage-bench-") as folder:
        redis = Embedded(Path(folder))
        try:
            up, stopped = await _measure(servers.database_url, redis, size)
        finally:
            redis.stop()
    return [
        Figure(
            what="POST of one event to applied, idle system, Redis up: p50 / p99",
            to_reach="10 / 30 ms",
            measured=f"{percentile(up, 0.5) * 1000:,.1f} / {percentile(up, 0.99) * 1000:,.1f} ms",
            how=f"{len(up)} events one at a time, until the answer to `Prefer: {WAIT}`; worst {max(up) * 1000:,.0f} ms",
        ),
        Figure(
            what="the same with Redis stopped, p99",
            to_reach="2 s",
            measured=f"{percentile(stopped, 0.99):,.2f} s",
            how=f"{len(stopped)} events; p50 {percentile(stopped, 0.5):,.2f} s: the clock finds what nobody picked up",
        ),
    ]


async def _measure(address: str, redis: Embedded, size: Size) -> tuple[list[float], list[float]]:
    redis_url = (await asyncio.to_thread(lambda: redis.start(postgres=False))).redis_url
    async with ground.database(address) as url:
        environ = {"DATABASE_URL": url, "REDIS_URL": redis_url}
        async with (
            processes.running(processes.UP, ready="web_serving", **environ) as up,
            aiohttp.ClientSession(f"http://127.0.0.1:{up.port}") as session,
        ):
            events = iter([families.event(family, 0) for family in range(WARM_UP + size.up + size.stopped)])
            await _post_all(session, [next(events) for _ in range(WARM_UP)])
            running = await _post_all(session, [next(events) for _ in range(size.up)])
            await asyncio.to_thread(redis.stop)
            return running, await _post_all(session, list(events))


async def _post_all(session: aiohttp.ClientSession, events: list[NewEvent]) -> list[float]:
    taken = []
    for event in events:
        taken.append(await _post(session, event))
        await asyncio.sleep(IDLE_SECONDS)
    return taken


async def _post(session: aiohttp.ClientSession, event: NewEvent) -> float:
    """Seconds from the request to the answer that tells the outcome."""
    attributes = {"specversion": "1.0", "id": event.id, "source": event.source, "type": event.type.value}
    headers = {
        "Authorization": f"Bearer {processes.TOKEN}",
        "Content-Type": "application/cloudevents+json",
        "Prefer": WAIT,
    }
    body = msgspec.json.encode(attributes | {"data": event.data})
    began = time.perf_counter()
    async with session.post("/v1/events", data=body, headers=headers) as answer:
        said = await answer.text()
        assert "applied" in said, said
    return time.perf_counter() - began
