"""From rows to dossiers: what shares money is decided together, whatever batch it came in."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from schemas.decisions import Dossier
from schemas.events import Event
from schemas.records import (
    Adjustment,
    Charge,
    Discrepancy,
    DiscrepancyKind,
    GatewayReference,
    Invoice,
    Payment,
)
from worker.domain.keys import Keys, discrepancy_id

Name = tuple[str, str]
"""Régie and name within it."""


class Names(Struct, kw_only=True):
    """What all events of a batch name."""

    payments: set[Name] = field(default_factory=set)
    references: set[Name] = field(default_factory=set)
    invoices: set[Name] = field(default_factory=set)
    looked_up: set[Name] = field(default_factory=set)
    discrepancies: set[str] = field(default_factory=set)
    by_event: dict[int, Keys] = field(default_factory=dict)


class Loaded(Struct, kw_only=True):
    """Everything a batch touches, locked. `lines` and `timers` are as stored, to tell what changed."""

    names: Names
    invoices: dict[int, Invoice] = field(default_factory=dict)
    payments: dict[int, Payment] = field(default_factory=dict)
    references: dict[int, GatewayReference] = field(default_factory=dict)
    charges: list[Charge] = field(default_factory=list)
    adjustments: list[Adjustment] = field(default_factory=list)
    discrepancies: dict[str, Discrepancy] = field(default_factory=dict)
    lines: dict[tuple[int, int], bool] = field(default_factory=dict)
    timers: dict[int, datetime | None] = field(default_factory=dict)

    def orphan_discrepancies(self) -> set[str]:
        """Name the discrepancies that charges may have opened while nobody owned them."""
        return {discrepancy for charge in self.charges for discrepancy in [self.orphan_discrepancy(charge)]}

    def orphan_discrepancy(self, charge: Charge) -> str:
        """Name the discrepancy of one charge without an owner."""
        reference = self.references[charge.gateway_reference_id]
        subject = f"{reference.gateway_reference} {charge.transaction_id}"
        return discrepancy_id(reference.regie, DiscrepancyKind.UNKNOWN_PAYMENT, "", "", subject)


def merged(events: Sequence[Event], keys_of: Callable[[Event], Keys]) -> Names:
    """Gather what a batch names."""
    names = Names()
    for event in events:
        keys = names.by_event[event.place] = keys_of(event)
        names.payments.update((event.regie, name) for name in keys.payments)
        names.references.update((event.regie, name) for name in keys.references)
        names.invoices.update((event.regie, name) for name in keys.invoices)
        names.looked_up.update((event.regie, name) for name in keys.looked_up)
        names.discrepancies.update(keys.discrepancies)
    return names


class _Sets:
    """Disjoint sets: what was joined, however indirectly, has one root."""

    def __init__(self) -> None:
        self._parent: dict[Any, Any] = {}

    def root(self, node: Any) -> Any:  # noqa: ANN401 - nodes are (table, key)
        parent = self._parent.setdefault(node, node)
        while parent != node:
            grandparent = self._parent[parent]
            self._parent[node] = grandparent
            node, parent = parent, grandparent
        return node

    def join(self, one: Any, other: Any) -> None:  # noqa: ANN401
        self._parent[self.root(one)] = self.root(other)


def dossiers_of(loaded: Loaded, events: Sequence[Event]) -> Iterator[tuple[Dossier, list[Event]]]:
    """Split what was loaded into dossiers, each with its events in the order received."""
    sets = _Sets()
    _join_rows(loaded, sets)
    seats = _join_events(loaded, sets, events)
    dossiers: dict[Any, tuple[Dossier, list[Event]]] = {}
    for event in sorted(events, key=lambda event: event.place):
        root = sets.root(seats[event.place])
        dossiers.setdefault(root, (Dossier(regie=event.regie), []))[1].append(event)
    _deal(loaded, sets, {root: dossier for root, (dossier, _) in dossiers.items()})
    yield from dossiers.values()


def _join_rows(loaded: Loaded, sets: _Sets) -> None:
    for payment in loaded.payments.values():
        for line in payment.lines:
            sets.join(("payment", payment.id), ("invoice", line.invoice_id))
    for reference in loaded.references.values():
        if reference.payment_id is not None:
            sets.join(("reference", reference.id), ("payment", reference.payment_id))
    for row in loaded.discrepancies.values():
        if row.payment_id is not None:
            sets.join(("discrepancy", row.id), ("payment", row.payment_id))
        if row.invoice_id is not None:
            sets.join(("discrepancy", row.id), ("invoice", row.invoice_id))
    for charge in loaded.charges:
        sets.join(("discrepancy", loaded.orphan_discrepancy(charge)), ("reference", charge.gateway_reference_id))


def _join_events(loaded: Loaded, sets: _Sets, events: Sequence[Event]) -> dict[int, Any]:
    invoices = {(row.regie, row.number): ("invoice", row.id) for row in loaded.invoices.values()}
    payments = {(row.regie, row.reference): ("payment", row.id) for row in loaded.payments.values()}
    references = {(row.regie, row.gateway_reference): ("reference", row.id) for row in loaded.references.values()}
    seats: dict[int, Any] = {}
    for event in events:
        keys = loaded.names.by_event[event.place]
        nodes = [
            *(payments[event.regie, name] for name in keys.payments),
            *(references[event.regie, name] for name in keys.references),
            *(invoices[event.regie, name] for name in keys.invoices),
            *(references[event.regie, name] for name in keys.looked_up if (event.regie, name) in references),
            *(("discrepancy", key) for key in keys.discrepancies),
        ]
        seats[event.place] = nodes[0]
        for node in nodes[1:]:
            sets.join(node, nodes[0])
    return seats


def _deal(loaded: Loaded, sets: _Sets, dossiers: dict[Any, Dossier]) -> None:
    """Give every row to its dossier; what no event reaches goes nowhere."""
    nowhere = Dossier(regie="")

    def home(table: str, key: Any) -> Dossier:  # noqa: ANN401
        return dossiers.get(sets.root((table, key)), nowhere)

    for invoice in loaded.invoices.values():
        home("invoice", invoice.id).invoices[invoice.id] = invoice
    for payment in loaded.payments.values():
        home("payment", payment.id).payments[payment.id] = payment
    for reference in loaded.references.values():
        home("reference", reference.id).references[reference.id] = reference
    for charge in loaded.charges:
        home("reference", charge.gateway_reference_id).charges.append(charge)
    for fact in loaded.adjustments:
        table, key = ("invoice", fact.invoice_id) if fact.payment_id is None else ("payment", fact.payment_id)
        home(table, key).adjustments.append(fact)
    for row in loaded.discrepancies.values():
        home("discrepancy", row.id).discrepancies[row.id] = row
