"""The books again, from the facts alone: each batch decided as it was, with the policy and the time that were its own.

The store of simulations does it, with the rows' own numbers, so that what comes out can be compared as it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from schemas.decisions import JournalEntry
from schemas.events import Event, EventType, report_key
from schemas.records import GatewayReference, Invoice, Payment, Policy
from worker.domain.decide import decide
from worker.domain.keys import gateway_reference_of
from worker.store.grouping import Name, Names
from worker.store.memory import MemoryStore

Kind = Literal["invoices", "payments", "references"]
Number = Callable[[Kind, Name], int]
"""The number that a row has in the database; one below zero for a row that is missing there."""

OURS: Final = "lettrage"
TRANSACTION: Final = timedelta(seconds=60)
"""Longer than a transaction lasts: its timeouts end it sooner."""
NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Application(Struct, kw_only=True, frozen=True):
    """An event, and what is recorded of its application."""

    event: Event
    outcome: str
    reason: str
    decided_at: datetime
    policy_version: int


class Recomputation(MemoryStore):
    """What some events make of an empty database."""

    def __init__(self, number: Number, policies: Mapping[tuple[str, int], Policy]) -> None:
        super().__init__(lambda: self.now, {})
        self.now = NEVER
        self.created_at: dict[int, datetime] = {}
        """When each invoice's row was created, by its number."""
        self._number = number
        self._versions = policies
        self._known: dict[Kind, set[Name]] = {"invoices": set(), "payments": set(), "references": set()}

    def apply_again(self, batch: Sequence[Application]) -> None:
        """Decide events that one transaction decided.

        Raises:
            KeyError: a policy that was theirs is missing.
            Exception: whatever `decide` makes of facts that cannot be.
        """
        self.now = batch[0].decided_at
        self.policies = {a.event.regie: self._versions[a.event.regie, a.policy_version] for a in batch}
        events = [application.event for application in batch]
        facts = [event for event in events if event.type is not EventType.GATEWAY_CALLBACK]
        self._reconcile(facts, decide, events, _answers(events))

    def outcomes(self) -> dict[int, tuple[str, str]]:
        """Take what became of events, by place."""
        taken, self.tables.outcomes = self.tables.outcomes, {}
        return {place: (each.applied.outcome.value, each.applied.reason) for place, each in taken.items()}

    def journal(self) -> list[JournalEntry]:
        """Take what was written into the journal; nothing is told to anybody."""
        taken, self.tables.journal, self.tables.outbox = self.tables.journal, [], []
        return taken

    def _create(self, names: Names) -> None:
        for regie, number in self._missing("invoices", names.invoices):
            invoice = Invoice(id=self._number("invoices", (regie, number)), regie=regie, number=number)
            self.tables.invoices[invoice.id] = invoice
            self.created_at[invoice.id] = self.now
        for regie, reference in self._missing("payments", names.payments):
            payment = Payment(id=self._number("payments", (regie, reference)), regie=regie, reference=reference)
            self.tables.payments[payment.id] = payment
        for regie, name in self._missing("references", names.references):
            row = GatewayReference(id=self._number("references", (regie, name)), regie=regie, gateway_reference=name)
            self.tables.references[row.id] = row

    def _missing(self, kind: Kind, names: set[Name]) -> Iterable[Name]:
        missing = names - self._known[kind]
        self._known[kind] |= missing
        return sorted(missing)


def batches(applications: Iterable[Application]) -> list[list[Application]]:
    """Part events, in the order of their application, into what one transaction decided each, by place."""
    found: list[list[Application]] = []
    last: Application | None = None
    for each in applications:
        if last is None or last.decided_at != each.decided_at or last.event.place > each.event.place:
            found.append([])
        found[-1].append(each)
        last = each
    return found


def unseen_first(told: Sequence[list[Application]]) -> list[list[Application]]:
    """Put what proves nothing before the payment-started that brought its reference, if both were decided at once.

    It looks for the reference's row, which nobody locks before there is one; so its transaction may have seen none, and
    still have a later number than the one that made it.
    """
    found: list[list[Application]] = []
    for batch in told:
        unproven = [application for application in batch if _is_unproven(application.event)]
        names = {(each.event.regie, each.event.data.gateway_reference) for each in unproven}
        begun = next((nth for nth, earlier in enumerate(found) if _starts(earlier, batch[0].decided_at, names)), None)
        if begun is None:
            found.append(batch)
            continue
        moved, others = _parted(batch, {each.event.place for each in unproven})
        found.insert(begun, moved)
        found += [others] if others else []
    return found


def _parted(batch: Sequence[Application], reports: set[int]) -> tuple[list[Application], list[Application]]:
    """Part reports, with the callbacks that they speak for, from the rest."""
    answers = _answers([each.event for each in batch])
    moved = reports | {place for place, report in answers.items() if report in reports}
    return (
        [each for each in batch if each.event.place in moved],
        [each for each in batch if each.event.place not in moved],
    )


def _is_unproven(event: Event) -> bool:
    return event.type is EventType.GATEWAY_REPORT and not event.data.verified


def _starts(batch: Sequence[Application], before: datetime, names: set[Name]) -> bool:
    """Tell whether a transaction, begun within a moment, brought one of these references."""
    return any(
        each.event.type is EventType.PAYMENT_STARTED
        and (each.event.regie, gateway_reference_of(each.event)) in names
        and abs(before - each.decided_at) <= TRANSACTION
        for each in batch
    )


def _answers(events: Sequence[Event]) -> dict[int, int]:
    """Find the reports that were made of callbacks while they were applied: they come after them.

    One that came before its callback is an archive's, and spoke for itself.
    """
    reports = {(e.source, e.id): e.place for e in events if e.type is EventType.GATEWAY_REPORT and e.client == OURS}
    answers = {}
    for event in events:
        if event.type is EventType.GATEWAY_CALLBACK:
            place = reports.get(report_key(event.client, event.source, event.id), 0)
            if place > event.place:
                answers[event.place] = place
    return answers
