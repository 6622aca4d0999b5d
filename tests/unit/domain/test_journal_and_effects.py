"""What is written down and told: every change once, with its event and its reason, and the portal's notifications."""

from schemas.events import Event, EventType, InvoiceSettled, PaymentRefunded
from schemas.records import InvoiceState, PaymentState
from tests.unit.domain.office import HOLD, REGIE, Office, at
from worker.domain import transitions
from worker.domain.reasons import Reason


def test_the_journal_tells_an_invoices_way(office: Office) -> None:
    """Issued, held, free again, held, paid, paid back, withdrawn: each step with its event's reason."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD)
    office.time_out("P")
    office.start("Q", {"F": 900})
    office.report("Q", "P", 900)
    office.refund("Q", 900)
    office.withdraw("F")
    assert office.journal_of("F") == [
        (None, "payable", "issued"),
        ("payable", "in_payment", "hold_taken"),
        ("in_payment", "payable", "hold_expired"),
        ("payable", "in_payment", "hold_taken"),
        ("in_payment", "paid", "money_received"),
        ("paid", "payable", "money_refunded"),
        ("payable", "withdrawn", "withdrawn"),
    ]


def test_the_journal_names_event_time_and_payment(office: Office) -> None:
    """Who looks at a change finds what caused it."""
    office.issue("F", 900)
    office.later(5)
    office.start("P", {"F": 900})
    of_payment, of_invoice = office.journal[-2:]
    assert (of_payment.place, of_payment.at, of_payment.payment_id, of_payment.invoice_id) == (2, at(5), 1, None)
    assert (of_invoice.place, of_invoice.at, of_invoice.payment_id, of_invoice.invoice_id) == (2, at(5), 1, 1)


def test_an_invoice_was_paid_when_what_paid_it_was_received(office: Office) -> None:
    """However long it waited to be applied; while it is not paid, never."""
    office.issue("F", 900)
    office.later(60)
    settled = InvoiceSettled(regie=REGIE, number="F", amount_cents=900, means="cash")
    office.tell(EventType.INVOICE_SETTLED, settled, received=5)
    assert office.invoice("F").paid_at == at(5)
    assert office.journal[-1].at == at(60)
    office.unsettle("F", 900)
    assert office.invoice("F").paid_at is None


def test_the_journal_is_silent_where_nothing_changed(office: Office) -> None:
    """A second click, a refusal by name, a known fact: no entry."""
    office.issue("F", 900)
    office.start("P", {"F": 900})
    before = len(office.journal)
    office.start("P", {"F": 900})
    office.start("P", {"F": 800})
    office.issue("F", 900)
    office.report("P", "waiting")
    assert len(office.journal) == before


def test_a_version_counts_every_visible_change(office: Office) -> None:
    """The highest version is the truth: each change makes one more, silence none."""
    office.issue("F", 900)
    assert office.invoice("F").version == 1
    office.start("P", {"F": 900})
    office.report("P", "P", 900)
    assert office.invoice("F").version == 3
    office.report("P", "P", 900)
    assert office.invoice("F").version == 3


def test_effects_tell_the_portal(office: Office) -> None:
    """One notification per version, by the contract's names."""
    office = Office(notify=True)
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD)
    office.time_out("P")
    office.pays("Q", {"F": 900})
    office.withdraw("F")
    told = [(effect.type, effect.data.get("version")) for effect in office.effects]
    assert told == [
        ("invoice.payable", 1),
        ("invoice.in_payment", 2),
        ("invoice.reactivated", 3),
        ("invoice.in_payment", 4),
        ("invoice.paid", 5),
        ("invoice.withdrawn", 6),
        ("discrepancy.opened", None),
    ]


def test_an_effect_names_the_event_that_caused_it() -> None:
    """So that its trace goes with it: of two changes by one event both, and never a later event's."""
    office = Office(notify=True)
    office.issue("F", 900)
    office.start("P", {"F": 900})
    office.later(HOLD)
    office.time_out("P")
    caused = {(entry.place, entry.after) for entry in office.journal if entry.invoice_id is not None}
    assert {(effect.place, effect.data["state"]) for effect in office.effects} == caused
    assert len(caused) == 3


def test_an_effect_carries_what_the_contract_promises() -> None:
    """Its body's keys, with the payment's reference and when the invoice is payable again."""
    office = Office(notify=True)
    office.issue("F", 900)
    office.start("P", {"F": 900})
    held = office.effects[-1]
    assert held.data == {
        "regie": REGIE,
        "number": "F",
        "account": "DUPONT",
        "state": "in_payment",
        "version": 2,
        "payable_again_at": at(HOLD),
        "payment": "P",
        "reason": "hold_taken",
    }
    assert held.at == at(0)


def _told(office: Office) -> list[tuple[object, ...]]:
    """Every notification of an invoice: version, type, payable_again_at, payment, reason."""
    names = ("payable_again_at", "payment", "reason")
    return [
        (effect.data["version"], effect.type, *(effect.data[name] for name in names))
        for effect in office.effects
        if effect.type.startswith("invoice.")
    ]


def test_a_hold_kept_in_doubt_is_told_with_its_new_end() -> None:
    """Payable later than was said, then as was said once the gateway can say; what moves nothing is not told."""
    office = Office(notify=True, gateway="payfip_ws", when_in_doubt="hold")
    office.issue("F", 900)
    office.start("P", {"F": 900})
    for answer in ("failed", "waiting", "nothing", "nothing"):
        office.report("P", answer, asked=True)
    assert _told(office)[1:] == [
        (2, "invoice.in_payment", at(HOLD), "P", "hold_taken"),
        (3, "invoice.in_payment", at(7200), "P", "gateway_cannot_say"),
        (4, "invoice.in_payment", at(HOLD), "P", "gateway_knows_no_payment"),
    ]
    assert office.invoice("F").version == 4


def test_an_invoice_issued_otherwise_is_told_in_the_state_that_it_keeps() -> None:
    """A portal that shows its amount knows that it must read it again."""
    office = Office(notify=True)
    office.issue("F", 900)
    office.issue("F", 900)
    office.issue("F", 800)
    assert _told(office) == [
        (1, "invoice.payable", None, None, "issued"),
        (2, "invoice.payable", None, None, "reissued"),
    ]


def test_what_a_replay_restored_is_told_even_in_the_same_state() -> None:
    """Something else of the invoice was wrong: it has another version, and no line in the journal."""
    office = Office(notify=True)
    office.issue("F", 900)
    written = len(office.journal)
    office.restore("P", "F", was="payable", version=5)
    assert _told(office)[1:] == [(5, "invoice.payable", None, None, "restored_by_replay")]
    assert len(office.journal) == written


def test_discrepancies_are_told_when_opened_and_when_done() -> None:
    """Opened with its amount; resolved when the facts explain it."""
    office = Office(notify=True)
    office.issue("F", 900)
    office.pays("P", {"F": 900}, 1000)
    office.refund("P", 100)
    told = [(e.type, e.data["amount_cents"]) for e in office.effects if e.type.startswith("discrepancy")]
    assert told == [("discrepancy.opened", 100), ("discrepancy.resolved", 0)]


def test_a_person_who_closes_a_discrepancy_is_told_to_the_portal() -> None:
    """discrepancy.resolved, whoever closed it."""
    office = Office(notify=True)
    office.issue("F", 900)
    office.pays("P", {"F": 900}, 1000)
    office.resolve(office.discrepancy("overpaid"), "written_off")
    opened, resolved = (e for e in office.effects if e.type.startswith("discrepancy"))
    assert (opened.type, opened.data["resolution"], opened.data["comment"]) == ("discrepancy.opened", None, None)
    assert (resolved.type, resolved.data["resolution"]) == ("discrepancy.resolved", "written_off")
    assert resolved.data["comment"]
    assert opened.data["regie"] == resolved.data["regie"] == opened.regie


def test_a_regie_without_a_portal_is_told_nothing(office: Office) -> None:
    """No outbox that nobody empties."""
    office.issue("F", 900)
    office.pays("P", {"F": 900}, 1000)
    assert office.effects == []


def test_a_batch_is_decided_as_its_events_one_by_one() -> None:
    """Two refunds in one decision: one outcome each, in order, the same end."""
    together, apart = Office(), Office()
    for office in (together, apart):
        office.issue("F", 900)
        office.pays("P", {"F": 900})
    refunds = [_refund(number) for number in (10, 11, 10)]
    refunds[2].place, refunds[2].id = 12, "e-12"
    decision = together.apply(*refunds)
    for event in refunds:
        apart.apply(event)
    assert [applied.reason for applied in decision.outcomes] == [
        "money_refunded",
        "money_refunded",
        "fact_already_counted",
    ]
    assert together.states() == apart.states() == {"F": "payable"}
    assert together.journal == apart.journal


def _refund(place: int) -> Event:
    return Event(
        place=place,
        client="portail",
        source="/portail",
        id=f"e-{place}",
        type=EventType.PAYMENT_REFUNDED,
        regie=REGIE,
        received_at=at(0),
        data=PaymentRefunded(regie=REGIE, reference="P", amount_cents=450, fact_id=f"fact-{place}"),
    )


def test_every_reason_has_a_name() -> None:
    """Lower-case words: stable in API, journal, log and metric."""
    assert all(reason.value and reason.value == reason.name.lower() for reason in Reason)


def test_transitions_know_every_state() -> None:
    """And nothing follows itself: a change is a change."""
    assert set(transitions.PAYMENT) == {None, *PaymentState}
    assert set(transitions.INVOICE) == {None, *InvoiceState}
    for table in (transitions.PAYMENT, transitions.INVOICE):
        for state, following in table.items():
            assert state not in following
            assert following


def test_what_a_replay_restored_is_written_down_and_told() -> None:
    """From what it was found in, under a version beyond the one that was shown; no state changes by that."""
    office = Office(notify=True)
    office.issue("F", 900)
    office.pays("P", {"F": 900})
    assert office.restore("P", "F", was="payable", version=9) == "applied: restored_by_replay"
    assert (office.invoice("F").state, office.invoice("F").version) == ("paid", 9)
    assert office.journal_of("F")[-1] == ("payable", "paid", "restored_by_replay")
    assert (office.effects[-1].type, office.effects[-1].data["version"]) == ("invoice.paid", 9)
    told = len(office.effects)
    office.restore("P", "F", was="paid", version=3)
    assert office.invoice("F").version == 9
    assert len(office.effects) == told
