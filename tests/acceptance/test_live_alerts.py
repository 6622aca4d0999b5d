"""What is on call for: each trouble is provoked for real, its alert fires, and clears once the runbook's mend is done.

Prometheus evaluates the rules of monitoring/alerts with their `for` and their windows shortened, otherwise as they are.
One town for all: web, worker and clock as processes of their own, a Valkey that may be stopped, a portal that may fail.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from tests.conftest import database, execute, temporary_folder
from tests.installation import CLIENT, Installation, free_port, until
from tests.prometheus import PACK, Prometheus, program
from tests.unit.gateways import lyra_answers as lyra
from worker.embedded import Embedded

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]

PATIENCE_SECONDS: Final = 180.0
UNSEALED: Final = ("lettrage_oldest_unsealed_event_seconds) > 300", "lettrage_oldest_unsealed_event_seconds) > 5")
"""The one threshold that is minutes."""
SHORTENED: Final = {"2m": "10s", "10m": "30s", "30m": "40s", "1h": "40s"}
"""Windows of the alerts; those of the promises' budgets stay as they are."""
SMALL_DISK: Final = "2m"
ROLES: Final = ("web", "worker", "clock")

CONFIG: Final = f"""{CLIENT}
[[regie]]
code = "enfance"
gateway = "dummy"
mode = "test"
[regie.portal]
url = "http://127.0.0.1:{{portal}}/lettrage"
secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
private = true

[[regie]]
code = "piscine"
gateway = "systempayv2"
[regie.options]
vads_site_id = "{lyra.SITE}"
secret_production = "{{secret}}"

[[regie]]
code = "voirie"
gateway = "payfip_ws"
mode = "test"
[regie.options]
numcli = "090909"
service_url = "http://127.0.0.1:{{gateway}}/tpa/services/securite"
"""
GATEWAY: Final = """
port = {port}
[[payfip.regie]]
numcli = "090909"
labels = ["Ville", "Voirie"]
"""


class Portal:
    """A portal that answers what it is told to."""

    def __init__(self) -> None:
        self.status = 200
        portal = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Take a notification, or fail to."""
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(portal.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer while inside."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class Town:
    """A whole installation that can be hurt, and the Prometheus that watches it."""

    def __init__(self, folder: Path, database_url: str, valkey: Embedded) -> None:
        self.database_url = database_url
        self.valkey = valkey
        self.portal = Portal()
        self.gateway_port = free_port()
        self.prometheus = Prometheus(folder, free_port())
        self._folder = folder
        self._roles: dict[str, subprocess.Popen[bytes]] = {}
        self._sent = 0
        redis_url = valkey.start(postgres=False).redis_url
        shared = folder / "metrics"
        shared.mkdir()
        self.installation = Installation(
            folder, DATABASE_URL=database_url, REDIS_URL=redis_url, PROMETHEUS_MULTIPROC_DIR=str(shared)
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """All of it, watched by the shortened rules."""
        self.configure(secret=lyra.PRODUCTION_KEY)
        rules = self._folder / "rules.yml"
        rules.write_text(shortened((PACK / "alerts" / "lettrage.yml").read_text()))
        with self.portal.serving():
            try:
                for role in ROLES:
                    self.start(role)
                until(self.installation.is_ready, PATIENCE_SECONDS)
                with self.prometheus.running(self.installation.port, rules):
                    yield
            finally:
                self.installation.end()

    def configure(self, *, secret: str) -> None:
        """Write the configuration; for processes that start later."""
        text = CONFIG.format(portal=self.portal.port, secret=secret, gateway=self.gateway_port)
        self.installation.configure(text)

    def start(self, role: str) -> None:
        """Start a process of that role."""
        self._roles[role] = self.installation.start(role)

    def stop(self, role: str) -> None:
        """Have it end as a service manager would."""
        self._roles[role].send_signal(signal.SIGTERM)
        self._roles[role].wait(PATIENCE_SECONDS)

    def restart(self) -> None:
        """Every process anew, with the configuration as it is now."""
        for role in ROLES:
            self.stop(role)
            self.start(role)
        until(self.installation.is_ready, PATIENCE_SECONDS)

    def send(self, kind: str, **data: object) -> int:
        """Send one event; answers web's status."""
        self._sent += 1
        return self.installation.post(
            {
                "specversion": "1.0",
                "type": f"fr.lettrage.{kind}.v1",
                "source": "/portail",
                "id": str(self._sent),
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "data": data,
            }
        )

    def start_payment(self, regie: str, reference: str) -> int:
        """A family presses Payer."""
        lines = [{"number": f"F-{reference}", "amount_cents": 4250}]
        return self.send("payment.started", regie=regie, reference=reference, amount_cents=4250, invoices=lines)

    def call_back(self, regie: str, body: bytes) -> None:
        """A gateway calls."""
        address = f"http://127.0.0.1:{self.installation.port}/v1/callbacks/{regie}"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=20) as answer:
            assert answer.status == 200

    def fires(self, alert: str, meanwhile: Callable[[], object] = int, **labels: str) -> None:
        """Wait until it fires, while something goes on."""

        def look() -> bool:
            meanwhile()
            return self.prometheus.fires(alert, **labels)

        assert not self.prometheus.fires(alert, **labels), "it must be quiet before"
        until(look, PATIENCE_SECONDS)

    def clears(self, alert: str, meanwhile: Callable[[], object] = int, **labels: str) -> None:
        """Wait until it fires no more, while something goes on."""

        def look() -> bool:
            meanwhile()
            return not self.prometheus.fires(alert, **labels)

        until(look, PATIENCE_SECONDS)


def shortened(rules: str) -> str:
    """The rules with the waits of their alerts shortened: a test cannot wait for an hour's trend."""
    promises, alerts = rules.split("  - name: lettrage\n")
    assert UNSEALED[0] in alerts
    alerts = re.sub(r"for: \w+", "for: 2s", alerts).replace(*UNSEALED)
    return promises + "  - name: lettrage\n" + re.sub(r"\[(\w+)\]", lambda found: f"[{SHORTENED[found[1]]}]", alerts)


@pytest.fixture(scope="module")
def town(postgres: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """One town for all troubles, each of which is mended before the next."""
    with ExitStack() as stack:
        url = stack.enter_context(database(postgres, template))
        valkey = stack.enter_context(Embedded(stack.enter_context(temporary_folder())))
        town = Town(tmp_path_factory.mktemp("town"), url, valkey)
        stack.enter_context(town.running())
        until(lambda: town.prometheus.has_data("lettrage_parked_events"), PATIENCE_SECONDS)
        yield town


def test_redis_down(town: Town) -> None:
    """It is stopped, and started again empty."""
    town.valkey.stop()
    town.fires("LettrageRedisDown")
    town.valkey.start(postgres=False)
    town.clears("LettrageRedisDown")


def test_a_clock_process_missing(town: Town) -> None:
    """The only one ends; another is started."""
    town.stop("clock")
    town.fires("LettrageProcessMissing", role="clock")
    town.start("clock")
    town.clears("LettrageProcessMissing", role="clock")


def test_a_transaction_that_never_ends(town: Town, postgres: str) -> None:
    """In another database of the server: nothing younger than it is sealed, until somebody ends it."""

    def forget() -> None:
        with suppress(asyncpg.PostgresError):
            execute(postgres, "SELECT pg_current_xact_id(); SELECT pg_sleep(300)")

    forgotten = threading.Thread(target=forget)
    forgotten.start()
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND query LIKE '%(300)'"
    try:
        assert town.start_payment("enfance", "unsealed") == 200
        town.fires("LettrageJournalUnsealed")
    finally:
        execute(postgres, end)
        forgotten.join()
    town.clears("LettrageJournalUnsealed")


def test_a_portal_that_answers_500(town: Town) -> None:
    """Its notifications fail, until it is mended; then they arrive by themselves."""
    town.portal.status = 500
    assert town.start_payment("enfance", "P-500") == 200
    town.fires("LettrageNotificationsFailing", regie="enfance")
    town.portal.status = 200
    town.clears("LettrageNotificationsFailing", regie="enfance")


def test_a_regie_with_a_wrong_secret(town: Town) -> None:
    """What its gateway signs is believed by nobody; with the right secret in every process it is again."""
    town.configure(secret="anotherkey1234567")
    town.restart()

    def pay() -> None:
        town.call_back("piscine", lyra.signed(lyra.PAID))

    town.fires("LettrageRegieUnproven", pay, regie="piscine")
    town.configure(secret=lyra.PRODUCTION_KEY)
    town.restart()
    town.clears("LettrageRegieUnproven", pay, regie="piscine")


def test_one_gateway_down(town: Town) -> None:
    """Nobody listens where PayFiP should; then it answers, and is asked again by itself."""
    for number in range(3):
        assert town.start_payment("voirie", f"G-{number}") == 200
        town.call_back("voirie", f"idop=G-{number}".encode())
    town.fires("LettrageGatewayUnanswered", gateway="payfip_ws")
    with gateway(town.gateway_port):
        town.clears("LettrageGatewayUnanswered", gateway="payfip_ws")


def test_a_poison_event(town: Town) -> None:
    """An invoice that the database refuses to write: the event is parked, and with the cause gone replayed."""
    execute(
        town.database_url,
        "CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'poison'; END $$;"
        "CREATE TRIGGER poison BEFORE UPDATE ON invoices FOR EACH ROW WHEN (new.number = 'F-poison')"
        " EXECUTE FUNCTION refuse_poison()",
    )
    assert town.start_payment("enfance", "poison") == 202
    hurry = "UPDATE pending SET attempts = 7, leased_until = '-infinity' WHERE NOT parked AND attempts BETWEEN 1 AND 6"
    town.fires("LettrageEventsParked", lambda: execute(town.database_url, hurry))
    execute(town.database_url, "DROP TRIGGER poison ON invoices")
    replayed = town.installation.run("events", "replay", "--parked", "--comment", "the trigger has gone", "--yes")
    assert replayed.returncode == 0, replayed.stderr
    town.clears("LettrageEventsParked")


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk of its own can be mounted by root alone")
def test_postgresqls_disk_is_full(town: Town) -> None:
    """The disk of the events has no room: what comes is refused, until there is some again."""
    numbers = iter(range(10**6))

    def pay() -> None:
        town.start_payment("enfance", f"full-{next(numbers)}")

    with events_on_a_small_disk(town.database_url) as disk:
        filler = disk / "filler"
        fill(filler)
        town.fires("LettrageEventsRefused", pay)
        filler.unlink()
        town.clears("LettrageEventsRefused", pay)
    assert town.start_payment("enfance", "after-all") == 200


@contextmanager
def gateway(port: int) -> Iterator[None]:
    """The simulated PayFiP, as a process."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "gateway.toml"
        config.write_text(GATEWAY.format(port=port))
        process = subprocess.Popen([sys.executable, "-m", "examples.gateway", str(config)], cwd=PACK.parent)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def events_on_a_small_disk(database_url: str) -> Iterator[Path]:
    """The events' table on a disk of its own of a few megabytes; a server whose WAL has no room stops altogether."""
    status = Path(f"/proc/{asyncio.run(_backend(database_url))}/status").read_text()
    user, group = (int(found) for found in re.findall(r"^[UG]id:\t(\d+)", status, re.MULTILINE))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        disk = Path(folder) / "disk"
        disk.mkdir()
        mount = [program("mount"), "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=0700", "tmpfs", str(disk)]
        mounted = subprocess.run(mount, check=False)
        if mounted.returncode != 0:
            pytest.skip("no file system can be mounted here")
        try:
            os.chown(disk, user, group)
            execute(database_url, f"CREATE TABLESPACE small LOCATION '{disk}'")
            execute(database_url, "ALTER TABLE events SET TABLESPACE small")
            yield disk
            execute(database_url, "ALTER TABLE events SET TABLESPACE pg_default")
            execute(database_url, "DROP TABLESPACE small")
        finally:
            subprocess.run([program("umount"), "--lazy", disk], check=True)


async def _backend(database_url: str) -> int:
    """A process that runs as the server does."""
    connection = await asyncpg.connect(database_url)
    try:
        return int(await connection.fetchval("SELECT pg_backend_pid()"))
    finally:
        await connection.close()


def fill(file: Path) -> None:
    """Take all the room that a disk has."""
    with file.open("wb", buffering=0) as taking:
        for size in (4096, 1):
            try:
                while True:
                    taking.write(b"\0" * size)
            except OSError:
                continue
