"""The example clients as a portal runs them, a portal's ear for notifications, and a bad line to Lettrage."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

from tests.documents import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FOLDER: Final = ROOT / "examples" / "clients"
RUN_SECONDS: Final = 60.0
"""Starting a virtual machine on a busy machine takes seconds."""
HUNG_SECONDS: Final = 30.0
"""Longer than any client waits for an answer."""


@dataclass(frozen=True)
class Program:
    """A client, the programs that it needs, and how it is started; `{java}` is where Java's is compiled to."""

    name: str
    needs: tuple[str, ...]
    command: tuple[str, ...]

    @property
    def missing(self) -> list[str]:
        """What this machine lacks to run it."""
        return [need for need in self.needs if shutil.which(need) is None]


PROGRAMS: Final = (
    Program("curl", ("curl", "jq", "openssl"), ("sh", str(FOLDER / "lettrage.sh"))),
    Program("python", (), (sys.executable, "-I", str(FOLDER / "lettrage.py"))),
    Program("php", ("php",), ("php", str(FOLDER / "lettrage.php"))),
    Program("node", ("node",), ("node", str(FOLDER / "lettrage.mjs"))),
    Program(
        "java", ("java", "javac"), ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", "{java}", "Lettrage")
    ),
)


def compile_java(folder: Path) -> None:
    """Compile Java's client once: `java Lettrage.java` does so at each start, and takes seconds for it."""
    compiler = shutil.which("javac")
    assert compiler is not None
    subprocess.run([compiler, "-Xlint:all,-serial", "-Werror", "-d", folder, FOLDER / "Lettrage.java"], check=True)


@dataclass(frozen=True)
class Client:
    """A client whose environment is a portal's."""

    program: Program
    environ: Mapping[str, str]
    compiled: Path

    def start(self, *args: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start one command."""
        return subprocess.Popen(
            [*(part.format(java=self.compiled) for part in self.program.command), *args],
            env={**os.environ, "LC_ALL": "C.UTF-8", **self.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *args: str, stdin: bytes = b"", **environ: str) -> tuple[int, str, str]:
        """Run one command to its end: exit code, what it printed, what it said."""
        with self.start(*args, **environ) as process:
            out, err = process.communicate(stdin, RUN_SECONDS)
        return process.returncode, out.decode(), err.decode()

    def rows(self, *args: str, stdin: bytes = b"", **environ: str) -> list[list[str]]:
        """What a command that succeeds prints, in cells."""
        code, out, err = self.run(*args, stdin=stdin, **environ)
        assert (code, err) == (0, "")
        return [line.split("\t") for line in out.splitlines()]


@dataclass(frozen=True)
class Notification:
    """A request as it came."""

    headers: dict[str, str]
    body: bytes

    def raw(self, *, end: str = "\r\n", body: bytes | None = None, **changed: str | None) -> bytes:
        """Headers, an empty line and the body; a header changed, or left out when None."""
        headers = self.headers | {name.replace("_", "-"): value for name, value in changed.items()}
        lines = [f"{name}: {value}{end}" for name, value in headers.items() if value is not None]
        return "".join([*lines, end]).encode() + (self.body if body is None else body)


@dataclass
class Ear:
    """A portal's address for notifications: what was sent there."""

    url: str = ""
    heard: list[Notification] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Ear]:
    """A portal that takes every notification and keeps it as it came."""
    ear = Ear()

    class Handler(_Quiet):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            ear.heard.append(Notification(headers, self.body()))
            self.send_response(204)
            self.end_headers()

    with _served(Handler) as ear.url:
        yield ear


@dataclass
class Line:
    """A way to Lettrage on which answers are lost; `plan` has what befalls each next request."""

    url: str = ""
    plan: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


@contextmanager
def bad_line(port: int, plan: list[str]) -> Iterator[Line]:
    """Pass requests on to Lettrage; then `hang`, `drop` the connection, answer `503`, or say what it said."""
    line = Line(plan=list(plan))
    over = threading.Event()

    class Handler(_Quiet):
        def do_POST(self) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HUNG_SECONDS)
            connection.request("POST", self.path, self.body(), dict(self.headers.items()))
            answer = connection.getresponse()
            said = answer.read()
            connection.close()
            line.statuses.append(answer.status)
            fate = line.plan.pop(0) if line.plan else ""
            if fate == "hang":
                over.wait(HUNG_SECONDS)
            if fate in ("hang", "drop"):
                self.close_connection = True
                return
            self.send_response(503 if fate else answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    with _served(Handler) as line.url:
        try:
            yield line
        finally:
            over.set()


class _Quiet(BaseHTTPRequestHandler):
    """A handler that says nothing on the terminal."""

    def body(self) -> bytes:
        """The request's body."""
        return self.rfile.read(int(self.headers["Content-Length"]))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's own)
        """Nothing."""


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
