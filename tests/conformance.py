"""Whether a live answer is one that the OpenAPI document describes: its status, media type and body."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, Final

import jsonschema_rs

from tests.compatibility import Json, resolved
from worker.web.contracts.files import files
from worker.web.contracts.shapes import DRAFT

PROBLEM: Final = "application/problem+json"
ANYWHERE: Final = {"404": "not-found", "405": "method-not-allowed"}
"""What is answered where no operation is."""


@cache
def document() -> Json:
    """The code's OpenAPI document."""
    found: Json = json.loads(files()["openapi.json"])
    return found


@cache
def validator(schema: str) -> jsonschema_rs.Validator:
    """Judges values by a schema of the document, given as JSON."""
    whole = {"$schema": DRAFT, "components": document()["components"], **json.loads(schema)}
    return jsonschema_rs.validator_for(whole, validate_formats=True)


def faults(schema: Json, value: object) -> list[str]:
    """What is wrong with a value; empty when nothing is."""
    return [f"{error.instance_path}: {error.message}" for error in validator(json.dumps(schema)).iter_errors(value)]


def operation(method: str, path: str) -> Json | None:
    """What the document says of a request; None when no operation takes it."""
    for template, methods in document()["paths"].items():
        if re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^{}/]+", re.escape(template)), path) and method.lower() in methods:
            found: Json = methods[method.lower()]
            return found
    return None


def kinds(response: Json) -> list[str]:
    """The types of problems that a response may be."""
    content = resolved(document(), response).get("content", {})
    found: list[str] = content[PROBLEM]["schema"]["properties"]["type"]["enum"] if PROBLEM in content else []
    return found


def check(method: str, path: str, status: int, media_type: str, body: bytes) -> None:
    """Compare one answer with the document. HEAD, which it says nothing of, is answered as GET is.

    Raises:
        AssertionError: it is another than is described.
    """
    if method == "HEAD":
        assert not body
        return
    about = f"{method} {path}: {status}"
    described = operation(method, path)
    responses = (
        {status: {"$ref": f"#/components/responses/{slug}"} for status, slug in ANYWHERE.items()}
        if described is None
        else described["responses"]
    )
    assert str(status) in responses, f"{about} is not described"
    content = resolved(document(), responses[str(status)]).get("content", {})
    if not content:
        assert not body, about
        return
    assert media_type in content, f"{about} is not described as {media_type}"
    if media_type.endswith("json"):
        value: Any = json.loads(body)
        assert not faults(content[media_type]["schema"], value), (about, faults(content[media_type]["schema"], value))
