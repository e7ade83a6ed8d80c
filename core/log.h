/*
 * The log of the programs (library rooms do not log). One record is one line and one write(2):
 * time, level, a constant sentence, then typed fields. Formats: "text" for a terminal, "logfmt"
 * (key=value), "json"; under systemd (stderr is the journal) lines carry the syslog level prefix
 * <n>.
 */
#pragma once

#include <stdint.h>

#include "core/str.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

struct log_field {
    const char *name;
    enum { LOG_STR, LOG_I64, LOG_U64, LOG_USEC, LOG_DOUBLE } type;
    struct str str;
    int64_t i64;
    uint64_t u64; /* also microseconds */
    double number;
};

#define F_STR(field, value) ((struct log_field){.name = (field), .type = LOG_STR, .str = (value)})
#define F_C(field, value)                                                                          \
    ((struct log_field){.name = (field), .type = LOG_STR, .str = str_of(value)})
#define F_I64(field, value)  ((struct log_field){.name = (field), .type = LOG_I64, .i64 = (value)})
#define F_U64(field, value)  ((struct log_field){.name = (field), .type = LOG_U64, .u64 = (value)})
#define F_USEC(field, value) ((struct log_field){.name = (field), .type = LOG_USEC, .u64 = (value)})

/* log_info("Worker ready", F_C("node", node), F_U64("concurrency", n)); fields that are absent
 * (STR_NONE) are left out; control characters are escaped; fields are cut at 4096 bytes. */
#define log_debug(...)         LOG_RECORD(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)          LOG_RECORD(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...)       LOG_RECORD(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...)         LOG_RECORD(LOG_LEVEL_ERROR, __VA_ARGS__)
#define LOG_RECORD(level, ...) LOG_RECORD_((level), __VA_ARGS__, ((struct log_field){.name = NULL}))
#define LOG_RECORD_(level, sentence, ...)                                                          \
    (log_enabled(level) ? log_record((level), (sentence), (const struct log_field[]){__VA_ARGS__}) \
                        : (void)0)

void log_open(enum log_level level, enum log_format format, int fd); /* default: info, text, 2 */
bool log_enabled(enum log_level level);
/* `fields` end with one whose name is NULL. */
void log_record(enum log_level level, const char *sentence, const struct log_field *fields);
int log_level_parse(struct str text, enum log_level *ret_level) MUST_CHECK; /* Celery's names too */
int log_format_parse(struct str text, enum log_format *ret_format) MUST_CHECK;
