"""The configuration: what it accepts, every fault it names, and what it never shows."""

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worker.secret import MAX_SECRET_BYTES, Secret, SecretError, find_secret, names_a_secret
from worker.settings import Reading, SettingsError, load, load_database, read
from worker.table import duration_seconds

HASH = "0a" * 32
OTHER_HASH = "0b" * 32
WEBHOOK_SECRET = "whsec_" + "A" * 32
EXAMPLE = Path(__file__).parents[2] / "examples" / "lettrage.toml"

Configure = Callable[..., Reading]

REGIE = """
[[regie]]
code = "enfance"
gateway = "dummy"
mode = "test"
"""
CLIENT = f"""
[[client]]
name = "portail"
token_sha256 = "{HASH}"
scopes = ["events", "read"]
regies = ["enfance"]
"""


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Reads a TOML text together with an environment."""

    def configured(toml: str, **environ: str) -> Reading:
        (tmp_path / "lettrage.toml").write_text(toml, encoding="utf-8")
        return read(environ, tmp_path)

    return configured


def faults(reading: Reading) -> dict[str, str]:
    """The faults' messages by key; one key with two faults would hide one, so their number is compared."""
    found = {problem.key: problem.message for problem in reading.problems}
    assert len(found) == len(reading.problems)
    return found


def warnings(reading: Reading) -> dict[str, str]:
    """The warnings' messages by key."""
    return {problem.key: problem.message for problem in reading.settings.warnings}


def test_an_empty_folder_has_all_defaults(tmp_path: Path) -> None:
    """Nothing configured still starts, on loopback, with embedded servers, no client and no régie."""
    settings = load({}, tmp_path)
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert (settings.database_url, settings.redis_url, settings.metrics_port) == (None, None, None)
    assert settings.state_dir == tmp_path / ".lettrage"
    assert (settings.clients, settings.regies, settings.config, settings.warnings) == ({}, {}, None, ())


def test_the_example_file_is_right_and_complete(tmp_path: Path) -> None:
    """The file that is copied first has no fault once its secrets exist, and has the contract's values."""
    environ = {
        "LETTRAGE_CONFIG": str(EXAMPLE),
        "SYSTEMPAY_SECRET": "1234567890",
        "PORTAL_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    settings = load(environ, tmp_path)
    assert settings.warnings == ()
    assert settings.config == EXAMPLE
    regie = settings.regies["enfance"]
    assert regie.policy.hold == 1800
    assert regie.policy.notify
    assert regie.revealed_options() == {"vads_site_id": "12345678", "secret_production": "1234567890"}
    assert regie.portal is not None
    assert regie.portal.secret.reveal() == WEBHOOK_SECRET


def test_what_a_regie_leaves_out_has_the_examples_value(configure: Configure) -> None:
    """A régie of one line is as in the contract's example; its label is its code."""
    options = '[regie.options]\nvads_site_id = "12345678"\nsecret_production = "env:S"'
    reading = configure(f'[[regie]]\ncode = "cantine"\n{options}', S="s")
    assert reading.problems == []
    policy = reading.settings.policies["cantine"]
    assert (policy.gateway, policy.mode, policy.label) == ("systempayv2", "production", "cantine")
    assert (policy.hold, policy.hold_limit, policy.watch) == (1800, 7200, 86_400)
    assert (policy.on_cancel, policy.when_in_doubt, policy.notify) == ("hold", "reactivate", False)


def test_a_hold_longer_than_the_default_limit_takes_it_along(configure: Configure) -> None:
    """`hold_limit` left out is never shorter than `hold`."""
    reading = configure(REGIE + 'hold = "3h"')
    assert reading.problems == []
    assert reading.settings.policies["enfance"].hold_limit == 3 * 3600


def test_the_environment_comes_before_the_file(configure: Configure) -> None:
    """Every setting of a server is the environment's, else the file's."""
    toml = """
    database_url = "postgresql://file/one"
    redis_url = "redis://file"
    host = "0.0.0.0"
    port = 1
    state_dir = "from-file"
    metrics_port = 2
    metrics_host = "::"
    metrics_token = "env:FROM_FILE"
    """
    of_the_file = configure(toml, FROM_FILE="token of the file").settings
    assert (of_the_file.database_url, of_the_file.redis_url) == ("postgresql://file/one", "redis://file")
    assert (of_the_file.host, of_the_file.port) == ("0.0.0.0", 1)  # noqa: S104 (nothing listens here)
    assert (of_the_file.metrics_host, of_the_file.metrics_port) == ("::", 2)
    assert of_the_file.state_dir.name == "from-file"
    assert of_the_file.metrics_token == Secret("token of the file", "env:FROM_FILE")

    of_the_environment = configure(
        toml,
        FROM_FILE="token of the file",
        DATABASE_URL="postgres://environment/two",
        REDIS_URL="rediss://environment",
        HOST="localhost",
        PORT="3",
        LETTRAGE_STATE_DIR="/elsewhere",
        METRICS_PORT="4",
        METRICS_HOST="127.0.0.2",
        LETTRAGE_METRICS_TOKEN="token of the environment",
    ).settings
    assert of_the_environment.database_url == "postgres://environment/two"
    assert of_the_environment.redis_url == "rediss://environment"
    assert (of_the_environment.host, of_the_environment.port) == ("localhost", 3)
    assert (of_the_environment.metrics_host, of_the_environment.metrics_port) == ("127.0.0.2", 4)
    assert of_the_environment.state_dir == Path("/elsewhere")
    assert of_the_environment.metrics_token is not None
    assert of_the_environment.metrics_token.reveal() == "token of the environment"


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:1"), ("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1")],  # noqa: S104
)
def test_who_is_on_this_machine_finds_the_api(configure: Configure, host: str, url: str) -> None:
    """A server that listens everywhere is called on loopback."""
    assert configure("", HOST=host, PORT="1").settings.own_url == url


def test_trusted_proxies_are_addresses_or_networks(configure: Configure) -> None:
    """A list in the file, text with commas in the environment; without one, nobody is trusted."""
    of_the_file = configure('trusted_proxies = ["10.0.0.0/8", "::1"]').settings.trusted_proxies
    of_the_environment = configure("", LETTRAGE_TRUSTED_PROXIES="192.0.2.1, 10.0.0.0/8").settings.trusted_proxies
    assert [str(network) for network in of_the_file] == ["10.0.0.0/8", "::1/128"]
    assert [str(network) for network in of_the_environment] == ["192.0.2.1/32", "10.0.0.0/8"]
    assert configure("").settings.trusted_proxies == ()


def test_what_is_kept_for_how_long(configure: Configure) -> None:
    """24, 13 and 3 months; the environment over the file; what would contradict a shorter time follows it."""
    kept = configure("").settings.retention
    assert (kept.months, kept.raw_months, kept.notification_months) == (24, 13, 3)
    both = configure(
        "retention_months = 36\nraw_retention_months = 20", LETTRAGE_RETENTION_MONTHS="30"
    ).settings.retention
    assert (both.months, both.raw_months, both.notification_months) == (30, 20, 3)
    short = configure("retention_months = 2").settings.retention
    assert (short.months, short.raw_months, short.notification_months) == (2, 2, 2)


def test_a_shorter_time_than_families_see_their_invoices_is_warned_of(configure: Configure) -> None:
    """It may be meant: nothing is stopped."""
    told = {warning.key: warning.message for warning in configure("retention_months = 12").settings.warnings}
    assert "24 months" in told["retention_months"]
    assert "retention_months" not in {warning.key for warning in configure("retention_months = 24").settings.warnings}
    environ = configure("", LETTRAGE_RETENTION_MONTHS="12").settings.warnings
    assert "LETTRAGE_RETENTION_MONTHS" in {warning.key for warning in environ}


def test_an_empty_variable_is_none(configure: Configure) -> None:
    """`PORT=` in a unit file means "as configured", not a fault."""
    settings = configure("port = 9000", PORT="", DATABASE_URL="", LETTRAGE_CONFIG="").settings
    assert (settings.port, settings.database_url) == (9000, None)


def test_a_configuration_that_was_asked_for_must_exist(tmp_path: Path) -> None:
    """A missing lettrage.toml is a fresh installation; a missing LETTRAGE_CONFIG is a mistake."""
    with pytest.raises(SettingsError) as caught:
        load({"LETTRAGE_CONFIG": "absent.toml"}, tmp_path)
    assert [problem.key for problem in caught.value.problems] == ["LETTRAGE_CONFIG"]
    assert str(tmp_path / "absent.toml") in str(caught.value)


def test_a_folder_as_configuration_is_named(tmp_path: Path) -> None:
    """What cannot be read is told, with the reason."""
    assert "cannot be read" in faults(read({"LETTRAGE_CONFIG": str(tmp_path)}, tmp_path))["LETTRAGE_CONFIG"]


def test_broken_toml_says_where_and_shows_nothing(configure: Configure, tmp_path: Path) -> None:
    """A syntax error names its line; what stands there may be a secret."""
    message = faults(configure('a = 1\nsecret = "hunter2\n'))[str(tmp_path / "lettrage.toml")]
    assert "line 2" in message
    assert "hunter2" not in message


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    """A file saved as Latin-1 names the byte."""
    (tmp_path / "lettrage.toml").write_bytes('label = "Régie"'.encode("latin-1"))
    assert "UTF-8" in str(read({}, tmp_path).problems)


def test_a_windows_editor_is_welcome(tmp_path: Path) -> None:
    """A byte order mark and CRLF change nothing."""
    (tmp_path / "lettrage.toml").write_bytes(b"\xef\xbb\xbfport = 9000\r\nhost = '::1'\r\n")
    assert load({}, tmp_path).port == 9000


def test_who_looks_at_what_is_stored_needs_no_regies_secret(configure: Configure, tmp_path: Path) -> None:
    """The database's address and how long what is kept; a régie's faults are for who starts something."""
    regie = '[[regie]]\ncode = "a"\n[regie.options]\nvads_site_id = "12345678"\nsecret_production = "env:ABSENT"\n'
    portal = '[regie.portal]\nurl = "https://p.example"\nsecret = "file:absent.key"\n'
    told = faults(configure(f'database_url = "env:D"\nretention_months = 30\n{regie}{portal}', D="postgresql://d"))
    assert list(told) == ["regie.a.portal.secret", "regie.a.options.secret_production"]
    settings = load_database({"D": "postgresql://file/one"}, tmp_path)
    assert (settings.database_url, settings.retention.months) == ("postgresql://file/one", 30)
    assert settings.config == tmp_path / "lettrage.toml"


def test_who_looks_at_what_is_stored_is_told_what_it_is_about(configure: Configure, tmp_path: Path) -> None:
    """The database's own secret is needed, and a misspelt key may be the one that names it."""
    configure('database_url = "env:ABSENT"\ndatabase = "x"')
    with pytest.raises(SettingsError) as caught:
        load_database({}, tmp_path)
    assert [problem.key for problem in caught.value.problems] == ["database", "database_url"]


EVERY_FAULT: list[tuple[str, str, str]] = [
    ("prot = 80", "prot", 'did you mean "port"?'),
    ("xyzzy = 80", "xyzzy", 'known are "client", "regie"'),
    ("port = 0", "port", "1 to 65535"),
    ("port = 65536", "port", "1 to 65535"),
    ("port = true", "port", "1 to 65535"),
    ('port = "eighty"', "port", "1 to 65535"),
    ("host = 1", "host", "127.0.0.1"),
    ('host = "a b"', "host", "127.0.0.1"),
    ("state_dir = 1", "state_dir", "folder"),
    ('database_url = "mysql://x"', "database_url", "postgresql://"),
    ('database_url = "postgresql://[broken"', "database_url", "postgresql://"),
    ("database_url = 1", "database_url", "text"),
    ('database_url = "env:ABSENT"', "database_url", "ABSENT"),
    ('redis_url = "http://x"', "redis_url", "redis://"),
    ('trusted_proxies = "10.0.0.0/33"', "trusted_proxies", "10.0.0.0/8"),
    ('trusted_proxies = ["proxy.example"]', "trusted_proxies", "10.0.0.0/8"),
    ("retention_months = 0", "retention_months", "from 1 to 120"),
    ('retention_months = "24h"', "retention_months", "months"),
    ("retention_months = 121", "retention_months", "from 1 to 120"),
    ("raw_retention_months = 25", "raw_retention_months", "longer than retention_months, 24"),
    ("notification_retention_months = 1.5", "notification_retention_months", "from 1 to 120"),
    ('metrics_token = ""', "metrics_token", "env:NAME"),
    ("client = 1", "client", "[[client]]"),
    ("[regie]\ncode = 'a'", "regie", "[[regie]]"),
    (CLIENT.replace("portail", ""), "client.#1.name", "1 to 100"),
    (CLIENT.replace("portail", "lettrage"), "client.lettrage.name", "our own events"),
    (CLIENT.replace('name = "portail"', ""), "client.#1.name", "missing"),
    (CLIENT.replace(HASH, "hunter2"), "client.portail.token_sha256", "64 hexadecimal"),
    (CLIENT.replace('"events", "read"', '"event"'), "client.portail.scopes", '"events", "read", "admin"'),
    (CLIENT.replace('"events", "read"', ""), "client.portail.scopes", "missing"),
    (CLIENT.replace('["events", "read"]', '"events"'), "client.portail.scopes", "list"),
    (CLIENT.replace('"enfance"', '"Enfance"'), "client.portail.regies", "a-z"),
    (CLIENT + "scope = 1", "client.portail.scope", 'did you mean "scopes"?'),
    (CLIENT + CLIENT.replace(HASH, OTHER_HASH), "client.portail.name", "two clients"),
    (CLIENT + CLIENT.replace("portail", "autre"), "client.autre.token_sha256", 'same token as "portail"'),
    (REGIE.replace("enfance", "Enfance"), "regie.Enfance.code", "a-z, 0-9 and -"),
    (REGIE.replace("enfance", "a" * 41), "regie.#1.code", "1 to 40"),
    (REGIE.replace('code = "enfance"', ""), "regie.#1.code", "missing"),
    (REGIE + REGIE, "regie.enfance.code", "two régies"),
    (REGIE + 'label = ""', "regie.enfance.label", "1 to 100"),
    (REGIE + "label = 1", "regie.enfance.label", "1 to 100"),
    (REGIE.replace("dummy", "paypal"), "regie.enfance.gateway", "systempayv2"),
    (REGIE.replace('"dummy"', "1"), "regie.enfance.gateway", "systempayv2"),
    (REGIE.replace('"test"', '"Test"'), "regie.enfance.mode", '"production", "test"'),
    (REGIE.replace('"test"', '"production"'), "regie.enfance.mode", "test"),
    (REGIE + 'on_cancel = "keep"', "regie.enfance.on_cancel", '"hold", "release"'),
    (REGIE + 'when_in_doubt = "release"', "regie.enfance.when_in_doubt", '"reactivate", "hold"'),
    (REGIE + 'hodl = "30m"', "regie.enfance.hodl", 'did you mean "hold"?'),
    (REGIE + 'hold = "30"', "regie.enfance.hold", "whole number of s, m or h"),
    (REGIE + "hold = 30", "regie.enfance.hold", "whole number of s, m or h"),
    (REGIE + 'hold = "0s"', "regie.enfance.hold", '"1s"'),
    (REGIE + 'hold = "1.5h"', "regie.enfance.hold", "whole"),
    (REGIE + 'watch = "1d"', "regie.enfance.watch", "s, m or h"),
    (REGIE + 'hold = "2h"\nhold_limit = "1h"', "regie.enfance.hold_limit", "at least as long"),
    (REGIE + 'hold = "2 h"\nhold_limit = "1s"', "regie.enfance.hold", "s, m or h"),
    (REGIE + "options = 1", "regie.enfance.options", "[regie.options]"),
    (REGIE + '[regie.options]\nnumber = "env:ABSENT"', "regie.enfance.options.number", "ABSENT"),
    (REGIE + "portal = 1", "regie.enfance.portal", "[regie.portal]"),
    (REGIE + '[regie.portal]\nsecret = "env:GOOD"', "regie.enfance.portal.url", "https://"),
    (REGIE + '[regie.portal]\nurl = "ftp://x"\nsecret = "env:GOOD"', "regie.enfance.portal.url", "https://"),
    (
        REGIE + '[regie.portal]\nurl = "https://u:p@x"\nsecret = "env:GOOD"',
        "regie.enfance.portal.url",
        "signed",
    ),
    (REGIE + '[regie.portal]\nurl = "https://x"', "regie.enfance.portal.secret", "missing"),
    (
        REGIE + '[regie.portal]\nurl = "https://x"\nsecret = "env:BAD"',
        "regie.enfance.portal.secret",
        "whsec_",
    ),
    (
        REGIE + '[regie.portal]\nurl = "https://x"\nsecret = "env:GOOD"\nkey = 1',
        "regie.enfance.portal.key",
        "unknown",
    ),
    (
        REGIE + '[regie.portal]\nurl = "https://x"\nsecret = "env:GOOD"\nnext_secret = "env:BAD"',
        "regie.enfance.portal.next_secret",
        "whsec_",
    ),
    (
        REGIE + '[regie.portal]\nurl = "https://x"\nsecret = "env:GOOD"\nnext_secret = "env:ABSENT"',
        "regie.enfance.portal.next_secret",
        "ABSENT",
    ),
    (
        REGIE + '[regie.portal]\nurl = "https://x"\nsecret = "env:GOOD"\nprivate = "yes"',
        "regie.enfance.portal.private",
        "true or false",
    ),
    (
        REGIE + '[regie.portal]\nurl = "https://x:99999/"\nsecret = "env:GOOD"',
        "regie.enfance.portal.url",
        "https://",
    ),
]


@pytest.mark.parametrize(
    ("toml", "key", "allowed"), EVERY_FAULT, ids=[f"{n}-{key}" for n, (_, key, _) in enumerate(EVERY_FAULT)]
)
def test_each_fault_names_its_key_and_what_is_allowed(configure: Configure, toml: str, key: str, allowed: str) -> None:
    """One fault, one problem: no fault of one key drags another along."""
    found = faults(configure(toml, GOOD=WEBHOOK_SECRET, BAD="whsec_$$"))
    assert list(found) == [key]
    assert allowed in found[key]


def test_all_faults_are_told_at_once(configure: Configure) -> None:
    """Everything that is wrong, in one go, from environment and file alike."""
    toml = "prot = 1\n" + CLIENT.replace(HASH, "x") + REGIE + 'hold = "x"\nwatch = "y"'
    found = faults(configure(toml, PORT="x", DATABASE_URL="x"))
    assert found.keys() == {
        "prot",
        "client.portail.token_sha256",
        "regie.enfance.hold",
        "regie.enfance.watch",
        "PORT",
        "DATABASE_URL",
    }


def test_a_gateways_options_are_its_own_to_check(configure: Configure) -> None:
    """What that gateway needs and does not know is told under the régie's options."""
    found = faults(configure('[[regie]]\ncode = "a"\n[regie.options]\nvads_site = "1"'))
    assert found.keys() == {
        "regie.a.options.vads_site",
        "regie.a.options.vads_site_id",
        "regie.a.options.secret_production",
    }


def test_a_client_may_name_a_regie_that_is_not_there(configure: Configure) -> None:
    """A régie that left the configuration, or a client that reaches none, is told and stops nothing."""
    reading = configure(CLIENT.replace("enfance", "enfanse") + REGIE)
    assert reading.problems == []
    assert 'did you mean "enfance"?' in warnings(reading)["client.portail.regies"]
    alone = configure(CLIENT.replace('"enfance"', ""))
    assert alone.problems == []
    assert "no régie" in warnings(alone)["client.portail.regies"]


def test_a_token_is_found_by_its_hash_in_either_case(configure: Configure) -> None:
    """`sha256sum` and others write either; the same client is found, and reaches what it should."""
    client = configure(CLIENT.replace(HASH, HASH.upper()) + REGIE).settings.clients[HASH]
    assert client.may("events")
    assert not client.may("admin")
    assert client.reaches("enfance")
    assert not client.reaches("cantine")


def test_a_star_reaches_every_regie(configure: Configure) -> None:
    """`["*"]` is all of them, those that left the configuration too."""
    client = configure(CLIENT.replace('"enfance"', '"*"')).settings.clients[HASH]
    assert client.reaches("anything")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("30s", 30), ("30m", 1800), ("2h", 7200), ("8784h", 31_622_400), ("007s", 7)],
)
def test_durations_are_whole_seconds_minutes_or_hours(text: str, seconds: int) -> None:
    """What the contract allows, in seconds."""
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0s",
        "1",
        "s",
        "-1s",
        "+1s",
        "1 s",
        "1S",
        "1.0s",
        "1d",
        "8785h",
        "1s\n",
        "١s",
        "9" * 40 + "s",
        30,
        None,
        True,
    ],
)
def test_nothing_else_is_a_duration(text: object) -> None:
    """No sign, no fraction, no space, no other unit, no other digits, no year and a day."""
    assert duration_seconds(text) is None


# Secrets


def test_a_secret_is_read_from_the_environment_or_a_file(configure: Configure, tmp_path: Path) -> None:
    """`env:` and `file:`, relative to the configuration; the newline that editors add is no part of it."""
    (tmp_path / "secret.txt").write_text("fromfile\n")
    toml = '[[regie]]\ncode = "a"\nmode = "%s"\n[regie.options]\nvads_site_id = "12345678"\nsecret_%s = "%s"'
    of_file = configure(toml % ("production", "production", "file:secret.txt"))
    of_variable = configure(toml % ("test", "test", "env:NAME"), NAME="fromenvironment")
    assert of_file.problems == of_variable.problems == []
    assert of_file.settings.regies["a"].revealed_options()["secret_production"] == "fromfile"
    assert of_file.settings.regies["a"].secrets()["options.secret_production"].file == tmp_path / "secret.txt"
    assert of_variable.settings.regies["a"].revealed_options()["secret_test"] == "fromenvironment"
    assert of_variable.settings.regies["a"].secrets()["options.secret_test"].file is None
    assert of_file.settings.warnings == of_variable.settings.warnings == ()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        (b"\n", "empty"),
        (b"\xff", "UTF-8"),
        (b"x" * (MAX_SECRET_BYTES + 1), "larger"),
    ],
)
def test_a_secret_file_that_is_no_use_is_named(tmp_path: Path, content: bytes | None, why: str) -> None:
    """Absent, empty, not text or far too large: told with its path, never its content."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SecretError, match=why) as caught:
        find_secret("file:secret", {}, tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("environ", [{}, {"NAME": ""}])
def test_a_secret_variable_must_have_a_value(environ: dict[str, str]) -> None:
    """An empty key would sign anything."""
    with pytest.raises(SecretError, match="NAME"):
        find_secret("env:NAME", environ, Path())


def test_a_literal_secret_works_and_is_warned_of_without_a_word_of_it(configure: Configure) -> None:
    """A literal is accepted; the warning names its key."""
    toml = '[[regie]]\ncode = "a"\n[regie.options]\nvads_site_id = "12345678"\nsecret_production = "hunter2"'
    reading = configure(toml)
    assert reading.problems == []
    assert reading.settings.regies["a"].revealed_options()["secret_production"] == "hunter2"
    assert "env:NAME" in warnings(reading)["regie.a.options.secret_production"]
    assert "hunter2" not in str(reading.settings.warnings)


@pytest.mark.parametrize("secret", ["env:WEAK", "env:GOOD"])
def test_a_weak_webhook_key_is_warned_of(configure: Configure, secret: str) -> None:
    """Standard Webhooks asks for 24 bytes."""
    toml = REGIE + f'[regie.portal]\nurl = "https://x"\nsecret = "{secret}"'
    reading = configure(toml, GOOD=WEBHOOK_SECRET, WEAK="whsec_c2VjcmV0")
    assert reading.problems == []
    assert ("regie.enfance.portal.secret" in warnings(reading)) == (secret == "env:WEAK")


@pytest.mark.parametrize(
    ("url", "private", "is_told_of"),
    [
        ("http://localhost:9000/hook", False, True),
        ("https://10.1.2.3/hook", False, True),
        ("https://[fd00::1]/hook", False, True),
        ("https://10.1.2.3/hook", True, False),
        ("https://93.184.216.34/hook", False, False),
        ("https://portail.example/hook", False, False),
    ],
)
def test_a_portal_that_could_never_be_told_is_warned_of(
    configure: Configure, url: str, *, private: bool, is_told_of: bool
) -> None:
    """An address that says by itself that it is an inner one; where a name leads is known when it is called."""
    toml = REGIE + f'[regie.portal]\nurl = "{url}"\nsecret = "env:GOOD"\nprivate = {str(private).lower()}'
    reading = configure(toml, GOOD=WEBHOOK_SECRET)
    assert reading.problems == []
    assert ("private = true" in warnings(reading).get("regie.enfance.portal.url", "")) == is_told_of


def test_both_secrets_of_a_portal_are_known_while_one_replaces_the_other(configure: Configure) -> None:
    """The old one first; where each is kept can be examined; an inner address only where it says so."""
    portal = '[regie.portal]\nurl = "https://x"\nsecret = "env:GOOD"\n'
    plain = configure(REGIE + portal, GOOD=WEBHOOK_SECRET).settings.regies["enfance"]
    assert plain.portal is not None
    assert [each.reveal() for each in plain.portal.secrets] == [WEBHOOK_SECRET]
    assert not plain.portal.private
    following = "whsec_" + "B" * 32
    reading = configure(
        REGIE + portal + 'next_secret = "env:NEXT"\nprivate = true', GOOD=WEBHOOK_SECRET, NEXT=following
    )
    assert reading.problems == []
    regie = reading.settings.regies["enfance"]
    assert regie.portal is not None
    assert [each.reveal() for each in regie.portal.secrets] == [WEBHOOK_SECRET, following]
    assert regie.portal.private
    assert {"portal.secret", "portal.next_secret"} <= set(regie.secrets())
    assert following not in everything(reading)


@pytest.mark.parametrize("secret", ["whsec_AAAA\nAAAA", "whsec_AAA", "whsec_", "WHSEC_AAAAAAAA", "whsec_AA-_AAAA"])
def test_a_secret_that_could_not_sign_is_refused_at_once(configure: Configure, secret: str) -> None:
    """What is not base64 to the letter would fail at the first notification."""
    toml = REGIE + '[regie.portal]\nurl = "https://x"\nsecret = "env:S"'
    assert [problem.key for problem in configure(toml, S=secret).problems] == ["regie.enfance.portal.secret"]


@pytest.mark.parametrize(("url", "warned"), [("http://portail.example", True), ("http://127.0.0.1:8000/x", False)])
def test_notifications_in_clear_are_warned_of(configure: Configure, url: str, *, warned: bool) -> None:
    """Plain http is fine on this machine alone."""
    toml = REGIE + f'[regie.portal]\nurl = "{url}"\nsecret = "env:GOOD"\nprivate = true'
    reading = configure(toml, GOOD=WEBHOOK_SECRET)
    assert reading.problems == []
    assert ("regie.enfance.portal.url" in warnings(reading)) == warned


def everything(reading: Reading) -> str:
    """All that a careless line of code could print of a configuration."""
    settings = reading.settings
    parts: list[Any] = [reading, settings, settings.regies, settings.metrics_token, *reading.problems]
    parts += [*settings.warnings, *settings.regies.values()]
    for regie in settings.regies.values():
        parts += [regie.options, dict(regie.options), regie.portal, regie.secrets()]
    return "".join(f"{part!r} {part!s} {part}" for part in parts)


def test_no_secret_is_ever_shown(configure: Configure, tmp_path: Path) -> None:
    """Not by repr, str, format or a log record: from a variable, a file, a literal or a URL."""
    (tmp_path / "secret.txt").write_text("hunter2-file")
    reading = configure(
        """
        database_url = "postgresql://u:hunter2-url@h/d"
        metrics_token = "hunter2-token"
        [[regie]]
        code = "a"
        [regie.options]
        vads_site_id = "12345678"
        secret_production = "env:PRODUCTION"
        secret_test = "file:secret.txt"
        [regie.portal]
        url = "https://x"
        secret = "env:HOOK"
        """,
        PRODUCTION="hunter2-variable",
        HOOK="whsec_hunter2+hunter2+hunter2+hunter2+",
        REDIS_URL="redis://:hunter2-redis@h",
    )
    assert "hunter2" not in everything(reading)
    assert "hunter2" not in str(logging.makeLogRecord({"msg": "%s", "args": (reading.settings,)}).getMessage())


def test_no_secret_is_shown_by_a_fault(configure: Configure) -> None:
    """Every key that may hold a secret, with a wrong one in it."""
    toml = """
    database_url = "mysql://u:hunter2@h/d"
    [[client]]
    name = "a"
    token_sha256 = "hunter2"
    scopes = ["events"]
    [[regie]]
    code = "a"
    [regie.options]
    secret = "hunter2"
    vads_site_id = 1
    [regie.portal]
    url = "https://u:hunter2@h"
    secret = "hunter2"
    """
    reading = configure(toml, REDIS_URL="hunter2", S="x")
    assert len(reading.problems) >= 6
    assert "hunter2" not in everything(reading)


def test_no_secret_is_shown_by_a_traceback(tmp_path: Path) -> None:
    """An undecodable secret file does not arrive in a traceback through the chained exception."""
    (tmp_path / "s").write_bytes(b"hunter2\xff")
    with pytest.raises(SecretError) as caught:
        find_secret("file:s", {}, tmp_path)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("option", "secret"),
    [
        ("secret_production", True),
        ("secret_key", True),
        ("sha_out", True),
        ("sha_in", True),
        ("api_key", True),
        ("password", True),
        ("shared_secret", True),
        ("cle", True),
        ("vads_site_id", False),
        ("numcli", False),
        ("key_version", False),
        ("rang", False),
    ],
)
def test_options_that_hold_a_secret_are_known_by_name(option: str, *, secret: bool) -> None:
    """Of every gateway of the library; a site's number is not one, and may be shown."""
    assert names_a_secret(option) == secret
