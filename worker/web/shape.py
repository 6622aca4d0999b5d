"""Every fault of a value against a struct's shape, where msgspec stops at the first.

Each leaf is judged by msgspec itself, so this agrees with the fast path by construction; only the walk is ours.
"""

import re
from collections.abc import Iterator
from datetime import date, datetime
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from schemas.events import MUST
from worker.web.problems import MAX_FAULTS, Fault

_NAMES = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    float: "a number",
    dict: "an object",
    datetime: 'a time with its offset (RFC 3339), such as "2026-11-02T08:30:00Z" or "2026-11-02T09:30:00+01:00"',
    date: 'a date, such as "2026-11-02"',
}
_CENTS = "a whole number of cents, such as 9000 for 90.00 EUR"
_SENT_NAMES = _NAMES | {list: "a list", float: "a decimal number", NoneType: "null"}


def faults(value: object, struct: type[Struct], at: str = "") -> list[Fault]:
    """All that is wrong with `value` as a `struct`, in the struct's order; empty when nothing is."""
    found = _struct(value, struct, at)
    return [fault for fault, _ in zip(found, range(MAX_FAULTS), strict=False)]


def escaped(name: str) -> str:
    """A member's name inside a JSON pointer (RFC 6901), shortened: it comes from a stranger."""
    return name[:100].replace("~", "~0").replace("/", "~1")


@cache
def fields_of(struct: type[Struct]) -> dict[str, tuple[Any, bool]]:
    """Each field's name in JSON, its type and whether it must be there."""
    hints = get_type_hints(struct, include_extras=True)
    return {field.encode_name: (hints[field.name], field.required) for field in msgspec.structs.fields(struct)}


def _struct(value: object, struct: type[Struct], at: str) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield _wrong_type(value, "an object", at)
        return
    known = fields_of(struct)
    for name, (hint, required) in known.items():
        if name in value:
            yield from _value(value[name], hint, f"{at}/{name}")
        elif required:
            yield Fault(pointer=f"{at}/{name}", code="missing", detail="is required")
    if struct.__struct_config__.forbid_unknown_fields:
        yield from _unknown(value, known, at)


def _unknown(value: dict[str, object], known: dict[str, tuple[Any, bool]], at: str) -> Iterator[Fault]:
    for name in value:
        if name not in known:
            yield Fault(
                pointer=f"{at}/{escaped(name)}",
                code="unknown_field",
                detail=f"is not known here; known are {', '.join(known)}",
            )


def _value(value: object, hint: Any, at: str) -> Iterator[Fault]:  # noqa: ANN401 (a type, of any form)
    kind, limits, optional = _parts(hint)
    if value is None and optional:
        return
    if isinstance(kind, type) and issubclass(kind, Struct):
        yield from _struct(value, kind, at)
    elif get_origin(kind) is list:
        yield from _items(value, get_args(kind)[0], limits, at)
    elif get_origin(kind) is dict:
        yield from _members(value, get_args(kind)[1], at)
    else:
        yield from _leaf(value, kind, limits, at)


def _parts(hint: Any) -> tuple[Any, list[Meta], bool]:  # noqa: ANN401
    """A hint without its limits and its `| None`; unions of anything else are not used in events."""
    if get_origin(hint) is Annotated:
        kind, *limits = get_args(hint)
        inner, more, optional = _parts(kind)
        return inner, [*limits, *more], optional
    if get_origin(hint) in (Union, UnionType):
        (kind,) = (arm for arm in get_args(hint) if arm is not NoneType)
        inner, limits, _ = _parts(kind)
        return inner, limits, True
    return hint, [], False


def _items(value: object, hint: Any, limits: list[Meta], at: str) -> Iterator[Fault]:  # noqa: ANN401
    if not isinstance(value, list):
        yield _wrong_type(value, "a list", at)
        return
    for limit in limits:
        if limit.min_length is not None and len(value) < limit.min_length:
            yield Fault(pointer=at, code="too_short", detail=f"needs at least {limit.min_length}")
        if limit.max_length is not None and len(value) > limit.max_length:
            yield Fault(pointer=at, code="too_long", detail=f"at most {limit.max_length}, not {len(value)}")
            return
    for index, item in enumerate(value):
        yield from _value(item, hint, f"{at}/{index}")


def _members(value: object, hint: Any, at: str) -> Iterator[Fault]:  # noqa: ANN401
    if not isinstance(value, dict):
        yield _wrong_type(value, "an object", at)
        return
    for name, item in value.items():
        yield from _value(item, hint, f"{at}/{escaped(name)}")


def _leaf(value: object, kind: Any, limits: list[Meta], at: str) -> Iterator[Fault]:  # noqa: ANN401
    hint = Annotated[kind, *limits] if limits else kind
    try:
        msgspec.convert(value, hint)
    except (msgspec.ValidationError, OverflowError):
        yield _explained(value, kind, limits, at)


def _explained(value: object, kind: Any, limits: list[Meta], at: str) -> Fault:  # noqa: ANN401
    """What msgspec refused, in words that name the limit."""
    wanted = _wanted(kind, at)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return Fault(pointer=at, code="out_of_range", detail=f"must be {wanted}{_range(limits)}")
    if not isinstance(value, str) or kind in (int, bool, float):
        return _wrong_type(value, wanted, at)
    return _of_text(value, limits, at, wanted)


def _wanted(kind: Any, at: str) -> str:  # noqa: ANN401
    if kind is int and at.endswith("_cents"):
        return _CENTS
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(each.value for each in kind)}"
    return _NAMES.get(kind) or str(kind)


def _of_text(value: str, limits: list[Meta], at: str, wanted: str) -> Fault:
    for limit in limits:
        if limit.max_length is not None and len(value) > limit.max_length:
            return Fault(pointer=at, code="too_long", detail=f"at most {limit.max_length} characters, not {len(value)}")
        if limit.min_length is not None and len(value) < limit.min_length:
            return Fault(pointer=at, code="too_short", detail=f"needs at least {limit.min_length} characters")
        if limit.pattern is not None and not re.search(limit.pattern, value):
            said = (limit.extra or {}).get(MUST, f"match {limit.pattern}")
            return Fault(pointer=at, code="wrong_format", detail=f"must {said}")
    return Fault(pointer=at, code="wrong_format", detail=f"must be {wanted}")


def _range(limits: list[Meta]) -> str:
    for limit in limits:
        if limit.ge is not None and limit.le is not None:
            return f", from {limit.ge} to {limit.le}"
    return ""


def _wrong_type(value: object, wanted: str, at: str) -> Fault:
    sent = _SENT_NAMES.get(type(value), type(value).__name__)
    return Fault(pointer=at, code="wrong_type", detail=f"must be {wanted}, not {sent}")
