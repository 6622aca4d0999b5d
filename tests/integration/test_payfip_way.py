"""A PayFiP régie's way: the real adapter asks a simulated PayFiP over HTTP while the database's hours pass.

Nobody is notified here unless a test says so: what is known is known by asking.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import pytest
from aiohttp import ClientSession, web

from examples.gateway.operation import Operation
from examples.gateway.payfip import PayFiP, Regie
from examples.gateway.server import Gateway
from schemas.records import Policy
from tests.integration.worlds import PostgresWorld, recorded, started, states
from worker import settings
from worker.app import App
from worker.gateways import services
from worker.gateways.capabilities import CAPABILITIES
from worker.web.quotas import ADDRESS_AT_ONCE, ADDRESS_PER_SECOND
from worker.web.server import serving

MINUTE = 60
STEP_SECONDS = 15
NUMCLI = "090909"
CENTS = 900
HOLD_MINUTES = 30
ASKED_BY = {"numcli": NUMCLI, "saisie": "W", "exer": "2026", "mel": "famille@example.org"}
PATIENCE_SECONDS = 20.0
TOKEN = "portail-token"
FAILED_ASKS = (
    "SELECT count(*) AS n FROM events WHERE type = 'fr.lettrage.gateway.report.v1' AND data ->> 'result' = 'failed'"
)


class Town:
    """An installation of one PayFiP régie, its PayFiP, and the time that passes for both."""

    def __init__(self, app: App, gateway: Gateway, payfip: PayFiP, port: int) -> None:
        self.app = app
        self.gateway = gateway
        self.payfip = payfip
        self.callbacks = f"http://127.0.0.1:{port}/v1/callbacks/enfance"
        self.events = f"http://127.0.0.1:{port}/v1/events"
        self.world = PostgresWorld(app.store)
        self.minute = 0.0

    async def start(self, reference: str, number: str = "F") -> Operation:
        """A portal has an idOp made, and starts the payment; the family is sent to PayFiP."""
        addresses = {"urlnotif": self.callbacks, "urlredirect": "http://127.0.0.1:9/"}
        asked = {**ASKED_BY, **addresses, "refdet": reference, "objet": "", "montant": str(CENTS)}
        operation = self.payfip.create(asked)
        await recorded(self.world, started(reference, number, cents=CENTS, gateway_reference=operation.idop))
        await self._work()
        return operation

    def pays(self, operation: Operation, choice: str = "payer") -> None:
        """The family presses a button there. The notification is lost."""
        operation.choose(choice, {})

    def is_down(self, *, for_now: bool) -> None:
        """PayFiP says that it is not available; or works again."""
        faults = [{"fault": "unavailable"}] if for_now else []
        self.gateway.faults.spoil_service("payfip", json.dumps(faults).encode())

    async def until(self, minute: float) -> None:
        """Let time pass, a little at a time, and have everything done that is due."""
        while self.minute < minute:
            await self.world.later(STEP_SECONDS)
            self.minute += STEP_SECONDS / MINUTE
            await self._work()

    async def _work(self) -> None:
        """What clock and worker do, until there is nothing to do."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                await self.app.end_due_holds()
                waiting = await self.app.waiting(0)
                if not waiting and not any(self.app._asker._asking.values()):
                    return
                for queue in waiting:
                    await self.app.drain(queue)
                await asyncio.sleep(0.005)

    async def payment(self, reference: str) -> dict[str, Any]:
        """A payment's row."""
        (row,) = await self.world.rows("SELECT * FROM payments WHERE reference = $1", reference)
        return dict(row)

    async def discrepancies(self) -> dict[tuple[str, str | None], int]:
        """Cents of what is open, by kind and payment."""
        rows = await self.world.rows("SELECT kind, payment, amount_cents FROM discrepancies WHERE state = 'open'")
        return {(row["kind"], row["payment"]): row["amount_cents"] for row in rows}


@asynccontextmanager
async def town(database_url: str, redis_url: str, **policy: Any) -> AsyncIterator[Town]:  # noqa: ANN401
    """An installation, and a PayFiP that listens."""
    payfip = PayFiP([Regie(NUMCLI, ["Régie Enfance"])])
    gateway = Gateway([], payfip, retry_seconds=1)
    runner = web.AppRunner(gateway.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/tpa/services/securite"
    chosen = {
        "label": "Régie Enfance",
        "gateway": "payfip_ws",
        "polls": CAPABILITIES["payfip_ws"].poll_seconds,
    } | policy
    regie = settings.Regie(code="enfance", policy=Policy(**chosen), options={"numcli": NUMCLI, "service_url": address})
    client = settings.Client(name="portail", scopes=frozenset({"events"}), regies=frozenset({"*"}))
    configured = settings.Settings(
        database_url=database_url,
        redis_url=redis_url,
        clients={sha256(TOKEN.encode()).hexdigest(): client},
        regies={"enfance": regie},
    )
    try:
        async with App.open(configured, "worker") as app, serving(app, "127.0.0.1", 0) as port:
            yield Town(app, gateway, payfip, port)
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def short_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The breaker's rest is of this machine's seconds, of which hours take few here."""
    monkeypatch.setattr(services, "REST_SECONDS", 0.0)


async def test_paid_without_any_notification(database_url: str, redis_url: str) -> None:
    """Paid at minute 3: known when PayFiP is asked at minute 5."""
    async with town(database_url, redis_url) as here:
        operation = await here.start("P")
        await here.until(3)
        here.pays(operation)
        await here.until(4.75)
        assert await states(here.world) == {"F": "in_payment"}
        await here.until(5.25)
        assert await states(here.world) == {"F": "paid"}
        assert not (await here.payment("P"))["late"]
        assert await here.discrepancies() == {}


async def test_paid_ten_seconds_before_the_end(database_url: str, redis_url: str) -> None:
    """At 29:50, after the last look: payable again at 30:00, paid seconds later, once, and told late."""
    async with town(database_url, redis_url) as here:
        operation = await here.start("P")
        await here.until(HOLD_MINUTES - 0.25)
        here.pays(operation)
        await here.until(HOLD_MINUTES + 0.5)
        payment = await here.payment("P")
        assert await states(here.world) == {"F": "paid"}
        assert (payment["state"], payment["late"], payment["received_cents"]) == ("paid", True, CENTS)
        assert await here.discrepancies() == {}


async def test_paid_after_the_reactivation(database_url: str, redis_url: str) -> None:
    """At minute 40: payable again in between, then paid, late, nothing to give back."""
    async with town(database_url, redis_url) as here:
        operation = await here.start("P")
        await here.until(HOLD_MINUTES + 0.25)
        assert await states(here.world) == {"F": "payable"}
        await here.until(40)
        here.pays(operation)
        await here.until(46)
        assert await states(here.world) == {"F": "paid"}
        assert (await here.payment("P"))["late"]
        assert await here.discrepancies() == {}


async def test_paid_after_the_reactivation_and_paid_again_meanwhile(database_url: str, redis_url: str) -> None:
    """Two payments of one invoice: the second to be known is to be given back, whole."""
    async with town(database_url, redis_url) as here:
        first = await here.start("P")
        await here.until(HOLD_MINUTES + 1)
        second = await here.start("Q")
        here.pays(second)
        await here.until(35)
        assert await states(here.world) == {"F": "paid"}
        here.pays(first)
        await here.until(46)
        assert {(await here.payment(name))["state"] for name in "PQ"} == {"paid"}
        assert await here.discrepancies() == {("double_payment", "P"): CENTS}


async def test_down_from_minute_10_to_60(database_url: str, redis_url: str) -> None:
    """Reactivated on time, and the truth is applied minutes after PayFiP is back."""
    async with town(database_url, redis_url) as here:
        operation = await here.start("P")
        await here.until(10)
        here.is_down(for_now=True)
        here.pays(operation)
        await here.until(HOLD_MINUTES + 0.25)
        assert await states(here.world) == {"F": "payable"}
        await here.until(60)
        here.is_down(for_now=False)
        await here.until(65.5)
        assert await states(here.world) == {"F": "paid"}
        (failed,) = await here.world.rows(FAILED_ASKS)
        assert 5 < failed["n"] < 40, "tried again all the time, ever more slowly"


async def test_down_where_the_regie_holds_in_doubt(database_url: str, redis_url: str) -> None:
    """Not reactivated at minute 30, flagged for a person, and settled by the truth before the limit."""
    async with town(database_url, redis_url, when_in_doubt="hold") as here:
        operation = await here.start("P")
        await here.until(10)
        here.is_down(for_now=True)
        here.pays(operation)
        await here.until(59)
        (invoice,) = await here.world.rows("SELECT state, to_check FROM invoices")
        assert tuple(invoice) == ("in_payment", True)
        here.is_down(for_now=False)
        await here.until(65)
        assert await states(here.world) == {"F": "paid"}
        assert not (await here.payment("P"))["late"]


async def test_in_doubt_a_window_that_was_closed_is_free_when_payfip_is_back(database_url: str, redis_url: str) -> None:
    """Nobody paid: known as soon as PayFiP says so, and the invoice is payable at once, before the limit."""
    async with town(database_url, redis_url, when_in_doubt="hold") as here:
        await here.start("P")
        await here.until(10)
        here.is_down(for_now=True)
        await here.until(45)
        assert await states(here.world) == {"F": "in_payment"}
        here.is_down(for_now=False)
        await here.until(51)
        assert await states(here.world) == {"F": "payable"}


async def test_a_direct_debit_is_watched_until_its_rejection(database_url: str, redis_url: str) -> None:
    """Provisional at once; rejected by the bank hours later, told to nobody: reversed, and payable again."""
    async with town(database_url, redis_url) as here:
        operation = await here.start("P")
        here.pays(operation, "prelever")
        await here.until(2.25)
        payment = await here.payment("P")
        assert (payment["state"], payment["provisional"]) == ("paid", True)
        await here.until(180)
        operation.reject()
        await here.until(215)
        assert await states(here.world) == {"F": "payable"}
        assert (await here.payment("P"))["state"] == "reversed"
        assert await here.discrepancies() == {("reversed", "P"): CENTS}


async def test_a_window_that_was_closed_disturbs_nobody(database_url: str, redis_url: str) -> None:
    """Reactivated; asked about for a day; no discrepancy for a régisseur to look at."""
    async with town(database_url, redis_url, watch=3600) as here:
        await here.start("P")
        await here.until(HOLD_MINUTES + 62)
        assert await states(here.world) == {"F": "payable"}
        assert await here.discrepancies() == {}
        assert await here.world.rows("SELECT * FROM asks") == []


async def test_down_to_the_end_of_the_watch(database_url: str, redis_url: str) -> None:
    """The gateway is silent: a person is told, with the amount."""
    async with town(database_url, redis_url, watch=3600) as here:
        await here.start("P")
        here.is_down(for_now=True)
        await here.until(HOLD_MINUTES + 62)
        assert await here.discrepancies() == {("gateway_silent", "P"): CENTS}


async def test_its_notification_makes_us_ask_at_once(database_url: str, redis_url: str) -> None:
    """Over HTTP from PayFiP, in either spelling; believed because PayFiP says so when it is asked, not before."""
    async with town(database_url, redis_url) as here, ClientSession() as http:
        operation = await here.start("P")
        await here.until(1)
        async with http.post(here.callbacks, data={"idOp": operation.idop, "resultrans": "P"}) as forged:
            assert forged.status == 200
        await here.until(1.25)
        assert await states(here.world) == {"F": "in_payment"}
        here.pays(operation)
        async with http.get(here.callbacks, params={"idop": operation.idop}) as called:
            assert called.status == 200
        await here.until(1.5)
        assert await states(here.world) == {"F": "paid"}
        assert await here.discrepancies() == {}


async def test_a_portal_that_passes_it_on_and_waits_is_told_the_truth(database_url: str, redis_url: str) -> None:
    """`Prefer: wait`: the outcome is the answer's, and the payment is paid when the portal reads it."""
    async with town(database_url, redis_url) as here, ClientSession() as http:
        operation = await here.start("P")
        here.pays(operation)
        event = {
            "specversion": "1.0",
            "type": "fr.lettrage.gateway.callback.v1",
            "source": "/portail",
            "id": "c-1",
            "data": {"regie": "enfance", "method": "GET", "query": f"idop={operation.idop}"},
        }
        headers = {
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": "application/cloudevents+json",
            "Prefer": "wait=10",
        }
        sending = asyncio.create_task(http.post(here.events, data=json.dumps(event), headers=headers))
        while not sending.done():
            await here.until(here.minute + 0.25)
        answer = await sending
        told = await answer.json()
        assert (answer.status, told["outcome"], told["reason"]) == (200, "applied", "money_received")
        assert (told["payment"]["state"], told["payment"]["received_cents"]) == ("paid", CENTS)


async def test_a_flood_of_real_idops_costs_no_more_than_its_quota(database_url: str, redis_url: str) -> None:
    """What is beyond is refused with 429, not stored and not asked about; another address's callback is taken."""
    async with town(database_url, redis_url) as here, ClientSession() as http:
        operations = [await here.start(f"P{n}", f"F{n}") for n in range(5)]
        began = asyncio.get_running_loop().time()

        async def call(nth: int) -> int:
            async with http.post(here.callbacks, data={"idop": operations[nth % 5].idop}) as answer:
                return answer.status

        statuses = [status for _ in range(40) for status in await asyncio.gather(*map(call, range(25)))]
        elapsed = asyncio.get_running_loop().time() - began
        taken = statuses.count(200)
        assert set(statuses) == {200, 429}
        assert taken <= ADDRESS_AT_ONCE + ADDRESS_PER_SECOND * elapsed + 1
        (kept,) = await here.world.rows("SELECT count(*) AS n FROM events WHERE type LIKE '%.callback.v1'")
        assert kept["n"] == taken
        await here.until(0.25)
        (asked,) = await here.world.rows("SELECT count(*) AS n FROM events WHERE type LIKE '%.report.v1'")
        assert 0 < asked["n"] <= taken
        assert await here.world.rows("SELECT * FROM pending") == []
