#include "core/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "core/calendar.h"

static usec_t (*replaced_mono)(void);
static usec_t (*replaced_wall)(void);

static usec_t read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (usec_t)now.tv_sec * USEC_PER_SEC + (usec_t)now.tv_nsec / 1000;
}

usec_t clock_mono(void)
{
    return replaced_mono ? replaced_mono() : read_clock(CLOCK_MONOTONIC);
}

usec_t clock_wall(void)
{
    return replaced_wall ? replaced_wall() : read_clock(CLOCK_REALTIME);
}

void clock_replace(usec_t (*mono)(void), usec_t (*wall)(void))
{
    replaced_mono = mono;
    replaced_wall = wall;
}

static bool take_char(struct str *text, char c)
{
    if (text->len == 0 || text->ptr[0] != c)
        return false;
    *text = str_n(text->ptr + 1, text->len - 1);
    return true;
}

/* Exactly `count` digits. */
static bool take_number(struct str *text, size_t count, unsigned max, unsigned *ret_value)
{
    if (text->len < count)
        return false;
    unsigned value = 0;
    for (size_t i = 0; i < count; i++) {
        if (text->ptr[i] < '0' || text->ptr[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text->ptr[i] - '0');
    }
    if (value > max)
        return false;
    *text = str_n(text->ptr + count, text->len - count);
    *ret_value = value;
    return true;
}

static bool take_date(struct str *text, int64_t *ret_days)
{
    unsigned year, month, day;
    if (!take_number(text, 4, 9999, &year) || year == 0)
        return false;
    bool dashes = take_char(text, '-');
    if (!take_number(text, 2, 12, &month) || month == 0 || (dashes && !take_char(text, '-')) ||
        !take_number(text, 2, calendar_month_length(year, month), &day) || day == 0)
        return false;
    *ret_days = calendar_days((struct date){year, month, day});
    return true;
}

/* The digits behind the point, 1 to 9 of them; what is below a microsecond is cut off. */
static bool take_fraction(struct str *text, unsigned *ret_usec)
{
    unsigned usec = 0, scale = 100000, digits = 0, digit;
    for (; digits < 9 && take_number(text, 1, 9, &digit); digits++) {
        usec += digit * scale;
        scale /= 10;
    }
    *ret_usec = usec;
    return digits > 0;
}

static bool take_time(struct str *text, int64_t *ret_usec)
{
    unsigned hour, minute, second = 0, usec = 0;
    if (!take_number(text, 2, 23, &hour))
        return false;
    bool colons = take_char(text, ':');
    if (!take_number(text, 2, 59, &minute))
        return false;
    bool has_second =
        colons ? take_char(text, ':') : text->len > 0 && text->ptr[0] >= '0' && text->ptr[0] <= '9';
    if (has_second) {
        if (!take_number(text, 2, 59, &second))
            return false;
        if ((take_char(text, '.') || take_char(text, ',')) && !take_fraction(text, &usec))
            return false;
    }
    *ret_usec = (int64_t)((hour * 60 + minute) * 60 + second) * (int64_t)USEC_PER_SEC + usec;
    return true;
}

/* Nothing (UTC), Z, +HH, +HHMM, +HH:MM. */
static bool take_zone(struct str *text, int64_t *ret_usec)
{
    *ret_usec = 0;
    if (text->len == 0 || take_char(text, 'Z') || take_char(text, 'z'))
        return true;
    bool west = take_char(text, '-');
    if (!west && !take_char(text, '+'))
        return false;
    unsigned hours, minutes = 0;
    if (!take_number(text, 2, 23, &hours))
        return false;
    if ((take_char(text, ':') || text->len > 0) && !take_number(text, 2, 59, &minutes))
        return false;
    int64_t usec = (int64_t)(hours * 60 + minutes) * 60 * (int64_t)USEC_PER_SEC;
    *ret_usec = west ? -usec : usec;
    return true;
}

int isotime_parse(struct str text, usec_t *ret_wall)
{
    int64_t days, time = 0, zone = 0;
    if (!take_date(&text, &days))
        return -EINVAL;
    if (text.len > 0) {
        if (!take_char(&text, 'T') && !take_char(&text, ' ') && !take_char(&text, 't'))
            return -EINVAL;
        if (!take_time(&text, &time) || !take_zone(&text, &zone) || text.len > 0)
            return -EINVAL;
    }
    int64_t wall = days * 86400 * (int64_t)USEC_PER_SEC + time - zone;
    *ret_wall = wall > 0 ? (usec_t)wall : 1;
    return 0;
}

struct str isotime_format(usec_t wall, char buffer[ISOTIME_SIZE])
{
    static const usec_t last = 253402300799999999; /* 9999-12-31T23:59:59.999999 */
    if (wall > last)
        wall = last;
    usec_t seconds = wall / USEC_PER_SEC, of_day = seconds % 86400;
    unsigned usec = (unsigned)(wall % USEC_PER_SEC);
    struct date date = calendar_date((int64_t)(seconds / 86400));
    int len = snprintf(buffer, ISOTIME_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u", (unsigned)date.year,
                       date.month, date.day, (unsigned)(of_day / 3600),
                       (unsigned)(of_day / 60 % 60), (unsigned)(of_day % 60));
    len +=
        snprintf(buffer + len, ISOTIME_SIZE - (size_t)len, usec ? ".%06u+00:00" : "+00:00", usec);
    return str_n(buffer, (size_t)len);
}
