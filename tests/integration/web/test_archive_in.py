"""An archive is taken from an admin alone, and only through its own door."""

# ruff: noqa: ANN401 (events are any JSON, wrong ones too)

import json
from hashlib import sha256
from typing import Any, cast

import pytest
from aiohttp import ClientResponse

from tests.api import TOKENS, Api, bearer, event, issued, started
from tests.integration.web.test_events_in import problem
from worker.settings import Client

OLD = "2020-01-31T08:00:00Z"
REPORT = {
    "regie": "enfance",
    "gateway_reference": "P-1",
    "transaction_id": "T-1",
    "result": "P",
    "verified": True,
    "cents": 4250,
}
OURS: dict[str, dict[str, Any]] = {
    "gateway.report": REPORT,
    "payment.timed_out": {"regie": "enfance", "reference": "P-1", "due": OLD},
    "discrepancy.resolved": {
        "regie": "enfance",
        "id": "0f",
        "resolution": "explained",
        "amount_cents": 0,
        "comment": "seen",
    },
}


async def archive(api: Api, sent: Any, client: str = "admin", query: str = "archive=true") -> ClientResponse:
    """Send one event, or a list of them, as an archive."""
    kind = "cloudevents-batch+json" if isinstance(sent, list) else "cloudevents+json"
    headers = {"Content-Type": f"application/{kind}"} | bearer(client)
    return await api.http.post(f"{api.address}/v1/events?{query}", data=json.dumps(sent), headers=headers)


def kept(kind: str, data: Any, client: str = "lettrage", **attributes: Any) -> dict[str, Any]:
    """An event as an archive has it."""
    return event(kind, data, f"of {kind}", recordedtime=OLD, lettrageclient=client) | attributes


async def test_an_archived_event_keeps_its_client_and_the_time_received(api: Api) -> None:
    """A payment started years ago, by another client."""
    old = started() | {"time": OLD, "recordedtime": OLD, "lettrageclient": "portail"}
    answer = await archive(api, old)
    assert (answer.status, await answer.json()) == (202, {"id": "started-P-1", "status": "accepted"})
    (row,) = await api.app.events()
    assert (row["client"], row["received_at"].isoformat()) == ("portail", "2020-01-31T08:00:00+00:00")
    again = await api.post(started())
    assert (await again.json())["status"] == "duplicate"


@pytest.mark.parametrize("kind", OURS)
async def test_what_only_lettrage_writes_comes_back_from_an_archive_alone(api: Api, kind: str) -> None:
    """Accepted there, 422 everywhere else, whatever attributes it has."""
    assert (await archive(api, kept(kind, OURS[kind]))).status == 202
    said = await problem(await api.post(kept(kind, OURS[kind]), "city"), 422, "invalid-event")
    assert said["errors"][0]["code"] == "reserved_type"


async def test_the_attributes_of_an_archive_change_nothing_elsewhere(api: Api) -> None:
    """They are extensions like any other: the client is who sends, the time is now."""
    assert (
        await api.post(issued() | {"recordedtime": OLD, "lettrageclient": "city", "lettrageraw": "?"})
    ).status == 202
    (row,) = await api.app.events()
    assert (row["client"], row["raw"]) == ("portail", None)
    assert row["received_at"].year > 2020


@pytest.mark.parametrize("client", ["portail", "city", "reader"])
async def test_an_archive_needs_the_scope_admin(api: Api, client: str) -> None:
    """403, and nothing is stored."""
    await problem(await archive(api, [issued()], client), 403, "scope-missing")
    assert await api.app.events() == []


async def test_an_admin_of_other_regies_may_not(api: Api) -> None:
    """Each event's régie is looked at; those that the admin has are taken."""
    local = Client(name="local", scopes=frozenset({"admin"}), regies=frozenset({"enfance"}))
    cast("dict[str, Client]", api.app.settings.clients)[sha256(TOKENS["admin"].encode()).hexdigest()] = local
    await problem(await archive(api, issued("F-0", regie="cantine")), 403, "regie-forbidden")
    results = (await (await archive(api, [issued("F-1"), issued("F-2", regie="cantine")])).json())["results"]
    assert [each["status"] for each in results] == ["accepted", "rejected"]
    assert results[1]["problem"]["status"] == 403


@pytest.mark.parametrize("query", ["archive=1", "archive=", "archive=false", "archive=TRUE"])
async def test_there_is_no_other_spelling(api: Api, query: str) -> None:
    """Who means an archive is not taken for an ordinary client."""
    await problem(await archive(api, issued(), query=query), 422, "invalid-parameter")
    assert await api.app.events() == []


@pytest.mark.parametrize(
    ("sent", "pointer"),
    [
        (kept("gateway.report", REPORT, "portail"), "/lettrageclient"),
        (kept("gateway.report", REPORT, None), "/lettrageclient"),  # type: ignore[arg-type]
        (issued() | {"lettrageclient": "lettrage"}, "/lettrageclient"),
        (issued() | {"lettrageclient": ""}, "/lettrageclient"),
        (issued() | {"recordedtime": "2999-01-01T00:00:00Z"}, "/recordedtime"),
        (issued() | {"lettrageraw": "%"}, "/lettrageraw"),
        (kept("payment.timed_out", OURS["payment.timed_out"] | {"due": "2999-01-01T00:00:00Z"}), "/data/due"),
        (kept("payment.timed_out", OURS["payment.timed_out"] | {"due": "2020-01-01T00:00:00"}), "/data/due"),
        (kept("gateway.report", REPORT | {"result": "yes"}), "/data/result"),
    ],
)
async def test_what_no_archive_says_is_refused(api: Api, sent: dict[str, Any], pointer: str) -> None:
    """A forged end of a hold, above all, could keep the real one from being written."""
    said = await problem(await archive(api, sent), 422, "invalid-event")
    assert [fault["pointer"] for fault in said["errors"]] == [pointer]
    assert await api.app.events() == []


async def test_times_without_a_zone_are_no_cloudevent(api: Api) -> None:
    """As for `time` itself."""
    await problem(await archive(api, issued() | {"recordedtime": "2020-01-01T00:00:00"}), 400, "not-a-cloudevent")
