"""An archive of events, printed by one installation and taken by another, which becomes what the first was."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec
import pytest
from click.testing import Result

from schemas.decisions import Done
from schemas.events import OURS, DiscrepancyResolved, Event, EventType, NewEvent, Queue, digest_of
from schemas.reports import Report
from tests.api import LYRA_SECRET, TOKENS, Api, composed, event, issued, served, settings, started
from tests.conftest import database
from tests.installation import CLIENT, REGIE, Installation
from tests.unit.gateways.lyra_answers import PAID, signed
from worker.app import Interpreter, gateways_of
from worker.gateways.port import Claim
from worker.reconcile import Reconciler

REFERENCE = "20261123083000_aB3x9Z"
"""What the signed answer of the tests is about."""
HOLD_SECONDS = 2
"""Of the régie whose families vanish: both start within it, on a busy machine too."""

STATES = {
    "invoices": """
        SELECT regie, number, state, account, issued_cents, amount_cents, settled_cents, paid_at, paid_by, withdrawn,
            means, issued_on, label, document_url, fact_time, issue_time, to_check
        FROM invoices ORDER BY regie, number""",
    "payments": """
        SELECT regie, reference, state, amount_cents, start_time, received_cents, refunded_cents, provisional, deadline,
            payable_again_at, latest_reference, hold_over, rejected, doubt, first_money_at
        FROM payments ORDER BY regie, reference""",
    "lines": """
        SELECT regie, reference, number, cents, held
        FROM payment_lines JOIN payments ON payments.id = payment_id JOIN invoices USING (regie)
        WHERE invoices.id = invoice_id ORDER BY regie, reference, number""",
    "charges": """
        SELECT regie, gateway_reference, reference, transaction_id, result, cents, received_at
        FROM gateway_references LEFT JOIN payments USING (regie)
        LEFT JOIN charges ON gateway_reference_id = gateway_references.id
        WHERE payment_id = payments.id OR payment_id IS NULL AND payments.id IS NULL ORDER BY 1, 2, 3, 4""",
    "adjustments": """
        SELECT kind, split_part(fact_id, ' ', 1), cents, adjustments.means, number, reference
        FROM adjustments LEFT JOIN invoices ON invoices.id = invoice_id LEFT JOIN payments ON payments.id = payment_id
        ORDER BY 1, 2""",
    "holds": """
        SELECT regie, reference, holds.payable_again_at
        FROM holds JOIN payments ON payments.id = payment_id ORDER BY regie, reference""",
    "discrepancies": """
        SELECT id, kind, amount_cents, state, payment, invoice, subject, detail, resolution, resolved_cents, comment
        FROM discrepancies WHERE state <> 'closed' ORDER BY id""",
    "facts": """
        SELECT client, source, id, type, regie, time, received_at, data::text, digest, raw, trace
        FROM events ORDER BY client, source, id""",
}

States: TypeAlias = dict[str, list[tuple[Any, ...]]]


@asynccontextmanager
async def installation(database_url: str) -> AsyncIterator[Api]:
    """The configuration of every installation here."""
    usual = settings(database_url)
    cantine = usual.regies["cantine"]
    short = replace(cantine, policy=msgspec.structs.replace(cantine.policy, hold=HOLD_SECONDS))
    configured = replace(usual, regies={**usual.regies, "cantine": short})
    async with composed(database_url, configured) as app, served(app) as client:
        yield client


@pytest.fixture
async def first(database_url: str) -> AsyncIterator[Api]:
    """The installation that the archive is of."""
    async with installation(database_url) as client:
        yield client


@pytest.fixture
def second_url(postgres: str, template: str) -> Iterator[str]:
    """An empty database."""
    with database(postgres, template) as address:
        yield address


@pytest.fixture
def backup_url(postgres: str, database_url: str) -> Iterator[str]:
    """A copy of the first database, made while families were at their gateways."""

    async def come() -> None:
        async with installation(database_url) as client:
            await families_come(client)

    asyncio.run(come())
    with database(postgres, urlsplit(database_url).path[1:]) as address:
        yield address


@pytest.fixture
async def second(second_url: str) -> AsyncIterator[Api]:
    """An empty installation with the same configuration."""
    async with installation(second_url) as client:
        yield client


async def told(api: Api, kind: str, event_id: str, **data: Any) -> None:  # noqa: ANN401 (any fact)
    """A fact of the portal's."""
    answer = await api.post(event(kind, {"regie": "enfance"} | data, event_id))
    assert answer.status == 202, await answer.text()


async def called(api: Api, regie: str, query: str, body: bytes = b"") -> None:
    """A gateway's callback."""
    address = f"{api.address}/v1/callbacks/{regie}?{query}"
    answer = await (api.http.post(address, data=body) if body else api.http.get(address))
    assert answer.status == 200


async def begun(api: Api, reference: str, number: str, regie: str = "enfance", **data: Any) -> None:  # noqa: ANN401
    """An invoice, and a payment of it."""
    await api.post(issued(number, regie=regie))
    answer = await api.post(started(reference, lines={number: 4250}, regie=regie, **data))
    assert answer.status == 202


async def families(api: Api) -> None:
    """One pays, one is refused, two vanish, one pays twice, one is paid back; strangers call; a person decides."""
    await families_come(api)
    await families_go(api)


async def families_come(api: Api) -> None:
    """Six begin to pay; one has paid, and one was refused."""
    for reference, number in (("P-PAID", "F-1"), ("P-REFUSED", "F-2"), ("P-REFUNDED", "F-3")):
        await begun(api, reference, number)
    for reference, number in (("P-GONE", "C-1"), ("P-LATE", "C-2")):
        await begun(api, reference, number, "cantine")
    await begun(api, "P-LYRA", "B-1", "piscine", gateway_reference=REFERENCE)
    await api.app.reconcile()
    await called(api, "enfance", "transaction_id=P-PAID&signed=1&ok=1")
    await called(api, "enfance", "transaction_id=P-PAID&signed=1&ok=1")
    await called(api, "enfance", "transaction_id=P-REFUSED&signed=1")
    await api.app.reconcile()


async def families_go(api: Api) -> None:
    """What becomes of the others; strangers call; a person decides."""
    await called(api, "enfance", "transaction_id=P-REFUNDED&signed=1&ok=1")
    await called(api, "enfance", "transaction_id=nobody&signed=1&ok=1")
    for _ in range(3):
        await called(api, "piscine", "", signed(PAID, "not the key"))
    await called(api, "piscine", "", signed(PAID, LYRA_SECRET))
    await api.app.reconcile()
    assert await vanished(api) == 2
    await told(
        api, "payment.started", "again", **(started("P-AGAIN", lines={"C-2": 4250})["data"] | {"regie": "cantine"})
    )
    await api.app.reconcile()
    await called(api, "cantine", "transaction_id=P-AGAIN&signed=1&ok=1")
    await called(api, "cantine", "transaction_id=P-LATE&signed=1&ok=1")
    await told(api, "payment.refunded", "refund", reference="P-REFUNDED", amount_cents=4250)
    await api.post(issued("F-4"))
    await told(api, "invoice.settled", "cash", number="F-4", amount_cents=4000, means="cash")
    await told(api, "gateway.callback", "theirs", method="GET", query="transaction_id=P-9&signed=1&ok=1")
    await api.app.reconcile()
    await resolved(api)


async def vanished(api: Api) -> int:
    """Wait until the short holds are over, and end them; answers how many."""
    ended = 0
    while (seconds := await api.app.store.next_deadline()) is not None and seconds <= HOLD_SECONDS:
        await asyncio.sleep(max(0.0, seconds))
        ended += await api.app.end_due_holds()
    return ended


async def resolved(api: Api) -> None:
    """A person gives the double payment back as an avoir."""
    key = await api.app.pool.fetchval("SELECT id FROM discrepancies WHERE kind = 'double_payment' AND state = 'open'")
    data = DiscrepancyResolved(regie="cantine", id=key, resolution="credited", amount_cents=4250, comment="avoir 12")
    kind = EventType.DISCREPANCY_RESOLVED
    digest = digest_of(kind, data)
    fact = NewEvent(client="lettrage", source="/admin", id="r1", type=kind, regie="cantine", data=data, digest=digest)
    await api.app.store.record([fact])
    await api.app.reconcile()
    assert await api.app.pool.fetchval("SELECT state FROM discrepancies WHERE id = $1", key) != "open"


async def states(api: Api) -> States:
    """What an import must make equal: states, money, discrepancies, and the facts themselves.

    A closed discrepancy was one between two facts, by the order in which they were applied.
    """
    return {name: [tuple(row) for row in await api.app.pool.fetch(query)] for name, query in STATES.items()}


async def assert_same(api: Api, wanted: States) -> None:
    """All of it is equal."""
    assert_equal(await states(api), wanted)


def assert_equal(got: States, wanted: States) -> None:
    """What differs is shown row by row."""
    for name, rows in got.items():
        lost = [row for row in wanted[name] if row not in rows]
        new = [row for row in rows if row not in wanted[name]]
        assert (lost, new) == ([], []), name


async def lettrage(folder: Path, api: Api, *args: str) -> Result:
    """The command, for the installation behind `api`, with its admin's token."""
    url = api.app.settings.database_url or ""
    home = Installation(folder, DATABASE_URL=url, LETTRAGE_TOKEN=TOKENS["admin"])
    home.configure(CLIENT + REGIE)
    return await asyncio.to_thread(home.ask, *args)


async def archive_of(folder: Path, api: Api, *args: str) -> Path:
    """A file with the events of an installation."""
    listed = await lettrage(folder, api, "events", "list", "--json", *args)
    assert listed.exit_code == 0, listed.stderr
    path = folder / "archive.json"
    path.write_text(listed.stdout)
    return path


async def taken(folder: Path, api: Api, archive: Path) -> Counter[str]:
    """How many events of an archive had which result."""
    sent = await lettrage(folder, api, "events", "send", "--archive", str(archive), "--json", "--url", api.address)
    assert sent.exit_code == 0, sent.stdout + sent.stderr
    return Counter(each["status"] for each in json.loads(sent.stdout)["results"])


async def drained(api: Api, begin_with: Queue = Queue.PAYMENT_STARTED) -> list[str]:
    """Apply everything; answers the ids of the callbacks that had to be read."""
    read: list[str] = []
    interpreter = Interpreter(gateways_of(api.app.settings))

    async def interpret(callback: Event) -> Report | Claim:
        read.append(callback.id)
        return await interpreter(callback)

    reconciler = Reconciler(api.app.store, interpret, _unobserved)
    for queue in (begin_with, Queue.PAYMENT_STARTED, Queue.GATEWAY_CALLBACK):
        await reconciler.drain(queue)
    await reconciler.end_due_holds()
    assert await api.app.pool.fetchval("SELECT count(*) FROM pending") == 0
    return read


def _unobserved(_done: Done) -> None:
    pass


def rewritten(path: Path, events: Sequence[Any]) -> Path:
    """An archive with those events."""
    path.write_text(json.dumps(events))
    return path


async def test_an_archive_makes_another_installation_the_same(first: Api, second: Api, tmp_path: Path) -> None:
    """States, money, discrepancies and facts are equal, once and after a second import; no gateway answer is read."""
    await families(first)
    before = await states(first)
    kinds = {row[2] for row in before["payments"]}
    assert kinds == {"paid", "refused", "expired", "refunded"}
    assert len(before["discrepancies"]) >= 3
    archive = await archive_of(tmp_path, first)

    assert await taken(tmp_path, second, archive) == {"accepted": len(before["facts"])}
    assert await drained(second, Queue.GATEWAY_CALLBACK) == []
    await assert_same(second, before)

    assert await taken(tmp_path, second, archive) == {"duplicate": len(before["facts"])}
    assert await drained(second) == []
    await assert_same(second, before)


async def test_an_installation_knows_its_own_archive(first: Api, tmp_path: Path) -> None:
    """What Lettrage wrote itself is told apart by the same digest, whoever computed it: duplicates, no conflicts."""
    await families(first)
    before = await states(first)
    archive = await archive_of(tmp_path, first)
    assert await taken(tmp_path, first, archive) == {"duplicate": len(before["facts"])}
    assert await drained(first) == []
    await assert_same(first, before)


async def test_a_restored_backup_gets_what_happened_since(first: Api, second: Api, tmp_path: Path) -> None:
    """The whole archive after some of it: the rest is added, whatever was applied already."""
    await families(first)
    before = await states(first)
    archive = json.loads((await archive_of(tmp_path, first)).read_text())
    for part in (len(archive) // 3, len(archive) // 2, len(archive)):
        await taken(tmp_path, second, rewritten(tmp_path / "part.json", archive[:part]))
        await drained(second)
    await assert_same(second, before)


async def test_a_restored_copy_gets_what_the_lost_one_did_since(
    database_url: str, backup_url: str, tmp_path: Path
) -> None:
    """Families were at their gateways; the restored clock has ended two holds by itself before the archive comes."""
    async with installation(database_url) as lost, installation(backup_url) as restored:
        await families_go(lost)
        assert await vanished(restored) == 2
        wanted = await states(lost)
        counted = await taken(tmp_path, restored, await archive_of(tmp_path, lost))
        assert counted["accepted"] >= 10
        await drained(restored)
        got = await states(restored)
        ended = [row for row in got["facts"] if row[3] == EventType.PAYMENT_TIMED_OUT]
        assert set(got.pop("facts")) - set(wanted.pop("facts")) == set(ended)
        assert_equal(got, wanted)


async def test_a_callback_before_its_report_says_nothing_twice(first: Api, second: Api, tmp_path: Path) -> None:
    """Read here, its report has the archive's name: the one in the archive is a duplicate, and nothing counts twice."""
    await families(first)
    before = await states(first)
    archive = json.loads((await archive_of(tmp_path, first)).read_text())
    portals = [each for each in archive if each["type"] not in OURS]
    await taken(tmp_path, second, rewritten(tmp_path / "portals.json", portals))
    assert len(await drained(second)) == sum(each["type"] == EventType.GATEWAY_CALLBACK for each in portals)
    counted = await taken(tmp_path, second, rewritten(tmp_path / "all.json", archive))
    assert counted == {"duplicate": len(archive) - 3, "accepted": 3}, (
        "two ends of holds and a person's decision are new"
    )
    await drained(second)
    await assert_same(second, before)


async def test_a_callback_that_was_not_read_yet_is_read_by_who_takes_it(
    first: Api, second: Api, tmp_path: Path
) -> None:
    """It is in the archive without a report, and pays here."""
    await begun(first, "P-1", "F-1")
    await first.app.reconcile()
    await called(first, "enfance", "transaction_id=P-1&signed=1&ok=1")
    await taken(tmp_path, second, await archive_of(tmp_path, first))
    assert len(await drained(second)) == 1
    assert await second.app.pool.fetchval("SELECT state FROM payments") == "paid"
    await first.app.reconcile()
    await assert_same(second, await states(first))


async def test_a_hold_that_is_still_on_is_taken_with_its_own_end(first: Api, second: Api, tmp_path: Path) -> None:
    """By the time at which the first installation received it."""
    await begun(first, "P-1", "F-1")
    await first.app.reconcile()
    await taken(tmp_path, second, await archive_of(tmp_path, first))
    await drained(second)
    ends = [await api.app.pool.fetchval("SELECT payable_again_at FROM holds") for api in (first, second)]
    assert ends[0] is not None
    assert ends[0] == ends[1]


async def test_an_archive_is_cloudevents_in_the_order_of_application(first: Api, tmp_path: Path) -> None:
    """Oldest first, a callback right after its report, all that was stored in it; a limit takes the newest."""
    await families(first)
    archive = json.loads((await archive_of(tmp_path, first)).read_text())
    report = next(at for at, each in enumerate(archive) if each["type"] == EventType.GATEWAY_REPORT)
    assert archive[report + 1]["type"] == EventType.GATEWAY_CALLBACK
    assert archive[report + 1]["id"] == archive[report]["id"]
    assert archive[report + 1]["lettrageclient"] == ""
    places = [int(each["lettrageplace"]) for each in archive if each["type"] != EventType.GATEWAY_CALLBACK]
    assert places == sorted(places)
    assert {each["specversion"] for each in archive} == {"1.0"}
    assert {name for each in archive for name in each if name != "data"} <= {
        "specversion", "id", "source", "type", "time", "traceparent", "recordedtime",
        "lettrageclient", "lettrageplace", "lettrageoutcome", "lettragereason", "lettragedecided", "lettrageraw",
    }  # fmt: skip
    newest = json.loads((await archive_of(tmp_path, first, "--limit", "2")).read_text())
    assert [each["lettrageplace"] for each in newest] == [str(place) for place in (max(places) - 1, max(places))]
    assert json.loads((await archive_of(tmp_path, first, "--regie", "nobody")).read_text()) == []


async def test_an_archive_is_not_sent_as_one_s_own(first: Api, tmp_path: Path) -> None:
    """Without --archive nothing of it is taken: a refund would count again under another client's name."""
    await begun(first, "P-1", "F-1")
    archive = await archive_of(tmp_path, first)
    sent = await lettrage(tmp_path, first, "events", "send", str(archive), "--json", "--url", first.address)
    assert sent.exit_code == 1
    assert {each["status"] for each in json.loads(sent.stdout)["results"]} == {"rejected"}
    assert "--archive" in sent.stdout
    assert len(await first.app.events()) == 2
