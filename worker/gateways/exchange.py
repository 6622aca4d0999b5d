"""One HTTP request to a gateway: every wait ends at one deadline, the answer has a size, redirects are refused.

Made on http.client, because the timeouts of `requests` start again with every byte that comes: a gateway that sends one
byte a second holds a thread for hours. Here the connection, TLS and each read wait for what is left of the deadline.
What the operating system takes to look a name up is not bounded; whoever asks has an outer timeout as well.

Nothing is kept between requests and nothing is logged: no cookie, no idle connection that was closed meanwhile (which
would look like a gateway that does not answer), no secret at DEBUG.
"""

import base64
import functools
import http.client
import io
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import SplitResult, unquote, urlsplit

from worker.gateways.port import GatewayUnavailableError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ASK_SECONDS: Final = 8.0
"""For one ask, however many requests it takes: an answer that is late is as good as none, a family waits for it."""
CONNECT_SECONDS: Final = 3.0
"""For one address of a gateway that has several: a machine that is down must leave time for the next."""
MAX_ANSWER_BYTES: Final = 1 << 20
"""The longest known answer, Worldline's payment details, has about 10 kB."""
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
OURS: Final = {"Connection": "close", "User-Agent": "Lettrage"}
"""A request without a name is what some gateways' firewalls refuse first."""
OK: Final = 200
REDIRECTS: Final = range(300, 400)
UNAUTHORISED: Final = (401, 403)
TRY_LATER: Final = (408, 425, 429)
SERVER_ERRORS: Final = range(500, 600)


class Deadline:
    """When an ask is over."""

    def __init__(self, seconds: float = ASK_SECONDS) -> None:
        self._ends_at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then.

        Raises:
            GatewayUnavailableError: `timeout`, none is left.
        """
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise GatewayUnavailableError("timeout")
        return left


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What came back, whatever its status. `skew_seconds`: the gateway's clock minus ours, if it says its time."""

    status: int
    body: bytes = field(repr=False)
    skew_seconds: float | None = None


def exchange(
    deadline: Deadline, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> HttpAnswer:
    """Send one request and read its answer.

    Raises:
        GatewayUnavailableError: `unreachable`, `timeout`, or `protocol` (not HTTP, a redirect, too long, cut short, an
            address where anybody between could answer).
    """
    if not is_secure(url):
        raise GatewayUnavailableError("protocol", "insecure address")
    try:
        return _exchanged(deadline, method, urlsplit(url), {**OURS, **(headers or {})}, body)
    except TimeoutError as error:
        raise GatewayUnavailableError("timeout") from error
    except (ssl.SSLError, OSError) as error:
        raise GatewayUnavailableError("unreachable", _reason(error)) from error
    except (http.client.HTTPException, ValueError) as error:
        # not chained: http.client quotes a header that it refuses, key and all
        raise GatewayUnavailableError("protocol", type(error).__name__) from None


def is_secure(address: str) -> bool:
    """Whether what comes from there can be believed: over TLS, or from this machine, and without a user in it."""
    try:
        url = urlsplit(address)
    except ValueError:
        return False
    if not url.hostname or url.username is not None:
        return False
    return url.scheme == "https" or (url.scheme == "http" and url.hostname in LOOPBACK)


def refuse(answer: HttpAnswer) -> GatewayUnavailableError:
    """What an answer with an unexpected status means: never something about a payment."""
    said = f"HTTP {answer.status}"
    if answer.status in UNAUTHORISED:
        return GatewayUnavailableError("unauthorised", said)
    if answer.status in SERVER_ERRORS or answer.status in TRY_LATER:
        return GatewayUnavailableError("malfunction", said)
    return GatewayUnavailableError("protocol", said)


def _exchanged(
    deadline: Deadline, method: str, url: SplitResult, headers: Mapping[str, str], body: bytes | None
) -> HttpAnswer:
    connection = _Connection(deadline, url)
    try:
        asked_at = time.time()
        connection.request(method, url._replace(scheme="", netloc="").geturl() or "/", body, dict(headers))
        response = connection.getresponse()
        answered_at = time.time()
        return HttpAnswer(
            status=_accepted(response.status),
            body=_whole(response),
            skew_seconds=_skew(response.headers.get("Date", ""), (asked_at + answered_at) / 2),
        )
    finally:
        connection.close()
        connection.hang_up()


def _accepted(status: int) -> int:
    """A redirect would carry our question, with its key, to wherever it says."""
    if status in REDIRECTS:
        raise GatewayUnavailableError("protocol", f"HTTP {status}")
    return status


def _whole(response: http.client.HTTPResponse) -> bytes:
    body = response.read(MAX_ANSWER_BYTES + 1)
    if len(body) > MAX_ANSWER_BYTES:
        raise GatewayUnavailableError("protocol", f"answer over {MAX_ANSWER_BYTES} bytes")
    if response.length:
        raise GatewayUnavailableError("protocol", "answer cut short")
    return body


def _skew(date: str, now: float) -> float | None:
    """Whole seconds: HTTP says its time no finer."""
    try:
        said = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    said = said if said.tzinfo else said.replace(tzinfo=UTC)
    return float(round((said - datetime.fromtimestamp(now, UTC)).total_seconds()))


def _reason(error: OSError) -> str:
    """What people need to mend it: the system's or OpenSSL's own word, which names no secret."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return error.strerror or str(error) or type(error).__name__


_LOADING = threading.Lock()
"""Loading costs 30 ms of CPU: the threads that come meanwhile wait for it instead of doing the same."""


def _trust() -> ssl.SSLContext:
    """The machine's authorities."""
    with _LOADING:
        return _loaded()


@functools.cache
def _loaded() -> ssl.SSLContext:
    return ssl.create_default_context()


def _proxy(url: SplitResult) -> SplitResult | None:
    """The proxy of HTTPS_PROXY, which town halls have, unless NO_PROXY names the host."""
    address = urllib.request.getproxies().get("https")
    if not address or urllib.request.proxy_bypass(url.hostname or ""):
        return None
    return urlsplit(address if "//" in address else f"//{address}")


def _proxy_credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


class _Connection(http.client.HTTPConnection):
    """HTTP/1.1, with or without TLS, through a proxy's tunnel or not, where every wait ends at the deadline."""

    def __init__(self, deadline: Deadline, url: SplitResult) -> None:
        secure = url.scheme == "https"
        port = url.port or (http.client.HTTPS_PORT if secure else http.client.HTTP_PORT)
        proxy = _proxy(url) if secure else None
        first = url if proxy is None else proxy
        super().__init__(first.hostname or "", port if proxy is None else proxy.port or http.client.HTTP_PORT)
        self._deadline = deadline
        self._named = url.hostname if secure else None
        self._tunnelled = proxy is not None
        self._open: socket.socket | None = None
        if proxy is not None:
            self.set_tunnel(url.hostname or "", port, _proxy_credentials(proxy))

    def connect(self) -> None:
        """Open the connection; the base's own would wait anew for each address, each read and each byte."""
        self._open = plain = _dialled(self.host, self.port, self._deadline)
        self.sock = _bounded(plain, self._deadline)
        if self._tunnelled:
            self._tunnel()  # type: ignore[attr-defined]  # http.client's own part for subclasses; its stubs omit it
        if self._named is not None:
            plain.settimeout(self._deadline.left())
            self._open = _trust().wrap_socket(plain, server_hostname=self._named)
            self.sock = _bounded(self._open, self._deadline)

    def hang_up(self) -> None:
        """Close the socket itself: `close` is called as soon as the head says that the answer is the last."""
        if self._open is not None:
            self._open.close()


def _dialled(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A connection to the first address of this name that takes one."""
    refused: OSError = OSError(None, "the name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        dialled = socket.socket(family, kind, protocol)
        dialled.settimeout(min(CONNECT_SECONDS, deadline.left()))
        try:
            dialled.connect(address)
        except OSError as error:
            dialled.close()
            refused = error
        else:
            dialled.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return dialled
    raise refused


def _bounded(open_socket: socket.socket, deadline: Deadline) -> socket.socket:
    return cast("socket.socket", _BoundedSocket(open_socket, deadline))


class _BoundedSocket:
    """What http.client uses of a socket."""

    def __init__(self, open_socket: socket.socket, deadline: Deadline) -> None:
        self._socket = open_socket
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send everything, before the deadline."""
        self._socket.settimeout(self._deadline.left())
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What is read from."""
        return io.BufferedReader(_BoundedReader(self._socket, self._deadline))

    def close(self) -> None:
        """Nothing: the rest of the answer may still be to be read."""


class _BoundedReader(io.RawIOBase):
    """Reads a socket; each read waits for what is left of the deadline, not anew."""

    def __init__(self, open_socket: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._socket = open_socket
        self._deadline = deadline

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Read what there is."""
        self._socket.settimeout(self._deadline.left())
        return self._socket.recv_into(buffer)
