"""Every state × every event: what a payment and its invoice become, and what that is called.

The table is data, to be read against the rules about money. Its invoice is F, of 900; its payment is P, for F alone.
"""

from collections.abc import Callable, Iterable

import pytest

from schemas.events import DATA, EventType
from schemas.records import Invoice, InvoiceState, Payment, PaymentState
from tests.unit.domain.office import BEGINNING, HOLD, Office

LINES = {"F": 900}


def unknown(office: Office) -> None:
    """Nobody heard of either."""


def payable(office: Office) -> None:
    """Only the invoice is known."""
    office.issue("F", 900)


def started(office: Office) -> None:
    """The family is on the gateway's page."""
    payable(office)
    office.start("P", LINES)


def paid(office: Office) -> None:
    """The gateway said so."""
    started(office)
    office.report("P", "P", 900)


def refused(office: Office) -> None:
    """The card was refused; the hold is still on."""
    started(office)
    office.report("P", "R")


def cancelled(office: Office) -> None:
    """The family came back without paying; the hold is still on."""
    started(office)
    office.report("P", "A")


def expired(office: Office) -> None:
    """Half an hour and no news."""
    started(office)
    office.later(HOLD)
    office.time_out("P")


def rejected(office: Office) -> None:
    """Another payment held the invoice, and has expired since."""
    payable(office)
    office.start("Q", LINES)
    office.start("P", LINES)
    office.later(HOLD)
    office.time_out("Q")


def reversed_(office: Office) -> None:
    """A direct debit that bounced."""
    started(office)
    office.report("P", "V", 900)
    office.report("P", "Z", 900)


def refunded(office: Office) -> None:
    """All of it was given back."""
    paid(office)
    office.refund("P", 900)


def settled(office: Office) -> None:
    """Paid at the counter, nobody ever tried online."""
    payable(office)
    office.settle("F", 900)


def withdrawn(office: Office) -> None:
    """No longer owed."""
    payable(office)
    office.withdraw("F")


SITUATIONS: dict[str, Callable[[Office], None]] = {
    "unknown": unknown,
    "payable": payable,
    "started": started,
    "paid": paid,
    "refused": refused,
    "cancelled": cancelled,
    "expired": expired,
    "rejected": rejected,
    "reversed": reversed_,
    "refunded": refunded,
    "settled": settled,
    "withdrawn": withdrawn,
}


def sweep_in_time(office: Office) -> str:
    """Sweep when the hold is over."""
    office.later(HOLD)
    return office.time_out("P")


def resolve(office: Office) -> str:
    """Write off what is open, or something that nobody ever saw."""
    shown = [row for row in office.dossier.discrepancies.values() if row.state.value == "open"]
    if shown:
        return office.resolve(shown[0], "written_off")
    return office.tell(EventType.DISCREPANCY_RESOLVED, NOT_SEEN)


NOT_SEEN = DATA[EventType.DISCREPANCY_RESOLVED](
    regie="enfance", id="f" * 32, resolution="explained", amount_cents=1, comment="?"
)

BLANKED = DATA[EventType.EVENTS_BLANKED](regie="enfance", what="personal", before=BEGINNING, events=1, digest="0" * 64)

EVENTS: dict[str, tuple[EventType, Callable[[Office], str]]] = {
    "issued": (EventType.INVOICE_ISSUED, lambda office: office.issue("F", 900)),
    "issued for 1000": (EventType.INVOICE_ISSUED, lambda office: office.issue("F", 1000)),
    "withdrawn": (EventType.INVOICE_WITHDRAWN, lambda office: office.withdraw("F")),
    "settled": (EventType.INVOICE_SETTLED, lambda office: office.settle("F", 900)),
    "unsettled": (EventType.INVOICE_UNSETTLED, lambda office: office.unsettle("F", 900)),
    "started": (EventType.PAYMENT_STARTED, lambda office: office.start("P", LINES)),
    "started for 800": (EventType.PAYMENT_STARTED, lambda office: office.start("P", {"F": 800})),
    "started, new idOp": (
        EventType.PAYMENT_STARTED,
        lambda office: office.start("P", LINES, gateway_reference="idOp"),
    ),
    "report P": (EventType.GATEWAY_REPORT, lambda office: office.report("P", "P", 900, "new")),
    "report V": (EventType.GATEWAY_REPORT, lambda office: office.report("P", "V", 900, "new")),
    "report Z": (EventType.GATEWAY_REPORT, lambda office: office.report("P", "Z", 900, "new")),
    "report R": (EventType.GATEWAY_REPORT, lambda office: office.report("P", "R", None, "new")),
    "report A": (EventType.GATEWAY_REPORT, lambda office: office.report("P", "A", None, "new")),
    "report waiting": (EventType.GATEWAY_REPORT, lambda office: office.report("P", "waiting", asked=True)),
    "report failed": (EventType.GATEWAY_REPORT, lambda office: office.report("P", "failed", asked=True)),
    "report nothing": (EventType.GATEWAY_REPORT, lambda office: office.report("P", "nothing", 900)),
    "report unverified": (EventType.GATEWAY_REPORT, lambda office: office.report("P", "P", 900, verified=False)),
    "report of a test": (EventType.GATEWAY_REPORT, lambda office: office.report("P", "P", 900, test=True)),
    "refunded": (EventType.PAYMENT_REFUNDED, lambda office: office.refund("P", 900)),
    "reversed": (EventType.PAYMENT_REVERSED, lambda office: office.reverse("P", 900)),
    "timed out early": (EventType.PAYMENT_TIMED_OUT, lambda office: office.time_out("P")),
    "timed out": (EventType.PAYMENT_TIMED_OUT, sweep_in_time),
    "resolved": (EventType.DISCREPANCY_RESOLVED, resolve),
    "restored": (EventType.DOSSIER_RESTORED, lambda office: office.restore("P", "F")),
    "blanked": (EventType.EVENTS_BLANKED, lambda office: office.tell(EventType.EVENTS_BLANKED, BLANKED)),
}

TABLE = """
  event              P is then  F is then   outcome and reason
unknown
  issued             -          payable     applied: issued
  issued for 1000    -          payable     applied: issued
  withdrawn          -          -           applied: waits_for_invoice
  settled            -          -           applied: waits_for_invoice
  unsettled          -          -           applied: waits_for_invoice
  started            started    in_payment  applied: hold_taken
  started for 800    started    in_payment  applied: hold_taken
  started, new idOp  started    in_payment  applied: hold_taken
  report P           -          -           applied: waits_for_payment
  report V           -          -           applied: waits_for_payment
  report Z           -          -           applied: waits_for_payment
  report R           -          -           applied: waits_for_payment
  report A           -          -           applied: waits_for_payment
  report waiting     -          -           ignored: gateway_cannot_say
  report failed      -          -           ignored: gateway_cannot_say
  report nothing     -          -           ignored: not_about_money
  report unverified  -          -           refused: unverified_callback
  report of a test   -          -           refused: test_payment
  refunded           -          -           applied: waits_for_payment
  reversed           -          -           applied: waits_for_payment
  timed out early    -          -           ignored: hold_already_over
  timed out          -          -           ignored: hold_already_over
  resolved           -          -           refused: discrepancy_unknown
  restored           -          -           applied: restored_by_replay
  blanked            -          -           applied: retention_over
payable
  issued             -          payable     ignored: invoice_already_known
  issued for 1000    -          payable     applied: reissued
  withdrawn          -          withdrawn   applied: withdrawn
  settled            -          paid        applied: settled_elsewhere
  unsettled          -          payable     applied: settlement_taken_back
  started            started    in_payment  applied: hold_taken
  started for 800    rejected   payable     refused: line_amount_differs
  started, new idOp  started    in_payment  applied: hold_taken
  report P           -          payable     applied: waits_for_payment
  report V           -          payable     applied: waits_for_payment
  report Z           -          payable     applied: waits_for_payment
  report R           -          payable     applied: waits_for_payment
  report A           -          payable     applied: waits_for_payment
  report waiting     -          payable     ignored: gateway_cannot_say
  report failed      -          payable     ignored: gateway_cannot_say
  report nothing     -          payable     ignored: not_about_money
  report unverified  -          payable     refused: unverified_callback
  report of a test   -          payable     refused: test_payment
  refunded           -          payable     applied: waits_for_payment
  reversed           -          payable     applied: waits_for_payment
  timed out early    -          payable     ignored: hold_already_over
  timed out          -          payable     ignored: hold_already_over
  resolved           -          payable     refused: discrepancy_unknown
  restored           -          payable     applied: restored_by_replay
  blanked            -          payable     applied: retention_over
started
  issued             started    in_payment  ignored: invoice_already_known
  issued for 1000    started    in_payment  applied: reissued
  withdrawn          expired    withdrawn   applied: withdrawn
  settled            expired    paid        applied: settled_elsewhere
  unsettled          started    in_payment  applied: settlement_taken_back
  started            started    in_payment  ignored: payment_already_started
  started for 800    started    in_payment  refused: payment_conflict
  started, new idOp  started    in_payment  applied: gateway_reference_added
  report P           paid       paid        applied: money_received
  report V           paid       paid        applied: money_received_provisionally
  report Z           reversed   payable     applied: money_rejected_later
  report R           refused    in_payment  applied: refused_by_gateway
  report A           cancelled  in_payment  applied: cancelled_by_payer
  report waiting     started    in_payment  ignored: gateway_cannot_say
  report failed      started    in_payment  ignored: gateway_cannot_say
  report nothing     started    in_payment  ignored: not_about_money
  report unverified  started    in_payment  refused: unverified_callback
  report of a test   started    in_payment  refused: test_payment
  refunded           refunded   payable     applied: money_refunded
  reversed           started    in_payment  applied: money_reversed
  timed out early    started    in_payment  ignored: hold_still_on
  timed out          expired    payable     applied: hold_expired
  resolved           started    in_payment  refused: discrepancy_unknown
  restored           started    in_payment  applied: restored_by_replay
  blanked            started    in_payment  applied: retention_over
paid
  issued             paid       paid        ignored: invoice_already_known
  issued for 1000    paid       payable     applied: reissued
  withdrawn          paid       withdrawn   applied: withdrawn
  settled            paid       paid        applied: settled_elsewhere
  unsettled          paid       payable     applied: settlement_taken_back
  started            paid       paid        ignored: payment_already_started
  started for 800    paid       paid        refused: payment_conflict
  started, new idOp  paid       paid        applied: gateway_reference_added
  report P           paid       paid        applied: money_received
  report V           paid       paid        applied: money_received_provisionally
  report Z           paid       paid        applied: money_rejected_later
  report R           paid       paid        applied: refused_by_gateway
  report A           paid       paid        applied: cancelled_by_payer
  report waiting     paid       paid        ignored: gateway_cannot_say
  report failed      paid       paid        ignored: gateway_cannot_say
  report nothing     paid       paid        ignored: not_about_money
  report unverified  paid       paid        refused: unverified_callback
  report of a test   paid       paid        refused: test_payment
  refunded           refunded   payable     applied: money_refunded
  reversed           reversed   payable     applied: money_reversed
  timed out early    paid       paid        ignored: hold_already_over
  timed out          paid       paid        ignored: hold_already_over
  resolved           paid       paid        refused: discrepancy_unknown
  restored           paid       paid        applied: restored_by_replay
  blanked            paid       paid        applied: retention_over
refused
  issued             refused    in_payment  ignored: invoice_already_known
  issued for 1000    refused    in_payment  applied: reissued
  withdrawn          refused    withdrawn   applied: withdrawn
  settled            refused    paid        applied: settled_elsewhere
  unsettled          refused    in_payment  applied: settlement_taken_back
  started            refused    in_payment  ignored: payment_already_started
  started for 800    refused    in_payment  refused: payment_conflict
  started, new idOp  refused    in_payment  applied: gateway_reference_added
  report P           paid       paid        applied: money_received
  report V           paid       paid        applied: money_received_provisionally
  report Z           reversed   payable     applied: money_rejected_later
  report R           refused    in_payment  applied: refused_by_gateway
  report A           refused    in_payment  applied: cancelled_by_payer
  report waiting     refused    in_payment  ignored: gateway_cannot_say
  report failed      refused    in_payment  ignored: gateway_cannot_say
  report nothing     refused    in_payment  ignored: not_about_money
  report unverified  refused    in_payment  refused: unverified_callback
  report of a test   refused    in_payment  refused: test_payment
  refunded           refunded   payable     applied: money_refunded
  reversed           refused    in_payment  applied: money_reversed
  timed out early    refused    in_payment  ignored: hold_still_on
  timed out          refused    payable     applied: hold_expired
  resolved           refused    in_payment  refused: discrepancy_unknown
  restored           refused    in_payment  applied: restored_by_replay
  blanked            refused    in_payment  applied: retention_over
cancelled
  issued             cancelled  in_payment  ignored: invoice_already_known
  issued for 1000    cancelled  in_payment  applied: reissued
  withdrawn          cancelled  withdrawn   applied: withdrawn
  settled            cancelled  paid        applied: settled_elsewhere
  unsettled          cancelled  in_payment  applied: settlement_taken_back
  started            cancelled  in_payment  ignored: payment_already_started
  started for 800    cancelled  in_payment  refused: payment_conflict
  started, new idOp  cancelled  in_payment  applied: gateway_reference_added
  report P           paid       paid        applied: money_received
  report V           paid       paid        applied: money_received_provisionally
  report Z           reversed   payable     applied: money_rejected_later
  report R           refused    in_payment  applied: refused_by_gateway
  report A           cancelled  in_payment  applied: cancelled_by_payer
  report waiting     cancelled  in_payment  ignored: gateway_cannot_say
  report failed      cancelled  in_payment  ignored: gateway_cannot_say
  report nothing     cancelled  in_payment  ignored: not_about_money
  report unverified  cancelled  in_payment  refused: unverified_callback
  report of a test   cancelled  in_payment  refused: test_payment
  refunded           refunded   payable     applied: money_refunded
  reversed           cancelled  in_payment  applied: money_reversed
  timed out early    cancelled  in_payment  ignored: hold_still_on
  timed out          cancelled  payable     applied: hold_expired
  resolved           cancelled  in_payment  refused: discrepancy_unknown
  restored           cancelled  in_payment  applied: restored_by_replay
  blanked            cancelled  in_payment  applied: retention_over
expired
  issued             expired    payable     ignored: invoice_already_known
  issued for 1000    expired    payable     applied: reissued
  withdrawn          expired    withdrawn   applied: withdrawn
  settled            expired    paid        applied: settled_elsewhere
  unsettled          expired    payable     applied: settlement_taken_back
  started            expired    payable     ignored: payment_already_started
  started for 800    expired    payable     refused: payment_conflict
  started, new idOp  expired    payable     applied: gateway_reference_added
  report P           paid       paid        applied: money_received
  report V           paid       paid        applied: money_received_provisionally
  report Z           reversed   payable     applied: money_rejected_later
  report R           refused    payable     applied: refused_by_gateway
  report A           cancelled  payable     applied: cancelled_by_payer
  report waiting     expired    payable     ignored: gateway_cannot_say
  report failed      expired    payable     ignored: gateway_cannot_say
  report nothing     expired    payable     ignored: not_about_money
  report unverified  expired    payable     refused: unverified_callback
  report of a test   expired    payable     refused: test_payment
  refunded           refunded   payable     applied: money_refunded
  reversed           expired    payable     applied: money_reversed
  timed out early    expired    payable     ignored: hold_already_over
  timed out          expired    payable     ignored: hold_already_over
  resolved           expired    payable     refused: discrepancy_unknown
  restored           expired    payable     applied: restored_by_replay
  blanked            expired    payable     applied: retention_over
rejected
  issued             rejected   payable     ignored: invoice_already_known
  issued for 1000    rejected   payable     applied: reissued
  withdrawn          rejected   withdrawn   applied: withdrawn
  settled            rejected   paid        applied: settled_elsewhere
  unsettled          rejected   payable     applied: settlement_taken_back
  started            rejected   payable     ignored: payment_already_started
  started for 800    rejected   payable     refused: payment_conflict
  started, new idOp  rejected   payable     applied: gateway_reference_added
  report P           paid       paid        applied: money_received
  report V           paid       paid        applied: money_received_provisionally
  report Z           reversed   payable     applied: money_rejected_later
  report R           rejected   payable     applied: refused_by_gateway
  report A           rejected   payable     applied: cancelled_by_payer
  report waiting     rejected   payable     ignored: gateway_cannot_say
  report failed      rejected   payable     ignored: gateway_cannot_say
  report nothing     rejected   payable     ignored: not_about_money
  report unverified  rejected   payable     refused: unverified_callback
  report of a test   rejected   payable     refused: test_payment
  refunded           refunded   payable     applied: money_refunded
  reversed           rejected   payable     applied: money_reversed
  timed out early    rejected   payable     ignored: hold_already_over
  timed out          rejected   payable     ignored: hold_already_over
  resolved           rejected   payable     refused: discrepancy_unknown
  restored           rejected   payable     applied: restored_by_replay
  blanked            rejected   payable     applied: retention_over
reversed
  issued             reversed   payable     ignored: invoice_already_known
  issued for 1000    reversed   payable     applied: reissued
  withdrawn          reversed   withdrawn   applied: withdrawn
  settled            reversed   paid        applied: settled_elsewhere
  unsettled          reversed   payable     applied: settlement_taken_back
  started            reversed   payable     ignored: payment_already_started
  started for 800    reversed   payable     refused: payment_conflict
  started, new idOp  reversed   payable     applied: gateway_reference_added
  report P           paid       paid        applied: money_received
  report V           paid       paid        applied: money_received_provisionally
  report Z           reversed   payable     applied: money_rejected_later
  report R           reversed   payable     applied: refused_by_gateway
  report A           reversed   payable     applied: cancelled_by_payer
  report waiting     reversed   payable     ignored: gateway_cannot_say
  report failed      reversed   payable     ignored: gateway_cannot_say
  report nothing     reversed   payable     ignored: not_about_money
  report unverified  reversed   payable     refused: unverified_callback
  report of a test   reversed   payable     refused: test_payment
  refunded           refunded   payable     applied: money_refunded
  reversed           reversed   payable     applied: money_reversed
  timed out early    reversed   payable     ignored: hold_already_over
  timed out          reversed   payable     ignored: hold_already_over
  resolved           reversed   payable     applied: discrepancy_resolved
  restored           reversed   payable     applied: restored_by_replay
  blanked            reversed   payable     applied: retention_over
refunded
  issued             refunded   payable     ignored: invoice_already_known
  issued for 1000    refunded   payable     applied: reissued
  withdrawn          refunded   withdrawn   applied: withdrawn
  settled            refunded   paid        applied: settled_elsewhere
  unsettled          refunded   payable     applied: settlement_taken_back
  started            refunded   payable     ignored: payment_already_started
  started for 800    refunded   payable     refused: payment_conflict
  started, new idOp  refunded   payable     applied: gateway_reference_added
  report P           paid       paid        applied: money_received
  report V           paid       paid        applied: money_received_provisionally
  report Z           refunded   payable     applied: money_rejected_later
  report R           refunded   payable     applied: refused_by_gateway
  report A           refunded   payable     applied: cancelled_by_payer
  report waiting     refunded   payable     ignored: gateway_cannot_say
  report failed      refunded   payable     ignored: gateway_cannot_say
  report nothing     refunded   payable     ignored: not_about_money
  report unverified  refunded   payable     refused: unverified_callback
  report of a test   refunded   payable     refused: test_payment
  refunded           refunded   payable     applied: money_refunded
  reversed           refunded   payable     applied: money_reversed
  timed out early    refunded   payable     ignored: hold_already_over
  timed out          refunded   payable     ignored: hold_already_over
  resolved           refunded   payable     refused: discrepancy_unknown
  restored           refunded   payable     applied: restored_by_replay
  blanked            refunded   payable     applied: retention_over
settled
  issued             -          paid        ignored: invoice_already_known
  issued for 1000    -          payable     applied: reissued
  withdrawn          -          withdrawn   applied: withdrawn
  settled            -          paid        applied: settled_elsewhere
  unsettled          -          payable     applied: settlement_taken_back
  started            rejected   paid        refused: invoice_paid
  started for 800    rejected   paid        refused: invoice_paid
  started, new idOp  rejected   paid        refused: invoice_paid
  report P           -          paid        applied: waits_for_payment
  report V           -          paid        applied: waits_for_payment
  report Z           -          paid        applied: waits_for_payment
  report R           -          paid        applied: waits_for_payment
  report A           -          paid        applied: waits_for_payment
  report waiting     -          paid        ignored: gateway_cannot_say
  report failed      -          paid        ignored: gateway_cannot_say
  report nothing     -          paid        ignored: not_about_money
  report unverified  -          paid        refused: unverified_callback
  report of a test   -          paid        refused: test_payment
  refunded           -          paid        applied: waits_for_payment
  reversed           -          paid        applied: waits_for_payment
  timed out early    -          paid        ignored: hold_already_over
  timed out          -          paid        ignored: hold_already_over
  resolved           -          paid        refused: discrepancy_unknown
  restored           -          paid        applied: restored_by_replay
  blanked            -          paid        applied: retention_over
withdrawn
  issued             -          payable     applied: reissued
  issued for 1000    -          payable     applied: reissued
  withdrawn          -          withdrawn   ignored: invoice_already_known
  settled            -          withdrawn   applied: settled_elsewhere
  unsettled          -          withdrawn   applied: settlement_taken_back
  started            rejected   withdrawn   refused: invoice_withdrawn
  started for 800    rejected   withdrawn   refused: invoice_withdrawn
  started, new idOp  rejected   withdrawn   refused: invoice_withdrawn
  report P           -          withdrawn   applied: waits_for_payment
  report V           -          withdrawn   applied: waits_for_payment
  report Z           -          withdrawn   applied: waits_for_payment
  report R           -          withdrawn   applied: waits_for_payment
  report A           -          withdrawn   applied: waits_for_payment
  report waiting     -          withdrawn   ignored: gateway_cannot_say
  report failed      -          withdrawn   ignored: gateway_cannot_say
  report nothing     -          withdrawn   ignored: not_about_money
  report unverified  -          withdrawn   refused: unverified_callback
  report of a test   -          withdrawn   refused: test_payment
  refunded           -          withdrawn   applied: waits_for_payment
  reversed           -          withdrawn   applied: waits_for_payment
  timed out early    -          withdrawn   ignored: hold_already_over
  timed out          -          withdrawn   ignored: hold_already_over
  resolved           -          withdrawn   refused: discrepancy_unknown
  restored           -          withdrawn   applied: restored_by_replay
  blanked            -          withdrawn   applied: retention_over
"""
"""Indented: an event in that situation. `-`: nobody sees it, facts about it wait."""


def rows() -> list[tuple[str, str, str, str, str]]:
    """The table's lines: situation, event, payment's and invoice's state, outcome with its reason."""
    found = []
    situation = ""
    for line in TABLE.strip("\n").splitlines()[1:]:
        if line.startswith("  "):
            found.append((situation, line[2:21].strip(), line[21:32].strip(), line[32:44].strip(), line[44:]))
        else:
            situation = line
    return found


@pytest.mark.parametrize(("situation", "event", "payment", "invoice", "said"), rows())
def test_the_table(situation: str, event: str, payment: str, invoice: str, said: str) -> None:
    """In that situation, that event makes these states, and says so by that name."""
    office = Office()
    SITUATIONS[situation](office)
    assert EVENTS[event][1](office) == said
    assert (seen(office.dossier.payments.values(), "P"), seen(office.dossier.invoices.values(), "F")) == (
        payment,
        invoice,
    )


def seen(records: Iterable[Payment] | Iterable[Invoice], name: str) -> str:
    """The state of the one with that reference or number."""
    states = [row.state for row in records if name in {getattr(row, "reference", ""), getattr(row, "number", "")}]
    return states[0].value if states and states[0] else "-"


def test_the_table_is_whole() -> None:
    """Every situation meets every event, and every state and every type that is decided is among them."""
    assert [(row[0], row[1]) for row in rows()] == [(s, e) for s in SITUATIONS for e in EVENTS]
    assert {kind for kind, _ in EVENTS.values()} == set(DATA) - {EventType.GATEWAY_CALLBACK}
    assert {row[2] for row in rows()} - {"-"} == {state.value for state in PaymentState}
    assert {row[3] for row in rows()} - {"-"} == {state.value for state in InvoiceState}


def test_situations_are_what_they_are_called() -> None:
    """Each situation that is named after a state stands in it."""
    for name in ("started", "paid", "refused", "cancelled", "expired", "rejected", "reversed", "refunded"):
        office = Office()
        SITUATIONS[name](office)
        assert seen(office.dossier.payments.values(), "P") == name
