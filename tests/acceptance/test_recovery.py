"""Point-in-time recovery as docs/operate.md tells it: its own commands, typed against a real installation."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from schemas.events import EventType
from tests.conftest import temporary_folder
from tests.documents import ROOT, steps
from tests.installation import CLIENT, REGIE, Installation, until
from tests.integration.test_archive import STATES
from tests.prometheus import program
from worker.embedded import Embedded

TYPED = {step.how: step.command for step in steps((ROOT / "docs" / "operate.md").read_text("utf-8"))}
"""The document's commands, by the word that says when they are typed."""
THEIR_BACKUPS = "/var/backups/lettrage"
THEIR_TIME = "2026-11-23 09:30:00+00"
"""What the document says; a test has a folder and a time of its own."""
HOLD_SECONDS = 2
TOWN = CLIENT.replace('["events", "read"]', '["events", "read", "admin"]') + REGIE + f'hold = "{HOLD_SECONDS}s"\n'
EQUAL = {
    **STATES,
    "facts": "SELECT client, source, id, type, regie, time, data::text, digest, raw, trace FROM events",
    "received": f"SELECT client, source, id, received_at FROM events WHERE type <> '{EventType.PAYMENT_TIMED_OUT}'",
}
"""What must come back; a hold that was on at that time is ended anew, hence at another moment."""
VERSIONS = "SELECT number, version FROM invoices ORDER BY number"


class Town:
    """An installation with embedded servers, in a folder like a copy of the source."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)  # the embedded server's own user must reach the archive
        self.backups = folder / "backups"
        self.installation = Installation(folder, DATABASE_URL="", REDIS_URL="")
        self.installation.configure(TOWN)
        (folder / ".venv").symlink_to(ROOT / ".venv")

    def up(self) -> None:
        """Start it, and return once it is ready."""
        self.installation.start("up")
        until(self.installation.is_ready)

    def down(self) -> None:
        """Stop it, with its servers."""
        process = self.installation.processes.pop()
        process.terminate()
        assert process.wait(60) == 0

    def types(self, *words: str, time: str = THEIR_TIME) -> None:
        """Type the document's commands, in one terminal."""
        typed = "\n".join(TYPED[word] for word in words)
        typed = typed.replace(THEIR_BACKUPS, str(self.backups)).replace(THEIR_TIME, time)
        ended = subprocess.run(
            [program("bash"), "-euo", "pipefail", "-c", typed],
            cwd=self.installation.folder,
            env=self.installation.environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def pay(self, number: str) -> None:
        """A family pays an invoice."""
        self.start_payment(number)
        self.installation.get(f"/v1/callbacks/enfance?transaction_id=P-{number}&signed=1&ok=1")
        until(lambda: self.state(number) == "paid")

    def start_payment(self, number: str) -> None:
        """A family goes to the gateway."""
        line = {"number": number, "amount_cents": 4250, "account": "DUPONT"}
        data = {"regie": "enfance", "reference": f"P-{number}", "amount_cents": 4250, "invoices": [line]}
        now = datetime.now(UTC).isoformat()
        kind = "fr.lettrage.payment.started.v1"
        event = {"specversion": "1.0", "id": number, "source": "/portail", "type": kind, "time": now, "data": data}
        assert self.installation.post(event) == 200

    def state(self, number: str) -> str | None:
        """An invoice's state; None where it is not known."""
        shown = self.installation.run("invoices", "show", "enfance", number, "--json")
        return None if shown.returncode == 3 else str(json.loads(shown.stdout)["state"])

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database answers."""

        async def fetch(address: str) -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(address)
            try:
                return [tuple(row) for row in await connection.fetch(query)]
            finally:
                await connection.close()

        with Embedded(self.installation.folder / ".lettrage") as servers:
            return asyncio.run(fetch(servers.start(valkey=False).database_url))

    def does(self, *args: str) -> str:
        """Run a command that must succeed."""
        ended = self.installation.run(*args)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


@pytest.fixture
def town() -> Iterator[Town]:
    """An installation of this test's own."""
    with temporary_folder() as folder:
        town = Town(folder)
        try:
            yield town
        finally:
            town.installation.end()


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_between_two_payments_and_then_all_that_was_lost(town: Town) -> None:
    """The second payment is gone, the books are right, work goes on; the archive brings the lost state back."""
    town.up()
    town.types("reach", "archive")
    town.down()
    town.up()
    town.types("reach", "base")
    town.pay("F-BEFORE")
    town.start_payment("F-HELD")
    ((between,),) = town.rows("SELECT clock_timestamp()")
    town.pay("F-AFTER")
    until(lambda: town.state("F-HELD") == "payable")
    lost = {name: town.rows(query) for name, query in EQUAL.items()}
    versions = dict(town.rows(VERSIONS))
    archive = town.installation.folder / "archive.json"
    archive.write_text(town.does("events", "list", "--json"))
    town.down()

    town.types("recover", time=between.isoformat())
    town.up()
    assert (town.state("F-BEFORE"), town.state("F-AFTER")) == ("paid", None)
    until(lambda: town.state("F-HELD") == "payable")
    town.does("verify")
    town.pay("F-NEW")

    address = f"http://127.0.0.1:{town.installation.port}"
    town.does("events", "send", "--archive", str(archive), "--url", address)
    until(lambda: town.state("F-AFTER") == "paid")
    until(lambda: town.rows("SELECT count(*) FROM pending") == [(0,)])
    for name, rows in lost.items():
        assert set(rows) - set(town.rows(EQUAL[name])) == set(), name
    assert versions.items() <= dict(town.rows(VERSIONS)).items()
    town.does("verify")


def test_the_embedded_server_lets_a_base_backup_be_taken(town: Town) -> None:
    """Who knows its password may stream from it; nobody else."""
    with Embedded(town.installation.folder / ".lettrage") as servers:
        servers.start(valkey=False)
        town.types("reach", "base")
        assert (town.backups / "base" / "backup_label").exists()
        command = TYPED["reach"].split("export PGPASSWORD", maxsplit=1)[0] + "pg_basebackup -w -D refused"
        ended = subprocess.run(
            [program("bash"), "-c", command],
            cwd=town.installation.folder,
            env={**town.installation.environ, "PGPASSWORD": "guessed"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "password authentication failed" in ended.stderr
