#include "control/rate.h"

#include <errno.h>

#include "core/rate.h"
#include "message/repr.h"

static int refuse(const struct cel_value *value, const char *words, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf shown = BUF_INIT(512);
    repr_value(&shown, value, false, 200);
    return error_set(err, CEL_E_FORMAT, words, shown.ptr ? shown.ptr : "");
}

/* What Python says of a text that is no rate. */
static int refuse_text(const struct cel_value *value, struct cel_error *err)
{
    struct str unit = value_str(value), count = STR_NONE;
    double number;
    str_split(&unit, '/', &count);
    if (str_parse_double(str_trim(count), &number) < 0)
        return refuse(value, "ValueError(\"could not convert string to float: %s\")", err);
    return error_set(err, CEL_E_FORMAT, "KeyError('%.*s')", (int)(unit.len < 32 ? unit.len : 32),
                     unit.ptr);
}

int rate_read(const struct cel_value *value,
              struct buf *text,
              bool *ret_is_limit,
              struct cel_error *err)
{
    enum cel_type type = cel_value_type(value);
    usec_t interval = 0;
    if (type == CEL_TEXT)
        buf_add_str(text, value_str(value));
    else if (type == CEL_INT || type == CEL_FLOAT)
        repr_value(text, value, false, 64);
    else if (type != CEL_NULL && type != CEL_BOOL)
        return refuse(value, "TypeError('%s is no rate')", err);
    int r = buf_status(text);
    if (r == 0)
        r = rate_parse(buf_str(text), &interval);
    if (r == -EINVAL && type == CEL_TEXT)
        return refuse_text(value, err);
    if (r == -EINVAL || r == -ERANGE)
        return refuse(value, "ValueError(\"%s is no rate\")", err);
    if (r < 0)
        return error_set(err, r, "%s", cel_error_name(r));
    *ret_is_limit = interval > 0;
    if (interval == 0) {
        buf_clear(text);
        buf_add_char(text, '0');
    }
    return buf_status(text);
}
