"""Counting is shared and kept only where it takes long."""

import asyncio
from typing import Any, cast

import pytest

from schemas.views import InvoiceCounts, RegieView
from worker.store.views import Views
from worker.web import glances
from worker.web.glances import Glances


class Counted:
    """Views that count how often they are asked, and answer when they are let."""

    def __init__(self) -> None:
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    async def regies(self, codes: Any) -> list[RegieView]:  # noqa: ANN401 (as asked)
        """One régie, named by how often anybody asked."""
        self.asked += 1
        asked = self.asked
        await self.open.wait()
        if self.error:
            raise self.error
        counts = InvoiceCounts()
        return [RegieView(code=str(codes), label=str(asked), invoices=counts, payable_cents=0, open_discrepancies=0)]


@pytest.fixture
def views() -> Counted:
    """Views that answer at once."""
    return Counted()


async def label(shown: Glances, *codes: str) -> str:
    """Which reading answers."""
    (found,) = await shown.regies(codes or None)
    return found.label


async def test_a_quick_count_is_never_kept(views: Counted) -> None:
    """Who reads after a change reads the change, one after another or at once."""
    shown = Glances(cast("Views", views))
    assert [await label(shown, "a"), await label(shown, "a")] == ["1", "2"]
    both = [asyncio.create_task(label(shown, "a")) for _ in range(2)]
    assert await asyncio.gather(*both) == ["3", "4"]


async def test_a_slow_count_is_shared_and_kept(views: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """For ten times what it took; another set of régies is another count."""
    monkeypatch.setattr(glances, "QUICK_SECONDS", -1.0)
    monkeypatch.setattr(glances, "KEPT_FOR_TIMES", 1e9)
    shown = Glances(cast("Views", views))
    assert [await label(shown, "a"), await label(shown, "a"), await label(shown)] == ["1", "1", "2"]


async def test_a_slow_count_is_done_once_for_all_who_ask(views: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it has to be done again, one reading serves everybody; one who leaves cancels nobody's."""
    monkeypatch.setattr(glances, "QUICK_SECONDS", -1.0)
    monkeypatch.setattr(glances, "KEPT_FOR_TIMES", 0)
    shown = Glances(cast("Views", views))
    assert await label(shown, "a") == "1"
    views.open.clear()
    asking = [asyncio.create_task(label(shown, "a")) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    views.open.set()
    assert await asyncio.gather(*asking[1:]) == ["2"] * 4
    assert await label(shown, "a") == "3"


async def test_an_error_is_not_kept(views: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one asks again."""
    monkeypatch.setattr(glances, "QUICK_SECONDS", -1.0)
    monkeypatch.setattr(glances, "KEPT_FOR_TIMES", 0)
    shown = Glances(cast("Views", views))
    assert await label(shown, "a") == "1"
    views.error = OSError()
    with pytest.raises(OSError):  # noqa: PT011 (that very one)
        await label(shown, "a")
    views.error = None
    assert await label(shown, "a") == "3"
