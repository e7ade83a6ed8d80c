/*
 * A locale that writes numbers as most of Europe does, 1.234,5, on machines that have none
 * installed: applications call setlocale(), and nothing of ours may change by it.
 */
#pragma once

/* The program's locale for numbers from now on; fails the test when the C library refuses it. */
void comma_locale_enter(void);
/* Back to "C". */
void comma_locale_leave(void);
