/*
 * A resolver that does not answer. The program brings its own getaddrinfo, which libuv's thread
 * calls: no name server can be made silent for one test.
 */
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <semaphore.h>
#include <time.h>

#include "core/clock.h"
#include "tests/integration/client/fixture.h"

#define URL     "redis://silent.test/0"
#define PATIENT (10 * USEC_PER_SEC)

static sem_t released, begun;

__attribute__((visibility("default"))) int getaddrinfo(const char *host,
                                                       const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **ret)
{
    struct timespec end;
    (void)host, (void)service, (void)hints, (void)ret;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    sem_post(&begun);
    while (sem_timedwait(&released, &end) && errno == EINTR)
        ;
    return EAI_AGAIN;
}

static int count_threads(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static void assert_took(usec_t begun_mono, int64_t least_ms, int64_t most_ms)
{
    int64_t ms = (int64_t)((clock_mono() - begun_mono) / USEC_PER_MSEC);
    if (ms < least_ms || ms > most_ms)
        fail_msg("it took %lld ms, not %lld to %lld", (long long)ms, (long long)least_ms,
                 (long long)most_ms);
}

/* Until what ended the client aside has ended too. */
static void wait_for_threads(int count)
{
    usec_t end = clock_mono() + PATIENT;
    while (count_threads() > count && clock_mono() < end)
        nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
    assert_int_equal(count_threads(), count);
}

static void a_silent_resolver_does_not_outlast_the_time_limit(void **state)
{
    (void)state;
    struct cel_client *client =
        open_client((struct cel_client_options){.broker_url = URL, .timeout_ms = 200});
    struct cel_call *call = cel_call_new("a.b");
    struct cel_error err = {0};
    struct cel_result *result = NULL;
    size_t sent = 7;
    usec_t start = clock_mono();
    assert_int_equal(cel_send(client, call, NULL, &err), -ETIMEDOUT);
    assert_took(start, 190, 600);
    assert_non_null(strstr(err.text, "Not sent"));
    assert_non_null(strstr(err.text, "silent.test"));
    start = clock_mono();
    assert_int_equal(cel_send_bulk(client, &call, 1, NULL, &sent, &err), -ETIMEDOUT);
    assert_took(start, 190, 600);
    assert_int_equal(sent, 0);
    start = clock_mono();
    assert_true(cel_result_get(client, "id", &result, &err) < 0);
    assert_took(start, 190, 600);
    start = clock_mono();
    assert_true(cel_result_wait(client, "id", 400, &result, &err) < 0);
    assert_took(start, 390, 800);
    start = clock_mono();
    assert_true(cel_result_forget(client, "id", &err) < 0);
    assert_took(start, 190, 600);
    int threads = count_threads();
    cel_client_close(client);
    sem_post(&released);
    wait_for_threads(threads);
    cel_call_free(call);
}

static void closing_does_not_wait_for_the_resolver(void **state)
{
    (void)state;
    while (sem_trywait(&begun) == 0)
        ;
    int threads = count_threads();
    struct cel_client *client =
        open_client((struct cel_client_options){.broker_url = URL, .timeout_ms = 50});
    struct cel_call *call = cel_call_new("a.b");
    assert_int_equal(cel_send(client, call, NULL, NULL), -ETIMEDOUT);
    assert_int_equal(sem_wait(&begun), 0); /* its thread is inside */
    usec_t start = clock_mono();
    cel_client_close(client);
    assert_took(start, 0, 100);
    assert_int_equal(count_threads(), threads + 1);
    sem_post(&released);
    wait_for_threads(threads);
    cel_call_free(call);
}

int main(void)
{
    sem_init(&released, 0, 0);
    sem_init(&begun, 0, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_resolver_does_not_outlast_the_time_limit),
        cmocka_unit_test(closing_does_not_wait_for_the_resolver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
