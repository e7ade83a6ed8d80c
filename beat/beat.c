/*
 * The daemon's life.
 *
 *   starting --PING answered--> running --TERM, INT, QUIT--> stopping --firings over--> closing
 *       +--------no answer, or a signal------------------------ again: at once -----------+
 */
#include "beat/beat.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "beat/entries.h"
#include "beat/relay.h"
#include "beat/ticker.h"
#include "broker/broker.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/process.h"
#include "core/settings.h"
#include "keeper/census.h"
#include "message/call.h"

enum { STATUS_SIZE = 128, STATUS_MS = 5000 };

static const usec_t FIRST_ANSWER_USEC = 5 * USEC_PER_SEC; /* at the start */
static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1};

struct beat {
    uv_loop_t loop;
    struct settings settings;
    struct config config;
    struct entries entries;
    struct routes routes;
    struct broker *broker;
    struct ticker ticker;
    struct promoter promoter;
    struct rescuer rescuer;
    struct census census;
    struct relay relay;
    struct result_rows rows;
    uv_timer_t status, watchdog;
    uv_signal_t signals[ARRAY_SIZE(signals)];
    enum { STARTING, RUNNING, STOPPING, CLOSING } state;
    enum exit_status exit;
};

/* --- telling ---------------------------------------------------------------------------------- */

static void tell_status(struct beat *beat, bool is_ready)
{
    const struct ticker *ticker = &beat->ticker;
    char status[STATUS_SIZE];

    snprintf(status, sizeof status, "%zu entries, %llu slots fired%s",
             ticker->schedule.heap.count + ticker->firing_count, (unsigned long long)ticker->fired,
             ticker->is_down ? "; Redis does not answer" : "");
    if (is_ready)
        process_notify_ready(status);
    else
        process_notify_status(status);
}

static void on_status(uv_timer_t *timer)
{
    tell_status(timer->data, false);
}

static void on_watchdog(uv_timer_t *timer)
{
    const struct beat *beat = timer->data;

    if (ticker_is_alive(&beat->ticker))
        process_notify_watchdog();
}

/* --- stopping --------------------------------------------------------------------------------- */

static void on_broker_closed(void *data)
{
    struct beat *beat = data;

    beat->broker = NULL;
    ticker_close(&beat->ticker);
    promoter_deinit(&beat->promoter);
    rescuer_deinit(&beat->rescuer);
    census_deinit(&beat->census);
    relay_deinit(&beat->relay);
    result_rows_deinit(&beat->rows);
    uv_close((uv_handle_t *)&beat->status, NULL);
    uv_close((uv_handle_t *)&beat->watchdog, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        uv_close((uv_handle_t *)&beat->signals[i], NULL);
}

static void close_broker(void *data)
{
    struct beat *beat = data;

    broker_close(beat->broker, on_broker_closed, beat);
}

static void stop_rows(void *data)
{
    struct beat *beat = data;

    result_rows_stop(&beat->rows, close_broker, beat);
}

static void close_all(void *data)
{
    struct beat *beat = data;

    if (beat->state == CLOSING)
        return;
    beat->state = CLOSING;
    census_stop(&beat->census);
    promoter_stop(&beat->promoter);
    rescuer_stop(&beat->rescuer);
    relay_stop(&beat->relay, stop_rows, beat);
}

static void stop(struct beat *beat)
{
    if (beat->state == STARTING || beat->state == RUNNING) {
        beat->state = STOPPING;
        process_notify_stopping();
        ticker_stop(&beat->ticker, close_all, beat);
    } else {
        close_all(beat);
    }
}

static void report(const struct beat *beat)
{
    log_info("Report", F_U64("fired", beat->ticker.fired),
             F_U64("promoted", beat->promoter.promoted), F_U64("rescued", beat->rescuer.rescued),
             F_U64("queues", beat->census.count), F_U64("relayed", beat->relay.published),
             F_U64("refused", beat->relay.refused));
    for (size_t i = 0; i < beat->entries.count; i++) {
        const struct entry *entry = beat->entries.items[i];
        char due[ISOTIME_SIZE] = "never";
        if (entry->enabled && entry->due_wall != USEC_NEVER)
            isotime_format(entry->due_wall, due);
        log_info("Entry", F_C("entry", entry->name), F_C("task", entry->call->name),
                 F_C("next", entry->enabled ? due : "disabled"), F_C("origin", entry->origin));
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct beat *beat = handle->data;

    switch (number) {
    case SIGUSR1:
        report(beat);
        break;
    case SIGHUP:
        log_warning("SIGHUP changes nothing: beat reads its configuration at the start");
        break;
    default:
        log_info("Beat stops", F_C("signal", strsignal(number)));
        stop(beat);
    }
}

/* --- starting --------------------------------------------------------------------------------- */

static void run(struct beat *beat)
{
    size_t enabled;

    beat->state = RUNNING;
    ticker_start(&beat->ticker, beat->broker, &beat->entries);
    promoter_start(&beat->promoter);
    rescuer_start(&beat->rescuer);
    census_start(&beat->census);
    relay_start(&beat->relay);
    enabled = beat->ticker.schedule.heap.count + beat->ticker.firing_count;
    log_info("Beat ready", F_U64("entries", enabled),
             F_U64("disabled", beat->entries.count - enabled));
    tell_status(beat, true);
    uv_timer_start(&beat->status, on_status, STATUS_MS, STATUS_MS);
}

static void on_first_answer(void *data, int status, const struct cel_error *err)
{
    struct beat *beat = data;

    if (beat->state != STARTING)
        return;
    if (status < 0) {
        log_error("Redis cannot be used", F_C("err", err->text));
        beat->exit = process_exit_status(status);
        stop(beat);
    } else {
        run(beat);
    }
}

static enum exit_status refuse(const struct cel_error *err, enum exit_status status)
{
    fprintf(stderr, "celeriac: %s\n", err->text);
    return status;
}

static void open_log(const struct settings *settings)
{
    enum log_level level = LOG_LEVEL_INFO;
    enum log_format format = isatty(STDERR_FILENO) ? LOG_FORMAT_TEXT : LOG_FORMAT_LOGFMT;

    /* the table of settings allows no other names; an empty format keeps the one above */
    if (log_level_parse(str_of(settings->log_level), &level) < 0 ||
        (*settings->log_format && log_format_parse(str_of(settings->log_format), &format) < 0))
        log_warning("Unknown log level or format");
    log_open(level, format, STDERR_FILENO);
}

/* 0 when there is something to run; otherwise `beat->exit` says how to end. */
static int load_routes(struct beat *beat, struct cel_error *err)
{
    char *text = settings_routes(&beat->config);
    int status = routes_add(&beat->routes, str_of(text), err);

    mem_free(text);
    if (status < 0) {
        error_wrap(err, "beat: [routes]");
        err->code = CEL_E_CONFIG;
        return CEL_E_CONFIG;
    }
    return 0;
}

static int configure(struct beat *beat, int argc, char **argv)
{
    struct cel_error err = {0};
    int status = settings_load(&beat->settings, &beat->config, VERB_BEAT, argc, argv, &err);

    if (status < 0) {
        beat->exit =
            refuse(&err, beat->config.blames_flags ? EXIT_USAGE : process_exit_status(status));
        return -1;
    }
    if (beat->config.argument_count > 0) {
        error_set(&err, -EINVAL, "beat: unexpected argument \"%s\"", beat->config.arguments[0]);
        beat->exit = refuse(&err, EXIT_USAGE);
        return -1;
    }
    status = entries_load(&beat->config, &beat->entries, &err);
    if (!status)
        status = load_routes(beat, &err);
    if (!status && beat->entries.count == 0 && !settings_database(&beat->settings, &beat->config))
        status = error_set(&err, CEL_E_CONFIG,
                           "beat: no [beat NAME] section in the configuration and no database with "
                           "an outbox (--database): there is nothing to do");
    if (status < 0) {
        beat->exit = refuse(&err, process_exit_status(status));
        return -1;
    }
    open_log(&beat->settings);
    return 0;
}

static int open_broker(struct beat *beat, struct cel_error *err)
{
    const struct settings *settings = &beat->settings;
    struct broker_options options = {
        .url = settings->broker_url,
        .result_url = *settings->result_backend ? settings->result_backend : NULL,
        .master_name = settings->master_name,
        .sentinel_username = settings->sentinel_username,
        .sentinel_password = settings->sentinel_password,
        .silence = BROKER_SILENCE_USEC,
        .result_ttl = settings->result_expires,
        .dead_max = (size_t)settings->dead_max,
        .dead_max_age = settings->dead_max_age,
        .key_prefix = *settings->key_prefix ? str_of(settings->key_prefix) : STR_NONE,
    };

    return broker_new(&beat->loop, &options, &beat->broker, err);
}

/* What lost workers held and what is due, of all queues. */
static void open_keepers(struct beat *beat)
{
    const struct rescuer_options options = {.lease = beat->settings.lease,
                                            .max_deliveries = beat->settings.max_deliveries,
                                            .rows = &beat->rows};
    promoter_init(&beat->promoter, &beat->loop, beat->broker);
    rescuer_init(&beat->rescuer, &beat->loop, beat->broker, &options);
    census_init(&beat->census, &beat->loop, beat->broker, &beat->promoter, &beat->rescuer);
}

static void watch_signals(struct beat *beat)
{
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        beat->signals[i].data = beat;
        if (uv_signal_init(&beat->loop, &beat->signals[i]) < 0 ||
            uv_signal_start(&beat->signals[i], on_signal, signals[i]) < 0)
            log_warning("A signal cannot be watched", F_C("signal", strsignal(signals[i])));
    }
    signal(SIGPIPE, SIG_IGN); /* libuv wants it so: a closed connection is an error of write() */
}

static void start(struct beat *beat)
{
    usec_t watchdog_ms = process_watchdog_interval() / USEC_PER_MSEC;
    int status;

    uv_timer_init(&beat->loop, &beat->status);
    uv_timer_init(&beat->loop, &beat->watchdog);
    open_keepers(beat);
    relay_init(&beat->relay, &beat->loop, beat->broker,
               settings_database(&beat->settings, &beat->config), beat->settings.default_queue,
               beat->ticker.origin);
    beat->relay.routes = &beat->routes;
    beat->status.data = beat;
    beat->watchdog.data = beat;
    if (watchdog_ms > 0)
        uv_timer_start(&beat->watchdog, on_watchdog, watchdog_ms, watchdog_ms);
    watch_signals(beat);
    status = broker_ping(beat->broker, clock_mono() + FIRST_ANSWER_USEC, on_first_answer, beat);
    if (status < 0) {
        struct cel_error err = {0};
        error_set(&err, status, "%s", cel_error_name(status));
        on_first_answer(beat, status, &err);
    }
}

static void run_loop(struct beat *beat)
{
    struct ticker *ticker = &beat->ticker;
    struct cel_error err = {0};
    int status = uv_loop_init(&beat->loop);

    ASSERT(status == 0);
    ticker->loop = &beat->loop;
    ticker->default_queue = beat->settings.default_queue;
    ticker->routes = &beat->routes;
    ticker->max_interval = beat->settings.beat_max_interval;
    status = ticker_open(ticker, &beat->entries, &err);
    if (status == 0) {
        status =
            result_rows_init(&beat->rows, &beat->loop, &beat->settings, &beat->config, NULL, &err);
        if (status == 0)
            status = open_broker(beat, &err);
        if (status == 0) {
            start(beat);
        } else {
            ticker_close(ticker);
            result_rows_deinit(&beat->rows);
        }
    }
    if (status < 0)
        beat->exit = refuse(&err, process_exit_status(status));
    uv_run(&beat->loop, UV_RUN_DEFAULT);
    status = uv_loop_close(&beat->loop);
    ASSERT(status == 0);
}

int beat_main(int argc, char **argv)
{
    struct beat *beat = xnew(struct beat);
    enum exit_status status;

    if (configure(beat, argc, argv) == 0) {
        run_loop(beat);
        if (beat->exit == EXIT_OK)
            log_info("Beat stopped", F_U64("fired", beat->ticker.fired));
    }
    status = beat->exit;
    entries_deinit(&beat->entries);
    routes_deinit(&beat->routes);
    config_deinit(&beat->config);
    mem_free(beat);
    return (int)status;
}
