"""`lettrage up` in an empty folder: all of Lettrage with its own servers, killed in every way, gone at the end."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installation import PATIENCE_SECONDS, Installation, until

PROCESSES = ("web", "worker", "clock")


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Installation]:
    """A folder without configuration, an environment without addresses."""
    installation = Installation(tmp_path, DATABASE_URL="", REDIS_URL="")
    yield installation
    installation.end()


def pid_of(installation: Installation, name: str) -> int:
    """The latest process of that name."""
    started = re.findall(rf'"event":"process_started","process":"{name}","pid":(\d+)', installation.log("up"))
    return int(started[-1]) if started else 0


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def server_pid(installation: Installation, name: str) -> int:
    """The embedded server's process."""
    running: dict[str, int] = json.loads((installation.folder / ".lettrage" / name / "running.json").read_text())
    return running["server"]


def processes_shown(installation: Installation) -> set[str]:
    """Processes that the doctor finds."""
    checks = json.loads(installation.run("doctor", "--json").stdout)["checks"]
    return {check["name"] for check in checks if check["name"].endswith("_process") and check["status"] == "ok"}


def test_an_empty_folder_is_enough_and_nothing_that_dies_stays_dead(empty: Installation) -> None:
    """Up from nothing; a second `up` refused; kill -9 of each process and server; SIGTERM leaves nothing behind."""
    up = empty.start("up")
    until(lambda: "Lettrage is up" in empty.log("up"))
    assert empty.is_ready()
    for hint in ("examples/lettrage.toml", "[[regie]]", "lettrage token"):
        assert hint in empty.log("up")

    second = empty.run("up")
    assert second.returncode == 4
    assert "runs already" in second.stderr
    assert empty.run("events", "list").returncode == 0
    assert empty.run("migrate").stderr.strip() == "The schema is current."

    for name in PROCESSES:
        before = pid_of(empty, name)
        os.kill(before, signal.SIGKILL)
        until(lambda name=name, before=before: pid_of(empty, name) != before)  # type: ignore[misc]
    until(empty.is_ready)
    for server in ("postgres", "valkey"):
        os.kill(server_pid(empty, server), signal.SIGKILL)
        until(lambda: empty.log("up").count("service_started_again") == 1 + (server == "valkey"))  # noqa: B023
    until(empty.is_ready)
    until(lambda: processes_shown(empty) == {f"{name}_process" for name in PROCESSES})

    pids = [pid_of(empty, name) for name in PROCESSES] + [server_pid(empty, name) for name in ("postgres", "valkey")]
    assert all(alive(pid) for pid in pids)
    up.send_signal(signal.SIGTERM)
    assert up.wait(PATIENCE_SECONDS) == 0
    until(lambda: not any(alive(pid) for pid in pids))
    assert empty.run("events", "list").returncode == 75


def test_one_scrape_shows_every_process(empty: Installation) -> None:
    """`/metrics` of web has what worker and clock count, and nothing of an earlier run."""
    stale = empty.folder / ".lettrage" / "metrics"
    stale.mkdir(parents=True)
    (stale / "counter_1.db").write_bytes(b"not what it should be")
    empty.start("up")
    until(lambda: "Lettrage is up" in empty.log("up"))
    until(lambda: "lettrage_build_info" in empty.get("/metrics"))
    folders = {path.name.rpartition("_")[2].removesuffix(".db") for path in stale.iterdir()}
    assert folders == {str(pid_of(empty, name)) for name in PROCESSES}


def test_a_kill_of_up_itself_takes_all_along(empty: Installation) -> None:
    """Kill -9: processes and servers end by themselves, and the next `up` finds everything in order."""
    up = empty.start("up")
    until(lambda: "Lettrage is up" in empty.log("up"))
    pids = [pid_of(empty, name) for name in PROCESSES] + [server_pid(empty, name) for name in ("postgres", "valkey")]
    up.kill()
    up.wait(PATIENCE_SECONDS)
    until(lambda: not any(alive(pid) for pid in pids))
    again = empty.start("up")
    until(lambda: empty.log("up").count("Lettrage is up") == 2)
    again.terminate()
    assert again.wait(PATIENCE_SECONDS) == 0


def test_a_state_folder_that_cannot_be_made_is_told(empty: Installation) -> None:
    """A file stands where the folder should be."""
    (empty.folder / "file").touch()
    done = empty.run("up", LETTRAGE_STATE_DIR=str(empty.folder / "file" / "state"))
    assert done.returncode == 1
    assert "LETTRAGE_STATE_DIR" in done.stderr
    assert "Traceback" not in done.stderr
