"""Asking gateways, on PostgreSQL: whose ask is due, which callbacks wait for its answer, when to ask again."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final, TypeAlias

import asyncpg

from schemas.events import Event
from schemas.records import Ask, DueAsk
from worker.store import rows
from worker.store.sql import load

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Any]"

QUERIES: Final = load("asks.sql")

ASK_LEASE: Final = timedelta(seconds=20)
"""Longer than any ask is let take; a killed worker's asks are another's that soon."""
CALLBACK_LEASE: Final = timedelta(seconds=30)
"""A callback whose ask brought no answer by then makes us ask again."""


async def wait_for_asks(conn: Connection, claims: Sequence[tuple[Event, str]]) -> None:
    """Let callbacks wait for what is answered about their references. First of all locks, like all about `pending`."""
    places, references = [event.place for event, _ in claims], [reference for _, reference in claims]
    await conn.execute(QUERIES.wait_for_asks, places, references, CALLBACK_LEASE)


async def note_calls(conn: Connection, reference_ids: Sequence[int]) -> None:
    """Have gateways asked about references (locked) that somebody owns."""
    await conn.execute(QUERIES.note_calls, reference_ids)


async def claim(conn: Connection, regies: Sequence[str], limit: int) -> list[DueAsk]:
    """Take asks that are due."""
    found = await conn.fetch(QUERIES.claim_asks, regies, limit, ASK_LEASE)
    return [DueAsk(**dict(row)) for row in found]


async def called_back(conn: Connection, asks: Sequence[DueAsk]) -> list[tuple[DueAsk, Event]]:
    """Find the callbacks that wait for these asks, in the order received."""
    found = await conn.fetch(QUERIES.called_back, *rows.columns(asks, ("regie", "gateway_reference", "asked_at")))
    return [(asks[row["nth"] - 1], rows.event(row)) for row in found]


async def save(conn: Connection, asks: Iterable[Ask]) -> None:
    """Plan the next asks; whose `due_at` is None are over."""
    planned = list(asks)
    names = ("gateway_reference_id", "regie", "gateway_reference", "due_at", "born_at")
    await conn.execute(QUERIES.save_asks, *rows.columns(planned, names))
    ended = [ask.gateway_reference_id for ask in planned if ask.due_at is None]
    if ended:
        await conn.execute(QUERIES.end_asks, ended)


async def waiting(conn: Connection, regies: Sequence[str], older_than: timedelta) -> bool:
    """Tell whether an ask is due that nobody took for that long."""
    return bool(await conn.fetchval(QUERIES.asks_waiting, regies, older_than))
