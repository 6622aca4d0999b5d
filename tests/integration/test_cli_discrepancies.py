"""`lettrage discrepancies` on a real database: what is listed, what is closed, what is asked, how it ends."""

# ruff: noqa: ANN401 (events are any JSON, and a work answers anything)

import asyncio
import getpass
import json
import threading
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner, Result

from tests.api import Composed, composed, event, issued, started
from tests.installation import CLIENT, REGIE, Installation
from tests.unit.web.test_cloudevents import accepted
from worker.cli import main


class Town:
    """An installation whose events are reconciled when the test says so."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.database_url = database_url
        self.installation = Installation(folder, DATABASE_URL=database_url, REDIS_URL="redis://127.0.0.1:1/0")
        self.installation.configure(CLIENT + REGIE)

    def tell(self, *events: Any) -> None:
        """Store events and apply them."""

        async def work(app: Composed) -> None:
            await app.store.record([accepted(each) for each in events])
            await app.reconcile()

        self.do(work)

    def do(self, work: Any) -> Any:
        """Do something with the application."""

        async def inside() -> Any:
            async with composed(self.database_url) as app:
                return await work(app)

        return asyncio.run(inside())

    def overpaid(self, number: str, cents: int = 5000) -> str:
        """The id of a discrepancy: more cash than the invoice's 42.50."""
        data = {"regie": "enfance", "number": number, "amount_cents": cents, "means": "cash"}
        self.tell(issued(number), event("invoice.settled", data, f"settled-{number}"))
        (found,) = self.listed("--invoice", number)
        return str(found["id"])

    def listed(self, *args: str) -> list[dict[str, Any]]:
        """What is listed for programs."""
        result = self.run("list", "--json", *args)
        assert result.exit_code == 0, result.stderr
        items: list[dict[str, Any]] = json.loads(result.stdout)["items"]
        return items

    def run(self, *args: str) -> Result:
        """Run a command within this process."""
        return self.installation.ask("discrepancies", *args)

    def resolve(self, *args: str, how: str = "explained", comment: str = "seen") -> Result:
        """Run `resolve` beside a worker."""
        with self.worker():
            return self.run("resolve", *args, "--as", how, "--comment", comment)

    def worker(self) -> "Worker":
        """A worker on this database, in a thread of its own."""
        return Worker(self)


class Worker(threading.Thread):
    """Reconciles until it is told to stop."""

    def __init__(self, town: Town) -> None:
        super().__init__(daemon=True)
        self._town = town
        self._stop_it = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop_it.set()
        self.join(30)

    def run(self) -> None:
        """Do a worker's work."""

        async def work(app: Composed) -> None:
            while not self._stop_it.is_set():
                await app.reconcile()
                await asyncio.sleep(0.05)

        self._town.do(work)


@pytest.fixture
def town(tmp_path: Path, database_url: str) -> Town:
    """Nothing runs, and there is no Redis."""
    return Town(tmp_path, database_url)


def test_both_sides_are_listed_for_people(town: Town) -> None:
    """What money says, what the books say, how old it is, what to do."""
    town.overpaid("F-2")
    shown = town.run("list", "--invoice", "F-2").stdout
    assert "overpaid, 7.50 EUR, open, " in shown
    assert "F-2 paid: 42.50 EUR, paid by settled_elsewhere" in shown
    assert "no payment is known" in shown
    assert "give the rest back" in shown


def test_a_payments_sides_are_its_money_and_its_invoices(town: Town) -> None:
    """For programs: both as objects."""
    callback = {"regie": "enfance", "method": "GET", "query": "transaction_id=P-1&ok=1&signed=1"}
    cash = {"regie": "enfance", "number": "F-1", "amount_cents": 4250, "means": "cash"}
    town.tell(issued(), started(), event("gateway.callback", callback, "c"), event("invoice.settled", cash, "s"))
    (double,) = town.listed("--payment", "P-1", "--kind", "double_payment")
    (money,), (books,) = double["money"], double["books"]
    assert money == {
        "reference": "P-1",
        "state": "paid",
        "amount_cents": 4250,
        "received_cents": 4250,
        "refunded_cents": 0,
    }
    assert books == {"number": "F-1", "state": "paid", "amount_cents": 4250, "paid_by": "settled_elsewhere"}
    assert (double["regie"], double["payment"], double["invoice"]) == ("enfance", "P-1", "F-1")
    assert "4250" not in town.run("list").stdout
    assert "P-1 paid: 42.50 EUR received of 42.50 EUR, 0.00 EUR given back" in town.run("list").stdout


def test_a_list_has_what_was_asked_for(town: Town) -> None:
    """Régie, kind, state, payment, invoice, age; oldest first, and told when there are more."""
    first, second = town.overpaid("F-1"), town.overpaid("F-2")
    assert [each["id"] for each in town.listed()] == [first, second]
    assert [each["id"] for each in town.listed("--limit", "1")] == [first]
    assert "There are more than 1" in town.run("list", "--limit", "1").stderr
    assert len(town.listed("--regie", "enfance", "--kind", "overpaid")) == 2
    for nothing in (
        ("--regie", "cantine"),
        ("--kind", "missing"),
        ("--state", "resolved"),
        ("--payment", "P-1"),
        ("--invoice", "F-3"),
        ("--older-than", "1h"),
    ):
        assert town.listed(*nothing) == []
    assert len(town.listed("--older-than", "0s", "--state", "all")) == 2


def test_one_is_closed_by_whoever_sits_there(town: Town) -> None:
    """Its user, or who is said; nothing is asked for one, and there need be no Redis."""
    first, second = town.overpaid("F-1"), town.overpaid("F-2")
    done = town.resolve(first)
    assert (done.exit_code, done.stdout.split()[:2]) == (0, ["resolved", first])
    assert town.resolve(second, "--by", "Régisseuse", how="written_off").exit_code == 0
    closed = town.listed("--state", "resolved")
    assert [(each["resolution"], each["resolved_by"], each["comment"]) for each in closed] == [
        ("explained", getpass.getuser(), "seen"),
        ("written_off", "Régisseuse", "seen"),
    ]
    assert "written_off by Régisseuse at " in town.run("list", "--state", "resolved").stdout
    assert town.listed() == []


def test_the_same_command_twice_counts_once(town: Town) -> None:
    """An avoir above all: the second time says the same."""
    key = town.overpaid("F-1")
    first, second = (town.resolve(key, "--json", how="credited") for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert json.loads(first.stdout) == json.loads(second.stdout)
    (result,) = json.loads(first.stdout)["results"]
    assert (result["status"], result["discrepancy"]["amount_cents"]) == ("resolved", 0)


def test_what_is_closed_is_a_conflict(town: Town) -> None:
    """Closed otherwise before: 4, with why; the other one is closed all the same."""
    first, second = town.overpaid("F-1"), town.overpaid("F-2")
    assert town.resolve(first).exit_code == 0
    done = town.resolve(first, second, "--yes", comment="other")
    assert done.exit_code == 4
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["refused", "resolved"]
    assert "it is not open" in done.stdout


def test_several_are_counted_and_asked_about(town: Town) -> None:
    """Without a yes nothing is closed; a dry run asks nothing and closes nothing."""
    ids = [town.overpaid("F-1"), town.overpaid("F-2")]
    asked = town.run("resolve", *ids, "--as", "explained", "--comment", "seen")
    assert (asked.exit_code, asked.stdout) == (1, "")
    assert "2 discrepancies, 15.00 EUR in all" in asked.stderr
    dry = town.run("resolve", *ids, "--as", "explained", "--comment", "seen", "--dry-run")
    assert (dry.exit_code, dry.stdout.count("would_resolve")) == (0, 2)
    assert len(town.listed()) == 2
    assert town.do(lambda app: app.events())[-1]["type"] == "fr.lettrage.invoice.settled.v1"
    assert town.resolve(*ids, "--yes").exit_code == 0
    assert town.listed() == []


def test_a_dry_run_says_what_would_be_refused(town: Town) -> None:
    """Nothing to give back: nothing to credit."""
    callback = {"regie": "enfance", "method": "GET", "query": "transaction_id=P-1&ok=1"}
    town.tell(issued(), started(), event("gateway.callback", callback, "c"))
    (shown,) = town.listed()
    done = town.run("resolve", shown["id"], "--as", "credited", "--comment", "seen", "--dry-run")
    assert done.exit_code == 4
    assert "nothing can be credited" in done.stdout


def test_an_unknown_one_closes_none(town: Town) -> None:
    """3, and the one that is there stays open."""
    key = town.overpaid("F-1")
    done = town.resolve(key, "0" * 32, "--yes")
    assert (done.exit_code, done.stdout) == (3, "")
    assert "0" * 32 in done.stderr
    assert len(town.listed()) == 1


def test_without_a_worker_it_waits(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """75: stored; the same command tells what became of it once somebody works."""
    monkeypatch.setattr("worker.commands.discrepancies.WAIT_SECONDS", 0.5)
    key = town.overpaid("F-1")
    waiting = town.run("resolve", key, "--as", "explained", "--comment", "seen")
    assert (waiting.exit_code, waiting.stdout.split()[0]) == (75, "waiting")
    town.tell()
    assert town.run("resolve", key, "--as", "explained", "--comment", "seen").exit_code == 0


@pytest.mark.parametrize(
    "args",
    [
        ("list", "--older-than", "soon"),
        ("list", "--state", "forgotten"),
        ("list", "--kind", "forgotten"),
        ("resolve", "--as", "explained", "--comment", "seen"),
        ("resolve", "a", "--comment", "seen"),
        ("resolve", "a", "--as", "explained"),
        ("resolve", "a", "--as", "forgotten", "--comment", "seen"),
        ("resolve", "a", "--as", "explained", "--comment", "  "),
        ("resolve", "a", "--as", "explained", "--comment", "x" * 501),
        ("resolve", "a", "--as", "explained", "--comment", "seen", "--by", ""),
    ],
)
def test_wrong_usage_is_2(args: tuple[str, ...]) -> None:
    """Before any database is looked for."""
    result = CliRunner().invoke(main, ["discrepancies", *args])
    assert (result.exit_code, result.stdout) == (2, "")
