"""A throw-away installation: Lettrage, a simulated gateway, an example portal and a panel, each in its own process.

Nothing of the machine's own configuration is used, not even its DATABASE_URL: a demo must never play families into a
real database.
"""

import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from worker.demonstration.documents import write_document
from worker.demonstration.families import AFTER_SCHOOL, CANTEEN, CHILDHOOD, FAMILIES, INVOICES, MARTIN, PASSWORD

HOLD_SECONDS: Final = 30
"""Instead of 30 min, so that a person sees the end of it."""
HOST: Final = "127.0.0.1"
LETTRAGE_PORT: Final = 8080
PORTAL_PORT: Final = 8081
GATEWAY_PORT: Final = 8082
PANEL_PORT: Final = 8083
LATE_SECONDS: Final = 10
"""How long after a hold's end a late notification comes, where the panel wants one."""
STOP_SECONDS: Final = 25
"""What each process may take to end: `lettrage up` drains, then stops its servers."""
SITE_ID: Final = "12345678"
NUMCLI: Final = "000001"
TOKEN: Final = "demo"  # noqa: S105 (not a secret: made-up families, on loopback, gone afterwards)
"""Always the same, so that a document can show a request which works when it is copied."""
HERE: Final = Path(__file__).resolve().parents[2]
SHOWN_LOG_LINES: Final = 20
DOCUMENTS: Final = "documents"
"""The folder of the invoices' documents, which the portal gives to their families."""
_PR_SET_PDEATHSIG: Final = 1
"""Linux, <sys/prctl.h>."""


class DemoError(Exception):
    """Something that the demo needs did not start, or died; the message says what to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where everything answers, without a final slash."""

    lettrage: str
    portal: str
    gateway: str
    panel: str


@dataclass(frozen=True, slots=True)
class Keys:
    """What is secret here: the gateway's signing key, and the one that notifications to the portal are signed with."""

    gateway: str = field(default_factory=lambda: secrets.token_hex(16))
    portal: str = field(default_factory=lambda: f"whsec_{b64encode(secrets.token_bytes(32)).decode()}")


@dataclass(frozen=True, slots=True)
class Process:
    """One of the demo's processes, and where its output goes."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def complaint(self) -> str | None:
        """Why it is not running any more, with the end of its log; None while it runs."""
        code = self.popen.poll()
        if code is None:
            return None
        return f"{self.name} has ended with code {code}. {self.last_words()}"

    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LOG_LINES:]
        return "\n  ".join([f"The last words of {self.name}:", *lines])

    def ask_to_end(self) -> None:
        """Send it the signal that a platform sends."""
        if self.popen.poll() is None:
            self.popen.terminate()

    def wait(self) -> None:
        """Wait for its end, and end its whole group if it does not come."""
        try:
            self.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What runs, where, and the token to talk to it."""

    addresses: Addresses
    token: str
    processes: Sequence[Process]

    def check(self) -> None:
        """Raise DemoError if any of it has died."""
        for process in self.processes:
            complaint = process.complaint()
            if complaint:
                raise DemoError(complaint)


@contextmanager
def installed(hold_seconds: int = HOLD_SECONDS) -> Iterator[Installation]:
    """Start everything in a temporary folder; stop everything and remove the folder, whatever happens."""
    if not (HERE / "examples" / "portal").is_dir():
        raise DemoError(f"{HERE} has no examples/: run the demo from a copy of the source, with `make demo`")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lettrage-demo-")))
        addresses = _free_addresses(stack)
        keys = Keys()
        _write(folder / "lettrage.toml", _lettrage_toml(addresses, TOKEN, hold_seconds))
        _write(folder / "gateway.toml", _gateway_toml(addresses, keys.gateway))
        _write(folder / "portal.toml", _portal_toml(addresses, keys, folder))
        _write(folder / "panel.toml", _panel_toml(addresses, hold_seconds))
        for invoice in INVOICES:
            write_document(folder / DOCUMENTS, invoice)
        processes: list[Process] = []
        stack.callback(_stop, processes)
        for name, argv, environ in _programs(folder, addresses, keys):
            processes.append(_started(name, argv, environ, folder))
        yield Installation(addresses=addresses, token=TOKEN, processes=processes)


def _stop(processes: Sequence[Process]) -> None:
    """End them all at once: each may take its time, and a person waits."""
    for process in reversed(processes):
        process.ask_to_end()
    for process in reversed(processes):
        process.wait()


def _free_addresses(claims: ExitStack) -> Addresses:
    ports = [_free_port(wanted, claims) for wanted in (LETTRAGE_PORT, PORTAL_PORT, GATEWAY_PORT, PANEL_PORT)]
    lettrage, portal, gateway, panel = (f"http://{HOST}:{port}" for port in ports)
    return Addresses(lettrage=lettrage, portal=portal, gateway=gateway, panel=panel)


def _free_port(wanted: int, claims: ExitStack) -> int:
    """The usual port if nothing listens there and no other demo claims it, else any that is free."""
    for port in (wanted, 0):
        with suppress(OSError):
            claims.enter_context(_claim(port))
            return _bindable(port)
    raise DemoError(f"no free port on {HOST}")


def _claim(port: int) -> socket.socket:
    """Hold the UDP port of this number: our processes listen only seconds later, and every demo looks here first."""
    claim = socket.socket(type=socket.SOCK_DGRAM)
    try:
        claim.bind((HOST, port))
    except OSError:
        claim.close()
        raise
    return claim


def _bindable(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        number: int = probe.getsockname()[1]
        return number


def _programs(folder: Path, addresses: Addresses, keys: Keys) -> list[tuple[str, list[str], dict[str, str]]]:
    """Name, command and environment of each process, in the order of their start."""
    lettrage = {
        "LETTRAGE_CONFIG": str(folder / "lettrage.toml"),
        "LETTRAGE_STATE_DIR": str(folder / "state"),
        "HOST": HOST,
        "PORT": addresses.lettrage.rpartition(":")[2],
        "DEMO_GATEWAY_KEY": keys.gateway,
        "DEMO_PORTAL_SECRET": keys.portal,
    }
    example = [sys.executable, "-m"]
    return [
        ("lettrage up", [str(Path(sys.executable).with_name("lettrage")), "up"], lettrage),
        ("the simulated gateway", [*example, "examples.gateway", str(folder / "gateway.toml")], {}),
        ("the example portal", [*example, "examples.portal", str(folder / "portal.toml")], {}),
        ("the panel", [*example, "examples.panel", str(folder / "panel.toml")], {}),
    ]


def _started(name: str, argv: Sequence[str], environ: Mapping[str, str], folder: Path) -> Process:
    log = folder / f"{name.replace(' ', '-')}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            argv,
            cwd=HERE,
            env={**_bare_environment(), **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to pass on, once
            preexec_fn=_end_with(os.getpid()),  # noqa: PLW1509 (no other thread runs here)
        )
    return Process(name, popen, log)


def _bare_environment() -> dict[str, str]:
    """This environment without anybody's installation."""
    ours = ("DATABASE_URL", "REDIS_URL", "HOST", "PORT", "METRICS_PORT", "METRICS_HOST")
    return {name: value for name, value in os.environ.items() if name not in ours and "LETTRAGE" not in name}


def _end_with(parent: int) -> Callable[[], None]:
    """In a child on Linux: end when the demo ends, even by kill -9."""

    def ask_for_a_signal() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

    return ask_for_a_signal


def _write(path: Path, text: str) -> None:
    """Write a file that only we can read: it holds a secret."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _lettrage_toml(addresses: Addresses, token: str, hold_seconds: int) -> str:
    """Three régies: one with a signed gateway in production; one with PayFiP and one with the dummy in test."""
    return f"""
[[client]]
name = "portail"
token_sha256 = "{sha256(token.encode()).hexdigest()}"
scopes = ["events", "read"]
regies = ["*"]

[[regie]]
code = "{CHILDHOOD}"
label = "Régie Enfance"
gateway = "systempayv2"
mode = "production"
hold = "{hold_seconds}s"
[regie.options]
vads_site_id = "{SITE_ID}"
signature_algo = "hmac_sha256"
secret_production = "env:DEMO_GATEWAY_KEY"
[regie.portal]
url = "{addresses.portal}/notifications"
secret = "env:DEMO_PORTAL_SECRET"
private = true

[[regie]]
code = "{AFTER_SCHOOL}"
label = "Régie Périscolaire"
gateway = "payfip_ws"
mode = "test"
hold = "{hold_seconds}s"
[regie.options]
numcli = "{NUMCLI}"
service_url = "{addresses.gateway}/tpa/services/securite"
[regie.portal]
url = "{addresses.portal}/notifications"
secret = "env:DEMO_PORTAL_SECRET"
private = true

[[regie]]
code = "{CANTEEN}"
label = "Régie Restauration scolaire"
gateway = "dummy"
mode = "test"
hold = "{hold_seconds}s"
[regie.portal]
url = "{addresses.portal}/notifications"
secret = "env:DEMO_PORTAL_SECRET"
private = true
"""


def _gateway_toml(addresses: Addresses, key: str) -> str:
    return f"""
port = {addresses.gateway.rpartition(":")[2]}

[[shop]]
site_id = "{SITE_ID}"
label = "Régie Enfance"
key = "{key}"
notify_url = "{addresses.lettrage}/v1/callbacks/{CHILDHOOD}"

[[payfip.regie]]
numcli = "{NUMCLI}"
labels = ["Ville de démonstration", "Régie Périscolaire"]
"""


def _panel_toml(addresses: Addresses, hold_seconds: int) -> str:
    return f"""
port = {addresses.panel.rpartition(":")[2]}
lettrage_url = "{addresses.lettrage}"
token = "{TOKEN}"
portal_url = "{addresses.portal}"
gateway_url = "{addresses.gateway}"
account = "{MARTIN.account}"
password = "{PASSWORD}"
hold_seconds = {hold_seconds}
late_seconds = {hold_seconds + LATE_SECONDS}
"""


def _portal_toml(addresses: Addresses, keys: Keys, folder: Path) -> str:
    families = "".join(
        f'[[family]]\naccount = "{family.account}"\nname = "{family.name}"\nemail = "{family.email}"\n'
        for family in FAMILIES
    )
    return f"""
port = {addresses.portal.rpartition(":")[2]}
public_url = "{addresses.portal}"
lettrage_url = "{addresses.lettrage}"
token = "{TOKEN}"
notification_secrets = ["{keys.portal}"]
state = "{folder / "portal.sqlite"}"
documents = "{folder / DOCUMENTS}"

{families}
[[gateway]]
regie = "{CHILDHOOD}"
kind = "systempayv2"
url = "{addresses.gateway}/vads-payment/"
site_id = "{SITE_ID}"
key = "{keys.gateway}"
mode = "PRODUCTION"

[[gateway]]
regie = "{AFTER_SCHOOL}"
kind = "payfip_ws"
service_url = "{addresses.gateway}/tpa/services/securite"
payment_url = "{addresses.gateway}/tpa/paiementws.web"
numcli = "{NUMCLI}"
saisie = "T"
notify_url = "{addresses.lettrage}/v1/callbacks/{AFTER_SCHOOL}"

[[gateway]]
regie = "{CANTEEN}"
kind = "dummy"
url = "{addresses.gateway}/dummy/"
notify_url = "{addresses.lettrage}/v1/callbacks/{CANTEEN}"
"""
