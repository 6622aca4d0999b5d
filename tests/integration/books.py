"""A database with a bit of everything that happens to money in it, reconciled by the real reconciler, and sealed."""

import asyncio
from itertools import count
from typing import Any

from msgspec.structs import replace

from schemas.events import (
    DiscrepancyResolved,
    Event,
    EventType,
    GatewayCallback,
    InvoiceIssued,
    InvoiceSettled,
    InvoiceUnsettled,
    InvoiceWithdrawn,
    NewEvent,
    PaymentRefunded,
    PaymentReversed,
    PaymentStarted,
    Queue,
    StartedLine,
    digest_of,
    report_key,
)
from schemas.records import DueAsk, Policy
from schemas.reports import Report, ReportResult
from worker.gateways.port import Answer, Claim
from worker.reconcile import Reconciler
from worker.store.postgres import PostgresStore
from worker.store.seals import Sealer

REGIE, ASKED = "enfance", "piscine"
POLICIES = {
    REGIE: Policy(label="Régie Enfance", gateway="dummy", hold=1800, notify=True),
    ASKED: Policy(label="Régie Piscine", gateway="payfip_ws", hold=1800, polls=(120, 300), when_in_doubt="hold"),
}
NUMBERS = count(1)


async def keep_books(database_url: str) -> None:
    """Let everything happen, one thing after the other, some at once; then seal it."""
    store = await PostgresStore.open(database_url)
    try:
        await store.sync_policies(POLICIES)
        town = Town(store)
        for story in (
            town.lives_a_quiet_life,
            town.pays_twice,
            town.pays_late,
            town.pays_what_nobody_owes,
            town.takes_money_back,
            town.changes_its_mind,
            town.is_lied_to,
            town.asks_its_gateway,
            town.resolves_what_is_open,
            town.tries_again,
            town.takes_an_archive,
            town.leaves_something_undone,
        ):
            await story()
            await sealed(store)
    finally:
        await store.close()


async def sealed(store: PostgresStore) -> None:
    """Seal everything that was applied."""
    sealer = Sealer(store.pool)
    async with asyncio.timeout(30):
        while await store.pool.fetchval(
            "SELECT coalesce(max(applied_seq), 0) > (SELECT coalesce(max(last_seq), 0) FROM chains) FROM outcomes"
        ):
            await sealer.seal()


class Town:
    """Two régies, their families, their gateways."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.reconciler = Reconciler(store, _interpret, lambda _: None)

    async def happens(self, *facts: Any) -> None:  # noqa: ANN401 (data of events)
        """Facts come in together and are applied."""
        await self.store.record([told(data) for data in facts])
        await self.reconciler.drain(Queue.GATEWAY_CALLBACK)
        await self.reconciler.drain(Queue.PAYMENT_STARTED)

    async def has(self, **policy: Any) -> None:  # noqa: ANN401 (fields of policies)
        """The régie's configuration changes."""
        await self.store.sync_policies({REGIE: replace(POLICIES[REGIE], **policy)})

    async def lives_a_quiet_life(self) -> None:
        """Forty families are billed; most pay, some are refused, some cancel, some in one basket."""
        await self.happens(*(issued(f"F-{n}", account=f"A{n}") for n in range(40)))
        await self.happens(*(started(f"P-{n}", f"F-{n}", f"F-{n + 20}") for n in range(10)))
        await self.happens(*(started(f"P-{n}", f"F-{n}") for n in range(10, 20)))
        await self.happens(*(says(f"P-{n}", "PRA"[n % 3], 1800) for n in range(10)))
        await self.happens(*(says(f"P-{n}", "P") for n in range(10, 16)), *(says(f"P-{n}", "P") for n in range(10, 16)))

    async def pays_twice(self) -> None:
        """Two payments of one invoice, cash and a card, a second click, a second gateway reference that is paid too."""
        await self.happens(issued("D-1"), issued("D-2"), issued("D-3"))
        await self.happens(started("D-a", "D-1"), settled("D-1"), started("D-b", "D-2"), started("D-b", "D-2"))
        await self.happens(says("D-a"), says("D-b"), says("D-b", transaction="other"))
        await self.happens(started("D-b", "D-2", gateway_reference="D-b2"), says("D-b2", transaction="third"))
        await self.happens(started("D-c", "D-3", cents=800), started("D-d", "D-3"), started("D-d", "D-2"))
        await self.happens(PaymentRefunded(regie=REGIE, reference="D-b", amount_cents=400, fact_id="R-1"))
        await self.happens(PaymentRefunded(regie=REGIE, reference="D-b", amount_cents=400, fact_id="R-1"))

    async def pays_late(self) -> None:
        """A hold ends, another family's is taken over before the sweep, then the money comes."""
        await self.has(hold=1)
        await self.happens(issued("L-1"), issued("L-2"), started("L-a", "L-1"), started("L-b", "L-2"))
        await asyncio.sleep(1.05)
        await self.happens(started("L-c", "L-1"))
        await self.reconciler.end_due_holds()
        await self.happens(says("L-a"), says("L-b", "V"))
        await self.happens(says("L-b", "Z"), says("L-c", "P", 100))
        await self.has()

    async def pays_what_nobody_owes(self) -> None:
        """Money before its payment-started, and money that nobody ever announces; a refund of it, too."""
        await self.happens(says("O-a", "P", 900), says("O-b", "P", 500))
        await self.happens(PaymentReversed(regie=REGIE, reference="O-a", amount_cents=100))
        await self.happens(started("O-a", "O-1"), started("O-c", "O-1"))
        await self.happens(issued("O-1", cents=700))

    async def takes_money_back(self) -> None:
        """Withdrawn after it was paid, issued again for more and for less, cheques that bounce."""
        await self.happens(issued("W-1"), issued("W-2"), issued("W-3"), started("W-a", "W-1"), started("W-b", "W-2"))
        await self.happens(says("W-a"), says("W-b"), InvoiceWithdrawn(regie=REGIE, number="W-1", reason="erreur"))
        await self.happens(issued("W-2", cents=1200), settled("W-3"))
        await self.happens(unsettled("W-3"), issued("W-2", cents=300), issued("W-3", label="Cantine"))
        await self.happens(InvoiceWithdrawn(regie=REGIE, number="never issued"))

    async def changes_its_mind(self) -> None:
        """Policies change between a start and its answer: holds are released, test answers count, and not any more."""
        await self.happens(issued("M-1"), issued("M-2"), started("M-a", "M-1"), started("M-b", "M-2"))
        await self.has(on_cancel="release")
        await self.happens(says("M-a", "A"))
        await self.has(mode="test", hold=600, notify=False)
        await self.happens(says("M-b", test="yes"), started("M-c", "M-1"))
        await self.has()

    async def is_lied_to(self) -> None:
        """Forged callbacks about payments that are known and unknown, before and after, and unreadable ones."""
        await self.happens(issued("X-1"), says("X-a", forged="yes"), says("X-a", forged="yes"), says("", forged="yes"))
        await self.happens(started("X-a", "X-1"), says("X-a", forged="yes"), says("X-a", test="yes"))
        await self.happens(says("X-b", forged="yes"), says("X-a"))

    async def asks_its_gateway(self) -> None:
        """Callbacks that prove nothing: about nobody, answered, answered again; a gateway in doubt, then silent."""
        await self.happens(issued("Q-1", regie=ASKED), issued("Q-2", regie=ASKED), claims("Q-a"))
        await self.happens(started("Q-a", "Q-1", regie=ASKED), started("Q-b", "Q-2", regie=ASKED))
        await self.happens(claims("Q-a"), claims("Q-a"))
        await self.answers("Q-a", ReportResult.FAILED)
        await self.answers("Q-b", ReportResult.WAITING)
        await self.answers("Q-a", ReportResult.PAID)
        await self.answers("Q-b", ReportResult.REFUSED)
        await self.happens()

    async def answers(self, reference: str, result: ReportResult) -> None:
        """A gateway answers what it was asked, for the callbacks that wait."""
        row = await self.store.pool.fetchrow(
            "SELECT id, clock_timestamp() AS now FROM gateway_references WHERE gateway_reference = $1", reference
        )
        assert row is not None
        due = DueAsk(
            gateway_reference_id=row["id"], regie=ASKED, gateway_reference=reference, age_seconds=1, asked_at=row["now"]
        )
        report = Report(
            regie=ASKED,
            gateway_reference=reference,
            transaction_id=reference if result in ReportResult("P") else "",
            result=result,
            verified=True,
            asked=True,
            cents=900 if result is ReportResult.PAID else None,
        )
        await self.reconciler.take_answers([(due, Answer(report=report, raw=b"<soap>" + result.encode()))])
        await self.reconciler.drain(Queue.PAYMENT_CORRECTED)

    async def resolves_what_is_open(self) -> None:
        """Discrepancies are resolved, some twice, one by an avoir; the facts move on and reopen one."""
        rows = await self.store.pool.fetch("SELECT * FROM discrepancies WHERE state = 'open' ORDER BY id")
        for nth, row in enumerate(rows[:-2]):
            kinds = ("double_payment", "underpaid", "overpaid", "paid_withdrawn")
            resolution = "credited" if nth % 2 and row["kind"] in kinds else "explained"
            data = DiscrepancyResolved(
                regie=row["regie"],
                id=row["id"],
                resolution=resolution,
                amount_cents=row["amount_cents"],
                comment="Vu avec Mme Martin",
            )
            await self.happens(data)
            await self.happens(data)
        await self.happens(says("O-b", "P", 600, transaction="more"), says("X-b", "P", 900, forged="yes"))
        await self.happens(started("O-d", "O-2", gateway_reference="O-b", cents=500))

    async def tries_again(self) -> None:
        """An event that failed for a while is applied after later ones."""
        await self.store.record([told(issued("N-1")), told(issued("N-1", cents=800))])
        await self.store.pool.execute("UPDATE pending SET leased_until = 'infinity' WHERE subject = 'N-1'")
        await self.happens(started("N-a", "N-1"), says("N-a"), issued("N-1", cents=700))
        await self.store.pool.execute("UPDATE pending SET leased_until = '-infinity' WHERE subject = 'N-1'")
        await self.happens()

    async def takes_an_archive(self) -> None:
        """Callbacks come with the reports that were made of them elsewhere, before and after them."""
        before, after = told(says("V-a")), told(says("V-b"))
        await self.store.record([told(started("V-a", "V-1")), told(started("V-b", "V-2"))])
        await self.store.record([await reported(before), before, after, await reported(after)])
        await self.happens()

    async def leaves_something_undone(self) -> None:
        """A hold that is on; an event that waits, and one that is parked."""
        await self.happens(issued("H-1"), started("H-a", "H-1"))
        await self.store.record([told(issued("H-2")), told(issued("H-3"))])
        await self.store.pool.execute("UPDATE pending SET parked = true WHERE place = (SELECT max(place) FROM pending)")


def told(data: Any) -> NewEvent:  # noqa: ANN401 (data of events)
    """An event on its way in; callbacks come from a gateway, the others from a portal or an admin."""
    kind = _KINDS[type(data)]
    gateway = kind is EventType.GATEWAY_CALLBACK
    return NewEvent(
        client="" if gateway else "portail",
        source=f"/v1/callbacks/{data.regie}" if gateway else "/portail",
        id=f"e-{next(NUMBERS)}",
        type=kind,
        regie=data.regie,
        data=data,
        digest=digest_of(kind, data),
        subject=data.query.split("&")[0] if gateway else getattr(data, "number", None),
        raw=f"/callback?{data.query}".encode() if gateway else None,
    )


_KINDS: dict[Any, EventType] = {
    InvoiceIssued: EventType.INVOICE_ISSUED,
    InvoiceWithdrawn: EventType.INVOICE_WITHDRAWN,
    InvoiceSettled: EventType.INVOICE_SETTLED,
    InvoiceUnsettled: EventType.INVOICE_UNSETTLED,
    PaymentStarted: EventType.PAYMENT_STARTED,
    PaymentRefunded: EventType.PAYMENT_REFUNDED,
    PaymentReversed: EventType.PAYMENT_REVERSED,
    GatewayCallback: EventType.GATEWAY_CALLBACK,
    DiscrepancyResolved: EventType.DISCREPANCY_RESOLVED,
}


def issued(number: str, cents: int = 900, *, regie: str = REGIE, account: str = "A1", label: str | None = None) -> Any:  # noqa: ANN401
    """An invoice is owed."""
    return InvoiceIssued(regie=regie, number=number, account=account, amount_cents=cents, label=label)


def settled(number: str, cents: int = 900) -> Any:  # noqa: ANN401
    """An invoice was paid at the counter."""
    return InvoiceSettled(regie=REGIE, number=number, amount_cents=cents, means="cash")


def unsettled(number: str, cents: int = 900) -> Any:  # noqa: ANN401
    """That was taken back."""
    return InvoiceUnsettled(regie=REGIE, number=number, amount_cents=cents, means="cheque")


def started(
    reference: str, *numbers: str, cents: int = 900, regie: str = REGIE, gateway_reference: str | None = None
) -> Any:  # noqa: ANN401
    """A family leaves to pay."""
    return PaymentStarted(
        regie=regie,
        reference=reference,
        amount_cents=cents * len(numbers),
        invoices=[StartedLine(number=number, amount_cents=cents) for number in numbers],
        gateway_reference=gateway_reference,
    )


def says(
    reference: str, result: str = "P", cents: int = 900, *, transaction: str = "t", forged: str = "", test: str = ""
) -> Any:  # noqa: ANN401
    """A gateway calls, and what it says; or somebody who pretends to be it."""
    query = "&".join((reference, result, str(cents), transaction, forged, test))
    return GatewayCallback(regie=REGIE, method="GET", query=query)


def claims(reference: str) -> Any:  # noqa: ANN401
    """A gateway calls without proof."""
    return GatewayCallback(regie=ASKED, method="GET", query=reference)


async def reported(callback: NewEvent) -> NewEvent:
    """The report of a callback, as an archive has it."""
    source, event_id = report_key(callback.client, callback.source, callback.id)
    report = await _interpret(callback)
    assert isinstance(report, Report)
    return NewEvent(
        client="lettrage",
        source=source,
        id=event_id,
        type=EventType.GATEWAY_REPORT,
        regie=callback.regie,
        data=report,
        digest=digest_of(EventType.GATEWAY_REPORT, report),
        subject=callback.subject,
    )


async def _interpret(event: Event | NewEvent) -> Report | Claim:
    if event.regie == ASKED:
        return Claim(gateway_reference=event.data.query)
    reference, result, cents, transaction, forged, test = event.data.query.split("&")
    return Report(
        regie=REGIE,
        gateway_reference=reference,
        transaction_id=transaction,
        result=ReportResult(result),
        verified=not forged,
        test=bool(test),
        cents=int(cents),
        why="signature_invalid" if forged else "signed",
    )
