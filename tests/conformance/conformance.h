/*
 * The module conformance.so: the tasks that t/integration/tasks.py has in Python, in C, with the public
 * headers alone. What each does stands there.
 */
#pragma once

#include <celeriac/task.h>

#define MODULE "t.integration.tasks."

/* Python's truth: null, false, 0, and what is empty, are not. */
bool is_true(const struct cel_value *value);

/* values.c */
cel_task_fn identity, add, add_two, mul, tsum, xsum, add_pydantic, delayed_sum,
    delayed_sum_with_soft_guard, sleeping;
/* ends.c */
cel_task_fn raise_error, fail, fail_unpickleable, return_exception;
cel_task_fn retry, retry_once, retry_once_priority, retry_once_headers, retry_unpickleable,
    auto_retry;
/* request.c */
cel_task_fn ids, collect_ids, return_priority, return_properties;
/* effects.c */
cel_task_fn print_unicode, write_to_file_and_return_int, redis_echo, redis_count;
cel_task_fn errback_old_style, errback_new_style;
/* Appends `text` to the list `key`. 0, or what the task shall return. */
int echo(struct cel_task *task, const char *key, const char *text);
/* workflow.c */
cel_task_fn add_replaced, fail_replaced, replace_with_chain, replace_with_chain_which_raises;
cel_task_fn replace_with_empty_chain, add_to_all, second_order_replace1, second_order_replace2;
cel_task_fn add_to_all_to_chord, add_chord_to_chord, build_chain_inside_task;
