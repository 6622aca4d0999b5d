"""Whether a process can do its work: what `/readyz` says. Source: the contract's "Operations"."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

CHECK_SECONDS: Final = 2.0
"""A database that has not answered by then is not reachable; whoever asks waits little longer."""


class Readiness(Struct, frozen=True, kw_only=True):
    """What was found. Redis is reported alone: without it, everything is only later."""

    database: bool
    schema: bool
    redis: bool

    @property
    def ready(self) -> bool:
        """Whether requests may be sent here."""
        return self.database and self.schema


async def readiness(
    schema_is_current: Callable[[], Awaitable[bool]], redis_answers: Callable[[], Awaitable[bool]]
) -> Readiness:
    """Ask both at once. A check that raises or takes too long has found nothing."""
    schema, redis = await asyncio.gather(_checked(schema_is_current), _checked(redis_answers))
    return Readiness(database=schema is not None, schema=schema is True, redis=redis is True)


async def _checked(check: Callable[[], Awaitable[bool]]) -> bool | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except Exception:  # noqa: BLE001 (why is for `lettrage doctor`; here it only is not so)
        return None
