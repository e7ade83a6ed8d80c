#include "core/config.h"

#include <errno.h>
#include <inttypes.h>
#include <strings.h>

#include "core/config_priv.h"
#include "core/mem.h"

enum { GUESS_MAX = 64 }; /* letters */

/* Letters put in, left out, replaced, or swapped with their neighbour. Row i holds the distances of
 * the first i letters of `a` from each beginning of `b`; three rows are enough. */
static size_t edit_distance(struct str a, struct str b)
{
    size_t rows[3][GUESS_MAX + 1];
    for (size_t i = 0; i <= a.len; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above_that = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            row[j] = row[j - 1] + 1;
            if (i == 0)
                continue;
            size_t replaced = above[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);
            bool swapped =
                i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] && a.ptr[i - 2] == b.ptr[j - 1];
            if (above[j] + 1 < row[j])
                row[j] = above[j] + 1;
            if (replaced < row[j])
                row[j] = replaced;
            if (swapped && above_that[j - 2] + 1 < row[j])
                row[j] = above_that[j - 2] + 1;
        }
    }
    return rows[a.len % 3][b.len];
}

void config_guess(struct config_guess *guess, struct str word, const char *name)
{
    struct str candidate = str_of(name);
    if (word.len > GUESS_MAX || candidate.len > GUESS_MAX)
        return;
    size_t distance = edit_distance(word, candidate);
    size_t near = candidate.len < 6 ? 1 : candidate.len / 3;
    if (distance <= near && (!guess->name || distance < guess->distance))
        *guess = (struct config_guess){.name = name, .distance = distance};
}

static void add_quantity(struct buf *buf, enum option_type type, int64_t value)
{
    static const struct {
        const char *name;
        int64_t usec;
    } units[] = {{"d", 86400000000}, {"h", 3600000000}, {"min", 60000000}, {"s", 1000000}};
    if (type != OPTION_DURATION) {
        buf_add_i64(buf, value);
        return;
    }
    for (size_t i = 0; value > 0 && i < ARRAY_SIZE(units); i++) {
        if (value % units[i].usec == 0) {
            buf_addf(buf, "%" PRId64 "%s", value / units[i].usec, units[i].name);
            return;
        }
    }
    buf_addf(buf, "%" PRId64 "ms", value / 1000);
}

void config_add_bounds(struct buf *buf, const struct option *option)
{
    if (option->max == INT64_MAX) {
        buf_add_c(buf, "at least ");
        add_quantity(buf, option->type, option->min);
        return;
    }
    buf_add_c(buf, "between ");
    add_quantity(buf, option->type, option->min);
    buf_add_c(buf, " and ");
    add_quantity(buf, option->type, option->max);
}

/* One sentence for a value that breaks a rule; the value of a secret is left out. */
static int refuse(const struct option *option,
                  const char *place,
                  struct str value,
                  const char *rule,
                  struct cel_error *err)
{
    if (option->secret)
        return error_set(err, CEL_E_CONFIG, "%s: the value %s", place, rule);
    return error_set(err, CEL_E_CONFIG, "%s: \"" STR_FORMAT "\" %s", place, STR_ARGS(value), rule);
}

static int check_bounds(const struct option *option,
                        const char *place,
                        struct str value,
                        int64_t number,
                        struct cel_error *err)
{
    if ((option->min == 0 && option->max == 0) || (number >= option->min && number <= option->max))
        return 0;
    bool is_text = option->type == OPTION_STRING || option->type == OPTION_LIST;
    CLEANUP(buf_deinit) struct buf rule = BUF_INIT(256);
    buf_add_c(&rule, "must be ");
    config_add_bounds(&rule, option);
    buf_add_c(&rule, is_text ? " bytes long" : "");
    if (buf_status(&rule) < 0)
        return error_no_memory(err);
    return refuse(option, place, value, rule.ptr, err);
}

static bool is_choice(const struct option *option, struct str value)
{
    struct str rest = str_of(option->choices), choice;
    if (!rest.ptr || (value.len == 0 && option->otherwise && !*option->otherwise))
        return true;
    while (str_split(&rest, '|', &choice)) {
        if (choice.len == value.len && strncasecmp(choice.ptr, value.ptr, value.len) == 0)
            return true;
    }
    return false;
}

static int refuse_choice(const struct option *option,
                         const char *place,
                         struct str value,
                         struct cel_error *err)
{
    CLEANUP(buf_deinit) struct buf rule = BUF_INIT(256);
    struct str rest = str_of(option->choices), choice;
    const char *comma = "is none of ";
    while (str_split(&rest, '|', &choice)) {
        buf_add_c(&rule, comma);
        buf_add_str(&rule, choice);
        comma = ", ";
    }
    if (buf_status(&rule) < 0)
        return error_no_memory(err);
    return refuse(option, place, value, rule.ptr, err);
}

/* Adopts `text` on success. */
static int own(struct config *config, char *text)
{
    char **owned = mem_grow(config->owned, config->owned_count + 1, sizeof(*owned));
    if (!owned)
        return -ENOMEM;
    config->owned = owned;
    config->owned[config->owned_count++] = text;
    return 0;
}

static int store_text(struct config *config, char **field, struct str value, bool append)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(SIZE_MAX);
    if (append && *field && **field) {
        buf_add_c(&text, *field);
        buf_add_char(&text, ',');
    }
    buf_add_str(&text, value);
    char *taken = buf_take(&text, NULL);
    if (!taken || own(config, taken) < 0) {
        mem_free(taken);
        return -ENOMEM;
    }
    *field = taken;
    return 0;
}

static int store_string(struct config *config,
                        const struct option *option,
                        const char *place,
                        struct str value,
                        bool append,
                        struct cel_error *err)
{
    char **field = (void *)((char *)config->settings + option->offset);
    if (!is_choice(option, value))
        return refuse_choice(option, place, value, err);
    int r = check_bounds(option, place, value, (int64_t)value.len, err);
    if (r < 0)
        return r;
    return store_text(config, field, value, append) < 0 ? error_no_memory(err) : 0;
}

static int store_number(struct config *config,
                        const struct option *option,
                        const char *place,
                        struct str value,
                        struct cel_error *err)
{
    static const char *const rules[] = {
        [OPTION_INT] = "is not a whole number",
        [OPTION_DURATION] =
            "is not a duration (250ms, 30s, 5min, 2h, 1d; a bare number is seconds)",
        [OPTION_SIZE] = "is not a size (4096, 64K, 16M, 1G)",
    };
    int64_t number = 0;
    uint64_t natural = 0;
    int r = option->type == OPTION_INT        ? str_parse_i64(value, &number)
            : option->type == OPTION_DURATION ? str_parse_duration(value, &natural)
                                              : str_parse_size(value, &natural);
    if (r == -EINVAL)
        return refuse(option, place, value, rules[option->type], err);
    if (r < 0 || natural > INT64_MAX)
        return refuse(option, place, value, "is out of range", err);
    if (option->type != OPTION_INT)
        number = (int64_t)natural;
    r = check_bounds(option, place, value, number, err);
    if (r < 0)
        return r;
    /* int64_t, usec_t and uint64_t alike */
    memcpy((char *)config->settings + option->offset, &number, sizeof(number));
    return 0;
}

int config_store(struct config *config,
                 const struct option *option,
                 const char *place,
                 struct str value,
                 bool append,
                 struct cel_error *err)
{
    bool truth;
    switch (option->type) {
    case OPTION_STRING:
    case OPTION_LIST:
        return store_string(config, option, place, value, append, err);
    case OPTION_INT:
    case OPTION_DURATION:
    case OPTION_SIZE:
        return store_number(config, option, place, value, err);
    case OPTION_BOOL:
        if (str_parse_bool(value, &truth) < 0)
            return refuse(option, place, value, "is neither yes nor no", err);
        memcpy((char *)config->settings + option->offset, &truth, sizeof(truth));
        return 0;
    }
    return -EINVAL;
}
