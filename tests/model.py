"""The independent judge: what a set of facts means, recomputed from scratch.

Written from the rules about money alone, never from `worker.domain`, and shaped
differently on purpose: plain dicts, one function per sentence, no state, no speed.
It answers for the moment when every deadline has passed, so it knows no hold.

A fact is a plain dict, made by one of the functions below. The facts of a list
stand in the order received. What has an identity may be repeated and counts once;
an invoice's issues and withdrawals are told apart by their time, so one without a
time stands in the list once per event. All money is in cents, times in seconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Fact = Mapping[str, Any]
Claimant = str | None
"""Who credits an invoice: a payment's reference, or None for what was settled elsewhere."""
Key = tuple[str, Claimant, str | None]
"""What tells a discrepancy apart: kind, payment, invoice."""

# ---------------------------------------------------------------- facts


def issued(number: str, cents: int, *, time: float | None = None) -> Fact:
    """The invoice is owed, for this amount."""
    return {"fact": "issued", "number": number, "cents": cents, "time": time}


def withdrawn(number: str, *, time: float | None = None) -> Fact:
    """The invoice is no longer owed."""
    return {"fact": "withdrawn", "number": number, "time": time}


def started(
    reference: str,
    lines: Mapping[str, int],
    *,
    gateway_reference: str | None = None,
    time: float | None = None,
) -> Fact:
    """One attempt to pay these invoices, each in full."""
    return {
        "fact": "started",
        "reference": reference,
        "lines": dict(lines),
        "gateway_reference": gateway_reference or reference,
        "time": time,
    }


def charge(gateway_reference: str, transaction: str, result: str, cents: int) -> Fact:
    """A verified report: P paid, V provisional, Z rejected later, R refused, A abandoned."""
    return {
        "fact": "charge",
        "gateway_reference": gateway_reference,
        "transaction": transaction,
        "result": result,
        "cents": cents,
    }


def reversed_(reference: str, cents: int, fact_id: str) -> Fact:
    """The bank took money of the payment back."""
    return {"fact": "reversed", "reference": reference, "cents": cents, "fact_id": fact_id}


def refunded(reference: str, cents: int, fact_id: str) -> Fact:
    """We gave money of the payment back."""
    return {"fact": "refunded", "reference": reference, "cents": cents, "fact_id": fact_id}


def settled(number: str, cents: int, fact_id: str) -> Fact:
    """The invoice was paid elsewhere: cash, cheque, counter."""
    return {"fact": "settled", "number": number, "cents": cents, "fact_id": fact_id}


def unsettled(number: str, cents: int, fact_id: str) -> Fact:
    """A settlement elsewhere was taken back: a bounced cheque."""
    return {"fact": "unsettled", "number": number, "cents": cents, "fact_id": fact_id}


def resolution(identifier: str, how: str, cents: int, *, kind: str, payment: Claimant, invoice: str | None) -> Fact:
    """Someone closed the discrepancy (kind, payment, invoice) when it stood at `cents`."""
    return {
        "fact": "resolution",
        "id": identifier,
        "how": how,
        "cents": cents,
        "of": (kind, payment, invoice),
    }


# ---------------------------------------------------------------- verdict


@dataclass(frozen=True)
class Payment:
    """What became of one payment's money."""

    lines: Mapping[str, int]
    amount: int
    received: int
    refunds: int
    paid: bool
    outcome: str | None
    """`paid`, `refunded` or `reversed`; None when money does not say (expired, refused…)."""
    kept: Mapping[str, int]
    """Cents that each of its lines keeps, by invoice number; empty unless paid."""


@dataclass(frozen=True)
class Invoice:
    """What became of one invoice once nothing holds it."""

    state: str
    amount: int
    credits: int
    kept_elsewhere: int


@dataclass(frozen=True)
class Verdict:
    """Everything that a régie's facts decide."""

    invoices: Mapping[str, Invoice]
    payments: Mapping[str, Payment]
    discrepancies: Mapping[Key, int]
    unknown_payments: Mapping[tuple[str, str], int]
    """Cents of each charge without an owner, by (gateway reference, transaction)."""

    @property
    def states(self) -> dict[str, str]:
        """State of each invoice, by number."""
        return {number: invoice.state for number, invoice in self.invoices.items()}


TO_GIVE_BACK = ("underpaid", "paid_withdrawn", "double_payment", "overpaid")
"""Kinds that say how much somebody must be given back."""


def judge(facts: Iterable[Fact]) -> Verdict:
    """Say what the facts of one régie mean, after all deadlines."""
    known = placed(facts)
    starts, charges = payments_of(known), charges_of(known)
    payments = {ref: money_of(ref, starts, charges, known) for ref in starts}
    paid = [ref for ref, payment in payments.items() if payment["paid"]]
    paid.sort(key=lambda ref: (payments[ref]["beyond"], payments[ref]["first"]))
    numbers = invoices_known(known, starts)
    invoices = {number: claim_of(number, known, starts, paid) for number in numbers}
    kept = kept_by(invoices, {ref: starts[ref]["lines"] for ref in paid})

    found: dict[Key, int] = {}
    for ref, payment in payments.items():
        found.update(amiss_with_payment(ref, payment, kept, invoices))
    for number in numbers:
        found.update(amiss_with_invoice(number, invoices[number], kept))
    return Verdict(
        invoices={number: invoice_told(number, invoices[number], kept) for number in numbers},
        payments={ref: payment_told(ref, payment, kept) for ref, payment in payments.items()},
        discrepancies={key: cents for key, cents in found.items() if cents > 0},
        unknown_payments=ownerless(charges, starts),
    )


def payment_told(ref: str, payment: Mapping[str, Any], kept: Mapping[tuple[Claimant, str], int]) -> Payment:
    """The verdict on one payment."""
    return Payment(
        lines=payment["lines"],
        amount=payment["amount"],
        received=payment["received"],
        refunds=payment["refunds"],
        paid=payment["paid"],
        outcome=payment["outcome"],
        kept={number: kept[ref, number] for number in payment["lines"] if payment["paid"]},
    )


def invoice_told(number: str, invoice: Mapping[str, Any], kept: Mapping[tuple[Claimant, str], int]) -> Invoice:
    """The verdict on one invoice: withdrawn, else paid when credits ≥ amount, else payable."""
    covered = "paid" if invoice["credits"] >= invoice["amount"] else "payable"
    return Invoice(
        state="withdrawn" if invoice["withdrawn"] else covered,
        amount=invoice["amount"],
        credits=invoice["credits"],
        kept_elsewhere=kept[None, number],
    )


def amiss_with_payment(
    ref: str,
    payment: Mapping[str, Any],
    kept: Mapping[tuple[Claimant, str], int],
    invoices: Mapping[str, Mapping[str, Any]],
) -> dict[Key, int]:
    """What is to give back or missing of one payment, and what was taken back from it."""
    found: dict[Key, int] = {}
    back = payment["received"] - payment["refunds"]
    if payment["paid"]:
        back -= sum(kept[ref, number] for number in payment["lines"])
    if back < 0:
        found["missing", ref, None] = -back
    elif payment["paid"]:
        found.update(to_give_back(ref, payment, kept, invoices))
    else:
        found["underpaid", ref, None] = back
    if payment["outcome"] == "reversed":
        found["reversed", ref, None] = payment["taken_back"]
    return found


def amiss_with_invoice(
    number: str, invoice: Mapping[str, Any], kept: Mapping[tuple[Claimant, str], int]
) -> dict[Key, int]:
    """What is to give back of what was settled elsewhere, and what is missing of the claim."""
    back = invoice["elsewhere"] - invoice["avoirs"] - kept[None, number]
    uncovered = invoice["claim"] - invoice["credits"] if invoice["lines"] else 0
    kind = "paid_withdrawn" if invoice["withdrawn"] else "overpaid"
    return {(kind, None, number): back, ("missing", None, number): max(-back, uncovered)}


def still_open(verdict: Verdict, facts: Iterable[Fact]) -> set[Key]:
    """Discrepancies that no resolution closes: a larger amount than it closed reopens one.

    An avoir (`credited`) closes by what it gives back, not by its stamp: new money
    after it is a new amount that nobody has looked at.
    """
    closed: dict[Any, int] = {}
    for fact in placed(facts):
        if fact["fact"] == "resolution" and fact["how"] != "credited":
            closed[fact["of"]] = max(closed.get(fact["of"], 0), fact["cents"])
    return {key for key, cents in verdict.discrepancies.items() if cents > closed.get(key, 0)}


# ---------------------------------------------------------------- reading the facts


def placed(facts: Iterable[Fact]) -> list[Fact]:
    """Facts in the order received, each with its `place`.

    One that does not say when it was `received` was so at its place, in seconds.
    """
    return [{"received": place, **fact, "place": place} for place, fact in enumerate(facts)]


def of_kind(known: Sequence[Fact], *kinds: str) -> list[Fact]:
    """Only the facts of these kinds."""
    return [fact for fact in known if fact["fact"] in kinds]


def latest(facts: Sequence[Fact]) -> Fact | None:
    """The fact that stands: by its time, else by when it was received; then by place."""

    def when(fact: Fact) -> tuple[float, int]:
        return (fact["received"] if fact["time"] is None else fact["time"]), fact["place"]

    return max(facts, key=when, default=None)


def once(facts: Sequence[Fact], identity: str) -> list[Fact]:
    """One fact per identity; should two differ, the first received."""
    first: dict[Any, Fact] = {}
    for fact in facts:
        first.setdefault(fact[identity], fact)
    return list(first.values())


def total(facts: Iterable[Fact]) -> int:
    """Their cents together."""
    return sum(int(fact["cents"]) for fact in facts)


# ---------------------------------------------------------------- invoices


def changes_of(number: str, known: Sequence[Fact]) -> list[Fact]:
    """Every issue and withdrawal of an invoice: they share one identity."""
    return [fact for fact in of_kind(known, "issued", "withdrawn") if fact["number"] == number]


def invoices_known(known: Sequence[Fact], payments: Mapping[str, Any]) -> list[str]:
    """Invoices that were issued or that a payment named; facts about any other wait."""
    named = {number for payment in payments.values() for number in payment["lines"]}
    return sorted(named | {fact["number"] for fact in of_kind(known, "issued")})


def claim_of(number: str, known: Sequence[Fact], starts: Mapping[str, Any], paid: Sequence[str]) -> dict[str, Any]:
    """All that is owed and credited of one invoice."""
    last = latest(changes_of(number, known))
    gone = last is not None and last["fact"] == "withdrawn"
    amount = amount_of(number, known, starts, paid)
    lines = [starts[ref]["lines"][number] for ref in paid if number in starts[ref]["lines"]]
    elsewhere = settled_elsewhere(number, known)
    return {
        "withdrawn": gone,
        "amount": amount,
        "claim": 0 if gone else amount,
        "lines": lines,
        "elsewhere": elsewhere,
        "credits": sum(lines) + elsewhere,
        "avoirs": avoirs_elsewhere(number, known),
    }


def amount_of(number: str, known: Sequence[Fact], starts: Mapping[str, Any], paid: Sequence[str]) -> int:
    """As last issued; before any issue, the largest line paid, else the latest one started."""
    issue = latest(of_kind(changes_of(number, known), "issued"))
    if issue is not None:
        return int(issue["cents"])
    lines_paid = [starts[ref]["lines"][number] for ref in paid if number in starts[ref]["lines"]]
    if lines_paid:
        return int(max(lines_paid))
    start = latest([payment["start"] for payment in starts.values() if number in payment["lines"]])
    assert start is not None, "an invoice is known by its issue or by a payment"
    return int(start["lines"][number])


def settled_elsewhere(number: str, known: Sequence[Fact]) -> int:
    """Settled elsewhere − unsettled, each counted once per fact_id; may be negative."""
    own = [fact for fact in of_kind(known, "settled", "unsettled") if fact["number"] == number]
    settlements = once(of_kind(own, "settled"), "fact_id")
    bounced = once(of_kind(own, "unsettled"), "fact_id")
    return total(settlements) - total(bounced)


def avoirs_elsewhere(number: str, known: Sequence[Fact]) -> int:
    """Avoirs given for what was settled elsewhere: they count as refunds of it."""
    return total(
        [
            fact
            for fact in once(of_kind(known, "resolution"), "id")
            if fact["how"] == "credited" and fact["of"][1:] == (None, number)
        ]
    )


# ---------------------------------------------------------------- payments


def payments_of(known: Sequence[Fact]) -> dict[str, dict[str, Any]]:
    """Payments by reference: the first start stands, and may gain gateway references.

    A start with other lines is a conflict and changes nothing. A gateway reference
    has one owner: the first payment received with it.
    """
    payments: dict[str, dict[str, Any]] = {}
    owner: dict[str, str] = {}
    for start in of_kind(known, "started"):
        reference, key = start["reference"], start["gateway_reference"]
        if owner.get(key, reference) != reference:
            continue
        if reference in payments and payments[reference]["lines"] != start["lines"]:
            continue
        owner[key] = reference
        payment = payments.setdefault(
            reference,
            {
                "start": start,
                "lines": start["lines"],
                "amount": sum(start["lines"].values()),
                "gateway_references": set(),
            },
        )
        payment["gateway_references"].add(key)
    return payments


def money_of(
    reference: str, starts: Mapping[str, Any], charges: Mapping[Any, Any], known: Sequence[Fact]
) -> dict[str, Any]:
    """All that was received for one payment and taken or given back of it."""
    lines, amount = starts[reference]["lines"], starts[reference]["amount"]
    own = {key: charge for key, charge in charges.items() if key[0] in starts[reference]["gateway_references"]}
    charged, rejected = sum_of("PV", own), sum_of("Z", own)
    reversals = reversals_of(reference, own, known)
    received = max(0, charged - reversals)
    refunds = refunds_of(reference, known)
    wholly_refunded = refunds > 0 and refunds >= received
    paid = received >= amount and not wholly_refunded
    below = amount <= charged + rejected
    return {
        "lines": lines,
        "amount": amount,
        "received": received,
        "refunds": refunds,
        "paid": paid,
        "outcome": "refunded" if wholly_refunded else "paid" if paid else "reversed" if below else None,
        "taken_back": rejected + min(reversals, charged),
        "beyond": max(0, refunds - (received - amount)),
        "first": min((charge["first"] for charge in own.values() if charge["result"] in "PV"), default=None),
    }


RANK = "ARVZP"
"""Results of one charge from the weakest to the strongest: P > Z > V > R, A."""


def charges_of(known: Sequence[Fact]) -> dict[tuple[str, str], dict[str, Any]]:
    """What each charge came to: its strongest result, and when its money was first heard of."""
    reports: dict[tuple[str, str], list[Fact]] = {}
    for fact in of_kind(known, "charge"):
        reports.setdefault((fact["gateway_reference"], fact["transaction"]), []).append(fact)
    charges = {}
    for identity, told in reports.items():
        strongest = max(told, key=lambda fact: (RANK.index(fact["result"]), -fact["place"]))
        charges[identity] = {
            "result": strongest["result"],
            "cents": strongest["cents"],
            "first": min((fact["place"] for fact in told if fact["result"] in "PV"), default=None),
        }
    return charges


def ownerless(charges: Mapping[Any, Any], starts: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """Money of charges whose gateway reference belongs to no payment."""
    owned = {key for payment in starts.values() for key in payment["gateway_references"]}
    return {
        identity: charge["cents"]
        for identity, charge in charges.items()
        if identity[0] not in owned and charge["result"] in "PV" and charge["cents"] > 0
    }


def sum_of(results: str, charges: Mapping[Any, Any]) -> int:
    """Cents of the charges with one of these results."""
    return sum(charge["cents"] for charge in charges.values() if charge["result"] in results)


def reversals_of(reference: str, own: Mapping[Any, Any], known: Sequence[Fact]) -> int:
    """Cents reversed, once per fact_id, and not again what a Z charge already says."""
    said_by_z = {transaction for (_, transaction), charge in own.items() if charge["result"] == "Z"}
    facts = [fact for fact in of_kind(known, "reversed") if fact["reference"] == reference]
    return sum(fact["cents"] for fact in once(facts, "fact_id") if fact["fact_id"] not in said_by_z)


def refunds_of(reference: str, known: Sequence[Fact]) -> int:
    """Cents refunded, once per fact_id, and the avoirs that closed one of its discrepancies."""
    facts = [fact for fact in of_kind(known, "refunded") if fact["reference"] == reference]
    avoirs = [
        fact
        for fact in once(of_kind(known, "resolution"), "id")
        if fact["how"] == "credited" and fact["of"][1] == reference
    ]
    return total(once(facts, "fact_id")) + total(avoirs)


# ---------------------------------------------------------------- who keeps what


def kept_by(
    invoices: Mapping[str, Mapping[str, Any]], payers: Mapping[str, Mapping[str, int]]
) -> dict[tuple[Claimant, str], int]:
    """Cover each claim: settled elsewhere first, then the paid payments in the order given."""
    kept: dict[tuple[Claimant, str], int] = {}
    for number, invoice in invoices.items():
        left = invoice["claim"]
        offers: list[tuple[Claimant, int]] = [(None, max(0, invoice["elsewhere"]))]
        offers += [(ref, lines[number]) for ref, lines in payers.items() if number in lines]
        for claimant, cents in offers:
            kept[claimant, number] = min(cents, left)
            left -= kept[claimant, number]
    return kept


def to_give_back(
    reference: str,
    payment: Mapping[str, Any],
    kept: Mapping[tuple[Claimant, str], int],
    invoices: Mapping[str, Mapping[str, Any]],
) -> dict[Key, int]:
    """What a paid payment did not keep, by why; refunds reduce it from the last."""
    lines = payment["lines"]
    gone = {number for number in lines if invoices[number]["withdrawn"]}
    why: list[tuple[str, str | None, int]] = [("paid_withdrawn", number, lines[number]) for number in sorted(gone)]
    for number in sorted(set(lines) - gone):
        others = sum(cents for (who, n), cents in kept.items() if n == number and who != reference)
        why.append(("double_payment", number, min(lines[number] - kept[reference, number], others)))
    not_kept = payment["received"] - sum(kept[reference, number] for number in lines)
    why.append(("overpaid", None, not_kept - sum(cents for _, _, cents in why)))

    found: dict[Key, int] = {}
    refunds = payment["refunds"]
    for kind, invoice, cents in reversed(why):
        less = min(cents, refunds)
        refunds -= less
        found[kind, reference, invoice] = cents - less
    return found
