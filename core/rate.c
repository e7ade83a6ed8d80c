#include "core/rate.h"

#include <errno.h>

#define LONGEST_USEC (365 * 24 * 3600 * USEC_PER_SEC)
#define MOST         1e9

static int parse_unit(struct str text, usec_t *ret_unit)
{
    static const struct {
        struct str name;
        usec_t unit;
    } units[] = {
        {STR("s"), USEC_PER_SEC}, {STR("m"), 60 * USEC_PER_SEC}, {STR("h"), 3600 * USEC_PER_SEC}};
    *ret_unit = USEC_PER_SEC;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (str_equal(text, units[i].name)) {
            *ret_unit = units[i].unit;
            return 0;
        }
    }
    return text.len > 0 ? -EINVAL : 0;
}

int rate_parse(struct str text, usec_t *ret_interval)
{
    struct str unit_text = text, number = STR_NONE;
    double count = 0;
    usec_t unit;
    str_split(&unit_text, '/', &number);
    int r = parse_unit(unit_text, &unit);
    if (r == 0 && text.len > 0)
        r = str_parse_double(str_trim(number), &count);
    if (r < 0)
        return r;
    if (!(count >= 0 && count <= MOST) ||
        (count > 0 && (double)unit / count > (double)LONGEST_USEC))
        return -ERANGE;
    usec_t interval = count > 0 ? (usec_t)((double)unit / count) : 0;
    *ret_interval = count > 0 && interval == 0 ? 1 : interval;
    return 0;
}
