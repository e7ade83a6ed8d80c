/*
 * What ends a request before it is answered (pipeline.h has the lists):
 *
 *     its deadline while it waits    told why there is no connection, or -ETIMEDOUT with the words
 *                                    with which the server refused to run it
 *     its deadline once it is sent   the whole connection is given up: nobody knows what is lost
 *     the end of the connection      those sent are uncertain, but for repeatable ones, which wait
 *                                    again; those that wait stay
 *     a refusal for good             all that wait are told: a wrong password does not heal
 *
 * One alarm serves the deadline of the state and the earliest of the requests. It is only ever
 * moved forward when a request comes; when it goes off early, the lists are looked through and it
 * is set anew. So a request costs no timer of its own.
 *
 * Callbacks run from reading, or from the alarm, which goes off after the loop has polled; never
 * while the loop prepares to sleep. What fails while writing is therefore kept as `fault`.
 */
#include "redis/connection.h"

#include <errno.h>
#include <stdio.h>

#include "core/backoff.h"
#include "core/mem.h"
#include "redis/words.h"

#define CONNECT_TIMEOUT_DEFAULT (4 * USEC_PER_SEC)
#define SENTINEL_WITHIN         USEC_PER_SEC       /* each */
#define LOOK_EVERY              (USEC_PER_SEC / 2) /* whether there is another master */
#define LEAVE_WITHIN            (USEC_PER_SEC / 5) /* when there is: it may hang, or hold a wait */
#define TRUSTED_FOR             USEC_PER_SEC       /* after it was heard */
#define STABLE_AFTER            USEC_PER_SEC /* a connection that lasted so long was a good one */
static const struct backoff reconnect = {.first = 20 * USEC_PER_MSEC, .cap = USEC_PER_SEC};
static const struct backoff again = {.first = 20 * USEC_PER_MSEC, .cap = USEC_PER_SEC};

#define STATE(name) (1u << REDIS_##name)
static const struct {
    const char *doing; /* for "no answer while ..." */
    unsigned next;
    bool is_timed;
} states[] = {
    [REDIS_IDLE] = {"idle", STATE(RESOLVING) | STATE(CONNECTING) | STATE(BACKOFF), false},
    [REDIS_RESOLVING] = {"looking up the host",
                         STATE(RESOLVING) | STATE(CONNECTING) | STATE(IDLE) | STATE(BACKOFF), true},
    [REDIS_CONNECTING] = {"connecting",
                          STATE(CONNECTING) | STATE(AUTHENTICATING) | STATE(SELECTING) |
                              STATE(TESTING) | STATE(IDLE) | STATE(BACKOFF),
                          true},
    [REDIS_AUTHENTICATING] = {"authenticating",
                              STATE(SELECTING) | STATE(TESTING) | STATE(IDLE) | STATE(BACKOFF),
                              true},
    [REDIS_SELECTING] = {"selecting the database", STATE(TESTING) | STATE(IDLE) | STATE(BACKOFF),
                         true},
    [REDIS_TESTING] = {"greeting", STATE(TESTING) | STATE(READY) | STATE(IDLE) | STATE(BACKOFF),
                       true},
    [REDIS_READY] = {"ready", STATE(LEAVING) | STATE(IDLE) | STATE(BACKOFF), false},
    [REDIS_LEAVING] = {"leaving", STATE(IDLE) | STATE(BACKOFF), true},
    [REDIS_BACKOFF] = {"waiting to connect again",
                       STATE(RESOLVING) | STATE(CONNECTING) | STATE(IDLE), true},
    [REDIS_CLOSING] = {"closing", 0, false},
};

/* --- states ----------------------------------------------------------------------------------- */

/* When silence ends the connection, unless there is a sign of life before. */
static usec_t silence_mono(const struct redis_connection *c)
{
    if (!c->options.silence || !c->socket || !c->pipeline.sent.head)
        return USEC_NEVER;
    usec_t alive = c->socket->alive_mono;
    return (c->asked_mono > alive ? c->asked_mono : alive) + c->options.silence;
}

static bool is_silent(struct redis_connection *c, usec_t now)
{
    if (now < silence_mono(c))
        return false;
    redis_socket_look(c->socket);
    return now >= silence_mono(c);
}

static void set_alarm(struct redis_connection *c)
{
    usec_t due = c->earliest_mono < c->state_mono ? c->earliest_mono : c->state_mono;
    if (c->pause_mono < due)
        due = c->pause_mono;
    if (c->look_mono < due)
        due = c->look_mono;
    if (c->fault)
        due = 0;
    if (!c->alarm.list || due < c->alarm.due_mono)
        turn_alarm(c->options.turn, &c->alarm, due);
}

static void note_deadline(struct redis_connection *c, usec_t deadline_mono)
{
    if (deadline_mono >= c->earliest_mono)
        return;
    c->earliest_mono = deadline_mono;
    set_alarm(c);
}

/* For each state on the way to READY. */
static usec_t connect_within(const struct redis_connection *c)
{
    usec_t within = c->options.url->connect_timeout;
    return within ? within : CONNECT_TIMEOUT_DEFAULT;
}

/* `deadline_mono` 0: the state's usual one. */
static void set_state(struct redis_connection *c, enum redis_state state, usec_t deadline_mono)
{
    ASSERT(state == REDIS_CLOSING || (states[c->state].next & (1u << state)));
    c->state = state;
    c->state_mono = USEC_NEVER;
    if (states[state].is_timed)
        c->state_mono = deadline_mono ? deadline_mono : clock_mono() + connect_within(c);
    if (state != REDIS_CLOSING)
        set_alarm(c);
}

/* The socket cannot be used any more; what follows from that waits for the alarm. */
static void note_fault(struct redis_connection *c, int code, const char *why)
{
    c->fault = code;
    c->fault_why = why;
    set_alarm(c);
}

static void give_up_socket(struct redis_connection *c)
{
    c->fault = 0;
    c->client_id = 0;
    c->pause_mono = c->look_mono = USEC_NEVER;
    if (c->socket)
        redis_socket_close(c->socket);
    c->socket = NULL;
    if (c->lookup)
        redis_lookup_cancel(c->lookup);
    c->lookup = NULL;
    if (c->sentinel)
        redis_sentinel_give_up(c->sentinel);
    c->sentinel = NULL;
}

static void plan_next_attempt(struct redis_connection *c)
{
    usec_t delay = c->attempt ? backoff_delay(&reconnect, c->attempt - 1, backoff_random()) : 0;
    c->attempt++;
    c->retry_mono = clock_mono() + delay;
    if (c->pipeline.waiting.count)
        set_state(c, REDIS_BACKOFF, c->retry_mono);
    else
        set_state(c, REDIS_IDLE, 0);
}

/* The next one is asked first from now on. */
static void pass_over_sentinel(struct redis_connection *c)
{
    struct redis_sentinels *known = c->options.sentinels;
    if (known->first == c->sentinel_index)
        known->first = (known->first + 1) % c->options.url->sentinel_count;
}

static void set_failure(struct redis_connection *c, int code, const char *why)
{
    if (c->master.host[0])
        error_set(&c->failure, code, "No connection to %s, now %s:%u: %s", c->options.url->display,
                  c->master.host, c->master.port, why);
    else
        error_set(&c->failure, code, "No connection to %s: %s", c->options.url->display, why);
}

/* The present attempt or connection has ended because of `why`. */
static void lose(struct redis_connection *c, int code, const char *why)
{
    struct list uncertain = {NULL, NULL, 0};
    struct cel_error err;
    bool was_ready = c->state == REDIS_READY || c->state == REDIS_LEAVING;
    if (was_ready && clock_mono() - c->ready_mono >= STABLE_AFTER)
        c->attempt = 0;
    set_failure(c, code, why);
    error_set(&err, CEL_E_UNCERTAIN,
              "The connection to %s ended with the command under way: %s; it may have run",
              c->options.url->display, why);
    if (c->options.url->sentinel_count && !was_ready && c->master.host[0])
        pass_over_sentinel(c); /* what that one says does not help */
    give_up_socket(c);
    pipeline_recall(&c->pipeline, &uncertain);
    plan_next_attempt(c);
    requests_tell(&uncertain, CEL_E_UNCERTAIN, &err);
    if (was_ready && c->options.on_lost && c->state != REDIS_CLOSING)
        c->options.on_lost(c->options.data);
}

static void copy_words(char *into, struct str words)
{
    const size_t room = sizeof((struct redis_connection){0}.refusal);
    snprintf(into, room, STR_FORMAT, (int)(words.len < room ? words.len : room - 1), words.ptr);
}

/* The same, because the server has said so. */
static void lose_for_words(struct redis_connection *c, int code, struct str words)
{
    char why[sizeof(c->refusal)];
    copy_words(why, words);
    lose(c, code, why);
}

/* The server does not want us, and will not as long as the settings are these. */
static void refused(struct redis_connection *c, int code, struct str words)
{
    struct list waiting = c->pipeline.waiting;
    struct cel_error err;
    error_set(&err, code, "%s refused the connection: " STR_FORMAT, c->options.url->display,
              STR_ARGS(words));
    c->pipeline.waiting = (struct list){NULL, NULL, 0};
    c->failure = err;
    give_up_socket(c);
    plan_next_attempt(c);
    requests_tell(&waiting, code, &err);
}

/* --- connecting ------------------------------------------------------------------------------- */

static const struct redis_socket_events events;

static int connect_to(struct redis_connection *c, const struct sockaddr *address)
{
    const char *path = c->options.url->path;
    set_state(c, REDIS_CONNECTING, 0);
    int status =
        redis_socket_new(c->loop, path != NULL, &events, c, c->options.read_buffer, &c->socket);
    if (status)
        return status;
    c->open++;
    status = redis_socket_connect(c->socket, path, address);
    if (!status)
        return 0;
    redis_socket_close(c->socket);
    c->socket = NULL;
    return status;
}

/* An address may fail at once, as one of IPv6 does on a host without: then it is the next one. */
static void connect_next(struct redis_connection *c)
{
    int status;
    c->socket = NULL;
    if (c->options.url->path) {
        status = connect_to(c, NULL);
    } else {
        do {
            status = connect_to(c, (const struct sockaddr *)&c->addresses.items[c->address_next++]);
        } while (status && c->address_next < c->addresses.count);
    }
    if (status)
        note_fault(c, status, uv_strerror(status));
}

static void on_looked_up(void *data, int status, const struct redis_addresses *addresses);

static void connect_to_host(struct redis_connection *c, const char *host, uint16_t port)
{
    c->address_next = 0;
    if (redis_addresses_known(host, port, &c->addresses)) {
        connect_next(c);
        return;
    }
    set_state(c, REDIS_RESOLVING, 0);
    int status = redis_lookup_start(c->loop, host, port, on_looked_up, c, &c->lookup);
    if (status)
        note_fault(c, status, uv_strerror(status));
    else
        c->open++;
}

static const struct redis_sentinel_events sentinel_events;

static void ask_next_sentinel(struct redis_connection *c)
{
    const struct url *url = c->options.url;
    usec_t within = connect_within(c);
    c->sentinel_index = c->sentinels_asked++ ? (c->sentinel_index + 1) % url->sentinel_count
                                             : c->options.sentinels->first;
    set_state(c, REDIS_RESOLVING,
              clock_mono() + (within < SENTINEL_WITHIN ? within : SENTINEL_WITHIN));
    int status = redis_sentinel_ask(c->loop, url, c->sentinel_index, c->options.read_buffer,
                                    &sentinel_events, c, &c->sentinel);
    if (status)
        note_fault(c, status, uv_strerror(status));
    else
        c->open++;
}

static void start(struct redis_connection *c)
{
    const struct url *url = c->options.url;
    if (clock_mono() < c->retry_mono) {
        set_state(c, REDIS_BACKOFF, c->retry_mono);
        return;
    }
    c->sentinels_asked = 0;
    c->master.host[0] = '\0';
    if (url->sentinel_count)
        ask_next_sentinel(c);
    else if (url->path)
        connect_next(c);
    else
        connect_to_host(c, url->host, url->port);
}

static void finish_close(struct redis_connection *c)
{
    static const struct cel_error err = {-ECANCELED, "The broker is being closed"};
    void (*closed)(void *) = c->closed;
    void *data = c->closed_data;
    requests_tell(&c->pipeline.refused, -ECANCELED, &err);
    requests_tell(&c->pipeline.sent, -ECANCELED, &err);
    requests_tell(&c->pipeline.waiting, -ECANCELED, &err);
    turn_alarm_clear(&c->alarm);
    buf_deinit(&c->hello);
    mem_free(c);
    closed(data);
}

static void on_part_ended(struct redis_connection *c)
{
    c->open--;
    if (c->state == REDIS_CLOSING && c->open == 0)
        finish_close(c);
}

static void on_looked_up(void *data, int status, const struct redis_addresses *addresses)
{
    struct redis_connection *c = data;
    /* one that was cancelled belongs to an earlier attempt */
    if (status != UV_ECANCELED && c->lookup && c->state == REDIS_RESOLVING) {
        c->lookup = NULL;
        if (status) {
            lose(c, -EHOSTUNREACH, uv_strerror(status));
        } else {
            c->addresses = *addresses;
            connect_next(c);
        }
    }
    on_part_ended(c);
}

static void sentinel_failed(struct redis_connection *c, const char *why)
{
    pass_over_sentinel(c);
    if (c->sentinels_asked < c->options.url->sentinel_count)
        ask_next_sentinel(c);
    else
        lose(c, -EHOSTUNREACH, why);
}

static void
on_sentinel_answered(void *owner, const struct redis_sentinel_master *master, const char *why)
{
    struct redis_connection *c = owner;
    c->sentinel = NULL;
    if (!master) {
        sentinel_failed(c, why);
        return;
    }
    c->master = *master;
    connect_to_host(c, c->master.host, c->master.port);
}

static void on_sentinel_ended(void *owner)
{
    on_part_ended(owner);
}

static const struct redis_sentinel_events sentinel_events = {
    .answered = on_sentinel_answered,
    .ended = on_sentinel_ended,
};

/* One that says nothing: the next is asked. */
static void on_silent_sentinel(struct redis_connection *c)
{
    char why[320];
    const struct url *url = c->options.url;
    const struct url_host *host = &url->sentinels[c->sentinel_index];
    snprintf(why, sizeof(why), "sentinel %s:%u: no answer in time", host->name, host->port);
    redis_sentinel_give_up(c->sentinel);
    c->sentinel = NULL;
    sentinel_failed(c, why);
}

static void enter_hello_step(struct redis_connection *c)
{
    static const enum redis_state state_of[] = {
        [REDIS_HELLO_AUTH] = REDIS_AUTHENTICATING, [REDIS_HELLO_SELECT] = REDIS_SELECTING,
        [REDIS_HELLO_ID] = REDIS_TESTING,          [REDIS_HELLO_ROLE] = REDIS_TESTING,
        [REDIS_HELLO_PING] = REDIS_TESTING,
    };
    set_state(c, state_of[c->hello_steps[c->hello_next]], 0);
}

static void on_connected(void *owner, int status)
{
    struct redis_connection *c = owner;
    if (status && c->address_next < c->addresses.count && !c->options.url->path) {
        redis_socket_close(c->socket);
        connect_next(c);
        return;
    }
    uv_buf_t hello = uv_buf_init(c->hello.ptr, (unsigned)c->hello.len);
    unsigned taken;
    if (!status)
        status = redis_socket_read(c->socket);
    if (!status)
        status = redis_socket_write(c->socket, &hello, 1, &taken);
    if (status) {
        lose(c, status, uv_strerror(status));
        return;
    }
    c->hello_next = 0;
    enter_hello_step(c);
}

static void become_ready(struct redis_connection *c)
{
    set_state(c, REDIS_READY, 0);
    c->ready_mono = clock_mono();
    if (c->options.url->sentinel_count) {
        c->options.sentinels->first = c->sentinel_index;
        c->look_mono = c->ready_mono + LOOK_EVERY;
        set_alarm(c);
    }
    error_clear(&c->failure);
    turn_task(c->options.turn, &c->flush);
}

static void on_hello_error(struct redis_connection *c, enum redis_hello step, struct str words)
{
    int code = redis_hello_refusal(step, words);
    if (code) {
        refused(c, code, words);
        return;
    }
    /* a server that loads its data, for instance: later it may answer better */
    lose_for_words(c, redis_words(words)->reaction == REDIS_TELL ? CEL_E_SERVER : -ETIMEDOUT,
                   words);
}

static void on_hello_reply(struct redis_connection *c, const struct redis_reply *reply)
{
    enum redis_hello step = c->hello_steps[c->hello_next];
    if (reply->type == REDIS_ERROR && !redis_hello_may_fail(step, reply->text)) {
        on_hello_error(c, step, reply->text);
        return;
    }
    if (step == REDIS_HELLO_ROLE && !redis_hello_is_master(reply)) {
        lose(c, -EHOSTUNREACH, "it is not the master");
        return;
    }
    if (step == REDIS_HELLO_ID)
        c->client_id = reply_integer(reply, 0);
    if (++c->hello_next == c->hello_count)
        become_ready(c);
    else
        enter_hello_step(c);
}

/* --- talking ---------------------------------------------------------------------------------- */

static void write_waiting(struct redis_connection *c)
{
    usec_t earliest = USEC_NEVER;
    if (c->state != REDIS_READY || c->fault || c->pause_mono != USEC_NEVER)
        return;
    bool awaits_nothing = !c->pipeline.sent.head;
    int status = pipeline_write(&c->pipeline, c->socket, &earliest);
    note_deadline(c, earliest);
    if (awaits_nothing && c->options.silence) {
        c->asked_mono = clock_mono();
        note_deadline(c, silence_mono(c));
    }
    if (status)
        note_fault(c, status, uv_strerror(status));
}

static void on_flush(struct turn_task *task)
{
    struct redis_connection *c = container_of(task, struct redis_connection, flush);
    if (c->options.on_flush)
        c->options.on_flush(c->options.data);
    write_waiting(c);
}

static void on_drained(void *owner)
{
    write_waiting(owner);
}

static void note_run(struct redis_connection *c)
{
    c->pauses = 0;
    c->refusal[0] = '\0';
}

static void pause_writing(struct redis_connection *c)
{
    if (c->pause_mono != USEC_NEVER)
        return;
    c->pause_mono = clock_mono() + backoff_delay(&again, c->pauses++, backoff_random());
    set_alarm(c);
}

/* The server does not run commands now: what it refused waits again. */
static void on_refusal(struct redis_connection *c, int condition, struct str words)
{
    copy_words(c->refusal, words);
    if (condition == PIPELINE_E_PAUSE)
        pause_writing(c);
    else if (condition == PIPELINE_E_LEAVE && c->state == REDIS_READY)
        set_state(c, REDIS_LEAVING, 0);
}

static void after_answer(struct redis_connection *c)
{
    if (c->pipeline.sent.head)
        return;
    if (c->state == REDIS_LEAVING)
        lose(c, -ETIMEDOUT, c->refusal);
    else if (c->pipeline.waiting.head)
        turn_task(c->options.turn, &c->flush);
}

static void on_reply(void *owner, const struct redis_reply *reply)
{
    struct redis_connection *c = owner;
    if (c->state != REDIS_READY && c->state != REDIS_LEAVING) {
        on_hello_reply(c, reply);
        return;
    }
    if (c->options.on_push && redis_reply_is_push(reply)) {
        c->options.on_push(c->options.data, reply);
        return;
    }
    int condition = pipeline_answer(&c->pipeline, c->socket, reply);
    if (c->state == REDIS_CLOSING)
        return;
    if (condition == PIPELINE_E_UNASKED) {
        lose(c, CEL_E_FORMAT, "the server answered what was not asked");
        return;
    }
    if (condition)
        on_refusal(c, condition, reply->text);
    else if (c->state == REDIS_READY)
        note_run(c);
    after_answer(c);
}

static void on_failed(void *owner, int code, const char *why)
{
    lose(owner, code, why);
}

static void on_socket_closed(void *owner)
{
    on_part_ended(owner);
}

static const struct redis_socket_events events = {
    .connected = on_connected,
    .reply = on_reply,
    .drained = on_drained,
    .failed = on_failed,
    .closed = on_socket_closed,
};

/* --- staying with the master ------------------------------------------------------------------ */

/* Another one has been named, after this one agreed to be it. */
static bool has_moved(const struct redis_connection *c)
{
    const struct redis_sentinels *known = c->options.sentinels;
    return known->answered_mono > c->ready_mono &&
           (strcmp(known->master.host, c->master.host) || known->master.port != c->master.port);
}

static void leave_if_moved(struct redis_connection *c)
{
    if (c->state != REDIS_READY || !has_moved(c))
        return;
    copy_words(c->refusal, STR("the sentinels name another master"));
    set_state(c, REDIS_LEAVING, clock_mono() + LEAVE_WITHIN);
    after_answer(c);
}

static void
on_sentinel_asked_again(void *owner, const struct redis_sentinel_master *master, const char *why)
{
    struct redis_connection *c = owner;
    struct redis_sentinels *known = c->options.sentinels;
    (void)why;
    c->sentinel = NULL;
    if (!master) {
        pass_over_sentinel(c);
        return;
    }
    known->master = *master;
    known->answered_mono = clock_mono();
    leave_if_moved(c);
}

static void look_for_master(struct redis_connection *c, usec_t now)
{
    static const struct redis_sentinel_events asked_again = {
        .answered = on_sentinel_asked_again,
        .ended = on_sentinel_ended,
    };
    struct redis_sentinels *known = c->options.sentinels;
    c->look_mono = now + LOOK_EVERY;
    leave_if_moved(c);
    if (c->state != REDIS_READY || now - known->asked_mono < SENTINEL_WITHIN)
        return;
    if (c->sentinel) {
        redis_sentinel_give_up(c->sentinel);
        c->sentinel = NULL;
        pass_over_sentinel(c);
    }
    known->asked_mono = now;
    c->sentinel_index = known->first;
    if (redis_sentinel_ask(c->loop, c->options.url, c->sentinel_index, c->options.read_buffer,
                           &asked_again, c, &c->sentinel) == 0)
        c->open++;
}

/* --- deadlines -------------------------------------------------------------------------------- */

static void expire_waiting(struct redis_connection *c, usec_t now)
{
    struct list overdue = {NULL, NULL, 0};
    struct cel_error err = c->failure;
    pipeline_expire(&c->pipeline, now, &overdue);
    if (!err.code && c->refusal[0])
        error_set(&err, -ETIMEDOUT, "%s did not run the command in time: %s",
                  c->options.url->display, c->refusal);
    else if (!err.code)
        error_set(&err, -ETIMEDOUT, "No answer from %s in time", c->options.url->display);
    requests_tell(&overdue, err.code, &err);
}

static void check_state(struct redis_connection *c, usec_t now)
{
    char why[64];
    if (c->fault) {
        lose(c, c->fault, c->fault_why);
    } else if (c->state == REDIS_BACKOFF) {
        if (!c->pipeline.waiting.count)
            set_state(c, REDIS_IDLE, 0);
        else if (now >= c->state_mono)
            start(c);
    } else if (now >= c->pause_mono) {
        c->pause_mono = USEC_NEVER;
        turn_task(c->options.turn, &c->flush);
    } else if (now >= c->state_mono && c->state == REDIS_RESOLVING && c->sentinel) {
        on_silent_sentinel(c);
    } else if (now >= c->state_mono) {
        snprintf(why, sizeof(why), "no answer in time while %s", states[c->state].doing);
        lose(c, -ETIMEDOUT, why);
    }
}

static void lose_for_silence(struct redis_connection *c)
{
    void (*on_silent)(void *) = c->options.on_silent;
    void *data = c->options.silent_data;
    lose(c, -ETIMEDOUT, "no answer in time");
    if (on_silent && c->state != REDIS_CLOSING)
        on_silent(data);
}

/* Ends what is overdue; each step may call back and so close the connection. */
static void on_alarm(struct turn_alarm *alarm)
{
    struct redis_connection *c = container_of(alarm, struct redis_connection, alarm);
    usec_t now = clock_mono();
    if (c->state == REDIS_CLOSING) {
        finish_close(c);
        return;
    }
    c->earliest_mono = USEC_NEVER;
    check_state(c, now);
    if (c->state == REDIS_READY && now >= c->look_mono)
        look_for_master(c, now);
    if ((c->state == REDIS_READY || c->state == REDIS_LEAVING) &&
        (pipeline_is_overdue(&c->pipeline, now) || is_silent(c, now)))
        lose_for_silence(c);
    if (c->state != REDIS_CLOSING)
        expire_waiting(c, now);
    if (c->state == REDIS_CLOSING)
        return;
    c->earliest_mono = pipeline_earliest(&c->pipeline);
    if (silence_mono(c) < c->earliest_mono)
        c->earliest_mono = silence_mono(c);
    set_alarm(c);
}

/* --- from outside ----------------------------------------------------------------------------- */

int redis_connection_new(const struct redis_connection_options *options,
                         uv_loop_t *loop,
                         struct redis_connection **ret_connection)
{
    struct redis_connection *c = mem_new(struct redis_connection);
    if (!c)
        return -ENOMEM;
    c->options = *options;
    c->loop = loop;
    c->state_mono = c->earliest_mono = c->pause_mono = c->look_mono = USEC_NEVER;
    if (!c->options.sentinels)
        c->options.sentinels = &c->own_sentinels;
    c->flush.fn = on_flush;
    c->alarm.fn = on_alarm;
    int status =
        redis_hello(options->url, options->wants_id, &c->hello, c->hello_steps, &c->hello_count);
    if (status) {
        buf_deinit(&c->hello);
        mem_free(c);
        return status;
    }
    *ret_connection = c;
    return 0;
}

void redis_connection_free_unused(struct redis_connection *c)
{
    if (c)
        buf_deinit(&c->hello);
    mem_free(c);
}

void redis_connection_close(struct redis_connection *c, void (*closed)(void *data), void *data)
{
    set_state(c, REDIS_CLOSING, 0);
    c->closed = closed;
    c->closed_data = data;
    turn_task_clear(c->options.turn, &c->flush);
    give_up_socket(c);
    turn_alarm_clear(&c->alarm);
    if (c->open == 0)
        turn_alarm(c->options.turn, &c->alarm, 0);
}

void redis_connection_send(struct redis_connection *c, struct redis_request *request)
{
    request->answer_mono = USEC_NEVER;
    list_append(&c->pipeline.waiting, &request->link);
    if (c->state == REDIS_CLOSING)
        return;
    note_deadline(c, request->deadline_mono);
    if (c->state == REDIS_IDLE)
        start(c);
    turn_task(c->options.turn, &c->flush);
}

bool redis_connection_recall(struct redis_connection *c, struct redis_request *request)
{
    return pipeline_take_back(&c->pipeline, request);
}

void redis_connection_wake(struct redis_connection *c)
{
    turn_task(c->options.turn, &c->flush);
}

void redis_connection_reset(struct redis_connection *c, int code, const char *why)
{
    if (c->socket && c->state != REDIS_CLOSING)
        note_fault(c, code, why);
}

void redis_connection_distrust(struct redis_connection *c)
{
    if (c->state != REDIS_READY)
        return;
    redis_socket_look(c->socket);
    if (clock_mono() - c->socket->alive_mono >= TRUSTED_FOR)
        redis_connection_reset(c, -ETIMEDOUT, "the server is silent");
}
