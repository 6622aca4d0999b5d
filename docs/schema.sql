-- What the migrations in worker/store/migrations make. Written by `make schema`; a test keeps it true.

CREATE FUNCTION public.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'the % is append-only: % refused', TG_TABLE_NAME, TG_OP;
END
$$;

CREATE TABLE public.adjustments (
    kind text NOT NULL,
    fact_id text NOT NULL,
    cents bigint NOT NULL,
    place bigint NOT NULL,
    invoice_id bigint,
    payment_id bigint,
    means text,
    CONSTRAINT adjustments_cents_check CHECK ((cents >= 0)),
    CONSTRAINT adjustments_check CHECK (((invoice_id IS NULL) <> (payment_id IS NULL))),
    CONSTRAINT adjustments_check1 CHECK (((kind = 'credited'::text) OR ((kind = ANY (ARRAY['settled'::text, 'unsettled'::text])) = (invoice_id IS NOT NULL)))),
    CONSTRAINT adjustments_kind_check CHECK ((kind = ANY (ARRAY['settled'::text, 'unsettled'::text, 'refunded'::text, 'reversed'::text, 'credited'::text])))
);

COMMENT ON TABLE public.adjustments IS 'Money that moved outside the gateway''s charges; one fact_id counts once.';

CREATE TABLE public.asks (
    gateway_reference_id bigint NOT NULL,
    regie text NOT NULL,
    gateway_reference text NOT NULL,
    born_at timestamp with time zone,
    due_at timestamp with time zone,
    leased_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    asked_at timestamp with time zone,
    called_at timestamp with time zone
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='20000');

COMMENT ON TABLE public.asks IS 'When a gateway is asked next. due_at NULL: it called about what no payment-started has named. One row per reference, so one ask in flight.';

CREATE TABLE public.chains (
    regie text NOT NULL,
    length bigint NOT NULL,
    head bytea NOT NULL,
    last_seq bigint NOT NULL,
    CONSTRAINT chains_head_check CHECK ((octet_length(head) = 32)),
    CONSTRAINT chains_length_check CHECK ((length > 0))
);

COMMENT ON TABLE public.chains IS 'Where each chain ends: a seal that is missing there would else never be missed.';

CREATE TABLE public.charges (
    gateway_reference_id bigint NOT NULL,
    transaction_id text NOT NULL,
    result text NOT NULL,
    cents bigint,
    received_at timestamp with time zone,
    place bigint,
    CONSTRAINT charges_cents_check CHECK ((cents >= 0)),
    CONSTRAINT charges_result_check CHECK ((result = ANY (ARRAY['P'::text, 'V'::text, 'Z'::text, 'R'::text, 'A'::text])))
);

COMMENT ON TABLE public.charges IS 'What a gateway proved, per transaction of its own: the highest of P > Z > V > R > A.';

CREATE TABLE public.deliveries (
    outbox_id bigint NOT NULL,
    regie text NOT NULL,
    subject text NOT NULL,
    due_at timestamp with time zone NOT NULL,
    leased_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    own_failures integer DEFAULT 0 NOT NULL,
    tried_at timestamp with time zone,
    given_up boolean DEFAULT false NOT NULL,
    CONSTRAINT deliveries_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT deliveries_own_failures_check CHECK ((own_failures >= 0))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='20000');

COMMENT ON TABLE public.deliveries IS 'Notifications of the outbox not delivered yet. Narrow and deleted from, so that a claim costs the same with any history. own_failures: of its attempts, those that failed while its portal was not down; tried_at: the first attempt; those given up stay.';

CREATE TABLE public.delivery_attempts (
    outbox_id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    outcome text NOT NULL,
    status smallint,
    error text,
    milliseconds integer NOT NULL,
    CONSTRAINT delivery_attempts_check CHECK (((outcome = ANY (ARRAY['delivered'::text, 'refused'::text, 'gone'::text, 'redirected'::text])) = (status IS NOT NULL))),
    CONSTRAINT delivery_attempts_milliseconds_check CHECK ((milliseconds >= 0)),
    CONSTRAINT delivery_attempts_outcome_check CHECK ((outcome = ANY (ARRAY['delivered'::text, 'refused'::text, 'gone'::text, 'redirected'::text, 'timed_out'::text, 'unreachable'::text, 'address_forbidden'::text])))
);

COMMENT ON TABLE public.delivery_attempts IS 'How each attempt to deliver a notification ended; never changed.';

CREATE TABLE public.discrepancies (
    id text NOT NULL,
    regie text NOT NULL,
    kind text NOT NULL,
    amount_cents bigint NOT NULL,
    state text NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    payment_id bigint,
    invoice_id bigint,
    payment text,
    invoice text,
    subject text DEFAULT ''::text NOT NULL,
    detail jsonb DEFAULT '{}'::jsonb NOT NULL,
    resolution text,
    resolved_cents bigint,
    comment text,
    CONSTRAINT discrepancies_amount_cents_check CHECK ((amount_cents >= 0)),
    CONSTRAINT discrepancies_check CHECK (((state = 'resolved'::text) <= (resolution IS NOT NULL))),
    CONSTRAINT discrepancies_kind_check CHECK ((kind = ANY (ARRAY['double_payment'::text, 'underpaid'::text, 'overpaid'::text, 'paid_withdrawn'::text, 'missing'::text, 'unknown_payment'::text, 'unverified_callback'::text, 'test_payment'::text, 'reversed'::text, 'gateway_silent'::text]))),
    CONSTRAINT discrepancies_resolution_check CHECK ((resolution = ANY (ARRAY['refunded'::text, 'credited'::text, 'written_off'::text, 'explained'::text]))),
    CONSTRAINT discrepancies_resolved_cents_check CHECK ((resolved_cents >= 0)),
    CONSTRAINT discrepancies_state_check CHECK ((state = ANY (ARRAY['open'::text, 'closed'::text, 'resolved'::text])))
);

COMMENT ON TABLE public.discrepancies IS 'What money or gateway say and the books do not; never deleted.';

CREATE TABLE public.events (
    place bigint NOT NULL,
    client text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    regie text NOT NULL,
    "time" timestamp with time zone,
    received_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    data jsonb NOT NULL,
    digest bytea NOT NULL,
    raw bytea,
    trace text,
    facts bytea,
    blanking bigint,
    rest bytea,
    raw_digest bytea,
    CONSTRAINT events_blanked CHECK (
CASE
    WHEN (blanking IS NULL) THEN ((rest IS NULL) AND (raw_digest IS NULL))
    ELSE ((octet_length(rest) = 32) AND (raw IS NULL))
END)
)
WITH (autovacuum_vacuum_scale_factor='0.02');

COMMENT ON TABLE public.events IS 'Facts as they came, never changed but to blank what is raw or personal when its time is over. The digest covers type and data as they came: the same key with another one is a conflict.';

COMMENT ON COLUMN public.events.facts IS 'Digest of what stays when personal fields go, sealed with the event. NULL: nothing in it is personal, or a version before 0006 took it.';

COMMENT ON COLUMN public.events.blanking IS 'The place of the event that records its blanking; NULL: it is whole.';

COMMENT ON COLUMN public.events.rest IS 'Digest of the type and of what blanking left of the data.';

COMMENT ON COLUMN public.events.raw_digest IS 'SHA-256 of the raw bytes that blanking took away.';

ALTER TABLE public.events ALTER COLUMN place ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.events_place_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.gateway_references (
    id bigint NOT NULL,
    regie text NOT NULL,
    gateway_reference text NOT NULL,
    payment_id bigint,
    doubt boolean DEFAULT false NOT NULL
)
WITH (fillfactor='45');

COMMENT ON TABLE public.gateway_references IS 'The gateway''s names of payments, one owner each; without one, its charges wait. The row is a key that workers lock.';

COMMENT ON COLUMN public.gateway_references.doubt IS 'The gateway''s last answer about it was that it cannot say; a payment is in doubt while one of its references is.';

ALTER TABLE public.gateway_references ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.gateway_references_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.holds (
    payment_id bigint NOT NULL,
    payable_again_at timestamp with time zone NOT NULL
)
WITH (fillfactor='90', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='20000');

COMMENT ON TABLE public.holds IS 'Timers: one row per hold not written as over. Narrow, so that a sweep touches nothing else.';

CREATE TABLE public.invoices (
    id bigint NOT NULL,
    regie text NOT NULL,
    number text NOT NULL,
    state text,
    version integer DEFAULT 0 NOT NULL,
    account text,
    issued_cents bigint,
    amount_cents bigint,
    means text,
    issued_on date,
    label text,
    document_url text,
    withdrawn boolean DEFAULT false NOT NULL,
    fact_time timestamp with time zone,
    fact_place bigint,
    issue_time timestamp with time zone,
    issue_place bigint,
    settled_cents bigint DEFAULT 0 NOT NULL,
    paid_at timestamp with time zone,
    paid_by text,
    to_check boolean DEFAULT false NOT NULL,
    reason text,
    first_seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT invoices_amount_cents_check CHECK ((amount_cents >= 0)),
    CONSTRAINT invoices_check CHECK (((state IS NULL) OR ((amount_cents IS NOT NULL) AND (reason <> ''::text)))),
    CONSTRAINT invoices_check1 CHECK ((((state = 'paid'::text) = (paid_at IS NOT NULL)) OR (state IS NULL))),
    CONSTRAINT invoices_check2 CHECK (((state <> 'withdrawn'::text) OR withdrawn)),
    CONSTRAINT invoices_issued_cents_check CHECK ((issued_cents >= 0)),
    CONSTRAINT invoices_state_check CHECK ((state = ANY (ARRAY['payable'::text, 'in_payment'::text, 'paid'::text, 'withdrawn'::text]))),
    CONSTRAINT invoices_version_check CHECK ((version >= 0))
)
WITH (fillfactor='45');

COMMENT ON TABLE public.invoices IS 'What families owe. state NULL: only waiting facts name it, nobody sees it yet.';

ALTER TABLE public.invoices ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.invoices_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.journal (
    id bigint NOT NULL,
    place bigint NOT NULL,
    regie text NOT NULL,
    invoice_id bigint,
    payment_id bigint,
    at timestamp with time zone NOT NULL,
    before text,
    after text NOT NULL,
    reason text NOT NULL,
    CONSTRAINT journal_check CHECK ((before IS DISTINCT FROM after)),
    CONSTRAINT journal_reason_check CHECK ((reason <> ''::text))
);

COMMENT ON TABLE public.journal IS 'Every change of state, with the event that caused it. Append-only: the trigger refuses anything else.';

ALTER TABLE public.journal ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.journal_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.outbox (
    id bigint NOT NULL,
    regie text NOT NULL,
    type text NOT NULL,
    at timestamp with time zone NOT NULL,
    data jsonb NOT NULL,
    place bigint
);

COMMENT ON TABLE public.outbox IS 'What the régie''s portal is to be told, written with the change itself.';

COMMENT ON COLUMN public.outbox.place IS 'The event that made the change. NULL: a version before 0008 wrote it.';

ALTER TABLE public.outbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.outcomes (
    place bigint NOT NULL,
    applied_seq bigint NOT NULL,
    outcome text NOT NULL,
    reason text NOT NULL,
    decided_at timestamp with time zone NOT NULL,
    policy_version integer NOT NULL,
    CONSTRAINT outcomes_outcome_check CHECK ((outcome = ANY (ARRAY['applied'::text, 'refused'::text, 'ignored'::text]))),
    CONSTRAINT outcomes_reason_check CHECK ((reason <> ''::text))
);

COMMENT ON TABLE public.outcomes IS 'What became of each event: once, for good, with the policy, the time and the place in the order of application.';

ALTER TABLE public.outcomes ALTER COLUMN applied_seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outcomes_applied_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.payment_lines (
    payment_id bigint NOT NULL,
    invoice_id bigint NOT NULL,
    cents bigint NOT NULL,
    held boolean DEFAULT false NOT NULL,
    CONSTRAINT payment_lines_cents_check CHECK ((cents > 0))
)
WITH (fillfactor='80');

COMMENT ON TABLE public.payment_lines IS 'What each payment pays of each invoice; held: this payment locks it.';

CREATE TABLE public.payments (
    id bigint NOT NULL,
    regie text NOT NULL,
    reference text NOT NULL,
    state text,
    reason text,
    amount_cents bigint,
    start_time timestamp with time zone,
    start_place bigint,
    deadline timestamp with time zone,
    hold_limit timestamp with time zone,
    payable_again_at timestamp with time zone,
    hold_over boolean DEFAULT false NOT NULL,
    hold_ended_at timestamp with time zone,
    rejected boolean DEFAULT false NOT NULL,
    doubt boolean DEFAULT false NOT NULL,
    late boolean DEFAULT false NOT NULL,
    received_cents bigint DEFAULT 0 NOT NULL,
    refunded_cents bigint DEFAULT 0 NOT NULL,
    provisional boolean DEFAULT false NOT NULL,
    first_money_at timestamp with time zone,
    first_money_place bigint,
    settled_at timestamp with time zone,
    latest_reference text,
    CONSTRAINT payments_amount_cents_check CHECK ((amount_cents > 0)),
    CONSTRAINT payments_check CHECK (((state IS NULL) OR ((amount_cents IS NOT NULL) AND (deadline IS NOT NULL) AND (reason <> ''::text)))),
    CONSTRAINT payments_check1 CHECK (((state <> 'paid'::text) OR ((received_cents >= amount_cents) AND (settled_at IS NOT NULL)))),
    CONSTRAINT payments_check2 CHECK (((state IS NULL) OR (state <> ALL (ARRAY['paid'::text, 'expired'::text, 'rejected'::text, 'reversed'::text, 'refunded'::text])) OR hold_over)),
    CONSTRAINT payments_check3 CHECK (((state IS NULL) OR hold_over OR (payable_again_at >= deadline))),
    CONSTRAINT payments_received_cents_check CHECK ((received_cents >= 0)),
    CONSTRAINT payments_refunded_cents_check CHECK ((refunded_cents >= 0)),
    CONSTRAINT payments_state_check CHECK ((state = ANY (ARRAY['started'::text, 'paid'::text, 'refused'::text, 'cancelled'::text, 'expired'::text, 'rejected'::text, 'reversed'::text, 'refunded'::text])))
)
WITH (fillfactor='45');

COMMENT ON TABLE public.payments IS 'Attempts to pay. state NULL: facts about it wait for its payment-started. The row is the key that workers lock.';

ALTER TABLE public.payments ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.payments_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.pending (
    place bigint NOT NULL,
    queue text NOT NULL,
    type text NOT NULL,
    regie text NOT NULL,
    subject text,
    attempts smallint DEFAULT 0 NOT NULL,
    leased_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    claimed_at timestamp with time zone,
    waited boolean DEFAULT false NOT NULL,
    parked boolean DEFAULT false NOT NULL,
    error text,
    asking boolean DEFAULT false NOT NULL,
    CONSTRAINT pending_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT pending_queue_check CHECK ((queue = ANY (ARRAY['payment-started'::text, 'gateway-callback'::text, 'payment-timeout'::text, 'invoice-changed'::text, 'payment-corrected'::text])))
)
WITH (fillfactor='40', autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='20000');

COMMENT ON TABLE public.pending IS 'Events not applied yet: lease, attempts, parking. Narrow and deleted from, so that a claim costs the same with any history.';

COMMENT ON COLUMN public.pending.asking IS 'A callback that proves nothing by itself: the answer to the ask that it provoked gives it its outcome.';

CREATE TABLE public.policies (
    regie text NOT NULL,
    version integer NOT NULL,
    body jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT policies_regie_check CHECK ((regie ~ '^[a-z0-9-]{1,40}$'::text)),
    CONSTRAINT policies_version_check CHECK ((version > 0))
);

COMMENT ON TABLE public.policies IS 'What each régie chose, every version kept, without secrets: replay decides with what was true then.';

CREATE TABLE public.portals (
    regie text NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    paused_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    disabled_for text,
    CONSTRAINT portals_failures_check CHECK ((failures >= 0))
);

COMMENT ON TABLE public.portals IS 'How each régie''s portal fares: failures in a row, until when it is left alone, and the digest of the address that answered 410.';

CREATE TABLE public.regies (
    code text NOT NULL,
    label text NOT NULL,
    policy_version integer NOT NULL,
    CONSTRAINT regies_code_check CHECK ((code ~ '^[a-z0-9-]{1,40}$'::text))
);

COMMENT ON TABLE public.regies IS 'Every régie ever configured; one that leaves the configuration stays, with its last policy.';

CREATE TABLE public.replay_changes (
    id bigint NOT NULL,
    replay_id bigint NOT NULL,
    subject text NOT NULL,
    change jsonb NOT NULL
);

COMMENT ON TABLE public.replay_changes IS 'What a replay put right, or would have, once a row: from which state to which, and why.';

ALTER TABLE public.replay_changes ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.replay_changes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.replay_parked (
    replay_id bigint NOT NULL,
    place bigint NOT NULL
);

COMMENT ON TABLE public.replay_parked IS 'Parked events that a replay gave back to the workers.';

CREATE TABLE public.replays (
    id bigint NOT NULL,
    filter jsonb NOT NULL,
    regies text[],
    dry_run boolean NOT NULL,
    comment text,
    client text NOT NULL,
    state text DEFAULT 'running'::text NOT NULL,
    last_place bigint NOT NULL,
    cursor_place bigint DEFAULT 0 NOT NULL,
    matched bigint,
    replayed bigint DEFAULT 0 NOT NULL,
    changed bigint DEFAULT 0 NOT NULL,
    failed bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamp with time zone,
    runner text,
    leased_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    CONSTRAINT replays_changed_check CHECK ((changed >= 0)),
    CONSTRAINT replays_check CHECK ((dry_run OR (comment <> ''::text))),
    CONSTRAINT replays_check1 CHECK (((state = 'done'::text) = (finished_at IS NOT NULL))),
    CONSTRAINT replays_failed_check CHECK ((failed >= 0)),
    CONSTRAINT replays_replayed_check CHECK ((replayed >= 0)),
    CONSTRAINT replays_state_check CHECK ((state = ANY (ARRAY['running'::text, 'done'::text])))
);

COMMENT ON TABLE public.replays IS 'Who had which events replayed, why, and how far that is; never deleted. regies: those that the client reaches, NULL for all. last_place: what came later is not replayed. cursor_place: up to there it is done, committed with what it changed.';

ALTER TABLE public.replays ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.replays_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.schema_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT schema_migrations_sha256_check CHECK ((sha256 ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT schema_migrations_version_check CHECK ((version > 0))
);

CREATE TABLE public.seals (
    regie text NOT NULL,
    number bigint NOT NULL,
    sealed_at timestamp with time zone NOT NULL,
    last_seq bigint NOT NULL,
    places bigint[] NOT NULL,
    events bytea NOT NULL,
    applications bytea NOT NULL,
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT seals_check CHECK ((octet_length(events) = (32 * cardinality(places)))),
    CONSTRAINT seals_check1 CHECK ((octet_length(applications) = (32 * cardinality(places)))),
    CONSTRAINT seals_hash_check CHECK ((octet_length(hash) = 32)),
    CONSTRAINT seals_number_check CHECK ((number > 0)),
    CONSTRAINT seals_places_check CHECK ((cardinality(places) > 0)),
    CONSTRAINT seals_previous_check CHECK ((octet_length(previous) = 32))
);
ALTER TABLE ONLY public.seals ALTER COLUMN events SET STORAGE EXTERNAL;
ALTER TABLE ONLY public.seals ALTER COLUMN applications SET STORAGE EXTERNAL;

COMMENT ON TABLE public.seals IS 'Events in the order of their application, each with the digests of what came in and of what became of it. Append-only.';

ALTER TABLE ONLY public.adjustments
    ADD CONSTRAINT adjustments_kind_invoice_id_payment_id_fact_id_key UNIQUE NULLS NOT DISTINCT (kind, invoice_id, payment_id, fact_id);

ALTER TABLE ONLY public.asks
    ADD CONSTRAINT asks_pkey PRIMARY KEY (gateway_reference_id);

ALTER TABLE ONLY public.chains
    ADD CONSTRAINT chains_pkey PRIMARY KEY (regie);

ALTER TABLE ONLY public.charges
    ADD CONSTRAINT charges_pkey PRIMARY KEY (gateway_reference_id, transaction_id);

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (outbox_id);

ALTER TABLE ONLY public.discrepancies
    ADD CONSTRAINT discrepancies_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_client_source_id_key UNIQUE (client, source, id);

ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (place);

ALTER TABLE ONLY public.gateway_references
    ADD CONSTRAINT gateway_references_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.gateway_references
    ADD CONSTRAINT gateway_references_regie_gateway_reference_key UNIQUE (regie, gateway_reference);

ALTER TABLE ONLY public.holds
    ADD CONSTRAINT holds_pkey PRIMARY KEY (payment_id);

ALTER TABLE ONLY public.invoices
    ADD CONSTRAINT invoices_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.invoices
    ADD CONSTRAINT invoices_regie_number_key UNIQUE (regie, number);

ALTER TABLE ONLY public.journal
    ADD CONSTRAINT journal_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.outcomes
    ADD CONSTRAINT outcomes_pkey PRIMARY KEY (place);

ALTER TABLE ONLY public.payment_lines
    ADD CONSTRAINT payment_lines_pkey PRIMARY KEY (payment_id, invoice_id);

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.payments
    ADD CONSTRAINT payments_regie_reference_key UNIQUE (regie, reference);

ALTER TABLE ONLY public.pending
    ADD CONSTRAINT pending_pkey PRIMARY KEY (place);

ALTER TABLE ONLY public.policies
    ADD CONSTRAINT policies_pkey PRIMARY KEY (regie, version);

ALTER TABLE ONLY public.portals
    ADD CONSTRAINT portals_pkey PRIMARY KEY (regie);

ALTER TABLE ONLY public.regies
    ADD CONSTRAINT regies_pkey PRIMARY KEY (code);

ALTER TABLE ONLY public.replay_changes
    ADD CONSTRAINT replay_changes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.replay_changes
    ADD CONSTRAINT replay_changes_replay_id_subject_key UNIQUE (replay_id, subject);

ALTER TABLE ONLY public.replay_parked
    ADD CONSTRAINT replay_parked_pkey PRIMARY KEY (replay_id, place);

ALTER TABLE ONLY public.replays
    ADD CONSTRAINT replays_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.seals
    ADD CONSTRAINT seals_pkey PRIMARY KEY (regie, number);

CREATE INDEX adjustments_invoice ON public.adjustments USING btree (invoice_id) WHERE (invoice_id IS NOT NULL);

CREATE INDEX adjustments_payment ON public.adjustments USING btree (payment_id) WHERE (payment_id IS NOT NULL);

CREATE INDEX asks_due ON public.asks USING btree (regie, due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX asks_unknown ON public.asks USING btree (called_at) WHERE (due_at IS NULL);

CREATE INDEX deliveries_due ON public.deliveries USING btree (regie, due_at, outbox_id) WHERE (NOT given_up);

CREATE INDEX deliveries_subject ON public.deliveries USING btree (regie, subject, outbox_id) WHERE (NOT given_up);

CREATE INDEX delivery_attempts_outbox ON public.delivery_attempts USING btree (outbox_id, at);

CREATE INDEX discrepancies_invoice ON public.discrepancies USING btree (invoice_id) WHERE (invoice_id IS NOT NULL);

CREATE INDEX discrepancies_open ON public.discrepancies USING btree (regie, opened_at, id) WHERE (state = 'open'::text);

CREATE INDEX discrepancies_payment ON public.discrepancies USING btree (payment_id) WHERE (payment_id IS NOT NULL);

CREATE INDEX events_personal ON public.events USING btree (received_at, place) WHERE ((blanking IS NULL) AND (type = ANY (ARRAY['fr.lettrage.invoice.issued.v1'::text, 'fr.lettrage.invoice.withdrawn.v1'::text, 'fr.lettrage.payment.started.v1'::text, 'fr.lettrage.payment.refunded.v1'::text, 'fr.lettrage.payment.reversed.v1'::text, 'fr.lettrage.discrepancy.resolved.v1'::text, 'fr.lettrage.dossier.restored.v1'::text])));

CREATE INDEX events_subject ON public.events USING btree (regie, COALESCE((data ->> 'number'::text), (data ->> 'reference'::text), (data ->> 'gateway_reference'::text), (data ->> 'id'::text))) WHERE (type <> 'fr.lettrage.gateway.callback.v1'::text);

CREATE INDEX events_with_raw ON public.events USING btree (received_at, place) WHERE ((blanking IS NULL) AND ((type = 'fr.lettrage.gateway.callback.v1'::text) OR ((type = 'fr.lettrage.gateway.report.v1'::text) AND (raw IS NOT NULL))));

CREATE INDEX gateway_references_payment ON public.gateway_references USING btree (payment_id) WHERE (payment_id IS NOT NULL);

CREATE INDEX holds_due ON public.holds USING btree (payable_again_at);

CREATE INDEX invoices_account ON public.invoices USING btree (regie, account, id);

CREATE INDEX journal_invoice ON public.journal USING btree (invoice_id, id) WHERE (invoice_id IS NOT NULL);

CREATE INDEX journal_place ON public.journal USING btree (place);

CREATE UNIQUE INDEX outcomes_applied_seq ON public.outcomes USING btree (applied_seq);

CREATE INDEX payment_lines_invoice ON public.payment_lines USING btree (invoice_id);

CREATE UNIQUE INDEX payment_lines_one_hold ON public.payment_lines USING btree (invoice_id) WHERE held;

CREATE INDEX pending_callbacks ON public.pending USING btree (place) WHERE ((queue = 'gateway-callback'::text) AND (NOT parked));

CREATE INDEX pending_facts ON public.pending USING btree (place) WHERE ((queue <> 'gateway-callback'::text) AND (NOT parked));

CREATE INDEX pending_parked ON public.pending USING btree (place) WHERE parked;

CREATE INDEX pending_subject ON public.pending USING btree (regie, subject) WHERE (subject IS NOT NULL);

CREATE INDEX replays_running ON public.replays USING btree (id) WHERE (state = 'running'::text);

CREATE TRIGGER journal_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.journal FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER seals_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.seals FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

ALTER TABLE ONLY public.adjustments
    ADD CONSTRAINT adjustments_invoice_id_fkey FOREIGN KEY (invoice_id) REFERENCES public.invoices(id);

ALTER TABLE ONLY public.adjustments
    ADD CONSTRAINT adjustments_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES public.payments(id);

ALTER TABLE ONLY public.asks
    ADD CONSTRAINT asks_gateway_reference_id_fkey FOREIGN KEY (gateway_reference_id) REFERENCES public.gateway_references(id);

ALTER TABLE ONLY public.charges
    ADD CONSTRAINT charges_gateway_reference_id_fkey FOREIGN KEY (gateway_reference_id) REFERENCES public.gateway_references(id);

ALTER TABLE ONLY public.discrepancies
    ADD CONSTRAINT discrepancies_invoice_id_fkey FOREIGN KEY (invoice_id) REFERENCES public.invoices(id);

ALTER TABLE ONLY public.discrepancies
    ADD CONSTRAINT discrepancies_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES public.payments(id);

ALTER TABLE ONLY public.gateway_references
    ADD CONSTRAINT gateway_references_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES public.payments(id);

ALTER TABLE ONLY public.holds
    ADD CONSTRAINT holds_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES public.payments(id);

ALTER TABLE ONLY public.payment_lines
    ADD CONSTRAINT payment_lines_invoice_id_fkey FOREIGN KEY (invoice_id) REFERENCES public.invoices(id);

ALTER TABLE ONLY public.payment_lines
    ADD CONSTRAINT payment_lines_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES public.payments(id);

ALTER TABLE ONLY public.regies
    ADD CONSTRAINT regies_code_policy_version_fkey FOREIGN KEY (code, policy_version) REFERENCES public.policies(regie, version);

ALTER TABLE ONLY public.replay_changes
    ADD CONSTRAINT replay_changes_replay_id_fkey FOREIGN KEY (replay_id) REFERENCES public.replays(id);

ALTER TABLE ONLY public.replay_parked
    ADD CONSTRAINT replay_parked_replay_id_fkey FOREIGN KEY (replay_id) REFERENCES public.replays(id);
