"""The configuration: environment over TOML over defaults, every fault at once, by key.

Source: the contract's "Configuration". `load` is for whoever starts something, `load_database` for who looks at what is
stored, `read` for who examines an installation.
"""

import base64
import binascii
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from schemas.records import Policy, Retention
from worker.gateways.capabilities import CAPABILITIES
from worker.portals.addresses import is_allowed
from worker.secret import Secret, is_reference, names_a_secret
from worker.table import Faults, Problem, Source, Table, duration_seconds, listed, nearest, quoted, usable_url

SCOPES: Final = ("events", "read", "admin")
MODES: Final = ("production", "test")
ON_CANCEL: Final = ("hold", "release")
WHEN_IN_DOUBT: Final = ("reactivate", "hold")

DEFAULT_CONFIG: Final = "lettrage.toml"
DEFAULT_STATE_DIR: Final = ".lettrage"
DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8080
DEFAULT_GATEWAY: Final = "systempayv2"

SHOWN_MONTHS: Final = 24
"""How long a family sees an invoice in Historique. Source: the contract's `view=history`."""
MIN_WEBHOOK_KEY_BYTES: Final = 24
"""What Standard Webhooks asks of a signing key."""

_LISTENING_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (nothing listens here)
OURS: Final = "lettrage"
"""The client of the events that we write: another of that name could write a hold's end before we do."""

_CODE = re.compile(r"[a-z0-9-]{1,40}")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")
_HASH = re.compile(r"[0-9a-f]{64}")
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

_TOP_KEYS: Final = (
    "client",
    "regie",
    "database_url",
    "redis_url",
    "host",
    "port",
    "state_dir",
    "metrics_host",
    "metrics_port",
    "metrics_token",
    "trusted_proxies",
    "retention_months",
    "raw_retention_months",
    "notification_retention_months",
)
_CLIENT_KEYS: Final = ("name", "token_sha256", "scopes", "regies")
_REGIE_KEYS: Final = (
    "code",
    "label",
    "gateway",
    "mode",
    "hold",
    "on_cancel",
    "when_in_doubt",
    "hold_limit",
    "watch",
    "options",
    "portal",
)
_PORTAL_KEYS: Final = ("url", "secret", "next_secret", "private")


class SettingsError(Exception):
    """The configuration has faults, all of them in `problems`; nothing may start."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who may call the API, with which scopes and for which régies (`*`: all)."""

    name: str
    scopes: frozenset[str]
    regies: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether its token is good for that scope."""
        return scope in self.scopes

    def reaches(self, regie: str) -> bool:
        """Whether its token is good for that régie."""
        return "*" in self.regies or regie in self.regies


@dataclass(frozen=True, slots=True, kw_only=True)
class Portal:
    """Where a régie's outgoing notifications go, and the `whsec_` secret that signs them.

    `next_secret` signs beside it while one replaces the other; `private`: the address may be an inner one.
    """

    url: str
    secret: Secret
    next_secret: Secret | None = None
    private: bool = False

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All that sign."""
        return (self.secret,) if self.next_secret is None else (self.secret, self.next_secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regie:
    """A régie: what it chose (`policy`, seconds), its gateway's options, its portal."""

    code: str
    policy: Policy
    options: Mapping[str, Any] = field(repr=False)
    portal: Portal | None = None

    def revealed_options(self) -> dict[str, Any]:
        """The gateway's options with their secrets in clear: for the gateway alone."""
        return {name: _reveal(value) for name, value in self.options.items()}

    def secrets(self) -> dict[str, Secret]:
        """Its secrets by key, so that where they are kept can be examined."""
        found = {f"options.{name}": value for name, value in self.options.items() if isinstance(value, Secret)}
        if self.portal is not None:
            found |= dict(zip(("portal.secret", "portal.next_secret"), self.portal.secrets, strict=False))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One installation's whole configuration. `clients` are by token hash, `regies` by code.

    `database_url` or `redis_url` None: the embedded server of `state_dir`. `config` None: there is no file.
    `warnings` are faults that stop nothing.
    """

    database_url: str | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    state_dir: Path = field(default_factory=lambda: Path(DEFAULT_STATE_DIR).absolute())
    metrics_host: str = DEFAULT_HOST
    metrics_port: int | None = None
    metrics_token: Secret | None = None
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Whose `X-Forwarded-For` is believed when callbacks' quotas are counted by address."""
    retention: Retention = field(default_factory=Retention)
    """How long what is personal or raw is kept."""
    clients: Mapping[str, Client] = field(default_factory=dict, repr=False)
    regies: Mapping[str, Regie] = field(default_factory=dict)
    config: Path | None = None
    warnings: tuple[Problem, ...] = ()

    @property
    def own_url(self) -> str:
        """Where the API is for who calls it from this machine, without a final slash."""
        host = _LISTENING_EVERYWHERE.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def policies(self) -> dict[str, Policy]:
        """What each régie chose, as the database keeps it: without secrets."""
        return {code: regie.policy for code, regie in self.regies.items()}


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be made of a configuration, and every fault that was met; with any, `settings` is a part."""

    settings: Settings
    problems: list[Problem]


def load(environ: Mapping[str, str], folder: Path | None = None) -> Settings:
    """The settings of the environment and its TOML file; relative paths start in `folder` (default: here).

    Raises:
        SettingsError: anything is wrong, with every fault.
    """
    reading = read(environ, folder)
    if reading.problems:
        raise SettingsError(reading.problems)
    return reading.settings


def load_database(environ: Mapping[str, str], folder: Path | None = None) -> Settings:
    """The settings of who has to do with the database alone: where it is, and how long what is kept there.

    Clients and régies are not read: nobody needs a gateway's secret to look at an invoice.

    Raises:
        SettingsError: anything of this is wrong, with every fault.
    """
    opened = _open(environ, folder)
    settings = _stored(opened)
    if opened.faults.problems:
        raise SettingsError(opened.faults.problems)
    return replace(settings, warnings=tuple(opened.faults.warnings))


def read(environ: Mapping[str, str], folder: Path | None = None) -> Reading:
    """The settings as far as they can be read, and all that is wrong with them."""
    opened = _open(environ, folder)
    top, faults = opened.top, opened.faults
    clients = _clients(top.tables("client"), faults)
    regies = _regies(top.tables("regie"), faults)
    _warn_of_unreachable(clients, regies, faults)
    settings = replace(
        _stored(opened),
        redis_url=top.address("redis_url", "REDIS_URL", ("redis", "rediss", "unix")),
        host=top.server("host", "HOST") or DEFAULT_HOST,
        port=top.port("port", "PORT") or DEFAULT_PORT,
        metrics_host=top.server("metrics_host", "METRICS_HOST") or DEFAULT_HOST,
        metrics_port=top.port("metrics_port", "METRICS_PORT"),
        metrics_token=_metrics_token(top),
        trusted_proxies=top.networks("trusted_proxies", "LETTRAGE_TRUSTED_PROXIES"),
        clients=clients,
        regies=regies,
        warnings=tuple(faults.warnings),
    )
    return Reading(settings, faults.problems)


@dataclass(frozen=True, slots=True)
class _Opened:
    """The configuration before its values are judged; `config` None: there is no file."""

    here: Path
    config: Path | None
    top: Table

    @property
    def faults(self) -> Faults:
        return self.top.faults


def _open(environ: Mapping[str, str], folder: Path | None) -> _Opened:
    here = (folder or Path.cwd()).absolute()
    path = here / Path(environ.get("LETTRAGE_CONFIG") or DEFAULT_CONFIG).expanduser()
    faults = Faults()
    document = _document(path, faults, required=bool(environ.get("LETTRAGE_CONFIG")))
    top = Table("", document or {}, Source(environ, path.parent, faults))
    top.refuse_unknown(_TOP_KEYS)
    return _Opened(here, path if document is not None else None, top)


def _stored(opened: _Opened) -> Settings:
    """Where the database is, and how long what is kept there; the rest has its defaults."""
    top = opened.top
    return Settings(
        database_url=top.address("database_url", "DATABASE_URL", ("postgresql", "postgres")),
        state_dir=_state_dir(top, opened.here),
        retention=_retention(top),
        config=opened.config,
    )


def _reveal(value: Any) -> Any:  # noqa: ANN401 (TOML values nest freely)
    match value:
        case Secret():
            return value.reveal()
        case dict():
            return {name: _reveal(item) for name, item in value.items()}
        case list():
            return [_reveal(item) for item in value]
        case _:
            return value


def _document(path: Path, faults: Faults, *, required: bool) -> dict[str, Any] | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if required:
            faults.add("LETTRAGE_CONFIG", f"{path} does not exist")
        return None
    except OSError as error:
        faults.add("LETTRAGE_CONFIG", f"{path} cannot be read: {error.strerror}")
        return None
    try:
        return tomllib.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.add(str(path), f"not TOML: {_without_values(error)}")
        return {}


def _without_values(error: Exception) -> str:
    """Where TOML went wrong; what stands there could be a secret."""
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    where = re.search(r"\(at (line \d+, column \d+|end of document)\)", str(error))
    what = str(error).split(" (at ")[0]
    plain = what if not re.search(r"['\"]", what) else "a syntax error"
    return f"{plain}, at {where[1]}" if where else plain


def _state_dir(top: Table, here: Path) -> Path:
    key, value = top.setting("state_dir", "LETTRAGE_STATE_DIR")
    start = here if key == "LETTRAGE_STATE_DIR" else top.source.folder
    if value is None:
        return here / DEFAULT_STATE_DIR
    if not isinstance(value, str) or not value or "\0" in value:
        top.faults.add(key, f'{quoted(value)} is not a folder, such as "/var/lib/lettrage"')
        return here / DEFAULT_STATE_DIR
    return start / Path(value).expanduser()


def _retention(top: Table) -> Retention:
    """How long what is kept. What a shorter `retention_months` would contradict is as short unless it is said."""
    example = Retention()
    months = top.months("retention_months", "LETTRAGE_RETENTION_MONTHS") or example.months
    if months < SHOWN_MONTHS:
        key, _ = top.setting("retention_months", "LETTRAGE_RETENTION_MONTHS")
        top.faults.warn(key, f"families see invoices for {SHOWN_MONTHS} months: the older ones have no label then")
    shorter = {
        "raw_retention_months": ("LETTRAGE_RAW_RETENTION_MONTHS", example.raw_months),
        "notification_retention_months": ("LETTRAGE_NOTIFICATION_RETENTION_MONTHS", example.notification_months),
    }
    found = []
    for name, (variable, default) in shorter.items():
        value = top.months(name, variable) or min(default, months)
        if value > months:
            key, _ = top.setting(name, variable)
            top.faults.add(key, f"{value} is longer than retention_months, {months}: at most as long")
        found.append(value)
    return Retention(months=months, raw_months=found[0], notification_months=found[1])


def _metrics_token(top: Table) -> Secret | None:
    key, value = top.setting("metrics_token", "LETTRAGE_METRICS_TOKEN")
    if value is None:
        return None
    if key == "LETTRAGE_METRICS_TOKEN":
        return Secret(str(value), f"env:{key}")
    return top.secret("metrics_token")


def _clients(tables: list[Table], faults: Faults) -> dict[str, Client]:
    clients: dict[str, Client] = {}
    names: set[str] = set()
    for table in tables:
        table.refuse_unknown(_CLIENT_KEYS)
        name = table.text("name", _NAME, "1 to 100 characters, none of control")
        token = _token_hash(table)
        scopes = _scopes(table)
        regies = _codes(table)
        if name == OURS:
            faults.add(table.key("name"), f"{quoted(name)} is who writes our own events; choose another name")
        if name in names:
            faults.add(
                table.key("name"), f"{quoted(name)} names two clients; to replace a token, take the old block out"
            )
        if token in clients:
            faults.add(
                table.key("token_sha256"),
                f"the same token as {quoted(clients[token].name)}; give each its own",
            )
        if name is None or token is None:
            continue
        names.add(name)
        clients.setdefault(token, Client(name=name, scopes=scopes, regies=regies))
    return clients


def _token_hash(table: Table) -> str | None:
    """The hash, in lower case. A wrong one is never quoted: it may be the token itself."""
    value = table.values.get("token_sha256")
    if isinstance(value, str) and _HASH.fullmatch(value.lower()):
        return value.lower()
    table.fault("token_sha256", "64 hexadecimal digits: the token's SHA-256; `lettrage token` makes both")
    return None


def _scopes(table: Table) -> frozenset[str]:
    scopes = table.strings("scopes")
    for scope in scopes:
        if scope not in SCOPES:
            table.fault("scopes", f"{quoted(scope)} is not allowed; some of {listed(SCOPES)}")
    if "scopes" not in table.values or table.values["scopes"] == []:
        table.fault("scopes", f"missing; some of {listed(SCOPES)}")
    return frozenset(scopes)


def _codes(table: Table) -> frozenset[str]:
    codes = table.strings("regies")
    for code in codes:
        if code != "*" and not _CODE.fullmatch(code):
            table.fault("regies", f'{quoted(code)} is not allowed; codes of régies ([a-z0-9-]{{1,40}}) or ["*"]')
    return frozenset(codes)


def _warn_of_unreachable(clients: Mapping[str, Client], regies: Mapping[str, Regie], faults: Faults) -> None:
    """A client may name a régie that left, or is not there yet; it is told, and stops nothing."""
    for client in clients.values():
        if not client.regies:
            faults.warn(f"client.{client.name}.regies", 'reaches no régie; list their codes, or ["*"]')
        for code in sorted(client.regies - {"*"} - regies.keys()):
            if _CODE.fullmatch(code):
                faults.warn(
                    f"client.{client.name}.regies",
                    f"no [[regie]] has the code {code!r}; {nearest(code, regies)}",
                )


def _regies(tables: list[Table], faults: Faults) -> dict[str, Regie]:
    regies: dict[str, Regie] = {}
    for table in tables:
        table.refuse_unknown(_REGIE_KEYS)
        code = table.text("code", _CODE, "1 to 40 of a-z, 0-9 and -")
        regie = _regie(code or "", table)
        if code in regies:
            faults.add(table.key("code"), f"{code!r} is the code of two régies; each needs its own")
        elif code is not None:
            regies[code] = regie
    return regies


def _regie(code: str, table: Table) -> Regie:
    portal = _portal(table)
    policy = _policy(code, table, notify=portal is not None)
    options = _options(table)
    _check_gateway(table, policy, options)
    return Regie(code=code, policy=policy, options=options, portal=portal)


def _policy(code: str, table: Table, *, notify: bool) -> Policy:
    example = Policy(label=code, gateway=DEFAULT_GATEWAY)
    hold = table.seconds("hold", example.hold)
    hold_limit = table.seconds("hold_limit", max(example.hold_limit, hold))
    if hold_limit < hold and duration_seconds(table.values.get("hold", "1s")):
        table.fault("hold_limit", f"{hold_limit} s is shorter than hold, {hold} s; at least as long")
    gateway = _gateway(table)
    return Policy(
        label=_label(code, table),
        gateway=gateway,
        mode=table.choice("mode", MODES),
        hold=hold,
        on_cancel=table.choice("on_cancel", ON_CANCEL),
        when_in_doubt=table.choice("when_in_doubt", WHEN_IN_DOUBT),
        hold_limit=hold_limit,
        watch=table.seconds("watch", example.watch),
        notify=notify,
        polls=CAPABILITIES[gateway].poll_seconds if gateway in CAPABILITIES else (),
    )


def _label(code: str, table: Table) -> str:
    if "label" not in table.values:
        return code
    return table.text("label", _NAME, "1 to 100 characters, none of control") or code


def _gateway(table: Table) -> str:
    value = table.values.get("gateway", DEFAULT_GATEWAY)
    return value if isinstance(value, str) else ""


def _options(table: Table) -> dict[str, Any]:
    """The gateway's options; what is named elsewhere is fetched, what holds a secret is wrapped."""
    options = table.table("options")
    if options is None:
        return {}
    return {name: _option(options, name, value) for name, value in options.values.items()}


def _option(options: Table, name: str, value: object) -> object:
    if not isinstance(value, str) or not (is_reference(value) or names_a_secret(name)):
        return value
    if not value:
        return value  # the gateway's own check says that it is missing
    return options.found_secret(name, value)


def _check_gateway(table: Table, policy: Policy, options: Mapping[str, Any]) -> None:
    """What the gateway says of its options; with a wrong mode, what it says in every mode."""
    from worker.gateways.options import check_options  # noqa: PLC0415 (eopayment loads slowly: who has a régie pays)

    told = {problem.key for problem in table.faults.problems}
    modes = MODES if table.key("mode") in told else (policy.mode,)
    first, *others = [check_options(policy.gateway, mode, _reveal(dict(options))) for mode in modes]
    for problem in first:
        name = problem.key if problem.key in _REGIE_KEYS else f"options.{problem.key}"
        if table.key(name) not in told and all(problem in other for other in others):
            table.fault(name, problem.message)


def _portal(regie: Table) -> Portal | None:
    table = regie.table("portal")
    if table is None:
        return None
    table.refuse_unknown(_PORTAL_KEYS)
    url = _portal_url(table)
    secret = table.secret("secret")
    following = table.secret("next_secret") if "next_secret" in table.values else None
    for name, each in (("secret", secret), ("next_secret", following)):
        if each is not None:
            _check_webhook_secret(table, name, each)
    private = table.values.get("private", False)
    if not isinstance(private, bool):
        table.fault("private", "true or false")
    elif url and not private and _is_inner(url):
        table.faults.warn(table.key("url"), "is not public, so nothing is ever told there; private = true allows it")
    return Portal(url=url, secret=secret, next_secret=following, private=private is True) if url and secret else None


def _is_inner(url: str) -> bool:
    """Whether an address is this machine's or an inner one; what a name leads to is known when it is called."""
    host = urlsplit(url).hostname or ""
    try:
        return not is_allowed(host, private=False)
    except ValueError:  # a name
        return host in _LOOPBACK


def _portal_url(table: Table) -> str | None:
    value = table.values.get("url")
    url = usable_url(value) if isinstance(value, str) else None
    if url is None or url.scheme not in ("https", "http") or not url.hostname:
        table.fault("url", 'missing or not an address; such as "https://portail.example/lettrage"')
        return None
    if url.username or url.password:
        table.fault("url", "without a user or password: notifications are signed instead")
        return None
    if url.scheme == "http" and url.hostname not in _LOOPBACK:
        table.faults.warn(table.key("url"), "notifications name accounts and would travel in clear; use https")
    return str(value)


def _check_webhook_secret(table: Table, name: str, secret: Secret) -> None:
    """Standard Webhooks: `whsec_` and the key in base64."""
    prefix, _, encoded = secret.reveal().partition("_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if prefix != "whsec" or not key:
        table.fault(name, "not a Standard Webhooks secret: whsec_ and then the key in base64")
    elif len(key) < MIN_WEBHOOK_KEY_BYTES:
        table.faults.warn(table.key(name), f"{len(key)} bytes are easily guessed; use 24 to 64 random ones")
