"""A served application for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.api import Api, composed, served


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """A client of the web process on a database of its own."""
    async with composed(database_url) as app, served(app) as client:
        yield client
