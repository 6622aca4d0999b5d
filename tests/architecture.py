"""The drawn parts of docs/architecture.md, made from the code: `python -m tests.architecture` writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grimp

from worker.domain import transitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "architecture.md"
ROOMS: Final = (
    "jobs",
    "worker.app",
    "worker.broker",
    "worker.clock",
    "worker.cli",
    "worker.web",
    "worker.reconcile",
    "worker.asker",
    "worker.gateways",
    "worker.store",
    "worker.domain",
)
"""Rooms worth drawing. `schemas` is under all of them, `monitoring` beside; settings and servers are plumbing."""
BLOCK: Final = re.compile(r"(<!-- drawn: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def imports() -> Iterator[str]:
    """Who imports whom, room by room, as a Mermaid flowchart."""
    graph = grimp.build_graph("worker", "jobs", "schemas", "monitoring")
    yield "flowchart TD"
    for importer in ROOMS:
        for imported in ROOMS:
            if importer != imported and graph.direct_import_exists(
                importer=importer, imported=imported, as_packages=_whole(graph, importer, imported)
            ):
                yield f"    {importer} --> {imported}"


def _whole(graph: grimp.ImportGraph, *rooms: str) -> bool:
    """Rooms that are packages are looked at with everything in them."""
    return any(graph.find_children(room) for room in rooms)


def _states(table: Mapping[Any, frozenset[Any]]) -> Iterator[str]:
    yield "stateDiagram-v2"
    for before, afters in table.items():
        for after in sorted(afters):
            yield f"    {before or '[*]'} --> {after}"


DRAWINGS: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "imports": imports,
    "invoices": lambda: _states(transitions.INVOICE),
    "payments": lambda: _states(transitions.PAYMENT),
}


def drawn(text: str) -> str:
    """Give `text` with every drawing made anew."""

    def draw(found: re.Match[str]) -> str:
        lines = "\n".join(DRAWINGS[found[2]]())
        return f"{found[1]}```mermaid\n{lines}\n```\n{found[3]}"

    return BLOCK.sub(draw, text)


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(DOCUMENT.read_text("utf-8")), "utf-8")
