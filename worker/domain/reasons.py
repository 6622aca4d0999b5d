"""The name of every outcome and every change of state: the same in API, journal, log and metric."""

from enum import StrEnum


class Reason(StrEnum):
    """Why something is as it is."""

    # invoices
    ISSUED = "issued"
    REISSUED = "reissued"
    NAMED_BY_PAYMENT = "named_by_payment"
    WITHDRAWN = "withdrawn"
    SETTLED_ELSEWHERE = "settled_elsewhere"
    SETTLEMENT_TAKEN_BACK = "settlement_taken_back"
    INVOICE_ALREADY_KNOWN = "invoice_already_known"
    OLDER_THAN_KNOWN = "older_than_known"
    WAITS_FOR_INVOICE = "waits_for_invoice"
    # holds
    HOLD_TAKEN = "hold_taken"
    HOLD_EXPIRED = "hold_expired"
    HOLD_OVER = "hold_over"
    HOLD_ALREADY_OVER = "hold_already_over"
    HOLD_STILL_ON = "hold_still_on"
    RELEASED_BY_REFUSAL = "released_by_refusal"
    RELEASED_BY_CANCEL = "released_by_cancel"
    NOTHING_LEFT_TO_HOLD = "nothing_left_to_hold"
    # starts that take no hold
    STARTED_AFTER_DEADLINE = "started_after_deadline"
    NOT_PAYABLE_ONLINE = "not_payable_online"
    LINE_AMOUNT_DIFFERS = "line_amount_differs"
    INVOICE_PAID = "invoice_paid"
    INVOICE_WITHDRAWN = "invoice_withdrawn"
    INVOICE_IN_PAYMENT = "invoice_in_payment"
    # starts that are no new payment
    PAYMENT_ALREADY_STARTED = "payment_already_started"
    GATEWAY_REFERENCE_ADDED = "gateway_reference_added"
    PAYMENT_CONFLICT = "payment_conflict"
    GATEWAY_REFERENCE_IN_USE = "gateway_reference_in_use"
    # money
    MONEY_RECEIVED = "money_received"
    MONEY_RECEIVED_LATE = "money_received_late"
    MONEY_RECEIVED_PROVISIONALLY = "money_received_provisionally"
    MONEY_REJECTED_LATER = "money_rejected_later"
    MONEY_REVERSED = "money_reversed"
    MONEY_REFUNDED = "money_refunded"
    REFUSED_BY_GATEWAY = "refused_by_gateway"
    CANCELLED_BY_PAYER = "cancelled_by_payer"
    RESULT_ALREADY_KNOWN = "result_already_known"
    FACT_ALREADY_COUNTED = "fact_already_counted"
    WAITS_FOR_PAYMENT = "waits_for_payment"
    # gateway answers that are no fact about money
    UNVERIFIED_CALLBACK = "unverified_callback"
    TEST_PAYMENT = "test_payment"
    GATEWAY_CANNOT_SAY = "gateway_cannot_say"
    GATEWAY_KNOWS_NO_PAYMENT = "gateway_knows_no_payment"
    NOT_ABOUT_MONEY = "not_about_money"
    # discrepancies
    DISCREPANCY_RESOLVED = "discrepancy_resolved"
    DISCREPANCY_UNKNOWN = "discrepancy_unknown"
    DISCREPANCY_NOT_OPEN = "discrepancy_not_open"
    RESOLUTION_NOT_APPLICABLE = "resolution_not_applicable"
    # replays
    RESTORED_BY_REPLAY = "restored_by_replay"
    # retention
    RETENTION_OVER = "retention_over"
