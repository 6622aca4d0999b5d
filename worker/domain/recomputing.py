"""What the facts of a dossier say, computed anew: each decided with the policy and at the time that were its own.

The state of everything is a function of the set of facts, so that whoever applies the same facts to blank rows in the
same order has the same rows again, whatever the configuration says today.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from msgspec.structs import replace

from schemas.decisions import Decision, Dossier
from schemas.events import Event, EventType
from schemas.records import Discrepancy, DiscrepancyKind, Invoice, Payment, Policy
from worker.domain.decide import decide
from worker.domain.keys import keys_of


class Fact(NamedTuple):
    """An event that was applied, with what was true at its application."""

    event: Event
    policy: Policy
    decided_at: datetime
    """By the database's clock, UTC; events of one transaction share it."""


def recompute(dossier: Dossier, facts: Sequence[Fact]) -> None:
    """Apply `facts`, in the order of their application, to a `dossier` of blank rows, which they fill.

    Raises AssertionError when an invariant is broken.
    """
    known: set[str] = set()
    for together in _transactions(facts):
        events = [fact.event for fact in together]
        _tell_accounts(dossier, events, known)
        seen = _seen(dossier, events)
        decision = decide(seen, events, together[0].policy, together[0].decided_at)
        _keep(dossier, seen, decision)


def _transactions(facts: Sequence[Fact]) -> Iterator[list[Fact]]:
    """Facts that were decided together, at one time, and with one policy."""
    for _, together in groupby(facts, key=attrgetter("decided_at")):
        yield list(together)


def _tell_accounts(dossier: Dossier, events: Sequence[Event], known: set[str]) -> None:
    """An invoice's row begins with the account of an issue that comes in its own transaction (`add_missing`)."""
    named = {number for event in events for number in keys_of(event).invoices}
    issued = {event.data.number: event.data.account for event in events if event.type is EventType.INVOICE_ISSUED}
    for invoice in dossier.invoices.values():
        if invoice.number in issued and invoice.number not in known:
            invoice.account = issued[invoice.number]
    known |= named


def _seen(dossier: Dossier, events: Sequence[Event]) -> Dossier:
    """Give the dossier as its transaction saw it: charges without an owner are read by who names their reference."""
    ownerless = {row.id: row.gateway_reference for row in dossier.references.values() if row.payment_id is None}
    if not ownerless:
        return dossier
    keys = [keys_of(event) for event in events]
    named = {name for each in keys for name in (*each.references, *each.looked_up)}
    shown = {key for each in keys for key in each.discrepancies}
    strangers = {key for key, name in ownerless.items() if name not in named}
    return Dossier(
        regie=dossier.regie,
        invoices=dossier.invoices,
        payments=dossier.payments,
        references={key: row for key, row in dossier.references.items() if key not in strangers},
        charges=[charge for charge in dossier.charges if charge.gateway_reference_id not in strangers],
        adjustments=dossier.adjustments,
        discrepancies={
            key: row
            for key, row in dossier.discrepancies.items()
            if key in shown or not _is_of(row, {ownerless[stranger] for stranger in strangers})
        },
    )


def _is_of(row: Discrepancy, names: set[str]) -> bool:
    return row.kind is DiscrepancyKind.UNKNOWN_PAYMENT and row.detail.get("gateway_reference") in names


def _keep(dossier: Dossier, seen: Dossier, decision: Decision) -> None:
    """Keep what a decision did not write into the dossier's rows themselves."""
    if decision.charges:
        charges = {(row.gateway_reference_id, row.transaction_id): row for row in dossier.charges}
        charges.update(((row.gateway_reference_id, row.transaction_id), row) for row in decision.charges)
        dossier.charges = list(charges.values())
    dossier.adjustments = [*dossier.adjustments, *decision.adjustments]
    dossier.discrepancies = dossier.discrepancies | seen.discrepancies


def blank(dossier: Dossier) -> Dossier:
    """Give the same rows with nothing in them but their names."""
    return Dossier(
        regie=dossier.regie,
        invoices={row.id: Invoice(id=row.id, regie=row.regie, number=row.number) for row in dossier.invoices.values()},
        payments={
            row.id: Payment(id=row.id, regie=row.regie, reference=row.reference) for row in dossier.payments.values()
        },
        references={row.id: replace(row, payment_id=None, doubt=False) for row in dossier.references.values()},
    )
