"""Group commit: what waits is committed together, and a fault stays with whom it belongs to."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from schemas.events import NewEvent, Queue, Receipt
from tests.api import issued
from tests.unit.web.test_cloudevents import accepted
from worker.web import ingest as module
from worker.web.ingest import MAX_FLUSH, MAX_WAITING, Ingest, Overloaded


def new(event_id: str) -> NewEvent:
    """An event on its way in."""
    return accepted(issued(event_id=event_id))


class Store:
    """Commits when it is let, refuses events named `bad`, fails as often as it is told."""

    def __init__(self) -> None:
        self.flushes: list[list[str]] = []
        self.kept: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.failures: list[Exception] = []

    async def record(self, events: Sequence[NewEvent]) -> list[Receipt]:
        """Keep all or none."""
        self.flushes.append([event.id for event in events])
        await self.open.wait()
        if self.failures:
            raise self.failures.pop()
        if any(event.id.startswith("bad") for event in events):
            raise asyncpg.CheckViolationError("no")
        self.kept += [event.id for event in events]
        return [Receipt(place=self.kept.index(event.id), status="accepted") for event in events]


@pytest.fixture
def store() -> Store:
    """A store that commits."""
    return Store()


@pytest.fixture
def rung() -> list[Queue]:
    """The queues that were rung."""
    return []


@pytest.fixture
def ingest(store: Store, rung: list[Queue], monkeypatch: pytest.MonkeyPatch) -> Ingest:
    """An ingest that repeats at once."""
    monkeypatch.setattr(module, "REPEAT_SECONDS", 0)
    return Ingest(store, rung.append)


async def begun(ingest: Ingest, *ids: str) -> list[asyncio.Task[Any]]:
    """A request for each id, all waiting for their commit."""
    tasks = [asyncio.create_task(ingest.record([new(each)])) for each in ids]
    await asyncio.sleep(0)
    return tasks


async def test_a_lone_event_is_committed_at_once(ingest: Ingest, store: Store, rung: list[Queue]) -> None:
    """No timer: one flush, one receipt, one bell."""
    (receipt,) = await ingest.record([new("a")])
    assert receipt == Receipt(place=0, status="accepted")
    assert (store.flushes, rung) == ([["a"]], [Queue.INVOICE_CHANGED])
    assert ingest.held == 0


async def test_what_comes_during_a_commit_is_committed_together(
    ingest: Ingest, store: Store, rung: list[Queue]
) -> None:
    """The first flush has the first event, the second all that came meanwhile, in their order; each gets its own."""
    store.open.clear()
    first = await begun(ingest, "a")
    await asyncio.sleep(0)
    others = await begun(ingest, "b", "c", "d")
    assert rung == []
    store.open.set()
    receipts = await asyncio.gather(*first, *others)
    assert store.flushes == [["a"], ["b", "c", "d"]]
    assert [receipt.place for (receipt,) in receipts] == [0, 1, 2, 3]
    assert len(rung) == 2


async def test_one_bad_row_fails_alone(ingest: Ingest, store: Store) -> None:
    """Among 64 requests, the one that the database refuses gets None, all others their receipts."""
    store.open.clear()
    tasks = await begun(ingest, *[f"bad{n}" if n == 41 else f"e{n}" for n in range(64)])
    store.open.set()
    receipts = [receipt for (receipt,) in await asyncio.gather(*tasks)]
    assert [n for n, receipt in enumerate(receipts) if receipt is None] == [41]
    assert len(store.kept) == 63


async def test_a_batch_with_a_bad_row_keeps_its_others(ingest: Ingest, store: Store) -> None:
    """A single request's events are told apart too."""
    receipts = await ingest.record([new("a"), new("bad"), new("c")])
    assert [receipt is None for receipt in receipts] == [False, True, False]
    assert store.kept == ["a", "c"]


async def test_an_unknown_outcome_is_repeated(ingest: Ingest, store: Store) -> None:
    """A dropped connection costs nobody anything: the same events are recorded again."""
    store.failures = [ConnectionResetError(), asyncpg.ConnectionDoesNotExistError("gone")]
    (receipt,) = await ingest.record([new("a")])
    assert receipt is not None
    assert store.flushes == [["a"]] * 3


async def test_a_database_that_is_down_is_told(ingest: Ingest, store: Store, rung: list[Queue]) -> None:
    """After the repeats the caller hears it, nothing was rung, and the next one is served."""
    store.failures = [OSError()] * module.REPEATS
    with pytest.raises(Overloaded):
        await ingest.record([new("a")])
    assert rung == []
    assert await ingest.record([new("b")])


async def test_memory_is_bounded(ingest: Ingest, store: Store) -> None:
    """What is over the limit is refused at once; what was taken is committed."""
    store.open.clear()
    held = asyncio.create_task(ingest.record([new("a")] * MAX_WAITING))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await ingest.record([new("b")])
    store.open.set()
    assert len(await held) == MAX_WAITING
    assert await ingest.record([new("b")])


async def test_a_flush_has_a_thousand_events_at_most(ingest: Ingest, store: Store) -> None:
    """Requests behind a full flush wait for the next; none is divided."""
    store.open.clear()
    tasks = [asyncio.create_task(ingest.record([new(f"{n}-{m}") for m in range(400)])) for n in range(5)]
    await asyncio.sleep(0)
    store.open.set()
    await asyncio.gather(*tasks)
    sizes = [len(flush) for flush in store.flushes]
    assert sum(sizes) == 2000
    assert all(size % 400 == 0 and size <= MAX_FLUSH for size in sizes)


async def test_a_client_that_leaves_cancels_no_commit(ingest: Ingest, store: Store) -> None:
    """Its event is kept, and its neighbours are answered."""
    store.open.clear()
    leaving, staying = await begun(ingest, "a", "b")
    leaving.cancel()
    store.open.set()
    assert await staying
    assert store.kept == ["a", "b"]


async def test_a_bell_that_fails_fails_nothing(store: Store) -> None:
    """The commit stands, the caller is answered."""

    def broken(_queue: Queue) -> None:
        raise RuntimeError

    assert await Ingest(store, broken).record([new("a")])


async def test_draining_waits_for_what_was_taken(ingest: Ingest, store: Store) -> None:
    """At the end of the process, nothing taken is left behind."""
    store.open.clear()
    tasks = await begun(ingest, "a", "b")
    draining = asyncio.create_task(ingest.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    store.open.set()
    await draining
    assert store.kept == ["a", "b"]
    await asyncio.gather(*tasks)
