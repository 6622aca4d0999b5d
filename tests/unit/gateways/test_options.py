"""A régie's gateway options when the configuration loads."""

from collections.abc import Mapping

import pytest
from Cryptodome.PublicKey import RSA

from tests.unit.gateways.paybox_answers import key_of
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


SIPS = {"merchant_id": "211000021310001", "secret_key": SECRET}
OGONE = {"pspid": "VILLE", "sha_out": SECRET}
WORLDLINE = {"pspid": "VILLE", "api_key": "cle", "api_secret": SECRET}
PAYBOX = {"site": "1234567", "rang": "001"}


@pytest.mark.parametrize(("kind", "options"), [("payzen", LYRA), ("sips2", SIPS), ("ogone", OGONE), ("paybox", PAYBOX)])
def test_the_signed_gateways_need_no_more_to_interpret(kind: str, options: dict[str, object]) -> None:
    """What a portal needs to start a payment is the portal's."""
    assert problems(kind, "production", options) == {}


@pytest.mark.parametrize("number", range(10))
def test_every_merchant_of_sips_simulator_is_refused_in_production(number: int) -> None:
    """With its key, which is as public; in test they are what one starts with."""
    merchant = f"00200100000000{number}"
    public = {"merchant_id": merchant, "secret_key": f"{merchant}_KEY1"}
    assert set(problems("sips2", "production", public)) == {"merchant_id", "secret_key"}
    assert problems("sips2", "test", public) == {}


def test_paybox_s_site_of_the_manual_is_refused_in_production() -> None:
    """Anybody can pay there with the manual's card and its HMAC key."""
    assert set(problems("paybox", "production", {**PAYBOX, "site": "1999888"})) == {"site"}
    assert problems("paybox", "test", {**PAYBOX, "site": "1999888"}) == {}


@pytest.mark.parametrize(
    ("kind", "options", "key", "production", "test"),
    [
        ("payzen", LYRA, "vads_ctx_mode", ["PRODUCTION"], ["TEST"]),
        ("sips2", SIPS, "platform", ["prod"], ["test"]),
        ("paybox", PAYBOX, "platform", ["prod", "backup"], ["test"]),
        ("ogone", OGONE, "environment", ["PROD"], ["TEST"]),
        ("payfip_ws", PAYFIP, "saisie", ["W"], ["T", "X"]),
        ("tipi", PAYFIP, "saisie", ["A"], ["T", "X"]),
        ("worldline", WORLDLINE, "environment", ["prod"], ["preprod"]),
    ],
)
def test_where_the_library_s_options_say_the_mode_it_is_the_regie_s(
    kind: str, options: dict[str, object], key: str, production: list[str], test: list[str]
) -> None:
    """A régie in production whose payments go to the test platform would take test payments for money."""
    options = {**options, "secret_test": SECRET} if kind == "payzen" else options
    for mode, right, wrong in (("production", production, test), ("test", test, production)):
        assert all(problems(kind, mode, {**options, key: value}) == {} for value in right)
        for value in wrong:
            found = problems(kind, mode, {**options, key: value})
            assert set(found) == {key}
            assert all(f'"{each}"' in found[key] for each in right)


@pytest.mark.parametrize("option", [{"capture_mode": "AUTHOR_CAPTURE"}, {"manual_validation": True}])
def test_paybox_must_capture_by_itself(option: dict[str, object]) -> None:
    """Else its answers say 00000 for what nobody has paid yet, and none follows."""
    assert set(problems("paybox", "production", {**PAYBOX, **option})) == set(option)
    allowed = {"capture_mode": "IMMEDIATE", "manual_validation": False}
    assert problems("paybox", "production", {**PAYBOX, **allowed}) == {}


def test_paybox_s_public_key_can_be_another() -> None:
    """In PEM, for the day when Paybox has another than the library knows; a private or a weak one is none."""
    pair, weak = key_of("paybox"), RSA.construct(((2**127 - 1) * (2**89 - 1), 65537))
    right = pair.public_key().export_key().decode()
    assert problems("paybox", "production", {**PAYBOX, "public_key": right}) == {}
    for wrong in ("", "key", 7, pair.export_key().decode(), weak.export_key().decode()):
        assert set(problems("paybox", "production", {**PAYBOX, "public_key": wrong})) == {"public_key"}
    assert set(problems("ogone", "production", {**OGONE, "public_key": right})) == {"public_key"}


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_ogone_s_algorithm_is_one_of_three(algorithm: str) -> None:
    """The library takes any word, and stumbles over it at the first answer."""
    assert problems("ogone", "production", {**OGONE, "hash_algorithm": algorithm}) == {}
    for wrong in (algorithm.upper(), "md5", "new"):
        found = problems("ogone", "production", {**OGONE, "hash_algorithm": wrong})
        assert "sha1, sha256, sha512" in found["hash_algorithm"]


SAGA = {"base_url": "https://saga.example/", "num_service": "868", "compte": "70688"}


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("payfip_ws", PAYFIP),
        ("saga", SAGA),
        ("mollie", {"api_key": "live_x"}),
        ("keyware", {"api_key": "x"}),
        ("worldline", WORLDLINE),
        ("worldline", {**WORLDLINE, "webhook_secret": SECRET, "service_url": "https://payment.cawl.example"}),
        ("tipi", PAYFIP),
    ],
)
def test_the_asked_gateways_need_no_more_to_be_asked(kind: str, options: dict[str, object]) -> None:
    """What a portal needs to start a payment is the portal's."""
    assert problems(kind, "production", options) == {}


@pytest.mark.parametrize(
    ("kind", "options", "key"),
    [
        ("saga", {**SAGA, "base_url": "http://saga.example/"}, "base_url"),
        ("mollie", {"api_key": "live_x", "service_url": "http://mollie.example/v2/"}, "service_url"),
        ("keyware", {"api_key": "x", "service_url": "http://keyware.example/v1/"}, "service_url"),
        ("worldline", {**WORLDLINE, "service_url": "http://worldline.example"}, "service_url"),
    ],
)
def test_every_address_that_is_asked_must_be_certain(kind: str, options: dict[str, object], key: str) -> None:
    """Of every kind."""
    assert key in problems(kind, "production", options)


def test_mollies_key_is_of_the_regies_mode() -> None:
    """It tells by its beginning; with the other one Mollie would know none of the régie's payments."""
    for mode, right, wrong in (("production", "live_x", "test_x"), ("test", "test_x", "live_x")):
        assert problems("mollie", mode, {"api_key": right}) == {}
        found = problems("mollie", mode, {"api_key": wrong})
        assert f'"{right[:5]}"' in found["api_key"]
