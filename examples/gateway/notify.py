"""Telling a shop what became of a payment: tried again while nobody listens, spoilt where that was asked for."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from examples.gateway.faults import InForce
from examples.gateway.payments import Notification, Payment

TRIES = 4
"""Lyra gives up after as many; nobody says how often PayFiP tries."""
NOTIFY_TIMEOUT_SECONDS = 10


class Notifier:
    """What is on its way to the shops."""

    def __init__(self, retry_seconds: float) -> None:
        self._retry_seconds = retry_seconds
        self._sending: set[asyncio.Task[None]] = set()

    async def open_client(self, _app: web.Application) -> AsyncIterator[None]:
        """Keep connections while the application runs; forget what was not heard when it ends."""
        timeout = aiohttp.ClientTimeout(total=NOTIFY_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as self._client:
            yield
            for task in self._sending:
                task.cancel()

    def is_idle(self) -> bool:
        """Tell whether nothing is on its way."""
        return not self._sending

    def notify(self, payment: Payment, notification: Notification | None, faults: InForce) -> None:
        """Begin to tell; None is an outcome that this gateway keeps to itself."""
        if "forged" in faults:
            self._send(payment, payment.forge(), faults)
        elif notification is not None and "silence" not in faults:
            for _ in range(2 if "duplicate" in faults else 1):
                self._send(payment, notification, faults)

    def _send(self, payment: Payment, notification: Notification, faults: InForce) -> None:
        delay_seconds = faults["late"].delay_seconds if "late" in faults else 0
        task = asyncio.create_task(self._try_until_heard(payment, notification, delay_seconds))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _try_until_heard(self, payment: Payment, notification: Notification, delay_seconds: float) -> None:
        await asyncio.sleep(delay_seconds)
        for _ in range(TRIES):
            heard = await self._try(notification)
            payment.tries.append(heard)
            if heard == "200":
                return
            await asyncio.sleep(self._retry_seconds)

    async def _try(self, notification: Notification) -> str:
        fields = dict(notification.fields)
        posted, asked = (fields, None) if notification.method == "POST" else (None, fields)
        try:
            async with self._client.request(notification.method, notification.url, data=posted, params=asked) as answer:
                return str(answer.status)
        except (aiohttp.ClientError, TimeoutError) as error:
            return type(error).__name__
