"""What a family's page reads stays quick in a large régie: the plans say so."""

import pytest

from tests.api import Api
from worker.store.views import QUERIES

FILL = """
INSERT INTO invoices (regie, number, state, version, account, amount_cents, reason, paid_at)
SELECT
    'enfance', 'F-' || n, CASE WHEN n % 2 = 0 THEN 'paid' ELSE 'payable' END, 1, 'A-' || n % 2000, 100, 'issued',
    CASE WHEN n % 2 = 0 THEN now() END
FROM generate_series(1, 20000) AS n
"""


@pytest.mark.parametrize("view", [None, "payable", "history", "direct_debit"])
async def test_an_account_s_invoices_are_found_by_index(api: Api, view: str | None) -> None:
    """No table is read whole, and only that account's invoices are looked at."""
    async with api.app.pool.acquire() as connection:
        await connection.execute(FILL)
        await connection.execute("ANALYZE invoices")
        rows = await connection.fetch(f"EXPLAIN {QUERIES.invoices}", "enfance", "A-17", view, None, 101)
    plan = "\n".join(row[0] for row in rows)
    assert "invoices_account" in plan
    assert "Seq Scan on invoices" not in plan
