"""State gauges at a scrape's pace: read from the database, kept for a moment, absent when it does not answer."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from itertools import chain
from typing import Final

from monitoring import metrics
from monitoring.metrics import Sample
from monitoring.outages import Outage

Read = Callable[[], Awaitable[list[Sample]]]

FRESH_SECONDS: Final = 1.0
"""Several who scrape at once share one reading."""
READING_SHARE: Final = 20
"""A reading that took a second is kept for twenty: counting costs at most a twentieth of one connection."""
ANSWER_SECONDS: Final = 1.0
"""A scrape waits that long for a reading under way, then shows the one before."""


class StateGauges:
    """What the database says, by group; a group that cannot be read is absent and takes no other along."""

    def __init__(self, readings: Mapping[str, Read]) -> None:
        self._readings = [_Reading(read) for read in readings.values()]

    async def samples(self) -> list[Sample]:
        """The latest values, in about a second at most."""
        return list(chain.from_iterable(await asyncio.gather(*(each.samples() for each in self._readings))))


class _Reading:
    """One group of gauges: at most one reading at a time, whoever asks."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._samples: list[Sample] = []
        self._stale_at = 0.0
        self._under_way: asyncio.Task[None] | None = None
        self._outage = Outage("state_unreadable", "state_readable")

    async def samples(self) -> list[Sample]:
        if self._under_way is None and time.monotonic() >= self._stale_at:
            self._under_way = asyncio.create_task(self._refresh())
        if self._under_way is not None:
            await asyncio.wait({self._under_way}, timeout=ANSWER_SECONDS)
        return self._samples

    async def _refresh(self) -> None:
        began = time.monotonic()
        cost_seconds = 0.0
        try:
            self._samples = await self._read()
            cost_seconds = time.monotonic() - began
            self._outage.works()
        except Exception as error:  # noqa: BLE001 (whatever the driver raises: there are no values)
            self._samples = []
            metrics.STATE_READ_ERRORS.inc()
            self._outage.fails(error)
        finally:
            self._stale_at = time.monotonic() + max(FRESH_SECONDS, cost_seconds * READING_SHARE)
            self._under_way = None
