"""Remove one rule at a time and demand that a test turns red: `python -m tests.mutations [WORD…]`.

Works on a copy of the tree. Exit 0 only if every mutation was caught by the tests it names.
"""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from tests.mutations.catalogue import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("worker", "schemas", "jobs", "monitoring", "examples", "tests", "pyproject.toml")
FAILED = 1
"""pytest's exit code for a test that failed; a broken import is another, and proves nothing."""
SIDE_BY_SIDE = min(4, os.cpu_count() or 1)
"""Mutants tested at once, each in a tree of its own."""
PLUGINS = ("-p", "pytest_asyncio.plugin", "-p", "pytest_timeout", "-p", "no:cacheprovider")
"""What these tests need; loading every plugin that is installed takes longer than they do."""
DATES = itertools.count(1_000_000_000)
"""Seconds, each given to one version of one file."""
LIMIT_SECONDS = 120
"""For one run of pytest: a mutant that hangs is not caught, it is stuck."""


def main(words: list[str]) -> int:
    """Run the mutations whose name has one of the words, or all."""
    chosen = [m for m in MUTATIONS if not words or any(word in m.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        trees = [copied_tree(Path(folder) / str(n)) for n in range(SIDE_BY_SIDE)]
        lost = [m for m in chosen if not is_unique(trees[0], m)]
        for mutation in lost:
            say(f"LOST      {mutation.name}: its text is not (once) in {mutation.path}")
        if not are_green(trees[0], chosen):
            say("the tests are red before any mutation")
            return 1
        caught = caught_in(trees, [m for m in chosen if m not in lost])
    say(f"{sum(caught)} of {len(chosen)} mutations caught")
    return 0 if sum(caught) == len(chosen) else 1


def are_green(tree: Path, mutations: Sequence[Mutation]) -> bool:
    """Whether the tests pass as long as nothing is changed: else their red would prove nothing."""
    return pytest(tree, sorted({test for mutation in mutations for test in mutation.tests})) == 0


def caught_in(trees: list[Path], mutations: Sequence[Mutation]) -> list[bool]:
    """Try the mutations, as many at once as there are trees."""
    free: Queue[Path] = Queue()
    for tree in trees:
        free.put(tree)

    def attempt(mutation: Mutation) -> bool:
        tree = free.get()
        try:
            return is_caught(tree, mutation)
        finally:
            free.put(tree)

    with ThreadPoolExecutor(len(trees)) as pool:
        return list(pool.map(attempt, mutations))


def copied_tree(folder: Path) -> Path:
    """A copy without bytecode."""
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def is_unique(tree: Path, mutation: Mutation) -> bool:
    """Whether the text to change is there, once: else the mutation tests nothing."""
    path = tree / mutation.path
    return path.exists() and path.read_text().count(mutation.old) == 1


def is_caught(tree: Path, mutation: Mutation) -> bool:
    """Apply, test, and put back."""
    path = tree / mutation.path
    original = path.read_text()
    write(path, original.replace(mutation.old, mutation.new))
    before = time.monotonic()
    try:
        code = pytest(tree, mutation.tests)
    finally:
        write(path, original)
    word = {FAILED: "caught", 0: "SURVIVED"}.get(code, f"BROKEN {code}")
    say(f"{word:9} {mutation.name} ({time.monotonic() - before:.1f} s)")
    return code == FAILED


def write(path: Path, text: str) -> None:
    """Write, dated as nothing before it: bytecode of the same size and second must not run in its stead."""
    path.write_text(text)
    date = next(DATES)
    os.utime(path, (date, date))


def pytest(tree: Path, tests: Sequence[str]) -> int:
    """Run these tests in the copy, on the copy's own modules; the exit code."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", *PLUGINS, *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    try:
        return subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, timeout=LIMIT_SECONDS, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        return -1


def say(line: str) -> None:
    """One line for people."""
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
