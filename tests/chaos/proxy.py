"""A TCP proxy that can lose what a server says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

CHUNK_BYTES = 65536


class Proxy:
    """Passes bytes between clients and one server, until told to drop the replies or to cut."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._writers: set[asyncio.StreamWriter] = set()
        self._silenced: set[asyncio.StreamWriter] = set()
        self.drops_replies = False
        self.dropped_bytes = 0
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen on a free port of the loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        """Break every connection at once, in the middle of whatever it says."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def silence(self) -> None:
        """Say nothing more to whoever is connected now, and do not hang up either: a router that forgot them."""
        self._silenced |= self._writers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(back)
        await asyncio.gather(self._requests(reader, back), self._replies(there, writer))
        self._writers -= {writer, back}

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What is asked always arrives."""
        with suppress(OSError):
            while sent := await reader.read(CHUNK_BYTES):
                writer.write(sent)
                await writer.drain()
        if writer not in self._silenced:
            writer.close()

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What is answered may be lost: a commit that nobody hears of."""
        with suppress(OSError):
            while answer := await reader.read(CHUNK_BYTES):
                if self.drops_replies or writer in self._silenced:
                    self.dropped_bytes += len(answer)
                    continue
                writer.write(answer)
                await writer.drain()
        writer.close()
