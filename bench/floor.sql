-- The floor: what PostgreSQL alone needs to write the rows that Lettrage wrote, batch by batch, into the same tables
-- with the same constraints. The rows are captured while Lettrage writes them (schema `floor`). Nothing is locked ahead,
-- read back or decided, and a row that a batch made and then filled is written once.
-- {table}, {columns}, {changes}, {same}: filled in by floor.py for each table.

-- name: capture
CREATE SCHEMA floor;
CREATE FUNCTION floor.capture() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'INSERT INTO floor.%I SELECT pg_current_xact_id()::text::bigint, %L, r.* FROM rows_written AS r',
        TG_TABLE_NAME, left(TG_OP, 1)
    );
    RETURN NULL;
END
$$;

-- name: capture_table
CREATE TABLE floor.{table} (batch bigint, op text, LIKE public.{table});
CREATE TRIGGER floor_insert AFTER INSERT ON public.{table}
REFERENCING NEW TABLE AS rows_written FOR EACH STATEMENT EXECUTE FUNCTION floor.capture();
CREATE TRIGGER floor_update AFTER UPDATE ON public.{table}
REFERENCING NEW TABLE AS rows_written FOR EACH STATEMENT EXECUTE FUNCTION floor.capture();
CREATE TRIGGER floor_delete AFTER DELETE ON public.{table}
REFERENCING OLD TABLE AS rows_written FOR EACH STATEMENT EXECUTE FUNCTION floor.capture();

-- name: release_table
DROP TRIGGER floor_insert ON public.{table};
DROP TRIGGER floor_update ON public.{table};
DROP TRIGGER floor_delete ON public.{table};

-- name: keep_inbox
CREATE TABLE floor.events AS
SELECT e.*, p.queue, p.subject
FROM public.events AS e
INNER JOIN public.pending AS p USING (place);
CREATE INDEX ON floor.events (place);

-- name: number_batches
-- Transactions that gave events their outcomes become batches 1, 2, 3, … in the order in which they did.
CREATE TABLE floor.batches AS
SELECT batch AS xact, row_number() OVER (ORDER BY min(applied_seq)) AS batch
FROM floor.outcomes
GROUP BY batch;

-- name: number_table
UPDATE floor.{table} AS t
SET batch = b.batch
FROM floor.batches AS b
WHERE t.batch = b.xact;
WITH made AS (
    DELETE FROM floor.{table} AS a
    USING floor.{table} AS b
    WHERE a.op = 'I' AND b.op IN ('U', 'D') AND a.batch = b.batch AND {same}
    RETURNING b.ctid AS filled
),
unmade AS (
    DELETE FROM floor.{table} WHERE op = 'D' AND ctid IN (SELECT filled FROM made)
)
UPDATE floor.{table} SET op = 'I' WHERE op = 'U' AND ctid IN (SELECT filled FROM made);
CREATE INDEX ON floor.{table} (batch, op);
ANALYZE floor.{table};

-- name: keep_truth
CREATE TABLE floor.truth_{table} AS SELECT {columns} FROM public.{table};

-- name: empty
ALTER TABLE journal DISABLE TRIGGER journal_append_only;
TRUNCATE events, pending, outcomes, invoices, payments, payment_lines, gateway_references, charges, adjustments,
discrepancies, journal, holds, asks, outbox;
ALTER TABLE journal ENABLE TRIGGER journal_append_only;

-- name: record
CREATE PROCEDURE floor.record(first bigint, size bigint) LANGUAGE plpgsql AS $$
BEGIN
    WITH kept AS (
        INSERT INTO public.events ({columns}) OVERRIDING SYSTEM VALUE
        SELECT {columns} FROM floor.events WHERE place >= first AND place < first + size ORDER BY place
        ON CONFLICT (client, source, id) DO NOTHING
        RETURNING place
    )
    INSERT INTO public.pending (place, queue, type, regie, subject)
    SELECT place, e.queue, e.type, e.regie, e.subject FROM kept INNER JOIN floor.events AS e USING (place);
END
$$;

-- name: claim
CREATE PROCEDURE floor.claim(size bigint) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.pending AS p
    SET attempts = attempts + 1, claimed_at = clock_timestamp(), leased_until = clock_timestamp() + interval '2 s'
    FROM (
        SELECT place FROM public.pending
        WHERE queue <> 'gateway-callback' AND NOT parked AND leased_until <= clock_timestamp()
        ORDER BY place
        LIMIT size
        FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE p.place = due.place;
END
$$;

-- name: apply
CREATE PROCEDURE floor.apply(nth bigint) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM public.pending WHERE place IN (SELECT place FROM floor.outcomes WHERE batch = nth AND op = 'I');
    {statements}
END
$$;

-- name: insert_rows
    INSERT INTO public.{table} ({columns}) OVERRIDING SYSTEM VALUE
    SELECT {columns} FROM floor.{table} WHERE batch = nth AND op = 'I';

-- name: update_rows
    UPDATE public.{table} AS a SET {changes}
    FROM floor.{table} AS b WHERE b.batch = nth AND b.op = 'U' AND {same};

-- name: delete_rows
    DELETE FROM public.{table} AS a
    USING floor.{table} AS b WHERE b.batch = nth AND b.op = 'D' AND {same};

-- name: differing
SELECT count(*) FROM (
    (SELECT {columns} FROM public.{table} EXCEPT ALL SELECT {columns} FROM floor.truth_{table})
    UNION ALL
    (SELECT {columns} FROM floor.truth_{table} EXCEPT ALL SELECT {columns} FROM public.{table})
) AS d
