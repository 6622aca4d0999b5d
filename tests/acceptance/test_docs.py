"""The documents are true: their commands run and answer what they show, and nothing that they name is gone."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.documents import ROOT, TYPISTS_NEED, Reader, anchors, documents, links, same, steps
from tests.installation import free_port
from worker.demo import Demo
from worker.demonstration.installation import installed
from worker.demonstration.lettrage import Lettrage

TYPED = ("README.md", "README.fr.md", "docs/integrate.md", "docs/configure.md")
"""Whose commands are typed here as a reader would."""
HOLD_SECONDS = 8
"""The demo's holds: long enough to pay on a busy machine; what they show is the same as after thirty."""
MISSING = [program for program in TYPISTS_NEED if shutil.which(program) is None]
DOCUMENTS = {str(path.relative_to(ROOT)): path for path in documents()}


@pytest.fixture(scope="module")
def demo_port() -> Iterator[int]:
    """The port of a demo whose families have all ended."""
    with installed(HOLD_SECONDS) as installation:

        async def play() -> None:
            async with aiohttp.ClientSession() as session:
                demo = Demo(installation, Lettrage(session, installation.addresses.lettrage, installation.token))
                await demo.begin()
                watching = asyncio.create_task(demo.watch.for_ever())
                code = await demo.play(end)
                watching.cancel()
                assert code == 0

        async def end(demo: Demo) -> int:
            await demo.wait_for_the_last()
            return await demo.judge()

        asyncio.run(play())
        port = urlsplit(installation.addresses.lettrage).port
        assert port is not None
        yield port


@pytest.fixture
def reader() -> Iterator[Reader]:
    """Somebody with a fresh copy of the source."""
    with tempfile.TemporaryDirectory(prefix="lettrage-docs-") as folder:
        someone = Reader(Path(folder), free_port())
        try:
            yield someone
        finally:
            someone.end()


@pytest.mark.skipif(MISSING != [], reason=f"the documents' commands need {MISSING}")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", TYPED)
def test_what_a_document_tells_to_type_answers_what_it_shows(
    name: str, reader: Reader, request: pytest.FixtureRequest
) -> None:
    """Every command marked to be run, in order, against an installation of the document's own making."""
    found = steps(DOCUMENTS[name].read_text("utf-8"))
    assert found
    for step in found:
        reader.follow(step, request.getfixturevalue("demo_port") if step.how == "demo" else None)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    """Files exist, and headings that are named after `#`."""
    path = DOCUMENTS[name]
    for link in links(path.read_text("utf-8")):
        target, _, anchor = link.partition("#")
        led_to = (path.parent / target).resolve() if target else path
        assert led_to.exists(), link
        assert not anchor or anchor in anchors(led_to.read_text("utf-8")), link


def test_times_and_made_up_names_apart_an_answer_must_be_the_one_shown() -> None:
    """Another state, a field more or less, an item more: each is told."""
    shown = '{"items": [{"at": "2026-11-23T09:23:55.1Z", "event_id": "23", "state": "paid"}]}'
    later = '{"items":[{"at":"2027-01-01T00:00:00Z","event_id":"4","state":"paid"}]}'
    more = '{"items":[{"at":"2027-01-01T00:00:00Z","event_id":"4","state":"paid","late":true}]}'
    assert same(shown, later, part=False)
    assert same(shown, more, part=True)
    assert not same(shown, more, part=False)
    assert not same(shown, later.replace("paid", "payable"), part=True)
    assert not same(shown, '{"items": []}', part=True)
    assert not same('{"items": []}', later, part=True)
    assert not same(shown, "Not Found", part=True)
