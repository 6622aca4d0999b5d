"""A régie's gateway options when the configuration loads."""

from collections.abc import Mapping

import pytest

from worker.gateways.capabilities import CAPABILITIES
from worker.gateways.options import check_options

SECRET = "tressecret99"
LYRA = {"vads_site_id": "12345678", "secret_production": SECRET}


def problems(kind: str, mode: str, options: Mapping[str, object]) -> dict[str, str]:
    """Messages by key."""
    return {problem.key: problem.message for problem in check_options(kind, mode, options)}


def test_the_contracts_example_is_complete() -> None:
    """A site and the production key are enough to interpret."""
    assert problems("systempayv2", "production", LYRA) == {}


def test_each_mode_asks_for_its_own_key() -> None:
    """The test key in test, the production key in production, the site in both; no defaults."""
    assert set(problems("systempayv2", "production", {})) == {"vads_site_id", "secret_production"}
    assert set(problems("systempayv2", "test", LYRA)) == {"secret_test"}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("vads_site_id", "1234", "form"),
        ("vads_site_id", 12345678, "string"),
        ("secret_production", SECRET + "!", "form"),
        ("signature_algo", "md5", "sha1, hmac_sha256"),
        ("vads_ctx_mode", "TEST", '"PRODUCTION"'),
        ("manual_validation", "yes", "boolean"),
    ],
)
def test_a_wrong_value_names_the_key_and_what_is_allowed(key: str, value: object, said: str) -> None:
    """By the library's own descriptions; the value itself is never repeated."""
    found = problems("systempayv2", "production", {**LYRA, key: value})
    assert set(found) == {key}
    assert said in found[key]


def test_an_unknown_option_is_refused_by_name() -> None:
    """With those that exist."""
    found = problems("systempayv2", "production", {**LYRA, "site_id": "12345678"})
    assert set(found) == {"site_id"}
    assert "vads_site_id" in found["site_id"]


def test_everything_is_said_at_once_and_no_secret_with_it() -> None:
    """Several faults, one answer."""
    found = check_options("systempayv2", "production", {"secret_production": SECRET + "-", "nom": "x"})
    assert {problem.key for problem in found} == {"secret_production", "nom", "vads_site_id"}
    assert SECRET not in repr(found)


def test_the_dummy_cannot_go_to_production() -> None:
    """It proves nothing."""
    assert set(problems("dummy", "production", {})) == {"mode"}
    assert problems("dummy", "test", {}) == {}


def test_a_public_test_value_cannot_go_to_production() -> None:
    """sips2 falls back to a key that the whole world knows."""
    public = {"merchant_id": "002001000000001", "secret_key": "002001000000001_KEY1"}
    assert set(problems("sips2", "production", public)) == {"merchant_id", "secret_key"}
    assert problems("sips2", "test", public) == {}


def test_an_unknown_gateway_names_those_that_exist() -> None:
    """All twelve."""
    message = problems("paypal", "production", {})["gateway"]
    assert all(kind in message for kind in CAPABILITIES)


@pytest.mark.parametrize("kind", sorted(CAPABILITIES))
@pytest.mark.parametrize("mode", ["production", "test"])
def test_every_kind_can_be_checked(kind: str, mode: str) -> None:
    """Without options each names what it needs; what it needs are options that the library knows."""
    capability = CAPABILITIES[kind]
    needed = {*capability.merchant}
    needed |= {*(capability.production_secrets if mode == "production" else capability.test_secrets)}
    if capability.test_only and mode == "production":
        needed.add("mode")
    assert set(problems(kind, mode, {})) == needed
    needed -= {"mode"}
    assert all("unknown option" not in text for text in problems(kind, mode, dict.fromkeys(needed, "x")).values())


PAYFIP = {"numcli": "090909"}


@pytest.mark.parametrize(
    "url",
    [
        "https://www.payfip.gouv.fr/tpa/services/securite",
        "http://127.0.0.1:8080/tpa",
        "http://[::1]:8080/tpa",
        "http://localhost/tpa",
    ],
)
def test_a_gateway_may_be_asked_elsewhere(url: str) -> None:
    """Over TLS anywhere, in clear on this machine alone: that is the simulated service."""
    assert problems("payfip_ws", "production", {**PAYFIP, "service_url": url}) == {}


@pytest.mark.parametrize(
    "url",
    [
        "http://payfip.example/tpa",
        "http://127.0.0.1.example/tpa",
        "http://localhost@payfip.example/tpa",
        "https://moi:secret@payfip.example/tpa",
        "file:///etc/passwd",
        "payfip.example",
        "https://",
        "https://[",
        "",
        8080,
    ],
)
def test_nobody_between_us_and_the_gateway_can_write_its_answers(url: object) -> None:
    """What comes back is believed, so where it comes from must be certain."""
    assert set(problems("payfip_ws", "production", {**PAYFIP, "service_url": url})) == {"service_url"}


@pytest.mark.parametrize(
    ("kind", "mode", "options", "key"),
    [
        ("payfip_ws", "production", {**PAYFIP, "saisie": "T"}, "saisie"),
        ("payfip_ws", "production", {**PAYFIP, "saisie": "X"}, "saisie"),
        ("payfip_ws", "test", {**PAYFIP, "saisie": "W"}, "saisie"),
    ],
)
def test_an_option_cannot_say_another_mode(kind: str, mode: str, options: Mapping[str, object], key: str) -> None:
    """The régie's mode is the only one."""
    assert set(problems(kind, mode, options)) == {key}
