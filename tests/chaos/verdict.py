"""What must hold once everything is at rest, and the counts that say how much was tried."""

from collections import Counter
from typing import Any

import asyncpg

from tests.chaos.families import Portals
from tests.chaos.installation import REGIES
from tests.integration.judged import assert_judged

WITHOUT_OUTCOME = """
SELECT e.id FROM unnest($1::text[]) AS sent (id)
LEFT JOIN events AS e ON e.client = 'portail' AND e.source = '/portail' AND e.id = sent.id
LEFT JOIN outcomes AS o ON o.place = e.place
WHERE o.place IS NULL
"""
UNKEPT_CALLBACKS = """
SELECT query FROM unnest($1::text[]) AS sent (query)
WHERE NOT EXISTS (
    SELECT FROM events AS e JOIN outcomes AS o ON o.place = e.place
    WHERE e.type = 'fr.lettrage.gateway.callback.v1' AND e.data ->> 'query' = sent.query
)
"""
TIMED_OUT_TWICE = """
SELECT e.regie, e.data ->> 'reference' AS reference FROM events AS e JOIN outcomes AS o ON o.place = e.place
WHERE e.type = 'fr.lettrage.payment.timed_out.v1' AND o.outcome = 'applied'
GROUP BY 1, 2 HAVING count(*) > 1
"""
BROKEN_WAYS = """
SELECT invoice_id, id FROM (
    SELECT invoice_id, id, before, lag(after) OVER (PARTITION BY invoice_id ORDER BY id) AS left_at
    FROM journal WHERE invoice_id IS NOT NULL
) AS steps
WHERE before IS DISTINCT FROM left_at
"""
"""Each change of an invoice begins where the one before it ended: nothing is written twice, nothing is skipped."""
STILL_HELD = """
SELECT count(*) FROM payments AS p WHERE p.state IS NOT NULL AND (
    NOT p.hold_over OR EXISTS (SELECT FROM payment_lines AS l WHERE l.payment_id = p.id AND l.held)
)
"""
HOLDS = """
SELECT
    count(*) FILTER (WHERE after = 'in_payment') AS taken, count(*) FILTER (WHERE before = 'in_payment') AS ended
FROM journal WHERE invoice_id IS NOT NULL
"""


async def assert_nothing_lost(database: asyncpg.Connection, portals: Portals) -> None:
    """Every acknowledged event has its outcome, every hold ended once, and the judge agrees about the money."""
    assert portals.refusals == []
    assert await database.fetch(WITHOUT_OUTCOME, list(portals.acknowledged)) == []
    assert await database.fetch(UNKEPT_CALLBACKS, list(portals.callbacks)) == []
    assert await database.fetchval("SELECT count(*) FROM pending") == 0
    assert await database.fetchval("SELECT count(*) FROM events") == await database.fetchval(
        "SELECT count(*) FROM outcomes"
    )
    assert await database.fetchval("SELECT count(*) FROM holds") == 0
    assert await database.fetchval(STILL_HELD) == 0
    assert await database.fetch(TIMED_OUT_TWICE) == []
    assert await database.fetch(BROKEN_WAYS) == []
    ((taken, ended),) = await database.fetch(HOLDS)
    assert taken == ended
    for regie in REGIES:
        await assert_judged(database, regie)


async def counted(database: asyncpg.Connection, portals: Portals) -> dict[str, Any]:
    """What was tried and what became of it."""
    outcomes = await database.fetch("SELECT outcome, count(*) FROM outcomes GROUP BY 1 ORDER BY 1")
    payments = await database.fetch("SELECT state, count(*) FROM payments GROUP BY 1 ORDER BY 1")
    ((taken, _),) = await database.fetch(HOLDS)
    return {
        "acknowledged events": len(portals.acknowledged),
        "acknowledged callbacks": len(portals.callbacks),
        "by type": dict(Counter(portals.acknowledged.values()).most_common()),
        "portals": dict(portals.counts.most_common()),
        "events": await database.fetchval("SELECT count(*) FROM events"),
        "outcomes": {row[0]: row[1] for row in outcomes},
        "payments": {row[0]: row[1] for row in payments},
        "holds of invoices taken and ended": taken,
        "discrepancies": await database.fetchval("SELECT count(*) FROM discrepancies"),
    }
