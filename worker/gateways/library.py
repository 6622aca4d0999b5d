"""The place that calls eopayment 3.15: signatures, the dummy's answers, descriptions of options.

Only what is pure CPU is called here; its SOAP services are in `library_soap`.
"""

import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import eopayment

for name in ("eopayment", "requests", "urllib3", "zeep"):
    logging.getLogger(name).setLevel(logging.INFO)  # at DEBUG they log options and requests, secrets included

LYRA_ALGORITHMS = ("hmac_sha256", "sha1")
OGONE_ALGORITHMS = ("sha1", "sha256", "sha512")
SMALLEST_KEY_BITS = 1024
"""Paybox's own has no more."""


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


def default_of(kind: str, option: str) -> str:
    """What the library takes where a régie says nothing, such as a gateway's address."""
    return str(describe_options(kind)[option].default)


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


def paybox_signed(public_key: str, signed: bytes, signature: bytes) -> bool:
    """Whether Paybox signed exactly these bytes: RSA over SHA-1, with one key for all merchants and for tests.

    `public_key` is its PEM; empty, the one that the library knows. The library's `response()` is not asked: it
    signs values that it decoded and wrote again, a notification's by a fixed list without site and rang, and raises
    where a refusal has no authorisation.
    """
    paybox = _module("paybox")
    try:
        return bool(paybox.verify(signed, signature, key=public_key or paybox.PAYBOX_KEY))
    except (ValueError, IndexError, TypeError):  # no key at all
        return False


def is_public_key(text: object) -> bool:
    """Whether this is the PEM of an RSA public key that nobody breaks on a laptop."""
    try:
        key = _module("paybox").RSA.import_key(text)
    except (ValueError, IndexError, TypeError):
        return False
    return not key.has_private() and key.size_in_bits() >= SMALLEST_KEY_BITS


def ogone_signed_names() -> frozenset[str]:
    """The names, in capitals, of the fields that Ogone puts under its signature."""
    return frozenset(_module("ogone").SHA_OUT_PARAMS)


def ogone_signed(options: Mapping[str, object], fields: Mapping[str, str], charsets: Sequence[str]) -> bool:
    """Whether these fields, by name in capitals, carry the signature of `sha_out` over their text in a charset.

    The algorithm is the régie's `hash_algorithm`. Left out, any is proof: the merchant chose one in Ogone's back
    office, and all need the same key. The library's `response()` is not asked: it checks nothing unless the
    *other* key, `sha_in`, is set, and compares in a time that depends on the signature.
    """
    key, chosen = options.get("sha_out"), options.get("hash_algorithm")
    if not key:
        return False
    backend = eopayment.get_backend("ogone")(dict(options))  # a copy: it writes its default into them
    names, given = ogone_signed_names(), fields["SHASIGN"].encode()
    expected = (
        backend.sha_sign(algorithm, str(key), fields, names, encoding=charset)
        for algorithm in ((str(chosen),) if chosen else OGONE_ALGORITHMS)
        for charset in charsets
    )
    return any(hmac.compare_digest(each.encode(), given) for each in expected)


def worldline_address(options: Mapping[str, object], mode: str) -> str:
    """Where Worldline Direct is asked: where the régie says, else in its environment, which is its mode's."""
    environment = options.get("environment") or ("prod" if mode == "production" else "preprod")
    own = options.get("service_url")
    return str(own or getattr(_module("worldline").Payment, f"{environment}_url"))


def worldline_authorization(options: Mapping[str, object], endpoint: str, date: str) -> str:
    """The header that proves who asks: the library's signature of a GET at that time."""
    key = str(options.get("api_key", ""))
    api = _module("worldline").WorldlineAPI(
        url="", pspid=options.get("pspid", ""), api_key=key, api_secret=str(options.get("api_secret", ""))
    )
    signature = api._worldline_calculate_signature("GET", endpoint, "", date)  # noqa: SLF001 (it has no other way in)
    return f"GCS v1HMAC:{key}:{signature}"


def _module(kind: str) -> Any:  # noqa: ANN401 (published without types)
    """The library's module of a kind, imported when a régie has that gateway: Paybox's takes a second."""
    return import_module(f"eopayment.{kind}")


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
