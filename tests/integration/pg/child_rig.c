#include "tests/integration/pg/child_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/json.h"

struct postgres_server server;
struct child_process process;
struct pg *own;

int rig_open(const char *sql)
{
    if (!postgres_server_open(&server))
        return -1;
    own = pg_new("own", server.uri, 0, NULL);
    exec_own(sql);
    return 0;
}

int rig_close(void **state)
{
    (void)state;
    child_process_end(&process);
    pg_free(own);
    postgres_server_close(&server);
    return 0;
}

void rig_start_child(struct child_process *child,
                     struct str module,
                     const struct frame_pair *databases,
                     size_t count,
                     usec_t max_age)
{
    const struct frame_setup setup = {.node = STR("celery@test"),
                                      .log_level = 1,
                                      .log_format = 1,
                                      .database_max_age = max_age,
                                      .modules = &module,
                                      .module_count = 1,
                                      .databases = databases,
                                      .database_count = count};
    child_process_start(child, &setup);
    assert_int_equal(child_process_read(child, 20000), 0);
    assert_int_equal(child->frame.type, FRAME_HELLO);
}

void exec_own(const char *sql)
{
    struct cel_error err = {0};
    pg_reset(own);
    if (pg_exec(own, sql, &err))
        fail_msg("%s: %s", sql, err.text);
}

int64_t int_of(const char *sql)
{
    struct cel_rows *rows = NULL;
    struct cel_error err = {0};
    pg_reset(own);
    if (pg_query(own, sql, CEL_NO_PARAMS, &rows, &err))
        fail_msg("%s: %s", sql, err.text);
    int64_t n = cel_row_int(rows, 0, "n");
    cel_rows_free(rows);
    return n;
}

const struct frame_outcome *run_task(const char *name, const char *args, const char *kwargs)
{
    char *message = message_of(name, args, kwargs, "");
    const struct frame_outcome *outcome = child_process_call(&process, message);
    free(message);
    return outcome;
}

void expect_success(const struct frame_outcome *outcome)
{
    if (outcome->kind != OUTCOME_SUCCESS)
        fail_msg("kind %d: %.*s", outcome->kind, STR_ARGS(outcome->result_json));
}

void check_value(const struct frame_outcome *outcome, const char *json)
{
    expect_success(outcome);
    if (!str_equal(outcome->result_json, str_of(json)))
        fail_msg("%.*s instead of %s", STR_ARGS(outcome->result_json), json);
}

void expect_exception(const struct frame_outcome *outcome,
                      enum frame_outcome_kind kind,
                      const char *type,
                      const char *words)
{
    struct cel_value *exception = NULL;
    if (outcome->kind != kind)
        fail_msg("kind %d: %.*s", outcome->kind, STR_ARGS(outcome->result_json));
    assert_int_equal(json_decode(outcome->result_json, &exception, NULL), 0);
    assert_string_equal(cel_value_text(cel_value_get(exception, "exc_type"), NULL), type);
    const struct cel_value *message = cel_value_get(exception, "exc_message");
    const char *text = cel_value_text(cel_value_at(message, 0), NULL);
    text = text ? text : "";
    if (!strstr(text, words))
        fail_msg("%s is not in: %s", words, text);
    bool conflict = strstr(text, "SQLSTATE 40") || strstr(text, "SQLSTATE 55P03");
    assert_int_equal(outcome->conflict, kind == OUTCOME_RETRY && conflict);
    if (kind == OUTCOME_RETRY && conflict)
        assert_in_range(outcome->countdown_usec, 50 * USEC_PER_MSEC, 100 * USEC_PER_MSEC);
    else if (kind == OUTCOME_RETRY)
        assert_int_equal(outcome->countdown_usec, -1);
    cel_value_free(exception);
}

void expect_soft_limit(const struct frame_outcome *outcome)
{
    assert_int_equal(outcome->kind, OUTCOME_FAILURE);
    assert_non_null(
        memmem(outcome->result_json.ptr, outcome->result_json.len, "SoftTimeLimitExceeded", 21));
}
