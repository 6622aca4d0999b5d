"""Which facts are about what is loaded, and what they name that is not."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from schemas.events import Event
from worker.domain.keys import keys_of
from worker.store import rows
from worker.store.grouping import Loaded, Name, Names, merged


class Known:
    """What is loaded, by name."""

    def __init__(self, loaded: Loaded) -> None:
        self.invoices = {(row.regie, row.number) for row in loaded.invoices.values()}
        self.payments = {(row.regie, row.reference) for row in loaded.payments.values()}
        self.references = {(row.regie, row.gateway_reference) for row in loaded.references.values()}
        self.looked_up = self.references | loaded.names.looked_up
        self.discrepancies = {(row.regie, row.id) for row in loaded.discrepancies.values()}

    def names(self) -> set[Name]:
        """The names by which facts about it are found."""
        return self.invoices | self.payments | self.looked_up | self.discrepancies

    def has(self, event: Event) -> bool:
        """Tell whether an event is about one of these; another kind of thing may have the same name."""
        keys = keys_of(event)
        for names, known in (
            (keys.payments, self.payments),
            (keys.invoices, self.invoices),
            (keys.references, self.references),
            (keys.looked_up, self.looked_up),
        ):
            if names:
                return (event.regie, names[0]) in known
        return any((event.regie, key) in self.discrepancies for key in keys.discrepancies)


def grow(names: Names, loaded: Loaded, facts: Sequence[Event], journalled: AbstractSet[Name] = frozenset()) -> bool:
    """Add what is named and not loaded to `names`; False when there is no such thing."""
    told = merged(facts, keys_of)
    known = Known(loaded)
    invoices = (told.invoices | names.invoices) - known.invoices
    payments = (told.payments | names.payments | journalled) - known.payments
    references = (told.references | names.references) - known.references
    names.invoices |= invoices
    names.payments |= payments
    names.references |= references
    return bool(invoices or payments or references)


def pairs(names: AbstractSet[Name]) -> tuple[str, str]:
    """Régies and names, in order, as two JSON texts."""
    ordered = sorted(names)
    return rows.json_text([regie for regie, _ in ordered]), rows.json_text([name for _, name in ordered])
