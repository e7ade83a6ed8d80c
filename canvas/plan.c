#include "canvas/plan.h"

#include <errno.h>
#include <math.h>

#include "core/json.h"
#include "core/mem.h"
#include "core/value.h"

static void str_free(struct str text)
{
    mem_free((char *)text.ptr);
}

void plan_deinit(struct plan *plan)
{
    if (!plan)
        return;
    plan_rewind(plan, (struct plan_mark){0});
    mem_free(plan->messages);
    mem_free(plan->documents);
    mem_free(plan->parts);
    mem_free(plan->chords);
    mem_free(plan->closed);
    buf_deinit(&plan->children);
    *plan = PLAN_INIT;
}

bool plan_is_empty(const struct plan *plan)
{
    return plan->message_count + plan->document_count + plan->part_count + plan->chord_count +
               plan->closed_count ==
           0;
}

struct plan_mark plan_mark(const struct plan *plan)
{
    return (struct plan_mark){plan->message_count, plan->document_count, plan->part_count,
                              plan->chord_count,   plan->closed_count,   plan->children.len};
}

void plan_rewind(struct plan *plan, struct plan_mark mark)
{
    while (plan->message_count > mark.messages)
        cel_message_free(&plan->messages[--plan->message_count]);
    while (plan->document_count > mark.documents) {
        const struct plan_document *document = &plan->documents[--plan->document_count];
        str_free(document->id);
        str_free(document->text);
    }
    while (plan->part_count > mark.parts) {
        const struct plan_part *part = &plan->parts[--plan->part_count];
        str_free(part->group);
        str_free(part->text);
    }
    while (plan->chord_count > mark.chords) {
        const struct plan_chord *chord = &plan->chords[--plan->chord_count];
        str_free(chord->group);
        str_free(chord->saved);
    }
    while (plan->closed_count > mark.closed)
        str_free(plan->closed[--plan->closed_count].group);
    plan->children.len = mark.children;
}

/* Room for one more in the row at `place`; false when memory is short. */
static bool has_room(void *place, size_t count, size_t *cap, size_t size)
{
    void *row;
    if (count < *cap)
        return true;
    memcpy(&row, place, sizeof(row));
    size_t grown_cap = *cap ? *cap * 2 : 4;
    row = mem_grow(row, grown_cap, size);
    if (!row)
        return false;
    memcpy(place, &row, sizeof(row));
    *cap = grown_cap;
    return true;
}

/* A copy of what is there; false when memory is short. */
static bool copy(struct str *text)
{
    if (!text->ptr)
        return true;
    text->ptr = str_dup(*text);
    return text->ptr != NULL;
}

int plan_add_message(struct plan *plan, struct cel_message *message, struct cel_error *err)
{
    int r = 0;
    if (plan->message_count >= PLAN_MESSAGES_MAX)
        r = error_set(err, CEL_E_LIMIT, "A canvas begins with at most %d messages",
                      PLAN_MESSAGES_MAX);
    else if (!has_room(&plan->messages, plan->message_count, &plan->message_cap, sizeof(*message)))
        r = error_no_memory(err);
    if (r < 0) {
        cel_message_free(message);
        return r;
    }
    plan->messages[plan->message_count++] = *message;
    *message = (struct cel_message){0};
    return 0;
}

void plan_add_child(struct plan *plan, struct str id)
{
    buf_add_str(&plan->children, plan->children.len > 0 ? STR(", [[") : STR("[["));
    json_add_text(&plan->children, id);
    buf_add_c(&plan->children, ", null], null]");
}

int plan_add_document(struct plan *plan, struct str id, struct str text, struct cel_error *err)
{
    struct plan_document document = {id, text};
    if (!has_room(&plan->documents, plan->document_count, &plan->document_cap, sizeof(document)))
        return error_no_memory(err);
    if (!copy(&document.id))
        return error_no_memory(err);
    if (!copy(&document.text)) {
        str_free(document.id);
        return error_no_memory(err);
    }
    plan->documents[plan->document_count++] = document;
    return 0;
}

/* "[1, "<task id>"," and the rest, as Python's json.dumps writes them. */
static int write_part(const struct plan_member *member,
                      struct str state,
                      struct str result_json,
                      struct plan_part *part)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(2 * VALUE_BYTES_MAX);
    buf_add_str(&text, STR("[1, "));
    json_add_text(&text, member->task_id);
    buf_add_str(&text, STR(","));
    size_t prefix_len = text.len;
    buf_add_char(&text, ' ');
    json_add_text(&text, state);
    buf_add_str(&text, STR(", "));
    buf_add_str(&text, result_json.len > 0 ? result_json : STR("null"));
    buf_add_char(&text, ']');
    if (buf_status(&text) < 0)
        return buf_status(&text);
    part->text.ptr = buf_take(&text, &part->text.len);
    part->prefix = str_n(part->text.ptr, prefix_len);
    return part->text.ptr ? 0 : -ENOMEM;
}

int plan_add_part(struct plan *plan,
                  const struct plan_member *member,
                  struct str state,
                  struct str result_json,
                  struct cel_error *err)
{
    struct plan_part part = {.group = member->group, .index = member->index};
    if (!has_room(&plan->parts, plan->part_count, &plan->part_cap, sizeof(part)))
        return error_no_memory(err);
    int r = write_part(member, state, result_json, &part);
    if (r == CEL_E_LIMIT)
        return error_set(err, r, "The part of a chord is too long");
    if (r < 0 || !copy(&part.group)) {
        str_free(part.text);
        return error_no_memory(err);
    }
    plan->parts[plan->part_count++] = part;
    return 0;
}

int plan_add_chord(struct plan *plan, const struct plan_chord *chord, struct cel_error *err)
{
    struct plan_chord opened = *chord;
    if (!has_room(&plan->chords, plan->chord_count, &plan->chord_cap, sizeof(opened)))
        return error_no_memory(err);
    if (!copy(&opened.group))
        return error_no_memory(err);
    if (!copy(&opened.saved)) {
        str_free(opened.group);
        return error_no_memory(err);
    }
    plan->chords[plan->chord_count++] = opened;
    return 0;
}

int plan_add_closed(struct plan *plan, struct str group, bool failed, struct cel_error *err)
{
    struct plan_closed closed = {group, failed};
    if (!has_room(&plan->closed, plan->closed_count, &plan->closed_cap, sizeof(closed)) ||
        !copy(&closed.group))
        return error_no_memory(err);
    plan->closed[plan->closed_count++] = closed;
    return 0;
}
