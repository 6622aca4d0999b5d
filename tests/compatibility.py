"""What a new OpenAPI document takes away from the clients of an old one.

One question decides about schemas: what clients may send must not become narrower, what they are answered must not
become wider. `_outside` says why a value of one schema might be none of another; a keyword that it cannot weigh must be
the same on both sides. Beside that, nothing that clients know may disappear.

A notification is an answer that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

Json = Mapping[str, Any]

METHODS: Final = ("get", "post", "put", "patch", "delete")
PROBLEM: Final = "application/problem+json"
"""Its types may grow: clients are told to decide by the status when they do not know one."""

_SAID_ONLY: Final = frozenset(
    {"title", "description", "default", "examples", "deprecated", "discriminator", "$schema", "$id", "$defs"}
)
"""Keywords that no value is judged by."""
_LOWEST: Final = {"minimum": float("-inf"), "minLength": 0, "minItems": 0, "minProperties": 0}
_HIGHEST: Final = ("maximum", "maxLength", "maxItems", "maxProperties")
_WEIGHED: Final = frozenset(
    {*_LOWEST, *_HIGHEST, "type", "enum", "const", "properties", "required", "additionalProperties", "items"}
)
_ALTERNATIVES: Final = ("anyOf", "oneOf")
_TYPES: Final = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object", type(None): "null"}


class Side(NamedTuple):
    """A schema, the document that its references mean, and what that document is called in a report."""

    name: str
    document: Json
    schema: Json

    def at(self, schema: Json) -> Side:
        """Another schema of the same document, its reference followed."""
        return self._replace(schema=resolved(self.document, schema))


def breaks(old: Json, new: Json) -> list[str]:
    """Why clients of `old` might not get on with `new`, each in a line of its own; empty when they do."""
    return list(dict.fromkeys(_all(Side("old", old, {}), Side("new", new, {}))))


def resolved(document: Json, schema: Json) -> Json:
    """What a reference means, with what stands beside it."""
    if "$ref" not in schema:
        return schema
    found: Any = document
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return {**resolved(document, found), **{name: value for name, value in schema.items() if name != "$ref"}}


def _all(old: Side, new: Side) -> Iterator[str]:
    for where, compared in (("paths", _operation), ("webhooks", _webhook)):
        for path, methods in old.document.get(where, {}).items():
            for method in (each for each in METHODS if each in methods):
                name = f"{method.upper()} {path}" if where == "paths" else path
                found = new.document.get(where, {}).get(path, {}).get(method)
                if found is None:
                    yield f"{name}: is gone"
                else:
                    yield from compared(name, old.at(methods[method]), new.at(found))


def _operation(name: str, old: Side, new: Side) -> Iterator[str]:
    asked = new.schema["security"]
    for had in old.schema["security"] or [{}]:
        if asked and not any(_suffices(had, each) for each in asked):
            yield f"{name}: needs another token or scope"
    yield from _parameters(name, old, new)
    yield from _asked(name, old, new)
    yield from _answers(name, old, new)


def _webhook(name: str, old: Side, new: Side) -> Iterator[str]:
    kept = {parameter["name"] for parameter in new.schema["parameters"]}
    for parameter in old.schema["parameters"]:
        if parameter["name"] not in kept:
            yield f"{name}: header {parameter['name']} is gone"
    yield from _contents(f"{name}: body", old.at(old.schema["requestBody"]), new.at(new.schema["requestBody"]))


def _suffices(had: Json, asked: Json) -> bool:
    """Whether who has what was needed has what is needed now."""
    return all(name in had and set(scopes) <= set(had[name]) for name, scopes in asked.items())


def _parameters(name: str, old: Side, new: Side) -> Iterator[str]:
    known, found = _named(old.schema["parameters"]), _named(new.schema["parameters"])
    for key, parameter in known.items():
        at = f"{name}: parameter {key[1]}"
        if key not in found:
            yield f"{at} is gone"
        else:
            yield from _outside(at, old.at(parameter["schema"]), new.at(found[key]["schema"]))
    for key, parameter in found.items():
        if parameter["required"] and not known.get(key, {}).get("required", False):
            yield f"{name}: parameter {key[1]} has to be sent"


def _named(parameters: Sequence[Json]) -> dict[tuple[str, str], Json]:
    return {(parameter["in"], parameter["name"]): parameter for parameter in parameters}


def _asked(name: str, old: Side, new: Side) -> Iterator[str]:
    was, now = old.schema.get("requestBody", {}), new.schema.get("requestBody", {})
    if now.get("required", False) and not was.get("required", False):
        yield f"{name}: a body has to be sent"
    for media_type, content in was.get("content", {}).items():
        at = f"{name}: body as {media_type}"
        found = now.get("content", {}).get(media_type)
        if found is None:
            yield f"{at} is gone"
        else:
            yield from _outside(at, old.at(content.get("schema", {})), new.at(found.get("schema", {})))


def _answers(name: str, old: Side, new: Side) -> Iterator[str]:
    for status, answer in old.schema["responses"].items():
        at = f"{name}: answer {status}"
        found = new.schema["responses"].get(status)
        if found is not None:
            was, now = old.at(answer), new.at(found)
            yield from _contents(at, was, now)
            for header in was.schema.get("headers", {}).keys() - now.schema.get("headers", {}).keys():
                yield f"{at}: header {header} is gone"
        elif status < "4":
            yield f"{at} is gone"


def _contents(at: str, old: Side, new: Side) -> Iterator[str]:
    for media_type, content in old.schema.get("content", {}).items():
        found = new.schema.get("content", {}).get(media_type)
        if found is None:
            yield f"{at} as {media_type} is gone"
        elif media_type != PROBLEM:
            was, now = old.at(content["schema"]), new.at(found["schema"])
            yield from _lost(at, was, now)
            yield from _outside(at, now, was)


def _lost(at: str, old: Side, new: Side) -> Iterator[str]:
    """Members and values that clients know, and that are answered no longer."""
    was, now = old.schema, new.schema
    for value in _values(was) or ():
        if value not in (_values(now) or [value]):
            yield f"{at}: {value!r} is in the old document alone"
    for member, schema in was.get("properties", {}).items():
        known = now.get("properties", {}).get(member)
        if known is None:
            yield f"{at}/{member}: is gone"
        else:
            yield from _lost(f"{at}/{member}", old.at(schema), new.at(known))
    if "items" in was and "items" in now:
        yield from _lost(f"{at}[]", old.at(was["items"]), new.at(now["items"]))
    if (arms := _arms(old)) != [old]:
        for arm, other in zip(arms, _arms(new), strict=False):
            yield from _lost(at, arm, other)


def _outside(at: str, narrow: Side, wide: Side) -> Iterator[str]:
    """Why a value of `narrow` might be none of `wide`."""
    heres, theres = _arms(narrow), _arms(wide)
    if heres == [narrow] and theres == [wide]:
        yield from _differences(at, narrow, wide)
        return
    for here in heres:
        reasons = [list(_outside(at, here, there)) for there in theres]
        if all(reasons):
            yield from min(reasons, key=len)


def _arms(side: Side) -> list[Side]:
    """The alternatives of a schema; itself when it has none, or when they are about its members alone."""
    for key in _ALTERNATIVES:
        if key in side.schema and "properties" not in side.schema:
            return [side.at(arm) for arm in side.schema[key]]
    return [side]


def _differences(at: str, narrow: Side, wide: Side) -> Iterator[str]:
    here, there = _types(narrow.schema), _types(wide.schema)
    if there is not None and (here is None or not here <= there):
        yield f"{at}: {_words(here)} in the {narrow.name} document, {_words(there)} in the {wide.name} one"
        return
    yield from _other_values(at, narrow, wide)
    yield from _other_limits(at, narrow, wide)
    yield from _other_keywords(at, narrow, wide)
    for member in wide.schema.get("required", ()):
        if member not in narrow.schema.get("required", ()):
            yield f"{at}/{member}: is required in the {wide.name} document, not in the {narrow.name} one"
    yield from _other_members(at, narrow, wide)
    if "items" in wide.schema:
        yield from _outside(f"{at}[]", narrow.at(narrow.schema.get("items", {})), wide.at(wide.schema["items"]))


def _types(schema: Json) -> frozenset[str] | None:
    """The types that a value may have; None: any."""
    said = schema.get("type")
    if said is not None:
        return frozenset([said] if isinstance(said, str) else said)
    values = _values(schema)
    return None if values is None else frozenset(_TYPES[type(value)] for value in values)


def _values(schema: Json) -> list[Any] | None:
    """The only values that there are; None: any."""
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _other_values(at: str, narrow: Side, wide: Side) -> Iterator[str]:
    here, there = _values(narrow.schema), _values(wide.schema)
    if there is None:
        return
    if here is None:
        yield f"{at}: any value in the {narrow.name} document, only {there} in the {wide.name} one"
        return
    for value in here:
        if value not in there:
            yield f"{at}: {value!r} is in the {narrow.name} document alone"


def _other_limits(at: str, narrow: Side, wide: Side) -> Iterator[str]:
    here, there = narrow.schema, wide.schema
    for key in (*_LOWEST, *_HIGHEST):
        if key not in there:
            continue
        nothing = _LOWEST.get(key, float("inf"))
        mine = here.get(key, nothing)
        if mine < there[key] if key in _LOWEST else mine > there[key]:
            yield f"{at}: {key} {mine} in the {narrow.name} document, {there[key]} in the {wide.name} one"


def _other_keywords(at: str, narrow: Side, wide: Side) -> Iterator[str]:
    for key in sorted(wide.schema.keys() - _WEIGHED - _SAID_ONLY):
        if narrow.schema.get(key) != wide.schema[key]:
            yield f"{at}: {key} is not the same"


def _other_members(at: str, narrow: Side, wide: Side) -> Iterator[str]:
    known = wide.schema.get("properties", {})
    rest = wide.schema.get("additionalProperties", True)
    for member, schema in narrow.schema.get("properties", {}).items():
        if member in known:
            yield from _outside(f"{at}/{member}", narrow.at(schema), wide.at(known[member]))
        elif rest is False:
            yield f"{at}/{member}: is known in the {narrow.name} document alone"
        elif rest is not True:
            yield from _outside(f"{at}/{member}", narrow.at(schema), wide.at(rest))
    mine = narrow.schema.get("additionalProperties", True)
    if rest is True or mine is False:
        return
    if rest is False or mine is True:
        yield f"{at}: may have any other member in the {narrow.name} document alone"
    else:
        yield from _outside(f"{at}/*", narrow.at(mine), wide.at(rest))


def _words(types: frozenset[str] | None) -> str:
    return "anything" if types is None else " or ".join(sorted(types))
