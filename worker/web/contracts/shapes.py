"""JSON Schemas (draft 2020-12) of structs: msgspec's own, and what it leaves out.

Patterns become ECMAScript's, which JSON Schema asks for; the text under a field becomes its description; and what we
say has all its fields each time, where msgspec calls those with a default optional.
"""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import msgspec
from msgspec import Struct
from msgspec import inspect as looking

DRAFT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


class Shapes:
    """Collects the schemas that a document refers to. `where`: how a reference to one begins."""

    def __init__(self, where: str, examples: Mapping[type, Sequence[object]]) -> None:
        self.where = where
        self.named: dict[str, Schema] = {}
        self._examples = examples

    def received(self, kind: Any) -> Schema:  # noqa: ANN401 (a type, of any form)
        """The schema of what others send to us."""
        return self._collected(kind, {})

    def sent(self, kind: Any) -> Schema:  # noqa: ANN401
        """The schema of what we say: every field is there, unless its struct leaves out defaults."""
        return self._collected(kind, {struct.__name__: struct for struct in _structs(kind) if _says_all(struct)})

    def add(self, name: str, schema: Schema) -> Schema:
        """Name a composed schema; the answer refers to it.

        Raises:
            AssertionError: the name stands for another one already.
        """
        assert self.named.setdefault(name, schema) == schema, f"two shapes are named {name}"
        return {"$ref": self.where + name}

    def of_struct(self, struct: type[Struct]) -> Schema:
        """The schema that a struct's name refers to."""
        self.received(struct)
        return self.named[struct.__name__]

    def _collected(self, kind: Any, whole: Mapping[str, type[Struct]]) -> Schema:  # noqa: ANN401
        (schema,), components = msgspec.json.schema_components([kind], ref_template=self.where + "{name}")
        structs = {struct.__name__: struct for struct in _structs(kind)}
        for name, component in components.items():
            if name in structs:
                self._complete(component, structs[name])
            if name in whole:
                _always_all(component)
            self.add(name, _portable(component))
        made: Schema = _portable(schema)
        return made

    def _complete(self, component: Schema, struct: type[Struct]) -> None:
        """Add what the struct says and msgspec does not: fields' texts, that times have a zone, examples."""
        known = looking.type_info(struct)
        assert isinstance(known, looking.StructType)
        for field in known.fields:
            member = component["properties"][field.encode_name]
            if _has_time(field.type):
                _mark_times(member)
            if (said := _texts(struct).get(field.name)) is not None:
                member["description"] = said
        if struct in self._examples:
            component["examples"] = [msgspec.to_builtins(example) for example in self._examples[struct]]


def _structs(kind: Any) -> Iterator[type[Struct]]:  # noqa: ANN401
    """Every struct that a type is made of, itself first."""
    seen: set[type[Struct]] = set()
    waiting: list[object] = [looking.type_info(kind)]
    while waiting:
        found = waiting.pop()
        if isinstance(found, looking.StructType) and found.cls not in seen:
            seen.add(found.cls)
            yield found.cls
            waiting += [field.type for field in found.fields]
        waiting += _inside(found)


def _inside(found: object) -> list[object]:
    match found:
        case looking.ListType(item_type=item):
            return [item]
        case looking.UnionType(types=types):
            return list(types)
        case looking.DictType(value_type=value):
            return [value]
        case looking.Metadata(type=kind):
            return [kind]
        case _:
            return []


def _has_time(found: object) -> bool:
    return isinstance(found, looking.DateTimeType) or any(_has_time(inner) for inner in _inside(found))


def _mark_times(member: Schema) -> None:
    """All times that we say have a zone, which msgspec marks only where it is checked."""
    for arm in member.get("anyOf", [member]):
        if arm.get("type") == "string":
            arm["format"] = "date-time"


def _says_all(struct: type[Struct]) -> bool:
    return not struct.__struct_config__.omit_defaults


def _always_all(component: Schema) -> None:
    component["required"] = list(component["properties"])
    for member in component["properties"].values():
        member.pop("default", None)


def _portable(value: Any) -> Any:  # noqa: ANN401 (JSON nests freely)
    r"""The same with patterns as every implementation reads them: `\Z` is Python's, `$` ends a text elsewhere."""
    if isinstance(value, list):
        return [_portable(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {name: _portable(item) for name, item in value.items()}
    if isinstance(pattern := made.get("pattern"), str):
        made["pattern"] = pattern.removesuffix(r"\Z") + "$" if pattern.endswith(r"\Z") else pattern
    return made


@cache
def _texts(struct: type[Struct]) -> dict[str, str]:
    """What stands under each field of a struct, those that it inherits included."""
    found: dict[str, str] = {}
    for parent in reversed(struct.__mro__):
        module = sys.modules.get(parent.__module__)
        if module is not None and issubclass(parent, Struct) and parent is not Struct:
            found |= _texts_of_module(module).get(parent.__name__, {})
    return found


@cache
def _texts_of_module(module: ModuleType) -> dict[str, dict[str, str]]:
    tree = ast.parse(inspect.getsource(module))
    return {node.name: dict(_texts_of_class(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _texts_of_class(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, after in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            yield field.target.id, inspect.cleandoc(str(after.value.value))
