/*
 * How a record becomes a line.
 *
 * A line is built in a buffer and leaves by one write(2), so lines of several processes on one
 * descriptor do not mix. Each part is added whole or not at all: when memory or the ceiling ends
 * within a field, the line goes back to where the field began and closes without it.
 *
 *   text     2024-02-29T12:30:15.123456+00:00 warning Sentence  name=value name="a value"
 *   logfmt   time=... level=warning msg=Sentence name=value name="a value"
 *   json     {"time": "...", "level": "warning", "msg": "Sentence", "name": "value", "count": 3}
 *
 * Values come from outside. Control characters (also those of the C1 range, which terminals obey
 * too) and what is no UTF-8 never reach the terminal or the journal as they are.
 */
#include "core/log.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/json.h"

enum {
    FIELD_MAX = 4096, /* bytes of one value, before escaping */
    LINE_MAX_BYTES = 262144,
    WRITE_PATIENCE_MS = 100, /* for a descriptor that is full */
};

static struct {
    enum log_level level;
    enum log_format format;
    int fd;
    bool is_journal;
} out = {.level = LOG_LEVEL_INFO, .format = LOG_FORMAT_TEXT, .fd = STDERR_FILENO};

static const char *const level_names[] = {"debug", "info", "warning", "error"};
static const char *const format_names[] = {"text", "logfmt", "json"};
static const char syslog_levels[] = {'7', '6', '4', '3'};

/* $JOURNAL_STREAM is "device:inode" of what the manager connected. */
static bool is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;
    if (!stream || fstat(fd, &st) < 0)
        return false;
    char own[48];
    snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, own) == 0;
}

void log_open(enum log_level level, enum log_format format, int fd)
{
    out.level = level;
    out.format = format;
    out.fd = fd;
    out.is_journal = is_journal(fd);
}

bool log_enabled(enum log_level level)
{
    return level >= out.level;
}

static int find_name(struct str text, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (text.len == strlen(names[i]) && strncasecmp(text.ptr, names[i], text.len) == 0)
            return (int)i;
    }
    return -EINVAL;
}

int log_level_parse(struct str text, enum log_level *ret_level)
{
    static const char *const other_names[] = {"warn", "critical", "fatal"};
    static const enum log_level others[] = {LOG_LEVEL_WARNING, LOG_LEVEL_ERROR, LOG_LEVEL_ERROR};
    int found = find_name(text, level_names, ARRAY_SIZE(level_names));
    if (found >= 0) {
        *ret_level = (enum log_level)found;
        return 0;
    }
    found = find_name(text, other_names, ARRAY_SIZE(other_names));
    if (found < 0)
        return found;
    *ret_level = others[found];
    return 0;
}

int log_format_parse(struct str text, enum log_format *ret_format)
{
    int found = find_name(text, format_names, ARRAY_SIZE(format_names));
    if (found < 0)
        return found;
    *ret_format = (enum log_format)found;
    return 0;
}

/* The bytes of the character that begins at `at`; 0 when it is not well formed. */
static size_t character_len(struct str text, size_t at)
{
    unsigned char first = (unsigned char)text.ptr[at];
    size_t len = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (len > text.len - at || !str_is_utf8(str_n(text.ptr + at, len)))
        return 0;
    return len;
}

static void add_escape(struct buf *line, unsigned c)
{
    switch (c) {
    case '\n':
        buf_add_c(line, "\\n");
        break;
    case '\r':
        buf_add_c(line, "\\r");
        break;
    case '\t':
        buf_add_c(line, "\\t");
        break;
    case '"':
        buf_add_c(line, "\\\"");
        break;
    case '\\':
        buf_add_c(line, "\\\\");
        break;
    default:
        buf_addf(line, "\\u%04x", c);
    }
}

/* As a JSON string, but with the characters beyond ASCII readable. */
static void add_quoted(struct buf *line, struct str text)
{
    buf_add_char(line, '"');
    for (size_t at = 0; at < text.len;) {
        unsigned char c = (unsigned char)text.ptr[at];
        size_t len = character_len(text, at);
        if (len == 0) {
            buf_add_c(line, "\xEF\xBF\xBD"); /* U+FFFD */
            len = 1;
        } else if (c < 0x20 || c == 0x7F || c == '"' || c == '\\') {
            add_escape(line, c);
        } else if (c == 0xC2 && (unsigned char)text.ptr[at + 1] < 0xA0) {
            add_escape(line, (unsigned char)text.ptr[at + 1]);
        } else {
            buf_add(line, text.ptr + at, len);
        }
        at += len;
    }
    buf_add_char(line, '"');
}

static bool needs_quotes(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7F)
            return true;
    }
    return text.len == 0;
}

static void add_text(struct buf *line, struct str text)
{
    if (text.len > FIELD_MAX) {
        text.len = FIELD_MAX;
        while (text.len > 0 && ((unsigned char)text.ptr[text.len] & 0xC0) == 0x80)
            text.len--;
    }
    if (out.format == LOG_FORMAT_JSON || needs_quotes(text))
        add_quoted(line, text);
    else
        buf_add_str(line, text);
}

static void add_double(struct buf *line, double number)
{
    if (isfinite(number))
        json_add_double(line, number);
    else /* JSON has no such number */
        add_text(line, isnan(number) ? STR("nan") : number < 0 ? STR("-inf") : STR("inf"));
}

static void add_value(struct buf *line, const struct log_field *field)
{
    switch (field->type) {
    case LOG_STR:
        add_text(line, field->str);
        break;
    case LOG_I64:
        buf_add_i64(line, field->i64);
        break;
    case LOG_U64:
        buf_add_u64(line, field->u64);
        break;
    case LOG_USEC:
        buf_addf(line, "%" PRIu64 ".%06u", field->u64 / USEC_PER_SEC,
                 (unsigned)(field->u64 % USEC_PER_SEC));
        break;
    case LOG_DOUBLE:
        add_double(line, field->number);
        break;
    }
}

static void add_field(struct buf *line, const struct log_field *field)
{
    if (buf_status(line) < 0 || (field->type == LOG_STR && !field->str.ptr))
        return;
    size_t mark = line->len;
    if (out.format == LOG_FORMAT_JSON)
        buf_addf(line, ", \"%s\": ", field->name);
    else
        buf_addf(line, " %s=", field->name);
    add_value(line, field);
    if (buf_status(line) < 0 || line->len > LINE_MAX_BYTES) {
        line->len = mark;
        line->status = 0;
    }
}

static void add_head(struct buf *line, enum log_level level, const char *sentence)
{
    char time[ISOTIME_SIZE];
    isotime_format(clock_wall(), time);
    if (out.is_journal)
        buf_addf(line, "<%c>", syslog_levels[level]);
    switch (out.format) {
    case LOG_FORMAT_TEXT:
        buf_addf(line, "%s %-7s %s", time, level_names[level], sentence);
        break;
    case LOG_FORMAT_LOGFMT:
        buf_addf(line, "time=%s level=%s msg=", time, level_names[level]);
        add_text(line, str_of(sentence));
        break;
    case LOG_FORMAT_JSON:
        buf_addf(line, "{\"time\": \"%s\", \"level\": \"%s\", \"msg\": ", time, level_names[level]);
        add_text(line, str_of(sentence));
        break;
    }
}

/* All of it, or as much as the descriptor takes: a log that is stuck does not stop the program. */
static void write_line(struct str line)
{
    while (line.len > 0) {
        ssize_t written = write(out.fd, line.ptr, line.len);
        if (written >= 0) {
            line = str_n(line.ptr + written, line.len - (size_t)written);
            continue;
        }
        struct pollfd full = {.fd = out.fd, .events = POLLOUT};
        if (errno == EAGAIN && poll(&full, 1, WRITE_PATIENCE_MS) == 1)
            continue;
        if (errno != EINTR)
            return;
    }
}

void log_record(enum log_level level, const char *sentence, const struct log_field *fields)
{
    int errno_before = errno;
    CLEANUP(buf_deinit) struct buf line = BUF_INIT(LINE_MAX_BYTES + 8); /* room for the end */
    add_head(&line, level, sentence);
    for (; fields->name; fields++)
        add_field(&line, fields);
    buf_add_c(&line, out.format == LOG_FORMAT_JSON ? "}\n" : "\n");
    if (buf_status(&line) == 0)
        write_line(buf_str(&line));
    else
        write_line(out.format == LOG_FORMAT_JSON
                       ? STR("{\"level\": \"error\", \"msg\": \"Log record lost: no memory\"}\n")
                       : STR("level=error msg=\"Log record lost: no memory\"\n"));
    errno = errno_before;
}
