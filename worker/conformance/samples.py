"""Sample notifications about one invoice: their bodies as Lettrage writes them, and as it may write them one day."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from schemas.records import DiscrepancyKind, DiscrepancyState, InvoiceState
from schemas.views import DiscrepancyView
from worker.domain.reasons import Reason

LARGE_BYTES: Final = 65_536
"""What docs/integrate.md tells a portal to be ready for; today's are under 2 KB."""
HOLD: Final = timedelta(minutes=30)
LATE: Final = timedelta(days=3)
"""A portal that was down for long is told of what happened then."""

_REASONS: Final = {
    InvoiceState.PAYABLE: Reason.ISSUED,
    InvoiceState.IN_PAYMENT: Reason.HOLD_TAKEN,
    InvoiceState.PAID: Reason.MONEY_RECEIVED,
    InvoiceState.WITHDRAWN: Reason.WITHDRAWN,
}
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Sample:
    """A notification: its `webhook-id`, its body, and what an invoice's says of it."""

    id: str
    body: bytes
    state: str = ""
    version: int = 0

    def __str__(self) -> str:
        return f"{self.state} (version {self.version})"


@dataclass(slots=True)
class Samples:
    """Notifications about one invoice of a régie, each of the next version unless told otherwise.

    `run` is in every id, so that no other run's are taken for them.
    """

    regie: str
    number: str
    run: str
    first_version: int
    _versions: Iterator[int] = field(init=False)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self._versions = itertools.count(self.first_version)

    def invoice(
        self,
        state: InvoiceState,
        *,
        version: int | None = None,
        number: str | None = None,
        at: datetime | None = None,
        **more: object,
    ) -> Sample:
        """The invoice's new state; `more` are fields that no portal knows yet."""
        now = datetime.now(UTC) if at is None else at
        version = next(self._versions) if version is None else version
        data = {
            "regie": self.regie,
            "number": number or self.number,
            "account": "LETTRAGE-CHECK",
            "state": state.value,
            "version": version,
            "payable_again_at": now + HOLD if state is InvoiceState.IN_PAYMENT else None,
            "payment": None if state is InvoiceState.PAYABLE else f"P-{self.run}",
            "reason": _REASONS[state],
        }
        body = _body(f"invoice.{state.value}", now, data | more)
        return Sample(self._id(), body, state.value, version)

    def spelled_otherwise(self, state: InvoiceState) -> Sample:
        """The same JSON in another spelling: spaces, escapes, another order. Only its bytes are signed."""
        plain = self.invoice(state, reason="réglé")
        spelled = json.dumps(json.loads(plain.body), indent=2, sort_keys=True, ensure_ascii=True).replace("/", "\\/")
        return Sample(plain.id, spelled.encode(), plain.state, plain.version)

    def discrepancy(self, state: DiscrepancyState) -> Sample:
        """One that is about no invoice: a payment that nobody knows."""
        now = datetime.now(UTC)
        view = DiscrepancyView(
            id=self.run,
            kind=DiscrepancyKind.UNKNOWN_PAYMENT,
            opened_at=now,
            payment=None,
            invoice=None,
            amount_cents=1250,
            detail={},
            state=state,
            regie=self.regie,
        )
        kind = "opened" if state is DiscrepancyState.OPEN else "resolved"
        return Sample(self._id(), _body(f"discrepancy.{kind}", now, msgspec.to_builtins(view)))

    def of_type(self, kind: str) -> Sample:
        """A type that no portal knows."""
        return Sample(self._id(), _body(kind, datetime.now(UTC), {"regie": self.regie, "anything": [1, None, "é"]}))

    def _id(self) -> str:
        return f"msg_check_{self.run}_{next(self._ids)}"


def _body(kind: str, at: datetime, data: dict[str, Any]) -> bytes:
    return _encode({"type": kind, "timestamp": at, "data": data})
