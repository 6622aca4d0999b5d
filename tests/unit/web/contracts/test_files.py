"""The committed contracts are the code's, and say what is true."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from openapi_spec_validator import validate

from schemas.events import DATA, MAX_CALLBACK_BYTES, MAX_CALLBACK_HEADERS, MAX_CENTS, MAX_LINES, OURS, EventType
from schemas.notifications import NotificationType
from tests import conformance
from tests.compatibility import resolved
from tests.contracts import committed
from worker.web.cloudevents import MAX_BATCH, Attributes
from worker.web.contracts.examples import EVENTS, NOTIFICATIONS_TOLD
from worker.web.contracts.files import files
from worker.web.contracts.openapi import OPERATIONS
from worker.web.problems import KINDS

OPENAPI: dict[str, Any] = json.loads(files()["openapi.json"])
ASYNCAPI: dict[str, Any] = json.loads(files()["asyncapi.json"])
SCHEMAS = {path: json.loads(body) for path, body in files().items() if path.startswith("schemas/")}
SHAPES: dict[str, Any] = OPENAPI["components"]["schemas"]


def references(value: object) -> list[str]:
    """Every reference in a document."""
    if isinstance(value, list):
        return [found for item in value for found in references(item)]
    if not isinstance(value, dict):
        return []
    mine = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return mine + [found for item in value.values() for found in references(item)]


def patterns(value: object) -> list[str]:
    """Every pattern in a document."""
    if isinstance(value, list):
        return [found for item in value for found in patterns(item)]
    if not isinstance(value, dict):
        return []
    mine = [value["pattern"]] if isinstance(value.get("pattern"), str) else []
    return mine + [found for item in value.values() for found in patterns(item)]


def test_what_is_committed_is_what_the_code_says() -> None:
    """docs/api byte for byte; `make contracts` writes it."""
    there, made = committed(), files()
    assert there.keys() == made.keys()
    assert [path for path in made if there[path] != made[path]] == [], "run `make contracts`"


def test_the_openapi_document_is_one() -> None:
    """As OpenAPI 3.1's own schema and rules say."""
    validate(OPENAPI)
    assert OPENAPI["openapi"].startswith("3.1")


def test_every_operation_has_a_name_and_a_known_tag() -> None:
    """Names are unique, tags are explained, and each part of an address is a parameter."""
    names = [operation.name for operation in OPERATIONS]
    assert len(set(names)) == len(names)
    assert {operation.tag for operation in OPERATIONS} == {tag["name"] for tag in OPENAPI["tags"]} - {"Notifications"}
    for operation in OPERATIONS:
        parts = {parameter.name for parameter in operation.parameters if parameter.where == "path"}
        assert parts == set(re.findall(r"{(\w+)}", operation.path)), operation.path


def test_every_kind_of_problem_is_answered_somewhere() -> None:
    """And each with the status that it always has; docs/errors.md lists the same."""
    documented = {
        (kind, int(status))
        for methods in OPENAPI["paths"].values()
        for operation in methods.values()
        for status, response in operation["responses"].items()
        for kind in conformance.kinds(response)
    }
    nowhere = {("urn:lettrage:problem:method-not-allowed", 405)}
    assert documented | nowhere == {(kind.type, kind.status) for kind in KINDS}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_s_examples_are_of_that_shape(name: str) -> None:
    """In OpenAPI."""
    for example in SHAPES[name].get("examples", ()):
        assert conformance.faults({"$ref": f"#/components/schemas/{name}"}, example) == []


def test_nothing_is_described_that_nothing_refers_to() -> None:
    """Every shape is used, every reference leads somewhere; an archive's event is named in words."""
    for document in (OPENAPI, ASYNCAPI, *SCHEMAS.values()):
        for reference in references(document):
            assert resolved(document, {"$ref": reference})
    used = {reference.removeprefix("#/components/schemas/") for reference in references(OPENAPI)}
    assert SHAPES.keys() - used == {"ArchivedEvent"}


@pytest.mark.parametrize("path", SCHEMAS)
def test_a_schema_stands_alone_with_its_example(path: str) -> None:
    """It is draft 2020-12, has a name of its own, and takes its example: that of its type."""
    schema = SCHEMAS[path]
    jsonschema_rs.meta.validate(schema)
    kind = path.rpartition("/")[2].removesuffix(".json")
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:lettrage:schema:{kind}"
    assert [example["type"] for example in schema["examples"]] == [kind]
    for example in schema["examples"]:
        jsonschema_rs.validate(schema, example, validate_formats=True)


def test_every_type_has_its_schema_and_example() -> None:
    """Of events, those that only Lettrage writes included, and of notifications."""
    assert SCHEMAS.keys() == {f"schemas/events/{kind}.json" for kind in EventType} | {
        f"schemas/notifications/{kind}.json" for kind in NotificationType
    }
    assert {example["type"] for example in EVENTS} == set(EventType)
    assert {kind: example["type"] for kind, example in NOTIFICATIONS_TOLD.items()} == {k: k for k in NotificationType}


def test_patterns_are_those_of_every_language() -> None:
    r"""None has what only Python's `re` understands, as `\Z` is."""
    found = set(patterns(OPENAPI))
    assert found
    for pattern in found:
        assert not re.search(r"\\[ZA]|\(\?[P<#]|\(\?[aiLmsux]", pattern), pattern


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"data": {"amount_cents": MAX_CENTS + 1}}, "amount_cents"),
        ({"data": {"amount_cents": 0}}, "amount_cents"),
        ({"data": {"amount_cents": 12.5}}, "amount_cents"),
        ({"data": {"reference": ""}}, "reference"),
        ({"data": {"reference": "P\n"}}, "reference"),
        ({"data": {"reference": "P" * 101}}, "reference"),
        ({"data": {"regie": "Enfance"}}, "regie"),
        ({"data": {"surprise": 1}}, "data"),
        ({"data": {"invoices": []}}, "invoices"),
        ({"data": {"invoices": [{"number": "F", "amount_cents": 1}] * (MAX_LINES + 1)}}, "invoices"),
        ({"id": "x" * 201}, "id"),
        ({"source": ""}, "source"),
        ({"specversion": "0.3"}, "specversion"),
        ({"time": "yesterday"}, "time"),
        ({"data_base64": "e30="}, ""),
        ({"Extension": "x"}, ""),
        ({"extension": [1]}, "extension"),
    ],
    ids=str,
)
def test_what_the_code_refuses_the_schema_refuses(change: dict[str, Any], pointer: str) -> None:
    """The limits of a payment-started and of its attributes are in its schema."""
    schema = SCHEMAS["schemas/events/fr.lettrage.payment.started.v1.json"]
    (example,) = schema["examples"]
    wrong = example | change | {"data": example["data"] | change.get("data", {})}
    errors = list(jsonschema_rs.validator_for(schema, validate_formats=True).iter_errors(wrong))
    assert any(pointer in [*map(str, error.instance_path), ""] for error in errors), errors


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({"body": "e30="}, True),
        ({"body": "A" * (-(-MAX_CALLBACK_BYTES // 3) * 4)}, True),
        ({"body": "A" * (-(-MAX_CALLBACK_BYTES // 3) * 4 + 4)}, False),
        ({"body": "e30"}, False),
        ({"query": "q" * (MAX_CALLBACK_BYTES + 1)}, False),
        ({"headers": {f"x-{n}": "" for n in range(MAX_CALLBACK_HEADERS)}}, True),
        ({"headers": {f"x-{n}": "" for n in range(MAX_CALLBACK_HEADERS + 1)}}, False),
        ({"headers": {"x": "\x00"}}, False),
        ({"method": "PUT"}, False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_limits_of_a_callback_are_in_its_schema(change: dict[str, Any], fits: bool) -> None:  # noqa: FBT001
    """Those that are checked elsewhere than in its struct, too."""
    schema = SCHEMAS["schemas/events/fr.lettrage.gateway.callback.v1.json"]
    (example,) = schema["examples"]
    assert jsonschema_rs.is_valid(schema, example | {"data": example["data"] | change}) is fits


def test_what_we_say_has_all_its_fields() -> None:
    """Clients may count on each; only what leaves out its defaults does not have all."""
    assert SHAPES["DiscrepancyView"]["required"] == list(SHAPES["DiscrepancyView"]["properties"])
    assert SHAPES["Problem"]["required"] == ["type", "title", "status"]
    assert SHAPES["PaymentStarted"]["required"] == ["regie", "reference", "amount_cents", "invoices"]
    assert SHAPES["EventBatch"]["maxItems"] == MAX_BATCH


def test_what_stands_under_a_field_describes_it() -> None:
    """In the struct that has the field, or in the one that it comes from."""
    described = SCHEMAS["schemas/events/fr.lettrage.payment.timed_out.v1.json"]["properties"]
    assert described["time"]["description"] == "When it happened; left out: when it is received."
    assert described["lettrageclient"]["description"].startswith("Empty: a gateway")
    assert {field.encode_name for field in msgspec.structs.fields(Attributes)} <= described.keys()


def test_the_asyncapi_document_is_whole() -> None:
    """Version 3's required parts, and messages, channels and operations that name each other."""
    assert (ASYNCAPI["asyncapi"], ASYNCAPI["info"].keys() >= {"title", "version"}) == ("3.0.0", True)
    messages = ASYNCAPI["components"]["messages"]
    outside = set(EventType) - OURS
    assert messages.keys() == outside | set(NotificationType)
    by_channel = {name: set(channel["messages"]) for name, channel in ASYNCAPI["channels"].items()}
    assert by_channel == {"events": outside, "notifications": set(NotificationType)}
    for name, operation in ASYNCAPI["operations"].items():
        channel = operation["channel"]["$ref"].removeprefix("#/channels/")
        assert (operation["action"], channel) == {
            "receiveEvents": ("receive", "events"),
            "sendNotifications": ("send", "notifications"),
        }[name]
        assert {each["$ref"].rpartition("/")[2] for each in operation["messages"]} == by_channel[channel]
    for kind, message in messages.items():
        assert message["name"] == kind
        assert SHAPES[message["payload"]["$ref"].rpartition("/")[2]]["examples"] == [
            example["payload"] for example in message["examples"]
        ]


def test_both_documents_mean_the_same() -> None:
    """A shape that both have is the same in both."""
    shared = ASYNCAPI["components"]["schemas"]
    assert {DATA[kind].__name__ for kind in set(EventType) - OURS} <= shared.keys()
    for name, schema in shared.items():
        assert schema == SHAPES[name]
