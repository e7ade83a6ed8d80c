/*
 * Numbers are added as Python adds them: integers stay integers of any length that 128 bits hold, one float
 * makes a float. Texts and lists are joined.
 */
#include "conformance.h"

#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = 38 }; /* of an integer that is read */

struct number {
    bool is_float;
    __int128 integer;
    double real;
};

static bool read_digits(const char *text, __int128 *ret)
{
    bool is_negative = text[0] == '-';
    const char *digits = text + is_negative;
    __int128 integer = 0;
    if (strlen(digits) > DIGITS_MAX)
        return false;
    for (; *digits; digits++)
        integer = integer * 10 + (*digits - '0');
    *ret = is_negative ? -integer : integer;
    return true;
}

static bool read_number(const struct cel_value *value, struct number *ret)
{
    *ret = (struct number){.real = cel_value_float(value, 0)};
    switch (cel_value_type(value)) {
    case CEL_BOOL:
        ret->integer = cel_value_bool(value, false);
        ret->real = (double)ret->integer;
        return true;
    case CEL_INT:
        ret->integer = cel_value_int(value, 0);
        return true;
    case CEL_BIGINT:
        return read_digits(cel_value_text(value, NULL), &ret->integer);
    case CEL_FLOAT:
        ret->is_float = true;
        return true;
    default:
        return false;
    }
}

static struct cel_value *value_of(struct number number)
{
    if (number.is_float)
        return cel_float(number.real);
    if (number.integer >= INT64_MIN && number.integer <= INT64_MAX)
        return cel_int((int64_t)number.integer);
    char text[DIGITS_MAX + 4];
    char *at = text + sizeof(text);
    bool is_negative = number.integer < 0;
    *--at = '\0';
    for (__int128 left = number.integer; left != 0; left /= 10)
        *--at = (char)('0' + (is_negative ? -(left % 10) : left % 10));
    if (is_negative)
        *--at = '-';
    return cel_typed(CEL_BIGINT, at);
}

static struct number sum_of(struct number a, struct number b)
{
    if (a.is_float || b.is_float)
        return (struct number){.is_float = true, .real = a.real + b.real};
    struct number sum = {.integer = a.integer + b.integer};
    sum.real = (double)sum.integer;
    return sum;
}

static int
type_error(struct cel_task *task, char sign, const struct cel_value *a, const struct cel_value *b)
{
    return cel_failf(task, "TypeError", "unsupported operand type(s) for %c: '%s' and '%s'", sign,
                     cel_type_name(cel_value_type(a)), cel_type_name(cel_value_type(b)));
}

/* --- sums ------------------------------------------------------------------------------------- */

static struct cel_value *joined_texts(const struct cel_value *a, const struct cel_value *b)
{
    size_t a_len, b_len;
    const char *a_text = cel_value_text(a, &a_len), *b_text = cel_value_text(b, &b_len);
    char *text = malloc(a_len + b_len + 1);
    if (!text)
        return NULL;
    memcpy(text, a_text, a_len);
    memcpy(text + a_len, b_text, b_len);
    struct cel_value *joined = cel_text_n(text, a_len + b_len);
    free(text);
    return joined;
}

static struct cel_value *joined_lists(const struct cel_value *a, const struct cel_value *b)
{
    struct cel_value *joined = cel_value_dup(a);
    for (size_t i = 0; i < cel_value_count(b); i++)
        cel_list_add(joined, cel_value_dup(cel_value_at(b, i)));
    return joined;
}

/* Python's `a + b`. 0, or what the task shall return. */
static int plus(struct cel_task *task,
                const struct cel_value *a,
                const struct cel_value *b,
                struct cel_value **ret_take)
{
    struct number one, other;
    enum cel_type type = cel_value_type(a);
    bool is_joined = type == cel_value_type(b) && (type == CEL_TEXT || type == CEL_LIST);
    bool is_number = read_number(a, &one) && read_number(b, &other);
    if (!is_number && !is_joined)
        return type_error(task, '+', a, b);
    *ret_take = is_number          ? value_of(sum_of(one, other))
                : type == CEL_TEXT ? joined_texts(a, b)
                                   : joined_lists(a, b);
    return 0;
}

int identity(struct cel_task *task)
{
    return cel_return(task, cel_value_dup(cel_arg_value(task, "x")));
}

int add_two(struct cel_task *task)
{
    struct cel_value *sum;
    int r = plus(task, cel_arg_value(task, "x"), cel_arg_value(task, "y"), &sum);
    return r ? r : cel_return(task, sum);
}

int add(struct cel_task *task)
{
    const struct cel_value *z = cel_arg_value(task, "z");
    if (!is_true(z))
        return add_two(task);
    struct cel_value *two, *three;
    int r = plus(task, cel_arg_value(task, "x"), cel_arg_value(task, "y"), &two);
    if (r)
        return r;
    r = plus(task, two, z, &three);
    cel_value_free(two);
    return r ? r : cel_return(task, three);
}

int mul(struct cel_task *task)
{
    const struct cel_value *x = cel_arg_value(task, "x"), *y = cel_arg_value(task, "y");
    struct number a, b;
    if (!read_number(x, &a) || !read_number(y, &b))
        return type_error(task, '*', x, y);
    struct number product = {.is_float = a.is_float || b.is_float};
    product.real = a.real * b.real;
    if (!product.is_float && __builtin_mul_overflow(a.integer, b.integer, &product.integer))
        return cel_fail(task, "OverflowError", "the product is too large");
    return cel_return(task, value_of(product));
}

/* Adds the numbers of a list; one of them may be a list of numbers itself, where `nested`. */
static int
sum_list(struct cel_task *task, const struct cel_value *list, bool nested, struct number *sum)
{
    if (cel_value_type(list) != CEL_LIST)
        return cel_failf(task, "TypeError", "'%s' object is not a list",
                         cel_type_name(cel_value_type(list)));
    for (size_t i = 0; i < cel_value_count(list); i++) {
        const struct cel_value *item = cel_value_at(list, i);
        struct number number;
        int r = 0;
        if (nested && cel_value_type(item) == CEL_LIST)
            r = sum_list(task, item, false, sum);
        else if (read_number(item, &number))
            *sum = sum_of(*sum, number);
        else
            r = type_error(task, '+', NULL, item);
        if (r)
            return r;
    }
    return 0;
}

static int return_sum_of(struct cel_task *task, const char *name, bool nested)
{
    struct number sum = {.integer = 0};
    int r = sum_list(task, cel_arg_value(task, name), nested, &sum);
    return r ? r : cel_return(task, value_of(sum));
}

int tsum(struct cel_task *task)
{
    return return_sum_of(task, "nums", false);
}

int xsum(struct cel_task *task)
{
    return return_sum_of(task, "nums", true);
}

int add_pydantic(struct cel_task *task)
{
    const struct cel_value *data = cel_arg_value(task, "data");
    struct cel_value *sum, *map = cel_map();
    int r = plus(task, cel_value_get(data, "x"), cel_value_get(data, "y"), &sum);
    if (r) {
        cel_value_free(map);
        return r;
    }
    cel_map_set(map, "result", sum);
    return cel_return(task, map);
}

/* --- time ------------------------------------------------------------------------------------- */

static int sleep_for(struct cel_task *task, const char *name)
{
    double seconds;
    if (cel_arg_float(task, name, &seconds))
        return CEL_FAIL;
    return cel_sleep_ms(task, (int64_t)(seconds * 1000));
}

int delayed_sum(struct cel_task *task)
{
    int r = sleep_for(task, "pause_time");
    return r ? r : return_sum_of(task, "numbers", false);
}

int delayed_sum_with_soft_guard(struct cel_task *task)
{
    int r = delayed_sum(task);
    return r == CEL_CANCELLED ? cel_return(task, cel_int(0)) : r;
}

int sleeping(struct cel_task *task)
{
    return sleep_for(task, "i");
}
