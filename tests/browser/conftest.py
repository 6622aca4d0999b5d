"""A real browser on a real demo: portal, gateway and Lettrage in their own processes, with short holds."""

import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from worker.demonstration.families import Family, Invoice
from worker.demonstration.installation import Installation, installed
from worker.demonstration.lettrage import issued

HOLD_SECONDS = 8
"""Long enough to look at every page of a payment, short enough to wait for its end."""
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
READY_SECONDS = 90
POLL_SECONDS = 0.1
HTTP_SECONDS = 10
RECONCILED, ACCEPTED = 200, 202
SIZES = {"desktop": (1100, 800), "phone": (390, 800)}
"""Width and height in CSS pixels."""
NUMBERS = itertools.count(1)
PAGE_MILLISECONDS = 15_000


@dataclass(frozen=True)
class Town:
    """A running demo that nobody plays but the test."""

    installation: Installation

    @property
    def portal(self) -> str:
        """Where the families go."""
        return self.installation.addresses.portal

    def owe(self, family: Family, regie: str) -> Invoice:
        """A new invoice that the portal can show."""
        number = f"NAV-{next(NUMBERS):03d}"
        invoice = Invoice(regie, number, family, 4250, "Restauration scolaire, novembre")
        self._issue(invoice)
        return invoice

    def payments_of(self, invoice: Invoice) -> list[str]:
        """The states of the payments that named an invoice, as Lettrage has them."""
        return [payment["state"] for payment in self._payments(invoice)]

    def _payments(self, invoice: Invoice) -> list[dict[str, Any]]:
        found = self._read(invoice)
        assert found is not None
        payments: list[dict[str, Any]] = found["payments"]
        return payments

    def at_payfip(self, invoice: Invoice) -> list[dict[str, Any]]:
        """The payments of an invoice, as the simulated PayFiP has them."""
        address = f"{self.installation.addresses.gateway}/control/payments"
        listed = requests.get(address, timeout=HTTP_SECONDS).json()
        known = {payment["reference"] for payment in self._payments(invoice)}
        return [payment for payment in listed if payment["reference"] in known]

    def spoil_payfip(self, faults: list[dict[str, Any]]) -> None:
        """Make something go wrong with all of PayFiP."""
        address = f"{self.installation.addresses.gateway}/control/service/payfip"
        assert requests.put(address, json=faults, timeout=HTTP_SECONDS).ok

    def wait_until_ready(self) -> None:
        """Wait until the portal answers and Lettrage reconciles: its worker may start long after its web is ready."""
        addresses = self.installation.addresses
        _until(lambda: _answers(f"{addresses.lettrage}/readyz"))
        _until(lambda: _answers(self.portal))
        _until(self._reconciles)

    def _reconciles(self) -> bool:
        first = issued(Invoice("enfance", "NAV-000", Family("D-0000", "Nobody"), 100, "The first"))
        return self._post(first, Prefer="wait=5").status_code == RECONCILED

    def _issue(self, invoice: Invoice) -> None:
        answer = self._post(issued(invoice))
        assert answer.status_code == ACCEPTED, answer.text
        _until(lambda: self._read(invoice) is not None)

    def _post(self, event: dict[str, Any], **headers: str) -> requests.Response:
        return requests.post(
            f"{self.installation.addresses.lettrage}/v1/events",
            data=json.dumps(event),
            headers={**self._token, "Content-Type": "application/cloudevents+json", **headers},
            timeout=HTTP_SECONDS,
        )

    def _read(self, invoice: Invoice) -> dict[str, Any] | None:
        address = f"{self.installation.addresses.lettrage}/v1/regies/{invoice.regie}/invoices/{invoice.number}"
        answer = requests.get(address, headers=self._token, timeout=HTTP_SECONDS)
        found: dict[str, Any] | None = answer.json() if answer.ok else None
        return found

    @property
    def _token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.installation.token}"}


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=HTTP_SECONDS).ok
    except requests.ConnectionError:
        return False


def _until(done: Callable[[], bool]) -> None:
    give_up = time.monotonic() + READY_SECONDS
    while not done():
        assert time.monotonic() < give_up
        time.sleep(POLL_SECONDS)


@pytest.fixture(scope="session")
def executable() -> str:
    """An installed browser; none is ever downloaded."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no browser here (Debian: apt-get install chromium)")
    return found


@pytest.fixture(scope="module")
def town(executable: str) -> Iterator[Town]:
    """One demo for the tests of a module; each plays with invoices of its own."""
    with installed(HOLD_SECONDS) as installation:
        town = Town(installation)
        town.wait_until_ready()
        yield town


@pytest.fixture(scope="module")
def browser(executable: str) -> Iterator[Browser]:
    """One Chromium for a module: Playwright keeps an event loop running, which later tests must not meet."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def size(request: pytest.FixtureRequest) -> str:
    """What the family holds: a desktop's screen unless the test says `phone`."""
    return str(getattr(request, "param", "desktop"))


@pytest.fixture
def family_browser(size: str, browser: Browser) -> Iterator[BrowserContext]:
    """A family's browser, without JavaScript: the portal must not need any."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, java_script_enabled=False, locale="fr-FR"
    )
    context.set_default_timeout(PAGE_MILLISECONDS)
    yield context
    context.close()


@pytest.fixture
def screenshots(request: pytest.FixtureRequest) -> Path:
    """Where pictures are kept, for people: in pytest's cache."""
    assert request.config.cache is not None
    return Path(request.config.cache.mkdir("screenshots"))


@pytest.fixture
def page(family_browser: BrowserContext) -> Page:
    """Its first tab."""
    return family_browser.new_page()
