"""One attempt to tell a portal: signed, bounded in time and size, to no forbidden address."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from yarl import URL

from worker.portals.addresses import AddressForbiddenError, guarded_sockets
from worker.portals.names import Names
from worker.portals.port import Attempt, DueNotification, PortalConfig, SendOutcome
from worker.portals.retries import retry_after_seconds
from worker.portals.signing import signed_headers

AT_ONCE: Final = 4
"""Attempts under way at one portal, by one process: a slow one is not besieged, a quick one hears hundreds a second."""
ATTEMPT_SECONDS: Final = 15.0
"""What a portal may take to answer; the contract's."""
MAX_ANSWER_BYTES: Final = 16_384
"""Of an answer whose status is all that counts; a longer one costs its connection."""
IDLE_SECONDS: Final = 2.0
"""A connection kept longer may be hung up by its portal just as something is sent: many servers wait 5 s."""
DRAIN_SECONDS: Final = 1.0
"""For reading the rest of an answer whose status is known."""

_encode = msgspec.json.Encoder().encode


class Portal:
    """A régie's portal. Open on the running event loop; `close` hangs up."""

    def __init__(self, config: PortalConfig) -> None:
        self.regie = config.regie
        self.target = config.target
        self._config = config
        self._session: ClientSession | None = None

    async def send(self, due: DueNotification) -> Attempt:
        """Tell it once. Never raises: whatever happens is how the attempt ended."""
        began = time.monotonic()
        status: int | None = None
        error: str | None = None
        wish: float | None = None
        try:
            status, wish = await self._post(due)
            outcome = _meaning(status)
        except TimeoutError:
            outcome, error = SendOutcome.TIMED_OUT, f"no answer within {ATTEMPT_SECONDS:.0f} s"
        except Exception as failure:  # noqa: BLE001 (what a portal's answer provokes in a library is its failure)
            outcome, error = _reason(failure)
        took = int((time.monotonic() - began) * 1000)
        return Attempt(outcome=outcome, status=status, error=error, milliseconds=took, retry_after_seconds=wish)

    async def close(self) -> None:
        """Hang up."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, due: DueNotification) -> tuple[int, float | None]:
        body = _encode({"type": due.type, "timestamp": due.at, "data": due.data})
        headers = signed_headers(self._config.secrets, due.webhook_id, int(time.time()), body)
        if due.trace is not None:
            headers["traceparent"] = due.trace
        async with asyncio.timeout(ATTEMPT_SECONDS):
            told = await self._opened().post(URL(self._config.url), data=body, headers=headers, allow_redirects=False)
        async with told:
            wish = retry_after_seconds(told.headers.get("Retry-After"), datetime.now(UTC))
            await _read_little(told)
            return told.status, wish

    def _opened(self) -> ClientSession:
        if self._session is None:
            guard = guarded_sockets(private=self._config.private)
            self._session = ClientSession(
                connector=TCPConnector(
                    limit=AT_ONCE,
                    keepalive_timeout=IDLE_SECONDS,
                    resolver=Names(),
                    use_dns_cache=False,
                    socket_factory=guard,
                ),
                timeout=ClientTimeout(total=None),
                cookie_jar=DummyCookieJar(),
                headers={"Content-Type": "application/json", "User-Agent": "lettrage"},
                auto_decompress=False,
            )
        return self._session


def _meaning(status: int) -> SendOutcome:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return SendOutcome.DELIVERED
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return SendOutcome.REDIRECTED
    return SendOutcome.GONE if status == HTTPStatus.GONE else SendOutcome.REFUSED


def _reason(failure: Exception) -> tuple[SendOutcome, str]:
    """What went wrong, named by its kind: a message may quote the address, which may hold a secret."""
    if isinstance(getattr(failure, "os_error", failure), AddressForbiddenError):
        return SendOutcome.ADDRESS_FORBIDDEN, "not a public address; private = true would allow an inner one"
    return SendOutcome.UNREACHABLE, type(failure).__name__


async def _read_little(answer: ClientResponse) -> None:
    """Read what little is said, so that the connection can serve again; hang up on more."""
    left = MAX_ANSWER_BYTES
    with suppress(TimeoutError, ClientError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while left > 0 and (chunk := await answer.content.readany()):
                left -= len(chunk)
            if left > 0:
                return
    answer.close()
