#include "core/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

/* The manager reads lines; a status that holds a line end would be read as another variable. */
static int line_length(const char *status)
{
    return (int)strcspn(status, "\r\n");
}

void process_notify_ready(const char *status)
{
    sd_notifyf(0, "READY=1\nSTATUS=%.*s", line_length(status), status);
}

void process_notify_status(const char *status)
{
    sd_notifyf(0, "STATUS=%.*s", line_length(status), status);
}

void process_notify_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_mono());
}

void process_notify_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}

void process_notify_watchdog(void)
{
    sd_notify(0, "WATCHDOG=1");
}

usec_t process_watchdog_interval(void)
{
    uint64_t usec = 0;
    return sd_watchdog_enabled(0, &usec) > 0 ? usec / 2 : 0;
}

void process_block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

void process_hostname(char *buffer, size_t size)
{
    if (size == 0)
        return;
    if (gethostname(buffer, size) < 0 || buffer[0] == '\0')
        snprintf(buffer, size, "localhost");
    buffer[size - 1] = '\0'; /* gethostname need not end a name that it cut */
}

uint64_t process_peak_rss(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

/* /proc/PID/statm: "size resident shared ..." in pages. */
enum statm { STATM_SIZE, STATM_RESIDENT };
static uint64_t read_statm(const char *path, enum statm which)
{
    char text[128];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t len = read(fd, text, sizeof(text));
    close(fd);
    struct str rest = str_n(text, len > 0 ? (size_t)len : 0), part = STR_NONE;
    uint64_t pages;
    for (enum statm at = STATM_SIZE; at <= which; at++) {
        if (!str_split(&rest, ' ', &part))
            return 0;
    }
    return str_parse_u64(part, &pages) == 0 ? pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

uint64_t process_rss(void)
{
    return read_statm("/proc/self/statm", STATM_RESIDENT);
}

uint64_t process_rss_of(int64_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%lld/statm", (long long)pid);
    return read_statm(path, STATM_RESIDENT);
}

uint64_t process_address_space(void)
{
    return read_statm("/proc/self/statm", STATM_SIZE);
}

void process_close_on_exec(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0)
        fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
}

enum exit_status process_exit_status(int code)
{
    switch (code) {
    case 0:
        return EXIT_OK;
    case CEL_E_AUTH:
    case -EACCES:
    case -EPERM:
        return EXIT_DENIED;
    case CEL_E_CONFIG:
    case CEL_E_UNSUPPORTED:
    case -EINVAL:
        return EXIT_CONFIG;
    case CEL_E_FORMAT:
    case CEL_E_LIMIT:
    case CEL_E_REFUSED:
    case CEL_E_SERVER:
    case CEL_E_DATABASE:
    case -ENOMEM:
        return EXIT_INTERNAL;
    default: /* the network's errors, and CEL_E_UNCERTAIN */
        return EXIT_UNREACHABLE;
    }
}
