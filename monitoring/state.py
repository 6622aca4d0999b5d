"""State gauges at a scrape's pace: read from the database, kept for a moment, absent when it does not answer.

Counting a million invoices takes a second of a core, and no scrape waits for it: what is shown is the reading before,
with its age. Nothing is added to the work itself for it: an index that counts would cost every update of an invoice
more than the update does, and a trigger that keeps tallies is paid by every event, scraped or not.
"""

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
ANSWER_SECONDS: Final = 0.02
"""A scrape waits that long for a reading under way, then shows the one before: what is quick to read is fresh."""
FIRST_ANSWER_SECONDS: Final = 1.0
"""So long while there is none before."""


class StateGauges:
    """What the database says, by group; a group that cannot be read is absent and takes no other along."""

    def __init__(self, readings: Mapping[str, Read]) -> None:
        self._readings = [_Reading(name, read) for name, read in readings.items()]

    async def samples(self) -> list[Sample]:
        """The latest values, each reading's age among them; in about a second at most, the first time."""
        return list(chain.from_iterable(await asyncio.gather(*(each.samples() for each in self._readings))))


class _Reading:
    """One group of gauges: at most one reading at a time, whoever asks."""

    def __init__(self, name: str, read: Read) -> None:
        self._name = name
        self._read = read
        self._samples: list[Sample] = []
        self._read_at = 0.0
        self._stale_at = 0.0
        self._under_way: asyncio.Task[None] | None = None
        self._outage = Outage("state_unreadable", "state_readable")

    async def samples(self) -> list[Sample]:
        if self._under_way is None and time.monotonic() >= self._stale_at:
            self._under_way = asyncio.create_task(self._refresh())
        if self._under_way is not None:
            wait_seconds = ANSWER_SECONDS if self._samples else FIRST_ANSWER_SECONDS
            await asyncio.wait({self._under_way}, timeout=wait_seconds)
        if not self._samples:
            return []
        return [*self._samples, Sample("state_age_seconds", (self._name,), time.monotonic() - self._read_at)]

    async def _refresh(self) -> None:
        began = time.monotonic()
        cost_seconds = 0.0
        try:
            self._samples = await self._read()
            self._read_at = began
            cost_seconds = time.monotonic() - began
            self._outage.works()
        except Exception as error:  # noqa: BLE001 (whatever the driver raises: there are no values)
            self._samples = []
            metrics.STATE_READ_ERRORS.inc()
            self._outage.fails(error)
        finally:
            self._stale_at = time.monotonic() + max(FRESH_SECONDS, cost_seconds * READING_SHARE)
            self._under_way = None
