#include "control/rate.h"

#include <math.h>

#include "message/repr.h"

static int refuse(const struct cel_value *value, const char *words, struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf shown = BUF_INIT(512);
    repr_value(&shown, value, false, 200);
    return error_set(err, CEL_E_FORMAT, words, shown.ptr ? shown.ptr : "");
}

static int read_text(const struct cel_value *value, double *ret, struct cel_error *err)
{
    static const struct {
        struct str unit;
        double seconds;
    } units[] = {{STR(""), 1}, {STR("s"), 1}, {STR("m"), 60}, {STR("h"), 3600}};
    struct str unit = value_str(value), count;
    if (!str_split(&unit, '/', &count) || str_parse_double(str_trim(count), ret) < 0)
        return refuse(value, "ValueError(\"could not convert string to float: %s\")", err);
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (str_equal(unit, units[i].unit)) {
            *ret /= units[i].seconds;
            return 0;
        }
    }
    return error_set(err, CEL_E_FORMAT, "KeyError('%.*s')", (int)(unit.len < 32 ? unit.len : 32),
                     unit.ptr);
}

int rate_read(const struct cel_value *value,
              struct buf *text,
              double *ret_per_second,
              struct cel_error *err)
{
    double rate = cel_value_float(value, 0);
    enum cel_type type = cel_value_type(value);
    int r = 0;
    if (type == CEL_TEXT && cel_value_text(value, NULL)[0])
        r = read_text(value, &rate, err);
    else if (type != CEL_NULL && type != CEL_BOOL && type != CEL_INT && type != CEL_FLOAT &&
             type != CEL_TEXT)
        r = refuse(value, "TypeError('%s is no rate')", err);
    if (r == 0 && (!isfinite(rate) || rate < 0))
        r = refuse(value, "ValueError(\"%s is no rate\")", err);
    if (r < 0)
        return r;
    *ret_per_second = rate;
    if (rate > 0 && type == CEL_TEXT)
        buf_add_str(text, value_str(value));
    else if (rate > 0)
        repr_value(text, value, false, 64);
    return buf_status(text);
}
