"""The API as a portal meets it: real processes, real servers, HTTP and nothing else."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientError, ClientSession

from tests.api import issued, started
from tests.integration.processes import free_port, until
from worker.store.migrate import migrate

LETTRAGE = Path(sys.executable).with_name("lettrage")
STOP_SECONDS = 25.0
"""What a process may take to end, by the design's rule 8."""
TOKEN = "acceptance"
CONFIG = f"""
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
hold = "2s"
hold_limit = "3s"
"""


class Installation:
    """Processes on one database and one Redis."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.port = free_port()
        self.database_url = database_url
        self.log = folder / "log"
        config = folder / "lettrage.toml"
        config.write_text(CONFIG)
        self._environ = {
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "LETTRAGE_CONFIG": str(config),
            "PORT": str(self.port),
        }
        self._http: ClientSession | None = None

    @asynccontextmanager
    async def running(self, role: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """One `lettrage` process; killed at the end if it still runs."""
        with self.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(LETTRAGE, role, env=self._environ, stderr=log)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of a question; 0 while nobody answers."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        try:
            async with ClientSession() as http:
                response = await http.get(f"http://127.0.0.1:{self.port}{path}", headers=headers)
                return response.status, json.loads(await response.read())
        except (ClientError, OSError):
            return 0, None

    async def post(self, http: ClientSession, event: dict[str, Any], **headers: str) -> tuple[int, Any]:
        """Status and JSON of an event sent; 0 when the connection broke."""
        sent = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents+json"} | headers
        try:
            response = await http.post(f"http://127.0.0.1:{self.port}/v1/events", json=event, headers=sent)
            return response.status, json.loads(await response.read())
        except (ClientError, OSError):
            return 0, None

    async def until_ready(self) -> None:
        """Return once web says that it is ready."""
        await until(self._is_ready)

    async def _is_ready(self) -> bool:
        return (await self.get("/readyz"))[0] == 200

    async def awaits_database(self) -> bool:
        """Whether a process has said that it waits for its database."""
        return b"database_awaited" in self.log.read_bytes()

    async def until(self, path: str, **wanted: object) -> dict[str, Any]:
        """What an address answers, once it says that."""
        while True:
            status, said = await self.get(path)
            if status == 200 and all(said[name] == value for name, value in wanted.items()):
                return dict(said)
            await asyncio.sleep(0.02)


@pytest.fixture
def installation(tmp_path: Path, database_url: str, redis_url: str) -> Installation:
    """Nothing running yet."""
    return Installation(tmp_path, database_url, redis_url)


@pytest.mark.timeout(120)
async def test_a_family_starts_pays_and_another_gives_up(installation: Installation) -> None:
    """The contract's whole way: wait for `started`, be called back, be paid; or time out and be payable again."""
    async with AsyncExitStack() as stack:
        for role in ("web", "worker", "clock"):
            await stack.enter_async_context(installation.running(role))
        http = await stack.enter_async_context(ClientSession())
        await installation.until_ready()
        assert (await installation.post(http, issued("F-1", 4250)))[0] == 202
        assert (await installation.post(http, issued("F-2", 900)))[0] == 202
        status, said = await installation.post(http, started("P-1", lines={"F-1": 4250}), Prefer="wait=5")
        assert (status, said["outcome"], said["payment"]["state"]) == (200, "applied", "started")
        callback = f"http://127.0.0.1:{installation.port}/v1/callbacks/enfance?transaction_id=P-1&ok=1&signed=1"
        assert (await http.get(callback)).status == 200
        paid = await installation.until("/v1/regies/enfance/invoices/F-1", state="paid")
        assert paid["paid_by"] == "P-1"
        status, said = await installation.post(http, started("P-2", lines={"F-2": 900}), Prefer="wait=5")
        assert said["payment"]["state"] == "started"
        await installation.until("/v1/regies/enfance/payments/P-2", state="expired", reason="hold_expired")
        again = await installation.until("/v1/regies/enfance/invoices/F-2", state="payable")
        assert again["payable_again_at"] is None
        response = await http.get(f"http://127.0.0.1:{installation.port}/metrics")
        assert "lettrage_invoices" in await response.text()


@pytest.mark.timeout(120)
async def test_web_waits_for_its_schema_and_ends_when_told(
    tmp_path: Path, empty_database_url: str, redis_url: str
) -> None:
    """Without a schema it neither crashes nor ignores SIGTERM; once migrated, it serves."""
    installation = Installation(tmp_path, empty_database_url, redis_url)
    async with installation.running("web") as web:
        await until(installation.awaits_database)
        web.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(web.wait(), STOP_SECONDS) == 0
    async with installation.running("web") as web:
        await migrate(empty_database_url)
        await installation.until_ready()
        web.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(web.wait(), STOP_SECONDS) == 0


@pytest.mark.timeout(120)
async def test_a_web_that_is_killed_loses_nothing_that_it_acknowledged(installation: Installation) -> None:
    """Kill -9 in mid-traffic, twice; what got a 202 is in the database, and nothing is there twice."""
    acknowledged: set[str] = set()

    async def send(http: ClientSession, lane: int, stop: asyncio.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            status, said = await installation.post(http, issued(f"F-{lane}-{number}"))
            if status == 202:
                acknowledged.add(said["id"])
            else:
                await asyncio.sleep(0.02)

    stop = asyncio.Event()
    async with ClientSession() as http:
        sending = [asyncio.create_task(send(http, lane, stop)) for lane in range(16)]
        for _ in range(2):
            before = len(acknowledged)
            async with installation.running("web") as web:
                await until(partial(_reached, acknowledged, before + 300))
                web.kill()
                await web.wait()
        stop.set()
        await asyncio.gather(*sending)
    connection = await asyncpg.connect(installation.database_url)
    stored = [row["id"] for row in await connection.fetch("SELECT id FROM events")]
    await connection.close()
    assert len(acknowledged) >= 600
    assert acknowledged <= set(stored)
    assert len(stored) == len(set(stored))


async def _reached(acknowledged: set[str], count: int) -> bool:
    return len(acknowledged) >= count


@pytest.mark.timeout(120)
async def test_web_drains_when_told_to_end(installation: Installation) -> None:
    """A request that waits for its outcome is answered before the process ends with 0."""
    async with installation.running("web") as web, ClientSession() as http:
        await installation.until_ready()
        waiting = asyncio.create_task(installation.post(http, issued("F-1"), Prefer="wait=2"))
        connection = await asyncpg.connect(installation.database_url)
        await until(lambda: connection.fetchval("SELECT count(*) FROM events"))
        await connection.close()
        web.send_signal(signal.SIGTERM)
        assert await waiting == (202, {"id": "issued-F-1", "status": "accepted"})
        assert await asyncio.wait_for(web.wait(), STOP_SECONDS) == 0
