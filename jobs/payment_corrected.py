"""Payments were refunded, reversed, or reported on."""

import dramatiq
from structlog.contextvars import clear_contextvars

from schemas.events import Queue
from worker.app import App


@dramatiq.actor(queue_name=Queue.PAYMENT_CORRECTED.value)
async def payment_corrected() -> None:
    """Drain the facts, in the order they were received."""
    clear_contextvars()
    await App.current().answer(Queue.PAYMENT_CORRECTED)
