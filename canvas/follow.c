#include "canvas/follow.h"

#include <errno.h>

#include "canvas/follow_priv.h"
#include "canvas/send.h"
#include "canvas/signature.h"
#include "core/json.h"

static const struct cel_value *part_of(const struct cel_value *embed, struct str name)
{
    const struct cel_value *value = value_find(embed, name);
    return cel_value_type(value) == CEL_NULL ? NULL : value;
}

static bool has_some(const struct cel_value *embed, struct str name)
{
    const struct cel_value *part = part_of(embed, name);
    enum cel_type type = cel_value_type(part);
    bool is_empty = (type == CEL_LIST || type == CEL_MAP) && cel_value_count(part) == 0;
    return part && !is_empty; /* one that is no list is refused when it is sent */
}

static bool is_member(const struct envelope *envelope, const struct cel_value *embed)
{
    return envelope->group.ptr && cel_value_type(part_of(embed, STR("chord"))) == CEL_MAP;
}

bool canvas_is_awaited(const struct envelope *envelope,
                       const struct cel_value *embed,
                       struct str state)
{
    if (is_member(envelope, embed))
        return true;
    if (str_equal(state, STR("SUCCESS")))
        return has_some(embed, STR("callbacks")) || has_some(embed, STR("chain"));
    return str_equal(state, STR("FAILURE")) &&
           (has_some(embed, STR("errbacks")) || has_some(embed, STR("chain")));
}

struct canvas_sender follow_sender(const struct ended *ended, const struct canvas_sender *sender)
{
    const struct envelope *envelope = ended->envelope;
    struct canvas_sender as = *sender;
    as.parent_id = envelope->id;
    as.root_id = envelope->root_id.ptr ? envelope->root_id : envelope->id;
    return as;
}

/* --- success ---------------------------------------------------------------------------------- */

/* What the callbacks, or the next of the chain, are sent with. */
struct next {
    const struct cel_value *embed;
    const struct cel_value *const *pre;
    struct canvas_sender sender;
    struct plan *plan;
    struct cel_error *err;
};

static int refuse(const struct next *next, const char *what)
{
    return error_set(next->err, CEL_E_FORMAT, "The message has %s that are no list of signatures",
                     what);
}

static int
send_one(const struct next *next, const struct cel_value *signature, const struct cel_value *rest)
{
    struct sending sending = {next->pre, 1, rest};
    return send_signature(signature, &sending, &next->sender, next->plan, NULL, next->err);
}

/* Several callbacks go as one group, as Celery sends them; groups among them by themselves. */
static int send_together(const struct next *next, const struct cel_value *callbacks)
{
    struct sending sending = {next->pre, 1, NULL};
    struct cel_value *group = cel_list();
    int r = group ? 0 : error_no_memory(next->err);
    for (size_t i = 0; r == 0 && i < cel_value_count(callbacks); i++) {
        const struct cel_value *callback = cel_value_at(callbacks, i);
        if (signature_type(callback) == SIGNATURE_GROUP)
            r = send_one(next, callback, NULL);
        else if ((r = signature_check(callback, next->err)) == 0 &&
                 cel_list_add(group, signature_dup(callback, NULL)) < 0)
            r = error_no_memory(next->err);
    }
    if (r < 0 || cel_value_count(group) == 0) {
        cel_value_free(group);
        return r;
    }
    return send_group(group, &sending, &next->sender, next->plan, next->err);
}

static int send_callbacks(const struct next *next)
{
    const struct cel_value *callbacks = part_of(next->embed, STR("callbacks"));
    if (!callbacks)
        return 0;
    if (cel_value_type(callbacks) != CEL_LIST)
        return refuse(next, "callbacks");
    if (cel_value_count(callbacks) == 1)
        return send_one(next, cel_value_at(callbacks, 0), NULL);
    return send_together(next, callbacks);
}

static int send_next(const struct next *next)
{
    const struct cel_value *chain = part_of(next->embed, STR("chain"));
    size_t count = cel_value_count(chain);
    if (chain && cel_value_type(chain) != CEL_LIST)
        return refuse(next, "followers in a chain");
    if (count == 0)
        return 0;
    struct cel_value rest = {.type = CEL_LIST, .list = {chain->list.items, count - 1, 0}};
    return send_one(next, cel_value_at(chain, count - 1), &rest);
}

static int follow_success(const struct ended *ended,
                          const struct canvas_sender *sender,
                          struct plan *plan,
                          struct cel_error *err)
{
    struct cel_value *value = NULL;
    if (!has_some(ended->embed, STR("callbacks")) && !has_some(ended->embed, STR("chain")))
        return 0;
    int r = json_decode(ended->result_json.len > 0 ? ended->result_json : STR("null"), &value, err);
    if (r < 0)
        return r;
    const struct cel_value *pre[] = {value};
    struct next next = {ended->embed, pre, follow_sender(ended, sender), plan, err};
    r = send_callbacks(&next);
    if (r == 0)
        r = send_next(&next);
    cel_value_free(value);
    return r;
}

/* --- all ends --------------------------------------------------------------------------------- */

int follow_reports(const struct ended *ended,
                   const struct canvas_sender *sender,
                   struct plan *plan,
                   struct reports *reports,
                   struct cel_error *err)
{
    const struct envelope *envelope = ended->envelope;
    struct report own = {
        .member = {envelope->group, envelope->id,
                   envelope->has_group_index ? envelope->group_index : PLAN_NO_INDEX},
        .chord = part_of(ended->embed, STR("chord")),
        .state = ended->state,
        .result_json = ended->result_json,
    };
    struct failing failing = {.sender = sender,
                              .plan = plan,
                              .reports = reports,
                              .exception_json = ended->result_json,
                              .traceback = ended->traceback};
    bool is_in_chord = is_member(envelope, ended->embed);
    int r = is_in_chord && reports_add(reports, &own) < 0 ? error_no_memory(err) : 0;
    if (r == 0 && is_in_chord && plan)
        r = plan_add_part(plan, &own.member, own.state, own.result_json, err);
    if (r < 0 || !str_equal(ended->state, STR("FAILURE")))
        return r;
    return fail_list(&failing, part_of(ended->embed, STR("chain")), err);
}

static int call_errbacks(const struct ended *ended,
                         const struct canvas_sender *sender,
                         struct plan *plan,
                         struct cel_error *err)
{
    const struct envelope *envelope = ended->envelope;
    struct canvas_failure failure = {.id = envelope->id,
                                     .task = envelope->task,
                                     .root_id = envelope->root_id,
                                     .parent_id = envelope->parent_id,
                                     .exception_json = ended->result_json,
                                     .traceback = ended->traceback};
    return fail_errbacks(part_of(ended->embed, STR("errbacks")), &failure, sender, plan, err);
}

int canvas_follow(const struct ended *ended,
                  const struct canvas_sender *sender,
                  struct plan *plan,
                  struct cel_error *err)
{
    struct plan_mark mark = plan_mark(plan);
    struct reports reports = {0};
    int r = 0;
    if (str_equal(ended->state, STR("SUCCESS")))
        r = follow_success(ended, sender, plan, err);
    if (r == 0)
        r = follow_reports(ended, sender, plan, &reports, err);
    if (r == 0 && str_equal(ended->state, STR("FAILURE")))
        r = call_errbacks(ended, sender, plan, err);
    reports_deinit(&reports);
    if (r < 0)
        plan_rewind(plan, mark);
    return r;
}
