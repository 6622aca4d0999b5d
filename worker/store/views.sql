-- name: regies
-- $1 codes, or NULL for all: each régie with its invoices by state as read, what is payable (cents), what is to explain.
-- The counts go by what is written; invoices whose hold is over but not written so are few, and moved afterwards.
WITH written AS (
    SELECT
        i.regie,
        count(*) FILTER (WHERE i.state = 'payable') AS payable,
        count(*) FILTER (WHERE i.state = 'in_payment') AS in_payment,
        count(*) FILTER (WHERE i.state = 'paid') AS paid,
        count(*) FILTER (WHERE i.state = 'withdrawn') AS withdrawn,
        coalesce(sum(i.amount_cents) FILTER (WHERE i.state = 'payable'), 0) AS payable_cents
    FROM invoices AS i
    WHERE i.state IS NOT NULL AND ($1::text[] IS NULL OR i.regie = ANY($1))
    GROUP BY i.regie
),

over AS (
    SELECT i.regie, count(*) AS invoices, coalesce(sum(i.amount_cents), 0) AS cents
    FROM holds AS h
    JOIN payment_lines AS l ON l.payment_id = h.payment_id AND l.held
    JOIN invoices AS i ON i.id = l.invoice_id AND i.state = 'in_payment'
    WHERE h.payable_again_at <= now()
    GROUP BY i.regie
),

unexplained AS (
    SELECT d.regie, count(*) AS discrepancies FROM discrepancies AS d WHERE d.state = 'open' GROUP BY d.regie
)
SELECT
    r.code,
    r.label,
    coalesce(w.payable, 0) + coalesce(o.invoices, 0) AS payable,
    coalesce(w.in_payment, 0) - coalesce(o.invoices, 0) AS in_payment,
    coalesce(w.paid, 0) AS paid,
    coalesce(w.withdrawn, 0) AS withdrawn,
    (coalesce(w.payable_cents, 0) + coalesce(o.cents, 0))::bigint AS payable_cents,
    coalesce(u.discrepancies, 0) AS open_discrepancies
FROM regies AS r
LEFT JOIN written AS w ON w.regie = r.code
LEFT JOIN over AS o ON o.regie = r.code
LEFT JOIN unexplained AS u ON u.regie = r.code
WHERE $1::text[] IS NULL OR r.code = ANY($1)
ORDER BY r.code;

-- name: known_regies
-- Every régie ever configured with its gateway's kind, and the database's clock.
SELECT r.code, p.body ->> 'gateway' AS gateway, clock_timestamp() AS now
FROM regies AS r
JOIN policies AS p ON p.regie = r.code AND p.version = r.policy_version;

-- name: database_now
-- The clock that decides.
SELECT clock_timestamp();

-- name: invoices
-- $1 régie, $2 account or NULL, $3 view or NULL, $4 the last id seen or NULL, $5 how many, $6 number or NULL: newest
-- known first. Every plan is made for its own values, so that what is NULL costs nothing.
SELECT
    i.id,
    i.regie,
    i.number,
    i.account,
    i.amount_cents,
    i.issued_on,
    i.label,
    i.document_url,
    i.means,
    CASE WHEN h.over THEN 'payable' ELSE i.state END AS state,
    CASE WHEN i.state = 'in_payment' AND NOT h.over THEN h.payable_again_at END AS payable_again_at,
    i.to_check,
    i.paid_at,
    i.paid_by,
    paid.payments,
    i.version
FROM invoices AS i
LEFT JOIN LATERAL (
    SELECT p.payable_again_at, i.state = 'in_payment' AND p.payable_again_at <= now() AS over
    FROM payment_lines AS l
    JOIN payments AS p ON p.id = l.payment_id
    WHERE l.invoice_id = i.id AND l.held
) AS h ON true
LEFT JOIN LATERAL (
    SELECT
        jsonb_agg(
            jsonb_build_object(
                'reference', p.reference,
                'state', CASE WHEN p.state = 'started' AND p.payable_again_at <= now() THEN 'expired' ELSE p.state END,
                'amount_cents', l.cents
            )
            ORDER BY p.id
        ) AS payments
    FROM payment_lines AS l
    JOIN payments AS p ON p.id = l.payment_id
    WHERE l.invoice_id = i.id AND p.state IS NOT NULL
) AS paid ON true
WHERE
    i.regie = $1
    AND i.state IS NOT NULL
    AND ($2::text IS NULL OR i.account = $2)
    AND ($4::bigint IS NULL OR i.id < $4)
    AND ($6::text IS NULL OR i.number = $6)
    AND CASE $3::text
        WHEN 'payable' THEN (i.state = 'payable' OR h.over) AND i.means IS DISTINCT FROM 'direct_debit'
        WHEN 'history' THEN
            (i.state = 'paid' OR (i.state = 'in_payment' AND h.over IS NOT TRUE))
            AND coalesce(i.issued_on, (i.first_seen_at AT TIME ZONE 'Europe/Paris')::date)
            >= ((now() AT TIME ZONE 'Europe/Paris') - interval '24 months')::date
        WHEN 'direct_debit' THEN i.means = 'direct_debit'
        ELSE true
    END
ORDER BY i.id DESC
LIMIT $5;

-- name: invoice_history
-- $1 invoice id: every change of its state, oldest first.
SELECT j.at, e.id AS event_id, e.type AS event_type, p.reference AS payment, j.before, j.after, j.reason
FROM journal AS j
JOIN events AS e ON e.place = j.place
LEFT JOIN payments AS p ON p.id = j.payment_id
WHERE j.invoice_id = $1
ORDER BY j.id;

-- name: payment
-- $1 régie, $2 reference: one payment as read.
SELECT
    p.regie,
    p.reference,
    p.latest_reference AS gateway_reference,
    (
        SELECT coalesce(jsonb_agg(g.gateway_reference ORDER BY g.id), '[]')
        FROM gateway_references AS g
        WHERE g.payment_id = p.id
    ) AS gateway_references,
    CASE WHEN p.state = 'started' AND p.payable_again_at <= now() THEN 'expired' ELSE p.state END AS state,
    p.amount_cents,
    p.received_cents,
    (
        SELECT
            coalesce(
                jsonb_agg(jsonb_build_object('number', i.number, 'amount_cents', l.cents) ORDER BY i.number), '[]'
            )
        FROM payment_lines AS l
        JOIN invoices AS i ON i.id = l.invoice_id
        WHERE l.payment_id = p.id
    ) AS invoices,
    p.start_time AS started_at,
    p.deadline,
    CASE
        WHEN p.state IN ('paid', 'reversed', 'refunded') THEN NULL
        WHEN p.hold_over AND NOT p.rejected THEN least(p.hold_ended_at, p.payable_again_at)
        ELSE p.payable_again_at
    END AS payable_again_at,
    p.settled_at,
    p.late,
    p.provisional,
    CASE WHEN p.state = 'started' AND p.payable_again_at <= now() THEN 'hold_over' ELSE p.reason END AS reason
FROM payments AS p
WHERE p.regie = $1 AND p.reference = $2 AND p.state IS NOT NULL;

-- name: discrepancies
-- $1 régie, $2 state or NULL, $3 and $4 opened_at and id of the last one seen or NULL, $5 how many: oldest first.
-- Who resolved it and when is told by the event that did: its source names the discrepancy, so that it is looked up.
SELECT
    d.id, d.kind, d.opened_at, d.payment, d.invoice, d.amount_cents, d.detail, d.state, d.regie,
    d.resolution, d.comment, r.resolved_at, r.resolved_by
FROM discrepancies AS d
LEFT JOIN LATERAL (
    SELECT e.received_at AS resolved_at, e.data ->> 'by' AS resolved_by
    FROM events AS e
    JOIN outcomes AS o ON o.place = e.place AND o.outcome = 'applied'
    WHERE
        d.resolution IS NOT NULL
        AND e.client = 'lettrage'
        AND e.source = '/discrepancies/' || d.id
        AND e.type = 'fr.lettrage.discrepancy.resolved.v1'
        AND e.data ->> 'id' = d.id
    ORDER BY o.applied_seq DESC
    LIMIT 1
) AS r ON true
WHERE
    d.regie = $1
    AND ($2::text IS NULL OR d.state = $2)
    AND ($3::timestamptz IS NULL OR (d.opened_at, d.id) > ($3, $4))
ORDER BY d.opened_at, d.id
LIMIT $5;

-- name: event
-- $1 place: one event, its data, and what became of it.
SELECT
    e.place, e.client, e.source, e.id, e.type, e.regie, e.time, e.received_at,
    o.outcome, o.reason, o.decided_at,
    coalesce(w.attempts, 0) AS attempts, coalesce(w.parked, false) AS parked, w.error, e.trace, e.data
FROM events AS e
LEFT JOIN outcomes AS o ON o.place = e.place
LEFT JOIN pending AS w ON w.place = e.place
WHERE e.place = $1;

-- name: events_of_id
-- $1 the id that its sender gave: every event of that id, whoever sent it, newest first.
SELECT
    e.place, e.client, e.source, e.id, e.type, e.regie, e.time, e.received_at,
    o.outcome, o.reason, o.decided_at,
    coalesce(w.attempts, 0) AS attempts, coalesce(w.parked, false) AS parked, w.error, e.trace, e.data
FROM events AS e
LEFT JOIN outcomes AS o ON o.place = e.place
LEFT JOIN pending AS w ON w.place = e.place
WHERE e.id = $1
ORDER BY e.place DESC
LIMIT 100;

-- name: events
-- $1 régie or NULL, $2 type or NULL, $3 the last place seen or NULL, $4 how many: newest first, without their data.
SELECT
    e.place, e.client, e.source, e.id, e.type, e.regie, e.time, e.received_at,
    o.outcome, o.reason, o.decided_at,
    coalesce(w.attempts, 0) AS attempts, coalesce(w.parked, false) AS parked, w.error, e.trace
FROM events AS e
LEFT JOIN outcomes AS o ON o.place = e.place
LEFT JOIN pending AS w ON w.place = e.place
WHERE
    ($1::text IS NULL OR e.regie = $1)
    AND ($2::text IS NULL OR e.type = $2)
    AND ($3::bigint IS NULL OR e.place < $3)
ORDER BY e.place DESC
LIMIT $4;

-- name: parked_events
-- $1 how many: events that failed too often and wait for a person, oldest first.
SELECT
    e.place, e.client, e.source, e.id, e.type, e.regie, e.time, e.received_at,
    NULL AS outcome, NULL AS reason, NULL::timestamptz AS decided_at,
    w.attempts, w.parked, w.error, e.trace
FROM pending AS w
JOIN events AS e ON e.place = w.place
WHERE w.parked
ORDER BY e.place
LIMIT $1;

-- name: outcome
-- $1 place, $2 the gateway reference that a callback claims: what became of an event, and the reference of the payment
-- that it is about. A start that was refused as no payment names another's: who reads `started` there would send a family
-- away to pay something else. A callback that proved nothing is about nobody's payment.
SELECT
    o.outcome, o.reason, e.regie,
    CASE
        WHEN o.reason NOT IN ('payment_conflict', 'gateway_reference_in_use') THEN coalesce(
            e.data ->> 'reference',
            (
                SELECT p.reference
                FROM gateway_references AS r
                INNER JOIN payments AS p ON r.payment_id = p.id
                WHERE r.regie = e.regie AND r.gateway_reference = $2 AND o.outcome <> 'refused'
            )
        )
    END AS reference
FROM outcomes AS o
JOIN events AS e ON e.place = o.place
WHERE o.place = $1;

-- name: installation
-- What tells this database from any other, and says nothing about it: a digest of where it is and when it was made.
SELECT left(encode(sha256(convert_to(format('%s %s', d.oid, extract(epoch FROM m.applied_at)), 'UTF8')), 'hex'), 32)
FROM pg_database AS d
CROSS JOIN schema_migrations AS m
WHERE d.datname = current_database() AND m.version = 1;
