/*
 * The table of django-celery-results, django_celery_results_taskresult, as Celery's worker fills it
 * with result_extended (2.4): its rows are Django's, and its migrations make it. Blocking, like pg.h,
 * with its conditions.
 *
 * A row of a finished task is never overwritten by less: SUCCESS stands; a state on the way stands over no
 * final one.
 */
#pragma once

#include "store/pg.h"

struct django_row {
    struct str id, document; /* as message/result.h writes it */
    struct str message;      /* the call, for what the document does not say; or absent */
    struct str worker;       /* or absent */
    bool spares_final;       /* what is there and final stays */
    usec_t done_wall;        /* unless the document has its own */
    int status;              /* out: 0 or a condition */
    struct cel_error err;    /* out: of this row */
};

/*
 * Writes `rows` in their order, at once where it can, and sets the status of each. PG_E_FAILED is the fault
 * of the row itself; with PG_E_TRANSIENT (which a missing table is, too) it may be written later. 0, or
 * PG_E_TRANSIENT with `err` when there is such a row.
 */
int django_results_write(struct pg *pg,
                         struct django_row *const *rows,
                         size_t count,
                         struct cel_error *err) MUST_CHECK;

/* Appends the document that says the state of `id`, {"status": "SUCCESS"}; nothing when there is no row. */
int django_results_state(struct pg *pg, struct str id, struct buf *document, struct cel_error *err)
    MUST_CHECK;
