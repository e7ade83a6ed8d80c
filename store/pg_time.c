/*
 * The calendar is Gregorian in both directions, as PostgreSQL's is; the year before 1 is 0 here and
 * "1 BC" there. 64 bits end in the year 294247, 30 years before PostgreSQL does.
 */
#include "store/pg_time.h"

#include <errno.h>
#include <stdio.h>

#include "core/calendar.h"

#define USEC_OF_SEC INT64_C(1000000)
#define USEC_OF_DAY (86400 * USEC_OF_SEC)
enum { YEAR_MAX = 294246 };

void pg_time_format(int64_t usec, char room[PG_TIME_ROOM])
{
    if (usec == INT64_MAX || usec == INT64_MIN) {
        snprintf(room, PG_TIME_ROOM, "%s", usec < 0 ? "-infinity" : "infinity");
        return;
    }
    int64_t days = floor_div(usec, USEC_OF_DAY), rest = usec - days * USEC_OF_DAY;
    int seconds = (int)(rest / USEC_OF_SEC), fraction = (int)(rest % USEC_OF_SEC);
    struct date date = calendar_date(days);
    bool before_christ = date.year <= 0;
    snprintf(room, PG_TIME_ROOM, "%04lld-%02u-%02u %02d:%02d:%02d.%06d+00%s",
             (long long)(before_christ ? 1 - date.year : date.year), date.month, date.day,
             seconds / 3600, seconds / 60 % 60, seconds % 60, fraction, before_christ ? " BC" : "");
}

/* --- reading ---------------------------------------------------------------------------------- */

/* From `least` to `most` digits. */
static bool take_number(struct str *text, size_t least, size_t most, int64_t *ret)
{
    int64_t value = 0;
    size_t n = 0;
    for (; n < most && n < text->len && text->ptr[n] >= '0' && text->ptr[n] <= '9'; n++)
        value = value * 10 + (text->ptr[n] - '0');
    if (n < least)
        return false;
    *text = str_n(text->ptr + n, text->len - n);
    *ret = value;
    return true;
}

static bool take_char(struct str *text, char c)
{
    if (text->len == 0 || *text->ptr != c)
        return false;
    *text = str_n(text->ptr + 1, text->len - 1);
    return true;
}

static bool take_fraction(struct str *text, int64_t *ret_usec)
{
    size_t before = text->len;
    *ret_usec = 0;
    if (!take_char(text, '.'))
        return true;
    if (!take_number(text, 1, 6, ret_usec))
        return false;
    for (size_t digits = before - text->len - 1; digits < 6; digits++)
        *ret_usec *= 10;
    return true;
}

/* "+05", "-03:30", or "+00:53:28" as local mean times are; in seconds. */
static bool take_zone(struct str *text, int64_t *ret)
{
    int64_t hours, minutes = 0, seconds = 0;
    bool west = take_char(text, '-');
    *ret = 0;
    if (!west && !take_char(text, '+'))
        return true;
    if (!take_number(text, 2, 2, &hours))
        return false;
    if (take_char(text, ':') && !take_number(text, 2, 2, &minutes))
        return false;
    if (take_char(text, ':') && !take_number(text, 2, 2, &seconds))
        return false;
    *ret = (hours * 60 + minutes) * 60 + seconds;
    *ret = west ? -*ret : *ret;
    return true;
}

int pg_time_parse(struct str text, int64_t *ret_usec)
{
    int64_t year, month, day, hours, minutes, seconds, usec, zone;
    if (str_equal(text, STR("infinity")) || str_equal(text, STR("-infinity"))) {
        *ret_usec = *text.ptr == '-' ? INT64_MIN : INT64_MAX;
        return 0;
    }
    if (!take_number(&text, 4, 6, &year) || !take_char(&text, '-') ||
        !take_number(&text, 2, 2, &month) || !take_char(&text, '-') ||
        !take_number(&text, 2, 2, &day) || !take_char(&text, ' ') ||
        !take_number(&text, 2, 2, &hours) || !take_char(&text, ':') ||
        !take_number(&text, 2, 2, &minutes) || !take_char(&text, ':') ||
        !take_number(&text, 2, 2, &seconds) || !take_fraction(&text, &usec) ||
        !take_zone(&text, &zone))
        return -EINVAL;
    bool before_christ = str_equal(text, STR(" BC"));
    if ((text.len > 0 && !before_christ) || year > YEAR_MAX || month < 1 || month > 12 || day < 1 ||
        day > 31)
        return -EINVAL;
    int64_t days = calendar_days(
        (struct date){before_christ ? 1 - year : year, (unsigned)month, (unsigned)day});
    *ret_usec =
        days * USEC_OF_DAY + ((hours * 60 + minutes) * 60 + seconds - zone) * USEC_OF_SEC + usec;
    return 0;
}
