"""The asker: as many questions at once as a service takes, no service in another's way, nothing lost for good."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime

import pytest

from schemas.records import DueAsk
from schemas.reports import Report, ReportResult
from worker import asker as module
from worker.asker import Answers, Asker
from worker.gateways.port import Answer, Question
from worker.gateways.services import AT_ONCE
from worker.store.port import StoreUnavailableError

SOON = 5.0


async def until(true: Callable[[], bool]) -> None:
    """Wait for what another task does."""
    async with asyncio.timeout(SOON):
        while not true():  # noqa: ASYNC110 (a look at it, from outside)
            await asyncio.sleep(0.005)


class Desk:
    """What is due, by régie, and what was taken."""

    def __init__(self) -> None:
        self.due: dict[str, list[str]] = {}
        self.taken: list[str] = []
        self.batches: list[int] = []
        self.refusals = 0
        self.take_fails = 0

    async def claim_asks(self, regies: Sequence[str], limit: int) -> list[DueAsk]:
        """Take what is due."""
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailableError("refused")
        found = [(regie, name) for regie in regies for name in self.due.get(regie, ())][:limit]
        for regie, name in found:
            self.due[regie].remove(name)
        return [
            DueAsk(
                gateway_reference_id=hash(name),
                regie=regie,
                gateway_reference=name,
                age_seconds=1.0,
                asked_at=datetime.now(UTC),
            )
            for regie, name in found
        ]

    async def take(self, answers: Answers) -> None:
        """Apply answers."""
        if self.take_fails:
            self.take_fails -= 1
            raise StoreUnavailableError("refused")
        self.batches.append(len(answers))
        self.taken += [due.gateway_reference for due, _ in answers]

    async def until_taken(self, count: int) -> None:
        """Wait for so many answers."""
        await until(lambda: len(self.taken) >= count)


class Service:
    """A gateway's service of one régie, which answers when it is let."""

    def __init__(self, regie: str) -> None:
        self.name = regie
        self.regies = [regie]
        self.answers = asyncio.Event()
        self.answers.set()
        self.under_way = 0
        self.most = 0

    async def ask(self, regie: str, question: Question) -> Answer:
        """Answer once it may."""
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.answers.wait()
        await asyncio.sleep(0)
        self.under_way -= 1
        report = Report(
            regie=regie,
            gateway_reference=question.gateway_reference,
            transaction_id="",
            result=ReportResult.NOTHING,
            verified=True,
            asked=True,
        )
        return Answer(report=report)


@pytest.fixture
def desk() -> Desk:
    """What is due."""
    return Desk()


@pytest.fixture
def slow() -> Service:
    """One service."""
    return Service("slow")


@pytest.fixture
def quick() -> Service:
    """Another."""
    return Service("quick")


@pytest.fixture
async def asker(desk: Desk, slow: Service, quick: Service) -> AsyncIterator[Asker]:
    """Who asks both."""
    found = Asker(desk, [slow, quick], desk.take)
    yield found
    slow.answers.set()
    await found.close()


async def test_everything_due_is_asked_about_once_woken(asker: Asker, desk: Desk) -> None:
    """More than can be asked at once, of both services."""
    desk.due = {"slow": [f"s{n}" for n in range(50)], "quick": [f"q{n}" for n in range(50)]}
    asker.wake()
    await desk.until_taken(100)
    assert sorted(desk.taken) == sorted([f"s{n}" for n in range(50)] + [f"q{n}" for n in range(50)])


async def test_a_service_is_asked_no_more_than_it_takes_and_keeps_nobody_back(
    asker: Asker, desk: Desk, slow: Service
) -> None:
    """One hangs with all its questions; the other's are answered meanwhile, those that come later too."""
    slow.answers.clear()
    desk.due = {"slow": [f"s{n}" for n in range(100)], "quick": ["q0"]}
    asker.wake()
    await desk.until_taken(1)
    desk.due["quick"] = ["q1"]
    asker.wake()
    await desk.until_taken(2)
    assert desk.taken == ["q0", "q1"]
    assert (slow.most, len(desk.due["slow"])) == (AT_ONCE, 100 - AT_ONCE)
    slow.answers.set()
    await desk.until_taken(102)
    assert slow.most == AT_ONCE


async def test_a_store_that_cannot_be_reached_is_asked_again(
    asker: Asker, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without being woken anew."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    desk.refusals = 5
    desk.due = {"quick": ["q"]}
    asker.wake()
    await desk.until_taken(1)


async def test_answers_that_cannot_be_taken_stop_nothing(asker: Asker, desk: Desk) -> None:
    """They are asked for again after their lease; what is due next is asked about."""
    desk.take_fails = 1
    desk.due = {"quick": ["lost"]}
    asker.wake()
    await until(lambda: not desk.take_fails)
    desk.due = {"quick": ["next"]}
    asker.wake()
    await desk.until_taken(1)
    assert desk.taken == ["next"]


async def test_closing_lets_what_is_asked_end_and_takes_nothing_new(asker: Asker, desk: Desk, slow: Service) -> None:
    """What was begun is applied; nobody wakes it again."""
    slow.answers.clear()
    desk.due = {"slow": ["begun"]}
    asker.wake()
    await until(lambda: bool(slow.under_way))
    desk.due = {"slow": ["left"], "quick": ["left too"]}
    closing = asyncio.create_task(asker.close())
    await asyncio.sleep(0.01)
    asker.wake()
    slow.answers.set()
    await closing
    assert desk.taken == ["begun"]
    assert desk.due == {"slow": ["left"], "quick": ["left too"]}


async def test_closing_does_not_wait_for_ever(
    asker: Asker, desk: Desk, slow: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ask that hangs is another process's after its lease."""
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.05)
    slow.answers.clear()
    desk.due = {"slow": ["hangs"]}
    asker.wake()
    await until(lambda: bool(slow.under_way))
    async with asyncio.timeout(SOON):
        await asker.close()
    assert desk.taken == []
