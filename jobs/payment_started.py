"""A portal has started payments: take their holds."""

import dramatiq
from structlog.contextvars import clear_contextvars

from schemas.events import Queue
from worker.app import App


@dramatiq.actor(queue_name=Queue.PAYMENT_STARTED.value)
async def payment_started() -> None:
    """Drain the facts, in the order they were received."""
    clear_contextvars()
    await App.current().answer(Queue.PAYMENT_STARTED)
