"""A gateway: what it writes in a callback, and how it answers when a callback is read."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from urllib.parse import parse_qsl, urlencode

from schemas.events import Event, EventType, GatewayCallback
from schemas.reports import Report, ReportResult
from tests.model import Fact, charge
from worker.gateways.interpret import interpret
from worker.gateways.port import Claim, GatewayConfig


@dataclass(frozen=True)
class Said:
    """What a gateway says of a charge; `kind` is `signed`, `forged`, `test` or, where it is asked, `foreign`."""

    reference: str
    transaction: str
    result: str
    cents: int
    kind: str = "signed"


def callback(regie: str, said: Said) -> GatewayCallback:
    """It, as a callback."""
    return GatewayCallback(regie=regie, method="GET", query=urlencode(asdict(said)))


def read(data: GatewayCallback) -> Said:
    """What a callback says."""
    told = dict(parse_qsl(data.query, keep_blank_values=True))
    return Said(told["reference"], told["transaction"], told["result"], int(told["cents"]), told["kind"])


def fact_of(said: Said) -> Fact | None:
    """What a callback proves; None for a forged or a test one, and for one that says nothing about money."""
    if said.kind != "signed" or said.result not in set("PVZRA"):
        return None
    return charge(said.reference, said.transaction, said.result, said.cents)


class Gateway:
    """Reads callbacks, at its own pace, when it can. Those of gateways that are `asked` are read as in production."""

    def __init__(
        self, fails: Callable[[], bool], seconds: Callable[[], float], asked: Mapping[str, GatewayConfig]
    ) -> None:
        self._fails = fails
        self._seconds = seconds
        self._asked = asked

    async def __call__(self, event: Event) -> Report | Claim:
        """What a stored callback says. Raises TimeoutError when the gateway does not answer."""
        assert event.type is EventType.GATEWAY_CALLBACK
        await asyncio.sleep(self._seconds())
        if self._fails():
            raise TimeoutError
        if event.regie in self._asked:
            return interpret(self._asked[event.regie], event.data.method, event.data.query, b"", {})
        return _signed(event)


def _signed(event: Event) -> Report:
    said = read(event.data)
    return Report(
        regie=event.regie,
        gateway_reference=said.reference,
        transaction_id=said.transaction,
        result=ReportResult(said.result),
        verified=said.kind != "forged",
        test=said.kind == "test",
        asked=said.result == "waiting",
        cents=said.cents,
        why=said.kind,
    )
