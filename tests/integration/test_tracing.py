"""A trace from the portal's request to the decision, sent as a collector of OpenTelemetry's protocol reads it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256

import pytest
from aiohttp import ClientSession, web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from schemas.records import Policy
from worker import settings
from worker.app import App
from worker.secret import Secret
from worker.web.server import serving

TOKEN = "portail-token"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
SOON = 20


class Collector:
    """Takes spans over OTLP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.hangs = False

    async def take(self, request: web.Request) -> web.Response:
        """One batch of them."""
        if self.hangs:
            await asyncio.sleep(3600)
        sent = ExportTraceServiceRequest.FromString(await request.read())
        self.spans += [span for part in sent.resource_spans for scope in part.scope_spans for span in scope.spans]
        return web.Response(content_type="application/x-protobuf")

    def named(self, name: str) -> Span:
        """The one span of that name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """A collector that listens, and an environment that names it."""
    found = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", found.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield found
    await runner.cleanup()


def configured(database_url: str, redis_url: str, portal: settings.Portal | None = None) -> settings.Settings:
    """One régie, one client, and where the régie's portal is told, if it is."""
    client = settings.Client(name="portail", scopes=frozenset({"events", "read"}), regies=frozenset({"*"}))
    policy = Policy(label="Régie Enfance", gateway="dummy", mode="test", notify=portal is not None)
    return settings.Settings(
        database_url=database_url,
        redis_url=redis_url,
        clients={sha256(TOKEN.encode()).hexdigest(): client},
        regies={"enfance": settings.Regie(code="enfance", policy=policy, options={}, portal=portal)},
    )


async def send(port: int, headers: dict[str, str]) -> None:
    """Start a payment, as a portal does."""
    invoices = [{"number": "F-1", "amount_cents": 900}]
    event = {
        "specversion": "1.0",
        "type": "fr.lettrage.payment.started.v1",
        "source": "/portail",
        "id": "start-P-1",
        "data": {"regie": "enfance", "reference": "P-1", "amount_cents": 900, "invoices": invoices},
    }
    authorized = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents+json"}
    address = f"http://127.0.0.1:{port}/v1/events"
    async with ClientSession() as session, session.post(address, json=event, headers=authorized | headers) as answer:
        assert answer.status == 202, await answer.text()


async def reconciled(app: App) -> None:
    """Have everything decided that waits."""
    async with asyncio.timeout(SOON):
        while waiting := await app.waiting(0):
            for queue in waiting:
                await app.drain(queue)


async def test_a_portals_request_and_its_decision_are_one_trace(
    database_url: str, redis_url: str, collector: Collector
) -> None:
    """The span of the taking is below the portal's own, that of the decision below the taking's."""
    async with App.open(configured(database_url, redis_url), "web") as app, serving(app, "127.0.0.1", 0) as port:
        await send(port, {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"})
        await reconciled(app)
    taken = collector.named("take fr.lettrage.payment.started.v1")
    decided = collector.named("reconcile fr.lettrage.payment.started.v1")
    assert taken.trace_id.hex() == decided.trace_id.hex() == TRACE_ID
    assert taken.parent_span_id.hex() == PARENT_ID
    assert decided.parent_span_id == taken.span_id
    assert decided.end_time_unix_nano >= decided.start_time_unix_nano


@asynccontextmanager
async def portal_listening(heard: asyncio.Queue[Mapping[str, str]]) -> AsyncIterator[settings.Portal]:
    """A portal that keeps the headers of what it is told."""

    async def take(request: web.Request) -> web.Response:
        heard.put_nowait(request.headers)
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield settings.Portal(url=url, secret=Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), private=True)
    await runner.cleanup()


async def test_what_a_portal_is_told_is_of_the_same_trace(
    database_url: str, redis_url: str, collector: Collector
) -> None:
    """The span of the telling is below the event's taking, and the portal's own will be below the telling's."""
    heard: asyncio.Queue[Mapping[str, str]] = asyncio.Queue()
    async with (
        portal_listening(heard) as portal,
        App.open(configured(database_url, redis_url, portal), "web") as app,
        serving(app, "127.0.0.1", 0) as port,
    ):
        await send(port, {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"})
        await reconciled(app)
        headers = await asyncio.wait_for(heard.get(), SOON)
    told = collector.named("tell")
    assert told.kind == Span.SPAN_KIND_CLIENT
    assert told.trace_id.hex() == TRACE_ID
    assert told.parent_span_id == collector.named("take fr.lettrage.payment.started.v1").span_id
    assert headers["traceparent"] == f"00-{TRACE_ID}-{told.span_id.hex()}-01"


async def test_a_collector_that_hangs_keeps_nobody(database_url: str, redis_url: str, collector: Collector) -> None:
    """Events are taken and decided as ever, and the process ends well below its 25 s."""
    collector.hangs = True
    loop = asyncio.get_running_loop()
    async with App.open(configured(database_url, redis_url), "web") as app:
        async with serving(app, "127.0.0.1", 0) as port:
            await send(port, {})
            await reconciled(app)
        began = loop.time()
    assert loop.time() - began < 15
    assert not collector.spans
