"""From rows to dossiers: what shares money is decided together, whatever batch it came in."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter

from msgspec import Struct, field

from schemas.decisions import Applied, Dossier, Outcome
from schemas.events import Event, EventType
from schemas.records import (
    Adjustment,
    Charge,
    Discrepancy,
    DiscrepancyKind,
    GatewayReference,
    Invoice,
    Payment,
    Policy,
)
from worker.domain.keys import Keys, discrepancy_id
from worker.domain.reasons import Reason

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
    changed_at: dict[str, datetime] = field(default_factory=dict)
    """Of each discrepancy, as stored: another may change it before it is locked."""
    lines: dict[tuple[int, int], bool] = field(default_factory=dict)
    timers: dict[int, datetime | None] = field(default_factory=dict)
    policies: dict[str, tuple[int, Policy]] = field(default_factory=dict)
    now: datetime | None = None
    """The database's clock, once everything was locked."""

    def orphan_discrepancies(self) -> set[str]:
        """Name the discrepancies of charges that nobody owns yet: once owned, theirs are closed for good."""
        owners = {row.id: row.payment_id for row in self.references.values()}
        return {
            self.orphan_discrepancy(charge) for charge in self.charges if owners[charge.gateway_reference_id] is None
        }

    def orphan_discrepancy(self, charge: Charge) -> str:
        """Name the discrepancy of one charge without an owner."""
        reference = self.references[charge.gateway_reference_id]
        subject = f"{reference.gateway_reference} {charge.transaction_id}"
        return discrepancy_id(reference.regie, DiscrepancyKind.UNKNOWN_PAYMENT, "", "", subject)


def merged(events: Sequence[Event], keys_of: Callable[[Event], Keys]) -> Names:
    """Gather what a batch names."""
    names = Names()
    for event in events:
        regie, keys = event.regie, keys_of(event)
        names.by_event[event.place] = keys
        for name in keys.payments:
            names.payments.add((regie, name))
        for name in keys.references:
            names.references.add((regie, name))
        for name in keys.invoices:
            names.invoices.add((regie, name))
        for name in keys.looked_up:
            names.looked_up.add((regie, name))
        names.discrepancies.update(keys.discrepancies)
    return names


Node = int | str
"""A row, wherever it lies: a payment, invoice or reference by a number of its own, a discrepancy by its id."""


def _payment(payment_id: int) -> Node:
    return 3 * payment_id


def _invoice(invoice_id: int) -> Node:
    return 3 * invoice_id + 1


def _reference(reference_id: int) -> Node:
    return 3 * reference_id + 2


def _discrepancy(loaded: Loaded, regie: str, key: str) -> Node:
    """The node of a discrepancy that an event of `regie` names; another régie's is none of its business."""
    known = loaded.discrepancies.get(key)
    return key if known is not None and known.regie == regie else f"{regie} {key}"


class _Sets:
    """Disjoint sets: what was joined, however indirectly, has one root. What was never joined is alone."""

    def __init__(self) -> None:
        self._parents: dict[Node, Node] = {}

    def root(self, node: Node) -> Node:
        parents = self._parents
        while (parent := parents.get(node)) is not None:
            if (grandparent := parents.get(parent)) is None:
                return parent
            parents[node] = node = grandparent
        return node

    def join(self, one: Node, other: Node) -> None:
        root, under = self.root(other), self.root(one)
        if root != under:
            self._parents[under] = root


def dossiers_of(loaded: Loaded, events: Sequence[Event]) -> Iterator[tuple[Dossier, list[Event]]]:
    """Split what was loaded into dossiers, each with its events in the order received."""
    sets = _Sets()
    _join_rows(loaded, sets)
    seats = _join_events(loaded, sets, events)
    dossiers: dict[Node, tuple[Dossier, list[Event]]] = {}
    for event in sorted(events, key=_place):
        root = sets.root(seats[event.place])
        if root not in dossiers:
            dossiers[root] = Dossier(regie=event.regie), []
        dossiers[root][1].append(event)
    _deal(loaded, sets, {root: dossier for root, (dossier, _) in dossiers.items()})
    yield from dossiers.values()


_place = attrgetter("place")


def _join_rows(loaded: Loaded, sets: _Sets) -> None:
    for payment in loaded.payments.values():
        for line in payment.lines:
            sets.join(_invoice(line.invoice_id), _payment(payment.id))
    for reference in loaded.references.values():
        if reference.payment_id is not None:
            sets.join(_reference(reference.id), _payment(reference.payment_id))
    for row in loaded.discrepancies.values():
        if row.payment_id is not None:
            sets.join(row.id, _payment(row.payment_id))
        if row.invoice_id is not None:
            sets.join(row.id, _invoice(row.invoice_id))
    for charge in loaded.charges if loaded.discrepancies else ():
        sets.join(loaded.orphan_discrepancy(charge), _reference(charge.gateway_reference_id))


def _join_events(loaded: Loaded, sets: _Sets, events: Sequence[Event]) -> dict[int, Node]:
    """Join the rows that an event names; answers one of them for each event, by its place."""
    invoices = {(row.regie, row.number): _invoice(row.id) for row in loaded.invoices.values()}
    payments = {(row.regie, row.reference): _payment(row.id) for row in loaded.payments.values()}
    references = {(row.regie, row.gateway_reference): _reference(row.id) for row in loaded.references.values()}
    seats: dict[int, Node] = {}
    for event in events:
        regie, keys = event.regie, loaded.names.by_event[event.place]
        nodes = [payments[regie, name] for name in keys.payments]
        nodes += [references[regie, name] for name in keys.references]
        nodes += [invoices[regie, name] for name in keys.invoices]
        nodes += [references[regie, name] for name in keys.looked_up if (regie, name) in references]
        nodes += [_discrepancy(loaded, regie, key) for key in keys.discrepancies]
        seat = seats[event.place] = nodes[0]
        for node in nodes[1:]:
            sets.join(node, seat)
    return seats


def _deal(loaded: Loaded, sets: _Sets, dossiers: dict[Node, Dossier]) -> None:
    """Give every row to its dossier; rows that no event reaches are left where they are."""

    def home(node: Node) -> Dossier | None:
        return dossiers.get(sets.root(node))

    _deal_rows(loaded, home)
    _deal_facts(loaded, home)


def _deal_rows(loaded: Loaded, home: Callable[[Node], Dossier | None]) -> None:
    for invoice in loaded.invoices.values():
        if dossier := home(_invoice(invoice.id)):
            dossier.invoices[invoice.id] = invoice
    for payment in loaded.payments.values():
        if dossier := home(_payment(payment.id)):
            dossier.payments[payment.id] = payment
    for reference in loaded.references.values():
        if dossier := home(_reference(reference.id)):
            dossier.references[reference.id] = reference


def _deal_facts(loaded: Loaded, home: Callable[[Node], Dossier | None]) -> None:
    for charge in loaded.charges:
        if dossier := home(_reference(charge.gateway_reference_id)):
            dossier.charges.append(charge)
    for fact in loaded.adjustments:
        if dossier := home(_subject(fact)):
            dossier.adjustments.append(fact)
    for row in loaded.discrepancies.values():
        if dossier := home(row.id):
            dossier.discrepancies[row.id] = row


def _subject(fact: Adjustment) -> Node:
    if fact.payment_id is not None:
        return _payment(fact.payment_id)
    assert fact.invoice_id is not None
    return _invoice(fact.invoice_id)


def spoken_for(
    taken: Sequence[Event], answers: Mapping[int, int], outcomes: Mapping[int, Applied]
) -> dict[int, Applied]:
    """Give each callback of a batch its outcome, by place: its report's, whose place `answers` has.

    One without an answer says nothing new: its report was kept before, by an archive that brought both.
    """
    return {
        event.place: _same(event.place, outcomes[answers[event.place]] if event.place in answers else NOTHING_NEW)
        for event in taken
        if event.type is EventType.GATEWAY_CALLBACK
    }


NOTHING_NEW = Applied(place=0, outcome=Outcome.IGNORED, reason=Reason.RESULT_ALREADY_KNOWN.value)


def _same(place: int, outcome: Applied) -> Applied:
    return Applied(place=place, outcome=outcome.outcome, reason=outcome.reason)
