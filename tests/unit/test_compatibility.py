"""A change that takes something from a client is found; one that gives something is not."""

from __future__ import annotations

import copy
import json
from typing import Any, Final

import pytest

from tests.compatibility import breaks
from tests.contracts import RELEASED, broken, explained
from worker.web.contracts.files import files

BEFORE: Final[dict[str, Any]] = {
    "paths": {
        "/things/{id}": {
            "get": {
                "security": [{"token": ["read"]}],
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
                    {"name": "view", "in": "query", "required": False, "schema": {"enum": ["a", "b"]}},
                ],
                "responses": {
                    "200": {
                        "headers": {"X-Kept": {"schema": {"type": "string"}}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                    },
                    "404": {"content": {"application/problem+json": {"schema": {"enum": ["gone"]}}}},
                },
            },
            "put": {
                "security": [],
                "parameters": [],
                "requestBody": {
                    "required": False,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Asked"}}},
                },
                "responses": {"202": {}},
            },
        }
    },
    "webhooks": {
        "thing.changed": {
            "post": {
                "parameters": [{"name": "webhook-id", "in": "header", "required": True, "schema": {"type": "string"}}],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}},
            }
        }
    },
    "components": {
        "schemas": {
            "Thing": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "state": {"$ref": "#/components/schemas/State"},
                    "label": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    "parts": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["id", "state", "label", "parts"],
            },
            "State": {"enum": ["new", "old"]},
            "Asked": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[a-z]+$"},
                    "cents": {"type": "integer", "minimum": 1, "maximum": 10},
                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
                "required": ["name"],
                "additionalProperties": False,
            },
        }
    },
}
GET: Final = ("paths", "/things/{id}", "get")
PUT: Final = ("paths", "/things/{id}", "put")
SHAPES: Final = ("components", "schemas")
THING: Final = (*SHAPES, "Thing")
ASKED: Final = (*SHAPES, "Asked")
GONE: Final = "(gone)"


def changed(*changes: tuple[tuple[str | int, ...], object]) -> dict[str, Any]:
    """The document with something else, or nothing, at each of these places."""
    document = copy.deepcopy(BEFORE)
    for path, value in changes:
        inside: Any = document
        for part in path[:-1]:
            inside = inside[part]
        if value == GONE:
            del inside[path[-1]]
        else:
            inside[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("paths", "/things/{id}"), GONE, "GET /things/{id}: is gone"),
        (GET, GONE, "GET /things/{id}: is gone"),
        (("webhooks", "thing.changed"), GONE, "thing.changed: is gone"),
        ((*GET, "security"), [{"token": ["admin"]}], "needs another token or scope"),
        ((*PUT, "security"), [{"token": []}], "needs another token or scope"),
        ((*GET, "parameters"), BEFORE["paths"]["/things/{id}"]["get"]["parameters"][:1], "parameter view is gone"),
        ((*GET, "parameters", 1, "required"), True, "parameter view has to be sent"),
        ((*GET, "parameters", 1, "schema"), {"enum": ["a"]}, "parameter view: 'b' is in the old document alone"),
        ((*GET, "parameters", 0, "schema"), {"type": "integer"}, "parameter id: string in the old document, integer"),
        ((*GET, "responses", "200"), GONE, "answer 200 is gone"),
        ((*GET, "responses", "200", "headers"), {}, "header X-Kept is gone"),
        ((*GET, "responses", "200", "content"), {"text/plain": {}}, "answer 200 as application/json is gone"),
        ((*PUT, "requestBody", "required"), True, "a body has to be sent"),
        ((*PUT, "requestBody", "content"), {"text/plain": {}}, "body as application/json is gone"),
        ((*THING, "properties", "id"), GONE, "answer 200/id: is gone"),
        ((*THING, "properties", "id"), {"type": "integer"}, "answer 200/id: integer in the new document, string"),
        ((*THING, "properties", "id"), {"anyOf": [{"type": "string"}, {"type": "null"}]}, "answer 200/id: null in the"),
        ((*THING, "properties", "parts", "items"), {"type": "string"}, "answer 200/parts[]: string in the new"),
        ((*THING, "required"), ["id", "state", "parts"], "answer 200/label: is required in the old document, not"),
        ((*SHAPES, "State", "enum"), ["new", "old", "lost"], "answer 200/state: 'lost' is in the new document alone"),
        ((*SHAPES, "State", "enum"), ["new"], "answer 200/state: 'old' is in the old document alone"),
        ((*SHAPES, "State"), {"type": "string"}, "answer 200/state: any value in the new document"),
        (("webhooks", "thing.changed", "post", "parameters"), [], "thing.changed: header webhook-id is gone"),
        ((*ASKED, "required"), ["name", "cents"], "json/cents: is required in the new document, not in the old one"),
        ((*ASKED, "properties", "cents"), GONE, "json/cents: is known in the old document alone"),
        ((*ASKED, "properties", "cents", "maximum"), 9, "json/cents: maximum 10 in the old document, 9 in the new"),
        ((*ASKED, "properties", "cents", "minimum"), 2, "json/cents: minimum 1 in the old document, 2 in the new"),
        ((*ASKED, "properties", "name", "maxLength"), 99, "json/name: maxLength 100 in the old document, 99"),
        ((*ASKED, "properties", "name", "pattern"), "^[a-f]+$", "json/name: pattern is not the same"),
        ((*ASKED, "properties", "name", "format"), "uri", "json/name: format is not the same"),
        ((*ASKED, "properties", "note"), {"type": "string"}, "json/note: null in the old document, string"),
    ],
    ids=str,
)
def test_what_breaks_a_client_is_found(path: tuple[str | int, ...], value: object, said: str) -> None:
    """Each kind of break, in words that say where it is."""
    found = breaks(BEFORE, changed((path, value)))
    assert any(said in line for line in found), found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("paths", "/others"), BEFORE["paths"]["/things/{id}"]),
        ((*GET, "security"), []),
        ((*GET, "security"), [{"token": []}]),
        ((*GET, "parameters", 1, "schema"), {"enum": ["a", "b", "c"]}),
        ((*GET, "parameters", 1, "schema"), {"type": "string"}),
        ((*GET, "responses", "404"), GONE),
        ((*GET, "responses", "409"), {}),
        ((*GET, "responses", "404", "content", "application/problem+json", "schema"), {"enum": ["gone", "never"]}),
        ((*GET, "responses", "200", "headers", "X-New"), {}),
        ((*GET, "summary"), "Other words"),
        ((*THING, "description"), "Other words"),
        ((*THING, "properties", "more"), {"type": "string"}),
        ((*THING, "properties", "label"), {"type": "string"}),
        ((*ASKED, "properties", "more"), {"type": "string"}),
        ((*ASKED, "properties", "cents", "maximum"), 11),
        ((*ASKED, "properties", "cents", "minimum"), GONE),
        ((*ASKED, "properties", "name", "pattern"), GONE),
        ((*ASKED, "required"), []),
        ((*ASKED, "additionalProperties"), GONE),
    ],
    ids=str,
)
def test_what_gives_a_client_more_breaks_nothing(path: tuple[str | int, ...], value: object) -> None:
    """More to ask with, less that is demanded, more that is answered, other words."""
    assert breaks(BEFORE, changed((path, value))) == []


def test_a_shape_by_another_name_is_the_same() -> None:
    """Clients never see what a shape is called."""
    renamed = json.loads(json.dumps(BEFORE).replace("Thing", "Item"))
    assert breaks(BEFORE, renamed) == []


def test_the_code_breaks_nobody_who_relies_on_the_released_contract() -> None:
    """Whatever does is named in docs/api/breaks.toml with its reason, and nothing else is named there."""
    assert sorted(broken()) == sorted(explained()), "mend it, or say it: see docs/api/README.md"
    assert all(why.strip() for why in explained().values())


def test_from_1_0_on_only_a_major_version_breaks() -> None:
    """CHANGELOG.md promises it."""
    released, current = (
        int(json.loads(document)["info"]["version"].split(".")[0])
        for document in (RELEASED.read_bytes(), files()["openapi.json"])
    )
    assert released == 0 or current > released or not broken()
