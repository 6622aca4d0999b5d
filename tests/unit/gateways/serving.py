"""A gateway's machine at the other end of a real socket: it answers what a test tells it to, in the way it is told."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What the machine does: wait, say its head, say its body, in one piece or drop by drop, or nothing at all."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    after_seconds: float = 0
    drip_seconds: float = 0
    """Between two bytes, of the head as well."""
    hangs: bool = False
    hangs_up: bool = False
    promised_bytes: int | None = None
    raw: bytes | None = None
    """Instead of an HTTP answer."""


def serves(reaction: Reaction) -> Callable[[Asked], Reaction]:
    """The same for everybody."""
    return lambda _: reaction


@dataclass(slots=True)
class Machine:
    """Where it listens, what it was asked, what it does."""

    url: str
    react: Callable[[Asked], Reaction]
    asked: list[Asked] = field(default_factory=list)
    refuses_tunnels: bool = False


@contextmanager
def machine(react: Callable[[Asked], Reaction] | None = None, certificate: Path | None = None) -> Iterator[Machine]:
    """A machine that listens until the end of the test; whoever hangs at it is let go then."""
    over = threading.Event()
    server = _Server(("127.0.0.1", 0), _Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "https"
    server.over = over
    server.machine = Machine(
        url=f"{scheme}://localhost:{server.server_port}", react=react or serves(Reaction(status=404))
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.machine
    finally:
        over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    machine: Machine
    over: threading.Event

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up on us is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        asked = Asked(method=self.command, path=self.path, headers=dict(self.headers), body=self.rfile.read(length))
        self.server.machine.asked.append(asked)
        reaction = self.server.machine.react(asked)
        self.close_connection = True
        self.server.over.wait(reaction.after_seconds)
        if reaction.hangs:
            self.server.over.wait()
        if not (reaction.hangs or reaction.hangs_up):
            self._say(_written(reaction) if reaction.raw is None else reaction.raw, reaction.drip_seconds)

    do_GET = do_POST = _answer  # noqa: N815 (http.server's names)

    def _say(self, answer: bytes, drip_seconds: float) -> None:
        if not drip_seconds:
            self.wfile.write(answer)
            return
        for place in range(len(answer)):
            if self.server.over.wait(drip_seconds):
                return
            self.wfile.write(answer[place : place + 1])

    def do_CONNECT(self) -> None:
        """Be a proxy: pass everything on to whom was asked for."""
        self.server.machine.asked.append(Asked(method="CONNECT", path=self.path, headers=dict(self.headers), body=b""))
        self.close_connection = True
        if self.server.machine.refuses_tunnels:
            self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as beyond:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            forth = threading.Thread(target=_pass_on, args=(self.connection, beyond), daemon=True)
            forth.start()
            _pass_on(beyond, self.connection)
            forth.join(timeout=1)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (http.server's name)
        """Say nothing."""


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _written(reaction: Reaction) -> bytes:
    length = len(reaction.body) if reaction.promised_bytes is None else reaction.promised_bytes
    headers = {"Content-Length": str(length), **reaction.headers}
    head = [f"HTTP/1.1 {reaction.status} Said", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*head, "", ""]).encode() + reaction.body


def seconds_of(work: Callable[[], object]) -> float:
    """How long that took, whatever became of it."""
    begun = time.monotonic()
    try:
        work()
    finally:
        took = time.monotonic() - begun
    return took
