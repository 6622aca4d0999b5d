"""Single events over HTTP: what one web process commits, and what a worker beside it applies, a second.

64 connections, each sending its next event when it has its answer. Events that a portal sends itself: an invoice
issued, its payment started, and a second click.
"""

import time
from typing import Final, NamedTuple

from bench import families, ground, load, processes
from bench.figures import Figure, median, spread
from bench.reconcile import all_applied
from schemas.events import EventType, NewEvent
from worker.embedded import Servers

CONNECTIONS: Final = 64
WARM_UP: Final = 500
"""Requests before it counts: connections, plans and caches are there."""


class Size(NamedTuple):
    """How much of it."""

    payments: int
    rounds: int


FULL: Final = Size(payments=3_000, rounds=3)
QUICK: Final = Size(payments=300, rounds=1)


class Round(NamedTuple):
    """Events a second, interleaved."""

    nothing: float
    inserted: float
    committed: float
    applied: float


async def measure(servers: Servers, *, quick: bool) -> list[Figure]:
    """Both rows of the table."""
    size = QUICK if quick else FULL
    rounds = [await _round(servers, _events(size.payments)) for _ in range(size.rounds)]
    nothing = median([each.nothing for each in rounds])
    return [
        Figure(
            what="single-event POSTs, applied per second, against the same handler storing nothing",
            to_reach="aim 0.45 ×",
            measured=f"{spread([each.applied / each.nothing for each in rounds], 2)} ×",
            how=f"{median([each.applied for each in rounds]):,.0f}/s against {nothing:,.0f}/s; one web process and one "
            f"worker, {CONNECTIONS} clients, from the first request to the last outcome",
        ),
        Figure(
            what="single-event POSTs committed per second, against one INSERT per request through the same checks",
            to_reach="3 ×",
            measured=f"{spread([each.committed / each.inserted for each in rounds])} ×",
            how=f"{median([each.committed for each in rounds]):,.0f}/s against "
            f"{median([each.inserted for each in rounds]):,.0f}/s; one web process, {CONNECTIONS} clients",
        ),
    ]


def _events(payments: int) -> list[NewEvent]:
    return [each for each in families.events(payments) if each.type is not EventType.GATEWAY_REPORT]


async def _round(servers: Servers, events: list[NewEvent]) -> Round:
    return Round(
        nothing=await _rate(servers, events, "nothing"),
        inserted=await _rate(servers, events, "insert"),
        committed=await _rate(servers, events),
        applied=await _applied(servers, events),
    )


async def _rate(servers: Servers, events: list[NewEvent], variant: str | None = None) -> float:
    """Requests a second that a web process answers; no worker runs."""
    program = ("-m", "bench.web", variant) if variant else processes.WEB
    async with ground.database(servers.database_url) as url:
        environ = {"DATABASE_URL": url, "REDIS_URL": servers.redis_url}
        async with processes.running(program, ready="web_serving", **environ) as web:
            return await _send(web, events)


async def _send(web: processes.Running, events: list[NewEvent]) -> float:
    requests = [load.request(event, web.port) for event in events]
    await load.send(requests[:WARM_UP], web.port, CONNECTIONS)
    return (len(requests) - WARM_UP) / await load.send(requests[WARM_UP:], web.port, CONNECTIONS)


async def _applied(servers: Servers, events: list[NewEvent]) -> float:
    """Events a second from the first request to the last outcome, a worker beside the web process."""
    async with ground.database(servers.database_url) as url:
        environ = {"DATABASE_URL": url, "REDIS_URL": servers.redis_url}
        async with (
            processes.running(processes.WORKER, **environ),
            processes.running(processes.WEB, ready="web_serving", **environ) as web,
        ):
            requests = [load.request(event, web.port) for event in events]
            await load.send(requests[:WARM_UP], web.port, CONNECTIONS)
            await all_applied(url, WARM_UP)
            began = time.perf_counter()
            await load.send(requests[WARM_UP:], web.port, CONNECTIONS)
            await all_applied(url, len(requests))
            return (len(requests) - WARM_UP) / (time.perf_counter() - began)
