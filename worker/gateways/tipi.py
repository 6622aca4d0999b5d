"""TIPI, the service that PayFiP replaced: its answer is a bare address, unsigned, and there is nobody to ask.

The library says `signed=True` for any query string. Here it is only shown: what came must be read in the régie's
account, or the régie moved to `payfip_ws`. Source: domain.md, the table of gateways.
"""

from typing import Final

from schemas.reports import Report
from worker.gateways.capabilities import CAPABILITIES
from worker.gateways.fields import first_of, first_values, pairs_of
from worker.gateways.port import GatewayConfig, RawCallback, unproven

SHOWN: Final = ("refdet", "resultrans", "montant", "saisie")
"""What it claims; the payer's address and the free text are left out."""
TEST: Final = "T"


def interpret_tipi(gateway: GatewayConfig, callback: RawCallback) -> Report:
    """What a TIPI answer claims. It never proves anything. Never raises."""
    pairs = pairs_of(callback.query, callback.body)
    if not pairs:
        return unproven(gateway, "", "unparsable")
    reference = first_of(pairs, CAPABILITIES[gateway.kind].reference_fields)
    if reference is None:
        return unproven(gateway, "", "reference_unreadable")
    fields = first_values(pairs)
    report = unproven(
        gateway, reference, "gateway_proves_nothing", **{name: fields[name] for name in SHOWN if name in fields}
    )
    report.test = fields.get("saisie") == TEST and gateway.mode != "test"
    return report
