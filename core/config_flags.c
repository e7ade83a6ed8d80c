#include "core/config.h"

#include "core/config_priv.h"

struct scan {
    struct config *config;
    char **argv;
    int argc, at; /* at: the argument being read */
    struct config_flag *flags;
    size_t count;
    struct cel_error *err;
};

bool config_takes_flag(const struct config *config, const struct option *option)
{
    return config->verb == 0 || (option->verbs & config->verb) != 0;
}

static void keep_argument(struct scan *scan, char *argument)
{
    scan->config->arguments[scan->config->argument_count++] = argument;
}

static void
keep_flag(struct scan *scan, const struct option *option, struct str place, struct str value)
{
    scan->flags[scan->count++] =
        (struct config_flag){.option = option, .place = place, .value = value};
}

/* The next argument as the value of the flag at hand. Another --flag is none: whoever means one
 * writes --flag=--value. */
static int take_value(struct scan *scan, const struct option *option, struct str place)
{
    if (scan->at + 1 >= scan->argc || str_starts(str_of(scan->argv[scan->at + 1]), STR("--")))
        return error_set(scan->err, CEL_E_CONFIG, STR_FORMAT ": needs a value%s%s", STR_ARGS(place),
                         option->argument ? ": " : "", option->argument ? option->argument : "");
    keep_flag(scan, option, place, str_of(scan->argv[++scan->at]));
    return 0;
}

/* The option of a long flag, without its dashes; a bool also as "no-...". */
static const struct option *find_long(const struct config *config, struct str name, bool *ret_no)
{
    for (size_t i = 0; i < config->option_count; i++) {
        const struct option *option = &config->options[i];
        if (!option->flag)
            continue;
        bool no = option->type == OPTION_BOOL && str_starts(name, STR("no-"));
        struct str bare = no ? str_n(name.ptr + 3, name.len - 3) : name;
        if (str_equal(bare, str_of(option->flag)) || str_equal(name, str_of(option->flag))) {
            *ret_no = !str_equal(name, str_of(option->flag));
            return option;
        }
    }
    return NULL;
}

static int refuse_flag(struct scan *scan, struct str place, bool is_known)
{
    if (is_known)
        return error_set(scan->err, CEL_E_CONFIG, STR_FORMAT ": not an option of this command",
                         STR_ARGS(place));
    struct config_guess guess = {0};
    for (size_t i = 0; place.len > 2 && i < scan->config->option_count; i++) {
        const struct option *option = &scan->config->options[i];
        if (option->flag && config_takes_flag(scan->config, option))
            config_guess(&guess, str_n(place.ptr + 2, place.len - 2), option->flag);
    }
    if (!guess.name)
        return error_set(scan->err, CEL_E_CONFIG, STR_FORMAT ": unknown option", STR_ARGS(place));
    return error_set(scan->err, CEL_E_CONFIG, STR_FORMAT ": unknown option (did you mean --%s?)",
                     STR_ARGS(place), guess.name);
}

static int scan_long(struct scan *scan, char *argument)
{
    struct str value = str_of(argument), place;
    str_split(&value, '=', &place);
    bool no = false;
    if (str_equal(place, STR("--help"))) {
        scan->config->wants_help = true;
        return 0;
    }
    const struct option *option = find_long(scan->config, str_n(place.ptr + 2, place.len - 2), &no);
    if (!option || !config_takes_flag(scan->config, option)) {
        if (!scan->config->keep_unknown)
            return refuse_flag(scan, place, option);
        keep_argument(scan, argument);
        return 0;
    }
    if (no && value.ptr)
        return error_set(scan->err, CEL_E_CONFIG, STR_FORMAT ": takes no value", STR_ARGS(place));
    if (option->type == OPTION_BOOL && !value.ptr)
        value = no ? STR("no") : STR("yes");
    if (!value.ptr)
        return take_value(scan, option, place);
    keep_flag(scan, option, place, value);
    return 0;
}

static const struct option *find_short(const struct config *config, char name)
{
    for (size_t i = 0; i < config->option_count; i++) {
        if (config->options[i].short_flag == name)
            return &config->options[i];
    }
    return NULL;
}

static int scan_short(struct scan *scan, char *argument)
{
    struct str place = str_n(argument, 2);
    const char *rest = argument + 2;
    const struct option *option = find_short(scan->config, argument[1]);
    if (!option && argument[1] == 'h' && !*rest) {
        scan->config->wants_help = true;
        return 0;
    }
    if (!option && ((argument[1] >= '0' && argument[1] <= '9') || argument[1] == '.')) {
        keep_argument(scan, argument); /* a negative number */
        return 0;
    }
    if (!option || !config_takes_flag(scan->config, option))
        return refuse_flag(scan, place, option);
    if (option->type == OPTION_BOOL) {
        if (*rest)
            return error_set(scan->err, CEL_E_CONFIG, STR_FORMAT ": takes no value",
                             STR_ARGS(place));
        keep_flag(scan, option, place, STR("yes"));
        return 0;
    }
    if (!*rest)
        return take_value(scan, option, place);
    keep_flag(scan, option, place, str_of(rest + (*rest == '=')));
    return 0;
}

int config_scan_flags(struct config *config,
                      int argc,
                      char **argv,
                      struct config_flag *flags,
                      size_t *ret_count,
                      struct cel_error *err)
{
    struct scan scan = {
        .config = config, .argv = argv, .argc = argc, .at = 1, .flags = flags, .err = err};
    bool flags_end = false;
    for (; scan.at < argc; scan.at++) {
        char *argument = argv[scan.at];
        int r = 0;
        if (flags_end || argument[0] != '-' || argument[1] == '\0')
            keep_argument(&scan, argument);
        else if (strcmp(argument, "--") == 0)
            flags_end = true;
        else if (argument[1] == '-')
            r = scan_long(&scan, argument);
        else
            r = scan_short(&scan, argument);
        if (r < 0)
            return r;
    }
    *ret_count = scan.count;
    return 0;
}
