"""`pending` is analyzed while it is empty, as it mostly is; a backlog after that must not be read once per event."""

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
    "overtakes": (["enfance"] * BATCH, NAMES, [10 * BACKLOG] * BATCH, [0]),
}


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
    read = sum(_rows(node) for node in _nodes(plan["Plan"]) if node.get("Relation Name") == "pending")
    assert read <= 10 * BATCH


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
