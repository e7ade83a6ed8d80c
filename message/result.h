/*
 * The result document stored under celery-task-meta-<id> (docs/protocol.md, "Results").
 */
#pragma once

#include "core/buf.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/value.h"

/* For encoding. `status` comes first in the text: the scripts look at its beginning. */
struct result {
    struct str status;      /* "SUCCESS", "FAILURE", "RETRY", "STARTED", "REVOKED" or a free name */
    struct str result_json; /* JSON text; absent = null */
    struct str traceback;   /* absent = null */
    struct str children_json;                /* JSON list; absent = [] */
    usec_t date_done_wall;                   /* written for SUCCESS, FAILURE, REVOKED */
    struct str task_id, group_id, parent_id; /* the last two only when present */
    struct str more; /* further members as JSON text: "name": "a.b", ...; or absent */
};

/* -EINVAL without status or task_id. */
int result_encode(struct buf *buf, const struct result *result) MUST_CHECK;

/* Reads status, result_json and traceback of a document; views of `text`, or of `scratch`, which is empty before and
 * the caller's to free. CEL_E_FORMAT, CEL_E_LIMIT, -ENOMEM. */
int result_scan(struct str text, struct buf *scratch, struct result *ret) MUST_CHECK;

/* The exception object {"exc_type": ..., "exc_message": [...], "exc_module": ...}. `module` absent
 * means: "builtins" for the names of Python's builtin exceptions (those that derive from Exception
 * and take any arguments), else "celery_c". `message_json` is a JSON list; absent = []. */
void result_add_exception(struct buf *buf,
                          struct str type,
                          struct str message_json,
                          struct str module);
/* The same with one text as its only argument. */
void result_add_exception_text(struct buf *buf,
                               struct str type,
                               struct str text,
                               struct str module);
/* What an absent `module` means for `type`: "builtins" or "celery_c". */
struct str result_exception_module(struct str type);

/* What Python's str() of an exception gives whose arguments (exc_message) are `message`. */
void result_add_shown(struct buf *buf, struct str type, const struct cel_value *message);

/* A decoded document. */
struct result_view {
    struct cel_value *document; /* owned, a map */
    struct str status;
    const struct cel_value *value;  /* NULL for exception states */
    struct str exc_type, traceback; /* or absent */
    struct str exc_text; /* arguments joined as Python's str(exception); owned by scratch */
    struct buf scratch;
};
/* CEL_E_FORMAT for anything else than an object with a status; CEL_E_LIMIT, -ENOMEM. */
int result_decode(struct str text, struct result_view *ret, struct cel_error *err) MUST_CHECK;
void result_view_deinit(struct result_view *view);
/* SUCCESS, FAILURE and REVOKED. */
bool result_is_ready(struct str status);
