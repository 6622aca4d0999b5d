"""What each gateway can do, as data. Source: the domain's table of gateways and eopayment 3.15."""

from dataclasses import dataclass
from enum import StrEnum


class AmountUnit(StrEnum):
    """How a gateway writes an amount in its answers."""

    CENTS = "cents"
    EUROS = "euros"
    UNSAID = "unsaid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One eopayment kind.

    `merchant` and the secrets are the options without which an answer cannot be tied to this régie: they have
    no defaults. `reference_fields` are where a raw callback names its payment, the first present wins.
    """

    callback_is_proof: bool = False
    pollable: bool = False
    amount_unit: AmountUnit = AmountUnit.CENTS
    test_only: bool = False
    merchant: tuple[str, ...] = ()
    production_secrets: tuple[str, ...] = ()
    test_secrets: tuple[str, ...] = ()
    reference_fields: tuple[str, ...] = ()
    reply_body: bytes = b""


CAPABILITIES: dict[str, Capability] = {
    "dummy": Capability(
        amount_unit=AmountUnit.UNSAID,
        test_only=True,  # anybody can write `signed=1`
        reference_fields=("transaction_id",),
    ),
    "systempayv2": Capability(
        callback_is_proof=True,
        merchant=("vads_site_id",),
        production_secrets=("secret_production",),
        test_secrets=("secret_test",),
        reply_body=b"OK",  # shown to the merchant in Lyra's back office, beside the notification
    ),
    "payzen": Capability(
        callback_is_proof=True,
        merchant=("vads_site_id",),
        production_secrets=("secret_production",),
        test_secrets=("secret_test",),
        reply_body=b"OK",
    ),
    "payfip_ws": Capability(
        pollable=True,
        merchant=("numcli",),
        reference_fields=("idOp", "idop"),
    ),
    "tipi": Capability(merchant=("numcli",), reference_fields=("refdet",)),
    "paybox": Capability(
        callback_is_proof=True,
        merchant=("site", "rang"),
        reference_fields=("reference",),
    ),
    "sips2": Capability(
        callback_is_proof=True,
        merchant=("merchant_id",),
        production_secrets=("secret_key",),
        test_secrets=("secret_key",),
        reference_fields=("transactionReference",),
    ),
    "ogone": Capability(
        callback_is_proof=True,
        amount_unit=AmountUnit.EUROS,
        merchant=("pspid",),
        production_secrets=("sha_out",),
        test_secrets=("sha_out",),
        reference_fields=("COMPLUS", "complus", "orderID", "ORDERID", "orderid"),
    ),
    "mollie": Capability(
        production_secrets=("api_key",),
        test_secrets=("api_key",),
        reference_fields=("id",),
    ),
    "keyware": Capability(
        production_secrets=("api_key",),
        test_secrets=("api_key",),
        reference_fields=("order_id",),
    ),
    "saga": Capability(
        pollable=True,
        amount_unit=AmountUnit.EUROS,
        merchant=("base_url", "num_service", "compte"),
        reference_fields=("idop",),
    ),
    "worldline": Capability(
        callback_is_proof=True,
        pollable=True,
        merchant=("pspid",),
        production_secrets=("api_key", "api_secret"),
        test_secrets=("api_key", "api_secret"),
        reference_fields=("hostedCheckoutId",),
    ),
}
"""Every gateway that can be configured, by its eopayment kind."""
