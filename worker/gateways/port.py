"""The shapes that cross the border between Lettrage and its gateways."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.reports import Report, ReportResult

MAX_DETAIL_CHARS = 100
"""A value that differs is quoted up to here: enough to recognise it, too little to fill a disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """A régie's gateway. `mode` is `production` or `test`; `options`: eopayment's own, secrets resolved."""

    regie: str
    kind: str
    mode: str
    options: Mapping[str, object] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCallback:
    """A callback as it came, nothing believed."""

    method: str
    query: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a callback says that proves nothing by itself: ask its gateway about this reference."""

    gateway_reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a gateway is asked about. `age_seconds`: since the portal told us of this reference."""

    gateway_reference: str
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a gateway said when asked (`report.asked`), and its own words, kept for whoever must prove it."""

    report: Report
    raw: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a gateway said of us when it was asked about no payment.

    `found` is for people: the service, and whom it takes us for. `skew_seconds`: its clock minus ours; None where it
    does not say its time.
    """

    found: str
    skew_seconds: float | None = None


class GatewayUnavailableError(Exception):
    """The gateway could not be asked, or did not answer sensibly: never a reason to believe "not paid".

    `why` is a stable code: `unreachable`, `timeout`, `malfunction`, `protocol`, `unauthorised`.
    """

    def __init__(self, why: str, said: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.said = said


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a gateway wants to read once its callback is committed."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a régie's gateway options: which key, and what is allowed. Never a value."""

    key: str
    message: str


def failed(gateway: GatewayConfig, reference: str, error: GatewayUnavailableError) -> Answer:
    """The answer of a gateway that gave none: it stands in for itself until it can be asked again."""
    report = Report(
        regie=gateway.regie,
        gateway_reference=reference,
        transaction_id="",
        result=ReportResult.FAILED,
        verified=True,
        asked=True,
        why=error.why,
        detail=quoted({"said": error.said} if error.said else {}),
    )
    return Answer(report=report)


def unproven(gateway: GatewayConfig, reference: str, why: str, **differing: str) -> Report:
    """A report that settles and releases nothing; people will read `why` and the differing values."""
    return Report(
        regie=gateway.regie,
        gateway_reference=reference,
        transaction_id="",
        result=ReportResult.NOTHING,
        verified=False,
        why=why,
        detail=quoted(differing),
    )


def quoted(values: Mapping[str, str]) -> dict[str, str]:
    """Values of a callback, shortened and fit for PostgreSQL's text, UTF-8 and a terminal."""
    return {name: printable(value)[:MAX_DETAIL_CHARS] for name, value in values.items()}


def printable(text: str) -> str:
    """The text with what cannot be printed (NUL and lone surrogates too, which PostgreSQL refuses) as `?`."""
    return "".join(character if character.isprintable() else "?" for character in text)
