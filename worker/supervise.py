"""Keeps the programs of one machine running: whatever dies is started again; a signal drains and ends them all.

One thread, one loop: it sleeps until a child dies, a signal comes or something is due. Programs end with their
supervisor, however it ends (`end_with_supervisor`).
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import FrameType, TracebackType
from typing import Final, Protocol, Self

import structlog

log = structlog.get_logger()

AT_ONCE_SECONDS: Final = 10.0
"""A program that lived less died at once (importing alone may take seconds on a busy machine): starting it again
immediately, each time, would burn a core."""
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 2.0
"""A program that cannot start is tried this often: once it can, it runs within seconds, however long that took."""
DRAIN_SECONDS: Final = 18.0
"""How long programs may finish what they have begun; below the 25 s after which platforms kill, with room for
the servers to stop."""
SERVICE_CHECK_SECONDS: Final = 0.5
"""How often servers are looked at; a look costs microseconds."""

SUPERVISOR: Final = "LETTRAGE_SUPERVISOR_PID"
_PR_SET_PDEATHSIG: Final = 1
"""Linux, <sys/prctl.h>: the signal that a process gets when its parent dies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A process to keep running, in its own process group."""

    name: str
    argv: Sequence[str]
    environ: Callable[[], Mapping[str, str]] = field(repr=False)
    """Asked at each start: a server may have another address by then."""


class Look(StrEnum):
    """What a look at a service found, and did about it."""

    RUNS = "runs"
    RESTARTED = "restarted"
    MOVED = "moved"
    """It had to be started and has another address: programs must be started again to learn it."""


class Service(Protocol):
    """A server that programs need: started before them, stopped after them."""

    @property
    def name(self) -> str:
        """What it is called in logs."""
        ...

    def ensure(self) -> Look:
        """Start it unless it runs. Cheap when it runs."""
        ...

    def stop(self) -> None:
        """Stop it cleanly; nothing happens when it does not run."""
        ...


def end_with_supervisor(environ: Mapping[str, str] = os.environ) -> None:
    """Called first by a program: if its supervisor dies, even by kill -9, it gets SIGTERM, drains and ends."""
    supervisor = environ.get(SUPERVISOR, "")
    if not supervisor.isdigit():
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(supervisor):
        sys.exit("the supervisor that started this process is gone")


def pause_seconds(deaths_at_once: int) -> float:
    """How long to wait before a program that died at once so often in a row is started again."""
    if deaths_at_once == 0:
        return 0.0
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(deaths_at_once - 1, 10))


class Supervisor:
    """Starts services, then programs; starts again what dies; drains and stops all on SIGTERM, SIGINT or SIGHUP."""

    def __init__(self, programs: Iterable[Program], services: Sequence[Service] = ()) -> None:
        self._children = [_Child(program) for program in programs]
        self._services = services

    def run(self, looked: Callable[[], None] = lambda: None) -> None:
        """Keep everything running until a signal says to end; `looked` is called after each look, twice a second.

        Raises:
            Exception: a service could not be started the first time. What was started is stopped again.
        """
        with _Wakeups() as wakeups:
            try:
                self._start()
                while not wakeups.ending:
                    wakeups.wait(self._idle_seconds())
                    self._look_after()
                    looked()
            finally:
                self._end(wakeups)

    def _start(self) -> None:
        for service in self._services:
            service.ensure()
        for child in self._children:
            child.start()

    def _idle_seconds(self) -> float:
        now = time.monotonic()
        due = [max(0.0, child.due - now) for child in self._children if child.process is None]
        return min([*due, SERVICE_CHECK_SECONDS])

    def _look_after(self) -> None:
        for service in self._services:
            if _keep(service) is Look.MOVED:
                self._ask_all_to_end()
        for child in self._children:
            child.reap()
            child.start_if_due()

    def _ask_all_to_end(self) -> None:
        for child in self._children:
            child.ask_to_end()

    def _end(self, wakeups: "_Wakeups") -> None:
        self._ask_all_to_end()
        self._drain(wakeups)
        for child in self._children:
            child.kill()
        for service in reversed(self._services):
            service.stop()

    def _drain(self, wakeups: "_Wakeups") -> None:
        """Wait for all to end; a second signal from an impatient person ends the waiting."""
        until = time.monotonic() + DRAIN_SECONDS
        patience = wakeups.signals + 1
        while any(child.runs() for child in self._children):
            remaining = until - time.monotonic()
            if remaining <= 0 or wakeups.signals >= patience:
                log.warning("processes_killed", still_running=[c.program.name for c in self._children if c.runs()])
                return
            wakeups.wait(min(remaining, SERVICE_CHECK_SECONDS))


def _keep(service: Service) -> Look:
    """Start a service that died. A failure is logged and tried again at the next look, not the end of all."""
    try:
        look = service.ensure()
    except Exception:
        log.exception("service_cannot_start", service=service.name)
        time.sleep(SERVICE_CHECK_SECONDS)  # a server that cannot start must not be tried in a tight loop
        return Look.RUNS
    if look is not Look.RUNS:
        log.warning("service_started_again", service=service.name, look=look)
    return look


class _Child:
    """One program, running or waiting to be started again."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.due = 0.0
        self.deaths_at_once = 0

    def start(self) -> None:
        environ = {**self.program.environ(), SUPERVISOR: str(os.getpid())}
        self.started = time.monotonic()
        try:
            self.process = subprocess.Popen(self.program.argv, env=environ, stdin=subprocess.DEVNULL, process_group=0)
        except OSError as error:
            log.error("process_cannot_start", process=self.program.name, error=str(error))  # noqa: TRY400
            self._put_off()
            return
        log.info("process_started", process=self.program.name, pid=self.process.pid)

    def start_if_due(self) -> None:
        if self.process is None and time.monotonic() >= self.due:
            self.start()

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def reap(self) -> None:
        if self.process is None or self.process.poll() is None:
            return
        pid, status = self.process.pid, self.process.returncode
        self._signal_group(signal.SIGKILL)  # what it left behind would work beside its successor
        self._put_off()
        log.warning(
            "process_ended",
            process=self.program.name,
            pid=pid,
            status=status,
            again_in_seconds=round(max(0.0, self.due - time.monotonic()), 1),
        )

    def ask_to_end(self) -> None:
        if self.runs() and self.process is not None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self.process is not None:
            self._signal_group(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def _put_off(self) -> None:
        now = time.monotonic()
        at_once = now - self.started < AT_ONCE_SECONDS
        self.deaths_at_once = self.deaths_at_once + 1 if at_once else 0
        self.due = now + pause_seconds(self.deaths_at_once)
        self.process = None

    def _signal_group(self, number: signal.Signals) -> None:
        """To whatever the program started, too; it leads its own group, whose id outlives it while any is left."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):  # nothing left; macOS says the latter of zombies
            return


class _Wakeups:
    """Wakes a sleeping loop when a child dies or a signal asks to end."""

    _ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def __init__(self) -> None:
        self.signals = 0
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._before: dict[signal.Signals, object] = {}
        self._fd_before = -1

    @property
    def ending(self) -> bool:
        return self.signals > 0

    def wait(self, seconds: float) -> None:
        if select.select([self._reader], [], [], seconds)[0]:
            os.read(self._reader, 4096)

    def __enter__(self) -> Self:
        self._fd_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in self._ENDING:
            self._before[number] = signal.signal(number, self._end)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _child_died)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what `signal` itself answered
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._reader)
        os.close(self._writer)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.signals += 1


def _child_died(_number: int, _frame: FrameType | None) -> None:
    """The wakeup alone matters: a signal without a handler writes none."""
