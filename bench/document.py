"""The table of figures, as text and in docs/performance.md."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.figures import Figure

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN: Final = "<!-- begin: written by `python -m bench --write` -->"
END: Final = "<!-- end -->"


def lines(figures: Sequence[Figure]) -> str:
    """Figures for a terminal."""
    return "\n".join(
        f"{each.what}\n    {each.measured}  (to reach: {each.to_reach})\n    {each.how}" for each in figures
    )


def table(figures: Sequence[Figure]) -> str:
    """Figures as Markdown."""
    rows = [f"| {each.what} | {each.to_reach} | **{each.measured}** | {each.how} |" for each in figures]
    return "\n".join(["| what | to reach | measured | how |", "|---|---|---|---|", *rows])


def machine() -> str:
    """What it was measured on, without naming it."""
    cores = os.cpu_count()
    return f"{cores} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"


def write(figures: Sequence[Figure]) -> None:
    """Replace the table in the document, and the words on when and where it was measured."""
    text = DOCUMENT.read_text("utf-8")
    said = f"Measured on {datetime.now(UTC).date().isoformat()}: {machine()}, load {os.getloadavg()[0]:.1f} at the end."
    block = f"{BEGIN}\n{said}\n\n{table(figures)}\n{END}"
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    assert pattern.search(text), f"{DOCUMENT} has lost its markers"
    DOCUMENT.write_text(pattern.sub(lambda _: block, text), "utf-8")
