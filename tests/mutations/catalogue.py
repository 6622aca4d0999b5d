"""Rules that somebody could remove, and the tests that must notice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """In the file at `path`, `old` (there exactly once) becomes `new`; one of `tests` turns red."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]


CASE, DECIDE, MONEY, RECORD = (f"worker/domain/{name}.py" for name in ("case", "decide", "money", "record"))
MEMORY, POSTGRES, QUERIES = "worker/store/memory.py", "worker/store/postgres.py", "worker/store/queries.sql"
AMOUNTS, LYRA, OGONE, OPTIONS, PAYBOX, SIPS2 = (
    f"worker/gateways/{name}.py" for name in ("amounts", "lyra", "ogone", "options", "paybox", "sips2")
)
ASKED, EXCHANGE, JSON_SERVICE, MOLLIE, PAYFIP, SAGA, WORLDLINE = (
    f"worker/gateways/{name}.py"
    for name in ("asked", "exchange", "json_service", "mollie", "payfip", "saga", "worldline")
)

ANSWERS, DISCREPANCIES, HOLDS, IDENTITIES, SUMS, WRITTEN = (
    f"tests/unit/domain/test_{name}.py::test_"
    for name in ("answers", "discrepancies", "holds", "identities", "money", "journal_and_effects")
)
FOUND, TOLD = (f"tests/property/test_{name}.py::test_" for name in ("found", "told"))
POISON = "tests/integration/test_reconcile.py::test_"
STORE = "tests/integration/test_store.py::test_"
WAITING = "tests/integration/test_store_waiting.py::test_"
PROVEN, PROVEN_OGONE, CHOSEN, PROVEN_PAYBOX, PROVEN_SIPS2 = (
    f"tests/unit/gateways/test_{name}.py::test_" for name in ("lyra", "ogone", "options", "paybox", "sips2")
)
MOLLIE_SAYS, OVER_HTTP, PAYFIP_SAYS, SAGA_SAYS, TIPI_SAYS, WORLDLINE_SAYS = (
    f"tests/unit/gateways/test_{name}.py::test_"
    for name in ("mollie", "exchange", "payfip", "saga", "tipi", "worldline")
)
WORLDS = ("tests/simulation/test_simulation.py::test_worlds_come_to_rest_as_the_judge_says[0]",)

IDENTITY = (
    Mutation(
        "the latest issue is the last received",
        RECORD,
        "(said_at(event), event.place) > (time, place)",
        "event.place > place",
        (IDENTITIES + "the_latest_issue_stands_by_its_time",),
    ),
    Mutation(
        "an older withdrawal stands",
        RECORD,
        "    if not _newer(event, invoice.fact_time, invoice.fact_place):\n",
        "    if False:\n",
        (IDENTITIES + "a_withdrawal_older_than_the_issue_does_not_stand",),
    ),
    Mutation(
        "a fact counts each time it is told",
        CASE,
        "        if any(a.kind is adjustment.kind and",
        "        if any(a.kind is not adjustment.kind and",
        (IDENTITIES + "a_correction_counts_once_by_its_fact_id",),
    ),
    Mutation(
        "rejected later is stronger than paid",
        MONEY,
        'enumerate("ARVZP")',
        'enumerate("ARVPZ")',
        (IDENTITIES + "results_of_one_charge_have_a_rank",),
    ),
    Mutation(
        "a reversal counts again beside its Z charge",
        MONEY,
        " and fact.fact_id not in rejected_ids",
        "",
        (IDENTITIES + "a_reversal_named_after_a_rejected_charge_counts_once_with_it",),
    ),
    Mutation(
        "a gateway reference has two owners",
        RECORD,
        "    if reference.payment_id not in {None, payment.id}:\n",
        "    if False:\n",
        (IDENTITIES + "a_gateway_reference_belongs_to_one_payment",),
    ),
    Mutation(
        "a payment changes its lines",
        RECORD,
        "        return REFUSED, Reason.PAYMENT_CONFLICT\n",
        "        return APPLIED, Reason.GATEWAY_REFERENCE_ADDED\n",
        (IDENTITIES + "a_payment_started_differently_is_a_conflict",),
    ),
)

SUMMED = (
    Mutation(
        "received is negative",
        MONEY,
        "received=max(0, money - reversed_cents)",
        "received=money - reversed_cents",
        (SUMS + "received_is_never_negative",),
    ),
    Mutation(
        "any money pays",
        MONEY,
        "sums.received >= payment.amount_cents and",
        "sums.received > 0 and",
        (SUMS + "a_payment_is_paid_only_in_full",),
    ),
    Mutation(
        "refunded only beyond what was received",
        MONEY,
        "sums.refunds >= sums.received",
        "sums.refunds > sums.received",
        (SUMS + "wholly_refunded",),
    ),
    Mutation(
        "an avoir is no refund",
        MONEY,
        "(AdjustmentKind.REFUNDED, AdjustmentKind.CREDITED)",
        "(AdjustmentKind.REFUNDED,)",
        (DISCREPANCIES + "an_avoir_counts_as_a_refund",),
    ),
    Mutation(
        "what was settled elsewhere keeps nothing",
        MONEY,
        "{None: min(max(0, net), claim)}",
        "{None: 0}",
        (SUMS + "what_was_settled_elsewhere_keeps_first",),
    ),
    Mutation(
        "the most refunded keeps",
        MONEY,
        "    return excess, payment.first_money_at,",
        "    return -excess, payment.first_money_at,",
        (SUMS + "the_payment_least_refunded_beyond_its_excess_keeps",),
    ),
    Mutation(
        "money rejected later keeps its place",
        DECIDE,
        "if c.result in _MONEY and c.received_at is not None",
        "if c.received_at is not None",
        (FOUND + "money_that_was_rejected_later_earns_no_place",),
    ),
    Mutation(
        "a withdrawn invoice claims",
        MONEY,
        "claim = 0 if invoice.withdrawn else amount",
        "claim = amount",
        (SUMS + "settled_elsewhere_of_a_withdrawn_invoice",),
    ),
    Mutation(
        "refunds reduce from the first",
        MONEY,
        "for subject, cents in reversed(parts):",
        "for subject, cents in parts:",
        (SUMS + "refunds_reduce_what_is_to_give_back_from_the_last",),
    ),
    Mutation(
        "nothing is missing of a claim",
        MONEY,
        "max(-excess, short)",
        "-excess",
        (SUMS + "reissued_for_more",),
    ),
    Mutation(
        "not issued, it claims the smallest line",
        MONEY,
        "        return max(paid_lines)\n",
        "        return min(paid_lines)\n",
        (SUMS + "not_issued_it_claims_the_largest_line_of_its_paid_payments",),
    ),
    Mutation(
        "a resolution closes whatever comes",
        DECIDE,
        "known.resolved_cents is not None and cents <= known.resolved_cents",
        "known.resolved_cents is not None",
        (DISCREPANCIES + "a_larger_amount_reopens",),
    ),
    Mutation(
        "money without an owner is not shown",
        DECIDE,
        "                if charge.result in _MONEY:\n",
        "                if False:\n",
        (IDENTITIES + "a_charge_without_an_owner_shows_as_unknown_payment",),
    ),
)

HELD = (
    Mutation(
        "a hold is on a moment too long",
        CASE,
        "payment.payable_again_at <= self.now",
        "payment.payable_again_at < self.now",
        (HOLDS + "a_hold_is_over_at_its_very_end",),
    ),
    Mutation(
        "some of its invoices are enough",
        RECORD,
        "    if any(_holder(case, line) for _, line in invoices):\n",
        "    if all(_holder(case, line) for _, line in invoices):\n",
        (HOLDS + "all_or_none",),
    ),
    Mutation(
        "a portal may date its hold in the future",
        RECORD,
        "started = min(said_at(event), event.received_at)",
        "started = said_at(event)",
        (HOLDS + "the_deadline_never_counts_from_later_than_the_reception",),
    ),
    Mutation(
        "a hold is taken after its own deadline",
        RECORD,
        "        return APPLIED, Reason.STARTED_AFTER_DEADLINE\n",
        "        return APPLIED, Reason.HOLD_TAKEN\n",
        (HOLDS + "one_that_arrives_past_its_own_deadline_takes_none",),
    ),
    Mutation(
        "a direct debit is paid online",
        RECORD,
        "    if any(invoice.means == DIRECT_DEBIT for",
        "    if any(invoice.means == 'nothing' for",
        (HOLDS + "what_cannot_be_paid_online_takes_no_hold",),
    ),
    Mutation(
        "a cancel always releases",
        RECORD,
        '    if case.policy.on_cancel != "release" or payment.hold_over',
        "    if payment.hold_over",
        (HOLDS + "by_default_a_cancel_changes_the_state_and_not_the_hold",),
    ),
    Mutation(
        "a paid invoice stays in its hold",
        DECIDE,
        "    if state in {InvoiceState.PAID, InvoiceState.WITHDRAWN}:\n",
        "    if state is InvoiceState.WITHDRAWN:\n",
        (HOLDS + "a_settled_or_withdrawn_invoice_leaves_its_hold_and_the_others_stay",),
    ),
    Mutation(
        "nothing is late",
        DECIDE,
        "payment.late = case.over(payment)",
        "payment.late = False",
        (SUMS + "money_after_the_hold_is_late_and_still_pays",),
    ),
    Mutation(
        "taken over and not written",
        CASE,
        "        self.taken_over.add(invoice.id)\n",
        "",
        (HOLDS + "an_overdue_hold_is_taken_over",),
    ),
    Mutation(
        "in doubt, hold for ever",
        RECORD,
        "payment.payable_again_at = max(payment.deadline, payment.hold_limit)",
        "payment.payable_again_at = payment.hold_limit + timedelta(days=1)",
        (HOLDS + "in_doubt_a_regie_may_hold_up_to_its_limit",),
    ),
    Mutation(
        "an invoice was paid when that was applied",
        DECIDE,
        "invoice.paid_at = case.event.received_at if",
        "invoice.paid_at = case.now if",
        (WRITTEN + "an_invoice_was_paid_when_what_paid_it_was_received",),
    ),
    Mutation(
        "a portal is told new states alone",
        DECIDE,
        "    case.tell_invoice(invoice, before, why)\n",
        "    if state is not before:\n        case.tell_invoice(invoice, before, why)\n",
        (
            WRITTEN + "a_hold_kept_in_doubt_is_told_with_its_new_end",
            WRITTEN + "an_invoice_issued_otherwise_is_told_in_the_state_that_it_keeps",
            TOLD + "notifications_in_any_order_show_what_a_reading_answers",
        ),
    ),
    Mutation(
        "a portal is told of asks that moved nothing",
        RECORD,
        "        if line.held and payment.payable_again_at != shown:\n",
        "        if line.held:\n",
        (WRITTEN + "a_hold_kept_in_doubt_is_told_with_its_new_end",),
    ),
    Mutation(
        "a hold kept longer is not told",
        RECORD,
        "        if line.held and payment.payable_again_at != shown:\n",
        "        if False:\n",
        (WRITTEN + "a_hold_kept_in_doubt_is_told_with_its_new_end",),
    ),
    Mutation(
        "what a replay restored is told in another state alone",
        CASE,
        "        if is_news:\n",
        "        if is_news and was != invoice.state:\n",
        (WRITTEN + "what_a_replay_restored_is_told_even_in_the_same_state",),
    ),
)

ASKED_FOR = (
    Mutation(
        "an idOp is in progress for ever",
        ASKED,
        "    if question.age_seconds < CAPABILITIES[gateway.kind].idle_seconds:\n",
        "    if True:\n",
        (PAYFIP_SAYS + "p5_means_what_the_age_of_the_idop_says", SAGA_SAYS + "p5_means_what_the_age_of_the_idop_says"),
    ),
    Mutation(
        "an idOp is over a moment too early",
        ASKED,
        "question.age_seconds < CAPABILITIES",
        "question.age_seconds + 1 < CAPABILITIES",
        (PAYFIP_SAYS + "p5_means_what_the_age_of_the_idop_says",),
    ),
    Mutation(
        "any fault means not paid",
        PAYFIP,
        "    if fault != NO_RESULT:\n        raise _refused(fault)\n",
        "",
        (PAYFIP_SAYS + "other_functional_faults_are_about_us_and_not_about_the_payment",),
    ),
    Mutation(
        "activation is production",
        PAYFIP,
        'TESTS: Final = ("T", "X")',
        'TESTS: Final = ("T",)',
        (PAYFIP_SAYS + "a_test_payment_is_no_money_in_production",),
    ),
    Mutation(
        "another idOp's answer is ours",
        PAYFIP,
        '    if fields.get("idOp") != reference:\n',
        "    if False:\n",
        (PAYFIP_SAYS + "what_is_no_answer_to_the_question_is_never_not_paid",),
    ),
    Mutation(
        "another town's payment is ours",
        PAYFIP,
        '        merchant_differs(gateway, reference, "numcli", fields.get("numcli", ""))\n        or ',
        "        ",
        (PAYFIP_SAYS + "another_merchants_payment_is_not_ours",),
    ),
    Mutation(
        "a technical fault is about the payment",
        "worker/gateways/library_soap.py",
        "error.code not in NO_FUNCTIONAL_CODE",
        "True",
        (PAYFIP_SAYS + "a_service_out_of_order_is_never_not_paid",),
    ),
    Mutation(
        "any error of Saga's means not paid",
        SAGA,
        "    if code is not None and code[0] == NO_RESULT:\n",
        "    if True:\n",
        (SAGA_SAYS + "any_other_error_is_never_not_paid",),
    ),
    Mutation(
        "a refused refund is a refused payment",
        WORLDLINE,
        "    if own_code is not None and own_code != _code(payment):\n",
        "    if False:\n",
        (WORLDLINE_SAYS + "what_is_neither_payment_nor_refusal_is_for_people",),
    ),
    Mutation(
        "any signature of Worldline's will do",
        WORLDLINE,
        "    if not hmac.compare_digest(expected",
        "    if False and not hmac.compare_digest(expected",
        (WORLDLINE_SAYS + "another_secret_proves_nothing",),
    ),
    Mutation(
        "a reserved payment counts in full",
        MOLLIE,
        "    return payment.amount_captured or payment.amount\n",
        "    return payment.amount\n",
        (MOLLIE_SAYS + "of_a_reserved_payment_what_was_captured_is_money",),
    ),
    Mutation(
        "a stranger's id is an address",
        MOLLIE,
        "    if not IDENTIFIER.fullmatch(reference):",
        "    if False:",
        (MOLLIE_SAYS + "what_is_no_id_makes_nobody_ask",),
    ),
    Mutation(
        "any not-found is the gateway's",
        JSON_SERVICE,
        "answer.status in MISSING and _has_shape(answer.body, missing)",
        "answer.status in MISSING",
        (MOLLIE_SAYS + "what_is_no_answer_to_the_question_is_never_not_paid",),
    ),
    Mutation(
        "TIPI is believed",
        "worker/gateways/tipi.py",
        "    report.test = fields",
        "    report.verified = True\n    report.test = fields",
        (TIPI_SAYS + "nothing_that_it_says_is_proof",),
    ),
    Mutation(
        "a redirect is followed by whoever reads the answer",
        EXCHANGE,
        "    if status in REDIRECTS:\n",
        "    if False:\n",
        (OVER_HTTP + "a_redirect_is_not_followed",),
    ),
    Mutation(
        "a byte now and then holds a thread for ever",
        EXCHANGE,
        '        """Read what there is."""\n        self._socket.settimeout(self._deadline.left())\n',
        '        """Read what there is."""\n        self._socket.settimeout(8)\n',
        (OVER_HTTP + "no_wait_is_longer_than_the_deadline",),
    ),
    Mutation(
        "an answer has any size",
        EXCHANGE,
        "    if len(body) > MAX_ANSWER_BYTES:\n",
        "    if False:\n",
        (OVER_HTTP + "what_is_not_http_or_not_whole_is_no_answer",),
    ),
    Mutation(
        "questions go anywhere in clear",
        EXCHANGE,
        "    if not is_secure(url):\n",
        "    if False:\n",
        (OVER_HTTP + "an_address_where_anybody_between_could_answer_is_asked_nothing",),
    ),
)

BELIEVED = (
    Mutation(
        "a forged answer is a fact",
        RECORD,
        "    if not report.verified or (",
        "    if (",
        (ANSWERS + "an_unverified_answer_settles_nothing",),
    ),
    Mutation(
        "a test answer settles",
        RECORD,
        'or (report.test and case.policy.mode != "test")',
        "or False",
        (ANSWERS + "a_test_answer_never_settles_in_production",),
    ),
    Mutation(
        "another merchant's money is ours",
        LYRA,
        "    if site != own_site:\n",
        "    if False:\n",
        (PROVEN + "signed_is_not_enough",),
    ),
    Mutation(
        "any currency is the euro",
        LYRA,
        "    if currency != EURO:\n",
        "    if False:\n",
        (PROVEN + "signed_is_not_enough",),
    ),
    Mutation(
        "a credit is a payment",
        LYRA,
        '    if operation != "DEBIT":\n',
        "    if False:\n",
        (PROVEN + "signed_is_not_enough",),
    ),
    Mutation(
        "test in lower case is production",
        LYRA,
        '    if mode.upper() == MODES["test"] and',
        '    if mode == MODES["test"] and',
        (PROVEN + "a_test_answer_in_production_says_that_it_is_a_test",),
    ),
    Mutation(
        "fields after the signature are read",
        LYRA,
        "    if foreign:\n",
        "    if False:\n",
        (PROVEN + "a_field_appended_after_the_signature_spoils_the_answer",),
    ),
)

SIGNED = (
    Mutation(
        "another Paybox merchant's money is ours",
        PAYBOX,
        "    if merchant != own:\n",
        "    if False:\n",
        (PROVEN_PAYBOX + "signed_is_not_enough",),
    ),
    Mutation(
        "whoever calls Paybox's notification names the merchant",
        PAYBOX,
        "[name for name, _ in answer.pairs[:begin] if name in READ]",
        "list[str]()",
        (PROVEN_PAYBOX + "a_field_before_what_is_signed_is_nobody_s",),
    ),
    Mutation(
        "what follows Paybox's signature is read over",
        PAYBOX,
        "[name for name, _ in answer.pairs[answer.end + 1 :]]",
        "list[str]()",
        (PROVEN_PAYBOX + "a_field_appended_after_the_signature_spoils_the_answer",),
    ),
    Mutation(
        "a simulated authorisation is money",
        PAYBOX,
        'fields.get("code_autorisation") == SIMULATED and',
        'fields.get("code_autorisation") == "" and',
        (PROVEN_PAYBOX + "a_simulated_authorisation_in_production_says_that_it_is_a_test",),
    ),
    Mutation(
        "a régie without a key has the bank's public one",
        SIPS2,
        'gateway.options.get("secret_key") or ""',
        'gateway.options.get("secret_key") or "002001000000001_KEY1"',
        (PROVEN_SIPS2 + "the_bank_s_public_key_never_proves",),
    ),
    Mutation(
        "a value with a bar becomes a field of Sips",
        SIPS2,
        "    if repeated:  #",
        "    if False:  #",
        (PROVEN_SIPS2 + "a_value_with_a_bar_cannot_become_a_field",),
    ),
    Mutation(
        "another Sips merchant's money is ours",
        SIPS2,
        "    if merchant != own:\n",
        "    if False:\n",
        (PROVEN_SIPS2 + "sealed_is_not_enough",),
    ),
    Mutation(
        "any currency of Sips is the euro",
        SIPS2,
        "    if currency != EURO:\n",
        "    if False:\n",
        (PROVEN_SIPS2 + "sealed_is_not_enough",),
    ),
    Mutation(
        "what the merchant must validate is paid",
        SIPS2,
        'TO_VALIDATE = "VALIDATION"',
        'TO_VALIDATE = ""',
        (PROVEN_SIPS2 + "what_the_merchant_must_validate_is_not_paid_yet",),
    ),
    Mutation(
        "any currency of Ogone is the euro",
        OGONE,
        '    if fields["CURRENCY"] != EURO:\n',
        "    if False:\n",
        (PROVEN_OGONE + "signed_is_not_enough",),
    ),
    Mutation(
        "a refund at Ogone is like any other status",
        OGONE,
        '    if fields["STATUS"] in REFUNDS:\n',
        "    if False:\n",
        (PROVEN_OGONE + "a_credit_is_neither_payment_nor_refusal",),
    ),
    Mutation(
        "fields beside Ogone's signed ones are read over",
        OGONE,
        "    if foreign:\n",
        "    if False:\n",
        (PROVEN_OGONE + "a_field_added_to_what_is_signed_spoils_the_answer",),
    ),
    Mutation(
        "half a cent is cut off",
        AMOUNTS,
        "([0-9]{1,2}))?",
        "([0-9]{1,2})[0-9]*)?",
        (PROVEN_OGONE + "an_amount_that_is_not_exact_cents_is_not_believed",),
    ),
    Mutation(
        "a key that a gateway published may go to production",
        OPTIONS,
        "re.fullmatch(capability.published, str(value)) is not None",
        "False",
        (CHOSEN + "every_merchant_of_sips_simulator_is_refused_in_production",),
    ),
)

KEPT = (
    Mutation(
        "the same event is kept twice",
        MEMORY,
        "        if key in self.tables.keys:\n",
        "        if False:\n",
        WORLDS,
    ),
    Mutation(
        "a lost lease is for ever",
        MEMORY,
        "(waiting.leased_until is None or waiting.leased_until <= self._clock())",
        "waiting.leased_until is None",
        WORLDS,
    ),
    Mutation(
        "the timeout comes before the evidence",
        MEMORY,
        " and not self._evidence_under_way(payment)\n",
        "\n",
        WORLDS,
    ),
    Mutation(
        "nobody drains without a bell",
        "worker/clock.py",
        "            self._drain_beside(queue)\n",
        "            self._app.ring(queue)\n",
        WORLDS,
    ),
    Mutation(
        "holds end when somebody pays",
        "worker/clock.py",
        "            await self._app.end_due_holds()\n",
        "            await self._app.next_deadline()\n",
        WORLDS,
    ),
    Mutation(
        "a poison event takes its batch along",
        "worker/reconcile.py",
        "            if len(read.events) == 1:\n",
        "            if read.events:\n",
        (POISON + "much_poison_is_found_one_by_one",),
    ),
    Mutation(
        "what follows a payment-started that waits overtakes it",
        "worker/reconcile.py",
        "with_followers(events, await self._store.overtaking(events))",
        "await self._store.overtaking(events)",
        (POISON + "who_would_overtake_another_workers_fact_waits_and_nobody_else_does",),
    ),
    Mutation(
        "a refund meets another payment's dossier",
        "worker/store/grouping.py",
        "            sets.join(_reference(reference.id), _payment(reference.payment_id))\n",
        "            pass\n",
        WORLDS,
    ),
    Mutation(
        "an event is marked done in a transaction of its own",
        POSTGRES,
        "await conn.fetch(QUERIES.take, places)",
        "await self.pool.fetch(QUERIES.take, places)",
        (STORE + "all_or_nothing",),
    ),
    Mutation(
        "what another did is done again",
        POSTGRES,
        "            mine = [event for event in events if event.place in taken]\n",
        "            mine = list(events)\n",
        (STORE + "what_another_did_meanwhile_is_left_out",),
    ),
    Mutation(
        "the gateway reference is not locked",
        QUERIES,
        "    WHERE id = ANY(ARRAY(SELECT id FROM named_references))\n    ORDER BY id\n    FOR UPDATE\n",
        "    WHERE id = ANY(ARRAY(SELECT id FROM named_references))\n    ORDER BY id\n",
        (WAITING + "a_known_reference_without_an_owner_meets_its_payment",),
    ),
    Mutation(
        "another régie's discrepancy is in the dossier",
        "worker/store/grouping.py",
        "known is not None and known.regie == regie",
        "known is not None",
        ("tests/integration/web/test_resolving.py::test_an_archive_of_one_regie_closes_nothing_of_another",),
    ),
    Mutation(
        "what a person saw is not what is closed",
        "worker/store/resolutions.py",
        "    if wanted.amount_cents not in (None, shown.amount_cents):\n        return Refusal.AMOUNT_CHANGED\n",
        "",
        ("tests/integration/web/test_resolving.py::test_the_amount_that_was_seen_is_what_is_closed",),
    ),
    Mutation(
        "a dossier that grew is decided as it was",
        POSTGRES,
        "        if row.payment_id not in loaded.payments or row.invoice_id not in loaded.invoices:\n"
        "            raise GrewError\n",
        "        if row.payment_id not in loaded.payments:\n            continue\n",
        (WAITING + "a_dossier_that_grew_while_it_was_waited_for",),
    ),
    Mutation(
        "a poison event is tried for ever",
        QUERIES,
        "    parked = attempts >= $3,\n",
        "    parked = false,\n",
        (STORE + "after_eight_tries_an_event_is_parked",),
    ),
    Mutation(
        "the sweep does not wait for evidence",
        QUERIES,
        "                AND (x.attempts = 0 OR (x.attempts = 1",
        "                AND (x.attempts < 0 OR (x.attempts = 1",
        (STORE + "evidence_comes_before_the_timeout",),
    ),
)

CHAIN, SEAL, SEALS, BOOKS = (
    "worker/verify/chain.py",
    "worker/domain/seal.py",
    "worker/store/seals.py",
    "worker/verify/books.py",
)
COMPARED, RECOMPUTED = "worker/verify/compare.py", "worker/verify/recompute.py"
SEALED, HASHED, NAMED = (
    "tests/integration/test_seals.py::test_",
    "tests/unit/domain/test_seal.py::test_",
    "tests/integration/test_verify.py::test_what_is_changed_is_named",
)

PROVED = (
    Mutation(
        "a field's length is not hashed",
        SEAL,
        "    return len(value).to_bytes(4) + value\n",
        "    return value\n",
        (HASHED + "a_digest_is_of_fields_that_say_their_length",),
    ),
    Mutation(
        "a seal does not hash the one before it",
        SEAL,
        "last_seq, *digests])",
        "last_seq, *digests[1:]])",
        (HASHED + "a_seal_covers_everything_that_it_says",),
    ),
    Mutation(
        "what is committed late is skipped",
        SEALS,
        "            if not await conn.fetchval(QUERIES.is_settled, mark.transaction):\n                return False\n",
        "",
        (SEALED + "what_is_committed_late_is_not_skipped",),
    ),
    Mutation(
        "two sealers seal at once",
        SEALS,
        "            if not await conn.fetchval(QUERIES.one_sealer):\n                return False\n",
        "",
        (SEALED + "every_application_is_sealed_once_in_its_order",),
    ),
    Mutation(
        "a seal is not hashed again",
        CHAIN,
        '    if hashed != row["hash"]:\n',
        "    if False:\n",
        (NAMED + "[a seal's time]",),
    ),
    Mutation(
        "a seal that is gone is not missed",
        CHAIN,
        '    for number in range(chain.seals + 1, row["number"]):\n',
        "    for number in ():\n",
        (NAMED + "[a seal is gone]",),
    ),
    Mutation(
        "the end of a chain is where its last seal is",
        CHAIN,
        '            for number in range(chain.seals + 1, end["length"] + 1):\n',
        "            for number in ():\n",
        (NAMED + "[the last seal is gone]",),
    ),
    Mutation(
        "an event is not compared with its seal",
        CHAIN,
        "        if event not in {is_now.event, is_now.without_facts}:\n",
        "        if False:\n",
        (NAMED + "[a byte of raw]",),
    ),
    Mutation(
        "an outcome is not compared with its seal",
        CHAIN,
        "        if is_now.application != application:\n",
        "        if False:\n",
        (NAMED + "[the order of application]",),
    ),
    Mutation(
        "data need not give its digest",
        "worker/verify/blankings.py",
        "    if digest_of(event.type, event.data) != (digest if rest is None else rest):\n",
        "    if False:\n",
        (NAMED + "[an event's account]",),
    ),
    Mutation(
        "events that wait are not looked at",
        BOOKS,
        "            if not _has_its_digest(row):\n",
        "            if False:\n",
        (NAMED + "[an event that waits]",),
    ),
    Mutation(
        "rows that no event leads to are not named",
        BOOKS,
        '            if row["id"] not in self._looked_at[looked_at]:\n',
        "            if False:\n",
        (NAMED + "[an invoice too many]",),
    ),
    Mutation(
        "lines of the journal are not compared",
        COMPARED,
        "            if entry is None or meant is None or _told(entry) != _told(meant):\n",
        "            if False:\n",
        (NAMED + "[a line is gone]",),
    ),
    Mutation(
        "holds are not compared",
        COMPARED,
        "        yield from self._holds(stored)\n",
        "",
        (NAMED + "[a hold is gone]",),
    ),
    Mutation(
        "books are made again with the latest policy",
        RECOMPUTED,
        "self._versions[a.event.regie, a.policy_version] for a in batch",
        "max(self._versions.items(), key=lambda item: item[0][1])[1] for a in batch",
        ("tests/integration/test_verify.py::test_healthy_books_are_all_right",),
    ),
    Mutation(
        "what proves nothing is decided by its number alone",
        RECOMPUTED,
        "        if begun is None:\n",
        "        if True:\n",
        ("tests/integration/test_verify.py::test_what_looked_before_it_was_there_is_no_difference",),
    ),
)

REPLAYS = "tests/integration/test_replay.py::test_"
REPLAYED = (
    Mutation(
        "a replay decides with today's configuration",
        "worker/store/replays.py",
        'Fact(event, self._policies[event.regie, row["policy_version"]], row["decided_at"])',
        'Fact(event, loaded.policies[event.regie][1], row["decided_at"])',
        (REPLAYS + "some_days_had_two_policies",),
    ),
    Mutation(
        "a replay decides now",
        "worker/store/replays.py",
        'self._policies[event.regie, row["policy_version"]], row["decided_at"])',
        'self._policies[event.regie, row["policy_version"]], loaded.now or row["decided_at"])',
        (REPLAYS + "replaying_everything_changes_nothing",),
    ),
    Mutation(
        "a restored invoice keeps its version",
        "worker/domain/restoring.py",
        "        version = max(known.version, expected.version) + 1\n",
        "        version = max(known.version, expected.version)\n",
        (REPLAYS + "who_restored_what_and_why_is_kept",),
    ),
    Mutation(
        "a killed replay is nobody's",
        "worker/store/replays.sql",
        "(r.runner = $1 OR r.leased_until <= clock_timestamp())",
        "r.runner = $1",
        (REPLAYS + "a_replay_that_is_killed_goes_on",),
    ),
    Mutation(
        "a parked event that is given back is on its last try",
        "worker/store/replays.sql",
        "SET parked = false, attempts = 0,",
        "SET parked = false,",
        (REPLAYS + "parked_events_are_tried_again_and_told_of",),
    ),
)

RETENTION = "worker/domain/retention.py"
OVER = "tests/unit/domain/test_retention.py::test_"
ERASED = "tests/integration/test_store_retention.py::test_"
BLANKED = (
    Mutation(
        "what a family still owes is blanked",
        RETENTION,
        "_OWED: Final = frozenset({InvoiceState.PAYABLE, InvoiceState.IN_PAYMENT})",
        "_OWED: Final = frozenset({InvoiceState.IN_PAYMENT})",
        (OVER + "what_is_still_owed_is_kept",),
    ),
    Mutation(
        "what is to be explained is blanked",
        RETENTION,
        "if any(row.state is DiscrepancyState.OPEN for",
        "if any(row.state is None for",
        (OVER + "what_is_to_be_explained_is_kept",),
    ),
    Mutation(
        "a recent fact keeps nothing",
        RETENTION,
        "any(fact.received_at >= horizon.time for fact in facts)",
        "all(fact.received_at >= horizon.time for fact in facts)",
        (OVER + "a_fact_since_then_keeps_the_whole_dossier",),
    ),
    Mutation(
        "what stands for a value forgets that two were equal",
        RETENTION,
        "        if value not in self._stands:\n",
        "        if True:\n",
        (OVER + "what_stands_is_equal_where_the_values_were",),
    ),
    Mutation(
        "the second account of a blanked dossier is taken for the first",
        RETENTION,
        "self._stands[value] = next(self._free)",
        "self._stands[value] = len(self._stands) + 1",
        (OVER + "what_is_gone_stays_as_it_is_and_new_values_are_told_apart_from_it",),
    ),
    Mutation(
        "what waits loses its words",
        "worker/store/retention.py",
        'left = [each for row in found if row["applied"] and (each := _without_raw(row)) is not None]',
        "left = [each for row in found if (each := _without_raw(row)) is not None]",
        (ERASED + "what_waits_or_is_parked_keeps_its_words",),
    ),
    Mutation(
        "what was tampered with is covered by its blanking",
        "worker/store/retention.py",
        ' and digest_of(event.type, event.data) == row["digest"]:',
        ":",
        (ERASED + "what_was_tampered_with_is_not_covered_by_blanking",),
    ),
    Mutation(
        "a forged blanking speaks for other facts",
        "worker/verify/blankings.py",
        'if row["facts"] is not None and facts_digest',
        'if row["facts"] is None and facts_digest',
        (ERASED + "a_forged_blanking_cannot_change_facts",),
    ),
    Mutation(
        "a blanking may change what has nothing personal",
        "worker/verify/blankings.py",
        "elif rest not in {None, digest} and event.type not in MAY_LOSE:",
        "elif False:",
        (ERASED + "a_forged_blanking_of_what_has_nothing_personal_is_named",),
    ),
    Mutation(
        "a blanking may put something in the place of what it takes",
        "worker/verify/blankings.py",
        "elif rest is not None and not is_blank(event.type, event.data):",
        "elif False:",
        (ERASED + "a_forged_blanking_cannot_put_words_in_anybodys_mouth",),
    ),
    Mutation(
        "nobody looks at the record of a blanking",
        "worker/verify/blankings.py",
        '    if blanking_digest(left) != first["recorded_digest"]:\n',
        "    if False:\n",
        (ERASED + "what_is_changed_behind_a_blanking_is_named",),
    ),
    Mutation(
        "undelivered notifications go as early as delivered ones",
        "worker/store/retention.sql",
        "ELSE p.at < $4::timestamptz END",
        "ELSE p.at < $3::timestamptz END",
        (ERASED + "notifications_go_once_delivered_and_what_was_never_delivered_later",),
    ),
)

DELIVERIES, DOCTOR, GAUGES_SQL = "worker/store/deliveries.sql", "worker/doctor/portals.py", "worker/store/metrics.sql"
PORTALS = "tests/integration/test_notifications.py::test_"
EXAMINED = ("tests/integration/test_doctor.py::test_a_portal_that_is_not_told_is_found",)
MEASURED = "tests/integration/test_metrics.py::test_"
NOTIFIED = (
    Mutation(
        "a lease keeps nobody from telling the same",
        DELIVERIES,
        "AND x.due_at <= statement_timestamp()\n            AND x.leased_until <= statement_timestamp()\n",
        "AND x.due_at <= statement_timestamp()\n",
        (PORTALS + "what_was_sent_and_not_marked_is_sent_again_under_its_id",),
    ),
    Mutation(
        "a lease ends while its worker still tells",
        "worker/store/deliveries.py",
        "LEASE: Final = timedelta(seconds=20)",
        "LEASE: Final = timedelta(seconds=10)",
        (PORTALS + "a_worker_that_is_killed_while_it_tells_leaves_it_to_another",),
    ),
    Mutation(
        "what a killed worker told is nobody's",
        DELIVERIES,
        "attempts = d.attempts + 1,\n        leased_until = clock_timestamp() + $4::interval,",
        "attempts = d.attempts + 1,\n        leased_until = clock_timestamp() + $4::interval + interval '1 day',",
        (PORTALS + "what_was_sent_and_not_marked_is_sent_again_under_its_id",),
    ),
    Mutation(
        "each attempt has an id of its own",
        "worker/portals/port.py",
        "return webhook_id(self.id, self.at)",
        "return webhook_id(self.attempts, self.at)",
        (PORTALS + "what_was_sent_and_not_marked_is_sent_again_under_its_id",),
    ),
    Mutation(
        "a claim looks at all that is due",
        DELIVERIES,
        "ORDER BY x.due_at, x.outbox_id",
        "ORDER BY x.attempts, x.due_at, x.outbox_id",
        ("tests/integration/test_plans.py::test_a_claim_of_notifications_costs_the_same_whatever_was_told[100k]",),
    ),
    Mutation(
        "no trace goes to the portal",
        "worker/portals/sending.py",
        "if due.trace is not None:",
        "if False:",
        (PORTALS + "the_trace_of_the_event_goes_with_what_is_told_of_it",),
    ),
    Mutation(
        "a hold's end is of no trace",
        DELIVERIES,
        "coalesce(e.trace, s.trace) AS trace",
        "e.trace",
        (PORTALS + "the_trace_of_the_event_goes_with_what_is_told_of_it",),
    ),
    Mutation(
        "the portal's spans are not below the telling's",
        "worker/notifier.py",
        "portal.send(structs.replace(due, trace=trace))",
        "portal.send(due)",
        ("tests/integration/test_tracing.py::test_what_a_portal_is_told_is_of_the_same_trace",),
    ),
    Mutation(
        "what is told does not know its event",
        CASE,
        "Effect(place=self.place,",
        "Effect(place=None,",
        (WRITTEN + "an_effect_names_the_event_that_caused_it",),
    ),
    Mutation(
        "what a replay tells of a discrepancy does not know its event",
        "worker/store/replays.py",
        "structs.replace(effect, place=event.place)",
        "effect",
        (REPLAYS + "what_was_tampered_with_is_put_right",),
    ),
    Mutation(
        "a failed attempt is nothing to look at",
        "worker/app.py",
        'log.warning("notification_failed"',
        'log.info("notification_failed"',
        (PORTALS + "an_attempt_that_failed_is_a_warning_with_ids_and_nothing_secret",),
    ),
    Mutation(
        "a failed attempt is logged without its ids",
        "worker/notifier.py",
        "with logs.telling(due), TRACING",
        "with TRACING",
        (PORTALS + "an_attempt_that_failed_is_a_warning_with_ids_and_nothing_secret",),
    ),
    Mutation(
        "an attempt under way is counted as failed",
        GAUGES_SQL,
        "attempts > (leased_until > clock_timestamp())::integer AS failed",
        "attempts > 0 AS failed",
        (MEASURED + "undelivered_notifications_are_counted_by_what_became_of_them",),
    ),
    Mutation(
        "an attempt under way is listed as failed",
        DELIVERIES,
        "d.attempts > (d.leased_until > clock_timestamp())::integer",
        "d.attempts > 0",
        (PORTALS + "a_first_attempt_under_way_has_not_failed",),
    ),
    Mutation(
        "what was given up still waits",
        GAUGES_SQL,
        "min(outbox_id) FILTER (WHERE NOT given_up) AS oldest",
        "min(outbox_id) AS oldest",
        (MEASURED + "the_oldest_notification_that_waits_is_seen_though_its_regie_left",),
    ),
    Mutation(
        "the doctor does not see that a portal is gone",
        DOCTOR,
        'row["disabled_for"] == target_of(portal.url)',
        "False",
        EXAMINED,
    ),
    Mutation(
        "a portal that moved is gone for the doctor",
        DOCTOR,
        'row["disabled_for"] == target_of(portal.url)',
        'row["disabled_for"] is not None',
        EXAMINED,
    ),
    Mutation(
        "the doctor does not see that a portal fails",
        DOCTOR,
        'elif row["failing"]:',
        "elif False:",
        EXAMINED,
    ),
    Mutation(
        "the doctor takes what is being sent for nobody's",
        DOCTOR,
        ' and not row["sending"]',
        "",
        EXAMINED,
    ),
    Mutation(
        "the doctor does not see what nobody sends",
        DOCTOR,
        'elif row["oldest_seconds"] > LATE_SECONDS and',
        "elif False and",
        EXAMINED,
    ),
    Mutation(
        "the doctor does not see what waits for who left",
        DOCTOR,
        '    if row["waiting"]:\n        code',
        "    if False:\n        code",
        EXAMINED,
    ),
    Mutation(
        "the doctor does not see what was given up",
        DOCTOR,
        '    if row["given_up"]:\n',
        "    if False:\n",
        EXAMINED,
    ),
)

MUTATIONS: tuple[Mutation, ...] = (
    *IDENTITY,
    *SUMMED,
    *HELD,
    *ASKED_FOR,
    *BELIEVED,
    *SIGNED,
    *KEPT,
    *PROVED,
    *REPLAYED,
    *BLANKED,
    *NOTIFIED,
)
