/*
 * A timerfd on CLOCK_REALTIME with an absolute time. TFD_TIMER_CANCEL_ON_SET makes it readable,
 * with ECANCELED, when the clock jumps, also at the end of a suspend.
 */
#include "beat/alarm.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct alarm *alarm = poll->data;
    uint64_t strikes;

    (void)events;
    /* Set anew between becoming readable and now, it has nothing to tell any more. */
    if (status == 0 && read(alarm->fd, &strikes, sizeof strikes) < 0 && errno == EAGAIN)
        return;
    alarm->cb(alarm->data);
}

int alarm_open(
    struct alarm *alarm, uv_loop_t *loop, alarm_fn *cb, void *data, struct cel_error *err)
{
    int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    int status;

    if (fd < 0)
        return error_set(err, -errno, "no timer: %s", strerrordesc_np(errno));
    *alarm = (struct alarm){.fd = fd, .cb = cb, .data = data};
    status = uv_poll_init(loop, &alarm->poll, fd);
    if (status < 0) {
        close(fd);
        return error_set(err, status, "no timer: %s", uv_strerror(status));
    }
    alarm->poll.data = alarm;
    status = uv_poll_start(&alarm->poll, UV_READABLE, on_readable);
    ASSERT(status == 0);
    return 0;
}

static int set_timer(struct alarm *alarm, usec_t wall)
{
    struct itimerspec when = {0}; /* all zero: never */

    if (wall != USEC_NEVER) {
        when.it_value.tv_sec = (time_t)(wall / USEC_PER_SEC);
        when.it_value.tv_nsec = (long)(wall % USEC_PER_SEC * 1000) + (wall == 0);
    }
    return timerfd_settime(alarm->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL);
}

void alarm_set(struct alarm *alarm, usec_t wall)
{
    /* ECANCELED: set, but the clock jumped before, and nobody has been told: strike at once */
    if (set_timer(alarm, wall) < 0 && errno == ECANCELED)
        set_timer(alarm, 0);
}

static void on_closed(uv_handle_t *handle)
{
    struct alarm *alarm = handle->data;

    close(alarm->fd);
    alarm->fd = -1;
}

void alarm_close(struct alarm *alarm)
{
    uv_poll_stop(&alarm->poll);
    uv_close((uv_handle_t *)&alarm->poll, on_closed);
}
