"""Gateways have called back: interpret what they say, then apply it."""

import dramatiq
from structlog.contextvars import clear_contextvars

from schemas.events import Queue
from worker.app import App


@dramatiq.actor(queue_name=Queue.GATEWAY_CALLBACK.value)
async def gateway_callback() -> None:
    """Drain the callbacks."""
    clear_contextvars()
    await App.current().answer(Queue.GATEWAY_CALLBACK)
