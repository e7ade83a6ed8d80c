/*
 * A reader that walks JSON text once, front to back, and makes no tree: the caller says what it
 * expects and takes views of what interests it. Strict about grammar and UTF-8 wherever it walks,
 * as Python's json module is (which also takes the bare words NaN, Infinity and -Infinity).
 *
 *     for (bool more = scan_open(&scan, '{'); more; more = scan_next(&scan, '}')) {
 *         struct scan_text key;
 *         if (scan_key(&scan, &key) < 0 || scan_skip(&scan) < 0)
 *             break;
 *     }
 *     return scan.status;
 *
 * The first failure sticks in `status`; every function then fails at once. Views borrow the text.
 */
#pragma once

#include "core/str.h"

struct scanner {
    const char *begin, *pos, *end; /* `pos` stands at a failure where it was found */
    unsigned depth, depth_max;     /* of open objects and lists */
    int status;                    /* 0, CEL_E_FORMAT or CEL_E_LIMIT */
    const char *problem;           /* a few words, when `status` is not 0 */
};

struct scan_text {
    struct str raw; /* between the quotes; its escapes are known to be well formed */
    bool has_escapes;
};

void scan_init(struct scanner *scan, struct str text, unsigned depth_max);
/* Sets the failure `status` at the present place, unless there is one; returns what then holds. */
int scan_fail(struct scanner *scan, int status, const char *problem);

/* The first byte of the next value, or 0 at the end of the text. */
char scan_peek(struct scanner *scan);
/* Enters an object ('{') or list ('['): true when it has a first member. */
bool scan_open(struct scanner *scan, char bracket);
/* Behind a member: true when another follows; false at the end, given as '}' or ']'. */
bool scan_next(struct scanner *scan, char bracket);
/* A member's key and the colon. */
int scan_key(struct scanner *scan, struct scan_text *ret) MUST_CHECK;
int scan_text(struct scanner *scan, struct scan_text *ret) MUST_CHECK;
/* The text of a number; `*ret_is_integer` when it has neither fraction nor exponent. */
int scan_number(struct scanner *scan, struct str *ret, bool *ret_is_integer) MUST_CHECK;
/* Any value, whatever it is. */
int scan_skip(struct scanner *scan) MUST_CHECK;
/* Nothing but space may follow. */
int scan_finish(struct scanner *scan) MUST_CHECK;

/* Writes the text that `raw` stands for to `to`, which has room for raw.len bytes (it never gets
 * longer), and returns its length. A lone surrogate becomes U+FFFD. */
size_t scan_unescape(struct str raw, char *to);
/* True when `text` can stand between quotes as it is: ASCII without quotes, backslashes, controls.
 */
bool scan_is_plain(struct str text);
