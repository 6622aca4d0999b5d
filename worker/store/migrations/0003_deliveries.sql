-- Notifications on their way to portals: what is still to be sent, how each attempt went, how each portal fares.

CREATE TABLE deliveries (
    outbox_id bigint PRIMARY KEY,
    regie text NOT NULL,
    subject text NOT NULL,
    due_at timestamptz NOT NULL,
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    own_failures integer NOT NULL DEFAULT 0 CHECK (own_failures >= 0),
    tried_at timestamptz,
    given_up boolean NOT NULL DEFAULT false
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE deliveries IS 'Notifications of the outbox not delivered yet. Narrow and deleted from, so that a claim costs the same with any history. own_failures: of its attempts, those that failed while its portal was not down; tried_at: the first attempt; those given up stay.';
CREATE INDEX deliveries_due ON deliveries (regie, due_at, outbox_id) WHERE NOT given_up;
CREATE INDEX deliveries_subject ON deliveries (regie, subject, outbox_id) WHERE NOT given_up;

CREATE TABLE delivery_attempts (
    outbox_id bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    outcome text NOT NULL CHECK (
        outcome IN ('delivered', 'refused', 'gone', 'redirected', 'timed_out', 'unreachable', 'address_forbidden')
    ),
    status smallint,
    error text,
    milliseconds integer NOT NULL CHECK (milliseconds >= 0),
    CHECK ((outcome IN ('delivered', 'refused', 'gone', 'redirected')) = (status IS NOT NULL))
);
COMMENT ON TABLE delivery_attempts IS 'How each attempt to deliver a notification ended; never changed.';
CREATE INDEX delivery_attempts_outbox ON delivery_attempts (outbox_id, at);

CREATE TABLE portals (
    regie text PRIMARY KEY,
    failures integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    paused_until timestamptz NOT NULL DEFAULT '-infinity',
    disabled_for text
);
COMMENT ON TABLE portals IS 'How each régie''s portal fares: failures in a row, until when it is left alone, and the digest of the address that answered 410.';
