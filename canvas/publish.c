/*
 * The walk over a frozen signature. Each kind passes on to those within it what it was given:
 *
 *     chain      the first gets the arguments; its message carries the others, reversed, before which
 *                stands what runs after the chain
 *     group      each gets the arguments and its place in the group
 *     chord      each of the header gets the arguments, its place, and the body; the chord is opened in
 *                the same plan. What runs after the chord is the body's
 */
#include <errno.h>

#include "canvas/send.h"
#include "canvas/signature.h"
#include "canvas/task.h"
#include "core/mem.h"

/* What every step of one walk needs. */
struct walk {
    const struct canvas_sender *sender;
    struct plan *plan;
    struct cel_error *err;
};

struct given {
    struct sending sending;
    const struct member *member; /* of a task; others have it in their options (freeze_join) */
};

static int send(const struct walk *walk, struct cel_value *signature, const struct given *given);

static int fail(const struct walk *walk, int status)
{
    return status == -ENOMEM ? error_no_memory(walk->err) : status;
}

static int
send_task(const struct walk *walk, const struct cel_value *signature, const struct given *given)
{
    struct task task = {.signature = signature,
                        .pre = given->sending.pre,
                        .pre_count = given->sending.pre_count,
                        .rest = given->sending.rest,
                        .member = given->member,
                        .sender = walk->sender};
    struct cel_message message;
    int r = task_message(&task, &message, walk->err);
    return r < 0 ? r : plan_add_message(walk->plan, &message, walk->err);
}

/* --- chains ----------------------------------------------------------------------------------- */

static int send_chain(const struct walk *walk, struct cel_value *chain, const struct given *given)
{
    const struct cel_value *tasks = signature_tasks(chain), *after = given->sending.rest;
    size_t count = cel_value_count(tasks), after_count = cel_value_count(after);
    struct given first = *given;
    struct cel_value rest = {.type = CEL_LIST};
    rest.list.items = mem_array(after_count + count - 1, sizeof(struct cel_value *));
    if (!rest.list.items)
        return error_no_memory(walk->err);
    for (size_t i = 0; i < after_count; i++)
        rest.list.items[rest.list.count++] = (struct cel_value *)cel_value_at(after, i);
    for (size_t i = count; i-- > 1;)
        rest.list.items[rest.list.count++] = (struct cel_value *)cel_value_at(tasks, i);
    first.sending.rest = &rest;
    if (signature_is_immutable(chain))
        first.sending.pre_count = 0;
    int r = send(walk, (struct cel_value *)cel_value_at(tasks, 0), &first);
    mem_free(rest.list.items);
    return r;
}

/* --- groups ----------------------------------------------------------------------------------- */

static bool is_single(const struct cel_value *signature)
{
    enum signature_type type = signature_type(signature);
    return type == SIGNATURE_TASK || type == SIGNATURE_MAP || type == SIGNATURE_STARMAP;
}

/* One of a group or header. A task is told its place; of others it is told to what they end with. */
static int send_member(const struct walk *walk,
                       struct cel_value *signature,
                       const struct given *given,
                       const struct member *member)
{
    struct given one = {.sending = {given->sending.pre, given->sending.pre_count, NULL}};
    if (is_single(signature))
        one.member = member;
    else if (freeze_join(signature, member) < 0)
        return error_no_memory(walk->err);
    return send(walk, signature, &one);
}

static int send_members(const struct walk *walk,
                        const struct cel_value *tasks,
                        const struct given *given,
                        const struct member *as)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < cel_value_count(tasks); i++) {
        struct member member = *as;
        if (!as->has_index) {
            member.has_index = true;
            member.index = (int64_t)i;
        }
        r = send_member(walk, (struct cel_value *)cel_value_at(tasks, i), given, &member);
    }
    return r;
}

/* A group that something follows after all, as its chain was taken apart before: it becomes a chord. */
static int
send_upgraded(const struct walk *walk, const struct cel_value *group, const struct given *given)
{
    const struct cel_value *own = signature_option(group, STR("chain"));
    struct cel_value *rest = cel_list();
    const struct cel_value *lists[] = {given->sending.rest, own};
    int r = rest ? 0 : -ENOMEM;
    for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
        for (size_t i = 0; r == 0 && i < cel_value_count(lists[k]); i++)
            r = cel_list_add(rest, cel_value_dup(cel_value_at(lists[k], i)));
    }
    struct cel_value *chord = NULL, *header = NULL;
    if (r == 0) {
        header = signature_dup(group, NULL);
        if (header)
            cel_value_free(value_take((struct cel_value *)signature_options(header), STR("chain")));
        chord = freeze_upgrade(header, rest->list.items[--rest->list.count]);
        r = chord ? freeze(chord, walk->err) : error_no_memory(walk->err);
    } else {
        r = error_no_memory(walk->err);
    }
    if (r == 0) {
        struct given after = *given;
        after.sending.rest = rest;
        r = send(walk, chord, &after);
    }
    cel_value_free(chord);
    cel_value_free(rest);
    return r;
}

static int
send_group_of(const struct walk *walk, struct cel_value *group, const struct given *given)
{
    const struct cel_value *index = signature_option(group, STR("group_index"));
    struct member member = {.group = signature_option_text(group, STR("task_id")),
                            .chord = signature_option(group, STR("chord"))};
    if (cel_value_count(given->sending.rest) > 0 ||
        cel_value_count(signature_option(group, STR("chain"))) > 0)
        return send_upgraded(walk, group, given);
    if (member.chord) { /* it ends a member of a header: they all are members of that */
        member.group = signature_option_text(group, STR("group_id"));
        member.has_index = cel_value_type(index) == CEL_INT;
        member.index = cel_value_int(index, 0);
    }
    return send_members(walk, signature_tasks(group), given, &member);
}

/* --- chords ----------------------------------------------------------------------------------- */

/* The structure of a header whose members are not all single tasks, for whoever joins it. */
static int add_saved(struct buf *saved, const struct cel_value *header)
{
    struct cel_handle *handle = handle_new(header);
    if (!handle)
        return -ENOMEM;
    if (handle_is_nested(handle)) {
        buf_add_str(saved, STR("{\"result\": "));
        handle_add_json(saved, handle);
        buf_add_char(saved, '}');
    }
    handle_free(handle);
    return buf_status(saved);
}

static int open_chord(const struct walk *walk, const struct cel_value *header, struct str group)
{
    CLEANUP(buf_deinit) struct buf saved = BUF_INIT(VALUE_BYTES_MAX);
    struct plan_chord chord = {.group = group, .size = freeze_size(header)};
    int r = add_saved(&saved, header);
    if (r == CEL_E_LIMIT)
        return error_set(walk->err, r, "The header of a chord is too large");
    if (r < 0)
        return error_no_memory(walk->err);
    if (saved.len > 0)
        chord.saved = buf_str(&saved);
    return plan_add_chord(walk->plan, &chord, walk->err);
}

static int send_body(const struct walk *walk, struct cel_value *body)
{
    struct cel_value empty = {.type = CEL_LIST};
    const struct cel_value *pre[] = {&empty};
    struct given given = {.sending = {pre, 1, NULL}};
    return send(walk, body, &given);
}

static int send_chord(const struct walk *walk, struct cel_value *chord, const struct given *given)
{
    struct cel_value *body = (struct cel_value *)signature_body(chord);
    const struct cel_value *header = value_find(signature_kwargs(chord), STR("header"));
    struct member member = {.group = signature_option_text(header, STR("task_id")), .chord = body};
    struct given members = {.sending = given->sending};
    if (cel_value_count(given->sending.rest) > 0 &&
        freeze_continue(body, cel_value_dup(given->sending.rest)) < 0)
        return error_no_memory(walk->err);
    if (freeze_size(header) == 0)
        return send_body(walk, body);
    members.sending.rest = NULL;
    if (signature_is_immutable(chord))
        members.sending.pre_count = 0;
    int r = open_chord(walk, header, member.group);
    return r == 0 ? send_members(walk, signature_tasks(header), &members, &member) : r;
}

/* --- all -------------------------------------------------------------------------------------- */

static int send(const struct walk *walk, struct cel_value *signature, const struct given *given)
{
    switch (signature_type(signature)) {
    case SIGNATURE_CHAIN:
        return send_chain(walk, signature, given);
    case SIGNATURE_GROUP:
        return send_group_of(walk, signature, given);
    case SIGNATURE_CHORD:
        return send_chord(walk, signature, given);
    default:
        return send_task(walk, signature, given);
    }
}

static int add_child(struct plan *plan, const struct cel_value *frozen)
{
    struct cel_handle *sent = handle_new_first(frozen);
    if (!sent)
        return -ENOMEM;
    buf_add_str(&plan->children, plan->children.len > 0 ? STR(", ") : STR(""));
    handle_add_json(&plan->children, sent);
    handle_free(sent);
    return buf_status(&plan->children);
}

static int send_frozen(const struct walk *walk,
                       struct cel_value *signature,
                       const struct sending *sending,
                       struct cel_handle **ret_handle_take)
{
    struct given given = {.sending = *sending};
    struct cel_handle *handle = ret_handle_take ? handle_new(signature) : NULL;
    int r = add_child(walk->plan, signature);
    if (r < 0 || (ret_handle_take && !handle)) {
        handle_free(handle);
        return r == CEL_E_LIMIT ? error_set(walk->err, r, "The result of a canvas is too large")
                                : error_no_memory(walk->err);
    }
    r = send(walk, signature, &given);
    if (r < 0) {
        handle_free(handle);
        return fail(walk, r);
    }
    if (ret_handle_take)
        *ret_handle_take = handle;
    return 0;
}

int send_own(struct cel_value *signature,
             const struct sending *sending,
             const struct canvas_sender *sender,
             struct plan *plan,
             struct cel_handle **ret_handle_take,
             struct cel_error *err)
{
    struct walk walk = {sender, plan, err};
    struct plan_mark mark = plan_mark(plan);
    int r = freeze(signature, err);
    if (r == 0)
        r = send_frozen(&walk, signature, sending, ret_handle_take);
    if (r < 0)
        plan_rewind(plan, mark);
    return r;
}

int send_signature(const struct cel_value *signature,
                   const struct sending *sending,
                   const struct canvas_sender *sender,
                   struct plan *plan,
                   struct cel_handle **ret_handle_take,
                   struct cel_error *err)
{
    int r = signature_check(signature, err);
    if (r < 0)
        return r;
    struct cel_value *copy = signature_dup(signature, NULL);
    r = copy ? send_own(copy, sending, sender, plan, ret_handle_take, err) : error_no_memory(err);
    cel_value_free(copy);
    return r;
}

int send_group(struct cel_value *signatures_adopt,
               const struct sending *sending,
               const struct canvas_sender *sender,
               struct plan *plan,
               struct cel_error *err)
{
    struct cel_value *kwargs = cel_map();
    if (value_set(kwargs, STR("tasks"), signatures_adopt) < 0)
        kwargs = cel_value_free(kwargs);
    struct cel_value *group =
        signature_new(STR("celery.group"), cel_list(), kwargs, cel_map(), SIGNATURE_GROUP);
    int r = group ? signature_check(group, err) : error_no_memory(err);
    if (r == 0)
        r = send_own(group, sending, sender, plan, NULL, err);
    cel_value_free(group);
    return r;
}

int canvas_publish(const struct cel_value *signature,
                   const struct cel_value *const *pre,
                   size_t pre_count,
                   const struct canvas_sender *sender,
                   struct plan *plan,
                   struct buf *ret_handle,
                   struct cel_error *err)
{
    struct sending sending = {pre, pre_count, NULL};
    struct cel_handle *handle = NULL;
    int r = send_signature(signature, &sending, sender, plan, ret_handle ? &handle : NULL, err);
    if (r < 0 || !ret_handle)
        return r;
    handle_add_json(ret_handle, handle);
    handle_free(handle);
    r = buf_status(ret_handle);
    if (r == CEL_E_LIMIT)
        return error_set(err, r, "The result of a canvas is too large");
    return r < 0 ? error_no_memory(err) : 0;
}
