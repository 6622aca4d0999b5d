"""The drawn parts of documents, made from the code: `python -m tests.architecture` writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grimp

from worker.domain import transitions
from worker.gateways.capabilities import CAPABILITIES, Capability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

DOCS: Final = Path(__file__).parents[1] / "docs"
ROOMS: Final = (
    "jobs",
    "worker.app",
    "worker.broker",
    "worker.clock",
    "worker.cli",
    "worker.web",
    "worker.reconcile",
    "worker.replaying",
    "worker.verify",
    "worker.asker",
    "worker.notifier",
    "worker.gateways",
    "worker.portals",
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


def gateways() -> Iterator[str]:
    """What each gateway can do, as a table."""
    yield "| gateway | callback | can be asked | asked after, minutes | amounts | the régie is known by | secrets |"
    yield "|---|---|---|---|---|---|---|"
    for kind, capability in sorted(CAPABILITIES.items()):
        cells = (
            f"`{kind}`",
            _callback(capability),
            "yes" if capability.pollable else "no",
            ", ".join(f"{seconds // 60}" for seconds in capability.poll_seconds) or "–",
            capability.amount_unit.value,
            _named(capability.merchant) or ("nothing" if capability.test_only else "its key"),
            _named(capability.production_secrets) or "–",
        )
        yield f"| {' | '.join(cells)} |"


def _callback(capability: Capability) -> str:
    if capability.callback_is_proof:
        return "proof, when signed"
    return "a reason to ask" if capability.pollable else "never proof"


def _named(options: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in options)


DRAWINGS: Final[dict[str, Callable[[], Iterator[str]]]] = {
    "imports": imports,
    "invoices": lambda: _states(transitions.INVOICE),
    "payments": lambda: _states(transitions.PAYMENT),
}
TABLES: Final[dict[str, Callable[[], Iterator[str]]]] = {"gateways": gateways}
DOCUMENTS: Final = {
    DOCS / "architecture.md": DRAWINGS.keys(),
    DOCS / "gateways.md": TABLES.keys(),
}
"""Which document shows what."""


def drawn(text: str) -> str:
    """Give `text` with every drawing made anew."""

    def draw(found: re.Match[str]) -> str:
        if found[2] in TABLES:
            return f"{found[1]}{chr(10).join(TABLES[found[2]]())}\n{found[3]}"
        lines = "\n".join(DRAWINGS[found[2]]())
        return f"{found[1]}```mermaid\n{lines}\n```\n{found[3]}"

    return BLOCK.sub(draw, text)


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(drawn(document.read_text("utf-8")), "utf-8")
