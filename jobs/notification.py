"""Portals are to be told something: begin, beside everything else."""

import dramatiq
from structlog.contextvars import clear_contextvars

from schemas.events import Queue
from worker.app import App


@dramatiq.actor(queue_name=Queue.NOTIFICATION.value)
async def notification() -> None:
    """Begin to tell what is due."""
    clear_contextvars()
    await App.current().answer(Queue.NOTIFICATION)
