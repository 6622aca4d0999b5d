"""What the facts add up to: received, kept, to give back, missing. Source: the rules about money, "What follows".

Everything here is a function of the set of facts of a dossier; nothing depends on the order in which they came.
"""

from typing import NamedTuple

from schemas.records import AdjustmentKind, Charge, ChargeResult, DiscrepancyKind, Invoice, Payment
from worker.domain.case import Case

RANK = {result: rank for rank, result in enumerate("ARVZP")}
"""P > Z > V > R > A, whatever the order in which a transaction's results come."""

_MONEY = (ChargeResult.PAID, ChargeResult.PROVISIONAL)
_GIVEN_BACK = (AdjustmentKind.REFUNDED, AdjustmentKind.CREDITED)


def cents_of(charge: Charge, payment: Payment) -> int:
    """Give a charge's cents; a gateway that names no amount means the payment's own."""
    return charge.cents if charge.cents is not None else payment.amount_cents or 0


class Received(NamedTuple):
    """What came in for one payment, in cents."""

    received: int
    """Charges P and V minus reversals, never negative."""
    refunds: int
    """Given back: refunds and avoirs."""
    taken_back: int
    """Z charges and reversals that counted."""
    gross: int
    """What `received` would be had nothing been taken back."""
    provisional: bool
    refused: bool
    abandoned: bool


NOTHING = Received(0, 0, 0, 0, provisional=False, refused=False, abandoned=False)


def received_for(case: Case, payment: Payment) -> Received:
    """Add up the charges and adjustments of one payment."""
    charges, facts = case.charges_of(payment), case.adjustments.get((None, payment.id), ())
    if not charges and not facts:
        return NOTHING
    money = rejected_cents = reversed_cents = refunds = 0
    rejected_ids: set[str] = set()
    results: set[ChargeResult] = set()
    for charge in charges:
        results.add(charge.result)
        if charge.result in _MONEY:
            money += cents_of(charge, payment)
        elif charge.result is ChargeResult.REJECTED_LATER:
            rejected_cents += cents_of(charge, payment)
            rejected_ids.add(charge.transaction_id)
    for fact in facts:
        if fact.kind in _GIVEN_BACK:
            refunds += fact.cents
        elif fact.kind is AdjustmentKind.REVERSED and fact.fact_id not in rejected_ids:
            reversed_cents += fact.cents
    return Received(
        received=max(0, money - reversed_cents),
        refunds=refunds,
        taken_back=rejected_cents + min(reversed_cents, money),
        gross=money + rejected_cents,
        provisional=ChargeResult.PROVISIONAL in results,
        refused=ChargeResult.REFUSED in results,
        abandoned=ChargeResult.ABANDONED in results,
    )


def wholly_refunded(sums: Received) -> bool:
    """Tell whether all that came in was given back."""
    return sums.refunds > 0 and sums.refunds >= sums.received


def is_paid(payment: Payment, sums: Received) -> bool:
    """Tell whether a payment's lines are credits, in full."""
    return payment.amount_cents is not None and sums.received >= payment.amount_cents and not wholly_refunded(sums)


def is_reversed(payment: Payment, sums: Received) -> bool:
    """Tell whether money taken back brought a payment below its amount."""
    return (
        payment.amount_cents is not None
        and not wholly_refunded(sums)
        and sums.received < payment.amount_cents <= sums.gross
        and sums.taken_back > 0
    )


class Share(NamedTuple):
    """How one invoice's claim is covered. Cents by payment id; None is what was settled elsewhere."""

    claim: int
    credited: int
    net_settled: int
    kept: dict[int | None, int]


def amount_of(case: Case, invoice: Invoice, paid: set[int]) -> int | None:
    """Give an invoice's amount in cents: as issued, else its largest paid line, else that of its latest start."""
    if invoice.issued_cents is not None:
        return invoice.issued_cents
    payers = case.payers.get(invoice.id)
    if not payers:
        return None
    paid_lines = [line.cents for payment, line in payers if payment.id in paid]
    if paid_lines:
        return max(paid_lines)
    return max(payers, key=lambda payer: (payer[0].start_time, payer[0].start_place))[1].cents


def net_settled(case: Case, invoice: Invoice) -> int:
    """Give what was settled elsewhere minus what was taken back, in cents; may be negative."""
    if (invoice.id, None) not in case.adjustments:
        return 0
    return case.adjusted(invoice, AdjustmentKind.SETTLED) - case.adjusted(invoice, AdjustmentKind.UNSETTLED)


def share_of(case: Case, invoice: Invoice, amount: int, sums: dict[int, Received], paid: set[int]) -> Share:
    """Cover an invoice's claim: settled elsewhere first, then the payments, least refunded and earliest first."""
    claim = 0 if invoice.withdrawn else amount
    net = net_settled(case, invoice)
    kept: dict[int | None, int] = {None: min(max(0, net), claim)}
    left = claim - kept[None]
    credited = net
    payers = [payer for payer in case.payers.get(invoice.id, ()) if payer[0].id in paid]
    if len(payers) > 1:
        payers.sort(key=lambda payer: _order(payer[0], sums[payer[0].id]))
    for payment, line in payers:
        kept[payment.id] = min(line.cents, left)
        left -= kept[payment.id]
        credited += line.cents
    return Share(claim, credited, net, kept)


def _order(payment: Payment, sums: Received) -> tuple[object, ...]:
    excess = max(0, sums.refunds - (sums.received - (payment.amount_cents or 0)))
    return excess, payment.first_money_at, payment.first_money_place


Subject = tuple[DiscrepancyKind, int | None, int | None]
"""What a discrepancy is about: kind, payment id, invoice id."""


def differences(case: Case, sums: dict[int, Received], paid: set[int], shares: dict[int, Share]) -> dict[Subject, int]:
    """List what is to be given back, and what is missing, in cents above zero; never summed with each other."""
    found: dict[Subject, int] = {}
    for payment in case.dossier.payments.values():
        if payment.state is not None and sums[payment.id] is not NOTHING:
            found.update(_of_payment(case, payment, sums[payment.id], shares))
    for invoice_id, share in shares.items():
        if len(share.kept) > 1 or (invoice_id, None) in case.adjustments:
            found.update(_of_invoice(case, case.dossier.invoices[invoice_id], share, paid))
    return {subject: cents for subject, cents in found.items() if cents > 0}


def _of_payment(case: Case, payment: Payment, sums: Received, shares: dict[int, Share]) -> dict[Subject, int]:
    kind = DiscrepancyKind
    found: dict[Subject, int] = {}
    if is_reversed(payment, sums):
        found[kind.REVERSED, payment.id, None] = sums.taken_back
    parts: list[tuple[Subject, int]] = [((kind.UNDERPAID, payment.id, None), sums.received)]
    if is_paid(payment, sums):
        parts = _parts(case, payment, sums, shares)
    refunds = sums.refunds
    for subject, cents in reversed(parts):
        found[subject] = max(0, cents - refunds)
        refunds = max(0, refunds - cents)
    found[kind.MISSING, payment.id, None] = refunds
    return found


def _parts(case: Case, payment: Payment, sums: Received, shares: dict[int, Share]) -> list[tuple[Subject, int]]:
    """Split what a paid payment brought and no invoice keeps: withdrawn lines, doubles, then the rest."""
    kind = DiscrepancyKind
    withdrawn: list[tuple[Subject, int]] = []
    doubles: list[tuple[Subject, int]] = []
    rest = sums.received
    for line in sorted(payment.lines, key=lambda line: case.dossier.invoices[line.invoice_id].number):
        share = shares[line.invoice_id]
        kept = share.kept.get(payment.id, 0)
        if case.dossier.invoices[line.invoice_id].withdrawn:
            withdrawn.append(((kind.PAID_WITHDRAWN, payment.id, line.invoice_id), line.cents))
            rest -= line.cents
        else:
            double = min(line.cents - kept, sum(share.kept.values()) - kept)
            doubles.append(((kind.DOUBLE_PAYMENT, payment.id, line.invoice_id), double))
            rest -= kept + double
    return [*withdrawn, *doubles, ((kind.OVERPAID, payment.id, None), rest)]


def _of_invoice(case: Case, invoice: Invoice, share: Share, paid: set[int]) -> dict[Subject, int]:
    kind = DiscrepancyKind
    excess = share.net_settled - (share.kept[None] or 0) - case.adjusted(invoice, AdjustmentKind.CREDITED)
    back = kind.PAID_WITHDRAWN if invoice.withdrawn else kind.OVERPAID
    credited = any(payment.id in paid for payment, _ in case.payers.get(invoice.id, ()))
    short = share.claim - share.credited if credited else 0
    return {(back, None, invoice.id): excess, (kind.MISSING, None, invoice.id): max(-excess, short)}
