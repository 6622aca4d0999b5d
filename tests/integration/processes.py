"""Real processes of Lettrage for tests: started with settings of their own, stopped whatever happens."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from schemas.events import EventType, NewEvent, PaymentStarted, StartedLine
from worker.store.postgres import PostgresStore

RUN = """
import asyncio, os
from monitoring import logs
from worker.processes import run_clock, run_worker
from worker.settings import load
logs.configure()
asyncio.run(run_{role}(load(os.environ)))
"""

CONFIG = """
[[regie]]
code = "enfance"
label = "Régie Enfance"
gateway = "dummy"
mode = "test"
hold = "{hold}"
"""

STOP_SECONDS = 25.0
"""What a process may take to end, by the design's rule 8."""


@dataclass
class Process:
    """A running process; `log` is what it has said so far."""

    running: asyncio.subprocess.Process
    log: Path

    def events(self) -> list[str]:
        """The names of what it has logged."""
        lines = self.log.read_bytes().splitlines()
        return [msgspec.json.decode(line)["event"] for line in lines if line.startswith(b"{")]

    async def until_logged(self, event: str) -> None:
        """Return once it has logged that; fail when it ended without."""
        while event not in self.events():
            assert self.running.returncode is None, self.log.read_text()
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """End it at once: kill -9."""
        self.running.kill()
        await self.running.wait()

    async def stop(self) -> int:
        """Ask it to end, and answer its exit code."""
        self.running.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.running.wait(), STOP_SECONDS)


@asynccontextmanager
async def lettrage(
    role: str,
    folder: Path,
    database_url: str,
    redis_url: str,
    *,
    hold: str = "30m",
    portal: str = "",
    metrics_port: int | None = None,
) -> AsyncIterator[Process]:
    """Run a worker or a clock, the régie with this `[regie.portal]`; killed at the end if it still runs."""
    config = folder / "lettrage.toml"
    config.write_text(CONFIG.format(hold=hold) + portal)
    environ = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "LETTRAGE_CONFIG": str(config),
        **({"METRICS_PORT": str(metrics_port)} if metrics_port else {}),
    }
    log = folder / f"{role}-{free_port()}.log"
    with log.open("wb") as stderr:
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-c", RUN.format(role=role), env=environ, stderr=stderr
        )
    try:
        yield Process(running, log)
    finally:
        if running.returncode is None:
            running.kill()
            await running.wait()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def started(reference: str, number: str | None = None, cents: int = 900) -> NewEvent:
    """A payment-started of one invoice."""
    data = PaymentStarted(
        regie="enfance",
        reference=reference,
        amount_cents=cents,
        invoices=[StartedLine(number=number or f"F-{reference}", amount_cents=cents)],
    )
    return NewEvent(
        client="portail",
        source="/portail",
        id=reference,
        type=EventType.PAYMENT_STARTED,
        regie="enfance",
        data=data,
        digest=sha256(msgspec.json.encode(data)).digest(),
    )


async def until(look: Callable[[], Awaitable[object]]) -> None:
    """Return once a look at servers or logs finds what it looks for; they have no event to await."""
    while not await look():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def until_nothing_waits(store: PostgresStore) -> None:
    """Return once every event has its outcome."""
    await until(lambda: store.pool.fetchval("SELECT NOT EXISTS (SELECT FROM pending)"))


async def until_no_hold_is_left(store: PostgresStore) -> None:
    """Return once every hold is written as over."""
    await until(lambda: store.pool.fetchval("SELECT NOT EXISTS (SELECT FROM holds)"))
