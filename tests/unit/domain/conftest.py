"""What the domain's tests share."""

import pytest

from tests.unit.domain.office import Office


@pytest.fixture
def office() -> Office:
    """An office with the example's policy."""
    return Office()
