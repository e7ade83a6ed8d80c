#include "core/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int code;
    const char *name;
} names[] = {
    {0, "success"},
    {CEL_E_FORMAT, "format"},
    {CEL_E_LIMIT, "limit"},
    {CEL_E_REFUSED, "refused content"},
    {CEL_E_CONFIG, "configuration"},
    {CEL_E_AUTH, "access denied"},
    {CEL_E_SERVER, "server error"},
    {CEL_E_UNCERTAIN, "uncertain"},
    {CEL_E_DATABASE, "database error"},
    {CEL_E_UNSUPPORTED, "not supported"},
    {CEL_E_UNCONFIRMED, "unconfirmed"},
    {-ENOMEM, "out of memory"},
    {-ETIMEDOUT, "timed out"},
    {-EINVAL, "invalid"},
    {-ERANGE, "out of range"},
    {-ECANCELED, "cancelled"},
};

const char *cel_error_name(int code)
{
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (names[i].code == code)
            return names[i].name;
    }
    const char *description = code < 0 && code > -4096 ? strerrordesc_np(-code) : NULL;
    return description ? description : "unknown error";
}

void assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "celeriac: %s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}

/* Ends text that did not fit with "...", without leaving half of a UTF-8 character before it. */
static void mark_cut(char *text, size_t size)
{
    size_t end = size - sizeof("...");
    while (end > 0 && ((unsigned char)text[end] & 0xC0) == 0x80)
        end--;
    memcpy(text + end, "...", sizeof("..."));
}

int error_setv(struct cel_error *err, int code, const char *format, va_list args)
{
    if (!err)
        return code;
    /* Formatted aside, because an argument may be the text that is about to be replaced. */
    char text[sizeof(err->text)];
    int len = vsnprintf(text, sizeof(text), format, args);
    if (len < 0)
        text[0] = '\0';
    else if ((size_t)len >= sizeof(text))
        mark_cut(text, sizeof(text));
    err->code = code;
    memcpy(err->text, text, sizeof(text));
    return code;
}

int error_set(struct cel_error *err, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_setv(err, code, format, args);
    va_end(args);
    return code;
}

int error_wrap(struct cel_error *err, const char *format, ...)
{
    if (!err)
        return -EIO;
    char words[sizeof(err->text)];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    if (len < 0)
        return err->code;
    return error_set(err, err->code, "%s: %s", words, err->text);
}

int error_no_memory(struct cel_error *err)
{
    return error_set(err, -ENOMEM, "out of memory");
}

void error_clear(struct cel_error *err)
{
    if (err)
        *err = (struct cel_error){0};
}
