"""What reading a signed callback costs web and worker, which do it where they are: CPU time, genuine and forged."""

import base64
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

from bench.figures import Figure, median
from schemas.reports import Report
from tests.unit.gateways import lyra_answers, ogone_answers, paybox_answers, sips2_answers
from worker.embedded import Servers
from worker.gateways.interpret import interpret
from worker.gateways.library import paybox_signed
from worker.gateways.port import GatewayConfig

MICROSECONDS: Final = 1e6
LYRA_FIELDS: Final = 60
"""As many as Lyra sends, the most of all; the tests' example has fewer."""


class Size(NamedTuple):
    """How much of it. The median of the rounds counts."""

    repetitions: int
    rounds: int


FULL: Final = Size(repetitions=2_000, rounds=5)
QUICK: Final = Size(repetitions=5, rounds=1)


class Answers(NamedTuple):
    """A kind's answer with its signature, and the same with somebody else's."""

    gateway: GatewayConfig
    genuine: bytes
    forged: bytes


async def measure(servers: Servers, *, quick: bool) -> list[Figure]:
    """A row for each kind."""
    _ = servers  # none is asked
    size = QUICK if quick else FULL
    return [_figure(kind, answers, size) for kind, answers in _answers().items()]


def _answers() -> Mapping[str, Answers]:
    padding = {f"vads_ext_info_{n}": f"valeur {n}" for n in range(LYRA_FIELDS - len(lyra_answers.PAID))}
    lyra = {**lyra_answers.PAID, **padding}
    return {
        "systempayv2, payzen": Answers(
            lyra_answers.regie(), lyra_answers.signed(lyra), lyra_answers.signed(lyra, "autreregie")
        ),
        "sips2": Answers(
            sips2_answers.regie(),
            sips2_answers.signed(sips2_answers.PAID),
            sips2_answers.signed(sips2_answers.PAID, "autreregie"),
        ),
        "ogone": Answers(
            ogone_answers.regie(),
            ogone_answers.signed(ogone_answers.PAID),
            ogone_answers.signed(ogone_answers.PAID, "autreregie"),
        ),
        "paybox": Answers(
            paybox_answers.regie(),
            paybox_answers.signed(paybox_answers.PAID),
            paybox_answers.signed(paybox_answers.PAID, "stranger"),
        ),
    }


def _figure(kind: str, answers: Answers, size: Size) -> Figure:
    genuine = _cpu(lambda: _read(answers, answers.genuine, verified=True), size)
    forged = _cpu(lambda: _read(answers, answers.forged, verified=False), size)
    return Figure(
        what=f"interpreting a signed callback: {kind}",
        to_reach="1,000 µs of CPU" + (", its RSA aside" if kind == "paybox" else ""),
        measured=f"{genuine:,.0f} µs",
        how=f"forged {forged:,.0f} µs; {_rsa(answers, size) if kind == 'paybox' else ''}"
        f"{len(answers.genuine):,} bytes, {size.repetitions * size.rounds:,} times each",
    )


def _read(answers: Answers, body: bytes, *, verified: bool) -> None:
    report = interpret(answers.gateway, "POST", "", body, {})
    assert isinstance(report, Report)
    assert report.verified is verified, report.why


def _rsa(answers: Answers, size: Size) -> str:
    key, text = str(answers.gateway.options["public_key"]), paybox_answers.query_of(paybox_answers.PAID)
    signature = base64.b64decode(unquote(paybox_answers.signature_of(text).decode()))
    assert paybox_signed(key, text, signature)
    return f"of both, {_cpu(lambda: paybox_signed(key, text, signature), size):,.0f} µs are its RSA; "


def _cpu(work: Callable[[], object], size: Size) -> float:
    """Microseconds of this process's CPU that it takes once; a first time, which imports, is not counted."""
    work()
    return median([_spent(work, size.repetitions) for _ in range(size.rounds)]) / size.repetitions * MICROSECONDS


def _spent(work: Callable[[], object], repetitions: int) -> float:
    began = time.process_time()
    for _ in range(repetitions):
        work()
    return time.process_time() - began
