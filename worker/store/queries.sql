-- The statements of reconciling. Arrays in, sets out: their number does not depend on the size of a batch.
-- `pending` is analyzed while it is empty, as it mostly is, and is believed to have one row for ever: joined, it would be
-- read whole for every row of the other side. So it is only asked by arrays of places or, behind `OFFSET 0`, by subject.
-- Order of locks, everywhere: pending by place; then what is missing is created, references before invoices before payments,
-- in each table by name; then gateway references, invoices and payments are locked, in each table by id. Discrepancies last,
-- by id. An insert that meets another's uncommitted row waits for it, and holds no lock then but on rows of its own making
-- that come earlier; what is locked is committed, so whoever waits for a lock waits for none of these.
-- From `lock` on plans are made once and kept: what follows looks ids up, by the one index that has them, and a foreign
-- key's check would otherwise be planned anew for every row, at 30 µs.

-- name: record
-- Keep facts once per (client, source, id), and queue what is new. Answers the places of the new ones. Places follow the
-- order received; the rows go in by key, so that two who keep the same facts at once wait for each other in one order.
-- All of them are received at one moment: read row by row, in the order of keys, the clock would contradict the places.
-- $2: each type's queue.
WITH incoming AS (
    SELECT *
    FROM
        ROWS FROM (
            json_to_recordset($1::text::json) AS (
                client text, source text, id text, type text, regie text, time timestamptz, data jsonb, digest text,
                raw text, trace text, received_at timestamptz, subject text, waited boolean, facts text
            )
        ) WITH ORDINALITY AS i (
            client, source, id, type, regie, time, data, digest, raw, trace, received_at, subject, waited, facts, nth
        )
),

placed AS (
    SELECT nextval('events_place_seq') AS place, ordered.* FROM (SELECT * FROM incoming ORDER BY nth) AS ordered
),

kept AS (
    INSERT INTO events (place, client, source, id, type, regie, time, data, digest, raw, trace, received_at, facts)
    OVERRIDING SYSTEM VALUE
    SELECT
        place, client, source, id, type, regie, time, data, decode(digest, 'base64'), decode(raw, 'base64'), trace,
        coalesce(received_at, (SELECT clock_timestamp())), decode(facts, 'base64')
    FROM placed
    ORDER BY client COLLATE "C", source COLLATE "C", id COLLATE "C"
    ON CONFLICT (client, source, id) DO NOTHING
    RETURNING place
),

queued AS (
    INSERT INTO pending (place, queue, type, regie, subject, waited)
    SELECT place, $2::jsonb ->> type, type, regie, subject, waited
    FROM placed
    WHERE (place IN (SELECT place FROM kept)) IS true
)

SELECT nth, place
FROM placed
WHERE (place IN (SELECT place FROM kept)) IS true;

-- name: known
-- What is already kept under these keys.
SELECT i.nth, e.place, e.digest
FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS i (client, source, id, nth)
INNER JOIN events AS e USING (client, source, id);

-- name: claim_facts
-- Lease what needs no gateway, oldest first. What came back twice without an outcome comes alone. The commit need not
-- reach the disk: it outlives this process at once, and a server that crashes loses a lease and the count of one attempt.
WITH relaxed AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
),

due AS (
    SELECT place, attempts
    FROM pending
    WHERE queue <> 'gateway-callback' AND NOT parked AND leased_until <= clock_timestamp()
    ORDER BY place
    LIMIT $1
    FOR UPDATE SKIP LOCKED
),

chosen AS (
    SELECT place
    FROM due
    WHERE CASE
        WHEN (SELECT attempts FROM due ORDER BY place LIMIT 1) >= 2 THEN place = (SELECT min(place) FROM due)
        ELSE attempts < 2
    END
),

leased AS (
    UPDATE pending AS p
    SET
        attempts = p.attempts + 1,
        claimed_at = clock_timestamp(),
        leased_until = clock_timestamp() + $2::interval
    WHERE p.place = ANY(ARRAY(SELECT place FROM chosen))
    RETURNING p.place, p.attempts, p.waited
)

SELECT e.place, e.client, e.source, e.id, e.type, e.regie, e.received_at, e.data, e.time, l.attempts, l.waited, e.trace
FROM leased AS l
CROSS JOIN relaxed
INNER JOIN events AS e USING (place)
ORDER BY e.place;

-- name: claim_callbacks
-- The same for callbacks, which a gateway's adapter has to read first: but those that an archive has the report of, or
-- kept blanked, without the bytes that each of a gateway's came with.
WITH relaxed AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
),

due AS (
    SELECT place, attempts
    FROM pending
    WHERE queue = 'gateway-callback' AND NOT parked AND leased_until <= clock_timestamp()
    ORDER BY place
    LIMIT $1
    FOR UPDATE SKIP LOCKED
),

chosen AS (
    SELECT place
    FROM due
    WHERE CASE
        WHEN (SELECT attempts FROM due ORDER BY place LIMIT 1) >= 2 THEN place = (SELECT min(place) FROM due)
        ELSE attempts < 2
    END
),

leased AS (
    UPDATE pending AS p
    SET
        attempts = p.attempts + 1,
        claimed_at = clock_timestamp(),
        leased_until = clock_timestamp() + $2::interval
    WHERE p.place = ANY(ARRAY(SELECT place FROM chosen))
    RETURNING p.place, p.attempts, p.waited
)

SELECT
    e.place, e.client, e.source, e.id, e.type, e.regie, e.received_at, e.data, e.time, l.attempts, l.waited, e.trace,
    EXISTS (
        SELECT 1
        FROM events AS r
        WHERE
            r.client = 'lettrage'
            AND r.source = e.source || CASE e.client WHEN '' THEN '' ELSE '#' || e.client END
            AND r.id = e.id
            AND r.type = 'fr.lettrage.gateway.report.v1'
    )
    OR (e.client = '' AND e.raw IS NULL AND coalesce(e.data ->> 'query', e.data ->> 'body') IS NULL) AS reported
FROM leased AS l
CROSS JOIN relaxed
INNER JOIN events AS e USING (place)
ORDER BY e.place;

-- name: claim_evidence
-- Lease the callbacks and reports, never tried before, of payments whose hold is over: evidence comes before a timeout.
WITH relaxed AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
),

due AS (
    SELECT DISTINCT p.place
    FROM (SELECT payment_id FROM holds WHERE payable_again_at <= statement_timestamp() ORDER BY payable_again_at LIMIT $1) AS h
    INNER JOIN LATERAL (
        SELECT g.regie, g.gateway_reference
        FROM gateway_references AS g
        WHERE g.payment_id = h.payment_id
        OFFSET 0
    ) AS r ON true
    INNER JOIN LATERAL (
        SELECT w.place
        FROM pending AS w
        WHERE
            w.regie = r.regie
            AND w.subject = r.gateway_reference
            AND w.type IN ('fr.lettrage.gateway.callback.v1', 'fr.lettrage.gateway.report.v1')
            AND w.attempts = 0
            AND NOT w.parked
        OFFSET 0
    ) AS p ON true
),

mine AS (
    SELECT place
    FROM pending
    WHERE place = ANY(ARRAY(SELECT place FROM due)) AND attempts = 0
    ORDER BY place
    FOR UPDATE SKIP LOCKED
),

leased AS (
    UPDATE pending AS p
    SET
        attempts = p.attempts + 1,
        claimed_at = clock_timestamp(),
        leased_until = clock_timestamp() + $2::interval
    WHERE p.place = ANY(ARRAY(SELECT place FROM mine))
    RETURNING p.place, p.attempts, p.waited
)

SELECT
    e.place, e.client, e.source, e.id, e.type, e.regie, e.received_at, e.data, e.time, l.attempts, l.waited, e.trace,
    EXISTS (
        SELECT 1
        FROM events AS r
        WHERE
            r.client = 'lettrage'
            AND r.source = e.source || CASE e.client WHEN '' THEN '' ELSE '#' || e.client END
            AND r.id = e.id
            AND r.type = 'fr.lettrage.gateway.report.v1'
    )
    OR (e.client = '' AND e.raw IS NULL AND coalesce(e.data ->> 'query', e.data ->> 'body') IS NULL) AS reported
FROM leased AS l
CROSS JOIN relaxed
INNER JOIN events AS e USING (place)
ORDER BY e.place;

-- name: take
-- Begin to mark done: what is no longer pending was done by another. Waiting here keeps two workers apart.
WITH mine AS (
    SELECT place
    FROM pending
    WHERE place = ANY($1::text::bigint[])
    ORDER BY place
    FOR UPDATE
)

DELETE FROM pending
WHERE place = ANY(ARRAY(SELECT place FROM mine))
RETURNING place;

-- name: overtaking
-- The payment-starteds that would overtake an invoice's fact received before them and taken by another worker: a family
-- must not be sent to pay what was settled, withdrawn or issued otherwise a moment before.
SELECT DISTINCT s.place
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS s (regie, number, place)
INNER JOIN LATERAL (
    SELECT 1
    FROM pending AS w
    WHERE
        w.regie = s.regie
        AND w.subject = s.number
        AND w.queue = 'invoice-changed'
        AND w.place - s.place < 0
        AND w.attempts <= 1
        AND NOT w.parked
        AND w.place <> ALL($4::bigint[])
    OFFSET 0
) AS earlier ON true;

-- name: keep_own
-- Keep events that Lettrage itself writes and applies at once: reports of callbacks, ends of holds. They get their
-- places in the order given.
INSERT INTO events (client, source, id, type, regie, data, digest, trace, received_at, raw, facts)
SELECT
    'lettrage', i.source, i.id, i.type, i.regie, i.data, decode(i.digest, 'base64'), i.trace,
    coalesce(i.received_at, clock_timestamp()), decode(i.raw, 'base64'), decode(i.facts, 'base64')
FROM
    ROWS FROM (
        json_to_recordset($1::text::json) AS (
            source text, id text, type text, regie text, data jsonb, digest text, trace text, received_at timestamptz,
            raw text, facts text
        )
    ) WITH ORDINALITY AS i (source, id, type, regie, data, digest, trace, received_at, raw, facts, nth)
ORDER BY i.nth
ON CONFLICT (client, source, id) DO NOTHING
RETURNING place, source, id, received_at;

-- name: add_references
-- Create the named gateway references that are missing.
INSERT INTO gateway_references (regie, gateway_reference)
SELECT k.regie, k.name
FROM ROWS FROM (json_array_elements_text($1::text::json), json_array_elements_text($2::text::json)) AS k (regie, name)
ORDER BY k.regie, k.name
ON CONFLICT DO NOTHING;

-- name: lock_references
-- Lock the gateway references that are named, in order.
SELECT r.id, r.regie, r.gateway_reference, r.payment_id, r.doubt
FROM gateway_references AS r
INNER JOIN
    ROWS FROM (json_array_elements_text($1::text::json), json_array_elements_text($2::text::json)) AS k (regie, name)
    ON r.regie = k.regie AND r.gateway_reference = k.name
ORDER BY r.id
FOR UPDATE OF r;

-- name: add_missing
-- Create what is named and missing, to be filled by what the events say; the row is the key that the next worker waits
-- for. One table after the other: references, invoices, payments. An invoice's account, an index has it, is written at
-- once where an issue tells it, so that filling the rest touches no index.
WITH new_references AS (
    INSERT INTO gateway_references (regie, gateway_reference)
    SELECT k.regie, k.name
    FROM ROWS FROM (json_array_elements_text($1::text::json), json_array_elements_text($2::text::json)) AS k (regie, name)
    ORDER BY k.regie, k.name
    ON CONFLICT DO NOTHING
    RETURNING id
),

new_invoices AS (
    INSERT INTO invoices (regie, number, account)
    SELECT k.regie, k.number, k.account
    FROM
        ROWS FROM (
            json_array_elements_text($3::text::json),
            json_array_elements_text($4::text::json),
            json_array_elements_text($5::text::json)
        ) AS k (regie, number, account)
    WHERE (SELECT count(*) FROM new_references) >= 0
    ORDER BY k.regie, k.number
    ON CONFLICT DO NOTHING
    RETURNING id
),

new_payments AS (
    INSERT INTO payments (regie, reference)
    SELECT k.regie, k.reference
    FROM ROWS FROM (json_array_elements_text($6::text::json), json_array_elements_text($7::text::json)) AS k (regie, reference)
    WHERE (SELECT count(*) FROM new_invoices) >= 0
    ORDER BY k.regie, k.reference
    ON CONFLICT DO NOTHING
    RETURNING id
)

SELECT count(*) FROM new_payments;

-- name: lock
-- Lock a whole dossier: the named gateway references, and every invoice and payment that share money with what is named.
-- Found without locks, and looked at again once locked. Two steps reach nearly everything: the payments of the named
-- invoices, and the invoices of these payments; from an invoice that was not named it goes on. References, then invoices,
-- then payments, each by id.
WITH RECURSIVE named_references AS (
    SELECT r.id, r.payment_id
    FROM ROWS FROM (json_array_elements_text($1::text::json), json_array_elements_text($2::text::json)) AS k (regie, name)
    INNER JOIN gateway_references AS r ON k.regie = r.regie AND k.name = r.gateway_reference
),

named_invoices AS (
    SELECT i.id
    FROM ROWS FROM (json_array_elements_text($3::text::json), json_array_elements_text($4::text::json)) AS k (regie, number)
    INNER JOIN invoices AS i ON k.regie = i.regie AND k.number = i.number
    UNION
    SELECT d.invoice_id
    FROM discrepancies AS d
    WHERE d.id = ANY($7::text[]) AND d.invoice_id IS NOT NULL
),

near_payments AS (
    SELECT p.id
    FROM ROWS FROM (json_array_elements_text($5::text::json), json_array_elements_text($6::text::json)) AS k (regie, reference)
    INNER JOIN payments AS p ON k.regie = p.regie AND k.reference = p.reference
    UNION
    SELECT payment_id FROM named_references
    WHERE payment_id IS NOT NULL
    UNION
    SELECT d.payment_id
    FROM discrepancies AS d
    WHERE d.id = ANY($7::text[]) AND d.payment_id IS NOT NULL
    UNION
    SELECT l.payment_id
    FROM named_invoices AS i
    INNER JOIN payment_lines AS l ON i.id = l.invoice_id
),

further_invoices (id) AS (
    (
        SELECT l.invoice_id
        FROM near_payments AS p
        INNER JOIN payment_lines AS l ON p.id = l.payment_id
        EXCEPT
        SELECT id FROM named_invoices
    )
    UNION
    SELECT other.invoice_id
    FROM further_invoices AS i
    INNER JOIN payment_lines AS l ON i.id = l.invoice_id
    INNER JOIN payment_lines AS other ON l.payment_id = other.payment_id
),

locked_references AS (
    SELECT id
    FROM gateway_references
    WHERE id = ANY(ARRAY(SELECT id FROM named_references))
    ORDER BY id
    FOR UPDATE
),

locked_invoices AS (
    SELECT id
    FROM invoices
    WHERE
        id = ANY(ARRAY(SELECT id FROM named_invoices UNION SELECT id FROM further_invoices))
        AND (SELECT count(*) FROM locked_references) >= 0
    ORDER BY id
    FOR UPDATE
),

locked_payments AS (
    SELECT id
    FROM payments
    WHERE
        id = ANY(
            ARRAY(
                SELECT id FROM near_payments
                UNION
                SELECT l.payment_id
                FROM further_invoices AS i
                INNER JOIN payment_lines AS l ON i.id = l.invoice_id
            )
        )
        AND (SELECT count(*) FROM locked_invoices) >= 0
    ORDER BY id
    FOR UPDATE
)

SELECT
    ARRAY(SELECT id FROM locked_payments)::text AS payments,
    ARRAY(SELECT id FROM locked_invoices)::text AS invoices,
    ARRAY(SELECT id FROM locked_references)::text AS refs,
    set_config('plan_cache_mode', 'force_generic_plan', true) AS plans;

-- name: read_dossiers
-- In a new statement, after the locks: what is locked and what belongs to it, what each régie chose, and the time that
-- decides. As JSON, which becomes records as it is.
SELECT
    clock_timestamp() AS now,
    (SELECT json_agg(i) FROM invoices AS i WHERE i.id = ANY($1::text::bigint[])) AS invoices,
    (SELECT json_agg(p) FROM payments AS p WHERE p.id = ANY($2::text::bigint[])) AS payments,
    (
        SELECT json_agg(l)
        FROM payment_lines AS l
        WHERE l.payment_id = ANY($2::text::bigint[]) OR l.invoice_id = ANY($1::text::bigint[])
    ) AS lines,
    (
        SELECT json_agg(r)
        FROM gateway_references AS r
        WHERE r.id = ANY($3::text::bigint[]) OR r.payment_id = ANY($2::text::bigint[])
    ) AS refs,
    (
        SELECT json_agg(c)
        FROM gateway_references AS r
        INNER JOIN charges AS c ON r.id = c.gateway_reference_id
        WHERE r.id = ANY($3::text::bigint[]) OR r.payment_id = ANY($2::text::bigint[])
    ) AS charges,
    (
        SELECT json_agg(a)
        FROM adjustments AS a
        WHERE a.payment_id = ANY($2::text::bigint[]) OR a.invoice_id = ANY($1::text::bigint[])
    ) AS adjustments,
    (
        SELECT json_agg(d)
        FROM discrepancies AS d
        WHERE
            d.payment_id = ANY($2::text::bigint[])
            OR d.invoice_id = ANY($1::text::bigint[])
            OR d.id = ANY($4::text[])
    ) AS discrepancies,
    (
        SELECT json_agg(p)
        FROM regies AS g
        INNER JOIN policies AS p ON g.code = p.regie AND g.policy_version = p.version
        WHERE g.code = ANY($5::text[])
    ) AS policies;

-- name: read_orphans
-- What was opened about the money of charges while no payment owned them.
SELECT json_agg(d)
FROM discrepancies AS d
WHERE d.id = ANY($1::text[]);

-- name: lock_discrepancies
-- Last of all locks, by id: no other row's lock keeps two workers from one that no payment owns yet.
SELECT id, changed_at FROM discrepancies
WHERE id = ANY($1::text[])
ORDER BY id
FOR UPDATE;

-- name: save_discrepancies
-- Answers which were new.
INSERT INTO discrepancies (
    id, regie, kind, amount_cents, state, opened_at, changed_at, payment_id, invoice_id, payment, invoice, subject,
    detail, resolution, resolved_cents, comment
)
SELECT
    n.id, n.regie, n.kind, n.amount_cents, n.state, n.opened_at, n.changed_at, n.payment_id, n.invoice_id, n.payment,
    n.invoice, n.subject, n.detail, n.resolution, n.resolved_cents, n.comment
FROM json_to_recordset($1::text::json) AS n (
    id text, regie text, kind text, amount_cents bigint, state text, opened_at timestamptz, changed_at timestamptz,
    payment_id bigint, invoice_id bigint, payment text, invoice text, subject text, detail jsonb, resolution text,
    resolved_cents bigint, comment text
)
ORDER BY n.id
ON CONFLICT (id) DO UPDATE
SET
    regie = excluded.regie,
    kind = excluded.kind,
    amount_cents = excluded.amount_cents,
    state = excluded.state,
    opened_at = excluded.opened_at,
    changed_at = excluded.changed_at,
    payment_id = excluded.payment_id,
    invoice_id = excluded.invoice_id,
    payment = excluded.payment,
    invoice = excluded.invoice,
    subject = excluded.subject,
    detail = excluded.detail,
    resolution = excluded.resolution,
    resolved_cents = excluded.resolved_cents,
    comment = excluded.comment
RETURNING id, xmax = 0 AS is_new;

-- name: save
-- Everything that a batch, or a part of it, changes: each table once, from a JSON text each, which costs a tenth of what
-- the driver's arrays do. Fields with their defaults are left out of invoices and payments.
-- $1: when it was decided.
WITH saved_invoices AS (
    UPDATE invoices AS i
    SET
        state = n.state,
        version = coalesce(n.version, 0),
        account = n.account,
        issued_cents = n.issued_cents,
        amount_cents = n.amount_cents,
        means = n.means,
        issued_on = n.issued_on,
        label = n.label,
        document_url = n.document_url,
        withdrawn = coalesce(n.withdrawn, false),
        fact_time = n.fact_time,
        fact_place = n.fact_place,
        issue_time = n.issue_time,
        issue_place = n.issue_place,
        settled_cents = coalesce(n.settled_cents, 0),
        paid_at = n.paid_at,
        paid_by = n.paid_by,
        to_check = coalesce(n.to_check, false),
        reason = n.reason
    FROM json_to_recordset($2::text::json) AS n (
        id bigint, state text, version integer, account text, issued_cents bigint, amount_cents bigint, means text,
        issued_on date, label text, document_url text, withdrawn boolean, fact_time timestamptz, fact_place bigint,
        issue_time timestamptz, issue_place bigint, settled_cents bigint, paid_at timestamptz, paid_by text,
        to_check boolean, reason text
    )
    WHERE i.id = n.id
),

saved_payments AS (
    UPDATE payments AS p
    SET
        state = n.state,
        reason = n.reason,
        amount_cents = n.amount_cents,
        start_time = n.start_time,
        start_place = n.start_place,
        deadline = n.deadline,
        hold_limit = n.hold_limit,
        payable_again_at = n.payable_again_at,
        hold_over = coalesce(n.hold_over, false),
        hold_ended_at = n.hold_ended_at,
        rejected = coalesce(n.rejected, false),
        doubt = coalesce(n.doubt, false),
        late = coalesce(n.late, false),
        received_cents = coalesce(n.received_cents, 0),
        refunded_cents = coalesce(n.refunded_cents, 0),
        provisional = coalesce(n.provisional, false),
        first_money_at = n.first_money_at,
        first_money_place = n.first_money_place,
        settled_at = n.settled_at,
        latest_reference = n.latest_reference
    FROM json_to_recordset($3::text::json) AS n (
        id bigint, state text, reason text, amount_cents bigint, start_time timestamptz, start_place bigint,
        deadline timestamptz, hold_limit timestamptz, payable_again_at timestamptz, hold_over boolean,
        hold_ended_at timestamptz, rejected boolean, doubt boolean, late boolean, received_cents bigint,
        refunded_cents bigint, provisional boolean, first_money_at timestamptz, first_money_place bigint,
        settled_at timestamptz, latest_reference text
    )
    WHERE p.id = n.id
),

-- Before any line is held anew: an invoice has one holder at most, by a unique index.
released_lines AS (
    UPDATE payment_lines AS l
    SET held = false
    FROM json_to_recordset($4::text::json) AS n (payment_id bigint, invoice_id bigint)
    WHERE l.payment_id = n.payment_id AND l.invoice_id = n.invoice_id AND l.held
    RETURNING l.invoice_id
),

new_lines AS (
    INSERT INTO payment_lines (payment_id, invoice_id, cents, held)
    SELECT n.payment_id, n.invoice_id, n.cents, n.held
    FROM json_to_recordset($5::text::json) AS n (payment_id bigint, invoice_id bigint, cents bigint, held boolean)
    WHERE (SELECT count(*) FROM released_lines) >= 0
),

set_holds AS (
    INSERT INTO holds (payment_id, payable_again_at)
    SELECT n.id, n.payable_again_at
    FROM json_to_recordset($6::text::json) AS n (id bigint, payable_again_at timestamptz)
    ON CONFLICT (payment_id) DO UPDATE
    SET payable_again_at = excluded.payable_again_at
    WHERE holds.payable_again_at <> excluded.payable_again_at
),

ended_holds AS (
    DELETE FROM holds
    WHERE payment_id = ANY(ARRAY(SELECT json_array_elements_text($7::text::json)::bigint))
),

owned_references AS (
    UPDATE gateway_references AS r
    SET payment_id = n.payment_id, doubt = coalesce(n.doubt, false)
    FROM json_to_recordset($8::text::json) AS n (id bigint, payment_id bigint, doubt boolean)
    WHERE r.id = n.id
),

saved_charges AS (
    INSERT INTO charges (gateway_reference_id, transaction_id, result, cents, received_at, place)
    SELECT n.gateway_reference_id, n.transaction_id, n.result, n.cents, n.received_at, n.place
    FROM json_to_recordset($9::text::json) AS n (
        gateway_reference_id bigint, transaction_id text, result text, cents bigint, received_at timestamptz,
        place bigint
    )
    ON CONFLICT (gateway_reference_id, transaction_id) DO UPDATE
    SET result = excluded.result, cents = excluded.cents, received_at = excluded.received_at, place = excluded.place
),

new_adjustments AS (
    INSERT INTO adjustments (kind, fact_id, cents, place, invoice_id, payment_id, means)
    SELECT n.kind, n.fact_id, n.cents, n.place, n.invoice_id, n.payment_id, n.means
    FROM json_to_recordset($10::text::json) AS n (
        kind text, fact_id text, cents bigint, place bigint, invoice_id bigint, payment_id bigint, means text
    )
),

new_journal AS (
    INSERT INTO journal (place, regie, at, reason, before, after, invoice_id, payment_id)
    SELECT n.place, n.regie, $1, n.reason, n.before, n.after, n.invoice_id, n.payment_id
    FROM
        ROWS FROM (
            json_to_recordset($11::text::json) AS (
                place bigint, regie text, reason text, before text, after text, invoice_id bigint, payment_id bigint
            )
        ) WITH ORDINALITY AS n (place, regie, reason, before, after, invoice_id, payment_id, nth)
    ORDER BY n.nth
),

new_outbox AS (
    INSERT INTO outbox (place, regie, type, at, data)
    SELECT n.place, n.regie, n.type, n.at, n.data
    FROM
        ROWS FROM (
            json_to_recordset($12::text::json) AS (place bigint, regie text, type text, at timestamptz, data jsonb)
        ) WITH ORDINALITY AS n (place, regie, type, at, data, nth)
    ORDER BY n.nth
    RETURNING id, regie, data
),

-- What is written to the outbox is to be sent: of one subject, in this order.
new_deliveries AS (
    INSERT INTO deliveries (outbox_id, regie, subject, due_at)
    SELECT
        t.id, t.regie, coalesce('invoice ' || (t.data ->> 'number'), 'discrepancy ' || (t.data ->> 'id')),
        clock_timestamp()
    FROM new_outbox AS t
),

-- Done, for good: one outcome per event, numbered in the order of application.
new_outcomes AS (
    INSERT INTO outcomes (place, outcome, reason, decided_at, policy_version)
    SELECT n.place, n.outcome, n.reason, $1, n.policy_version
    FROM
        ROWS FROM (
            json_to_recordset($13::text::json) AS (place bigint, outcome text, reason text, policy_version integer)
        ) WITH ORDINALITY AS n (place, outcome, reason, policy_version, nth)
    ORDER BY n.nth
)

-- Tell whoever holds a request open, once this is committed.
SELECT pg_notify('lettrage_done', places)
FROM json_array_elements_text($14::text::json) AS n (places);

-- name: put_off
-- Give a failed event back: again after a backoff, or parked after the last try.
UPDATE pending
SET
    asking = false,
    parked = attempts >= $3,
    leased_until = clock_timestamp() + least(power(2, attempts), 300) * interval '1 second',
    error = left($2, 500)
WHERE place = $1
RETURNING parked;

-- name: give_back
-- What could not be tried has not been tried; its lease ends by itself.
UPDATE pending
SET attempts = greatest(attempts - 1, 0)
WHERE place = ANY($1::bigint[]);

-- name: due_holds
-- Holds that are over, without those whose evidence was there in time and is not tried yet, or is being tried for the
-- first time since less than 2 s: evidence comes first. Nor those that were set aside. Looks from a low-water mark on,
-- where there is one. A time that stays the same for the statement, or the index would be read to its end.
SELECT p.regie, p.reference, h.payable_again_at
FROM holds AS h
INNER JOIN LATERAL (SELECT y.regie, y.reference FROM payments AS y WHERE y.id = h.payment_id OFFSET 0) AS p ON true
WHERE
    h.payable_again_at <= statement_timestamp()
    AND h.payable_again_at >= coalesce($2::timestamptz, '-infinity')
    AND h.payment_id % $4::bigint = $3::bigint
    AND NOT EXISTS (
        SELECT 1
        FROM gateway_references AS r
        INNER JOIN LATERAL (
            SELECT x.place
            FROM pending AS x
            WHERE
                x.regie = r.regie
                AND x.subject = r.gateway_reference
                AND NOT x.parked
                AND x.type IN ('fr.lettrage.gateway.callback.v1', 'fr.lettrage.gateway.report.v1')
                AND (x.attempts = 0 OR (x.attempts = 1 AND x.claimed_at > clock_timestamp() - interval '2 seconds'))
            OFFSET 0
        ) AS w ON true
        INNER JOIN events AS e ON w.place = e.place
        WHERE r.payment_id = h.payment_id AND e.received_at <= h.payable_again_at
        OFFSET 0
    )
    AND NOT EXISTS (
        SELECT 1
        FROM pending AS w
        WHERE w.regie = p.regie AND w.subject = p.reference AND w.queue = 'payment-timeout'
        OFFSET 0
    )
ORDER BY h.payable_again_at
LIMIT $1;

-- name: low_water_mark
-- Where a sweep that found nothing more may start from next: below what is left, which may be waiting for its evidence.
SELECT least(clock_timestamp() - $1::interval, min(payable_again_at)) FROM holds;

-- name: one_sweep
-- One sweep of a part at a time; whoever finds it taken has nothing to do. Ends with the transaction.
SELECT pg_try_advisory_xact_lock(7233177, $1::integer);

-- name: next_deadline
SELECT extract(EPOCH FROM min(payable_again_at) - clock_timestamp())::float8 FROM holds;

-- name: waiting
-- Queues with claimable work that nobody took for a while.
SELECT DISTINCT queue
FROM (
    (
        SELECT queue, place FROM pending
        WHERE queue <> 'gateway-callback' AND NOT parked AND leased_until <= clock_timestamp()
        ORDER BY place LIMIT 100
    )
    UNION ALL
    (
        SELECT queue, place FROM pending
        WHERE queue = 'gateway-callback' AND NOT parked AND leased_until <= clock_timestamp()
        ORDER BY place LIMIT 100
    )
) AS p
INNER JOIN events AS e USING (place)
WHERE e.received_at <= clock_timestamp() - $1::interval;

-- name: sync_policy
-- Make a régie's policy current; a new version only when it differs from the current one.
WITH latest AS (
    SELECT p.version, p.body
    FROM policies AS p
    WHERE p.regie = $1
    ORDER BY p.version DESC
    LIMIT 1
),

added AS (
    INSERT INTO policies (regie, version, body)
    SELECT $1, coalesce((SELECT version FROM latest), 0) + 1, $3::jsonb
    WHERE NOT EXISTS (SELECT 1 FROM latest WHERE body = $3::jsonb)
    RETURNING version
)

INSERT INTO regies (code, label, policy_version)
SELECT $1, $2, coalesce((SELECT version FROM added), (SELECT version FROM latest))
ON CONFLICT (code) DO UPDATE
SET label = excluded.label, policy_version = excluded.policy_version
WHERE (regies.label, regies.policy_version) IS DISTINCT FROM (excluded.label, excluded.policy_version);
