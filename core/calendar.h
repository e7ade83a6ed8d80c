/*
 * The Gregorian calendar, in both directions for ever; the year before 1 is 0. Days are counted from
 * 1970-01-01.
 */
#pragma once

#include <stdint.h>

struct date {
    int64_t year;
    unsigned month, day; /* 1 ... 12, 1 ... 31 */
};

int64_t calendar_days(struct date date);
struct date calendar_date(int64_t days);
unsigned calendar_month_length(int64_t year, unsigned month);
/* Rounds down, whatever the sign. */
int64_t floor_div(int64_t a, int64_t b);
