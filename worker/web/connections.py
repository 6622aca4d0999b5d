"""aiohttp's connections, quieter and less patient: problems instead of its own pages, and a deadline for headers.

Bodies have theirs in `bodies.py`. aiohttp (3.14) closes a connection that stays idle, but not one that drips a header.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from worker.web.problems import answer, kind_of_status

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()

IDLE_SECONDS: Final = 75.0
"""Longer than a reverse proxy keeps its connections (60 s): it must never send into one that we are closing."""
HEADER_SECONDS: Final = 10.0
"""From a request's first byte to the end of its headers."""
REQUEST_SECONDS: Final = 60.0
"""From its headers to the end of its answer: body, commit, wait, and a reader who takes his time."""
LINGER_SECONDS: Final = 5.0
"""How long the rest of a refused body is read, so that the refusal is read too."""
LEAVE_SECONDS: Final = 1.0
"""How long a process that ends still answers on the connections it has: who keeps one busy is told, not cut off."""
LOOK_SECONDS: Final = 0.02
SWEEP_SECONDS: Final = 1.0
"""Between two looks at who is too slow."""
MAX_HEADER_BYTES: Final = 8190
"""One header, or the request line."""
MAX_HEADERS: Final = 100
"""Headers of a request."""


class Connection(RequestHandler):
    """One connection, with the deadlines that a sweep enforces."""

    __slots__ = ("awaited_since", "header_since", "seen")

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(manager, loop=loop, **settings)
        self.header_since: float | None = None
        self.seen = 0
        self.awaited_since = 0.0

    def data_received(self, data: bytes) -> None:
        """Parse what came; while it is less than a request's headers, their deadline runs."""
        super().data_received(data)
        waiter = self._waiter
        if waiter is None or waiter.done():
            self.header_since = None
        elif data and self.header_since is None:
            self.header_since = self._loop.time()

    def hang_up_if_slow(self, now: float) -> None:
        """Close when headers or a whole request take too long; looked at once a sweep, which costs requests nothing."""
        if self.header_since is not None and now - self.header_since > HEADER_SECONDS:
            self._abort()
        elif not self._request_in_progress or self.seen != self._request_count:
            self.seen, self.awaited_since = self._request_count, now
        elif now - self.awaited_since > REQUEST_SECONDS:
            self._abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; one that is given while the process ends is the connection's last, and says so."""
        if isinstance(self._manager, Connections) and self._manager.leaving:
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def _abort(self) -> None:
        """Close without waiting for whoever does not read what was written."""
        transport = self.transport
        self.force_close()
        if isinstance(transport, asyncio.Transport):
            transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP with a problem; what is our own fault is logged."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request_failed", exc_info=exc)
        response = answer(kind_of_status(status).problem(str(message or "")[:200].strip()))
        response.force_close()
        return response


class Connections(web.Server):
    """The server that makes them."""

    leaving = False
    """Whether every answer is its connection's last."""

    def __call__(self) -> RequestHandler:
        """Make the next one."""
        return Connection(self, loop=self._loop, **self._kwargs)

    async def sweep(self) -> None:
        """Hang up on who is too slow, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._loop.time()
            for connection in self.connections:
                if isinstance(connection, Connection):
                    connection.hang_up_if_slow(now)

    async def leave(self) -> None:
        """Answer what comes on the connections there are, for a moment: cut off, a request's fate would be unknown."""
        self.leaving = True
        end = self._loop.time() + LEAVE_SECONDS
        while self.connections and self._loop.time() < end:  # noqa: ASYNC110 (connections come and go without an event)
            await asyncio.sleep(LOOK_SECONDS)


class Runner(web.AppRunner):
    """An application on these connections."""

    __slots__ = ("_sweeper",)

    def __init__(self, app: web.Application, *, shutdown_seconds: float) -> None:
        super().__init__(
            app,
            handle_signals=False,
            access_log=None,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
            auto_decompress=False,
            shutdown_timeout=shutdown_seconds,
        )
        self._sweeper: asyncio.Task[None] | None = None

    async def cleanup(self) -> None:
        """Listen no more, take leave, then let what was begun end."""
        for site in self.sites:
            await site.stop()
        if isinstance(self.server, Connections):
            await self.server.leave()
        await super().cleanup()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        server = Connections(made.request_handler, request_factory=made.request_factory, **made._kwargs)  # noqa: SLF001
        self._sweeper = asyncio.create_task(server.sweep())
        return server

    async def _cleanup_server(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        await super()._cleanup_server()
