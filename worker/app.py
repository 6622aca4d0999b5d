"""The composition root: one process's store, views, reconciler and bell, built from its settings.

Everything a process shares lives here, on one event loop; `App.open` waits for the database and the schema instead
of failing, and `App.current` is what an actor finds.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import ClassVar, Final, Literal, Self
from uuid import uuid4

import asyncpg
import structlog

from monitoring import logs, metrics
from monitoring.health import Readiness, readiness
from monitoring.outages import Outage
from monitoring.state import StateGauges
from monitoring.tracing import TRACING
from schemas.decisions import Done
from schemas.events import Event, GatewayCallback, Queue
from schemas.reports import Report, ReportResult
from worker.asker import Answers, Asker
from worker.broker import Bell
from worker.gateways.interpret import interpret
from worker.gateways.port import Answer, Claim, GatewayConfig, Question
from worker.gateways.services import OUR_FAULT, Service, services_of
from worker.lane import Lane
from worker.notifier import Notifier
from worker.portals.port import Attempt, DueNotification, PortalConfig, SendOutcome
from worker.portals.sending import Portal
from worker.reconcile import Reconciler
from worker.replaying import Replayer
from worker.settings import Settings
from worker.store import migrate
from worker.store.deliveries import Deliveries
from worker.store.gauges import Gauges
from worker.store.port import StoreUnavailableError
from worker.store.postgres import PostgresStore
from worker.store.replays import Replays
from worker.store.retention import Eraser
from worker.store.seals import Sealer
from worker.store.views import Views

Role = Literal["web", "worker", "clock"]

STORE_CONNECTIONS: Final = 8
"""Two per lane of events, as many for the sweep and its evidence, two to look with; made when needed."""
VIEW_CONNECTIONS: Final = 4
"""Reading requests at once; more would only queue in the database."""
READY_SECONDS: Final = 0.5
"""Between two looks whether the database and its schema are there."""
UNREADY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    StoreUnavailableError,
    migrate.MigrationError,
)
"""What a database raises that is absent, starting, restoring, full, or not migrated as this code wants it."""

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()


class RegieNotConfiguredError(Exception):
    """A callback of a régie whose keys this process does not have: another may, or will after a restart.

    So it is tried again and then parked, where people see it: it may be the proof of a payment.
    """


class SchemaNotCurrentError(migrate.MigrationError):
    """The database has not been migrated yet: `lettrage migrate` does it."""


class App:
    """One process of Lettrage. `open` it; everything else is for whoever runs inside."""

    _current: ClassVar["App | None"] = None

    def __init__(self, settings: Settings, store: PostgresStore, views: Views, gauges: Gauges, bell: Bell) -> None:
        self.settings = settings
        self.store = store
        self.views = views
        self.bell = bell
        self._state = StateGauges(gauges.readings())
        metrics.know_regies(settings.regies)
        gateways = gateways_of(settings)
        self._services = services_of(gateways)
        self._reconciler = Reconciler(store, Interpreter(gateways), self._tell, lambda: self.ring(Queue.GATEWAY_ASK))
        self._asker = Asker(store, [_Counted(service) for service in self._services], self._take_answers)
        portals = [Portal(config) for config in portals_of(settings)]
        self.deliveries = Deliveries(store.pool)
        self._notifier = Notifier(self.deliveries, portals, _count_notification)
        self._sealer = Sealer(store.pool)
        self._eraser = Eraser(store, settings.retention)
        self.replayer = Replayer(Replays(store, uuid4().hex), store.waiting, self.ring)
        self._facts = Lane(lambda: self._reconciler.drain(Queue.PAYMENT_STARTED))
        callbacks = Lane(lambda: self._reconciler.drain(Queue.GATEWAY_CALLBACK))
        self._sweep = Lane(self._reconciler.end_due_holds)
        of_facts = (queue for queue in Queue if queue not in (Queue.GATEWAY_ASK, Queue.NOTIFICATION))
        self._drains = dict.fromkeys(of_facts, _Guarded(self._facts)) | {
            Queue.GATEWAY_CALLBACK: _Guarded(callbacks),
            Queue.PAYMENT_TIMEOUT: _Guarded(Lane(self._time_out)),
        }

    @classmethod
    def current(cls) -> "App":
        """This process's application, for the actors."""
        assert cls._current is not None, "actors run inside App.open"
        return cls._current

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, role: Role) -> AsyncIterator[Self]:
        """The application on this event loop, once the database answers and its schema is current."""
        assert settings.database_url is not None, "the caller finds the embedded server's address"
        assert settings.redis_url is not None, "the caller finds the embedded server's address"
        async with AsyncExitStack() as stack:
            store = await _ready_store(settings, f"lettrage {role}")
            stack.push_async_callback(store.close)
            views = await Views.open(settings.database_url, size=VIEW_CONNECTIONS)
            stack.push_async_callback(views.close)
            gauges = await Gauges.open(settings.database_url)
            stack.push_async_callback(gauges.close)
            TRACING.begin(role)
            stack.push_async_callback(asyncio.to_thread, TRACING.end)
            bell = Bell(settings.redis_url)
            stack.push_async_callback(bell.close)
            app = cls(settings, store, views, gauges, bell)
            stack.push_async_callback(app.close)
            cls._current = app
            log.info("process_ready", role=role)
            try:
                yield app
            finally:
                cls._current = None

    def ring(self, queue: Queue) -> None:
        """Wake whoever drains that queue; returns at once. Call after the commit."""
        self.bell.ring(queue)

    async def answer(self, queue: Queue) -> None:
        """What an actor does when its bell rings: let the next event ring again, then drain."""
        await self.bell.answered(queue)
        await self.drain(queue)

    async def drain(self, queue: Queue) -> None:
        """Reconcile what waits in that queue, once at a time here. What fails stays pending, for the clock.

        Questions and notifications are only begun: a slow gateway or portal keeps nobody waiting here.
        """
        if queue is Queue.GATEWAY_ASK:
            self._asker.wake()
        elif queue is Queue.NOTIFICATION:
            self._notifier.wake()
        else:
            await self._drains[queue].run()

    def _tell(self, done: Done) -> None:
        metrics.reconciled(done)
        logs.reconciled(done)
        TRACING.reconciled(done)
        if any(event.regie in self._notifier.regies for event, _ in done.applied):
            self.ring(Queue.NOTIFICATION)

    async def _take_answers(self, answers: Answers) -> None:
        await self._reconciler.take_answers(answers)
        await self._drains[Queue.PAYMENT_CORRECTED].run()

    async def end_due_holds(self) -> None:
        """Write the end of every hold that is over, once at a time here. Raises whatever the store does."""
        await self._sweep.run()

    async def seal(self) -> bool:
        """Seal some of what was applied; True when more waits. Raises whatever the database does."""
        return await self._sealer.seal()

    async def erase(self) -> bool:
        """Blank or remove some of what is kept no longer; True when more waits. Raises whatever the store does."""
        step = await self._eraser.step()
        for what, count in step.erased.items():
            metrics.ERASED.labels(what).inc(count)
            log.info("time_over", what=what, rows=count)
        return step.more

    async def _time_out(self) -> None:
        """Sweep, then take what a sweep set aside as an event of this queue: it is a fact like others."""
        await self._sweep.run()
        await self._facts.run()

    async def next_deadline(self) -> float | None:
        """Seconds until the next hold is over; see the store."""
        return await self.store.next_deadline()

    async def advance_replays(self) -> float:
        """Do a batch of a replay that nobody runs; seconds until the next look. Raises whatever the store does."""
        return await self.replayer.advance()

    async def waiting(self, older_than_seconds: float) -> list[Queue]:
        """Queues that nobody drained for that long; see the store."""
        found = await self.store.waiting(older_than_seconds)
        regies = self._asker.regies
        if regies and await self.store.asks_waiting(regies, older_than_seconds):
            found.append(Queue.GATEWAY_ASK)
        if await self._notifier.waiting(older_than_seconds):
            found.append(Queue.NOTIFICATION)
        return found

    def stop(self) -> None:
        """Take nothing new: what is being drained ends after its batch."""
        self._reconciler.stop()

    async def close(self) -> None:
        """Let what is being asked and told end and be kept, and hang up."""
        await asyncio.gather(self._asker.close(), self._notifier.close())
        for service in self._services:
            service.close()

    async def scrape(self) -> bytes:
        """The web's `/metrics`: every process's own, and the state gauges while the database answers."""
        samples, _ = await asyncio.gather(self._state.samples(), self.bell.check())
        return await asyncio.to_thread(metrics.exposition, samples)

    async def readiness(self) -> Readiness:
        """What `/readyz` says."""
        return await readiness(self._schema_is_current, self.bell.check)

    async def _schema_is_current(self) -> bool:
        """Whether nothing is missing. A newer schema is a release under way: until it is replaced, this one serves."""
        async with self.store.pool.acquire(timeout=READY_SECONDS) as connection:
            try:
                return await migrate.current(connection)
            except migrate.MigrationError:
                return False


class Interpreter:
    """Reads callbacks with their régie's own gateway and keys."""

    def __init__(self, gateways: Mapping[str, GatewayConfig]) -> None:
        self._gateways = gateways

    async def __call__(self, event: Event) -> Report | Claim:
        """What a stored callback says, or that its gateway is to be asked.

        Raises:
            RegieNotConfiguredError: its keys are not here.
        """
        assert isinstance(event.data, GatewayCallback)
        gateway = self._gateways.get(event.regie)
        if gateway is None:
            raise RegieNotConfiguredError(event.regie)
        return _interpret(gateway, event.data)


def gateways_of(settings: Settings) -> dict[str, GatewayConfig]:
    """Each régie's gateway, with its secrets in clear."""
    return {
        code: GatewayConfig(
            regie=code, kind=regie.policy.gateway, mode=regie.policy.mode, options=regie.revealed_options()
        )
        for code, regie in settings.regies.items()
    }


def portals_of(settings: Settings) -> list[PortalConfig]:
    """Each régie's portal, with its secrets in clear."""
    return [
        PortalConfig(
            regie=code,
            url=regie.portal.url,
            secrets=tuple(secret.reveal() for secret in regie.portal.secrets),
            private=regie.portal.private,
        )
        for code, regie in settings.regies.items()
        if regie.portal is not None
    ]


def _count_notification(due: DueNotification, attempt: Attempt) -> None:
    metrics.NOTIFICATIONS.labels(due.regie, attempt.outcome).inc()
    metrics.NOTIFICATION_SECONDS.observe(attempt.milliseconds / 1000)
    if attempt.outcome is not SendOutcome.DELIVERED:
        about = {"outcome": attempt.outcome, "status": attempt.status, "error": attempt.error}
        log.warning("notification_failed", attempts=due.attempts, **about)


def _interpret(gateway: GatewayConfig, callback: GatewayCallback) -> Report | Claim:
    began = time.perf_counter()
    body = base64.b64decode(callback.body)
    found = interpret(gateway, callback.method, callback.query, body, callback.headers or {})
    outcome = "claim" if isinstance(found, Claim) else _outcome(found)
    _count(gateway.kind, outcome, time.perf_counter() - began)
    return found


class _Counted:
    """A service whose answers are counted."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.name = service.name

    @property
    def regies(self) -> list[str]:
        return self._service.regies

    async def ask(self, regie: str, question: Question) -> Answer:
        began = time.perf_counter()
        answer = await self._service.ask(regie, question)
        outcome = answer.report.why if answer.report.result is ReportResult.FAILED else _outcome(answer.report)
        if outcome in OUR_FAULT:
            metrics.UNAUTHORISED_ASKS.labels(regie).inc()
        _count(self._service.kind_of(regie), f"asked_{outcome}", time.perf_counter() - began)
        return answer


def _outcome(report: Report) -> str:
    return report.result.name.lower() if report.verified else report.why or "unverified"


def _count(kind: str, outcome: str, seconds: float) -> None:
    metrics.GATEWAY_REQUESTS.labels(kind, outcome).inc()
    metrics.GATEWAY_REQUEST_SECONDS.labels(kind).observe(seconds)


async def _ready_store(settings: Settings, application_name: str) -> PostgresStore:
    """The store, once the database answers and has the schema that this code wants; told once while it does not."""
    outage = Outage("database_awaited", "database_found")
    while True:
        try:
            store = await _store_with_policies(settings, application_name)
        except UNREADY as error:
            outage.fails(error)
            await asyncio.sleep(READY_SECONDS)
        else:
            outage.works()
            return store


async def _store_with_policies(settings: Settings, application_name: str) -> PostgresStore:
    assert settings.database_url is not None, "the caller finds the embedded server's address"
    store = await PostgresStore.open(settings.database_url, size=STORE_CONNECTIONS, application_name=application_name)
    try:
        async with store.pool.acquire() as connection:
            await _expect_schema(connection)
        await store.sync_policies(settings.policies)
    except BaseException:
        await store.close()
        raise
    return store


async def _expect_schema(connection: "migrate.Connection") -> None:
    if not await migrate.current(connection):
        raise SchemaNotCurrentError("run `lettrage migrate`")


class _Guarded:
    """A lane that raises nothing: a failure is told once, and whoever comes next takes what is left."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._outage = Outage("drain_failing", "drain_works")

    async def run(self) -> None:
        try:
            await self._lane.run()
            self._outage.works()
        except Exception as error:  # noqa: BLE001 (the events stay pending)
            self._outage.fails(error)
