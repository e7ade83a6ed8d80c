/*
 * Whole runs of a canvas as they were recorded from Celery's worker: the messages that its client
 * published are taken in their order; each ends here as it ended there, and what canvas_follow and
 * canvas_join plan is compared with what that worker then wrote.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canvas/join.h"
#include "message/body.h"
#include "message/result.h"
#include "published.h"
#include "tests/support/vectors.h"

/* --- what was recorded ------------------------------------------------------------------------ */

enum { WORDS_MAX = 8, ROWS_MAX = 64 };

struct row { /* a command: its words, unescaped */
    struct buf words[WORDS_MAX];
    size_t count;
};
struct run {
    struct row rows[ROWS_MAX];
    size_t count;
};

static int hex(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* A quoted word of MONITOR. */
static const char *read_word(const char *at, struct buf *word)
{
    buf_init(word, VALUE_BYTES_MAX);
    buf_add_str(word, STR(""));
    for (at++; *at != '"'; at++) {
        assert_true(*at);
        if (*at != '\\') {
            buf_add_char(word, *at);
            continue;
        }
        at++;
        if (*at == 'x') {
            buf_add_char(word, (char)(hex(at[1]) * 16 + hex(at[2])));
            at += 2;
        } else {
            buf_add_char(word, *at == 'n' ? '\n' : *at == 'r' ? '\r' : *at == 't' ? '\t' : *at);
        }
    }
    return at + 1;
}

static bool is_command(const struct row *row, const char *name)
{
    return row->count > 0 && str_equal(buf_str(&row->words[0]), str_of(name));
}

static struct str word(const struct row *row, size_t i)
{
    assert_true(i < row->count);
    return buf_str(&row->words[i]);
}

static void row_deinit(struct row *row)
{
    for (size_t i = 0; i < row->count; i++)
        buf_deinit(&row->words[i]);
    row->count = 0;
}

/* Keeps the commands that matter: pushes of tasks, documents, parts and sizes of chords. */
static void load_run(const char *name, struct run *run)
{
    struct cel_value *vector = vectors_load(name);
    const struct cel_value *commands = cel_value_get(vector, "commands");
    memset(run, 0, sizeof(*run));
    for (size_t i = 0; i < cel_value_count(commands); i++) {
        const char *at = strchr(cel_value_text(cel_value_at(commands, i), NULL), '"');
        struct row row = {.count = 0};
        while (at && *at == '"' && row.count < WORDS_MAX) {
            at = read_word(at, &row.words[row.count++]);
            at = *at == ' ' ? at + 1 : NULL;
        }
        bool is_task = is_command(&row, "LPUSH") && str_equal(word(&row, 1), STR("celery"));
        bool is_part = is_command(&row, "ZADD") && str_starts(word(&row, 1), STR("celery-taskset"));
        if (is_task || is_part || is_command(&row, "SETEX")) {
            assert_true(run->count < ROWS_MAX);
            run->rows[run->count++] = row;
        } else {
            row_deinit(&row);
        }
    }
    cel_value_free(vector);
}

static void run_deinit(struct run *run)
{
    for (size_t i = 0; i < run->count; i++)
        row_deinit(&run->rows[i]);
}

/* The text stored last under `prefix` and `id`. */
static struct str
stored(const struct run *run, const char *prefix, struct str id, const char *suffix)
{
    char key[256];
    snprintf(key, sizeof(key), "%s" STR_FORMAT "%s", prefix, STR_ARGS(id), suffix);
    for (size_t i = run->count; i-- > 0;) {
        if (is_command(&run->rows[i], "SETEX") && str_equal(word(&run->rows[i], 1), str_of(key)))
            return word(&run->rows[i], 3);
    }
    return STR_NONE;
}

/* --- the server ------------------------------------------------------------------------------- */

/* What the plans were carried out on. */
struct server {
    const struct run *run;
    struct cel_message queue[ROWS_MAX];
    size_t taken, pushed, from_client;
    struct {
        struct buf group, text;
        int64_t index;
    } parts[ROWS_MAX];
    size_t part_count;
    struct cel_value *documents; /* id: document */
    struct cel_value *failed;    /* groups closed as failed, or not */
    struct cel_value *sizes;     /* of the chords that plans opened */
};

static void keep(struct buf *buf, struct str text)
{
    buf_init(buf, VALUE_BYTES_MAX);
    buf_add_str(buf, text);
}

static void carry_out(struct server *server, struct plan *plan)
{
    for (size_t i = 0; i < plan->message_count; i++) {
        server->queue[server->pushed++] = plan->messages[i];
        plan->messages[i] = (struct cel_message){0};
    }
    for (size_t i = 0; i < plan->document_count; i++)
        assert_int_equal(cel_map_set(server->documents, plan->documents[i].id.ptr,
                                     read_json_str(plan->documents[i].text)),
                         0);
    for (size_t i = 0; i < plan->part_count; i++) {
        const struct plan_part *part = &plan->parts[i];
        assert_true(str_starts(part->text, part->prefix));
        keep(&server->parts[server->part_count].group, part->group);
        keep(&server->parts[server->part_count].text, part->text);
        server->parts[server->part_count++].index = part->index;
    }
    for (size_t i = 0; i < plan->chord_count; i++)
        assert_int_equal(cel_map_set(server->sizes, plan->chords[i].group.ptr,
                                     cel_int((int64_t)plan->chords[i].size)),
                         0);
    for (size_t i = 0; i < plan->closed_count; i++)
        assert_int_equal(cel_map_set(server->failed, plan->closed[i].group.ptr,
                                     cel_bool(plan->closed[i].failed)),
                         0);
}

struct placed {
    int64_t index;
    struct str text;
};

static int by_place(const void *a, const void *b)
{
    const struct placed *one = a, *other = b;
    return (one->index > other->index) - (one->index < other->index);
}

/* The chord that the part of `plan` completes, as it is read then. */
static bool is_complete(struct server *server,
                        const struct plan *plan,
                        struct plan_joined *ret,
                        struct str *parts)
{
    struct placed placed[ROWS_MAX];
    uint64_t size = 0;
    if (plan->part_count == 0)
        return false;
    struct str group = plan->parts[0].group;
    *ret = (struct plan_joined){.group = group, .parts = parts};
    for (size_t i = 0; i < server->part_count; i++) {
        if (str_equal(buf_str(&server->parts[i].group), group))
            placed[ret->part_count++] =
                (struct placed){server->parts[i].index, buf_str(&server->parts[i].text)};
    }
    placed[ret->part_count++] = (struct placed){plan->parts[0].index, plan->parts[0].text};
    qsort(placed, ret->part_count, sizeof(placed[0]), by_place);
    for (size_t i = 0; i < ret->part_count; i++)
        parts[i] = placed[i].text;
    const struct cel_value *opened = value_find(server->sizes, group);
    if (opened)
        size = (uint64_t)cel_value_int(opened, 0);
    else
        assert_int_equal(
            str_parse_u64(stored(server->run, "celery-taskset-meta-", group, ".s"), &size), 0);
    return ret->part_count == size;
}

/* Ends a message as it ended in the recording. */
static void end_one(struct server *server, const struct cel_message *message)
{
    struct envelope envelope;
    struct body body;
    struct plan plan = PLAN_INIT, join = PLAN_INIT;
    struct canvas_sender sender = {
        .origin = STR("w1@here"), .default_queue = STR("celery"), .now_wall = NOW_WALL};
    struct cel_error err = {0};
    assert_int_equal(envelope_decode(str_of(message->text), &envelope, &err), 0);
    assert_int_equal(body_decode(&envelope, &body, &err), 0);
    struct str text = stored(server->run, "celery-task-meta-", envelope.id, "");
    if (!text.ptr) { /* it replaced itself: nothing is stored and nothing follows here */
        body_deinit(&body);
        envelope_deinit(&envelope);
        return;
    }
    struct cel_value *document = read_json_str(text);
    char *result = cel_value_to_json(cel_value_get(document, "result"));
    struct ended ended = {.envelope = &envelope,
                          .embed = body.embed,
                          .state = value_str(cel_value_get(document, "status")),
                          .result_json = str_of(result),
                          .traceback = value_str(cel_value_get(document, "traceback"))};
    struct plan_joined joined;
    struct str parts[ROWS_MAX];
    if (canvas_follow(&ended, &sender, &plan, &err) < 0)
        fail_msg("%s", err.text);
    if (is_complete(server, &plan, &joined, parts) &&
        canvas_join(&ended, &joined, 1, &sender, &join, &err) < 0)
        fail_msg("%s", err.text);
    carry_out(server, &plan);
    carry_out(server, &join);
    plan_deinit(&plan);
    plan_deinit(&join);
    free(result);
    cel_value_free(document);
    body_deinit(&body);
    envelope_deinit(&envelope);
}

static struct cel_message message_of(struct str text)
{
    struct cel_value *value = read_json_str(text);
    const struct cel_value *headers = cel_value_get(value, "headers");
    struct cel_message message = {.id = strdup(cel_value_text(cel_value_get(headers, "id"), NULL)),
                                  .queue = strdup("celery"),
                                  .text = strndup(text.ptr, text.len)};
    cel_value_free(value);
    return message;
}

static bool has_parent(struct str text)
{
    struct cel_value *value = read_json_str(text);
    bool is_there =
        cel_value_type(cel_value_get(cel_value_get(value, "headers"), "parent_id")) != CEL_NULL;
    cel_value_free(value);
    return is_there;
}

static void play(struct server *server, struct run *run)
{
    *server = (struct server){
        .run = run, .documents = cel_map(), .failed = cel_map(), .sizes = cel_map()};
    for (size_t i = 0; i < run->count; i++) {
        if (is_command(&run->rows[i], "LPUSH") && !has_parent(word(&run->rows[i], 2)))
            server->queue[server->pushed++] = message_of(word(&run->rows[i], 2));
    }
    server->from_client = server->pushed;
    while (server->taken < server->pushed)
        end_one(server, &server->queue[server->taken++]);
}

static void server_deinit(struct server *server)
{
    for (size_t i = 0; i < server->pushed; i++)
        cel_message_free(&server->queue[i]);
    for (size_t i = 0; i < server->part_count; i++) {
        buf_deinit(&server->parts[i].group);
        buf_deinit(&server->parts[i].text);
    }
    cel_value_free(server->documents);
    cel_value_free(server->failed);
    cel_value_free(server->sizes);
}

/* --- comparing -------------------------------------------------------------------------------- */

/* All that was pushed, by the recording and here, in the same order. */
static void assert_same_messages(const struct server *server)
{
    struct cel_value *found = cel_list(), *expected = cel_list();
    for (size_t i = 0; i < server->pushed; i++)
        assert_int_equal(cel_list_add(found, open_message(str_of(server->queue[i].text))), 0);
    for (size_t i = 0; i < server->run->count; i++) {
        if (is_command(&server->run->rows[i], "LPUSH"))
            assert_int_equal(cel_list_add(expected, open_message(word(&server->run->rows[i], 2))),
                             0);
    }
    for (size_t i = 0; i < cel_value_count(found); i++) { /* 5.2 does not count in plain groups */
        struct cel_value *headers =
            (struct cel_value *)cel_value_get(cel_value_at(found, i), "headers");
        const struct cel_value *other = cel_value_get(cel_value_at(expected, i), "headers");
        if (other && cel_value_type(cel_value_get(other, "group_index")) == CEL_NULL)
            cel_value_free(value_take(headers, STR("group_index")));
    }
    anonymize(found);
    anonymize(expected);
    assert_same_value(found, expected);
    cel_value_free(found);
    cel_value_free(expected);
}

/* Byte for byte, in the same order. */
static void assert_same_parts(const struct server *server)
{
    size_t at = 0;
    for (size_t i = 0; i < server->run->count; i++) {
        const struct row *row = &server->run->rows[i];
        double score = 0;
        if (!is_command(row, "ZADD"))
            continue;
        assert_true(at < server->part_count);
        assert_int_equal(str_parse_double(word(row, 2), &score), 0);
        assert_true(score == (double)server->parts[at].index);
        if (!str_equal(word(row, 3), buf_str(&server->parts[at].text)))
            fail_msg("%s is not %s", server->parts[at].text.ptr, word(row, 3).ptr);
        at++;
    }
    assert_int_equal(at, server->part_count);
}

/* Status and result of the documents that the plans had, which are those of ids that never ran. */
static void assert_same_documents(const struct server *server, size_t count)
{
    assert_int_equal(cel_value_count(server->documents), count);
    for (size_t i = 0; i < count; i++) {
        const char *id = cel_value_key(server->documents, i);
        struct str text = stored(server->run, "celery-task-meta-", str_of(id), "");
        struct cel_value *expected = read_json_str(text);
        const struct cel_value *found = cel_value_at(server->documents, i);
        assert_same_value(cel_value_get(found, "status"), cel_value_get(expected, "status"));
        assert_same_value(cel_value_get(found, "result"), cel_value_get(expected, "result"));
        assert_same_value(cel_value_get(found, "task_id"), cel_value_get(expected, "task_id"));
        assert_int_equal(cel_value_count(cel_value_get(found, "children")),
                         cel_value_count(cel_value_get(expected, "children")));
        cel_value_free(expected);
    }
}

/* Of the body of a chord that a worker began, Celery makes the task before the chord the parent; of all
 * others, as here of all, that one of the header that was last. */
static void adopt_body(struct server *server)
{
    struct cel_message *body = &server->queue[server->pushed - 1];
    const char *at = strstr(body->text, "\"parent_id\": \"" ID(3, 0033));
    assert_non_null(at);
    memcpy((char *)at + strlen("\"parent_id\": \""), ID(1, 0033), strlen(ID(1, 0033)));
}

static void check_run(const char *name, size_t documents)
{
    struct run run;
    struct server server;
    load_run(name, &run);
    play(&server, &run);
    if (strcmp(name, "run-526-chain-group-task") == 0)
        adopt_body(&server);
    assert_true(server.pushed > server.from_client);
    assert_same_messages(&server);
    assert_same_parts(&server);
    assert_same_documents(&server, documents);
    server_deinit(&server);
    run_deinit(&run);
}

static void a_chain_goes_on(void **state)
{
    (void)state;
    check_run("run-526-chain3", 0);
}

/* The rest of the chain fails with it, and the errback is sent once. */
static void a_chain_ends_with_its_failure(void **state)
{
    (void)state;
    check_run("run-526-chain-fail", 2);
}

static void a_chord_fires(void **state)
{
    (void)state;
    check_run("run-526-chord2", 0);
    check_run("run-563-chord2", 0);
}

static void a_chord_with_a_failure_fails_its_body(void **state)
{
    (void)state;
    check_run("run-526-chord-fail", 1);
    check_run("run-563-chord-fail", 1);
}

static void the_parts_of_a_nested_header_are_joined_in_order(void **state)
{
    (void)state;
    check_run("run-526-nested-group-chord", 0);
    check_run("run-563-nested-group-chord", 0);
}

static void a_group_in_a_chain_fires_what_follows_it(void **state)
{
    (void)state;
    check_run("run-526-chain-group-task", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_goes_on),
        cmocka_unit_test(a_chain_ends_with_its_failure),
        cmocka_unit_test(a_chord_fires),
        cmocka_unit_test(a_chord_with_a_failure_fails_its_body),
        cmocka_unit_test(the_parts_of_a_nested_header_are_joined_in_order),
        cmocka_unit_test(a_group_in_a_chain_fires_what_follows_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
