/*
 * Doubles as Python's repr writes them: the fewest digits that read back as the same number, and of
 * those the nearest. No library of Debian does this from C without the C++ run time, so it is found
 * by trial with printf, which rounds correctly: 15 digits always survive the way through a double,
 * so whatever has a shorter form has it there, behind zeros; then 16, then 17, which always
 * suffice. Two cases are different:
 * - Numbers under DBL_MIN have fewer significant bits, and are tried from one digit on.
 * - Below a power of two the doubles stand twice as close as above it. There the nearest text of 16
 *   digits may fail although the next one above it succeeds, so that is tried too.
 */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/json.h"

enum { DIGITS_MAX = 17, WHOLE_MAX = 16 }; /* Python writes exponents above 16 digits and under -3 */

struct decimal {                 /* 0.DIGITS times 10 to the power of `point` */
    char digits[DIGITS_MAX + 1]; /* terminated, no zeros at the end */
    int count;
    int point;
};

/* The nearest decimal of `count` digits to `number`, which is positive and finite. */
static void round_to(double number, int count, struct decimal *ret)
{
    char text[64];
    snprintf(text, sizeof(text), "%.*e", count - 1, number);
    const char *at = text;
    ret->count = 0;
    for (; *at != 'e'; at++) { /* skips the point, whatever it is in this locale */
        if (*at >= '0' && *at <= '9')
            ret->digits[ret->count++] = *at;
    }
    ret->point = (int)strtol(at + 1, NULL, 10) + 1;
}

static void next_above(struct decimal *decimal)
{
    int i = decimal->count;
    while (i > 0 && decimal->digits[i - 1] == '9')
        decimal->digits[--i] = '0';
    if (i > 0) {
        decimal->digits[i - 1]++;
    } else {
        decimal->digits[0] = '1';
        decimal->point++;
    }
}

static bool reads_back(const struct decimal *decimal, double number)
{
    char text[64]; /* without a point, so the locale does not matter */
    snprintf(text, sizeof(text), "%.*se%d", decimal->count, decimal->digits,
             decimal->point - decimal->count);
    double back = strtod(text, NULL);
    return !(back < number) && !(back > number);
}

static bool is_power_of_two(double number)
{
    int exponent;
    double fraction = frexp(number, &exponent);
    return !(fraction > 0.5);
}

static void shortest(double number, struct decimal *ret)
{
    int count = number < DBL_MIN ? 1 : DBL_DIG;
    for (;; count++) {
        round_to(number, count, ret);
        if (count == DIGITS_MAX || reads_back(ret, number))
            break;
        if (count > DBL_DIG && is_power_of_two(number)) {
            next_above(ret);
            if (reads_back(ret, number))
                break;
        }
    }
    while (ret->count > 1 && ret->digits[ret->count - 1] == '0')
        ret->count--;
    ret->digits[ret->count] = '\0';
}

static void add_zeros(struct buf *buf, int count)
{
    for (int i = 0; i < count; i++)
        buf_add_char(buf, '0');
}

static void add_decimal(struct buf *buf, const struct decimal *decimal)
{
    const char *digits = decimal->digits;
    int count = decimal->count, point = decimal->point;
    if (point <= -4 || point > WHOLE_MAX) {
        buf_add_char(buf, digits[0]);
        if (count > 1)
            buf_addf(buf, ".%s", digits + 1);
        buf_addf(buf, "e%c%02d", point - 1 < 0 ? '-' : '+', abs(point - 1));
    } else if (point <= 0) {
        buf_add_c(buf, "0.");
        add_zeros(buf, -point);
        buf_add_c(buf, digits);
    } else if (point >= count) {
        buf_add_c(buf, digits);
        add_zeros(buf, point - count);
        buf_add_c(buf, ".0");
    } else {
        buf_add(buf, digits, (size_t)point);
        buf_addf(buf, ".%s", digits + point);
    }
}

void json_add_double(struct buf *buf, double number)
{
    if (isnan(number)) {
        buf_add_c(buf, "NaN");
        return;
    }
    if (signbit(number))
        buf_add_char(buf, '-');
    number = fabs(number);
    if (isinf(number)) {
        buf_add_c(buf, "Infinity");
    } else if (number < 1e15 && !(trunc(number) < number)) {
        buf_add_i64(buf, (int64_t)number);
        buf_add_c(buf, ".0");
    } else {
        struct decimal decimal;
        shortest(number, &decimal);
        add_decimal(buf, &decimal);
    }
}
