"""A browser without a screen: it follows links and redirects, fills in forms, presses buttons."""

from collections.abc import Mapping
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
class Words:
    """A link or a button: its attributes, and what a person reads on it."""

    attributes: Mapping[str, str]
    read: str = ""

    def says(self, words: str) -> bool:
        """Whether this is what is meant: by its words, or by a button's value."""
        return words in (" ".join(self.read.split()), self.attributes.get("value"))


@dataclass(slots=True)
class Form:
    """A form of a page, with its inputs and its buttons."""

    attributes: Mapping[str, str]
    inputs: list[Mapping[str, str]] = field(default_factory=list)
    buttons: list[Words] = field(default_factory=list)

    def fields(self, filled: Mapping[str, str]) -> list[tuple[str, str]]:
        """What is sent once this is typed and ticked: a box's value, a field's text, by their names."""
        found = []
        for one in self.inputs:
            name, value = one.get("name", ""), one.get("value", "")
            if one.get("type") == "checkbox":
                found += [(name, value)] if filled.get(name) == value else []
            else:
                found.append((name, filled.get(name, value)))
        return found


class Elements(HTMLParser):
    """The forms and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[Words] = []
        self._open: list[Words] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what can be filled in, pressed or followed."""
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(attributes))
        elif tag == "input" and self.forms:
            self.forms[-1].inputs.append(attributes)
        elif tag in ("a", "button"):
            self._open = [Words(attributes)]
            if tag == "a":
                self.links += self._open
            elif self.forms:
                self.forms[-1].buttons += self._open

    def handle_endtag(self, tag: str) -> None:
        """A link or button ends."""
        if tag in ("a", "button"):
            self._open = []

    def handle_data(self, data: str) -> None:
        """Read what is on a link or button."""
        for one in self._open:
            one.read += data


class Browser:
    """One family's tab. `address` and `html` are of the page that it shows."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.address = ""
        self.html = ""

    async def open(self, address: str) -> None:
        """Show a page."""
        async with self._session.get(address) as response:
            await self._show(response)

    async def follow(self, words: str) -> None:
        """Follow the first link that says this."""
        found = next((link for link in self._elements().links if link.says(words)), None)
        if found is None:
            raise PageError(f"{self.address} has no such link: {words}")
        await self.open(urljoin(self.address, found.attributes.get("href", "")))

    async def press(self, words: str, filled: Mapping[str, str] | None = None) -> None:
        """Fill in and submit the form whose button says this, and show where that leads."""
        async with self._session.request(**self._submission(words, filled or {})) as response:
            await self._show(response)

    async def press_and_leave(self, words: str) -> None:
        """Submit the form whose button says this, and go nowhere: the window is closed at once."""
        request = self._submission(words, {})
        async with self._session.request(**request, allow_redirects=False) as response:
            if response.status >= BAD_REQUEST:
                raise PageError(f"{request['url']} answered {response.status}")

    def _submission(self, words: str, filled: Mapping[str, str]) -> dict[str, Any]:
        """The request that the button makes. Raises PageError where there is no such button."""
        for form in self._elements().forms:
            for button in form.buttons:
                if button.says(words):
                    return self._request(form, button, filled)
        raise PageError(f"{self.address} has no such button: {words}")

    def _request(self, form: Form, button: Words, filled: Mapping[str, str]) -> dict[str, Any]:
        method = form.attributes.get("method", "get").lower()
        action = button.attributes.get("formaction", form.attributes.get("action", ""))
        fields = form.fields(filled)
        if "name" in button.attributes:
            fields.append((button.attributes["name"], button.attributes.get("value", "")))
        content = {"data": fields} if method == "post" else {"params": fields}
        return {"method": method, "url": urljoin(self.address, action), **content}

    def _elements(self) -> Elements:
        found = Elements()
        found.feed(self.html)
        return found

    async def _show(self, response: aiohttp.ClientResponse) -> None:
        self.address, self.html = str(response.url), await response.text()
        if not response.ok:
            raise PageError(f"{self.address} answered {response.status}")
