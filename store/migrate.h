/*
 * Numbered SQL files, each applied once, in order. A set is a folder of files NNNN_name.sql; what
 * was applied stands in celeriac.migration (set, number, name, checksum, applied_at). A file that
 * was applied may not change any more, and a new one needs a number above all that were applied, so
 * that every database has gone the same way. Used by `celeriac migrate`; blocking.
 */
#pragma once

#include "core/clock.h"
#include "core/error.h"

struct pg;

enum { MIGRATION_FILE_MAX = 16 * 1024 * 1024 };

enum migration_state {
    MIGRATION_PENDING,
    MIGRATION_APPLIED,
    MIGRATION_CHANGED, /* applied, and its file is another one now */
    MIGRATION_GONE,    /* applied, and no file has its number */
};
const char *migration_state_name(enum migration_state state);

struct migration {
    int64_t number;
    char *name;       /* of NNNN_name.sql */
    char *path;       /* for messages; NULL when gone */
    char *sql;        /* what the file holds; NULL when gone */
    char *checksum;   /* SHA-256 of the file in hex, or of what was applied when gone */
    char *applied_at; /* ISO 8601, or NULL */
    enum migration_state state;
};

struct migration_set {
    char *name;
    struct migration *items; /* by number */
    size_t count;
};

/* Celeriac's own set, "celeriac": its tables and functions, inside the program. 0 or -ENOMEM. */
int migration_set_own(struct migration_set *ret, struct cel_error *err) MUST_CHECK;
/*
 * Reads `folder` and nothing else; all are pending and have no checksum. `name` may be NULL: then
 * it is the folder's own name, or its parent's when the folder is called "sql" or "migrations".
 * -EINVAL: a .sql file that is not named so, a number used twice, no file at all; -ENOENT ...: what
 * cannot be read.
 */
int migration_set_read(const char *name,
                       const char *folder,
                       struct migration_set *ret,
                       struct cel_error *err) MUST_CHECK;
void migration_set_deinit(struct migration_set *set);

/*
 * Waits until no other migration runs on this database (ten minutes at most), and makes the table
 * when it is missing. The lock ends with the connection.
 */
int migrate_begin(struct pg *pg, struct cel_error *err) MUST_CHECK;
/* Fills in what the database knows of `set`; it may lack the table. */
int migrate_compare(struct pg *pg, struct migration_set *set, struct cel_error *err) MUST_CHECK;
/* The first thing that keeps the pending ones from being applied: a changed file, a number that
 * comes too late. 0 when nothing does, else CEL_E_CONFIG. */
int migrate_check(const struct migration_set *set, struct cel_error *err) MUST_CHECK;
/*
 * Applies a pending one in a transaction of its own, with its record. CEL_E_DATABASE, CEL_E_AUTH:
 * the text names file and line; nothing of the file stays.
 */
int migrate_apply(struct pg *pg,
                  const char *set,
                  struct migration *migration,
                  struct cel_error *err) MUST_CHECK;
