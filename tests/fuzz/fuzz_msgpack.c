/*
 * What is read can be written and is read as the same. Short memory at any point is reported and
 * leaks nothing.
 */
#include <errno.h>

#include "core/mem.h"
#include "core/msgpack.h"
#include "tests/fuzz/fuzz.h"

static void check_written(const struct cel_value *value)
{
    struct buf bytes = BUF_INIT(SIZE_MAX), again = BUF_INIT(SIZE_MAX);
    struct cel_value *back = NULL;
    ASSERT(msgpack_encode(&bytes, value, NULL) == 0);
    if (msgpack_decode(buf_str(&bytes), &back, NULL) == 0) {
        ASSERT(value_equal(value, back));
        ASSERT(msgpack_encode(&again, back, NULL) == 0);
        ASSERT(str_equal(buf_str(&bytes), buf_str(&again)));
    } else {
        ASSERT(bytes.len > VALUE_BYTES_MAX); /* numbers of four bytes are written with eight */
    }
    cel_value_free(back);
    buf_deinit(&bytes);
    buf_deinit(&again);
}

static void check_short_memory(struct str bytes, const struct cel_value *expected)
{
    struct cel_value *value = NULL;
    mem_fail_after(1 + (bytes.len > 0 ? (unsigned char)bytes.ptr[bytes.len / 2] % 64 : 0));
    int r = msgpack_decode(bytes, &value, NULL);
    mem_fail_after(0);
    ASSERT(r == 0 ? value_equal(value, expected) : r == -ENOMEM && !value);
    cel_value_free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_n(data, size);
    struct cel_value *value = NULL;
    struct cel_error err = {0};
    int r = msgpack_decode(bytes, &value, &err);
    ASSERT(r == 0 || r == CEL_E_FORMAT || r == CEL_E_LIMIT);
    ASSERT(r == err.code && (r == 0) == (value != NULL) && (r == 0) == (err.text[0] == '\0'));
    if (r == 0) {
        check_short_memory(bytes, value);
        check_written(value);
    }
    cel_value_free(value);
    return 0;
}
