"""`verify` on PostgreSQL: healthy books come out again to the cent, and whatever is changed behind them is named."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg
import pytest
from click.testing import Result

from schemas.decisions import Decision, Dossier
from schemas.events import Event, Queue
from schemas.records import Policy
from tests.conftest import database
from tests.installation import Installation
from tests.integration.books import ASKED, REGIE, Town, issued, keep_books, says, started, told
from worker.domain.decide import decide
from worker.store.migrate import MIGRATIONS
from worker.store.postgres import PostgresStore
from worker.verify import books as module
from worker.verify.books import proved, proved_books
from worker.verify.differences import HIDDEN
from worker.verify.hands import hands


@pytest.fixture(scope="module")
def healthy(postgres: str, template: str) -> Iterator[str]:
    """The address of a database with a bit of everything in it, to be looked at and copied."""
    with database(postgres, template) as address:
        asyncio.run(keep_books(address))
        yield address


@pytest.fixture
def copy(postgres: str, healthy: str) -> Iterator[str]:
    """The address of a copy, to be changed."""
    with database(postgres, urlsplit(healthy).path[1:]) as address:
        yield address


async def run(address: str, *statements: str) -> None:
    """Change the database as somebody could who may do anything: triggers and foreign keys are off."""
    connection = await asyncpg.connect(address)
    try:
        await connection.execute("SET session_replication_role = replica")
        for statement in statements:
            assert await connection.execute(statement) not in {"UPDATE 0", "DELETE 0", "INSERT 0 0"}, statement
    finally:
        await connection.close()


@asynccontextmanager
async def changed(address: str, statement: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A transaction in which the books are tampered with; it is never committed."""
    connection = await asyncpg.connect(address)
    try:
        await connection.execute("SET session_replication_role = replica; BEGIN")
        assert await connection.execute(statement) not in {"UPDATE 0", "DELETE 0", "INSERT 0 0"}
        yield connection
    finally:
        await connection.close()


async def fetched(address: str, query: str) -> list[Any]:
    """What a query finds."""
    connection = await asyncpg.connect(address)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


# Healthy books


async def test_healthy_books_are_all_right(healthy: str) -> None:
    """Late and double money, lies, doubts, resolutions, policies that changed: all comes out again, and is counted."""
    verdict = await proved_books(healthy)
    assert verdict.differences == []
    assert verdict.ok
    assert (verdict.unsealed, verdict.waiting) == (0, 2)
    for name, table in (("events", "outcomes"), ("invoices",) * 2, ("payments",) * 2, ("discrepancies",) * 2):
        ((count,),) = await fetched(healthy, f"SELECT count(*) FROM {table}")
        assert getattr(verdict, name) == count > 0
    ends = await fetched(
        healthy, "SELECT regie, length AS seals, encode(head, 'hex') AS head FROM chains ORDER BY regie"
    )
    assert [(end.regie, end.seals, end.head) for end in verdict.chains] == [tuple(end) for end in ends]
    assert max(end.seals for end in verdict.chains) >= 5


async def test_books_of_0_1_0_are_right_after_the_upgrade(copy: str) -> None:
    """It wrote the time of application as `paid_at`: the migration puts what paid in its place."""
    applied = "SELECT max(at) FROM journal WHERE invoice_id = invoices.id AND after = 'paid'"
    await run(copy, f"UPDATE invoices SET paid_at = ({applied}) WHERE state = 'paid'")
    assert {each.column for each in (await proved_books(copy)).differences} == {"paid_at"}
    await run(copy, (MIGRATIONS / "0007_paid_at.sql").read_text())
    assert (await proved_books(copy)).differences == []


async def test_what_happens_in_the_books(healthy: str) -> None:
    """The books that are tampered with here have every outcome, and nearly every kind of discrepancy, in them."""
    outcomes = await fetched(healthy, "SELECT DISTINCT outcome FROM outcomes")
    kinds = await fetched(healthy, "SELECT DISTINCT kind FROM discrepancies")
    assert len(outcomes) == 3
    assert len(kinds) >= 8


async def test_several_processes_come_to_the_same(copy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside each other, in one snapshot, and what one of them finds is told."""
    alone = await proved_books(copy)
    monkeypatch.setattr(module, "SMALL", 0)
    monkeypatch.setattr(module, "PORTION", 20)
    assert await proved_books(copy) == alone
    await run(copy, "UPDATE invoices SET amount_cents = amount_cents + 1 WHERE number = 'F-1'")
    assert [(found.row, found.column) for found in (await proved_books(copy)).differences] == [("F-1", "amount_cents")]


async def test_one_regie_is_verified_by_itself(copy: str) -> None:
    """What is wrong in another one is not its business."""
    await run(copy, f"UPDATE invoices SET amount_cents = 1 WHERE regie = '{ASKED}'")
    assert (await proved_books(copy, [REGIE])).ok
    assert not (await proved_books(copy, [ASKED])).ok


async def test_what_was_applied_since_the_last_seal_is_said(copy: str) -> None:
    """It is decided again all the same, and is no failure."""
    store = await PostgresStore.open(copy)
    try:
        await Town(store).happens(issued("T-1"), started("T-a", "T-1"), says("T-a"))
    finally:
        await store.close()
    verdict = await proved_books(copy)
    assert verdict.ok
    assert verdict.unsealed == 5  # one of them waited; the callback and its report are two


async def test_what_happens_meanwhile_is_not_seen(copy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is read in one snapshot: a worker at work makes no difference."""
    store = await PostgresStore.open(copy)
    town = Town(store)
    gather = module._Verification._gather

    async def gather_meanwhile(self: Any) -> None:  # noqa: ANN401
        await gather(self)
        await town.happens(says("P-19"), issued("T-2"))

    monkeypatch.setattr(module._Verification, "_gather", gather_meanwhile)
    try:
        assert (await proved_books(copy)).ok
    finally:
        await store.close()


async def test_a_dossier_larger_than_a_portion_is_decided_in_portions(
    copy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a portion ends, what one transaction decided is decided together."""
    monkeypatch.setattr("worker.verify.portion.PORTION", 2)
    monkeypatch.setattr("worker.verify.dossiers.PORTION", 1)
    assert (await proved_books(copy)).differences == []


async def test_nothing_is_locked_and_nothing_written(copy: str) -> None:
    """Works for a user who may only read, beside a table that is being changed."""
    await run(copy, "CREATE ROLE reader LOGIN PASSWORD 'x'", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    try:
        await run(copy, "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader")
        parts = urlsplit(copy)
        assert (await proved_books(parts._replace(netloc=f"reader:x@{parts.netloc.rpartition('@')[2]}").geturl())).ok
    finally:
        await run(copy, "DROP OWNED BY reader", "DROP ROLE reader")


async def test_what_looked_before_it_was_there_is_no_difference(copy: str) -> None:
    """A forged callback is decided while its payment is started: it saw none, and has the later number all the same.

    Two real transactions: the callback's has read and waits; the payment-started commits; the callback's goes on.
    """
    has_read, may_go_on = threading.Event(), threading.Event()

    def decide_slowly(dossier: Dossier, events: Sequence[Event], policy: Policy, now: datetime) -> Decision:
        has_read.set()
        assert may_go_on.wait(30)
        return decide(dossier, events, policy, now)

    async def lie() -> None:
        async with store_on(copy) as store:
            (callback,) = await store.claim(Queue.GATEWAY_CALLBACK, 10)
            town = Town(store)
            read = await town.reconciler._read([callback])
            await store.apply(read.events, decide_slowly, read.reports)

    async with store_on(copy) as store:
        await store.record([told(says("Z-a", forged="yes")), told(issued("Z-1"))])
        lying = asyncio.create_task(asyncio.to_thread(asyncio.run, lie()))
        await asyncio.to_thread(has_read.wait, 30)
        await store.record([told(started("Z-a", "Z-1"))])
        await Town(store).reconciler.drain(Queue.PAYMENT_STARTED)
        may_go_on.set()
        await lying
    applied = await fetched(
        copy,
        "SELECT type FROM outcomes JOIN events USING (place)"
        " WHERE 'Z-a' IN (data ->> 'reference', data ->> 'gateway_reference') ORDER BY applied_seq",
    )
    assert [row["type"].split(".")[3] for row in applied] == ["started", "report"]
    ((named,),) = await fetched(copy, "SELECT payment IS NOT NULL FROM discrepancies WHERE subject = 'Z-a'")
    assert not named
    assert (await proved_books(copy)).differences == []


@asynccontextmanager
async def store_on(address: str) -> AsyncIterator[PostgresStore]:
    """A store of a worker's own."""
    store = await PostgresStore.open(address)
    try:
        yield store
    finally:
        await store.close()


# Tampered books


class Tampering(NamedTuple):
    """What is changed, and what must be named: table, part of the row's name, column, or part of what is said."""

    name: str
    statement: str
    table: str
    row: str
    told: str


ONE_OF_F1 = "(SELECT min(j.id) FROM journal AS j JOIN invoices AS i ON i.id = j.invoice_id WHERE i.number = 'F-1')"
REPORT = "type = 'fr.lettrage.gateway.report.v1'"
CALLBACK = "(SELECT min(place) FROM events WHERE raw IS NOT NULL)"
LAST_SEAL = f"(SELECT max(number) FROM seals WHERE regie = '{REGIE}')"

TAMPERINGS = (
    Tampering(
        "a line's reason", f"UPDATE journal SET reason = 'x' WHERE id = {ONE_OF_F1}", "journal", "invoice", "reason"
    ),
    Tampering(
        "a line's state", f"UPDATE journal SET after = 'paid' WHERE id = {ONE_OF_F1}", "journal", "invoice", "after"
    ),
    Tampering(
        "a line's time",
        f"UPDATE journal SET at = at + interval '1 microsecond' WHERE id = {ONE_OF_F1}",
        "journal",
        "invoice",
        "at",
    ),
    Tampering("a line is gone", f"DELETE FROM journal WHERE id = {ONE_OF_F1}", "journal", "invoice", "is missing"),
    Tampering(
        "a line too many",
        "INSERT INTO journal (place, regie, invoice_id, at, before, after, reason)"
        " SELECT place, regie, invoice_id, at, after, before, reason FROM journal WHERE before = 'payable' LIMIT 1",
        "journal",
        "event",
        "is explained by no event",
    ),
    Tampering(
        "a line of no event",
        "INSERT INTO journal (place, regie, at, after, reason) VALUES (999999, 'enfance', now(), 'paid', 'x')",
        "journal",
        "event 999999",
        "its event is gone",
    ),
    Tampering(
        "a line has another number",
        f"UPDATE journal SET id = DEFAULT WHERE id = {ONE_OF_F1}",
        "outcomes",
        "event",
        "lines of the journal are not those of seal",
    ),
    Tampering(
        "an event's amount",
        """UPDATE events SET data = jsonb_set(data, '{amount_cents}', '901') WHERE data ->> 'number' = 'F-1'""",
        "events",
        "portail /portail",
        "data",
    ),
    Tampering(
        "an event's account",
        """UPDATE events SET data = jsonb_set(data, '{account}', '"x"') WHERE data ->> 'number' = 'F-1'""",
        "events",
        "portail /portail",
        "data",
    ),
    Tampering(
        "an event's amount shows in its invoice",
        """UPDATE events SET data = jsonb_set(data, '{amount_cents}', '901') WHERE data ->> 'number' = 'F-1'""",
        "invoices",
        "F-1",
        "issued_cents",
    ),
    Tampering(
        "a label, with its digest",
        "UPDATE events SET data = data || '{\"label\": \"x\"}', digest = sha256('x') WHERE data ->> 'number' = 'F-1'",
        "events",
        "",
        "digest are not those of seal",
    ),
    Tampering(
        "a byte of raw",
        f"UPDATE events SET raw = set_byte(raw, 3, get_byte(raw, 3) # 1) WHERE place = {CALLBACK}",
        "events",
        "",
        "raw bytes",
    ),
    Tampering("raw is gone", f"UPDATE events SET raw = NULL WHERE place = {CALLBACK}", "events", "", "raw bytes"),
    Tampering(
        "an event's client", f"UPDATE events SET client = 'x' WHERE place = {CALLBACK}", "events", "", "key, times, raw"
    ),
    Tampering(
        "when an event was received",
        f"UPDATE events SET received_at = received_at - interval '1 us' WHERE place = {CALLBACK}",
        "events",
        "",
        "key, times, raw",
    ),
    Tampering("an event is gone", f"DELETE FROM events WHERE place = {CALLBACK}", "events", "", "is gone"),
    Tampering("its outcome stays", f"DELETE FROM events WHERE place = {CALLBACK}", "outcomes", "", "its event is gone"),
    Tampering(
        "an event that waits",
        "UPDATE events SET data = data || '{\"amount_cents\": 1}' WHERE place = (SELECT min(place) FROM pending)",
        "events",
        "",
        "data",
    ),
    Tampering("an event waits no more", "DELETE FROM pending WHERE parked", "events", "", "neither waits nor"),
    Tampering("an outcome is gone", f"DELETE FROM outcomes WHERE place = {CALLBACK}", "events", "", "is gone"),
    Tampering(
        "an outcome's reason",
        f"UPDATE outcomes SET reason = 'x' WHERE place = {CALLBACK}",
        "outcomes",
        "event",
        "reason",
    ),
    Tampering(
        "the order of application",
        "UPDATE outcomes SET applied_seq = DEFAULT WHERE applied_seq = 1",
        "outcomes",
        "event",
        "are not those of seal",
    ),
    Tampering(
        "when it was decided",
        "UPDATE outcomes SET decided_at = decided_at + interval '1 us' WHERE applied_seq = 1",
        "outcomes",
        "event",
        "are not those of seal",
    ),
    Tampering(
        "a policy",
        """UPDATE policies SET body = jsonb_set(body, '{hold}', '1801') WHERE regie = 'enfance' AND version = 1""",
        "payments",
        "",
        "deadline",
    ),
    Tampering("a policy is gone", "DELETE FROM policies WHERE version = 3", "events", "", "cannot be decided again"),
    Tampering(
        "an invoice's cents",
        "UPDATE invoices SET amount_cents = 901 WHERE number = 'F-1'",
        "invoices",
        "F-1",
        "amount_cents",
    ),
    Tampering(
        "an invoice's state", "UPDATE invoices SET state = 'payable' WHERE number = 'F-1'", "invoices", "F-1", "state"
    ),
    Tampering(
        "an invoice's family", "UPDATE invoices SET account = 'Me' WHERE number = 'F-1'", "invoices", "F-1", "account"
    ),
    Tampering("an invoice's label", "UPDATE invoices SET label = 'x' WHERE number = 'F-1'", "invoices", "F-1", "label"),
    Tampering(
        "an invoice's version", "UPDATE invoices SET version = 99 WHERE number = 'F-1'", "invoices", "F-1", "version"
    ),
    Tampering(
        "when an invoice was seen",
        "UPDATE invoices SET first_seen_at = first_seen_at - interval '2 years' WHERE number = 'F-1'",
        "invoices",
        "F-1",
        "first_seen_at",
    ),
    Tampering("an invoice is gone", "DELETE FROM invoices WHERE number = 'F-1'", "invoices", "F-1", "is missing"),
    Tampering(
        "an invoice too many",
        "INSERT INTO invoices (regie, number) VALUES ('enfance', 'F-none')",
        "invoices",
        "F-none",
        "is explained by no event",
    ),
    Tampering(
        "a payment's cents",
        "UPDATE payments SET received_cents = received_cents + 1 WHERE reference = 'P-10'",
        "payments",
        "P-10",
        "received_cents",
    ),
    Tampering(
        "a payment's deadline",
        "UPDATE payments SET deadline = now() WHERE reference = 'P-10'",
        "payments",
        "P-10",
        "deadline",
    ),
    Tampering(
        "a payment is late", "UPDATE payments SET late = NOT late WHERE reference = 'L-a'", "payments", "L-a", "late"
    ),
    Tampering("a payment is gone", "DELETE FROM payments WHERE reference = 'P-10'", "payments", "P-10", "is missing"),
    Tampering(
        "a payment too many",
        "INSERT INTO payments (regie, reference) VALUES ('enfance', 'P-none')",
        "payments",
        "P-none",
        "is explained by no event",
    ),
    Tampering(
        "what a payment pays",
        "UPDATE payment_lines SET cents = 1 WHERE payment_id = (SELECT id FROM payments WHERE reference = 'P-10')",
        "payment_lines",
        "P-10, invoice F-10",
        "cents",
    ),
    Tampering(
        "a hold's end",
        "UPDATE holds SET payable_again_at = now() FROM payments WHERE id = payment_id AND reference = 'H-a'",
        "holds",
        "H-a",
        "payable_again_at",
    ),
    Tampering(
        "a hold is gone",
        "DELETE FROM holds WHERE payment_id = (SELECT id FROM payments WHERE reference = 'H-a')",
        "holds",
        "H-a",
        "is missing",
    ),
    Tampering(
        "a hold too many",
        "INSERT INTO holds SELECT id, now() FROM payments WHERE reference = 'D-a'",
        "holds",
        "D-a",
        "is explained by no event",
    ),
    Tampering(
        "a charge's owner",
        "UPDATE gateway_references SET payment_id = (SELECT id FROM payments WHERE reference = 'P-11')"
        " WHERE gateway_reference = 'P-10'",
        "gateway_references",
        "P-10",
        "payment_id",
    ),
    Tampering(
        "a charge's cents", "UPDATE charges SET cents = 1 WHERE transaction_id = 'third'", "charges", "third", "cents"
    ),
    Tampering(
        "a charge's result",
        "UPDATE charges SET result = 'R' WHERE transaction_id = 'third'",
        "charges",
        "third",
        "result",
    ),
    Tampering(
        "a charge is gone", "DELETE FROM charges WHERE transaction_id = 'third'", "charges", "third", "is missing"
    ),
    Tampering(
        "a charge of nobody",
        "WITH r AS (INSERT INTO gateway_references (regie, gateway_reference) SELECT 'enfance', 'G-none' RETURNING id)"
        " INSERT INTO charges SELECT id, 't', 'P', 1, now(), 1 FROM r",
        "gateway_references",
        "G-none",
        "is explained by no event",
    ),
    Tampering(
        "a refund's cents", "UPDATE adjustments SET cents = 1 WHERE fact_id = 'R-1'", "adjustments", "R-1", "cents"
    ),
    Tampering("a refund is gone", "DELETE FROM adjustments WHERE fact_id = 'R-1'", "adjustments", "R-1", "is missing"),
    Tampering(
        "a discrepancy's cents",
        "UPDATE discrepancies SET amount_cents = amount_cents + 1 WHERE kind = 'missing'",
        "discrepancies",
        "missing",
        "amount_cents",
    ),
    Tampering(
        "a discrepancy's state",
        "UPDATE discrepancies SET state = 'closed' WHERE id = (SELECT min(id) FROM discrepancies WHERE state = 'open')",
        "discrepancies",
        "",
        "state",
    ),
    Tampering(
        "a discrepancy's comment",
        "UPDATE discrepancies SET comment = 'x' WHERE kind = 'test_payment'",
        "discrepancies",
        "test_payment",
        "comment",
    ),
    Tampering(
        "a discrepancy is gone",
        "DELETE FROM discrepancies WHERE kind = 'missing'",
        "discrepancies",
        "missing",
        "is missing",
    ),
    Tampering(
        "a discrepancy too many",
        "INSERT INTO discrepancies (id, regie, kind, amount_cents, state, opened_at, changed_at)"
        " VALUES ('x', 'enfance', 'missing', 1, 'open', now(), now())",
        "discrepancies",
        "missing x",
        "is explained by no event",
    ),
    Tampering(
        "a seal's time",
        "UPDATE seals SET sealed_at = sealed_at + interval '1 us' WHERE number = 2",
        "seals",
        "2",
        "hash",
    ),
    Tampering(
        "a byte of a seal",
        "UPDATE seals SET events = set_byte(events, 0, get_byte(events, 0) # 1) WHERE number = 2",
        "seals",
        "2",
        "hash",
    ),
    Tampering(
        "the first of a seal's events",
        f"UPDATE seals SET places = places[2:] || places[1:1] WHERE regie = '{REGIE}' AND number = 1",
        "events",
        "",
        "are not those of seal 1",
    ),
    Tampering("a seal is gone", "DELETE FROM seals WHERE number = 2", "seals", "2", "is missing"),
    Tampering(
        "the last seal is gone",
        f"DELETE FROM seals WHERE regie = '{REGIE}' AND number = {LAST_SEAL}",
        "seals",
        "",
        "is missing at the end",
    ),
    Tampering("where a chain ends", f"DELETE FROM chains WHERE regie = '{ASKED}'", "chains", ASKED, "is missing"),
    Tampering("a chain's head", "UPDATE chains SET head = sha256('x')", "chains", "", "head"),
    Tampering(
        "two lines change places",
        "UPDATE journal AS j SET reason = o.reason, after = o.after, before = o.before, at = o.at, place = o.place,"
        " invoice_id = o.invoice_id, payment_id = o.payment_id FROM journal AS o"
        " WHERE (j.id, o.id) IN (SELECT a, b FROM (SELECT min(id) AS a, max(id) AS b FROM journal) AS s"
        " UNION SELECT b, a FROM (SELECT min(id) AS a, max(id) AS b FROM journal) AS s)",
        "outcomes",
        "event",
        "lines of the journal are not those of seal",
    ),
    Tampering(
        "two seals change places",
        "UPDATE seals AS s SET places = o.places, events = o.events, applications = o.applications, hash = o.hash"
        " FROM seals AS o WHERE s.regie = 'enfance' AND o.regie = s.regie AND (s.number, o.number) IN ((1, 2), (2, 1))",
        "seals",
        "1",
        "hash",
    ),
    Tampering(
        "two events change their contents",
        "UPDATE events AS e SET data = o.data, digest = o.digest FROM events AS o"
        " WHERE (e.data ->> 'number', o.data ->> 'number') IN (('F-1', 'F-2'), ('F-2', 'F-1'))",
        "events",
        "",
        "digest are not those of seal",
    ),
)


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=[tampering.name for tampering in TAMPERINGS])
async def test_what_is_changed_is_named(healthy: str, tampering: Tampering) -> None:
    """To the table, the row and the column, or with what is wrong."""
    async with changed(healthy, tampering.statement) as connection, hands(connection, healthy, 1) as alone:
        verdict = await proved(connection, alone)
    assert not verdict.ok
    assert verdict.found == len(verdict.differences)
    told = [(found.table, found.row, f"{found.column} {found.what}") for found in verdict.differences]
    assert any(
        table == tampering.table and tampering.row in row and tampering.told in what for table, row, what in told
    ), told


async def test_cents_are_told_and_names_are_not(copy: str) -> None:
    """What is stored and what it should be; of what is personal, only that it differs."""
    await run(copy, "UPDATE invoices SET issued_cents = 901, account = 'Dupont' WHERE number = 'F-1'")
    found = {each.column: (each.stored, each.expected) for each in (await proved_books(copy)).differences}
    assert found == {"issued_cents": (901, 900), "account": (HIDDEN, HIDDEN)}


async def test_a_thousand_differences_are_told_and_the_rest_counted(copy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is wholly wrong does not fill the memory."""
    monkeypatch.setattr(module, "KEPT", 3)
    await run(copy, "UPDATE invoices SET version = version + 1")
    verdict = await proved_books(copy)
    assert (len(verdict.differences), verdict.found) == (3, verdict.invoices)


# The command


def ask(folder: Path, address: str, *args: str) -> Result:
    """Run the command on a database."""
    return Installation(folder, DATABASE_URL=address, REDIS_URL="").ask("verify", *args)


def test_all_right_is_told_and_ends_with_0(tmp_path: Path, healthy: str) -> None:
    """What was looked at, and the head of each chain: to be kept elsewhere."""
    told = ask(tmp_path, healthy)
    assert (told.exit_code, told.stderr) == (0, "All right.\n")
    shown = json.loads(ask(tmp_path, healthy, "--json").stdout)
    assert shown["ok"]
    assert shown["differences"] == []
    for end in shown["chains"]:
        assert end["head"] in told.stdout
    (only,) = json.loads(ask(tmp_path, healthy, "--json", "--regie", ASKED).stdout)["chains"]
    assert only["regie"] == ASKED


def test_differences_are_told_and_end_with_1(tmp_path: Path, copy: str) -> None:
    """In columns for people, in one document for programs."""
    asyncio.run(run(copy, "UPDATE invoices SET issued_cents = 901 WHERE number = 'F-1'"))
    told = ask(tmp_path, copy)
    assert told.exit_code == 1
    assert "1 differences" in told.stderr
    (line,) = [line for line in told.stdout.splitlines() if "issued_cents" in line]
    assert line.split()[:7] == ["enfance", "invoices", "F-1", "issued_cents", "901", "900", "differs"]
    shown = json.loads(ask(tmp_path, copy, "--json").stdout)
    expected = {"regie": "enfance", "table": "invoices", "row": "F-1", "column": "issued_cents", "what": "differs"}
    assert (shown["ok"], shown["differences"]) == (False, [expected | {"stored": 901, "expected": 900}])


def test_a_regie_that_never_was_is_not_all_right(tmp_path: Path, healthy: str) -> None:
    """Exit 3: a code that is misspelt must not be taken for books that are in order."""
    told = ask(tmp_path, healthy, "--regie", REGIE, "--regie", "enfnace")
    assert told.exit_code == 3
    assert "enfnace" in told.stderr


def test_a_database_without_schema_or_server_is_told(tmp_path: Path, empty_database_url: str) -> None:
    """Exit 75: it may work later."""
    assert "lettrage migrate" in ask(tmp_path, empty_database_url).stderr
    nowhere = ask(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    assert nowhere.exit_code == 75
    assert "does not answer" in nowhere.stderr
