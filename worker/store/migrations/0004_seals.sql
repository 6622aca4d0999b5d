-- Seals: what was applied, and the journal that it wrote, chained by hashes, one chain per régie (docs/journal.md).

-- Built at once, in this file's transaction: while it lasts (seconds for each million rows) workers wait, and what portals
-- send is taken.
-- squawk-ignore require-concurrent-index-creation
CREATE UNIQUE INDEX outcomes_applied_seq ON outcomes (applied_seq);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX journal_place ON journal (place);

CREATE TABLE seals (
    regie text NOT NULL,
    number bigint NOT NULL CHECK (number > 0),
    sealed_at timestamptz NOT NULL,
    last_seq bigint NOT NULL,
    places bigint[] NOT NULL CHECK (cardinality(places) > 0),
    events bytea NOT NULL,
    applications bytea NOT NULL,
    previous bytea NOT NULL CHECK (octet_length(previous) = 32),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (regie, number),
    CHECK (octet_length(events) = 32 * cardinality(places)),
    CHECK (octet_length(applications) = 32 * cardinality(places))
);
ALTER TABLE seals ALTER COLUMN events SET STORAGE EXTERNAL, ALTER COLUMN applications SET STORAGE EXTERNAL;
COMMENT ON TABLE seals IS 'Events in the order of their application, each with the digests of what came in and of what became of it. Append-only.';
CREATE TRIGGER seals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON seals
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE chains (
    regie text PRIMARY KEY,
    length bigint NOT NULL CHECK (length > 0),
    head bytea NOT NULL CHECK (octet_length(head) = 32),
    last_seq bigint NOT NULL
);
COMMENT ON TABLE chains IS 'Where each chain ends: a seal that is missing there would else never be missed.';
