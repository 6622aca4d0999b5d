"""The families' part: each goes through the portal and the gateway over HTTP, as its browser would."""

from collections.abc import Callable

import aiohttp

from worker.demonstration.browser import Browser, Form, PageError
from worker.demonstration.families import Part
from worker.demonstration.installation import Addresses

Tell = Callable[[str], None]


async def play(part: Part, addresses: Addresses, tell: Tell) -> str:
    """Play one part; the reference of the payment that it made."""
    family, number = part.invoice.family, part.invoice.number
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        browser = Browser(session)
        await browser.open(f"{addresses.portal}/dossier/{family.account}")
        await browser.press("", lambda form: form.fields.get("facture") == number)
        reference = _reference(browser)
        tell(f"{family.name} goes to the gateway to pay {number}")
        await browser.press("", _leads_to_the_gateway)
        if part.unheard:
            await _silence(session, addresses.gateway, reference)
        await _choose(part, browser)
        tell(f"{family.name} {part.does}")
        return reference


async def _choose(part: Part, browser: Browser) -> None:
    if part.button is None:
        return
    if part.unheard:
        await browser.press_and_leave(part.button)
    else:
        await browser.press(part.button)


async def _silence(session: aiohttp.ClientSession, gateway: str, reference: str) -> None:
    """Make the simulated gateway keep what becomes of this payment to itself."""
    async with session.put(f"{gateway}/control/faults/{reference}", json={"fault": "silence"}) as response:
        if not response.ok:
            raise PageError(f"{response.url} answered {response.status}")


def _reference(browser: Browser) -> str:
    """The payment's reference: part of the address that the portal led to."""
    _, found, rest = browser.address.partition("/paiements/")
    if not found or not rest.endswith("/depart"):
        raise PageError(f"the portal did not start a payment: {browser.address}")
    return rest.removesuffix("/depart")


def _leads_to_the_gateway(form: Form) -> bool:
    return form.action.startswith("http")
