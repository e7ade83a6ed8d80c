/*
 * Dates and times come from databases and from programs in many languages; Python before 3.11 reads
 * back only what its own isoformat writes (no "Z", no "+00", a fraction of three or six digits). So
 * they are taken apart and kept in that one form; what Python wrote itself stays as it was.
 */
#include "core/typed.h"

#include <stdio.h>

#include "core/calendar.h"

/* What is still to be read of a text; the functions below take a part off its front. */
struct reading {
    struct str left;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool at_end(const struct reading *reading)
{
    return reading->left.len == 0;
}

static bool sees(const struct reading *reading, char c)
{
    return reading->left.len > 0 && reading->left.ptr[0] == c;
}

static bool take(struct reading *reading, char c)
{
    if (!sees(reading, c))
        return false;
    reading->left.ptr++;
    reading->left.len--;
    return true;
}

static size_t take_digits(struct reading *reading)
{
    size_t count = 0;
    while (reading->left.len > 0 && is_digit(reading->left.ptr[0])) {
        reading->left.ptr++;
        reading->left.len--;
        count++;
    }
    return count;
}

/* Takes a number of exactly `width` digits, at most `max`. */
static bool take_number(struct reading *reading, size_t width, unsigned max, unsigned *ret_number)
{
    unsigned number = 0;
    if (reading->left.len < width)
        return false;
    for (size_t i = 0; i < width; i++) {
        if (!is_digit(reading->left.ptr[i]))
            return false;
        number = number * 10 + (unsigned)(reading->left.ptr[i] - '0');
    }
    if (number > max)
        return false;
    reading->left = str_n(reading->left.ptr + width, reading->left.len - width);
    *ret_number = number;
    return true;
}

static bool take_date(struct reading *reading, struct date *ret)
{
    unsigned year;
    if (!take_number(reading, 4, 9999, &year) || !take(reading, '-') ||
        !take_number(reading, 2, 12, &ret->month) || !take(reading, '-') ||
        !take_number(reading, 2, 31, &ret->day))
        return false;
    ret->year = year;
    return year > 0 && ret->month > 0 && ret->day > 0 &&
           ret->day <= calendar_month_length(year, ret->month);
}

/* One to nine digits after a point, as microseconds; further digits are dropped. */
static bool take_fraction(struct reading *reading, unsigned *ret_usec)
{
    struct str digits = reading->left;
    size_t count = take_digits(reading);
    if (count == 0 || count > 9)
        return false;
    unsigned usec = 0;
    for (size_t i = 0; i < 6; i++)
        usec = usec * 10 + (i < count ? (unsigned)(digits.ptr[i] - '0') : 0);
    *ret_usec = usec;
    return true;
}

struct hours { /* a time of day, or the distance of a zone from UTC */
    unsigned hour, minute, second, usec;
};

/* HH:MM, HH:MM:SS, HH:MM:SS.fraction */
static bool take_hours(struct reading *reading, struct hours *ret)
{
    *ret = (struct hours){0};
    if (!take_number(reading, 2, 23, &ret->hour) || !take(reading, ':') ||
        !take_number(reading, 2, 59, &ret->minute))
        return false;
    if (!take(reading, ':'))
        return true;
    if (!take_number(reading, 2, 59, &ret->second))
        return false;
    return !take(reading, '.') || take_fraction(reading, &ret->usec);
}

/* HH, HHMM, or what take_hours reads */
static bool take_distance(struct reading *reading, struct hours *ret)
{
    if (reading->left.len > 2 && reading->left.ptr[2] == ':')
        return take_hours(reading, ret);
    *ret = (struct hours){0};
    return take_number(reading, 2, 23, &ret->hour) &&
           (at_end(reading) || take_number(reading, 2, 59, &ret->minute));
}

/* Writes as Python's isoformat does; returns where the text ends. */
static char *write_hours(char *to, const struct hours *hours, bool seconds)
{
    to += sprintf(to, "%02u:%02u", hours->hour, hours->minute);
    if (seconds || hours->second > 0 || hours->usec > 0)
        to += sprintf(to, ":%02u", hours->second);
    if (hours->usec > 0)
        to += sprintf(to, ".%06u", hours->usec);
    return to;
}

/* The rest of a text as time of day and zone; writes both. */
static bool rewrite_time(struct reading *reading, char **to)
{
    struct hours time, distance = {0};
    if (!take_hours(reading, &time))
        return false;
    *to = write_hours(*to, &time, true);
    if (at_end(reading))
        return true;
    char sign = reading->left.ptr[0];
    if (!take(reading, 'Z')) {
        if ((!take(reading, '+') && !take(reading, '-')) || !take_distance(reading, &distance))
            return false;
    }
    bool zero = (distance.hour | distance.minute | distance.second | distance.usec) == 0;
    *(*to)++ = sign == '-' && !zero ? '-' : '+';
    *to = write_hours(*to, &distance, false);
    return at_end(reading);
}

static bool rewrite_datetime(struct reading *reading, char **to)
{
    struct date date;
    if (!take_date(reading, &date))
        return false;
    *to += sprintf(*to, "%04u-%02u-%02uT", (unsigned)date.year, date.month, date.day);
    if (at_end(reading)) {
        *to += sprintf(*to, "00:00:00");
        return true;
    }
    return (take(reading, 'T') || take(reading, ' ')) && rewrite_time(reading, to);
}

static bool rewrite_uuid(struct reading *reading, char **to)
{
    enum { UUID_LEN = 36 };
    if (reading->left.len != UUID_LEN)
        return false;
    for (size_t i = 0; i < UUID_LEN; i++) {
        char c = reading->left.ptr[i];
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? c != '-' : !is_hex(c))
            return false;
        *(*to)++ = (char)(c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c);
    }
    return true;
}

static bool is_integer(struct reading *reading)
{
    take(reading, '-');
    bool zero = sees(reading, '0');
    size_t digits = take_digits(reading);
    return digits > 0 && at_end(reading) && (!zero || digits == 1);
}

/* Takes `word` in letters of any size. */
static bool take_word(struct reading *reading, const char *word)
{
    size_t len = strlen(word);
    if (reading->left.len < len)
        return false;
    for (size_t i = 0; i < len; i++) {
        if ((reading->left.ptr[i] | 0x20) != word[i])
            return false;
    }
    reading->left = str_n(reading->left.ptr + len, reading->left.len - len);
    return true;
}

static bool is_decimal(struct reading *reading)
{
    if (!take(reading, '-'))
        take(reading, '+');
    if (take_word(reading, "infinity") || take_word(reading, "inf"))
        return at_end(reading);
    if (take_word(reading, "snan") || take_word(reading, "nan")) {
        take_digits(reading);
        return at_end(reading);
    }
    size_t digits = take_digits(reading);
    if (take(reading, '.'))
        digits += take_digits(reading);
    if (digits == 0)
        return false;
    if (take(reading, 'e') || take(reading, 'E')) {
        if (!take(reading, '-'))
            take(reading, '+');
        if (take_digits(reading) == 0)
            return false;
    }
    return at_end(reading);
}

bool typed_form(enum cel_type type, struct str text, char room[TYPED_ROOM], struct str *ret_text)
{
    struct reading reading = {text};
    struct date date;
    char *to = room;
    bool ok = false, rewritten = false;
    if (type == CEL_BIGINT)
        ok = is_integer(&reading);
    else if (type == CEL_DECIMAL)
        ok = is_decimal(&reading);
    else if (type == CEL_DATE)
        ok = take_date(&reading, &date) && at_end(&reading);
    else if (type == CEL_DATETIME)
        ok = rewritten = rewrite_datetime(&reading, &to);
    else if (type == CEL_TIME)
        ok = rewritten = rewrite_time(&reading, &to);
    else if (type == CEL_UUID)
        ok = rewritten = rewrite_uuid(&reading, &to);
    if (ok)
        *ret_text = rewritten ? str_n(room, (size_t)(to - room)) : text;
    return ok;
}
