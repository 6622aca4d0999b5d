"""An event loop whose time is a number: nothing waits, and the same seed runs the same way.

asyncio itself decides what runs next (first in, first out; timers by time); only the
selector is ours. Where asyncio would sleep until the next timer, the clock jumps there.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class DeadlockError(Exception):
    """Everything waits and no timer is left: nobody will ever wake anybody."""


class _Jump:
    """A selector that watches nothing and passes the time."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self.loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise DeadlockError
        self.loop.now += timeout
        return []

    def close(self) -> None:
        """Nothing to close."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs coroutines in virtual seconds since the loop began. No I/O, no threads."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.blocking: Callable[..., Coroutine[Any, Any, Any]]
        """Lives through what would block a thread."""
        self._selector = _Jump(self)

    def time(self) -> float:
        """Seconds since the loop began."""
        return self.now

    def run_in_executor(
        self, _executor: object, function: Callable[..., object], *arguments: object
    ) -> asyncio.Task[Any]:
        """No thread: the world lives through what would block there."""
        return self.create_task(self.blocking(function, *arguments))

    def _process_events(self, event_list: list[Any]) -> None:
        """No events: nothing is watched."""

    def _write_to_self(self) -> None:
        """No other thread to be woken by."""
