/*
 * One end can complete several chords: its own, and, when a chord fails whose body is a member of another,
 * that one, and so on outwards. `reports` is the row of parts that come of this end, in the order in which
 * they come about; each joined chord with a part among them is joined once.
 */
#include "canvas/join.h"

#include <errno.h>

#include "canvas/follow_priv.h"
#include "canvas/header.h"
#include "canvas/send.h"
#include "canvas/signature.h"
#include "core/mem.h"
#include "message/result.h"

enum { REASON_MAX = 64 * 1024 };

struct joining {
    struct canvas_sender sender;
    struct plan *plan;
    struct reports reports;
    struct cel_error *err;
};

static const struct report *find_report(const struct joining *joining, struct str group)
{
    for (size_t i = 0; i < joining->reports.count; i++) {
        if (str_equal(joining->reports.rows[i].member.group, group))
            return &joining->reports.rows[i];
    }
    return NULL;
}

/* Celery's ChordError for all that was to come. */
static int fail_body(struct joining *joining, const struct cel_value *body, struct str reason)
{
    CLEANUP(buf_deinit) struct buf exception = BUF_INIT(VALUE_BYTES_MAX);
    CLEANUP(buf_deinit) struct buf traceback = BUF_INIT(VALUE_BYTES_MAX);
    struct failing failing = {.sender = &joining->sender,
                              .plan = joining->plan,
                              .reports = &joining->reports,
                              .calls_errbacks = true};
    result_add_exception_text(&exception, STR("ChordError"), reason, STR("celery.exceptions"));
    buf_add_str(&traceback, STR("celery.exceptions.ChordError: "));
    buf_add_str(&traceback, reason);
    if (buf_status(&exception) < 0 || buf_status(&traceback) < 0)
        return error_no_memory(joining->err);
    failing.exception_json = buf_str(&exception);
    failing.traceback = buf_str(&traceback);
    return fail_signature(&failing, body, joining->err);
}

/* Sends the body with the list of results; HEADER_FAILED when it cannot be sent. */
static int send_body(struct joining *joining,
                     const struct cel_value *body,
                     const struct cel_value *results,
                     struct buf *reason)
{
    struct cel_error err = {0};
    const struct cel_value *pre[] = {results};
    struct sending sending = {pre, 1, NULL};
    struct plan *plan = joining->plan;
    size_t children = plan->children.len;
    int r = send_signature(body, &sending, &joining->sender, plan, NULL, &err);
    plan->children.len = children; /* the call itself has sent nothing */
    if (r == 0 || r == -ENOMEM)
        return r;
    buf_add_str(reason, STR("Callback error: "));
    buf_add_c(reason, err.text);
    return HEADER_FAILED;
}

static int
join_one(struct joining *joining, const struct plan_joined *joined, const struct cel_value *body)
{
    CLEANUP(buf_deinit) struct buf reason = BUF_INIT(REASON_MAX);
    struct cel_value *results = NULL;
    int r = header_join(joined, &results, &reason);
    if (r == 0)
        r = send_body(joining, body, results, &reason);
    cel_value_free(results);
    bool has_failed = r == HEADER_FAILED;
    if (has_failed)
        r = signature_check(body, NULL) == 0 ? fail_body(joining, body, buf_str(&reason)) : 0;
    if (r < 0)
        return r == -ENOMEM ? error_no_memory(joining->err) : r;
    return plan_add_closed(joining->plan, joined->group, has_failed, joining->err);
}

/* Joins one that has a part and was not joined; false when there is none. */
static bool join_next(
    struct joining *joining, const struct plan_joined *joined, size_t count, bool *done, int *ret)
{
    for (size_t i = 0; i < count; i++) {
        const struct report *report = done[i] ? NULL : find_report(joining, joined[i].group);
        if (!report)
            continue;
        done[i] = true;
        *ret = join_one(joining, &joined[i], report->chord);
        return true;
    }
    return false;
}

int canvas_join(const struct ended *ended,
                const struct plan_joined *joined,
                size_t count,
                const struct canvas_sender *sender,
                struct plan *plan,
                struct cel_error *err)
{
    struct joining joining = {follow_sender(ended, sender), plan, .err = err};
    struct plan_mark mark = plan_mark(plan);
    bool *done = mem_array(count, sizeof(*done));
    int r =
        done ? follow_reports(ended, sender, NULL, &joining.reports, err) : error_no_memory(err);
    while (r == 0 && join_next(&joining, joined, count, done, &r)) {
    }
    mem_free(done);
    reports_deinit(&joining.reports);
    if (r < 0)
        plan_rewind(plan, mark);
    return r;
}
