"""The clock's loops, with an application that only pretends: when they look, what they do, what stops them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from schemas.events import Queue
from worker import clock
from worker.clock import Clock
from worker.lane import Lane


class FakeApp:
    """Remembers what the clock did; answers as told."""

    def __init__(self) -> None:
        self.did: asyncio.Queue[str] = asyncio.Queue()
        self.deadline: float | None = None
        self.unheard: list[Queue] = []
        self.overdue: list[Queue] = []
        self.unsealed = 0
        self.batches = 0
        self.over = 0
        self.fails: Callable[[], None] = lambda: None
        self.gateway_answers = asyncio.Event()
        self.gateway_answers.set()

    async def next_deadline(self) -> float | None:
        """As set."""
        self.fails()
        self.did.put_nowait("look")
        return self.deadline

    async def end_due_holds(self) -> None:
        """Afterwards nothing is due."""
        self.deadline = None
        self.did.put_nowait("sweep")

    async def waiting(self, older_than_seconds: float) -> Sequence[Queue]:
        """As set, by how long."""
        self.fails()
        return self.overdue if older_than_seconds == clock.DRAIN_AFTER_SECONDS else self.unheard

    async def drain(self, queue: Queue) -> None:
        """Callbacks take as long as their gateway."""
        if queue is Queue.GATEWAY_CALLBACK:
            await self.gateway_answers.wait()
        self.did.put_nowait(f"drain {queue}")

    def ring(self, queue: Queue) -> None:
        """Nobody hears."""
        self.did.put_nowait(f"ring {queue}")

    async def seal(self) -> bool:
        """A batch is sealed each time, as long as batches wait."""
        self.fails()
        if self.unsealed == 0:
            return False
        self.unsealed -= 1
        self.did.put_nowait(f"seal, {self.unsealed} wait")
        return self.unsealed > 0

    async def erase(self) -> bool:
        """A batch goes each time, as long as batches are over."""
        self.fails()
        if self.over == 0:
            return False
        self.over -= 1
        self.did.put_nowait(f"erase, {self.over} wait")
        return self.over > 0

    async def advance_replays(self) -> float:
        """A batch of the replay under way, the next at once; the last one ends it."""
        self.fails()
        if not self.batches:
            return 60
        self.batches -= 1
        self.did.put_nowait("replay")
        return 0

    async def until(self, deed: str) -> list[str]:
        """What was done until that was done, in order."""
        deeds = []
        while True:
            deeds.append(await asyncio.wait_for(self.did.get(), 5))
            if deeds[-1] == deed:
                return deeds


@asynccontextmanager
async def running(app: FakeApp) -> AsyncIterator[None]:
    """The clock, until the end of the block; it must end when told."""
    stop = asyncio.Event()
    task = asyncio.create_task(Clock(app).run(stop))
    yield
    stop.set()
    await asyncio.wait_for(task, 5)


@pytest.fixture
def app() -> FakeApp:
    """An application in which nothing is due."""
    return FakeApp()


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses a hundredth as long."""
    for name in ("TICK_SECONDS", "WATCH_SECONDS", "SEAL_SECONDS", "SEAL_ON_SECONDS"):
        monkeypatch.setattr(clock, name, getattr(clock, name) / 100)
    monkeypatch.setattr(clock, "BACKOFF_SECONDS", (0.001, 0.002))


async def test_a_hold_that_is_over_is_swept_at_the_next_look(app: FakeApp) -> None:
    """Nothing is swept while nothing is due; then at once."""
    async with running(app):
        await app.until("sweep")  # the first look believes nothing
        for _ in range(20):
            assert await app.until("look") == ["look"]
        app.deadline = -0.5
        assert "sweep" in await app.until("sweep")


async def test_the_sweep_does_not_believe_the_next_deadline_for_long(
    app: FakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hold born below the watermark is found by the full sweep."""
    monkeypatch.setattr(clock, "FULL_SWEEP_SECONDS", 0.02)
    app.deadline = 1000.0
    async with running(app):
        for _ in range(3):
            await app.until("sweep")


async def test_what_lost_its_bell_is_rung_for_and_then_drained(app: FakeApp) -> None:
    """First whoever drains the queue is woken; what nobody took for longer is drained here."""
    app.unheard = [Queue.PAYMENT_STARTED]
    async with running(app):
        deeds = await app.until("ring payment-started")
        assert "drain payment-started" not in deeds
        app.overdue = [Queue.PAYMENT_STARTED]
        await app.until("drain payment-started")


async def test_a_slow_gateway_keeps_no_other_queue_and_no_sweep(app: FakeApp) -> None:
    """Callbacks that wait for their gateway are drained beside everything else, and finished at the end."""
    app.gateway_answers.clear()
    app.unheard = app.overdue = [Queue.GATEWAY_CALLBACK, Queue.PAYMENT_STARTED]
    async with running(app):
        await app.until("drain payment-started")
        app.deadline = -1.0
        await app.until("sweep")
        app.unheard = []
        app.gateway_answers.set()
    await app.until("drain gateway-callback")


async def test_nothing_stops_the_clock(app: FakeApp) -> None:
    """Whatever the store raises, it tries again, and works when the store does."""

    def fail() -> None:
        app.did.put_nowait("fail")
        raise OSError

    app.fails = fail
    async with running(app):
        for _ in range(20):
            await app.until("fail")
        app.fails = lambda: None
        app.deadline = -1.0
        await app.until("sweep")


async def test_a_lane_is_never_run_twice_at_once_and_never_too_rarely() -> None:
    """A hundred who ask while it runs do not wait, and are all served by one more run."""
    runs: asyncio.Queue[None] = asyncio.Queue()
    gate = asyncio.Event()

    async def work() -> None:
        runs.put_nowait(None)
        await gate.wait()

    lane = Lane(work)
    first = asyncio.create_task(lane.run())
    await runs.get()
    for _ in range(100):
        await lane.run()
    gate.set()
    await first
    assert runs.qsize() == 1


async def test_a_lane_runs_again_after_a_failure() -> None:
    """One failed drain must not close the lane for good."""
    failures = [ConnectionResetError(), None]

    async def work() -> None:
        failure = failures.pop(0)
        if failure:
            raise failure

    lane = Lane(work)
    with pytest.raises(ConnectionResetError):
        await lane.run()
    await lane.run()
    assert failures == []


async def test_what_was_applied_is_sealed_batch_after_batch(app: FakeApp) -> None:
    """As long as more waits, the next batch follows soon; the holds are looked at meanwhile."""
    app.unsealed = 3
    async with running(app):
        deeds = await app.until("seal, 0 wait")
    assert [deed for deed in deeds if deed.startswith("seal")] == ["seal, 2 wait", "seal, 1 wait", "seal, 0 wait"]
    assert "look" in deeds


async def test_what_is_over_goes_batch_after_batch(app: FakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as more is over, the next batch follows soon; the holds are looked at meanwhile."""
    monkeypatch.setattr(clock, "ERASE_ON_SECONDS", 0.05)
    app.over = 3
    async with running(app):
        deeds = await app.until("erase, 0 wait")
    assert [deed for deed in deeds if deed.startswith("erase")] == ["erase, 2 wait", "erase, 1 wait", "erase, 0 wait"]
    assert "look" in deeds


async def test_replays_go_on_beside_holds_that_end(app: FakeApp) -> None:
    """Batch after batch, while the next deadline is looked at all the time."""
    app.batches, app.deadline = 3, -1
    async with running(app):
        deeds = [*await app.until("replay"), *await app.until("replay"), *await app.until("replay")]
        assert "sweep" in [*deeds, *await app.until("sweep")]
