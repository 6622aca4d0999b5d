"""Rows as they are stored beside rows as the facts make them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from schemas.decisions import JournalEntry
from schemas.records import Adjustment, Charge, Discrepancy, GatewayReference, Invoice, Line, Payment
from worker.verify.differences import About, Difference, between
from worker.verify.recompute import TRANSACTION, Recomputation
from worker.verify.stored import Stored, StoredEntry

Fact = tuple[str, int | None, int | None, str]
"""Kind, invoice, payment and `fact_id` of an adjustment."""
Page = tuple[int, int | None, int | None]
"""Place of the event, and the invoice or the payment whose changes of state these are."""


class _Hold(Struct, kw_only=True):
    payable_again_at: datetime | None


class Books:
    """What some dossiers should be, all together."""

    def __init__(self, books: Iterable[Recomputation]) -> None:
        self.invoices: dict[int, Invoice] = {}
        self.created_at: dict[int, datetime] = {}
        self.payments: dict[int, Payment] = {}
        self.references: dict[int, GatewayReference] = {}
        self.charges: dict[tuple[int, str], Charge] = {}
        self.adjustments: list[Adjustment] = []
        self.discrepancies: dict[str, Discrepancy] = {}
        for book in books:
            self.created_at |= book.created_at
            self.invoices |= book.tables.invoices
            self.payments |= book.tables.payments
            self.references |= book.tables.references
            self.charges |= book.tables.charges
            self.adjustments += book.tables.adjustments
            self.discrepancies |= book.tables.discrepancies

    def differences(self, stored: Stored) -> Iterator[Difference]:
        """Compare with what is stored; every row that these dossiers have, or that names one of theirs."""
        yield from between(self.invoices, stored.invoices, self.invoices, self._invoice)
        yield from self._creations(stored.seen)
        yield from between(self.payments, stored.payments, self.payments, self._payment)
        yield from self._lines(stored)
        yield from self._holds(stored)
        yield from between(self._kept_references(stored), stored.references, self.references, self._reference)
        yield from self._charges(stored)
        yield from self._adjustments(stored)
        yield from self._discrepancies(stored)

    def _kept_references(self, stored: Stored) -> set[int]:
        """References but those that nobody owns and nothing is known of: no fact, and gone when their time is over."""
        charged = {key for key, _ in self.charges}
        known = {key for key, row in self.references.items() if row.payment_id is not None or row.doubt}
        return known | (self.references.keys() & (stored.references.keys() | charged))

    def _creations(self, seen: Mapping[int, datetime]) -> Iterator[Difference]:
        for key, at in seen.items():
            decided_at = self.created_at.get(key)
            if decided_at is not None and not decided_at - TRANSACTION <= at <= decided_at:
                yield self._invoice(key).differs("first_seen_at", at, decided_at)

    def _lines(self, stored: Stored) -> Iterator[Difference]:
        one, other = _lines_of(stored.payments), _lines_of(self.payments)
        ours = {key for key in one if key[0] in self.payments}

        def about(key: tuple[int, int]) -> About:
            payment, invoice = self._payment(key[0]), self._invoice(key[1])
            return About(regie=payment.regie, table="payment_lines", row=f"{payment.row}, invoice {invoice.row}")

        yield from between(ours | other.keys(), one, other, about)

    def _holds(self, stored: Stored) -> Iterator[Difference]:
        one = {key: _Hold(payable_again_at=at) for key, at in stored.holds.items() if key in self.payments}
        other = {
            key: _Hold(payable_again_at=row.payable_again_at)
            for key, row in self.payments.items()
            if row.state is not None and not row.hold_over
        }

        def about(key: int) -> About:
            payment = self._payment(key)
            return About(regie=payment.regie, table="holds", row=payment.row)

        yield from between(one.keys() | other.keys(), one, other, about)

    def _charges(self, stored: Stored) -> Iterator[Difference]:
        ours = {key for key in stored.charges if key[0] in self.references}

        def about(key: tuple[int, str]) -> About:
            reference = self._reference(key[0])
            return About(regie=reference.regie, table="charges", row=f"{reference.row}, transaction {key[1]}")

        yield from between(ours | self.charges.keys(), stored.charges, self.charges, about)

    def _adjustments(self, stored: Stored) -> Iterator[Difference]:
        one, other = _by_fact(stored.adjustments), _by_fact(self.adjustments)
        ours = {key for key in one if key[1] in self.invoices or key[2] in self.payments}

        def about(key: Fact) -> About:
            kind, invoice_id, payment_id, fact_id = key
            whose = self._invoice(invoice_id) if invoice_id is not None else self._payment(payment_id)
            return About(regie=whose.regie, table="adjustments", row=f"{kind} {fact_id} of {whose.row}")

        yield from between(ours | other.keys(), one, other, about)

    def _discrepancies(self, stored: Stored) -> Iterator[Difference]:
        ours = {
            key
            for key, row in stored.discrepancies.items()
            if row.payment_id in self.payments or row.invoice_id in self.invoices
        }

        def about(key: str) -> About:
            row = self.discrepancies.get(key) or stored.discrepancies[key]
            return About(regie=row.regie, table="discrepancies", row=f"{row.kind} {key}")

        yield from between(ours | self.discrepancies.keys(), stored.discrepancies, self.discrepancies, about)

    def _invoice(self, key: int | None) -> About:
        row = self.invoices.get(key or 0)
        if row is None:
            return About(regie=None, table="invoices", row=f"number {key}")
        return About(regie=row.regie, table="invoices", row=row.number)

    def _payment(self, key: int | None) -> About:
        row = self.payments.get(key or 0)
        if row is None:
            return About(regie=None, table="payments", row=f"number {key}")
        return About(regie=row.regie, table="payments", row=row.reference)

    def _reference(self, key: int) -> About:
        row = self.references[key]
        return About(regie=row.regie, table="gateway_references", row=row.gateway_reference)


def _lines_of(payments: Mapping[int, Payment]) -> dict[tuple[int, int], Line]:
    return {(key, line.invoice_id): line for key, row in payments.items() for line in row.lines}


def _by_fact(adjustments: Iterable[Adjustment]) -> dict[Fact, Adjustment]:
    return {(row.kind, row.invoice_id, row.payment_id, row.fact_id): row for row in adjustments}


def journals(stored: Sequence[StoredEntry], expected: Sequence[JournalEntry]) -> Iterator[Difference]:
    """Compare lines of the journal: those of one event about one row come in one order, the others in any."""
    one, other = _pages(stored), _pages(expected)
    for page in one.keys() | other.keys():
        written, due = one.get(page, []), other.get(page, [])
        for nth in range(max(len(written), len(due))):
            entry = written[nth] if nth < len(written) else None
            meant = due[nth] if nth < len(due) else None
            if entry is None or meant is None or _told(entry) != _told(meant):
                yield from _about(entry or meant, page).between(entry, meant)


def _pages(entries: Iterable[JournalEntry]) -> dict[Page, list[JournalEntry]]:
    pages: dict[Page, list[JournalEntry]] = defaultdict(list)
    for entry in entries:
        pages[entry.place, entry.invoice_id, entry.payment_id if entry.invoice_id is None else None].append(entry)
    return pages


def _told(entry: JournalEntry) -> tuple[object, ...]:
    return tuple(getattr(entry, name) for name in JournalEntry.__struct_fields__)


def _about(entry: JournalEntry | None, page: Page) -> About:
    assert entry is not None
    place, invoice_id, payment_id = page
    whose = f"payment {payment_id}" if invoice_id is None else f"invoice {invoice_id}"
    row = f"event {place}, {whose} (by id)"
    if isinstance(entry, StoredEntry):
        row = f"{entry.id}: {row}"
    return About(regie=entry.regie, table="journal", row=row)
