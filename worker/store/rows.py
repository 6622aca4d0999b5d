"""Rows of tables to records and back: the only place that knows the order of columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from schemas.events import DATA, Event, EventType
from schemas.records import (
    Adjustment,
    AdjustmentKind,
    Charge,
    ChargeResult,
    Discrepancy,
    DiscrepancyKind,
    DiscrepancyState,
    GatewayReference,
    Invoice,
    InvoiceState,
    Line,
    Payment,
    PaymentState,
    Policy,
    Resolution,
)

Row = Mapping[str, Any]

_READERS = {kind.value: (kind, msgspec.json.Decoder(shape)) for kind, shape in DATA.items()}
_POLICY = msgspec.json.Decoder(Policy)
_DETAIL = msgspec.json.Decoder(dict[str, str])
_INVOICE_STATES: dict[str | None, InvoiceState | None] = {None: None, **{s.value: s for s in InvoiceState}}
_PAYMENT_STATES: dict[str | None, PaymentState | None] = {None: None, **{s.value: s for s in PaymentState}}
_RESULTS = {s.value: s for s in ChargeResult}
_ADJUSTMENTS = {s.value: s for s in AdjustmentKind}


def event(row: Row) -> Event:
    """Read a leased event. Raises msgspec.ValidationError when its data is not of its type: it parks by itself."""
    kind, reader = _READERS[row["type"]]
    return Event(
        place=row["place"],
        client=row["client"],
        source=row["source"],
        id=row["id"],
        type=kind,
        regie=row["regie"],
        received_at=row["received_at"],
        data=reader.decode(row["data"]),
        time=row["time"],
        attempts=row["attempts"],
        waited=row["waited"],
        trace=row["trace"],
    )


def data_of(kind: EventType, text: str) -> Any:  # noqa: ANN401 - one of the structs of DATA
    """Read an event's data."""
    return _READERS[kind.value][1].decode(text)


def policy(text: str) -> Policy:
    """Read a régie's policy."""
    return _POLICY.decode(text)


def invoice(row: Row) -> Invoice:
    """Read a locked invoice."""
    values = dict(row)
    values["state"] = _INVOICE_STATES[values["state"]]
    return Invoice(**values)


def payment(row: Row) -> Payment:
    """Read a locked payment; its lines come apart."""
    values = dict(row)
    values["state"] = _PAYMENT_STATES[values["state"]]
    return Payment(**values)


def line(row: Row) -> Line:
    """Read what a payment pays of an invoice."""
    return Line(invoice_id=row["invoice_id"], cents=row["cents"], held=row["held"])


def reference(row: Row) -> GatewayReference:
    """Read a gateway reference."""
    return GatewayReference(**dict(row))


def charge(row: Row) -> Charge:
    """Read a charge."""
    values = dict(row)
    values["result"] = _RESULTS[values["result"]]
    return Charge(**values)


def adjustment(row: Row) -> Adjustment:
    """Read an adjustment."""
    values = dict(row)
    values["kind"] = _ADJUSTMENTS[values["kind"]]
    return Adjustment(**values)


def discrepancy(row: Row) -> Discrepancy:
    """Read a discrepancy."""
    values = dict(row)
    values["kind"] = DiscrepancyKind(values["kind"])
    values["state"] = DiscrepancyState(values["state"])
    values["detail"] = _DETAIL.decode(values["detail"])
    values["resolution"] = None if values["resolution"] is None else Resolution(values["resolution"])
    return Discrepancy(**values)


INVOICE_COLUMNS = [
    "id",
    "state",
    "version",
    "account",
    "issued_cents",
    "amount_cents",
    "means",
    "issued_on",
    "label",
    "document_url",
    "withdrawn",
    "fact_time",
    "fact_place",
    "issue_time",
    "issue_place",
    "settled_cents",
    "paid_at",
    "paid_by",
    "to_check",
    "reason",
]
PAYMENT_COLUMNS = [
    "id",
    "state",
    "reason",
    "amount_cents",
    "start_time",
    "start_place",
    "deadline",
    "hold_limit",
    "payable_again_at",
    "hold_over",
    "hold_ended_at",
    "rejected",
    "doubt",
    "late",
    "received_cents",
    "refunded_cents",
    "provisional",
    "first_money_at",
    "first_money_place",
    "settled_at",
    "latest_reference",
]
CHARGE_COLUMNS = [
    "gateway_reference_id",
    "transaction_id",
    "result",
    "cents",
    "received_at",
    "place",
]
ADJUSTMENT_COLUMNS = [
    "kind",
    "fact_id",
    "cents",
    "place",
    "invoice_id",
    "payment_id",
    "means",
]
JOURNAL_COLUMNS = [
    "place",
    "regie",
    "at",
    "reason",
    "before",
    "after",
    "invoice_id",
    "payment_id",
]
DISCREPANCY_COLUMNS = [
    "id",
    "regie",
    "kind",
    "amount_cents",
    "state",
    "opened_at",
    "changed_at",
    "payment_id",
    "invoice_id",
    "payment",
    "invoice",
    "subject",
    "detail",
    "resolution",
    "resolved_cents",
    "comment",
]


def columns(records: Iterable[Any], names: Sequence[str]) -> list[list[Any]]:
    """Turn records into one array a column, as `unnest` wants them."""
    records = list(records)
    return [[getattr(record, name) for record in records] for name in names]


def detail_text(columns_: list[list[Any]]) -> list[list[Any]]:
    """Write the `detail` column of discrepancies as JSON."""
    index = DISCREPANCY_COLUMNS.index("detail")
    columns_[index] = [json_text(value) for value in columns_[index]]
    return columns_


_encode: Callable[[Any], bytes] = msgspec.json.Encoder(order="deterministic").encode


def json_text(value: Any) -> str:  # noqa: ANN401 - anything that msgspec encodes
    """Write a value as JSON text, the same for the same value."""
    return _encode(value).decode()
