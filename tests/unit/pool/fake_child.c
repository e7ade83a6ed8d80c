#include "fake_child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "child/frame.h"

enum { CHILD_FD = 3 };

static struct buf in = BUF_INIT(FRAME_BYTES_MAX + FRAME_HEADER);

bool fake_child_wanted(int argc, char **argv)
{
    return argc == 3 && strcmp(argv[1], "worker") == 0 && strcmp(argv[2], "--child") == 0;
}

static void write_all(const struct buf *buf)
{
    for (size_t at = 0; at < buf->len;) {
        ssize_t len = write(CHILD_FD, buf->ptr + at, buf->len - at);
        if (len < 0 && errno != EINTR && errno != EAGAIN)
            _exit(3);
        at += len > 0 ? (size_t)len : 0;
    }
}

/* The next frame; ends the process with the end of the descriptor, as a child does. */
static struct frame next_frame(void)
{
    static size_t used;
    buf_consume(&in, used);
    for (;;) {
        struct frame frame;
        int r = frame_decode(buf_str(&in), &frame, &used, NULL);
        if (r == 0)
            return frame;
        if (r != -EAGAIN)
            _exit(4);
        char bytes[4096];
        ssize_t len = read(CHILD_FD, bytes, sizeof(bytes));
        if (len == 0)
            _exit(0);
        if (len > 0)
            buf_add(&in, bytes, (size_t)len);
        else if (errno == EAGAIN)
            poll(&(struct pollfd){.fd = CHILD_FD, .events = POLLIN}, 1, -1);
        else if (errno != EINTR)
            _exit(5);
    }
}

static void say_hello(void)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    struct frame_task task = {.name = STR("fake.task"), .queue = STR("celery"), .max_retries = 3};
    frame_add_hello(
        &buf, &(struct frame_hello){.version = FRAME_VERSION, .tasks = &task, .task_count = 1});
    write_all(&buf);
}

static void answer(uint64_t seq, enum frame_outcome_kind kind)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    char pid[32];
    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    frame_add_outcome(
        &buf, &(struct frame_outcome){
                  .seq = seq, .kind = kind, .result_json = str_of(pid), .countdown_usec = -1});
    write_all(&buf);
}

static void report_progress(uint64_t seq)
{
    CLEANUP(buf_deinit) struct buf buf = BUF_INIT(4096);
    frame_add_progress(&buf, &(struct frame_progress){
                                 .seq = seq, .state = STR("PROGRESS"), .meta_json = STR("{}")});
    write_all(&buf);
}

static void die(int number)
{
    signal(number, SIG_DFL);
    raise(number);
}

static void swell(void)
{
    static char *volatile kept;
    const size_t size = 64 * 1024 * 1024;
    kept = malloc(size);
    for (size_t at = 0; at < size; at += 1024)
        kept[at] = 'x';
}

static void run(const struct frame_run *run)
{
    if (str_equal(run->envelope, STR("die"))) {
        die(SIGKILL);
    } else if (str_equal(run->envelope, STR("exit"))) {
        _exit(0);
    } else if (str_equal(run->envelope, STR("hang"))) {
        for (;;)
            pause();
    } else if (str_equal(run->envelope, STR("garbage"))) {
        CLEANUP(buf_deinit) struct buf buf = BUF_INIT(64);
        buf_add_c(&buf, "printf from a task\n");
        write_all(&buf);
        pause();
    } else if (str_equal(run->envelope, STR("swell"))) {
        swell();
    } else if (str_equal(run->envelope, STR("nap"))) {
        nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    } else if (str_equal(run->envelope, STR("progress"))) {
        report_progress(run->seq);
    } else if (str_equal(run->envelope, STR("again"))) {
        answer(run->seq, OUTCOME_RETRY);
        return;
    }
    answer(run->seq, OUTCOME_SUCCESS);
    if (str_equal(run->envelope, STR("last")))
        die(SIGKILL);
}

static void obey(struct str script)
{
    struct str word;
    str_split(&script, ' ', &word);
    bool unusable = str_equal(word, STR("78"));
    if (str_equal(word, STR("mute")))
        die(SIGSEGV);
    if (str_equal(word, STR("flag"))) {
        char path[256];
        snprintf(path, sizeof(path), STR_FORMAT, STR_ARGS(script));
        unusable = access(path, F_OK) == 0;
    }
    if (unusable)
        _exit(78);
}

static void on_term(int number)
{
    (void)number;
    _exit(128 + SIGTERM);
}

/* Answers the first call as soon as something of its frame is there. */
static void answer_too_early(void)
{
    poll(&(struct pollfd){.fd = CHILD_FD, .events = POLLIN}, 1, -1);
    answer(1, OUTCOME_SUCCESS);
    for (;;)
        pause();
}

int fake_child_main(void)
{
    struct frame frame = next_frame();
    bool hasty = str_equal(frame.setup.modules[0], STR("hasty"));
    signal(SIGTERM, on_term);
    alarm(60); /* nothing outlives a test that failed */
    obey(frame.setup.modules[0]);
    frame_deinit(&frame);
    say_hello();
    if (hasty)
        answer_too_early();
    for (;;) {
        frame = next_frame();
        run(&frame.run);
        frame_deinit(&frame);
    }
}
