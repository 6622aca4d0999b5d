"""What the tables hold of some names: rows as records, by their numbers."""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec import Struct, field

from schemas.decisions import JournalEntry
from schemas.records import Adjustment, Charge, Discrepancy, GatewayReference, Invoice, Line, Payment
from worker.store import rows
from worker.store.changes import Timer
from worker.store.grouping import Name, Names
from worker.verify.recompute import Kind
from worker.verify.snapshot import QUERIES, Connection


class StoredEntry(JournalEntry, kw_only=True, frozen=True):
    """A line of the journal with its number."""

    id: int


class _Seen(Struct, kw_only=True):
    """When an invoice's row was created."""

    id: int
    first_seen_at: datetime


class Stored(Struct, kw_only=True):
    """Rows that were read, whole."""

    invoices: dict[int, Invoice] = field(default_factory=dict)
    seen: dict[int, datetime] = field(default_factory=dict)
    payments: dict[int, Payment] = field(default_factory=dict)
    references: dict[int, GatewayReference] = field(default_factory=dict)
    charges: dict[tuple[int, str], Charge] = field(default_factory=dict)
    adjustments: list[Adjustment] = field(default_factory=list)
    discrepancies: dict[str, Discrepancy] = field(default_factory=dict)
    holds: dict[int, datetime] = field(default_factory=dict)
    numbers: dict[Kind, dict[Name, int]] = field(
        default_factory=lambda: {"invoices": {}, "payments": {}, "references": {}}
    )

    def number(self, kind: Kind, name: Name) -> int:
        """The number of a row; of one that is missing, a new one below zero."""
        known = self.numbers[kind]
        return known.setdefault(name, -len(known) - 1)

    async def read(self, conn: Connection, names: Names) -> None:
        """Read what is named and has not been read."""
        wanted = [
            sorted(names.invoices - self.numbers["invoices"].keys()),
            sorted(names.payments - self.numbers["payments"].keys()),
            sorted((names.references | names.looked_up) - self.numbers["references"].keys()),
        ]
        if not any(wanted):
            return
        found = await conn.fetchrow(QUERIES.rows, *(column for named in wanted for column in _columns(named)))
        assert found is not None
        self._keep(found)

    async def read_discrepancies(self, conn: Connection, ids: Iterable[str]) -> None:
        """Read discrepancies that no row of this leads to."""
        wanted = [key for key in ids if key not in self.discrepancies]
        if wanted:
            found = rows.read_discrepancies(await conn.fetchval(QUERIES.discrepancies, wanted))
            self.discrepancies.update((row.id, row) for row in found)

    def _keep(self, found: rows.Row) -> None:
        for invoice in rows.read_invoices(found["invoices"]):
            self.invoices[invoice.id] = invoice
            self.numbers["invoices"][invoice.regie, invoice.number] = invoice.id
        self.seen.update((row.id, row.first_seen_at) for row in _read_seen(found["invoices"]))
        for payment in rows.read_payments(found["payments"]):
            self.payments[payment.id] = payment
            self.numbers["payments"][payment.regie, payment.reference] = payment.id
        for line in rows.read_lines(found["lines"]):
            plain = Line(invoice_id=line.invoice_id, cents=line.cents, held=line.held)
            self.payments[line.payment_id].lines.append(plain)
        for reference in rows.read_references(found["refs"]):
            self.references[reference.id] = reference
            self.numbers["references"][reference.regie, reference.gateway_reference] = reference.id
        for charge in rows.read_charges(found["charges"]):
            self.charges[charge.gateway_reference_id, charge.transaction_id] = charge
        self.adjustments += rows.read_adjustments(found["adjustments"])
        self.discrepancies.update((row.id, row) for row in rows.read_discrepancies(found["discrepancies"]))
        self.holds.update((row.id, row.payable_again_at) for row in _read_timers(found["holds"]))


async def journal_of(conn: Connection, places: Iterable[int]) -> list[StoredEntry]:
    """Read what events wrote into the journal, oldest first."""
    return _read_journal(await conn.fetchval(QUERIES.journal, list(places)))


def _columns(names: Iterable[Name]) -> tuple[list[str], list[str]]:
    regies, rest = [], []
    for regie, name in names:
        regies.append(regie)
        rest.append(name)
    return regies, rest


def _read_seen(text: str | None) -> list[_Seen]:
    return [] if text is None else msgspec.json.decode(text, type=list[_Seen])


def _read_timers(text: str | None) -> list[Timer]:
    return [] if text is None else msgspec.json.decode(text, type=list[Timer])


def _read_journal(text: str | None) -> list[StoredEntry]:
    return [] if text is None else msgspec.json.decode(text, type=list[StoredEntry])
