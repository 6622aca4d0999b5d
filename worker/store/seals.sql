-- Sealing: what was applied is chained, in the order of application. Docs: docs/journal.md.
-- Times are whole microseconds since 1970; the columns of `event` and `application` are hashed in their order.

-- name: last_number
-- The last number given to an application, committed or not.
SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM outcomes_applied_seq_seq;

-- name: transaction
-- This transaction's own number: whoever was given a number in the order of application before had one before, too.
SELECT pg_current_xact_id()::text;

-- name: one_sealer
-- One sealer at a time; whoever finds another at it has nothing to do. Ends with the transaction.
SELECT pg_try_advisory_xact_lock(7233178, 0);

-- name: is_settled
-- Whether every transaction older than that one has ended: what it committed is seen from now on.
SELECT pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8;

-- name: sealed_to
-- The last application that is sealed; a batch is sealed for all régies at once.
SELECT coalesce(max(last_seq), 0) FROM chains;

-- name: unsealed
-- The next events to seal, after $1 and up to $2.
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
    o.policy_version
FROM outcomes AS o
INNER JOIN events AS e ON o.place = e.place
WHERE o.applied_seq > $1 AND o.applied_seq <= $2
ORDER BY o.applied_seq
LIMIT $3;

-- name: changes
-- What events wrote into the journal.
SELECT
    place,
    id,
    invoice_id,
    payment_id,
    (extract(EPOCH FROM at) * 1000000)::bigint AS at,
    before,
    after,
    reason
FROM journal
WHERE place = ANY($1::bigint[])
ORDER BY id;

-- name: chains
-- Where these régies' chains end.
SELECT regie, length, head
FROM chains
WHERE regie = ANY($1::text[]);

-- name: now
SELECT (extract(EPOCH FROM clock_timestamp()) * 1000000)::bigint;

-- name: seal
INSERT INTO seals (regie, number, sealed_at, last_seq, places, events, applications, previous, hash)
VALUES ($1, $2, timestamptz 'epoch' + $3::bigint * interval '1 microsecond', $4, $5, $6, $7, $8, $9);

-- name: lengthen
INSERT INTO chains (regie, length, head, last_seq)
VALUES ($1, $2, $3, $4)
ON CONFLICT (regie) DO UPDATE
SET length = excluded.length, head = excluded.head, last_seq = excluded.last_seq;
