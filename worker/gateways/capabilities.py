"""What each gateway can do, as data. Source: the domain's table of gateways and eopayment 3.15."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class AmountUnit(StrEnum):
    """How a gateway writes an amount in its answers."""

    CENTS = "cents"
    EUROS = "euros"
    UNSAID = "unsaid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One eopayment kind.

    `callback_is_proof`: a signed callback can be believed. `pollable`: the gateway can be asked about a payment, by
    its reference; where a callback is no proof, a callback makes us ask. `poll_seconds`: when to ask after the start
    of a payment with a hold of half an hour. `idle_seconds`: for how long a payer can be on the payment page; an
    answer "in progress" is doubt for so long and no longer, unless the gateway ends its payments by itself.
    `own_options`: ours, beside the library's.
    `merchant` and the secrets are the options without which an answer cannot be tied to this régie: they have
    no defaults. `published`: values of those that the gateway publishes for everybody's tests, as a pattern.
    `key_prefixes`: how the key of each mode begins, where it tells. `chosen`: what an option may be where the library
    takes anything. `mode_option`: which option says the mode too, and how for each; it may be left out. `never_paid`:
    options with which no answer ever says that money came. `reference_fields` are where a raw callback names its
    payment, the first present wins.
    """

    callback_is_proof: bool = False
    pollable: bool = False
    poll_seconds: tuple[int, ...] = ()
    idle_seconds: int = 900
    amount_unit: AmountUnit = AmountUnit.CENTS
    own_options: tuple[str, ...] = ()
    test_only: bool = False
    merchant: tuple[str, ...] = ()
    production_secrets: tuple[str, ...] = ()
    test_secrets: tuple[str, ...] = ()
    published: str = ""
    key_prefixes: Mapping[str, str] = field(default_factory=dict)
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mode_option: str = ""
    mode_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    never_paid: Mapping[str, object] = field(default_factory=dict)
    reference_fields: tuple[str, ...] = ()
    reply_body: bytes = b""


POLL_SECONDS = (120, 300, 600, 960, 1500, 1740)
"""2, 5, 10, 16, 25 and 29 minutes: often while a family pays, past the 15 minutes of PayFiP's idOp, and just before
the hold ends, so that its end is decided knowingly."""

LYRA_SESSION_SECONDS = 600
"""A session at Lyra lasts 10 minutes at most."""
LYRA_MODES = {"production": ("PRODUCTION",), "test": ("TEST",)}
PLATFORMS = {"production": ("prod", "backup"), "test": ("test",)}

CAPABILITIES: dict[str, Capability] = {
    "dummy": Capability(
        amount_unit=AmountUnit.UNSAID,
        test_only=True,  # anybody can write `signed=1`
        reference_fields=("transaction_id",),
    ),
    "systempayv2": Capability(
        callback_is_proof=True,
        idle_seconds=LYRA_SESSION_SECONDS,
        merchant=("vads_site_id",),
        production_secrets=("secret_production",),
        test_secrets=("secret_test",),
        mode_option="vads_ctx_mode",
        mode_values=LYRA_MODES,
        reply_body=b"OK",  # shown to the merchant in Lyra's back office, beside the notification
    ),
    "payzen": Capability(
        callback_is_proof=True,
        idle_seconds=LYRA_SESSION_SECONDS,
        merchant=("vads_site_id",),
        production_secrets=("secret_production",),
        test_secrets=("secret_test",),
        mode_option="vads_ctx_mode",
        mode_values=LYRA_MODES,
        reply_body=b"OK",
    ),
    "payfip_ws": Capability(
        pollable=True,
        poll_seconds=POLL_SECONDS,
        own_options=("service_url",),
        merchant=("numcli",),
        mode_option="saisie",
        mode_values={"production": ("W",), "test": ("T", "X")},
        reference_fields=("idOp", "idop"),
    ),
    "tipi": Capability(
        merchant=("numcli",),
        mode_option="saisie",
        mode_values={"production": ("A",), "test": ("T", "X")},
        reference_fields=("refdet",),
    ),
    "paybox": Capability(
        callback_is_proof=True,
        own_options=("public_key",),
        merchant=("site", "rang"),
        published="1999888",  # the site of the manual's examples and of everybody's first tests
        mode_option="platform",
        mode_values=PLATFORMS,
        # An answer says 00000 for an authorisation, and none follows when the merchant captures it, or does not.
        never_paid={"capture_mode": "AUTHOR_CAPTURE", "manual_validation": True},
        reference_fields=("reference",),
    ),
    "sips2": Capability(
        callback_is_proof=True,
        merchant=("merchant_id",),
        production_secrets=("secret_key",),
        test_secrets=("secret_key",),
        published=r"00200100000000[0-9](_KEY1)?",  # merchants of Sips' simulator, and their keys
        mode_option="platform",
        mode_values=PLATFORMS,
    ),
    "ogone": Capability(
        callback_is_proof=True,
        amount_unit=AmountUnit.EUROS,
        merchant=("pspid",),
        production_secrets=("sha_out",),
        test_secrets=("sha_out",),
        chosen={"hash_algorithm": ("sha1", "sha256", "sha512")},
        mode_option="environment",
        mode_values={"production": ("PROD",), "test": ("TEST",)},
    ),
    "mollie": Capability(
        pollable=True,
        poll_seconds=POLL_SECONDS,
        amount_unit=AmountUnit.EUROS,
        production_secrets=("api_key",),
        test_secrets=("api_key",),
        key_prefixes={"production": "live_", "test": "test_"},
        reference_fields=("id",),
    ),
    "keyware": Capability(
        pollable=True,
        poll_seconds=POLL_SECONDS,
        production_secrets=("api_key",),
        test_secrets=("api_key",),
        reference_fields=("order_id",),
    ),
    "saga": Capability(
        pollable=True,
        poll_seconds=POLL_SECONDS,
        amount_unit=AmountUnit.EUROS,
        merchant=("base_url", "num_service", "compte"),
        reference_fields=("idop", "idOp"),
    ),
    "worldline": Capability(
        callback_is_proof=True,
        pollable=True,
        poll_seconds=POLL_SECONDS,
        own_options=("service_url", "webhook_secret"),
        merchant=("pspid",),
        production_secrets=("api_key", "api_secret"),
        test_secrets=("api_key", "api_secret"),
        mode_option="environment",
        mode_values={"production": ("prod",), "test": ("preprod",)},
        reference_fields=("hostedCheckoutId",),
    ),
}
"""Every gateway that can be configured, by its eopayment kind."""
