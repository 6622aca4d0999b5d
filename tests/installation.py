"""A folder with a configuration, commands that run in it, and what they say."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from click.testing import CliRunner, Result

from worker.cli import main

LETTRAGE = (sys.executable, "-P", "-m", "worker.cli")
PATIENCE_SECONDS = 60.0
"""Starting Python on a busy machine takes seconds."""
TOKEN = "lettrage_test"
REGIE = """
[[regie]]
code = "enfance"
gateway = "dummy"
mode = "test"
"""
CLIENT = f"""
[[client]]
name = "portail"
token_sha256 = "{sha256(TOKEN.encode()).hexdigest()}"
scopes = ["events", "read"]
regies = ["*"]
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(true: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that other processes do."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


class Installation:
    """A folder with a configuration, and the environment in which commands find it."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        self.port = free_port()
        kept = {name: value for name, value in os.environ.items() if "LETTRAGE" not in name}
        self.environ = {**kept, "PORT": str(self.port), "LETTRAGE_TOKEN": TOKEN, **environ}
        self.processes: list[subprocess.Popen[bytes]] = []

    def configure(self, toml: str) -> None:
        """Write lettrage.toml."""
        (self.folder / "lettrage.toml").write_text(toml)

    def run(self, *args: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            [*LETTRAGE, *args],
            cwd=self.folder,
            env=self.environ | environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def ask(self, *args: str, stdin: str | None = None) -> Result:
        """Run one command within this process, which is quicker: for those that start nothing."""
        with contextlib.chdir(self.folder):
            return CliRunner().invoke(main, args, input=stdin, env=self.environ)

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        """Start one command; its stderr goes to a file of its name."""
        with (self.folder / f"{args[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                [*LETTRAGE, *args], cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def log(self, name: str) -> str:
        """What a started command has said."""
        return (self.folder / f"{name}.log").read_text()

    def get(self, path: str) -> str:
        """What web answers; nothing when it does not."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return ""

    def post(self, event: Mapping[str, object]) -> int:
        """Send one event; answers web's status, once it is reconciled if that is soon."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents+json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("POST", "/v1/events", json.dumps(event), {**headers, "Prefer": "wait=5"})
        status = connection.getresponse().status
        connection.close()
        return status

    def is_ready(self) -> bool:
        """Whether web says so."""
        return '"ready"' in self.get("/readyz")

    def end(self) -> None:
        """Leave nothing behind; what was said is shown should the test fail."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for log in sorted(self.folder.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()}")  # noqa: T201 (shown for a test that failed)
