"""A browser without a screen: it follows links and redirects, fills in forms, presses buttons."""

from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import urljoin

import aiohttp

BAD_REQUEST: Final = 400
"""The first status that says that something failed."""


class PageError(Exception):
    """A page failed, or has not what was looked for."""


@dataclass(slots=True)
class Form:
    """A form of a page: hidden fields, and buttons by their value (`""` without one)."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, str] = field(default_factory=dict)
    """Names by value."""


class Forms(HTMLParser):
    """The forms of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect forms, inputs and buttons."""
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append(Form(values.get("method", "get").lower(), values.get("action", "")))
        elif tag == "input" and self.found:
            self.found[-1].fields[values.get("name", "")] = values.get("value", "")
        elif tag == "button" and self.found:
            self.found[-1].buttons[values.get("value", "")] = values.get("name", "")


class Browser:
    """One family's browser. `address` and `html` are of the page that it shows."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.address = ""
        self.html = ""

    async def open(self, address: str) -> None:
        """Show a page."""
        async with self._session.get(address) as response:
            await self._show(response)

    async def press(self, button: str, wanted: Callable[[Form], bool] = lambda _: True) -> None:
        """Submit the first wanted form that has a button of this value, and show where that leads."""
        async with self._session.request(**self._submission(button, wanted)) as response:
            await self._show(response)

    async def press_and_leave(self, button: str) -> None:
        """Submit the form that has a button of this value, and go nowhere: the window is closed at once."""
        request = self._submission(button, lambda _: True)
        async with self._session.request(**request, allow_redirects=False) as response:
            if response.status >= BAD_REQUEST:
                raise PageError(f"{request['url']} answered {response.status}")

    def _submission(self, button: str, wanted: Callable[[Form], bool]) -> dict[str, Any]:
        """The request that the button makes. Raises PageError where there is no such button."""
        parser = Forms()
        parser.feed(self.html)
        form = next((form for form in parser.found if button in form.buttons and wanted(form)), None)
        if form is None:
            raise PageError(f"{self.address} has no such button: {button or 'without a value'}")
        fields = dict(form.fields)
        if form.buttons[button]:
            fields[form.buttons[button]] = button
        content = {"data": fields} if form.method == "post" else {"params": fields}
        return {"method": form.method, "url": urljoin(self.address, form.action), **content}

    async def _show(self, response: aiohttp.ClientResponse) -> None:
        self.address, self.html = str(response.url), await response.text()
        if not response.ok:
            raise PageError(f"{self.address} answered {response.status}")
