"""Lettrage's own processes, as an operator runs them, on a database of the benchmark's."""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from bench.ground import REGIE

TOKEN: Final = "bench"  # noqa: S105 (made up, on loopback, gone afterwards)
READY_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.02

WEB: Final = ("-m", "worker.cli", "web")
WORKER: Final = ("-m", "worker.cli", "worker")
CLOCK: Final = ("-m", "worker.cli", "clock")
UP: Final = ("-m", "worker.cli", "up")

CONFIGURATION: Final = f"""
[[client]]
name = "portail"
token_sha256 = "{sha256(TOKEN.encode()).hexdigest()}"
scopes = ["events", "read"]
regies = ["*"]

[[regie]]
code = "{REGIE}"
label = "Régie de mesure"
gateway = "dummy"
mode = "test"
"""


class Running:
    """One process, and where it answers."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.pid = process.pid
        self.port = port
        self._log = log

    def has_said(self, event: str) -> bool:
        """Whether that event is in its log."""
        return f'"{event}"' in self._log.read_text("utf-8", errors="replace")


@asynccontextmanager
async def running(program: Sequence[str], *, ready: str = "process_ready", **environ: str) -> AsyncIterator[Running]:
    """A Python program with a configuration of its own, once its log says `ready`; ended by SIGTERM."""
    with tempfile.TemporaryDirectory(prefix="lettrage-bench-") as folder:
        configuration, log = Path(folder, "lettrage.toml"), Path(folder, "log")
        configuration.write_text(CONFIGURATION, "utf-8")
        port = free_port()
        own = {"LETTRAGE_CONFIG": str(configuration), "LETTRAGE_STATE_DIR": folder, "PORT": str(port)}
        kept = {key: value for key, value in os.environ.items() if not key.startswith("LETTRAGE")}
        with log.open("wb") as said:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *program),
                env=kept | own | environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        try:
            started = Running(process, port, log)
            await until(lambda: started.has_said(ready) or process.returncode is not None, READY_SECONDS)
            assert process.returncode is None, log.read_text("utf-8")
            yield started
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def until(true: Callable[[], bool], seconds: float) -> None:
    """Wait for something that another process does."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(LOOK_SECONDS)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def cpu_seconds(pid: int) -> float:
    """The CPU that a process has used, all threads; 0 where the kernel does not tell."""
    try:
        tasks = list(Path("/proc", str(pid), "task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        return 0.0


def family_cpu_seconds(pid: int) -> float:
    """The CPU that a process, its children and those that have ended have used; 0 where the kernel does not tell."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            own, parent, used = _parentage(stat.read_text())
            ticks += used if pid in (own, parent) else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def _parentage(stat: str) -> tuple[int, int, int]:
    """A process's id, its parent's, and its ticks of CPU with those of the children that it has buried."""
    own, _, rest = stat.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    return int(own), int(fields[1]), sum(map(int, fields[11:15]))
