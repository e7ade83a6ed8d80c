#include "core/error.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/str.h"

static void every_code_has_a_name_of_its_own(void **state)
{
    (void)state;
    static const int codes[] = {0,           CEL_E_FORMAT, CEL_E_LIMIT,    CEL_E_REFUSED,
                                CEL_E_AUTH,  CEL_E_CONFIG, CEL_E_SERVER,   CEL_E_UNCERTAIN,
                                -ETIMEDOUT,  -EINVAL,      CEL_E_DATABASE, CEL_E_UNSUPPORTED,
                                -ECONNRESET, -ENOMEM,      -ENOENT,        CEL_E_UNCONFIRMED};
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        assert_string_not_equal(cel_error_name(codes[i]), "unknown error");
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(cel_error_name(codes[i]), cel_error_name(codes[j]));
    }
    assert_string_equal(cel_error_name(-ETIMEDOUT), "timed out");
    assert_string_equal(cel_error_name(CEL_E_FORMAT), "format");
}

static void a_strange_code_has_a_name_too(void **state)
{
    (void)state;
    static const int codes[] = {1, 110, -4095, -5000, -20099, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        assert_string_equal(cel_error_name(codes[i]), "unknown error");
}

static void setting_returns_the_code_and_keeps_the_text(void **state)
{
    (void)state;
    struct cel_error err = {0};
    assert_int_equal(error_set(&err, -EINVAL, "queue \"%s\": %d", "a", 5), -EINVAL);
    assert_int_equal(err.code, -EINVAL);
    assert_string_equal(err.text, "queue \"a\": 5");
    assert_int_equal(error_no_memory(&err), -ENOMEM);
    assert_int_equal(err.code, -ENOMEM);
    assert_string_equal(err.text, "out of memory");
    error_clear(&err);
    assert_int_equal(err.code, 0);
    assert_string_equal(err.text, "");
}

static void an_error_may_be_null(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, -EINVAL, "text"), -EINVAL);
    assert_int_equal(error_no_memory(NULL), -ENOMEM);
    assert_true(error_wrap(NULL, "words") < 0);
    error_clear(NULL);
}

static void wrapping_puts_words_in_front(void **state)
{
    (void)state;
    struct cel_error err = {0};
    error_set(&err, CEL_E_SERVER, "NOSCRIPT");
    assert_int_equal(error_wrap(&err, "claim from %s", "celery"), CEL_E_SERVER);
    assert_int_equal(err.code, CEL_E_SERVER);
    assert_string_equal(err.text, "claim from celery: NOSCRIPT");
}

static void an_error_may_be_described_with_its_own_text(void **state)
{
    (void)state;
    struct cel_error err = {0};
    error_set(&err, -EINVAL, "inner");
    error_set(&err, CEL_E_CONFIG, "%s, %s", err.text, err.text);
    assert_string_equal(err.text, "inner, inner");
}

static void long_text_ends_with_dots_and_whole_characters(void **state)
{
    (void)state;
    struct cel_error err = {0};
    char text[1024];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t at = shift; at + 3 < sizeof(text); at += 3)
            memcpy(text + at, "\xE2\x82\xAC", 4);
        error_set(&err, CEL_E_FORMAT, "%s", text);
        assert_true(strlen(err.text) >= sizeof(err.text) - 4);
        assert_true(str_is_utf8(str_of(err.text)));
        assert_true(str_ends(str_of(err.text), STR("...")));
    }
    error_set(&err, CEL_E_FORMAT, "%.*s", (int)sizeof(err.text) - 1, text);
    assert_memory_equal(err.text, text, sizeof(err.text) - 1);
    error_wrap(&err, "%s", text);
    assert_int_equal(err.code, CEL_E_FORMAT);
    assert_true(str_ends(str_of(err.text), STR("...")));
}

static void a_failed_assertion_names_itself_and_aborts(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        ASSERT(pid != 0);
        _exit(0);
    }
    close(ends[1]);
    char text[512];
    ssize_t len = read(ends[0], text, sizeof(text) - 1);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_true(len > 0);
    text[len] = '\0';
    assert_non_null(strstr(text, "pid != 0"));
    assert_non_null(strstr(text, "test_error.c:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_of_its_own),
        cmocka_unit_test(a_strange_code_has_a_name_too),
        cmocka_unit_test(setting_returns_the_code_and_keeps_the_text),
        cmocka_unit_test(an_error_may_be_null),
        cmocka_unit_test(wrapping_puts_words_in_front),
        cmocka_unit_test(an_error_may_be_described_with_its_own_text),
        cmocka_unit_test(long_text_ends_with_dots_and_whole_characters),
        cmocka_unit_test(a_failed_assertion_names_itself_and_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
