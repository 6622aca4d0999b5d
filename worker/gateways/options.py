"""A régie's gateway options, checked when the configuration loads: every fault at once, never a value."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from worker.gateways.capabilities import CAPABILITIES, Capability
from worker.gateways.library import OptionDescription, describe_options
from worker.gateways.port import Problem


def check_options(kind: str, mode: str, options: Mapping[str, object]) -> list[Problem]:
    """Problems of these options for this kind and mode (`production` or `test`); empty when it may start."""
    capability = CAPABILITIES.get(kind)
    if capability is None:
        return [Problem(key="gateway", message=f"unknown gateway; one of {', '.join(sorted(CAPABILITIES))}")]
    known = describe_options(kind)
    return [
        *_mode_problems(kind, mode, capability),
        *_missing(mode, capability, options, known),
        *_unknown(options, [*known, *capability.own_options]),
        *(problem for name in options if name in known for problem in _invalid(known[name], options[name])),
        *_disagreeing(mode, options),
    ]


def _mode_problems(kind: str, mode: str, capability: Capability) -> list[Problem]:
    if capability.test_only and mode != "test":
        return [Problem(key="mode", message=f'"{kind}" proves nothing: only mode = "test" may use it')]
    return []


def _missing(
    mode: str, capability: Capability, options: Mapping[str, object], known: Mapping[str, OptionDescription]
) -> list[Problem]:
    secrets = capability.production_secrets if mode == "production" else capability.test_secrets
    problems = []
    for name in (*capability.merchant, *secrets):
        if options.get(name) in (None, ""):
            problems.append(Problem(key=name, message=f'required with mode = "{mode}"; it has no default'))
        elif mode == "production" and options[name] == known[name].default:
            problems.append(Problem(key=name, message="this is the gateway's public test value"))
    return problems


def _unknown(options: Mapping[str, object], known: Collection[str]) -> list[Problem]:
    allowed = ", ".join(sorted(known))
    return [Problem(key=name, message=f"unknown option; allowed: {allowed}") for name in options if name not in known]


def _invalid(option: OptionDescription, value: object) -> list[Problem]:
    if not isinstance(value, option.type) or (option.type is int and isinstance(value, bool)):
        return [Problem(key=option.name, message=f"must be a {_spoken(option.type)}")]
    if option.choices and not _chosen(option, value):
        return [Problem(key=option.name, message=f"must be one of {', '.join(option.choices)}")]
    if option.accepts is not None and not _accepted(option.accepts, value):
        return [Problem(key=option.name, message="not of the form that the gateway's library asks for")]
    return []


def _spoken(wanted: type) -> str:
    return {str: "string", int: "whole number", bool: "boolean", list: "list"}.get(wanted, wanted.__name__)


def _chosen(option: OptionDescription, value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(item in option.choices for item in values)


def _accepted(check: Callable[[Any], object], value: object) -> bool:
    """Whether the library's own check passes; one that stumbles over the value says no."""
    try:
        return bool(check(value))
    except (TypeError, ValueError, AttributeError):
        return False


def _disagreeing(mode: str, options: Mapping[str, object]) -> list[Problem]:
    """Lyra's own mode may be left out; if it is said, it must be the régie's."""
    said = options.get("vads_ctx_mode")
    if said is None or said == mode.upper():
        return []
    return [Problem(key="vads_ctx_mode", message=f'must be "{mode.upper()}" with mode = "{mode}"')]
