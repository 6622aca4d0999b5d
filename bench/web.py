"""The web process with another way of keeping events, to compare with: `python -m bench.web nothing|insert`.

Requests go through the same handler and the same checks. `nothing` stores nothing and answers at once: what HTTP, JSON
and the checks cost. `insert` keeps each request's event in a transaction of its own, as most would.
"""

import asyncio
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final

import structlog
import uvloop

from monitoring import logs
from schemas.events import NewEvent, Queue, Receipt
from worker.app import App
from worker.settings import Settings, load
from worker.store.postgres import PostgresStore
from worker.web import server
from worker.web.ingest import Ingest, Receipts, Records

CONNECTIONS: Final = 16
"""For the inserts: more of them only queue in a database with two cores."""

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()


class Nothing:
    """Keeps nothing."""

    def __init__(self) -> None:
        self._places = itertools.count(1)

    async def record(self, events: Sequence[NewEvent]) -> list[Receipt]:
        """A receipt for nothing."""
        return [Receipt(place=next(self._places), status="accepted") for _ in events]


class Inserts(Ingest):
    """Keeps the events of each request by themselves."""

    def __init__(self, store: Records, recorded: Callable[[Queue], object]) -> None:
        super().__init__(store, recorded)
        self._direct = store

    async def record(self, events: Sequence[NewEvent]) -> Receipts:
        """One transaction a request."""
        return list(await self._direct.record(events))


async def serve(how: str, settings: Settings) -> None:
    """Serve until killed."""
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(App.open(settings, "web"))
        if how == "insert":
            assert settings.database_url is not None
            app.store = await PostgresStore.open(settings.database_url, size=CONNECTIONS)
            server.Ingest = Inserts  # type: ignore[attr-defined]
        else:
            app.store = Nothing()  # type: ignore[assignment]
        await stack.enter_async_context(server.serving(app, settings.host, settings.port))
        log.info("web_serving")
        await asyncio.Event().wait()


if __name__ == "__main__":
    logs.configure()
    uvloop.run(serve(sys.argv[1], load(os.environ)))
