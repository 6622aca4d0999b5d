"""The families' part: each goes through the portal and the gateway over HTTP, as its browser would."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp

from worker.demonstration.browser import Browser, PageError
from worker.demonstration.families import PASSWORD, Family, Part
from worker.demonstration.installation import Addresses

Tell = Callable[[str], None]


@asynccontextmanager
async def at_home(family: Family, addresses: Addresses) -> AsyncIterator[aiohttp.ClientSession]:
    """A family's own browser, signed in: its first visit, where it chooses its password."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        browser = Browser(session)
        await browser.open(addresses.portal)
        await browser.follow("Créer mon accès")
        await browser.press("Continuer", {"dossier": family.account, "nom": family.name})
        password = {"mot_de_passe": PASSWORD, "encore": PASSWORD}
        await browser.press("Enregistrer et voir mes factures", password)
        yield session


async def play(part: Part, session: aiohttp.ClientSession, addresses: Addresses, tell: Tell) -> str:
    """Play one part in a tab of the family's browser; the reference of the payment that it made."""
    invoice = part.invoice
    browser = Browser(session)
    await browser.open(f"{addresses.portal}/facturation?regie={invoice.regie}")
    await browser.press("Payer les factures cochées", {"facture": invoice.number})
    reference = _reference(browser)
    tell(f"{invoice.family.name} goes to the gateway to pay {invoice.number}")
    await browser.follow("Aller sur la page de paiement")
    if browser.address.startswith(addresses.portal):  # a gateway that wants a form: without scripts, one more button
        await browser.press("Continuer vers la banque")
    if part.unheard:
        await _silence(session, addresses.gateway, reference)
    await _choose(part, browser)
    tell(f"{invoice.family.name} {part.does}")
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
    if not found or not rest.endswith("/preparation"):
        raise PageError(f"the portal did not start a payment: {browser.address}")
    return rest.removesuffix("/preparation").rpartition("/")[2]
