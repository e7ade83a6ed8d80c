#include "core/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

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

/* Days since 1970-01-01 of a day in the Gregorian calendar, and back: counted from 1 March of year
 * 0, so that the leap day is the last of its year (Howard Hinnant, "chrono-compatible low-level
 * date algorithms"). Years 0 ... 9999. */
enum { DAYS_TO_1970 = 719468, DAYS_OF_ERA = 146097 };

static int64_t days_of_date(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400, year_of_era = year % 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_OF_ERA + day_of_era - DAYS_TO_1970;
}

struct date {
    unsigned year, month, day;
};

static struct date date_of_days(uint64_t days)
{
    days += DAYS_TO_1970;
    uint64_t era = days / DAYS_OF_ERA;
    uint64_t day_of_era = days % DAYS_OF_ERA;
    uint64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t month_from_march = (5 * day_of_year + 2) / 153;
    uint64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    return (struct date){
        .year = (unsigned)(year_of_era + era * 400 + (month <= 2)),
        .month = (unsigned)month,
        .day = (unsigned)(day_of_year - (153 * month_from_march + 2) / 5 + 1),
    };
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
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
        !take_number(text, 2, days_in_month(year, month), &day) || day == 0)
        return false;
    *ret_days = days_of_date(year, month, day);
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
    struct date date = date_of_days(seconds / 86400);
    int len = snprintf(buffer, ISOTIME_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u", date.year, date.month,
                       date.day, (unsigned)(of_day / 3600), (unsigned)(of_day / 60 % 60),
                       (unsigned)(of_day % 60));
    len +=
        snprintf(buffer + len, ISOTIME_SIZE - (size_t)len, usec ? ".%06u+00:00" : "+00:00", usec);
    return str_n(buffer, (size_t)len);
}
