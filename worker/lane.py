"""A lane: work that one process never does twice at once."""

from collections.abc import Awaitable, Callable


class Lane:
    """Runs its work until nobody has asked since it last began. Who asks meanwhile does not wait."""

    def __init__(self, work: Callable[[], Awaitable[object]]) -> None:
        self._work = work
        self._running = False
        self._again = False

    async def run(self) -> None:
        """Do the work, or have whoever is doing it begin once more. Raises what the work raises."""
        self._again = True
        if self._running:
            return
        self._running = True
        try:
            while self._again:
                self._again = False
                await self._work()
        finally:
            self._running = False
