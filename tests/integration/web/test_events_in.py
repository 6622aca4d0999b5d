"""Events come in over HTTP and are stored before they are acknowledged."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientResponse

from tests.api import Api, bearer, event, issued, started
from worker.web import regies


async def problem(response: ClientResponse, status: int, slug: str) -> dict[str, Any]:
    """The problem that an answer is."""
    said: dict[str, Any] = json.loads(await response.read())
    assert (response.status, said["type"]) == (status, f"urn:lettrage:problem:{slug}"), said
    assert response.content_type == "application/problem+json"
    assert said["status"] == status
    assert said["title"]
    return said


async def test_an_event_is_stored_before_it_is_acknowledged(api: Api) -> None:
    """202 with the id and `accepted`; the row is there, and its queue was rung."""
    response = await api.post(issued())
    assert response.status == 202
    assert response.headers["Content-Type"] == "application/json"
    assert await response.json() == {"id": "issued-F-1", "status": "accepted"}
    (stored,) = await api.app.events()
    assert (stored["client"], stored["source"], stored["id"]) == ("portail", "/portail", "issued-F-1")
    assert json.loads(stored["data"]) == issued()["data"]
    assert api.app.bell.rung == ["invoice-changed"]


async def test_binary_mode(api: Api) -> None:
    """Attributes in headers, percent-encoded; data as the body."""
    headers = {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "facture%20n%C2%B0%201",
        "ce-source": "/portail",
        "ce-type": "fr.lettrage.invoice.issued.v1",
    }
    body = json.dumps(issued()["data"]).encode()
    response = await api.http.post(f"{api.address}/v1/events", data=body, headers=headers | bearer("portail"))
    assert response.status == 202
    assert await response.json() == {"id": "facture n° 1", "status": "accepted"}
    again = await api.post(issued(event_id="facture n° 1"))
    assert await again.json() == {"id": "facture n° 1", "status": "duplicate"}


async def test_a_batch_answers_for_each_of_its_events(api: Api) -> None:
    """Accepted, duplicate, conflict and rejected, in the order sent; what is right is kept in spite of the others."""
    await api.post(issued("F-1"))
    wrong = issued("F-3", amount_cents=-1)
    sent = [
        issued("F-1"),
        issued("F-1", 1, event_id="issued-F-1"),
        issued("F-2"),
        wrong,
        issued("F-2"),
        issued("F-2", 7, event_id="issued-F-2"),
        issued("F-4", regie="other"),
        "text",
        {"id": "no-event"},
    ]
    response = await api.batch(sent)
    assert response.status == 202
    results = (await response.json())["results"]
    assert [(result["id"], result["status"]) for result in results] == [
        ("issued-F-1", "duplicate"),
        ("issued-F-1", "conflict"),
        ("issued-F-2", "accepted"),
        ("issued-F-3", "rejected"),
        ("issued-F-2", "duplicate"),
        ("issued-F-2", "conflict"),
        ("issued-F-4", "rejected"),
        (None, "rejected"),
        ("no-event", "rejected"),
    ]
    assert [result["problem"]["status"] for result in results if "problem" in result] == [409, 422, 409, 403, 400, 400]
    assert results[3]["problem"]["errors"][0]["pointer"] == "/data/amount_cents"
    assert [row["id"] for row in await api.app.events()] == ["issued-F-1", "issued-F-2"]


async def test_an_empty_batch_is_nothing(api: Api) -> None:
    """202, no results."""
    response = await api.batch([])
    assert (response.status, await response.json()) == (202, {"results": []})


async def test_a_whole_batch_of_a_thousand(api: Api) -> None:
    """All accepted, all stored, and all duplicates the second time."""
    sent = [issued(f"F-{n}") for n in range(1000)]
    for status in ("accepted", "duplicate"):
        results = (await (await api.batch(sent)).json())["results"]
        assert {result["status"] for result in results} == {status}
    assert len(await api.app.events()) == 1000


async def test_the_same_event_again_is_a_duplicate(api: Api) -> None:
    """Another time, trace, spacing or order of members changes nothing."""
    await api.post(issued())
    again = dict(reversed(issued().items())) | {"time": "2026-01-01T00:00:00Z", "traceparent": "new"}
    response = await api.post(json.dumps(again, indent=4).encode())
    assert (response.status, await response.json()) == (202, {"id": "issued-F-1", "status": "duplicate"})
    assert len(await api.app.events()) == 1


async def test_the_same_key_with_other_content_is_a_conflict(api: Api) -> None:
    """409; what is stored stays."""
    await api.post(issued())
    await problem(await api.post(issued(cents=1)), 409, "event-conflict")
    await problem(
        await api.post(event("invoice.withdrawn", {"regie": "enfance", "number": "F-1"}, "issued-F-1")),
        409,
        "event-conflict",
    )
    (stored,) = await api.app.events()
    assert json.loads(stored["data"])["amount_cents"] == 4250


async def test_a_key_is_of_its_client_and_source(api: Api) -> None:
    """Another client's, or another source's, event of the same id is another event."""
    sent = [
        await api.post(issued()),
        await api.post(issued(), client="city"),
        await api.post(issued() | {"source": "/other"}),
    ]
    assert [(await response.json())["status"] for response in sent] == ["accepted"] * 3


async def test_concurrent_requests_are_told_apart(api: Api) -> None:
    """200 at once, half of them twice: each gets its own answer, each event is stored once."""
    ids = [f"F-{n}" for n in range(100)] * 2
    responses = await asyncio.gather(*[api.post(issued(number)) for number in ids])
    said = [await response.json() for response in responses]
    assert [each["id"] for each in said] == [f"issued-{number}" for number in ids]
    assert sorted(each["status"] for each in said) == ["accepted"] * 100 + ["duplicate"] * 100
    assert len(await api.app.events()) == 100


# Who may


WRONG_TOKENS = [
    None,
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong",
    "Basic cG9ydGFpbC10b2tlbg==",
    "portail-token",
    "Bearer " + "x" * 2000,
]


async def test_without_a_known_token_nothing_is_read(api: Api, subtests: pytest.Subtests) -> None:
    """401, which names its scheme, whatever the body."""
    for header in WRONG_TOKENS:
        with subtests.test(header):
            headers = {} if header is None else {"Authorization": header}
            response = await api.http.post(f"{api.address}/v1/events", data=b"garbage", headers=headers)
            await problem(response, 401, "unauthorized")
            assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_the_scheme_is_not_case_sensitive(api: Api) -> None:
    """`bearer` is Bearer."""
    response = await api.post(issued(), Authorization="bearer portail-token")
    assert response.status == 202


ACCESS = [
    ("portail", "enfance", 202),
    ("portail", "other", 403),
    ("sender", "enfance", 202),
    ("sender", "cantine", 403),
    ("city", "piscine", 202),
    ("city", "unknown", 422),
    ("reader", "enfance", 403),
    ("admin", "enfance", 403),
]


async def test_scopes_and_regies(api: Api, subtests: pytest.Subtests) -> None:
    """The scope `events`, and the régie; only who may speak for any hears that it is unknown."""
    for client, regie, status in ACCESS:
        with subtests.test(f"{client} {regie}"):
            before = len(await api.app.events())
            response = await api.post(issued(regie=regie), client=client)
            assert response.status == status, await response.text()
            assert len(await api.app.events()) - before == (status == 202)
            if status == 422:
                said = await problem(response, 422, "invalid-event")
                assert [fault["pointer"] for fault in said["errors"]] == ["/data/regie"]


async def test_a_regie_that_left_the_configuration_is_known(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its refunds still come; the database remembers it."""
    await api.app.pool.execute(
        "WITH p AS (INSERT INTO policies (regie, version, body) SELECT 'gone', 1, body FROM policies LIMIT 1)"
        " INSERT INTO regies VALUES ('gone', 'Gone', 1)"
    )
    monkeypatch.setattr(regies, "ASK_SECONDS", 0)
    assert (await api.post(issued(regie="gone"), client="city")).status == 202


# Bad input


UNREADABLE = [
    ("application/cloudevents+json", b"not JSON", 400, "not-json"),
    ("application/cloudevents+json", b"", 400, "not-json"),
    ("application/cloudevents+json", b"[]", 400, "not-a-cloudevent"),
    ("application/cloudevents+json", b"{}", 400, "not-a-cloudevent"),
    ("application/cloudevents-batch+json", b"{}", 400, "not-a-cloudevent"),
    ("application/cloudevents-batch+json", b"[" + b"{}," * 1000 + b"{}]", 413, "too-many-events"),
    ("application/json", b"{}", 400, "not-a-cloudevent"),
    ("text/plain", b"{}", 415, "unsupported-media-type"),
    ("application/cloudevents+xml", b"<a/>", 415, "unsupported-media-type"),
]


async def test_what_cannot_be_read_is_told(api: Api, subtests: pytest.Subtests) -> None:
    """400, 413 or 415; nothing is stored."""
    for content_type, body, status, slug in UNREADABLE:
        with subtests.test(f"{content_type} {body[:10]!r}"):
            headers = {"Content-Type": content_type} | bearer("portail")
            response = await api.http.post(f"{api.address}/v1/events", data=body, headers=headers)
            await problem(response, status, slug)
    assert await api.app.events() == []


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("unknown type", event("payment.stolen", {}), "/type"),
    ("a type of ours", event("payment.timed_out", {"regie": "enfance"}), "/type"),
    ("negative amount", issued(amount_cents=-1), "/data/amount_cents"),
    ("fractional amount", issued(amount_cents=42.5), "/data/amount_cents"),
    ("sum differs", started(amount_cents=1), "/data/amount_cents"),
    (
        "an invoice twice",
        started(amount_cents=2, invoices=[{"number": "F-1", "amount_cents": 1}] * 2),
        "/data/invoices/1/number",
    ),
    ("300 characters", started("R" * 300, event_id="long"), "/data/reference"),
    ("next century", started() | {"time": "2126-01-01T00:00:00Z"}, "/time"),
    ("1970", started() | {"time": "1970-01-01T00:00:00Z"}, "/time"),
    ("101 invoices", started(lines={f"F-{n}": 1 for n in range(101)}), "/data/invoices"),
    ("a NUL", issued(label="a\x00b"), "/data/label"),
]


async def test_bad_input_names_the_field_and_changes_nothing(api: Api, subtests: pytest.Subtests) -> None:
    """Each line of the issue's list gets the contract's answer; nothing is stored."""
    for name, sent, pointer in BAD:
        with subtests.test(name):
            said = await problem(await api.post(sent), 422, "invalid-event")
            assert [fault["pointer"] for fault in said["errors"]] == [pointer]
    assert await api.app.events() == []


async def test_a_million_invoices_are_too_many(api: Api) -> None:
    """As many as fit into 1 MiB are a 422 on the list; a million are a 413, read or not."""
    line = b'{"number":"1","amount_cents":1},'
    head = json.dumps(started(invoices=[])).encode().replace(b"[]", b"[", 1)[:-2]
    fitting = head + (line * 30_000)[:-1] + b"]}}"
    said = await problem(await api.post(fitting), 422, "invalid-event")
    assert "/data/invoices" in [fault["pointer"] for fault in said["errors"]]
    await problem(await api.post(head + (line * 1_000_000)[:-1] + b"]}}"), 413, "too-large")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_of_ten_megabytes_is_refused(api: Api, chunked: bool) -> None:  # noqa: FBT001
    """413, by its length, or as soon as it has become too long."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(160):
            yield b"x" * 65_536

    headers = {"Content-Type": "application/cloudevents+json"} | bearer("portail")
    data = pieces() if chunked else b"x" * 10_485_760
    await problem(await api.http.post(f"{api.address}/v1/events", data=data, headers=headers), 413, "too-large")


async def test_exactly_one_mebibyte_is_read(api: Api) -> None:
    """The limit is inclusive; one byte more is not."""
    padded = json.dumps(issued()).encode().ljust(1_048_576)
    assert (await api.post(padded)).status == 202
    await problem(await api.post(padded + b" "), 413, "too-large")


async def test_a_compressed_body_is_refused(api: Api) -> None:
    """415: nothing is decompressed."""
    await problem(await api.post(issued(), Content_Encoding="gzip"), 415, "unsupported-media-type")


# Waiting for the outcome


async def test_a_wait_is_answered_once_it_is_reconciled(api: Api) -> None:
    """200 with outcome, reason and, for a payment, the payment as read; the preference is said to be met."""
    await api.post(issued())
    await api.app.reconcile()
    waiting = asyncio.create_task(api.post(started(), Prefer="wait=10"))
    api.app.bell.heard.clear()
    await api.app.bell.heard.wait()
    await api.app.reconcile()
    response = await waiting
    said = await response.json()
    assert response.status == 200
    assert response.headers["Preference-Applied"] == "wait=10"
    payment = said.pop("payment")
    assert said == {"id": "started-P-1", "status": "accepted", "outcome": "applied", "reason": "hold_taken"}
    assert (payment["state"], payment["reference"], payment["amount_cents"]) == ("started", "P-1", 4250)
    assert payment["invoices"] == [{"number": "F-1", "amount_cents": 4250}]


async def test_a_refused_payment_says_why_and_until_when(api: Api) -> None:
    """Another payment holds the invoice: the family is not sent to the gateway."""
    await api.post(started("P-1"))
    await api.app.reconcile()
    api.app.bell.heard.clear()
    waiting = asyncio.create_task(api.post(started("P-2"), Prefer="wait=10"))
    await api.app.bell.heard.wait()
    await api.app.reconcile()
    said = await (await waiting).json()
    assert (said["outcome"], said["reason"]) == ("refused", "invoice_in_payment")
    assert said["payment"]["state"] == "rejected"
    assert said["payment"]["payable_again_at"] is not None


async def test_an_event_about_no_payment_has_none(api: Api) -> None:
    """Outcome and reason alone."""
    waiting = asyncio.create_task(api.post(issued(), Prefer="wait=10"))
    await api.app.bell.heard.wait()
    await api.app.reconcile()
    said = await (await waiting).json()
    assert said == {"id": "issued-F-1", "status": "accepted", "outcome": "applied", "reason": "issued"}


async def test_a_wait_that_is_too_short_is_a_202(api: Api) -> None:
    """Nobody reconciles: after a second the event is accepted, no more."""
    response = await api.post(issued(), Prefer="wait=1")
    assert (response.status, await response.json()) == (202, {"id": "issued-F-1", "status": "accepted"})
    assert response.headers["Preference-Applied"] == "wait=1"


async def test_a_duplicate_of_what_is_reconciled_is_answered_at_once(api: Api) -> None:
    """The second click of a family learns what became of the first, and its payment as it is now."""
    await api.post(started())
    await api.app.reconcile()
    response = await asyncio.wait_for(api.post(started(), Prefer="wait=10"), 5)
    said = await response.json()
    assert (response.status, said["status"], said["outcome"]) == (200, "duplicate", "applied")
    assert said["payment"]["state"] == "started"


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (started(lines={"F-1": 500}, event_id="other"), "payment_conflict"),
        (started("P-2", lines={"F-2": 500}, gateway_reference="P-1"), "gateway_reference_in_use"),
    ],
    ids=["other amounts", "a gateway reference of another payment"],
)
async def test_a_refused_start_shows_nobody_elses_payment(api: Api, start: dict[str, Any], reason: str) -> None:
    """Whoever reads `started` sends the family away: that payment is not what was asked for."""
    await api.post(started())
    await api.post(start)
    await api.app.reconcile()
    said = await (await asyncio.wait_for(api.post(start, Prefer="wait=10"), 5)).json()
    assert (said["outcome"], said["reason"], "payment" in said) == ("refused", reason, False)


async def test_a_conflict_does_not_wait(api: Api) -> None:
    """There is nothing to wait for."""
    await api.post(issued())
    await problem(await asyncio.wait_for(api.post(issued(cents=1), Prefer="wait=10"), 5), 409, "event-conflict")


async def test_an_answer_is_a_line_that_ends(api: Api) -> None:
    """Whoever tries the API with curl has the prompt on a line of its own; of a problem too."""
    for sent, status in ((issued(), 202), (issued(cents=-1), 422)):
        answer = await api.post(sent)
        body = await answer.read()
        assert (answer.status, body.count(b"\n"), body[-2:]) == (status, 1, b"}\n")
        assert answer.content_length == len(body)


async def test_who_would_wait_longer_is_told_what_counts(api: Api) -> None:
    """As long as anybody may wait, and the answer says how long that is."""
    await api.post(issued())
    await api.app.reconcile()
    response = await asyncio.wait_for(api.post(issued(), Prefer="wait=11"), 5)
    assert (response.status, response.headers["Preference-Applied"]) == (200, "wait=10")


async def test_a_preference_that_is_no_wait_is_ignored(api: Api) -> None:
    """202 at once, and nothing is said to be applied."""
    for prefer in ("wait=0", "wait=-1", "wait=abc", "respond-async"):
        response = await asyncio.wait_for(api.post(issued(), Prefer=prefer), 5)
        assert response.status == 202
        assert "Preference-Applied" not in response.headers


async def test_many_wait_at_once(api: Api) -> None:
    """Fifty families: one worker's pass answers them all, each with its own payment."""
    waiting = [
        asyncio.create_task(api.post(started(f"P-{n}", lines={f"F-{n}": 100 + n}), Prefer="wait=10")) for n in range(50)
    ]
    while len(await api.app.events()) < 50:
        await api.app.bell.heard.wait()
        api.app.bell.heard.clear()
    await api.app.reconcile()
    said = [await response.json() for response in await asyncio.gather(*waiting)]
    assert [each["payment"]["amount_cents"] for each in said] == [100 + n for n in range(50)]


# Outages


async def test_a_database_that_is_gone_is_a_503(api: Api) -> None:
    """With Retry-After; nothing is acknowledged that was not stored."""
    await api.app.store.close()
    response = await api.post(issued())
    await problem(response, 503, "unavailable")
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("offset", ["+23:59", "-23:59", "+02:00"])
async def test_any_offset_of_a_time_is_the_same_instant(api: Api, offset: str) -> None:
    """RFC 3339 allows what PostgreSQL's own reader does not."""
    response = await api.post(issued("F-1") | {"time": f"2026-01-02T03:04:05{offset}"})
    assert response.status == 202
    (row,) = await api.app.events()
    assert row["time"] == datetime.fromisoformat(f"2026-01-02T03:04:05{offset}")


async def test_dropped_connections_lose_nothing(api: Api) -> None:
    """Every connection of the database is cut in mid-traffic: each acknowledged event is stored, none twice."""
    responses = []
    for n in range(10):
        sending = [asyncio.create_task(api.post(issued(f"F-{n}-{m}"))) for m in range(20)]
        await asyncio.sleep(0)
        await _cut_connections(api)
        responses += await asyncio.gather(*sending)
    stored = {row["id"] for row in await api.app.events()}
    acknowledged = {(await each.json())["id"] for each in responses if each.status == 202}
    assert {each.status for each in responses} <= {202, 503}
    assert acknowledged <= stored
    assert len(acknowledged) > 100


async def _cut_connections(api: Api) -> None:
    connection = await asyncpg.connect(api.app.settings.database_url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    await connection.close()
