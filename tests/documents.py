"""The documents as a reader meets them: their links, and their commands with the results that they show.

A fence after `<!-- run -->` is run; one after `<!-- result -->` is what the command before it answers. A word after
`run:` says how: `demo` (against the demo's address), `beside` (it stays up), `in a moment` (asked again until the
answer is the one shown). `result: part` shows only some of a JSON answer's fields.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
USUAL_ADDRESS: Final = "127.0.0.1:8080"
"""What the documents say; a test has a port of its own."""
TYPISTS_NEED: Final = ("curl", "openssl", "make")
"""Programs that the documents' commands use beside Lettrage's own."""
PATIENCE_SECONDS: Final = 60.0
"""A process that starts on a busy machine, or a hold of the documents' 30 s."""
STOP_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.2

_FENCE: Final = re.compile(r"^<!-- (run|result)(?:: ([a-z ]+))? -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_VARIES: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"
    r"|\b[0-9a-f]{16}\b|\b[0-9a-f]{32}\b|^\d+$"
)
"""Times, the demo's payment references, a discrepancy's id, an event's place."""


def documents() -> list[Path]:
    """Every document of the project."""
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    return sorted(ROOT / path for path in found if not any(part.startswith(".") for part in path.parts))


@dataclass(frozen=True)
class Step:
    """A command of a document, how it is run, and what it is said to answer."""

    command: str
    how: str
    result: str | None
    result_how: str
    line: int


def steps(text: str) -> list[Step]:
    """The commands of a document that are marked to be run, in order."""
    fences = list(_FENCE.finditer(text))
    found = []
    for fence, after in itertools.zip_longest(fences, fences[1:]):
        if fence[1] == "run":
            result = after if after is not None and after[1] == "result" else None
            line = text.count("\n", 0, fence.start(4)) + 1
            found.append(
                Step(fence[4], fence[2] or "", result and result[4], (result and result[2]) or "", line),
            )
    return found


def links(text: str) -> list[str]:
    """Where a document's links and pictures lead, those outside the project left out."""
    return [link for link in _LINK.findall(_without_fences(text)) if not re.match(r"[a-z]+:", link)]


def anchors(text: str) -> set[str]:
    """What a link may name after `#`, as GitHub makes it from a heading."""
    headings = re.findall(r"^#+ (.+)$", _without_fences(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> Iterator[str]:
    """Every command line that a document names: in fences of the shell, and between backquotes."""
    for fence in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        yield from fence.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", _without_fences(text))


def first_column(text: str, heading: str) -> list[str]:
    """What stands in the first column of the tables under a heading, without its backquotes, several a cell."""
    section = re.split(rf"^#+ {re.escape(heading)}$", text, maxsplit=1, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| (`[^|]*?) \|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def _without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def same(shown: str, answered: str, *, part: bool) -> bool:
    """Whether an answer is the one shown, times and made-up names apart."""
    try:
        expected, found = json.loads(shown), json.loads(answered)
    except json.JSONDecodeError:
        return _lasting(shown.strip()) == _lasting(answered.strip())
    return _is_part(_plain(expected), _plain(found)) if part else bool(_plain(expected) == _plain(found))


def _plain(value: Any) -> Any:  # noqa: ANN401 (JSON nests freely)
    match value:
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case str():
            return _lasting(value)
        case _:
            return value


def _lasting(text: str) -> str:
    return _VARIES.sub("…", text)


def _is_part(expected: Any, found: Any) -> bool:  # noqa: ANN401 (JSON nests freely)
    """Whether everything expected is found; lists have no other items."""
    match expected, found:
        case dict(), dict():
            return all(name in found and _is_part(item, found[name]) for name, item in expected.items())
        case list(), list():
            return len(expected) == len(found) and all(map(_is_part, expected, found))
        case _:
            return bool(expected == found)


class Reader:
    """Somebody who types a document's commands, in a folder like a fresh copy of the source."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._state = folder / ".typed"
        self._port = port
        self._beside: list[subprocess.Popen[bytes]] = []
        (folder / ".venv").symlink_to(ROOT / ".venv")
        _write_program(
            folder / "bin" / "make",
            f'exec {shutil.which("make")} -C {shlex.quote(str(ROOT))} --dry-run "$@" >/dev/null',
        )
        kept = {name: value for name, value in os.environ.items() if "LETTRAGE" not in name}
        self._environ = {
            **{name: value for name, value in kept.items() if name not in ("DATABASE_URL", "REDIS_URL")},
            "HOME": str(folder),
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PORT": str(port),
        }

    def follow(self, step: Step, port: int | None = None) -> None:
        """Do what a step says and see that what comes is what it shows; `port` is another installation's."""
        if step.how == "beside":
            self._start(step)
        elif step.how == "in a moment":
            self._ask_again(step, port)
        else:
            answered = self._answer(step, port)
            assert step.result is None or self._agrees(step, answered), f"line {step.line} answered:\n{answered}"

    def end(self) -> None:
        """Press Ctrl-C wherever something is up."""
        for process in self._beside:
            os.killpg(process.pid, signal.SIGINT)
        for process in self._beside:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _ask_again(self, step: Step, port: int | None) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        answered = self._answer(step, port)
        while not self._agrees(step, answered):
            assert time.monotonic() < end, f"line {step.line} answered at last:\n{answered}"
            time.sleep(POLL_SECONDS)
            answered = self._answer(step, port)

    def _agrees(self, step: Step, answered: str) -> bool:
        assert step.result is not None, f"line {step.line} shows no result"
        return same(step.result, answered, part=step.result_how == "part")

    def _answer(self, step: Step, port: int | None) -> str:
        typed = subprocess.run(
            self._bash(step, port),
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert typed.returncode == 0, f"line {step.line} ended with {typed.returncode}:\n{typed.stderr}"
        return typed.stdout

    def _start(self, step: Step) -> None:
        with (self._folder / "beside.log").open("ab") as log:
            process = subprocess.Popen(
                self._bash(step, None),
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._beside.append(process)
        end = time.monotonic() + PATIENCE_SECONDS
        while not _is_ready(self._port):
            said = (self._folder / "beside.log").read_text()
            assert process.poll() is None, f"line {step.line} has ended:\n{said}"
            assert time.monotonic() < end, f"line {step.line} is not up:\n{said}"
            time.sleep(POLL_SECONDS)

    def _bash(self, step: Step, port: int | None) -> list[str]:
        """One terminal: what is exported and the folder are the next command's too."""
        typed = step.command.replace(USUAL_ADDRESS, f"127.0.0.1:{port or self._port}")
        state = shlex.quote(str(self._state))
        keep = f'{{ export -p; printf "cd %q\\n" "$PWD"; }} > {state}'
        return ["bash", "-euo", "pipefail", "-c", f"[ ! -e {state} ] || . {state}\n{typed}\n{keep}"]


def _write_program(path: Path, command: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o700)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
