"""The doctor finds each thing that can be wrong, provoked for real wherever that is possible."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import redis as redis_client
from aiohttp import web
from click.testing import CliRunner

from examples.gateway.payfip import PayFiP, Regie
from examples.gateway.server import Gateway
from tests.api import composed
from tests.installation import CLIENT, REGIE, free_port
from worker.cli import main
from worker.doctor import database, gateways, machine, redis, work
from worker.doctor.check import Check, Status
from worker.doctor.examine import examine
from worker.settings import Settings
from worker.store.migrate import migrate
from worker.web.server import serving

Examine = Callable[..., Awaitable[list[Check]]]


@pytest.fixture
def look(tmp_path: Path, database_url: str, redis_url: str) -> Examine:
    """Examines a right installation, but for what a test changes in its file or its environment."""

    async def looked(toml: str = CLIENT + REGIE, **environ: str) -> list[Check]:
        (tmp_path / "lettrage.toml").write_text(toml)
        right = {
            "LETTRAGE_CONFIG": str(tmp_path / "lettrage.toml"),
            "LETTRAGE_STATE_DIR": str(tmp_path / "state"),
            "PORT": str(free_port()),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
        }
        return await examine(right | environ)

    return looked


def found(checks: list[Check], name: str) -> Check:
    """The worst finding of that name."""
    order = [Status.FAILED, Status.WARNING, Status.OK]
    named = sorted((check for check in checks if check.name == name), key=lambda check: order.index(check.status))
    assert named, f"no check is called {name}: {[check.name for check in checks]}"
    assert all(bool(check.mend) == (check.status is not Status.OK) for check in named)
    return named[0]


def broken(checks: list[Check]) -> set[str]:
    """Names of what failed, but for the processes: none runs in these tests."""
    return {c.name for c in checks if c.status is Status.FAILED and not c.name.endswith("_process")}


@asynccontextmanager
async def connection(url: str, name: str = "test") -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A connection under an application's name."""
    opened = await asyncpg.connect(url, server_settings={"application_name": name})
    try:
        yield opened
    finally:
        await opened.close()


async def execute(url: str, statements: str) -> None:
    """Run SQL."""
    async with connection(url) as opened:
        await opened.execute(statements)


async def test_a_right_installation_has_nothing_to_mend(look: Examine) -> None:
    """Everything is ok, but for the processes that do not run and the régie that says of itself it is a test."""
    checks = await look()
    assert broken(checks) == set()
    assert {check.name for check in checks if check.status is Status.WARNING} == {"regies"}
    assert "test mode" in found(checks, "regies").what


# This machine


def test_an_old_python_is_told() -> None:
    """And which one to install."""
    assert machine.python((3, 10)).status is Status.FAILED
    assert machine.python((3, 14)).status is Status.OK


def test_a_machine_without_time_zones_is_told() -> None:
    """Slim containers have none, and gateways write Paris time."""
    assert machine.time_zones("Europe/Nowhere").status is Status.FAILED
    assert "tzdata" in machine.time_zones("Europe/Nowhere").mend


async def test_a_state_folder_that_cannot_be_written_is_told(look: Examine, tmp_path: Path) -> None:
    """A file stands in its way; with both addresses configured nobody needs it."""
    (tmp_path / "file").touch()
    state = str(tmp_path / "file" / "state")
    assert found(await look(DATABASE_URL="", LETTRAGE_STATE_DIR=state), "state_folder").status is Status.FAILED
    assert not [check for check in await look(LETTRAGE_STATE_DIR=state) if check.name == "state_folder"]


@pytest.mark.parametrize(
    ("free", "status"), [(5_000_000_000, Status.OK), (500_000_000, Status.WARNING), (50_000_000, Status.FAILED)]
)
def test_a_disk_that_fills_is_told(free: int, status: Status) -> None:
    """Before the database stops."""
    assert machine.disk_space(free).status is status


async def test_a_port_that_another_program_has_is_told(look: Examine) -> None:
    """Whatever listens there is not Lettrage."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = found(await look(PORT=str(taken.getsockname()[1])), "port")
    assert port.status is Status.FAILED
    assert "another program" in port.what


async def test_the_web_of_another_installation_is_told(
    look: Examine, database_url: str, empty_database_url: str
) -> None:
    """Two installations were given one port: the one that came first answers, whoever is asked about."""
    await migrate(empty_database_url)
    for url, status in ((database_url, Status.OK), (empty_database_url, Status.FAILED)):
        async with composed(url) as app, serving(app, "127.0.0.1", 0) as number:
            checks = await look(PORT=str(number))
        assert found(checks, "port").what == f"web answers on 127.0.0.1:{number}"
        assert found(checks, "installation").status is status
        assert ("another installation" in found(checks, "installation").what) is (status is Status.FAILED)


async def test_an_address_of_another_machine_is_told(look: Examine) -> None:
    """HOST is where to listen, not where to be found."""
    assert found(await look(HOST="192.0.2.1"), "port").status is Status.FAILED


# Configuration


@pytest.mark.parametrize(
    ("toml", "what"),
    [
        (CLIENT + REGIE + 'hold = "30"', "regie.enfance.hold"),
        (CLIENT + '[[regie]]\ncode = "a"', "regie.a.options.vads_site_id"),
        (CLIENT + REGIE + '[regie.options]\norigin = "env:ABSENT"', "ABSENT"),
        (CLIENT + REGIE + '[regie.portal]\nurl = "https://x"\nsecret = "file:absent"', "absent"),
        ("[[client", "not TOML"),
    ],
)
async def test_faults_of_the_configuration_are_told(look: Examine, toml: str, what: str) -> None:
    """Each with its key; the servers are examined all the same."""
    checks = await look(toml)
    assert broken(checks) == {"configuration"}
    assert any(what in check.what for check in checks if check.status is Status.FAILED)
    assert found(checks, "schema").status is Status.OK


@pytest.mark.parametrize(
    ("toml", "name", "what"),
    [
        (REGIE, "clients", "no client"),
        (CLIENT.replace('"events", ', "") + REGIE, "clients", "none may send events"),
        (CLIENT.replace('"*"', "") + REGIE, "configuration", "reaches no régie"),
        (CLIENT, "regies", "none is configured"),
        (CLIENT + REGIE + 'label = "a"\n[regie.options]\norigin = "x"', "regies", "test mode"),
    ],
)
async def test_what_is_right_but_useless_is_a_warning(look: Examine, toml: str, name: str, what: str) -> None:
    """Nothing is broken: somebody has not finished."""
    checks = await look(toml)
    assert broken(checks) == set()
    assert found(checks, name).status is Status.WARNING
    assert what in found(checks, name).what


async def test_no_configuration_at_all_is_a_warning(
    look: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says where an example is."""
    monkeypatch.chdir(tmp_path / "..")
    checks = await look(LETTRAGE_CONFIG="")
    assert found(checks, "configuration").status is Status.WARNING
    assert "examples/lettrage.toml" in found(checks, "configuration").mend


@pytest.mark.parametrize(("mode", "status"), [(0o644, Status.WARNING), (0o640, Status.WARNING), (0o600, Status.OK)])
async def test_a_secret_that_others_can_read_is_told(look: Examine, tmp_path: Path, mode: int, status: Status) -> None:
    """A secret's file; the command that mends it can be copied."""
    (tmp_path / "secret").write_text("1234567890")
    (tmp_path / "secret").chmod(mode)
    options = '[regie.options]\nvads_site_id = "12345678"\nsecret_production = "file:secret"'
    checks = await look(f'{CLIENT}[[regie]]\ncode = "enfance"\n{options}')
    assert found(checks, "secrets").status is status
    assert ("chmod 600" in found(checks, "secrets").mend) == (status is Status.WARNING)


async def test_a_readable_configuration_with_a_secret_in_it_is_told(look: Examine, tmp_path: Path) -> None:
    """A literal secret makes the configuration itself a secret."""
    options = '[regie.options]\nvads_site_id = "12345678"\nsecret_production = "hunter2"'
    checks = await look(f'{CLIENT}[[regie]]\ncode = "enfance"\n{options}')
    assert str(tmp_path / "lettrage.toml") in found(checks, "secrets").what
    assert "hunter2" not in str(checks)


# The database


async def test_a_database_that_refuses_connections_is_told(look: Examine) -> None:
    """Without its password."""
    check = found(await look(DATABASE_URL=f"postgresql://u:hunter2@127.0.0.1:{free_port()}/d"), "database")
    assert check.status is Status.FAILED
    assert "start the server" in check.mend
    assert "hunter2" not in str(check)


async def test_a_database_that_is_not_configured_and_not_running_is_told(look: Examine) -> None:
    """It says how to start one."""
    checks = await look(DATABASE_URL="", REDIS_URL="")
    assert {"database", "redis"} <= broken(checks)
    assert "lettrage up" in found(checks, "database").mend


@pytest.mark.parametrize(
    ("change", "mend"),
    [
        ({"netloc": "lettrage:wrong@{host}"}, "password"),
        ({"path": "/nowhere"}, "CREATE DATABASE"),
        ({"netloc": "lettrage:x@nowhere.invalid"}, "host name"),
    ],
)
async def test_a_wrong_address_of_the_database_is_told(
    look: Examine, database_url: str, change: dict[str, str], mend: str
) -> None:
    """Which part of it is wrong."""
    host = urlsplit(database_url).netloc.rpartition("@")[2]
    wrong = urlsplit(database_url)._replace(**{part: text.format(host=host) for part, text in change.items()})
    check = found(await look(DATABASE_URL=wrong.geturl()), "database")
    assert check.status is Status.FAILED
    assert mend in check.mend


async def test_a_database_that_says_nothing_is_told(look: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall that drops, a server that hangs: the examination goes on."""
    monkeypatch.setattr(database, "CONNECT_SECONDS", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        checks = await look(DATABASE_URL=f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d")
    assert "firewall" in found(checks, "database").mend
    assert found(checks, "redis").status is Status.OK


async def test_a_schema_that_is_behind_is_told(look: Examine, empty_database_url: str) -> None:
    """Run `lettrage migrate`."""
    check = found(await look(DATABASE_URL=empty_database_url), "schema")
    assert check.status is Status.FAILED
    assert "lettrage migrate" in check.mend


async def test_a_schema_that_is_ahead_is_told(look: Examine, database_url: str) -> None:
    """An old version was deployed over one whose schema it cannot bear."""
    name, zeros = "9999_needs_9998_later", "0" * 64
    await execute(
        database_url,
        f"INSERT INTO schema_migrations (version, name, sha256) VALUES (9999, '{name}', '{zeros}')",
    )
    check = found(await look(), "schema")
    assert check.status is Status.FAILED
    assert name in check.what
    assert "newer" in check.mend


async def test_a_migration_that_was_changed_is_told(look: Examine, database_url: str) -> None:
    """The file is not what was applied."""
    await execute(database_url, f"UPDATE schema_migrations SET sha256 = '{'0' * 64}' WHERE version = 1")
    check = found(await look(), "schema")
    assert check.status is Status.FAILED
    assert "changed after it was applied" in check.what


TABLES = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public"
SEQUENCES = "GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA public"


@pytest.mark.parametrize(
    ("grants", "what"),
    [
        ("", "may not read the schema"),
        ("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}", "may not DELETE on adjustments"),
        (f"{TABLES} TO {{user}}", "may not SELECT on events_place_seq"),
        (f"{TABLES} TO {{user}}; {SEQUENCES} TO {{user}}", ""),
    ],
)
async def test_missing_permissions_are_told(look: Examine, database_url: str, grants: str, what: str) -> None:
    """A user who may connect and not work."""
    user = f"u{sha256(os.urandom(8)).hexdigest()[:12]}"
    await execute(database_url, f"CREATE ROLE {user} LOGIN PASSWORD 'p'; {grants.format(user=user)}")
    parts = urlsplit(database_url)
    theirs = parts._replace(netloc=f"{user}:p@{parts.netloc.rpartition('@')[2]}").geturl()
    try:
        check = found(await look(DATABASE_URL=theirs), "permissions")
    finally:
        await execute(database_url, f"DROP OWNED BY {user}; DROP ROLE {user}")
    assert check.status is (Status.FAILED if what else Status.OK)
    assert what in check.what


@pytest.mark.parametrize(
    ("setting", "name"),
    [("synchronous_commit = off", "durability"), ("default_transaction_read_only = on", "database_role")],
)
async def test_settings_of_the_database_that_break_promises_are_told(
    look: Examine, database_url: str, setting: str, name: str
) -> None:
    """Set for the database, as an administrator would."""
    await execute(database_url, f'ALTER DATABASE "{urlsplit(database_url).path[1:]}" SET {setting}')
    assert name in broken(await look())


RIGHT_SERVER = {
    "version": 180_000,
    "version_name": "18.0",
    "encoding": "UTF8",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum": "on",
    "read_only": "off",
    "is_replica": False,
    "max_connections": 100,
    "reserved_connections": 3,
    "used_connections": 10,
}


@pytest.mark.parametrize(
    ("change", "name", "status"),
    [
        ({}, None, None),
        ({"version": 140_011, "version_name": "14.11"}, "database_version", Status.FAILED),
        ({"encoding": "SQL_ASCII"}, "database_encoding", Status.FAILED),
        ({"fsync": "off"}, "durability", Status.FAILED),
        ({"full_page_writes": "off"}, "durability", Status.FAILED),
        ({"is_replica": True}, "database_role", Status.FAILED),
        ({"autovacuum": "off"}, "autovacuum", Status.WARNING),
        ({"max_connections": 20}, "connections", Status.WARNING),
        ({"used_connections": 96}, "connections", Status.WARNING),
    ],
)
def test_a_server_that_will_not_do_is_told(change: dict[str, Any], name: str | None, status: Status | None) -> None:
    """What no test can make of the server that it runs on."""
    row = RIGHT_SERVER | change
    checks = [*database.server(row), *database.durability(row), database.connections(row)]
    wrong = [(check.name, check.status) for check in checks if check.status is not Status.OK]
    assert wrong == ([] if name is None else [(name, status)])


@pytest.mark.parametrize(
    ("behind", "status"), [(0.0, Status.OK), (4.0, Status.OK), (6.0, Status.WARNING), (-6.0, Status.WARNING)]
)
def test_a_machine_whose_clock_is_wrong_is_told(behind: float, status: Status) -> None:
    """Both ways."""
    assert database.clock(behind).status is status
    assert ("behind" in database.clock(behind).what) == (behind > 5)


async def test_a_pooler_that_drops_settings_is_told(database_url: str) -> None:
    """A session without the settings that Lettrage asks for, as behind one."""
    async with connection(database_url) as plain:
        (check,) = await database.session(plain)
    assert check.status is Status.FAILED
    assert "statement_timeout" in check.what
    assert "pooler" in check.mend


# Redis


async def test_a_redis_that_is_gone_is_told(look: Examine) -> None:
    """And that nothing is lost meanwhile."""
    check = found(await look(REDIS_URL=f"redis://127.0.0.1:{free_port()}"), "redis")
    assert check.status is Status.FAILED
    assert "not lost" in check.mend


async def test_a_redis_with_another_password_is_told(look: Examine, redis_url: str) -> None:
    """Without showing either."""
    parts = urlsplit(redis_url)
    wrong = parts._replace(netloc=f":hunter2@{parts.netloc.rpartition('@')[2]}").geturl()
    check = found(await look(REDIS_URL=wrong), "redis")
    assert "password" in check.mend
    assert "hunter2" not in str(check)


async def test_something_else_behind_the_address_of_redis_is_told(look: Examine) -> None:
    """An HTTP server answers there."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        check = found(await look(REDIS_URL=f"redis://127.0.0.1:{port}"), "redis")
    assert check.status is Status.FAILED
    assert "something else" in check.mend


@pytest.fixture
def valkey(redis_url: str) -> Iterator["redis_client.Redis"]:
    """The session's Valkey; what a test configures is put back."""
    names = ("appendonly", "maxmemory", "maxmemory-policy")
    with redis_client.Redis.from_url(redis_url, decode_responses=True) as client:
        before = {name: client.config_get(name)[name] for name in names}
        yield client
        for name, value in before.items():
            client.config_set(name, value)


async def test_a_redis_that_forgets_is_a_warning(look: Examine, valkey: "redis_client.Redis") -> None:
    """It is only a bell: no AOF and eviction cost time."""
    valkey.config_set("appendonly", "no")
    valkey.config_set("maxmemory-policy", "allkeys-lru")
    valkey.config_set("maxmemory", "100mb")
    checks = await look()
    assert found(checks, "redis_persistence").status is Status.WARNING
    assert found(checks, "redis_memory").status is Status.WARNING
    assert broken(checks) == set()


async def test_another_program_in_our_redis_is_told(look: Examine, valkey: "redis_client.Redis") -> None:
    """It keeps something else where a queue should be."""
    valkey.set("lettrage:payment-started", "mine")
    assert found(await look(), "redis_keys").status is Status.FAILED


@pytest.mark.parametrize(
    ("info", "names"),
    [
        ({"redis_version": "7.2.4", "role": "master", "aof_enabled": 1}, set()),
        ({"redis_version": "5.0.14", "role": "master", "aof_enabled": 1}, {"redis_version"}),
        ({"redis_version": "7.2.4", "role": "slave", "aof_enabled": 1}, {"redis_role"}),
        ({"redis_version": "7.2.4", "role": "master", "aof_enabled": 1, "cluster_enabled": 1}, {"redis_role"}),
    ],
)
def test_a_redis_that_will_not_do_is_told(info: dict[str, Any], names: set[str]) -> None:
    """Too old, a replica, a cluster."""
    assert {check.name for check in redis.server(info) if check.status is not Status.OK} == names


# The work


async def test_processes_that_do_not_run_are_told(look: Examine, database_url: str) -> None:
    """None at first; then what is connected to the database under its name."""
    checks = await look()
    for name in ("web", "worker", "clock"):
        assert found(checks, f"{name}_process").status is Status.FAILED
        assert f"lettrage {name}" in found(checks, f"{name}_process").mend
    async with connection(database_url, "lettrage web"), connection(database_url, "lettrage clock"):
        checks = await look()
    assert found(checks, "web_process").status is Status.OK
    assert found(checks, "clock_process").status is Status.OK
    assert found(checks, "worker_process").status is Status.FAILED


async def test_a_worker_that_is_only_heard_in_redis_runs(look: Examine, valkey: "redis_client.Redis") -> None:
    """Its heartbeat of a moment ago counts, an old one does not."""
    seconds, _ = valkey.time()
    valkey.zadd("lettrage:__heartbeats__", {"old": (seconds - 60) * 1000})
    assert found(await look(), "worker_process").status is Status.FAILED
    valkey.zadd("lettrage:__heartbeats__", {"new": seconds * 1000})
    assert found(await look(), "worker_process").status is Status.OK


KNOWN_REGIE = """
INSERT INTO policies (regie, version, body) VALUES ('{code}', 1, '{{}}');
INSERT INTO regies (code, label, policy_version) VALUES ('{code}', 'R', 1);
"""
EVENT = """
INSERT INTO events (client, source, id, type, regie, time, received_at, data, digest)
VALUES ('portail', '/', '{id}', '{type}', 'enfance', clock_timestamp() - interval '{age}' - interval '{behind}',
        clock_timestamp() - interval '{age}', '{{}}', '');
"""
STARTED = "fr.lettrage.payment.started.v1"


async def test_overdue_holds_are_told(look: Examine, database_url: str) -> None:
    """A clock that does not run."""
    await execute(
        database_url,
        KNOWN_REGIE.format(code="enfance")
        + """
        INSERT INTO payments (regie, reference) VALUES ('enfance', 'P1');
        INSERT INTO holds (payment_id, payable_again_at)
        SELECT id, clock_timestamp() - interval '1 minute' FROM payments;
        """,
    )
    check = found(await look(), "holds")
    assert check.status is Status.FAILED
    assert "lettrage clock" in check.mend


@pytest.mark.parametrize(
    ("parked", "age", "name"), [("true", "1 second", "parked_events"), ("false", "2 minutes", "pending_events")]
)
async def test_events_that_nobody_applies_are_told(
    look: Examine, database_url: str, parked: str, age: str, name: str
) -> None:
    """Parked ones wait for a person; old ones say that no worker works."""
    await execute(
        database_url,
        EVENT.format(id="1", type=STARTED, age=age, behind="0 s")
        + f"""
        INSERT INTO pending (place, queue, type, regie, parked)
        SELECT place, 'payment-started', type, regie, {parked} FROM events
        """,
    )
    checks = await look()
    assert broken(checks) == {name}
    assert "lettrage" in found(checks, name).mend


@pytest.mark.parametrize(("age", "status"), [("1 minute", Status.OK), ("6 minutes", Status.WARNING)])
async def test_a_journal_that_nobody_seals_is_told(look: Examine, database_url: str, age: str, status: Status) -> None:
    """What was applied a while ago has no seal."""
    await execute(
        database_url,
        f"""
        INSERT INTO outcomes (place, outcome, reason, decided_at, policy_version)
        VALUES (1, 'applied', 'issued', clock_timestamp() - interval '{age}', 1)
        """,
    )
    check = found(await look(), "seals")
    assert check.status is status
    assert status is Status.OK or "journal-unsealed.md" in check.mend


@pytest.mark.parametrize(
    ("behind", "status", "what"),
    [
        ("1 s", Status.OK, "agrees"),
        ("2 minutes", Status.WARNING, "120 s back"),
        ("-10 minutes", Status.WARNING, "600 s ahead"),
    ],
)
async def test_a_client_whose_clock_is_wrong_is_told(
    look: Examine, database_url: str, behind: str, status: Status, what: str
) -> None:
    """In the median of its payments started today; older ones and other events say nothing."""
    events = [EVENT.format(id=str(n), type=STARTED, age="1 hour", behind=behind) for n in range(3)]
    events.append(EVENT.format(id="old", type=STARTED, age="2 days", behind="3 hours"))
    events.append(EVENT.format(id="other", type="fr.lettrage.invoice.issued.v1", age="1 hour", behind="9 hours"))
    await execute(database_url, "".join(events))
    check = found(await look(), "client_clocks")
    assert (check.status, what in check.what) == (status, True)


async def test_a_regie_that_left_the_configuration_is_told(look: Examine, database_url: str) -> None:
    """Its callbacks cannot be read any more."""
    await execute(database_url, KNOWN_REGIE.format(code="cantine"))
    assert any("cantine" in check.what for check in await look() if check.name == "regies")


PORTAL = """
[regie.portal]
url = "https://portail.example/lettrage"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""
UNTOLD = """
INSERT INTO outbox (regie, type, at, data)
VALUES ('enfance', 'invoice.paid', '2026-11-02 14:03Z', '{}'), ('enfance', 'invoice.paid', clock_timestamp(), '{}');
INSERT INTO deliveries (outbox_id, regie, subject, due_at) SELECT id, regie, 'invoice ' || id, at FROM outbox;
"""
REFUSED = """
UPDATE deliveries SET attempts = 1 WHERE outbox_id = (SELECT min(id) FROM outbox);
INSERT INTO delivery_attempts (outbox_id, at, outcome, status, error, milliseconds)
SELECT min(id), clock_timestamp() - interval '1 hour', 'timed_out', NULL, 'no answer within 15 s', 15000 FROM outbox;
INSERT INTO delivery_attempts (outbox_id, outcome, status, milliseconds) SELECT min(id), 'refused', 500, 9 FROM outbox;
"""
GONE = "INSERT INTO portals (regie, disabled_for) VALUES ('enfance', '{}');"
HERE = GONE.format(sha256(b"https://portail.example/lettrage").hexdigest())
MOVED = GONE.format(sha256(b"https://ancien.example/lettrage").hexdigest())
GIVEN_UP = UNTOLD + REFUSED + "UPDATE deliveries SET given_up = true WHERE attempts = 1;"
UNDER_WAY = "UPDATE deliveries SET attempts = 1, leased_until = clock_timestamp() + interval '20 s';"


@pytest.mark.parametrize(
    ("rows", "portal", "status", "whats", "mend"),
    [
        ("SELECT 1", PORTAL, Status.OK, ("0 are on their way",), ""),
        (UNTOLD + UNDER_WAY, PORTAL, Status.OK, ("2 are on their way",), ""),
        (UNTOLD, PORTAL, Status.FAILED, ("2 wait, the oldest since 2026-11-02 14:03 UTC", "nobody"), "lettrage worker"),
        (UNTOLD + REFUSED, PORTAL, Status.WARNING, ("2 wait", "2026-11-02", "refused 500"), "--state failing"),
        (UNTOLD + REFUSED + HERE, PORTAL, Status.FAILED, ("enfance", "410", "2 wait"), "resend --regie enfance"),
        (HERE, PORTAL, Status.FAILED, ("410", "none waits"), "notifications-given-up.md"),
        (MOVED, PORTAL, Status.OK, ("0 are on their way",), ""),
        (GIVEN_UP + UNDER_WAY, PORTAL, Status.WARNING, ("1 were given up", "refused 500"), "resend --regie enfance"),
        (UNTOLD, "", Status.WARNING, ("enfance has no [regie.portal] here", "2 wait, the oldest since 2026"), "back"),
        (UNTOLD.replace("enfance", "cantine"), PORTAL, Status.WARNING, ("cantine is not configured", "2 wait"), "back"),
    ],
)
async def test_a_portal_that_is_not_told_is_found(
    look: Examine, database_url: str, rows: str, portal: str, *, status: Status, whats: tuple[str, ...], mend: str
) -> None:
    """Gone, failing, given up, or nobody's: how much waits, since when, what it answered last, and what to do."""
    await execute(database_url, rows)
    check = found(await look(CLIENT + REGIE + portal), "notifications")
    assert check.status is status
    assert [what for what in whats if what not in check.what] == []
    assert mend in check.mend


def test_nothing_late_is_fine() -> None:
    """A second or two is the ordinary life of a queue."""
    assert work.overdue({"overdue": 3, "oldest_seconds": 1.0}).status is Status.OK
    checks = list(work.waiting({"waiting": 9, "oldest_seconds": 2.0, "parked": 0}))
    assert [check.status for check in checks] == [Status.OK]
    assert list(work.departed(["a"], Settings(regies={}))) != []


# The command


def test_the_command_prints_and_ends_as_scripts_need_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1 because something failed; for people each mend under its finding, for programs one document."""
    monkeypatch.chdir(tmp_path)
    environ = {"DATABASE_URL": "", "REDIS_URL": "", "LETTRAGE_CONFIG": "", "PORT": str(free_port())}
    people = CliRunner().invoke(main, ["doctor"], env=environ)
    assert people.exit_code == 1
    assert "FAILED   database: DATABASE_URL is not set" in people.stdout
    assert "-> start `lettrage up`" in people.stdout
    programs = CliRunner().invoke(main, ["doctor", "--json"], env=environ)
    assert programs.exit_code == 1
    document = json.loads(programs.stdout)
    assert document["ok"] is False
    assert {"name", "status", "what", "mend"} == document["checks"][0].keys()
    assert list(tmp_path.iterdir()) == []


# Gateways


@asynccontextmanager
async def payfip() -> AsyncIterator[str]:
    """A PayFiP that knows one régie; where its service is."""
    gateway = Gateway([], PayFiP([Regie("090909", ["Régie Enfance"])]), retry_seconds=1)
    runner = web.AppRunner(gateway.application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/tpa/services/securite"
    finally:
        await runner.cleanup()


def asked(numcli: str, address: str) -> str:
    """A régie of PayFiP."""
    return (
        f'{CLIENT}[[regie]]\ncode = "enfance"\ngateway = "payfip_ws"\n'
        f'[regie.options]\nnumcli = "{numcli}"\nservice_url = "{address}"\n'
    )


async def test_a_gateway_that_knows_the_regie_is_told_by_its_own_words(look: Examine) -> None:
    """PayFiP says whom it takes the client number for; nothing is paid."""
    async with payfip() as address:
        checks = await look(asked("090909", address))
    assert found(checks, "gateways").what == "enfance: payfip_ws answers: 090909 Régie Enfance"
    assert broken(checks) == set()


async def test_a_gateway_that_does_not_know_the_regie_is_found(look: Examine) -> None:
    """Another régie's number, or a wrong digit."""
    async with payfip() as address:
        checks = await look(asked("111111", address))
    assert broken(checks) == {"gateways"}
    assert "unauthorised (T2)" in found(checks, "gateways").what
    assert "[regie.options]" in found(checks, "gateways").mend


async def test_a_gateway_that_cannot_be_reached_is_found(look: Examine) -> None:
    """And the doctor goes on."""
    checks = await look(asked("090909", f"http://127.0.0.1:{free_port()}/"))
    assert broken(checks) == {"gateways"}
    assert "unreachable" in found(checks, "gateways").what
    assert found(checks, "schema").status is Status.OK


def test_a_gateway_s_clock_is_compared() -> None:
    """Minutes matter to signatures; seconds do not."""
    assert list(gateways._clock("enfance", 5.0)) == []
    assert list(gateways._clock("enfance", None)) == []
    (check,) = gateways._clock("enfance", -90.0)
    assert (check.name, check.status) == ("gateway_clocks", Status.WARNING)
