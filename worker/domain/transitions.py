"""Which state may follow which. `decide` asserts it; the diagram in docs/architecture.md is drawn from it."""

from schemas.records import InvoiceState as I
from schemas.records import PaymentState as P

INVOICE: dict[I | None, frozenset[I]] = {
    None: frozenset({I.PAYABLE, I.IN_PAYMENT, I.PAID, I.WITHDRAWN}),
    I.PAYABLE: frozenset({I.IN_PAYMENT, I.PAID, I.WITHDRAWN}),
    I.IN_PAYMENT: frozenset({I.PAYABLE, I.PAID, I.WITHDRAWN}),
    I.PAID: frozenset({I.PAYABLE, I.WITHDRAWN}),
    I.WITHDRAWN: frozenset({I.PAYABLE, I.PAID}),
}
"""A withdrawn invoice that is issued again is payable, or paid if its money is still there."""

_MONEY = frozenset({P.PAID, P.REVERSED, P.REFUNDED})

PAYMENT: dict[P | None, frozenset[P]] = {
    None: _MONEY | {P.STARTED, P.REFUSED, P.CANCELLED, P.EXPIRED, P.REJECTED},
    P.STARTED: _MONEY | {P.REFUSED, P.CANCELLED, P.EXPIRED},
    P.REFUSED: _MONEY,
    P.CANCELLED: _MONEY | {P.REFUSED},
    P.EXPIRED: _MONEY | {P.REFUSED, P.CANCELLED},
    P.REJECTED: _MONEY,
    P.PAID: frozenset({P.REVERSED, P.REFUNDED}),
    P.REVERSED: frozenset({P.PAID, P.REFUNDED}),
    P.REFUNDED: frozenset({P.PAID, P.REVERSED, P.REFUSED, P.CANCELLED, P.EXPIRED, P.REJECTED}),
}
"""A refund told before its money ends as the money says; nothing ever goes back to `started`."""
