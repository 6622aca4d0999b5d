"""What the independent judge says of the facts that a database holds, compared with what the database derived.

For databases at rest: nothing waits, no hold is on.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from tests.model import (
    Fact,
    Verdict,
    charge,
    issued,
    judge,
    refunded,
    reversed_,
    settled,
    started,
    unsettled,
    withdrawn,
)

UNJUDGED = {"unknown_payment", "unverified_callback", "test_payment", "gateway_silent"}
"""Discrepancies that are about no payment's or invoice's money."""

EVENTS = """
SELECT e.place, e.client, e.source, e.id, e.type, e.regie, e.time, e.received_at, e.data::text AS data
FROM events AS e WHERE e.regie = $1 ORDER BY e.received_at, e.place
"""

Row = Mapping[str, Any]


class Database(Protocol):
    """Whatever fetches: a pool or a connection of asyncpg."""

    async def fetch(self, query: str, *args: Any) -> Any:  # noqa: ANN401 (asyncpg's own)
        """Rows of a query."""
        ...


async def assert_judged(database: Database, regie: str) -> Verdict:
    """Compare states, sums and discrepancies of a régie with the judge's, from its stored facts."""
    verdict = judge(facts_of(await database.fetch(EVENTS, regie)))
    invoices = await database.fetch("SELECT number, state FROM invoices WHERE regie = $1 AND state IS NOT NULL", regie)
    assert {row["number"]: row["state"] for row in invoices} == verdict.states
    payments = await database.fetch(
        "SELECT reference, received_cents, refunded_cents, state FROM payments WHERE regie = $1 AND state IS NOT NULL",
        regie,
    )
    assert {row["reference"]: _money(row) for row in payments} == {
        reference: (told.received, told.refunds, told.outcome) for reference, told in verdict.payments.items()
    }
    found = await database.fetch(
        "SELECT kind, payment, invoice, amount_cents FROM discrepancies WHERE regie = $1 AND amount_cents > 0", regie
    )
    derived = {(d["kind"], d["payment"], d["invoice"]): d["amount_cents"] for d in found if d["kind"] not in UNJUDGED}
    assert derived == verdict.discrepancies
    return verdict


def _money(row: Row) -> tuple[int, int, str | None]:
    by_money = row["state"] if row["state"] in {"paid", "refunded", "reversed"} else None
    return row["received_cents"], row["refunded_cents"], by_money


def facts_of(rows: Sequence[Row]) -> list[Fact]:
    """The facts about money among stored events, in the order received."""
    told = [(row, msgspec.json.decode(row["data"])) for row in rows]
    amounts = {
        data.get("gateway_reference") or data["reference"]: data["amount_cents"]
        for row, data in told
        if row["type"] == "fr.lettrage.payment.started.v1"
    }
    return [fact for row, data in told if (fact := _fact(row, data, amounts)) is not None]


def _fact(row: Row, data: Mapping[str, Any], amounts: Mapping[str, int]) -> Fact | None:
    when: datetime | None = row["time"]
    time = None if when is None else when.timestamp()
    received = {"received": row["received_at"].timestamp()}
    fact_id = data.get("fact_id") or f"event:{row['client']} {row['source']} {row['id']}"
    match row["type"].removeprefix("fr.lettrage.").removesuffix(".v1"):
        case "invoice.issued":
            return {**issued(data["number"], data["amount_cents"], time=time), **received}
        case "invoice.withdrawn":
            return {**withdrawn(data["number"], time=time), **received}
        case "invoice.settled":
            return settled(data["number"], data["amount_cents"], fact_id)
        case "invoice.unsettled":
            return unsettled(data["number"], data["amount_cents"], fact_id)
        case "payment.started":
            lines = {line["number"]: line["amount_cents"] for line in data["invoices"]}
            told = started(data["reference"], lines, gateway_reference=data.get("gateway_reference"), time=time)
            return {**told, **received}
        case "payment.refunded":
            return refunded(data["reference"], data["amount_cents"], fact_id)
        case "payment.reversed":
            return reversed_(data["reference"], data["amount_cents"], fact_id)
        case "gateway.report" if data["verified"] and data["result"] in {"P", "V", "Z", "R", "A"}:
            name = data["gateway_reference"]
            cents = amounts.get(name, 0) if data.get("cents") is None else data["cents"]
            return charge(name, data["transaction_id"], data["result"], cents)
        case _:
            return None
