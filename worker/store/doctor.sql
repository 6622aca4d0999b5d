-- What `lettrage doctor` asks the database. Every statement is short, whatever the tables hold, and changes nothing.

-- name: server
-- The server's version, role, clock and the settings that decide whether a commit lasts.
SELECT
    current_setting('server_version_num')::integer AS version,
    current_setting('server_version') AS version_name,
    current_setting('server_encoding') AS encoding,
    current_setting('fsync') AS fsync,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('autovacuum') AS autovacuum,
    current_setting('transaction_read_only') AS read_only,
    pg_is_in_recovery() AS is_replica,
    current_setting('max_connections')::integer AS max_connections,
    current_setting('superuser_reserved_connections')::integer AS reserved_connections,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::integer AS used_connections,
    clock_timestamp() AS now;

-- name: session
-- $1 names of settings: what they are in this session, whoever stands between.
SELECT name, current_setting(name, true) AS value
FROM unnest($1::text[]) AS name;

-- name: forbidden
-- Tables and sequences of ours with which this user may not do what Lettrage does. The journal and its like are only added to.
SELECT c.relname AS name, p.privilege
FROM pg_class AS c
CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS p (privilege)
WHERE
    c.relnamespace = current_schema()::regnamespace
    AND c.relkind = 'r'
    AND NOT (c.relname = 'journal' AND p.privilege IN ('UPDATE', 'DELETE'))
    AND NOT has_table_privilege(c.oid, p.privilege)
UNION ALL
SELECT
    c.relname,
    p.privilege
FROM pg_class AS c
CROSS JOIN (VALUES ('SELECT'), ('USAGE')) AS p (privilege)
WHERE
    c.relnamespace = current_schema()::regnamespace
    AND c.relkind = 'S'
    AND NOT has_sequence_privilege(c.oid, p.privilege)
ORDER BY 1, 2;

-- name: may_create
-- Whether this user may create tables, which a migration does.
SELECT has_schema_privilege(current_schema(), 'CREATE');

-- name: processes
-- How many connections each of our processes has, on every machine.
SELECT application_name AS name, count(*)::integer AS connections
FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'lettrage %'
GROUP BY 1;

-- name: holds
-- Holds that are over and not written so, and for how long the oldest.
SELECT
    count(*)::integer AS overdue,
    coalesce(extract(epoch FROM clock_timestamp() - min(payable_again_at)), 0)::float8 AS oldest_seconds
FROM holds
WHERE payable_again_at < clock_timestamp();

-- name: pending
-- Events that nobody has applied, and since when; the parked ones are told apart.
SELECT
    count(*) FILTER (WHERE p.parked)::integer AS parked,
    count(*) FILTER (WHERE NOT p.parked)::integer AS waiting,
    coalesce(
        extract(epoch FROM clock_timestamp() - min(e.received_at) FILTER (WHERE NOT p.parked)), 0
    )::float8 AS oldest_seconds
FROM pending AS p
JOIN events AS e ON e.place = p.place;

-- name: clocks
-- By client, how far its clock is behind the database's (negative: ahead), in the median of a day's payments started.
SELECT
    client,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM received_at - time))::float8 AS behind_seconds
FROM (
    SELECT client, type, time, received_at
    FROM events
    ORDER BY place DESC
    LIMIT 10000
) AS latest
WHERE
    type = 'fr.lettrage.payment.started.v1'
    AND time IS NOT NULL
    AND received_at > clock_timestamp() - interval '1 day'
GROUP BY client
ORDER BY client;

-- name: notifications
-- Régies of which something is not delivered, or whose portal answered 410: how much waits, since when the oldest of it,
-- how much of that is being sent now, and how the latest attempt at what fails longest, or was given up first, ended. An
-- attempt under way has not failed.
SELECT
    coalesce(d.regie, p.regie) AS regie,
    coalesce(d.waiting, 0)::integer AS waiting,
    coalesce(d.sending, 0)::integer AS sending,
    coalesce(d.failing, 0)::integer AS failing,
    coalesce(d.given_up, 0)::integer AS given_up,
    o.at AS since,
    coalesce(extract(epoch FROM clock_timestamp() - o.at), 0)::float8 AS oldest_seconds,
    p.disabled_for,
    l.outcome,
    l.status,
    l.error
FROM (
    SELECT
        regie,
        count(*) FILTER (WHERE NOT given_up) AS waiting,
        count(*) FILTER (WHERE under_way) AS sending,
        count(*) FILTER (WHERE NOT given_up AND failed) AS failing,
        count(*) FILTER (WHERE given_up) AS given_up,
        min(outbox_id) FILTER (WHERE NOT given_up) AS oldest,
        coalesce(min(outbox_id) FILTER (WHERE NOT given_up AND failed), min(outbox_id) FILTER (WHERE given_up)) AS tried
    FROM (
        SELECT
            regie, outbox_id, given_up,
            leased_until > clock_timestamp() AS under_way,
            attempts > (leased_until > clock_timestamp())::integer AS failed
        FROM deliveries
    ) AS x
    GROUP BY regie
) AS d
FULL JOIN portals AS p ON d.regie = p.regie
LEFT JOIN outbox AS o ON d.oldest = o.id
LEFT JOIN LATERAL (
    SELECT a.outcome, a.status, a.error
    FROM delivery_attempts AS a
    WHERE a.outbox_id = d.tried
    ORDER BY a.at DESC
    LIMIT 1
) AS l ON true
WHERE d.regie IS NOT NULL OR p.disabled_for IS NOT NULL
ORDER BY 1;

-- name: regies
-- Codes of every régie ever configured.
SELECT code
FROM regies
ORDER BY code;
