"""The doorbell on a real Valkey: what it writes, how rarely, and what it does when the server is slow or gone."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import dramatiq
import pytest
import redis
from prometheus_client import REGISTRY

from schemas.events import Queue
from worker.broker import (
    ACTORS_AT_ONCE,
    ANSWER_SECONDS,
    FLAG_MILLISECONDS,
    NAMESPACE,
    Bell,
    DoorbellBroker,
    Line,
    actor_name,
    listening,
)
from worker.embedded import Embedded

QUEUE = Queue.PAYMENT_STARTED
LIST = f"{NAMESPACE}:{QUEUE.value}"
FLAG = f"{NAMESPACE}:ringing:{QUEUE.value}"
SOON = 5
"""Seconds that a busy machine may take for what needs milliseconds."""


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A Valkey of our own, to be frozen and killed."""
    folder: Path = tmp_path_factory.mktemp("valkey")
    with Embedded(folder) as embedded:
        embedded.start(postgres=False)
        yield embedded


@pytest.fixture
def url(valkey: Embedded) -> str:
    """Its address, emptied."""
    address = valkey.start(postgres=False).redis_url
    with redis.Redis.from_url(address) as client:
        client.flushall()
    return address


@pytest.fixture
async def bell(url: str) -> AsyncIterator[Bell]:
    """A bell that hangs up after the test."""
    ours = Bell(url)
    yield ours
    await ours.close()


@pytest.fixture
def server(url: str) -> Iterator[redis.Redis]:
    """A client that looks at what was written."""
    with redis.Redis.from_url(url) as client:
        yield client


@asynccontextmanager
async def answering(url: str, bell: Bell, looks: "asyncio.Queue[float]") -> AsyncIterator[None]:
    """A worker whose actor clears the flag, looks, and says so."""
    broker = DoorbellBroker(url, bell.line)

    @dramatiq.actor(broker=broker, queue_name=QUEUE.value, actor_name=actor_name(QUEUE))
    async def look() -> None:
        await bell.answered(QUEUE)
        looks.put_nowait(time.monotonic())

    async with listening(broker, stop_seconds=SOON):
        yield


def heard(outcome: str) -> float:
    """How many bells had that outcome so far."""
    labels = {"queue": QUEUE.value, "outcome": outcome}
    return REGISTRY.get_sample_value("lettrage_bells_total", labels) or 0.0


async def rung(bell: Bell) -> None:
    """Ring, and wait until Redis has said what it thinks of it."""
    bell.ring(QUEUE)
    await asyncio.gather(*bell._ringing.values())


async def test_a_ring_runs_the_actor_on_the_loop_that_started_it(url: str, bell: Bell) -> None:
    """Ring, and the queue's actor runs in the loop that owns the database's connections."""
    looks: asyncio.Queue[float] = asyncio.Queue()
    async with answering(url, bell, looks):
        bell.ring(QUEUE)
        await asyncio.wait_for(looks.get(), SOON)


async def test_the_script_writes_what_dramatiq_itself_would(url: str, bell: Bell, server: redis.Redis) -> None:
    """Our message and dramatiq's own differ in ids and times alone, and lie under the same keys."""
    broker = DoorbellBroker(url, Line())
    broker.declare_queue(QUEUE.value)
    message: dramatiq.Message[None] = dramatiq.Message(
        queue_name=QUEUE.value, actor_name=actor_name(QUEUE), args=(), kwargs={}, options={}
    )
    broker.enqueue(message)
    theirs = _written(server)
    server.flushall()
    await rung(bell)
    assert _written(server) == theirs


def _written(server: redis.Redis) -> dict[str, object]:
    """What lies in Redis for the queue, without what differs from one message to the next."""
    (redis_id,) = server.lrange(LIST, 0, -1)
    (stored,) = server.hgetall(f"{LIST}.msgs").items()
    assert stored[0] == redis_id
    message: dramatiq.Message[None] = dramatiq.Message.decode(stored[1])  # type: ignore[arg-type]
    assert message.options.pop("redis_message_id").encode() == redis_id
    return {**message.asdict(), "message_id": None, "message_timestamp": None}


async def test_a_thousand_rings_are_one_message(bell: Bell, server: redis.Redis) -> None:
    """While nobody answers, one message waits, whatever rings: a worker that is away is not buried."""
    for _ in range(1000):
        bell.ring(QUEUE)
    await rung(bell)
    server.delete(FLAG)  # as if its time had come: the message that waits is still enough
    await rung(bell)
    assert server.llen(LIST) == 1


async def test_after_an_answer_the_next_ring_is_heard(url: str, bell: Bell) -> None:
    """Every ring after a look leads to another look: the flag is gone by then, long before its end."""
    looks: asyncio.Queue[float] = asyncio.Queue()
    async with answering(url, bell, looks):
        for _ in range(20):
            bell.ring(QUEUE)
            await asyncio.wait_for(looks.get(), SOON)
            assert not await bell._redis.exists(FLAG)


async def test_what_rings_while_a_ring_is_in_flight_is_rung_after_it(bell: Bell) -> None:
    """Redis may have rung and the worker looked before our commit: one more ring follows, for any number."""
    rings: asyncio.Queue[None] = asyncio.Queue()
    answer = asyncio.Event()

    async def slow_redis(**_: object) -> int:
        rings.put_nowait(None)
        await answer.wait()
        return 1

    bell._ring = slow_redis  # type: ignore[assignment]
    bell.ring(QUEUE)
    await rings.get()
    for _ in range(100):
        bell.ring(QUEUE)
    answer.set()
    await asyncio.gather(*bell._ringing.values())
    assert rings.qsize() == 1


async def test_a_bell_whose_worker_died_does_not_block_the_next(bell: Bell, server: redis.Redis) -> None:
    """Taken and never answered: its flag has an end, and then it rings again."""
    await rung(bell)
    server.lpop(LIST)  # a worker took it and died
    assert 0 < server.pttl(FLAG) <= FLAG_MILLISECONDS
    server.pexpire(FLAG, 1)
    await asyncio.sleep(0.01)
    await rung(bell)
    assert server.llen(LIST) == 1


async def test_a_frozen_redis_delays_nobody_and_piles_nothing_up(valkey: Embedded, url: str, bell: Bell) -> None:
    """Rings return at once; one is in flight, the others are missed; `redis_up` says 0, and 1 when it thaws."""
    await rung(bell)
    pid = valkey.pids()["valkey"]
    missed = heard("missed")
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        for _ in range(10_000):
            bell.ring(QUEUE)
        assert time.monotonic() - began < ANSWER_SECONDS
        assert len(bell._ringing) == 1
        await asyncio.gather(*bell._ringing.values())
        for _ in range(100):
            bell.ring(QUEUE)
        assert bell._ringing == {}
        assert heard("missed") - missed == 101
        assert REGISTRY.get_sample_value("lettrage_redis_up") == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await bell.check()
    assert REGISTRY.get_sample_value("lettrage_redis_up") == 1


async def test_listeners_start_without_redis_and_hear_when_it_is_back(valkey: Embedded, url: str) -> None:
    """Redis killed before the worker starts: nothing fails; once it is back, a ring is heard."""
    looks: asyncio.Queue[float] = asyncio.Queue()
    os.kill(valkey.pids()["valkey"], signal.SIGKILL)
    bell = Bell(url)
    async with answering(url, bell, looks):
        bell.ring(QUEUE)
        await asyncio.gather(*bell._ringing.values())
        assert not await bell.check()
        await asyncio.to_thread(valkey.start, postgres=False)
        while looks.empty():
            bell.ring(QUEUE)
            await asyncio.sleep(0.05)
    await bell.close()


async def test_stopping_is_quick_while_redis_is_frozen(valkey: Embedded, url: str, bell: Bell) -> None:
    """A worker that is told to stop does not wait for a Redis that says nothing."""
    pid = valkey.pids()["valkey"]
    began = 0.0
    try:
        async with answering(url, bell, asyncio.Queue()):
            os.kill(pid, signal.SIGSTOP)
            began = time.monotonic()
        assert time.monotonic() - began < SOON * ACTORS_AT_ONCE
    finally:
        os.kill(pid, signal.SIGCONT)
