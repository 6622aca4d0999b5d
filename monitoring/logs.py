"""Logs: one JSON object a line on stderr, for people on a terminal; static event names with fields.

No secret and no personal data: fields that may hold one are redacted by name, free text is scrubbed.
Whoever logs names what happened (`invoice_reactivated`) and adds ids; `about` binds those of an event.
"""

import logging
import re
import sys
import traceback
from collections import Counter as Tally
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any, Final, TextIO

import msgspec
import structlog
from structlog.contextvars import bound_contextvars
from structlog.typing import EventDict, ExcInfo, Processor

from schemas.decisions import Done
from schemas.events import Event
from schemas.records import DueAsk
from worker.portals.port import DueNotification

REDACTED: Final = "[redacted]"

_PRIVATE: Final = re.compile(
    r"account|authori[sz]ation|body|card|cookie|e-?mail|header|iban|passphrase|password|private|query|raw|secret"
    r"|signature|token|(^|_)(data|dsn|key|pan|url)($|_)",
    re.IGNORECASE,
)
"""Names of fields that may hold a secret or say who a family is."""

_IDS: Final = frozenset(
    {"event", "event_id", "event_type", "gateway_reference", "invoice", "level", "logger", "payment", "regie"}
    | {"timestamp", "trace_id", "webhook_id", "_record", "_from_structlog"}
)
"""Ids and names: kept as they are, though a reference may look like a card's; structlog drops its own two."""

_DATABASE_DETAIL: Final = re.compile(r"^(DETAIL|CONTEXT|QUERY|WHERE):.*\Z", re.MULTILINE | re.DOTALL)
"""What PostgreSQL adds to an error, rows included."""
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/\s@]*@")
_EMAIL: Final = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_LONG_NUMBER: Final = re.compile(r"\b(?:\d[ -]?){11,18}\d\b")
"""Twelve to nineteen digits: a card, an account, a telephone; ids have fields of their own."""

EVENTS_TOLD: Final = 5
"""A line costs a tenth of a millisecond: a quiet installation is read event by event, a busy one keeps its speed."""

QUIET: Final = (
    "aiohttp",
    "asyncio",
    "asyncpg",
    "dramatiq",
    "eopayment",
    "redis",
    "requests",
    "urllib3",
    "zeep",
)
"""Libraries that are heard from WARNING on. eopayment logs its options, secrets included, at DEBUG."""


log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()


def configure(stream: TextIO | None = None) -> None:
    """Send every log, the libraries' too, to `stream` (stderr): JSON, or colours on a terminal."""
    target = stream or sys.stderr
    renderer = _for_people() if target.isatty() else _for_machines()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *_shared(), *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    _route_libraries(target, renderer)


def about(event: Event) -> AbstractContextManager[None]:
    """Bind what an event is about to everything logged inside: its id, type, régie, payment and trace."""
    fields = {
        "event_id": event.id,
        "event_type": event.type,
        "regie": event.regie,
        "payment": getattr(event.data, "reference", None),
        "gateway_reference": getattr(event.data, "gateway_reference", None),
        "invoice": getattr(event.data, "number", None),
        "trace_id": trace_id(event.trace),
    }
    return bound_contextvars(**{name: value for name, value in fields.items() if value is not None})


def asking(due: DueAsk) -> AbstractContextManager[None]:
    """Bind which payment a gateway is asked about, and its trace, to everything logged inside."""
    fields = {
        "regie": due.regie,
        "payment": due.payment,
        "gateway_reference": due.gateway_reference,
        "trace_id": trace_id(due.trace),
    }
    return bound_contextvars(**{name: value for name, value in fields.items() if value is not None})


def telling(due: DueNotification) -> AbstractContextManager[None]:
    """Bind which notification a portal is told, its event, its trace and what it is about."""
    fields = {
        "regie": due.regie,
        "webhook_id": due.webhook_id,
        "invoice": due.data.get("number") or due.data.get("invoice"),
        "payment": due.data.get("payment"),
        "event_id": due.event_id,
        "trace_id": trace_id(due.trace),
    }
    return bound_contextvars(**{name: value for name, value in fields.items() if value is not None})


def reconciled(done: Done) -> None:
    """Tell what became of each event of a small batch, and of a large one only how many: the outcomes are kept."""
    if len(done.applied) > EVENTS_TOLD:
        outcomes = Tally(applied.outcome.value for _, applied in done.applied)
        log.info("batch_reconciled", events=len(done.applied), **outcomes)
        return
    for event, applied in done.applied:
        with about(event):
            log.info("event_reconciled", outcome=applied.outcome.value, reason=applied.reason)


def trace_id(traceparent: str | None) -> str | None:
    """The trace's id in a W3C `traceparent`, None in anything else."""
    parts = (traceparent or "").split("-")
    return parts[1] if len(parts) >= 4 and re.fullmatch(r"[0-9a-f]{32}", parts[1]) else None  # noqa: PLR2004


def redact(_logger: object, _method: str, event_dict: EventDict) -> EventDict:
    """Hide the values of private fields, at any depth, and what free text may quote of them."""
    return {name: _harmless(name, value) for name, value in event_dict.items()}


def scrub(text: str) -> str:
    """The text without the rows that PostgreSQL quotes, addresses' passwords, e-mails and long numbers."""
    for pattern in (_DATABASE_DETAIL, _CREDENTIALS, _EMAIL, _LONG_NUMBER):
        text = pattern.sub(REDACTED, text)
    return text


def _harmless(name: str, value: Any) -> Any:  # noqa: ANN401 (a log field may be anything)
    if name in _IDS:
        return value
    if _PRIVATE.search(name):
        return REDACTED
    match value:
        case bool() | int() | float() | None:
            return value
        case Mapping():
            return {str(inner): _harmless(str(inner), item) for inner, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_harmless("", item) for item in value]
        case bytes() | bytearray() | memoryview():
            return REDACTED
        case str():
            return scrub(value)
        case _:
            return scrub(str(value))


def _shared() -> list[Processor]:
    return [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_exception,
        redact,
    ]


def _name_exception(_logger: object, _method: str, event_dict: EventDict) -> EventDict:
    """Replace `exc_info` by text: where it happened and what was said, never the values of variables."""
    exc_info = _exc_info(event_dict.pop("exc_info", None))
    if exc_info is not None:
        event_dict["exception"] = "".join(traceback.format_exception(*exc_info))
    return event_dict


def _exc_info(given: object) -> ExcInfo | None:
    match given:
        case BaseException() as error:
            return type(error), error, error.__traceback__
        case (type(), BaseException() as error, _):
            return type(error), error, error.__traceback__
        case None | False:
            return None
        case _:
            current = sys.exc_info()
            return None if current[0] is None else current


def _for_machines() -> list[Processor]:
    return [_as_line]


def _as_line(_logger: object, _method: str, event_dict: MutableMapping[str, Any]) -> str:
    first = {name: event_dict.pop(name) for name in ("timestamp", "level", "event") if name in event_dict}
    return msgspec.json.encode(first | dict(event_dict), enc_hook=str).decode()


def _for_people() -> list[Processor]:
    return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]


def _route_libraries(target: TextIO, renderer: list[Processor]) -> None:
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, _library_said, *_shared()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _library_said(_logger: object, _method: str, event_dict: EventDict) -> EventDict:
    """A library's sentence is a field; the event's name is ours."""
    return {**event_dict, "event": "library_said", "message": event_dict["event"]}
