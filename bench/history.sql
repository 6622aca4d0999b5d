-- Years of a busy town: {families} families that have paid, five events each. Ids are as random as portals' are.
-- The big tables lose their keys while they are filled, and get them back as they were.

SET session_replication_role = replica; -- the keys below are right by construction
SET maintenance_work_mem = '1GB';

ALTER TABLE events DROP CONSTRAINT events_pkey, DROP CONSTRAINT events_client_source_id_key;
ALTER TABLE outcomes DROP CONSTRAINT outcomes_pkey;
ALTER TABLE journal DROP CONSTRAINT journal_pkey;
DROP INDEX journal_invoice;
DROP INDEX events_subject;

INSERT INTO events (place, client, source, id, type, regie, received_at, data, digest) OVERRIDING SYSTEM VALUE
SELECT
    i, 'portail', '/bench', md5(i::text), 'fr.lettrage.invoice.issued.v1', 'bench', now() - interval '1 year',
    jsonb_build_object(
        'regie', 'bench', 'number', 'H2025-' || lpad((i / 5)::text, 7, '0'), 'account', 'C' || (i / 15)::text,
        'amount_cents', 5000, 'label', 'Restauration scolaire, octobre'
    ),
    sha256(i::text::bytea)
FROM generate_series(1, {families}::bigint * 5) AS i;

INSERT INTO outcomes (place, applied_seq, outcome, reason, decided_at, policy_version) OVERRIDING SYSTEM VALUE
SELECT i, i, 'applied', 'issued', now() - interval '1 year', 1
FROM generate_series(1, {families}::bigint * 5) AS i;

INSERT INTO journal (id, place, regie, invoice_id, payment_id, at, before, after, reason) OVERRIDING SYSTEM VALUE
SELECT
    i, i, 'bench', CASE WHEN i % 5 < 3 THEN 1 + i / 5 END, 1 + i / 5, now() - interval '1 year',
    'in_payment', 'paid', 'money_received'
FROM generate_series(1, {families}::bigint * 5) AS i;

INSERT INTO invoices (
    id, regie, number, state, version, account, issued_cents, amount_cents, fact_time, fact_place, issue_time,
    issue_place, paid_at, paid_by, reason
) OVERRIDING SYSTEM VALUE
SELECT
    i, 'bench', 'H2025-' || lpad(i::text, 7, '0'), 'paid', 3, 'C' || (i / 3)::text, 5000, 5000, now(), i, now(), i,
    now(), 'H' || lpad(i::text, 9, '0'), 'money_received'
FROM generate_series(1, {families}::bigint) AS i;

INSERT INTO payments (
    id, regie, reference, state, reason, amount_cents, start_time, start_place, deadline, hold_limit, payable_again_at,
    hold_over, hold_ended_at, received_cents, first_money_at, first_money_place, settled_at, latest_reference
) OVERRIDING SYSTEM VALUE
SELECT
    i, 'bench', 'H' || lpad(i::text, 9, '0'), 'paid', 'money_received', 5000, now(), i, now(), now(), now(),
    true, now(), 5000, now(), i, now(), 'H' || lpad(i::text, 9, '0')
FROM generate_series(1, {families}::bigint) AS i;

INSERT INTO payment_lines (payment_id, invoice_id, cents)
SELECT i, i, 5000
FROM generate_series(1, {families}::bigint) AS i;

INSERT INTO gateway_references (id, regie, gateway_reference, payment_id) OVERRIDING SYSTEM VALUE
SELECT i, 'bench', 'H' || lpad(i::text, 9, '0'), i
FROM generate_series(1, {families}::bigint) AS i;

INSERT INTO charges (gateway_reference_id, transaction_id, result, cents, received_at, place)
SELECT i, 'H' || lpad(i::text, 9, '0'), 'P', 5000, now(), i
FROM generate_series(1, {families}::bigint) AS i;

SELECT
    setval('events_place_seq', {families}::bigint * 5),
    setval('outcomes_applied_seq_seq', {families}::bigint * 5),
    setval('journal_id_seq', {families}::bigint * 5),
    setval('invoices_id_seq', {families}),
    setval('payments_id_seq', {families}),
    setval('gateway_references_id_seq', {families});

ALTER TABLE events ADD PRIMARY KEY (place), ADD UNIQUE (client, source, id);
ALTER TABLE outcomes ADD PRIMARY KEY (place);
ALTER TABLE journal ADD PRIMARY KEY (id);
CREATE INDEX journal_invoice ON journal (invoice_id, id) WHERE invoice_id IS NOT NULL;
CREATE INDEX events_subject ON events (
    regie,
    coalesce(data ->> 'number', data ->> 'reference', data ->> 'gateway_reference', data ->> 'id')
) WHERE type <> 'fr.lettrage.gateway.callback.v1';
