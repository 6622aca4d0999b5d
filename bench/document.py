"""The table of figures, as text and in docs/performance.md."""

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.figures import Figure

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN: Final = "<!-- begin: written by `python -m bench --write` -->"
END: Final = "<!-- end -->"
HEADER: Final = ("| what | to reach | measured | how |", "|---|---|---|---|")


def lines(figures: Sequence[Figure]) -> str:
    """Figures for a terminal."""
    return "\n".join(
        f"{each.what}\n    {each.measured}  (to reach: {each.to_reach})\n    {each.how}" for each in figures
    )


def table(rows: Iterable[str]) -> str:
    """Rows as a Markdown table."""
    return "\n".join([*HEADER, *rows])


def row(figure: Figure) -> str:
    """One figure as a row of the table."""
    return f"| {figure.what} | {figure.to_reach} | **{figure.measured}** | {figure.how} |"


def machine() -> str:
    """What it was measured on, without naming it."""
    cores = os.cpu_count()
    return f"{cores} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"


def write(figures: Sequence[Figure]) -> None:
    """Replace these rows of the document's table, and the words on when and where they were measured."""
    text = DOCUMENT.read_text("utf-8")
    before, rest = text.split(BEGIN)
    block, after = rest.split(END)
    rows = {_what(line): line for line in block.splitlines() if line.startswith("| ") and line not in HEADER}
    rows |= {figure.what: row(figure) for figure in figures}
    said = f"Last measured on {datetime.now(UTC).date().isoformat()}: {machine()}."
    DOCUMENT.write_text(f"{before}{BEGIN}\n{said}\n\n{table(rows.values())}\n{END}{after}", "utf-8")


def _what(line: str) -> str:
    return line.split(" | ", 1)[0].removeprefix("| ")
