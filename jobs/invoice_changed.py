"""Invoices were issued, withdrawn, settled elsewhere, or that was taken back."""

import dramatiq
from structlog.contextvars import clear_contextvars

from schemas.events import Queue
from worker.app import App


@dramatiq.actor(queue_name=Queue.INVOICE_CHANGED.value)
async def invoice_changed() -> None:
    """Drain the facts, in the order they were received."""
    clear_contextvars()
    await App.current().answer(Queue.INVOICE_CHANGED)
