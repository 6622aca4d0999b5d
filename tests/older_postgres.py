"""A server of Debian's PostgreSQL 15, for the second run of the database tests."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from worker.embedded import _dies_with_its_parent, _free_port

PROGRAMS: Final = Path("/usr/lib/postgresql/15/bin")
READY_SECONDS: Final = 30.0


def is_installed() -> bool:
    """Whether this machine has it."""
    return (PROGRAMS / "postgres").exists()


class OlderPostgres:
    """One server with its data in `folder`, run as an unprivileged user where we are root; its address in a `with`."""

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self._password = folder / "password"
        self._user = "nobody" if os.geteuid() == 0 else None
        self._port = _free_port()
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> str:
        password = secrets.token_hex(16)
        self._password.write_text(password)
        self._data.mkdir()
        if self._user is not None:
            self._data.parent.chmod(0o711)
            shutil.chown(self._data, self._user)
            shutil.chown(self._password, self._user)
        self._initialise()
        self._server = self._start()
        return f"postgresql://lettrage:{password}@127.0.0.1:{self._port}/postgres"

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.send_signal(signal.SIGINT)
        self._server.wait(timeout=READY_SECONDS)

    def _initialise(self) -> None:
        subprocess.run(
            [
                *(PROGRAMS / "initdb", "-D", self._data, "-U", "lettrage", "-E", "UTF8", "--locale=C", "-N"),
                *("--auth=scram-sha-256", f"--pwfile={self._password}"),
            ],
            user=self._user,
            check=True,
            capture_output=True,
            cwd="/",
        )

    def _start(self) -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            [
                *(PROGRAMS / "postgres", "-D", self._data, "-p", str(self._port), "-k", "", "-c", "fsync=off"),
                *("-c", "listen_addresses=127.0.0.1", "-c", "log_min_messages=fatal"),
            ],
            user=self._user,
            cwd="/",
            preexec_fn=_dies_with_its_parent(signal.SIGINT),  # noqa: PLW1509 - no thread runs yet
        )
        process_file = self._data / "postmaster.pid"
        deadline = time.monotonic() + READY_SECONDS
        while not (process_file.exists() and process_file.read_text().rstrip().endswith("ready")):
            assert server.poll() is None, "PostgreSQL 15 does not start"
            assert time.monotonic() < deadline, "PostgreSQL 15 is not ready"
            time.sleep(0.01)
        return server
