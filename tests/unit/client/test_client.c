#include "client/handle.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/mem.h"

#define NOWHERE "redis+socket:///nonexistent/celeriac.sock"

static int open_url(const char *url, struct cel_client **ret, struct cel_error *err)
{
    return cel_client_open(&(struct cel_client_options){.broker_url = url}, ret, err);
}

static void forget_environment(void)
{
    unsetenv("CELERIAC_BROKER_URL");
    unsetenv("CELERY_BROKER_URL");
    unsetenv("CELERIAC_RESULT_BACKEND");
    unsetenv("CELERY_RESULT_BACKEND");
}

static void opening_makes_no_connection(void **state)
{
    (void)state;
    struct cel_client *client;
    assert_int_equal(open_url(NOWHERE, &client, NULL), 0);
    assert_null(cel_client_close(client));
    assert_null(cel_client_close(NULL));
}

static void everything_has_a_default(void **state)
{
    (void)state;
    struct cel_client *client;
    forget_environment();
    assert_int_equal(cel_client_open(NULL, &client, NULL), 0);
    assert_string_equal(client->queue, "celery");
    assert_int_equal(client->timeout, 5 * USEC_PER_SEC);
    char origin[64];
    snprintf(origin, sizeof(origin), "gen%d@", (int)getpid());
    assert_memory_equal(client->origin, origin, strlen(origin));
    cel_client_close(client);
}

static void misuse_is_einval_with_a_sentence(void **state)
{
    (void)state;
    static const struct cel_client_options cases[] = {
        {.broker_url = "http://localhost"},
        {.broker_url = "redis://localhost:99999"},
        {.broker_url = NOWHERE, .result_backend = "postgresql://localhost"},
        {.broker_url = NOWHERE, .queue = ""},
        {.broker_url = NOWHERE, .queue = "two\x06lists"},
        {.broker_url = NOWHERE, .timeout_ms = -1},
        {.broker_url = NOWHERE, .timeout_ms = INT64_MAX},
        {.broker_url = NOWHERE, .dedupe_ms = -1},
        {.broker_url = NOWHERE, .dedupe_ms = INT64_MAX},
        {.broker_url = NOWHERE, .dedupe_ms = 5000}, /* as long as the time limit */
        {.broker_url = NOWHERE, .confirm_replicas = -1},
        {.broker_url = NOWHERE, .confirm_replicas = 101},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cel_client *client = NULL;
        struct cel_error err = {0};
        assert_int_equal(cel_client_open(&cases[i], &client, &err), -EINVAL);
        assert_int_equal(err.code, -EINVAL);
        assert_true(err.text[0] != '\0');
        assert_null(client);
    }
    assert_int_equal(cel_client_open(NULL, NULL, NULL), -EINVAL);
    assert_int_equal(client_begin(NULL, NULL), -EINVAL);
}

static void what_is_not_yet_supported_says_so(void **state)
{
    (void)state;
    static const char *const urls[] = {"rediss://localhost", "redis://a;redis://b"};
    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        struct cel_client *client;
        struct cel_error err = {0};
        assert_int_equal(open_url(urls[i], &client, &err), CEL_E_UNSUPPORTED);
        assert_true(err.text[0] != '\0');
    }
}

static void the_environment_names_the_broker(void **state)
{
    (void)state;
    struct cel_client *client;
    forget_environment();
    setenv("CELERY_BROKER_URL", "ftp://celery", 1);
    assert_int_equal(cel_client_open(NULL, &client, NULL), -EINVAL);
    setenv("CELERIAC_BROKER_URL", NOWHERE, 1); /* stronger */
    assert_int_equal(cel_client_open(NULL, &client, NULL), 0);
    cel_client_close(client);
    setenv("CELERY_RESULT_BACKEND", "ftp://celery", 1);
    assert_int_equal(cel_client_open(NULL, &client, NULL), -EINVAL);
    setenv("CELERIAC_RESULT_BACKEND", NOWHERE, 1);
    assert_int_equal(cel_client_open(NULL, &client, NULL), 0);
    cel_client_close(client);
    forget_environment();
    setenv("CELERIAC_BROKER_URL", "", 1); /* set and empty: as if not set */
    assert_int_equal(cel_client_open(NULL, &client, NULL), 0);
    cel_client_close(client);
    forget_environment();
}

static void no_sentence_holds_a_password(void **state)
{
    (void)state;
    struct cel_client *client;
    struct cel_error err = {0};
    assert_int_equal(open_url("redis://user:hunter2@host:port/0", &client, &err), -EINVAL);
    assert_null(strstr(err.text, "hunter2"));
}

static void a_forked_child_may_not_use_the_handle(void **state)
{
    (void)state;
    struct cel_client *client;
    assert_int_equal(open_url(NOWHERE, &client, NULL), 0);
    pid_t child = fork();
    if (child == 0) {
        struct cel_error err = {0};
        struct cel_result *result;
        bool refused = cel_result_get(client, "id", &result, &err) == -EINVAL;
        refused = refused && strstr(err.text, "fork");
        cel_client_close(client);
        _exit(refused ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(client_begin(client, NULL), 0); /* the parent's loop is unharmed */
    cel_client_close(client);
}

static void raise_pipe(uv_idle_t *idle)
{
    uv_idle_stop(idle);
    raise(SIGPIPE);
}

static void a_broken_pipe_is_no_signal_for_the_application(void **state)
{
    (void)state;
    struct cel_client *client;
    uv_idle_t idle;
    sigset_t before, after, pending;
    assert_int_equal(open_url(NOWHERE, &client, NULL), 0);
    signal(SIGPIPE, SIG_DFL); /* would end this program */
    uv_idle_init(&client->loop, &idle);
    uv_idle_start(&idle, raise_pipe);
    sigprocmask(SIG_BLOCK, NULL, &before);
    assert_int_equal(client_begin(client, NULL), 0);
    sigprocmask(SIG_BLOCK, NULL, &after);
    sigpending(&pending);
    assert_int_equal(sigismember(&after, SIGPIPE), sigismember(&before, SIGPIPE));
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
    uv_close((uv_handle_t *)&idle, NULL);
    cel_client_close(client);
}

static void a_pipe_signal_of_the_application_stays_its_own(void **state)
{
    (void)state;
    struct cel_client *client;
    sigset_t pipe, pending;
    assert_int_equal(open_url(NOWHERE, &client, NULL), 0);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigprocmask(SIG_BLOCK, &pipe, NULL);
    raise(SIGPIPE);
    assert_int_equal(client_begin(client, NULL), 0);
    sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 1);
    int number;
    sigwait(&pipe, &number);
    sigprocmask(SIG_UNBLOCK, &pipe, NULL);
    cel_client_close(client);
}

static void short_memory_is_reported(void **state)
{
    (void)state;
    const struct cel_client_options options = {
        .broker_url = NOWHERE, .result_backend = NOWHERE, .key_prefix = "p:"};
    struct cel_client *client;
    int status = -ENOMEM;
    size_t n = 0;
    for (; status == -ENOMEM && n < 1000; n++) {
        client = NULL;
        mem_fail_after(n + 1);
        status = cel_client_open(&options, &client, NULL);
        mem_fail_after(0);
        assert_true(status == -ENOMEM || status == 0);
    }
    assert_int_equal(status, 0);
    assert_true(n > 2);
    cel_client_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_makes_no_connection),
        cmocka_unit_test(everything_has_a_default),
        cmocka_unit_test(misuse_is_einval_with_a_sentence),
        cmocka_unit_test(what_is_not_yet_supported_says_so),
        cmocka_unit_test(the_environment_names_the_broker),
        cmocka_unit_test(no_sentence_holds_a_password),
        cmocka_unit_test(a_forked_child_may_not_use_the_handle),
        cmocka_unit_test(a_broken_pipe_is_no_signal_for_the_application),
        cmocka_unit_test(a_pipe_signal_of_the_application_stays_its_own),
        cmocka_unit_test(short_memory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
