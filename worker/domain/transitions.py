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
_ENDED = frozenset({P.REFUSED, P.CANCELLED, P.EXPIRED, P.REJECTED})

PAYMENT: dict[P | None, frozenset[P]] = {
    None: _MONEY | _ENDED | {P.STARTED},
    P.STARTED: _MONEY | {P.REFUSED, P.CANCELLED, P.EXPIRED},
    P.REFUSED: _MONEY | {P.STARTED, P.CANCELLED, P.EXPIRED},
    P.CANCELLED: _MONEY | {P.STARTED, P.REFUSED, P.EXPIRED},
    P.EXPIRED: _MONEY | {P.REFUSED, P.CANCELLED},
    P.REJECTED: _MONEY,
    P.PAID: _ENDED | {P.REVERSED, P.REFUNDED},
    P.REVERSED: _ENDED | {P.PAID, P.REFUNDED},
    P.REFUNDED: _ENDED | {P.PAID, P.REVERSED},
}
"""A better result of one charge may bring less than the one before it, or less than the amount where that was a
refusal: then a payment is what it would have been had only the better one come. Nobody is `started` again whose hold
is over.
"""
