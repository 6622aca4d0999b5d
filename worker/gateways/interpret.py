"""The port: peek at a raw callback, interpret it, reply to it; ask a gateway.

The first three are pure CPU and never raise, whatever bytes came. A signed answer of 60 fields costs 0.2 ms, less
than handing it to a thread: call them where you are. Asking goes to the network: call it in a thread, bounded.
"""

from collections.abc import Callable, Mapping, Sequence

from schemas.reports import Report
from worker.gateways.asked import interpret_claim
from worker.gateways.capabilities import CAPABILITIES, Capability
from worker.gateways.dummy import interpret_dummy
from worker.gateways.fields import first_of, pairs_of
from worker.gateways.json_service import interpret_identifier
from worker.gateways.keyware import ask_keyware, check_keyware, interpret_keyware, peek_keyware
from worker.gateways.lyra import interpret_lyra, peek_reference
from worker.gateways.mollie import ask_mollie, check_mollie
from worker.gateways.ogone import interpret_ogone, peek_ogone
from worker.gateways.paybox import interpret_paybox
from worker.gateways.payfip import ask_payfip, check_payfip
from worker.gateways.port import Answer, Checked, Claim, GatewayConfig, Question, RawCallback, Reply, unproven
from worker.gateways.saga import ask_saga, check_saga
from worker.gateways.sips2 import interpret_sips2, peek_sips2
from worker.gateways.tipi import interpret_tipi
from worker.gateways.worldline import ask_worldline, check_worldline, interpret_worldline, peek_worldline

INTERPRETERS: dict[str, Callable[[GatewayConfig, RawCallback], Report | Claim]] = {
    "dummy": interpret_dummy,
    "keyware": interpret_keyware,
    "mollie": interpret_identifier,
    "payfip_ws": interpret_claim,
    "saga": interpret_claim,
    "tipi": interpret_tipi,
    "worldline": interpret_worldline,
    "systempayv2": interpret_lyra,
    "payzen": interpret_lyra,
    "paybox": interpret_paybox,
    "sips2": interpret_sips2,
    "ogone": interpret_ogone,
}
"""What each kind's callback proves: a report, or only that its gateway should be asked."""
ASKERS: dict[str, Callable[[GatewayConfig, Question], Answer]] = {
    "keyware": ask_keyware,
    "mollie": ask_mollie,
    "payfip_ws": ask_payfip,
    "saga": ask_saga,
    "worldline": ask_worldline,
}
"""How each pollable kind is asked. Blocking; raises GatewayUnavailableError where nothing sensible was answered."""
CHECKERS: dict[str, Callable[[GatewayConfig], Checked]] = {
    "keyware": check_keyware,
    "mollie": check_mollie,
    "payfip_ws": check_payfip,
    "saga": check_saga,
    "worldline": check_worldline,
}
"""How to find out that a pollable kind can be asked, without touching any payment. Blocking and raising likewise."""
PEEKERS: dict[str, Callable[[Sequence[tuple[str, str]]], str | None]] = {
    "systempayv2": peek_reference,
    "payzen": peek_reference,
    "sips2": peek_sips2,
    "ogone": peek_ogone,
}
"""Where a callback's reference is not simply a field: `reference_fields` says which for the others."""
JSON_PEEKERS: dict[str, Callable[[str, bytes], str | None]] = {
    "keyware": peek_keyware,
    "worldline": peek_worldline,
}
"""The same for gateways whose callbacks are no forms: from the query and the body."""


def peek(kind: str, query: str, body: bytes) -> str | None:
    """The gateway reference that a raw callback claims: an index for evidence, nothing is verified."""
    if kind in JSON_PEEKERS:
        return JSON_PEEKERS[kind](query, body)
    pairs = pairs_of(query, body)
    if kind in PEEKERS:
        return PEEKERS[kind](pairs)
    return first_of(pairs, CAPABILITIES.get(kind, Capability()).reference_fields)


def interpret(
    gateway: GatewayConfig, method: str, query: str, body: bytes, headers: Mapping[str, str]
) -> Report | Claim:
    """What a callback proves. Only a `verified` report is a fact about money; the others say `why` not.

    A claim comes from a gateway whose callbacks prove nothing: ask it.
    """
    interpreter = INTERPRETERS.get(gateway.kind)
    if interpreter is None:
        claimed = peek(gateway.kind, query, body) or ""
        return unproven(gateway, claimed, "gateway_not_interpreted", kind=gateway.kind)
    return interpreter(gateway, RawCallback(method=method, query=query, body=body, headers=headers))


def reply(kind: str, query: str, body: bytes) -> Reply:
    """What that gateway wants to read after the commit; it stops repeating its callback on a 200."""
    _ = query, body  # some gateways want their own words back
    capability = CAPABILITIES.get(kind, Capability())
    return Reply(status=200, content_type="text/plain", body=capability.reply_body)


def ask(gateway: GatewayConfig, question: Question) -> Answer:
    """What the gateway says now of one of its references. Blocks; bound it from outside as well.

    Raises:
        GatewayUnavailableError: it could not be asked or did not answer sensibly.
        KeyError: its kind cannot be asked.
    """
    return ASKERS[gateway.kind](gateway, question)


def check(gateway: GatewayConfig) -> Checked:
    """Whether a gateway can be asked, and whom it takes us for; no payment is touched. Blocks like `ask`.

    Raises:
        GatewayUnavailableError: it could not be asked or did not answer sensibly.
        KeyError: its kind cannot be asked.
    """
    return CHECKERS[gateway.kind](gateway)
