-- State gauges: what a scrape shows of the database. Each statement reads one snapshot and changes nothing.

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

-- name: holds
-- Every régie's holds that are over and not written so, and the age of its oldest one.
SELECT
    r.code AS regie,
    coalesce(h.overdue, 0) AS overdue,
    coalesce(greatest(extract(epoch FROM clock_timestamp() - h.oldest), 0), 0)::float8 AS oldest_seconds
FROM regies AS r
LEFT JOIN (
    SELECT
        p.regie,
        count(*) FILTER (WHERE t.payable_again_at <= clock_timestamp()) AS overdue,
        min(p.start_time) AS oldest
    FROM holds AS t
    JOIN payments AS p ON p.id = t.payment_id
    GROUP BY p.regie
) AS h ON h.regie = r.code;

-- name: undelivered
-- Every régie's notifications that are not delivered, by what became of them, and whether its portal wants any.
SELECT
    r.code AS regie,
    coalesce(d.waiting, 0) AS waiting,
    coalesce(d.failing, 0) AS failing,
    coalesce(d.given_up, 0) AS given_up,
    (p.disabled_for IS NOT NULL)::integer AS disabled
FROM regies AS r
LEFT JOIN (
    SELECT
        regie,
        count(*) FILTER (WHERE NOT given_up AND attempts = 0) AS waiting,
        count(*) FILTER (WHERE NOT given_up AND attempts > 0) AS failing,
        count(*) FILTER (WHERE given_up) AS given_up
    FROM deliveries
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
