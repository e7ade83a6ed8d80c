#include "worker/follow_ups.h"

#include <errno.h>
#include <stdlib.h>

#include "core/mem.h"
#include "message/envelope.h"

struct follow_text { /* the texts that were added together */
    struct follow_text *next;
    size_t used;
    char bytes[];
};

/* --- texts ------------------------------------------------------------------------------------------ */

static struct follow_text *text_new(struct follow_ups *ups, size_t size)
{
    struct follow_text *text = mem_alloc(sizeof(*text) + size);
    if (!text)
        return NULL;
    text->next = ups->texts;
    text->used = 0;
    ups->texts = text;
    return text;
}

/* There is room: the sizes of all were counted. */
static struct str copy(struct follow_text *text, struct str from)
{
    if (!from.ptr)
        return STR_NONE;
    char *to = text->bytes + text->used;
    memcpy(to, from.ptr, from.len);
    text->used += from.len;
    return str_n(to, from.len);
}

static size_t size_of(const struct frame_outcome *outcome)
{
    const struct plan_results *r = &outcome->results;
    size_t size = 0;
    for (size_t i = 0; i < outcome->send_count; i++)
        size += outcome->sends[i].queue.len + outcome->sends[i].bytes.len;
    for (size_t i = 0; i < r->document_count; i++)
        size += r->documents[i].id.len + r->documents[i].text.len;
    for (size_t i = 0; i < r->part_count; i++)
        size += r->parts[i].group.len + r->parts[i].text.len + r->parts[i].prefix.len;
    for (size_t i = 0; i < r->chord_count; i++)
        size += r->chords[i].group.len + r->chords[i].saved.len;
    for (size_t i = 0; i < r->closed_count; i++)
        size += r->closed[i].group.len;
    return size;
}

/* --- rows ------------------------------------------------------------------------------------------- */

/* Room for `more` rows behind `count` of them. */
static bool make_room(void *rows_place, size_t count, size_t more, size_t size)
{
    void **rows = rows_place;
    if (more == 0)
        return true;
    void *grown = mem_grow(*rows, count + more, size);
    if (grown)
        *rows = grown;
    return grown != NULL;
}

static bool make_all_room(struct follow_ups *ups, const struct frame_outcome *outcome)
{
    const struct plan_results *r = &outcome->results;
    return make_room(&ups->messages, ups->message_count, outcome->send_count,
                     sizeof(*ups->messages)) &&
           make_room(&ups->documents, ups->document_count, r->document_count,
                     sizeof(*ups->documents)) &&
           make_room(&ups->parts, ups->part_count, r->part_count, sizeof(*ups->parts)) &&
           make_room(&ups->chords, ups->chord_count, r->chord_count, sizeof(*ups->chords)) &&
           make_room(&ups->closed, ups->closed_count, r->closed_count, sizeof(*ups->closed));
}

static void
add_results(struct follow_ups *ups, const struct plan_results *r, struct follow_text *text)
{
    for (size_t i = 0; i < r->document_count; i++)
        ups->documents[ups->document_count++] = (struct plan_document){
            copy(text, r->documents[i].id), copy(text, r->documents[i].text)};
    for (size_t i = 0; i < r->part_count; i++)
        ups->parts[ups->part_count++] = (struct plan_part){
            .group = copy(text, r->parts[i].group),
            .index = r->parts[i].index,
            .text = copy(text, r->parts[i].text),
            .prefix = copy(text, r->parts[i].prefix),
        };
    for (size_t i = 0; i < r->chord_count; i++)
        ups->chords[ups->chord_count++] = (struct plan_chord){
            .group = copy(text, r->chords[i].group),
            .size = r->chords[i].size,
            .growth = r->chords[i].growth,
            .saved = copy(text, r->chords[i].saved),
        };
    for (size_t i = 0; i < r->closed_count; i++)
        ups->closed[ups->closed_count++] =
            (struct plan_closed){copy(text, r->closed[i].group), r->closed[i].failed};
}

int follow_ups_add(struct follow_ups *ups, const struct frame_outcome *outcome)
{
    size_t size = size_of(outcome);
    if (size == 0)
        return 0;
    struct follow_text *text = make_all_room(ups, outcome) ? text_new(ups, size) : NULL;
    if (!text)
        return -ENOMEM;
    for (size_t i = 0; i < outcome->send_count; i++)
        ups->messages[ups->message_count++] = (struct broker_message){
            .queue = copy(text, outcome->sends[i].queue),
            .bytes = copy(text, outcome->sends[i].bytes),
            .step = priority_step(outcome->sends[i].step),
        };
    add_results(ups, &outcome->results, text);
    return 0;
}

/* --- chords that were read -------------------------------------------------------------------------- */

static size_t size_of_joined(const struct plan_joined *joined)
{
    size_t size = joined->group.len + joined->saved.len;
    for (size_t i = 0; i < joined->part_count; i++)
        size += joined->parts[i].len;
    for (size_t i = 0; i < joined->leaf_count; i++)
        size += joined->leaves[i].id.len + joined->leaves[i].text.len;
    return size;
}

static int add_one_joined(struct follow_ups *ups, const struct plan_joined *joined)
{
    struct follow_text *text = text_new(ups, size_of_joined(joined));
    struct str *parts = mem_array(joined->part_count + 1, sizeof(*parts));
    struct plan_document *leaves = mem_array(joined->leaf_count + 1, sizeof(*leaves));
    if (!text || !parts || !leaves) {
        mem_free(parts);
        mem_free(leaves);
        return -ENOMEM;
    }
    for (size_t i = 0; i < joined->part_count; i++)
        parts[i] = copy(text, joined->parts[i]);
    for (size_t i = 0; i < joined->leaf_count; i++)
        leaves[i] = (struct plan_document){copy(text, joined->leaves[i].id),
                                           copy(text, joined->leaves[i].text)};
    ups->joined[ups->joined_count++] = (struct plan_joined){
        .group = copy(text, joined->group),
        .parts = parts,
        .part_count = joined->part_count,
        .saved = copy(text, joined->saved),
        .leaves = leaves,
        .leaf_count = joined->leaf_count,
    };
    return 0;
}

int follow_ups_add_joined(struct follow_ups *ups, const struct plan_joined *joined, size_t count)
{
    if (ups->joined_count == 0) {
        ups->own_messages = ups->message_count;
        ups->own_documents = ups->document_count;
        ups->own_parts = ups->part_count;
        ups->own_chords = ups->chord_count;
    }
    if (!make_room(&ups->joined, ups->joined_count, count, sizeof(*ups->joined)))
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        int r = add_one_joined(ups, &joined[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static void forget_joined(struct follow_ups *ups)
{
    for (size_t i = 0; i < ups->joined_count; i++) {
        mem_free((void *)(uintptr_t)ups->joined[i].parts);
        mem_free((void *)(uintptr_t)ups->joined[i].leaves);
    }
    ups->joined_count = 0;
}

void follow_ups_unjoin(struct follow_ups *ups)
{
    forget_joined(ups);
    ups->message_count = ups->own_messages;
    ups->document_count = ups->own_documents;
    ups->part_count = ups->own_parts;
    ups->chord_count = ups->own_chords;
    ups->closed_count = 0;
}

size_t follow_ups_unguarded(const struct follow_ups *ups)
{
    return ups->joined_count ? ups->own_messages : ups->message_count;
}

void follow_ups_keep_guarded(struct follow_ups *ups)
{
    size_t first = follow_ups_unguarded(ups);
    size_t kept = ups->message_count - first;
    if (kept > 0)
        memmove(ups->messages, ups->messages + first, kept * sizeof(*ups->messages));
    ups->message_count = kept;
    ups->own_messages = 0;
}

/* --- all -------------------------------------------------------------------------------------------- */

void follow_ups_clear(struct follow_ups *ups)
{
    forget_joined(ups);
    while (ups->texts) {
        struct follow_text *next = ups->texts->next;
        mem_free(ups->texts);
        ups->texts = next;
    }
    mem_free(ups->messages);
    mem_free(ups->documents);
    mem_free(ups->parts);
    mem_free(ups->chords);
    mem_free(ups->closed);
    mem_free(ups->joined);
    *ups = (struct follow_ups){.messages = NULL};
}

bool follow_ups_has_some(const struct follow_ups *ups)
{
    return ups->message_count + ups->document_count + ups->part_count + ups->chord_count +
               ups->closed_count >
           0;
}

void follow_ups_show(const struct follow_ups *ups, struct broker_completion *completion)
{
    completion->follow_ups = ups->messages;
    completion->follow_up_count = ups->message_count;
    completion->results = (struct plan_results){
        .documents = ups->documents,
        .parts = ups->parts,
        .chords = ups->chords,
        .closed = ups->closed,
        .document_count = ups->document_count,
        .part_count = ups->part_count,
        .chord_count = ups->chord_count,
        .closed_count = ups->closed_count,
    };
}
