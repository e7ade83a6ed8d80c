/*
 * An INI file and a command line, on the program's own table: the bytes up to the first 1E are the
 * file, each further line is an argument. The first byte chooses the verb.
 *
 * What is accepted keeps every rule of the table, and loading it again gives the same. What is not
 * is refused with a sentence. Short memory at any point is reported and leaks nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/settings.h"
#include "tests/fuzz/fuzz.h"

enum { SEPARATOR = 0x1e, ARGUMENTS_MAX = 64 };

struct input {
    char path[32]; /* of the file */
    int argc;
    char *argv[ARGUMENTS_MAX + 1];
    unsigned verb;
};

/* --- input ------------------------------------------------------------------------------------ */

/* One file in memory serves all inputs. */
static void file_write(struct input *input, const uint8_t *data, size_t size)
{
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("config", MFD_CLOEXEC);
        clearenv(); /* the environment is no part of the input */
    }
    ASSERT(fd >= 0 && ftruncate(fd, 0) == 0);
    ASSERT(pwrite(fd, data, size, 0) == (ssize_t)size);
    snprintf(input->path, sizeof(input->path), "/proc/self/fd/%d", fd);
}

/* Each line a block of its own size, for the address sanitizer. */
static void arguments_read(struct input *input, struct str text)
{
    input->argv[input->argc++] = str_dup(STR("celeriac"));
    while (text.ptr && text.len > 0 && input->argc < ARGUMENTS_MAX) {
        struct str line;
        str_split(&text, '\n', &line);
        input->argv[input->argc++] = str_dup(line);
    }
}

static void input_deinit(struct input *input)
{
    for (int i = 0; i < input->argc; i++)
        mem_free(input->argv[i]);
}

static int load(const struct input *input, struct config *config, struct cel_error *err)
{
    config->verb = input->verb;
    config->keep_unknown = input->verb == VERB_CALL;
    return config_load(config, input->path, input->argc, (char **)input->argv, err);
}

/* --- what must hold --------------------------------------------------------------------------- */

static bool is_choice(const char *text, struct str choices)
{
    while (choices.ptr) {
        struct str choice;
        str_split(&choices, '|', &choice);
        if (choice.len == strlen(text) && strncasecmp(text, choice.ptr, choice.len) == 0)
            return true;
    }
    return false;
}

static void check_string(const struct option *option, const char *text)
{
    ASSERT(text);
    int64_t len = (int64_t)strlen(text);
    ASSERT((!option->min && !option->max) || (len >= option->min && len <= option->max));
    bool is_default = option->otherwise && !strcmp(text, option->otherwise);
    ASSERT(!option->choices || is_default || is_choice(text, str_of(option->choices)));
}

static void check_option(const struct option *option, const void *field)
{
    int64_t number = 0;
    switch (option->type) {
    case OPTION_STRING:
    case OPTION_LIST:
        check_string(option, *(char *const *)field);
        return;
    case OPTION_BOOL:
        return;
    case OPTION_INT:
        number = *(const int64_t *)field;
        break;
    case OPTION_DURATION:
        number = (int64_t) * (const usec_t *)field;
        break;
    case OPTION_SIZE:
        number = (int64_t) * (const uint64_t *)field;
        break;
    }
    ASSERT(number >= 0); /* no option of this program is negative */
    ASSERT((!option->min && !option->max) || (number >= option->min && number <= option->max));
}

static void check_lines(const struct config *config, const struct input *input)
{
    for (size_t i = 0; i < config->line_count; i++) {
        const struct config_line *line = &config->lines[i];
        ASSERT(line->section && line->key && *line->key && line->value);
        ASSERT(str_starts(str_of(line->origin), str_of(input->path)));
        bool is_free = !strcmp(line->section, "settings") || !strcmp(line->section, "database") ||
                       str_starts(str_of(line->section), STR("beat "));
        ASSERT(is_free);
        for (size_t j = 0; j < i; j++)
            ASSERT(strcmp(config->lines[j].section, line->section) != 0 ||
                   strcmp(config->lines[j].key, line->key) != 0);
    }
}

/* What is left over are arguments as they were given, in their order. */
static void check_arguments(const struct config *config, const struct input *input)
{
    int at = 1;
    for (size_t i = 0; i < config->argument_count; i++, at++) {
        while (at < input->argc && input->argv[at] != config->arguments[i])
            at++;
        ASSERT(at < input->argc);
    }
}

static bool same_option(const struct option *option, const void *a, const void *b)
{
    switch (option->type) {
    case OPTION_STRING:
    case OPTION_LIST:
        return strcmp(*(char *const *)a, *(char *const *)b) == 0;
    case OPTION_BOOL:
        return *(const bool *)a == *(const bool *)b;
    case OPTION_INT:
    case OPTION_DURATION:
    case OPTION_SIZE:
        break;
    }
    return memcmp(a, b, sizeof(int64_t)) == 0;
}

static void check_loaded(const struct config *config, const struct input *input)
{
    for (size_t i = 0; i < settings_option_count; i++)
        check_option(&settings_options[i],
                     (const char *)config->settings + settings_options[i].offset);
    check_lines(config, input);
    check_arguments(config, input);
}

/* Loads it again, with an allocation failing first. */
static void check_again(const struct config *config, const struct input *input, size_t nth)
{
    struct settings settings;
    struct config again;
    config_init(&again, settings_options, settings_option_count, &settings, settings_free_sections);
    mem_fail_after(nth);
    int r = load(input, &again, NULL);
    mem_fail_after(0);
    ASSERT(r == 0 || r == -ENOMEM);
    ASSERT(load(input, &again, NULL) == 0);
    ASSERT(again.wants_help == config->wants_help && again.line_count == config->line_count &&
           again.argument_count == config->argument_count);
    for (size_t i = 0; i < settings_option_count; i++) {
        size_t offset = settings_options[i].offset;
        ASSERT(same_option(&settings_options[i], (const char *)config->settings + offset,
                           (const char *)&settings + offset));
    }
    config_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, SEPARATOR, size) : NULL;
    size_t file_size = end ? (size_t)(end - data) : size;
    struct input input = {.verb = 1U << (size > 0 ? data[0] % 8 : 0)};
    struct settings settings;
    struct config config;
    struct cel_error err = {0};

    file_write(&input, data, file_size);
    arguments_read(&input, end ? str_n((const char *)end + 1, size - file_size - 1) : STR_NONE);
    config_init(&config, settings_options, settings_option_count, &settings,
                settings_free_sections);
    int r = load(&input, &config, &err);
    ASSERT(r == 0 || r == CEL_E_CONFIG);
    ASSERT(err.code == r && (r == 0) == (err.text[0] == '\0'));
    ASSERT(r < 0 || !config.blames_flags);
    if (r == 0) {
        check_loaded(&config, &input);
        check_again(&config, &input, 1 + size % 97);
    }
    config_deinit(&config);
    input_deinit(&input);
    return 0;
}
