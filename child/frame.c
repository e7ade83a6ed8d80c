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
 *             peak_rss, [[queue, bytes, step] ...], [[id, text] ...],
 *             [[group, index, text, prefix] ...], [[group, size, growth, saved] ...], [[group, failed] ...]]
 *   [6 FOLLOW, seq, hard_limit, envelope, state, result_json, traceback,
 *             [[group, [part ...], saved, [[id, document] ...]] ...]]
 *   [7 DYING, seq]
 *   [8 AWAITED, seq]
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

enum { SETUP_FIELDS = 12, PAIR_FIELDS = 3, HELLO_FIELDS = 3, TASK_FIELDS = 19 };
enum { RUN_FIELDS = 5, PROGRESS_FIELDS = 4, OUTCOME_FIELDS = 15, SEND_FIELDS = 3 };
enum { DOCUMENT_FIELDS = 2, PART_FIELDS = 4, CHORD_FIELDS = 4, CLOSED_FIELDS = 2 };
enum { FOLLOW_FIELDS = 8, JOINED_FIELDS = 4, DYING_FIELDS = 2, AWAITED_FIELDS = 2 };

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
    put_u64(w, task->rate_interval);
    put_str(w, task->rate_limit);
    put_u64(w, task->cpu_limit);
    put_u64(w, task->memory_limit);
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

static void put_results(struct writer *w, const struct plan_results *results)
{
    put_list(w, results->document_count);
    for (size_t i = 0; i < results->document_count; i++) {
        put_list(w, DOCUMENT_FIELDS);
        put_str(w, results->documents[i].id);
        put_str(w, results->documents[i].text);
    }
    put_list(w, results->part_count);
    for (size_t i = 0; i < results->part_count; i++) {
        put_list(w, PART_FIELDS);
        put_str(w, results->parts[i].group);
        put_i64(w, results->parts[i].index);
        put_str(w, results->parts[i].text);
        put_str(w, results->parts[i].prefix);
    }
    put_list(w, results->chord_count);
    for (size_t i = 0; i < results->chord_count; i++) {
        put_list(w, CHORD_FIELDS);
        put_str(w, results->chords[i].group);
        put_u64(w, results->chords[i].size);
        put_u64(w, results->chords[i].growth);
        put_str(w, results->chords[i].saved);
    }
    put_list(w, results->closed_count);
    for (size_t i = 0; i < results->closed_count; i++) {
        put_list(w, CLOSED_FIELDS);
        put_str(w, results->closed[i].group);
        put_bool(w, results->closed[i].failed);
    }
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
    put_results(&w, &outcome->results);
    finish(&w);
}

static void put_joined(struct writer *w, const struct plan_joined *joined)
{
    put_list(w, JOINED_FIELDS);
    put_str(w, joined->group);
    put_list(w, joined->part_count);
    for (size_t i = 0; i < joined->part_count; i++)
        put_str(w, joined->parts[i]);
    put_str(w, joined->saved);
    put_list(w, joined->leaf_count);
    for (size_t i = 0; i < joined->leaf_count; i++) {
        put_list(w, DOCUMENT_FIELDS);
        put_str(w, joined->leaves[i].id);
        put_str(w, joined->leaves[i].text);
    }
}

void frame_add_follow(struct buf *buf, const struct frame_follow *follow)
{
    struct writer w;
    begin(&w, buf, FRAME_FOLLOW, FOLLOW_FIELDS);
    put_u64(&w, follow->seq);
    put_u64(&w, follow->hard_limit);
    put_str(&w, follow->envelope);
    put_str(&w, follow->state);
    put_str(&w, follow->result_json);
    put_str(&w, follow->traceback);
    put_list(&w, follow->joined_count);
    for (size_t i = 0; i < follow->joined_count; i++)
        put_joined(&w, &follow->joined[i]);
    finish(&w);
}

void frame_add_dying(struct buf *buf, const struct frame_dying *dying)
{
    struct writer w;
    begin(&w, buf, FRAME_DYING, DYING_FIELDS);
    put_u64(&w, dying->seq);
    finish(&w);
}

void frame_add_awaited(struct buf *buf, uint64_t seq)
{
    struct writer w;
    begin(&w, buf, FRAME_AWAITED, AWAITED_FIELDS);
    put_u64(&w, seq);
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
    task->rate_interval = get_u64(c);
    task->rate_limit = get_str(c);
    task->cpu_limit = get_u64(c);
    task->memory_limit = get_u64(c);
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

/* A text that may not be missing. */
static struct str get_name(struct cursor *c)
{
    struct str text = get_str(c);
    if (text.len == 0)
        fail(c, CEL_E_FORMAT, "a name or a text is empty");
    return text;
}

static const struct plan_document *get_documents(struct cursor *c, size_t *ret_count)
{
    struct plan_document *documents = get_array(c, sizeof(*documents), ret_count);
    for (size_t i = 0; i < *ret_count; i++) {
        expect_list(c, DOCUMENT_FIELDS);
        documents[i].id = get_name(c);
        documents[i].text = get_name(c);
    }
    return documents;
}

static const struct plan_part *get_parts(struct cursor *c, size_t *ret_count)
{
    struct plan_part *parts = get_array(c, sizeof(*parts), ret_count);
    for (size_t i = 0; i < *ret_count; i++) {
        expect_list(c, PART_FIELDS);
        parts[i].group = get_name(c);
        parts[i].index = get_i64(c);
        parts[i].text = get_name(c);
        parts[i].prefix = get_name(c);
    }
    return parts;
}

static const struct plan_chord *get_chords(struct cursor *c, size_t *ret_count)
{
    struct plan_chord *chords = get_array(c, sizeof(*chords), ret_count);
    for (size_t i = 0; i < *ret_count; i++) {
        expect_list(c, CHORD_FIELDS);
        chords[i].group = get_name(c);
        chords[i].size = get_u64(c);
        chords[i].growth = get_u64(c);
        chords[i].saved = get_str(c);
    }
    return chords;
}

static const struct plan_closed *get_closed(struct cursor *c, size_t *ret_count)
{
    struct plan_closed *closed = get_array(c, sizeof(*closed), ret_count);
    for (size_t i = 0; i < *ret_count; i++) {
        expect_list(c, CLOSED_FIELDS);
        closed[i].group = get_name(c);
        closed[i].failed = get_bool(c);
    }
    return closed;
}

static void get_results(struct cursor *c, struct plan_results *results)
{
    results->documents = get_documents(c, &results->document_count);
    results->parts = get_parts(c, &results->part_count);
    results->chords = get_chords(c, &results->chord_count);
    results->closed = get_closed(c, &results->closed_count);
}

static void get_outcome(struct cursor *c, struct frame_outcome *outcome)
{
    outcome->seq = get_u64(c);
    uint64_t kind = get_u64(c);
    if (kind < OUTCOME_SUCCESS || kind > OUTCOME_FOLLOWS)
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
    get_results(c, &outcome->results);
}

static void get_joined(struct cursor *c, struct plan_joined *joined)
{
    expect_list(c, JOINED_FIELDS);
    joined->group = get_name(c);
    struct str *parts = get_array(c, sizeof(*parts), &joined->part_count);
    for (size_t i = 0; i < joined->part_count; i++)
        parts[i] = get_str(c);
    joined->parts = parts;
    joined->saved = get_str(c);
    struct plan_document *leaves = get_array(c, sizeof(*leaves), &joined->leaf_count);
    for (size_t i = 0; i < joined->leaf_count; i++) {
        expect_list(c, DOCUMENT_FIELDS);
        leaves[i].id = get_name(c);
        leaves[i].text = get_str(c);
    }
    joined->leaves = leaves;
}

static void get_follow(struct cursor *c, struct frame_follow *follow)
{
    follow->seq = get_u64(c);
    follow->hard_limit = get_u64(c);
    follow->envelope = get_str(c);
    follow->state = get_name(c);
    follow->result_json = get_str(c);
    follow->traceback = get_str(c);
    struct plan_joined *joined = get_array(c, sizeof(*joined), &follow->joined_count);
    for (size_t i = 0; i < follow->joined_count; i++)
        get_joined(c, &joined[i]);
    follow->joined = joined;
}

static void get_frame(struct cursor *c, struct frame *frame)
{
    static const size_t fields[] = {
        [FRAME_SETUP] = SETUP_FIELDS,     [FRAME_HELLO] = HELLO_FIELDS,
        [FRAME_RUN] = RUN_FIELDS,         [FRAME_PROGRESS] = PROGRESS_FIELDS,
        [FRAME_OUTCOME] = OUTCOME_FIELDS, [FRAME_FOLLOW] = FOLLOW_FIELDS,
        [FRAME_DYING] = DYING_FIELDS,     [FRAME_AWAITED] = AWAITED_FIELDS,
    };
    size_t count = get_list(c);
    uint64_t type = get_u64(c);
    if (type < FRAME_SETUP || type > FRAME_AWAITED) {
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
    case FRAME_FOLLOW:
        get_follow(c, &frame->follow);
        break;
    case FRAME_AWAITED:
        frame->awaited_seq = get_u64(c);
        break;
    case FRAME_DYING:
        frame->dying.seq = get_u64(c);
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
