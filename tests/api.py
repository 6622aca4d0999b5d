"""The web process on a real database, with everything around it in sight: the parts that its tests stand on."""

# ruff: noqa: ANN401 (events are any JSON, wrong ones too)

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

import asyncpg
from aiohttp import ClientResponse, ClientSession, TraceConfig, TraceRequestEndParams

from monitoring.health import Readiness, readiness
from monitoring.metrics import exposition
from schemas.events import Queue
from schemas.records import Policy
from tests import conformance
from worker.app import Interpreter, gateways_of
from worker.reconcile import Reconciler
from worker.replaying import Replayer
from worker.settings import Client, Regie, Settings
from worker.store import migrate
from worker.store.deliveries import Deliveries
from worker.store.postgres import PostgresStore
from worker.store.replays import Replays
from worker.store.views import Views
from worker.web.server import serving

TOKENS = {
    "portail": "portail-token",
    "city": "city-token",
    "reader": "reader-token",
    "sender": "sender-token",
    "admin": "admin-token",
    "nursery": "nursery-token",
}
LYRA_SECRET = "0123456789abcdef"
LYRA_SITE = "12345678"


def _client(name: str, scopes: set[str], regies: set[str]) -> tuple[str, Client]:
    client = Client(name=name, scopes=frozenset(scopes), regies=frozenset(regies))
    return sha256(TOKENS[name].encode()).hexdigest(), client


def _regie(code: str, gateway: str = "dummy", options: Mapping[str, Any] | None = None, **policy: Any) -> Regie:
    chosen = {"label": f"Régie {code}", "gateway": gateway, "mode": "test"} | policy
    return Regie(code=code, policy=Policy(**chosen), options=options or {})


def settings(database_url: str) -> Settings:
    """Three régies and six clients, each of which may do something else."""
    lyra = {"vads_site_id": LYRA_SITE, "secret_production": LYRA_SECRET, "secret_test": LYRA_SECRET}
    regies = [
        _regie("enfance"),
        _regie("cantine", hold=1),
        _regie("piscine", gateway="systempayv2", mode="production", options=lyra),
    ]
    clients = [
        _client("portail", {"events", "read"}, {"enfance", "cantine", "piscine"}),
        _client("city", {"events", "read"}, {"*"}),
        _client("reader", {"read"}, {"enfance"}),
        _client("sender", {"events"}, {"enfance"}),
        _client("admin", {"admin"}, {"*"}),
        _client("nursery", {"admin"}, {"enfance"}),
    ]
    return Settings(database_url=database_url, clients=dict(clients), regies={regie.code: regie for regie in regies})


@dataclass
class RecordingBell:
    """A bell that nobody hears: it remembers what was rung."""

    rung: list[Queue] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    answers: bool = True

    def ring(self, queue: Queue) -> None:
        """Remember it."""
        self.rung.append(queue)
        self.heard.set()

    async def check(self) -> bool:
        """Say what the test wants said."""
        return self.answers


@dataclass
class Composed:
    """The application around the web process."""

    settings: Settings
    store: Any
    views: Views
    pool: "asyncpg.Pool[Any]"
    bell: RecordingBell = field(default_factory=RecordingBell)

    @property
    def deliveries(self) -> Deliveries:
        """What portals are still to be told."""
        return Deliveries(self.pool)

    @cached_property
    def replayer(self) -> Replayer:
        """What runs replays."""
        return Replayer(Replays(self.store, "web"), self.store.waiting, self.bell.ring)

    async def readiness(self) -> Readiness:
        """Ask the database, and the bell."""
        return await readiness(self._schema_is_current, self.bell.check)

    async def scrape(self) -> bytes:
        """Show this process's metrics."""
        return exposition()

    async def reconcile(self) -> int:
        """Do a worker's work: everything pending, facts before callbacks."""
        reconciler = Reconciler(self.store, Interpreter(gateways_of(self.settings)), lambda _done: None)
        done = [await reconciler.drain(queue) for queue in (Queue.PAYMENT_STARTED, Queue.GATEWAY_CALLBACK)]
        return sum(done)

    async def end_due_holds(self) -> int:
        """Do the clock's work."""
        return await Reconciler(self.store, Interpreter(gateways_of(self.settings)), lambda _done: None).end_due_holds()

    async def events(self) -> list[asyncpg.Record]:
        """Every event that was stored, in order. By a connection of its own: a test may just have cut the pool's."""
        connection = await asyncpg.connect(self.settings.database_url)
        try:
            rows: list[asyncpg.Record] = await connection.fetch("SELECT * FROM events ORDER BY place")
        finally:
            await connection.close()
        return rows

    async def _schema_is_current(self) -> bool:
        async with self.pool.acquire(timeout=1) as connection:
            return await migrate.current(connection)


@asynccontextmanager
async def composed(database_url: str, configured: Settings | None = None) -> AsyncIterator[Composed]:
    """The application on that database, with its régies known."""
    chosen = configured or settings(database_url)
    store = await PostgresStore.open(database_url)
    try:
        await store.sync_policies(chosen.policies)
        views = Views(store.pool)
        yield Composed(chosen, store, views, store.pool)
    finally:
        await store.close()


@dataclass
class Api:
    """A client of a served application."""

    app: Composed
    address: str
    port: int
    http: ClientSession

    async def post(self, event: Any, client: str = "portail", **headers: str) -> ClientResponse:
        """Send one event in structured mode; keyword headers have `_` for `-`."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        sent = {"Content-Type": "application/cloudevents+json", **bearer(client)}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(f"{self.address}/v1/events", data=body, headers=sent)

    async def batch(self, events: Any, client: str = "portail") -> ClientResponse:
        """Send a batch."""
        body = events if isinstance(events, bytes) else json.dumps(events).encode()
        sent = {"Content-Type": "application/cloudevents-batch+json", **bearer(client)}
        return await self.http.post(f"{self.address}/v1/events", data=body, headers=sent)

    async def get(self, path: str, client: str = "portail") -> ClientResponse:
        """Read something."""
        return await self.http.get(f"{self.address}{path}", headers=bearer(client))


@asynccontextmanager
async def served(app: Composed) -> AsyncIterator[Api]:
    """The application served on a free port of the loopback. Every answer is one that /openapi.json describes."""
    tracing = TraceConfig()
    tracing.on_request_end.append(_described)
    async with serving(app, "127.0.0.1", 0) as port, ClientSession(trace_configs=[tracing]) as http:
        yield Api(app, f"http://127.0.0.1:{port}", port, http)


async def _described(_session: ClientSession, _context: object, told: TraceRequestEndParams) -> None:
    response = told.response
    body = await response.read()
    conformance.check(told.method, told.url.path_safe, response.status, response.content_type, body)


def bearer(client: str) -> dict[str, str]:
    """The header that says who calls."""
    return {"Authorization": f"Bearer {TOKENS[client]}"}


def event(kind: str, data: Any, event_id: str = "e-1", **attributes: Any) -> dict[str, Any]:
    """A CloudEvent of ours; `kind` is its type without prefix and version."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/portail",
        "type": f"fr.lettrage.{kind}.v1",
        "data": data,
    } | attributes


def issued(number: str = "F-1", cents: int = 4250, event_id: str | None = None, **data: Any) -> dict[str, Any]:
    """An invoice, issued."""
    said = {"regie": "enfance", "number": number, "account": "DUPONT", "amount_cents": cents} | data
    return event("invoice.issued", said, event_id or f"issued-{number}")


def started(
    reference: str = "P-1", *, lines: Mapping[str, int] | None = None, event_id: str | None = None, **data: Any
) -> dict[str, Any]:
    """A payment, started."""
    paid = lines or {"F-1": 4250}
    said = {
        "regie": "enfance",
        "reference": reference,
        "amount_cents": sum(paid.values()),
        "invoices": [{"number": number, "amount_cents": cents} for number, cents in paid.items()],
    } | data
    return event("payment.started", said, event_id or f"started-{reference}")


async def exchange(port: int, sent: bytes, seconds: float = 20.0) -> bytes:
    """Everything that the server answers to raw bytes until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), seconds)
    finally:
        writer.close()
