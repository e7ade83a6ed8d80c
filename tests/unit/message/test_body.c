#include "message/body.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "core/base64.h"
#include "core/json.h"
#include "core/mem.h"
#include "core/msgpack.h"

#include "check.h"
#include "messages.h"
#include "tests/support/vectors.h"

/* --- vectors ---------------------------------------------------------------------------------- */

static const struct cel_value *expected_bodies; /* decoded_bodies of the vector, or NULL */
static size_t decoded, refused;

/* The value that a vector says the body to be; NULL for pickle and yaml. */
static struct cel_value *expected_value(const struct cel_value *body)
{
    struct cel_value *value = NULL;
    struct str type = value_str(cel_value_get(body, "content-type")), text = value_str(body);
    if (text.ptr || str_equal(type, STR("application/json"))) {
        if (!text.ptr)
            text = value_str(cel_value_get(body, "text"));
        assert_int_equal(json_decode(text, &value, NULL), 0);
    } else if (str_equal(type, STR("application/x-msgpack"))) {
        CLEANUP(buf_deinit) struct buf bytes = BUF_INIT(1 << 20);
        assert_int_equal(base64_decode(&bytes, value_str(cel_value_get(body, "base64"))), 0);
        assert_int_equal(msgpack_decode(buf_str(&bytes), &value, NULL), 0);
    }
    return value;
}

static const char *expected_refusal(const struct envelope *envelope)
{
    static const struct {
        struct str type;
        const char *text;
    } types[] = {
        {STR("application/x-python-serialize"), "Refusing to deserialize disabled content of type "
                                                "pickle (application/x-python-serialize)"},
        {STR("application/x-yaml"),
         "Refusing to deserialize disabled content of type yaml (application/x-yaml)"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (str_equal(envelope->content_type, types[i].type))
            return types[i].text;
    }
    return NULL;
}

static void assert_body(const struct body *body, const struct cel_value *expected)
{
    assert_int_equal(cel_value_count(expected), 3);
    assert_true(value_equal(body->args, cel_value_at(expected, 0)));
    assert_true(value_equal(body->kwargs, cel_value_at(expected, 1)));
    assert_true(value_equal(body->embed, cel_value_at(expected, 2)));
}

static void check_message(const char *name, size_t index, struct str bytes)
{
    struct envelope envelope;
    struct cel_error err = {0};
    struct body body;
    int r = envelope_decode(bytes, &envelope, &err);
    if (r != 0) { /* test_upgrade.c has those of protocol 1 */
        bool is_known = r == ENVELOPE_PROTOCOL_1
                            ? strstr(name, "protocol1") || strstr(name, "no-headers")
                            : strstr(name, "not-json") && r == CEL_E_FORMAT;
        if (!is_known)
            fail_msg("%s: %d %s", name, r, err.text);
        if (r == ENVELOPE_PROTOCOL_1)
            envelope_deinit(&envelope);
        return;
    }
    const char *refusal = expected_refusal(&envelope);
    r = body_decode(&envelope, &body, &err);
    if (refusal) {
        assert_int_equal(r, CEL_E_REFUSED);
        assert_string_equal(err.text, refusal);
        refused++;
    } else {
        if (r != 0)
            fail_msg("%s: %d %s", name, r, err.text);
        decoded++;
        if (expected_bodies) {
            struct cel_value *expected = expected_value(cel_value_at(expected_bodies, index));
            if (!expected)
                fail_msg("%s: no body %zu is expected", name, index);
            assert_body(&body, expected);
            cel_value_free(expected);
        }
        body_deinit(&body);
    }
    envelope_deinit(&envelope);
}

static void check_vector(const char *name, const struct cel_value *vector)
{
    if (!messages_in(name))
        return;
    expected_bodies = cel_value_get(vector, "decoded_bodies");
    size_t count = messages_each(name, vector, check_message);
    if (expected_bodies)
        assert_int_equal(count, cel_value_count(expected_bodies));
}

static void every_vector_is_decoded_or_refused_as_documented(void **state)
{
    (void)state;
    vectors_each(check_vector);
    assert_true(decoded > 80);
    assert_int_equal(refused, 2); /* pickle, yaml */
}

/* --- decoding --------------------------------------------------------------------------------- */

static struct envelope of(const char *content_type, const char *text)
{
    return (struct envelope){.content_type = str_of(content_type), .body = str_of(text)};
}

static int decode_json(const char *text, struct body *body, struct cel_error *err)
{
    struct envelope envelope = of("application/json", text);
    *err = (struct cel_error){0};
    int r = body_decode(&envelope, body, err);
    assert_int_equal(err->code, r);
    return r;
}

static void a_body_may_be_plain_text(void **state)
{
    struct body body;
    struct cel_error err;
    (void)state;
    assert_int_equal(decode_json("[[1], {\"a\": 2}, {\"chain\": []}]", &body, &err), 0);
    assert_int_equal(cel_value_int(cel_value_at(body.args, 0), 0), 1);
    assert_int_equal(cel_value_int(cel_value_get(body.kwargs, "a"), 0), 2);
    assert_int_equal(cel_value_type(cel_value_get(body.embed, "chain")), CEL_LIST);
    body_deinit(&body);
    body_deinit(&body);
    body_deinit(NULL);
}

static void null_counts_as_empty(void **state)
{
    struct body body;
    struct cel_error err;
    (void)state;
    assert_int_equal(decode_json("[null, null, null]", &body, &err), 0);
    assert_int_equal(cel_value_type(body.args), CEL_LIST);
    assert_int_equal(cel_value_type(body.kwargs), CEL_MAP);
    assert_int_equal(cel_value_count(body.args) + cel_value_count(body.kwargs), 0);
    assert_null(body.embed);
    body_deinit(&body);
}

static void a_body_of_another_shape_is_refused(void **state)
{
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"", "byte"},
        {"[", "body"},
        {"{}", "list of three"},
        {"[]", "three"},
        {"[[], {}]", "three"},
        {"[[], {}, null, 1]", "three"},
        {"[{}, {}, null]", "arguments"},
        {"[1, {}, null]", "arguments"},
        {"[[], [], null]", "keyword"},
        {"[[], {}, []]", "embed"},
        {"[[], {}, \"\"]", "embed"},
        {"[[\"\xff\"], {}, null]", "body"},
    };
    struct body body;
    struct cel_error err;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(decode_json(cases[i].text, &body, &err), CEL_E_FORMAT);
        if (i > 0 && !strstr(err.text, cases[i].word))
            fail_msg("%s: %s", cases[i].text, err.text);
    }
}

static void other_content_types_are_refused(void **state)
{
    static const char *const types[] = {"application/data", "text/plain", "application/JSON",
                                        "application/json; charset=utf-8", ""};
    struct body body;
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        struct envelope envelope = of(types[i], "[[], {}, null]");
        struct cel_error err = {0};
        assert_int_equal(body_decode(&envelope, &body, &err), CEL_E_REFUSED);
        assert_non_null(strstr(err.text, types[i]));
        assert_false(body_accepts(str_of(types[i])));
    }
    assert_true(body_accepts(STR("application/json")));
    assert_true(body_accepts(STR("application/x-msgpack")));
    assert_false(body_accepts(STR("application/x-python-serialize")));
    assert_false(body_accepts(STR_NONE));
}

static void damaged_base64_is_refused(void **state)
{
    struct envelope envelope = of("application/json", "W1tdLHt9LG51bGxd!");
    struct cel_error err = {0};
    struct body body;
    (void)state;
    envelope.body_is_base64 = true;
    assert_int_equal(body_decode(&envelope, &body, &err), CEL_E_FORMAT);
    assert_string_equal(err.text, "The body is not base64");
}

/* Base64 of the zlib stream of `bytes`; gzip's own format with 16 more window bits. */
static void pack(struct buf *text, struct str bytes, int window_bits)
{
    CLEANUP(buf_deinit) struct buf packed = BUF_INIT(VALUE_BYTES_MAX * 2);
    z_stream stream = {.next_in = (z_const Bytef *)bytes.ptr, .avail_in = (uInt)bytes.len};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    size_t room = deflateBound(&stream, bytes.len);
    stream.next_out = (Bytef *)buf_reserve(&packed, room);
    stream.avail_out = (uInt)room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    buf_added(&packed, room - stream.avail_out);
    deflateEnd(&stream);
    base64_add(text, buf_str(&packed));
}

static void zlib_goes_by_its_three_names(void **state)
{
    static const char *const names[] = {"application/x-gzip", "gzip", "zlib"};
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    struct envelope envelope = of("application/json", "");
    struct body body;
    (void)state;
    pack(&text, STR("[[\"packed\"], {}, null]"), 15);
    envelope.body = buf_str(&text);
    envelope.body_is_base64 = true;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        envelope.compression = str_of(names[i]);
        assert_int_equal(body_decode(&envelope, &body, NULL), 0);
        assert_str(value_str(cel_value_at(body.args, 0)), "packed");
        body_deinit(&body);
    }
    buf_clear(&text);
    pack(&text, STR("[[\"packed\"], {}, null]"), 15 + 16);
    envelope.body = buf_str(&text);
    assert_int_equal(body_decode(&envelope, &body, NULL), 0);
    body_deinit(&body);
}

static void damaged_compression_is_refused(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    struct envelope envelope = of("application/json", "[[], {}, null]");
    struct cel_error err = {0};
    struct body body;
    (void)state;
    envelope.compression = STR("application/x-brotli");
    assert_int_equal(body_decode(&envelope, &body, &err), CEL_E_REFUSED);
    assert_string_equal(err.text,
                        "Refusing to decompress a body of compression application/x-brotli: "
                        "only zlib, bzip2, lzma and zstd are supported");
    envelope.compression = STR("zlib");
    assert_int_equal(body_decode(&envelope, &body, &err), CEL_E_FORMAT);
    assert_string_equal(err.text, "The body is not compressed with zlib");
    pack(&text, STR("[[\"a longer text to pack\"], {}, null]"), 15);
    envelope.body = str_n(text.ptr, text.len - 8); /* breaks off */
    envelope.body_is_base64 = true;
    assert_int_equal(body_decode(&envelope, &body, &err), CEL_E_FORMAT);
}

static void the_unpacked_size_is_bounded(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    size_t size = VALUE_BYTES_MAX + 1;
    char *zeros = malloc(size);
    struct envelope envelope = of("application/json", "");
    struct cel_error err = {0};
    struct body body;
    (void)state;
    assert_non_null(zeros);
    memset(zeros, ' ', size);
    memcpy(zeros, "[[1], {}, null]", 15);
    envelope.compression = STR("zlib");
    envelope.body_is_base64 = true;
    pack(&text, str_n(zeros, size), 15);
    envelope.body = buf_str(&text);
    assert_int_equal(body_decode(&envelope, &body, &err), CEL_E_LIMIT);
    assert_non_null(strstr(err.text, "16777216"));
    buf_clear(&text);
    pack(&text, str_n(zeros, size - 1), 15);
    envelope.body = buf_str(&text);
    assert_int_equal(body_decode(&envelope, &body, &err), 0);
    body_deinit(&body);
    free(zeros);
}

/* --- encoding --------------------------------------------------------------------------------- */

static struct cel_value *example_args(void)
{
    struct cel_value *args = cel_list();
    cel_list_add(args, cel_int(-5));
    cel_list_add(args, cel_float(0.1));
    cel_list_add(args, cel_text("n\xc3\xa9 \xf0\x9f\x98\x80"));
    cel_list_add(args, cel_null());
    cel_list_add(args, cel_bool(true));
    return args;
}

static int encode(const struct cel_value *args,
                  enum cel_serializer serializer,
                  enum cel_compression compression,
                  struct buf *text,
                  struct envelope *envelope,
                  struct cel_error *err)
{
    struct body_encoding encoding = {serializer, compression};
    *envelope = (struct envelope){0};
    *err = (struct cel_error){0};
    buf_clear(text);
    int r = body_encode(args, NULL, NULL, encoding, text, envelope, err);
    envelope->body = buf_str(text);
    assert_int_equal(err->code, r);
    return r;
}

static void what_is_encoded_is_decoded_again(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    struct cel_value *args = example_args();
    struct envelope envelope;
    struct cel_error err;
    struct body body;
    (void)state;
    for (int serializer = CEL_JSON; serializer <= CEL_MSGPACK; serializer++) {
        for (int compression = CEL_UNCOMPRESSED; compression <= CEL_ZSTD; compression++) {
            assert_int_equal(encode(args, (enum cel_serializer)serializer,
                                    (enum cel_compression)compression, &text, &envelope, &err),
                             0);
            assert_str(envelope.content_type,
                       serializer == CEL_MSGPACK ? "application/x-msgpack" : "application/json");
            assert_str(envelope.content_encoding, serializer == CEL_MSGPACK ? "binary" : "utf-8");
            assert_true(envelope.body_is_base64);
            assert_int_equal(envelope.compression.ptr != NULL, compression != CEL_UNCOMPRESSED);
            assert_int_equal(body_decode(&envelope, &body, &err), 0);
            assert_true(value_equal(body.args, args));
            assert_int_equal(cel_value_count(body.kwargs), 0);
            assert_int_equal(cel_value_count(body.embed), 4);
            body_deinit(&body);
        }
    }
    cel_value_free(args);
}

static void an_empty_body_is_written_as_python_writes_it(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    CLEANUP(buf_deinit) struct buf json = BUF_INIT(1 << 20);
    struct envelope envelope;
    struct cel_error err;
    (void)state;
    assert_int_equal(encode(NULL, CEL_JSON, CEL_UNCOMPRESSED, &text, &envelope, &err), 0);
    assert_int_equal(base64_decode(&json, buf_str(&text)), 0);
    assert_string_equal(json.ptr, "[[], {}, {\"callbacks\": null, \"errbacks\": null, \"chain\": "
                                  "null, \"chord\": null}]");
}

static void what_json_cannot_carry_is_refused(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
    struct cel_value *args = cel_list(), *map = cel_map();
    struct envelope envelope;
    struct cel_error err;
    (void)state;
    cel_list_add(args, cel_bytes("\xff", 1));
    assert_int_equal(encode(args, CEL_JSON, CEL_UNCOMPRESSED, &text, &envelope, &err),
                     CEL_E_FORMAT);
    assert_non_null(strstr(err.text, "bytes"));
    assert_int_equal(encode(args, CEL_JSON_TYPED, CEL_UNCOMPRESSED, &text, &envelope, &err), 0);
    assert_int_equal(encode(args, CEL_MSGPACK, CEL_UNCOMPRESSED, &text, &envelope, &err), 0);
    cel_map_set(map, "__type__", cel_text("mine"));
    cel_map_set(map, "__value__", cel_int(1));
    cel_list_add(args, map);
    assert_int_equal(encode(args, CEL_JSON_TYPED, CEL_UNCOMPRESSED, &text, &envelope, &err),
                     CEL_E_FORMAT);
    assert_non_null(strstr(err.text, "__type__"));
    assert_int_equal(encode(args, CEL_MSGPACK, CEL_UNCOMPRESSED, &text, &envelope, &err), 0);
    cel_value_free(args);
    args = cel_list();
    cel_list_add(args, cel_typed(CEL_BIGINT, "18446744073709551616"));
    assert_int_equal(encode(args, CEL_JSON, CEL_UNCOMPRESSED, &text, &envelope, &err), 0);
    assert_int_equal(encode(args, CEL_MSGPACK, CEL_UNCOMPRESSED, &text, &envelope, &err),
                     CEL_E_FORMAT);
    cel_value_free(args);
}

static void a_body_beyond_the_limits_is_refused(void **state)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(VALUE_BYTES_MAX * 2);
    struct cel_value *args = cel_list();
    char *large = malloc(VALUE_BYTES_MAX);
    struct envelope envelope;
    struct cel_error err;
    (void)state;
    assert_non_null(large);
    memset(large, 'x', VALUE_BYTES_MAX);
    cel_list_add(args, cel_text_n(large, VALUE_BYTES_MAX));
    assert_int_equal(encode(args, CEL_JSON, CEL_UNCOMPRESSED, &text, &envelope, &err), CEL_E_LIMIT);
    assert_non_null(strstr(err.text, "16777216"));
    assert_int_equal(encode(args, CEL_MSGPACK, CEL_ZLIB, &text, &envelope, &err), CEL_E_LIMIT);
    free(large);
    cel_value_free(args);
    CLEANUP(buf_deinit) struct buf small = BUF_INIT(10);
    assert_int_equal(encode(NULL, CEL_JSON, CEL_UNCOMPRESSED, &small, &envelope, &err),
                     CEL_E_LIMIT);
}

static void short_memory_is_reported_both_ways(void **state)
{
    struct cel_value *args = example_args();
    struct envelope envelope;
    struct cel_error err;
    (void)state;
    for (size_t n = 1, failures = 0;; n++) {
        CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
        struct body body = {0};
        mem_fail_after(n);
        int r = encode(args, CEL_JSON_TYPED, CEL_ZLIB, &text, &envelope, &err);
        if (r == 0)
            r = body_decode(&envelope, &body, &err);
        mem_fail_after(0);
        body_deinit(&body);
        if (r == 0) {
            assert_true(failures > 8);
            break;
        }
        assert_int_equal(r, -ENOMEM);
        failures++;
    }
    cel_value_free(args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_is_decoded_or_refused_as_documented),
        cmocka_unit_test(a_body_may_be_plain_text),
        cmocka_unit_test(null_counts_as_empty),
        cmocka_unit_test(a_body_of_another_shape_is_refused),
        cmocka_unit_test(other_content_types_are_refused),
        cmocka_unit_test(damaged_base64_is_refused),
        cmocka_unit_test(zlib_goes_by_its_three_names),
        cmocka_unit_test(damaged_compression_is_refused),
        cmocka_unit_test(the_unpacked_size_is_bounded),
        cmocka_unit_test(what_is_encoded_is_decoded_again),
        cmocka_unit_test(an_empty_body_is_written_as_python_writes_it),
        cmocka_unit_test(what_json_cannot_carry_is_refused),
        cmocka_unit_test(a_body_beyond_the_limits_is_refused),
        cmocka_unit_test(short_memory_is_reported_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
