"""Events and notifications whole, as they stand in a request's body: what no single struct of ours has.

A CloudEvent of a type is its attributes with that type's data in it; a notification is its struct with its type said.
"""

from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct

from schemas.events import DATA, OURS, EventType
from schemas.notifications import NOTIFICATIONS, NotificationType
from worker.web.cloudevents import EXTENSION, MAX_AGE, MAX_AHEAD, MAX_BATCH, SHAPES, Archived, Attributes
from worker.web.contracts.describing import ARCHIVED_EVENT, EVENT, EVENT_BATCH, EVENT_DATA
from worker.web.contracts.examples import EVENTS, NOTIFICATIONS_TOLD, OF_STRUCTS
from worker.web.contracts.shapes import Schema, Shapes

_NO_MODE: Final = {"specversion": {"const": "1.0"}}
_DATA_ONCE: Final = [
    {"required": ["data"]},
    {"required": ["data_base64"], "properties": {"data_base64": {"type": "string"}}},
]
_EXTENSIONS: Final = {
    "propertyNames": {"pattern": f"^({EXTENSION.pattern}|data_base64)$"},
    "additionalProperties": {"type": ["string", "integer", "boolean", "null"]},
}


def shapes(where: str) -> Shapes:
    """An empty collection that knows our examples."""
    return Shapes(where, OF_STRUCTS)


def add_events(found: Shapes) -> None:
    """Name every event that may be sent, and the unions of them."""
    kinds = list(SHAPES)
    found.add(EVENT.name, _any_of_type({kind: add_event(found, kind) for kind in kinds}, EVENT.name))
    found.add(
        EVENT_BATCH.name,
        {
            "title": EVENT_BATCH.name,
            "description": "Each is judged by itself: one that is wrong is answered `rejected`, the others stand.",
            "type": "array",
            "items": {"$ref": found.where + EVENT.name},
            "maxItems": MAX_BATCH,
        },
    )
    found.add(
        EVENT_DATA.name,
        {
            "title": EVENT_DATA.name,
            "description": "The data of an event, whose type is in the header `ce-type`.",
            "anyOf": [found.received(SHAPES[kind]) for kind in kinds],
        },
    )
    found.add(ARCHIVED_EVENT.name, _any_archived(found))


def add_event(found: Shapes, kind: EventType) -> Schema:
    """Name the event of a type as clients send it."""
    return found.add(f"{DATA[kind].__name__}Event", _event(found, kind, Attributes))


def add_archived(found: Shapes, kind: EventType) -> Schema:
    """Name the event of a type as `lettrage events list --json` prints it, and as an archive is taken in."""
    return found.add(f"Archived{DATA[kind].__name__}Event", _event(found, kind, Archived))


def add_notification(found: Shapes, kind: NotificationType) -> Schema:
    """Name the body of a notification of a type."""
    whole = dict(Shapes(found.where, {}).of_struct(NOTIFICATIONS[kind]))
    found.sent(NOTIFICATIONS[kind])
    base = found.named.pop(NOTIFICATIONS[kind].__name__)
    name = "".join(part.title() for part in kind.replace("_", ".").split(".")) + "Notification"
    return found.add(
        name,
        whole
        | base
        | {
            "title": name,
            "properties": base["properties"] | {"type": {"const": kind.value}},
            "examples": [NOTIFICATIONS_TOLD[kind]],
        },
    )


def about(kind: EventType) -> str:
    """What an event of a type says, and what its time may be."""
    said = (DATA[kind].__doc__ or "").strip()
    if kind is EventType.PAYMENT_STARTED:
        hours = int(MAX_AHEAD.total_seconds() // 3600)
        said += f" Its `time` is at most {hours} h ahead of the database's clock, and {MAX_AGE.days} days behind."
    return said


def schemas_of_events() -> Iterator[tuple[EventType, Schema]]:
    """A schema by itself for each type of event; ours are as an archive has them."""
    for kind in EventType:
        found = shapes("#/$defs/")
        add = add_archived if kind in OURS else add_event
        yield kind, _alone(found, add(found, kind))


def schemas_of_notifications() -> Iterator[tuple[NotificationType, Schema]]:
    """A schema by itself for each type of notification."""
    for kind in NotificationType:
        found = shapes("#/$defs/")
        yield kind, _alone(found, add_notification(found, kind))


def _alone(found: Shapes, reference: Schema) -> Schema:
    schema = found.named.pop(reference["$ref"].removeprefix(found.where))
    return schema | {"$defs": found.named}


def _event(found: Shapes, kind: EventType, attributes: type[Struct]) -> Schema:
    base = Shapes(found.where, {}).of_struct(attributes)
    said: dict[str, Any] = base["properties"] | _NO_MODE | {"type": {"const": kind.value}}
    return {
        "title": kind.value,
        "description": about(kind),
        "type": "object",
        "properties": said | {"data": found.received(DATA[kind])},
        "required": base["required"],
        "oneOf": _DATA_ONCE,
        **_EXTENSIONS,
        "examples": [example for example in EVENTS if example["type"] == kind],
    }


def _any_archived(found: Shapes) -> Schema:
    """One shape for all: an archive is printed by Lettrage, and read by nobody else."""
    of_all = {"type": {"enum": list(DATA)}, "data": {"anyOf": [found.received(shape) for shape in DATA.values()]}}
    base = Shapes(found.where, {}).of_struct(Archived)
    return {
        "title": ARCHIVED_EVENT.name,
        "description": "An event as `lettrage events list --json` prints it, and as an archive is taken in.",
        "type": "object",
        "properties": base["properties"] | _NO_MODE | of_all,
        "required": base["required"],
        "oneOf": _DATA_ONCE,
        **_EXTENSIONS,
        "examples": [example for example in EVENTS if example["type"] in OURS],
    }


def _any_of_type(by_type: dict[EventType, Schema], name: str) -> Schema:
    return {
        "title": name,
        "description": "A CloudEvent 1.0 in structured mode; what its `data` is follows from its `type`.",
        "oneOf": list(by_type.values()),
        "discriminator": {
            "propertyName": "type",
            "mapping": {kind.value: reference["$ref"] for kind, reference in by_type.items()},
        },
    }
