"""Telling portals, on real HTTP servers and PostgreSQL: in order, again, nowhere else, and none waits for another."""

import asyncio
import base64
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from standardwebhooks import Webhook
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from schemas.records import Policy
from tests.integration.processes import lettrage
from tests.integration.worlds import HOLD, REGIE, drained, issued, settled, started
from tests.integration.worlds import PostgresWorld as World
from worker.app import _count_notification
from worker.domain.decide import decide
from worker.notifier import Notifier
from worker.portals.port import Attempt, DueNotification, PortalConfig
from worker.portals.sending import AT_ONCE, ATTEMPT_SECONDS, Portal
from worker.store import deliveries as stored
from worker.store.deliveries import Deliveries, Result, Room, notifications
from worker.store.postgres import PostgresStore
from worker.store.views import Views

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NEXT = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SOON = 20.0
"""Seconds that a busy machine may take for what needs milliseconds."""

Answer = Callable[[str, dict[str, Any]], Awaitable[web.Response]]


@dataclass
class Listener:
    """A portal: what it heard, in order, and how it answers."""

    url: str = ""
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[web.Response] = field(default_factory=list)
    hangs: bool = False

    async def take(self, request: web.Request) -> web.Response:
        """Keep a notification, and answer as the test wants."""
        body = await request.read()
        self.requests.append((dict(request.headers), body))
        if self.hangs:
            await asyncio.sleep(60)
        answer = self.answers.pop(0) if self.answers else web.Response(status=204)
        if answer.status < 300:
            self.heard.append((request.headers["webhook-id"], msgspec.json.decode(body)))
        return answer

    @property
    def versions(self) -> dict[str, list[int]]:
        """The versions of each invoice, in the order heard."""
        found: dict[str, list[int]] = {}
        for _, body in self.heard:
            found.setdefault(body["data"]["number"], []).append(body["data"]["version"])
        return found


@asynccontextmanager
async def listening(port: int = 0) -> AsyncIterator[Listener]:
    """A portal on this machine."""
    listener = Listener()
    application = web.Application()
    application.router.add_post("/hook", listener.take)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    listener.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield listener
    await runner.cleanup()


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """A store whose régies have portals."""
    store = await PostgresStore.open(database_url)
    policy = Policy(label="r", gateway="dummy", notify=True)
    await store.sync_policies(dict.fromkeys((REGIE, *(f"r{n}" for n in range(10))), policy))
    yield World(store)
    await store.close()


@asynccontextmanager
async def notifying(
    world: World, *configs: PortalConfig, attempts: list[Attempt] | None = None
) -> AsyncIterator[Notifier]:
    """A worker that tells these portals, and says so like any other."""
    kept = [] if attempts is None else attempts
    portals = [Portal(config) for config in configs]

    def observe(due: DueNotification, attempt: Attempt) -> None:
        _count_notification(due, attempt)
        kept.append(attempt)

    notifier = Notifier(Deliveries(world.postgres.pool), portals, observe)
    notifier.wake()
    try:
        yield notifier
    finally:
        await notifier.close()


def to(
    listener: Listener, regie: str = REGIE, *, secrets: tuple[str, ...] = (SECRET,), private: bool = True
) -> PortalConfig:
    """The configuration of a portal on this machine."""
    return PortalConfig(regie=regie, url=listener.url, secrets=secrets, private=private)


async def change(world: World, *numbers: str, times: int = 3, regie: str = REGIE) -> None:
    """Let invoices change that many times: owed, then paid at the counter, and so on."""
    for nth in range(times):
        made = [issued(number, 100 * (nth + 1)) if nth % 2 == 0 else settled(number, 100 * nth) for number in numbers]
        for new in made:
            new.regie = new.data.regie = regie
        await world.store.record(made)
        await drained(world)


async def until(met: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return once it is so."""
    async with asyncio.timeout(SOON):
        while True:
            is_so = met()
            if is_so is True or (is_so is not False and await is_so):
                return
            await asyncio.sleep(0.02)


async def due_now(world: World) -> None:
    """Let the pauses of everything pass."""
    await world.rows(
        "UPDATE deliveries SET due_at = clock_timestamp() - interval '1 second' WHERE outbox_id IN"
        " (SELECT outbox_id FROM deliveries FOR UPDATE SKIP LOCKED)"
    )
    await world.rows("UPDATE portals SET paused_until = '-infinity'")


async def left(world: World) -> int:
    """How many are not delivered."""
    return int((await world.rows("SELECT count(*) FROM deliveries"))[0][0])


async def all_told(world: World) -> bool:
    """Whether nothing is left."""
    return await left(world) == 0


async def test_a_change_is_told_as_the_contract_says(world: World) -> None:
    """Type, time and data, signed; believed by the reference library."""
    async with listening() as portal, notifying(world, to(portal)) as notifier:
        await change(world, "F-1", times=1)
        notifier.wake()
        await until(lambda: all_told(world))
    headers, body = portal.requests[0]
    Webhook(SECRET).verify(body, headers)
    told = msgspec.json.decode(body)
    assert list(told) == ["type", "timestamp", "data"]
    assert told["type"] == "invoice.payable"
    assert told["timestamp"].endswith("Z")
    assert set(told["data"]) == {
        *("regie", "number", "account", "state", "version", "payable_again_at", "payment", "reason")
    }
    (row,) = await world.rows("SELECT outcome, status, error FROM delivery_attempts")
    assert tuple(row) == ("delivered", 204, None)


async def test_an_attempt_that_failed_is_a_warning_with_ids_and_nothing_secret(world: World) -> None:
    """Who looks for it finds what was told to whom; neither the family's account nor the portal's address is said."""
    async with listening() as portal:
        portal.answers = [web.Response(status=500)]
        portal.url += "?token=hunter2"
        new = issued("F-1", trace=TRACE)
        await world.store.record([new])
        await drained(world)
        attempts: list[Attempt] = []
        with capture_logs([merge_contextvars]) as logged:
            async with notifying(world, to(portal), attempts=attempts):
                await until(lambda: bool(attempts))
    (said,) = logged
    assert said == {
        "event": "notification_failed",
        "log_level": "warning",
        "regie": REGIE,
        "invoice": "F-1",
        "webhook_id": portal.requests[0][0]["webhook-id"],
        "event_id": new.id,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "attempts": 1,
        "outcome": "refused",
        "status": 500,
        "error": None,
    }


async def test_the_trace_of_the_event_goes_with_what_is_told_of_it(world: World) -> None:
    """Of a payment's start also with its hold's end, which has none of its own; where there is none, nothing goes."""
    facts = [started("P-1", "F-1", trace=TRACE), issued("F-2", trace=OTHER), issued("F-3")]
    await world.store.record(facts)
    await drained(world)
    await world.later(HOLD)
    await world.store.end_due_holds(decide, 10)
    async with listening() as portal, notifying(world, to(portal)) as notifier:
        notifier.wake()
        await until(lambda: all_told(world))
    traces = {
        (told["data"]["number"], told["data"]["state"]): headers.get("traceparent")
        for headers, told in ((headers, msgspec.json.decode(body)) for headers, body in portal.requests)
    }
    assert traces == {
        ("F-1", "in_payment"): TRACE,
        ("F-1", "payable"): TRACE,
        ("F-2", "payable"): OTHER,
        ("F-3", "payable"): None,
    }


async def test_both_secrets_sign_during_rotation(world: World) -> None:
    """A portal that knows only one of them believes."""
    async with listening() as portal, notifying(world, to(portal, secrets=(SECRET, NEXT))) as notifier:
        await change(world, "F-1", times=1)
        notifier.wake()
        await until(lambda: all_told(world))
    headers, body = portal.requests[0]
    for secret in (SECRET, NEXT):
        Webhook(secret).verify(body, headers)


async def test_an_invoices_notifications_come_in_order_however_often_they_fail(world: World) -> None:
    """Two workers, twenty invoices with three changes each, a portal that refuses a third of what it is asked."""
    numbers = [f"F-{n}" for n in range(20)]
    async with listening() as portal:
        portal.answers = [web.Response(status=500 if n % 3 == 0 else 200) for n in range(60)]
        await change(world, *numbers)
        async with notifying(world, to(portal)) as one, notifying(world, to(portal)) as other:

            async def again() -> bool:
                await due_now(world)
                one.wake()
                other.wake()
                return await all_told(world)

            await until(again)
    assert portal.versions == {number: [1, 2, 3] for number in numbers}
    assert len({name for name, _ in portal.heard}) == 60 == len(portal.heard)


async def test_a_later_notification_waits_for_an_earlier_one_of_its_invoice_alone(world: World) -> None:
    """While the first of F-1 is put off, the second is not sent; F-2 is."""
    async with listening() as portal:
        portal.answers = [web.Response(status=500)]
        await change(world, "F-1", times=1)
        async with notifying(world, to(portal)) as notifier:
            await until(lambda: len(portal.requests) == 1)
            await change(world, "F-2", times=1)
            await world.store.record([settled("F-1", 100)])
            await drained(world)
            notifier.wake()
            await until(lambda: bool(portal.heard))
            await asyncio.sleep(0.2)
    assert portal.versions == {"F-2": [1]}


async def test_a_portal_that_hangs_delays_no_other(world: World) -> None:
    """Ten portals, two of which never answer: the eight have everything at once."""
    async with listening() as slow, listening() as quick:
        slow.hangs = True
        configs = [to(slow if n < 2 else quick, f"r{n}") for n in range(10)]
        for n in range(10):
            await change(world, *(f"F-{n}-{k}" for k in range(10)), times=1, regie=f"r{n}")
        async with notifying(world, *configs):

            async def all_but_the_slow_ones() -> bool:
                return await left(world) == 20

            await until(all_but_the_slow_ones)
            assert len(quick.heard) == 80
            assert len(slow.requests) == 8  # four at once at each


async def test_a_portal_that_was_down_gets_everything_in_order_once(world: World) -> None:
    """Nothing listens; after many failures it is left alone, and once it is back one success recalls all."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    numbers = [f"F-{n}" for n in range(8)]
    await change(world, *numbers)
    config = PortalConfig(regie=REGIE, url=f"http://127.0.0.1:{port}/hook", secrets=(SECRET,), private=True)
    attempts: list[Attempt] = []
    async with notifying(world, config, attempts=attempts) as notifier:
        await until(lambda: len(attempts) >= 5)
        await asyncio.sleep(0.3)
        assert len(attempts) <= 8  # left alone since
        (row,) = await world.rows("SELECT paused_until > clock_timestamp() FROM portals")
        assert row[0]
        async with listening(port) as portal:
            await world.rows("UPDATE portals SET paused_until = '-infinity'")
            await world.rows(
                "UPDATE deliveries SET due_at = clock_timestamp() WHERE outbox_id = (SELECT min(id) FROM outbox)"
            )
            notifier.wake()
            await until(lambda: all_told(world))
    assert portal.versions == {number: [1, 2, 3] for number in numbers}
    assert len({name for name, _ in portal.heard}) == 24 == len(portal.heard)


async def pass_time(world: World, pause: timedelta) -> None:
    """Let that much time have passed, for whatever nobody is writing just now."""
    await world.rows(
        "UPDATE deliveries SET due_at = due_at - $1::interval, tried_at = tried_at - $1::interval WHERE outbox_id IN"
        " (SELECT outbox_id FROM deliveries FOR UPDATE SKIP LOCKED)",
        pause,
    )
    await world.rows("UPDATE portals SET paused_until = paused_until - $1::interval", pause)


async def test_two_hours_without_a_portal(world: World) -> None:
    """Two workers; invoices change all along. Once it is back it hears every change within a minute, in order, once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    config = PortalConfig(regie=REGIE, url=f"http://127.0.0.1:{port}/hook", secrets=(SECRET,), private=True)
    store = Deliveries(world.postgres.pool)
    numbers = [f"F-{n}" for n in range(12)]
    attempts: list[Attempt] = []

    async def idle() -> bool:
        leased = await world.rows("SELECT 1 FROM deliveries WHERE leased_until > clock_timestamp()")
        return not leased and not await store.waiting([Room(REGIE, config.target, 1)], 0)

    async with (
        notifying(world, config, attempts=attempts) as one,
        notifying(world, config, attempts=attempts) as other,
    ):

        async def minutes(count: int) -> None:
            await pass_time(world, timedelta(minutes=count))
            one.wake()
            other.wake()
            await until(idle)

        for nth in range(12):
            await change(world, numbers[nth], times=3)
            for _ in range(2):
                await minutes(5)
        down = len(attempts)
        assert {each.outcome for each in attempts} == {"unreachable"}
        assert 24 <= down <= 24 * 2 * AT_ONCE
        async with listening(port) as portal:
            await minutes(1)
            await until(lambda: all_told(world))
    assert portal.versions == {number: [1, 2, 3] for number in numbers}
    assert len({name for name, _ in portal.heard}) == 36 == len(portal.requests)


async def test_what_was_sent_and_not_marked_is_sent_again_under_its_id(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies between the portal's answer and its own commit; another goes on when the lease ends."""
    await change(world, "F-1", times=1)
    async with listening() as portal:
        store = Deliveries(world.postgres.pool)
        monkeypatch.setattr(stored, "LEASE", timedelta(seconds=0.5))
        config = to(portal)
        (claimed,) = await store.claim([Room(REGIE, config.target, 4)])
        dying = Portal(config)
        await dying.send(DueNotification(**claimed._asdict()))
        await dying.close()
        assert await store.claim([Room(REGIE, config.target, 4)]) == []
        async with notifying(world, config) as notifier:

            async def again() -> bool:
                notifier.wake()
                return await all_told(world)

            await until(again)
    assert [name for name, _ in portal.heard] == [portal.heard[0][0]] * 2


async def test_a_worker_that_is_killed_while_it_tells_leaves_it_to_another(
    world: World, tmp_path: Path, database_url: str, redis_url: str
) -> None:
    """Real processes, kill -9 while the portal hangs: another tells it once its lease is over, under its id."""
    await change(world, "F-1", times=1)
    async with listening() as portal:
        portal.hangs = True
        block = f'[regie.portal]\nurl = "{portal.url}"\nsecret = "{SECRET}"\nprivate = true'
        run = partial(lettrage, folder=tmp_path, database_url=database_url, redis_url=redis_url, portal=block)
        async with run("worker") as killed:
            await until(lambda: bool(portal.requests))
            await killed.kill()
        portal.hangs = False
        (lease,) = await world.rows("SELECT leased_until - tried_at FROM deliveries")
        assert timedelta(seconds=ATTEMPT_SECONDS) < lease[0] < timedelta(seconds=21)
        await world.rows("UPDATE deliveries SET leased_until = 'infinity'")  # no time passes while processes start
        async with run("worker") as another, run("clock") as clock:
            await another.until_logged("process_ready")
            await clock.until_logged("process_ready")
            await asyncio.sleep(1)
            assert len(portal.requests) == 1
            over = "UPDATE deliveries SET leased_until = clock_timestamp() + interval '1 s' RETURNING leased_until"
            (end,) = await world.rows(over)
            await until(lambda: all_told(world))
    assert [headers["webhook-id"] for headers, _ in portal.requests] == [portal.heard[0][0]] * 2
    kept = "SELECT outcome, at - milliseconds * interval '1 ms' >= $1 FROM delivery_attempts"
    assert [tuple(row) for row in await world.rows(kept, end[0])] == [("delivered", True)]


async def test_a_first_attempt_under_way_has_not_failed(world: World, database_url: str) -> None:
    """It waits still; it fails only once its end is kept, or nobody can be at it any more."""
    await change(world, "F-1", times=1)
    views = await Views.open(database_url)

    async def state() -> object:
        (shown,) = (await notifications(views, regies=[REGIE], state=None, limit=9, cursor=None)).items
        return shown.state

    assert await state() == "waiting"
    await Deliveries(world.postgres.pool).claim([Room(REGIE, "x", 1)])
    assert await state() == "waiting"
    await world.rows("UPDATE deliveries SET leased_until = clock_timestamp()")
    assert await state() == "failing"
    await views.close()


async def test_gone_disables_the_portal_until_its_address_changes_or_somebody_resends(world: World) -> None:
    """410: nothing more is sent there; another address, or a resend, is told what waits."""
    async with listening() as portal, listening() as other:
        portal.answers = [web.Response(status=410)]
        await change(world, "F-1", times=1)
        async with notifying(world, to(portal)) as notifier:
            await until(lambda: len(portal.requests) == 1)
            await change(world, "F-2", times=1)

            async def disabled() -> bool:
                return bool(await world.rows("SELECT 1 FROM portals WHERE disabled_for IS NOT NULL"))

            await until(disabled)
            await due_now(world)
            notifier.wake()
            await asyncio.sleep(0.2)
            assert len(portal.requests) == 1
        store = Deliveries(world.postgres.pool)
        assert not await store.waiting([Room(REGIE, to(portal).target, 4)], 0)
        assert await store.waiting([Room(REGIE, to(other).target, 4)], 0)
        assert await store.resend(None, [REGIE]) == 2
        async with notifying(world, to(portal)):
            await until(lambda: all_told(world))
    assert portal.versions == {"F-1": [1], "F-2": [1]}


async def test_a_portal_that_takes_something_again_is_not_disabled_any_more(world: World) -> None:
    """Its address changed, and the new one answers: nothing says any more that it wants nothing."""
    async with listening() as portal, listening() as other:
        portal.answers = [web.Response(status=410)]
        await change(world, "F-1", times=1)

        async def disabled() -> bool:
            return bool(await world.rows("SELECT 1 FROM portals WHERE disabled_for IS NOT NULL"))

        async with notifying(world, to(portal)):
            await until(disabled)
        await due_now(world)
        async with notifying(world, to(other)):
            await until(lambda: all_told(world))
        assert not await disabled()


async def test_sending_one_again_enables_its_portal_alone(world: World) -> None:
    """By id, from somebody who may see both: the other portal, which wants nothing, stays disabled."""
    await change(world, "F-1", times=1, regie="r1")
    await world.rows("INSERT INTO portals (regie, disabled_for) VALUES ('r1', 'x'), ('r2', 'x')")
    (row,) = await world.rows("SELECT id FROM outbox")
    assert await Deliveries(world.postgres.pool).resend([row["id"]], ["r1", "r2"]) == 1
    disabled = await world.rows("SELECT regie FROM portals WHERE disabled_for IS NOT NULL")
    assert [row["regie"] for row in disabled] == ["r2"]


async def test_what_followed_is_told_as_soon_as_nothing_is_before_it(world: World) -> None:
    """The first is put off for hours, then sent again by hand: the second and third do not wait out its pause."""
    async with listening() as portal:
        portal.answers = [web.Response(status=500, headers={"Retry-After": "7200"})]
        await change(world, "F-1", times=3)
        async with notifying(world, to(portal)) as notifier:
            await until(lambda: len(portal.requests) == 1)

            async def put_off() -> bool:
                late = "due_at > clock_timestamp() + interval '1 hour'"
                return len(await world.rows(f"SELECT 1 FROM deliveries WHERE {late}")) == 3

            await until(put_off)
            (first,) = await world.rows("SELECT min(id) FROM outbox")
            await Deliveries(world.postgres.pool).resend([first[0]], None)
            notifier.wake()
            await until(lambda: all_told(world))
    assert portal.versions == {"F-1": [1, 2, 3]}


async def test_pauses_do_not_grow_while_the_portal_is_down(world: World) -> None:
    """What is tried forty times during an outage is due within minutes of its end, also where nothing else is told."""
    async with listening() as portal:
        portal.answers = [web.Response(status=503) for _ in range(40)]
        await change(world, "F-1", times=1)
        async with notifying(world, to(portal)) as notifier:
            for nth in range(1, 41):

                async def kept(nth: int = nth) -> bool:
                    return bool(await world.rows(f"SELECT 1 FROM portals WHERE failures = {nth}"))

                await until(kept)
                if nth < 40:
                    await due_now(world)
                    notifier.wake()
    (row,) = await world.rows("SELECT own_failures, due_at < clock_timestamp() + interval '30 min' FROM deliveries")
    assert tuple(row) == (5, True)


async def test_a_portal_that_is_back_recalls_what_it_failed_and_not_what_it_refuses(world: World) -> None:
    """Of three that are put off: one the outage's, one that follows, one refused again and again while others went."""
    await change(world, "F-1", "F-2", times=1)
    await change(world, "F-2", "F-3", times=1)
    await change(world, "F-4", times=1)
    await world.rows("UPDATE deliveries SET due_at = clock_timestamp() + interval '1 hour'")
    await world.rows("UPDATE deliveries SET own_failures = 6 WHERE subject = 'invoice F-3'")
    await world.rows("INSERT INTO portals (regie, failures) VALUES ($1, 9)", REGIE)
    (last,) = await world.rows("SELECT max(id) FROM outbox")
    answered = Result(last[0], REGIE, 1, "delivered", 200, None, 5, None)
    await Deliveries(world.postgres.pool).finish([answered])
    left = await world.rows("SELECT subject FROM deliveries WHERE due_at > clock_timestamp()")
    assert [row["subject"] for row in left] == ["invoice F-3"]


async def test_retry_after_holds_for_the_whole_portal(world: World) -> None:
    """503 with a wish: neither this notification nor another is sent before."""
    async with listening() as portal:
        portal.answers = [web.Response(status=503, headers={"Retry-After": "3600"})]
        await change(world, "F-1", times=1)
        async with notifying(world, to(portal)) as notifier:

            async def paused() -> bool:
                return bool(
                    await world.rows("SELECT 1 FROM portals WHERE paused_until > clock_timestamp() + interval '50 min'")
                )

            await until(paused)
            await change(world, "F-2", times=1)
            notifier.wake()
            await asyncio.sleep(0.2)
    assert len(portal.requests) == 1
    (row,) = await world.rows(
        "SELECT due_at > clock_timestamp() + interval '50 min' FROM deliveries ORDER BY outbox_id LIMIT 1"
    )
    assert row[0]


async def test_a_redirect_is_refused(world: World) -> None:
    """Whoever sends us elsewhere is not followed, and the notification is not delivered."""
    attempts: list[Attempt] = []
    async with listening() as portal, listening() as elsewhere:
        portal.answers = [web.Response(status=307, headers={"Location": elsewhere.url})]
        await change(world, "F-1", times=1)
        async with notifying(world, to(portal), attempts=attempts):
            await until(lambda: bool(attempts))
    assert (attempts[0].outcome, attempts[0].status) == ("redirected", 307)
    assert elsewhere.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_an_inner_address_is_not_connected_to(world: World, host: str) -> None:
    """Written as an address or found by a name: without the configuration's word nothing arrives."""
    attempts: list[Attempt] = []
    async with listening() as portal:
        portal.url = portal.url.replace("127.0.0.1", host)
        await change(world, "F-1", times=1)
        async with notifying(world, to(portal, private=False), attempts=attempts):
            await until(lambda: bool(attempts))
    assert attempts[0].outcome == "address_forbidden"
    assert portal.requests == []


@dataclass
class NameServer:
    """Answers about names under `example`; the rest is the system's."""

    addresses: list[list[str]] = field(default_factory=list)
    silent: threading.Event | None = None

    def __call__(self, host: str, port: int, *more: Any, **told: Any) -> list[Any]:  # noqa: ANN401 (as getaddrinfo)
        """The next answer, or none until the test ends."""
        if not host.endswith(".example"):
            return self.system(host, port, *more, **told)
        if self.silent is not None:
            self.silent.wait(60)
            raise socket.gaierror
        found = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    system = staticmethod(socket.getaddrinfo)


async def test_a_name_that_changes_its_answer_gains_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address judged is the one connected to: of several, only the allowed; none after a rebinding."""
    async with listening() as portal:
        monkeypatch.setattr(socket, "getaddrinfo", NameServer([["10.0.0.1", "127.0.0.1"], ["127.0.0.1"]]))
        url = portal.url.replace("127.0.0.1", "portail.example")
        sender = Portal(PortalConfig(regie=REGIE, url=url, secrets=(SECRET,)))
        await change(world, "F-1", times=1)
        (claimed,) = await Deliveries(world.postgres.pool).claim([Room(REGIE, "x", 1)])
        for _ in range(2):
            attempt = await sender.send(DueNotification(**claimed._asdict()))
            assert attempt.outcome == "address_forbidden"
        await sender.close()
    assert portal.requests == []


async def test_names_that_nobody_resolves_delay_no_other_portal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine portals whose name server is silent, more than the event loop has threads; the tenth is told at once."""
    answer = threading.Event()
    async with listening() as portal:
        for n in range(10):
            await change(world, *(f"F-{n}-{k}" for k in range(4)), times=1, regie=f"r{n}")
        monkeypatch.setattr(socket, "getaddrinfo", NameServer(silent=answer))
        configs = [
            PortalConfig(regie=f"r{n}", url=f"http://p{n}.example/hook", secrets=(SECRET,), private=True)
            for n in range(9)
        ]
        portal.url = portal.url.replace("127.0.0.1", "localhost")
        attempts: list[Attempt] = []
        async with notifying(world, *configs, attempts=attempts) as silent, notifying(world, to(portal, "r9")):
            await until(lambda: len(portal.heard) == 4)
            assert attempts == []
            assert sum(thread.name == "resolves" for thread in threading.enumerate()) == 9  # one look at a time each
            answer.set()
            await until(lambda: len(attempts) >= 36)
            await silent.close()
    assert {each.outcome for each in attempts} == {"unreachable"}


async def test_an_endless_answer_costs_nothing(world: World) -> None:
    """Its status counts; its body is read up to a limit and no further."""
    async with listening() as portal, notifying(world, to(portal)) as notifier:
        portal.answers = [web.Response(status=200, body=b"x" * 5_000_000)]
        await change(world, "F-1", times=1)
        notifier.wake()
        await until(lambda: all_told(world))
    assert len(portal.heard) == 1


async def test_what_fails_for_days_is_given_up_and_kept(world: World, database_url: str) -> None:
    """It is shown with its attempts, is in nobody's way, and can be sent again."""
    async with listening() as portal:
        portal.answers = [web.Response(status=500)]
        await change(world, "F-1", times=1)
        await world.rows("UPDATE deliveries SET tried_at = clock_timestamp() - interval '6 days'")
        async with notifying(world, to(portal)) as notifier:

            async def given_up() -> bool:
                return bool(await world.rows("SELECT 1 FROM deliveries WHERE given_up"))

            await until(given_up)
            views = await Views.open(database_url)
            (shown,) = (await notifications(views, regies=[REGIE], state="given_up", limit=9, cursor=None)).items
            assert [(each.outcome, each.status) for each in shown.attempts] == [("refused", 500)]
            await world.store.record([settled("F-1", 100)])
            await drained(world)
            notifier.wake()
            await until(lambda: portal.versions == {"F-1": [2]})
            assert await Deliveries(world.postgres.pool).resend([shown.id], None) == 1
            notifier.wake()
            await until(lambda: all_told(world))
            page = await notifications(views, regies=None, state="delivered", limit=1, cursor=None)
            assert page.next_cursor is not None
            await views.close()
    assert portal.versions == {"F-1": [2, 1]}
