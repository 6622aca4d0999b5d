"""The supervisor, with real processes and real signals."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker.supervise import LONGEST_PAUSE_SECONDS, pause_seconds

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 15.0

SLEEPER = """
import os, pathlib, signal, sys, time
from worker.supervise import end_with_supervisor
end_with_supervisor()
folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
signal.signal(signal.SIGTERM, lambda *_: (folder / f"{name}.drained").touch() or sys.exit(0))
if name == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if name == "parent":
    import subprocess
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (folder / "grandchild").write_text(str(child.pid))
if name == "hopeless":
    with (folder / "starts").open("a") as starts:
        starts.write(f"{time.monotonic()}\\n")
    sys.exit(1)
new = folder / f"{name}.new"
new.write_text(str(os.getpid()))
new.rename(folder / name)
time.sleep(600)
"""

SUPERVISOR = """
import json, pathlib, sys
from worker import supervise
supervise.DRAIN_SECONDS = 1.0
folder, sleeper, names = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(",")


class Server:
    name = "server"

    def __init__(self):
        self.starts = 0

    def ensure(self):
        if (folder / "server").exists():
            return supervise.Look.RUNS
        if (folder / "server.cannot").exists():
            raise RuntimeError("no disk")
        self.starts += 1
        moved = (folder / "server.moves").exists()
        (folder / "server").write_text(str(self.starts))
        return supervise.Look.MOVED if moved else supervise.Look.RESTARTED

    def stop(self):
        (folder / "server.stopped").touch()


def program(name):
    argv = [sys.executable, sleeper, str(folder), name]
    import os
    return supervise.Program(name=name, argv=argv, environ=lambda: dict(os.environ))


supervise.Supervisor([program(name) for name in names], [Server()]).run()
"""


def until(true: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that other processes do."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class World:
    """A supervisor in a process of its own, and the folder where its programs write their ids."""

    def __init__(self, folder: Path, names: str) -> None:
        self.folder = folder
        self.names = names.split(",")
        (folder / "sleeper.py").write_text(SLEEPER)
        (folder / "supervisor.py").write_text(SUPERVISOR)
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, str(folder / "supervisor.py"), str(folder), str(folder / "sleeper.py"), names],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=self.log,
            stdout=self.log,
        )

    def pid(self, name: str) -> int:
        """The program's latest process id, once it runs."""
        until((self.folder / name).exists)
        return int((self.folder / name).read_text())

    def next_pid(self, name: str, before: int) -> int:
        """The id of the process that came after another."""
        until(lambda: self.pid(name) != before)
        return self.pid(name)

    def end(self) -> None:
        """Leave nothing behind, whatever a test did."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_SECONDS)
        self.log.close()


Start = Callable[[str], World]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a supervisor of the programs named."""
    worlds: list[World] = []

    def started(names: str) -> World:
        worlds.append(World(tmp_path, names))
        return worlds[-1]

    yield started
    for world in worlds:
        world.end()


def test_whatever_is_killed_is_started_again(start: Start) -> None:
    """A kill -9 of each program, one after the other: each has a successor, the others are left alone."""
    world = start("web,worker,clock")
    for name in world.names:
        before = {each: world.pid(each) for each in world.names}
        os.kill(before[name], signal.SIGKILL)
        after = world.next_pid(name, before[name])
        assert alive(after)
        assert {each: world.pid(each) for each in world.names} == {**before, name: after}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains_all_and_leaves_nothing(start: Start, number: signal.Signals) -> None:
    """Every program gets its SIGTERM and finishes; then the servers stop; then the supervisor ends well."""
    world = start("web,worker")
    pids = [world.pid(name) for name in world.names]
    world.process.send_signal(number)
    assert world.process.wait(PATIENCE_SECONDS) == 0
    assert (world.folder / "web.drained").exists()
    assert (world.folder / "worker.drained").exists()
    assert (world.folder / "server.stopped").exists()
    assert not any(alive(pid) for pid in pids)


def test_a_program_that_does_not_drain_is_killed(start: Start) -> None:
    """Waiting is bounded; here to one second."""
    world = start("stubborn")
    pid = world.pid("stubborn")
    world.process.terminate()
    assert world.process.wait(PATIENCE_SECONDS) == 0
    assert not alive(pid)
    assert (world.folder / "server.stopped").exists()


def test_what_a_dead_program_left_running_is_killed(start: Start) -> None:
    """A grandchild would work beside its successor."""
    world = start("parent")
    pid = world.pid("parent")
    grandchild = int((world.folder / "grandchild").read_text())
    os.kill(pid, signal.SIGKILL)
    world.next_pid("parent", pid)
    until(lambda: not alive(grandchild))


def test_programs_end_with_their_supervisor(start: Start) -> None:
    """A kill -9 of the supervisor: its programs get SIGTERM, drain and end."""
    world = start("web,worker")
    pids = [world.pid(name) for name in world.names]
    world.process.kill()
    world.process.wait()
    until(lambda: not any(alive(pid) for pid in pids))
    assert (world.folder / "web.drained").exists()


def test_a_program_that_dies_at_once_is_tried_ever_more_slowly(start: Start) -> None:
    """The pauses before its starts grow, and the others run."""
    world = start("hopeless,web")
    world.pid("web")
    starts = world.folder / "starts"
    until(lambda: starts.exists() and len(starts.read_text().split()) > 4)
    said = re.sub(r"\x1b\[[0-9;]*m", "", (world.folder / "log").read_text())
    pauses = [float(pause) for pause in re.findall(r"again_in_seconds=([0-9.]+)", said)]
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert alive(world.pid("web"))


def test_pauses_grow_from_a_tenth_of_a_second_to_a_few() -> None:
    """None after a long life; then 0.1 s doubling up to the longest."""
    assert [pause_seconds(deaths) for deaths in range(4)] == [0.0, 0.1, 0.2, 0.4]
    assert pause_seconds(10_000) == LONGEST_PAUSE_SECONDS


def test_a_server_that_died_is_started_again(start: Start) -> None:
    """And again after it could not, which ends nothing; programs that know its address stay."""
    world = start("web")
    web = world.pid("web")
    (world.folder / "server.cannot").touch()
    (world.folder / "server").unlink()
    until(lambda: "service_cannot_start" in (world.folder / "log").read_text())
    (world.folder / "server.cannot").unlink()
    until((world.folder / "server").exists)
    assert (world.pid("web"), alive(web)) == (web, True)


def test_a_server_that_moved_has_its_programs_started_again(start: Start) -> None:
    """They would look for it at its old address."""
    world = start("web")
    web = world.pid("web")
    (world.folder / "server.moves").touch()
    (world.folder / "server").unlink()
    world.next_pid("web", web)
    assert (world.folder / "web.drained").exists()


def test_what_cannot_start_at_first_ends_all(start: Start, tmp_path: Path) -> None:
    """A server that never ran is a fault of the installation: said at once, not tried for ever."""
    (tmp_path / "server.cannot").touch()
    world = start("web")
    assert world.process.wait(PATIENCE_SECONDS) == 1
    assert "no disk" in (tmp_path / "log").read_text()
    assert not (tmp_path / "web").exists()


def test_a_program_that_is_not_there_is_logged_and_tried_again(tmp_path: Path) -> None:
    """A broken installation shows its name; the supervisor still ends on a signal."""
    script = (
        "import os; from worker.supervise import Program, Supervisor; "
        "Supervisor([Program(name='ghost', argv=['/nowhere/ghost'], environ=lambda: os.environ)]).run()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(2)]
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)
    assert all("process_cannot_start" in line and "ghost" in line for line in seen)
    assert process.returncode == 0
