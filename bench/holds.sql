-- Families on their way to the gateway: an invoice, a payment that holds it, its gateway reference and its timer each.
-- {first}, {last}: which ones. {due}: when the hold of number i is over.
SET session_replication_role = replica; -- the keys below are right by construction: checking them is not what is measured

INSERT INTO invoices (
    id, regie, number, state, version, account, issued_cents, amount_cents, fact_time, fact_place, issue_time,
    issue_place, reason
) OVERRIDING SYSTEM VALUE
SELECT
    i, 'bench', 'F2026-' || lpad(i::text, 7, '0'), 'in_payment', 2, 'C' || lpad((i / 3)::text, 6, '0'), 5000, 5000,
    now(), 0, now(), 0, 'hold_taken'
FROM generate_series({first}::bigint, {last}::bigint) AS i;

INSERT INTO payments (
    id, regie, reference, state, reason, amount_cents, start_time, start_place, deadline, hold_limit, payable_again_at,
    latest_reference
) OVERRIDING SYSTEM VALUE
SELECT
    i, 'bench', 'P' || lpad(i::text, 9, '0'), 'started', 'hold_taken', 5000, now(), 0, {due}, {due}, {due},
    'R' || lpad(i::text, 9, '0')
FROM generate_series({first}::bigint, {last}::bigint) AS i;

INSERT INTO payment_lines (payment_id, invoice_id, cents, held)
SELECT i, i, 5000, true
FROM generate_series({first}::bigint, {last}::bigint) AS i;

INSERT INTO gateway_references (id, regie, gateway_reference, payment_id) OVERRIDING SYSTEM VALUE
SELECT i, 'bench', 'R' || lpad(i::text, 9, '0'), i
FROM generate_series({first}::bigint, {last}::bigint) AS i;

INSERT INTO holds (payment_id, payable_again_at)
SELECT i, {due}
FROM generate_series({first}::bigint, {last}::bigint) AS i;

SELECT
    setval('invoices_id_seq', {last}),
    setval('payments_id_seq', {last}),
    setval('gateway_references_id_seq', {last});
