/*
 * What is read can be written and is read as the same; a second writing changes nothing. Short
 * memory at any point is reported and leaks nothing.
 */
#include <errno.h>

#include "core/json.h"
#include "core/mem.h"
#include "tests/fuzz/fuzz.h"

static void check_written(const struct cel_value *value, enum json_style style)
{
    struct buf text = BUF_INIT(SIZE_MAX), again = BUF_INIT(SIZE_MAX);
    struct cel_value *back = NULL;
    int r = json_encode(&text, value, style);
    ASSERT(r == 0 || r == CEL_E_FORMAT); /* bytes in the plain style; an unknown typed object */
    if (r == 0 && json_decode(buf_str(&text), &back, NULL) == 0) {
        ASSERT(style == JSON_PLAIN || value_equal(value, back));
        ASSERT(json_encode(&again, back, style) == 0);
        ASSERT(str_equal(buf_str(&text), buf_str(&again)));
    } else {
        ASSERT(r < 0 || text.len > VALUE_BYTES_MAX);
    }
    cel_value_free(back);
    buf_deinit(&text);
    buf_deinit(&again);
}

static void check_short_memory(struct str text, const struct cel_value *expected)
{
    struct cel_value *value = NULL;
    mem_fail_after(1 + (text.len > 0 ? (unsigned char)text.ptr[text.len / 2] % 64 : 0));
    int r = json_decode(text, &value, NULL);
    mem_fail_after(0);
    ASSERT(r == 0 ? value_equal(value, expected) : r == -ENOMEM && !value);
    cel_value_free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n(data, size);
    struct cel_value *value = NULL;
    struct cel_error err = {0};
    int r = json_decode(text, &value, &err);
    ASSERT(r == 0 || r == CEL_E_FORMAT || r == CEL_E_LIMIT);
    ASSERT(r == err.code && (r == 0) == (value != NULL) && (r == 0) == (err.text[0] == '\0'));
    if (r == 0) {
        check_short_memory(text, value);
        check_written(value, JSON_TYPED);
        check_written(value, JSON_PLAIN);
    }
    cel_value_free(value);
    return 0;
}
