"""`lettrage demo`: the whole installation, as a new user meets it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.demonstration.families import INVOICES, PARTS, Part
from worker.demonstration.installation import _free_addresses
from worker.demonstration.verdict import ALLOWED_LATENESS_SECONDS, differences

LETTRAGE = Path(sys.executable).with_name("lettrage")
STOP_SECONDS = 60
"""Three processes and two servers end one after another."""

Demo = subprocess.Popen[str]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for the demo's own temporary one: short, since sockets in it have short names."""
    with tempfile.TemporaryDirectory(prefix="lt-") as name:
        yield Path(name)


def started(folder: Path, *arguments: str) -> Demo:
    """The command, with an environment whose installation it must not touch."""
    elsewhere = {"DATABASE_URL": "postgresql://127.0.0.1:1/not-the-demos", "REDIS_URL": "redis://127.0.0.1:1"}
    return subprocess.Popen(
        [LETTRAGE, "demo", *arguments],
        env={**os.environ, **elsewhere, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(demo: Demo, words: str) -> str:
    """What it said up to these words, or all of it if they never came."""
    assert demo.stdout is not None
    said = ""
    for line in demo.stdout:
        said += line
        if words in line:
            break
    return said


def left_behind(folder: Path) -> list[str]:
    """Processes of the demo that still run, and files that it left."""
    running = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_text(errors="replace") + (entry / "environ").read_text(errors="replace")
            words += str((entry / "cwd").readlink())
        except OSError:
            continue
        if str(folder) in words and entry.name != str(os.getpid()):
            running.append(entry.name)
    return running + [path.name for path in folder.iterdir()]


@pytest.mark.timeout(400)
def test_every_invoice_ends_as_it_should(folder: Path) -> None:
    """One pays, one is refused, one cancels, one closes the window, one is found by asking; `--once` ends with 0.

    Nothing is left behind.
    """
    demo = started(folder, "--once")
    said = until(demo, "words that it never says")
    assert demo.wait(STOP_SECONDS) == 0, said
    for part in PARTS:
        assert f"ok     {part.invoice.number}" in said
    assert "Holds last 30 s here" in said
    assert "PER-2026-0302  Famille Nguyen pays at PayFiP by direct debit: paid; the bank may still reject" in said
    for address in ("http://127.0.0.1:", "/readyz", "/metrics", "/control/payments"):
        assert address in said
    assert left_behind(folder) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_that_it_started(folder: Path, stop: signal.Signals) -> None:
    """Ctrl-C while the families play: no process, no file is left."""
    demo = started(folder)
    said = until(demo, "closes the window")
    demo.send_signal(stop)
    assert demo.wait(STOP_SECONDS) == 0, said + until(demo, "words that it never says")
    assert left_behind(folder) == []


@pytest.mark.timeout(300)
def test_a_forged_callback_is_told_to_change_nothing(folder: Path) -> None:
    """Whoever tries one sees that it came, and what became of it."""
    demo = started(folder)
    found = re.search(r"Lettrage +http://([^/]+)/readyz", until(demo, "/readyz"))
    assert found is not None
    until(demo, "goes to the gateway")
    with urllib.request.urlopen(f"http://{found[1]}/v1/callbacks/restauration?transaction_id=FORGED&ok=1"):
        told = until(demo, "FORGED").splitlines()[-1]
    assert "restauration  a callback that proves nothing: kept, counted, no invoice changed  signature_missing" in told
    demo.send_signal(signal.SIGINT)
    assert demo.wait(STOP_SECONDS) == 0


def test_two_demos_at_once_have_ports_of_their_own() -> None:
    """The second begins before anything of the first listens: it must not meet the first one's Lettrage."""
    with ExitStack() as first, ExitStack() as second:
        one, other = _free_addresses(first), _free_addresses(second)
        assert not set(astuple(one)) & set(astuple(other))


START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
DEADLINE = START + timedelta(seconds=30)
ABANDONED = next(part for part in PARTS if part.payment == "expired")
PAYING = next(part for part in PARTS if part.payment == "paid")


def verdict(
    part: Part, state: str, payment: str, again_after: float | None = None, seen_after: float | None = None
) -> list[str]:
    """What is wrong with an invoice in this state, payable again so many seconds after its deadline."""
    history: list[dict[str, Any]] = [{"from": "payable", "to": "in_payment", "at": START.isoformat()}]
    if again_after is not None:
        at = DEADLINE + timedelta(seconds=again_after)
        history.append({"from": "in_payment", "to": "payable", "at": at.isoformat()})
    seen = None if seen_after is None else DEADLINE + timedelta(seconds=seen_after)
    read = {"state": payment, "deadline": DEADLINE.isoformat()}
    return differences(part, {"state": state, "payments": [{}]}, read, history, seen)


def test_the_demo_accepts_only_the_right_end() -> None:
    """Paid is paid; the others are payable again, not before their deadline and at most a moment after."""
    assert verdict(PAYING, "paid", "paid") == []
    assert verdict(ABANDONED, "payable", "expired", 0.1, 0.3) == []


@pytest.mark.parametrize(
    ("part", "state", "payment", "again_after", "seen_after"),
    [
        (PAYING, "in_payment", "paid", None, None),
        (PAYING, "payable", "expired", 0.1, None),
        (ABANDONED, "in_payment", "started", None, None),
        (ABANDONED, "paid", "paid", None, None),
        (ABANDONED, "payable", "cancelled", 0.1, None),
        (ABANDONED, "payable", "expired", None, None),
        (ABANDONED, "payable", "expired", -0.001, None),
        (ABANDONED, "payable", "expired", 0.1, -0.001),
        (ABANDONED, "payable", "expired", ALLOWED_LATENESS_SECONDS + 0.001, None),
    ],
)
def test_the_demo_says_what_differed(
    part: Part, state: str, payment: str, again_after: float | None, seen_after: float | None
) -> None:
    """Wrong state, wrong payment, a second too early, too late: each is told, and the demo ends with 1."""
    assert verdict(part, state, payment, again_after, seen_after)


def test_every_family_has_something_left_to_click() -> None:
    """The demo plays with some invoices; the others are the visitor's."""
    played = {part.invoice.number for part in PARTS}
    left = {invoice.family for invoice in INVOICES if invoice.number not in played}
    assert left == {invoice.family for invoice in INVOICES}
