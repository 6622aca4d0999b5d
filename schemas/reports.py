"""What a gateway said, once interpreted: the only thing about a gateway that `decide` sees."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field


class ReportResult(StrEnum):
    """`P V Z R A` speak of money; the others say that nothing is known yet, or why it can't be."""

    PAID = "P"
    PROVISIONAL = "V"
    REJECTED_LATER = "Z"
    REFUSED = "R"
    ABANDONED = "A"
    WAITING = "waiting"
    """The gateway answers that it is still in progress."""
    FAILED = "failed"
    """The gateway could not be asked, or did not answer sensibly."""
    NOTHING = "nothing"
    """An answer that is neither payment nor refusal (a credit, another operation, garbage)."""


class Report(Struct, kw_only=True, forbid_unknown_fields=True):
    """One interpreted answer. Only `verified` ones of the régie's own mode are facts about money.

    `cents` None: the gateway does not say; the payment's own amount counts then.
    `why` is a stable code (`signed`, `signature_invalid`, `wrong_merchant`, …). `detail` is redacted: no card, no name.
    """

    regie: str
    gateway_reference: str
    transaction_id: str
    result: ReportResult
    verified: bool
    test: bool = False
    asked: bool = False
    """The gateway was asked and this is its answer: only then can `waiting` and `failed` mean doubt."""
    cents: int | None = None
    why: str = ""
    gateway_time: datetime | None = None
    detail: dict[str, str] = field(default_factory=dict)
