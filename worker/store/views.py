"""Reading for the API and the command line: rows as the contract shows them, by the database's clock."""

import asyncio
import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

import asyncpg
import msgspec

from schemas.views import (
    DiscrepancyView,
    EventView,
    HistoryItem,
    InvoiceCounts,
    InvoicePayment,
    InvoiceView,
    OutcomeView,
    Page,
    PaidInvoice,
    PaymentView,
    RegieView,
)
from worker.domain.retention import shown
from worker.store.postgres import keep_session
from worker.store.sql import load

QUERIES: Final = load("views.sql")

MAX_LIMIT = 1000
"""Rows in one answer: about half a megabyte of JSON."""
MAX_PLACE = 2**63 - 1
"""What PostgreSQL's bigint holds."""
QUERY_SECONDS = 10.0
"""Longer than any of these takes on millions of invoices; a caller has given up by then."""

SETTINGS: Final = {
    "application_name": "lettrage views",
    "default_transaction_read_only": "on",
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    "timezone": "UTC",
}
"""A plan for any values would read whole tables; compiling one takes longer than running it."""
CLOSE_SECONDS = 2.0
"""For queries under way when the process ends."""

_payments_of = msgspec.json.Decoder(list[InvoicePayment])
_lines_of = msgspec.json.Decoder(list[PaidInvoice])
_references_of = msgspec.json.Decoder(list[str])
_detail_of = msgspec.json.Decoder(dict[str, str])


class CursorError(ValueError):
    """A cursor is not one that a page of this list gave."""


class KnownRegies(NamedTuple):
    """Each régie ever configured with its gateway's kind, and the database's clock at that moment."""

    gateways: dict[str, str]
    now: datetime


class Views:
    """The reading half of the store. Every method is one statement or two, none of them changes anything."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool

    @classmethod
    async def open(cls, database_url: str, *, size: int = 4) -> Self:
        """Views on a pool of their own, so that reading never waits for writing's connections."""
        pool = await asyncpg.create_pool(
            database_url,
            min_size=0,
            max_size=size,
            command_timeout=QUERY_SECONDS,
            timeout=5,
            reset=keep_session,
            server_settings=SETTINGS,
        )
        return cls(pool)

    async def close(self) -> None:
        """Close the pool; a query under way gets a moment, no more."""
        try:
            await asyncio.wait_for(self._pool.close(), CLOSE_SECONDS)
        except TimeoutError:
            self._pool.terminate()

    async def known_regies(self) -> KnownRegies:
        """Every régie ever configured, and the database's clock."""
        rows = await self.rows(QUERIES.known_regies)
        now = rows[0]["now"] if rows else (await self.rows(QUERIES.database_now))[0][0]
        return KnownRegies({row["code"]: row["gateway"] for row in rows}, now)

    async def installation(self) -> str | None:
        """What tells this database from any other, for whoever asks whether two processes share one."""
        rows = await self.rows(QUERIES.installation)
        return str(rows[0][0]) if rows else None

    async def regies(self, codes: Iterable[str] | None = None) -> list[RegieView]:
        """Those régies at a glance, by code; all of them when `codes` is None."""
        wanted = None if codes is None else list(codes)
        return [_regie(row) for row in await self.rows(QUERIES.regies, wanted)]

    async def regie(self, code: str) -> RegieView | None:
        """One régie at a glance."""
        found = await self.regies([code])
        return found[0] if found else None

    async def invoices(
        self,
        regie: str,
        *,
        view: str | None = None,
        account: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Invoices of a régie, newest known first. `view`: `payable`, `history`, `direct_debit`, None for all.

        Raises:
            CursorError: the cursor is none of ours.
        """
        (last,) = _position(cursor, (int,))
        rows = await self.rows(QUERIES.invoices, regie, account, view, last, limit + 1, None)
        return _page(rows, limit, _invoice, lambda row: (row["id"],))

    async def invoice(self, regie: str, number: str) -> InvoiceView | None:
        """One invoice as read."""
        row = await self._invoice(regie, number)
        return None if row is None else _invoice(row)

    async def history(self, regie: str, number: str) -> list[HistoryItem] | None:
        """Every change of an invoice's state, oldest first; None when there is no such invoice."""
        row = await self._invoice(regie, number)
        if row is None:
            return None
        return [HistoryItem(**dict(change)) for change in await self.rows(QUERIES.invoice_history, row["id"])]

    async def payment(self, regie: str, reference: str) -> PaymentView | None:
        """One payment as read."""
        rows = await self.rows(QUERIES.payment, regie, reference)
        return _payment(rows[0]) if rows else None

    async def discrepancies(
        self, regie: str, *, state: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page:
        """Discrepancies of a régie, oldest first.

        Raises:
            CursorError: the cursor is none of ours.
        """
        since, last = _position(cursor, (str, str))
        try:
            opened_at = None if since is None else datetime.fromisoformat(since)
        except ValueError:
            raise CursorError(cursor) from None
        rows = await self.rows(QUERIES.discrepancies, regie, state, opened_at, last, limit + 1)
        return _page(rows, limit, _discrepancy, lambda row: (row["opened_at"].isoformat(), row["id"]))

    async def event(self, place: int) -> EventView | None:
        """One event with its data."""
        rows = await self.rows(QUERIES.event, place)
        return _event(rows[0]) if rows else None

    async def events_of_id(self, event_id: str) -> list[EventView]:
        """Events with the id that their sender gave, newest first: an id is unique per client and source only."""
        return [_event(row) for row in await self.rows(QUERIES.events_of_id, event_id)]

    async def events(
        self,
        *,
        regie: str | None = None,
        event_type: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Events without their data, newest first.

        Raises:
            CursorError: the cursor is none of ours.
        """
        (last,) = _position(cursor, (int,))
        rows = await self.rows(QUERIES.events, regie, event_type, last, limit + 1)
        return _page(rows, limit, _event, lambda row: (row["place"],))

    async def parked_events(self, *, limit: int = 100) -> list[EventView]:
        """Events that failed too often and wait for a person, oldest first."""
        return [_event(row) for row in await self.rows(QUERIES.parked_events, limit)]

    async def outcome(self, place: int, claimed: str | None = None) -> OutcomeView | None:
        """What became of an event, with the payment that it is about as read; None while it waits.

        `claimed`: the gateway reference of a callback, which names no payment.
        """
        rows = await self.rows(QUERIES.outcome, place, claimed)
        if not rows:
            return None
        outcome, reason, regie, reference = rows[0]
        payment = None if reference is None else await self.payment(regie, reference)
        return OutcomeView(outcome=outcome, reason=reason, payment=payment)

    async def _invoice(self, regie: str, number: str) -> Mapping[str, Any] | None:
        rows = await self.rows(QUERIES.invoices, regie, None, None, None, 1, number)
        return rows[0] if rows else None

    async def rows(self, query: str, *values: object) -> Sequence[Any]:
        """The rows that a query of `worker.store` answers with."""
        async with self._pool.acquire(timeout=QUERY_SECONDS) as connection:
            rows: Sequence[Any] = await connection.fetch(query, *values)
            return rows


def _regie(row: Mapping[str, Any]) -> RegieView:
    return RegieView(
        code=row["code"],
        label=row["label"],
        invoices=InvoiceCounts(
            payable=row["payable"],
            in_payment=row["in_payment"],
            paid=row["paid"],
            withdrawn=row["withdrawn"],
        ),
        payable_cents=row["payable_cents"],
        open_discrepancies=row["open_discrepancies"],
    )


def _invoice(row: Mapping[str, Any]) -> InvoiceView:
    values = dict(row)
    del values["id"]
    values["payments"] = _payments_of.decode(values["payments"] or "[]")
    values |= {name: shown(values[name]) for name in ("account", "label", "document_url")}
    return InvoiceView(**values)


def _payment(row: Mapping[str, Any]) -> PaymentView:
    values = dict(row)
    values["gateway_references"] = _references_of.decode(values["gateway_references"])
    values["invoices"] = _lines_of.decode(values["invoices"])
    return PaymentView(**values)


def _discrepancy(row: Mapping[str, Any]) -> DiscrepancyView:
    readable = {"detail": _detail_of.decode(row["detail"]), "comment": shown(row["comment"])}
    return msgspec.convert({**row, **readable}, DiscrepancyView)


def _event(row: Mapping[str, Any]) -> EventView:
    values = dict(row)
    if "data" in values:
        values["data"] = msgspec.json.decode(values["data"])
    return EventView(**values)


def _page(
    rows: Sequence[Any], limit: int, shaped: Callable[[Any], object], key: Callable[[Any], tuple[object, ...]]
) -> Page:
    """A page of the first `limit` rows; one row more was asked for, to know whether there are others."""
    here = rows[:limit]
    following = _cursor(key(here[-1])) if len(rows) > limit else None
    return Page(items=[shaped(row) for row in here], next_cursor=following)


def _cursor(key: tuple[object, ...]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def _position(cursor: str | None, kinds: tuple[type, ...]) -> Sequence[Any]:
    """The key that a cursor stands for; as many None without one."""
    if cursor is None:
        return [None] * len(kinds)
    try:
        key = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=list[Any])
    except (ValueError, RecursionError):
        raise CursorError(cursor) from None
    if [type(value) for value in key] != list(kinds) or not all(_storable(value) for value in key):
        raise CursorError(cursor)
    return key


def _storable(value: int | str) -> bool:
    return "\x00" not in value if isinstance(value, str) else 0 <= value <= MAX_PLACE
