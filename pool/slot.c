/*
 * A slot's process has three libuv handles: the process, the pipe and a poll on a pidfd. libuv
 * reaps children with waitpid and throws their resource usage away; the pidfd becomes readable
 * when the process is dead and not yet reaped (the loop runs signal watchers after all others), and
 * then waitid with WNOWAIT tells the peak memory for the obituary.
 *
 * The end of a process is its exit status AND the end of its socket: what it wrote before it died
 * is read first, so an outcome that was sent is never taken for a crash. on_exited comes when all
 * handles are closed.
 */
#include "pool/slot_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/log.h"
#include "core/mem.h"
#include "core/process.h"

static const char *const state_names[SLOT_STATES] = {"EMPTY",    "STARTING", "IDLE",   "BUSY",
                                                     "RETIRING", "STOPPING", "EXITED", "DISABLED"};

#define TO(state) (1U << SLOT_##state)
static const unsigned transitions[SLOT_STATES] = {
    [SLOT_EMPTY] = TO(STARTING),
    [SLOT_STARTING] = TO(IDLE) | TO(STOPPING) | TO(EXITED),
    [SLOT_IDLE] = TO(BUSY) | TO(STOPPING) | TO(EXITED),
    [SLOT_BUSY] = TO(IDLE) | TO(STOPPING) | TO(RETIRING) | TO(EXITED),
    [SLOT_RETIRING] = TO(STOPPING) | TO(EXITED),
    [SLOT_STOPPING] = TO(EXITED),
    [SLOT_EXITED] = TO(EMPTY) | TO(DISABLED),
};
#undef TO

const char *slot_state_name(enum slot_state state)
{
    return state_names[state];
}

void slot_set_state(struct slot *slot, enum slot_state state)
{
    ASSERT(transitions[slot->state] & (1U << state));
    log_debug("Child moves", F_U64("slot", slot->number), F_I64("pid", slot->pid),
              F_C("from", state_names[slot->state]), F_C("to", state_names[state]));
    list_remove(&slot->shared->lists[slot->state], &slot->link);
    slot->state = state;
    slot->deadline_mono = USEC_NEVER;
    list_append(&slot->shared->lists[state], &slot->link);
}

struct slot *slot_new(struct slot_shared *shared, unsigned number, unsigned generation)
{
    struct slot *slot = xnew(struct slot);
    slot->shared = shared;
    slot->number = number;
    slot->generation = generation;
    slot->deadline_mono = slot->soft_mono = slot->hard_mono = USEC_NEVER;
    slot->pidfd = -1;
    buf_init(&slot->in, FRAME_BYTES_MAX + FRAME_HEADER + SLOT_READ_BYTES);
    list_append(&shared->lists[SLOT_EMPTY], &slot->link);
    return slot;
}

struct slot *slot_free(struct slot *slot)
{
    if (!slot)
        return NULL;
    ASSERT(slot->open_handles == 0);
    list_remove(&slot->shared->lists[slot->state], &slot->link);
    buf_deinit(&slot->in);
    mem_free(slot);
    return NULL;
}

static void set_deadline(struct slot *slot, usec_t after)
{
    slot->deadline_mono = clock_mono() + after;
    slot->shared->events->on_wake(slot, slot->deadline_mono);
}

/* --- the end of a process --------------------------------------------------------------------- */

static void obituary(const struct slot *slot)
{
    const struct job *job = slot->job;
    enum log_level level = job ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO;
    char how[64];
    struct death death = {.exit_status = slot->exit_status, .term_signal = slot->term_signal};
    death_describe(&death, how, sizeof(how));
    LOG_RECORD(slot->asked ? level : LOG_LEVEL_ERROR, "Child ended", F_I64("pid", slot->pid),
               F_U64("slot", slot->number), F_C("how", how), F_I64("status", slot->exit_status),
               F_I64("signal", slot->term_signal), F_STR("task_id", job ? job->task_id : STR_NONE),
               F_STR("task", job ? job->task : STR_NONE), F_U64("tasks", slot->tasks),
               F_U64("peak_rss", slot->peak_rss),
               F_USEC("lived", clock_mono() - slot->spawned_mono));
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct slot *slot = handle->data;
    if (handle == (uv_handle_t *)&slot->death_watch) {
        close(slot->pidfd);
        slot->pidfd = -1;
    }
    if (--slot->open_handles > 0)
        return;
    buf_deinit(&slot->in);
    slot_set_state(slot, SLOT_EXITED);
    slot->shared->events->on_exited(slot);
}

static void close_handles(struct slot *slot)
{
    uv_close((uv_handle_t *)&slot->pipe, on_handle_closed);
    uv_close((uv_handle_t *)&slot->process, on_handle_closed);
    if (slot->pidfd >= 0)
        uv_close((uv_handle_t *)&slot->death_watch, on_handle_closed);
}

struct job *slot_take_job(struct slot *slot)
{
    struct job *job = slot->job;
    slot->job = NULL;
    slot->soft_mono = slot->hard_mono = USEC_NEVER;
    return job;
}

static void report_death(struct slot *slot)
{
    struct death death = {.cause = slot->cause,
                          .exit_status = slot->exit_status,
                          .term_signal = slot->term_signal,
                          .pid = slot->pid,
                          .peak_rss = slot->peak_rss};
    if (death.cause == DEATH_HARD_LIMIT && death.term_signal != SIGKILL)
        death.cause = DEATH_CRASH; /* it died of something else first */
    if (!slot->job)
        return;
    if (death.cause == DEATH_CRASH && slot->job->cpu_limit && death.term_signal == SIGXCPU)
        death.cause = DEATH_CPU_LIMIT;
    bool whole = slot->writes == 0;
    struct job *job = slot_take_job(slot);
    if (whole)
        slot->shared->events->on_death(slot, job, &death);
    else
        slot->shared->events->on_recall(slot, job);
}

static void on_process_gone(uv_process_t *process, int64_t exit_status, int term_signal)
{
    struct slot *slot = process->data;
    slot->exit_status = exit_status;
    slot->term_signal = term_signal;
    slot->gone = true;
    if (slot->state != SLOT_STOPPING)
        slot_set_state(slot, SLOT_STOPPING); /* an outcome that it left makes it IDLE no more */
    slot_drain(slot);
    slot->fatal = !slot->has_hello && term_signal == 0 && exit_status == EXIT_CONFIG;
    slot->bad_starts = slot->tasks == 0 && !slot->job ? slot->bad_starts + 1 : 0;
    if (!slot->fatal)
        obituary(slot); /* a child that ends with 78 has said why */
    report_death(slot);
    close_handles(slot);
}

static void on_dead(uv_poll_t *poll, int status, int events)
{
    struct slot *slot = poll->data;
    siginfo_t info;
    struct rusage usage = {0};
    (void)events;
    uv_poll_stop(poll);
    /* The system call, since the C library's function has no usage parameter. */
    if (status == 0 && syscall(SYS_waitid, P_PID, (pid_t)slot->pid, &info,
                               WEXITED | WNOWAIT | WNOHANG, &usage) == 0)
        slot->peak_rss = (uint64_t)usage.ru_maxrss * 1024;
}

/* --- spawn and stop --------------------------------------------------------------------------- */

static void watch_death(struct slot *slot)
{
    slot->pidfd = (int)syscall(SYS_pidfd_open, (pid_t)slot->pid, 0);
    if (slot->pidfd < 0)
        return; /* the obituary will lack the peak memory */
    process_close_on_exec(slot->pidfd);
    if (uv_poll_init(slot->shared->loop, &slot->death_watch, slot->pidfd) < 0) {
        close(slot->pidfd);
        slot->pidfd = -1;
        return;
    }
    slot->death_watch.data = slot;
    slot->open_handles++;
    uv_poll_start(&slot->death_watch, UV_READABLE, on_dead);
}

static int spawn_process(struct slot *slot, int child_fd)
{
    char *argv[] = {(char[]){"celeriac"}, (char[]){"worker"}, (char[]){"--child"}, NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = 1},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
        {.flags = UV_INHERIT_FD, .data.fd = child_fd},
    };
    uv_process_options_t options = {
        .file = "/proc/self/exe",
        .args = argv,
        .stdio = stdio,
        .stdio_count = ARRAY_SIZE(stdio),
        .exit_cb = on_process_gone,
        .flags = UV_PROCESS_DETACHED, /* Ctrl-C is the supervisor's alone */
    };
    return uv_spawn(slot->shared->loop, &slot->process, &options);
}

static void reset(struct slot *slot)
{
    slot->has_hello = slot->fatal = slot->gone = slot->deaf = slot->asked = false;
    slot->pid = slot->exit_status = 0;
    slot->term_signal = 0;
    slot->peak_rss = slot->tasks = 0;
    slot->writes = 0;
    slot->cause = DEATH_CRASH;
    slot->spawned_mono = clock_mono();
    slot->pipe.data = slot->process.data = slot;
}

static void fail_to_spawn(struct slot *slot, int status)
{
    log_error("Child cannot be started", F_U64("slot", slot->number),
              F_C("err", uv_strerror(status)));
    slot->bad_starts++;
    slot->gone = true;
    close_handles(slot);
}

void slot_spawn(struct slot *slot)
{
    int fds[2];
    reset(slot);
    slot_set_state(slot, SLOT_STARTING);
    uv_pipe_init(slot->shared->loop, &slot->pipe, 0);
    slot->open_handles = 2; /* a process handle wants to be closed even when uv_spawn failed */
    int r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : 0;
    if (r < 0) {
        slot->open_handles = 1;
        slot->gone = true;
        log_error("Child cannot be started", F_U64("slot", slot->number), F_C("err", strerror(-r)));
        slot->bad_starts++;
        uv_close((uv_handle_t *)&slot->pipe, on_handle_closed);
        return;
    }
    r = uv_pipe_open(&slot->pipe, fds[0]);
    if (r < 0)
        close(fds[0]);
    /* Its reader then sleeps in poll(): one in read() would be woken by each of our reads, too. */
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    int spawned = spawn_process(slot, fds[1]);
    close(fds[1]);
    if (r < 0 || spawned < 0) {
        if (spawned == 0)
            uv_process_kill(&slot->process, SIGKILL);
        fail_to_spawn(slot, r < 0 ? r : spawned);
        return;
    }
    slot->pid = slot->process.pid;
    watch_death(slot);
    set_deadline(slot, SLOT_HELLO_USEC);
    if (slot_listen(slot) < 0 || slot_write(slot, buf_str(&slot->shared->setup)) < 0)
        slot_stop(slot, DEATH_CRASH);
}

static void send_signal(struct slot *slot, int number)
{
    if (!slot->gone)
        uv_process_kill(&slot->process, number);
}

/* To STOPPING with `number`; without one, the child sees the end of its descriptor. */
void slot_begin_stop(struct slot *slot, enum death_cause cause, int number)
{
    uv_os_fd_t fd;
    if (slot->state != SLOT_STOPPING) {
        slot->cause = cause;
        slot_set_state(slot, SLOT_STOPPING);
        set_deadline(slot, SLOT_STOP_GRACE_USEC);
    }
    if (number)
        send_signal(slot, number);
    else if (uv_fileno((const uv_handle_t *)&slot->pipe, &fd) == 0)
        shutdown(fd, SHUT_WR);
}

void slot_stop(struct slot *slot, enum death_cause cause)
{
    bool idle = slot->state == SLOT_IDLE || (slot->state == SLOT_RETIRING && !slot->job);
    if (slot->state == SLOT_STOPPING)
        return;
    slot->asked = true;
    slot_begin_stop(slot, cause, idle ? 0 : SIGTERM);
}

void slot_terminate(struct slot *slot, int signal_number)
{
    slot->asked = true;
    slot_begin_stop(slot, DEATH_REVOKED, signal_number);
}

void slot_kill(struct slot *slot, enum death_cause cause)
{
    if (slot->state < SLOT_STARTING || slot->state > SLOT_STOPPING)
        return;
    slot->asked = true;
    slot_begin_stop(slot, cause, SIGKILL);
}

void slot_retire(struct slot *slot)
{
    slot->retired = true;
    switch (slot->state) {
    case SLOT_BUSY:
        slot_set_state(slot, SLOT_RETIRING);
        break;
    case SLOT_IDLE:
    case SLOT_STARTING:
        slot_stop(slot, DEATH_CRASH);
        break;
    case SLOT_EMPTY:
    case SLOT_RETIRING:
    case SLOT_STOPPING:
    case SLOT_EXITED:
    case SLOT_DISABLED:
        break;
    }
}

void slot_respawn_at(struct slot *slot, usec_t when_mono)
{
    ASSERT(slot->state == SLOT_EXITED);
    slot->deadline_mono = when_mono;
    slot->shared->events->on_wake(slot, when_mono);
}

/* --- deadlines -------------------------------------------------------------------------------- */

static void on_deadline(struct slot *slot)
{
    slot->deadline_mono = USEC_NEVER;
    switch (slot->state) {
    case SLOT_STARTING:
        log_error("Child did not say hello", F_I64("pid", slot->pid), F_U64("slot", slot->number));
        slot_stop(slot, DEATH_CRASH);
        break;
    case SLOT_STOPPING:
        send_signal(slot, SIGKILL);
        break;
    case SLOT_EXITED:
        slot_set_state(slot, SLOT_EMPTY);
        slot_spawn(slot);
        break;
    case SLOT_EMPTY:
    case SLOT_IDLE:
    case SLOT_BUSY:
    case SLOT_RETIRING:
    case SLOT_DISABLED:
        break;
    }
}

static void on_hard_limit(struct slot *slot)
{
    log_error("Hard time limit exceeded", F_STR("task", slot->job->task),
              F_STR("task_id", slot->job->task_id), F_I64("pid", slot->pid),
              F_USEC("limit", slot->job->hard_limit));
    slot->hard_mono = slot->soft_mono = USEC_NEVER;
    slot->asked = true;
    slot_begin_stop(slot, DEATH_HARD_LIMIT, SIGKILL);
}

static void on_soft_limit(struct slot *slot)
{
    log_warning("Soft time limit exceeded", F_STR("task", slot->job->task),
                F_STR("task_id", slot->job->task_id), F_I64("pid", slot->pid),
                F_USEC("limit", slot->job->soft_limit));
    slot->soft_mono = USEC_NEVER;
    send_signal(slot, CHILD_SOFT_LIMIT_SIGNAL);
}

usec_t slot_tick(struct slot *slot, usec_t now_mono)
{
    if (slot->hard_mono <= now_mono)
        on_hard_limit(slot);
    if (slot->soft_mono <= now_mono)
        on_soft_limit(slot);
    if (slot->deadline_mono <= now_mono)
        on_deadline(slot);
    usec_t next = slot->deadline_mono;
    if (slot->soft_mono < next)
        next = slot->soft_mono;
    if (slot->hard_mono < next)
        next = slot->hard_mono;
    return next;
}
