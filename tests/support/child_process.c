#include "tests/support/child_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "child/child.h"

enum { OUTCOME_MS = 30000 };

/* In the new process. */
static void become_child(int fd, int log, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
        _exit(126);
    if (fd == CHILD_FD)
        fcntl(fd, F_SETFD, 0);
    else if (dup2(fd, CHILD_FD) < 0)
        _exit(126);
    execl(CHILD_ALONE, "child_alone", (char *)NULL);
    _exit(127);
}

void child_process_start(struct child_process *process, const struct frame_setup *setup)
{
    int pair[2];
    *process = (struct child_process){.in = BUF_INIT(2 * FRAME_BYTES_MAX)};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    process->log = memfd_create("child log", MFD_CLOEXEC);
    assert_true(process->log >= 0);
    pid_t parent = getpid();
    process->pid = fork();
    if (process->pid == 0)
        become_child(pair[1], process->log, parent);
    assert_true(process->pid > 0);
    close(pair[1]);
    process->fd = pair[0];
    if (!setup)
        return;
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(1 << 20);
    frame_add_setup(&buf, setup);
    assert_int_equal(buf_status(&buf), 0);
    child_process_write(process, buf_str(&buf));
}

void child_process_end(struct child_process *process)
{
    if (process->pid > 0) {
        kill(process->pid, SIGKILL);
        waitpid(process->pid, NULL, 0);
    }
    if (process->fd > 0)
        close(process->fd);
    if (process->log > 0)
        close(process->log);
    frame_deinit(&process->frame);
    buf_deinit(&process->in);
    *process = (struct child_process){0};
}

void child_process_write(struct child_process *process, struct str bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(process->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EPIPE)
            return; /* the process ended; the caller will see it */
        assert_true(n > 0);
        bytes = str_n(bytes.ptr + n, bytes.len - (size_t)n);
    }
}

/* 0 or 1 as child_process_read; waits until `deadline_mono`. */
static int read_some(struct child_process *process, usec_t deadline_mono)
{
    usec_t now = clock_mono();
    struct pollfd fd = {.fd = process->fd, .events = POLLIN};
    int left = now < deadline_mono ? (int)((deadline_mono - now + 999) / USEC_PER_MSEC) : 0;
    if (poll(&fd, 1, left) == 0)
        return -ETIMEDOUT;
    char *room = buf_reserve(&process->in, 65536);
    assert_non_null(room);
    ssize_t n = recv(process->fd, room, 65536, 0);
    if (n <= 0)
        return 1;
    buf_added(&process->in, (size_t)n);
    return 0;
}

int child_process_read(struct child_process *process, int64_t ms)
{
    usec_t deadline = clock_mono() + (usec_t)ms * USEC_PER_MSEC;
    frame_deinit(&process->frame);
    buf_consume(&process->in, process->frame_len);
    process->frame_len = 0;
    for (;;) {
        struct cel_error err = {0};
        int r = frame_decode(buf_str(&process->in), &process->frame, &process->frame_len, &err);
        if (r == 0)
            return 0;
        if (r != -EAGAIN)
            fail_msg("the child's frame: %s", err.text);
        r = read_some(process, deadline);
        if (r)
            return r;
    }
}

int child_process_wait(struct child_process *process, int64_t ms)
{
    usec_t deadline = clock_mono() + (usec_t)ms * USEC_PER_MSEC;
    int status = 0;
    while (waitpid(process->pid, &status, WNOHANG) == 0) {
        if (clock_mono() > deadline)
            fail_msg("the child lives on after %lld ms", (long long)ms);
        nanosleep(&(struct timespec){.tv_nsec = 2 * 1000 * 1000}, NULL);
    }
    process->pid = 0;
    return status;
}

char *child_process_log(const struct child_process *process)
{
    struct stat st;
    assert_int_equal(fstat(process->log, &st), 0);
    char *text = calloc(1, (size_t)st.st_size + 1);
    assert_non_null(text);
    assert_int_equal(pread(process->log, text, (size_t)st.st_size, 0), st.st_size);
    return text;
}

uint64_t child_process_run(struct child_process *process, const char *message)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(FRAME_BYTES_MAX);
    frame_add_run(&buf, &(struct frame_run){.seq = ++process->seq, .envelope = str_of(message)});
    assert_int_equal(buf_status(&buf), 0);
    child_process_write(process, buf_str(&buf));
    return process->seq;
}

const struct frame_outcome *child_process_call(struct child_process *process, const char *message)
{
    uint64_t seq = child_process_run(process, message);
    int r = child_process_read(process, OUTCOME_MS);
    if (r) {
        char *log = child_process_log(process);
        fail_msg("no outcome (%d); the child's log: %s", r, log);
    }
    assert_int_equal(process->frame.type, FRAME_OUTCOME);
    assert_int_equal(process->frame.outcome.seq, seq);
    return &process->frame.outcome;
}

char *message_of(const char *name, const char *args, const char *kwargs, const char *more_headers)
{
    CLEANUP(buf_deinit) struct buf body = BUF_INIT(32 << 20), text = BUF_INIT(64 << 20);
    buf_addf(&body, "[%s, %s, {\"callbacks\": null, \"chain\": null}]", args, kwargs);
    buf_add_c(&text, "{\"body\": \"");
    for (size_t i = 0; i < body.len; i++) { /* the body as raw text in JSON */
        if (body.ptr[i] == '"' || body.ptr[i] == '\\')
            buf_add_char(&text, '\\');
        buf_add_char(&text, body.ptr[i]);
    }
    buf_addf(&text,
             "\", \"content-type\": \"application/json\", \"content-encoding\": \"utf-8\","
             " \"headers\": {\"lang\": \"py\", \"task\": \"%s\", \"id\": \"id-1\", \"root_id\":"
             " \"root-1\", \"parent_id\": null, \"stamped_headers\": null, \"stamps\": {}%s},"
             " \"properties\": {\"delivery_info\": {\"exchange\": \"\", \"routing_key\": \"q1\"},"
             " \"priority\": 5, \"delivery_tag\": \"tag-1\"}}",
             name, more_headers);
    assert_int_equal(buf_status(&text), 0);
    return buf_take(&text, NULL);
}
