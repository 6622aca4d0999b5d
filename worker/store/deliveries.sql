-- The statements of telling portals. A row of `deliveries` is locked by who claims it, who says how that ended, and who
-- has it sent again; the first never waits for the others.

-- name: claim_deliveries
-- Take what is due, oldest first, as much as each portal has room for, and of one subject only the first that is not
-- delivered. A portal that is left alone, or answered 410 at this address, gets nothing. Each comes with the event that it
-- tells of, and its trace: where that has none, as an end of a hold, the one that its payment's start came with.
WITH due AS (
    SELECT d.outbox_id
    FROM unnest($1::text[], $2::text[], $3::integer[]) AS k (regie, target, room)
    INNER JOIN LATERAL (
        SELECT x.outbox_id
        FROM deliveries AS x
        WHERE
            x.regie = k.regie
            AND NOT x.given_up
            AND x.due_at <= statement_timestamp()
            AND x.leased_until <= statement_timestamp()
            AND NOT EXISTS (
                SELECT 1
                FROM deliveries AS e
                WHERE e.regie = x.regie AND e.subject = x.subject AND e.outbox_id < x.outbox_id AND NOT e.given_up
            )
        ORDER BY x.due_at, x.outbox_id
        LIMIT k.room
        FOR UPDATE SKIP LOCKED
    ) AS d ON true
    WHERE NOT EXISTS (
        SELECT 1
        FROM portals AS p
        WHERE p.regie = k.regie AND (p.paused_until > statement_timestamp() OR p.disabled_for = k.target)
    )
),

taken AS (
    UPDATE deliveries AS d
    SET
        attempts = d.attempts + 1,
        leased_until = clock_timestamp() + $4::interval,
        tried_at = coalesce(d.tried_at, clock_timestamp())
    WHERE d.outbox_id = ANY(ARRAY(SELECT outbox_id FROM due))
    RETURNING d.outbox_id, d.attempts, d.own_failures
)

SELECT o.id, o.regie, o.type, o.at, o.data, t.attempts, t.own_failures, e.id AS event_id, coalesce(e.trace, s.trace) AS trace
FROM taken AS t
INNER JOIN LATERAL (
    SELECT x.id, x.regie, x.type, x.at, x.data, x.place FROM outbox AS x WHERE x.id = t.outbox_id OFFSET 0
) AS o ON true
LEFT JOIN LATERAL (SELECT x.id, x.trace FROM events AS x WHERE x.place = o.place OFFSET 0) AS e ON true
LEFT JOIN LATERAL (
    SELECT x.trace
    FROM payments AS p
    INNER JOIN LATERAL (SELECT y.trace FROM events AS y WHERE y.place = p.start_place OFFSET 0) AS x ON true
    WHERE e.trace IS NULL AND p.regie = o.regie AND p.reference = o.data ->> 'payment'
    OFFSET 0
) AS s ON true;

-- name: deliveries_waiting
-- Whether something is due at one of these portals that nobody took for a while.
SELECT EXISTS (
    SELECT 1
    FROM unnest($1::text[], $2::text[]) AS k (regie, target)
    INNER JOIN LATERAL (
        SELECT x.outbox_id
        FROM deliveries AS x
        WHERE
            x.regie = k.regie
            AND NOT x.given_up
            AND x.due_at <= statement_timestamp() - $3::interval
            AND x.leased_until <= statement_timestamp()
            AND NOT EXISTS (
                SELECT 1
                FROM deliveries AS e
                WHERE e.regie = x.regie AND e.subject = x.subject AND e.outbox_id < x.outbox_id AND NOT e.given_up
            )
        LIMIT 1
    ) AS d ON true
    WHERE NOT EXISTS (
        SELECT 1
        FROM portals AS p
        WHERE p.regie = k.regie AND (p.paused_until > statement_timestamp() OR p.disabled_for = k.target)
    )
);

-- name: keep_attempts
INSERT INTO delivery_attempts (outbox_id, outcome, status, error, milliseconds)
SELECT n.outbox_id, n.outcome, n.status, n.error, n.milliseconds
FROM unnest($1::bigint[], $2::text[], $3::smallint[], $4::text[], $5::integer[])
    AS n (outbox_id, outcome, status, error, milliseconds);

-- name: end_deliveries
-- Delivered: whoever else may be sending it, its portal has it. What followed it waits for nothing now.
WITH ended AS (
    DELETE FROM deliveries
    WHERE outbox_id = ANY($1::bigint[])
    RETURNING regie, subject
)

UPDATE deliveries AS f
SET due_at = clock_timestamp()
FROM ended AS e
WHERE
    f.regie = e.regie
    AND f.subject = e.subject
    AND f.outbox_id <> ALL($1::bigint[])
    AND NOT f.given_up
    AND f.due_at > clock_timestamp();

-- name: retry_deliveries
-- Not delivered: again later, or given up; unless another process has taken it meanwhile. What a portal does that is down
-- says nothing about a notification: its pauses grow no longer for that.
UPDATE deliveries AS d
SET
    leased_until = '-infinity',
    due_at = clock_timestamp() + n.pause_seconds * interval '1 second',
    own_failures = d.own_failures
    + (coalesce((SELECT p.failures FROM portals AS p WHERE p.regie = d.regie), 0) < $5::integer)::integer,
    given_up = d.tried_at < clock_timestamp() - $4::interval
FROM unnest($1::bigint[], $2::integer[], $3::float8[]) AS n (outbox_id, attempts, pause_seconds)
WHERE d.outbox_id = n.outbox_id AND d.attempts = n.attempts;

-- name: put_off_followers
-- What comes after a notification that was not delivered waits as long as it, so that no claim looks at it meanwhile.
UPDATE deliveries AS f
SET due_at = d.due_at
FROM deliveries AS d
WHERE
    d.outbox_id = ANY($1::bigint[])
    AND NOT d.given_up
    AND f.regie = d.regie
    AND f.subject = d.subject
    AND f.outbox_id > d.outbox_id
    AND NOT f.given_up
    AND f.due_at < d.due_at;

-- name: portals_failed
-- Count failures in a row. Many in a row: leave it alone for a
-- while, so that one that is down costs a try a minute and not one for each notification.
INSERT INTO portals AS p (regie, failures, paused_until, disabled_for)
SELECT n.regie, n.failures, clock_timestamp() + n.wish_seconds * interval '1 second', n.disabled_for
FROM unnest($1::text[], $2::integer[], $3::float8[], $4::text[]) AS n (regie, failures, wish_seconds, disabled_for)
ORDER BY n.regie
ON CONFLICT (regie) DO UPDATE
SET
    failures = p.failures + excluded.failures,
    disabled_for = coalesce(excluded.disabled_for, p.disabled_for),
    paused_until = greatest(
        p.paused_until,
        excluded.paused_until,
        CASE
            WHEN p.failures + excluded.failures >= $5::integer
                THEN clock_timestamp() + least(
                    power(2, least(p.failures + excluded.failures - $5::integer, 10)) * 5, $6::float8
                ) * interval '1 second'
        END
    );

-- name: portals_answered
-- These delivered something, so they want to be told; answers those that were down, of which much may have been put off.
WITH before AS (
    SELECT regie, failures
    FROM portals
    WHERE regie = ANY($1::text[]) AND (failures > 0 OR disabled_for IS NOT NULL)
    ORDER BY regie
    FOR UPDATE
),

reset AS (
    UPDATE portals AS p
    SET failures = 0, disabled_for = NULL
    WHERE p.regie = ANY(ARRAY(SELECT regie FROM before))
)

SELECT regie FROM before
WHERE failures >= $2;

-- name: recall_deliveries
-- A portal is back: what was put off while it was not is due, in its order. What it refuses again and again while it takes
-- others keeps its own pace; what another is writing is left to it.
WITH put_off AS (
    SELECT outbox_id
    FROM deliveries
    WHERE regie = ANY($1::text[]) AND NOT given_up AND own_failures <= $2::integer AND due_at > clock_timestamp()
    ORDER BY outbox_id
    FOR UPDATE SKIP LOCKED
)

UPDATE deliveries
SET due_at = clock_timestamp()
WHERE outbox_id IN (SELECT outbox_id FROM put_off);

-- name: chosen
-- How many notifications a resend would send: by id, any; of a régie, those that were not delivered.
SELECT count(*)
FROM outbox AS o
LEFT JOIN deliveries AS d ON d.outbox_id = o.id
WHERE
    ($1::bigint[] IS NULL OR o.id = ANY($1::bigint[]))
    AND ($2::text[] IS NULL OR o.regie = ANY($2::text[]))
    AND ($1::bigint[] IS NOT NULL OR d.outbox_id IS NOT NULL);

-- name: resend
-- Have notifications sent again, at once, as if never tried.
INSERT INTO deliveries AS d (outbox_id, regie, subject, due_at)
SELECT
    o.id, o.regie, coalesce('invoice ' || (o.data ->> 'number'), 'discrepancy ' || (o.data ->> 'id'), ''),
    clock_timestamp()
FROM outbox AS o
WHERE
    o.id = ANY(
        coalesce($1::bigint[], ARRAY(SELECT x.outbox_id FROM deliveries AS x WHERE x.regie = ANY($2::text[])))
    )
    AND ($2::text[] IS NULL OR o.regie = ANY($2::text[]))
ORDER BY o.id
FOR KEY SHARE OF o  -- or its time may be over at this very moment, and nothing be left to send
ON CONFLICT (outbox_id) DO UPDATE
SET due_at = excluded.due_at, attempts = 0, own_failures = 0, tried_at = NULL, given_up = false
RETURNING d.regie;

-- name: enable_portals
UPDATE portals
SET failures = 0, paused_until = '-infinity', disabled_for = NULL
WHERE regie = ANY($1::text[]);

-- name: notifications
-- The outbox, newest first, with what became of each. An attempt under way has not failed. `unsent`: written by a version
-- that sent nothing.
SELECT
    n.id, n.regie, n.type, n.at, n.data, n.state,
    CASE WHEN n.state IN ('waiting', 'failing') THEN n.due_at END AS next_attempt_at,
    (
        SELECT json_agg(
            json_build_object(
                'at', a.at, 'outcome', a.outcome, 'status', a.status, 'error', a.error, 'milliseconds', a.milliseconds
            )
            ORDER BY a.at
        )
        FROM delivery_attempts AS a
        WHERE a.outbox_id = n.id
    )::text AS attempts
FROM (
    SELECT
        o.id, o.regie, o.type, o.at, o.data, d.due_at,
        CASE
            WHEN d.given_up THEN 'given_up'
            WHEN d.attempts > (d.leased_until > clock_timestamp())::integer THEN 'failing'
            WHEN d.attempts >= 0 THEN 'waiting'
            WHEN EXISTS (SELECT 1 FROM delivery_attempts AS a WHERE a.outbox_id = o.id) THEN 'delivered'
            ELSE 'unsent'
        END AS state
    FROM outbox AS o
    LEFT JOIN deliveries AS d ON d.outbox_id = o.id
    WHERE ($1::text[] IS NULL OR o.regie = ANY($1::text[])) AND ($3::bigint IS NULL OR o.id < $3::bigint)
) AS n
WHERE $2::text IS NULL OR n.state = $2::text
ORDER BY n.id DESC
LIMIT $4;
