"""One attempt to tell a portal, on real sockets: whatever the other side does is how it ended, in bounded time."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from worker.portals import sending
from worker.portals.port import Attempt, DueNotification, PortalConfig
from worker.portals.sending import Portal

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
DUE = DueNotification(
    id=7,
    regie="enfance",
    type="invoice.paid",
    at=datetime(2026, 11, 25, 12, tzinfo=UTC),
    data={"number": "F-é", "version": 3},
    attempts=1,
)
OK = b"HTTP/1.1 204 No Content\r\n\r\n"

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(*answers: Answer) -> AsyncIterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A server that answers each connection in its way, and what it was asked; the last way goes on."""
    heard: list[tuple[dict[str, str], bytes]] = []
    ways = list(answers)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = ways.pop(0) if len(ways) > 1 else ways[0]
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}
        heard.append((headers, await reader.readexactly(int(headers["content-length"]))))
        try:
            await answer(writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1")
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?token=hunter2", heard
    server.close()


def saying(raw: bytes) -> Answer:
    """Say this, then hang up."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return answer


def dripping(first: bytes, drop: bytes) -> Answer:
    """Say something, then a little more again and again, for ever."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.01)

    return answer


async def tell(url: str, times: int = 1, **told: Any) -> list[Attempt]:  # noqa: ANN401 (a portal's configuration)
    """Tell a portal one notification that often."""
    portal = Portal(PortalConfig(regie="enfance", url=url, secrets=(SECRET,), **({"private": True} | told)))
    try:
        return [await portal.send(DUE) for _ in range(times)]
    finally:
        await portal.close()


async def test_what_is_sent_is_signed_as_it_is_sent() -> None:
    """The body as it came, byte for byte, is believed by the reference library; it says what it is."""
    async with answering(saying(OK)) as (url, heard):
        (attempt,) = await tell(url)
    (headers, body) = heard[0]
    Webhook(SECRET).verify(body, headers)
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "type": "invoice.paid",
        "timestamp": "2026-11-25T12:00:00Z",
        "data": {"number": "F-é", "version": 3},
    }
    assert (attempt.outcome, attempt.status, attempt.error) == ("delivered", 204, None)


async def test_a_lost_answer_is_asked_for_again_under_the_same_id() -> None:
    """The portal has it and its answer is lost: not delivered, and the next attempt is recognisably the same."""
    async with answering(saying(b""), saying(OK)) as (url, heard):
        first, second = await tell(url, times=2)
    assert (first.outcome, first.status) == ("unreachable", None)
    assert second.outcome == "delivered"
    assert heard[0][0]["webhook-id"] == heard[1][0]["webhook-id"] == DUE.webhook_id
    assert heard[0][1] == heard[1][1]


@pytest.mark.parametrize(
    "answer",
    [
        dripping(b"", b""),
        dripping(b"HTTP/1.1 200 OK\r\n", b"X"),
        dripping(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silent", "one header for ever", "headers for ever", "to be continued"],
)
async def test_who_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    """However busily it does so: the time for an attempt is one time, not one for each byte."""
    monkeypatch.setattr(sending, "ATTEMPT_SECONDS", 0.3)
    async with asyncio.timeout(10), answering(answer) as (url, _):
        (attempt,) = await tell(url)
    assert attempt.outcome in {"timed_out", "unreachable"}
    assert attempt.status is None


@pytest.mark.parametrize(
    "answer",
    [
        dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"x"),
        dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        dripping(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99999999\r\n\r\n", b"x" * 9000),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"),
        saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"),
    ],
    ids=["a drop at a time", "chunks for ever", "megabytes", "cut off", "no gzip"],
)
async def test_of_an_answer_its_status_alone_counts(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    """What follows it, however much, slowly or broken, changes nothing and costs little."""
    monkeypatch.setattr(sending, "DRAIN_SECONDS", 0.2)
    async with asyncio.timeout(10), answering(answer) as (url, _):
        (attempt,) = await tell(url)
    assert (attempt.outcome, attempt.status) == ("delivered", 200)


@pytest.mark.parametrize(
    ("raw", "outcome", "status"),
    [
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", "delivered", 202),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", "redirected", 301),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "redirected", 304),
        (b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", "refused", 400),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", "gone", 410),
        (b"HTTP/1.1 503 Later\r\nRetry-After: Wed, 25 Nov 2026 12:00 +9" + b"9" * 60 + b"\r\n\r\n", "refused", 503),
        (b"SSH-2.0-OpenSSH_9\r\n", "unreachable", None),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "unreachable", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "unreachable", None),
        (b"\x00" * 100, "unreachable", None),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else str(value),
)
async def test_every_answer_is_an_end(raw: bytes, outcome: str, status: int | None) -> None:
    """2xx alone delivers; nothing that a portal says raises."""
    async with answering(saying(raw)) as (url, _):
        (attempt,) = await tell(url)
    assert (attempt.outcome, attempt.status) == (outcome, status)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [(b"120", 120, 120), (b"Wed, 25 Nov 2099 12:00:00 GMT", 86_400, 86_400), (b"soon", None, None)],
)
async def test_a_wish_is_taken_from_either_form(header: bytes, least: float | None, most: float | None) -> None:
    """Seconds, a date, or nothing that can be understood."""
    async with answering(saying(b"HTTP/1.1 429 Slow\r\nRetry-After: " + header + b"\r\n\r\n")) as (url, _):
        (attempt,) = await tell(url)
    assert attempt.retry_after_seconds == least == most


async def test_no_secret_is_told_when_something_fails(caplog: pytest.LogCaptureFixture) -> None:
    """Not the signing key, not what is in the address: neither in the attempt that is kept nor in a log."""
    caplog.set_level(logging.DEBUG)
    async with answering(saying(b"nonsense hunter2\r\n")) as (url, _):
        attempts = await tell(url)
        attempts += await tell(url, private=False)
    attempts += await tell(url)
    attempts += await tell("http://hunter2.invalid/")
    assert len({each.outcome for each in attempts}) == 2
    said = repr(attempts) + caplog.text
    for secret in ("hunter2", SECRET, SECRET.removeprefix("whsec_"), KEY.hex()):
        assert secret not in said


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "localhost.", "0"])
async def test_no_spelling_of_an_inner_address_is_connected_to(host: str) -> None:
    """A number, hexadecimal, short, absolute: what it means is what is judged."""
    async with answering(saying(OK)) as (url, heard):
        (attempt,) = await tell(url.replace("127.0.0.1", host), private=False)
    assert attempt.outcome in {"address_forbidden", "unreachable"}
    assert heard == []
