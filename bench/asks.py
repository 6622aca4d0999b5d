"""Asking: 1,000 payments due at once at a PayFiP that takes 200 ms, and what that does to whoever asks.

This process is the worker: it opens the application as `lettrage worker` does, and looks how late its own loop is.
"""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import msgspec
import structlog

from bench import ground, payfip, processes
from bench.figures import Figure, percentile
from schemas.events import EventType, NewEvent, PaymentStarted, Queue, StartedLine
from schemas.records import Policy
from worker.app import App
from worker.embedded import Servers
from worker.gateways.capabilities import CAPABILITIES
from worker.settings import Regie, Settings

DELAY_SECONDS: Final = 0.2
BEAT_SECONDS: Final = 0.005
"""Between two looks at the loop's own lateness."""
LOOK_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 300.0
KIB: Final = 1024


class Size(NamedTuple):
    """How many payments."""

    payments: int


FULL: Final = Size(payments=1_000)
QUICK: Final = Size(payments=20)


async def measure(servers: Servers, *, quick: bool) -> list[Figure]:
    """The row of the table."""
    count = (QUICK if quick else FULL).payments
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with ground.database(servers.database_url) as url, _gateway(count) as address:
        settings = _settings(url, servers.redis_url, address)
        async with App.open(settings, "worker") as app:
            await _start(app, count)
            await _ask_one(app)
            before = _resident()
            seconds, stalls = await _ask(app, count)
            grown = _resident() - before
    return [
        Figure(
            what=f"{count:,} payments asked about at once, at a service that takes {DELAY_SECONDS * 1000:.0f} ms",
            to_reach="20 s; no stall of the event loop over 50 ms; memory flat",
            measured=f"{seconds:,.1f} s; worst stall {max(stalls) * 1000:,.0f} ms; memory +{grown / 1e6:,.0f} MB",
            how=f"from due to the last payment settled, by one process; the loop's own lateness every "
            f"{BEAT_SECONDS * 1000:.0f} ms, p99 {percentile(stalls, 0.99) * 1000:,.1f} ms",
        )
    ]


@asynccontextmanager
async def _gateway(count: int) -> AsyncIterator[str]:
    """A PayFiP that answers slowly; where it is."""
    port = processes.free_port()
    arguments = ("-m", "bench.payfip", str(port), str(count), str(DELAY_SECONDS))
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
    try:
        await _until_listening(port)
        yield f"http://127.0.0.1:{port}/tpa/services/securite"
    finally:
        process.terminate()
        await process.wait()


async def _until_listening(port: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as session:
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/control/payments"):
                    return
            await asyncio.sleep(LOOK_SECONDS)


def _settings(database_url: str, redis_url: str, address: str) -> Settings:
    polls = CAPABILITIES["payfip_ws"].poll_seconds
    policy = Policy(label="Régie de mesure", gateway="payfip_ws", polls=polls)
    options = {"numcli": payfip.NUMCLI, "service_url": address}
    regie = Regie(code=ground.REGIE, policy=policy, options=options)
    return Settings(database_url=database_url, redis_url=redis_url, regies={ground.REGIE: regie})


async def _start(app: App, count: int) -> None:
    """Payments of which PayFiP says later that they are paid."""
    await app.store.record([_started(number) for number in range(count)])
    await app.drain(Queue.PAYMENT_STARTED)


def _started(number: int) -> NewEvent:
    data = PaymentStarted(
        regie=ground.REGIE,
        reference=f"P-{number}",
        amount_cents=payfip.CENTS,
        invoices=[StartedLine(number=f"F-{number}", amount_cents=payfip.CENTS)],
        gateway_reference=payfip.idop(number),
    )
    return NewEvent(
        client="portail",
        source="/bench",
        id=f"start-{number}",
        type=EventType.PAYMENT_STARTED,
        regie=ground.REGIE,
        data=data,
        digest=sha256(msgspec.json.encode(data)).digest(),
    )


async def _ask_one(app: App) -> None:
    """What is loaded and parsed at the first ask is not part of any other."""
    await app.store.pool.execute("UPDATE asks SET due_at = now() WHERE gateway_reference = $1", payfip.idop(0))
    app._asker.wake()  # noqa: SLF001 (what the bell does)
    await _until_paid(app, 1)


async def _ask(app: App, count: int) -> tuple[float, Sequence[float]]:
    """Have all of them asked about; seconds until the last is settled, and how late the loop was meanwhile."""
    stalls: list[float] = []
    beating = asyncio.create_task(_beat(stalls))
    began = time.perf_counter()
    await app.store.pool.execute("UPDATE asks SET due_at = now()")
    app._asker.wake()  # noqa: SLF001 (what the bell does)
    await _until_paid(app, count)
    seconds = time.perf_counter() - began
    beating.cancel()
    return seconds, stalls


async def _beat(stalls: list[float]) -> None:
    while True:
        due = time.perf_counter() + BEAT_SECONDS
        await asyncio.sleep(BEAT_SECONDS)
        stalls.append(max(0.0, time.perf_counter() - due))


async def _until_paid(app: App, count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await app.store.pool.fetchval("SELECT count(*) FROM payments WHERE state = 'paid'") < count:
            await asyncio.sleep(LOOK_SECONDS)


def _resident() -> int:
    """Bytes that this process has in memory."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * KIB for line in status.splitlines() if line.startswith("VmRSS:"))
