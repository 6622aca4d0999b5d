"""Questions to gateways are due: ask them, beside everything else."""

import dramatiq
from structlog.contextvars import clear_contextvars

from schemas.events import Queue
from worker.app import App


@dramatiq.actor(queue_name=Queue.GATEWAY_ASK.value)
async def gateway_ask() -> None:
    """Begin to ask what is due."""
    clear_contextvars()
    await App.current().answer(Queue.GATEWAY_ASK)
