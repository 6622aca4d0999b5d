"""What the web process needs of the application that is composed around it."""

from typing import Protocol

from schemas.events import Queue
from worker.settings import Settings
from worker.store.outcomes import Outcomes
from worker.store.views import Views
from worker.web.ingest import Records


class Bell(Protocol):
    """Wakes workers, and says whether it could."""

    def ring(self, queue: Queue) -> None:
        """Wake whoever drains that queue; returns at once, never fails."""
        ...

    async def check(self) -> bool:
        """Whether Redis answers now."""
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
    def outcomes(self) -> Outcomes:
        """Where who waits for an outcome hears of it."""
        ...

    @property
    def bell(self) -> Bell:
        """What wakes workers after a commit."""
        ...

    async def schema_problem(self) -> str | None:
        """Why the database is not ready, None when it answers and its schema is current."""
        ...

    async def scrape(self) -> bytes:
        """The metrics of this process (and, under `lettrage up`, of all), state gauges included."""
        ...
