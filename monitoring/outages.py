"""Outages in the log: one line when something is lost, one when it is back, none for each try between them."""

from typing import Final

import structlog

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()


class Outage:
    """Whether something that is tried again and again works; `lost` and `back` are the log events' names."""

    def __init__(self, lost: str, back: str) -> None:
        self._lost = lost
        self._back = back
        self._lasts = False

    def fails(self, error: BaseException) -> None:
        """It did not work."""
        if not self._lasts:
            log.warning(self._lost, error=f"{type(error).__name__}: {error}")
        self._lasts = True

    def works(self) -> None:
        """It worked."""
        if self._lasts:
            log.info(self._back)
        self._lasts = False
