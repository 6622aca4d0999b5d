-- When an invoice was paid is when the fact that paid it was received: an archive that is given back does not move it.
-- Until now it was when that fact was applied. A second or two for each hundred thousand paid invoices; in the order in
-- which workers lock.
WITH paid AS (
    SELECT id FROM invoices
    WHERE state = 'paid'
    ORDER BY id
    FOR NO KEY UPDATE
),

changed AS (
    SELECT DISTINCT ON (j.invoice_id)
        j.invoice_id,
        j.place
    FROM journal AS j
    INNER JOIN paid ON paid.id = j.invoice_id
    ORDER BY j.invoice_id ASC, j.id DESC
)

UPDATE invoices SET paid_at = e.received_at
FROM changed
INNER JOIN events AS e USING (place)
WHERE invoices.id = changed.invoice_id;
