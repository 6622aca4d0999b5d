"""What decisions change, laid out as the one statement that saves it takes it: a JSON text for each table."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain

from msgspec import Struct, field

from schemas.decisions import Decision, Done, Effect, JournalEntry
from schemas.records import Adjustment, Charge, GatewayReference, Invoice, Payment
from worker.store import rows
from worker.store.grouping import Loaded

NOTIFIED = 300
"""Places in one notification: PostgreSQL takes 8,000 bytes."""


class HeldLine(Struct, kw_only=True):
    """A line that its payment begins with, or one that it holds no longer."""

    payment_id: int
    invoice_id: int
    cents: int
    held: bool


class Timer(Struct, kw_only=True):
    """When the hold of the payment `id` is over."""

    id: int
    payable_again_at: datetime


class Outcome(Struct, kw_only=True):
    """An event's outcome, and the version of the policy that it was decided with."""

    place: int
    outcome: str
    reason: str
    policy_version: int


class Changes(Struct, kw_only=True):
    """The rows to write, in the order in which `save` takes them."""

    invoices: list[Invoice] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    released: list[HeldLine] = field(default_factory=list)
    lines: list[HeldLine] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    """Payments whose timer goes."""
    references: list[GatewayReference] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    adjustments: list[Adjustment] = field(default_factory=list)
    journal: list[JournalEntry] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Places of events whose sender waits, as notifications."""

    def texts(self) -> list[str]:
        """The parameters of `save` after the time."""
        return [rows.json_text(getattr(self, name)) for name in self.__struct_fields__]


def changes_of(loaded: Loaded, decisions: Sequence[Decision]) -> Changes:
    """Lay out what `decisions` about `loaded` change, outcomes apart."""
    charges = {(c.gateway_reference_id, c.transaction_id): c for d in decisions for c in d.charges}
    changes = Changes(
        invoices=[row for d in decisions for row in d.invoices.values()],
        payments=[row for d in decisions for row in d.payments.values()],
        references=[row for d in decisions for row in d.references.values()],
        charges=list(charges.values()),
        adjustments=list(chain.from_iterable(d.adjustments for d in decisions)),
        journal=list(chain.from_iterable(d.journal for d in decisions)),
        effects=list(chain.from_iterable(d.effects for d in decisions)),
    )
    for payment in changes.payments:
        _add_lines(changes, loaded, payment)
        _add_timer(changes, loaded, payment)
    return changes


def _add_lines(changes: Changes, loaded: Loaded, payment: Payment) -> None:
    for line in payment.lines:
        was_held = loaded.lines.get((payment.id, line.invoice_id))
        if was_held is None or (was_held and not line.held):
            row = HeldLine(payment_id=payment.id, invoice_id=line.invoice_id, cents=line.cents, held=line.held)
            (changes.lines if was_held is None else changes.released).append(row)


def _add_timer(changes: Changes, loaded: Loaded, payment: Payment) -> None:
    if payment.hold_over:
        if payment.id in loaded.timers:
            changes.ended.append(payment.id)
    elif payment.state is not None and loaded.timers.get(payment.id) != payment.payable_again_at:
        assert payment.payable_again_at is not None, "a hold that is on ends some time"
        changes.timers.append(Timer(id=payment.id, payable_again_at=payment.payable_again_at))


def add_outcomes(changes: Changes, loaded: Loaded, done: Done) -> None:
    """Add what became of the events, and whom to tell."""
    changes.outcomes = [
        Outcome(
            place=applied.place,
            outcome=applied.outcome,
            reason=applied.reason,
            policy_version=loaded.policies[event.regie][0],
        )
        for event, applied in done.applied
    ]
    changes.told = list(_notifications(event.place for event, _ in done.applied if event.waited))


def _notifications(places: Iterable[int]) -> Iterator[str]:
    waited = list(map(str, places))
    for start in range(0, len(waited), NOTIFIED):
        yield ",".join(waited[start : start + NOTIFIED])
