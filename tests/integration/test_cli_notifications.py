"""`lettrage notifications` as people and scripts use it: on a real database, what it prints and how it ends."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from schemas.notifications import webhook_id
from tests.installation import CLIENT, REGIE, Installation
from worker.store.deliveries import Deliveries, Result


@pytest.fixture
def installed(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Installation]:
    """A configured installation on real servers; nothing runs."""
    installation = Installation(tmp_path, DATABASE_URL=database_url, REDIS_URL=redis_url)
    installation.configure(CLIENT + REGIE)
    yield installation
    installation.end()


async def _told(database_url: str) -> list[int]:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=1) as pool:
        rows = await pool.fetch(
            "INSERT INTO outbox (regie, type, at, data) SELECT 'enfance', 'invoice.paid', now(),"
            " json_build_object('number', 'F-' || n, 'version', 1) FROM generate_series(1, 4) AS n RETURNING id"
        )
        places = [row["id"] for row in rows]
        store = Deliveries(pool)
        await store.resend(places, None)
        await pool.execute("UPDATE deliveries SET tried_at = now() - interval '9 days' WHERE outbox_id = $1", places[0])
        await store.finish(
            [
                Result(places[0], "enfance", 0, "refused", 500, None, 12, 5.0),
                Result(places[1], "enfance", 0, "delivered", 204, None, 9, None),
            ]
        )
        await pool.execute("UPDATE portals SET disabled_for = 'x'")
        return places


@pytest.fixture
def places(database_url: str) -> list[int]:
    """Four notifications: given up, delivered, and two that wait; their portal answered 410."""
    return asyncio.run(_told(database_url))


def rows(database_url: str, query: str) -> list[asyncpg.Record]:
    """What the database answers."""

    async def ask() -> list[asyncpg.Record]:
        conn = await asyncpg.connect(database_url)
        try:
            return await conn.fetch(query)
        finally:
            await conn.close()

    return asyncio.run(ask())


def undelivered(database_url: str) -> dict[int, bool]:
    """Whether each that is not delivered was given up."""
    return {row[0]: row[1] for row in rows(database_url, "SELECT outbox_id, given_up FROM deliveries")}


def test_they_are_listed_for_people_and_for_programs(
    installed: Installation, places: list[int], database_url: str
) -> None:
    """Newest first, a page at a time, by régie and state; --json has every attempt, what was sent, the webhook-id."""
    table = installed.ask("notifications", "list").stdout.splitlines()
    assert [line.split()[0] for line in table] == ["id", *map(str, reversed(places))]
    assert "refused 500" in table[-1]
    assert "F-1" in table[-1]
    first = installed.ask("notifications", "list", "--limit", "3", "--json")
    page = json.loads(first.stdout)
    rest = json.loads(installed.ask("notifications", "list", "--cursor", page["next_cursor"], "--json").stdout)
    (item,) = rest["items"]
    (at,) = rows(database_url, f"SELECT at FROM outbox WHERE id = {places[0]}")
    assert item["webhook_id"] == webhook_id(places[0], at["at"])
    assert (item["state"], item["data"]["number"], item["attempts"][0]["status"]) == ("given_up", "F-1", 500)
    waiting = installed.ask("notifications", "list", "--state", "waiting", "--regie", "enfance", "--json")
    assert [item["id"] for item in json.loads(waiting.stdout)["items"]] == places[:1:-1]
    nobody = installed.ask("notifications", "list", "--regie", "cantine", "--json")
    assert json.loads(nobody.stdout) == {"items": [], "next_cursor": None}


def test_a_dry_run_says_how_many_and_changes_nothing(
    installed: Installation, places: list[int], database_url: str
) -> None:
    """For people on stderr, for programs on stdout."""
    before = undelivered(database_url)
    said = installed.ask("notifications", "resend", "--regie", "enfance", "--dry-run")
    assert (said.exit_code, said.stdout) == (0, "")
    assert "3 notifications would be sent again." in said.stderr
    counted = installed.ask("notifications", "resend", str(places[1]), "--dry-run", "--json")
    assert json.loads(counted.stdout) == {"matched": 1, "resent": 0}
    assert undelivered(database_url) == before


def test_a_resend_asks_unless_told_yes(installed: Installation, places: list[int], database_url: str) -> None:
    """No is no, exit 1; --yes sends what was not delivered, also given up, and the portal is told again."""
    refused = installed.ask("notifications", "resend", "--regie", "enfance", stdin="n\n")
    assert refused.exit_code == 1
    assert "Send 3 notifications again?" in refused.stderr
    assert undelivered(database_url)[places[0]]
    done = installed.ask("notifications", "resend", "--regie", "enfance", "--yes", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"matched": 3, "resent": 3})
    assert undelivered(database_url) == dict.fromkeys([places[0], *places[2:]], False)
    assert rows(database_url, "SELECT disabled_for FROM portals")[0][0] is None


def test_a_delivered_one_is_sent_again_by_either_of_its_names(
    installed: Installation, places: list[int], database_url: str
) -> None:
    """The number of the list, or the webhook-id that the portal saw; both name one notification, sent once."""
    (at,) = rows(database_url, f"SELECT at FROM outbox WHERE id = {places[1]}")
    names = [str(places[1]), webhook_id(places[1], at["at"])]
    done = installed.ask("notifications", "resend", *names, "--yes", "--json")
    assert json.loads(done.stdout) == {"matched": 1, "resent": 1}
    assert places[1] in undelivered(database_url)


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("list", "--cursor", "x"), 2, "--cursor"),
        (("list", "--state", "lost"), 2, "--state"),
        (("list", "--limit", "0"), 2, "--limit"),
        (("resend",), 2, "IDs, or a --regie"),
        (("resend", "1", "--regie", "enfance"), 2, "IDs, or a --regie"),
        (("resend", "4711", "--yes"), 3, "nothing was sent"),
        (("resend", "F-1", "--yes"), 3, "F-1"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_with_its_exit_code(
    installed: Installation, database_url: str, args: tuple[str, ...], code: int, said: str
) -> None:
    """Usage 2, not found 3; nothing is sent."""
    before = undelivered(database_url)
    assert len(before) == 3
    done = installed.ask("notifications", *args)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert undelivered(database_url) == before


@pytest.mark.parametrize("args", [("list",), ("resend", "--regie", "enfance", "--yes")], ids=str)
def test_without_its_database_it_says_try_later(installed: Installation, args: tuple[str, ...]) -> None:
    """Exit 75, and no password in what is said."""
    installed.environ["DATABASE_URL"] = "postgresql://u:hunter2@127.0.0.1:9/x"
    done = installed.ask("notifications", *args)
    assert done.exit_code == 75
    assert "hunter2" not in done.stderr
