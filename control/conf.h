/*
 * `conf` and `report`: this worker's settings under the names that Celery has for them.
 */
#pragma once

#include "control/control.h"

/* NULL when memory is short. Passwords are never shown. */
struct cel_value *conf_take(struct control *control) MUST_CHECK;
void conf_add_report(struct buf *buf, struct control *control);
