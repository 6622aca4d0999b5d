"""Names to addresses, one look at a time for each portal, in a thread that nobody waits for.

The event loop's own threads are few: two portals whose name servers do not answer would keep every other waiting.
"""

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

Found = list[tuple[Any, Any, int, str, tuple[Any, ...]]]
"""As getaddrinfo answers."""


class Names(AbstractResolver):
    """Resolves one portal's name. Who asks while a look is under way gets what that one finds."""

    def __init__(self) -> None:
        self._looking: asyncio.Future[Found | OSError] | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Its addresses. Raises OSError without any; who asks says how long that may take."""
        if self._looking is None or self._looking.done():
            self._looking = _begin(host, port, family)
        found = await asyncio.shield(self._looking)
        if isinstance(found, OSError):
            raise found
        return [
            ResolveResult(hostname=host, host=_numeric(where), port=port, family=kind, proto=protocol, flags=_NUMERIC)
            for kind, _, protocol, _, where in found
        ]

    async def close(self) -> None:
        """Nothing to close: a look under way ends by itself, and keeps no process from ending."""


def _begin(host: str, port: int, family: socket.AddressFamily) -> "asyncio.Future[Found | OSError]":
    loop = asyncio.get_running_loop()
    looking: asyncio.Future[Found | OSError] = loop.create_future()

    def look() -> None:
        found = _look(host, port, family)
        with suppress(RuntimeError):  # the loop is closed: nobody asks any more
            loop.call_soon_threadsafe(looking.set_result, found)

    threading.Thread(target=look, name="resolves", daemon=True).start()
    return looking


def _look(host: str, port: int, family: socket.AddressFamily) -> Found | OSError:
    try:
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except OSError as error:
        return error
    except UnicodeError:
        return OSError("no name for a machine")


def _numeric(where: tuple[Any, ...]) -> str:
    """An address without its name; a link-local one keeps its scope, and is never allowed."""
    return socket.getnameinfo(where, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
