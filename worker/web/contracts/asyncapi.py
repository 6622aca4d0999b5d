"""The AsyncAPI 3 document: the events that Lettrage receives, and the notifications that it sends."""

from importlib.metadata import version
from typing import Any, Final

from schemas.events import EventType
from schemas.notifications import NotificationType
from worker.web.cloudevents import SHAPES, STRUCTURED
from worker.web.contracts.describing import JSON
from worker.web.contracts.events import about, add_event, add_notification, shapes
from worker.web.contracts.examples import EVENTS, NOTIFICATIONS_TOLD
from worker.web.contracts.openapi import ABOUT, HOOK_HEADERS, HOOKS, TAGS, TRACE_HEADERS
from worker.web.contracts.shapes import Schema, Shapes

BINDING: Final = {"http": {"method": "POST", "bindingVersion": "0.3.0"}}


def asyncapi() -> dict[str, Any]:
    """The whole document, as JSON is built of."""
    found = shapes("#/components/schemas/")
    events = {kind.value: _event(kind, add_event(found, kind)) for kind in SHAPES}
    notifications = {kind.value: _notification(found, kind) for kind in NotificationType}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lettrage",
            "version": version("lettrage"),
            "description": ABOUT,
            "license": {"name": "AGPL-3.0-or-later"},
        },
        "defaultContentType": JSON,
        "servers": {
            "lettrage": _server("127.0.0.1:8080", "http", "This installation, which takes events"),
            "portal": _server("portail.example", "https", "A régie's portal, as `[regie.portal]` names it"),
        },
        "channels": {
            "events": _channel("lettrage", "/v1/events", TAGS["Events"], events),
            "notifications": _channel("portal", None, TAGS["Notifications"], notifications),
        },
        "operations": {
            "receiveEvents": _operation("receive", "events", events)
            | {"security": [{"$ref": "#/components/securitySchemes/token"}]},
            "sendNotifications": _operation("send", "notifications", notifications),
        },
        "components": {
            "messages": events | notifications,
            "schemas": dict(sorted(found.named.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _server(host: str, protocol: str, said: str) -> dict[str, Any]:
    return {
        "host": "{host}",
        "protocol": protocol,
        "description": said,
        "variables": {"host": {"default": host, "description": "Name or address, and port"}},
    }


def _channel(server: str, address: str | None, said: str, messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": address,
        "description": said,
        "servers": [{"$ref": f"#/servers/{server}"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }


def _operation(action: str, channel: str, messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
        "bindings": BINDING,
    }


def _event(kind: EventType, payload: Schema) -> dict[str, Any]:
    return {
        "name": kind.value,
        "title": kind.value,
        "summary": about(kind),
        "contentType": STRUCTURED,
        "payload": payload,
        "examples": [{"payload": example} for example in EVENTS if example["type"] == kind],
    }


def _notification(found: Shapes, kind: NotificationType) -> dict[str, Any]:
    return {
        "name": kind.value,
        "title": kind.value,
        "summary": HOOKS[kind],
        "contentType": JSON,
        "headers": {
            "type": "object",
            "properties": {
                name: {"type": "string", "description": said} for name, said in (HOOK_HEADERS | TRACE_HEADERS).items()
            },
            "required": list(HOOK_HEADERS),
        },
        "payload": add_notification(found, kind),
        "examples": [{"payload": NOTIFICATIONS_TOLD[kind]}],
    }
