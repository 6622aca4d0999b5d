"""A régie's gateway options, checked when the configuration loads: every fault at once, never a value."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from worker.gateways.capabilities import CAPABILITIES, Capability
from worker.gateways.exchange import is_secure
from worker.gateways.library import OptionDescription, describe_options, is_public_key
from worker.gateways.port import Problem

ADDRESSES: Final = ("service_url", "base_url")
"""Options that say where a gateway is asked."""


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
        *_insecure(options),
        *_not_chosen(capability, options),
        *_disagreeing(mode, capability, options),
        *_of_other_mode(mode, capability, options),
        *_never_paid(capability, options),
        *_no_key(capability, options),
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
        elif mode == "production" and _is_published(options[name], capability, known[name]):
            problems.append(Problem(key=name, message="this is the gateway's public test value"))
    return problems


def _is_published(value: object, capability: Capability, option: OptionDescription) -> bool:
    return value == option.default or re.fullmatch(capability.published, str(value)) is not None


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


def _insecure(options: Mapping[str, object]) -> list[Problem]:
    """Keys and payments go to these addresses, and what comes back is believed."""
    message = "must be an https:// address; http:// only to this machine, for tests"
    return [Problem(key=name, message=message) for name in ADDRESSES if name in options and not _secure(options[name])]


def _secure(address: object) -> bool:
    return isinstance(address, str) and is_secure(address)


def _not_chosen(capability: Capability, options: Mapping[str, object]) -> list[Problem]:
    """What the library would take and stumble over at the first answer."""
    return [
        Problem(key=name, message=f"must be one of {', '.join(allowed)}")
        for name, allowed in capability.chosen.items()
        if name in options and options[name] not in allowed
    ]


def _disagreeing(mode: str, capability: Capability, options: Mapping[str, object]) -> list[Problem]:
    """The gateway's own mode may be left out; if it is said, it must be the régie's."""
    said, allowed = options.get(capability.mode_option), capability.mode_values.get(mode, ())
    if said is None or said in allowed:
        return []
    must = " or ".join(f'"{value}"' for value in allowed)
    return [Problem(key=capability.mode_option, message=f'must be {must} with mode = "{mode}"')]


def _of_other_mode(mode: str, capability: Capability, options: Mapping[str, object]) -> list[Problem]:
    """A key of the other mode would be asked about payments that it cannot see."""
    prefix, key = capability.key_prefixes.get(mode, ""), options.get("api_key")
    if not isinstance(key, str) or not key or key.startswith(prefix):
        return []
    return [Problem(key="api_key", message=f'must begin with "{prefix}" with mode = "{mode}"')]


def _never_paid(capability: Capability, options: Mapping[str, object]) -> list[Problem]:
    return [
        Problem(key=name, message="the gateway would tell of authorisations alone, never that money came")
        for name, value in capability.never_paid.items()
        if options.get(name) == value
    ]


def _no_key(capability: Capability, options: Mapping[str, object]) -> list[Problem]:
    if "public_key" not in capability.own_options or "public_key" not in options:
        return []
    if is_public_key(options["public_key"]):
        return []
    return [Problem(key="public_key", message="must be the PEM of an RSA public key")]
