"""Every régie ever configured, and the database's clock: asked of it rarely, known here at once."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from monitoring.outages import Outage
from worker.store.views import Views

REFRESH_SECONDS: Final = 60.0
"""Régies change with the configuration; clocks drift by milliseconds a minute."""
ASK_SECONDS: Final = 1.0
"""An unknown régie is looked for in the database so often at most: strangers may ask for any."""


class Regies:
    """The gateway's kind of each régie; one that left the configuration stays known."""

    def __init__(self, views: Views, configured: Mapping[str, str]) -> None:
        self._views = views
        self._gateways = dict(configured)
        self._ahead = timedelta()
        self._asked_at = float("-inf")
        self._error: Exception | None = None
        self._outage = Outage("regies_unreadable", "regies_readable")

    def now(self) -> datetime:
        """The database's clock, UTC, to some milliseconds: this process's, corrected at each refresh."""
        return datetime.now(UTC) + self._ahead

    async def gateway(self, code: str) -> str | None:
        """The kind of a régie's gateway; None when there never was such a régie.

        Raises:
            Exception: whatever the driver does when the database must be asked and cannot be.
        """
        if code not in self._gateways and time.monotonic() - self._asked_at > ASK_SECONDS:
            await self.refresh()
        if code not in self._gateways and self._error is not None:
            raise self._error  # nobody knows: a gateway must not be told that there is no such régie
        return self._gateways.get(code)

    async def refresh(self) -> None:
        """Ask the database; when it does not answer, what was known stays."""
        self._asked_at = time.monotonic()
        try:
            known = await self._views.known_regies()
        except Exception as error:  # noqa: BLE001 (whatever the driver raises)
            self._error = error
            self._outage.fails(error)
            return
        self._error = None
        self._outage.works()
        self._ahead = known.now - datetime.now(UTC)
        self._gateways |= known.gateways

    async def keep_fresh(self) -> None:
        """Refresh now and then until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS)
