"""The project's own files: what they promise to each other and to the contract."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Final

import pytest

from tests.mutations.__main__ import is_unique
from tests.mutations.catalogue import MUTATIONS

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("worker", "jobs", "schemas", "monitoring")
LOCKS: Final = sorted((ROOT / ".lock").glob("*.txt"))
TARGETS: Final = ("install", "demo", "test", "bench", "simulate", "chaos", "nightly", "check", "lock", "schema")


def project() -> dict[str, object]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_is_and_does_nothing(package: str) -> None:
    """A top-level package's module holds a docstring only: importing it runs nothing."""
    (only,) = ast.parse((ROOT / package / "__init__.py").read_text()).body

    assert isinstance(only, ast.Expr)
    assert isinstance(only.value, ast.Constant)


def test_every_mutation_finds_what_it_is_to_change() -> None:
    """Whoever changes a rule's text changes its mutation too; the nightly run would tell a day late."""
    assert [mutation.name for mutation in MUTATIONS if not is_unique(ROOT, mutation)] == []


def test_the_procfile_is_the_contracts() -> None:
    """Four lines, as platforms that read a Procfile expect them."""
    assert (ROOT / "Procfile").read_text().splitlines() == [
        "release: lettrage migrate",
        "web: lettrage web",
        "worker: lettrage worker",
        "clock: lettrage clock",
    ]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_has_hashes_and_no_addresses(lock: Path) -> None:
    """Every requirement is pinned and has hashes; no index, mirror or local path is named."""
    text = lock.read_text()
    requirements = [line for line in text.splitlines() if not line.startswith("    --hash=sha256:")]

    assert not re.search(r"://|file:|--(extra-)?index|--find-links|@ ", text)
    assert all(re.match(r"[a-z0-9.-]+==[^ ]+ (;.*)?\\$", line) for line in requirements)
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) > len(requirements)


def test_the_tests_run_with_what_is_deployed() -> None:
    """Whatever is locked to run is locked in the same version to be tested."""
    runtime, tested = (dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", lock.read_text(), re.MULTILINE)) for lock in LOCKS)

    assert runtime.items() <= tested.items()


def test_our_own_names_are_never_installed() -> None:
    """The registry has packages named like ours; none of them is a dependency."""
    locked = {name for lock in LOCKS for name in re.findall(r"^([a-z0-9.-]+)==", lock.read_text(), re.MULTILINE)}

    assert locked.isdisjoint(PACKAGES)


def test_the_application_is_not_published() -> None:
    """AGPL, for Python 3.11 and later, one command, refused by registries."""
    metadata = project()["project"]

    assert isinstance(metadata, dict)
    assert metadata["license"] == "AGPL-3.0-or-later"
    assert metadata["requires-python"] == ">=3.11"
    assert metadata["scripts"] == {"lettrage": "worker.cli:main"}
    assert "Private :: Do Not Upload" in metadata["classifiers"]
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text()


def test_make_lists_its_targets() -> None:
    """`make` alone says what there is, and changes nothing."""
    listed = subprocess.run(["/usr/bin/make", "-C", ROOT], check=True, capture_output=True, text=True).stdout

    assert set(TARGETS) <= set(re.findall(r"^  make (\S+)", listed, re.MULTILINE))


def test_a_machine_without_a_recent_python_is_told_so(tmp_path: Path) -> None:
    """Where every Python found is too old, the message names the version needed and the way out."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 || exit 1\n')
    old.chmod(0o700)

    asked = subprocess.run(
        ["/bin/bash", ROOT / ".lock" / "python"],
        env={"PATH": str(tmp_path), "PYTHON": ""},
        check=False,
        capture_output=True,
        text=True,
    )

    assert (asked.returncode, asked.stdout) == (1, "")
    assert "needs Python 3.11 or newer; found: Python 3.9.2" in asked.stderr
    assert "make install PYTHON=" in asked.stderr
