#include "core/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static int manager = -1;

static int listen_as_manager(void **state)
{
    (void)state;
    char name[64]; /* an abstract socket, which leaves no file */
    int len = snprintf(name, sizeof(name), "@celeriac-test-process-%d", (int)getpid());
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path + 1, name + 1, (size_t)len - 1);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len);
    if (manager < 0 || bind(manager, (struct sockaddr *)&address, size) < 0)
        return -1;
    return setenv("NOTIFY_SOCKET", name, 1);
}

static int stop_listening(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    clock_replace(NULL, NULL);
    return close(manager);
}

static const char *heard(void)
{
    static char text[1024];
    ssize_t len = recv(manager, text, sizeof(text) - 1, 0);
    text[len < 0 ? 0 : len] = '\0';
    return text;
}

static usec_t five(void)
{
    return 5;
}

static void the_manager_hears_every_notice(void **state)
{
    (void)state;
    process_notify_ready("serving celery, default");
    assert_string_equal(heard(), "READY=1\nSTATUS=serving celery, default");
    process_notify_status("4 of 4 busy");
    assert_string_equal(heard(), "STATUS=4 of 4 busy");
    clock_replace(five, five);
    process_notify_reloading();
    assert_string_equal(heard(), "RELOADING=1\nMONOTONIC_USEC=5");
    process_notify_stopping();
    assert_string_equal(heard(), "STOPPING=1");
    process_notify_watchdog();
    assert_string_equal(heard(), "WATCHDOG=1");
    assert_string_equal(heard(), "");
}

static void a_status_stays_one_line(void **state)
{
    (void)state;
    process_notify_status("bad\nMAINPID=1");
    assert_string_equal(heard(), "STATUS=bad");
    process_notify_ready("bad\r\nMAINPID=1");
    assert_string_equal(heard(), "READY=1\nSTATUS=bad");
}

static void without_a_manager_nothing_is_said(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    process_notify_ready("x");
    process_notify_watchdog();
    assert_string_equal(heard(), "");
    assert_int_equal(process_watchdog_interval(), 0);
}

static void the_watchdog_is_fed_twice_in_its_time(void **state)
{
    (void)state;
    char pid[16];
    setenv("WATCHDOG_USEC", "30000000", 1);
    assert_int_equal(process_watchdog_interval(), 15000000);
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(process_watchdog_interval(), 15000000);
    setenv("WATCHDOG_PID", "1", 1); /* it watches another process */
    assert_int_equal(process_watchdog_interval(), 0);
}

static void the_host_name_is_cut_to_its_room(void **state)
{
    (void)state;
    char whole[256] = "", expected[256] = "", part[4] = "zzz";
    assert_int_equal(gethostname(expected, sizeof(expected)), 0);
    process_hostname(whole, sizeof(whole));
    assert_string_equal(whole, expected);
    assert_true(strlen(whole) > 0);
    process_hostname(part, 2);
    assert_true(strlen(part) <= 1);
    assert_memory_equal(part + 2, "z", 2);
    process_hostname(part, 0);
    assert_true(strlen(part) <= 1);
}

static void resident_memory_follows_what_is_touched(void **state)
{
    (void)state;
    enum { MORE = 32 << 20 };
    uint64_t before = process_rss();
    assert_true(before > 100000);
    char *memory =
        mmap(NULL, MORE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    assert_true(memory != MAP_FAILED);
    uint64_t after = process_rss();
    munmap(memory, MORE);
    /* the kernel counts in batches of pages, so it is not exact */
    assert_in_range(after - before, MORE - (1 << 20), MORE + (4 << 20));
}

static void a_descriptor_is_closed_by_exec(void **state)
{
    (void)state;
    int fd = dup(STDERR_FILENO);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), 0);
    process_close_on_exec(fd);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    process_close_on_exec(-1);
}

static void codes_have_the_documented_status(void **state)
{
    (void)state;
    static const struct {
        int code, status;
    } cases[] = {
        {0, 0},
        {-ETIMEDOUT, 69},
        {-ECONNREFUSED, 69},
        {-ENOENT, 69}, /* no such socket */
        {CEL_E_UNCERTAIN, 69},
        {CEL_E_SERVER, 70},
        {CEL_E_DATABASE, 70},
        {-ENOMEM, 70},
        {CEL_E_AUTH, 77},
        {-EACCES, 77},
        {CEL_E_CONFIG, 78},
        {CEL_E_UNSUPPORTED, 78},
        {-EINVAL, 78},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(process_exit_status(cases[i].code), cases[i].status);
}

#define NOTIFY_TEST(function)                                                                      \
    cmocka_unit_test_setup_teardown(function, listen_as_manager, stop_listening)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NOTIFY_TEST(the_manager_hears_every_notice),
        NOTIFY_TEST(a_status_stays_one_line),
        NOTIFY_TEST(without_a_manager_nothing_is_said),
        NOTIFY_TEST(the_watchdog_is_fed_twice_in_its_time),
        cmocka_unit_test(the_host_name_is_cut_to_its_room),
        cmocka_unit_test(resident_memory_follows_what_is_touched),
        cmocka_unit_test(a_descriptor_is_closed_by_exec),
        cmocka_unit_test(codes_have_the_documented_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
