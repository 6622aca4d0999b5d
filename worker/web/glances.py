"""Régies at a glance: counting a large régie's invoices takes a while, and every family's page may ask for it."""

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from schemas.views import RegieView
from worker.store.views import Views

QUICK_SECONDS: Final = 0.1
"""A count that took less is never kept: up to some hundred thousand invoices, what is read is what is."""
KEPT_FOR_TIMES: Final = 10
"""A longer one is kept for ten times what it took: asking costs at most a tenth of one connection."""


class _Kept(NamedTuple):
    reading: asyncio.Future[list[RegieView]]
    until: float


class Glances:
    """Counts of régies; those that take long are shared by all who ask meanwhile, and for a while after."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._kept: dict[tuple[str, ...] | None, _Kept] = {}

    async def regies(self, codes: Sequence[str] | None) -> list[RegieView]:
        """Those régies, or all for None. Raises whatever the driver does."""
        key = None if codes is None else tuple(codes)
        kept = self._kept.get(key)
        if kept is not None and time.monotonic() < kept.until:
            return await asyncio.shield(kept.reading)
        reading = asyncio.create_task(self._read(key))
        if kept is not None:  # it took long the last time: whoever comes meanwhile shares this one
            self._kept[key] = _Kept(reading, math.inf)
        return await asyncio.shield(reading)

    async def _read(self, key: tuple[str, ...] | None) -> list[RegieView]:
        began = time.monotonic()
        try:
            found = await self._views.regies(key)
        finally:
            self._kept.pop(key, None)
        took = time.monotonic() - began
        if took > QUICK_SECONDS:
            done: asyncio.Future[list[RegieView]] = asyncio.get_running_loop().create_future()
            done.set_result(found)
            self._kept[key] = _Kept(done, time.monotonic() + took * KEPT_FOR_TIMES)
        return found
