"""Connections: what is not HTTP, what is too slow, what asks first, and how the process ends."""

import asyncio
import json
from contextlib import AsyncExitStack
from itertools import count

import pytest
from aiohttp import ClientConnectorError, ClientSession

from tests.api import Api, bearer, composed, event, exchange, issued, served
from tests.integration.web.test_events_in import problem
from worker.web import bodies, connections
from worker.web.server import serving

AUTHORIZED = b"Authorization: Bearer portail-token\r\n"
STRUCTURED = b"Content-Type: application/cloudevents+json\r\n"
HEADERS = {**bearer("portail"), "Content-Type": "application/cloudevents+json"}
POST = b"POST /v1/events HTTP/1.1\r\nHost: x\r\n" + AUTHORIZED + STRUCTURED


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose deadlines are fractions of a second."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    monkeypatch.setattr(connections, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.1)
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.3)


async def is_hung_up_on(reader: asyncio.StreamReader) -> bool:
    """Whether the server hangs up without an answer: a byte that was still on its way makes an end a reset."""
    try:
        return await asyncio.wait_for(reader.read(), 5) == b""
    except ConnectionResetError:
        return True


NOT_HTTP = [
    b"\r\n\r\n\x00\x01\x02\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    POST + b"Content-Length: -1\r\n\r\n",
    POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    POST + b"Transfer-Encoding: chunked\r\n\r\nnothex\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
    b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nlong: " + b"x" * 20_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"h%d: 1\r\n" % n for n in range(200)) + b"\r\n",
]


async def test_what_is_not_http_is_answered_with_a_problem(api: Api, subtests: pytest.Subtests) -> None:
    """400 as application/problem+json, the connection closed, nothing stored, and the next one is served."""
    for sent in NOT_HTTP:
        with subtests.test(repr(sent[:40])):
            head, _, body = (await exchange(api.port, sent)).partition(b"\r\n\r\n")
            assert b" 400 " in head.splitlines()[0]
            assert b"application/problem+json" in head
            assert json.loads(body)["type"] == "urn:lettrage:problem:bad-request"
    assert await api.app.events() == []
    assert (await api.post(issued())).status == 202


@pytest.mark.usefixtures("impatient")
async def test_headers_that_drip_are_hung_up_on(database_url: str) -> None:
    """However many bytes keep coming: the deadline is of the whole request's headers."""
    async with composed(database_url) as app, served(app) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)

        async def drip() -> None:
            for byte in POST * 100:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert await is_hung_up_on(reader)
        dripping.cancel()
        writer.close()


@pytest.mark.usefixtures("impatient")
async def test_second_headers_that_drip_are_hung_up_on(database_url: str) -> None:
    """After a request that was served, too."""
    async with composed(database_url) as app, served(app) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b'ok"}\n')).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /liv")
        assert await is_hung_up_on(reader)
        writer.close()


@pytest.mark.usefixtures("impatient")
async def test_a_body_that_drips_is_a_408(database_url: str) -> None:
    """Told, then hung up on; nothing is stored."""
    async with composed(database_url) as app, served(app) as api:
        answer = await exchange(api.port, POST + b"Content-Length: 1000\r\n\r\n{", 5)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"urn:lettrage:problem:too-slow" in answer
        assert await app.events() == []


@pytest.mark.usefixtures("impatient")
async def test_an_idle_connection_is_not_slow(database_url: str) -> None:
    """Between two requests it may rest for longer than headers may take."""
    async with composed(database_url) as app, served(app) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
        for _ in range(2):
            await asyncio.sleep(0.8)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b'ok"}\n')).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_request_that_never_ends_is_hung_up_on(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when a handler waits, a connection is not held for ever."""
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(connections, "SWEEP_SECONDS", 0.1)
    async with composed(database_url) as app, served(app) as api:
        body = json.dumps(issued()).encode()
        head = POST + b"Prefer: wait=2\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert await exchange(api.port, head + body, 5) == b""
        assert len(await app.events()) == 1


async def test_a_client_that_leaves_early_loses_nothing_of_others(api: Api) -> None:
    """Half a body, then gone; and gone before the answer: the first stores nothing, the second is stored."""
    body = json.dumps(issued("F-2")).encode()
    for sent in (POST + b"Content-Length: 5000\r\n\r\n{", POST + b"Content-Length: %d\r\n\r\n" % len(body) + body):
        _, writer = await asyncio.open_connection("127.0.0.1", api.port)
        writer.write(sent)
        await writer.drain()
        writer.transport.abort()
    assert (await api.post(issued("F-1"))).status == 202
    assert {row["id"] for row in await api.app.events()} >= {"issued-F-1"}


async def test_a_client_may_ask_before_it_sends(api: Api) -> None:
    """`Expect: 100-continue` gets it; a body that is too long is refused before it is sent; else 417."""
    body = json.dumps(issued()).encode()
    close = b"Connection: close\r\n"
    expected = POST + close + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = await exchange(api.port, expected + body)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202")
    refused = await exchange(api.port, POST + close + b"Expect: much\r\nContent-Length: 0\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 417")
    assert b"urn:lettrage:problem:expectation-failed" in refused


async def test_pipelined_requests_are_answered_in_order(api: Api) -> None:
    """Three at once on one connection."""
    sent = b""
    for number in ("F-1", "F-2", "F-3"):
        body = json.dumps(issued(number)).encode()
        sent += POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    answer = await exchange(api.port, sent + b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    places = [answer.index(b"issued-F-%d" % n) for n in (1, 2, 3)]
    assert places == sorted(places)


async def test_stopping_drains(database_url: str) -> None:
    """A request that waits is answered, a new connection is refused, what was taken is stored."""
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(composed(database_url))
        serving = AsyncExitStack()
        api = await serving.enter_async_context(served(app))
        body = json.dumps(issued()).encode()
        head = POST + b"Prefer: wait=2\r\nContent-Length: %d\r\n\r\n" % len(body)
        waiting = asyncio.create_task(exchange(api.port, head + body))
        await app.bell.heard.wait()
        await serving.aclose()
        assert (await waiting).startswith(b"HTTP/1.1 202")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", api.port)
        assert len(await app.events()) == 1


async def test_who_keeps_connections_busy_is_cut_off_in_no_request(database_url: str) -> None:
    """While the process ends, each answer says that it is its connection's last; no next one is taken."""
    answered: list[int] = []

    async def send_on(http: ClientSession, port: int, lane: int) -> None:
        for number in count():
            try:
                sent = issued(f"F-{lane}-{number}")
                answer = await http.post(f"http://127.0.0.1:{port}/v1/events", json=sent, headers=HEADERS)
            except ClientConnectorError:
                return
            answered.append(answer.status)

    async with composed(database_url) as app, ClientSession() as http:
        async with serving(app, "127.0.0.1", 0) as port:
            lanes = [asyncio.create_task(send_on(http, port, lane)) for lane in range(8)]
            while len(answered) < 50:  # noqa: ASYNC110 (requests have no event)
                await asyncio.sleep(0.01)
        await asyncio.gather(*lanes)
        assert set(answered) == {202}
        assert len(await app.events()) == len(answered)


async def test_every_answer_hides_which_server_it_is(api: Api) -> None:
    """No version in any header, whatever went well or wrong."""
    sent = [
        await api.http.get(f"{api.address}/livez"),
        await api.http.get(f"{api.address}/nothing"),
        await api.post(issued()),
        await api.post(event("x", {})),
        await api.http.get(f"{api.address}/v1/callbacks/enfance"),
        await api.http.get(f"{api.address}/v1/regies", headers=bearer("city")),
    ]
    assert {response.headers["Server"] for response in sent} == {"lettrage"}


async def test_unforeseen_errors_are_problems_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """500, nothing of the error in the answer."""

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(api.app.views, "regies", broken)
    response = await api.get("/v1/regies")
    said = await problem(response, 500, "internal")
    assert "secret" not in json.dumps(said)
