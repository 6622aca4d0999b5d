"""What is personal, what is left of it, and when a dossier's time is over."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from schemas.decisions import Dossier
from schemas.events import (
    DATA,
    DiscrepancyResolved,
    DossierRestored,
    EventType,
    GatewayCallback,
    InvoiceIssued,
    InvoiceWithdrawn,
    PaymentRefunded,
    PaymentReversed,
    PaymentStarted,
    RestoredRow,
    StartedLine,
    digest_of,
)
from schemas.records import Discrepancy, DiscrepancyKind, DiscrepancyState, Invoice, InvoiceState, Payment, PaymentState
from tests.unit.domain.office import Office
from worker.domain import retention, seal
from worker.domain.retention import (
    PERSONAL_TYPES,
    Blanked,
    Blanks,
    Dated,
    Horizon,
    Kept,
    blanked,
    blanked_callback,
    blanked_discrepancy,
    blanked_invoice,
    blanking_digest,
    facts_digest,
    is_blank,
    personal_values,
    shown,
    why_kept,
)

FAMILY, LABEL, ADDRESS, WORDS, AGENT = (
    "DURAND-17",
    "Cantine de Zoé",
    "https://p.example/17.pdf",
    "Mme Durand",
    "jmartin",
)
SECRETS = (FAMILY, LABEL, ADDRESS, WORDS, AGENT)

FACTS: dict[EventType, Any] = {
    EventType.INVOICE_ISSUED: InvoiceIssued(
        regie="enfance",
        number="F-1",
        account=FAMILY,
        amount_cents=900,
        issued_on=date(2024, 1, 2),
        label=LABEL,
        document_url=ADDRESS,
        means="direct_debit",
    ),
    EventType.INVOICE_WITHDRAWN: InvoiceWithdrawn(regie="enfance", number="F-1", reason=WORDS),
    EventType.PAYMENT_STARTED: PaymentStarted(
        regie="enfance",
        reference="P-1",
        amount_cents=900,
        invoices=[StartedLine(number="F-1", amount_cents=900, account=FAMILY)],
        gateway_reference="G-1",
    ),
    EventType.PAYMENT_REFUNDED: PaymentRefunded(
        regie="enfance", reference="P-1", amount_cents=1, reason=WORDS, fact_id="R-1"
    ),
    EventType.PAYMENT_REVERSED: PaymentReversed(regie="enfance", reference="P-1", amount_cents=1, reason=WORDS),
    EventType.DISCREPANCY_RESOLVED: DiscrepancyResolved(
        regie="enfance", id="d", resolution="explained", amount_cents=1, comment=WORDS, by=AGENT
    ),
    EventType.DOSSIER_RESTORED: DossierRestored(
        regie="enfance", replay=1, by=AGENT, comment=WORDS, rows=[RestoredRow(invoice="F-1", was="paid")], number="F-1"
    ),
}


def left_of(kind: EventType, data: Any) -> Any:  # noqa: ANN401 (data of events)
    """What blanking leaves of one fact, as it is stored and read again."""
    left = blanked(kind, data, Blanks(personal_values(data)))
    return msgspec.json.decode(msgspec.json.encode(left), type=type(data))


def test_every_type_in_which_something_is_personal_has_an_example() -> None:
    """Those that follow speak of all of them."""
    assert set(FACTS) == PERSONAL_TYPES


@pytest.mark.parametrize("kind", FACTS)
def test_nothing_personal_is_left_and_every_fact_is(kind: EventType) -> None:
    """Numbers, references, cents, days, means and identities stay; what is left is a fact of that type."""
    data = FACTS[kind]
    left = left_of(kind, data)
    written = msgspec.json.encode(left).decode()
    assert not any(json.dumps(secret, ensure_ascii=False)[1:-1] in written for secret in SECRETS)
    personal = {"account", "label", "document_url", "reason", "comment", "by", "invoices"}
    facts = {name: value for name, value in asdict(data).items() if name not in personal}
    assert {name: getattr(left, name) for name in facts} == facts
    for line, was in zip(getattr(left, "invoices", ()), getattr(data, "invoices", ()), strict=True):
        assert (line.number, line.amount_cents) == (was.number, was.amount_cents)


@pytest.mark.parametrize("kind", FACTS)
def test_facts_have_one_digest_before_and_after(kind: EventType) -> None:
    """So it is sealed while the event is whole, and proves what is left of it."""
    data, left = FACTS[kind], left_of(kind, FACTS[kind])
    assert facts_digest(kind, left) == facts_digest(kind, data) is not None
    assert digest_of(kind, left) != digest_of(kind, data)


@pytest.mark.parametrize("kind", FACTS)
def test_another_fact_has_another_digest(kind: EventType) -> None:
    """Each of its fields counts, but the personal ones."""
    data = FACTS[kind]
    told = {facts_digest(kind, data)}
    others: list[dict[str, Any]] = [{"regie": "sport"}]
    others += [{name: f"{getattr(data, name)}x"} for name in ("number", "reference", "fact_id") if hasattr(data, name)]
    others += [{"amount_cents": 899}] if hasattr(data, "amount_cents") else []
    for other in others:
        told.add(facts_digest(kind, msgspec.structs.replace(data, **other)))
    assert len(told) == 1 + len(others)


def test_one_type_is_not_taken_for_another() -> None:
    """A refund and a reversal have the same fields."""
    refund, reversal = FACTS[EventType.PAYMENT_REFUNDED], FACTS[EventType.PAYMENT_REVERSED]
    assert facts_digest(EventType.PAYMENT_REFUNDED, refund) != facts_digest(EventType.PAYMENT_REVERSED, refund)
    assert facts_digest(EventType.PAYMENT_REVERSED, reversal) is not None


def test_the_digest_of_facts_is_made_by_hand() -> None:
    """As docs/journal.md says: the type, and the data with nothing in the place of each personal value."""
    by_hand = {
        EventType.INVOICE_ISSUED: b'{"regie":"enfance","number":"F-1","account":"","amount_cents":900,'
        b'"issued_on":"2024-01-02","label":"","document_url":"","means":"direct_debit"}',
        EventType.INVOICE_WITHDRAWN: b'{"regie":"enfance","number":"F-1"}',
        EventType.PAYMENT_STARTED: b'{"regie":"enfance","reference":"P-1","amount_cents":900,'
        b'"invoices":[{"number":"F-1","amount_cents":900,"account":""}],"gateway_reference":"G-1"}',
    }
    for kind, data in by_hand.items():
        assert facts_digest(kind, FACTS[kind]) == seal.digest("lettrage.facts.v1", [kind.value, data])


def test_types_without_anything_personal_have_no_facts_apart() -> None:
    """Their own digest proves them, before and after."""
    for kind in set(DATA) - PERSONAL_TYPES:
        assert facts_digest(kind, object()) is None
        data = object()
        assert blanked(kind, data, Blanks([])) is data


def test_of_a_callback_only_that_it_came_is_left() -> None:
    """Its words, its signatures and its headers go; its report has what they proved."""
    whole = GatewayCallback(regie="enfance", method="POST", query="mel=z@p.example", body="YQ==", headers={"x": "y"})
    assert blanked_callback(whole) == GatewayCallback(regie="enfance", method="POST")


@pytest.mark.parametrize("kind", FACTS)
def test_what_is_left_is_told_from_what_is_whole(kind: EventType) -> None:
    """And from what has been put in the place of it."""
    assert is_blank(kind, left_of(kind, FACTS[kind]))
    assert not is_blank(kind, FACTS[kind])


def test_a_callback_that_has_words_is_not_blanked() -> None:
    """However few."""
    whole = GatewayCallback(regie="enfance", method="GET", query="ref=P-1")
    assert is_blank(EventType.GATEWAY_CALLBACK, blanked_callback(whole))
    assert not is_blank(EventType.GATEWAY_CALLBACK, whole)


# what stands for a value


@given(st.lists(st.none() | st.text(max_size=5), max_size=8))
def test_what_stands_is_equal_where_the_values_were(values: list[str | None]) -> None:
    """And nowhere else; nothing stands for nothing."""
    blanks = Blanks(values)
    stands = [blanks.text(value) for value in values]
    for one, its in zip(values, stands, strict=True):
        assert (its is None) == (one is None)
        for other, others in zip(values, stands, strict=True):
            assert (its == others) == (one == other)


def test_what_is_gone_stays_as_it_is_and_new_values_are_told_apart_from_it() -> None:
    """A dossier that is blanked, issued again, and blanked again: the second account is not the first."""
    first = Blanks([FAMILY])
    gone = first.text(FAMILY)
    again = Blanks([gone, FAMILY])
    assert again.text(gone) == gone
    assert again.text(FAMILY) not in {gone, FAMILY}
    assert again.address(first.address(ADDRESS)) == first.address(ADDRESS)


def test_what_stands_is_short_whatever_a_portal_calls_things() -> None:
    """A label that looks like one of ours, and is as long as a label may be: an account still fits beside it."""
    label = f"[blanked {'9' * 490}]"
    fact = msgspec.structs.replace(FACTS[EventType.INVOICE_ISSUED], label=label)
    left = left_of(EventType.INVOICE_ISSUED, fact)
    assert (left.account, left.label) == ("[blanked 1]", label)
    assert Blanks(["[blanked 1]", "[blanked 3]"]).text(FAMILY) == "[blanked 2]"


def test_what_stands_says_nothing_of_what_was_there() -> None:
    """It is counted within a dossier: the same for every family."""
    assert [Blanks([]).text(value) for value in SECRETS] == ["[blanked 1]"] * len(SECRETS)
    assert [Blanks([]).address(value) for value in SECRETS] == ["https://blanked.invalid/1"] * len(SECRETS)


def test_what_is_gone_is_shown_as_nothing() -> None:
    """To whoever reads the API, and to portals."""
    blanks = Blanks([])
    assert [shown(value) for value in (None, blanks.text(FAMILY), blanks.address(ADDRESS))] == [None] * 3
    assert [shown(value) for value in (FAMILY, "", "[blanked 1] x")] == [FAMILY, "", "[blanked 1] x"]


def test_rows_become_what_blanked_facts_make_of_them() -> None:
    """An invoice issued from the blanked fact is the blanked row; the rest of it stays."""
    office = Office()
    office.tell(EventType.INVOICE_ISSUED, FACTS[EventType.INVOICE_ISSUED])
    (row,) = office.dossier.invoices.values()
    blanks = Blanks([])
    again = Office()
    again.tell(EventType.INVOICE_ISSUED, blanked(EventType.INVOICE_ISSUED, FACTS[EventType.INVOICE_ISSUED], blanks))
    (made,) = again.dossier.invoices.values()
    assert blanked_invoice(row, blanks) == made != row


def test_a_portal_is_not_told_what_stands_for_a_value() -> None:
    """Money for a dossier that is blanked: the account is unknown."""
    office = Office(notify=True)
    office.tell(EventType.INVOICE_ISSUED, left_of(EventType.INVOICE_ISSUED, FACTS[EventType.INVOICE_ISSUED]))
    assert [effect.data["account"] for effect in office.effects] == [None]


@pytest.mark.parametrize("label", [LABEL, "Centre de loisirs"])
def test_the_same_issue_again_is_still_the_same(label: str) -> None:
    """What `decide` compares comes out as it did before: the outcome that is recorded is made again."""
    facts = [
        FACTS[EventType.INVOICE_ISSUED],
        msgspec.structs.replace(FACTS[EventType.INVOICE_ISSUED], label=label),
    ]
    blanks = Blanks(value for fact in facts for value in personal_values(fact))
    whole, left = Office(), Office()
    for fact in facts:
        said = whole.tell(EventType.INVOICE_ISSUED, fact)
        assert left.tell(EventType.INVOICE_ISSUED, blanked(EventType.INVOICE_ISSUED, fact, blanks)) == said


# a record


def test_a_blankings_digest_is_of_all_its_events_by_place() -> None:
    """In whatever order they are given; each field of each counts."""
    one, other = Blanked(7, b"r" * 32, b"d" * 32), Blanked(9, None, b"e" * 32)
    fields: list[seal.Field] = [2, 7, b"r" * 32, b"d" * 32, 9, None, b"e" * 32]
    assert blanking_digest([other, one]) == seal.digest("lettrage.blanking.v1", fields).hex()
    others = [one._replace(place=8), one._replace(raw=None), one._replace(rest=b"x" * 32)]
    assert len({blanking_digest([each, other]) for each in (one, *others)} | {blanking_digest([one])}) == 5


# when it is over

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HORIZON = Horizon(datetime(2024, 11, 25, 12, tzinfo=UTC), date(2024, 11, 25))
OLD = Dated(HORIZON.time - timedelta(microseconds=1), applied=True)


def dossier(**invoice: Any) -> Dossier:  # noqa: ANN401 (columns)
    """A paid invoice, its payment, and a discrepancy that was closed."""
    payment = Payment(id=1, regie="enfance", reference="P-1", state=PaymentState.PAID, hold_over=True)
    told: dict[str, Any] = {"state": InvoiceState.PAID, "issued_on": date(2024, 11, 24)} | invoice
    shown_ = Discrepancy(
        id="d",
        regie="enfance",
        kind=DiscrepancyKind.OVERPAID,
        amount_cents=0,
        state=DiscrepancyState.CLOSED,
        opened_at=NOW,
        changed_at=NOW,
        comment=WORDS,
    )
    return Dossier(
        regie="enfance",
        invoices={2: Invoice(id=2, regie="enfance", number="F-1", **told)},
        payments={1: payment},
        discrepancies={"d": shown_},
    )


def test_what_is_done_with_and_old_enough_is_over() -> None:
    """To the microsecond, and to the day in which a family sees the invoice no more."""
    assert why_kept(dossier(), [OLD, OLD], HORIZON) is None
    assert why_kept(dossier(issued_on=None), [OLD], HORIZON) is None
    assert why_kept(dossier(state=InvoiceState.WITHDRAWN), [OLD], HORIZON) is None
    assert why_kept(dossier(state=None), [OLD], HORIZON) is None


def test_a_fact_since_then_keeps_the_whole_dossier() -> None:
    """One of many, received at the horizon itself."""
    assert why_kept(dossier(), [OLD, Dated(HORIZON.time, applied=True)], HORIZON) is Kept.RECENT


def test_what_a_family_still_sees_is_kept() -> None:
    """An invoice that was issued on a later day than it was received: Historique goes by that day."""
    assert why_kept(dossier(issued_on=HORIZON.day), [OLD], HORIZON) is Kept.RECENT


def test_what_waits_keeps_it() -> None:
    """However old: it may still be applied."""
    assert why_kept(dossier(), [OLD, OLD._replace(applied=False)], HORIZON) is Kept.WAITING


def test_a_hold_keeps_it() -> None:
    """A payment that nobody ended."""
    held = dossier()
    held.payments[1].hold_over = False
    assert why_kept(held, [OLD], HORIZON) is Kept.HELD
    held.payments[1].state = None
    assert why_kept(held, [OLD], HORIZON) is None


@pytest.mark.parametrize("state", [InvoiceState.PAYABLE, InvoiceState.IN_PAYMENT])
def test_what_is_still_owed_is_kept(state: InvoiceState) -> None:
    """A family that owes must be told for what."""
    assert why_kept(dossier(state=state), [OLD], HORIZON) is Kept.OWED


def test_what_is_to_be_explained_is_kept() -> None:
    """Whoever gives money back needs to know to whom."""
    open_ = dossier()
    open_.discrepancies["d"].state = DiscrepancyState.OPEN
    assert why_kept(open_, [OLD], HORIZON) is Kept.UNEXPLAINED
    open_.discrepancies["d"].state = DiscrepancyState.RESOLVED
    assert why_kept(open_, [OLD], HORIZON) is None


def test_a_comment_goes_with_the_facts() -> None:
    """What a discrepancy is about stays."""
    row = dossier().discrepancies["d"]
    left = blanked_discrepancy(row, Blanks([]))
    assert (left.comment, left.kind, left.id) == ("[blanked 1]", row.kind, row.id)


def test_the_types_of_the_index_are_those_of_the_rule() -> None:
    """What may be blanked is looked for: the migration and the query name the same types."""
    store = Path(retention.__file__).parents[1] / "store"
    for file in ("migrations/0006_retention.sql", "retention.sql"):
        text = (store / file).read_text("utf-8")
        listed = text.split("type IN (")[1].split(")")[0]
        assert {part.strip().strip("'") for part in listed.split(",")} == set(PERSONAL_TYPES)
