/*
 * The parameter list of a task as Python would write it ("order_id", "percentage=5, dry_run=false",
 * "x, *rest, key=null, **more"): parsed when the module is loaded, bound to the arguments of each
 * call by Python's rules and with the texts of Python's TypeErrors. Defaults are JSON.
 */
#pragma once

#include "core/error.h"
#include "core/value.h"

struct param {
    struct str name;
    struct cel_value *otherwise; /* NULL: required */
};

struct params {
    char *text;          /* owned; the names point into it */
    struct param *items; /* positional ones, then those that only go by keyword */
    size_t positional, count;
    struct str rest;       /* x of *x, or absent */
    struct str rest_named; /* x of **x, or absent */
};

/* CEL_E_CONFIG with the place in words, -ENOMEM. */
int params_parse(const char *text, struct params **ret, struct cel_error *err) MUST_CHECK;
struct params *params_free(struct params *params);

/* The arguments of one call; borrows from what was given to params_bind. */
struct params_bound {
    const struct params *params;
    const struct cel_value **values; /* one for each of params->items */
    const struct cel_value *rest, *rest_named;
    struct cel_value *own_rest, *own_rest_named; /* where they had to be built */
};

/* Condition of params_bind: `err` holds the text of a TypeError. */
enum { PARAMS_E_TYPE = 1 };

/*
 * Gives `args` (a list) and `kwargs` (a map) to the parameters. `function` is the name in the
 * texts. 0, PARAMS_E_TYPE, -ENOMEM. On failure `ret` needs no deinit.
 */
int params_bind(const struct params *params,
                struct str function,
                const struct cel_value *args,
                const struct cel_value *kwargs,
                struct params_bound *ret,
                struct cel_error *err) MUST_CHECK;
void params_bound_deinit(struct params_bound *bound);
/* What was given to the parameter `name` (also of *x and **x); NULL: there is no such parameter. */
const struct cel_value *params_bound_find(const struct params_bound *bound, struct str name);
