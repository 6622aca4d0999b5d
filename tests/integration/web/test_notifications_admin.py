"""Notifications over HTTP: who may look, what is shown, what a resend does."""

from typing import Any

import pytest

from schemas.events import Queue
from schemas.notifications import webhook_id
from tests.api import Api, bearer
from worker.store.deliveries import Result

WHERE = "/v1/admin/notifications"


async def told(api: Api, *, regie: str = "enfance") -> list[int]:
    """Three notifications, whose first was given up; their places."""
    rows = await api.app.pool.fetch(
        "INSERT INTO outbox (regie, type, at, data) SELECT $1, 'invoice.paid', now(),"
        " json_build_object('number', 'F-' || n, 'version', 1) FROM generate_series(1, 3) AS n RETURNING id",
        regie,
    )
    places = [row["id"] for row in rows]
    assert await api.app.deliveries.resend(places, None) == 3
    await api.app.pool.execute(
        "UPDATE deliveries SET tried_at = now() - interval '9 days' WHERE outbox_id = $1", places[0]
    )
    failed = Result(places[0], regie, 0, "refused", 500, None, 12, 5.0)
    await api.app.deliveries.finish([failed])
    return places


async def resend(api: Api, body: Any, client: str = "admin") -> tuple[int, dict[str, Any]]:  # noqa: ANN401
    """The status and the answer of a resend."""
    answer = await api.http.post(f"{api.address}{WHERE}/resend", json=body, headers=bearer(client))
    return answer.status, await answer.json()


async def test_they_are_listed_with_their_attempts(api: Api) -> None:
    """Newest first, a page at a time, by régie and state; ids are those that the portal gets."""
    places = await told(api)
    first = await (await api.get(f"{WHERE}?limit=2", "admin")).json()
    assert [item["id"] for item in first["items"]] == places[:0:-1]
    rest = await (await api.get(f"{WHERE}?limit=2&cursor={first['next_cursor']}", "admin")).json()
    (item,) = rest["items"]
    assert (item["state"], item["next_attempt_at"], rest["next_cursor"]) == ("given_up", None, None)
    (attempt,) = item["attempts"]
    assert (attempt["outcome"], attempt["status"], attempt["error"], attempt["milliseconds"]) == (
        *("refused", 500, None, 12),
    )
    at = await api.app.pool.fetchval("SELECT at FROM outbox WHERE id = $1", places[0])
    assert item["webhook_id"] == webhook_id(places[0], at)
    waiting = await (await api.get(f"{WHERE}?state=waiting&regie=enfance", "admin")).json()
    assert [item["id"] for item in waiting["items"]] == places[:0:-1]
    assert (await (await api.get(f"{WHERE}?regie=cantine", "admin")).json())["items"] == []


@pytest.mark.parametrize("query", ["state=lost", "limit=0", "cursor=x", "cursor=99999999999999999999", "zzz=1"])
async def test_a_wrong_filter_is_refused(api: Api, query: str) -> None:
    """422, never everything."""
    answer = await api.get(f"{WHERE}?{query}", "admin")
    assert answer.status == 422


async def test_a_resend_is_counted_first_and_rung_for(api: Api) -> None:
    """A dry run changes nothing; then what was given up waits again, and a worker is woken."""
    places = await told(api)
    await api.app.pool.execute("UPDATE portals SET failures = 9, disabled_for = 'x'")
    assert await resend(api, {"regie": "enfance", "dry_run": True}) == (200, {"matched": 3, "resent": 0})
    assert await api.app.pool.fetchval("SELECT count(*) FROM deliveries WHERE given_up") == 1
    assert await resend(api, {"regie": "enfance"}) == (200, {"matched": 3, "resent": 3})
    assert await api.app.pool.fetchval("SELECT count(*) FROM deliveries WHERE given_up") == 0
    assert await api.app.pool.fetchval("SELECT disabled_for FROM portals") is None
    assert api.app.bell.rung == [Queue.NOTIFICATION]
    await api.app.pool.execute("DELETE FROM deliveries")
    assert await resend(api, {"ids": [str(places[1])]}) == (200, {"matched": 1, "resent": 1})
    assert await api.app.pool.fetchval("SELECT outbox_id FROM deliveries") == places[1]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"ids": []}, 422),
        ({"ids": ["1"], "regie": "enfance"}, 422),
        ({"ids": [1]}, 422),
        ({"zzz": 1}, 422),
        ({"ids": ["x"]}, 404),
        ({"ids": ["4711"]}, 404),
    ],
)
async def test_a_wrong_resend_sends_nothing(api: Api, body: Any, status: int) -> None:  # noqa: ANN401
    """It says why, in words that are not a library's."""
    await told(api)
    said = await resend(api, body)
    assert said[0] == status
    assert said[1].get("detail") or said[1].get("errors")
    assert "`" not in str(said[1])
    assert api.app.bell.rung == []


async def test_admins_alone_may(api: Api) -> None:
    """403 for other scopes, 401 without a token."""
    assert (await api.get(WHERE, "portail")).status == 403
    assert (await resend(api, {"regie": "enfance"}, "portail"))[0] == 403
    assert (await api.http.get(f"{api.address}{WHERE}")).status == 401
