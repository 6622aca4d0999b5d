"""What who runs it can ask: is it alive, is it ready, what are its numbers."""

import dataclasses

import asyncpg
import pytest

from tests.api import Api, composed, issued, served, settings
from tests.integration.web.test_events_in import problem
from worker.secret import Secret


async def test_a_process_is_alive_whatever_its_database_does(api: Api) -> None:
    """`/livez` asks nobody."""
    await api.app.store.close()
    response = await api.http.get(f"{api.address}/livez")
    assert (response.status, await response.json()) == (200, {"status": "ok"})
    assert response.headers["Server"] == "lettrage"


async def test_it_is_ready_when_the_database_is(api: Api) -> None:
    """Reachable, schema current; a Redis that is down is told and changes nothing."""
    for answers in (True, False):
        api.app.bell.answers = answers
        response = await api.http.get(f"{api.address}/readyz")
        said = await response.json()
        assert response.status == 200
        assert len(said.pop("installation")) == 32
        assert said == {"status": "ready", "database": True, "schema": True, "redis": answers}


async def test_it_is_not_ready_without_its_schema(api: Api) -> None:
    """A migration that this code wants is missing."""
    connection = await asyncpg.connect(api.app.settings.database_url)
    await connection.execute("DELETE FROM schema_migrations")
    await connection.close()
    response = await api.http.get(f"{api.address}/readyz")
    said = await response.json()
    assert (response.status, said["status"], said["schema"]) == (503, "not_ready", False)


@pytest.mark.parametrize(("name", "status"), [("9999_later", 200), ("9999_needs_9998_later", 503)])
async def test_it_is_ready_beside_a_newer_release(api: Api, name: str, status: int) -> None:
    """That has migrated already; unless what it did breaks this code."""
    connection = await asyncpg.connect(api.app.settings.database_url)
    await connection.execute("INSERT INTO schema_migrations VALUES (9999, $1, $2)", name, "0" * 64)
    await connection.close()
    response = await api.http.get(f"{api.address}/readyz")
    assert response.status == status


async def test_it_is_not_ready_without_its_database(api: Api) -> None:
    """It says so, soon."""
    await api.app.store.close()
    response = await api.http.get(f"{api.address}/readyz")
    said = await response.json()
    assert (response.status, said["database"]) == (503, False)


async def test_metrics_are_prometheus_s(api: Api) -> None:
    """Text, with the skew of each client's clock; no invoice, account or payment in it."""
    await api.post(issued("SECRET-NUMBER"))
    response = await api.http.get(f"{api.address}/metrics")
    text = await response.text()
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain")
    assert "lettrage_events_total" in text
    assert "SECRET-NUMBER" not in text
    assert "DUPONT" not in text


async def test_metrics_ask_for_their_token_when_there_is_one(database_url: str) -> None:
    """401 without, and it is not a client's token."""
    configured = dataclasses.replace(settings(database_url), metrics_token=Secret("scrape"))
    async with composed(database_url, configured) as app, served(app) as api:
        await problem(await api.http.get(f"{api.address}/metrics"), 401, "unauthorized")
        await problem(await api.get("/metrics", "admin"), 401, "unauthorized")
        right = await api.http.get(f"{api.address}/metrics", headers={"Authorization": "Bearer scrape"})
        assert right.status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_may_ask_with_head(api: Api, path: str) -> None:
    """Some do."""
    assert (await api.http.head(api.address + path)).status == 200
