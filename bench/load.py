"""Requests as fast as they are answered: a few connections, each sending its next request when it has its answer.

A client of a few lines, because what it costs is taken from what is measured: both share the machine.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, cast

import msgspec

from bench.processes import TOKEN
from schemas.events import NewEvent

HEAD_END: Final = b"\r\n\r\n"
PATIENCE_SECONDS: Final = 300.0
LENGTH: Final = b"content-length:"


def request(event: NewEvent, port: int) -> bytes:
    """`POST /v1/events` of one event, structured mode."""
    cloud_event = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type.value,
        "data": event.data,
    }
    body = msgspec.json.encode(cloud_event)
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/cloudevents+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One connection: sends what is left, one request after the other."""

    def __init__(self, left: deque[bytes], statuses: dict[bytes, int], done: asyncio.Future[None]) -> None:
        self._left = left
        self._statuses = statuses
        self._done = done
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it
        self._send()

    def data_received(self, data: bytes) -> None:
        """Count an answer once it is whole, and send the next request."""
        self._received += data
        head, end, body = self._received.partition(HEAD_END)
        if end and len(body) >= _length(head):
            status = head[9:12]
            self._statuses[status] = self._statuses.get(status, 0) + 1
            self._received = b""
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Say that nothing more comes."""
        if not self._done.done():
            self._done.set_result(None)

    def _send(self) -> None:
        assert self._transport is not None
        if self._left:
            self._transport.write(self._left.popleft())
        else:
            self._transport.close()


def _length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.index(LENGTH) + len(LENGTH)
    return int(lowered[start:].split(b"\r\n", 1)[0])


async def send(requests: Sequence[bytes], port: int, connections: int) -> float:
    """Send them all; answers the seconds that it took. Every answer is a 202, or it was no measurement."""
    loop = asyncio.get_running_loop()
    left = deque(requests)
    statuses: dict[bytes, int] = {}
    ends = [loop.create_future() for _ in range(min(connections, len(requests)))]
    began = time.perf_counter()
    for end in ends:
        await loop.create_connection(lambda end=end: Connection(left, statuses, end), "127.0.0.1", port)  # type: ignore[misc]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*ends)
    seconds = time.perf_counter() - began
    assert statuses == {b"202": len(requests)}, statuses
    return seconds
