"""The contracts as files: what web serves, and what `make contracts` writes to docs/api."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from worker.web.contracts.asyncapi import asyncapi
from worker.web.contracts.events import schemas_of_events, schemas_of_notifications
from worker.web.contracts.openapi import openapi
from worker.web.contracts.page import rendered
from worker.web.contracts.shapes import DRAFT, Schema

URN = "urn:lettrage:schema:"
"""A schema's name, not its address: it stays the same wherever Lettrage is installed."""


@cache
def files() -> Mapping[str, bytes]:
    """Every document by its path, the same in docs/api and under this server's root."""
    made: dict[str, Any] = {"openapi.json": openapi(), "asyncapi.json": asyncapi()}
    for event, schema in schemas_of_events():
        made[f"schemas/events/{event}.json"] = _named(event, schema)
    for told, schema in schemas_of_notifications():
        made[f"schemas/notifications/{told}.json"] = _named(told, schema)
    return {path: _written(document) for path, document in made.items()}


@cache
def page() -> bytes:
    """The OpenAPI document as a page to read."""
    return rendered(json.loads(files()["openapi.json"]))


def _named(name: str, schema: Schema) -> Schema:
    return {"$schema": DRAFT, "$id": URN + name} | schema


def _written(document: object) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=2).encode() + b"\n"
