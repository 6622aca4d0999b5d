-- Replays. Their own row is locked before anything else; then dossiers are locked as reconciling locks them (queries.sql).

-- name: create
-- $1 filter, $2 régies that the client reaches or NULL, $3 dry run, $4 comment, $5 client, $6 runner, $7 lease.
INSERT INTO replays (filter, regies, dry_run, comment, client, last_place, runner, leased_until)
SELECT
    $1::jsonb, $2::text[], $3, $4, $5,
    coalesce((SELECT max(place) FROM events), 0),
    $6, clock_timestamp() + $7::interval
RETURNING id;

-- name: matched
-- $1 the place to go on after, $2 the last place wanted, $3 ids, $4 since, $5 until, $6 régies, $7 type, $8 outcome (each
-- or NULL), $9 how many: applied events in the order of their places.
SELECT e.place
FROM events AS e
INNER JOIN LATERAL (SELECT o.outcome FROM outcomes AS o WHERE o.place = e.place OFFSET 0) AS o ON true
WHERE
    e.place > $1
    AND e.place <= $2
    AND ($3::text[] IS NULL OR e.id = ANY($3))
    AND ($4::timestamptz IS NULL OR e.received_at >= $4)
    AND ($5::timestamptz IS NULL OR e.received_at < $5)
    AND ($6::text[] IS NULL OR e.regie = ANY($6))
    AND ($7::text IS NULL OR e.type = $7)
    AND ($8::text IS NULL OR o.outcome = $8)
ORDER BY e.place
LIMIT $9;

-- name: matched_parked
-- The same of parked events, which have no outcome.
SELECT e.place
FROM pending AS w
INNER JOIN LATERAL (
    SELECT e.place, e.id, e.received_at, e.regie, e.type FROM events AS e WHERE e.place = w.place OFFSET 0
) AS e ON true
WHERE
    w.parked
    AND w.place > $1
    AND w.place <= $2
    AND ($3::text[] IS NULL OR e.id = ANY($3))
    AND ($4::timestamptz IS NULL OR e.received_at >= $4)
    AND ($5::timestamptz IS NULL OR e.received_at < $5)
    AND ($6::text[] IS NULL OR e.regie = ANY($6))
    AND ($7::text IS NULL OR e.type = $7)
    AND $8::text IS NULL
ORDER BY w.place
LIMIT $9;

-- name: count_matched
-- $1 at most so many, the rest as `matched` from $2 on: how many events match.
SELECT count(*)
FROM (
    SELECT 1
    FROM events AS e
    INNER JOIN LATERAL (SELECT o.outcome FROM outcomes AS o WHERE o.place = e.place OFFSET 0) AS o ON true
    WHERE
        e.place <= $2
        AND ($3::text[] IS NULL OR e.id = ANY($3))
        AND ($4::timestamptz IS NULL OR e.received_at >= $4)
        AND ($5::timestamptz IS NULL OR e.received_at < $5)
        AND ($6::text[] IS NULL OR e.regie = ANY($6))
        AND ($7::text IS NULL OR e.type = $7)
        AND ($8::text IS NULL OR o.outcome = $8)
    LIMIT $1
) AS matching;

-- name: count_parked
-- The same of parked events.
SELECT count(*)
FROM (
    SELECT 1
    FROM pending AS w
    INNER JOIN LATERAL (
        SELECT e.place, e.id, e.received_at, e.regie, e.type FROM events AS e WHERE e.place = w.place OFFSET 0
    ) AS e ON true
    WHERE
        w.parked
        AND w.place <= $2
        AND ($3::text[] IS NULL OR e.id = ANY($3))
        AND ($4::timestamptz IS NULL OR e.received_at >= $4)
        AND ($5::timestamptz IS NULL OR e.received_at < $5)
        AND ($6::text[] IS NULL OR e.regie = ANY($6))
        AND ($7::text IS NULL OR e.type = $7)
        AND $8::text IS NULL
    LIMIT $1
) AS matching;

-- name: last_place
SELECT coalesce(max(place), 0) FROM events;

-- name: take_time
-- A filter may look at every event before it finds one.
SELECT set_config('statement_timeout', '600000', true);

-- name: hurry
-- What locks rows is as quick as ever.
SELECT set_config('statement_timeout', '12000', true);

-- name: set_matched
UPDATE replays SET matched = $2 WHERE id = $1;

-- name: claim
-- $1 runner, $2 lease: take a replay that nobody runs, the oldest, or go on with one's own. NULL: there is none.
UPDATE replays
SET runner = $1, leased_until = clock_timestamp() + $2::interval
WHERE
    id = (
        SELECT r.id
        FROM replays AS r
        WHERE r.state = 'running' AND (r.runner = $1 OR r.leased_until <= clock_timestamp())
        ORDER BY r.id
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
RETURNING id;

-- name: hold
-- $1 id, $2 runner, $3 lease: lock a replay for one batch, and keep it. No row: it is done, or another runs it.
UPDATE replays
SET leased_until = clock_timestamp() + $3::interval
WHERE id = $1 AND runner = $2 AND state = 'running'
RETURNING id, filter, regies, dry_run, comment, client, last_place, cursor_place;

-- name: leave
-- $1 id, $2 runner: let another go on with it at once.
UPDATE replays SET leased_until = '-infinity' WHERE id = $1 AND runner = $2;

-- name: move_on
-- $1 id, $2 the cursor, $3 events replayed, $4 dossiers that failed, $5 lines of the table
-- replay_changes to add, $6 lease.
WITH added AS (
    INSERT INTO replay_changes (replay_id, subject, change)
    SELECT $1, n.subject, n.change
    FROM
        ROWS FROM (json_to_recordset($5::text::json) AS (subject text, change jsonb)) WITH ORDINALITY
        AS n (subject, change, nth)
    ORDER BY n.nth
    ON CONFLICT (replay_id, subject) DO NOTHING
    RETURNING 1
)

UPDATE replays
SET
    cursor_place = $2,
    replayed = replayed + $3,
    failed = failed + $4,
    changed = changed + (SELECT count(*) FROM added),
    leased_until = clock_timestamp() + $6::interval
WHERE id = $1;

-- name: finish
UPDATE replays
SET state = 'done', finished_at = clock_timestamp(), matched = replayed
WHERE id = $1;

-- name: named_by
-- $1 places: facts, and of callbacks the reports that speak for them.
SELECT e.place, e.client, e.source, e.id, e.type, e.regie, e.received_at, e.data, e.time, e.trace
FROM events AS e
WHERE e.place = ANY($1::text::bigint[]) AND e.type <> 'fr.lettrage.gateway.callback.v1'
UNION ALL
SELECT r.place, r.client, r.source, r.id, r.type, r.regie, r.received_at, r.data, r.time, r.trace
FROM events AS e
INNER JOIN LATERAL (
    SELECT *
    FROM events AS r
    WHERE
        r.client = 'lettrage'
        AND r.source = e.source || CASE e.client WHEN '' THEN '' ELSE '#' || e.client END
        AND r.id = e.id
        AND r.type = 'fr.lettrage.gateway.report.v1'
    OFFSET 0
) AS r ON true
WHERE e.place = ANY($1::text::bigint[]) AND e.type = 'fr.lettrage.gateway.callback.v1';

-- name: facts
-- $1 régies, $2 names: every fact about an invoice, a payment, a gateway reference or a discrepancy of that name that was
-- applied, in the order of application, with what was true then.
SELECT
    e.place, e.client, e.source, e.id, e.type, e.regie, e.received_at, e.data, e.time, e.trace,
    o.decided_at, o.policy_version
FROM (
    SELECT DISTINCT k.regie, k.name
    FROM ROWS FROM (json_array_elements_text($1::text::json), json_array_elements_text($2::text::json)) AS k (regie, name)
) AS k
INNER JOIN LATERAL (
    SELECT e.place, e.client, e.source, e.id, e.type, e.regie, e.received_at, e.data, e.time, e.trace
    FROM events AS e
    WHERE
        e.regie = k.regie
        AND coalesce(
            e.data ->> 'number', e.data ->> 'reference', e.data ->> 'gateway_reference', e.data ->> 'id'
        ) = k.name
        AND e.type <> 'fr.lettrage.gateway.callback.v1'
    OFFSET 0
) AS e ON true
INNER JOIN LATERAL (
    SELECT o.applied_seq, o.decided_at, o.policy_version FROM outcomes AS o WHERE o.place = e.place OFFSET 0
) AS o ON true
ORDER BY o.applied_seq;

-- name: payers_journalled
-- $1 invoice ids: references of the payments that ever changed these invoices. The journal never forgets, should a line.
SELECT DISTINCT p.regie, p.reference
FROM unnest($1::text::bigint[]) AS i (id)
INNER JOIN LATERAL (
    SELECT j.payment_id FROM journal AS j WHERE j.invoice_id = i.id AND j.payment_id IS NOT NULL OFFSET 0
) AS j ON true
INNER JOIN LATERAL (SELECT p.regie, p.reference FROM payments AS p WHERE p.id = j.payment_id OFFSET 0) AS p ON true;

-- name: timers
-- $1 payment ids: their holds as they are written.
SELECT payment_id, payable_again_at FROM holds WHERE payment_id = ANY($1::text::bigint[]);

-- name: policies
-- $1 régies: every version of what they chose.
SELECT json_agg(p) FROM policies AS p WHERE p.regie = ANY($1::text[]);

-- name: lock_shown
-- $1 ids: discrepancies, locked last of all, by id.
WITH locked AS (
    SELECT d.* FROM discrepancies AS d WHERE d.id = ANY($1::text[]) ORDER BY d.id FOR UPDATE
)

SELECT json_agg(locked) FROM locked;

-- name: drop_lines
DELETE FROM payment_lines WHERE payment_id = ANY($1::bigint[]);

-- name: drop_charges
DELETE FROM charges AS c
USING unnest($1::bigint[], $2::text[]) AS k (gateway_reference_id, transaction_id)
WHERE c.gateway_reference_id = k.gateway_reference_id AND c.transaction_id = k.transaction_id;

-- name: drop_adjustments
DELETE FROM adjustments AS a
USING unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS k (kind, fact_id, invoice_id, payment_id)
WHERE
    a.kind = k.kind
    AND a.fact_id = k.fact_id
    AND a.invoice_id IS NOT DISTINCT FROM k.invoice_id
    AND a.payment_id IS NOT DISTINCT FROM k.payment_id;

-- name: unpark
-- $1 replay, $2 places: give parked events back to the workers, as if they had not been tried.
WITH given AS (
    UPDATE pending
    SET parked = false, attempts = 0, leased_until = '-infinity', asking = false
    WHERE place = ANY($2::text::bigint[]) AND parked
    RETURNING place, queue
),

kept AS (
    INSERT INTO replay_parked (replay_id, place)
    SELECT $1, place FROM given
)

SELECT DISTINCT queue FROM given;

-- name: parked_outcomes
-- $1 replay: what became of the events that it gave back.
SELECT
    coalesce(o.outcome, CASE WHEN w.parked THEN 'parked' ELSE 'waiting' END) AS outcome,
    count(*) AS events
FROM replay_parked AS r
LEFT JOIN outcomes AS o ON o.place = r.place
LEFT JOIN pending AS w ON w.place = r.place
WHERE r.replay_id = $1
GROUP BY 1;

-- name: parked_changes
-- $1 replay: what the events that it gave back, or their reports, changed.
WITH given AS (
    SELECT e.place, e.client, e.source, e.id
    FROM replay_parked AS r
    INNER JOIN events AS e ON e.place = r.place
    WHERE r.replay_id = $1
),

told AS (
    SELECT place FROM given
    UNION ALL
    SELECT r.place
    FROM given AS g
    INNER JOIN events AS r ON
        r.client = 'lettrage'
        AND r.source = g.source || CASE g.client WHEN '' THEN '' ELSE '#' || g.client END
        AND r.id = g.id
)

SELECT j.id, j.regie, i.number AS invoice, p.reference AS payment, j.before, j.after, j.reason
FROM journal AS j
LEFT JOIN invoices AS i ON i.id = j.invoice_id
LEFT JOIN payments AS p ON p.id = j.payment_id
WHERE j.place = ANY(ARRAY(SELECT place FROM told))
ORDER BY j.id;

-- name: replay
-- $1 id: a replay as it stands.
SELECT
    r.id, r.state, r.filter, r.regies, r.dry_run, r.comment, r.client, r.created_at, r.finished_at, r.matched,
    r.replayed, r.changed, r.failed
FROM replays AS r
WHERE r.id = $1;

-- name: changes
-- $1 replay, $2 how many: what it put right, or would have.
SELECT c.change FROM replay_changes AS c WHERE c.replay_id = $1 ORDER BY c.id LIMIT $2;
