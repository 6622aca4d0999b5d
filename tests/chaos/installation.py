"""A whole installation of real processes and servers, and everything that can be done to hurt it."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import redis.asyncio
from aiohttp import ClientError, ClientSession

from tests.chaos.proxy import Proxy
from tests.integration.processes import free_port
from worker.embedded import Embedded
from worker.store.migrate import migrate

LETTRAGE: Final = Path(sys.executable).with_name("lettrage")
TOKEN: Final = "chaos"
REGIES: Final = ("enfance", "cantine")
HOLD_SECONDS: Final = 3
CONFIG: Final = f"""
[[client]]
name = "portail"
token_sha256 = "{sha256(TOKEN.encode()).hexdigest()}"
scopes = ["events", "read"]
regies = ["*"]

[[regie]]
code = "enfance"
label = "Régie Enfance"
gateway = "dummy"
mode = "test"
hold = "{HOLD_SECONDS}s"

[[regie]]
code = "cantine"
label = "Régie Cantine"
gateway = "dummy"
mode = "test"
hold = "{HOLD_SECONDS}s"
on_cancel = "release"
"""
STOP_SECONDS: Final = 25.0
"""What processes may take to end, by the design's rule 8."""
START_SECONDS: Final = 60.0
"""Longer than anything takes to be up on a busy machine."""


class Installation:
    """`lettrage up` on servers of its own, and a second web, worker and clock beside it; `hurt` it."""

    def __init__(self, folder: Path, random: Random) -> None:
        self._folder = folder
        self._random = random
        self._embedded = Embedded(folder / "servers")
        self._kept: dict[str, asyncio.subprocess.Process] = {}
        self._up: asyncio.subprocess.Process | None = None
        self._keeping = True
        self._ports = {"up": free_port(), "web": free_port()}
        self.redis_url = ""
        self.direct_url = ""
        """The database's own address, past the proxy: for those who look."""
        self.proxy = Proxy("", 0)
        self.faults: Counter[str] = Counter()
        self.deadlocks = 0

    @property
    def addresses(self) -> list[str]:
        """Where the two web processes answer."""
        return [f"http://127.0.0.1:{port}" for port in self._ports.values()]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything started; everything stopped at the end, whatever happened to it."""
        async with AsyncExitStack() as stack:
            servers = await asyncio.to_thread(self._embedded.start)
            stack.push_async_callback(asyncio.to_thread, self._embedded.stop)
            self.direct_url, self.redis_url = servers.database_url, servers.redis_url
            await migrate(self.direct_url)
            there = urlsplit(self.direct_url)
            self.proxy = Proxy(there.hostname or "", there.port or 0)
            await stack.enter_async_context(self.proxy.serving())
            (self._folder / "lettrage.toml").write_text(CONFIG)
            stack.push_async_callback(self._stop)
            self._up = await self._start("up")
            keepers = [asyncio.create_task(self._keep(role)) for role in ("web", "worker", "clock")]
            stack.push_async_callback(self._stop_keeping, keepers)
            await asyncio.wait_for(self._until_ready(), START_SECONDS)
            yield

    async def _start(self, role: str) -> asyncio.subprocess.Process:
        there = urlsplit(self.direct_url)
        through = there._replace(netloc=f"{there.username}:{there.password}@127.0.0.1:{self.proxy.port}").geturl()
        environ = {
            **os.environ,
            "DATABASE_URL": through,
            "REDIS_URL": self.redis_url,
            "LETTRAGE_CONFIG": str(self._folder / "lettrage.toml"),
            "LETTRAGE_STATE_DIR": str(self._folder / "state"),
            "PORT": str(self._ports.get(role, self._ports["up"])),
        }
        with (self._folder / f"{role}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(LETTRAGE, role, env=environ, stdout=log, stderr=log)

    async def _keep(self, role: str) -> None:
        """Run another process of a role beside `up`'s, and again whenever it dies."""
        while self._keeping:
            self._kept[role] = await self._start(role)
            await self._kept[role].wait()
            await asyncio.sleep(0.2)

    async def _stop_keeping(self, keepers: list[asyncio.Task[None]]) -> None:
        self._keeping = False
        for process in self._kept.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*keepers), STOP_SECONDS)

    async def _stop(self) -> None:
        if self._up is not None and self._up.returncode is None:
            self._up.send_signal(signal.SIGTERM)
            await asyncio.wait_for(self._up.wait(), STOP_SECONDS)

    async def _until_ready(self) -> None:
        async with ClientSession() as http:
            while True:
                with suppress(ClientError, OSError):
                    answers = [await http.get(f"{address}/readyz") for address in self.addresses]
                    if all(answer.ok for answer in answers):
                        return
                await asyncio.sleep(0.1)

    # what can happen to it

    def pause(self, least: float, most: float) -> float:
        """How long nothing happens, by chance."""
        return self._random.uniform(least, most)

    async def hurt(self) -> None:
        """Do one thing, chosen by chance, and mend what does not mend itself."""
        fault = self._random.choices(list(FAULTS), weights=list(FAULTS.values()))[0]
        self.faults[fault.__name__] += 1
        await fault(self)

    def children(self) -> dict[str, int]:
        """Process ids of what `up` runs, by role."""
        assert self._up is not None
        found = {}
        for task in Path(f"/proc/{self._up.pid}/task").iterdir():
            for pid in (task / "children").read_text().split():
                with suppress(OSError):
                    command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                    found[command[-2].decode()] = int(pid)
        return found

    def kill(self, role: str) -> None:
        """Kill -9 one of `up`'s, or the one beside it."""
        candidates = [self.children().get(role), self._kept[role].pid if role in self._kept else None]
        alive = [pid for pid in candidates if pid is not None]
        if alive:
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(alive), signal.SIGKILL)

    def signal_server(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a server's own process; its id."""
        pid = self._embedded.pids()[name]
        os.kill(pid, number)
        return pid

    async def kill_server(self, name: str, *, down_seconds: float) -> None:
        """Kill -9 a server, and start it again as its supervisor does."""
        pid = self.signal_server(name, signal.SIGKILL)
        await asyncio.sleep(down_seconds)
        while _runs(pid) or not self._embedded.alive():
            await asyncio.to_thread(self._embedded.start)
            await asyncio.sleep(0.02)

    async def note_deadlocks(self) -> None:
        """Count the deadlocks that PostgreSQL had to break: a crash forgets them."""
        connection = await asyncpg.connect(self.direct_url)
        self.deadlocks += await connection.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        await connection.close()


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def web_is_killed(installation: Installation) -> None:
    """In the middle of requests."""
    installation.kill("web")


async def a_worker_is_killed(installation: Installation) -> None:
    """Between any two statements."""
    installation.kill("worker")


async def a_clock_is_killed(installation: Installation) -> None:
    """In its sweep or between two."""
    installation.kill("clock")


async def redis_is_flushed(installation: Installation) -> None:
    """Every message gone."""
    client = redis.asyncio.Redis.from_url(installation.redis_url)
    await client.flushall()
    await client.aclose()


async def redis_is_stopped(installation: Installation) -> None:
    """Nobody hears a bell for two seconds."""
    await installation.kill_server("valkey", down_seconds=2)


async def redis_is_frozen(installation: Installation) -> None:
    """It accepts and never answers."""
    installation.signal_server("valkey", signal.SIGSTOP)
    await asyncio.sleep(2)
    installation.signal_server("valkey", signal.SIGCONT)


async def postgresql_is_killed(installation: Installation) -> None:
    """The whole server at once; it recovers from its log."""
    await installation.note_deadlocks()
    await installation.kill_server("postgres", down_seconds=0)


async def replies_are_dropped(installation: Installation) -> None:
    """PostgreSQL hears everything and is not heard: commits of which nobody knows."""
    installation.proxy.drops_replies = True
    await asyncio.sleep(0.5)
    installation.proxy.cut()
    installation.proxy.drops_replies = False


async def connections_are_cut(installation: Installation) -> None:
    """All at once, in the middle of a word."""
    installation.proxy.cut()


FAULTS: Final[dict[Callable[[Installation], Awaitable[None]], int]] = {
    web_is_killed: 4,
    a_worker_is_killed: 6,
    a_clock_is_killed: 4,
    redis_is_flushed: 2,
    redis_is_stopped: 1,
    redis_is_frozen: 1,
    postgresql_is_killed: 2,
    replies_are_dropped: 4,
    connections_are_cut: 3,
}
"""What happens, and how often next to the others."""
