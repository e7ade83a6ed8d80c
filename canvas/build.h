/*
 * The inside of a signature that an application builds (celeriac/canvas.h is its outside).
 */
#pragma once

#include "celeriac/canvas.h"
#include "core/value.h"

struct cel_signature {
    struct cel_value *value; /* in Celery's form; NULL after an error */
    struct cel_error error;  /* the first one */
};

/* Borrows the value, or hands up the first error; -EINVAL for NULL. */
int build_value(const struct cel_signature *signature,
                const struct cel_value **ret_value,
                struct cel_error *err) MUST_CHECK;
