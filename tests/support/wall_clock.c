/*
 * For LD_PRELOAD: a wall clock that starts at a moment of one's choice and runs faster than the real
 * one. All processes that are given the same CELERIAC_TEST_CLOCK share it, whenever they start:
 *
 *     CELERIAC_TEST_CLOCK="<monotonic us> <us since 1970> <factor>"
 *
 * At that monotonic time it shows that moment. The monotonic clock stays the real one, and with it
 * every deadline, back-off and lease.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int64_t anchor_mono, anchor_wall, factor;

static int64_t read_real(clockid_t id)
{
    struct timespec now;
    syscall(SYS_clock_gettime, id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("CELERIAC_TEST_CLOCK");
    char *end = NULL;
    if (text) {
        anchor_mono = strtoll(text, &end, 10);
        anchor_wall = strtoll(end, &end, 10);
        factor = strtoll(end, &end, 10);
    }
    if (!text || *end || factor <= 0) {
        fprintf(stderr, "wall_clock: CELERIAC_TEST_CLOCK is not three numbers\n");
        _exit(78);
    }
}

static int64_t wall(void)
{
    return anchor_wall + (read_real(CLOCK_MONOTONIC) - anchor_mono) * factor;
}

int clock_gettime(clockid_t id, struct timespec *ret)
{
    if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)
        return (int)syscall(SYS_clock_gettime, id, ret);
    int64_t now = wall();
    *ret = (struct timespec){.tv_sec = now / 1000000, .tv_nsec = now % 1000000 * 1000};
    return 0;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    int64_t now = wall();
    (void)zone;
    *ret = (struct timeval){.tv_sec = now / 1000000, .tv_usec = now % 1000000};
    return 0;
}

time_t time(time_t *ret)
{
    time_t now = wall() / 1000000;
    if (ret)
        *ret = now;
    return now;
}

/* An absolute time that follows the setting of the clock is one of the wall clock. */
int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
    struct itimerspec real = *new;
    const struct timespec *at = &new->it_value;
    if (flags & TFD_TIMER_CANCEL_ON_SET && (at->tv_sec || at->tv_nsec)) {
        int64_t left = (int64_t)at->tv_sec * 1000000 + (at->tv_nsec + 999) / 1000 - wall();
        int64_t due = read_real(CLOCK_REALTIME) + (left > 0 ? (left + factor - 1) / factor : 0);
        real.it_value = (struct timespec){.tv_sec = due / 1000000, .tv_nsec = due % 1000000 * 1000};
    }
    return (int)syscall(SYS_timerfd_settime, fd, flags, &real, old);
}
