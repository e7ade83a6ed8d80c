/*
 * Decoding: core/json_reader.cpp reads, this file says what the pieces mean, core/builder.c puts
 * them together. An event that cannot go on keeps its reason in `struct decoding` and stops the
 * reader, which tells where it stood.
 */
#include "core/json.h"

#include <errno.h>
#include <math.h>

#include "core/builder.h"
#include "core/json_reader.h"
#include "core/json_typed.h"
#include "core/mem.h"

_Static_assert((int)JSON_READER_DEPTH_MAX == (int)VALUE_DEPTH_MAX,
               "the builder stops the reader in time");

struct decoding {
    struct builder builder;
    int failure;        /* why an event stopped the reader */
    const char *reason; /* for CEL_E_FORMAT */
};

static bool go_on(struct decoding *decoding, int result)
{
    decoding->failure = result;
    return result == 0;
}

static bool refuse(struct decoding *decoding, const char *reason)
{
    decoding->reason = reason;
    return go_on(decoding, CEL_E_FORMAT);
}

static bool on_null(void *data)
{
    struct decoding *decoding = data;
    return go_on(decoding, builder_add(&decoding->builder, cel_null()));
}

static bool on_boolean(void *data, bool b)
{
    struct decoding *decoding = data;
    return go_on(decoding, builder_add(&decoding->builder, cel_bool(b)));
}

static size_t count_digits(struct str text, size_t at)
{
    size_t from = at;
    while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9')
        at++;
    return at - from;
}

enum number_form { NO_NUMBER, INTEGER, FRACTION };

/* By the grammar of JSON: no leading zeros, digits on both sides of the point. */
static enum number_form number_form(struct str text)
{
    enum number_form form = INTEGER;
    size_t at = text.len > 0 && text.ptr[0] == '-';
    size_t digits = count_digits(text, at);
    if (digits == 0 || (digits > 1 && text.ptr[at] == '0'))
        return NO_NUMBER;
    at += digits;
    if (at < text.len && text.ptr[at] == '.') {
        form = FRACTION;
        digits = count_digits(text, ++at);
        if (digits == 0)
            return NO_NUMBER;
        at += digits;
    }
    if (at < text.len && (text.ptr[at] == 'e' || text.ptr[at] == 'E')) {
        form = FRACTION;
        at++;
        if (at < text.len && (text.ptr[at] == '-' || text.ptr[at] == '+'))
            at++;
        digits = count_digits(text, at);
        if (digits == 0)
            return NO_NUMBER;
        at += digits;
    }
    return at == text.len ? form : NO_NUMBER;
}

static int integer_value(struct str text, struct cel_value **ret_value_take)
{
    int64_t integer;
    if (str_parse_i64(text, &integer) == 0)
        *ret_value_take = cel_int(integer);
    else
        *ret_value_take = value_typed(CEL_BIGINT, text);
    return *ret_value_take ? 0 : -ENOMEM;
}

/* Beyond the range of a double it is infinite or zero, as in Python. */
static int fraction_value(struct str text, struct cel_value **ret_value_take)
{
    double number = 0;
    int r = str_parse_double(text, &number);
    if (r == -ERANGE)
        number = text.ptr[0] == '-' ? -INFINITY : INFINITY;
    else if (r < 0)
        return r;
    *ret_value_take = cel_float(number);
    return *ret_value_take ? 0 : -ENOMEM;
}

static bool on_number(void *data, const char *digits, size_t len)
{
    struct decoding *decoding = data;
    struct str text = str_n(digits, len);
    struct cel_value *value = NULL;
    int r = 0;
    switch (number_form(text)) {
    case INTEGER:
        r = integer_value(text, &value);
        break;
    case FRACTION:
        r = fraction_value(text, &value);
        break;
    case NO_NUMBER:
        if (str_equal(text, STR("NaN")))
            value = cel_float((double)NAN);
        else if (str_equal(text, STR("Infinity")))
            value = cel_float(INFINITY);
        else if (str_equal(text, STR("-Infinity")))
            value = cel_float(-INFINITY);
        else
            return refuse(decoding, "Invalid number.");
    }
    return go_on(decoding, r < 0 ? r : builder_add(&decoding->builder, value));
}

/* Half a surrogate pair: ED A0..BF in what is otherwise UTF-8. */
static bool has_surrogate(struct str text)
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    while (at < end && (at = memchr(at, 0xED, (size_t)(end - at))) != NULL) {
        if ((unsigned char)at[1] >= 0xA0)
            return true;
        at++;
    }
    return false;
}

static bool on_string(void *data, const char *text, size_t len)
{
    struct decoding *decoding = data;
    if (has_surrogate(str_n(text, len)))
        return refuse(decoding, "The surrogate pair in string is invalid.");
    return go_on(decoding, builder_add(&decoding->builder, value_text(str_n(text, len))));
}

static bool on_key(void *data, const char *text, size_t len)
{
    struct decoding *decoding = data;
    if (has_surrogate(str_n(text, len)))
        return refuse(decoding, "The surrogate pair in string is invalid.");
    return go_on(decoding, builder_key(&decoding->builder, str_n(text, len)));
}

static bool on_open_map(void *data)
{
    struct decoding *decoding = data;
    return go_on(decoding, builder_open(&decoding->builder, CEL_MAP));
}

static bool on_close_map(void *data)
{
    struct decoding *decoding = data;
    struct cel_value *map = builder_close_take(&decoding->builder), *typed = NULL;
    if (map && json_is_typed_object(map)) {
        int r = json_typed_decode(map, &typed);
        if (r != JSON_TYPED_UNKNOWN)
            cel_value_free(map);
        if (r < 0)
            return go_on(decoding, r);
    }
    return go_on(decoding, builder_place(&decoding->builder, typed ? typed : map));
}

static bool on_open_list(void *data)
{
    struct decoding *decoding = data;
    return go_on(decoding, builder_open(&decoding->builder, CEL_LIST));
}

static bool on_close_list(void *data)
{
    struct decoding *decoding = data;
    struct cel_value *list = builder_close_take(&decoding->builder);
    return go_on(decoding, builder_place(&decoding->builder, list));
}

static const struct json_events events = {
    .null = on_null,
    .boolean = on_boolean,
    .number = on_number,
    .string = on_string,
    .key = on_key,
    .open_map = on_open_map,
    .close_map = on_close_map,
    .open_list = on_open_list,
    .close_list = on_close_list,
};

static int stopped(const struct decoding *decoding, size_t offset, struct cel_error *err)
{
    if (decoding->failure == CEL_E_FORMAT)
        return error_set(err, CEL_E_FORMAT, "invalid JSON at byte %zu: %s", offset,
                         decoding->reason);
    if (decoding->failure == CEL_E_LIMIT && decoding->builder.count > VALUE_COUNT_MAX)
        return error_set(err, CEL_E_LIMIT, "JSON with more than %d values", VALUE_COUNT_MAX);
    if (decoding->failure == CEL_E_LIMIT)
        return error_set(err, CEL_E_LIMIT, "JSON nested more than %d deep", VALUE_DEPTH_MAX);
    return error_no_memory(err);
}

static int decode(struct json_reading *reading,
                  struct decoding *decoding,
                  struct cel_value **ret_value_take,
                  struct cel_error *err)
{
    enum json_reader_result result = json_reader_run(reading, &events, decoding);
    if (result == JSON_READER_HUGE_NUMBERS) {
        builder_deinit(&decoding->builder);
        builder_init(&decoding->builder);
        reading->huge_numbers = true;
        result = json_reader_run(reading, &events, decoding);
    }
    if (result == JSON_READER_STOPPED)
        return stopped(decoding, reading->offset, err);
    if (result != JSON_READER_DONE)
        return error_set(err, CEL_E_FORMAT, "invalid JSON at byte %zu: %s", reading->offset,
                         reading->reason);
    *ret_value_take = builder_take(&decoding->builder);
    return 0;
}

/* How many bytes from the start are UTF-8, of text that is not. */
static size_t utf8_prefix(struct str text)
{
    size_t good = 0, len = 1;
    while (len <= 4 && good + len <= text.len) {
        if (!str_is_utf8(str_n(text.ptr + good, len))) {
            len++;
        } else {
            good += len;
            len = 1;
        }
    }
    return good;
}

int json_decode(struct str text, struct cel_value **ret_value_take, struct cel_error *err)
{
    if (text.len > VALUE_BYTES_MAX)
        return error_set(err, CEL_E_LIMIT, "JSON of more than %zu bytes", VALUE_BYTES_MAX);
    if (!str_is_utf8(text))
        return error_set(err, CEL_E_FORMAT, "invalid JSON at byte %zu: It is not UTF-8.",
                         utf8_prefix(text));
    struct json_reading reading = {.text = text.ptr, .len = text.len};
    reading.scratch = mem_grow(NULL, text.len + 1, 1);
    if (!reading.scratch)
        return error_no_memory(err);
    struct decoding decoding;
    builder_init(&decoding.builder);
    int r = decode(&reading, &decoding, ret_value_take, err);
    builder_deinit(&decoding.builder);
    mem_free(reading.scratch);
    return r;
}

int cel_value_from_json(const char *json,
                        size_t length,
                        struct cel_value **ret_value,
                        struct cel_error *err)
{
    if (!json || !ret_value)
        return error_set(err, -EINVAL, "no JSON text, or no place for the value");
    return json_decode(str_n(json, length), ret_value, err);
}
