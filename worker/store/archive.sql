-- name: archive
-- $1 régie or NULL, $2 type or NULL, $3 parked ones only, $4 the place to go on after, $5 the last place wanted, $6 how
-- many: events with all that was stored of them, in the order of their places.
SELECT
    e.place, e.client, e.source, e.id, e.type, e.regie, e.time, e.received_at, e.data, e.raw, e.trace,
    CASE WHEN e.blanking IS NOT NULL THEN e.digest END AS blanked,
    o.outcome, o.reason, o.decided_at,
    w.attempts, w.parked, w.error
FROM events AS e
LEFT JOIN outcomes AS o ON o.place = e.place
LEFT JOIN pending AS w ON w.place = e.place
WHERE
    e.place > $4
    AND e.place <= $5
    AND ($1::text IS NULL OR e.regie = $1)
    AND ($2::text IS NULL OR e.type = $2)
    AND (NOT $3::boolean OR w.parked)
ORDER BY e.place
LIMIT $6;
