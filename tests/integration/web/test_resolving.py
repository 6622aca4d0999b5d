"""Discrepancies are resolved by people: who may, what counts, what a second click or another person gets."""

# ruff: noqa: ANN401 (bodies are any JSON, wrong ones too)

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, cast

import pytest
from aiohttp import ClientResponse

from schemas.events import EventType, NewEvent, Receipt
from schemas.records import Resolution
from schemas.views import DiscrepancyView, OutcomeView
from tests.api import TOKENS, Api, bearer, composed, event, issued, served
from tests.conftest import database
from tests.integration.web.test_events_in import problem
from worker.settings import Client
from worker.store.resolutions import Desk, Refusal, Wanted, find_one, resolve

SEEN = {"resolution": "explained", "comment": "another till"}


@pytest.fixture
def second_url(postgres: str, template: str) -> Iterator[str]:
    """Another, empty database."""
    with database(postgres, template) as address:
        yield address


@pytest.fixture
async def second(second_url: str) -> AsyncIterator[Api]:
    """An installation that is empty."""
    async with composed(second_url) as app, served(app) as client:
        yield client


@asynccontextmanager
async def worker(api: Api) -> AsyncIterator[None]:
    """A worker beside the web process, for as long as it is wanted."""

    async def work() -> None:
        while True:
            await api.app.reconcile()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()


async def told(api: Api, *events: Any) -> None:
    """Send events and have them reconciled, here or by the worker that has taken them."""
    for each in events:
        assert (await api.post(each)).status == 202
    async with asyncio.timeout(10):
        while await api.app.pool.fetchval("SELECT EXISTS (SELECT FROM pending)"):
            await api.app.reconcile()


def settled(number: str = "F-1", cents: int = 4250, event_id: str = "settled", regie: str = "enfance") -> Any:
    """Cash for an invoice."""
    data = {"regie": regie, "number": number, "amount_cents": cents, "means": "cash"}
    return event("invoice.settled", data, event_id)


async def overpaid(api: Api, cents: int = 5000, regie: str = "enfance") -> str:
    """The id of an open discrepancy: more cash than the invoice's 42.50."""
    await told(api, issued(regie=regie), settled(cents=cents, regie=regie))
    return str((await shown(api, regie))["id"])


async def shown(api: Api, regie: str = "enfance") -> Any:
    """The only discrepancy of a régie."""
    (item,) = (await (await api.get(f"/v1/regies/{regie}/discrepancies", "city")).json())["items"]
    return item


async def ask(api: Api, key: str, body: Any, client: str = "admin", **headers: str) -> ClientResponse:
    """Ask for a resolution."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    address = f"{api.address}/v1/admin/discrepancies/{key}/resolve"
    return await api.http.post(address, data=sent, headers=bearer(client) | headers)


async def stored(api: Api, count: int) -> None:
    """Wait until so many events are stored."""
    for _ in range(500):
        if len(await api.app.events()) >= count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("waited in vain")


@pytest.mark.parametrize("how", list(Resolution))
async def test_each_resolution_closes_and_says_who(api: Api, how: str) -> None:
    """200 with the discrepancy as read: how, why, by whom and when; the event is ours and rang the bell."""
    key = await overpaid(api)
    async with worker(api):
        answer = await ask(api, key, {"resolution": how, "comment": "seen"})
    said = await answer.json()
    assert (answer.status, said["status"], said["outcome"], said["reason"]) == (
        200,
        "accepted",
        "applied",
        "discrepancy_resolved",
    )
    assert said["discrepancy"] == await shown(api)
    found = said["discrepancy"]
    assert (found["state"], found["resolution"], found["comment"], found["resolved_by"]) == (
        "resolved",
        how,
        "seen",
        "admin",
    )
    assert found["resolved_at"] >= found["opened_at"]
    assert found["amount_cents"] == (0 if how == "credited" else 750)
    last = (await api.app.events())[-1]
    assert (last["client"], last["type"]) == ("lettrage", EventType.DISCREPANCY_RESOLVED)
    assert "payment-corrected" in api.app.bell.rung


async def test_a_larger_amount_opens_it_again(api: Api) -> None:
    """Written off at 7.50; then 1.00 more came: open, with who closed the smaller one still shown."""
    key = await overpaid(api)
    async with worker(api):
        assert (await ask(api, key, {"resolution": "written_off", "comment": "small"})).status == 200
        await told(api, settled(cents=100, event_id="more"))
        again = await shown(api)
        assert (again["state"], again["amount_cents"], again["resolution"]) == ("open", 850, "written_off")
        assert again["resolved_by"] == "admin"
        second = await (await ask(api, key, {"resolution": "written_off", "comment": "small"})).json()
    assert (second["status"], second["discrepancy"]["state"]) == ("accepted", "resolved")
    assert await api.app.pool.fetchval("SELECT count(*) FROM discrepancies") == 1


@pytest.mark.parametrize("how", ["explained", "credited"])
async def test_a_second_click_counts_once(api: Api, how: str) -> None:
    """Both at the same time, and a third much later: the same answer, one event, one credit."""
    key = await overpaid(api)
    body = {"resolution": how, "comment": "seen", "amount_cents": 750}
    async with worker(api):
        answers = [await each.json() for each in await asyncio.gather(ask(api, key, body), ask(api, key, body))]
        late = [await (await ask(api, key, said)).json() for said in (body, {"resolution": how, "comment": "seen"})]
    assert sorted(each.pop("status") for each in answers) == ["accepted", "duplicate"]
    assert {each.pop("status") for each in late} == {"duplicate"}
    assert answers[0] == answers[1] == late[0] == late[1]
    assert [row["type"] for row in await api.app.events()].count(EventType.DISCREPANCY_RESOLVED) == 1
    assert await api.app.pool.fetchval("SELECT count(*) FROM adjustments WHERE kind = 'credited'") == (
        how == "credited"
    )


async def test_of_two_people_the_first_is_right(api: Api) -> None:
    """Other resolutions at the same time: one is applied, the other is told that it came second."""
    key = await overpaid(api)
    asks = [ask(api, key, {"resolution": how, "comment": "seen"}) for how in ("refunded", "written_off")]
    both = asyncio.gather(*asks)
    await stored(api, 4)  # each has seen it open
    async with worker(api):
        answers = await both
    assert sorted(answer.status for answer in answers) == [200, 409]
    second = next(answer for answer in answers if answer.status == 409)
    await problem(second, 409, "discrepancy-not-open")
    first = await next(answer for answer in answers if answer.status == 200).json()
    assert (await shown(api))["resolution"] == first["discrepancy"]["resolution"]


async def test_what_is_closed_cannot_be_resolved_otherwise(api: Api) -> None:
    """Another comment, another amount or another way is another resolution."""
    key = await overpaid(api)
    async with worker(api):
        assert (await ask(api, key, SEEN)).status == 200
        for other in ({"comment": "no"}, {"amount_cents": 1}, {"resolution": "refunded"}):
            said = await problem(await ask(api, key, SEEN | other), 409, "discrepancy-not-open")
            assert "resolved" in said["detail"]
    assert len(await api.app.events()) == 3


async def test_the_amount_that_was_seen_is_what_is_closed(api: Api) -> None:
    """It changed meanwhile: 409 with the new one, and nothing is stored."""
    key = await overpaid(api)
    said = await problem(await ask(api, key, SEEN | {"amount_cents": 700}), 409, "discrepancy-amount-changed")
    assert "750" in said["detail"]
    assert len(await api.app.events()) == 2


async def test_an_amount_that_grows_before_it_is_applied_stays_open(api: Api) -> None:
    """7.50 were seen; 1.00 more waits already: told, and the rest is open."""
    key = await overpaid(api)
    assert (await api.post(settled(cents=100, event_id="more"))).status == 202
    asked = asyncio.create_task(ask(api, key, SEEN | {"amount_cents": 750}))
    await stored(api, 4)
    await api.app.reconcile()
    said = await problem(await asked, 409, "discrepancy-amount-changed")
    assert "850" in said["detail"]
    assert (await shown(api))["state"] == "open"


async def test_without_a_worker_it_is_stored_and_not_told(api: Api) -> None:
    """202 in time; once a worker comes, the same request has its answer."""
    key = await overpaid(api)
    answer = await ask(api, key, SEEN, Prefer="wait=1")
    assert (answer.status, answer.headers["Preference-Applied"]) == (202, "wait=1")
    first = await answer.json()
    await api.app.reconcile()
    second = await ask(api, key, SEEN)
    said = await second.json()
    assert (second.status, said["id"], said["status"], said["outcome"]) == (200, first["id"], "duplicate", "applied")


async def test_nothing_is_credited_where_nothing_is_to_be_given_back(api: Api) -> None:
    """An avoir for a forged callback makes no sense; explaining it does."""
    data = {"regie": "piscine", "method": "GET", "query": "vads_trans_id=000001&vads_trans_date=20261123083000"}
    await told(api, event("gateway.callback", data))
    key = (await shown(api, "piscine"))["id"]
    await problem(await ask(api, key, SEEN | {"resolution": "credited"}), 409, "resolution-not-applicable")
    async with worker(api):
        assert (await ask(api, key, SEEN)).status == 200


async def test_what_closed_by_itself_is_not_open(api: Api) -> None:
    """Money left again: nobody needs to close it."""
    key = await overpaid(api)
    back = {"regie": "enfance", "number": "F-1", "amount_cents": 750, "means": "cash"}
    await told(api, event("invoice.unsettled", back))
    said = await problem(await ask(api, key, SEEN), 409, "discrepancy-not-open")
    assert "closed" in said["detail"]


@pytest.mark.parametrize("key", ["0" * 32, "x", "%00", "0" * 33, "..%2F"])
async def test_an_unknown_one_is_not_found(api: Api, key: str) -> None:
    """Whatever it looks like."""
    await problem(await ask(api, key, SEEN), 404, "discrepancy-not-found")


async def test_it_needs_the_scope_admin(api: Api) -> None:
    """401 without a token, 403 without the scope, before anything is told."""
    key = await overpaid(api)
    address = f"{api.address}/v1/admin/discrepancies/{key}/resolve"
    await problem(await api.http.post(address, data=b"{}"), 401, "unauthorized")
    for client in ("portail", "city", "reader"):
        await problem(await ask(api, key, SEEN, client), 403, "scope-missing")
    assert (await shown(api))["state"] == "open"


async def test_an_admin_of_other_regies_may_not(api: Api) -> None:
    """403, and it stays open."""
    key = await overpaid(api, regie="cantine")
    local = Client(name="local", scopes=frozenset({"admin"}), regies=frozenset({"enfance"}))
    cast("dict[str, Client]", api.app.settings.clients)[sha256(TOKENS["admin"].encode()).hexdigest()] = local
    await problem(await ask(api, key, SEEN), 403, "regie-forbidden")
    assert (await shown(api, "cantine"))["state"] == "open"


async def test_nobody_else_sends_one(api: Api) -> None:
    """The event is ours: 422 from a portal, and from an admin outside an archive."""
    key = await overpaid(api)
    data = {"regie": "enfance", "id": key, "amount_cents": 750} | SEEN
    for client in ("city", "portail"):
        await problem(await api.post(event("discrepancy.resolved", data), client), 422, "invalid-event")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/resolution", "/comment"]),
        (SEEN | {"resolution": "forgotten"}, ["/resolution"]),
        (SEEN | {"comment": ""}, ["/comment"]),
        (SEEN | {"comment": " \n\t"}, ["/comment"]),
        (SEEN | {"comment": "x" * 501}, ["/comment"]),
        (SEEN | {"comment": "a\x00b"}, ["/comment"]),
        (SEEN | {"amount_cents": -1}, ["/amount_cents"]),
        (SEEN | {"amount_cents": 7.5}, ["/amount_cents"]),
        (SEEN | {"by": "mayor"}, ["/by"]),
        ([SEEN], [""]),
    ],
)
async def test_every_fault_has_its_pointer(api: Api, body: Any, pointers: list[str]) -> None:
    """422, and nothing is stored; who it was is not for the body to say."""
    key = await overpaid(api)
    said = await problem(await ask(api, key, body), 422, "invalid-request")
    assert [fault["pointer"] for fault in said["errors"]] == pointers
    assert len(await api.app.events()) == 2


@pytest.mark.parametrize("body", [b"", b"{", b'{"comment": "a", "comment": "b"}', b"\xff"])
async def test_what_is_no_json_is_told_so(api: Api, body: bytes) -> None:
    """400."""
    await problem(await ask(api, "0" * 32, body), 400, "not-json")


async def test_an_archive_keeps_who_resolved_what(api: Api, second: Api) -> None:
    """Sent to an empty installation, resolution, comment, person and time are the same; the same click is known."""
    key = await overpaid(api)
    async with worker(api):
        assert (await ask(api, key, SEEN)).status == 200
    rows = [
        {
            "specversion": "1.0",
            "id": row["id"],
            "source": row["source"],
            "type": row["type"],
            "recordedtime": row["received_at"].isoformat(),
            "lettrageclient": row["client"],
            "data": json.loads(row["data"]),
        }
        for row in await api.app.events()
    ]
    headers = {"Content-Type": "application/cloudevents-batch+json"} | bearer("admin")
    address = f"{second.address}/v1/events?archive=true"
    answer = await second.http.post(address, data=json.dumps(rows), headers=headers)
    assert [each["status"] for each in (await answer.json())["results"]] == ["accepted"] * 3
    await second.app.reconcile()
    kept = ("id", "state", "amount_cents", "resolution", "comment", "resolved_at", "resolved_by")
    before, after = await shown(api), await shown(second)
    assert [before[name] for name in kept] == [after[name] for name in kept]


async def test_an_archive_of_one_regie_closes_nothing_of_another(api: Api) -> None:
    """A resolution in the name of a régie that names another régie's discrepancy is refused by name."""
    key = await overpaid(api, regie="cantine")
    data = {"regie": "enfance", "id": key, "amount_cents": 750} | SEEN
    sent = event("discrepancy.resolved", data, lettrageclient="lettrage")
    headers = {"Content-Type": "application/cloudevents+json"} | bearer("admin")
    answer = await api.http.post(f"{api.address}/v1/events?archive=true", data=json.dumps(sent), headers=headers)
    assert answer.status == 202
    await api.app.reconcile()
    assert (await shown(api, "cantine"))["state"] == "open"


async def test_an_event_that_cannot_be_stored_is_told(api: Api) -> None:
    """What the ingest leaves out is refused, not lost."""
    found = await find_one(api.app.views, await overpaid(api))
    assert isinstance(found, DiscrepancyView)

    async def refusing(events: Sequence[NewEvent]) -> list[Receipt | None]:
        return [None for _ in events]

    async def never(_place: int, _seconds: float) -> OutcomeView | None:
        raise AssertionError("nothing was stored")

    desk = Desk(api.app.views, refusing, never, 1)
    done = await resolve(found, Wanted(Resolution.EXPLAINED, "seen", "admin"), desk)
    assert done.refusal is Refusal.UNSTORABLE
