"""Tables are analyzed while they are small, `pending` while it is empty: no batch may read what came later."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from worker.store.postgres import QUERIES, SETTINGS
from worker.store.rows import numbers

BACKLOG = 20_000
BATCH = 100
LEASE = timedelta(seconds=2)

FILL = f"""
WITH kept AS (
    INSERT INTO events (client, source, id, type, regie, data, digest)
    SELECT 'portail', '/portail', $1 || n::text, 'fr.lettrage.gateway.report.v1', 'enfance', '{{}}', 'x'
    FROM generate_series(1, {BACKLOG}) AS n
    RETURNING place
)
INSERT INTO pending (place, queue, type, regie, subject)
SELECT
    place, CASE WHEN place % 2 = 0 THEN 'gateway-callback' ELSE 'invoice-changed' END,
    'fr.lettrage.gateway.report.v1', 'enfance', 'R' || place
FROM kept
"""

NAMES = [f"R{n}" for n in range(BATCH)]
ASKED: dict[str, tuple[Any, ...]] = {
    "claim_facts": (BATCH, LEASE),
    "claim_callbacks": (BATCH, LEASE),
    "take": (numbers(range(BACKLOG + 1, BACKLOG + BATCH + 1)),),
    "overtaking": (["enfance"] * BATCH, NAMES, [10 * BACKLOG] * BATCH, [0]),
}

PAYMENTS = (
    "INSERT INTO payments (regie, reference) SELECT 'enfance', 'P' || n FROM generate_series($1::int, $2::int) AS n"
)
NOTHING = "'[]'"


@pytest.mark.parametrize("name", ASKED)
async def test_a_batch_reads_its_own_events_whatever_the_statistics_say(name: str, database_url: str) -> None:
    """Statistics say one row; the plan still reaches each of a batch's rows by an index, and no other."""
    connection = await asyncpg.connect(database_url, server_settings=SETTINGS)
    try:
        await connection.execute(FILL, "before")
        await connection.execute("DELETE FROM pending")
        await connection.execute("ANALYZE pending")
        await connection.execute(FILL, "after")
        query = f"EXPLAIN (ANALYZE, FORMAT JSON) {getattr(QUERIES, name)}"
        (plan,) = json.loads(await connection.fetchval(query, *ASKED[name]))
    finally:
        await connection.close()
    assert _read(plan, "pending") <= 10 * BATCH


async def test_a_plan_kept_from_the_first_days_walks_through_no_older_rows(database_url: str) -> None:
    """What saves a batch was planned with a hundred payments there; the latest of many are reached by their ids."""
    filling = await asyncpg.connect(database_url)
    saving = await asyncpg.connect(database_url, server_settings=SETTINGS | {"plan_cache_mode": "force_generic_plan"})
    try:
        await filling.execute(PAYMENTS, 1, BATCH)
        await filling.execute("ANALYZE payments")
        types = ", ".join(["timestamptz"] + ["text"] * 13)
        await saving.execute(f"PREPARE save ({types}) AS {QUERIES.save}")
        await saving.execute(_saved(range(1, BATCH + 1)))
        await filling.execute(PAYMENTS, BATCH + 1, BACKLOG)
        latest = range(BACKLOG - BATCH + 1, BACKLOG + 1)
        (plan,) = json.loads(await saving.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {_saved(latest)}"))
    finally:
        await filling.close()
        await saving.close()
    assert BATCH <= _read(plan, "payments") <= 10 * BATCH


def _saved(ids: range) -> str:
    """Save so many payments, and nothing else."""
    payments = json.dumps([{"id": number} for number in ids])
    return f"EXECUTE save (now(), {NOTHING}, '{payments}', {', '.join([NOTHING] * 11)})"


def _read(plan: dict[str, Any], table: str) -> float:
    """Rows of a table that a plan looked at."""
    return sum(_rows(node) for node in _nodes(plan["Plan"]) if node.get("Relation Name") == table)


def _rows(node: dict[str, Any]) -> float:
    """Rows that a scan looked at."""
    looked_at = (
        node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    )
    return float(looked_at * node["Actual Loops"])


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)
