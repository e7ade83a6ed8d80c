/*
 * The statement that a task and a bare libpq loop both run, and which row it is for: neither two
 * processes in step nor all on one row.
 */
#pragma once

enum { ACCOUNTS = 10000 }; /* rows, numbered from 1 */

static const char accounts_sql[] = "UPDATE account SET total = total + 1 WHERE id = $1";
