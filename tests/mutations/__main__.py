"""Remove one rule at a time and demand that a test turns red: `python -m tests.mutations [WORD…]`.

Works on a copy of the tree. Exit 0 only if every mutation was caught by the tests it names.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutations.catalogue import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("worker", "schemas", "jobs", "monitoring", "tests", "pyproject.toml")
FAILED = 1
"""pytest's exit code for a test that failed; a broken import is another, and proves nothing."""
LIMIT_SECONDS = 120
"""For one run of pytest: a mutant that hangs is not caught, it is stuck."""


def main(words: list[str]) -> int:
    """Run the mutations whose name has one of the words, or all."""
    chosen = [m for m in MUTATIONS if not words or any(word in m.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        tree = copied_tree(Path(folder))
        lost = [m for m in chosen if not is_unique(tree, m)]
        for mutation in lost:
            say(f"LOST      {mutation.name}: its text is not (once) in {mutation.path}")
        green = sorted({test for m in chosen for test in m.tests})
        if pytest(tree, green) != 0:
            say("the tests are red before any mutation")
            return 1
        survived = [m for m in chosen if m not in lost and not is_caught(tree, m)]
    say(f"{len(chosen) - len(lost) - len(survived)} of {len(chosen)} mutations caught")
    return 1 if lost or survived else 0


def copied_tree(folder: Path) -> Path:
    """A copy without bytecode: a mutant of the same size and second must not run the old one."""
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
    path.write_text(original.replace(mutation.old, mutation.new))
    before = time.monotonic()
    try:
        code = pytest(tree, mutation.tests)
    finally:
        path.write_text(original)
    word = {FAILED: "caught", 0: "SURVIVED"}.get(code, f"BROKEN {code}")
    say(f"{word:9} {mutation.name} ({time.monotonic() - before:.1f} s)")
    return code == FAILED


def pytest(tree: Path, tests: list[str]) -> int:
    """Run these tests in the copy, on the copy's own modules; the exit code."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
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
