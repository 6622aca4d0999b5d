-- The spine: facts as they came (events), what waits (pending), what became of them (outcomes), and the states derived.
-- Money is BIGINT cents (EUR); times are timestamptz; the checks repeat what the domain promises.
-- A `place` is an event's. It has no foreign key, nor have régies and the journal's ids: what they name is never deleted
-- and was just read in the same transaction, and the check would write a row lock into it, once per row that names it.
-- Fill factors leave room for a whole page's rows to be updated in one batch without touching an index.

CREATE TABLE policies (
    regie text NOT NULL CHECK (regie ~ '^[a-z0-9-]{1,40}$'),
    version integer NOT NULL CHECK (version > 0),
    body jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (regie, version)
);
COMMENT ON TABLE policies IS 'What each régie chose, every version kept, without secrets: replay decides with what was true then.';

CREATE TABLE regies (
    code text PRIMARY KEY CHECK (code ~ '^[a-z0-9-]{1,40}$'),
    label text NOT NULL,
    policy_version integer NOT NULL,
    FOREIGN KEY (code, policy_version) REFERENCES policies (regie, version)
);
COMMENT ON TABLE regies IS 'Every régie ever configured; one that leaves the configuration stays, with its last policy.';

CREATE TABLE events (
    place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    regie text NOT NULL,
    time timestamptz,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    data jsonb NOT NULL,
    digest bytea NOT NULL,
    raw bytea,
    trace text,
    UNIQUE (client, source, id)
);
COMMENT ON TABLE events IS 'Facts as they came, never changed. The digest covers type and data: the same key with another one is a conflict.';

CREATE TABLE pending (
    place bigint PRIMARY KEY,
    queue text NOT NULL CHECK (
        queue IN ('payment-started', 'gateway-callback', 'payment-timeout', 'invoice-changed', 'payment-corrected')
    ),
    type text NOT NULL,
    regie text NOT NULL,
    subject text,
    attempts smallint NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    claimed_at timestamptz,
    waited boolean NOT NULL DEFAULT false,
    parked boolean NOT NULL DEFAULT false,
    error text
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE pending IS 'Events not applied yet: lease, attempts, parking. Narrow and deleted from, so that a claim costs the same with any history.';
CREATE INDEX pending_facts ON pending (place) WHERE queue <> 'gateway-callback' AND NOT parked;
CREATE INDEX pending_callbacks ON pending (place) WHERE queue = 'gateway-callback' AND NOT parked;
CREATE INDEX pending_subject ON pending (regie, subject) WHERE subject IS NOT NULL;
CREATE INDEX pending_parked ON pending (place) WHERE parked;

CREATE TABLE outcomes (
    place bigint PRIMARY KEY,
    applied_seq bigint GENERATED ALWAYS AS IDENTITY,
    outcome text NOT NULL CHECK (outcome IN ('applied', 'refused', 'ignored')),
    reason text NOT NULL CHECK (reason <> ''),
    decided_at timestamptz NOT NULL,
    policy_version integer NOT NULL
);
COMMENT ON TABLE outcomes IS 'What became of each event: once, for good, with the policy, the time and the place in the order of application.';

CREATE TABLE invoices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    regie text NOT NULL,
    number text NOT NULL,
    state text CHECK (state IN ('payable', 'in_payment', 'paid', 'withdrawn')),
    version integer NOT NULL DEFAULT 0 CHECK (version >= 0),
    account text,
    issued_cents bigint CHECK (issued_cents >= 0),
    amount_cents bigint CHECK (amount_cents >= 0),
    means text,
    issued_on date,
    label text,
    document_url text,
    withdrawn boolean NOT NULL DEFAULT false,
    fact_time timestamptz,
    fact_place bigint,
    issue_time timestamptz,
    issue_place bigint,
    settled_cents bigint NOT NULL DEFAULT 0,
    paid_at timestamptz,
    paid_by text,
    to_check boolean NOT NULL DEFAULT false,
    reason text,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (regie, number),
    CHECK (state IS NULL OR (amount_cents IS NOT NULL AND reason <> '')),
    CHECK ((state = 'paid') = (paid_at IS NOT NULL) OR state IS NULL),
    CHECK (state <> 'withdrawn' OR withdrawn)
) WITH (fillfactor = 45);
COMMENT ON TABLE invoices IS 'What families owe. state NULL: only waiting facts name it, nobody sees it yet.';
CREATE INDEX invoices_account ON invoices (regie, account, id);

CREATE TABLE payments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    regie text NOT NULL,
    reference text NOT NULL,
    state text CHECK (
        state IN ('started', 'paid', 'refused', 'cancelled', 'expired', 'rejected', 'reversed', 'refunded')
    ),
    reason text,
    amount_cents bigint CHECK (amount_cents > 0),
    start_time timestamptz,
    start_place bigint,
    deadline timestamptz,
    hold_limit timestamptz,
    payable_again_at timestamptz,
    hold_over boolean NOT NULL DEFAULT false,
    hold_ended_at timestamptz,
    rejected boolean NOT NULL DEFAULT false,
    doubt boolean NOT NULL DEFAULT false,
    late boolean NOT NULL DEFAULT false,
    received_cents bigint NOT NULL DEFAULT 0 CHECK (received_cents >= 0),
    refunded_cents bigint NOT NULL DEFAULT 0 CHECK (refunded_cents >= 0),
    provisional boolean NOT NULL DEFAULT false,
    first_money_at timestamptz,
    first_money_place bigint,
    settled_at timestamptz,
    latest_reference text,
    UNIQUE (regie, reference),
    CHECK (state IS NULL OR (amount_cents IS NOT NULL AND deadline IS NOT NULL AND reason <> '')),
    CHECK (state <> 'paid' OR (received_cents >= amount_cents AND settled_at IS NOT NULL)),
    CHECK (state IS NULL OR state NOT IN ('paid', 'expired', 'rejected', 'reversed', 'refunded') OR hold_over),
    CHECK (state IS NULL OR hold_over OR payable_again_at >= deadline)
) WITH (fillfactor = 45);
COMMENT ON TABLE payments IS 'Attempts to pay. state NULL: facts about it wait for its payment-started. The row is the key that workers lock.';

CREATE TABLE payment_lines (
    payment_id bigint NOT NULL REFERENCES payments (id),
    invoice_id bigint NOT NULL REFERENCES invoices (id),
    cents bigint NOT NULL CHECK (cents > 0),
    held boolean NOT NULL DEFAULT false,
    PRIMARY KEY (payment_id, invoice_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE payment_lines IS 'What each payment pays of each invoice; held: this payment locks it.';
CREATE INDEX payment_lines_invoice ON payment_lines (invoice_id);
CREATE UNIQUE INDEX payment_lines_one_hold ON payment_lines (invoice_id) WHERE held;

CREATE TABLE gateway_references (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    regie text NOT NULL,
    gateway_reference text NOT NULL,
    payment_id bigint REFERENCES payments (id),
    UNIQUE (regie, gateway_reference)
) WITH (fillfactor = 45);
COMMENT ON TABLE gateway_references IS 'The gateway''s names of payments, one owner each; without one, its charges wait. The row is a key that workers lock.';
CREATE INDEX gateway_references_payment ON gateway_references (payment_id) WHERE payment_id IS NOT NULL;

CREATE TABLE charges (
    gateway_reference_id bigint NOT NULL REFERENCES gateway_references (id),
    transaction_id text NOT NULL,
    result text NOT NULL CHECK (result IN ('P', 'V', 'Z', 'R', 'A')),
    cents bigint CHECK (cents >= 0),
    received_at timestamptz,
    place bigint,
    PRIMARY KEY (gateway_reference_id, transaction_id)
);
COMMENT ON TABLE charges IS 'What a gateway proved, per transaction of its own: the highest of P > Z > V > R > A.';

CREATE TABLE adjustments (
    kind text NOT NULL CHECK (kind IN ('settled', 'unsettled', 'refunded', 'reversed', 'credited')),
    fact_id text NOT NULL,
    cents bigint NOT NULL CHECK (cents >= 0),
    place bigint NOT NULL,
    invoice_id bigint REFERENCES invoices (id),
    payment_id bigint REFERENCES payments (id),
    means text,
    UNIQUE NULLS NOT DISTINCT (kind, invoice_id, payment_id, fact_id),
    CHECK ((invoice_id IS NULL) <> (payment_id IS NULL)),
    CHECK (kind = 'credited' OR (kind IN ('settled', 'unsettled')) = (invoice_id IS NOT NULL))
);
COMMENT ON TABLE adjustments IS 'Money that moved outside the gateway''s charges; one fact_id counts once.';
CREATE INDEX adjustments_invoice ON adjustments (invoice_id) WHERE invoice_id IS NOT NULL;
CREATE INDEX adjustments_payment ON adjustments (payment_id) WHERE payment_id IS NOT NULL;

CREATE TABLE discrepancies (
    id text PRIMARY KEY,
    regie text NOT NULL,
    kind text NOT NULL CHECK (
        kind IN (
            'double_payment', 'underpaid', 'overpaid', 'paid_withdrawn', 'missing', 'unknown_payment',
            'unverified_callback', 'test_payment', 'reversed', 'gateway_silent'
        )
    ),
    amount_cents bigint NOT NULL CHECK (amount_cents >= 0),
    state text NOT NULL CHECK (state IN ('open', 'closed', 'resolved')),
    opened_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    payment_id bigint REFERENCES payments (id),
    invoice_id bigint REFERENCES invoices (id),
    payment text,
    invoice text,
    subject text NOT NULL DEFAULT '',
    detail jsonb NOT NULL DEFAULT '{}',
    resolution text CHECK (resolution IN ('refunded', 'credited', 'written_off', 'explained')),
    resolved_cents bigint CHECK (resolved_cents >= 0),
    comment text,
    CHECK ((state = 'resolved') <= (resolution IS NOT NULL))
);
COMMENT ON TABLE discrepancies IS 'What money or gateway say and the books do not; never deleted.';
CREATE INDEX discrepancies_open ON discrepancies (regie, opened_at, id) WHERE state = 'open';
CREATE INDEX discrepancies_payment ON discrepancies (payment_id) WHERE payment_id IS NOT NULL;
CREATE INDEX discrepancies_invoice ON discrepancies (invoice_id) WHERE invoice_id IS NOT NULL;

CREATE TABLE journal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    place bigint NOT NULL,
    regie text NOT NULL,
    invoice_id bigint,
    payment_id bigint,
    at timestamptz NOT NULL,
    before text,
    after text NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    CHECK (before IS DISTINCT FROM after)
);
COMMENT ON TABLE journal IS 'Every change of state, with the event that caused it. Append-only: the trigger refuses anything else.';
CREATE INDEX journal_invoice ON journal (invoice_id, id) WHERE invoice_id IS NOT NULL;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the % is append-only: % refused', TG_TABLE_NAME, TG_OP;
END
$$;
CREATE TRIGGER journal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE holds (
    payment_id bigint PRIMARY KEY REFERENCES payments (id),
    payable_again_at timestamptz NOT NULL
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE holds IS 'Timers: one row per hold not written as over. Narrow, so that a sweep touches nothing else.';
CREATE INDEX holds_due ON holds (payable_again_at);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    regie text NOT NULL,
    type text NOT NULL,
    at timestamptz NOT NULL,
    data jsonb NOT NULL
);
COMMENT ON TABLE outbox IS 'What the régie''s portal is to be told, written with the change itself.';
