"""An upgrade as docs/operate.md tells it: the latest release and this code side by side, under load.

The release's source runs on the dependencies that are locked now.
"""

import asyncio
import json
import os
import signal
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import asyncpg
import pytest
from aiohttp import ClientError, ClientSession

from tests.chaos.families import Portals, live
from tests.chaos.installation import CONFIG, HOLD_SECONDS, STOP_SECONDS
from tests.chaos.verdict import assert_nothing_lost, counted
from tests.conftest import temporary_folder
from tests.documents import ROOT
from tests.installation import LETTRAGE, PATIENCE_SECONDS, free_port
from tests.prometheus import program
from worker.embedded import Embedded
from worker.verify.books import proved_books

LATEST_RELEASE = "dd3df3ff939582f980015ad2661aa149a79e2805"
"""The commit of 0.1.0."""
ROLES = ("web", "worker", "clock")
FAMILIES = 16
"""At a time."""
SIDE_BY_SIDE_SECONDS = HOLD_SECONDS + 1
"""Holds that one release began end in the other."""
OUTCOMES_OF = "SELECT count(*) FROM outcomes"
WAITS = "SELECT EXISTS (SELECT FROM pending) OR EXISTS (SELECT FROM holds)"


class Release:
    """The processes of one release, from its source."""

    def __init__(self, source: Path, folder: Path, database_url: str, redis_url: str) -> None:
        self._folder = folder
        self._port = free_port()
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._environ = {
            **{name: value for name, value in os.environ.items() if "LETTRAGE" not in name},
            "PYTHONPATH": str(source),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "LETTRAGE_CONFIG": str(folder / "lettrage.toml"),
            "LETTRAGE_STATE_DIR": str(folder / "state"),
            "PORT": str(self._port),
        }

    @property
    def address(self) -> str:
        """Where its web answers."""
        return f"http://127.0.0.1:{self._port}"

    async def does(self, *args: str) -> str:
        """Run a command that must succeed."""
        process = await self._start(*args, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        assert process.returncode == 0, f"{args}: {said.decode()}"
        return said.decode()

    async def start(self) -> None:
        """Start all of it, and return once its web is ready."""
        for role in ROLES:
            self._running[role] = await self._start(role)
        async with ClientSession() as http, asyncio.timeout(PATIENCE_SECONDS):
            while not await self._is_ready(http):  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.05)

    async def _is_ready(self, http: ClientSession) -> bool:
        try:
            async with http.get(f"{self.address}/readyz") as answer:
                return answer.ok
        except (ClientError, OSError):
            return False

    async def stop(self) -> None:
        """Ask all that runs to end."""
        while self._running:
            role, process = self._running.popitem()
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), STOP_SECONDS) == 0, role

    async def _start(self, *args: str, stdout: int | None = None) -> asyncio.subprocess.Process:
        with (self._folder / f"{self._port}-{args[0]}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *LETTRAGE, *args, env=self._environ, stdout=stdout or log, stderr=log
            )


def source_of(commit: str, folder: Path) -> Path:
    """A commit's files, in a new folder."""
    if subprocess.run(
        [program("git"), "-C", ROOT, "cat-file", "-e", commit], check=False, capture_output=True
    ).returncode:
        pytest.skip("the latest release's commit is not here: a shallow clone, or no clone (git fetch --unshallow)")
    folder.mkdir()
    archive = subprocess.run([program("git"), "-C", ROOT, "archive", commit], check=True, capture_output=True).stdout
    subprocess.run([program("tar"), "-x", "-C", folder], input=archive, check=True)
    return folder


@pytest.mark.timeout(240)
async def test_a_release_replaces_the_latest_one_while_families_pay() -> None:
    """Nobody gets an error, nothing is lost or done twice, whichever release did it; and what each wrote is right."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        (folder / "lettrage.toml").write_text(CONFIG)
        older_source = source_of(LATEST_RELEASE, folder / "older")
        servers = stack.enter_context(Embedded(folder / "servers")).start()
        older, newer = (
            Release(source, folder, servers.database_url, servers.redis_url) for source in (older_source, ROOT)
        )
        http = await stack.enter_async_context(ClientSession())
        database = await asyncpg.connect(servers.database_url)
        stack.push_async_callback(database.close)
        for release in (older, newer):
            stack.push_async_callback(release.stop)

        await older.does("migrate")
        await older.start()
        addresses = [older.address]
        portals = Portals(http, addresses, Random(20261126))
        lives = asyncio.create_task(live(portals, FAMILIES))
        await asyncio.sleep(HOLD_SECONDS)
        await newer.does("migrate")
        await asyncio.sleep(1)  # the older one works on the newer schema
        await newer.start()
        addresses.append(newer.address)
        await asyncio.sleep(SIDE_BY_SIDE_SECONDS)
        addresses.remove(older.address)  # as a proxy does it
        await older.stop()
        by_older = await database.fetchval(OUTCOMES_OF)
        await asyncio.sleep(1)
        portals.open = False
        await lives
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await database.fetchval(WAITS):  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.05)

        print(await counted(database, portals))  # noqa: T201 (the counts are the proof)
        assert await database.fetchval(OUTCOMES_OF) > by_older > 0
        await assert_nothing_lost(database, portals)
        assert {name for name in portals.counts if name not in {"requests", "sent again", "families"}} == set()
        await put_right_what_the_older_wrote(newer)
        assert (await proved_books(servers.database_url)).differences == []


async def put_right_what_the_older_wrote(newer: Release) -> None:
    """This code derives one thing otherwise, as the changelog says: when an invoice was paid. A replay mends it."""
    dry = json.loads(await newer.does("events", "replay", "--dry-run", "--json"))
    assert {field for change in dry["changes"] for field in change["fields"]} == {"paid_at"}
    await newer.does("events", "replay", "--comment", "the upgrade", "--yes", "--json")
