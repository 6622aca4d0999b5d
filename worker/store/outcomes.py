"""Who waits for an event's outcome hears of it: one LISTEN connection, and a look now and then.

A notification is a hint, never the truth: it may be lost with its connection. So the outcome is always read, after
each hint, after `FIRST_LOOK_SECONDS` and then every `LOOK_SECONDS` without one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import asyncpg

from monitoring.outages import Outage
from schemas.views import OutcomeView

CHANNEL: Final = "lettrage_done"
"""The worker notifies it, in the transaction that applies, with the places of events that somebody waits for."""
FIRST_LOOK_SECONDS: Final = 0.02
"""Before the first look without a hint: longer than an idle worker needs, which a look meanwhile would hold up."""
LOOK_SECONDS: Final = 0.2
"""Between looks without a hint: a family does not notice it, and a waiting request costs five queries a second."""
RECONNECT_SECONDS: Final = 1.0
"""Between tries to listen again; meanwhile looking goes on."""
HEARTBEAT_SECONDS: Final = 15.0
"""A connection that a firewall forgot looks alive: it is asked so often."""
ANSWER_SECONDS: Final = 5.0
"""How long the database may take to connect or to answer a heartbeat."""
UNHEARD: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""Whatever the driver raises: the connection may be no good any more."""


class Outcomes:
    """Waits for outcomes; `outcome` reads one by its event's place and what a callback claims, None while it waits."""

    def __init__(self, database_url: str, outcome: Callable[[int, str | None], Awaitable[OutcomeView | None]]) -> None:
        self._database_url = database_url
        self._outcome = outcome
        self._waiting: dict[int, set[asyncio.Event]] = {}
        self._outage = Outage("outcomes_unheard", "outcomes_heard")

    async def listen(self) -> None:
        """Keep one connection listening until cancelled."""
        while True:
            try:
                await self._listen_once()
            except UNHEARD as error:
                self._outage.fails(error)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def outcome(self, place: int, seconds: float, claimed: str | None = None) -> OutcomeView | None:
        """The outcome of the event at `place`, as soon as it has one; None when `seconds` did not suffice.

        `claimed`: the gateway reference of a callback.
        """
        end = asyncio.get_running_loop().time() + seconds
        hint = asyncio.Event()
        self._waiting.setdefault(place, set()).add(hint)  # before the first look, so that no hint falls between
        pause = FIRST_LOOK_SECONDS
        try:
            while (left := end - asyncio.get_running_loop().time()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(hint.wait(), min(pause, left))
                hint.clear()
                found = await self._look(place, claimed, max(left, LOOK_SECONDS))
                if found is not None:
                    return found
                pause = LOOK_SECONDS
            return None
        finally:
            self._forget(place, hint)

    async def _look(self, place: int, claimed: str | None, seconds: float) -> OutcomeView | None:
        """Read an outcome; a database that does not answer now may answer the next look."""
        try:
            return await asyncio.wait_for(self._outcome(place, claimed), seconds)
        except UNHEARD:
            return None

    def _forget(self, place: int, hint: asyncio.Event) -> None:
        hints = self._waiting[place]
        hints.discard(hint)
        if not hints:
            del self._waiting[place]

    async def _listen_once(self) -> None:
        connection = await asyncpg.connect(
            self._database_url, timeout=ANSWER_SECONDS, server_settings={"application_name": "lettrage outcomes"}
        )
        try:
            await connection.add_listener(CHANNEL, self._hear)
            self._outage.works()
            while not connection.is_closed():
                await asyncio.sleep(HEARTBEAT_SECONDS)
                await connection.execute("SELECT", timeout=ANSWER_SECONDS)
        finally:
            connection.terminate()

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        for place in str(payload).split(","):
            for hint in self._waiting.get(int(place), ()):
                hint.set()
