/*
 * A mail as bytes: RFC 5322 text, headers encoded after RFC 2047, parts after MIME. The work is
 * GMime's.
 */
#pragma once

#include <stddef.h>

struct mail {
    const char *id; /* of the task: makes Message-ID, and the file's name */
    const char *from;
    const char *subject; /* UTF-8 */
    const char *text;    /* UTF-8 */
    const char *const *recipients;
    size_t recipient_count;
    const char *recipients_place; /* where they were given, for problems with them */
    const char *attachment;       /* text of an attached CSV file, or NULL */
    const char *attachment_name;
};

/* The first thing in `mail` that may not stand in a header (line breaks, a malformed address), as a
 * sentence in `problem`; empty when it is good. */
void message_check(const struct mail *mail, char *problem, size_t size);

/* The task's id as a word that is safe in a header and as a file's name. An id that is not (a
 * caller may choose any) is replaced by its SHA-256. */
enum { MESSAGE_NAME_SIZE = 65 };
void message_name(const struct mail *mail, char name[MESSAGE_NAME_SIZE]);

/* The message with CRLF line ends; the caller frees it with free(). NULL when memory is short. */
char *message_build(const struct mail *mail, size_t *ret_length);
