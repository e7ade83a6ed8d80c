/*
 * The marker of a call whose effects, marker and answer are committed together (.transaction =
 * CEL_ONCE): table and functions of sql/0001_effect.sql. Blocking, like pg.h, with its conditions.
 */
#pragma once

#include "store/pg.h"

/*
 * Begins the transaction in which call `id` runs, when no other run of it is under way any more.
 * `*ret_done` is NULL then, or, when its effects stand already, what the functions below read; freed with
 * cel_rows_free(). `given_up`: whoever else runs it lost the call to us, and is not waited for.
 */
int effect_begin(struct pg *pg,
                 struct str id,
                 bool given_up,
                 struct cel_rows **ret_done,
                 struct cel_error *err) MUST_CHECK;

struct effect {
    struct str id, task;
    struct str result_json, children_json; /* or absent */
    struct str sends_json;                 /* [[queue, step, message], ...] */
    struct str chords_json;                /* [[group, size, growth, saved], ...] */
};
/*
 * Writes the marker and commits. When the connection is lost meanwhile (pg_is_lost), it is open
 * whether that happened; effect_begin() tells then, on a new connection.
 */
int effect_commit(struct pg *pg, const struct effect *effect, struct cel_error *err) MUST_CHECK;

/* Removes markers that are more than a week old; to be called at least twice a day. */
int effect_expire(struct pg *pg, struct cel_error *err) MUST_CHECK;

/* What a call came to that was done before; all of it borrowed from `done`. */
struct effect_send {
    struct str queue, message;
    int64_t step;
};
struct str effect_result(const struct cel_rows *done);   /* JSON, or absent: null */
struct str effect_children(const struct cel_rows *done); /* JSON, or absent: none */
struct str effect_chords(const struct cel_rows *done);
/* How many sends belong to it, and one of them. */
size_t effect_send_count(const struct cel_rows *done);
struct effect_send effect_send(const struct cel_rows *done, size_t i);
