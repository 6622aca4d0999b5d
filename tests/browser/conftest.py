"""A real browser on a real demo: portal, gateway and Lettrage in their own processes, with short holds."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.browser.acting import Shoot
from tests.browser.town import HOLD_SECONDS, Town
from worker.demonstration.families import DIALLO, MARTIN, PASSWORD, Family
from worker.demonstration.installation import installed

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",  # nothing but our own pages is asked for
    "--disable-component-update",
    "--disable-sync",
)
ALLOWS_POPUPS = "--disable-popup-blocking"
"""What Playwright gives to every browser; without it, Chromium blocks what opens by itself, as at home."""
SIZES = {"desktop": (1100, 800), "phone": (390, 800), "zoomed": (320, 256)}
"""Width and height in CSS pixels; the last is 1280 × 1024 at 400 %."""
PAGE_MILLISECONDS = 20_000
"""What a page may take, on a busy machine."""
expect.set_options(timeout=PAGE_MILLISECONDS)
FOLDER = "screenshots"


@pytest.fixture(scope="package")
def executable() -> str:
    """An installed browser; none is ever downloaded."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no browser here (Debian: apt-get install chromium)")
    return found


@pytest.fixture(scope="package")
def town(executable: str) -> Iterator[Town]:
    """One demo for all; each test plays with invoices of its own."""
    with installed(HOLD_SECONDS) as installation:
        town = Town(installation)
        town.wait_until_ready()
        yield town


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Playwright keeps an event loop running, which tests of other packages must not meet."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def browser(executable: str, playwright: Playwright) -> Iterator[Browser]:
    """A Chromium that lets pages open windows."""
    browser = playwright.chromium.launch(executable_path=executable, args=QUIET)
    yield browser
    browser.close()


@pytest.fixture(scope="package")
def blocking_browser(executable: str, playwright: Playwright) -> Iterator[Browser]:
    """A Chromium that blocks the windows that nobody clicked for."""
    browser = playwright.chromium.launch(executable_path=executable, args=QUIET, ignore_default_args=[ALLOWS_POPUPS])
    yield browser
    browser.close()


@pytest.fixture
def size(request: pytest.FixtureRequest) -> str:
    """What the family holds: a desktop's screen unless the test says otherwise."""
    return str(getattr(request, "param", "desktop"))


@pytest.fixture
def scripts(request: pytest.FixtureRequest) -> bool:
    """Whether its browser runs scripts: not unless the test says so, as the portal must not need any."""
    return bool(getattr(request, "param", False))


@pytest.fixture
def strangers_browser(size: str, scripts: bool, browser: Browser) -> Iterator[BrowserContext]:  # noqa: FBT001 (a fixture)
    """A browser that was never here."""
    context = opened(browser, size, scripts=scripts)
    yield context
    context.close()


@pytest.fixture
def family_browser(strangers_browser: BrowserContext, browser: Browser, town: Town) -> BrowserContext:
    """The browser of the family Diallo, signed in."""
    strangers_browser.add_cookies(signed_in(browser, town, DIALLO))
    return strangers_browser


@pytest.fixture
def other_parents_browser(browser: Browser, town: Town) -> Iterator[BrowserContext]:
    """The same family's, in a session of its own: another parent, elsewhere."""
    context = opened(browser, "phone", scripts=False)
    page = context.new_page()
    page.goto(f"{town.portal}/connexion")
    page.get_by_label("Numéro de dossier").fill(DIALLO.account)
    page.get_by_label("Mot de passe", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Se connecter").click()
    page.get_by_role("heading", name="Bonjour").wait_for()
    yield context
    context.close()


@pytest.fixture
def other_familys_browser(browser: Browser, town: Town) -> Iterator[BrowserContext]:
    """The browser of the family Martin, signed in."""
    context = opened(browser, "desktop", scripts=False)
    context.add_cookies(signed_in(browser, town, MARTIN))
    yield context
    context.close()


@pytest.fixture
def blocking_family_browser(blocking_browser: Browser, browser: Browser, town: Town) -> Iterator[BrowserContext]:
    """The browser of the family Diallo, signed in; it blocks windows that open by themselves."""
    context = opened(blocking_browser, "desktop", scripts=True)
    context.add_cookies(signed_in(browser, town, DIALLO))
    yield context
    context.close()


@pytest.fixture
def page(family_browser: BrowserContext) -> Page:
    """The family's first tab."""
    return family_browser.new_page()


def opened(browser: Browser, size: str, *, scripts: bool) -> BrowserContext:
    """A new window: its cookies are its own."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, java_script_enabled=scripts, locale="fr-FR"
    )
    context.set_default_timeout(PAGE_MILLISECONDS)
    return context


def signed_in(browser: Browser, town: Town, family: Family) -> list[Any]:
    """The cookies of a family that is signed in: its first visit, made once and by clicking."""
    if family.account not in town.cookies:
        context = opened(browser, "desktop", scripts=False)
        page = context.new_page()
        page.goto(town.portal)
        page.get_by_role("link", name="Créer mon accès").click()
        page.get_by_label("Numéro de dossier").fill(family.account)
        page.get_by_label("Nom de famille").fill(family.name)
        page.get_by_role("button", name="Continuer").click()
        page.get_by_label("Nouveau mot de passe").fill(PASSWORD)
        page.get_by_label("Le même, encore une fois").fill(PASSWORD)
        page.get_by_role("button", name="Enregistrer").click()
        page.get_by_role("heading", name=f"Bonjour, {family.name}").wait_for()
        town.cookies[family.account] = context.cookies()
        context.close()
    return town.cookies[family.account]


@pytest.fixture
def screenshots(request: pytest.FixtureRequest) -> Path:
    """Where pictures are kept, for people: in pytest's cache."""
    assert request.config.cache is not None
    return Path(request.config.cache.mkdir(FOLDER))


@pytest.fixture
def shoot(screenshots: Path, size: str) -> Shoot:
    """Keep a picture of a page, for people to look at."""

    def keep(page: Page, name: str) -> None:
        page.screenshot(path=screenshots / f"{name}-{size}.png", full_page=True)

    return keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the pictures are."""
    assert config.cache is not None
    kept = sorted(config.cache.mkdir(FOLDER).glob("*.png"))
    if kept:
        terminalreporter.write_line(f"{len(kept)} screenshots are in {kept[0].parent}")
