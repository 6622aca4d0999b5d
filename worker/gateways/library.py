"""The place that calls eopayment 3.15: signatures, the dummy's answers, descriptions of options.

Only what is pure CPU is called here; its SOAP services are in `library_soap`.
"""

import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import eopayment

for name in ("eopayment", "requests", "urllib3", "zeep"):
    logging.getLogger(name).setLevel(logging.INFO)  # at DEBUG they log options and requests, secrets included

LYRA_ALGORITHMS = ("hmac_sha256", "sha1")


class LibraryError(Exception):
    """eopayment could not make sense of a callback."""


@dataclass(frozen=True, slots=True)
class OptionDescription:
    """One option of a kind: its type, its allowed values (empty: any), the default that everybody knows."""

    name: str
    type: type
    choices: Sequence[str]
    default: object
    accepts: Callable[[Any], object] | None


def describe_options(kind: str) -> dict[str, OptionDescription]:
    """The library's options of a kind, by name."""
    parameters = eopayment.get_backend(kind).description["parameters"]
    return {parameter["name"]: _described(parameter) for parameter in parameters}


def _described(parameter: Mapping[str, Any]) -> OptionDescription:
    return OptionDescription(
        name=parameter["name"],
        type=parameter.get("type", str),
        choices=[_choice_value(choice) for choice in parameter.get("choices", ())],
        default=parameter.get("default"),
        accepts=parameter.get("validation"),
    )


def _choice_value(choice: str | Sequence[str]) -> str:
    return choice if isinstance(choice, str) else choice[0]


def lyra_signed(kind: str, options: Mapping[str, object], fields: Mapping[str, str]) -> bool:
    """Whether the `vads_*` fields carry the signature of the key of their own mode.

    The algorithm is the régie's `signature_algo`. Left out, either is proof: the shop chose one of them in
    Lyra's back office, and both need the same secret.

    The library's `response()` is not asked: it wants `vads_auth_result`, which an abandonment need not have,
    and compares in a time that depends on the signature.
    """
    chosen = options.get("signature_algo")
    algorithms = (str(chosen),) if chosen else LYRA_ALGORITHMS
    return any(_lyra_signed_with(algorithm, kind, options, fields) for algorithm in algorithms)


def _lyra_signed_with(algorithm: str, kind: str, options: Mapping[str, object], fields: Mapping[str, str]) -> bool:
    backend = eopayment.get_backend(kind)({**options, "signature_algo": algorithm})
    if not getattr(backend, f"secret_{fields['vads_ctx_mode'].lower()}", None):
        return False  # without a secret, the library would sign with the word « None »
    expected = backend.signature(dict(fields))
    return hmac.compare_digest(expected.encode(), fields["signature"].encode())


@dataclass(frozen=True, slots=True)
class DummyAnswer:
    """What the dummy gateway says."""

    reference: str
    signed: bool
    paid: bool
    waiting: bool


def dummy_answer(options: Mapping[str, object], query: str) -> DummyAnswer:
    """The dummy's answer as the library reads it. Raises LibraryError where it cannot."""
    try:
        response = eopayment.get_backend("dummy")(options).response(query)
    except Exception as error:
        raise LibraryError(type(error).__name__) from error
    return DummyAnswer(
        reference=response.transaction_id,
        signed=bool(response.signed),
        paid=response.result == eopayment.PAID,
        waiting=response.result == eopayment.WAITING,
    )
