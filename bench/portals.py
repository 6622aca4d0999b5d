"""Simulated portals, as a process: `python -m bench.portals PORT`. `/quick` answers; `/hangs` never does."""

import asyncio
import sys

from aiohttp import web

HANGS_SECONDS = 3_600


async def _quick(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=204)


async def _hangs(_request: web.Request) -> web.Response:
    await asyncio.sleep(HANGS_SECONDS)
    raise AssertionError("nobody waits that long")


def serve(port: int) -> None:
    """Answer until ended."""
    application = web.Application()
    application.router.add_get("/quick", _quick)
    application.router.add_post("/quick", _quick)
    application.router.add_post("/hangs", _hangs)
    web.run_app(application, host="127.0.0.1", port=port, print=None, access_log=None, shutdown_timeout=0.1)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
