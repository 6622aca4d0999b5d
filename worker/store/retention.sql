-- What goes when its time is over, a few hundred rows at a time. Who blanks or removes is one at a time, by an advisory
-- lock; dossiers are locked as reconciling locks them (queries.sql), events after them, which nobody else ever locks.

-- name: one_at_a_time
-- Whoever finds another at it has nothing to do. Ends with the transaction.
SELECT pg_try_advisory_xact_lock(7233179, 0);

-- name: horizon
-- $1 months: what happened before is over, by this clock; and the same in the days of those who look at their invoices.
SELECT
    clock_timestamp() - make_interval(months => $1::integer) AS time,
    ((clock_timestamp() AT TIME ZONE 'Europe/Paris') - make_interval(months => $1::integer))::date AS day;

-- name: with_raw
-- $1 what was received before, $2 and $3 time and place of the last one seen, $4 how many: events whose raw bytes, and
-- callbacks whose words, are still there. `applied`: an event that waits may need them.
SELECT
    e.place, e.client, e.source, e.id, e.type, e.regie, e.received_at, e.time, e.trace, e.digest,
    CASE WHEN e.type = 'fr.lettrage.gateway.callback.v1' THEN e.data END AS data,
    sha256(e.raw) AS raw_digest,
    EXISTS (SELECT 1 FROM outcomes AS o WHERE o.place = e.place OFFSET 0) AS applied
FROM events AS e
WHERE
    e.blanking IS NULL
    AND (
        e.type = 'fr.lettrage.gateway.callback.v1' OR (e.type = 'fr.lettrage.gateway.report.v1' AND e.raw IS NOT NULL)
    )
    AND e.received_at < $1
    AND (e.received_at, e.place) > ($2, $3)
ORDER BY e.received_at, e.place
LIMIT $4;

-- name: personal
-- The same of facts in which something is personal: whose dossiers are to be looked at.
SELECT
    e.place, e.client, e.source, e.id, e.type, e.regie, e.received_at, e.data, e.time, e.trace,
    EXISTS (SELECT 1 FROM outcomes AS o WHERE o.place = e.place OFFSET 0) AS applied
FROM events AS e
WHERE
    e.blanking IS NULL
    AND e.type IN (
        'fr.lettrage.invoice.issued.v1',
        'fr.lettrage.invoice.withdrawn.v1',
        'fr.lettrage.payment.started.v1',
        'fr.lettrage.payment.refunded.v1',
        'fr.lettrage.payment.reversed.v1',
        'fr.lettrage.discrepancy.resolved.v1',
        'fr.lettrage.dossier.restored.v1'
    )
    AND e.received_at < $1
    AND (e.received_at, e.place) > ($2, $3)
ORDER BY e.received_at, e.place
LIMIT $4;

-- name: facts
-- $1 régies, $2 names, $3 places: every fact about an invoice, a payment, a gateway reference or a discrepancy of such a
-- name, and the events of these places, whatever became of them.
WITH about AS (
    SELECT e.place
    FROM (
        SELECT DISTINCT k.regie, k.name
        FROM
            ROWS FROM (json_array_elements_text($1::text::json), json_array_elements_text($2::text::json))
            AS k (regie, name)
    ) AS k
    INNER JOIN LATERAL (
        SELECT e.place
        FROM events AS e
        WHERE
            e.regie = k.regie
            AND coalesce(
                e.data ->> 'number', e.data ->> 'reference', e.data ->> 'gateway_reference', e.data ->> 'id'
            ) = k.name
            AND e.type <> 'fr.lettrage.gateway.callback.v1'
        OFFSET 0
    ) AS e ON true
    UNION
    SELECT unnest($3::text::bigint[])
)

SELECT
    e.place, e.client, e.source, e.id, e.type, e.regie, e.received_at, e.data, e.time, e.trace, e.digest,
    e.blanking IS NOT NULL AS blanked,
    sha256(e.raw) AS raw_digest,
    EXISTS (SELECT 1 FROM outcomes AS o WHERE o.place = e.place OFFSET 0) AS applied
FROM events AS e
WHERE e.place = ANY(ARRAY(SELECT place FROM about))
ORDER BY e.place;

-- name: awaited
-- $1 régies, $2 names: which of these something waits for: a callback that claims it, or a fact.
SELECT DISTINCT k.regie, k.name
FROM ROWS FROM (json_array_elements_text($1::text::json), json_array_elements_text($2::text::json)) AS k (regie, name)
INNER JOIN LATERAL (
    SELECT 1 FROM pending AS w WHERE w.regie = k.regie AND w.subject = k.name LIMIT 1
) AS w ON true;

-- name: lock_shown
-- $1 ids: discrepancies, locked last of all, by id.
SELECT id FROM discrepancies
WHERE id = ANY($1::text[])
ORDER BY id
FOR UPDATE;

-- name: blank_events
-- What is left of events (data NULL: all of it), and the event that says so. The digest of what they were stays.
UPDATE events AS e
SET
    data = coalesce(n.data, e.data),
    raw_digest = sha256(e.raw),
    raw = NULL,
    rest = decode(n.rest, 'base64'),
    blanking = n.blanking
FROM json_to_recordset($1::text::json) AS n (place bigint, data jsonb, rest text, blanking bigint)
WHERE e.place = n.place AND e.blanking IS NULL;

-- name: blank_invoices
UPDATE invoices AS i
SET account = n.account, label = n.label, document_url = n.document_url
FROM json_to_recordset($1::text::json) AS n (id bigint, account text, label text, document_url text)
WHERE i.id = n.id;

-- name: blank_discrepancies
UPDATE discrepancies AS d
SET comment = n.comment
FROM json_to_recordset($1::text::json) AS n (id text, comment text)
WHERE d.id = n.id;

-- name: told
-- $1 the last id seen, $2 how many to look at, $3 what was delivered and written before, $4 what was written before and
-- never arrived: locked, so that nobody has one of them sent again meanwhile.
WITH page AS MATERIALIZED (
    SELECT id, at
    FROM outbox
    WHERE id > $1
    ORDER BY id
    LIMIT $2
),

locked AS (
    SELECT o.id
    FROM outbox AS o
    WHERE
        o.id = ANY(
            ARRAY(
                SELECT p.id
                FROM page AS p
                LEFT JOIN LATERAL (
                    SELECT d.outbox_id FROM deliveries AS d WHERE d.outbox_id = p.id OFFSET 0
                ) AS d ON true
                WHERE CASE WHEN d.outbox_id IS NULL THEN p.at < $3::timestamptz ELSE p.at < $4::timestamptz END
            )
        )
    ORDER BY o.id
    FOR UPDATE SKIP LOCKED
)

SELECT
    (SELECT max(id) FROM page) AS last,
    (SELECT count(*) FROM page) AS looked_at,
    (SELECT coalesce(bool_or(at >= $3::timestamptz), false) FROM page) AS reached,
    ARRAY(SELECT id FROM locked)::text AS ids;

-- name: remove_notifications
DELETE FROM outbox WHERE id = ANY($1::text::bigint[]);

-- name: remove_deliveries
DELETE FROM deliveries WHERE outbox_id = ANY($1::text::bigint[]);

-- name: remove_attempts
DELETE FROM delivery_attempts WHERE outbox_id = ANY($1::text::bigint[]);

-- name: unknown_references
-- $1 called before, $2 how many: what gateways, or strangers, called about and no payment-started ever named. Whoever is at
-- one of them now keeps it.
SELECT r.id
FROM gateway_references AS r
WHERE
    r.id = ANY(
        ARRAY(
            SELECT a.gateway_reference_id
            FROM asks AS a
            WHERE a.due_at IS NULL AND a.called_at < $1
            ORDER BY a.called_at
            LIMIT $2
        )
    )
ORDER BY r.id
FOR UPDATE SKIP LOCKED;

-- name: remove_asks
-- Of these, locked: the notes of calls; of those that a payment owns by now too, for which they are past being of use.
DELETE FROM asks AS a
WHERE a.gateway_reference_id = ANY($1::text::bigint[]) AND a.due_at IS NULL AND a.called_at < $2;

-- name: remove_references
-- Of these, locked: what nothing is known of. Money without an owner keeps its reference.
DELETE FROM gateway_references AS r
WHERE
    r.id = ANY($1::text::bigint[])
    AND r.payment_id IS NULL
    AND NOT r.doubt
    AND NOT EXISTS (SELECT 1 FROM charges AS c WHERE c.gateway_reference_id = r.id OFFSET 0)
    AND NOT EXISTS (SELECT 1 FROM asks AS a WHERE a.gateway_reference_id = r.id OFFSET 0);

-- name: blank_replays
-- $1 finished before, $2 the last one seen, $3 how many, $4 what takes the place of who had it done and why.
WITH page AS MATERIALIZED (
    SELECT id
    FROM replays
    WHERE id > $2 AND finished_at < $1
    ORDER BY id
    LIMIT $3
),

blanked AS (
    UPDATE replays
    SET client = $4, comment = CASE WHEN comment IS NOT NULL THEN $4 END
    WHERE id = ANY(ARRAY(SELECT id FROM page)) AND client <> $4
    RETURNING id
)

SELECT (SELECT max(id) FROM page) AS last, (SELECT count(*) FROM page) AS looked_at, count(*) AS blanked
FROM blanked;
