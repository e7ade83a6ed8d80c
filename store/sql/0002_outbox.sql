-- The outbox: calls that become messages if and only if the transaction that made them is committed.
-- celeriac.enqueue() and its sisters put them here; a relay (celeriac beat) publishes them and deletes
-- the rows. Rows in order of their numbers; where `ordered` is asked for, they are published so, too.
CREATE TABLE celeriac.outbox (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL, -- of the task
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ordered boolean NOT NULL,
    call json, -- task, args, kwargs and options, checked; the relay writes the message; or else
    queue text, -- with a message: where it goes
    step smallint, -- with a message: its list, 0 3 6 9
    message text, -- as it goes to Redis
    refused text, -- why it cannot be published; it stays until this is set to NULL again, or deleted
    CHECK ((call IS NULL) = (message IS NOT NULL AND queue IS NOT NULL AND step IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX ON celeriac.outbox (ordered, number) WHERE refused IS NULL;

-- Which of several databases on one Redis these numbers belong to.
CREATE TABLE celeriac.identity (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    is_it boolean NOT NULL UNIQUE DEFAULT true CHECK (is_it) -- one row
);
INSERT INTO celeriac.identity DEFAULT VALUES;

CREATE FUNCTION celeriac.outbox_notify() RETURNS trigger
LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('celeriac_outbox', ''); RETURN NULL; END $$;

CREATE TRIGGER notify AFTER INSERT ON celeriac.outbox
FOR EACH STATEMENT EXECUTE FUNCTION celeriac.outbox_notify();

-- --- enqueueing ---------------------------------------------------------------------------------

CREATE FUNCTION celeriac.refuse(reason text) RETURNS void
LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'celeriac.enqueue: %', reason USING ERRCODE = 'invalid_parameter_value'; END $$;

-- Unix milliseconds of an option that is a time (text as PostgreSQL reads it) or seconds from now.
CREATE FUNCTION celeriac.option_moment(option text, value jsonb, seconds_allowed boolean) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    moment timestamptz;
BEGIN
    IF jsonb_typeof(value) = 'number' AND seconds_allowed THEN
        IF (value #>> '{}')::numeric NOT BETWEEN 0 AND 3155760000 THEN
            PERFORM celeriac.refuse(format('option %s is 0 to 3155760000 seconds, not %s', option, value));
        END IF;
        RETURN floor((extract(epoch FROM clock_timestamp()) + (value #>> '{}')::numeric) * 1000);
    END IF;
    IF jsonb_typeof(value) <> 'string' THEN
        PERFORM celeriac.refuse(format('option %s is a time like "2026-01-31T12:00:00Z"%s, not %s', option,
            CASE WHEN seconds_allowed THEN ' or a number of seconds' ELSE '' END, value));
    END IF;
    BEGIN
        moment := value #>> '{}';
    EXCEPTION WHEN invalid_datetime_format OR datetime_field_overflow OR invalid_parameter_value THEN
        PERFORM celeriac.refuse(format('option %s is no time: %s', option, value));
    END;
    IF NOT moment BETWEEN '1970-01-01T00:00:01Z' AND '9999-12-31T00:00:00Z' THEN
        PERFORM celeriac.refuse(format('option %s is out of range: %s', option, value));
    END IF;
    RETURN floor(extract(epoch FROM moment) * 1000);
END $$;

CREATE FUNCTION celeriac.check_option(option text, value jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    kind text := jsonb_typeof(value);
    words text := value #>> '{}';
BEGIN
    CASE option
    WHEN 'queue' THEN
        IF kind <> 'string' OR octet_length(words) NOT BETWEEN 1 AND 200 OR words ~ '[\x01-\x1f\x7f]' THEN
            PERFORM celeriac.refuse(format('option queue is a name of 1 to 200 bytes without control characters, not %s', value));
        END IF;
    WHEN 'priority' THEN
        IF kind <> 'number' OR words !~ '^[0-9]$' THEN
            PERFORM celeriac.refuse(format('option priority is 0 (first) to 9 (last), not %s', value));
        END IF;
    WHEN 'retries' THEN
        IF kind <> 'number' OR words !~ '^[0-9]{1,9}$' THEN
            PERFORM celeriac.refuse(format('option retries is a count from 0, not %s', value));
        END IF;
    WHEN 'time_limit', 'soft_time_limit' THEN
        IF kind <> 'number' OR words::numeric NOT BETWEEN 0.001 AND 31557600 THEN
            PERFORM celeriac.refuse(format('option %s is a number of seconds up to a year, not %s', option, value));
        END IF;
    WHEN 'ignore_result', 'ordered' THEN
        IF kind <> 'boolean' THEN
            PERFORM celeriac.refuse(format('option %s is true or false, not %s', option, value));
        END IF;
    WHEN 'shadow' THEN
        IF kind <> 'string' OR octet_length(words) NOT BETWEEN 1 AND 255 THEN
            PERFORM celeriac.refuse(format('option shadow is a name of 1 to 255 bytes, not %s', value));
        END IF;
    WHEN 'task_id' THEN
        IF kind <> 'string' OR words !~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN
            PERFORM celeriac.refuse(format('option task_id is a UUID, not %s', value));
        END IF;
    WHEN 'headers' THEN
        IF kind <> 'object' THEN
            PERFORM celeriac.refuse(format('option headers is an object, not %s', value));
        END IF;
    WHEN 'countdown', 'eta', 'expires' THEN
        NULL; -- option_moment
    ELSE
        PERFORM celeriac.refuse(format('there is no option %s (queue, priority, countdown, eta, expires, retries, '
            'time_limit, soft_time_limit, ignore_result, shadow, task_id, headers, ordered)', to_json(option)));
    END CASE;
END $$;

-- The call, checked; its times as Unix milliseconds.
CREATE FUNCTION celeriac.checked_call(task text, args jsonb, kwargs jsonb, options jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
    given jsonb := coalesce(options, '{}');
    kept jsonb;
BEGIN
    IF task IS NULL OR octet_length(task) NOT BETWEEN 1 AND 255 THEN
        PERFORM celeriac.refuse('task is a name of 1 to 255 bytes');
    END IF;
    IF jsonb_typeof(coalesce(args, '[]')) <> 'array' THEN
        PERFORM celeriac.refuse(format('args is an array, not %s', jsonb_typeof(args)));
    END IF;
    IF jsonb_typeof(coalesce(kwargs, '{}')) <> 'object' THEN
        PERFORM celeriac.refuse(format('kwargs is an object, not %s', jsonb_typeof(kwargs)));
    END IF;
    IF jsonb_typeof(given) <> 'object' THEN
        PERFORM celeriac.refuse(format('options is an object, not %s', jsonb_typeof(given)));
    END IF;
    -- Celery's apply_async(queue=None) means: not given
    given := jsonb_strip_nulls(given);
    PERFORM celeriac.check_option(key, value) FROM jsonb_each(given);
    IF given ?& ARRAY['countdown', 'eta'] THEN
        PERFORM celeriac.refuse('countdown and eta exclude each other');
    END IF;
    kept := given - ARRAY['countdown', 'eta', 'expires', 'task_id', 'ordered'];
    IF given ? 'countdown' THEN
        kept := kept || jsonb_build_object('eta_ms', celeriac.option_moment('countdown', given -> 'countdown', true));
    ELSIF given ? 'eta' THEN
        kept := kept || jsonb_build_object('eta_ms', celeriac.option_moment('eta', given -> 'eta', false));
    END IF;
    IF given ? 'expires' THEN
        kept := kept || jsonb_build_object('expires_ms', celeriac.option_moment('expires', given -> 'expires', true));
    END IF;
    kept := jsonb_build_object('task', task, 'args', coalesce(args, '[]'), 'kwargs', coalesce(kwargs, '{}'), 'options', kept);
    IF octet_length(kept::text) > 8388608 THEN
        PERFORM celeriac.refuse(format('the call has %s bytes of JSON, and may have 8388608', octet_length(kept::text)));
    END IF;
    RETURN kept;
END $$;

-- Calls `task` if and only if this transaction is committed. Options as in Celery's apply_async:
-- queue, priority, countdown, eta, expires, retries, time_limit, soft_time_limit, ignore_result,
-- shadow, task_id (a UUID), headers; and ordered: published after all that were enqueued before with
-- ordered.
CREATE FUNCTION celeriac.enqueue(task text, args jsonb DEFAULT '[]', kwargs jsonb DEFAULT '{}', options jsonb DEFAULT '{}')
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    call jsonb := celeriac.checked_call(task, args, kwargs, options);
    id uuid := coalesce((options ->> 'task_id')::uuid, gen_random_uuid());
BEGIN
    INSERT INTO celeriac.outbox (id, ordered, call)
    VALUES (id, coalesce((options ->> 'ordered')::boolean, false), call);
    RETURN id;
END $$;

-- The same for many: [{"task": ..., "args": [...], "kwargs": {...}, "options": {...}}, ...]. The ids come in
-- the order of the calls.
CREATE FUNCTION celeriac.enqueue_many(calls jsonb) RETURNS SETOF uuid
LANGUAGE plpgsql AS $$
DECLARE
    extra text;
BEGIN
    IF jsonb_typeof(calls) IS DISTINCT FROM 'array' THEN
        PERFORM celeriac.refuse('calls is an array of objects with task, args, kwargs, options');
    END IF;
    SELECT key INTO extra FROM jsonb_array_elements(calls) AS call, jsonb_object_keys(call) AS key
    WHERE key NOT IN ('task', 'args', 'kwargs', 'options') LIMIT 1;
    IF extra IS NOT NULL THEN
        PERFORM celeriac.refuse(format('a call has task, args, kwargs and options, no %s', to_json(extra)));
    END IF;
    RETURN QUERY
        WITH checked AS MATERIALIZED (
            SELECT ordinality AS place, value AS given,
                celeriac.checked_call(value ->> 'task', value -> 'args', value -> 'kwargs', value -> 'options') AS call
            FROM jsonb_array_elements(calls) WITH ORDINALITY
        ), named AS MATERIALIZED (
            SELECT place, call, coalesce((given #>> '{options,task_id}')::uuid, gen_random_uuid()) AS id,
                coalesce((given #>> '{options,ordered}')::boolean, false) AS ordered
            FROM checked ORDER BY place
        ), kept AS (
            INSERT INTO celeriac.outbox (id, ordered, call) SELECT id::text, ordered, call FROM named ORDER BY place
        )
        SELECT id FROM named ORDER BY place;
END $$;

-- For client libraries: a message as it goes to Redis. In PL/pgSQL, which keeps the plan.
CREATE FUNCTION celeriac.enqueue_message(id text, queue text, step int, message text, ordered boolean DEFAULT false)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO celeriac.outbox (id, ordered, queue, step, message) VALUES (id, ordered, queue, step, message);
END $$;

-- --- the relay ----------------------------------------------------------------------------------

-- Locks rows that nobody else publishes just now, in order, until there are `most` of a kind or 4 MiB.
-- The ordered ones go to one relay at a time.
CREATE FUNCTION celeriac.outbox_take(most int) RETURNS TABLE (
    number bigint, id text, created_ms bigint, call json, queue text, step smallint, message text)
LANGUAGE plpgsql AS $$
DECLARE
    bytes bigint := 0;
    in_order boolean;
    entry celeriac.outbox;
BEGIN
    FOREACH in_order IN ARRAY ARRAY[true, false] LOOP
        CONTINUE WHEN in_order AND NOT pg_try_advisory_xact_lock(7163384635117891946);
        FOR entry IN SELECT * FROM celeriac.outbox AS o WHERE o.ordered = in_order AND o.refused IS NULL
                ORDER BY o.number LIMIT most FOR UPDATE SKIP LOCKED LOOP
            number := entry.number; id := entry.id; created_ms := floor(extract(epoch FROM entry.created_at) * 1000);
            call := entry.call; queue := entry.queue; step := entry.step; message := entry.message;
            RETURN NEXT;
            bytes := bytes + octet_length(coalesce(entry.message, entry.call::text));
            IF bytes > 4194304 THEN RETURN; END IF;
        END LOOP;
    END LOOP;
END $$;
