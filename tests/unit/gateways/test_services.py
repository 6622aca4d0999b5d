"""Services: bounded, counted apart, and left alone when they do not answer."""

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from schemas.reports import Report, ReportResult
from worker.gateways import services
from worker.gateways.interpret import ASKERS
from worker.gateways.port import Answer, GatewayConfig, GatewayUnavailableError, Question
from worker.gateways.services import OPENS_AFTER, REST_SECONDS, Breaker, Service, services_of

KIND = "payfip_ws"
Asked = Callable[[GatewayConfig, Question], Answer]


class Gateway:
    """What a test has the adapter do."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.trouble: Exception | None = None
        self.seconds = 0.0

    def __call__(self, gateway: GatewayConfig, question: Question) -> Answer:
        """Answer, or not."""
        self.asked.append(question.gateway_reference)
        time.sleep(self.seconds)
        if self.trouble is not None:
            raise self.trouble
        return Answer(report=_report(gateway, question))


def _report(gateway: GatewayConfig, question: Question) -> Report:
    return Report(
        regie=gateway.regie,
        gateway_reference=question.gateway_reference,
        transaction_id="t",
        result=ReportResult.PAID,
        verified=True,
        asked=True,
    )


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """The adapter of the kind, for this test."""
    found = Gateway()
    monkeypatch.setitem(ASKERS, KIND, found)
    return found


class Hands:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        """Its time."""
        return self.now


@pytest.fixture
def clock() -> Hands:
    """The breaker's clock."""
    return Hands()


@pytest.fixture
def service(clock: Hands) -> Iterator[Service]:
    """A service of two régies."""
    regies = {code: GatewayConfig(regie=code, kind=KIND, mode="test") for code in ("enfance", "cantine")}
    found = Service(KIND, regies, Breaker(clock))
    yield found
    found.close()


async def ask(service: Service, reference: str, regie: str = "enfance") -> Report:
    """Ask about one reference."""
    return (await service.ask(regie, Question(gateway_reference=reference, age_seconds=0))).report


async def test_an_answer_is_the_gateways(service: Service, gateway: Gateway) -> None:
    """As its adapter gave it."""
    assert (await ask(service, "a")).result is ReportResult.PAID


async def test_a_question_has_a_limit(service: Service, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter that does not bound itself is left; nothing is believed."""
    monkeypatch.setattr(services, "LIMIT_SECONDS", 0.05)
    gateway.seconds = 0.5
    report = await ask(service, "a")
    assert (report.result, report.why, report.asked) == (ReportResult.FAILED, "timeout", True)


async def test_a_blocking_question_does_not_block_the_loop(service: Service, gateway: Gateway) -> None:
    """It waits in a thread; others are asked beside it."""
    gateway.seconds = 0.3
    began = time.monotonic()
    await asyncio.gather(*(ask(service, f"r{n}") for n in range(8)))
    assert time.monotonic() - began < 8 * 0.3, "one after the other"


async def test_what_a_library_stumbles_over_is_no_answer(service: Service, gateway: Gateway) -> None:
    """Never "not paid", and never a crash."""
    gateway.trouble = KeyError("createdPaymentOutput")
    report = await ask(service, "a")
    assert (report.result, report.why) == (ReportResult.FAILED, "malfunction")


async def test_a_service_that_does_not_answer_is_left_alone(service: Service, gateway: Gateway, clock: Hands) -> None:
    """After so many questions; then one tries whether it is back, and an answer opens it for all."""
    gateway.trouble = GatewayUnavailableError("unreachable")
    for nth in range(OPENS_AFTER):
        assert (await ask(service, f"r{nth}")).why == "unreachable"
    assert (await ask(service, "other", "cantine")).why == "left_alone"
    assert len(gateway.asked) == OPENS_AFTER
    clock.now = REST_SECONDS
    assert (await ask(service, "trial")).why == "unreachable"
    assert (await ask(service, "next")).why == "left_alone"
    clock.now = 2 * REST_SECONDS
    gateway.trouble = None
    assert (await ask(service, "trial")).result is ReportResult.PAID
    assert (await ask(service, "next")).result is ReportResult.PAID


async def test_one_question_that_fails_again_and_again_leaves_nobody_alone(service: Service, gateway: Gateway) -> None:
    """What a service cannot say of one payment says nothing about the others'."""
    gateway.trouble = GatewayUnavailableError("protocol")
    for _ in range(3 * OPENS_AFTER):
        await ask(service, "odd")
    gateway.trouble = None
    assert (await ask(service, "even")).result is ReportResult.PAID


async def test_a_regies_wrong_credentials_are_nobody_elses_trouble(service: Service, gateway: Gateway) -> None:
    """They say nothing about the service."""
    gateway.trouble = GatewayUnavailableError("unauthorised")
    for nth in range(2 * OPENS_AFTER):
        assert (await ask(service, f"r{nth}")).why == "unauthorised"
    gateway.trouble = None
    assert (await ask(service, "a", "cantine")).result is ReportResult.PAID


def test_services_are_told_apart_by_kind_and_address() -> None:
    """Régies of one PayFiP share it; one with another address has its own; what cannot be asked has none."""
    found = services_of(
        {
            "a": GatewayConfig(regie="a", kind=KIND, mode="test"),
            "b": GatewayConfig(regie="b", kind=KIND, mode="test"),
            "c": GatewayConfig(regie="c", kind=KIND, mode="test", options={"service_url": "https://payfip.example"}),
            "d": GatewayConfig(regie="d", kind="mollie", mode="test"),
            "e": GatewayConfig(regie="e", kind="systempayv2", mode="test"),
        }
    )
    assert {service.name: service.regies for service in found} == {
        "payfip_ws": ["a", "b"],
        "payfip_ws https://payfip.example": ["c"],
        "mollie": ["d"],
    }
