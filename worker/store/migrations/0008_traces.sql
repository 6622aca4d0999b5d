-- A notification knows the event that it tells of, and by it the trace that this came with.

-- NULL in what is there, and in what an older version writes beside this one.
ALTER TABLE outbox ADD COLUMN place bigint;
COMMENT ON COLUMN outbox.place IS 'The event that made the change. NULL: a version before 0008 wrote it.';
