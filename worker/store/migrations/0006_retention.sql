-- Retention: what is raw or personal goes when its time is over, and what is left of each event can still be proved
-- (docs/privacy.md, docs/journal.md).

-- All are NULL in what is there, and in what an older version writes beside this one.
ALTER TABLE events
ADD COLUMN facts bytea,
ADD COLUMN blanking bigint,
ADD COLUMN rest bytea,
ADD COLUMN raw_digest bytea,
-- squawk-ignore constraint-missing-not-valid
ADD CONSTRAINT events_blanked CHECK (
    CASE
        WHEN blanking IS NULL THEN rest IS NULL AND raw_digest IS NULL
        ELSE octet_length(rest) = 32 AND raw IS NULL
    END
);
COMMENT ON TABLE events IS 'Facts as they came, never changed but to blank what is raw or personal when its time is over. The digest covers type and data as they came: the same key with another one is a conflict.';
COMMENT ON COLUMN events.facts IS 'Digest of what stays when personal fields go, sealed with the event. NULL: nothing in it is personal, or a version before 0006 took it.';
COMMENT ON COLUMN events.blanking IS 'The place of the event that records its blanking; NULL: it is whole.';
COMMENT ON COLUMN events.rest IS 'Digest of the type and of what blanking left of the data.';
COMMENT ON COLUMN events.raw_digest IS 'SHA-256 of the raw bytes that blanking took away.';

-- Dead rows still have what was blanked: they are vacuumed sooner than by default.
ALTER TABLE events SET (autovacuum_vacuum_scale_factor = '0.02');

-- What is still to be blanked, oldest first: read by the clock, from where it was. Built at once, in this file's
-- transaction, in a second or two for each million of events, while which new ones wait.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX events_with_raw ON events (received_at, place)
WHERE blanking IS NULL AND (
    type = 'fr.lettrage.gateway.callback.v1' OR (type = 'fr.lettrage.gateway.report.v1' AND raw IS NOT NULL)
);
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX events_personal ON events (received_at, place)
WHERE blanking IS NULL AND type IN (
    'fr.lettrage.invoice.issued.v1',
    'fr.lettrage.invoice.withdrawn.v1',
    'fr.lettrage.payment.started.v1',
    'fr.lettrage.payment.refunded.v1',
    'fr.lettrage.payment.reversed.v1',
    'fr.lettrage.discrepancy.resolved.v1',
    'fr.lettrage.dossier.restored.v1'
);

-- Calls about what nobody ever paid: their rows go when their time is over.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX asks_unknown ON asks (called_at) WHERE due_at IS NULL;
