-- State gauges: what a scrape shows of the database. Each statement reads one snapshot and changes nothing.
-- `invoices`, `payments`, `oldest_holds` and `lost` read a whole table, or much of one: they are counted beside the
-- scrapes, seldom enough to cost little (monitoring/state.py). The others cost as much as there is to be told.

-- name: pending
-- Pending events by type, and since when the oldest waits. Places follow the order received.
SELECT p.type, p.waiting, extract(epoch FROM clock_timestamp() - e.received_at)::float8 AS oldest_seconds
FROM (
    SELECT type, count(*) AS waiting, min(place) AS oldest
    FROM pending
    WHERE NOT parked
    GROUP BY type
) AS p
JOIN events AS e ON e.place = p.oldest;

-- name: parked
-- Events that failed too often.
SELECT count(*) AS parked
FROM pending
WHERE parked;

-- name: invoices
-- Every régie's invoices by state, with what they amount to.
SELECT r.code AS regie, i.state, i.invoices, i.cents
FROM regies AS r
LEFT JOIN (
    SELECT regie, state, count(*) AS invoices, sum(amount_cents)::bigint AS cents
    FROM invoices
    WHERE state IS NOT NULL
    GROUP BY regie, state
) AS i ON i.regie = r.code;

-- name: payments
-- What each régie's payments received and gave back, and how many were paid after their hold's end.
SELECT
    r.code AS regie,
    coalesce(p.paid_cents, 0) AS paid_cents,
    coalesce(p.refunded_cents, 0) AS refunded_cents,
    coalesce(p.late, 0) AS late
FROM regies AS r
LEFT JOIN (
    SELECT
        regie,
        sum(received_cents)::bigint AS paid_cents,
        sum(refunded_cents)::bigint AS refunded_cents,
        count(*) FILTER (WHERE late) AS late
    FROM payments
    GROUP BY regie
) AS p ON p.regie = r.code;

-- name: oldest_holds
-- The age of each régie's oldest hold.
SELECT
    r.code AS regie,
    coalesce(greatest(extract(epoch FROM clock_timestamp() - h.oldest), 0), 0)::float8 AS oldest_seconds
FROM regies AS r
LEFT JOIN (
    SELECT p.regie, min(p.start_time) AS oldest
    FROM holds AS t
    JOIN payments AS p ON p.id = t.payment_id
    GROUP BY p.regie
) AS h ON h.regie = r.code;

-- name: overdue
-- Every régie's holds that are over and not written so, and for how long the first of them. Only these are looked up.
SELECT
    r.code AS regie,
    coalesce(h.overdue, 0) AS overdue,
    coalesce(extract(epoch FROM clock_timestamp() - h.oldest), 0)::float8 AS oldest_seconds
FROM regies AS r
LEFT JOIN (
    SELECT p.regie, count(*) AS overdue, min(t.payable_again_at) AS oldest
    FROM holds AS t
    JOIN LATERAL (SELECT y.regie FROM payments AS y WHERE y.id = t.payment_id OFFSET 0) AS p ON true
    WHERE t.payable_again_at <= statement_timestamp()
    GROUP BY p.regie
) AS h ON h.regie = r.code;

-- name: undelivered
-- Every régie's notifications that are not delivered, by what became of them, how old the oldest is that still waits, and
-- whether its portal wants any. An attempt under way has not failed.
SELECT
    r.code AS regie,
    coalesce(d.waiting, 0) AS waiting,
    coalesce(d.failing, 0) AS failing,
    coalesce(d.given_up, 0) AS given_up,
    coalesce(
        greatest(
            extract(epoch FROM clock_timestamp() - (SELECT o.at FROM outbox AS o WHERE o.id = d.oldest)), 0
        ),
        0
    )::float8 AS oldest_seconds,
    (p.disabled_for IS NOT NULL)::integer AS disabled
FROM regies AS r
LEFT JOIN (
    SELECT
        regie,
        count(*) FILTER (WHERE NOT given_up AND NOT failed) AS waiting,
        count(*) FILTER (WHERE NOT given_up AND failed) AS failing,
        count(*) FILTER (WHERE given_up) AS given_up,
        min(outbox_id) FILTER (WHERE NOT given_up) AS oldest
    FROM (
        SELECT
            regie, outbox_id, given_up,
            attempts > (leased_until > clock_timestamp())::integer AS failed
        FROM deliveries
    ) AS x
    GROUP BY regie
) AS d ON d.regie = r.code
LEFT JOIN portals AS p ON p.regie = r.code;

-- name: discrepancies
-- Every régie's open discrepancies by kind, with what they amount to.
SELECT r.code AS regie, d.kind, d.discrepancies, d.cents
FROM regies AS r
LEFT JOIN (
    SELECT regie, kind, count(*) AS discrepancies, sum(amount_cents)::bigint AS cents
    FROM discrepancies
    WHERE state = 'open'
    GROUP BY regie, kind
) AS d ON d.regie = r.code;

-- name: oldest_discrepancies
-- How long each régie's oldest open discrepancy has been open: the first of an index.
SELECT
    r.code AS regie,
    coalesce(
        extract(
            epoch FROM clock_timestamp() - (
                SELECT d.opened_at
                FROM discrepancies AS d
                WHERE d.regie = r.code AND d.state = 'open'
                ORDER BY d.opened_at, d.id
                LIMIT 1
            )
        ),
        0
    )::float8 AS oldest_seconds
FROM regies AS r;

-- name: processes
-- How many connections each kind of our processes has, on every machine.
SELECT substr(application_name, length('lettrage ') + 1) AS role, count(*) AS connections
FROM pg_stat_activity
WHERE datname = current_database() AND application_name IN ('lettrage web', 'lettrage worker', 'lettrage clock')
GROUP BY application_name;

-- name: unsealed
-- How long the oldest of what was applied has waited for its seal: the first of an index after where the chains end.
SELECT coalesce(extract(epoch FROM clock_timestamp() - (
    SELECT o.decided_at
    FROM outcomes AS o
    WHERE o.applied_seq > (SELECT coalesce(max(c.last_seq), 0) FROM chains AS c)
    ORDER BY o.applied_seq
    LIMIT 1
)), 0)::float8 AS oldest_seconds;

-- name: lost
-- Of the latest 100,000 events, those with neither an outcome nor a place among the pending ones: there is never one.
SELECT count(*) AS lost
FROM events AS e
WHERE
    e.place > (SELECT max(place) FROM events) - 100000
    AND NOT EXISTS (SELECT 1 FROM outcomes AS o WHERE o.place = e.place)
    AND NOT EXISTS (SELECT 1 FROM pending AS p WHERE p.place = e.place);
