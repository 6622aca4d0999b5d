"""Holds are over: write it, and make their invoices payable again."""

import dramatiq
from structlog.contextvars import clear_contextvars

from schemas.events import Queue
from worker.app import App


@dramatiq.actor(queue_name=Queue.PAYMENT_TIMEOUT.value)
async def payment_timeout() -> None:
    """End every hold that is due by the database's clock."""
    clear_contextvars()
    await App.current().answer(Queue.PAYMENT_TIMEOUT)
