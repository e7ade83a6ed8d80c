/*
 * Frames as bytes. Encoding is msgpack-c's packer over a buf. Decoding is a cursor of our own:
 * every frame is a fixed row of fields, and the library's unpacker would allocate from the counts
 * that a frame announces before it looks whether so many bytes are there. The child runs code that
 * is not ours, so the parent must take its bytes as those of a stranger.
 *
 * The rows, in the order of the structs:
 *
 *   [1 SETUP, node, default_queue, routes, log_level, log_format, database_max_age,
 *             wants_peak_rss, wants_arguments, [module ...], [[name, value, origin] ...], [[name, value, origin] ...]]
 *   [2 HELLO, version, [[name, queue, max_retries, ...] ...]]
 *   [3 RUN, seq, soft_limit, hard_limit, envelope]
 *   [4 PROGRESS, seq, state, meta_json]
 *   [5 OUTCOME, seq, kind, result_json, traceback, countdown, conflict, detail, children_json,
 *             peak_rss, [[queue, bytes, step] ...]]
 *
 * All text is "bin" (it may be no UTF-8), absent text is nil. The cursor's failure sticks: after
 * the first one every read gives zero, and the end is checked once.
 */
#include "child/frame.h"

#include <errno.h>
#include <stdlib.h>

#include <msgpack.h>

#include "core/mem.h"

/* --- writing ---------------------------------------------------------------------------------- */

enum { SETUP_FIELDS = 12, PAIR_FIELDS = 3, HELLO_FIELDS = 3, TASK_FIELDS = 15 };
enum { RUN_FIELDS = 5, PROGRESS_FIELDS = 4, OUTCOME_FIELDS = 11, SEND_FIELDS = 3 };

static int append(void *data, const char *bytes, size_t len)
{
    buf_add(data, bytes, len);
    return 0;
}

struct writer {
    msgpack_packer packer;
    struct buf *buf;
    size_t start; /* of the frame's length */
};

static void put_list(struct writer *w, size_t count)
{
    msgpack_pack_array(&w->packer, count);
}

static void put_i64(struct writer *w, int64_t value)
{
    msgpack_pack_int64(&w->packer, value);
}

static void put_u64(struct writer *w, uint64_t value)
{
    msgpack_pack_uint64(&w->packer, value);
}

static void put_bool(struct writer *w, bool value)
{
    if (value)
        msgpack_pack_true(&w->packer);
    else
        msgpack_pack_false(&w->packer);
}

static void put_str(struct writer *w, struct str text)
{
    if (!text.ptr) {
        msgpack_pack_nil(&w->packer);
        return;
    }
    msgpack_pack_bin(&w->packer, text.len);
    msgpack_pack_bin_body(&w->packer, text.ptr, text.len);
}

static void begin(struct writer *w, struct buf *buf, enum frame_type type, size_t fields)
{
    w->buf = buf;
    w->start = buf->len;
    msgpack_packer_init(&w->packer, buf, append);
    buf_add(buf, "\0\0\0\0", FRAME_HEADER);
    put_list(w, fields);
    put_u64(w, type);
}

static void finish(struct writer *w)
{
    if (buf_status(w->buf))
        return;
    size_t len = w->buf->len - w->start - FRAME_HEADER;
    if (len > FRAME_BYTES_MAX) {
        w->buf->status = CEL_E_LIMIT;
        return;
    }
    for (unsigned i = 0; i < FRAME_HEADER; i++)
        w->buf->ptr[w->start + i] = (char)(len >> (8 * i) & 0xff);
}

static void put_pairs(struct writer *w, const struct frame_pair *pairs, size_t count)
{
    put_list(w, count);
    for (size_t i = 0; i < count; i++) {
        put_list(w, PAIR_FIELDS);
        put_str(w, pairs[i].name);
        put_str(w, pairs[i].value);
        put_str(w, pairs[i].origin);
    }
}

void frame_add_setup(struct buf *buf, const struct frame_setup *setup)
{
    struct writer w;
    begin(&w, buf, FRAME_SETUP, SETUP_FIELDS);
    put_str(&w, setup->node);
    put_str(&w, setup->default_queue);
    put_str(&w, setup->routes);
    put_i64(&w, setup->log_level);
    put_i64(&w, setup->log_format);
    put_u64(&w, setup->database_max_age);
    put_bool(&w, setup->wants_peak_rss);
    put_bool(&w, setup->wants_arguments);
    put_list(&w, setup->module_count);
    for (size_t i = 0; i < setup->module_count; i++)
        put_str(&w, setup->modules[i]);
    put_pairs(&w, setup->settings, setup->setting_count);
    put_pairs(&w, setup->databases, setup->database_count);
    finish(&w);
}

static void put_task(struct writer *w, const struct frame_task *task)
{
    put_list(w, TASK_FIELDS);
    put_str(w, task->name);
    put_str(w, task->queue);
    put_i64(w, task->max_retries);
    put_u64(w, task->retry_delay);
    put_u64(w, task->retry_delay_max);
    put_bool(w, task->retry_backoff);
    put_bool(w, task->retry_without_jitter);
    put_bool(w, task->ignore_result);
    put_bool(w, task->acks_early);
    put_bool(w, task->track_started);
    put_bool(w, task->once);
    put_bool(w, task->reject_on_failure);
    put_u64(w, task->soft_limit);
    put_u64(w, task->hard_limit);
    put_i64(w, task->max_crashes);
}

void frame_add_hello(struct buf *buf, const struct frame_hello *hello)
{
    struct writer w;
    begin(&w, buf, FRAME_HELLO, HELLO_FIELDS);
    put_i64(&w, hello->version);
    put_list(&w, hello->task_count);
    for (size_t i = 0; i < hello->task_count; i++)
        put_task(&w, &hello->tasks[i]);
    finish(&w);
}

void frame_add_run(struct buf *buf, const struct frame_run *run)
{
    struct writer w;
    begin(&w, buf, FRAME_RUN, RUN_FIELDS);
    put_u64(&w, run->seq);
    put_u64(&w, run->soft_limit);
    put_u64(&w, run->hard_limit);
    put_str(&w, run->envelope);
    finish(&w);
}

void frame_add_progress(struct buf *buf, const struct frame_progress *progress)
{
    struct writer w;
    begin(&w, buf, FRAME_PROGRESS, PROGRESS_FIELDS);
    put_u64(&w, progress->seq);
    put_str(&w, progress->state);
    put_str(&w, progress->meta_json);
    finish(&w);
}

void frame_add_outcome(struct buf *buf, const struct frame_outcome *outcome)
{
    struct writer w;
    begin(&w, buf, FRAME_OUTCOME, OUTCOME_FIELDS);
    put_u64(&w, outcome->seq);
    put_u64(&w, outcome->kind);
    put_str(&w, outcome->result_json);
    put_str(&w, outcome->traceback);
    put_i64(&w, outcome->countdown_usec);
    put_bool(&w, outcome->conflict);
    put_str(&w, outcome->detail);
    put_str(&w, outcome->children_json);
    put_u64(&w, outcome->peak_rss);
    put_list(&w, outcome->send_count);
    for (size_t i = 0; i < outcome->send_count; i++) {
        put_list(&w, SEND_FIELDS);
        put_str(&w, outcome->sends[i].queue);
        put_str(&w, outcome->sends[i].bytes);
        put_i64(&w, outcome->sends[i].step);
    }
    finish(&w);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct block { /* one array of a decoded frame */
    struct block *next;
    _Alignas(max_align_t) char array[];
};

struct cursor {
    const unsigned char *at, *end;
    struct block *blocks;
    const char *wrong; /* the first failure: what stands in the frame that may not */
    int code;
};

static void fail(struct cursor *c, int code, const char *wrong)
{
    if (c->wrong)
        return;
    c->wrong = wrong;
    c->code = code;
    c->at = c->end;
}

/* The next `len` bytes, or NULL when there are not so many. */
static const unsigned char *take(struct cursor *c, size_t len)
{
    if (c->wrong || (size_t)(c->end - c->at) < len) {
        fail(c, CEL_E_FORMAT, "it ends too early");
        return NULL;
    }
    const unsigned char *at = c->at;
    c->at += len;
    return at;
}

static unsigned take_byte(struct cursor *c)
{
    const unsigned char *at = take(c, 1);
    return at ? *at : 0xc1; /* 0xc1 is the byte that MessagePack never uses */
}

static uint64_t take_big_endian(struct cursor *c, size_t len)
{
    const unsigned char *at = take(c, len);
    uint64_t value = 0;
    for (size_t i = 0; at && i < len; i++)
        value = value << 8 | at[i];
    return value;
}

static int64_t sign_extend(uint64_t value, size_t len)
{
    unsigned shift = (unsigned)(64 - 8 * len);
    return (int64_t)(value << shift) >> shift;
}

static uint64_t get_u64(struct cursor *c)
{
    unsigned tag = take_byte(c);
    if (tag <= 0x7f)
        return tag;
    if (tag >= 0xcc && tag <= 0xcf)
        return take_big_endian(c, (size_t)1 << (tag - 0xcc));
    fail(c, CEL_E_FORMAT, "a whole number was expected");
    return 0;
}

static int64_t get_i64(struct cursor *c)
{
    unsigned tag = take_byte(c);
    if (tag <= 0x7f)
        return (int64_t)tag;
    if (tag >= 0xe0)
        return (int64_t)tag - 0x100;
    if (tag >= 0xd0 && tag <= 0xd3) {
        size_t len = (size_t)1 << (tag - 0xd0);
        return sign_extend(take_big_endian(c, len), len);
    }
    if (tag >= 0xcc && tag <= 0xcf) {
        uint64_t value = take_big_endian(c, (size_t)1 << (tag - 0xcc));
        if (value <= INT64_MAX)
            return (int64_t)value;
    }
    fail(c, CEL_E_FORMAT, "an integer was expected");
    return 0;
}

static bool get_bool(struct cursor *c)
{
    unsigned tag = take_byte(c);
    if (tag != 0xc2 && tag != 0xc3)
        fail(c, CEL_E_FORMAT, "true or false was expected");
    return tag == 0xc3;
}

static struct str get_str(struct cursor *c)
{
    unsigned tag = take_byte(c);
    if (tag == 0xc0)
        return STR_NONE;
    size_t len = 0;
    if (tag >= 0xc4 && tag <= 0xc6)
        len = (size_t)take_big_endian(c, (size_t)1 << (tag - 0xc4));
    else
        fail(c, CEL_E_FORMAT, "bytes were expected");
    const unsigned char *at = take(c, len);
    return at ? str_n(at, len) : STR_NONE;
}

static size_t get_list(struct cursor *c)
{
    unsigned tag = take_byte(c);
    if ((tag & 0xf0) == 0x90)
        return tag & 0x0f;
    if (tag == 0xdc || tag == 0xdd)
        return (size_t)take_big_endian(c, tag == 0xdc ? 2 : 4);
    fail(c, CEL_E_FORMAT, "a list was expected");
    return 0;
}

static void expect_list(struct cursor *c, size_t count)
{
    if (get_list(c) != count)
        fail(c, CEL_E_FORMAT, "a list has the wrong number of fields");
}

/* The head of a list whose elements take at least one byte each, and room for them. */
static void *get_array(struct cursor *c, size_t size, size_t *ret_count)
{
    size_t count = get_list(c);
    *ret_count = 0;
    if (count > (size_t)(c->end - c->at))
        fail(c, CEL_E_FORMAT, "a list is longer than its frame");
    else if (count > FRAME_COUNT_MAX)
        fail(c, CEL_E_LIMIT, "a list has too many elements");
    if (c->wrong || count == 0)
        return NULL;
    struct block *block = mem_alloc(sizeof(*block) + count * size);
    if (!block) {
        fail(c, -ENOMEM, "out of memory");
        return NULL;
    }
    block->next = c->blocks;
    c->blocks = block;
    *ret_count = count;
    return block->array;
}

static const struct frame_pair *get_pairs(struct cursor *c, size_t *ret_count)
{
    struct frame_pair *pairs = get_array(c, sizeof(*pairs), ret_count);
    for (size_t i = 0; i < *ret_count; i++) {
        expect_list(c, PAIR_FIELDS);
        pairs[i].name = get_str(c);
        pairs[i].value = get_str(c);
        pairs[i].origin = get_str(c);
    }
    return pairs;
}

static void get_setup(struct cursor *c, struct frame_setup *setup)
{
    setup->node = get_str(c);
    setup->default_queue = get_str(c);
    setup->routes = get_str(c);
    setup->log_level = get_i64(c);
    setup->log_format = get_i64(c);
    setup->database_max_age = get_u64(c);
    setup->wants_peak_rss = get_bool(c);
    setup->wants_arguments = get_bool(c);
    struct str *modules = get_array(c, sizeof(*modules), &setup->module_count);
    for (size_t i = 0; i < setup->module_count; i++)
        modules[i] = get_str(c);
    setup->modules = modules;
    setup->settings = get_pairs(c, &setup->setting_count);
    setup->databases = get_pairs(c, &setup->database_count);
}

static void get_task(struct cursor *c, struct frame_task *task)
{
    expect_list(c, TASK_FIELDS);
    task->name = get_str(c);
    task->queue = get_str(c);
    task->max_retries = get_i64(c);
    task->retry_delay = get_u64(c);
    task->retry_delay_max = get_u64(c);
    task->retry_backoff = get_bool(c);
    task->retry_without_jitter = get_bool(c);
    task->ignore_result = get_bool(c);
    task->acks_early = get_bool(c);
    task->track_started = get_bool(c);
    task->once = get_bool(c);
    task->reject_on_failure = get_bool(c);
    task->soft_limit = get_u64(c);
    task->hard_limit = get_u64(c);
    task->max_crashes = get_i64(c);
}

static void get_hello(struct cursor *c, struct frame_hello *hello)
{
    hello->version = get_i64(c);
    struct frame_task *tasks = get_array(c, sizeof(*tasks), &hello->task_count);
    for (size_t i = 0; i < hello->task_count; i++)
        get_task(c, &tasks[i]);
    hello->tasks = tasks;
}

static void get_run(struct cursor *c, struct frame_run *run)
{
    run->seq = get_u64(c);
    run->soft_limit = get_u64(c);
    run->hard_limit = get_u64(c);
    run->envelope = get_str(c);
}

static void get_progress(struct cursor *c, struct frame_progress *progress)
{
    progress->seq = get_u64(c);
    progress->state = get_str(c);
    progress->meta_json = get_str(c);
}

static void get_outcome(struct cursor *c, struct frame_outcome *outcome)
{
    outcome->seq = get_u64(c);
    uint64_t kind = get_u64(c);
    if (kind < OUTCOME_SUCCESS || kind > OUTCOME_REQUEUED)
        fail(c, CEL_E_FORMAT, "an unknown kind of outcome");
    outcome->kind = (enum frame_outcome_kind)kind;
    outcome->result_json = get_str(c);
    outcome->traceback = get_str(c);
    outcome->countdown_usec = get_i64(c);
    outcome->conflict = get_bool(c);
    outcome->detail = get_str(c);
    outcome->children_json = get_str(c);
    outcome->peak_rss = get_u64(c);
    struct frame_send *sends = get_array(c, sizeof(*sends), &outcome->send_count);
    for (size_t i = 0; i < outcome->send_count; i++) {
        expect_list(c, SEND_FIELDS);
        sends[i].queue = get_str(c);
        sends[i].bytes = get_str(c);
        sends[i].step = get_i64(c);
        if (sends[i].queue.len == 0 || sends[i].bytes.len == 0)
            fail(c, CEL_E_FORMAT, "a send without a queue or a message");
    }
    outcome->sends = sends;
}

static void get_frame(struct cursor *c, struct frame *frame)
{
    static const size_t fields[] = {
        [FRAME_SETUP] = SETUP_FIELDS,     [FRAME_HELLO] = HELLO_FIELDS,
        [FRAME_RUN] = RUN_FIELDS,         [FRAME_PROGRESS] = PROGRESS_FIELDS,
        [FRAME_OUTCOME] = OUTCOME_FIELDS,
    };
    size_t count = get_list(c);
    uint64_t type = get_u64(c);
    if (type < FRAME_SETUP || type > FRAME_OUTCOME) {
        fail(c, CEL_E_FORMAT, "an unknown type of frame");
        return;
    }
    if (count != fields[type])
        fail(c, CEL_E_FORMAT, "a list has the wrong number of fields");
    frame->type = (enum frame_type)type;
    switch (frame->type) {
    case FRAME_SETUP:
        get_setup(c, &frame->setup);
        break;
    case FRAME_HELLO:
        get_hello(c, &frame->hello);
        break;
    case FRAME_RUN:
        get_run(c, &frame->run);
        break;
    case FRAME_PROGRESS:
        get_progress(c, &frame->progress);
        break;
    case FRAME_OUTCOME:
        get_outcome(c, &frame->outcome);
        break;
    }
}

int frame_decode(struct str bytes, struct frame *ret, size_t *ret_len, struct cel_error *err)
{
    if (bytes.len < FRAME_HEADER)
        return -EAGAIN;
    const unsigned char *start = (const unsigned char *)bytes.ptr;
    size_t len = 0;
    for (unsigned i = 0; i < FRAME_HEADER; i++)
        len |= (size_t)start[i] << (8 * i);
    if (len > FRAME_BYTES_MAX)
        return error_set(err, CEL_E_LIMIT, "a frame of %zu bytes is too long", len);
    if (bytes.len - FRAME_HEADER < len)
        return -EAGAIN;

    struct cursor c = {.at = start + FRAME_HEADER, .end = start + FRAME_HEADER + len};
    struct frame frame = {0};
    get_frame(&c, &frame);
    if (!c.wrong && c.at != c.end)
        fail(&c, CEL_E_FORMAT, "bytes are left over");
    frame.owned = c.blocks;
    if (c.wrong) {
        frame_deinit(&frame);
        return error_set(err, c.code, "a frame cannot be read: %s", c.wrong);
    }
    *ret = frame;
    *ret_len = FRAME_HEADER + len;
    return 0;
}

void frame_deinit(struct frame *frame)
{
    if (!frame)
        return;
    struct block *block = frame->owned;
    while (block) {
        struct block *next = block->next;
        mem_free(block);
        block = next;
    }
    frame->owned = NULL;
}
