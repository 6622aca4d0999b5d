"""Who waits for an outcome hears of it, and finds it even when nobody is heard."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.api import Composed, composed, issued
from tests.unit.web.test_cloudevents import accepted
from worker.store import outcomes as module
from worker.store.outcomes import Outcomes


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Composed]:
    """The application, nothing served."""
    async with composed(database_url) as app:
        yield app


async def waited(app: Composed, number: str = "F-1") -> int:
    """The place of an event whose outcome somebody waits for."""
    event = accepted(issued(number))
    event.waited = True
    (receipt,) = await app.store.record([event])
    return int(receipt.place)


async def until_listening(app: Composed, before: int = 0) -> int:
    """The process id of the listening backend, once it is another than before."""
    while True:
        pid = await app.pool.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> $1"
            " AND application_name = 'lettrage outcomes' AND query LIKE 'LISTEN%'",
            before,
        )
        if pid:
            return int(pid)
        await asyncio.sleep(0.02)


async def test_a_notification_is_heard(app: Composed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any look of its own, the outcome is there as soon as it is committed."""
    monkeypatch.setattr(module, "FIRST_LOOK_SECONDS", 60.0)
    heard = Outcomes(app.settings.database_url or "", app.views.outcome)
    listening = asyncio.create_task(heard.listen())
    await until_listening(app)
    waiting = [asyncio.create_task(heard.outcome(await waited(app, f"F-{n}"), 30)) for n in range(3)]
    await asyncio.sleep(0)
    await app.reconcile()
    found = await asyncio.wait_for(asyncio.gather(*waiting), 10)
    assert [each.reason for each in found if each] == ["issued"] * 3
    listening.cancel()


async def test_a_listener_that_is_cut_off_listens_again(app: Composed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restart of the database costs a moment."""
    monkeypatch.setattr(module, "FIRST_LOOK_SECONDS", 60.0)
    monkeypatch.setattr(module, "RECONNECT_SECONDS", 0.01)
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)
    heard = Outcomes(app.settings.database_url or "", app.views.outcome)
    listening = asyncio.create_task(heard.listen())
    pid = await until_listening(app)
    await app.pool.fetchval("SELECT pg_terminate_backend($1)", pid)
    await until_listening(app, pid)
    waiting = asyncio.create_task(heard.outcome(await waited(app), 30))
    await asyncio.sleep(0)
    await app.reconcile()
    assert await asyncio.wait_for(waiting, 10)
    listening.cancel()


async def test_without_a_listener_looking_finds_it(app: Composed) -> None:
    """A notification is a hint, never the truth."""
    deaf = Outcomes(app.settings.database_url or "", app.views.outcome)
    waiting = asyncio.create_task(deaf.outcome(await waited(app), 30))
    await asyncio.sleep(0)
    await app.reconcile()
    assert await asyncio.wait_for(waiting, 10)


async def test_a_wait_ends_when_its_time_is_over(app: Composed) -> None:
    """None, and nothing of it is left behind."""
    deaf = Outcomes(app.settings.database_url or "", app.views.outcome)
    assert await deaf.outcome(await waited(app), 0.3) is None
    assert deaf._waiting == {}


async def test_a_database_that_does_not_answer_is_waited_for(app: Composed) -> None:
    """A look that fails is not the end: the next one may find it."""
    looks = 0

    async def flaky(place: int, claimed: str | None) -> object:
        nonlocal looks
        looks += 1
        if looks < 3:
            raise asyncpg.ConnectionDoesNotExistError
        return await app.views.outcome(place, claimed)

    place = await waited(app)
    await app.reconcile()
    deaf = Outcomes(app.settings.database_url or "", flaky)  # type: ignore[arg-type]
    assert await deaf.outcome(place, 10)
    assert looks == 3
