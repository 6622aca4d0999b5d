"""What reconciling needs of a store. PostgreSQL keeps it in production, memory in simulations; one suite tests both."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime
from typing import Protocol

from schemas.decisions import Decision, Done, Dossier
from schemas.events import Event, NewEvent, Queue, Receipt
from schemas.records import DueAsk, Policy

Decide = Callable[[Dossier, Sequence[Event], Policy, datetime], Decision]
"""`worker.domain.decide`: pure, so that a transaction may run it between its reads and its writes."""


Turn = Callable[[], AbstractAsyncContextManager[None]]
"""Waits for one's turn among others; may be entered again when a transaction is repeated."""


class StoreUnavailableError(Exception):
    """The store can't be reached, or can't say what became of a transaction: the same work is safe to repeat."""


class Store(Protocol):
    """Facts in, states out; every method is one short transaction, safe to repeat when its outcome is unknown."""

    async def record(self, events: Sequence[NewEvent]) -> list[Receipt]:
        """Keep facts, all or none, one receipt each in their order; a known (client, source, id) is not kept twice."""
        ...

    async def claim(self, queue: Queue, limit: int) -> list[Event]:
        """Lease up to `limit` pending events, oldest first, for seconds; counts one attempt each and commits it.

        `GATEWAY_CALLBACK` leases callbacks; any other queue leases whatever needs no gateway, in the order received.
        An event whose worker died twice comes alone.
        """
        ...

    async def claim_evidence(self, limit: int) -> list[Event]:
        """Lease pending callbacks and reports, never tried before, of payments whose hold is over."""
        ...

    async def overtaking(self, events: Sequence[Event]) -> set[int]:
        """Find the payment-starteds among claimed events that should come after a fact of their invoices; their places.

        Such a fact was received earlier and is in hand for the first time: another worker's, or another batch's here
        that waits. One that `apply` has the turn for is not meant: this process's batches lock in their order.
        """
        ...

    async def apply(
        self,
        events: Sequence[Event],
        decide: Decide,
        reports: Mapping[int, NewEvent] | None = None,
        turn: Turn = nullcontext,
    ) -> Done:
        """Lock, read, decide, save and mark done, in ONE transaction; events already done are not in the answer.

        `reports`: what each callback among `events` was found to say, by its place; kept as events of their own,
        applied at once, and giving the callback its outcome. `turn` is entered before anything that was
        there is locked, and left after the commit: it keeps a process's own batches from meeting each other's rows.
        """
        ...

    async def call_back(self, claims: Sequence[tuple[Event, str]]) -> set[int]:
        """Take callbacks that prove nothing by themselves, each with the gateway reference that it claims.

        Where a payment owns the reference, its gateway is to be asked at once and the callback waits for the answer;
        answers the places of the others, of which the payment-started that names them later is told.
        """
        ...

    async def claim_asks(self, regies: Sequence[str], limit: int) -> list[DueAsk]:
        """Take up to `limit` asks of these régies that are due, oldest first, for as long as one may take."""
        ...

    async def called_back(self, asks: Sequence[DueAsk]) -> list[tuple[DueAsk, Event]]:
        """Find the callbacks that wait for these asks and were received before the gateway was, in that order."""
        ...

    async def asks_waiting(self, regies: Sequence[str], older_than_seconds: float) -> bool:
        """Tell whether an ask of these régies is due that nobody took for that long."""
        ...

    async def end_due_holds(self, decide: Decide, limit: int, part: int = 0, parts: int = 1) -> Done:
        """Write the end of up to `limit` holds that are over, each as a `payment.timed_out` event, in ONE transaction.

        Looks at one `part` of `parts`, which others may sweep meanwhile; a part that is being swept answers nothing.
        A hold waits while a first attempt at its own evidence is under way, at most 2 s.
        """
        ...

    async def give_back(self, events: Sequence[Event]) -> None:
        """Take back one attempt at events that the store itself kept from being tried: no fault of theirs."""
        ...

    async def set_aside_due_hold(self, part: int = 0, parts: int = 1) -> None:
        """Make a part's oldest hold that is over a pending event: its end fails, and others wait for theirs."""
        ...

    async def put_off(self, event: Event, error: str) -> bool:
        """Give a failed event back, to be tried again after a backoff; after 8 tries park it. True when parked."""
        ...

    async def next_deadline(self) -> float | None:
        """Seconds until the next hold is over (negative: overdue), None without holds."""
        ...

    async def waiting(self, older_than_seconds: float) -> list[Queue]:
        """Queues with claimable events that nobody took for that long: what the bell missed."""
        ...
