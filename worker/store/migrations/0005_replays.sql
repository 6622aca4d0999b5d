-- Replays: events decided again from their facts. Who asked for it and why, how far it is, what it put right.

CREATE TABLE replays (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    filter jsonb NOT NULL,
    regies text [],
    dry_run boolean NOT NULL,
    comment text,
    client text NOT NULL,
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done')),
    last_place bigint NOT NULL,
    cursor_place bigint NOT NULL DEFAULT 0,
    matched bigint,
    replayed bigint NOT NULL DEFAULT 0 CHECK (replayed >= 0),
    changed bigint NOT NULL DEFAULT 0 CHECK (changed >= 0),
    failed bigint NOT NULL DEFAULT 0 CHECK (failed >= 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    runner text,
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    CHECK (dry_run OR comment <> ''),
    CHECK ((state = 'done') = (finished_at IS NOT NULL))
);
COMMENT ON TABLE replays IS 'Who had which events replayed, why, and how far that is; never deleted. regies: those that the client reaches, NULL for all. last_place: what came later is not replayed. cursor_place: up to there it is done, committed with what it changed.';
CREATE INDEX replays_running ON replays (id) WHERE state = 'running';

CREATE TABLE replay_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    replay_id bigint NOT NULL REFERENCES replays (id),
    subject text NOT NULL,
    change jsonb NOT NULL,
    UNIQUE (replay_id, subject)
);
COMMENT ON TABLE replay_changes IS 'What a replay put right, or would have, once a row: from which state to which, and why.';

CREATE TABLE replay_parked (
    replay_id bigint NOT NULL REFERENCES replays (id),
    place bigint NOT NULL,
    PRIMARY KEY (replay_id, place)
);
COMMENT ON TABLE replay_parked IS 'Parked events that a replay gave back to the workers.';

-- Every fact that names an invoice, a payment, a gateway reference or a discrepancy is found from that name. It takes two
-- seconds for each million of events, while which new ones wait: they are refused, and sent again.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX events_subject ON events (
    regie,
    coalesce(data ->> 'number', data ->> 'reference', data ->> 'gateway_reference', data ->> 'id')
) WHERE type <> 'fr.lettrage.gateway.callback.v1';
