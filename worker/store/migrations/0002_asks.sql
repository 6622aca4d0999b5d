-- Questions to gateways: when each is asked next about which of its references, and who waits for the answer.

CREATE TABLE asks (
    gateway_reference_id bigint PRIMARY KEY REFERENCES gateway_references (id),
    regie text NOT NULL,
    gateway_reference text NOT NULL,
    born_at timestamptz,
    due_at timestamptz,
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    asked_at timestamptz,
    called_at timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE asks IS 'When a gateway is asked next. due_at NULL: it called about what no payment-started has named. One row per reference, so one ask in flight.';
CREATE INDEX asks_due ON asks (regie, due_at) WHERE due_at IS NOT NULL;

ALTER TABLE pending ADD COLUMN asking boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN pending.asking IS 'A callback that proves nothing by itself: the answer to the ask that it provoked gives it its outcome.';

ALTER TABLE gateway_references ADD COLUMN doubt boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN gateway_references.doubt IS 'The gateway''s last answer about it was that it cannot say; a payment is in doubt while one of its references is.';
