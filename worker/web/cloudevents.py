"""CloudEvents 1.0 over HTTP, as pure functions: from headers and bytes to a `NewEvent`, or to the problem to answer.

Sources: the contract's `POST /v1/events`; CloudEvents 1.0.2, its JSON format and its HTTP binding. All three modes
become the same object, so that a fault's pointer is the same in each: `/data/amount_cents`, `/time`.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple, Protocol, TypeGuard
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import UNSET, Meta, Struct

from schemas.events import (
    DATA,
    MAX_CALLBACK_BYTES,
    MAX_CALLBACK_HEADERS,
    MAX_CENTS,
    MUST,
    NO_CONTROLS,
    OURS,
    EventType,
    NewEvent,
    PaymentStarted,
    PaymentTimedOut,
    digest_of,
)
from worker.settings import OURS as OUR_NAME
from worker.web.problems import (
    INVALID_EVENT,
    NOT_A_CLOUDEVENT,
    NOT_JSON,
    REGIE_FORBIDDEN,
    TOO_MANY_EVENTS,
    UNSUPPORTED_MEDIA_TYPE,
    Fault,
    Problem,
)
from worker.web.shape import faults

MAX_BATCH = 1000
"""Events in one request: what one transaction of the worker takes."""
MAX_AHEAD = timedelta(hours=1)
MAX_AGE = timedelta(days=30)
"""Between these a payment-started's `time` is believed; beyond, somebody's clock or queue is broken."""

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
PLAIN = "application/json"
HOW = (
    f"Send {STRUCTURED}, {BATCH}, or {PLAIN} with the event's attributes in ce- headers "
    "(ce-specversion, ce-id, ce-source, ce-type)"
)

SHAPES: dict[EventType, type[Struct]] = {kind: shape for kind, shape in DATA.items() if kind not in OURS}
"""The shape of the data of each type that comes from outside."""
_TYPES = {kind.value: kind for kind in EventType}


class Attributes(Struct, kw_only=True):
    """The attributes of a CloudEvent that mean something here; extensions are let through."""

    specversion: Annotated[str, Meta(pattern=r"^1\.0\Z", extra={MUST: 'be "1.0"'})]
    id: Annotated[str, Meta(min_length=1, max_length=200), NO_CONTROLS]
    source: Annotated[str, Meta(min_length=1, max_length=300), NO_CONTROLS]
    type: Annotated[str, Meta(min_length=1, max_length=200)]
    time: Annotated[datetime, Meta(tz=True)] | None = None
    """When it happened; left out: when it is received."""
    subject: str | None = None
    datacontenttype: str | None = None
    """`application/json`, which it is as well when this is left out."""
    dataschema: str | None = None
    data: Any = UNSET
    data_base64: str | None = None
    """The data's JSON in base64, instead of `data`."""
    traceparent: Any = None
    """A W3C trace context, which the logs will have; what is none is dropped."""


class Archived(Attributes, kw_only=True):
    """The same, and what else `lettrage events list --json` keeps: who first sent the event, and when it was received.

    A fact without an id of its own is named by its client, source and id: with another client it would count again.
    """

    source: Annotated[str, Meta(min_length=1, max_length=401), NO_CONTROLS]
    """A report's is its callback's, with the client's name."""
    recordedtime: Annotated[datetime, Meta(tz=True)] | None = None
    """CloudEvents' own extension of that name."""
    lettrageclient: Annotated[str, Meta(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*\Z")] | None = None
    """Empty: a gateway, whose callbacks have no token."""
    lettrageraw: str | None = None
    """Base64: a gateway's request, byte for byte."""
    lettrageblanked: str | None = None
    """Base64: the digest of an event that is blanked; where it is known by that, whole or blanked, it is no other."""


_KNOWN = frozenset(field.encode_name for field in msgspec.structs.fields(Attributes))
EXTENSION = re.compile(r"[a-z0-9]+")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_JSON_TYPE = re.compile(r"application/([a-z0-9.!#$&^_-]+\+)?json", re.IGNORECASE)
_UTF8 = frozenset({"", "utf-8", "utf8", "us-ascii"})

_decode = msgspec.json.decode
_encode = msgspec.json.encode


class Caller(Protocol):
    """Who sends: its events are unique under its name, and for its régies only."""

    @property
    def name(self) -> str:
        """What it is called in the configuration."""
        ...

    def reaches(self, regie: str) -> bool:
        """Whether it may speak for that régie."""
        ...


Sent = dict[str, Any]
"""One CloudEvent as its JSON object, whatever the mode it came in; nothing of it believed."""


def read(content_type: str, headers: Iterable[tuple[str, str]], body: bytes) -> Sent | list[Any] | Problem:
    """What a request carries: one event, the list of a batch, or why neither."""
    media_type, charset = _media_type(content_type)
    if charset not in _UTF8:
        return UNSUPPORTED_MEDIA_TYPE.problem(f"JSON is UTF-8, not {charset[:40]}")
    if media_type == STRUCTURED:
        return _structured(body)
    if media_type == BATCH:
        return _batch(body)
    if media_type.startswith("application/cloudevents"):
        return UNSUPPORTED_MEDIA_TYPE.problem(HOW)
    return _binary(media_type, headers, body)


def judge(sent: object, caller: Caller, now: datetime) -> NewEvent | Problem:
    """The event, ready to be stored, or every fault of it. `now` is the database's, UTC."""
    return _let_in(_EVERYDAY, sent, caller, now)


def judge_archived(sent: object, caller: Caller, now: datetime) -> NewEvent | Problem:
    """The same for an admin's import of an archive: with the client and the time received that the event had.

    It may be of a type that Lettrage alone writes, and a payment-started of any age.
    """
    event = _let_in(_ARCHIVE, sent, caller, now)
    if isinstance(event, NewEvent):
        kept = msgspec.convert(sent, Archived)
        event.client = caller.name if kept.lettrageclient is None else kept.lettrageclient
        event.received_at = kept.recordedtime
        event.raw = None if kept.lettrageraw is None else base64.b64decode(kept.lettrageraw)
        event.blanked = None if kept.lettrageblanked is None else base64.b64decode(kept.lettrageblanked)
    return event


class _Door(NamedTuple):
    """What may come in: the attributes that mean something, each type's data, and what else must be true."""

    attributes: type[Attributes]
    shapes: Mapping[EventType, type[Struct]]
    faults: Callable[[Any, EventType, Any, datetime], Iterable[Fault]]


def _let_in(door: _Door, sent: object, caller: Caller, now: datetime) -> NewEvent | Problem:
    if not isinstance(sent, dict):
        return NOT_A_CLOUDEVENT.problem("An event is a JSON object")
    attributes = _attributes(sent, door.attributes)
    if isinstance(attributes, Problem):
        return attributes
    data = _data(attributes)
    if isinstance(data, Problem):
        return data
    if isinstance(data, dict) and not _reached(data.get("regie"), caller):
        return REGIE_FORBIDDEN.problem(f"{caller.name} may not speak for this régie")
    kind = _TYPES.get(attributes.type)
    if kind is None or kind not in door.shapes:
        return INVALID_EVENT.problem(errors=[_wrong_kind(attributes.type)])
    return _judged(door, attributes, kind, data, caller=caller, now=now)


def id_of(sent: object) -> str | None:
    """The id that an event claims, to tell its answer from others'."""
    claimed = sent.get("id") if isinstance(sent, dict) else None
    return claimed if isinstance(claimed, str) else None


def decoded(body: bytes) -> Any:  # noqa: ANN401 (any JSON)
    """The JSON value of a body.

    Raises:
        ValueError: it is not JSON, an object names a member twice, or it nests too deeply. The message says which.
    """
    if not body:
        raise ValueError("The body is empty")
    try:
        value = _decode(body)
        repeated = _repeated(body, value)
    except RecursionError:
        raise ValueError("The JSON nests too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("The JSON is not UTF-8") from None
    if repeated is not None:
        raise ValueError(f"The JSON names {repeated[:100]!r} twice in one object")
    return value


def _repeated(body: bytes, value: object) -> str | None:
    """A member named twice in one object, which decoding has dropped.

    Without escapes, every string has two quotes, so that a dropped one is missing from the value's own JSON.
    """
    if b"\\" not in body and body.count(b'"') == _encode(value).count(b'"'):
        return None
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        if len(names) != len(set(names)):
            found.extend(name for name in names if names.count(name) > 1)

    json.loads(body, object_pairs_hook=look)
    return found[0] if found else None


def _structured(body: bytes) -> Sent | Problem:
    try:
        value = decoded(body)
    except ValueError as error:
        return NOT_JSON.problem(str(error))
    if not isinstance(value, dict):
        return NOT_A_CLOUDEVENT.problem(f"A single event is a JSON object; a list of them is sent as {BATCH}")
    return value


def _batch(body: bytes) -> list[Any] | Problem:
    try:
        value = decoded(body)
    except ValueError as error:
        return NOT_JSON.problem(str(error))
    if not isinstance(value, list):
        return NOT_A_CLOUDEVENT.problem(f"A batch is a JSON list of events; a single one is sent as {STRUCTURED}")
    if len(value) > MAX_BATCH:
        return TOO_MANY_EVENTS.problem(f"At most {MAX_BATCH} events in a batch, not {len(value)}")
    return value


def _binary(media_type: str, headers: Iterable[tuple[str, str]], body: bytes) -> Sent | Problem:
    given = [(name[3:].lower(), value) for name, value in headers if name[:3].lower() == "ce-"]
    is_json = _JSON_TYPE.fullmatch(media_type) is not None
    if not given and media_type:
        return (NOT_A_CLOUDEVENT if is_json else UNSUPPORTED_MEDIA_TYPE).problem(HOW)
    if not given:
        return NOT_A_CLOUDEVENT.problem(HOW)
    if media_type and not is_json:
        return UNSUPPORTED_MEDIA_TYPE.problem(f"An event's data is JSON. {HOW}")
    sent: Sent = {}
    for name, value in given:
        if name in sent or name in {"data", "data_base64", "datacontenttype"}:
            return NOT_A_CLOUDEVENT.problem(f"The header ce-{name[:100]} cannot be understood: sent twice, or reserved")
        try:
            sent[name] = _unescaped(value)
        except UnicodeError:
            return NOT_A_CLOUDEVENT.problem(f"The header ce-{name[:100]} is not percent-encoded UTF-8")
    if not body:
        return sent
    try:
        sent["data"] = decoded(body)
    except ValueError as error:
        return NOT_JSON.problem(str(error))
    return sent


def _unescaped(value: str) -> str:
    """A header's value as the HTTP binding writes it (3.1.3.2): quoted or not, then percent-encoded UTF-8."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    if "%" not in value and value.isascii():
        return value
    return unquote_to_bytes(value.encode("utf-8", "surrogateescape")).decode()


def _media_type(content_type: str) -> tuple[str, str]:
    media_type, _, parameters = content_type.partition(";")
    charset = ""
    for parameter in parameters.split(";") if parameters else ():
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    return media_type.strip().lower(), charset


def _attributes(sent: Sent, shape: type[Attributes]) -> Attributes | Problem:
    try:
        attributes = msgspec.convert(sent, shape)
    except msgspec.ValidationError:
        return NOT_A_CLOUDEVENT.problem(errors=faults(sent, shape) + _wrong_extensions(sent))
    if sent.keys() - _KNOWN and (wrong := _wrong_extensions(sent)):
        return NOT_A_CLOUDEVENT.problem(errors=wrong)
    if attributes.time is not None:
        try:
            attributes.time = attributes.time.astimezone(UTC)
        except OverflowError:  # year 1 or 9999, pushed out of the calendar by its zone
            return NOT_A_CLOUDEVENT.problem(errors=[_out_of_calendar()])
    return attributes


def _out_of_calendar() -> Fault:
    return Fault(pointer="/time", code="out_of_range", detail="has no year in UTC")


def _wrong_extensions(sent: Sent) -> list[Fault]:
    return [fault for name in sent.keys() - _KNOWN for fault in _wrong_extension(name, sent[name])]


def _wrong_extension(name: str, value: object) -> Iterable[Fault]:
    pointer = "/" + name[:100].replace("~", "~0").replace("/", "~1")
    if EXTENSION.fullmatch(name) is None:
        yield Fault(pointer=pointer, code="wrong_name", detail="names of attributes are a-z and 0-9")
    if value is not None and not isinstance(value, str | int):
        yield Fault(pointer=pointer, code="wrong_type", detail="must be text, a whole number, true or false")


def _data(attributes: Attributes) -> Any:  # noqa: ANN401
    """The data as sent, or the problem of an event that has none or two."""
    media_type, _ = _media_type(attributes.datacontenttype or PLAIN)
    if _JSON_TYPE.fullmatch(media_type) is None:
        wrong = Fault(pointer="/datacontenttype", code="wrong_format", detail=f"must be {PLAIN}")
        return INVALID_EVENT.problem(errors=[wrong])
    if attributes.data_base64 is None:
        return None if attributes.data is UNSET else attributes.data
    if attributes.data is not UNSET:
        both = Fault(pointer="/data_base64", code="twice", detail="an event has data or data_base64, not both")
        return NOT_A_CLOUDEVENT.problem(errors=[both])
    try:
        return decoded(base64.b64decode(attributes.data_base64, validate=True))
    except ValueError as error:
        wrong = Fault(pointer="/data_base64", code="wrong_format", detail=f"must be base64 of JSON: {error}")
        return INVALID_EVENT.problem(errors=[wrong])


def _reached(regie: object, caller: Caller) -> bool:
    return not isinstance(regie, str) or caller.reaches(regie)


def _wrong_kind(kind: str) -> Fault:
    if kind in _TYPES:
        return Fault(pointer="/type", code="reserved_type", detail="is written by Lettrage alone")
    return Fault(pointer="/type", code="unknown_type", detail=f"is not known; known are {', '.join(SHAPES)}")


def _judged(
    door: _Door,
    attributes: Attributes,
    kind: EventType,
    data: Any,  # noqa: ANN401
    *,
    caller: Caller,
    now: datetime,
) -> NewEvent | Problem:
    wrong: list[Fault] = []
    fact: Any = None
    try:
        fact = msgspec.convert(data, door.shapes[kind])
    except (msgspec.ValidationError, OverflowError):
        wrong += _missing_data() if data is None else faults(data, door.shapes[kind], "/data")
        wrong = wrong or [Fault(pointer="/data", code="wrong_format", detail="cannot be read")]
    wrong = [*door.faults(attributes, kind, fact, now), *wrong]
    if isinstance(data, dict) and not (kind is EventType.PAYMENT_STARTED and fact is not None and _adds_up(fact)):
        wrong += _contradictions(kind, data)
    if wrong or fact is None:
        return INVALID_EVENT.problem(errors=wrong)
    trace = attributes.traceparent
    return NewEvent(
        client=caller.name,
        source=attributes.source,
        id=attributes.id,
        type=kind,
        regie=fact.regie,
        data=fact,
        digest=digest_of(kind, fact),
        time=attributes.time,
        trace=trace if is_trace(trace) else None,
    )


def is_trace(value: object) -> bool:
    """Whether it is a W3C traceparent; anything else is dropped, as that specification asks."""
    return isinstance(value, str) and _TRACEPARENT.fullmatch(value) is not None


def _missing_data() -> list[Fault]:
    return [Fault(pointer="/data", code="missing", detail="is required")]


def _wrong_time(attributes: Attributes, kind: EventType, _fact: object, now: datetime) -> Iterable[Fault]:
    """Only a payment-started's time decides something, its deadline; other facts may be as old as they are."""
    time = attributes.time
    if time is None or kind is not EventType.PAYMENT_STARTED:
        return
    if time > now + MAX_AHEAD:
        yield _ahead("/time")
    elif time < now - MAX_AGE:
        yield Fault(pointer="/time", code="too_old", detail="is more than 30 days old")


def _ahead(pointer: str) -> Fault:
    return Fault(pointer=pointer, code="too_far_ahead", detail="is more than 1 hour ahead of the database's clock")


def _wrong_record(kept: Archived, kind: EventType, fact: Any, now: datetime) -> Iterable[Fault]:  # noqa: ANN401
    """What no archive of ours says."""
    if kept.recordedtime is not None and kept.recordedtime > now + MAX_AHEAD:
        yield _ahead("/recordedtime")
    if isinstance(fact, PaymentTimedOut) and fact.due > now:
        yield Fault(pointer="/data/due", code="too_far_ahead", detail="is not over by the database's clock")
    yield from _wrong_client(kept.lettrageclient, kind)
    for name in ("lettrageraw", "lettrageblanked"):
        if (text := getattr(kept, name)) is not None and not _is_base64(text):
            yield Fault(pointer=f"/{name}", code="wrong_format", detail="must be base64")


def _wrong_client(client: str | None, kind: EventType) -> Iterable[Fault]:
    """Ours are written under our own name, and nothing else is; only gateways have none."""
    if (client == OUR_NAME) != (kind in OURS):
        said = f"must be {OUR_NAME!r} for this type" if kind in OURS else f"{OUR_NAME!r} does not send this type"
        yield Fault(pointer="/lettrageclient", code="wrong_client", detail=said)
    elif client == "" and kind is not EventType.GATEWAY_CALLBACK:
        yield Fault(pointer="/lettrageclient", code="wrong_client", detail="only a gateway's callback has none")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


_EVERYDAY = _Door(Attributes, SHAPES, _wrong_time)
_ARCHIVE = _Door(Archived, DATA, _wrong_record)


def _adds_up(fact: PaymentStarted) -> bool:
    """Whether there is nothing to look for in a payment's lines: most are right, and this is quicker."""
    lines = fact.invoices
    return sum(line.amount_cents for line in lines) == fact.amount_cents and (
        len(lines) == 1 or len({line.number for line in lines}) == len(lines)
    )


def _contradictions(kind: EventType, data: Sent) -> list[Fault]:
    """What no single field shows, looked for in the data as sent, so that all of it is told at once."""
    if kind is EventType.PAYMENT_STARTED:
        return _wrong_lines(data)
    if kind is EventType.GATEWAY_CALLBACK:
        return _wrong_callback(data)
    return []


def _wrong_lines(data: Sent) -> list[Fault]:
    invoices = data.get("invoices")
    if not isinstance(invoices, list) or not all(isinstance(line, dict) for line in invoices):
        return []
    found = []
    seen: dict[object, int] = {}
    for index, line in enumerate(invoices):
        number = line.get("number")
        first = seen.setdefault(number, index) if isinstance(number, str) else index
        if first != index:
            said = f"is the same invoice as /data/invoices/{first}"
            found.append(Fault(pointer=f"/data/invoices/{index}/number", code="twice", detail=said))
    return found + _wrong_sum(data.get("amount_cents"), [line.get("amount_cents") for line in invoices])


def _wrong_sum(amount: object, cents: list[object]) -> list[Fault]:
    known = [line for line in cents if _is_amount(line)]
    if not cents or len(known) < len(cents) or not _is_amount(amount) or sum(known) == amount:
        return []
    detail = f"is {amount}, but its invoices sum to {sum(known)}"
    return [Fault(pointer="/data/amount_cents", code="sum_differs", detail=detail)]


def _is_amount(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MAX_CENTS


def _wrong_callback(data: Sent) -> list[Fault]:
    return [*_wrong_body(data.get("body", "")), *_wrong_headers(data.get("headers"))]


def _wrong_body(body: object) -> Iterable[Fault]:
    if not isinstance(body, str):
        return
    try:
        size = len(base64.b64decode(body, validate=True))
    except (binascii.Error, ValueError):
        yield Fault(pointer="/data/body", code="wrong_format", detail="must be base64")
        return
    if size > MAX_CALLBACK_BYTES:
        yield Fault(pointer="/data/body", code="too_long", detail=f"at most {MAX_CALLBACK_BYTES} bytes")


def _wrong_headers(headers: object) -> Iterable[Fault]:
    if not isinstance(headers, dict):
        return
    if len(headers) > MAX_CALLBACK_HEADERS:
        yield Fault(pointer="/data/headers", code="too_long", detail=f"at most {MAX_CALLBACK_HEADERS}")
    if any("\x00" in f"{name}{value}" for name, value in headers.items()):
        yield Fault(pointer="/data/headers", code="wrong_format", detail="has a NUL character")
