/*
 * The INI file, read by inih.
 *
 * inih hands over keys and values, but neither their line nor section names beyond 49 bytes, and it
 * takes an indented line for more of the value above. So its reader is ours: it counts lines, keeps
 * the section, removes indentation, and ends the file at the first error.
 */
#include "core/config.h"

#include <errno.h>
#include <stdio.h>

#include <ini.h>

#include "core/config_priv.h"
#include "core/mem.h"

enum { LINE_MAX_BYTES = 16384 };

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

int config_read_file(struct config *config, const char *path, struct cel_error *err)
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
