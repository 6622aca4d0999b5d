"""Prometheus's programs for tests: started with what `monitoring/` has, asked, ended."""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import monitoring
from tests.installation import until

PACK = Path(monitoring.__file__).parent
EXAMPLE = PACK / "example"
ADDRESS = "127.0.0.1:8080"
"""Where the example looks for Lettrage."""


class Prometheus:
    """One that runs with the example's configuration, but for the address that it scrapes and its pace."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    @contextmanager
    def running(self, lettrage_port: int, rules: Path) -> Iterator[None]:
        """Run it while inside, with these rules."""
        written = (EXAMPLE / "prometheus.yml").read_text()
        assert ADDRESS in written
        changed = written.replace(ADDRESS, f"127.0.0.1:{lettrage_port}").replace("15s", "1s")
        (self.folder / "prometheus.yml").write_text(changed.replace("../alerts/lettrage.yml", str(rules)))
        arguments = ["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus"]
        with serving(
            [program("prometheus"), *arguments, f"--web.listen-address=127.0.0.1:{self.port}"], self.folder, self.port
        ):
            yield

    def ask(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 (Prometheus's JSON)
        """What its API answers."""
        address = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]

    def fires(self, alert: str, **labels: str) -> bool:
        """Whether an alert of that name and with these labels fires."""
        firing = [found["labels"] for found in self.ask("alerts")["alerts"] if found["state"] == "firing"]
        return any(found["alertname"] == alert and labels.items() <= found.items() for found in firing)

    def has_data(self, query: str) -> bool:
        """Whether a query has an answer, and one that is a number."""
        values = [float(series["value"][1]) for series in self.ask("query", query=query)["result"]]
        return any(value == value for value in values)  # noqa: PLR0124 (NaN is no data)


@contextmanager
def serving(command: list[str], folder: Path, port: int) -> Iterator[None]:
    """Run a server of Prometheus's kind until it says that it is ready; it is ended at the end."""
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        until(lambda: _is_ready(port) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def program(*names: str) -> str:
    """The first of these programs that is here."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"no {names[0]} here (Debian: apt-get install {names[0]})")
