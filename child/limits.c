#include "child/limits.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/process.h"

/* A stack that cannot grow has less than this to the limit of the address space. */
#define STACK_STEP ((uint64_t)256 * 1024)
enum { HANDLER_STACK_BYTES = 64 * 1024 };

/* --- the last words --------------------------------------------------------------------------- */

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGABRT};

/* What the handler needs; it may be called anywhere. */
static struct {
    struct sigaction before[ARRAY_SIZE(fatal_signals)];
    struct str words; /* a DYING frame */
    uint64_t limit;   /* of the address space */
    int fd;
    pid_t pid; /* a process that the task forked has nothing to say */
} handler;

static void restore_handlers(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++)
        sigaction(fatal_signals[i], &handler.before[i], NULL);
}

static void on_fatal(int number)
{
    bool is_short = errno == ENOMEM || process_address_space() + STACK_STEP > handler.limit;
    restore_handlers();
    if (is_short && getpid() == handler.pid)
        (void)!send(handler.fd, handler.words.ptr, handler.words.len, MSG_NOSIGNAL);
    raise(number); /* when this returns, and now for good */
}

/* Where the stack has no room, the handler needs another. */
static void give_handler_a_stack(void)
{
    static char memory[HANDLER_STACK_BYTES];
    stack_t now;
    if (sigaltstack(NULL, &now) == 0 && (now.ss_flags & SS_DISABLE))
        sigaltstack(&(stack_t){.ss_sp = memory, .ss_size = sizeof(memory)}, NULL);
}

static int watch_signals(struct child *child, uint64_t seq, uint64_t limit)
{
    struct buf *words = &child->limits.words;
    struct sigaction fatal = {.sa_handler = on_fatal, .sa_flags = SA_ONSTACK};
    buf_clear(words);
    frame_add_dying(words, &(struct frame_dying){.seq = seq});
    int r = buf_status(words);
    if (r < 0)
        return r;
    handler.words = buf_str(words);
    handler.limit = limit;
    handler.fd = child->fd;
    handler.pid = getpid();
    give_handler_a_stack();
    for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++)
        sigaction(fatal_signals[i], &fatal, &handler.before[i]);
    return 0;
}

/* --- limits ----------------------------------------------------------------------------------- */

/* Lowers the soft limit to `most`; what it was stands in `before`. */
static int lower(__rlimit_resource_t what, rlim_t most, struct rlimit *before)
{
    if (getrlimit(what, before) < 0)
        return -errno;
    struct rlimit lowered = *before;
    if (most < lowered.rlim_cur)
        lowered.rlim_cur = most;
    return setrlimit(what, &lowered) < 0 ? -errno : 0;
}

static int set_cpu_time(struct child_limits *limits, usec_t most)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGXCPU};
    if (!limits->has_timer && timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &limits->timer) < 0)
        return -errno;
    limits->has_timer = limits->has_cpu_time = true;
    const struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(most / USEC_PER_SEC),
                     .tv_nsec = (suseconds_t)(most % USEC_PER_SEC * 1000)}};
    return timer_settime(limits->timer, 0, &when, NULL) < 0 ? -errno : 0;
}

static int set_memory(struct child *child, uint64_t most, uint64_t seq)
{
    uint64_t limit = process_address_space() + most;
    int r = watch_signals(child, seq, limit);
    if (r == 0) {
        child->limits.has_memory = true;
        r = lower(RLIMIT_AS, (rlim_t)limit, &child->limits.memory);
    }
    return r;
}

/* Descriptors are given out from below, so those in use end at the lowest free one. */
static int set_files(struct child *child, int most)
{
    int free_one = dup(child->fd);
    if (free_one < 0)
        return -errno;
    close(free_one);
    child->limits.has_files = true;
    return lower(RLIMIT_NOFILE, (rlim_t)free_one + (rlim_t)most, &child->limits.files);
}

int limits_set(struct child *child, const struct cel_task_def *def, uint64_t seq)
{
    int r = 0;
    if (def->open_files_limit)
        r = set_files(child, def->open_files_limit);
    if (r == 0 && def->memory_limit)
        r = set_memory(child, (uint64_t)def->memory_limit, seq);
    if (r == 0 && def->cpu_limit_ms)
        r = set_cpu_time(&child->limits, (usec_t)def->cpu_limit_ms * USEC_PER_MSEC);
    if (r < 0)
        limits_lift(child);
    errno = 0; /* the handler looks at what fails from here on */
    return r;
}

void limits_lift(struct child *child)
{
    struct child_limits *limits = &child->limits;
    if (limits->has_cpu_time)
        timer_settime(limits->timer, 0, &(struct itimerspec){{0, 0}, {0, 0}}, NULL);
    if (limits->has_memory) {
        setrlimit(RLIMIT_AS, &limits->memory);
        restore_handlers();
    }
    if (limits->has_files)
        setrlimit(RLIMIT_NOFILE, &limits->files);
    limits->has_cpu_time = limits->has_memory = limits->has_files = false;
}

void limits_deinit(struct child *child)
{
    if (child->limits.has_timer)
        timer_delete(child->limits.timer);
    buf_deinit(&child->limits.words);
}
