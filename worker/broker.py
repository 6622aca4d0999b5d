"""The doorbell: Dramatiq on Redis, where a message is the name of a queue and nothing else.

Losing a bell costs milliseconds, never an event: the clock finds what nobody picked up. So every error here is
counted, logged once per outage and forgotten, and no wait is longer than a second or two.
Source: design.md rules 1 to 3; what Dramatiq 2.2 loses was read in its source.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import dramatiq
import redis
import redis.asyncio
from dramatiq.asyncio import EventLoopThread, set_event_loop_thread
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.redis import RedisBroker
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from monitoring import metrics
from monitoring.outages import Outage
from schemas.events import Queue

NAMESPACE: Final = "lettrage"
"""Prefix of every key in Redis, so that it can be shared."""
ANSWER_SECONDS: Final = 0.5
"""How long Redis may take to connect or answer: a hundred times what it needs, a quarter of what the clock has."""
LISTEN_SECONDS: Final = 1
"""How long a consumer listens before it shows its heartbeat and looks whether it should stop."""
SILENCE_SECONDS: Final = 0.5
"""After an error nobody asks Redis again for that long: a thousand requests a second must not queue for it."""
FLAG_MILLISECONDS: Final = 2_000
"""A bell whose worker died is believed to ring for that long; by then the clock has drained its queue."""
BELLS_AT_ONCE: Final = 100
"""Bells taken from Redis in one go; there is rarely more than one."""
ACTORS_AT_ONCE: Final = 4
"""Three lanes may drain at once; a fourth thread takes the bells that only say "again"."""
HEARTBEAT_MILLISECONDS: Final = 15_000
"""A worker silent for that long is dead; its bells ring again."""
DEAD_LETTER_MILLISECONDS: Final = 3_600_000
"""A bell that no actor knows is kept an hour for whoever wonders."""

_RING: Final = """
-- Ring unless a bell waits in the queue already, or one was taken and its worker has not looked yet.
-- What it writes is what dramatiq's own enqueue writes. In one script: between two calls a process may die.
if redis.call('llen', KEYS[2]) > 0 then return 0 end
if not redis.call('set', KEYS[1], 1, 'NX', 'PX', ARGV[3]) then return 0 end
redis.call('hset', KEYS[3], ARGV[1], ARGV[2])
redis.call('rpush', KEYS[2], ARGV[1])
return 1
"""


class Line:
    """Whether Redis answers, as a metric and as one log line per outage; a process has one."""

    def __init__(self) -> None:
        self._outage = Outage("redis_lost", "redis_back")

    def works(self) -> None:
        """Redis did what it was asked."""
        self._outage.works()
        metrics.REDIS_UP.set(1)

    def fails(self, error: Exception) -> None:
        """Redis did not answer, or not sensibly."""
        self._outage.fails(error)
        metrics.REDIS_UP.set(0)


class Bell:
    """Rings queues from one event loop. Coalesced: one request in flight and one to follow, per queue."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.asyncio.Redis.from_url(redis_url, **_bounds(AsyncRetry(NoBackoff(), 0)))
        self._ring = self._redis.register_script(_RING)
        self.line = Line()
        self._ringing: dict[Queue, asyncio.Task[None]] = {}
        self._again: set[Queue] = set()
        self._silent_until = 0.0

    def ring(self, queue: Queue) -> None:
        """Wake whoever drains that queue, some time soon; returns at once and never fails. Call after the commit."""
        if queue in self._ringing:
            self._again.add(queue)
            metrics.BELLS.labels(queue, "coalesced").inc()
        elif time.monotonic() < self._silent_until:
            metrics.BELLS.labels(queue, "missed").inc()
        else:
            self._ringing[queue] = asyncio.create_task(self._ring_until_quiet(queue))

    async def answered(self, queue: Queue) -> None:
        """Let the next event ring again. Call before looking, so that no commit falls between look and bell."""
        try:
            await self._redis.delete(_flag(queue))
        except (redis.RedisError, OSError) as error:
            self.line.fails(error)
        else:
            self.line.works()

    async def check(self) -> bool:
        """Whether Redis answers now; `redis_up` says the same afterwards."""
        try:
            await self._redis.ping()
        except (redis.RedisError, OSError) as error:
            self.line.fails(error)
            return False
        self.line.works()
        return True

    async def close(self) -> None:
        """Let the bells in flight finish, each bounded, and hang up."""
        await asyncio.gather(*self._ringing.values(), return_exceptions=True)
        await self._redis.aclose()

    async def _ring_until_quiet(self, queue: Queue) -> None:
        try:
            await self._ring_once(queue)
            while queue in self._again:
                self._again.discard(queue)
                await self._ring_once(queue)
        except (redis.RedisError, OSError) as error:
            self._silent_until = time.monotonic() + SILENCE_SECONDS
            self.line.fails(error)
            metrics.BELLS.labels(queue, "missed").inc()
        finally:
            self._again.discard(queue)
            del self._ringing[queue]

    async def _ring_once(self, queue: Queue) -> None:
        message = _message(queue)
        keys = [_flag(queue), _list(queue), f"{_list(queue)}.msgs"]
        args = [message.options["redis_message_id"], message.encode(), FLAG_MILLISECONDS]
        rang = await self._ring(keys=keys, args=args)
        self.line.works()
        metrics.BELLS.labels(queue, "rung" if rang else "coalesced").inc()


class DoorbellBroker(RedisBroker):
    """Dramatiq's Redis broker without what a doorbell has no use for: retries, delays, results, time limits."""

    def __init__(self, redis_url: str, line: Line) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            client=redis.Redis.from_url(redis_url, **_bounds(Retry(NoBackoff(), 0), LISTEN_SECONDS)),
            middleware=[],
            namespace=NAMESPACE,
            heartbeat_timeout=HEARTBEAT_MILLISECONDS,
            dead_message_ttl=DEAD_LETTER_MILLISECONDS,
        )
        self.line = line

    def declare_queue(self, queue_name: str) -> None:
        """Declare a queue, without dramatiq's queue of delayed messages beside it."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """Listen for the bells of one queue; `prefetch` and `timeout` are for messages that carry work."""
        return _Listener(self, queue_name)


@asynccontextmanager
async def listening(broker: DoorbellBroker, stop_seconds: float) -> AsyncIterator[None]:
    """Run the broker's actors on this event loop until the end, which waits up to `stop_seconds` for each actor."""
    set_event_loop_thread(_RunningLoop(asyncio.get_running_loop()))
    worker = dramatiq.Worker(broker, worker_threads=ACTORS_AT_ONCE)
    worker.start()
    try:
        yield
    finally:
        await asyncio.to_thread(worker.stop, int(stop_seconds * 1000))
        set_event_loop_thread(None)


class _Listener(Consumer):
    """Blocks in Redis until a bell rings, instead of asking every few milliseconds. Survives any outage."""

    def __init__(self, broker: DoorbellBroker, queue_name: str) -> None:
        self._broker = broker
        self._queue = queue_name
        self._list = f"{NAMESPACE}:{queue_name}"
        self._bells: list[bytes] = []

    def __next__(self) -> MessageProxy | None:
        if not self._bells:
            self._bells = self._listen()
        return MessageProxy(dramatiq.Message.decode(self._bells.pop(0))) if self._bells else None

    def ack(self, message: MessageProxy) -> None:
        """Forget a bell that was answered. When Redis cannot, it rings once more after this process's end."""
        self._try("ack", message.options["redis_message_id"])

    def nack(self, message: MessageProxy) -> None:
        """Put a bell that no actor knows aside."""
        self._try("nack", message.options["redis_message_id"])

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give bells back that nobody answered before the shutdown."""
        ids = [message.options["redis_message_id"] for message in messages]
        if ids:
            self._try("requeue", *ids)

    def _listen(self) -> list[bytes]:
        try:
            # Moving the first bell to where it is waits for one, and loses none when this process dies here.
            self._broker.client.blmove(self._list, self._list, LISTEN_SECONDS, "LEFT", "LEFT")
            bells = self._broker.do_fetch(self._queue, BELLS_AT_ONCE)
        except (redis.RedisError, OSError) as error:
            self._broker.line.fails(error)
            time.sleep(SILENCE_SECONDS)
            return []
        self._broker.line.works()
        return [bell for bell in bells if bell is not None]

    def _try(self, command: str, *ids: str) -> None:
        try:
            getattr(self._broker, f"do_{command}")(self._queue, *ids)
        except (redis.RedisError, OSError) as error:
            self._broker.line.fails(error)


class _RunningLoop(EventLoopThread):
    """Dramatiq's place for a loop of its own, filled with the one that runs already; never started or stopped."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.interrupt_check_ival = LISTEN_SECONDS


def _bounds(retry: object, listen_seconds: float = 0) -> dict[str, Any]:
    """Bytes, short timeouts, no retries of the client's own: it would wait for seconds, the clock does not."""
    return {
        "socket_connect_timeout": ANSWER_SECONDS,
        "socket_timeout": ANSWER_SECONDS + listen_seconds,
        "retry": retry,
        "protocol": 2,  # RESP3 begins with a negotiation about managed services
    }


def _message(queue: Queue) -> dramatiq.Message[None]:
    """What the queue's actor would enqueue for itself."""
    message: dramatiq.Message[None] = dramatiq.Message(
        queue_name=queue.value, actor_name=actor_name(queue), args=(), kwargs={}, options={}
    )
    return message.copy(options={"redis_message_id": message.message_id})


def actor_name(queue: Queue) -> str:
    """The queue's actor and its file in `jobs`."""
    return queue.value.replace("-", "_")


def _flag(queue: Queue) -> str:
    return f"{NAMESPACE}:ringing:{queue.value}"


def _list(queue: Queue) -> str:
    return f"{NAMESPACE}:{queue.value}"
