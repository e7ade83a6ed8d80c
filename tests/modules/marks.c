/*
 * A task that leaves marks: one line in a file when it begins, one when it ends. A line goes in by
 * one write to the end of the file, so that processes share a file, and a kill cuts none in two.
 */
#include <celeriac/task.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* "<S or E> <number> <us since 1970> <1: redelivered> c": the letter stands for C */
static int leave(struct cel_task *task, const char *path, char kind, int64_t number)
{
    char line[96];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t usec = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    int len = snprintf(line, sizeof(line), "%c %" PRId64 " %" PRId64 " %d c\n", kind, number, usec,
                       cel_request(task)->redelivered);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return cel_failf(task, "FileNotFoundError", "%s", path);
    ssize_t written = write(fd, line, (size_t)len);
    close(fd);
    return written == len ? CEL_OK : cel_failf(task, "OSError", "%s", path);
}

static int run(struct cel_task *task)
{
    const char *path;
    int64_t number, ms;
    if (cel_arg_text(task, "path", &path) || cel_arg_int(task, "number", &number) ||
        cel_arg_int(task, "ms", &ms) || leave(task, path, 'S', number))
        return CEL_FAIL;
    if (ms > 0 && cel_sleep_ms(task, ms))
        return CEL_CANCELLED;
    return leave(task, path, 'E', number);
}

CEL_TASKS({.name = "tests.mark", .run = run, .params = "path, number, ms=0"});
