"""Query plans on big tables: what is read grows with what is asked for, never with what is stored.

Plans are taken as the processes take them (their connection settings), and executed: what counts is how many rows and
pages were touched. 100,000 payments here; a million of each, with ten million events, by `make nightly`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any

import asyncpg
import pytest

from tests.conftest import database
from tests.integration.worlds import POLICY, REGIE
from worker.doctor import database as doctor
from worker.store import deliveries, gauges, postgres, replays, resolutions, retention
from worker.store import views as reading
from worker.store.gauges import Gauges
from worker.store.postgres import PostgresStore
from worker.store.rows import json_text, numbers
from worker.store.views import Views

SMALL = 100_000
BIG = 1_000_000
BATCH = 1_000
LEASE = timedelta(seconds=2)
DUE = 500
"""Holds that are over."""
WAITING = 5_000
"""Events that wait, of each kind."""

FILL = """
INSERT INTO events (client, source, id, type, regie, data, digest, received_at)
SELECT 'portail', '/portail', n::text,
    'fr.lettrage.' || CASE WHEN n % 10 = 0 THEN 'gateway.callback' ELSE 'payment.started' END || '.v1',
    'enfance', '{}', 'x', now() - n * interval '1 millisecond'
FROM generate_series(1, $1::int) AS n;
INSERT INTO invoices (regie, number, account, issued_cents, amount_cents, state, version, reason, paid_at, issued_on)
SELECT 'enfance', 'F' || n, 'A' || n % ($1::int / 10), 900, 900,
    CASE WHEN n % 10 = 0 THEN 'payable' WHEN n % 10 = 1 THEN 'in_payment' ELSE 'paid' END, 1, 'x',
    CASE WHEN n % 10 > 1 THEN now() END, current_date
FROM generate_series(1, $1::int) AS n;
INSERT INTO payments (
    regie, reference, state, reason, amount_cents, start_time, start_place, deadline, hold_limit, payable_again_at,
    hold_over, received_cents, settled_at, latest_reference
)
SELECT 'enfance', 'P' || n, CASE WHEN n % 10 = 1 THEN 'started' ELSE 'paid' END, 'x', 900, now(), n, t.at, t.at, t.at,
    n % 10 <> 1, CASE WHEN n % 10 = 1 THEN 0 ELSE 900 END, CASE WHEN n % 10 = 1 THEN NULL ELSE now() END, 'P' || n
FROM generate_series(1, $1::int) AS n,
LATERAL (
    SELECT now() + CASE WHEN n <= 10 * $2::int THEN -interval '1 second' ELSE interval '20 minutes' END AS at
) AS t;
INSERT INTO payment_lines (payment_id, invoice_id, cents, held)
SELECT n, n, 900, n % 10 = 1 FROM generate_series(1, $1::int) AS n;
INSERT INTO gateway_references (regie, gateway_reference, payment_id)
SELECT 'enfance', 'P' || n, n FROM generate_series(1, $1::int) AS n;
INSERT INTO charges (gateway_reference_id, transaction_id, result, cents, received_at, place)
SELECT n, 't', 'P', 900, now(), n FROM generate_series(1, $1::int) AS n WHERE n % 10 <> 1;
INSERT INTO adjustments (kind, fact_id, cents, place, payment_id)
SELECT 'refunded', 'f', 100, n, n FROM generate_series(1, $1::int, 20) AS n;
INSERT INTO discrepancies (id, regie, kind, amount_cents, state, opened_at, changed_at, payment_id, payment, detail)
SELECT md5(n::text), 'enfance', 'missing', 100, CASE WHEN n % 200 = 1 THEN 'open' ELSE 'closed' END,
    now() - n * interval '1 second', now(), n, 'P' || n, '{}'
FROM generate_series(1, $1::int, 20) AS n;
INSERT INTO journal (place, regie, invoice_id, payment_id, at, before, after, reason)
SELECT n, 'enfance', n, NULL, now(), 'payable', 'in_payment', 'x' FROM generate_series(1, $1::int) AS n;
INSERT INTO outcomes (place, outcome, reason, decided_at, policy_version)
SELECT n, 'applied', 'x', now(), 1 FROM generate_series(1, $1::int) AS n WHERE n > 2 * $3::int;
INSERT INTO holds (payment_id, payable_again_at)
SELECT id, payable_again_at FROM payments WHERE NOT hold_over;
INSERT INTO asks (gateway_reference_id, regie, gateway_reference, called_at, due_at)
SELECT id, 'enfance', gateway_reference, now(), CASE WHEN id % 10 <> 0 THEN now() + interval '1 hour' END
FROM gateway_references;
INSERT INTO outbox (place, regie, type, at, data)
SELECT n, 'enfance', 'invoice.paid', now() - interval '1 day', jsonb_build_object('payment', 'P' || n)
FROM generate_series(1, $1::int) AS n;
INSERT INTO deliveries (outbox_id, regie, subject, due_at)
SELECT id, 'enfance', 'invoice ' || id, now() + CASE WHEN id % 1000 = 0 THEN -1 ELSE 1 END * interval '1 hour'
FROM outbox WHERE id % 10 = 0;
INSERT INTO delivery_attempts (outbox_id, outcome, status, milliseconds)
SELECT id, 'delivered', 204, 5 FROM outbox WHERE id % 10 <> 0;
INSERT INTO pending (place, queue, type, regie, subject)
SELECT n, CASE WHEN n % 2 = 0 THEN 'payment-started' ELSE 'gateway-callback' END,
    CASE WHEN n % 2 = 0 THEN 'fr.lettrage.payment.started.v1' ELSE 'fr.lettrage.gateway.callback.v1' END,
    'enfance', CASE WHEN n % 2 = 1 THEN 'P' || 10 * n + 1 END
FROM generate_series(1, 2 * $3::int) AS n;
"""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(SMALL, id="100k"),
        pytest.param(BIG, id="1M", marks=[pytest.mark.nightly, pytest.mark.timeout(900)]),
    ],
)
def filled(request: pytest.FixtureRequest, postgres: str, template: str) -> Iterator[tuple[str, int]]:
    """The address of a database with that many payments, and how many."""
    with database(postgres, template) as address:
        asyncio.run(_fill(address, request.param))
        yield address, request.param


async def _fill(address: str, size: int) -> None:
    store = await PostgresStore.open(address)
    await store.sync_policies({REGIE: POLICY})
    async with store.pool.acquire() as connection:
        await connection.execute("SET statement_timeout = 0", timeout=600)
        await connection.execute("SET plan_cache_mode = auto")  # else each row's foreign keys are planned anew
        for statement in FILL.split(";")[:-1]:
            await connection.execute(_sized(statement, size), timeout=600)
        await connection.execute("ANALYZE", timeout=600)
    await store.close()


def _sized(statement: str, size: int) -> str:
    """The statement with its numbers."""
    numbers = {"$1::int": size, "$2::int": DUE, "$3::int": WAITING}
    for name, number in numbers.items():
        statement = statement.replace(name, str(number))
    return statement


class Plan:
    """An executed plan: what it touched."""

    def __init__(self, explained: Any) -> None:  # noqa: ANN401 (EXPLAIN's JSON)
        self.root = explained["Plan"]
        self.nodes = list(_nodes(self.root))
        self.text = "\n".join(map(_line, self.nodes))

    @property
    def scanned(self) -> set[str]:
        """Tables that were read from end to end."""
        return {node["Relation Name"] for node in self.nodes if node["Node Type"] == "Seq Scan"}

    @property
    def indexes(self) -> set[str]:
        """Indexes that were used."""
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def pages(self) -> int:
        """Pages of 8 KiB that were looked at."""
        return int(self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"])


def _line(node: Any) -> str:  # noqa: ANN401 (EXPLAIN's JSON)
    about = [node.get(key) for key in ("Relation Name", "Index Name", "CTE Name") if key in node]
    pages = node["Shared Hit Blocks"] + node["Shared Read Blocks"]
    return f"{node['Node Type']} {about}: {node['Actual Rows']} rows, {node['Actual Loops']} times, {pages} pages"


def _nodes(node: Any) -> Iterator[Any]:  # noqa: ANN401 (EXPLAIN's JSON)
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


class Explainer:
    """Runs a query as a process would, rolls it back, and shows how it went."""

    def __init__(self, pool: "asyncpg.Pool[Any]", size: int) -> None:
        self._pool = pool
        self.size = size

    async def __call__(self, query: str, *arguments: object) -> Plan:
        """Explain, executed."""
        async with self._undone() as connection:
            found = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", *arguments)
        return Plan(json.loads(found)[0])

    async def kept(self, query: str, *arguments: str) -> Plan:
        """Explain the plan that is made once, without looking at the arguments, as transactions do once they lock."""
        given = ", ".join(f"'{argument}'" for argument in arguments)
        async with self._undone() as connection:
            await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            await connection.execute(f"PREPARE asked AS {query}")
            found = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE asked ({given})")
            await connection.execute("DEALLOCATE asked")
        return Plan(json.loads(found)[0])

    @asynccontextmanager
    async def _undone(self) -> AsyncIterator[Any]:
        async with self._pool.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            finally:
                await transaction.rollback()


@pytest.fixture
async def explain(filled: tuple[str, int]) -> AsyncIterator[Explainer]:
    """Plans of the reconciler's connections."""
    store = await PostgresStore.open(filled[0])
    yield Explainer(store.pool, filled[1])
    await store.close()


@pytest.fixture
async def explain_view(filled: tuple[str, int]) -> AsyncIterator[Explainer]:
    """Plans of the connections that read for the API."""
    views = await Views.open(filled[0])
    yield Explainer(views._pool, filled[1])
    await views.close()


SMALL_TABLES = {"regies", "policies"}


def assert_looked_up(plan: Plan, most_pages: int, *indexes: str) -> None:
    """By these indexes, touching no more than so many pages."""
    assert plan.scanned <= SMALL_TABLES, plan.text
    assert set(indexes) <= plan.indexes, plan.text
    assert plan.pages <= most_pages, f"{plan.pages} pages\n{plan.text}"


def names(prefix: str, size: int, *, count: int = BATCH) -> tuple[list[str], list[str]]:
    """Régies and names of so many rows, spread over all of them."""
    return [REGIE] * count, [f"{prefix}{1 + n * (size // count)}" for n in range(count)]


def ids(size: int, *, count: int = BATCH) -> list[int]:
    """As many ids, spread over all."""
    return [1 + n * (size // count) for n in range(count)]


PAGES_A_ROW = 8
"""Down an index, its leaf and the row: what looking one row up may touch; twice that where two are."""


@pytest.mark.parametrize(
    ("query", "index"), [("claim_facts", "pending_facts"), ("claim_callbacks", "pending_callbacks")]
)
async def test_a_claim_reads_what_it_leases(explain: Explainer, query: str, index: str) -> None:
    """A batch's worth of rows from the head of what waits."""
    plan = await explain(getattr(postgres.QUERIES, query), BATCH, LEASE)
    assert_looked_up(plan, 40 * BATCH, index, "events_pkey")


async def test_a_claim_of_one_costs_the_same_whatever_waits(explain: Explainer) -> None:
    """A handful of pages."""
    plan = await explain(postgres.QUERIES.claim_facts, 1, LEASE)
    assert_looked_up(plan, 60, "pending_facts", "events_pkey")


async def test_evidence_is_found_from_the_holds_that_are_over(explain: Explainer) -> None:
    """Not from all that waits, and not from all holds."""
    plan = await explain(postgres.QUERIES.claim_evidence, BATCH, LEASE)
    assert_looked_up(plan, 40 * DUE, "holds_due", "gateway_references_payment", "pending_subject")


async def test_taking_looks_each_place_up(explain: Explainer) -> None:
    """By the primary key of what waits."""
    plan = await explain(postgres.QUERIES.take, numbers(range(1, BATCH + 1)))
    assert_looked_up(plan, 2 * PAGES_A_ROW * BATCH, "pending_pkey")


async def test_due_holds_are_found_by_their_end(explain: Explainer) -> None:
    """Those that are over, and their evidence by its subject."""
    plan = await explain(postgres.QUERIES.due_holds, BATCH, None, 0, 1)
    assert_looked_up(plan, 40 * DUE, "holds_due", "payments_pkey")


@pytest.mark.parametrize("query", ["next_deadline"])
async def test_an_idle_poll_touches_a_few_pages(explain: Explainer, query: str) -> None:
    """The clock asks all the time."""
    assert_looked_up(await explain(getattr(postgres.QUERIES, query)), 12, "holds_due")


async def test_the_mark_is_the_first_hold(explain: Explainer) -> None:
    """A few pages as well."""
    assert_looked_up(await explain(postgres.QUERIES.low_water_mark, LEASE), 12, "holds_due")


async def test_waiting_looks_at_the_head_of_what_waits(explain: Explainer) -> None:
    """A hundred of each kind at most."""
    plan = await explain(postgres.QUERIES.waiting, timedelta(0))
    assert_looked_up(plan, 2_000, "pending_facts", "pending_callbacks")


async def test_a_batch_is_saved_by_its_keys(explain: Explainer) -> None:
    """Invoices and payments of a batch, the lines and timers that they lose, by a plan that was kept."""
    saved = [{"id": key, "amount_cents": 900} for key in ids(explain.size)]
    released = [{"payment_id": key, "invoice_id": key} for key in ids(explain.size)]
    nothing = ["[]"] * 6
    plan = await explain.kept(
        postgres.QUERIES.save,
        "2026-11-23T12:00:00Z",
        *map(json_text, (saved, saved, released)),
        *("[]", "[]"),
        json_text(ids(explain.size)),
        json_text([{"id": key, "payment_id": key} for key in ids(explain.size)]),
        *nothing,
    )
    assert_looked_up(
        plan,
        40 * PAGES_A_ROW * BATCH,
        "invoices_pkey",
        "payments_pkey",
        "holds_pkey",
        "gateway_references_pkey",
    )


async def test_known_events_are_looked_up_by_their_key(explain: Explainer) -> None:
    """A batch sent again."""
    keys = [str(place) for place in ids(explain.size)]
    plan = await explain(postgres.QUERIES.known, ["portail"] * BATCH, ["/portail"] * BATCH, keys)
    assert_looked_up(plan, PAGES_A_ROW * BATCH, "events_client_source_id_key")


async def test_a_dossier_is_found_and_locked_by_its_names(explain: Explainer) -> None:
    """References, invoices and payments of a batch, and whoever else names these invoices."""
    named = [*names("P", explain.size), *names("F", explain.size), *names("P", explain.size)]
    plan = await explain(postgres.QUERIES.lock, *map(json_text, named), ["none"])
    assert_looked_up(
        plan,
        16 * PAGES_A_ROW * BATCH,
        "gateway_references_regie_gateway_reference_key",
        "invoices_regie_number_key",
        "payments_regie_reference_key",
        "payment_lines_invoice",
        "payment_lines_pkey",
        "gateway_references_pkey",
        "invoices_pkey",
        "payments_pkey",
    )


async def test_a_dossier_is_read_from_its_keys(explain: Explainer) -> None:
    """Lines, references, charges, adjustments and discrepancies of a batch, by a plan that was kept."""
    keys = numbers(ids(explain.size))
    plan = await explain.kept(postgres.QUERIES.read_dossiers, keys, keys, keys, "{none}", f"{{{REGIE}}}")
    assert_looked_up(
        plan,
        10 * PAGES_A_ROW * BATCH,
        "payment_lines_pkey",
        "payment_lines_invoice",
        "gateway_references_payment",
        "charges_pkey",
        "adjustments_payment",
        "discrepancies_payment",
    )


async def test_a_replay_finds_facts_by_what_they_name(explain: Explainer) -> None:
    """A batch's invoices, payments and references: their events, their outcomes, who changed them; not all events."""
    facts = await explain.kept(replays.QUERIES.facts, *map(json_text, names("P", explain.size)))
    assert_looked_up(facts, 2 * PAGES_A_ROW * BATCH, "events_subject")
    payers = await explain.kept(replays.QUERIES.payers_journalled, numbers(ids(explain.size)))
    assert_looked_up(payers, 2 * PAGES_A_ROW * BATCH, "journal_invoice")


OLD = datetime(2000, 1, 1, tzinfo=UTC)
TOMORROW = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("query", "index"), [("with_raw", "events_with_raw"), ("personal", "events_personal")])
async def test_what_is_to_be_blanked_is_found_by_its_age(explain: Explainer, query: str, index: str) -> None:
    """A batch of what is over, from where the last one ended; nothing at all, when nothing is."""
    found = await explain(getattr(retention.QUERIES, query), TOMORROW, OLD, 0, 100)
    assert_looked_up(found, 3_000, index)
    nothing = await explain(getattr(retention.QUERIES, query), OLD, OLD, 0, 100)
    assert_looked_up(nothing, 10, index)


async def test_a_dossier_that_is_to_be_blanked_is_found_by_what_it_names(explain: Explainer) -> None:
    """Its facts, and what waits for it, by their names."""
    named = tuple(map(json_text, names("P", explain.size, count=100)))
    facts = await explain(retention.QUERIES.facts, *named, numbers(ids(explain.size, count=100)))
    assert_looked_up(facts, 4 * PAGES_A_ROW * 100, "events_subject", "events_pkey", "outcomes_pkey")
    awaited = await explain(retention.QUERIES.awaited, *named)
    assert_looked_up(awaited, PAGES_A_ROW * 100, "pending_subject")


async def test_events_are_blanked_by_their_places(explain: Explainer) -> None:
    """A batch of rows, and the indexes that have them."""
    left = [{"place": place, "data": {}, "rest": "eA==", "blanking": 1} for place in ids(explain.size, count=100)]
    left = [each | {"rest": "A" * 43 + "="} for each in left]
    plan = await explain(retention.QUERIES.blank_events, json_text(left))
    assert_looked_up(plan, 8 * PAGES_A_ROW * 100, "events_pkey")


async def test_notifications_that_are_over_are_found_page_by_page(explain: Explainer) -> None:
    """From the oldest on; of calls about nobody, those that are over."""
    told = await explain(retention.QUERIES.told, 0, 500, TOMORROW, TOMORROW)
    assert_looked_up(told, 3_000, "outbox_pkey")
    unknown = await explain(retention.QUERIES.unknown_references, TOMORROW, 500)
    assert_looked_up(unknown, 3_000, "asks_unknown")


AT_ONCE = 4
"""Notifications that one claim takes for a portal."""


async def test_a_claim_of_notifications_costs_the_same_whatever_was_told(explain: Explainer) -> None:
    """What is due, each looked up with its event and the start of its payment: neither what was told nor what waits."""
    portal = [REGIE], ["x"]
    claimed = await explain(deliveries.QUERIES.claim_deliveries, *portal, [AT_ONCE], LEASE)
    indexes = ("deliveries_due", "deliveries_subject", "outbox_pkey", "events_pkey", "payments_regie_reference_key")
    assert_looked_up(claimed, 6 * PAGES_A_ROW * AT_ONCE, *indexes)
    assert claimed.root["Actual Rows"] == AT_ONCE
    waiting = await explain(deliveries.QUERIES.deliveries_waiting, *portal, timedelta(0))
    assert_looked_up(waiting, 30, "deliveries_due", "deliveries_subject")


async def test_an_idle_claim_of_notifications_touches_a_few_pages(explain: Explainer) -> None:
    """A portal whose notifications are all told, or put off, though others have many."""
    nothing = await explain(deliveries.QUERIES.claim_deliveries, ["cantine"], ["x"], [AT_ONCE], LEASE)
    assert_looked_up(nothing, 12, "deliveries_due")


async def test_the_ends_of_attempts_are_kept_by_their_keys(explain: Explainer) -> None:
    """Of what was told, and of what was not and is put off with what follows it."""
    some = [10 * key for key in ids(explain.size // 10, count=AT_ONCE)]
    ended = await explain(deliveries.QUERIES.end_deliveries, some)
    assert_looked_up(ended, 4 * PAGES_A_ROW * AT_ONCE, "deliveries_pkey", "deliveries_subject")
    again = await explain(deliveries.QUERIES.retry_deliveries, some, [1] * AT_ONCE, [5.0] * AT_ONCE, LEASE, 5)
    assert_looked_up(again, 4 * PAGES_A_ROW * AT_ONCE, "deliveries_pkey")
    followers = await explain(deliveries.QUERIES.put_off_followers, some)
    assert_looked_up(followers, 4 * PAGES_A_ROW * AT_ONCE, "deliveries_pkey", "deliveries_subject")


async def test_a_scrape_reads_what_is_not_delivered_alone(filled: tuple[str, int]) -> None:
    """Once, and of all that was ever told the oldest of each régie that waits; the doctor likewise."""
    read = await Gauges.open(filled[0])
    scraped = await Explainer(read._pool, filled[1])(gauges.QUERIES.undelivered)
    await read.close()
    assert scraped.scanned <= {"deliveries", "portals", *SMALL_TABLES}, scraped.text
    async with doctor.connected(filled[0]) as connection:
        explained = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {doctor.QUERIES.notifications}")
    told = Plan(json.loads(explained)[0])
    assert told.scanned <= {"deliveries", "portals"}, told.text
    for plan in (scraped, told):
        rows = [
            node["Actual Rows"] * node["Actual Loops"] for node in plan.nodes if node.get("Relation Name") == "outbox"
        ]
        assert rows == [1], plan.text


async def test_a_replay_reads_its_events_page_by_page(explain: Explainer) -> None:
    """From where it is on."""
    everything = (None,) * 6
    plan = await explain(replays.QUERIES.matched, explain.size // 2, explain.size, *everything, 500)
    assert_looked_up(plan, 6_000, "events_pkey", "outcomes_pkey")


# reading


@pytest.mark.parametrize("view", ["payable", "history", "direct_debit", None])
async def test_a_familys_invoices_are_found_by_its_account(explain_view: Explainer, view: str | None) -> None:
    """Whatever tab it looks at."""
    plan = await explain_view(reading.QUERIES.invoices, REGIE, "A7", view, None, 101, None)
    assert_looked_up(plan, 1_000, "invoices_account")


async def test_an_invoice_and_its_history_are_looked_up(explain_view: Explainer) -> None:
    """By number, and by the invoice's id in the journal."""
    invoice = await explain_view(reading.QUERIES.invoices, REGIE, None, None, None, 1, "F77")
    assert_looked_up(invoice, 60, "invoices_regie_number_key", "payment_lines_invoice")
    history = await explain_view(reading.QUERIES.invoice_history, 77)
    assert_looked_up(history, 60, "journal_invoice")


async def test_a_payment_is_looked_up(explain_view: Explainer) -> None:
    """By its reference, with its lines and references."""
    plan = await explain_view(reading.QUERIES.payment, REGIE, "P77")
    assert_looked_up(plan, 60, "payments_regie_reference_key", "gateway_references_payment", "payment_lines_pkey")


async def test_open_discrepancies_come_page_by_page(explain_view: Explainer) -> None:
    """A page costs a page, whatever was explained before."""
    plan = await explain_view(reading.QUERIES.discrepancies, REGIE, "open", None, None, 101)
    assert_looked_up(plan, 1_000, "discrepancies_open")


async def test_a_discrepancy_is_looked_up_with_both_its_sides(explain_view: Explainer) -> None:
    """By its id, and from there its payment, its invoices, and who resolved it."""
    key = md5(b"21", usedforsecurity=False).hexdigest()
    plan = await explain_view(resolutions.QUERIES.discrepancies, [key], *[None] * 6, 1)
    assert_looked_up(plan, 80, "discrepancies_pkey", "payments_pkey", "invoices_pkey")
    resolved = await explain_view(resolutions.QUERIES.resolutions, "lettrage", f"/discrepancies/{key}")
    assert_looked_up(resolved, 10, "events_client_source_id_key")


@pytest.mark.parametrize("view", ["payable", "history", None])
async def test_a_regies_newest_invoices_come_page_by_page(explain_view: Explainer, view: str | None) -> None:
    """From the newest on, until a page is full."""
    plan = await explain_view(reading.QUERIES.invoices, REGIE, None, view, None, 101, None)
    assert plan.pages <= 30_000, plan.text
    assert plan.scanned <= SMALL_TABLES


async def test_events_and_outcomes_are_looked_up(explain_view: Explainer) -> None:
    """By place; the newest come page by page."""
    event = await explain_view(reading.QUERIES.event, 77)
    assert_looked_up(event, 60, "events_pkey", "outcomes_pkey", "pending_pkey")
    outcome = await explain_view(reading.QUERIES.outcome, 77, "P77")
    assert_looked_up(
        outcome,
        60,
        "outcomes_pkey",
        "events_pkey",
        "gateway_references_regie_gateway_reference_key",
        "payments_pkey",
    )
    newest = await explain_view(reading.QUERIES.events, REGIE, None, None, 101)
    assert_looked_up(newest, 3_000, "events_pkey")


def test_what_is_big_here(filled: tuple[str, int]) -> None:
    """The tables are as big as they are said to be."""
    sizes: Sequence[Any] = asyncio.run(_sizes(filled[0]))
    assert {row["relname"]: row["reltuples"] for row in sizes} == {
        name: pytest.approx(filled[1], rel=0.05) for name in ("events", "invoices", "payments", "payment_lines")
    }


async def _sizes(address: str) -> Sequence[Any]:
    connection = await asyncpg.connect(address)
    try:
        found: Sequence[Any] = await connection.fetch(
            "SELECT relname, reltuples FROM pg_class"
            " WHERE relname IN ('events', 'invoices', 'payments', 'payment_lines')"
        )
    finally:
        await connection.close()
    return found


@pytest.mark.parametrize("view", ["payable", "history", "direct_debit", None])
async def test_a_small_regie_beside_a_big_one_reads_its_own(explain_view: Explainer, view: str | None) -> None:
    """A régie without invoices costs nothing, however many the others have."""
    plan = await explain_view(reading.QUERIES.invoices, "cantine", None, view, None, 101, None)
    assert_looked_up(plan, 200)
