#include "core/config.h"

#include "core/config_priv.h"

enum { HELP_COLUMN = 30 };

static void add_padding(struct buf *buf, size_t start)
{
    do {
        buf_add_char(buf, ' ');
    } while (buf_status(buf) == 0 && buf->len - start < HELP_COLUMN);
}

/* "; " between parts, " [" before the first. */
static void add_remark(struct buf *buf, bool *is_first, const char *words, const char *value)
{
    buf_addf(buf, "%s%s%s", *is_first ? " [" : "; ", words, value);
    *is_first = false;
}

static void add_remarks(struct buf *buf, const struct option *option)
{
    bool is_first = true;
    if (option->otherwise && *option->otherwise && option->type != OPTION_BOOL)
        add_remark(buf, &is_first, "default ", option->otherwise);
    if (option->choices)
        add_remark(buf, &is_first, "", option->choices);
    if (option->env[0])
        add_remark(buf, &is_first, "$", option->env[0]);
    if (!is_first)
        buf_add_char(buf, ']');
}

static void add_option(struct buf *buf, const struct option *option)
{
    size_t start = buf->len;
    if (option->short_flag)
        buf_addf(buf, "  -%c, --%s", option->short_flag, option->flag);
    else
        buf_addf(buf, "      --%s", option->flag);
    if (option->type != OPTION_BOOL)
        buf_addf(buf, " %s", option->argument ? option->argument : "VALUE");
    add_padding(buf, start);
    buf_add_c(buf, option->help);
    add_remarks(buf, option);
    buf_add_char(buf, '\n');
}

void config_help(const struct config *config, struct buf *buf)
{
    for (size_t i = 0; i < config->option_count; i++) {
        const struct option *option = &config->options[i];
        if (option->flag && config_takes_flag(config, option))
            add_option(buf, option);
    }
    size_t start = buf->len;
    buf_add_c(buf, "  -h, --help");
    add_padding(buf, start);
    buf_add_c(buf, "Show this help and exit\n");
}

/* Text within a cell; a bar would end it. */
static void add_cell_text(struct buf *buf, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_add_char(buf, '\\');
        buf_add_char(buf, *text);
    }
}

static void add_rule(struct buf *buf, const struct option *option)
{
    static const char *const types[] = {
        [OPTION_STRING] = "text",       [OPTION_INT] = "whole number", [OPTION_BOOL] = "yes or no",
        [OPTION_DURATION] = "duration", [OPTION_SIZE] = "size",        [OPTION_LIST] = "list",
    };
    bool is_text = option->type == OPTION_STRING || option->type == OPTION_LIST;
    if (option->choices)
        add_cell_text(buf, option->choices);
    else
        buf_add_c(buf, types[option->type]);
    if (option->min == 0 && option->max == 0)
        return;
    buf_add_c(buf, ", ");
    config_add_bounds(buf, option);
    buf_add_c(buf, is_text ? " bytes" : "");
}

static void add_row(struct buf *buf, const struct option *option)
{
    buf_add_c(buf, "| ");
    if (option->key)
        buf_addf(buf, "`[%s] %s`", option->section, option->key);
    buf_add_c(buf, " | ");
    if (option->flag)
        buf_addf(buf, "`--%s`", option->flag);
    if (option->short_flag)
        buf_addf(buf, " `-%c`", option->short_flag);
    buf_add_c(buf, " | ");
    for (size_t i = 0; i < ARRAY_SIZE(option->env) && option->env[i]; i++)
        buf_addf(buf, "%s`%s`", i ? ", " : "", option->env[i]);
    buf_add_c(buf, " | ");
    add_rule(buf, option);
    buf_add_c(buf, " | ");
    if (option->otherwise && *option->otherwise)
        buf_addf(buf, "`%s`", option->otherwise);
    buf_add_c(buf, " | ");
    add_cell_text(buf, option->help);
    buf_add_c(buf, option->reloadable ? " (reloadable) |\n" : " |\n");
}

void config_markdown(const struct config *config, struct buf *buf)
{
    buf_add_c(buf, "| Key | Flag | Environment | Value | Default | Meaning |\n"
                   "|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < config->option_count; i++)
        add_row(buf, &config->options[i]);
}
