-- The ledger: what became of each attempt (`celeriac worker --ledger full`), or sums of that (summary).
-- Workers write it in batches, `celeriac history` reads it.
CREATE TABLE celeriac.ledger (
    ended_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL, -- by the worker
    started_at timestamptz, -- NULL: it did not run
    peak_rss bigint, -- bytes, of its process; NULL: not known
    retries bigint NOT NULL, -- before this attempt
    pid int, -- of its process
    signal int, -- that its process died of
    node text NOT NULL, -- name@host
    queue text NOT NULL,
    task text, -- NULL, like task_id: no headers that can be read
    task_id text COLLATE "C",
    outcome text NOT NULL,
    error text
) PARTITION BY RANGE (ended_at);
CREATE INDEX ON celeriac.ledger (ended_at);
-- Ids come in no order: an entry of a B-tree for each would cost more than the row.
CREATE INDEX ON celeriac.ledger USING brin (task_id text_bloom_ops) WITH (autosummarize = on);

-- A day (UTC) has a partition of its own; this one takes what comes when there is none.
CREATE TABLE celeriac.ledger_default PARTITION OF celeriac.ledger DEFAULT;

CREATE TABLE celeriac.ledger_summary (
    minute timestamptz NOT NULL,
    task text NOT NULL,
    outcome text NOT NULL,
    attempts bigint NOT NULL,
    run_seconds double precision NOT NULL, -- of all of them
    PRIMARY KEY (minute, task, outcome)
);

CREATE TABLE celeriac.ledger_node (
    node text PRIMARY KEY, -- name@host:incarnation
    batch bigint NOT NULL, -- its last one
    attempts bigint NOT NULL, -- so many are written
    lost bigint NOT NULL, -- so many are not, and cannot be any more
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL
);

-- --- writing ------------------------------------------------------------------------------------

-- Times in microseconds since 1970.
CREATE TYPE celeriac.ledger_attempt AS (
    task text, task_id text, queue text, outcome text, pid int, received bigint, started bigint, ended bigint,
    signal int, peak_rss bigint, retries bigint, error text);
CREATE TYPE celeriac.ledger_sum AS (minute bigint, task text, outcome text, attempts bigint, run_usec bigint);

-- False: the batch was written before, and its answer got lost.
CREATE FUNCTION celeriac.ledger_begin(writer text, number bigint, count bigint, lost_so_far bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO celeriac.ledger_node AS known (node, batch, attempts, lost, first_at, last_at)
    VALUES (writer, number, count, lost_so_far, now(), now())
    ON CONFLICT ON CONSTRAINT ledger_node_pkey DO UPDATE SET batch = excluded.batch,
        attempts = known.attempts + excluded.attempts, lost = excluded.lost, last_at = excluded.last_at
    WHERE known.batch < excluded.batch;
    RETURN FOUND;
END $$;

CREATE FUNCTION celeriac.ledger_write(writer text, number bigint, count bigint, lost bigint, name text,
    batch celeriac.ledger_attempt[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT celeriac.ledger_begin(writer, number, count, lost) THEN
        RETURN;
    END IF;
    FOR try IN 1..2 LOOP
        BEGIN
            INSERT INTO celeriac.ledger (ended_at, received_at, started_at, peak_rss, retries, pid, signal, node, queue,
                task, task_id, outcome, error)
            SELECT to_timestamp(a.ended / 1e6::float8), to_timestamp(a.received / 1e6::float8),
                to_timestamp(a.started / 1e6::float8), a.peak_rss, a.retries, a.pid, a.signal, name, a.queue,
                a.task, a.task_id, a.outcome, a.error
            FROM unnest(batch) AS a;
            RETURN;
        EXCEPTION WHEN check_violation THEN
            IF try = 2 THEN -- else the default partition lost the day, while the rows waited for its lock
                RAISE;
            END IF;
        END;
    END LOOP;
END $$;

CREATE FUNCTION celeriac.ledger_add(writer text, number bigint, count bigint, lost bigint, name text,
    batch celeriac.ledger_sum[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF celeriac.ledger_begin(writer, number, count, lost) THEN
        INSERT INTO celeriac.ledger_summary AS known (minute, task, outcome, attempts, run_seconds)
        SELECT to_timestamp(s.minute / 1e6::float8), s.task, s.outcome, s.attempts, s.run_usec / 1e6::float8
        FROM unnest(batch) AS s
        ORDER BY s.minute, s.task, s.outcome -- the same for all workers, so that none waits in a circle
        ON CONFLICT ON CONSTRAINT ledger_summary_pkey DO UPDATE SET attempts = known.attempts + excluded.attempts,
            run_seconds = known.run_seconds + excluded.run_seconds;
    END IF;
END $$;

-- --- keeping ------------------------------------------------------------------------------------

-- Gives a day its partition, with what of it stands in the default one.
CREATE FUNCTION celeriac.ledger_add_day(day date) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    part text := 'ledger_' || to_char(day, 'YYYYMMDD');
    begins timestamptz := day;
    ends timestamptz := day + 1;
BEGIN
    IF to_regclass('celeriac.' || part) IS NOT NULL THEN
        RETURN;
    END IF;
    -- Attached, not created in place: that would lock all of the ledger.
    EXECUTE format('CREATE TABLE celeriac.%I (LIKE celeriac.ledger INCLUDING ALL)', part);
    LOCK TABLE ONLY celeriac.ledger IN SHARE UPDATE EXCLUSIVE MODE;
    LOCK TABLE celeriac.ledger_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('WITH moved AS (DELETE FROM celeriac.ledger_default WHERE ended_at >= %L AND ended_at < %L RETURNING *) '
        'INSERT INTO celeriac.%I SELECT * FROM moved', begins, ends, part);
    EXECUTE format('ALTER TABLE celeriac.ledger ATTACH PARTITION celeriac.%I FOR VALUES FROM (%L) TO (%L)', part, begins, ends);
END $$;

-- Makes partitions for today and the two days to come, and removes what is more than `days` old. Gives
-- way to whoever uses the tables, and to another who does this: a later call does it then.
CREATE FUNCTION celeriac.ledger_keep(days int) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '100ms' SET timezone = 'UTC' AS $$
DECLARE
    last date := current_date - days;
    part text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(7163384635117891947) THEN
        RETURN;
    END IF;
    BEGIN
        DELETE FROM celeriac.ledger_summary WHERE minute < last;
        DELETE FROM celeriac.ledger_node WHERE last_at < last;
        DELETE FROM celeriac.ledger_default WHERE ended_at < last;
    EXCEPTION WHEN lock_not_available THEN NULL;
    END;
    BEGIN
        FOR ahead IN 0..2 LOOP
            PERFORM celeriac.ledger_add_day(current_date + ahead);
        END LOOP;
    EXCEPTION WHEN lock_not_available THEN NULL;
    END;
    BEGIN
        FOR part IN SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid
                WHERE inhparent = 'celeriac.ledger'::regclass AND relname ~ '^ledger_\d{8}$'
                AND to_date(substr(relname, 8), 'YYYYMMDD') < last LOOP
            EXECUTE format('DROP TABLE celeriac.%I', part);
        END LOOP;
    EXCEPTION WHEN lock_not_available THEN NULL;
    END;
END $$;
