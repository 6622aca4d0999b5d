"""`lettrage demo`: a whole installation, a few families played through it, each invoice's way told as it happens.

stdout has the ways, a line for each change; stderr has everything else.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NoReturn, TypeVar

import aiohttp
import click

from worker.demonstration.browser import PageError
from worker.demonstration.families import FAMILIES, INVOICES, LEROY, MARTIN, PARTS, PASSWORD, Family, Invoice, Part
from worker.demonstration.installation import HOLD_SECONDS, DemoError, Installation, installed
from worker.demonstration.lettrage import Lettrage
from worker.demonstration.play import at_home, play
from worker.demonstration.verdict import differences, is_over, lateness_seconds
from worker.demonstration.watch import Change, Watch

READY_SECONDS: Final = 90
"""A first start makes a database; a slow disk takes its time."""
GRACE_SECONDS: Final = 20
"""After the last deadline, before the demo says what is missing."""
LOOK_SECONDS: Final = 0.2
PART_SECONDS: Final = 30
"""One family at the portal and the gateway."""
DONE, FAILED = 0, 1

T = TypeVar("T")
Ending = Callable[["Demo"], Awaitable[int]]


def play_until_interrupted() -> int:
    """Play the families, then stay up for whoever opens the portal; 0 when interrupted, 1 if it broke."""
    return _run(_stay)


def play_once() -> int:
    """Play the families and end after the last reactivation; 0 only if every invoice ended as it should."""
    return _run(_end)


def _run(ending: Ending) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a platform's stop is a person's Ctrl-C
    try:
        _say("Starting PostgreSQL, Valkey, Lettrage, a simulated gateway and an example portal…")
        with installed() as installation:
            try:
                return asyncio.run(_demo(installation, ending))
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must leave nothing behind
                _say("Stopping…")
    except KeyboardInterrupt:
        return DONE if ending is _stay else FAILED
    except (DemoError, PageError, aiohttp.ClientError) as error:
        _say(f"The demo failed: {error}")
        return FAILED


async def _demo(installation: Installation, ending: Ending) -> int:
    timeout = aiohttp.ClientTimeout(total=PART_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        lettrage = Lettrage(session, installation.addresses.lettrage, installation.token)
        demo = Demo(installation, lettrage)
        await _guarded(demo.begin(), demo.guard())
        return await _guarded(demo.play(ending), demo.guard(), demo.watch.for_ever())


async def _guarded(story: Coroutine[None, None, T], *guards: Coroutine[None, None, NoReturn]) -> T:
    """What the story returns; whatever ends first ends all, and raises what it raised."""
    told = asyncio.ensure_future(story)
    tasks: list[asyncio.Future[Any]] = [told, *(asyncio.ensure_future(guard) for guard in guards)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        return told.result()
    finally:
        await _ended(tasks)


async def _ended(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """End them, asking again: on Python 3.11 a cancel that meets an answer just coming in can be lost."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=LOOK_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


async def _stay(demo: "Demo") -> int:
    code = await _end(demo)
    addresses = demo.installation.addresses
    _say(
        f"\nThe rest is yours: open {addresses.panel}, then pay, be refused, cancel or close the window at the portal."
    )
    _say(
        f"Sign in as dossier {MARTIN.account}, password « {PASSWORD} ». Or make a first visit: dossier {LEROY.account},"
    )
    _say(f"{LEROY.name}. What you do is told here. Ctrl-C stops everything and leaves nothing behind.\n")
    await asyncio.Event().wait()
    return code


async def _end(demo: "Demo") -> int:
    await demo.wait_for_the_last()
    return await demo.judge()


class Demo:
    """One demo under way. `payments` are the references that the parts led to."""

    def __init__(self, installation: Installation, lettrage: Lettrage) -> None:
        self.installation = installation
        self.lettrage = lettrage
        self.watch = Watch(lettrage, INVOICES, self._tell_change, self._tell_unproven)
        self.payments: dict[str, str] = {}
        self._began = time.monotonic()

    async def guard(self) -> NoReturn:
        """Fail as soon as a process is gone."""
        while True:
            self.installation.check()
            await asyncio.sleep(LOOK_SECONDS)

    async def begin(self) -> None:
        """Wait until Lettrage is ready, say where everything is, issue the invoices."""
        try:
            await _until(self.lettrage.is_ready, READY_SECONDS, "Lettrage is not ready")
        except DemoError as error:
            raise DemoError(f"{error}. {self.installation.processes[0].last_words()}") from error
        addresses = self.installation.addresses
        _say(f"Ready after {time.monotonic() - self._began:.1f} s.\n")
        _say(f"  All at one address {addresses.panel}\n")
        _say(f"  Portal             {addresses.portal}")
        _say(f"  Simulated gateway  {addresses.gateway}/control/payments")
        _say(f"  Lettrage           {addresses.lettrage}/readyz  {addresses.lettrage}/metrics")
        token = self.installation.token
        _say(f"  Its API            curl -H 'Authorization: Bearer {token}' {addresses.lettrage}/v1/regies\n")
        _say(f"Holds last {HOLD_SECONDS} s here, 30 min by default: what is not paid is payable again then.")
        _say(f"Times below are this machine's ({datetime.now().astimezone():%Z}), on the pages those of Paris.\n")
        await self.lettrage.issue(INVOICES, addresses.portal)
        await _until(self._all_known, READY_SECONDS, "the invoices were not applied")
        await _until(self._portal_answers, READY_SECONDS, "the portal does not answer")

    async def _all_known(self) -> bool:
        return all([await self.lettrage.invoice(invoice) is not None for invoice in INVOICES])

    async def _portal_answers(self) -> bool:
        addresses = self.installation.addresses
        return all(
            [
                await _answers(url)
                for url in (addresses.portal, f"{addresses.gateway}/control/payments", addresses.panel)
            ]
        )

    async def play(self, ending: Ending) -> int:
        """Let every family play its parts, at once; then end as asked."""
        await asyncio.gather(*(self._play(family) for family in FAMILIES))
        return await ending(self)

    async def _play(self, family: Family) -> None:
        """One family, in its own browser, a tab for each part; whoever plays none stays out."""
        parts = [part for part in PARTS if part.invoice.family == family]
        if not parts:
            return
        async with at_home(family, self.installation.addresses) as session:
            await asyncio.gather(*(self._play_part(part, session) for part in parts))

    async def _play_part(self, part: Part, session: aiohttp.ClientSession) -> None:
        reference = await play(part, session, self.installation.addresses, _tell)
        self.payments[part.invoice.number] = reference

    async def wait_for_the_last(self) -> None:
        """Wait until every played invoice has ended, or should have."""
        with suppress(DemoError):
            await _until(self._all_over, HOLD_SECONDS + GRACE_SECONDS, "not all invoices ended")

    async def _all_over(self) -> bool:
        read = self.watch.read
        return all(part.invoice.number in read and is_over(part, read[part.invoice.number]) for part in PARTS)

    async def judge(self) -> int:
        """Say of each played invoice whether it ended as it should."""
        _say("")
        codes = [await self._judge(part) for part in PARTS]
        good = codes.count(DONE)
        _say(f"\n{good} of {len(PARTS)} invoices ended as they should.")
        return max(codes)

    async def _judge(self, part: Part) -> int:
        number = part.invoice.number
        invoice = await self.lettrage.invoice(part.invoice)
        payment = await self.lettrage.payment(part.invoice.regie, self.payments[number])
        history = await self.lettrage.history(part.invoice)
        seen = self.watch.seen_payable_at.get(number)
        found = differences(part, invoice or {}, payment, history, seen)
        told = "; ".join(found) or _good_end(payment, history)
        _say(f"  {'WRONG' if found else 'ok':5}  {number}  {part.invoice.family.name} {part.does}: {told}")
        return FAILED if found else DONE

    def _tell_change(self, invoice: Invoice, change: Change) -> None:
        at = datetime.fromisoformat(change["at"]).astimezone()
        way = f"{change['from'] or 'new':>10} → {change['to']:10}"
        of = f"  payment {change['payment']}" if change["payment"] else ""
        click.echo(f"{at:%H:%M:%S}  {invoice.number}  {way}  {change['reason']}{of}")

    def _tell_unproven(self, regie: str, found: Change) -> None:
        detail = found["detail"]
        claimed = found["payment"] or detail["gateway_reference"]
        what = "a callback that proves nothing: kept, counted, no invoice changed"
        click.echo(f"{datetime.now().astimezone():%H:%M:%S}  {regie}  {what}  {detail['why']}  payment {claimed}")


def _good_end(payment: dict[str, Any], history: list[dict[str, Any]]) -> str:
    lateness = lateness_seconds(payment, history)
    if lateness is None:
        return "paid; the bank may still reject this direct debit" if payment["provisional"] else "paid"
    return f"payable again {lateness * 1000:.0f} ms after its deadline"


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.ok
    except aiohttp.ClientError:
        return False


async def _until(done: Callable[[], Awaitable[bool]], seconds: float, otherwise: str) -> None:
    """Wait for something to be so. Raises DemoError when it takes longer than `seconds`."""
    until = time.monotonic() + seconds
    while not await done():
        if time.monotonic() > until:
            raise DemoError(f"{otherwise} after {seconds} s")
        await asyncio.sleep(LOOK_SECONDS)


def _tell(text: str) -> None:
    _say(f"{datetime.now().astimezone():%H:%M:%S}  {text}")


def _say(text: str) -> None:
    click.echo(text, err=True)
