-- Exactly-once effects (.transaction = CEL_ONCE): one row for each call whose effects stand. It is
-- written by the transaction that made them, so it is there if and only if they are.
--
-- Rows are kept for one to two weeks and go by partition: three slots of a week each are used in turn,
-- and the one that comes next is emptied before its week begins. Every call looks into each of them,
-- so there are as few as can be.
CREATE TABLE celeriac.effect (
    task_id text NOT NULL,
    slot smallint NOT NULL,
    task text NOT NULL,
    done_at timestamptz NOT NULL,
    result text, -- JSON; NULL: null
    children text, -- JSON, of the result document
    sends json NOT NULL, -- [[queue, step, message], ...]: what is sent when the success is recorded
    chords json NOT NULL, -- [[group, size, growth, saved], ...]: that begin with it
    PRIMARY KEY (task_id, slot)
) PARTITION BY LIST (slot);

DO $$
BEGIN
    FOR slot IN 0..2 LOOP
        EXECUTE format('CREATE TABLE celeriac.effect_%s PARTITION OF celeriac.effect FOR VALUES IN (%s)', slot, slot);
    END LOOP;
END $$;

-- The slot of the week of `moment`, or of one so many weeks later.
CREATE FUNCTION celeriac.effect_slot(moment timestamptz, later int DEFAULT 0) RETURNS smallint
LANGUAGE sql STABLE AS $$ SELECT ((floor(extract(epoch FROM moment) / 604800)::bigint + later) % 3)::smallint $$;

-- First in the transaction: waits until no other run of this call is under way, then shows what it
-- came to: no row when it was not done, else one for each send, or one without a queue. `given_up`:
-- whoever else runs it has lost the call to us, so its session is ended and not waited for (its
-- process may be stopped, or cut off from the network).
CREATE FUNCTION celeriac.effect_begin(id text, given_up boolean)
RETURNS TABLE (result text, children text, chords text, queue text, step text, message text)
LANGUAGE plpgsql AS $$
DECLARE
    key bigint := hashtextextended(id, 7163384635117891945);
BEGIN
    -- The snapshot would be older than the end of the wait, and could miss the row.
    IF current_setting('transaction_isolation') = 'repeatable read' THEN
        RAISE EXCEPTION 'a task with CEL_ONCE needs the isolation level read committed or serializable, not repeatable read'
            USING ERRCODE = 'feature_not_supported';
    END IF;
    IF NOT pg_try_advisory_xact_lock(key) THEN
        IF given_up THEN
            PERFORM pg_terminate_backend(held.pid)
            FROM pg_locks AS held JOIN pg_stat_activity AS session USING (pid)
            WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
                AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND held.classid::bigint = (key >> 32) & 4294967295 AND held.objid::bigint = key & 4294967295
                AND session.usename = current_user;
        END IF;
        PERFORM pg_advisory_xact_lock(key);
    END IF;
    RETURN QUERY
        SELECT e.result, e.children, e.chords::text, send.value ->> 0, send.value ->> 1, send.value ->> 2
        FROM celeriac.effect AS e LEFT JOIN LATERAL json_array_elements(e.sends) WITH ORDINALITY AS send ON true
        WHERE e.task_id = id ORDER BY send.ordinality;
END $$;

-- Last in the transaction, before its COMMIT. In PL/pgSQL, which keeps the plan.
CREATE FUNCTION celeriac.effect_end(id text, task text, result text, children text, sends json, chords json) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO celeriac.effect (task_id, slot, task, done_at, result, children, sends, chords)
    VALUES (id, celeriac.effect_slot(clock_timestamp()), task, clock_timestamp(), result, children, sends, chords);
END $$;

-- Empties the slot of next week, unless somebody uses it just now: the next call does it then.
CREATE FUNCTION celeriac.effect_expire() RETURNS void
LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
DECLARE
    next_one text := format('celeriac.effect_%s', celeriac.effect_slot(now(), 1));
    used boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %s)', next_one) INTO used;
    IF used THEN
        EXECUTE format('TRUNCATE %s', next_one);
    END IF;
EXCEPTION WHEN lock_not_available THEN
    NULL;
END $$;
