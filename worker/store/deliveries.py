"""Telling portals, on PostgreSQL: what is due, how each attempt ended, what is sent again."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from schemas.notifications import webhook_id
from schemas.views import AttemptView, NotificationView, Page
from worker.store.sql import load
from worker.store.views import MAX_PLACE, CursorError, Views

QUERIES: Final = load("deliveries.sql")

LEASE: Final = timedelta(seconds=20)
"""Longer than an attempt and its being written down may take; a killed worker's are another's that soon."""
GIVE_UP: Final = timedelta(days=5)
"""After the first attempt, when that long nothing helped: a long weekend, and the day on which somebody mends it."""
FAILURES_IN_A_ROW: Final = 5
"""From then on a portal counts as down, not as unlucky, and no failure as the notification's own."""
LONGEST_PAUSE_SECONDS: Final = 60.0
"""A portal that is down is tried that often, and is told everything within a minute once it is back."""
ACQUIRE_SECONDS: Final = 10.0
TRIES: Final = 3
"""Of a transaction that waited for another that waited for it: a resend, or results of the same portals."""

_attempts_of = msgspec.json.Decoder(list[AttemptView])

STATES: Final = ("waiting", "failing", "delivered", "given_up", "unsent")
"""Of a notification; `unsent` ones were written by a version that sent nothing."""


class Room(NamedTuple):
    """A portal: whose, what stands for its address, and how many attempts more it may have now."""

    regie: str
    target: str
    room: int


class Claimed(NamedTuple):
    """A notification taken to be sent; `attempts` counts this one, `own_failures` those that its portal's are not.

    `event_id` is the id of the event that it tells of, `trace` a `traceparent`, where they are known.
    """

    id: int
    regie: str
    type: str
    at: Any
    data: dict[str, Any]
    attempts: int
    own_failures: int
    event_id: str | None
    trace: str | None


class Result(NamedTuple):
    """How an attempt ended. `pause_seconds` None: delivered. `disabled_for`: the target that wants nothing more."""

    id: int
    regie: str
    attempts: int
    outcome: str
    status: int | None
    error: str | None
    milliseconds: int
    pause_seconds: float | None
    wish_seconds: float = 0.0
    disabled_for: str | None = None


class Deliveries:
    """What is still to be told. Each method is one short transaction; nobody is told inside one."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool

    async def claim(self, portals: Sequence[Room]) -> list[Claimed]:
        """Take what is due, for as long as an attempt may take. Raises whatever the driver does."""
        columns = list(map(list, zip(*portals, strict=True)))
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            rows = await conn.fetch(QUERIES.claim_deliveries, *columns, LEASE)
        found = [Claimed(**{**row, "data": msgspec.json.decode(row["data"])}) for row in map(dict, rows)]
        return sorted(found, key=lambda each: each.id)

    async def waiting(self, portals: Sequence[Room], older_than_seconds: float) -> bool:
        """Whether something is due that nobody took for that long."""
        named = [each.regie for each in portals], [each.target for each in portals]
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
            return bool(await conn.fetchval(QUERIES.deliveries_waiting, *named, timedelta(seconds=older_than_seconds)))

    async def finish(self, results: Sequence[Result]) -> None:
        """Keep how attempts ended: what was delivered is done with, the rest is planned again or given up."""
        for _ in range(TRIES - 1):
            with suppress(asyncpg.DeadlockDetectedError):
                await self._finish(sorted(results, key=_place))
                return
        await self._finish(sorted(results, key=_place))

    async def _finish(self, results: Sequence[Result]) -> None:
        failed = [each for each in results if each.pause_seconds is not None]
        delivered = [each for each in results if each.pause_seconds is None]
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            kept = [(r.id, r.outcome, r.status, r.error, r.milliseconds) for r in results]
            await conn.execute(QUERIES.keep_attempts, *map(list, zip(*kept, strict=True)))
            if delivered:
                await conn.execute(QUERIES.end_deliveries, [each.id for each in delivered])
                answered = sorted({each.regie for each in delivered})
                back = await conn.fetch(QUERIES.portals_answered, answered, FAILURES_IN_A_ROW)
                if back:
                    await conn.execute(QUERIES.recall_deliveries, [row["regie"] for row in back], FAILURES_IN_A_ROW)
            if failed:
                ids = [each.id for each in failed]
                tries = [each.attempts for each in failed]
                pauses = [each.pause_seconds for each in failed]
                await conn.execute(QUERIES.retry_deliveries, ids, tries, pauses, GIVE_UP, FAILURES_IN_A_ROW)
                await conn.execute(QUERIES.put_off_followers, ids)
                portals = list(map(list, zip(*_portals(failed), strict=True)))
                await conn.execute(QUERIES.portals_failed, *portals, FAILURES_IN_A_ROW, LONGEST_PAUSE_SECONDS)

    async def resend(self, ids: Sequence[int] | None, regies: Sequence[str] | None) -> int:
        """Have these sent again, of these régies (None: of any); without ids, all that was not delivered. How many."""
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as conn, conn.transaction():
            sent = await conn.fetch(QUERIES.resend, ids, regies)
            meant = regies if ids is None and regies is not None else {row["regie"] for row in sent}
            await conn.execute(QUERIES.enable_portals, sorted(meant))
        return len(sent)


async def chosen(views: Views, ids: Sequence[int] | None, regies: Sequence[str] | None) -> int:
    """How many a resend would send."""
    count: int = (await views.rows(QUERIES.chosen, ids, regies))[0][0]
    return count


async def notifications(
    views: Views, *, regies: Sequence[str] | None, state: str | None, limit: int, cursor: str | None
) -> Page:
    """Notifications of these régies (None: of all), newest first, with their attempts.

    Raises:
        CursorError: the cursor is none of ours.
    """
    last = None if cursor is None else _position(cursor)
    rows = await views.rows(QUERIES.notifications, regies, state, last, limit + 1)
    following = str(rows[limit - 1]["id"]) if len(rows) > limit else None
    return Page(items=[_view(row) for row in rows[:limit]], next_cursor=following)


def _place(result: Result) -> int:
    return result.id


def _position(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and int(cursor) <= MAX_PLACE):
        raise CursorError(cursor)
    return int(cursor)


def _view(row: Mapping[str, Any]) -> NotificationView:
    values = dict(row)
    values["data"] = msgspec.json.decode(values["data"])
    values["attempts"] = _attempts_of.decode(values["attempts"] or "[]")
    values["webhook_id"] = webhook_id(values["id"], values["at"])
    return NotificationView(**values)


def _portals(failed: Sequence[Result]) -> list[tuple[str, int, float, str | None]]:
    """Of each portal: how often it failed, how long it wants to be left alone, which target wants nothing more."""
    found: dict[str, list[Result]] = {}
    for each in failed:
        found.setdefault(each.regie, []).append(each)
    return [
        (
            regie,
            len(its),
            max(each.wish_seconds for each in its),
            next((each.disabled_for for each in its if each.disabled_for), None),
        )
        for regie, its in sorted(found.items())
    ]
