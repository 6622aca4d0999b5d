"""The OpenAPI 3.1 document: every route as its module describes it, every notification as a webhook."""

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any, Final

from schemas.notifications import NotificationType
from worker.settings import SCOPES
from worker.web import admin, callbacks, documents, events, notifications, operations, reading, replays
from worker.web.contracts.describing import Answer, Body, Component, Operation, Parameter
from worker.web.contracts.events import add_events, add_notification, shapes
from worker.web.contracts.shapes import DRAFT, Schema, Shapes
from worker.web.problems import KINDS, MEDIA_TYPE, RETRY_AFTER_SECONDS, Kind, Problem

OPERATIONS: Final[tuple[Operation, ...]] = (
    *events.OPERATIONS,
    *callbacks.OPERATIONS,
    *reading.OPERATIONS,
    *admin.OPERATIONS,
    *replays.OPERATIONS,
    *notifications.OPERATIONS,
    *operations.OPERATIONS,
    *documents.OPERATIONS,
)
"""Every operation, in the order in which a reader meets them."""

TAGS: Final = {
    "Events": "Facts from portals and other programs of the town. An event is stored before it is answered.",
    "Callbacks": "Facts from gateways.",
    "Reading": (
        "States, by the database's clock: a hold that is over reads so, whether it is written or not. A parameter that "
        "is not described here is refused, not ignored."
    ),
    "Administration": "For people who look after an installation; scope `admin`.",
    "Operations": "For whoever runs the processes.",
    "Documents": "These contracts, to be read by programs and people. No token is asked for.",
    "Notifications": (
        "What Lettrage tells a régie's portal, by Standard Webhooks. Verify the signature over the body as it came; "
        "answer 2xx within 15 s. The same notification may come again, with the same `webhook-id`; of an invoice's, "
        "the highest `version` is its truth."
    ),
}
ABOUT: Final = """Lettrage keeps a municipal portal's invoices in step with its payment gateways: an invoice is held \
while a family pays, paid when the gateway proves it, and payable again on time when no money came.

JSON is UTF-8 in snake_case. Times are RFC 3339 in UTC. Money is in whole cents of EUR, written as a JSON integer: \
`4250`, never `4250.0`. What is answered may have more members tomorrow: ignore those that you do not know.

Every error is an RFC 9457 problem with a stable `type`; new ones may come, whose status says what kind they are."""

HOOK_HEADERS: Final = {
    "webhook-id": "The notification's own, however often it is sent.",
    "webhook-timestamp": "When this attempt was made, in seconds since 1970.",
    "webhook-signature": "`v1,` and the HMAC-SHA256 in base64; while a secret changes two of them, a space between.",
}
TRACE_HEADERS: Final = {
    "traceparent": "The W3C trace of the event that the change came from, or of its payment's start, if there is one.",
}
"""Headers that a notification may have."""


def openapi() -> dict[str, Any]:
    """The whole document, as JSON is built of."""
    found = shapes("#/components/schemas/")
    add_events(found)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(found, operation)
    hooks = {kind.value: {"post": _webhook(found, kind)} for kind in NotificationType}
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DRAFT,
        "info": {
            "title": "Lettrage",
            "summary": "Reconciles a portal's invoices with what its payment gateways say",
            "description": ABOUT,
            "version": version("lettrage"),
            "license": {"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"},
        },
        "servers": [{"url": "/", "description": "This installation"}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "paths": paths,
        "webhooks": hooks,
        "components": {
            "schemas": dict(sorted(found.named.items())),
            "responses": {kind.slug: _refusal(found, [kind]) for kind in KINDS},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": (
                        f"A client's token, with the scope that the operation names ({', '.join(SCOPES)}) and the "
                        "régie that it is about. `lettrage token` makes one."
                    ),
                }
            },
        },
    }


def _operation(found: Shapes, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "security": [] if operation.scope is None else [{"token": [operation.scope]}],
        "parameters": [_parameter(found, each) for each in operation.parameters],
        "responses": _responses(found, operation),
    }
    if operation.about:
        described["description"] = operation.about
    if operation.body is not None:
        described["requestBody"] = _body(found, operation.body)
    return described


def _parameter(found: Shapes, parameter: Parameter) -> dict[str, Any]:
    described = {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required,
        "description": parameter.about,
        "schema": found.received(parameter.shape),
    }
    return described if parameter.example is None else described | {"example": parameter.example}


def _body(found: Shapes, body: Body) -> dict[str, Any]:
    content = {media_type: {"schema": _received(found, shape)} for media_type, shape in body.shapes.items()}
    return {"description": body.about, "required": body.required, "content": content}


def _received(found: Shapes, shape: object) -> Schema:
    if shape is None:
        return {}
    return {"$ref": found.where + shape.name} if isinstance(shape, Component) else found.received(shape)


def _responses(found: Shapes, operation: Operation) -> dict[str, Any]:
    """By status: what is answered when all went well, and the problems."""
    responses = {str(answer.status): _answer(found, answer) for answer in operation.answers}
    for status in sorted({kind.status for kind in operation.kinds}):
        kinds = [kind for kind in operation.kinds if kind.status == status]
        if (known := responses.get(str(status))) is not None:
            known["content"] |= _refusal(found, kinds)["content"]
        elif len(kinds) == 1:
            responses[str(status)] = {"$ref": f"#/components/responses/{kinds[0].slug}"}
        else:
            responses[str(status)] = _refusal(found, kinds)
    return dict(sorted(responses.items()))


def _answer(found: Shapes, answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.about}
    if answer.media_type is not None:
        described["content"] = {answer.media_type: {"schema": _sent(found, answer.shape)}}
    if answer.headers:
        described["headers"] = {
            name: {"description": about, "schema": {"type": "string"}} for name, about in answer.headers.items()
        }
    return described


def _sent(found: Shapes, shape: Any) -> Schema:  # noqa: ANN401 (a type, of any form)
    if shape is None:
        return {"type": "string"}
    if isinstance(shape, tuple):
        return {"anyOf": [found.sent(each) for each in shape]}
    return found.sent(shape)


def _refusal(found: Shapes, kinds: Sequence[Kind]) -> dict[str, Any]:
    """A problem of one of these kinds, which have one status."""
    schema = found.sent(Problem) | {
        "properties": {"type": {"enum": [kind.type for kind in kinds]}, "status": {"const": kinds[0].status}}
    }
    described: dict[str, Any] = {
        "description": "; ".join(kind.title for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": schema}},
    }
    if headers := _headers_of(kinds):
        described["headers"] = headers
    return described


def _headers_of(kinds: Iterable[Kind]) -> dict[str, Any]:
    if any(kind.type in RETRY_AFTER_SECONDS for kind in kinds):
        return {"Retry-After": {"description": "Seconds after which to send it again", "schema": {"type": "integer"}}}
    return {}


def _webhook(found: Shapes, kind: NotificationType) -> dict[str, Any]:
    return {
        "operationId": kind.value,
        "tags": ["Notifications"],
        "summary": HOOKS[kind],
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": name in HOOK_HEADERS,
                "description": about,
                "schema": {"type": "string"},
            }
            for name, about in (HOOK_HEADERS | TRACE_HEADERS).items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": add_notification(found, kind)}},
        },
        "responses": {
            "2XX": {"description": "Taken; nothing of the body is read"},
            "410": {"description": "The portal wants no more notifications"},
            "default": {"description": "Sent again later, for days; `Retry-After` is honoured"},
        },
    }


HOOKS: Final = {
    NotificationType.INVOICE_PAYABLE: "An invoice is payable",
    NotificationType.INVOICE_IN_PAYMENT: "An invoice is held while a family pays it",
    NotificationType.INVOICE_PAID: "An invoice is paid",
    NotificationType.INVOICE_REACTIVATED: "An invoice was in payment, and is payable again",
    NotificationType.INVOICE_WITHDRAWN: "An invoice is no longer owed",
    NotificationType.DISCREPANCY_OPENED: "A discrepancy opened, or grew",
    NotificationType.DISCREPANCY_RESOLVED: "A discrepancy is done with",
}
