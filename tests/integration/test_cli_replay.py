"""`lettrage events replay` on a real database: what is shown, asked and kept, how it ends; a kill ends nothing."""

# ruff: noqa: ANN401 (events are any JSON)

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.api import issued
from tests.installation import until
from tests.integration.test_cli_discrepancies import Town

WHY = ("--comment", "a row was edited by hand")


@pytest.fixture
def town(tmp_path: Path, database_url: str) -> Town:
    """A paid-up town whose only invoice was edited by hand."""
    found = Town(tmp_path, database_url)
    found.tell(issued("F-1"))
    sql(found, "UPDATE invoices SET state = 'withdrawn', withdrawn = true, reason = 'x'")
    return found


def sql(town: Town, statement: str) -> list[Any]:
    """What a statement answers."""

    async def work(app: Any) -> list[Any]:
        return [tuple(row) for row in await app.pool.fetch(statement)]

    found: list[Any] = town.do(work)
    return found


def replay(town: Town, *args: str) -> Any:
    """Run the command within this process."""
    return town.installation.ask("events", "replay", *args)


def test_a_dry_run_shows_what_would_change(town: Town) -> None:
    """Each invoice, from what, to what, why; nothing changes and nothing is asked."""
    result = replay(town, "--dry-run")
    assert result.exit_code == 0
    assert "invoice F-1  withdrawn  payable  issued" in result.stdout
    assert "would change" in result.stdout
    assert sql(town, "SELECT state FROM invoices") == [("withdrawn",)]
    said = json.loads(replay(town, "--dry-run", "--json", "issued-F-1").stdout)
    assert (said["matched"], said["changed"], said["changes"][0]["to"]) == (1, 1, "payable")


def test_it_is_asked_about_and_then_done(town: Town) -> None:
    """The count is said; no is no; `--yes` answers. Who and why are kept."""
    asked = replay(town, *WHY)
    assert (asked.exit_code, "1 events are to be replayed" in asked.stderr) == (1, True)
    assert sql(town, "SELECT state FROM invoices") == [("withdrawn",)]
    done = replay(town, *WHY, "--yes", "--by", "the régisseur", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["changed"] == 1
    assert sql(town, "SELECT state FROM invoices") == [("payable",)]
    kept = "SELECT client, comment FROM replays WHERE NOT dry_run"
    assert sql(town, kept) == [("the régisseur", WHY[1])]
    assert json.loads(replay(town, *WHY, "--yes", "--json").stdout)["changed"] == 0


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--comment", " "),
        ("--dry-run", "--since", "2026-11-23T08:30:00"),
        ("--dry-run", "--until", "soon"),
        ("--dry-run", "--until", "0001-01-01T00:00:00+01:00"),
        ("--dry-run", "--type", "payment.begun"),
        ("--dry-run", "--outcome", "parked"),
        ("--dry-run", "--regie", "É"),
        ("--dry-run", "a\0b"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(town: Town, args: tuple[str, ...]) -> None:
    """Exit code 2, and no replay is kept."""
    assert replay(town, *args).exit_code == 2
    assert sql(town, "SELECT count(*) FROM replays") == [(0,)]


def test_options_choose_events(town: Town) -> None:
    """By time, régie, type, outcome, and parked."""
    for args, matched in (
        (("--since", "2020-01-01", "--regie", "enfance", "--type", "invoice.issued", "--outcome", "applied"), 1),
        (("--until", "2020-01-01T00:00:00Z"), 0),
        (("--regie", "cantine"), 0),
        (("--outcome", "refused"), 0),
        (("--parked",), 0),
    ):
        said = json.loads(replay(town, *args, "--dry-run", "--json").stdout)
        assert said["matched"] == matched, args


def test_a_killed_command_leaves_its_replay_to_a_clock(town: Town) -> None:
    """`kill -9` before its first batch; `lettrage clock` takes it over."""
    sql(
        town, "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'"
    )
    sql(town, "CREATE TRIGGER slow BEFORE UPDATE ON invoices FOR EACH STATEMENT EXECUTE FUNCTION slow()")
    command = town.installation.start("events", "replay", *WHY, "--yes")
    until(lambda: sql(town, "SELECT count(*) FROM replays WHERE state = 'running'") == [(1,)])
    command.send_signal(signal.SIGKILL)
    command.wait()
    sql(
        town, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lettrage events replay'"
    )
    sql(town, "DROP TRIGGER slow ON invoices")
    sql(town, "UPDATE replays SET leased_until = now()")
    clock = town.installation.start("clock")
    try:
        until(lambda: sql(town, "SELECT state, changed FROM replays") == [("done", 1)])
    finally:
        clock.send_signal(signal.SIGTERM)
        clock.wait()
    assert sql(town, "SELECT state FROM invoices") == [("payable",)]
