"""Outages in the log: one line when something is lost, one when it is back, none for each try between them."""

from threading import Lock
from typing import Final

import structlog

log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger()


class Outage:
    """Whether something that is tried again and again works; `lost` and `back` are the log events' names.

    Several threads may find the same outage in the same millisecond: one of them says so.
    """

    def __init__(self, lost: str, back: str) -> None:
        self._lost = lost
        self._back = back
        self._lasts = False
        self._one_at_a_time = Lock()

    def fails(self, error: BaseException) -> None:
        """It did not work."""
        if self._turns(lasts=True):
            log.warning(self._lost, error=f"{type(error).__name__}: {error}")

    def works(self) -> None:
        """It worked."""
        if self._turns(lasts=False):
            log.info(self._back)

    def _turns(self, *, lasts: bool) -> bool:
        with self._one_at_a_time:
            turned = self._lasts is not lasts
            self._lasts = lasts
        return turned
