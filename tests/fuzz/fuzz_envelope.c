/*
 * Bytes of a queue element. Whatever is read can be written, and says the same when read again.
 */
#include "message/envelope.h"
#include "tests/fuzz/fuzz.h"

static void assert_same(const struct envelope *a, const struct envelope *b)
{
    ASSERT(str_equal(a->task, b->task) && str_equal(a->id, b->id));
    ASSERT(str_equal(a->group, b->group) && str_equal(a->argsrepr, b->argsrepr));
    ASSERT(str_equal(a->other_headers, b->other_headers));
    ASSERT(str_equal(a->other_properties, b->other_properties));
    ASSERT(!a->body_is_base64 || str_equal(a->body, b->body));
    ASSERT(a->retries == b->retries && a->priority == b->priority);
    ASSERT(a->soft_limit == b->soft_limit && a->hard_limit == b->hard_limit);
    ASSERT(a->has_group_index == b->has_group_index && a->group_index == b->group_index);
    ASSERT(a->redelivered == b->redelivered && a->ignore_result == b->ignore_result);
}

static void write_again(struct envelope *envelope)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct envelope again;
    if (!envelope->delivery_tag.ptr)
        envelope->delivery_tag = STR("tag");
    int r = envelope_encode(&text, envelope);
    ASSERT(r == 0);
    r = envelope_decode(buf_str(&text), &again, NULL);
    ASSERT(r == 0);
    assert_same(envelope, &again);
    envelope_deinit(&again);
}

static void upgrade(struct str bytes)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct envelope envelope;
    if (envelope_upgrade(bytes, STR("tag"), &text, NULL) < 0)
        return;
    int r = envelope_decode(buf_str(&text), &envelope, NULL);
    ASSERT(r == 0);
    envelope_deinit(&envelope);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_n(data, size);
    struct cel_error err = {0};
    struct envelope envelope;
    int r = envelope_decode(bytes, &envelope, &err);
    ASSERT(r >= 0 || (err.code == r && err.text[0]));
    if (r == 0)
        write_again(&envelope);
    else if (r == ENVELOPE_PROTOCOL_1)
        upgrade(bytes);
    if (r >= 0)
        envelope_deinit(&envelope);
    return 0;
}
