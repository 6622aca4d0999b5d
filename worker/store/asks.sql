-- The statements of asking gateways. A row of `asks` is locked after the gateway reference that it is about, and never
-- waited for by who claims one: locks keep the order of queries.sql.

-- name: wait_for_asks
-- Let callbacks wait for the answer of a gateway: longer than any ask takes, and again should nobody bring it. One that
-- waited before is not at fault for that, and need not be claimed alone, which would keep everybody behind it; one whose
-- answer could not be applied keeps the count of its attempts. Its answer will be looked for by the reference that was
-- read here with the régie's keys: whoever took it in may have known the régie with another gateway.
WITH mine AS (
    SELECT place
    FROM pending
    WHERE place = ANY($1::bigint[])
    ORDER BY place
    FOR UPDATE
)

UPDATE pending AS p
SET
    asking = true,
    subject = c.reference,
    attempts = CASE WHEN p.asking THEN least(p.attempts, 1) ELSE p.attempts END,
    leased_until = clock_timestamp() + $3::interval
FROM unnest($1::bigint[], $2::text[]) AS c (place, reference)
WHERE p.place = ANY(ARRAY(SELECT place FROM mine)) AND p.place = c.place;

-- name: note_calls
-- A gateway called about these references (locked): ask at once where somebody owns one, else when somebody will.
INSERT INTO asks (gateway_reference_id, regie, gateway_reference, called_at, due_at)
SELECT
    r.id, r.regie, r.gateway_reference, clock_timestamp(),
    CASE WHEN r.payment_id IS NOT NULL THEN clock_timestamp() END
FROM gateway_references AS r
WHERE r.id = ANY($1::bigint[])
ORDER BY r.id
ON CONFLICT (gateway_reference_id) DO UPDATE
SET called_at = excluded.called_at, due_at = least(asks.due_at, excluded.due_at);

-- name: claim_asks
-- Take asks that are due, oldest first, for as long as one may take. Whoever dies over one, or cannot have its answer
-- applied, leaves it to the next: after an eighth of its age, a lease at least and five minutes at most.
WITH due AS (
    SELECT gateway_reference_id
    FROM asks
    WHERE
        regie = ANY($1::text[])
        AND due_at <= statement_timestamp()
        AND leased_until <= statement_timestamp()
    ORDER BY due_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),

taken AS (
    UPDATE asks AS a
    SET
        asked_at = clock_timestamp(),
        leased_until = clock_timestamp() + $3::interval,
        due_at = clock_timestamp()
        + least(greatest((clock_timestamp() - a.born_at) / 8, $3::interval), interval '5 minutes')
    WHERE a.gateway_reference_id = ANY(ARRAY(SELECT gateway_reference_id FROM due))
    RETURNING a.gateway_reference_id, a.regie, a.gateway_reference, a.asked_at, a.born_at
)

SELECT
    t.gateway_reference_id, t.regie, t.gateway_reference, t.asked_at, p.reference AS payment, e.trace,
    extract(EPOCH FROM t.asked_at - coalesce(t.born_at, p.start_time, t.asked_at))::float8 AS age_seconds
FROM taken AS t
INNER JOIN gateway_references AS r ON t.gateway_reference_id = r.id
LEFT JOIN payments AS p ON r.payment_id = p.id
LEFT JOIN events AS e ON p.start_place = e.place;

-- name: called_back
-- The callbacks that wait for these asks: received before the gateway was asked, so that its answer speaks for them.
SELECT
    k.nth, e.place, e.client, e.source, e.id, e.type, e.regie, e.received_at, e.data, e.time, w.attempts, w.waited,
    e.trace
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) WITH ORDINALITY AS k (regie, name, asked_at, nth)
INNER JOIN LATERAL (
    SELECT x.place, x.attempts, x.waited
    FROM pending AS x
    WHERE x.regie = k.regie AND x.subject = k.name AND x.asking AND NOT x.parked
    OFFSET 0
) AS w ON true
INNER JOIN events AS e ON w.place = e.place
WHERE e.received_at <= k.asked_at
ORDER BY e.place;

-- name: save_asks
-- Plan the next ask: at once, when the gateway called after it was asked.
INSERT INTO asks (gateway_reference_id, regie, gateway_reference, due_at, born_at)
SELECT n.gateway_reference_id, n.regie, n.gateway_reference, n.due_at, n.born_at
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[])
    AS n (gateway_reference_id, regie, gateway_reference, due_at, born_at)
ORDER BY n.gateway_reference_id
ON CONFLICT (gateway_reference_id) DO UPDATE
SET
    born_at = coalesce(asks.born_at, excluded.born_at),
    leased_until = '-infinity',
    due_at = CASE
        WHEN asks.called_at > coalesce(asks.asked_at, '-infinity') THEN clock_timestamp()
        ELSE excluded.due_at
    END;

-- name: end_asks
-- Forget what needs no more asking, unless the gateway called meanwhile.
DELETE FROM asks
WHERE gateway_reference_id = ANY($1::bigint[]) AND due_at IS NULL;

-- name: asks_waiting
-- Whether an ask is due that nobody took for a while.
SELECT EXISTS (
    SELECT 1
    FROM asks
    WHERE
        regie = ANY($1::text[])
        AND due_at <= statement_timestamp() - $2::interval
        AND leased_until <= statement_timestamp()
);
