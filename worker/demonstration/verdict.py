"""Whether an invoice ended as it should: pure, from what Lettrage says of it."""

from datetime import datetime
from typing import Any, Final

from worker.demonstration.families import Part

ALLOWED_LATENESS_SECONDS: Final = 2.0
"""« At most a second or so » after its deadline, on a busy machine."""


def is_over(part: Part, invoice: dict[str, Any]) -> bool:
    """Whether nothing more is expected of this invoice."""
    ended = "paid" if part.payment == "paid" else "payable"
    return bool(invoice["payments"]) and invoice["state"] == ended


def differences(
    part: Part,
    invoice: dict[str, Any],
    payment: dict[str, Any],
    history: list[dict[str, Any]],
    seen_payable_at: datetime | None,
) -> list[str]:
    """What differs from how this part should end; empty when all is well.

    `seen_payable_at` is when an answer first read payable after the payment began, on this machine's clock.
    """
    found = []
    ended = "paid" if part.payment == "paid" else "payable"
    if invoice["state"] != ended:
        found.append(f"the invoice is {invoice['state']}, not {ended}")
    if payment["state"] != part.payment:
        found.append(f"the payment is {payment['state']}, not {part.payment}")
    if ended == "payable":
        found += _reactivation_faults(payment, history, seen_payable_at)
    return found


def _reactivation_faults(
    payment: dict[str, Any], history: list[dict[str, Any]], seen_payable_at: datetime | None
) -> list[str]:
    deadline = datetime.fromisoformat(payment["deadline"])
    if seen_payable_at is not None and seen_payable_at < deadline:
        early = (deadline - seen_payable_at).total_seconds()
        return [f"it read payable {early:.3f} s before its deadline"]
    lateness = lateness_seconds(payment, history)
    if lateness is None:
        return ["its reactivation is not in its history"]
    if lateness < 0:
        return [f"it was reactivated {-lateness:.3f} s before its deadline"]
    if lateness > ALLOWED_LATENESS_SECONDS:
        return [f"it was reactivated {lateness:.3f} s after its deadline"]
    return []


def lateness_seconds(payment: dict[str, Any], history: list[dict[str, Any]]) -> float | None:
    """How long after its deadline the invoice was written payable again; None if it was not."""
    last = history[-1] if history else None
    if last is None or (last["from"], last["to"]) != ("in_payment", "payable"):
        return None
    deadline = datetime.fromisoformat(payment["deadline"])
    return (datetime.fromisoformat(last["at"]) - deadline).total_seconds()
