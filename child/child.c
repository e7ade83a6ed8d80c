#include "child/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child/builtin.h"
#include "child/follow.h"
#include "child/limits.h"
#include "child/run.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/process.h"

enum {
    READ_BYTES = 64 * 1024,
    KEEP_BYTES = 1024 * 1024, /* a buffer that grew beyond is given back after the call */
};

/* Condition: the supervisor closed its end. */
enum { CHILD_E_END = 1 };

static volatile sig_atomic_t cancel_flag;

static void on_soft_limit(int number)
{
    (void)number;
    cancel_flag = PG_CANCEL_WANTED;
}

/* --- the socket ------------------------------------------------------------------------------- */

static int wait_for(int fd, short events)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    return poll(&poll_fd, 1, -1) < 0 && errno != EINTR ? -errno : 0;
}

static int write_all(int fd, struct str bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (n >= 0) {
            bytes = str_n(bytes.ptr + n, bytes.len - (size_t)n);
        } else if (errno == EAGAIN) {
            int r = wait_for(fd, POLLOUT);
            if (r)
                return r;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

static void give_back(struct buf *buf)
{
    buf_clear(buf);
    if (buf->cap > KEEP_BYTES)
        buf_deinit(buf);
}

int child_flush(struct child *child)
{
    int r = buf_status(&child->out);
    if (!r)
        r = write_all(child->fd, buf_str(&child->out));
    give_back(&child->out);
    return r;
}

/* Reads some more. 0, CHILD_E_END, -errno. */
static int read_more(int fd, struct buf *in)
{
    char *room = buf_reserve(in, READ_BYTES);
    if (!room)
        return buf_status(in);
    for (;;) {
        ssize_t n = recv(fd, room, READ_BYTES, 0);
        if (n > 0) {
            buf_added(in, (size_t)n);
            return 0;
        }
        if (n == 0 || errno == ECONNRESET)
            return CHILD_E_END;
        int r = errno == EAGAIN ? wait_for(fd, POLLIN) : errno == EINTR ? 0 : -errno;
        if (r)
            return r;
    }
}

/* The next frame; it borrows from `in`, from whose front `*ret_len` bytes are to be consumed. */
static int
read_frame(int fd, struct buf *in, struct frame *ret, size_t *ret_len, struct cel_error *err)
{
    for (;;) {
        int r = frame_decode(buf_str(in), ret, ret_len, err);
        if (r != -EAGAIN)
            return r;
        r = read_more(fd, in);
        if (r < 0)
            return error_set(err, r, "the supervisor cannot be read: %s", cel_error_name(r));
        if (r > 0)
            return r;
    }
}

/* --- beginning -------------------------------------------------------------------------------- */

static void set_signals(void)
{
    struct sigaction soft = {.sa_handler = on_soft_limit, .sa_flags = SA_RESTART};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigset_t blocked;
    _Static_assert(CHILD_SOFT_LIMIT_SIGNAL == PG_CANCEL_SIGNAL, "it ends statements, too");
    sigemptyset(&blocked);
    sigaddset(&blocked, CHILD_SOFT_LIMIT_SIGNAL);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    sigaction(CHILD_SOFT_LIMIT_SIGNAL, &soft, NULL);
    sigaction(SIGPIPE, &ignore, NULL); /* a task sees EPIPE */
}

/* The death of the supervisor ends this process in the middle of a task. One that died before
 * this call is noticed at descriptor 3. */
static void bind_to_supervisor(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "celeriac-child");
}

static int check_databases(const struct frame_setup *setup, struct cel_error *err)
{
    for (size_t i = 0; i < setup->database_count; i++) {
        const struct frame_pair *database = &setup->databases[i];
        char *uri = str_dup(database->value);
        int r = uri ? pg_uri_check(uri, err) : error_no_memory(err);
        mem_free(uri);
        if (r) {
            error_wrap(err, STR_FORMAT "%sdatabase \"" STR_FORMAT "\"", STR_ARGS(database->origin),
                       database->origin.len ? ": " : "", STR_ARGS(database->name));
            return r;
        }
    }
    return 0;
}

static int
load_modules(struct modules *modules, const struct frame_setup *setup, struct cel_error *err)
{
    modules_init(modules, setup->default_queue);
    int r = builtin_register(modules, err);
    if (r)
        return r;
    for (size_t i = 0; i < setup->module_count; i++) {
        char *path = str_dup(setup->modules[i]);
        r = path ? modules_load(modules, path, err) : error_no_memory(err);
        mem_free(path);
        if (r)
            return r;
    }
    return modules_finish(modules, setup->settings, setup->setting_count, err);
}

/* What SETUP says, kept beyond the frame. */
static int prepare(struct child *child, const struct frame_setup *setup, struct cel_error *err)
{
    log_open((enum log_level)setup->log_level, (enum log_format)setup->log_format, STDERR_FILENO);
    int r = check_databases(setup, err);
    if (!r)
        r = routes_add(&child->routes, setup->routes, err);
    if (!r)
        r = load_modules(&child->modules, setup, err);
    if (r)
        return r;
    char *node = str_dup(setup->node.ptr ? setup->node : STR(""));
    ASSERT(node);
    child->node = str_of(node);
    child->wants_peak_rss = setup->wants_peak_rss;
    child->wants_arguments = setup->wants_arguments;
    databases_open(child, setup->databases, setup->database_count, setup->database_max_age);
    return 0;
}

static int say_hello(struct child *child)
{
    const struct modules *modules = &child->modules;
    struct frame_task *tasks = xalloc((modules->task_count + 1) * sizeof(*tasks));
    for (size_t i = 0; i < modules->task_count; i++)
        tasks[i] = modules->tasks[i].rules;
    struct frame_hello hello = {FRAME_VERSION, tasks, modules->task_count};
    frame_add_hello(&child->out, &hello);
    mem_free(tasks);
    return child_flush(child);
}

static void child_deinit(struct child *child)
{
    databases_close(child);
    modules_deinit(&child->modules);
    routes_deinit(&child->routes);
    free((char *)(uintptr_t)child->node.ptr);
    buf_deinit(&child->out);
    limits_deinit(child);
}

/* --- the loop --------------------------------------------------------------------------------- */

static int lost_supervisor(const struct cel_error *err)
{
    log_error("Supervisor lost", F_C("err", err->text));
    return EXIT_INTERNAL;
}

static bool is_log_setting(const struct frame_setup *setup)
{
    return setup->log_level >= LOG_LEVEL_DEBUG && setup->log_level <= LOG_LEVEL_ERROR &&
           setup->log_format >= LOG_FORMAT_TEXT && setup->log_format <= LOG_FORMAT_JSON;
}

static int set_up(struct child *child, struct buf *in)
{
    struct frame frame;
    struct cel_error err = {0};
    size_t len;
    int r = read_frame(child->fd, in, &frame, &len, &err);
    if (r)
        return r == CHILD_E_END ? r : lost_supervisor(&err);
    if (frame.type != FRAME_SETUP || !is_log_setting(&frame.setup)) {
        error_set(&err, CEL_E_FORMAT, "the first frame is no SETUP");
        r = lost_supervisor(&err);
    } else if (prepare(child, &frame.setup, &err)) {
        log_error("Cannot start", F_C("err", err.text));
        r = EXIT_CONFIG;
    }
    frame_deinit(&frame);
    buf_consume(in, len);
    return r;
}

static int run_one(struct child *child, struct frame *frame, struct cel_error *err)
{
    int r = CEL_E_FORMAT;
    if (frame->type == FRAME_RUN)
        r = child_run(child, &frame->run);
    else if (frame->type == FRAME_FOLLOW)
        r = child_follow(child, &frame->follow);
    else
        return error_set(err, r, "a frame of type %d instead of RUN", frame->type);
    return r ? error_set(err, r, "the outcome cannot be sent: %s", cel_error_name(r)) : 0;
}

static int run_all(struct child *child, struct buf *in)
{
    for (;;) {
        struct frame frame;
        struct cel_error err = {0};
        size_t len;
        int r = read_frame(child->fd, in, &frame, &len, &err);
        if (r == CHILD_E_END)
            return EXIT_OK;
        if (!r) {
            r = run_one(child, &frame, &err);
            frame_deinit(&frame);
            buf_consume(in, len);
        }
        if (r)
            return lost_supervisor(&err);
        if (in->len == 0)
            give_back(in);
    }
}

int child_main(void)
{
    if (fcntl(CHILD_FD, F_SETFD, FD_CLOEXEC) < 0) {
        fputs("celeriac: --child is for the worker's own use\n", stderr);
        return EXIT_USAGE;
    }
    bind_to_supervisor();
    set_signals();
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct child child = {.fd = CHILD_FD, .cancel = &cancel_flag};
    buf_init(&child.out, FRAME_BYTES_MAX + FRAME_HEADER);
    buf_init(&child.limits.words, 64);
    struct buf in = BUF_INIT(FRAME_BYTES_MAX + FRAME_HEADER + READ_BYTES);
    int status = set_up(&child, &in);
    if (status == CHILD_E_END) {
        status = EXIT_OK;
    } else if (status == 0 && say_hello(&child)) {
        status = EXIT_OK; /* gone again meanwhile */
    } else if (status == 0) {
        status = run_all(&child, &in);
    }
    child_deinit(&child);
    buf_deinit(&in);
    return status;
}
