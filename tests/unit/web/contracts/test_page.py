"""The page to read: whole, without a script or anything from elsewhere, for everybody."""

from __future__ import annotations

import base64
import itertools
import json
import re
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

from worker.web.contracts.files import files, page
from worker.web.contracts.page import POLICY, rendered

OPENAPI: dict[str, Any] = json.loads(files()["openapi.json"])
TEXT = page().decode()
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Read(HTMLParser):
    """A page's elements, in order; each is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It closes the one opened last."""
        assert self.open.pop() == tag, (tag, self.getpos())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each element of this name."""
        return [attributes for name, attributes in self.elements if name == tag]


PAGE = Read(TEXT)


def test_it_runs_nothing_and_fetches_nothing() -> None:
    """No script, no handler, no frame, no picture; its addresses are its own server's."""
    assert not {tag for tag, _ in PAGE.elements} & {"script", "iframe", "img", "form", "object", "embed"}
    attributes = [(name, value) for _, found in PAGE.elements for name, value in found.items()]
    assert not [name for name, _ in attributes if name.startswith("on") or name in {"style", "src"}]
    assert all(re.match(r"[#/]", value or "") for name, value in attributes if name == "href")
    assert "url(" not in TEXT
    assert "@import" not in TEXT


def test_its_policy_allows_its_style_alone() -> None:
    """By its hash."""
    (style,) = re.findall(r"<style>(.*?)</style>", TEXT, re.DOTALL)
    assert f"style-src 'sha256-{base64.b64encode(sha256(style.encode()).digest()).decode()}'" in POLICY
    assert POLICY.startswith("default-src 'none';")


def test_it_is_built_for_readers_of_every_kind() -> None:
    """Language, title, one of each landmark with names where there are several, a way past the contents."""
    assert PAGE.all("html") == [{"lang": "en"}]
    assert [len(PAGE.all(tag)) for tag in ("title", "h1", "header", "nav", "main", "footer")] == [1] * 6
    assert PAGE.all("nav") == [{"aria-label": "Contents"}]
    assert PAGE.all("a")[0] == {"class": "skip", "href": "#content"}
    assert PAGE.all("main") == [{"id": "content"}]


def test_its_headings_are_a_tree() -> None:
    """No level is left out on the way down."""
    levels = [int(tag[1]) for tag, _ in PAGE.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_every_link_leads_somewhere() -> None:
    """Inside the page to one element; outside to a document that is served."""
    ids = [attributes["id"] for _, attributes in PAGE.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    linked = {attributes["href"] or "" for attributes in PAGE.all("a") + PAGE.all("link")}
    assert {link[1:] for link in linked if link.startswith("#")} <= set(ids)
    assert {link[1:] for link in linked if link.startswith("/")} <= files().keys()
    labels = {attributes["aria-labelledby"] for _, attributes in PAGE.elements if "aria-labelledby" in attributes}
    assert labels <= set(ids)


def test_everything_is_on_it() -> None:
    """Every operation, notification, shape and kind of problem."""
    ids = {attributes.get("id") for _, attributes in PAGE.elements}
    for where in ("paths", "webhooks"):
        for methods in OPENAPI[where].values():
            assert {operation["operationId"] for operation in methods.values()} <= ids
    assert {f"shape-{name}" for name in OPENAPI["components"]["schemas"]} <= ids
    for slug in OPENAPI["components"]["responses"]:
        assert f"urn-lettrage-problem-{slug}" in ids


def test_what_a_document_says_is_shown_not_run() -> None:
    """Markup in a description, a path or an example is text."""
    hostile = json.loads(json.dumps(OPENAPI).replace("A family owes this", "<script>alert(1)</script>&"))
    hostile["info"]["title"] = "</title><script>alert(2)</script>"
    hostile["components"]["schemas"]["Accepted"]["examples"] = [{"id": "</code><script>alert(3)</script>"}]
    text = rendered(hostile).decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in text
    assert Read(text).all("script") == []
