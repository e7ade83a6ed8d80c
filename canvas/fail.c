#include "canvas/fail.h"

#include <errno.h>

#include "canvas/send.h"
#include "canvas/signature.h"
#include "core/mem.h"
#include "message/result.h"

void reports_deinit(struct reports *reports)
{
    for (size_t i = 0; i < reports->count; i++)
        mem_free((char *)reports->rows[i].result_json.ptr);
    mem_free(reports->rows);
    *reports = (struct reports){0};
}

int reports_add(struct reports *reports, const struct report *report)
{
    if (reports->count == reports->cap) {
        size_t cap = reports->cap ? reports->cap * 2 : 4;
        struct report *rows = mem_grow(reports->rows, cap, sizeof(*rows));
        if (!rows)
            return -ENOMEM;
        reports->rows = rows;
        reports->cap = cap;
    }
    struct str copy = report->result_json.ptr ? report->result_json : STR("null");
    copy.ptr = str_dup(copy);
    if (!copy.ptr)
        return -ENOMEM;
    reports->rows[reports->count] = *report;
    reports->rows[reports->count++].result_json = copy;
    return 0;
}

/* --- errbacks --------------------------------------------------------------------------------- */

static bool was_called(const struct canvas_sender *sender,
                       const struct cel_value *errback,
                       const struct canvas_failure *failure)
{
    return sender->errback && sender->errback(sender->data, errback, failure);
}

/* Adds a copy of each errback that has to be sent. */
static int gather_errbacks(struct cel_value *group,
                           const struct cel_value *errbacks,
                           const struct canvas_failure *failure,
                           const struct canvas_sender *sender)
{
    bool is_one = cel_value_type(errbacks) == CEL_MAP;
    size_t count = is_one                                 ? 1
                   : cel_value_type(errbacks) == CEL_LIST ? cel_value_count(errbacks)
                                                          : 0;
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        const struct cel_value *errback = is_one ? errbacks : cel_value_at(errbacks, i);
        if (signature_check(errback, NULL) == 0 && !was_called(sender, errback, failure))
            r = cel_list_add(group, signature_dup(errback, NULL));
    }
    return r;
}

int fail_errbacks(const struct cel_value *errbacks,
                  const struct canvas_failure *failure,
                  const struct canvas_sender *sender,
                  struct plan *plan,
                  struct cel_error *err)
{
    if (cel_value_count(errbacks) == 0)
        return 0;
    struct cel_value *group = cel_list(), *id = value_text(failure->id);
    int r = group && id ? gather_errbacks(group, errbacks, failure, sender) : -ENOMEM;
    if (r < 0 || cel_value_count(group) == 0) {
        cel_value_free(group);
        cel_value_free(id);
        return r < 0 ? error_no_memory(err) : 0;
    }
    const struct cel_value *pre[] = {id};
    struct sending sending = {pre, 1, NULL};
    struct canvas_sender as = *sender;
    as.parent_id = failure->id;
    as.root_id = failure->root_id.ptr ? failure->root_id : failure->id;
    r = send_group(group, &sending, &as, plan, err);
    cel_value_free(id);
    return r;
}

/* --- documents and parts ---------------------------------------------------------------------- */

static int add_document(const struct failing *failing,
                        struct str id,
                        struct str group,
                        struct str children,
                        struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(4 * VALUE_BYTES_MAX);
    struct result result = {.status = STR("FAILURE"),
                            .result_json = failing->exception_json,
                            .traceback = failing->traceback,
                            .children_json = children,
                            .date_done_wall = failing->sender->now_wall,
                            .task_id = id,
                            .group_id = group};
    if (!failing->plan || id.len == 0)
        return 0;
    int r = result_encode(&text, &result);
    if (r < 0)
        return r == -ENOMEM ? error_no_memory(err)
                            : error_set(err, r, "The document of a failure is too long");
    return plan_add_document(failing->plan, id, buf_str(&text), err);
}

static int
add_part(const struct failing *failing, const struct report *report, struct cel_error *err)
{
    if (reports_add(failing->reports, report) < 0)
        return error_no_memory(err);
    if (!failing->plan)
        return 0;
    return plan_add_part(failing->plan, &report->member, report->state, report->result_json, err);
}

/* The part of `id`, by the options of `member`: of itself, or of the group that it is in. */
static int report_part(const struct failing *failing,
                       const struct cel_value *member,
                       struct str id,
                       struct cel_error *err)
{
    const struct cel_value *index = signature_option(member, STR("group_index"));
    struct report report = {
        .member = {signature_option_text(member, STR("group_id")), id,
                   cel_value_int(index, PLAN_NO_INDEX)},
        .chord = signature_option(member, STR("chord")),
        .state = STR("FAILURE"),
        .result_json = failing->exception_json,
    };
    if (!report.chord || !report.member.group.ptr || id.len == 0)
        return 0;
    return add_part(failing, &report, err);
}

/* --- the signatures --------------------------------------------------------------------------- */

/* How one is failed: without its own part inside a header whose chord is failing as a whole. */
struct manner {
    bool has_part, has_errbacks;
    const struct cel_value *errbacks; /* of what it is in; or NULL */
};

static int fail_at(const struct failing *failing,
                   const struct cel_value *signature,
                   struct manner manner,
                   struct cel_error *err);

/* Its errbacks, whose tuples are then the inside of the list `children` of its document. */
static int call_errbacks(const struct failing *failing,
                         const struct cel_value *signature,
                         struct manner manner,
                         struct buf *children,
                         struct cel_error *err)
{
    struct str id = signature_option_text(signature, STR("task_id"));
    struct canvas_failure failure = {.id = id,
                                     .task = signature_task(signature),
                                     .root_id = id,
                                     .parent_id = id,
                                     .exception_json = failing->exception_json,
                                     .traceback = failing->traceback};
    struct plan *plan = failing->plan;
    if (!manner.has_errbacks || !plan)
        return 0;
    struct buf kept = plan->children; /* what the ended call itself has sent */
    plan->children = BUF_INIT(kept.max);
    int r = fail_errbacks(signature_option(signature, STR("link_error")), &failure, failing->sender,
                          plan, err);
    if (r == 0)
        r = fail_errbacks(manner.errbacks, &failure, failing->sender, plan, err);
    if (plan->children.len > 0) {
        buf_add_char(children, '[');
        buf_add_str(children, buf_str(&plan->children));
        buf_add_char(children, ']');
    }
    buf_deinit(&plan->children);
    plan->children = kept;
    return r == 0 && buf_status(children) < 0 ? error_no_memory(err) : r;
}

static int fail_task(const struct failing *failing,
                     const struct cel_value *task,
                     struct manner manner,
                     struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf children = BUF_INIT(VALUE_BYTES_MAX);
    struct str id = signature_option_text(task, STR("task_id"));
    int r = call_errbacks(failing, task, manner, &children, err);
    if (r == 0)
        r = add_document(failing, id, signature_option_text(task, STR("group_id")),
                         children.len > 0 ? buf_str(&children) : STR_NONE, err);
    return r == 0 && manner.has_part ? report_part(failing, task, id, err) : r;
}

static int fail_chain(const struct failing *failing,
                      const struct cel_value *chain,
                      struct manner manner,
                      struct cel_error *err)
{
    const struct cel_value *tasks = signature_tasks(chain), *last = NULL;
    struct manner next = {.has_part = manner.has_part,
                          .has_errbacks = manner.has_errbacks,
                          .errbacks = signature_option(chain, STR("link_error"))};
    int r = 0;
    for (size_t i = 0; r == 0 && i < cel_value_count(tasks); i++) {
        last = cel_value_at(tasks, i);
        r = fail_at(failing, last, next, err);
        next = (struct manner){.has_part = manner.has_part};
    }
    /* A chain that was not taken apart says itself what its end is called and belongs to. */
    struct str id = signature_option_text(chain, STR("task_id"));
    struct str last_id = signature_option_text(last, STR("task_id"));
    if (r == 0 && !str_equal(id, last_id))
        r = add_document(failing, id, signature_option_text(chain, STR("group_id")), STR_NONE, err);
    return r == 0 && manner.has_part ? report_part(failing, chain, id.ptr ? id : last_id, err) : r;
}

static int fail_group(const struct failing *failing,
                      const struct cel_value *group,
                      struct manner manner,
                      struct cel_error *err)
{
    const struct cel_value *tasks = signature_tasks(group);
    struct manner each = {.has_part = manner.has_part,
                          .has_errbacks = manner.has_errbacks,
                          .errbacks = signature_option(group, STR("link_error"))};
    int r = 0;
    for (size_t i = 0; r == 0 && i < cel_value_count(tasks); i++) {
        const struct cel_value *task = cel_value_at(tasks, i);
        r = fail_at(failing, task, each, err);
        if (r == 0 && manner.has_part && !signature_option(task, STR("chord")))
            r = report_part(failing, group, signature_option_text(task, STR("task_id")), err);
    }
    return r;
}

static int fail_chord(const struct failing *failing,
                      const struct cel_value *chord,
                      struct manner manner,
                      struct cel_error *err)
{
    const struct cel_value *header = signature_header(chord), *body = signature_body(chord);
    struct manner in_body = manner;
    int r = 0;
    for (size_t i = 0; r == 0 && i < cel_value_count(header); i++)
        r = fail_at(failing, cel_value_at(header, i), (struct manner){0}, err);
    in_body.errbacks = signature_option(chord, STR("link_error"));
    if (r == 0)
        r = fail_at(failing, body, in_body, err);
    struct str id = signature_option_text(chord, STR("task_id"));
    if (r == 0 && !signature_option_text(body, STR("task_id")).ptr)
        r = add_document(failing, id, signature_option_text(chord, STR("group_id")), STR_NONE, err);
    return r == 0 && manner.has_part ? report_part(failing, chord, id, err) : r;
}

static int fail_kind(const struct failing *failing,
                     const struct cel_value *signature,
                     struct manner manner,
                     struct cel_error *err)
{
    switch (signature_type(signature)) {
    case SIGNATURE_CHAIN:
        return fail_chain(failing, signature, manner, err);
    case SIGNATURE_GROUP:
        return fail_group(failing, signature, manner, err);
    case SIGNATURE_CHORD:
        return fail_chord(failing, signature, manner, err);
    default:
        return fail_task(failing, signature, manner, err);
    }
}

static int fail_at(const struct failing *failing,
                   const struct cel_value *signature,
                   struct manner manner,
                   struct cel_error *err)
{
    const struct cel_value *rest = signature_option(signature, STR("chain"));
    struct manner after = {.has_part = manner.has_part};
    int r = fail_kind(failing, signature, manner, err);
    for (size_t i = cel_value_count(rest); r == 0 && i-- > 0;)
        r = fail_at(failing, cel_value_at(rest, i), after, err);
    return r;
}

int fail_signature(const struct failing *failing,
                   const struct cel_value *signature,
                   struct cel_error *err)
{
    struct manner manner = {.has_part = true, .has_errbacks = failing->calls_errbacks};
    return fail_at(failing, signature, manner, err);
}

int fail_list(const struct failing *failing,
              const struct cel_value *signatures,
              struct cel_error *err)
{
    int r = 0;
    for (size_t i = 0;
         r == 0 && cel_value_type(signatures) == CEL_LIST && i < cel_value_count(signatures); i++) {
        if (signature_check(cel_value_at(signatures, i), NULL) == 0)
            r = fail_signature(failing, cel_value_at(signatures, i), err);
    }
    return r;
}
