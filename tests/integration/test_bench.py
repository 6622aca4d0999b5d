"""Every measurement runs to its end, in the small; what it measures is `make bench`'s business."""

import re
from importlib import import_module

import pytest

from bench import document
from bench.__main__ import NAMES
from bench.figures import Figure
from worker.embedded import Servers

ALWAYS = ("reconcile", "scaling", "books")
"""The quick ones, that use most of what the others use; nightly, all."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.nightly) for name in NAMES]
)
async def test_a_measurement_runs(name: str, redis_url: str, servers: Servers) -> None:
    """It answers figures for the table, each with what it is and what is to be reached; no figure is judged."""
    figures: list[Figure] = await import_module(f"bench.{name}").measure(servers, quick=True)
    assert figures
    for figure in figures:
        assert all(figure)
        assert re.search(r"\d", figure.measured)


def test_the_document_has_room_for_the_table() -> None:
    """`--write` finds its markers in docs/performance.md, once each and in order."""
    text = document.DOCUMENT.read_text("utf-8")
    assert text.count(document.BEGIN) == text.count(document.END) == 1
    assert text.index(document.BEGIN) < text.index(document.END)
