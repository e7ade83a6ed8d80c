#include "canvas/replace.h"

#include <errno.h>

#include "canvas/follow_priv.h"
#include "canvas/freeze.h"
#include "canvas/send.h"
#include "canvas/signature.h"
#include "core/json.h"

/* --- what takes the place --------------------------------------------------------------------- */

/* A group in a chord whose body hands on the list of their results: so that there is one end, which can
 * have the call's id. Adopts; NULL when memory is short. */
static struct cel_value *accumulate(struct cel_value *group)
{
    struct cel_value *kwargs = cel_map();
    if (value_set(kwargs, STR("index"), cel_int(0)) < 0)
        kwargs = cel_value_free(kwargs);
    return freeze_upgrade(group, signature_new(STR("celery.accumulate"), cel_list(), kwargs,
                                               cel_map(), SIGNATURE_TASK));
}

/* Gives a canvas that ends in a group one end. */
static int end_in_task(struct cel_value **signature)
{
    struct cel_value **at = signature;
    for (;;) {
        enum signature_type type = signature_type(*at);
        const struct cel_value *tasks = signature_tasks(*at);
        if (type == SIGNATURE_GROUP || type == SIGNATURE_CHUNKS) {
            *at = accumulate(*at);
            return *at ? 0 : -ENOMEM;
        }
        if (type == SIGNATURE_CHAIN && cel_value_count(tasks) > 0) {
            at = &tasks->list.items[tasks->list.count - 1];
        } else if (type == SIGNATURE_CHORD) {
            struct cel_value *kwargs = (struct cel_value *)signature_kwargs(*at);
            size_t i = 0;
            while (!str_equal(kwargs->map.pairs[i].key, STR("body")))
                i++;
            at = &kwargs->map.pairs[i].value;
        } else {
            return 0;
        }
    }
}

/* --- what it takes over ----------------------------------------------------------------------- */

/* Appends the signatures of `embed` to the option `name`. */
static int take_links(struct cel_value *signature, struct str name, const struct cel_value *links)
{
    const struct cel_value *own = signature_option(signature, name);
    struct cel_value *list = cel_value_type(own) == CEL_LIST ? cel_value_dup(own) : cel_list();
    int r = list ? 0 : -ENOMEM;
    if (r == 0 && cel_value_type(own) == CEL_MAP)
        r = cel_list_add(list, cel_value_dup(own));
    for (size_t i = 0; r == 0 && cel_value_type(links) == CEL_LIST && i < cel_value_count(links);
         i++)
        r = cel_list_add(list, cel_value_dup(cel_value_at(links, i)));
    if (r < 0 || cel_value_count(list) == 0) {
        cel_value_free(list);
        return r;
    }
    return signature_set(signature, name, list);
}

/* Stamps stand among the headers of a message, and among the options of a signature. */
static int take_stamps(struct cel_value *signature, const struct envelope *envelope)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(ENVELOPE_BYTES_MAX);
    struct cel_value *headers = NULL;
    if (envelope->other_headers.len == 0)
        return 0;
    buf_add_char(&text, '{');
    buf_add_str(&text, envelope->other_headers);
    buf_add_char(&text, '}');
    int r = buf_status(&text) < 0 ? -ENOMEM : json_decode(buf_str(&text), &headers, NULL);
    if (r < 0)
        return r == -ENOMEM ? r : 0; /* headers that cannot be read stamp nothing */
    const struct cel_value *names = value_find(headers, STR("stamped_headers"));
    const struct cel_value *stamps = value_find(headers, STR("stamps"));
    if (cel_value_type(names) == CEL_LIST && cel_value_type(stamps) == CEL_MAP) {
        r = signature_set(signature, STR("stamped_headers"), cel_value_dup(names));
        for (size_t i = 0; r == 0 && i < stamps->map.count; i++)
            r = signature_set(signature, stamps->map.pairs[i].key,
                              cel_value_dup(stamps->map.pairs[i].value));
    }
    cel_value_free(headers);
    return r;
}

static int take_membership(struct cel_value *signature,
                           const struct envelope *envelope,
                           const struct cel_value *embed)
{
    const struct cel_value *chord = value_find(embed, STR("chord"));
    struct member member = {.group = envelope->group,
                            .has_index = envelope->has_group_index,
                            .index = envelope->group_index,
                            .chord = cel_value_type(chord) == CEL_MAP ? chord : NULL};
    return envelope->group.ptr ? freeze_join(signature, &member) : 0;
}

static int take_over(struct cel_value **signature,
                     const struct envelope *envelope,
                     const struct cel_value *embed)
{
    int r = end_in_task(signature);
    if (r == 0)
        r = take_links(*signature, STR("link"), value_find(embed, STR("callbacks")));
    if (r == 0)
        r = take_links(*signature, STR("link_error"), value_find(embed, STR("errbacks")));
    if (r == 0)
        r = signature_set(*signature, STR("replaced_task_nesting"),
                          cel_int(envelope->replaced_task_nesting + 1));
    if (r == 0)
        r = take_stamps(*signature, envelope);
    if (r == 0)
        r = freeze_rename(*signature, envelope->id);
    return r == 0 ? take_membership(*signature, envelope, embed) : r;
}

static struct canvas_sender sender_of(const struct envelope *envelope,
                                      const struct canvas_sender *sender)
{
    struct ended ended = {.envelope = envelope};
    return follow_sender(&ended, sender);
}

int canvas_replace(const struct envelope *envelope,
                   const struct cel_value *embed,
                   const struct cel_value *signature,
                   const struct canvas_sender *sender,
                   struct plan *plan,
                   struct cel_error *err)
{
    const struct cel_value *chain = value_find(embed, STR("chain"));
    struct sending sending = {.rest = cel_value_type(chain) == CEL_LIST ? chain : NULL};
    struct canvas_sender as = sender_of(envelope, sender);
    int r = signature_check(signature, err);
    if (r < 0)
        return r;
    if (signature_option(signature, STR("chord")))
        return error_set(err, CEL_E_CONFIG,
                         "A signature replacing a task must not be part of a chord");
    if (signature_type(signature) == SIGNATURE_CHAIN &&
        cel_value_count(signature_tasks(signature)) == 0)
        return error_set(err, CEL_E_CONFIG, "Cannot replace with an empty chain");
    struct cel_value *copy = signature_dup(signature, NULL);
    r = copy && take_over(&copy, envelope, embed) == 0
            ? send_own(copy, &sending, &as, plan, NULL, err)
            : error_no_memory(err);
    cel_value_free(copy);
    return r;
}

/* --- one more member -------------------------------------------------------------------------- */

int canvas_add_to_chord(const struct envelope *envelope,
                        const struct cel_value *embed,
                        const struct cel_value *signature,
                        const struct canvas_sender *sender,
                        struct plan *plan,
                        struct cel_error *err)
{
    struct canvas_sender as = sender_of(envelope, sender);
    struct sending sending = {0};
    struct plan_mark mark = plan_mark(plan);
    struct plan_chord chord = {.group = envelope->group};
    if (!envelope->group.ptr || cel_value_type(value_find(embed, STR("chord"))) != CEL_MAP)
        return error_set(err, -EINVAL, "Current task is not member of any chord");
    int r = signature_check(signature, err);
    if (r < 0)
        return r;
    struct cel_value *copy = signature_dup(signature, NULL);
    r = copy ? freeze(copy, err) : error_no_memory(err);
    if (r == 0) {
        chord.growth = freeze_size(copy);
        r = take_membership(copy, envelope, embed) < 0 ? error_no_memory(err)
                                                       : plan_add_chord(plan, &chord, err);
    }
    if (r == 0)
        r = send_own(copy, &sending, &as, plan, NULL, err);
    if (r < 0)
        plan_rewind(plan, mark);
    cel_value_free(copy);
    return r;
}
