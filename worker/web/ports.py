"""What the web process needs of the application that is composed around it."""

from typing import Protocol

from monitoring.health import Readiness
from schemas.events import Queue
from worker.replaying import Replayer
from worker.settings import Settings
from worker.store.deliveries import Deliveries
from worker.store.views import Views
from worker.web.ingest import Records


class Bell(Protocol):
    """Wakes workers."""

    def ring(self, queue: Queue) -> None:
        """Wake whoever drains that queue; returns at once, never fails."""
        ...


class App(Protocol):
    """The parts of the application that requests touch."""

    @property
    def settings(self) -> Settings:
        """The configuration."""
        ...

    @property
    def store(self) -> Records:
        """Where facts are kept."""
        ...

    @property
    def views(self) -> Views:
        """Where states are read."""
        ...

    @property
    def deliveries(self) -> Deliveries:
        """What portals are still to be told."""
        ...

    @property
    def replayer(self) -> Replayer:
        """What runs replays in this process."""
        ...

    @property
    def bell(self) -> Bell:
        """What wakes workers after a commit."""
        ...

    async def readiness(self) -> Readiness:
        """What `/readyz` says."""
        ...

    async def scrape(self) -> bytes:
        """The metrics of this process (and, under `lettrage up`, of all), state gauges included."""
        ...
