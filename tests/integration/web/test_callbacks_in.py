"""Callbacks of gateways, and of strangers: stored byte for byte, then answered."""

import asyncio
import base64
import json
from typing import Any

import pytest
from aiohttp import ClientResponse
from asyncpg import Record

from tests.api import LYRA_SECRET, Api, exchange, started
from tests.integration.web.test_events_in import problem
from tests.unit.gateways.lyra_answers import PAID, signed
from worker.store.views import KnownRegies
from worker.web import regies
from worker.web.quotas import ADDRESS_AT_ONCE

PROOF = signed(PAID, LYRA_SECRET)
FORGED = signed(PAID, "not the key")
REFERENCE = "20261123083000_aB3x9Z"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def call(api: Api, regie: str = "piscine", body: bytes = PROOF) -> ClientResponse:
    """A gateway's notification."""
    return await api.http.post(f"{api.address}/v1/callbacks/{regie}", data=body, headers=FORM)


async def stored(api: Api) -> tuple[Record, dict[str, Any]]:
    """The only event, and its data."""
    (row,) = await api.app.events()
    return row, json.loads(row["data"])


async def test_a_notification_is_stored_as_it_came_and_answered_as_its_gateway_wants(api: Api) -> None:
    """Lyra reads 200 and OK; the bytes are in the event; the callback queue was rung."""
    response = await call(api)
    assert (response.status, await response.text()) == (200, "OK")
    row, data = await stored(api)
    assert (row["client"], row["source"], row["regie"]) == ("", "/callbacks/piscine", "piscine")
    assert (data["method"], base64.b64decode(data["body"])) == ("POST", PROOF)
    assert data["headers"] == {"content-type": "application/x-www-form-urlencoded"}
    assert row["raw"] == b"/v1/callbacks/piscine\r\n\r\n" + PROOF
    assert api.app.bell.rung == ["gateway-callback"]
    assert await api.app.pool.fetchval("SELECT subject FROM pending") == REFERENCE


async def test_a_get_s_query_is_kept(api: Api) -> None:
    """As it was written, escapes and all."""
    query = "transaction_id=T-1&signed=1&etat=%C3%A9tat+1&x=%00"
    answer = await exchange(
        api.port, f"GET /v1/callbacks/enfance?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 200")
    row, data = await stored(api)
    assert (data["method"], data["query"]) == ("GET", query)
    assert await api.app.pool.fetchval("SELECT subject FROM pending") == "T-1"
    assert row["raw"].startswith(f"/v1/callbacks/enfance?{query}".encode())


async def test_bytes_that_no_address_may_have_are_not_http(api: Api) -> None:
    """The parser refuses them before anybody looks; at least the answer is a problem, not a page."""
    answer = await exchange(
        api.port, b"GET /v1/callbacks/enfance?a=\xff\xc3\xa9 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert b" 400 " in answer[:20]
    assert b"urn:lettrage:problem:bad-request" in answer


@pytest.mark.parametrize("body", [bytes(range(256)), b"\x00" * 1000, "é€😀".encode("utf-16"), b""])
async def test_any_bytes_are_kept(api: Api, body: bytes) -> None:
    """A body needs no meaning."""
    assert (await call(api, body=body)).status == 200
    _, data = await stored(api)
    assert base64.b64decode(data.get("body", "")) == body


async def test_the_same_callback_again_is_another_event(api: Api) -> None:
    """Callbacks are never told apart by content."""
    for _ in range(3):
        assert (await call(api)).status == 200
    rows = await api.app.events()
    assert len({row["id"] for row in rows}) == 3


async def test_a_payment_is_paid_by_its_callback(api: Api) -> None:
    """End to end: started, notified, reconciled, read as paid."""
    await api.post(started(regie="piscine", gateway_reference=REFERENCE))
    await call(api)
    await api.app.reconcile()
    payment = await (await api.get("/v1/regies/piscine/payments/P-1")).json()
    assert (payment["state"], payment["received_cents"]) == ("paid", 4250)
    invoice = await (await api.get("/v1/regies/piscine/invoices/F-1")).json()
    assert (invoice["state"], invoice["paid_by"]) == ("paid", "P-1")


async def test_a_forged_callback_changes_no_invoice_and_is_shown(api: Api) -> None:
    """Answered like any other; kept; one discrepancy tells of it."""
    await api.post(started(regie="piscine", gateway_reference=REFERENCE))
    assert (await call(api, body=FORGED)).status == 200
    await api.app.reconcile()
    payment = await (await api.get("/v1/regies/piscine/payments/P-1")).json()
    assert (payment["state"], payment["received_cents"]) == ("started", 0)
    found = (await (await api.get("/v1/regies/piscine/discrepancies?state=open")).json())["items"]
    assert [item["kind"] for item in found] == ["unverified_callback"]


async def test_a_regie_never_known_is_a_404(api: Api, subtests: pytest.Subtests) -> None:
    """Whatever its name looks like; nothing is stored."""
    for regie in ("unknown", "ENFANCE", "..", "a" * 41, "%00", "enfance%0A", "%ff"):
        with subtests.test(regie):
            answer = await exchange(
                api.port, f"GET /v1/callbacks/{regie} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            assert answer.startswith(b"HTTP/1.1 404"), answer[:300]
    assert await api.app.events() == []


async def test_a_regie_that_left_the_configuration_still_answers(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its payments may still be on their way."""
    monkeypatch.setattr(regies, "ASK_SECONDS", 0)
    await api.app.pool.execute(
        "WITH p AS (INSERT INTO policies (regie, version, body) SELECT 'gone', 1, body FROM policies LIMIT 1)"
        " INSERT INTO regies VALUES ('gone', 'Gone', 1)"
    )
    assert (await call(api, "gone")).status == 200
    row, _ = await stored(api)
    assert row["regie"] == "gone"


async def test_strangers_cannot_make_us_ask_the_database_for_every_name(api: Api) -> None:
    """An unknown régie is looked for once a second at most."""
    asked = 0
    original = api.app.views.known_regies

    async def counted() -> KnownRegies:
        nonlocal asked
        asked += 1
        return await original()

    api.app.views.known_regies = counted  # type: ignore[method-assign]
    for n in range(50):
        assert (await call(api, f"unknown-{n}")).status == 404
    assert asked <= 3


async def test_64_kib_are_taken_and_no_byte_more(api: Api) -> None:
    """413 beyond."""
    assert (await call(api, body=b"x" * 65_536)).status == 200
    await problem(await call(api, body=b"x" * 65_537), 413, "too-large")
    assert len(await api.app.events()) == 1


async def test_other_methods_are_a_405(api: Api) -> None:
    """Which are allowed is said."""
    for method in ("PUT", "DELETE", "HEAD", "OPTIONS"):
        response = await api.http.request(method, f"{api.address}/v1/callbacks/enfance")
        assert response.status == 405
        assert set(response.headers["Allow"].split(",")) == {"GET", "POST"}


async def test_only_unproven_callbacks_spend_the_quotas(api: Api) -> None:
    """Forged ones are refused after a while, with Retry-After; a proof is always taken, and never counted."""
    for _ in range(10):
        assert (await call(api)).status == 200
    statuses = []
    for _ in range(20):
        answers = await asyncio.gather(*[call(api, body=FORGED) for _ in range(25)])
        statuses += [each.status for each in answers]
    assert statuses.count(200) >= ADDRESS_AT_ONCE
    assert set(statuses) == {200, 429}
    refused = await call(api, body=FORGED)
    while refused.status != 429:
        refused = await call(api, body=FORGED)
    await problem(refused, 429, "too-many-callbacks")
    assert int(refused.headers["Retry-After"]) > 0
    assert (await call(api)).status == 200


async def test_a_database_that_is_gone_is_a_503(api: Api) -> None:
    """The gateway repeats what was not acknowledged."""
    await api.app.store.close()
    await problem(await call(api), 503, "unavailable")
