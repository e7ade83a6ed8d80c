/*
 * Tasks with limits of their own: what a run may use, and how often they may begin.
 */
#include <celeriac/task.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FILES_MAX = 1000 };

static int64_t usec_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Computes for `ms` of processor time; returns what it took. */
static int compute(struct cel_task *task)
{
    int64_t ms, begun = usec_of(CLOCK_PROCESS_CPUTIME_ID);
    if (cel_arg_int(task, "ms", &ms))
        return CEL_FAIL;
    while (usec_of(CLOCK_PROCESS_CPUTIME_ID) < begun + ms * 1000) {
    }
    return cel_return(task, cel_int(usec_of(CLOCK_PROCESS_CPUTIME_ID) - begun));
}

/* Out of the compiler's sight, so that it cannot know what is in there. */
static void *volatile kept;
static void *(*volatile fill)(void *, int, size_t) = memset;

/* Takes `bytes` of memory, and copes as `how` says with not getting them. */
static int allocate(struct cel_task *task)
{
    int64_t bytes;
    const char *how;
    if (cel_arg_int(task, "bytes", &bytes) || cel_arg_text(task, "how", &how))
        return CEL_FAIL;
    if (strcmp(how, "stray") == 0)
        raise(SIGSEGV); /* memory has nothing to do with it */
    kept = malloc((size_t)bytes);
    if (!kept && strcmp(how, "ask") == 0)
        return cel_fail(task, "MemoryError", "not so much");
    if (!kept && strcmp(how, "abort") == 0)
        abort();
    fill(kept, 'x', (size_t)bytes); /* "trust" */
    free(kept);
    return cel_return(task, cel_int(bytes));
}

static int64_t dig(int64_t depth)
{
    volatile char room[4096];
    room[depth % 4096] = 1;
    return depth > 0 ? dig(depth - 1) + room[depth % 4096] : 0;
}

/* Takes `pages` of stack. */
static int deep(struct cel_task *task)
{
    int64_t pages;
    if (cel_arg_int(task, "pages", &pages))
        return CEL_FAIL;
    return cel_return(task, cel_int(dig(pages)));
}

/* Opens up to `count` files; returns how many it got. */
static int open_files(struct cel_task *task)
{
    int64_t count, got = 0;
    int files[FILES_MAX];
    if (cel_arg_int(task, "count", &count))
        return CEL_FAIL;
    while (got < count && got < FILES_MAX &&
           (files[got] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        got++;
    for (int64_t i = 0; i < got; i++)
        close(files[i]);
    return cel_return(task, cel_int(got));
}

/* Keeps `bytes` for good; returns the process. */
static int leak(struct cel_task *task)
{
    int64_t bytes;
    if (cel_arg_int(task, "bytes", &bytes))
        return CEL_FAIL;
    void *more = calloc(1, sizeof(void *) + (size_t)bytes);
    if (more) {
        memcpy(more, (void *[]){kept}, sizeof(void *)); /* all of it can be reached */
        fill((char *)more + sizeof(void *), 'x', (size_t)bytes);
        kept = more;
    }
    return cel_return(task, cel_int(getpid()));
}

/* Returns when it ran. */
static int tell_time(struct cel_task *task)
{
    return cel_return(task, cel_int(usec_of(CLOCK_REALTIME)));
}

CEL_TASKS(
    {.name = "tests.compute", .run = compute, .params = "ms", .cpu_limit_ms = 300},
    {.name = "tests.compute_early",
     .run = compute,
     .params = "ms",
     .cpu_limit_ms = 300,
     .acks = CEL_ACKS_EARLY},
    {.name = "tests.allocate",
     .run = allocate,
     .params = "bytes, how=\"ask\"",
     .memory_limit = 64 * 1024 * 1024},
    {.name = "tests.allocate_any", .run = allocate, .params = "bytes, how=\"ask\""},
    {.name = "tests.deep", .run = deep, .params = "pages", .memory_limit = 2 * 1024 * 1024},
    {.name = "tests.open_files", .run = open_files, .params = "count", .open_files_limit = 10},
    {.name = "tests.open_any_files", .run = open_files, .params = "count"},
    {.name = "tests.leak", .run = leak, .params = "bytes"},
    {.name = "tests.time", .run = tell_time, .params = "*args"},
    {.name = "tests.time_10_s", .run = tell_time, .params = "*args", .rate_limit = "10/s"},
    {.name = "tests.time_1_h", .run = tell_time, .params = "*args", .rate_limit = "1/h"},
    {.name = "tests.time_200_s", .run = tell_time, .params = "*args", .rate_limit = "200/s"},
    {.name = "tests.time_early",
     .run = tell_time,
     .params = "*args",
     .rate_limit = "10/s",
     .acks = CEL_ACKS_EARLY});
