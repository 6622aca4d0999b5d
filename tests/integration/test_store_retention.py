"""Retention on PostgreSQL: nothing personal is left anywhere, every fact is, and whoever blanks by hand is found.

`Retention(months=0, …)`: what is over by now is over; periods of months are tried with events that an archive kept.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg
import pytest

from monitoring.metrics import ERASED
from schemas.events import (
    DiscrepancyResolved,
    EventType,
    GatewayCallback,
    InvoiceIssued,
    InvoiceWithdrawn,
    NewEvent,
    PaymentRefunded,
    PaymentStarted,
    Queue,
    StartedLine,
    digest_of,
)
from schemas.records import Retention
from schemas.replays import Filter
from schemas.reports import ReportResult
from tests.api import settings
from tests.conftest import database
from tests.installation import Installation
from tests.integration.books import (
    ASKED,
    POLICIES,
    REGIE,
    Town,
    claims,
    issued,
    keep_books,
    says,
    sealed,
    settled,
    started,
    told,
)
from worker.app import App
from worker.domain.retention import Kept, facts_digest
from worker.store import deliveries, retention, rows
from worker.store.archive import archived
from worker.store.postgres import PostgresStore
from worker.store.replays import Replays, Wanted
from worker.store.retention import Eraser, Step
from worker.store.views import Views
from worker.verify.books import Verdict, proved_books

NOW = Retention(months=0, raw_months=0, notification_months=0)
"""Everything that happened is old enough."""
FAMILY, LABEL, ADDRESS, WORDS = "DURAND-17", "Cantine de Zoé", "https://portail.example/17.pdf", "Vu avec Mme Durand"
TODAY = datetime.now(UTC).date()
AGENT, MAIL = "jmartin", "zoe.durand@example.org"
SECRETS = (FAMILY, LABEL, "portail.example/17", WORDS, AGENT, MAIL)
"""What is personal in the dossier of `lives`."""


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    """The store of two régies."""
    async with opened(database_url) as store:
        await store.sync_policies(POLICIES)
        yield store


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[PostgresStore]:
    """A store, until the end."""
    store = await PostgresStore.open(address)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(scope="module")
def erased(postgres: str, template: str) -> Iterator[str]:
    """The address of a database in which much happened, whose time is over; to be looked at and copied."""
    with database(postgres, template) as address:
        asyncio.run(_keep_and_erase(address))
        yield address


async def _keep_and_erase(address: str) -> None:
    await keep_books(address)
    async with opened(address) as store:
        await erase(store)


@pytest.fixture
def copy(postgres: str, erased: str) -> Iterator[str]:
    """The address of a copy, to be changed."""
    with database(postgres, urlsplit(erased).path[1:]) as address:
        yield address


async def erase(store: PostgresStore, periods: Retention = NOW) -> Counter[str]:
    """Blank and remove until nothing is over, and seal that it was done; answers how many rows of what."""
    found = Counter(await _erase(Eraser(store, periods)))
    await sealed(store)
    return found


async def _erase(eraser: Eraser) -> Counter[str]:
    found: Counter[str] = Counter()
    step = Step(Counter(), more=True, kept=Counter())
    while step.more:
        step = await eraser.step()
        found += step.erased
    return found


def whole(kind: EventType, data: Any, event_id: str, **more: Any) -> NewEvent:  # noqa: ANN401 (data of events)
    """An event of the portal's."""
    digest = digest_of(kind, data)
    return NewEvent(
        client="portail", source="/portail", id=event_id, type=kind, regie=REGIE, data=data, digest=digest, **more
    )


ISSUED = InvoiceIssued(
    regie=REGIE, number="Z-1", account=FAMILY, amount_cents=900, label=LABEL, document_url=ADDRESS, means="card"
)


async def lives(store: PostgresStore) -> Town:
    """A family's invoice is paid twice, and all that people say about it is said; then everything is done with."""
    town = Town(store)
    await store.record([whole(EventType.INVOICE_ISSUED, ISSUED, "issue")])
    line = StartedLine(number="Z-1", amount_cents=900, account=FAMILY)
    start = PaymentStarted(regie=REGIE, reference="Z-a", amount_cents=900, invoices=[line])
    called = GatewayCallback(
        regie=REGIE, method="POST", query=says("Z-a").query, body="bWVs", headers={"x-mail": MAIL, "x-signature": MAIL}
    )
    await town.happens(start, called)
    await town.happens(settled("Z-1"))
    await town.happens(PaymentRefunded(regie=REGIE, reference="Z-a", amount_cents=100, reason=WORDS))
    (row,) = await store.pool.fetch("SELECT * FROM discrepancies WHERE state = 'open'")
    closing = DiscrepancyResolved(
        regie=REGIE, id=row["id"], resolution="explained", amount_cents=800, comment=WORDS, by=AGENT
    )
    by = told(closing)
    by.client, by.source = "lettrage", f"/discrepancies/{row['id']}"
    await store.record([by])
    await town.happens(issued("Z-2", account=FAMILY), InvoiceWithdrawn(regie=REGIE, number="Z-2", reason=WORDS))
    replays = Replays(store, "here")
    done = await replays.create(Wanted(Filter(), dry_run=False, comment=WORDS, client=AGENT))
    while not (await replays.step(done)).done:
        pass
    await delivered(store)
    await sealed(store)
    return town


async def delivered(store: PostgresStore) -> None:
    """Have every notification delivered."""
    ids = [row["id"] for row in await store.pool.fetch("SELECT id FROM outbox")]
    await store.pool.execute("INSERT INTO delivery_attempts SELECT id, now(), 'delivered', 200, NULL, 1 FROM outbox")
    await store.pool.execute("DELETE FROM deliveries WHERE outbox_id = ANY($1)", ids)


async def proved(store: PostgresStore, address: str) -> Verdict:
    """What `verify` says once everything is sealed."""
    await sealed(store)
    return await proved_books(address)


async def everything(address: str) -> str:
    """All rows of all tables, as text; bytes as the text that they may be."""
    connection = await asyncpg.connect(address)
    try:
        tables = [
            row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]
        found = []
        for table in tables:
            for row in await connection.fetch(f'SELECT * FROM "{table}"'):
                found += [bytes(v).decode("latin-1") if isinstance(v, bytes) else str(v) for v in row.values()]
        return "\n".join(found)
    finally:
        await connection.close()


# what goes, and what stays


async def test_nothing_personal_is_left_anywhere(store: PostgresStore, database_url: str) -> None:
    """Of a dossier whose time is over, in any table; before, all of it was there. The books are proved as before."""
    await lives(store)
    before = await everything(database_url)
    assert all(secret in before for secret in SECRETS)
    books = await states(store)
    found = await erase(store)
    after = await everything(database_url)
    assert [secret for secret in SECRETS if secret in after] == []
    assert await states(store) == books
    verdict = await proved_books(database_url)
    assert (verdict.differences, verdict.unproven) == ([], 0)
    assert verdict.blanked == found["raw"] + found["personal"] > 5
    assert set(found) == {"raw", "personal", "notifications", "replays"}


async def states(store: PostgresStore) -> list[tuple[Any, ...]]:
    """All that is about money, and the history of it."""
    found = []
    for query in (
        "SELECT number, state, version, amount_cents, settled_cents, paid_by, means, reason FROM invoices",
        "SELECT reference, state, amount_cents, received_cents, refunded_cents, reason FROM payments",
        "SELECT id, kind, state, amount_cents, resolution, resolved_cents, detail FROM discrepancies",
        "SELECT * FROM journal",
        "SELECT * FROM charges",
        "SELECT * FROM adjustments",
    ):
        found += [tuple(row) for row in await store.pool.fetch(f"{query} ORDER BY 1, 2")]
    return found


async def test_what_is_not_done_with_is_whole(erased: str) -> None:
    """Of books in which everything happens: what is owed, held, waits or is to be explained has its account still."""
    async with opened(erased) as store:
        still = {
            row["number"] for row in await store.pool.fetch("SELECT number FROM invoices WHERE account ~ '^A[0-9]'")
        }
        gone = {
            row["number"] for row in await store.pool.fetch("SELECT number FROM invoices WHERE account ~ 'blanked'")
        }
        owed = {row["number"] for row in await store.pool.fetch("SELECT number FROM invoices WHERE state = 'payable'")}
        foreseen = await Eraser(store, NOW).preview()
    assert {"F-10", "F-11"} <= gone
    assert {"H-1", "F-1"} <= still
    assert owed & gone == set()
    assert set(foreseen.kept) == {Kept.HELD, Kept.OWED, Kept.WAITING, Kept.UNEXPLAINED}
    assert foreseen.erased == Counter()


async def test_the_books_are_all_right_and_what_they_lost_is_said(erased: str) -> None:
    """Every event is decided again as it was; how many are blanked is counted."""
    verdict = await proved_books(erased)
    assert verdict.differences == []
    assert verdict.blanked > 100
    assert verdict.unproven == 0


async def test_a_look_beforehand_changes_nothing_and_says_the_same(store: PostgresStore, database_url: str) -> None:
    """What is foreseen is what is done then."""
    await lives(store)
    before = await everything(database_url)
    foreseen = await Eraser(store, NOW).preview()
    assert await everything(database_url) == before
    done = await erase(store)
    assert {name: done[name] for name in ("raw", "personal")} == dict(foreseen.erased)


async def test_it_is_done_once(store: PostgresStore) -> None:
    """A second pass finds nothing, and writes nothing; a day later it looks at what was kept again."""
    await lives(store)
    await erase(store)
    count = "SELECT count(*) FROM events"
    before = await store.pool.fetchval(count)
    assert await erase(store) == Counter()
    eraser = Eraser(store, NOW)
    await _erase(eraser)
    eraser._begun_at -= retention.AGAIN_SECONDS
    assert await _erase(eraser) == Counter()
    assert await store.pool.fetchval(count) == before


async def test_whoever_is_at_it_at_once_blanks_each_event_once(store: PostgresStore, database_url: str) -> None:
    """Four clocks: every event has one record, every record its events, and nobody waits for another."""
    town = Town(store)
    await town.happens(*(issued(f"C-{n}", account=f"A{n}") for n in range(60)))
    await town.happens(*(settled(f"C-{n}") for n in range(60)), *(says(f"X-{n}", forged="yes") for n in range(60)))
    stores = [await PostgresStore.open(database_url) for _ in range(4)]
    erasers = [Eraser(each, NOW) for each in stores]
    found: Counter[str] = Counter()
    async with asyncio.timeout(60):
        while sum(found.values()) < 120:
            for step in await asyncio.gather(*(eraser.step() for eraser in erasers)):
                found += step.erased
    for each in stores:
        await each.close()
    assert found == Counter(raw=60, personal=60)
    recorded = await store.pool.fetchval(
        "SELECT sum((data ->> 'events')::int) FROM events WHERE type = 'fr.lettrage.events.blanked.v1'"
    )
    assert recorded == 120
    assert (await proved(store, database_url)).differences == []


async def test_a_batch_that_fails_leaves_nothing_half_done(store: PostgresStore, database_url: str) -> None:
    """Rows, events and their record are one transaction; again does all of it."""
    await lives(store)
    before = await everything(database_url)
    await store.pool.execute("ALTER TABLE outcomes ADD CONSTRAINT no CHECK (reason <> 'retention_over')")
    for stage in (0, 1):
        eraser = Eraser(store, NOW)
        eraser._stage = stage
        with pytest.raises(asyncpg.CheckViolationError):
            await eraser.step()
    await store.pool.execute("ALTER TABLE outcomes DROP CONSTRAINT no")
    assert await everything(database_url) == before
    await erase(store)
    assert (await proved(store, database_url)).ok


async def test_what_fails_keeps_nothing_else_from_going(store: PostgresStore) -> None:
    """Events cannot be blanked; notifications go all the same, and the events at a later look."""
    await lives(store)
    await store.pool.execute("ALTER TABLE outcomes ADD CONSTRAINT no CHECK (reason <> 'retention_over')")
    eraser = Eraser(store, NOW)
    found: Counter[str] = Counter()
    for _ in eraser._stages:
        with suppress(asyncpg.CheckViolationError):
            found += (await eraser.step()).erased
    assert set(found) == {"notifications", "replays"}
    await store.pool.execute("ALTER TABLE outcomes DROP CONSTRAINT no")
    assert set(await _erase(eraser)) == {"raw", "personal"}


async def test_workers_go_on_meanwhile(store: PostgresStore, database_url: str) -> None:
    """Late money, new issues and blankings of the same dossiers at once: nobody fails, and the books are right."""
    town = Town(store)
    numbers = range(40)
    await town.happens(*(issued(f"R-{n}", account=f"A{n}") for n in numbers))
    await town.happens(*(started(f"R-{n}", f"R-{n}") for n in numbers), *(says(f"R-{n}") for n in numbers))

    async def late() -> None:
        for n in numbers:
            await town.happens(says(f"R-{n}", transaction="again"), issued(f"R-{n}", account=f"B{n}"))

    async def blank() -> None:
        for _ in numbers:
            await Eraser(store, NOW).step()
            await _erase(Eraser(store, NOW))

    await asyncio.gather(late(), blank())
    assert await store.pool.fetchval("SELECT count(*) FROM pending") == 0
    verdict = await proved(store, database_url)
    assert verdict.differences == []
    assert verdict.blanked > len(numbers)


# when


def ago(months: int, days: int = 0) -> datetime:
    """That many months ago, and some days; near enough for tests that stay away from the edge."""
    return datetime.now(UTC) - timedelta(days=months * 30.44 + days)


@pytest.mark.parametrize(("months", "is_over"), [(23, False), (25, True)])
async def test_what_families_see_goes_after_24_months(store: PostgresStore, months: int, *, is_over: bool) -> None:
    """By when it was received, which an archive keeps; not a month before."""
    data = InvoiceIssued(regie=REGIE, number="T-1", account=FAMILY, amount_cents=0)
    await store.record([whole(EventType.INVOICE_ISSUED, data, "t", received_at=ago(months))])
    await Town(store).happens()
    assert await erase(store, Retention()) == (Counter(personal=1) if is_over else Counter())
    assert (await store.pool.fetchval("SELECT account FROM invoices") == FAMILY) is not is_over


@pytest.mark.parametrize(("months", "is_over"), [(12, False), (14, True)])
async def test_gateways_words_go_after_13_months(store: PostgresStore, months: int, *, is_over: bool) -> None:
    """Whatever became of the payment; what they proved stays in the report."""
    town = Town(store)
    called = told(says("T-a"))
    called.received_at = ago(months)
    await store.record([called])
    await town.happens()
    assert await erase(store, Retention()) == (Counter(raw=1) if is_over else Counter())
    kept = await store.pool.fetchrow("SELECT data, raw, raw_digest IS NOT NULL FROM events WHERE client = ''")
    assert kept is not None
    assert tuple(kept) == (
        ('{"regie": "enfance", "method": "GET"}', None, True)
        if is_over
        else (kept["data"], b"/callback?T-a&P&900&t&&", False)
    )
    assert await store.pool.fetchval("SELECT count(*) FROM charges") == 1


async def test_an_invoice_that_a_family_still_sees_is_kept(store: PostgresStore) -> None:
    """Historique goes by the day of issue, which may be later than the receipt."""
    data = InvoiceIssued(regie=REGIE, number="T-1", account=FAMILY, amount_cents=0, issued_on=TODAY)
    await store.record([whole(EventType.INVOICE_ISSUED, data, "t", received_at=ago(40))])
    await Town(store).happens()
    assert await erase(store, Retention()) == Counter()


async def test_one_recent_fact_keeps_a_dossier_and_the_others_go(store: PostgresStore) -> None:
    """Whole: what was issued long ago and refunded yesterday is the family's business still."""
    town = Town(store)
    for number in ("T-1", "T-2"):
        data = InvoiceIssued(regie=REGIE, number=number, account=FAMILY, amount_cents=900)
        await store.record([whole(EventType.INVOICE_ISSUED, data, number, received_at=ago(40))])
    await town.happens()
    late = told(settled("T-2"))
    late.received_at = ago(39)
    await store.record([late])
    await town.happens(settled("T-1"))
    await erase(store, Retention())
    accounts = dict(await store.pool.fetch("SELECT number, account FROM invoices"))
    assert accounts == {"T-1": FAMILY, "T-2": "[blanked 1]"}


async def test_what_waits_or_is_parked_keeps_its_words(store: PostgresStore) -> None:
    """A callback that could not be read yet may be the proof of a payment; so may a fact, and its dossier waits."""
    town = Town(store)
    await town.happens(issued("T-1"), settled("T-1"))
    called, fact = told(says("T-a", "R")), told(issued("T-1", label=LABEL))
    await store.record([called, fact])
    await store.pool.execute("UPDATE pending SET parked = true")
    assert set(await erase(store)) == {"notifications"}
    foreseen = await Eraser(store, NOW).preview()
    assert set(foreseen.kept) == {Kept.WAITING}
    await store.pool.execute("UPDATE pending SET parked = false")
    await town.happens()
    assert {"raw", "personal"} <= set(await erase(store))


async def test_a_callback_that_waits_for_an_answer_keeps_its_dossier(store: PostgresStore) -> None:
    """It is no fact yet, and claims a reference of the payment."""
    town = Town(store)
    await town.happens(issued("T-1"), started("T-a", "T-1"), settled("T-1"))
    await store.record([told(says("T-a"))])
    await store.pool.execute("UPDATE pending SET parked = true, subject = 'T-a'")
    assert (await erase(store))["personal"] == 0
    await store.pool.execute("UPDATE pending SET parked = false")
    await town.happens()
    (row,) = await store.pool.fetch("SELECT * FROM discrepancies WHERE state = 'open'")
    closing = DiscrepancyResolved(regie=REGIE, id=row["id"], resolution="explained", amount_cents=900, comment="?")
    await town.happens(closing)
    assert (await erase(store))["personal"] == 3


async def test_a_process_does_it_by_its_configuration_and_counts_it(database_url: str) -> None:
    """A batch at a time, as its clock asks; how many rows of what is a metric. Redis has no part in it."""
    configured = replace(settings(database_url), redis_url="redis://127.0.0.1:1/0", retention=NOW)
    before = ERASED.labels("personal")._value.get()
    async with App.open(configured, "clock") as app, opened(database_url) as store:
        await store.sync_policies(POLICIES)
        await Town(store).happens(*(issued(f"F-{n}", cents=0) for n in range(3)))
        while await app.erase():
            pass
        assert await account_of(store, "F-1") == "[blanked 1]"
    assert ERASED.labels("personal")._value.get() == before + 3


# the command


def test_the_command_says_what_is_over_and_what_keeps_the_rest(tmp_path: Path, postgres: str, template: str) -> None:
    """In words for people, in one document for programs; nothing is changed."""
    with database(postgres, template) as address:
        asyncio.run(_grow_old(address))
        town = Installation(tmp_path, DATABASE_URL=address, REDIS_URL="")
        told_, shown = town.ask("retention"), json.loads(town.ask("retention", "--json").stdout)
        assert told_.exit_code == 0, told_.output
        assert "after 24 months: 1 events to blank now" in told_.stdout
        assert "have it settled or withdrawn" in told_.stdout
        assert told_.stderr == "Nothing was changed: the clock does this by itself.\n"
        assert (shown["raw"], shown["personal"], shown["kept"]) == (1, 1, {"owed": 1})
        assert shown["periods"] == {"months": 24, "raw_months": 13, "notification_months": 3}


async def _grow_old(address: str) -> None:
    """Two invoices of three years ago, one of which is still to be paid, and a callback."""
    async with opened(address) as store:
        await store.sync_policies(POLICIES)
        for fact in (issued("F-1", cents=0), issued("F-2"), says("X-1", forged="yes")):
            event = told(fact)
            event.received_at = ago(36)
            await store.record([event])
        await Town(store).happens()


def test_without_a_database_it_is_told(tmp_path: Path) -> None:
    """Exit 75: it may work later."""
    nowhere = Installation(tmp_path, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", REDIS_URL="").ask("retention")
    assert nowhere.exit_code == 75
    assert "does not answer" in nowhere.stderr


# what comes afterwards


async def test_the_same_event_again_is_the_same_and_another_is_a_conflict(store: PostgresStore) -> None:
    """Its digest stays: a portal that sends everything again is told so."""
    await lives(store)
    await erase(store)
    again, other = whole(EventType.INVOICE_ISSUED, ISSUED, "issue"), whole(EventType.INVOICE_ISSUED, ISSUED, "issue")
    other.data = InvoiceIssued(regie=REGIE, number="Z-1", account="[blanked 1]", amount_cents=900)
    other.digest = digest_of(other.type, other.data)
    assert [receipt.status for receipt in await store.record([again])] == ["duplicate"]
    assert [receipt.status for receipt in await store.record([other])] == ["conflict"]


async def test_late_money_for_a_blanked_dossier_counts(store: PostgresStore, database_url: str) -> None:
    """The reference is known, the invoice too: it is to give back. To whom, the régie's own software says."""
    town = await lives(store)
    await erase(store)
    await town.happens(says("Z-a", transaction="late"))
    found = await store.pool.fetch("SELECT kind, amount_cents, payment FROM discrepancies WHERE state = 'open'")
    assert {tuple(row) for row in found} == {("double_payment", 900, "Z-a"), ("overpaid", 800, "Z-a")}
    assert (await proved(store, database_url)).differences == []


async def test_an_invoice_issued_again_has_its_account_again_and_loses_it_again(
    store: PostgresStore, database_url: str
) -> None:
    """For as long as the dossier is alive; the second blanking says that the two accounts were not the same."""
    town = await lives(store)
    await erase(store)
    await town.happens(issued("Z-1", account="MOREAU"))
    assert await account_of(store, "Z-1") == "MOREAU"
    assert (await proved(store, database_url)).differences == []
    await erase(store)
    assert await account_of(store, "Z-1") == "[blanked 5]"
    assert (await proved(store, database_url)).differences == []


async def account_of(store: PostgresStore, number: str) -> Any:  # noqa: ANN401 (a column)
    """Whose invoice that is, as stored."""
    return await store.pool.fetchval("SELECT account FROM invoices WHERE number = $1", number)


async def test_what_is_gone_is_read_as_nothing(store: PostgresStore, database_url: str) -> None:
    """An invoice says what was owed and paid, and no longer by whom; a tab of the family's has it no more."""
    await lives(store)
    views = await Views.open(database_url)
    try:
        before = await views.invoice(REGIE, "Z-1")
        assert before is not None
        assert (before.account, before.label, before.document_url) == (FAMILY, LABEL, ADDRESS)
        assert len((await views.invoices(REGIE, account=FAMILY)).items) == 2
        await erase(store)
        after = await views.invoice(REGIE, "Z-1")
        assert after is not None
        assert (after.account, after.label, after.document_url) == (None, None, None)
        assert (after.number, after.amount_cents, after.state, after.payments) == (
            before.number,
            before.amount_cents,
            before.state,
            before.payments,
        )
        assert (await views.invoices(REGIE, account=FAMILY)).items == []
        (shown,) = (await views.discrepancies(REGIE, state="resolved")).items
        assert (shown.comment, shown.resolved_by, shown.resolution) == (None, None, "explained")
        assert shown.resolved_at is not None
    finally:
        await views.close()


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_replay_of_blanked_events_changes_nothing(copy: str, *, dry_run: bool) -> None:
    """What they say about money is whole, and what stands for the rest is equal where it was."""
    async with opened(copy) as store:
        replays = Replays(store, "here")
        key = await replays.create(Wanted(Filter(), dry_run=dry_run, comment="look", client="admin"))
        while not (await replays.step(key)).done:
            pass
        kept = await replays.view(key)
    assert kept is not None
    assert (kept.view.changes, kept.view.failed) == ([], 0)
    assert kept.view.replayed > 100


async def test_a_replay_of_nothing_but_records_ends(copy: str) -> None:
    """They are about no dossier."""
    async with opened(copy) as store:
        replays = Replays(store, "here")
        only = Filter(type=EventType.EVENTS_BLANKED)
        key = await replays.create(Wanted(only, dry_run=False, comment="look", client="admin"))
        async with asyncio.timeout(30):
            while not (await replays.step(key)).done:
                pass
        kept = await replays.view(key)
    assert kept is not None
    assert (kept.view.changes, kept.view.failed) == ([], 0)


async def test_an_archive_of_blanked_events_makes_the_same_books(
    store: PostgresStore, database_url: str, elsewhere: str
) -> None:
    """In an empty database; where the events are known, whole or blanked, they are no others."""
    await lives(store)
    before = await read_archive(database_url)
    await erase(store)
    after = await read_archive(database_url)
    assert [receipt.status for receipt in await store.record(before)] == ["duplicate"] * len(before)
    assert [receipt.status for receipt in await store.record(after)] == ["duplicate"] * len(after)
    async with opened(elsewhere) as second:
        await second.sync_policies(POLICIES)
        await second.record(after)
        await Town(second).happens()
        money = "SELECT number, state, amount_cents, settled_cents, paid_by, account FROM invoices ORDER BY number"
        assert await second.pool.fetch(money) == await store.pool.fetch(money)
        assert (await proved(second, elsewhere)).differences == []
        assert [receipt.status for receipt in await second.record(before[:1])] == ["conflict"]


async def test_a_restored_database_that_is_told_of_its_blankings_blanks_again(
    store: PostgresStore, database_url: str, elsewhere: str
) -> None:
    """A backup from before has the events whole, in their places; the archive has the record of the same blanking."""
    town = Town(store)
    await town.happens(issued("F-1", account=FAMILY), settled("F-1"))
    whole_ = await read_archive(database_url)
    await erase(store)
    (record,) = [each for each in await read_archive(database_url) if each.type is EventType.EVENTS_BLANKED]
    async with opened(elsewhere) as restored:
        await restored.sync_policies(POLICIES)
        for each in (*whole_, record):
            await restored.record([each])
            await Town(restored).happens()
        assert (await erase(restored))["personal"] == 1
        assert await account_of(restored, "F-1") == "[blanked 1]"
        verdict = await proved(restored, elsewhere)
        assert (verdict.differences, verdict.blanked) == ([], 1)


async def test_a_blanked_callback_that_another_ones_report_spoke_for_is_not_read_again(
    store: PostgresStore, database_url: str, elsewhere: str
) -> None:
    """One answer spoke for two calls: of the second an archive has neither words nor report, and nothing is open."""
    town = Town(store)
    await town.happens(issued("Q-1", regie=ASKED), started("Q-a", "Q-1", regie=ASKED))
    await town.happens(claims("Q-a"), claims("Q-a"))
    await town.answers("Q-a", ReportResult.PAID)
    await erase(store)
    async with opened(elsewhere) as second:
        await second.sync_policies(POLICIES)
        await second.record(await read_archive(database_url))
        await Town(second).happens()
        reasons = [row[0] for row in await second.pool.fetch(CALLS_REASONS)]
        assert reasons == ["result_already_known", "result_already_known"]
        assert await second.pool.fetch("SELECT * FROM discrepancies") == []
        assert (await proved(second, elsewhere)).differences == []


CALLS_REASONS = "SELECT reason FROM events JOIN outcomes USING (place) WHERE type = 'fr.lettrage.gateway.callback.v1'"


@pytest.fixture
def elsewhere(postgres: str, template: str) -> Iterator[str]:
    """The address of an empty database."""
    with database(postgres, template) as address:
        yield address


async def read_archive(address: str) -> list[NewEvent]:
    """The events of an archive, as an import of it records them."""
    views = await Views.open(address)
    try:
        return [
            NewEvent(
                client=each.lettrageclient,
                source=each.source,
                id=each.id,
                type=EventType(each.type),
                data=(data := _decoded(each.type, bytes(each.data))),
                regie=data.regie,
                digest=digest_of(EventType(each.type), data),
                received_at=each.recordedtime,
                blanked=each.lettrageblanked or None,
            )
            async for each in archived(views)
        ]
    finally:
        await views.close()


def _decoded(kind: str, text: bytes) -> Any:  # noqa: ANN401 (data of events)
    return rows._READERS[kind][1].decode(text)


# whoever does it by hand


class Tampering(NamedTuple):
    """What is changed behind the books, and what must be named."""

    name: str
    statement: str
    table: str
    told: str


GONE = "(SELECT min(place) FROM events WHERE blanking IS NOT NULL AND type = 'fr.lettrage.invoice.issued.v1')"
WHOLE = "(SELECT min(place) FROM events WHERE blanking IS NULL AND type = 'fr.lettrage.invoice.issued.v1')"
CALL = "(SELECT min(place) FROM events WHERE blanking IS NOT NULL AND type = 'fr.lettrage.gateway.callback.v1')"
RECORD = "(SELECT min(place) FROM events WHERE type = 'fr.lettrage.events.blanked.v1')"
TAMPERINGS = (
    Tampering(
        "an amount of a blanked event",
        f"UPDATE events SET data = jsonb_set(data, '{{amount_cents}}', '901') WHERE place = {GONE}",
        "events",
        "not what its blanking left",
    ),
    Tampering(
        "an amount of a blanked event, by its facts",
        f"UPDATE events SET data = jsonb_set(data, '{{amount_cents}}', '901') WHERE place = {GONE}",
        "events",
        "facts are not those that were sealed",
    ),
    Tampering(
        "an account that comes back",
        f"UPDATE events SET data = jsonb_set(data, '{{account}}', '\"A1\"') WHERE place = {GONE}",
        "events",
        "not what its blanking left",
    ),
    Tampering(
        "a row that has another account",
        "UPDATE invoices SET account = 'A1' WHERE account ~ 'blanked' AND number = 'F-10'",
        "invoices",
        "account",
    ),
    Tampering(
        "blanked by hand",
        f"UPDATE events SET data = jsonb_set(data, '{{account}}', '\"[blanked 1]\"') WHERE place = {WHOLE}",
        "events",
        "not those of its digest",
    ),
    Tampering(
        "blanked by hand, and said to be by a record",
        f"UPDATE events SET data = jsonb_set(data, '{{account}}', '\"[blanked 1]\"'), blanking = {RECORD},"
        f" rest = digest WHERE place = {WHOLE}",
        "events",
        "digest",
    ),
    Tampering(
        "blanked by hand, and said to be by no record",
        f"UPDATE events SET blanking = 1, rest = digest WHERE place = {WHOLE}",
        "events",
        "records no blanking",
    ),
    Tampering(
        "another digest of raw bytes that are gone",
        f"UPDATE events SET raw_digest = sha256('x') WHERE place = {CALL}",
        "events",
        "raw bytes or digest are not those of seal",
    ),
    Tampering(
        "raw bytes that come back, and are others",
        f"UPDATE events SET raw = 'x' WHERE place = {CALL}",
        "events",
        "raw bytes or digest are not those of seal",
    ),
    Tampering(
        "the digest of what was left",
        f"UPDATE events SET rest = sha256('x') WHERE place = {GONE}",
        "events",
        "digest",
    ),
    Tampering(
        "no longer said to be blanked",
        f"UPDATE events SET blanking = NULL, rest = NULL, raw_digest = NULL WHERE place = {GONE}",
        "events",
        "not those of its digest",
    ),
    Tampering(
        "the record",
        f"UPDATE events SET data = jsonb_set(data, '{{digest}}', '\"{'0' * 64}\"') WHERE place = {RECORD}",
        "events",
        "not those of its digest",
    ),
    Tampering("the record is gone", f"DELETE FROM events WHERE place = {RECORD}", "events", "records no blanking"),
    Tampering(
        "the facts' digest, gone",
        f"UPDATE events SET facts = NULL WHERE place = {GONE}",
        "events",
        "digest are not those of seal",
    ),
    Tampering(
        "a comment that is made up",
        "UPDATE discrepancies SET comment = 'x' WHERE comment ~ 'blanked'",
        "discrepancies",
        "comment",
    ),
)


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=[tampering.name for tampering in TAMPERINGS])
async def test_what_is_changed_behind_a_blanking_is_named(copy: str, tampering: Tampering) -> None:
    """Whoever blanks by hand, changes what was left, or unsays it."""
    await run(copy, "ALTER TABLE events DROP CONSTRAINT events_blanked", tampering.statement)
    verdict = await proved_books(copy)
    said = [(found.table, f"{found.column} {found.what}") for found in verdict.differences]
    assert any(table == tampering.table and tampering.told in what for table, what in said), said


async def run(address: str, *statements: str) -> None:
    """Change the database as somebody could who may do anything."""
    connection = await asyncpg.connect(address)
    try:
        await connection.execute("SET session_replication_role = replica")
        for statement in statements:
            assert await connection.execute(statement) not in {"UPDATE 0", "DELETE 0", "INSERT 0 0"}, statement
    finally:
        await connection.close()


async def forged(store: PostgresStore, place: int, data: str) -> None:
    """Blank an event by hand as Lettrage does, with a record that is sealed, and other facts in what is left."""
    row = await store.pool.fetchrow("SELECT * FROM events WHERE place = $1", place)
    assert row is not None
    left = retention._event({**row, "data": data})
    raw_digest = None if row["raw"] is None else sha256(row["raw"]).digest()
    eraser = retention._left({**row, "raw_digest": raw_digest}, left.data, digest_of(left.type, left.data))
    async with store.transaction() as conn:
        await retention._blank(conn, "personal", await retention._horizon(conn, 0), [eraser])


async def test_a_forged_blanking_cannot_change_facts(store: PostgresStore, database_url: str) -> None:
    """Recorded, sealed, with the invoice's row to match: the facts were sealed when the event was whole."""
    await Town(store).happens(issued("F-1"))
    await sealed(store)
    place = await store.pool.fetchval("SELECT place FROM events")
    data = '{"regie": "enfance", "number": "F-1", "account": "[blanked 1]", "amount_cents": 100}'
    await forged(store, place, data)
    await store.pool.execute("UPDATE invoices SET issued_cents = 100, amount_cents = 100, account = '[blanked 1]'")
    told_ = [found.what for found in (await proved(store, database_url)).differences]
    assert told_ == ["facts are not those that were sealed"]


async def test_a_forged_blanking_of_what_has_nothing_personal_is_named(store: PostgresStore, database_url: str) -> None:
    """A settlement by its own digest: nothing of it may go."""
    await Town(store).happens(issued("F-1"), settled("F-1"))
    await sealed(store)
    place = await store.pool.fetchval("SELECT max(place) FROM events")
    await forged(store, place, '{"regie": "enfance", "number": "F-1", "amount_cents": 100, "means": "cash"}')
    assert "was changed by a blanking: nothing in it is personal" in [
        found.what for found in (await proved(store, database_url)).differences
    ]


@pytest.mark.parametrize(
    ("fact", "data"),
    [
        (issued("F-1"), '{"regie": "enfance", "number": "F-1", "account": "MOREAU", "amount_cents": 900}'),
        (says("F-a", forged="yes"), '{"regie": "enfance", "method": "GET", "query": "F-a&P&900&t&yes&"}'),
    ],
)
async def test_a_forged_blanking_cannot_put_words_in_anybodys_mouth(
    store: PostgresStore, database_url: str, fact: object, data: str
) -> None:
    """Another family's account, other words of a gateway's, recorded and sealed: a blanking takes, it adds nothing."""
    await Town(store).happens(fact)
    await sealed(store)
    await forged(store, await store.pool.fetchval("SELECT min(place) FROM events"), data)
    await store.pool.execute("UPDATE invoices SET account = 'MOREAU'")
    told_ = [found.what for found in (await proved(store, database_url)).differences]
    assert told_ == ["says what a blanking would have taken"]


async def test_what_was_tampered_with_is_not_covered_by_blanking(store: PostgresStore, database_url: str) -> None:
    """It stays as it is, to be found; everything else goes."""
    town = await lives(store)
    await store.pool.execute("UPDATE events SET data = jsonb_set(data, '{amount_cents}', '901') WHERE id = 'issue'")
    await store.pool.execute("UPDATE events SET data = jsonb_set(data, '{method}', '\"GET\"') WHERE client = ''")
    await town.happens(issued("Z-3"), settled("Z-3"))
    await erase(store)
    still = await store.pool.fetch("SELECT place FROM events WHERE blanking IS NULL AND (id = 'issue' OR client = '')")
    named = {
        found.row.split()[0] for found in (await proved(store, database_url)).differences if found.table == "events"
    }
    assert named == {str(row["place"]) for row in still}
    assert len(named) == 2
    assert await store.pool.fetchval("SELECT account FROM invoices WHERE number = 'Z-3'") == "[blanked 1]"


async def test_what_an_older_version_sealed_is_blanked_and_said_to_be_less_proved(
    store: PostgresStore, database_url: str
) -> None:
    """Its facts were never sealed apart: the record of the blanking is all that proves what is left."""
    town = Town(store)
    await town.happens(issued("F-1"), settled("F-1"))
    await store.pool.execute("UPDATE events SET facts = NULL")
    await sealed(store)
    await town.happens(issued("F-2"), settled("F-2"))
    await erase(store)
    verdict = await proved(store, database_url)
    assert (verdict.differences, verdict.blanked, verdict.unproven) == ([], 2, 1)


async def test_what_an_older_sealer_sealed_while_both_ran_is_all_right(store: PostgresStore, database_url: str) -> None:
    """It hashed the event without its facts, which it does not know."""
    town = Town(store)
    await town.happens(issued("F-1"), settled("F-1"))
    facts = await store.pool.fetchval("SELECT facts FROM events WHERE facts IS NOT NULL")
    await store.pool.execute("UPDATE events SET facts = NULL")
    await sealed(store)
    await store.pool.execute("UPDATE events SET facts = $1 WHERE type ~ 'issued'", facts)
    assert (await proved(store, database_url)).ok
    await erase(store)
    verdict = await proved(store, database_url)
    assert (verdict.differences, verdict.blanked, verdict.unproven) == ([], 1, 1)


async def test_events_keep_the_digest_of_their_facts(store: PostgresStore) -> None:
    """Whichever way they come in."""
    await lives(store)
    for row in await store.pool.fetch("SELECT * FROM events"):
        event = retention._event(row)
        assert row["facts"] == facts_digest(event.type, event.data), event.type


# what else goes


async def test_notifications_go_once_delivered_and_what_was_never_delivered_later(store: PostgresStore) -> None:
    """With their attempts; a notification that waits is kept for as long as families' dossiers are."""
    await Town(store).happens(issued("F-1"), issued("F-2"))
    await store.pool.execute("UPDATE outbox SET at = at - interval '4 months'")
    await store.pool.execute(
        "INSERT INTO delivery_attempts SELECT min(id), now(), 'delivered', 200, NULL, 1 FROM outbox"
    )
    await store.pool.execute("DELETE FROM deliveries WHERE outbox_id = (SELECT min(id) FROM outbox)")
    assert await erase(store, Retention()) == Counter(notifications=1)
    assert await store.pool.fetchval("SELECT count(*) FROM delivery_attempts") == 0
    assert await store.pool.fetchval("SELECT count(*) FROM deliveries") == 1
    assert await erase(store, Retention()) == Counter()
    await store.pool.execute("UPDATE outbox SET at = at - interval '21 months'")
    assert await erase(store, Retention()) == Counter(notifications=1)
    assert await store.pool.fetchval("SELECT count(*) FROM deliveries") == 0


async def test_a_notification_that_is_sent_again_at_that_moment_is_kept(store: PostgresStore) -> None:
    """Whoever is at it has its row; the next pass finds it waiting."""
    await Town(store).happens(issued("F-1"))
    await delivered(store)
    await store.pool.execute("UPDATE outbox SET at = at - interval '4 months'")
    key = await store.pool.fetchval("SELECT id FROM outbox")
    eraser = Eraser(store, Retention())
    async with store.pool.acquire() as conn, conn.transaction():
        await conn.fetch(deliveries.QUERIES.resend, [key], None)
        assert await _erase(eraser) == Counter()
    assert await erase(store, Retention()) == Counter()
    assert await store.pool.fetchval("SELECT count(*) FROM outbox JOIN deliveries ON outbox_id = id") == 1


async def test_calls_about_nobody_are_forgotten(store: PostgresStore, database_url: str) -> None:
    """A reference that a stranger made up is a row no longer; one that money came for, or a payment has, stays."""
    town = Town(store)
    await town.asks_its_gateway()
    await store.record([told(GatewayCallback(regie="piscine", method="GET", query=f"made-up-{n}")) for n in range(3)])
    await town.reconciler.drain(Queue.GATEWAY_CALLBACK)
    await town.happens(says("O-b", "P", 500))
    references = "SELECT gateway_reference FROM gateway_references ORDER BY 1"
    before = [row[0] for row in await store.pool.fetch(references)]
    assert await erase(store, Retention()) == Counter()
    await store.pool.execute("UPDATE asks SET called_at = called_at - interval '14 months'")
    assert (await erase(store, Retention()))["references"] == 3
    after = [row[0] for row in await store.pool.fetch(references)]
    assert after == [name for name in before if not name.startswith("made-up")]
    assert (await proved(store, database_url)).differences == []


async def test_a_reference_that_a_refused_start_named_is_forgotten_and_its_dossier_goes(
    store: PostgresStore, database_url: str
) -> None:
    """Started again for another amount, the payment has it not; its row is nobody's, and `verify` misses it not."""
    town = Town(store)
    await town.happens(issued("T-1", regie=ASKED, account=FAMILY), started("T-a", "T-1", regie=ASKED))
    await town.happens(started("T-a", "T-1", cents=800, regie=ASKED, gateway_reference="T-b"))
    await store.record([told(claims("T-b"))])
    await town.reconciler.drain(Queue.GATEWAY_CALLBACK)
    await town.answers("T-a", ReportResult.PAID)
    (row,) = await store.pool.fetch("SELECT * FROM discrepancies WHERE state = 'open'")
    await town.happens(
        DiscrepancyResolved(regie=ASKED, id=row["id"], resolution="explained", amount_cents=0, comment=WORDS)
    )
    await store.pool.execute("UPDATE asks SET called_at = called_at - interval '14 months'")
    assert await erase(store, Retention()) == Counter(references=1)
    assert (await proved(store, database_url)).differences == []
    foreseen = await Eraser(store, NOW).preview()
    assert await store.pool.fetchval("SELECT count(*) FROM gateway_references") == 1, "a look changes nothing"
    assert foreseen.erased["personal"] == (await erase(store))["personal"] == 4
    assert await account_of(store, "T-1") == "[blanked 1]"
    assert (await proved(store, database_url)).differences == []


async def test_batches_are_small(store: PostgresStore, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is over: a step takes a batch of it, and says that more waits."""
    monkeypatch.setattr(retention, "BATCH", 7)
    monkeypatch.setattr(retention, "DOSSIERS", 5)
    town = Town(store)
    await town.happens(*(issued(f"B-{n}") for n in range(20)), *(settled(f"B-{n}") for n in range(20)))
    await town.happens(*(says(f"X-{n}", forged="yes") for n in range(20)))
    eraser = Eraser(store, NOW)
    steps: list[Step] = []
    while not steps or steps[-1].more:
        steps.append(await eraser.step())
    assert all(step.erased["raw"] <= 7 and step.erased["personal"] <= 5 for step in steps)
    assert sum((step.erased for step in steps), Counter())["personal"] == 20
    assert (await proved(store, database_url)).differences == []


async def test_a_dossier_that_cannot_be_read_keeps_no_other(store: PostgresStore, database_url: str) -> None:
    """Its invoice's row is gone: `verify` says so; it is passed by, and the next ones are blanked."""
    town = Town(store)
    await town.happens(issued("T-1"), settled("T-1"))
    await town.happens(issued("T-2"), settled("T-2"), issued("T-3"), settled("T-3"))
    await sealed(store)
    await run(database_url, "DELETE FROM invoices WHERE number = 'T-1'")
    assert await erase(store) >= Counter(personal=2)
    left = await store.pool.fetch("SELECT data ->> 'number' FROM events WHERE type ~ 'issued' AND blanking IS NULL")
    assert [row[0] for row in left] == ["T-1"]
