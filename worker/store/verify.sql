-- Reading for `lettrage verify`: everything in one snapshot, nothing locked, nothing written. Docs: docs/journal.md.

-- name: export_snapshot
SELECT pg_export_snapshot();

-- name: applied
-- Roughly how many events were applied.
SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM outcomes_applied_seq_seq;

-- name: unknown_regies
-- Which of these no policy was ever stored for.
SELECT array_agg(k.code ORDER BY k.code)
FROM unnest($1::text[]) AS k (code)
WHERE NOT EXISTS (SELECT FROM regies AS r WHERE r.code = k.code);

-- name: policies
-- Every version of what every régie chose.
SELECT json_agg(json_build_object('regie', p.regie, 'version', p.version, 'body', p.body)) FROM policies AS p;

-- name: chains
-- Where each chain says that it ends.
SELECT regie, length, head, last_seq
FROM chains
WHERE $1::text[] IS NULL OR regie = ANY($1)
ORDER BY regie;

-- name: seals
-- All seals, chain after chain.
SELECT
    regie,
    number,
    (extract(EPOCH FROM sealed_at) * 1000000)::bigint AS sealed_at,
    last_seq,
    places,
    events,
    applications,
    previous,
    hash
FROM seals
WHERE $1::text[] IS NULL OR regie = ANY($1)
ORDER BY regie, number;

-- name: sealed
-- What these events are now, as `unsealed` reads it to seal them.
SELECT
    e.place,
    e.regie,
    e.client,
    e.source,
    e.id,
    e.type,
    (extract(EPOCH FROM e.time) * 1000000)::bigint AS said_at,
    (extract(EPOCH FROM e.received_at) * 1000000)::bigint AS received_at,
    e.digest,
    coalesce(sha256(e.raw), e.raw_digest) AS raw,
    e.trace,
    e.facts,
    o.applied_seq,
    o.outcome,
    o.reason,
    (extract(EPOCH FROM o.decided_at) * 1000000)::bigint AS decided_at,
    o.policy_version,
    e.blanking IS NOT NULL AS blanked,
    e.rest <> e.digest AND e.type <> 'fr.lettrage.gateway.callback.v1' AS changed
FROM events AS e
INNER JOIN outcomes AS o ON e.place = o.place
WHERE e.place = ANY($1::bigint[])
ORDER BY o.applied_seq;

-- name: blanked
-- Every event that was blanked, blanking after blanking, with the event that records it.
SELECT
    e.blanking,
    e.place,
    e.regie,
    e.raw_digest,
    e.rest,
    b.regie AS recorded_regie,
    b.type AS recorded_type,
    b.data ->> 'digest' AS recorded_digest
FROM events AS e
LEFT JOIN events AS b ON b.place = e.blanking AND b.client = 'lettrage'
WHERE e.blanking IS NOT NULL AND ($1::text[] IS NULL OR e.regie = ANY($1))
ORDER BY e.blanking, e.place;

-- name: named
-- What every applied event names, in the order received; of a callback, the report that was made of it.
SELECT
    e.place,
    e.client,
    e.source,
    e.id,
    e.type,
    e.regie,
    e.received_at,
    e.time,
    e.data,
    e.trace,
    0 AS attempts,
    false AS waited,
    o.applied_seq,
    r.place AS report
FROM events AS e
INNER JOIN outcomes AS o ON e.place = o.place
LEFT JOIN events AS r
    ON
        e.type = 'fr.lettrage.gateway.callback.v1'
        AND r.client = 'lettrage'
        AND r.source = e.source || CASE e.client WHEN '' THEN '' ELSE '#' || e.client END
        AND r.id = e.id
        AND r.type = 'fr.lettrage.gateway.report.v1'
WHERE $1::text[] IS NULL OR e.regie = ANY($1)
ORDER BY e.place;

-- name: discrepancy_names
-- What each discrepancy is about.
SELECT id, regie, payment, invoice, detail ->> 'gateway_reference' AS reference
FROM discrepancies
WHERE $1::text[] IS NULL OR regie = ANY($1);

-- name: applications
-- Events in the order of their application, with what is recorded of it.
SELECT
    e.place,
    e.client,
    e.source,
    e.id,
    e.type,
    e.regie,
    e.received_at,
    e.time,
    e.data,
    e.digest,
    e.facts,
    e.rest,
    e.trace,
    0 AS attempts,
    false AS waited,
    o.outcome,
    o.reason,
    o.decided_at,
    o.policy_version
FROM events AS e
INNER JOIN outcomes AS o ON e.place = o.place
WHERE e.place = ANY($1::bigint[])
ORDER BY o.applied_seq;

-- name: journal
-- What these events wrote.
SELECT json_agg(j ORDER BY j.id)
FROM journal AS j
WHERE j.place = ANY($1::bigint[]);

-- name: rows
-- Invoices, payments and gateway references by régie and name, with everything that belongs to them.
WITH named_invoices AS (
    SELECT i.*
    FROM unnest($1::text[], $2::text[]) AS k (regie, number)
    INNER JOIN invoices AS i ON k.regie = i.regie AND k.number = i.number
),

named_payments AS (
    SELECT p.*
    FROM unnest($3::text[], $4::text[]) AS k (regie, reference)
    INNER JOIN payments AS p ON k.regie = p.regie AND k.reference = p.reference
),

named_references AS (
    SELECT r.*
    FROM unnest($5::text[], $6::text[]) AS k (regie, name)
    INNER JOIN gateway_references AS r ON k.regie = r.regie AND k.name = r.gateway_reference
)

SELECT
    (SELECT json_agg(i) FROM named_invoices AS i) AS invoices,
    (SELECT json_agg(p) FROM named_payments AS p) AS payments,
    (SELECT json_agg(r) FROM named_references AS r) AS refs,
    (
        SELECT json_agg(l)
        FROM payment_lines AS l
        WHERE l.payment_id = ANY(ARRAY(SELECT id FROM named_payments))
    ) AS lines,
    (
        SELECT json_agg(json_build_object('id', h.payment_id, 'payable_again_at', h.payable_again_at))
        FROM holds AS h
        WHERE h.payment_id = ANY(ARRAY(SELECT id FROM named_payments))
    ) AS holds,
    (
        SELECT json_agg(c)
        FROM charges AS c
        WHERE c.gateway_reference_id = ANY(ARRAY(SELECT id FROM named_references))
    ) AS charges,
    (
        SELECT json_agg(a)
        FROM adjustments AS a
        WHERE
            a.payment_id = ANY(ARRAY(SELECT id FROM named_payments))
            OR a.invoice_id = ANY(ARRAY(SELECT id FROM named_invoices))
    ) AS adjustments,
    (
        SELECT json_agg(d)
        FROM discrepancies AS d
        WHERE
            d.payment_id = ANY(ARRAY(SELECT id FROM named_payments))
            OR d.invoice_id = ANY(ARRAY(SELECT id FROM named_invoices))
    ) AS discrepancies;

-- name: discrepancies
-- Discrepancies by their ids.
SELECT json_agg(d)
FROM discrepancies AS d
WHERE d.id = ANY($1::text[]);

-- name: invoice_ids
SELECT id, regie, number AS name
FROM invoices
WHERE $1::text[] IS NULL OR regie = ANY($1);

-- name: payment_ids
SELECT id, regie, reference AS name
FROM payments
WHERE $1::text[] IS NULL OR regie = ANY($1);

-- name: reference_ids
-- A callback that was not believed leaves a reference that nobody owns: that is no fact.
SELECT r.id, r.regie, r.gateway_reference AS name
FROM gateway_references AS r
WHERE
    ($1::text[] IS NULL OR r.regie = ANY($1))
    AND (
        r.payment_id IS NOT NULL
        OR r.doubt
        OR EXISTS (SELECT FROM charges AS c WHERE c.gateway_reference_id = r.id)
    );

-- name: discrepancy_ids
SELECT id, regie, kind AS name
FROM discrepancies
WHERE $1::text[] IS NULL OR regie = ANY($1);

-- name: without_event
-- Outcomes, what waits, and lines of the journal whose event is gone or has no outcome.
SELECT 'outcomes' AS table, o.place, o.place AS id
FROM outcomes AS o
LEFT JOIN events AS e ON o.place = e.place
WHERE e.place IS NULL
UNION ALL
SELECT 'pending', w.place, w.place
FROM pending AS w
LEFT JOIN events AS e ON w.place = e.place
WHERE e.place IS NULL
UNION ALL
SELECT 'journal', j.place, j.id
FROM journal AS j
LEFT JOIN outcomes AS o ON j.place = o.place
WHERE o.place IS NULL;

-- name: without_outcome
-- Events that neither wait nor have an outcome, and those that do both.
SELECT e.place, e.regie, w.place IS NOT NULL AS waits
FROM events AS e
LEFT JOIN outcomes AS o ON e.place = o.place
LEFT JOIN pending AS w ON e.place = w.place
WHERE
    ($1::text[] IS NULL OR e.regie = ANY($1))
    AND (o.place IS NULL) = (w.place IS NULL);

-- name: waiting
-- Events that have no outcome yet.
SELECT
    e.place,
    e.client,
    e.source,
    e.id,
    e.type,
    e.regie,
    e.received_at,
    e.time,
    e.data,
    e.digest,
    e.trace,
    0 AS attempts,
    false AS waited
FROM events AS e
INNER JOIN pending AS w ON e.place = w.place
WHERE $1::text[] IS NULL OR e.regie = ANY($1);
