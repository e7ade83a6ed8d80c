/*
 * The door to the JSON library (RapidJSON, C++): reads one document and hands out its pieces, to C,
 * in their order. It allocates nothing and keeps nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the reader calls; `false` stops it. Bytes are borrowed for the time of the call. Strings and
 * keys are UTF-8 except for surrogates that stood there as escapes: the library lets "\udc00"
 * through. Numbers are the characters as written, NaN and the infinities included. */
struct json_events {
    bool (*null)(void *data);
    bool (*boolean)(void *data, bool b);
    bool (*number)(void *data, const char *digits, size_t len);
    bool (*string)(void *data, const char *text, size_t len);
    bool (*key)(void *data, const char *text, size_t len);
    bool (*open_map)(void *data);
    bool (*close_map)(void *data);
    bool (*open_list)(void *data);
    bool (*close_list)(void *data);
};

enum { JSON_READER_DEPTH_MAX = 256 }; /* the events must stop deeper documents */

enum json_reader_result {
    JSON_READER_DONE,
    JSON_READER_STOPPED,      /* by an event */
    JSON_READER_INVALID,      /* not JSON: `reason` at `offset` */
    JSON_READER_HUGE_NUMBERS, /* begin anew, with `huge_numbers` set */
};

struct json_reading {
    const char *text; /* the document, UTF-8; unchanged */
    size_t len;
    char *scratch;      /* room for len + 1 bytes; overwritten */
    bool huge_numbers;  /* in: numbers beyond a double's range are there */
    size_t offset;      /* out: where it ended */
    const char *reason; /* out: a sentence; constant */
};

enum json_reader_result
json_reader_run(struct json_reading *reading, const struct json_events *events, void *data);

#ifdef __cplusplus
}
#endif
