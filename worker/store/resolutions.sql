-- name: discrepancies
-- $1 ids or NULL, $2 régie, $3 kind, $4 state, $5 payment, $6 invoice, $7 opened before how long ago (each or NULL),
-- $8 how many: oldest first, each with the payments and the invoices that it is about.
SELECT
    d.id, d.kind, d.opened_at, d.payment, d.invoice, d.amount_cents, d.detail, d.state, d.regie,
    d.resolution, d.comment, r.resolved_at, r.resolved_by, m.money, b.books
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
LEFT JOIN LATERAL (
    SELECT
        jsonb_agg(
            jsonb_build_object(
                'reference', p.reference,
                'state', CASE WHEN p.state = 'started' AND p.payable_again_at <= now() THEN 'expired' ELSE p.state END,
                'amount_cents', p.amount_cents,
                'received_cents', p.received_cents,
                'refunded_cents', p.refunded_cents
            )
            ORDER BY p.id
        ) AS money
    FROM payments AS p
    WHERE
        p.state IS NOT NULL
        AND p.id = ANY(
            CASE
                WHEN d.payment_id IS NOT NULL THEN ARRAY[d.payment_id]
                ELSE ARRAY(SELECT l.payment_id FROM payment_lines AS l WHERE l.invoice_id = d.invoice_id)
            END
        )
) AS m ON true
LEFT JOIN LATERAL (
    SELECT
        jsonb_agg(
            jsonb_build_object(
                'number', i.number,
                'state', CASE WHEN i.state = 'in_payment' AND h.over THEN 'payable' ELSE i.state END,
                'amount_cents', i.amount_cents,
                'paid_by', i.paid_by
            )
            ORDER BY i.number
        ) AS books
    FROM invoices AS i
    LEFT JOIN LATERAL (
        SELECT p.payable_again_at <= now() AS over
        FROM payment_lines AS l
        JOIN payments AS p ON p.id = l.payment_id
        WHERE l.invoice_id = i.id AND l.held
    ) AS h ON true
    WHERE
        i.state IS NOT NULL
        AND i.id = ANY(
            CASE
                WHEN d.invoice_id IS NOT NULL THEN ARRAY[d.invoice_id]
                ELSE ARRAY(SELECT l.invoice_id FROM payment_lines AS l WHERE l.payment_id = d.payment_id)
            END
        )
) AS b ON true
WHERE
    ($1::text[] IS NULL OR d.id = ANY($1))
    AND ($2::text IS NULL OR d.regie = $2)
    AND ($3::text IS NULL OR d.kind = $3)
    AND ($4::text IS NULL OR d.state = $4)
    AND ($5::text IS NULL OR d.payment = $5)
    AND ($6::text IS NULL OR d.invoice = $6)
    AND ($7::interval IS NULL OR d.opened_at <= now() - $7)
ORDER BY d.opened_at, d.id
LIMIT $8;

-- name: resolutions
-- $1 client, $2 source: the resolutions of one discrepancy that were ever stored, oldest first.
SELECT e.place, e.id, e.data
FROM events AS e
WHERE e.client = $1 AND e.source = $2 AND e.type = 'fr.lettrage.discrepancy.resolved.v1'
ORDER BY e.place;
