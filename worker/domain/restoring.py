"""What differs between the rows of a dossier and what its facts say, and how each row is put right."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from schemas.decisions import Decision, Dossier
from schemas.events import RestoredRow
from schemas.records import (
    Adjustment,
    Charge,
    Discrepancy,
    DiscrepancyState,
    GatewayReference,
    Invoice,
    Payment,
    Policy,
)
from schemas.replays import Change
from worker.domain.case import Case
from worker.domain.reasons import Reason

Timers = Mapping[int, datetime | None]
"""When each payment's hold is over, by payment id."""
AdjustmentKey = tuple[str, int | None, int | None, str]


class Restoration(Struct, kw_only=True):
    """What puts a dossier right. `decision` has the rows; the others go before they are written."""

    decision: Decision = field(default_factory=Decision)
    changes: list[Change] = field(default_factory=list)
    rows: list[RestoredRow] = field(default_factory=list)
    """What the event says that keeps the restoration."""
    lines: list[int] = field(default_factory=list)
    """Payments whose lines are written anew."""
    charges: list[tuple[int, str]] = field(default_factory=list)
    """Charges that no report proves: gateway reference id and transaction."""
    adjustments: list[Adjustment] = field(default_factory=list)
    """Adjustments that no fact tells, or not so."""


class Scene(NamedTuple):
    """What a restoration is written with. `policy` is the régie's now: it says whether the portal is told."""

    policy: Policy
    now: datetime


def restored(stored: Dossier, timers: Timers, expected: Dossier, scene: Scene) -> Restoration:
    """Compare the rows of `stored` with those that facts make, which are consumed. Empty when nothing differs.

    An invoice's version only grows: what was told under one is told otherwise under the next.
    """
    work = _Work(stored, timers, expected, scene)
    work.compare()
    return work.found


class _Work:
    def __init__(self, stored: Dossier, timers: Timers, expected: Dossier, scene: Scene) -> None:
        self.stored, self.timers, self.expected = stored, timers, expected
        self.case = Case(expected, scene.policy, scene.now)
        self.found = Restoration(decision=self.case.decision)

    def compare(self) -> None:
        about_payments, about_invoices = self._facts()
        for invoice in self.expected.invoices.values():
            self._invoice(invoice, about_invoices.get(invoice.id, []))
        for payment in self.expected.payments.values():
            self._payment(payment, about_payments.get(payment.id, []))
        for key in {**self.stored.discrepancies, **self.expected.discrepancies}:
            self._discrepancy(key)

    # invoices

    def _invoice(self, expected: Invoice, more: list[str]) -> None:
        known = self.stored.invoices[expected.id]
        fields = differing(known, expected) + more
        if not fields:
            return
        self.case.decision.invoices[expected.id] = expected
        version = max(known.version, expected.version) + 1
        self.found.rows.append(RestoredRow(invoice=expected.number, was=known.state, version=version))
        self.found.changes.append(
            Change(
                regie=expected.regie,
                invoice=expected.number,
                before=known.state,
                after=expected.state,
                reason=_reason(expected),
                fields=fields,
            )
        )

    # payments

    def _payment(self, expected: Payment, more: list[str]) -> None:
        known = self.stored.payments[expected.id]
        fields = differing(known, expected, "lines") + more
        if _lines(known) != _lines(expected):
            fields.append("lines")
            self.found.lines.append(expected.id)
        if self.timers.get(expected.id) != _timer(expected):
            fields.append("hold")
        if not fields:
            return
        self.case.decision.payments[expected.id] = expected
        self.found.rows.append(RestoredRow(payment=expected.reference, was=known.state))
        self.found.changes.append(
            Change(
                regie=expected.regie,
                payment=expected.reference,
                before=known.state,
                after=expected.state,
                reason=_reason(expected),
                fields=fields,
            )
        )

    # what belongs to payments and invoices

    def _facts(self) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
        """Compare references, charges and adjustments; which payments and invoices each difference is about."""
        payments: dict[int, list[str]] = {}
        invoices: dict[int, list[str]] = {}
        changed = {**self._references(), **self._charges()}
        for reference_id, fields in changed.items():
            reference = self.expected.references[reference_id]
            known = self.stored.references[reference_id]
            owner = reference.payment_id if reference.payment_id is not None else known.payment_id
            if owner in self.expected.payments:
                payments.setdefault(owner, []).extend(fields)
            else:
                self._ownerless(reference, fields)
        for fact in self._adjustments():
            about, key = (payments, fact.payment_id) if fact.invoice_id is None else (invoices, fact.invoice_id)
            assert key is not None, "an adjustment is of a payment or of an invoice"
            if "adjustments" not in about.setdefault(key, []):
                about[key].append("adjustments")
        return payments, invoices

    def _references(self) -> dict[int, list[str]]:
        changed = {
            row.id: ["gateway_references"]
            for row in self.expected.references.values()
            if differing(self.stored.references[row.id], row)
        }
        self.case.decision.references.update({key: self.expected.references[key] for key in changed})
        return changed

    def _charges(self) -> dict[int, list[str]]:
        known, expected = _by_transaction(self.stored.charges), _by_transaction(self.expected.charges)
        changed = [key for key in {**known, **expected} if known.get(key) != expected.get(key)]
        self.found.charges += [key for key in changed if key not in expected]
        self.case.decision.charges += [expected[key] for key in changed if key in expected]
        references = self.case.decision.references
        return {key: ["gateway_references", "charges"] if key in references else ["charges"] for key, _ in changed}

    def _ownerless(self, reference: GatewayReference, fields: list[str]) -> None:
        self.found.changes.append(
            Change(
                regie=reference.regie,
                gateway_reference=reference.gateway_reference,
                reason=Reason.RESTORED_BY_REPLAY,
                fields=fields,
            )
        )

    def _adjustments(self) -> Iterator[Adjustment]:
        known, expected = _by_fact(self.stored.adjustments), _by_fact(self.expected.adjustments)
        for key in {**known, **expected}:
            if known.get(key) == expected.get(key):
                continue
            if key in known:
                self.found.adjustments.append(known[key])
            if key in expected:
                self.case.decision.adjustments.append(expected[key])
            yield expected.get(key) or known[key]

    # discrepancies

    def _discrepancy(self, key: str) -> None:
        known, expected = self.stored.discrepancies.get(key), self.expected.discrepancies.get(key)
        row = expected or self._closed(known)
        if row is None or (known is not None and not differing(known, row)):
            return
        self.case.decision.discrepancies[key] = row
        self.found.changes.append(
            Change(
                regie=row.regie,
                invoice=row.invoice,
                payment=row.payment,
                discrepancy=key,
                before=None if known is None else known.state,
                after=row.state,
                reason=Reason.RESTORED_BY_REPLAY,
                fields=["discrepancy"] if known is None else differing(known, row),
            )
        )
        self._tell_discrepancy(known, row)

    def _closed(self, known: Discrepancy | None) -> Discrepancy | None:
        """None is ever deleted: one that no fact tells of is closed."""
        if known is None or known.state is DiscrepancyState.CLOSED:
            return None
        return replace(known, state=DiscrepancyState.CLOSED, amount_cents=0, changed_at=self.case.now)

    def _tell_discrepancy(self, known: Discrepancy | None, row: Discrepancy) -> None:
        was_open = known is not None and known.state is DiscrepancyState.OPEN
        is_open = row.state is DiscrepancyState.OPEN
        if was_open != is_open:
            self.case.tell_discrepancy(row, "discrepancy.opened" if is_open else "discrepancy.resolved")


def differing(known: Struct, expected: Struct, *ignored: str) -> list[str]:
    """Name the fields that differ between two rows of one kind."""
    if known == expected:
        return []
    names = (name for name in known.__struct_fields__ if name not in ignored)
    return [name for name in names if getattr(known, name) != getattr(expected, name)]


def _reason(row: Invoice | Payment) -> str:
    return row.reason or Reason.RESTORED_BY_REPLAY


def _lines(payment: Payment) -> list[Any]:
    return sorted(payment.lines, key=attrgetter("invoice_id"))


def _timer(payment: Payment) -> datetime | None:
    return None if payment.state is None or payment.hold_over else payment.payable_again_at


def _by_transaction(charges: Iterable[Charge]) -> dict[tuple[int, str], Charge]:
    return {(row.gateway_reference_id, row.transaction_id): row for row in charges}


def _by_fact(adjustments: Iterable[Adjustment]) -> dict[AdjustmentKey, Adjustment]:
    return {(row.kind, row.invoice_id, row.payment_id, row.fact_id): row for row in adjustments}
