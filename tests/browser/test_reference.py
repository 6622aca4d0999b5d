"""The API's page as a running Lettrage serves it, under its own policy: for everybody, in both colour schemes."""

import json
import re
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import SIZES
from tests.browser.test_accessible import faults, landmarks, too_wide
from tests.browser.town import Town
from worker.web.contracts.files import files
from worker.web.contracts.page import rendered

pytestmark = pytest.mark.browser

SHOWN: Final = ("/v1/regies/{regie}/discrepancies", "/livez", "/schemas/events/{type}.json")
SCHEMES: Final[tuple[Literal["light"], Literal["dark"]]] = ("light", "dark")


@pytest.fixture
def scripts() -> bool:
    """Axe needs them; the page has none."""
    return True


@pytest.fixture
def reference(strangers_browser: BrowserContext, town: Town) -> Page:
    """The page, opened; whatever its policy forbids is an error in the console."""
    page = strangers_browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(f"{town.installation.addresses.lettrage}/docs")
    assert said == []
    return page


def excerpt() -> dict[str, Any]:
    """The document with a little of everything: axe takes minutes for the whole page on a busy machine."""
    document: dict[str, Any] = json.loads(files()["openapi.json"])
    shapes = document["components"]["schemas"]
    document["paths"] = {path: document["paths"][path] for path in SHOWN}
    document["webhooks"] = {"discrepancy.opened": document["webhooks"]["discrepancy.opened"]}
    document["components"]["schemas"] = {}
    while missing := set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document))) - set(
        document["components"]["schemas"]
    ):
        document["components"]["schemas"] |= {name: shapes[name] for name in missing}
    return document


def test_the_apis_page_fits_every_screen(reference: Page, screenshots: Path) -> None:
    """With every example open nothing sticks out, on a phone and at 400 % neither."""
    assert landmarks(reference) == ("en", 1, 1, 1, 1)
    reference.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    for name, (width, height) in SIZES.items():
        reference.set_viewport_size({"width": width, "height": height})
        reference.screenshot(path=screenshots / f"reference-{name}.png")
        assert (name, too_wide(reference)) == (name, [])


def test_the_apis_page_is_for_everybody(strangers_browser: BrowserContext, screenshots: Path) -> None:
    """Axe finds nothing, light and dark."""
    page = strangers_browser.new_page()
    page.set_content(rendered(excerpt()).decode())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=screenshots / f"reference-{scheme}.png")
        assert (scheme, faults(page)) == (scheme, [])


def test_the_apis_page_is_read_by_keyboard(reference: Page) -> None:
    """The first stop leads past the contents; an example opens with the enter key."""
    reference.keyboard.press("Tab")
    expect(reference.get_by_role("link", name="Skip to the content")).to_be_focused()
    reference.keyboard.press("Enter")
    expect(reference).to_have_url(re.compile("#content$"))
    example = reference.locator("#sendEvents").locator("xpath=..").locator("summary").first
    example.focus()
    reference.keyboard.press("Enter")
    expect(reference.get_by_text('"specversion": "1.0"').first).to_be_visible()
