/*
 * From the outside in: what a chain, a group or a chord says about all of it is first handed down to
 * those within, then they are frozen themselves.
 *
 *                 options                          link        link_error   task_id
 *     chain       the first                        the last    each         the last
 *     group       each                             the first   each         its own
 *     chord       header and body                  the body    the body     the body
 */
#include "canvas/freeze.h"

#include <errno.h>

#include "canvas/plan.h"
#include "canvas/signature.h"
#include "core/id.h"

/* --- the inside of a signature ---------------------------------------------------------------- */

/* Copies belong to whoever freezes them. */
static struct cel_value *own(const struct cel_value *value)
{
    return (struct cel_value *)value;
}

static struct cel_value *task_at(const struct cel_value *tasks, size_t i)
{
    return own(cel_value_at(tasks, i));
}

static int set_in_kwargs(struct cel_value *signature, struct str name, struct cel_value *value)
{
    return value_set(own(signature_kwargs(signature)), name, value);
}

static struct cel_value *take_option(struct cel_value *signature, struct str name)
{
    return value_take(own(signature_options(signature)), name);
}

/* Moves item `i` of one list to the end of another. */
static int move(struct cel_value *from, size_t i, struct cel_value *to)
{
    int r = value_list_add(to, from->list.items[i]);
    if (r == 0)
        from->list.items[i] = NULL;
    return r;
}

/* --- handing down ----------------------------------------------------------------------------- */

/* Options that mean the signature itself; all others mean the tasks within it. */
static bool is_own(struct str name)
{
    static const struct str names[] = {STR("task_id"),   STR("group_id"), STR("group_index"),
                                       STR("chord"),     STR("chain"),    STR("link"),
                                       STR("link_error")};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (str_equal(name, names[i]))
            return true;
    }
    return false;
}

static int hand_options(const struct cel_value *from, struct cel_value *to)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < cel_value_count(from); i++) {
        const struct cel_pair *pair = &from->map.pairs[i];
        if (!is_own(pair->key) && cel_value_type(pair->value) != CEL_NULL)
            r = signature_set(to, pair->key, cel_value_dup(pair->value));
    }
    return r;
}

/* What was handed down is no longer said twice. */
static void drop_options(struct cel_value *signature)
{
    struct cel_value *options = own(signature_options(signature));
    for (size_t i = cel_value_count(options); i-- > 0;) {
        struct str name = options->map.pairs[i].key;
        if (!is_own(name))
            cel_value_free(value_take(options, name));
    }
}

static int prepend_to_task(struct cel_value *task, const struct cel_value *args)
{
    struct cel_value *list = cel_list();
    int r = list ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < cel_value_count(args); i++)
        r = cel_list_add(list, cel_value_dup(cel_value_at(args, i)));
    for (size_t i = 0; r == 0 && i < cel_value_count(signature_args(task)); i++)
        r = move(own(signature_args(task)), i, list);
    if (r == 0)
        return value_set(task, STR("args"), list);
    cel_value_free(list);
    return r;
}

/* Arguments that come before those of the first tasks within `signature`. */
static int prepend(struct cel_value *signature, const struct cel_value *args)
{
    enum signature_type type = signature_type(signature);
    const struct cel_value *tasks =
        type == SIGNATURE_CHORD ? signature_header(signature) : signature_tasks(signature);
    size_t count =
        type == SIGNATURE_CHAIN && cel_value_count(tasks) > 1 ? 1 : cel_value_count(tasks);
    int r = 0;
    if (cel_value_count(args) == 0 || type == SIGNATURE_MAP || type == SIGNATURE_STARMAP ||
        type == SIGNATURE_CHUNKS || (type != SIGNATURE_GROUP && signature_is_immutable(signature)))
        return 0;
    if (type == SIGNATURE_TASK)
        return prepend_to_task(signature, args);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = prepend(task_at(tasks, i), args);
    return r;
}

/* Adds signatures (one, or a list) to the list that is the option `name`, but those it has. */
static int add_links(struct cel_value *signature, struct str name, const struct cel_value *links)
{
    bool is_one = cel_value_type(links) == CEL_MAP;
    size_t count = is_one ? 1 : cel_value_count(links);
    const struct cel_value *old = signature_option(signature, name);
    struct cel_value *list = cel_list();
    int r = list ? 0 : -ENOMEM;
    if (r == 0 && cel_value_type(old) == CEL_MAP)
        r = cel_list_add(list, cel_value_dup(old));
    for (size_t i = 0; r == 0 && cel_value_type(old) == CEL_LIST && i < cel_value_count(old); i++)
        r = cel_list_add(list, cel_value_dup(cel_value_at(old, i)));
    for (size_t i = 0; r == 0 && i < count; i++) {
        const struct cel_value *link = is_one ? links : cel_value_at(links, i);
        bool is_there = false;
        for (size_t k = 0; !is_there && k < cel_value_count(list); k++)
            is_there = value_equal(cel_value_at(list, k), link);
        if (!is_there)
            r = cel_list_add(list, cel_value_dup(link));
    }
    if (r == 0)
        return signature_set(signature, name, list);
    cel_value_free(list);
    return r;
}

static struct cel_value *last_of(const struct cel_value *tasks)
{
    for (size_t i = cel_value_count(tasks); i-- > 0;) {
        if (freeze_size(cel_value_at(tasks, i)) > 0)
            return task_at(tasks, i);
    }
    return task_at(tasks, cel_value_count(tasks) - 1);
}

/* The end of a signature that has one: a task, or a group; NULL for an empty chain. */
static struct cel_value *end_of(struct cel_value *signature)
{
    enum signature_type type = signature_type(signature);
    while (type == SIGNATURE_CHAIN || type == SIGNATURE_CHORD) {
        signature = type == SIGNATURE_CHORD ? own(signature_body(signature))
                                            : last_of(signature_tasks(signature));
        type = signature_type(signature);
    }
    return signature;
}

static int hand_link(struct cel_value *signature, const struct cel_value *links)
{
    struct cel_value *end = end_of(signature);
    if (cel_value_count(links) == 0 || !end)
        return 0;
    if (signature_type(end) != SIGNATURE_GROUP)
        return add_links(end, STR("link"), links);
    /* As Celery's group.link: to the first of them, which cannot hand on the results of the others. */
    struct cel_value *first = task_at(signature_tasks(end), 0), *copy = cel_value_dup(links);
    bool is_one = cel_value_type(copy) == CEL_MAP;
    int r = copy ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < (is_one ? 1 : cel_value_count(copy)); i++)
        r = value_set(is_one ? copy : task_at(copy, i), STR("immutable"), cel_bool(true));
    if (r == 0 && first)
        r = hand_link(first, copy);
    cel_value_free(copy);
    return r;
}

static int hand_errors(struct cel_value *signature, const struct cel_value *links)
{
    enum signature_type type = signature_type(signature);
    const struct cel_value *tasks = signature_tasks(signature);
    int r = 0;
    if (cel_value_count(links) == 0)
        return 0;
    if (type == SIGNATURE_CHORD)
        return hand_errors(own(signature_body(signature)), links);
    if (type != SIGNATURE_CHAIN && type != SIGNATURE_GROUP)
        return add_links(signature, STR("link_error"), links);
    for (size_t i = 0; r == 0 && i < cel_value_count(tasks); i++)
        r = hand_errors(task_at(tasks, i), links);
    return r;
}

/* Takes link and link_error off `signature` and gives them to `end` and to `each` (a list). */
static int
hand_links(struct cel_value *signature, struct cel_value *end, const struct cel_value *each)
{
    struct cel_value *link = take_option(signature, STR("link"));
    struct cel_value *errors = take_option(signature, STR("link_error"));
    int r = end ? hand_link(end, link) : 0;
    for (size_t i = 0; r == 0 && i < cel_value_count(each); i++)
        r = hand_errors(task_at(each, i), errors);
    if (r == 0 && !each && end)
        r = hand_errors(end, errors);
    cel_value_free(link);
    cel_value_free(errors);
    return r;
}

/* Makes what `signature` belongs to a matter of its end. */
static int hand_membership(struct cel_value *signature, struct cel_value *to)
{
    static const struct str names[] = {STR("group_id"), STR("group_index"), STR("chord")};
    struct cel_value *end = end_of(to);
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++) {
        struct cel_value *value = take_option(signature, names[i]);
        if (end && cel_value_type(value) != CEL_NULL)
            r = signature_set(end, names[i], value);
        else
            cel_value_free(value);
    }
    return r;
}

static int hand_id(struct cel_value *signature, struct cel_value *to)
{
    struct cel_value *id = take_option(signature, STR("task_id")), *end = end_of(to);
    if (id && end && signature_type(end) != SIGNATURE_GROUP &&
        !signature_option_text(end, STR("task_id")).ptr)
        return signature_set(end, STR("task_id"), id);
    cel_value_free(id);
    return 0;
}

int freeze_continue(struct cel_value *signature, struct cel_value *rest)
{
    const struct cel_value *before = signature_option(signature, STR("chain"));
    int r = rest ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < cel_value_count(before); i++)
        r = cel_list_add(rest, cel_value_dup(cel_value_at(before, i)));
    if (r == 0)
        return signature_set(signature, STR("chain"), rest);
    cel_value_free(rest);
    return r;
}

/* What is to follow all of `signature` follows `to`. */
static int hand_rest(struct cel_value *signature, struct cel_value *to)
{
    struct cel_value *rest = take_option(signature, STR("chain"));
    if (cel_value_count(rest) > 0)
        return freeze_continue(to, rest);
    cel_value_free(rest);
    return 0;
}

static int give_id(struct cel_value *signature)
{
    char room[UUID_SIZE];
    if (signature_option_text(signature, STR("task_id")).len > 0)
        return 0;
    return signature_set(signature, STR("task_id"), value_text(uuid_new(room)));
}

/* --- chunks and groups ------------------------------------------------------------------------ */

static struct cel_value *slice(const struct cel_value *list, size_t from, size_t count)
{
    struct cel_value *part = cel_list();
    for (size_t i = from; part && i < from + count && i < cel_value_count(list); i++) {
        if (cel_list_add(part, cel_value_dup(cel_value_at(list, i))) < 0)
            part = cel_value_free(part);
    }
    return part;
}

static struct cel_value *starmap(const struct cel_value *task, struct cel_value *it)
{
    struct cel_value *kwargs = cel_map();
    int r = value_set(kwargs, STR("task"), cel_value_dup(task));
    int q = value_set(kwargs, STR("it"), it);
    if (r < 0 || q < 0)
        kwargs = cel_value_free(kwargs);
    struct cel_value *map =
        signature_new(STR("celery.starmap"), cel_list(), kwargs, cel_map(), SIGNATURE_STARMAP);
    if (map && value_set(map, STR("immutable"), cel_bool(true)) < 0)
        map = cel_value_free(map);
    return map;
}

/* Chunks are a group of starmaps. */
static int ungroup_chunks(struct cel_value *chunks)
{
    const struct cel_value *kwargs = signature_kwargs(chunks), *it = value_find(kwargs, STR("it"));
    size_t n = (size_t)cel_value_int(value_find(kwargs, STR("n")), 1);
    struct cel_value *tasks = cel_list(), *map = cel_map();
    int r = tasks ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < cel_value_count(it);
         i += n < cel_value_count(it) ? n : cel_value_count(it))
        r = cel_list_add(tasks, starmap(value_find(kwargs, STR("task")), slice(it, i, n)));
    if (r == 0) {
        r = value_set(map, STR("tasks"), tasks);
        tasks = NULL;
    }
    if (r == 0)
        r = value_set(chunks, STR("task"), cel_text("celery.group"));
    if (r == 0)
        r = value_set(chunks, STR("subtask_type"), cel_text("group"));
    if (r == 0) {
        r = value_set(chunks, STR("kwargs"), map);
        map = NULL;
    }
    cel_value_free(tasks);
    cel_value_free(map);
    return r;
}

static int unroll(struct cel_value *tasks, struct cel_value *to, unsigned depth);

/* One of a group: a group itself gives its own. */
static int unroll_one(struct cel_value *tasks, size_t i, struct cel_value *to, unsigned depth)
{
    struct cel_value *task = task_at(tasks, i);
    int r = signature_type(task) == SIGNATURE_CHUNKS ? ungroup_chunks(task) : 0;
    if (r < 0 || signature_type(task) != SIGNATURE_GROUP)
        return r < 0 ? r : move(tasks, i, to);
    const struct cel_value *within = signature_tasks(task);
    for (size_t k = 0; r == 0 && k < cel_value_count(within); k++)
        r = hand_options(signature_options(task), task_at(within, k));
    if (r == 0)
        r = prepend(task, signature_args(task));
    if (r == 0)
        r = hand_links(task, task, within);
    return r == 0 ? unroll(own(within), to, depth + 1) : r;
}

static int unroll(struct cel_value *tasks, struct cel_value *to, unsigned depth)
{
    int r = depth > CANVAS_DEPTH_MAX ? CEL_E_LIMIT : 0;
    for (size_t i = 0; r == 0 && i < cel_value_count(tasks); i++)
        r = unroll_one(tasks, i, to, depth);
    return r;
}

/* The members of a group, on which its options stand. */
static int flatten(struct cel_value *group, unsigned depth)
{
    struct cel_value *tasks = cel_list();
    const struct cel_value *within = signature_tasks(group);
    int r = tasks ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < cel_value_count(within); i++)
        r = hand_options(signature_options(group), task_at(within, i));
    if (r == 0)
        r = prepend(group, signature_args(group));
    if (r == 0)
        r = hand_links(group, group, within);
    if (r == 0)
        r = unroll(own(within), tasks, depth);
    if (r < 0) {
        cel_value_free(tasks);
        return r;
    }
    drop_options(group);
    r = value_set(group, STR("args"), cel_list());
    int q = set_in_kwargs(group, STR("tasks"), tasks);
    return r < 0 ? r : q;
}

/* --- chains ----------------------------------------------------------------------------------- */

struct cel_value *freeze_upgrade(struct cel_value *group, struct cel_value *body)
{
    struct cel_value *kwargs = cel_map();
    int status[] = {value_set(kwargs, STR("kwargs"), cel_map()),
                    value_set(kwargs, STR("header"), group), value_set(kwargs, STR("body"), body)};
    for (size_t i = 0; i < ARRAY_SIZE(status); i++) {
        if (status[i] < 0)
            kwargs = cel_value_free(kwargs);
    }
    return signature_new(STR("celery.chord"), cel_list(), kwargs, cel_map(), SIGNATURE_CHORD);
}

/* Takes the one member out of a group of one. */
static int take_only(struct cel_value *group, struct cel_value **ret)
{
    struct cel_value *tasks = own(signature_tasks(group)), *only = task_at(tasks, 0);
    int r = hand_options(signature_options(group), only);
    if (r == 0)
        r = prepend(group, signature_args(group));
    if (r == 0)
        r = hand_links(group, only, NULL);
    if (r < 0)
        return r;
    tasks->list.count = 0;
    *ret = only;
    return 0;
}

static int splice(struct cel_value *chain, struct cel_value *to, unsigned depth);

/* A step as it stands in the list: chains give theirs, a group of one is that one. */
static int splice_step(struct cel_value *steps, size_t i, struct cel_value *to, unsigned depth)
{
    int r = 0;
    for (unsigned level = 0; r == 0 && level < CANVAS_DEPTH_MAX; level++) {
        struct cel_value *step = task_at(steps, i), *only;
        if (signature_type(step) == SIGNATURE_CHUNKS && (r = ungroup_chunks(step)) < 0)
            return r;
        if (signature_type(step) == SIGNATURE_CHAIN)
            return splice(step, to, depth + 1);
        if (signature_type(step) != SIGNATURE_GROUP || cel_value_count(signature_tasks(step)) != 1)
            return move(steps, i, to);
        r = take_only(step, &only);
        if (r == 0) {
            cel_value_free(step);
            steps->list.items[i] = only;
        }
    }
    return r < 0 ? r : CEL_E_LIMIT;
}

/* A group that something follows becomes a chord with that as its body; from the last on, so that what
 * follows is whole. */
static int upgrade(struct cel_value *steps)
{
    for (size_t i = cel_value_count(steps); i-- > 1;) {
        if (signature_type(task_at(steps, i - 1)) != SIGNATURE_GROUP)
            continue;
        struct cel_value **items = steps->list.items;
        struct cel_value *group = items[i - 1], *body = items[i];
        memmove(&items[i], &items[i + 1], (steps->list.count - i - 1) * sizeof(struct cel_value *));
        steps->list.count--;
        items[i - 1] = freeze_upgrade(group, body);
        if (!items[i - 1])
            return -ENOMEM;
    }
    return 0;
}

/* What the chain says of all its steps. */
static int hand_down(struct cel_value *chain, struct cel_value *steps)
{
    struct cel_value *first = task_at(steps, 0), *last = last_of(steps);
    int r = prepend(first, signature_args(chain));
    if (r == 0 && signature_is_immutable(chain))
        r = value_set(first, STR("immutable"), cel_bool(true));
    if (r == 0)
        r = hand_options(signature_options(chain), first);
    if (r == 0)
        r = hand_id(chain, last);
    if (r == 0)
        r = hand_membership(chain, last);
    return r == 0 ? hand_links(chain, last, steps) : r;
}

static bool are_signatures(const struct cel_value *list)
{
    size_t i = 0;
    while (i < cel_value_count(list) && signature_check(cel_value_at(list, i), NULL) == 0)
        i++;
    return cel_value_type(list) == CEL_LIST && i == cel_value_count(list);
}

/* What is to follow the whole chain are further steps of it: as an option of its last step a worker of Celery's
 * would pass over it. What cannot be sent is told by whoever would send it. */
static int add_rest(struct cel_value *chain, struct cel_value *steps, unsigned depth)
{
    int r = 0;
    if (!are_signatures(signature_option(chain, STR("chain"))))
        return cel_value_count(steps) > 0 ? hand_rest(chain, last_of(steps)) : 0;
    struct cel_value *rest = take_option(chain, STR("chain"));
    for (size_t i = cel_value_count(rest); r == 0 && i-- > 0;)
        r = splice_step(rest, i, steps, depth);
    if (r == 0)
        r = upgrade(steps);
    cel_value_free(rest);
    return r;
}

static int splice(struct cel_value *chain, struct cel_value *to, unsigned depth)
{
    struct cel_value *tasks = own(signature_tasks(chain)), *steps = cel_list();
    int r = !steps ? -ENOMEM : depth > CANVAS_DEPTH_MAX ? CEL_E_LIMIT : 0;
    for (size_t i = 0; r == 0 && i < cel_value_count(tasks); i++)
        r = splice_step(tasks, i, steps, depth);
    if (r == 0)
        r = upgrade(steps);
    if (r == 0 && cel_value_count(steps) > 0)
        r = hand_down(chain, steps);
    if (r == 0)
        r = add_rest(chain, steps, depth);
    for (size_t i = 0; r == 0 && i < cel_value_count(steps); i++)
        r = move(steps, i, to);
    cel_value_free(steps);
    return r;
}

/* --- freezing --------------------------------------------------------------------------------- */

static int freeze_at(struct cel_value *signature, unsigned depth);

static int freeze_all(const struct cel_value *tasks, unsigned depth)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < cel_value_count(tasks); i++)
        r = freeze_at(task_at(tasks, i), depth + 1);
    return r;
}

static int freeze_chain(struct cel_value *chain, unsigned depth)
{
    struct cel_value *steps = cel_list();
    int r = steps ? splice(chain, steps, depth) : -ENOMEM;
    if (r == 0 && cel_value_count(steps) == 0)
        r = -EINVAL;
    if (r < 0) {
        cel_value_free(steps);
        return r;
    }
    drop_options(chain);
    r = value_set(chain, STR("args"), cel_list());
    int q = set_in_kwargs(chain, STR("tasks"), steps);
    return r < 0 ? r : q < 0 ? q : freeze_all(signature_tasks(chain), depth);
}

static int freeze_group(struct cel_value *group, unsigned depth)
{
    int r = flatten(group, depth);
    if (r == 0)
        r = give_id(group);
    return r == 0 ? freeze_all(signature_tasks(group), depth) : r;
}

/* The header as a group, whatever it was: a list, or a chain, whose tasks are meant. */
static int make_header(struct cel_value *chord)
{
    struct cel_value *kwargs = own(signature_kwargs(chord));
    struct cel_value *header = value_take(kwargs, STR("header")), *options = cel_map();
    struct cel_value *tasks = header;
    if (cel_value_type(header) == CEL_MAP) {
        tasks = value_take(own(signature_kwargs(header)), STR("tasks"));
        if (signature_type(header) == SIGNATURE_GROUP && signature_options(header)) {
            cel_value_free(options);
            options = value_take(header, STR("options"));
        }
        cel_value_free(header);
    }
    struct cel_value *map = cel_map();
    if (value_set(map, STR("tasks"), tasks) < 0)
        map = cel_value_free(map);
    int r =
        value_set(kwargs, STR("header"),
                  signature_new(STR("celery.group"), cel_list(), map, options, SIGNATURE_GROUP));
    if (r == 0 && !value_find(kwargs, STR("kwargs")))
        r = value_set(kwargs, STR("kwargs"), cel_map());
    return r;
}

static int freeze_chord(struct cel_value *chord, unsigned depth)
{
    int r = prepend(chord, signature_args(chord));
    if (r == 0)
        r = make_header(chord);
    if (r < 0)
        return r;
    struct cel_value *header = own(value_find(signature_kwargs(chord), STR("header")));
    struct cel_value *body = own(signature_body(chord));
    r = hand_options(signature_options(chord), header);
    if (r == 0)
        r = hand_options(signature_options(chord), body);
    if (r == 0)
        r = hand_id(chord, body);
    if (r == 0)
        r = hand_membership(chord, body);
    if (r == 0)
        r = hand_links(chord, body, NULL);
    if (r == 0)
        r = hand_rest(chord, body);
    drop_options(chord);
    if (r == 0)
        r = value_set(chord, STR("args"), cel_list());
    if (r == 0)
        r = freeze_group(header, depth + 1);
    return r == 0 ? freeze_at(body, depth + 1) : r;
}

static int freeze_at(struct cel_value *signature, unsigned depth)
{
    int r = depth > CANVAS_DEPTH_MAX ? CEL_E_LIMIT : 0;
    if (r == 0)
        r = signature_complete(signature);
    if (r == 0 && signature_type(signature) == SIGNATURE_CHUNKS)
        r = ungroup_chunks(signature);
    if (r < 0)
        return r;
    switch (signature_type(signature)) {
    case SIGNATURE_CHAIN:
        return freeze_chain(signature, depth);
    case SIGNATURE_GROUP:
        return freeze_group(signature, depth);
    case SIGNATURE_CHORD:
        return freeze_chord(signature, depth);
    default:
        return give_id(signature);
    }
}

int freeze(struct cel_value *signature, struct cel_error *err)
{
    int r = freeze_at(signature, 0);
    if (r == 0)
        return signature_check_depth(signature, err);
    if (r == -EINVAL)
        return error_set(err, r, "A chain without tasks cannot be sent");
    return r == CEL_E_LIMIT
               ? error_set(err, r, "A canvas is at most %d signatures deep", CANVAS_DEPTH_MAX)
               : error_no_memory(err);
}

/* --- frozen signatures ------------------------------------------------------------------------ */

size_t freeze_size(const struct cel_value *signature)
{
    const struct cel_value *tasks = signature_tasks(signature);
    size_t size = 0;
    switch (signature_type(signature)) {
    case SIGNATURE_CHAIN:
        for (size_t i = cel_value_count(tasks); size == 0 && i-- > 0;)
            size = freeze_size(cel_value_at(tasks, i));
        return size;
    case SIGNATURE_GROUP:
        for (size_t i = 0; i < cel_value_count(tasks); i++)
            size += freeze_size(cel_value_at(tasks, i));
        return size;
    case SIGNATURE_CHORD:
        return freeze_size(signature_body(signature));
    default:
        return 1;
    }
}

int freeze_join(struct cel_value *signature, const struct member *member)
{
    struct cel_value *end = end_of(signature);
    int r = signature_set(end, STR("group_id"), value_text(member->group));
    if (r == 0 && member->has_index)
        r = signature_set(end, STR("group_index"), cel_int(member->index));
    if (r == 0 && member->chord)
        r = signature_set(end, STR("chord"), cel_value_dup(member->chord));
    return r;
}

int freeze_rename(struct cel_value *signature, struct str id)
{
    struct cel_value *end = end_of(signature);
    if (!end || signature_type(end) == SIGNATURE_GROUP)
        return 0;
    return signature_set(end, STR("task_id"), value_text(id));
}
