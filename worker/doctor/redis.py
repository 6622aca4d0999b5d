"""Checks of Redis, which is only a bell: whatever is wrong with it costs time, never an event."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import redis

from schemas.events import Queue
from worker.doctor.check import Check, failed, ok, warning

NAMESPACE: Final = "lettrage"
"""The prefix of the bell's keys."""
OLDEST_VERSION: Final = (6, 2)
"""BLMOVE, in which workers listen."""
ANSWER_SECONDS: Final = 2.0
HEARTBEAT_SECONDS: Final = 15.0
"""A worker shows itself every second or so."""


def bell(redis_url: str) -> list[Check]:
    """Everything about the server behind REDIS_URL."""
    try:
        with _client(redis_url) as client:
            return [ok("redis", "it answers"), *server(client.info()), *_queues(client)]
    except (redis.RedisError, OSError, ValueError) as error:
        return [unreachable(error)]


def unreachable(error: BaseException) -> Check:
    """Why it cannot be used; events are reconciled all the same, a second or two later."""
    what = f"it does not answer as Redis does: {type(error).__name__}: {error}"
    match error:
        case redis.AuthenticationError() | redis.exceptions.NoPermissionError():
            return failed("redis", what, "correct user and password in REDIS_URL")
        case redis.ResponseError() | redis.InvalidResponse():
            return failed("redis", what, "correct host and port in REDIS_URL: something else answers there")
        case _:
            return failed(
                "redis", what, "start Redis or Valkey, or correct REDIS_URL; until then all is later, not lost"
            )


def server(info: Mapping[str, Any]) -> Iterator[Check]:
    """Whether it can carry the bell."""
    name = str(info.get("valkey_version") or info.get("redis_version") or "0")
    speaks = tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:2] if part.isdigit())
    if speaks < OLDEST_VERSION:
        yield failed("redis_version", f"{name} is too old", "upgrade to Redis 6.2 or later, or any Valkey")
    else:
        yield ok("redis_version", name)
    if info.get("role") not in (None, "master"):
        yield failed("redis_role", "it is a replica and takes no writes", "point REDIS_URL at the primary")
    if info.get("cluster_enabled"):
        mend = "use a single Redis: the bell's scripts touch keys of several slots"
        yield failed("redis_role", "it is a cluster", mend)
    if not info.get("aof_enabled"):
        mend = "set appendonly yes if a restart should not cost a second"
        yield warning("redis_persistence", "no AOF: bells that ring are forgotten at a restart; no event is", mend)
    if info.get("maxmemory") and info.get("maxmemory_policy") != "noeviction":
        mend = "set maxmemory-policy noeviction"
        yield warning("redis_memory", f"{info.get('maxmemory_policy')} may evict the bell; no event is lost", mend)


def _queues(client: "redis.Redis") -> Iterator[Check]:
    """Whether another program uses our names."""
    keys = [f"{NAMESPACE}:{queue.value}" for queue in Queue]
    wrong = [key for key in keys if client.type(key) not in (b"list", b"none")]
    if wrong:
        mend = "give Lettrage a Redis, or a database number, of its own"
        yield failed("redis_keys", f"{', '.join(wrong)} is not a queue: another program uses this name", mend)


def worker_was_heard(redis_url: str) -> bool:
    """Whether a worker has listened within the last seconds."""
    try:
        with _client(redis_url) as client:
            seconds, microseconds = client.time()
            since = (seconds + microseconds / 1e6 - HEARTBEAT_SECONDS) * 1000
            return bool(client.zcount(f"{NAMESPACE}:__heartbeats__", since, "+inf"))
    except (redis.RedisError, OSError, ValueError):
        return False


def _client(redis_url: str) -> "redis.Redis":
    return redis.Redis.from_url(
        redis_url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS, protocol=2
    )
