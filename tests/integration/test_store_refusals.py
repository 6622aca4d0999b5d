"""What the domain never does, the database refuses: the invariants once more, in checks, keys and a trigger."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from schemas.events import Queue
from tests.integration.worlds import (
    HOLD,
    POLICY,
    REGIE,
    PostgresWorld,
    callback,
    drained,
    issued,
    recorded,
    report_of,
    said,
    started,
)
from worker.domain.decide import decide
from worker.store.postgres import PostgresStore


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[PostgresWorld]:
    """An issued invoice of 900, one in payment by P, and one paid by Q."""
    store = await PostgresStore.open(database_url)
    await store.sync_policies({REGIE: POLICY})
    world = PostgresWorld(store)
    await recorded(world, issued("F"), started("P", "G"), started("Q", "H"))
    await drained(world)
    (place,) = await recorded(world, callback("Q"))
    events = await store.claim(Queue.GATEWAY_CALLBACK, 10)
    await store.apply(events, decide, {place: report_of(events[0], said("Q"))})
    yield world
    await store.close()


REFUSED = {
    "the journal is never changed": ("UPDATE journal SET reason = 'x'", asyncpg.RaiseError),
    "not even by a change of nothing": ("UPDATE journal SET reason = 'x' WHERE false", asyncpg.RaiseError),
    "the journal is never deleted from": ("DELETE FROM journal", asyncpg.RaiseError),
    "the journal is never emptied": ("TRUNCATE journal CASCADE", asyncpg.RaiseError),
    "a change is a change": (
        "INSERT INTO journal (place, regie, at, before, after, reason) VALUES (1, 'r', now(), 'paid', 'paid', 'x')",
        asyncpg.CheckViolationError,
    ),
    "a change has a reason": (
        "INSERT INTO journal (place, regie, at, before, after, reason) VALUES (1, 'enfance', now(), NULL, 'paid', '')",
        asyncpg.CheckViolationError,
    ),
    "an invoice has one holder": (
        (
            "INSERT INTO payment_lines (payment_id, invoice_id, cents, held)"
            " SELECT p.id, l.invoice_id, 9, true FROM payments AS p, payment_lines AS l"
            " WHERE p.reference = 'Q' AND l.held"
        ),
        asyncpg.UniqueViolationError,
    ),
    "a payment names an invoice once": (
        "INSERT INTO payment_lines (payment_id, invoice_id, cents) SELECT payment_id, invoice_id, 1 FROM payment_lines",
        asyncpg.UniqueViolationError,
    ),
    "a line is above zero": ("UPDATE payment_lines SET cents = 0", asyncpg.CheckViolationError),
    "paid without money": (
        "UPDATE payments SET received_cents = 899 WHERE state = 'paid'",
        asyncpg.CheckViolationError,
    ),
    "paid, but never settled": (
        "UPDATE payments SET settled_at = NULL WHERE state = 'paid'",
        asyncpg.CheckViolationError,
    ),
    "paid while it holds": ("UPDATE payments SET hold_over = false WHERE state = 'paid'", asyncpg.CheckViolationError),
    "received below zero": ("UPDATE payments SET received_cents = -1", asyncpg.CheckViolationError),
    "refunded below zero": ("UPDATE payments SET refunded_cents = -1", asyncpg.CheckViolationError),
    "a payment of nothing": ("UPDATE payments SET amount_cents = 0", asyncpg.CheckViolationError),
    "a payment without a deadline": ("UPDATE payments SET deadline = NULL", asyncpg.CheckViolationError),
    "a payment without a reason": ("UPDATE payments SET reason = ''", asyncpg.CheckViolationError),
    "payable again before the deadline": (
        "UPDATE payments SET payable_again_at = deadline - interval '1 second' WHERE NOT hold_over",
        asyncpg.CheckViolationError,
    ),
    "a payment's state is one of eight": ("UPDATE payments SET state = 'lost'", asyncpg.CheckViolationError),
    "an invoice's state is one of four": ("UPDATE invoices SET state = 'lost'", asyncpg.CheckViolationError),
    "a paid invoice says when": ("UPDATE invoices SET paid_at = NULL", asyncpg.CheckViolationError),
    "an unpaid invoice does not": ("UPDATE invoices SET paid_at = now()", asyncpg.CheckViolationError),
    "a visible invoice has an amount": ("UPDATE invoices SET amount_cents = NULL", asyncpg.CheckViolationError),
    "an amount below zero": ("UPDATE invoices SET issued_cents = -1", asyncpg.CheckViolationError),
    "withdrawn by nobody": ("UPDATE invoices SET state = 'withdrawn', paid_at = NULL", asyncpg.CheckViolationError),
    "a number is unique in its régie": (
        "INSERT INTO invoices (regie, number) VALUES ('enfance', 'F')",
        asyncpg.UniqueViolationError,
    ),
    "a reference is unique in its régie": (
        "INSERT INTO payments (regie, reference) VALUES ('enfance', 'P')",
        asyncpg.UniqueViolationError,
    ),
    "a gateway reference has one owner": (
        "INSERT INTO gateway_references (regie, gateway_reference) VALUES ('enfance', 'P')",
        asyncpg.UniqueViolationError,
    ),
    "an event has one outcome": (
        (
            "INSERT INTO outcomes (place, outcome, reason, decided_at, policy_version)"
            " SELECT place, outcome, reason, decided_at, policy_version FROM outcomes"
        ),
        asyncpg.UniqueViolationError,
    ),
    "an outcome has a reason": ("UPDATE outcomes SET reason = ''", asyncpg.CheckViolationError),
    "an event's key is kept once": (
        (
            "INSERT INTO events (client, source, id, type, regie, data, digest)"
            " SELECT client, source, id, type, regie, data, digest FROM events"
        ),
        asyncpg.UniqueViolationError,
    ),
    "a charge's transaction counts once": (
        (
            "INSERT INTO charges (gateway_reference_id, transaction_id, result)"
            " SELECT gateway_reference_id, transaction_id, 'P' FROM charges"
        ),
        asyncpg.UniqueViolationError,
    ),
    "a result is one of five": ("UPDATE charges SET result = 'X'", asyncpg.CheckViolationError),
    "an adjustment is of an invoice or of a payment": (
        "INSERT INTO adjustments (kind, fact_id, cents, place) VALUES ('refunded', 'f', 1, 1)",
        asyncpg.CheckViolationError,
    ),
    "a refund is of a payment": (
        "INSERT INTO adjustments (kind, fact_id, cents, place, invoice_id) SELECT 'refunded', 'f', 1, 1, 1",
        asyncpg.CheckViolationError,
    ),
    "a fact_id counts once": (
        (
            "INSERT INTO adjustments (kind, fact_id, cents, place, payment_id)"
            " SELECT 'refunded', 'f', n, 1, p.id FROM payments AS p, generate_series(1, 2) AS n"
        ),
        asyncpg.UniqueViolationError,
    ),
    "a discrepancy's kind is one of ten": (
        (
            "INSERT INTO discrepancies (id, regie, kind, amount_cents, state, opened_at, changed_at)"
            " VALUES ('d', 'enfance', 'odd', 1, 'open', now(), now())"
        ),
        asyncpg.CheckViolationError,
    ),
    "nobody resolves without saying how": (
        (
            "INSERT INTO discrepancies (id, regie, kind, amount_cents, state, opened_at, changed_at)"
            " VALUES ('d', 'enfance', 'missing', 1, 'resolved', now(), now())"
        ),
        asyncpg.CheckViolationError,
    ),
    "a queue is one of five": ("UPDATE pending SET queue = 'other'", asyncpg.CheckViolationError),
    "a policy is never of an unknown régie's": (
        "INSERT INTO regies (code, label, policy_version) VALUES ('cantine', 'Cantine', 1)",
        asyncpg.ForeignKeyViolationError,
    ),
    "a régie's code is a code": (
        "INSERT INTO policies (regie, version, body) VALUES ('Régie', 1, '{}')",
        asyncpg.CheckViolationError,
    ),
}
"""A statement for each, and how it is refused."""


@pytest.mark.parametrize("rule", REFUSED)
async def test_the_database_refuses(world: PostgresWorld, rule: str) -> None:
    """Whoever tries, by whatever code: nothing is changed."""
    await recorded(world, issued("waits"))
    statement, error = REFUSED[rule]
    before = await world.snapshot()
    with pytest.raises(error):
        await world.postgres.pool.execute(statement)
    assert await world.snapshot() == before


async def test_the_journal_can_be_added_to(world: PostgresWorld) -> None:
    """Append-only: the next change is written."""
    before = len((await world.snapshot())["journal"])
    await world.later(HOLD)
    await world.store.end_due_holds(decide, 10)
    assert len((await world.snapshot())["journal"]) == before + 2
