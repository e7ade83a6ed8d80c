/*
 * The sources of the settings, weak to strong.
 *
 *   table  ->  defaults  ->  INI file  ->  environment  ->  flags (config_flags.c)
 *
 * Every source ends in config_store (config_value.c), so a rule is checked and worded once. The
 * command line is sorted before anything is stored: --help works with a broken file, and a flag
 * that is misspelled is told before a file is opened. Strings live in config->owned until the end
 * of the configuration, also those that a stronger source has replaced.
 *
 * The file is read by inih. It hands over keys and values, but neither their line nor section names
 * beyond 49 bytes, and it takes an indented line for more of the value above. So its reader is
 * ours: it counts lines, keeps the section, removes indentation, and ends the file at the first
 * error.
 */
#include "core/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <ini.h>

#include "core/config_priv.h"
#include "core/mem.h"

enum { PLACE_SIZE = 128, LINE_MAX_BYTES = 16384 };

void config_init(struct config *config,
                 const struct option *options,
                 size_t option_count,
                 void *settings,
                 const char *const *free_sections)
{
    *config = (struct config){
        .options = options,
        .option_count = option_count,
        .settings = settings,
        .free_sections = free_sections,
    };
}

void config_deinit(struct config *config)
{
    if (!config)
        return;
    for (size_t i = 0; i < config->line_count; i++) {
        struct config_line *line = &config->lines[i];
        mem_free(line->section);
        mem_free(line->key);
        mem_free(line->value);
        mem_free(line->origin);
    }
    for (size_t i = 0; i < config->owned_count; i++)
        mem_free(config->owned[i]);
    mem_free(config->lines);
    mem_free(config->arguments);
    mem_free(config->owned);
    config->lines = NULL;
    config->arguments = config->owned = NULL;
    config->line_count = config->argument_count = config->owned_count = 0;
    config->wants_help = config->blames_flags = false;
}

struct file {
    struct config *config;
    const char *path;
    FILE *stream;
    size_t line;        /* of the last line read */
    struct buf section; /* in which that line stands; nothing was added before the first */
    bool is_free;       /* a free section */
    size_t *set_at;     /* by option: the line that set it; 0: none */
    int status;         /* the first failure; described in err */
    struct cel_error *err;
};

static bool is_option_section(const struct config *config, const char *section)
{
    for (size_t i = 0; i < config->option_count; i++) {
        const struct option *option = &config->options[i];
        if (option->key && strcmp(option->section, section) == 0)
            return true;
    }
    return false;
}

static bool is_free_section(const struct config *config, struct str section)
{
    for (const char *const *at = config->free_sections; at && *at; at++) {
        struct str name = str_of(*at);
        bool is_prefix = str_ends(name, STR("*"));
        if (is_prefix ? str_starts(section, str_n(name.ptr, name.len - 1))
                      : str_equal(section, name))
            return true;
    }
    return false;
}

static int refuse_section(struct file *file)
{
    struct config_guess guess = {0};
    struct str section = buf_str(&file->section);
    for (size_t i = 0; i < file->config->option_count; i++) {
        if (file->config->options[i].key)
            config_guess(&guess, section, file->config->options[i].section);
    }
    for (const char *const *at = file->config->free_sections; at && *at; at++)
        config_guess(&guess, section, *at);
    if (!guess.name)
        return error_set(file->err, CEL_E_CONFIG, "%s:%zu: [" STR_FORMAT "]: unknown section",
                         file->path, file->line, STR_ARGS(section));
    return error_set(file->err, CEL_E_CONFIG,
                     "%s:%zu: [" STR_FORMAT "]: unknown section (did you mean [%s]?)", file->path,
                     file->line, STR_ARGS(section), guess.name);
}

/* A line that inih will take for a section: notes which. */
static int enter_section(struct file *file, const char *line)
{
    const char *end = strchr(line, ']');
    if (!end)
        return 0; /* inih reports it */
    buf_clear(&file->section);
    buf_add_str(&file->section, str_trim(str_n(line + 1, (size_t)(end - line - 1))));
    if (buf_status(&file->section) < 0)
        return error_no_memory(file->err);
    file->is_free = false;
    if (is_option_section(file->config, file->section.ptr))
        return 0;
    file->is_free = is_free_section(file->config, buf_str(&file->section));
    return file->is_free ? 0 : refuse_section(file);
}

static int check_line(struct file *file, const char *line)
{
    size_t len = strlen(line);
    if ((len == 0 || line[len - 1] != '\n') && !feof(file->stream))
        return error_set(file->err, CEL_E_CONFIG,
                         "%s:%zu: longer than %d bytes, or a zero byte in it", file->path,
                         file->line, LINE_MAX_BYTES);
    return line[0] == '[' ? enter_section(file, line) : 0;
}

/* For inih: fgets, with what the top of the file says. */
static char *read_line(char *line, int size, void *data)
{
    struct file *file = data;
    if (file->status < 0 || !fgets(line, size, file->stream))
        return NULL;
    file->line++;
    char *start = line;
    if (file->line == 1 && str_starts(str_of(line), STR("\xEF\xBB\xBF")))
        start += 3;
    start += strspn(start, " \t");
    memmove(line, start, strlen(start) + 1);
    file->status = check_line(file, line);
    return file->status < 0 ? NULL : line;
}

static int refuse_key(struct file *file, struct str key)
{
    struct config_guess guess = {0};
    for (size_t i = 0; i < file->config->option_count; i++) {
        const struct option *option = &file->config->options[i];
        if (option->key && strcmp(option->section, file->section.ptr) == 0)
            config_guess(&guess, key, option->key);
    }
    if (!guess.name)
        return error_set(file->err, CEL_E_CONFIG, "%s:%zu: [%s] " STR_FORMAT ": unknown key",
                         file->path, file->line, file->section.ptr, STR_ARGS(key));
    return error_set(file->err, CEL_E_CONFIG,
                     "%s:%zu: [%s] " STR_FORMAT ": unknown key (did you mean \"%s\"?)", file->path,
                     file->line, file->section.ptr, STR_ARGS(key), guess.name);
}

static int refuse_repeated(struct file *file, const char *key, const char *first)
{
    return error_set(file->err, CEL_E_CONFIG, "%s:%zu: [%s] %s: given twice (first in %s)",
                     file->path, file->line, file->section.ptr, key, first);
}

static int store_option(struct file *file, const char *key, const char *value)
{
    struct config *config = file->config;
    for (size_t i = 0; i < config->option_count; i++) {
        const struct option *option = &config->options[i];
        if (!option->key || strcmp(option->section, file->section.ptr) != 0 ||
            strcmp(option->key, key) != 0)
            continue;
        char place[512];
        if (file->set_at[i] > 0) {
            snprintf(place, sizeof(place), "line %zu", file->set_at[i]);
            return refuse_repeated(file, key, place);
        }
        file->set_at[i] = file->line;
        snprintf(place, sizeof(place), "%s:%zu: [%s] %s", file->path, file->line, option->section,
                 key);
        return config_store(config, option, place, str_of(value), false, file->err);
    }
    return refuse_key(file, str_of(key));
}

static int keep_line(struct file *file, const char *key, const char *value)
{
    struct config *config = file->config;
    for (size_t i = 0; i < config->line_count; i++) {
        const struct config_line *line = &config->lines[i];
        if (strcmp(line->section, file->section.ptr) == 0 && strcmp(line->key, key) == 0)
            return refuse_repeated(file, key, line->origin);
    }
    struct config_line *lines = mem_grow(config->lines, config->line_count + 1, sizeof(*lines));
    if (!lines)
        return error_no_memory(file->err);
    config->lines = lines;
    CLEANUP(buf_deinit) struct buf origin = BUF_INIT(SIZE_MAX);
    buf_addf(&origin, "%s:%zu", file->path, file->line);
    struct config_line *line = &lines[config->line_count++];
    *line = (struct config_line){
        .section = str_dup(buf_str(&file->section)),
        .key = str_dup(str_of(key)),
        .value = str_dup(str_of(value)),
        .origin = buf_take(&origin, NULL),
    };
    if (!line->section || !line->key || !line->value || !line->origin)
        return error_no_memory(file->err);
    return 0;
}

/* For inih: 0 is a failure. */
static int on_key(void *data, const char *section, const char *key, const char *value)
{
    (void)section; /* cut at 49 bytes; ours is whole */
    struct file *file = data;
    if (!file->section.ptr)
        file->status = error_set(file->err, CEL_E_CONFIG, "%s:%zu: %s: stands before any [section]",
                                 file->path, file->line, key);
    else if (!*key)
        file->status = error_set(file->err, CEL_E_CONFIG, "%s:%zu: no key before the sign",
                                 file->path, file->line);
    else
        file->status = file->is_free ? keep_line(file, key, value) : store_option(file, key, value);
    return file->status == 0;
}

static int parse(struct file *file)
{
    ini_max_line = LINE_MAX_BYTES + 2; /* a setting of Debian's library; its own limit is 200 */
    int line = ini_parse_stream(read_line, file, on_key, file);
    if (line > 0 && (file->status == 0 || (size_t)line < file->line))
        return error_set(file->err, CEL_E_CONFIG,
                         "%s:%d: neither [section] nor key = value nor a comment", file->path,
                         line);
    if (ferror(file->stream))
        return error_set(file->err, CEL_E_CONFIG, "%s: cannot be read: %s", file->path,
                         strerrordesc_np(errno));
    return file->status;
}

static int read_file(struct config *config, const char *path, struct cel_error *err)
{
    struct file file = {
        .config = config,
        .path = path,
        .section = BUF_INIT(LINE_MAX_BYTES),
        .err = err,
        .set_at = mem_array(config->option_count, sizeof(*file.set_at)),
    };
    if (!file.set_at)
        return error_no_memory(err);
    int r;
    file.stream = fopen(path, "re");
    if (file.stream) {
        r = parse(&file);
        fclose(file.stream);
    } else {
        r = error_set(err, CEL_E_CONFIG, "%s: cannot be opened: %s", path, strerrordesc_np(errno));
    }
    buf_deinit(&file.section);
    mem_free(file.set_at);
    return r;
}

static int store_defaults(struct config *config, struct cel_error *err)
{
    for (size_t i = 0; i < config->option_count; i++) {
        const struct option *option = &config->options[i];
        static const size_t sizes[] = {
            [OPTION_STRING] = sizeof(char *), [OPTION_INT] = sizeof(int64_t),
            [OPTION_BOOL] = sizeof(bool),     [OPTION_DURATION] = sizeof(usec_t),
            [OPTION_SIZE] = sizeof(uint64_t), [OPTION_LIST] = sizeof(char *),
        };
        memset((char *)config->settings + option->offset, 0, sizes[option->type]);
        if (!option->otherwise)
            continue;
        int r = config_store(config, option, "default", str_of(option->otherwise), false, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int store_environment(struct config *config, struct cel_error *err)
{
    for (size_t i = 0; i < config->option_count; i++) {
        const struct option *option = &config->options[i];
        for (size_t j = 0; j < ARRAY_SIZE(option->env) && option->env[j]; j++) {
            const char *value = getenv(option->env[j]);
            if (!value || !*value)
                continue;
            int r = config_store(config, option, option->env[j], str_of(value), false, err);
            if (r < 0)
                return r;
            break;
        }
    }
    return 0;
}

static int store_flags(struct config *config,
                       const struct config_flag *flags,
                       size_t count,
                       struct cel_error *err)
{
    for (size_t i = 0; i < count; i++) {
        bool again = false;
        for (size_t j = 0; j < i; j++)
            again |= flags[j].option == flags[i].option;
        char place[PLACE_SIZE];
        snprintf(place, sizeof(place), STR_FORMAT, STR_ARGS(flags[i].place));
        bool append = again && flags[i].option->type == OPTION_LIST;
        int r = config_store(config, flags[i].option, place, flags[i].value, append, err);
        if (r < 0) {
            config->blames_flags = r == CEL_E_CONFIG;
            return r;
        }
    }
    return 0;
}

static void free_flags(struct config_flag **flags)
{
    mem_free(*flags);
}

int config_load(
    struct config *config, const char *path, int argc, char **argv, struct cel_error *err)
{
    config_deinit(config);
    size_t room = argc > 0 ? (size_t)argc : 1, count = 0;
    CLEANUP(free_flags) struct config_flag *flags = mem_array(room, sizeof(*flags));
    config->arguments = mem_array(room, sizeof(*config->arguments));
    if (!flags || !config->arguments)
        return error_no_memory(err);

    int r = store_defaults(config, err);
    if (r < 0)
        return r;
    r = config_scan_flags(config, argc, argv, flags, &count, err);
    if (r < 0) {
        config->blames_flags = true;
        return r;
    }
    if (config->wants_help)
        return 0;
    r = path ? read_file(config, path, err) : 0;
    if (r < 0)
        return r;
    r = store_environment(config, err);
    if (r < 0)
        return r;
    return store_flags(config, flags, count, err);
}
