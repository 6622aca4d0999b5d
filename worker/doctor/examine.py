"""The whole examination: every check that can be made, in the order in which things depend on each other."""

import asyncio
from collections.abc import Mapping

from worker.commands.installation import UNREACHABLE, running_server
from worker.doctor import machine, redis
from worker.doctor.check import Check, Status, failed
from worker.doctor.configuration import configuration
from worker.doctor.database import connected, database, identity, unreachable
from worker.doctor.gateways import gateways
from worker.doctor.work import work
from worker.settings import Settings


async def examine(environ: Mapping[str, str]) -> list[Check]:
    """Every finding about the installation that this environment and folder describe."""
    settings, found = configuration(environ)
    embedded = settings.database_url is None or settings.redis_url is None
    port, asked = await asyncio.gather(asyncio.to_thread(machine.port, settings), gateways(settings))
    return [
        machine.python(),
        machine.time_zones(),
        *found,
        *(machine.state_folder(settings) if embedded else ()),
        port,
        *asked,
        *await _redis(settings),
        *await _database(settings),
    ]


async def _redis(settings: Settings) -> list[Check]:
    url = settings.redis_url or running_server(settings.state_dir, "valkey")
    if url is None:
        return [_not_running("redis", "REDIS_URL", settings)]
    return await asyncio.to_thread(redis.bell, url)


async def _database(settings: Settings) -> list[Check]:
    url = settings.database_url or running_server(settings.state_dir, "postgres")
    if url is None:
        return [_not_running("database", "DATABASE_URL", settings)]
    try:
        async with connected(url) as connection:
            checks = await database(connection)
            if all(check.status is not Status.FAILED for check in checks if check.name in ("schema", "permissions")):
                checks += await asyncio.to_thread(machine.installation, settings, await identity(connection))
                checks += await work(connection, settings, await _heard(settings))
            return checks
    except UNREACHABLE as error:
        return [unreachable(url, error)]


async def _heard(settings: Settings) -> list[str]:
    """Processes that the database may not show: an idle worker's connections are closed after minutes."""
    url = settings.redis_url or running_server(settings.state_dir, "valkey")
    heard = url is not None and await asyncio.to_thread(redis.worker_was_heard, url)
    return ["worker"] if heard else []


def _not_running(name: str, variable: str, settings: Settings) -> Check:
    what = f"{variable} is not set, and no `lettrage up` runs in {settings.state_dir}"
    return failed(name, what, f"start `lettrage up`, or set {variable}")
