"""The set-based floor: PostgreSQL writing the rows that Lettrage wrote, with no Python in between. See floor.sql."""

import re
import time
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from bench.ground import fetch, run_sql
from worker.store.postgres import SETTINGS

KEYS: Final = {
    "invoices": ("id",),
    "payments": ("id",),
    "gateway_references": ("id",),
    "payment_lines": ("payment_id", "invoice_id"),
    "holds": ("payment_id",),
    "charges": ("gateway_reference_id", "transaction_id"),
    "adjustments": ("place",),
    "discrepancies": ("id",),
    "journal": ("id",),
    "outcomes": ("place",),
}
"""What tells the rows of each table that applying writes apart; in an order that the foreign keys allow."""

STEPS: Final = {"D": "delete_rows", "U": "update_rows", "I": "insert_rows"}
"""The order in which a batch changes a table: what frees a place in an index comes first."""

_BLOCKS: Final = re.split(
    r"^-- name: (\w+)\n", Path(__file__).with_suffix(".sql").read_text("utf-8"), flags=re.MULTILINE
)[1:]
SQL: Final = dict(zip(_BLOCKS[::2], _BLOCKS[1::2], strict=True))


class Spent(NamedTuple):
    """Seconds that a run took for all events: kept durably, then applied."""

    recording: float
    applying: float

    @property
    def total(self) -> float:
        """End to end."""
        return self.recording + self.applying


async def capture(database_url: str) -> None:
    """Begin to keep every row that is written: call it when all events are recorded and none is applied."""
    tables = [SQL["capture_table"].format(table=table) for table in KEYS]
    await run_sql(database_url, SQL["capture"], SQL["keep_inbox"], *tables)


async def turn_into_floor(database_url: str) -> None:
    """Make procedures of what was captured, which write it again, and empty the tables."""
    await run_sql(database_url, SQL["number_batches"])
    statements: list[str] = []
    for table in KEYS:
        shape = await _shape(database_url, table)
        prepared = (SQL[step].format(**shape) for step in ("release_table", "number_table", "keep_truth"))
        await run_sql(database_url, *prepared)
        written = {row["op"] for row in await fetch(database_url, f"SELECT DISTINCT op FROM floor.{table}")}  # noqa: S608
        steps = [step for op, step in STEPS.items() if op in written]
        statements += [SQL[step].format(**shape) for step in steps]
    events = await _shape(database_url, "events")
    procedures = SQL["record"].format(**events), SQL["claim"], SQL["apply"].format(statements="".join(statements))
    await run_sql(database_url, SQL["empty"], *procedures)


async def write_again(database_url: str, batch: int) -> Spent:
    """Record and apply the same batches again; answers what it took."""
    (count,) = (row[0] for row in await fetch(database_url, "SELECT count(*) FROM floor.events"))
    (first,) = (row[0] for row in await fetch(database_url, "SELECT min(place) FROM floor.events"))
    (batches,) = (row[0] for row in await fetch(database_url, "SELECT max(batch) FROM floor.batches"))
    connection = await asyncpg.connect(database_url, server_settings=SETTINGS)
    try:
        began = time.perf_counter()
        for start in range(first, first + count, batch):
            await connection.execute("CALL floor.record($1, $2)", start, batch)
        recorded = time.perf_counter()
        for nth in range(1, batches + 1):
            await connection.execute("CALL floor.claim($1)", batch)
            await connection.execute("CALL floor.apply($1)", nth)
        return Spent(recorded - began, time.perf_counter() - recorded)
    finally:
        await connection.close()


async def differing(database_url: str) -> int:
    """How many rows differ from those that Lettrage wrote: none, or the floor is not one."""
    total = 0
    for table in KEYS:
        total += (await fetch(database_url, SQL["differing"].format(**await _shape(database_url, table))))[0][0]
    return total


async def _shape(database_url: str, table: str) -> dict[str, str]:
    """A table and its columns, as its statements need them."""
    found = await fetch(
        database_url,
        f"SELECT attname FROM pg_attribute WHERE attrelid = 'public.{table}'::regclass AND attnum > 0"  # noqa: S608
        " AND NOT attisdropped ORDER BY attnum",
    )
    names = [row["attname"] for row in found]
    keys = KEYS.get(table, ("place",))
    return {
        "table": table,
        "columns": ", ".join(names),
        "changes": ", ".join(f"{name} = b.{name}" for name in names if name not in keys),
        "same": " AND ".join(f"a.{key} = b.{key}" for key in keys),
    }
