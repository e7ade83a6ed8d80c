#include "cli/table.h"

#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <unistd.h>
#include <wchar.h>

#include "core/mem.h"
#include "core/value.h"

#define GAP         "  "
#define REPLACEMENT "\xef\xbf\xbd"

/* --- text ------------------------------------------------------------------------------------- */

/* One character of UTF-8, read in a locale of our own: the user's may know no UTF-8. Returns its
 * length, 0 at bytes that are none. */
static size_t next_char(locale_t utf8, struct str text, wchar_t *ret)
{
    mbstate_t state = {0};
    locale_t before = uselocale(utf8);
    size_t len = mbrtowc(ret, text.ptr, text.len, &state);
    uselocale(before);
    if (len == 0)
        return 1; /* a zero byte */
    return len > text.len ? 0 : len;
}

static int char_width(locale_t utf8, wchar_t c)
{
    locale_t before = uselocale(utf8);
    int width = wcwidth(c);
    uselocale(before);
    return width;
}

static locale_t open_utf8(void)
{
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    ASSERT(utf8); /* part of libc-bin, always there */
    return utf8;
}

/* Most text: needs no locale, which costs more than all else in a long table. */
static bool is_printable_ascii(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < ' ' || text.ptr[i] > '~')
            return false;
    }
    return true;
}

size_t text_width(const char *text)
{
    if (is_printable_ascii(str_of(text)))
        return strlen(text);
    locale_t utf8 = open_utf8();
    size_t width = 0;
    for (struct str rest = str_of(text); rest.len > 0;) {
        wchar_t c;
        size_t len = next_char(utf8, rest, &c);
        int columns = len ? char_width(utf8, c) : 1;
        width += columns > 0 ? (size_t)columns : 0;
        rest = str_n(rest.ptr + (len ? len : 1), rest.len - (len ? len : 1));
    }
    freelocale(utf8);
    return width;
}

static void add_escape(struct buf *buf, wchar_t c)
{
    switch (c) {
    case L'\n':
        buf_add_c(buf, "\\n");
        break;
    case L'\t':
        buf_add_c(buf, "\\t");
        break;
    case L'\r':
        buf_add_c(buf, "\\r");
        break;
    default:
        buf_addf(buf, c < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)c);
    }
}

void text_add_printable(struct buf *buf, struct str text, bool lines)
{
    if (is_printable_ascii(text)) {
        buf_add_str(buf, text);
        return;
    }
    locale_t utf8 = open_utf8();
    while (text.len > 0) {
        wchar_t c = 0;
        size_t len = next_char(utf8, text, &c);
        if (!len)
            buf_add_c(buf, REPLACEMENT);
        else if (lines && (c == L'\n' || c == L'\t'))
            buf_add(buf, text.ptr, len);
        else if (char_width(utf8, c) < 0 || c == 0)
            add_escape(buf, c);
        else
            buf_add(buf, text.ptr, len);
        len = len ? len : 1;
        text = str_n(text.ptr + len, text.len - len);
    }
    freelocale(utf8);
}

void text_add_duration(struct buf *buf, usec_t duration)
{
    uint64_t s = duration / USEC_PER_SEC;
    if (s < 1)
        buf_addf(buf, "%" PRIu64 "ms", duration / USEC_PER_MSEC);
    else if (s < 60)
        buf_addf(buf, "%" PRIu64 "s", s);
    else if (s < 3600)
        buf_addf(buf, "%" PRIu64 "m %02" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        buf_addf(buf, "%" PRIu64 "h %02" PRIu64 "m", s / 3600, s / 60 % 60);
    else
        buf_addf(buf, "%" PRIu64 "d %02" PRIu64 "h", s / 86400, s / 3600 % 24);
}

/* --- colour ----------------------------------------------------------------------------------- */

bool output_has_colour(FILE *out)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    return isatty(fileno(out)) && (!no_colour || !*no_colour) && terminal && *terminal &&
           strcmp(terminal, "dumb") != 0;
}

const char *output_tint(enum table_tint tint, bool colour)
{
    static const char *const codes[] = {
        [TINT_PLAIN] = "",        [TINT_GOOD] = "\x1b[32m", [TINT_BAD] = "\x1b[31m",
        [TINT_WARN] = "\x1b[33m", [TINT_DIM] = "\x1b[2m",
    };
    return colour ? codes[tint] : "";
}

const char *output_tint_end(enum table_tint tint, bool colour)
{
    return colour && tint != TINT_PLAIN ? "\x1b[0m" : "";
}

/* --- table ------------------------------------------------------------------------------------ */

void table_init(struct table *table, const struct table_column *columns, size_t column_count)
{
    *table = (struct table){.columns = columns, .column_count = column_count};
}

void table_deinit(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++) {
        free(table->cells[i].text);
        cel_value_free(table->cells[i].value);
    }
    mem_free(table->cells);
    table_init(table, table->columns, table->column_count);
}

void table_add(struct table *table, struct cel_value *value, struct str text, enum table_tint tint)
{
    table->cells = xroom(table->cells, table->cell_count, &table->cell_cap, sizeof(*table->cells));
    struct buf shown = BUF_INIT(SIZE_MAX);
    text_add_printable(&shown, text, false);
    buf_add(&shown, "", 0);
    table->cells[table->cell_count++] = (struct table_cell){buf_take(&shown, NULL), value, tint};
}

/* JSON knows no bytes that are no UTF-8: there programs get what people see. */
static struct cel_value *text_value(struct str text)
{
    if (str_is_utf8(text))
        return value_text(text);
    CLEANUP(buf_deinit) struct buf shown = BUF_INIT(SIZE_MAX);
    text_add_printable(&shown, text, false);
    return value_text(buf_str(&shown));
}

void table_add_text(struct table *table, struct str text, enum table_tint tint)
{
    if (text.ptr)
        table_add(table, text_value(text), text, tint);
    else
        table_add(table, cel_null(), STR("-"), TINT_DIM);
}

void table_add_u64(struct table *table, uint64_t number, enum table_tint tint)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(64);
    buf_add_u64(&text, number);
    table_add(table, cel_int((int64_t)number), buf_str(&text), tint);
}

void table_add_duration(struct table *table, usec_t duration)
{
    if (duration == USEC_NEVER) {
        table_add(table, cel_null(), STR("-"), TINT_DIM);
        return;
    }
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(64);
    text_add_duration(&text, duration);
    double seconds = (double)(duration / USEC_PER_MSEC) / 1000.0;
    table_add(table, cel_float(seconds), buf_str(&text), TINT_PLAIN);
}

static size_t column_width(const struct table *table, size_t column)
{
    size_t widest = text_width(table->columns[column].title);
    for (size_t i = column; i < table->cell_count; i += table->column_count) {
        size_t width = text_width(table->cells[i].text);
        widest = width > widest ? width : widest;
    }
    return widest;
}

/* One cell and what aligns it; the last column has nothing behind it. */
static void print_cell(const struct table *table,
                       size_t column,
                       size_t width,
                       const char *text,
                       const char *before,
                       const char *after,
                       FILE *out)
{
    bool last = column + 1 == table->column_count;
    size_t own = text_width(text);
    int room = (int)(width > own ? width - own : 0);
    int left = table->columns[column].right ? room : 0;
    fprintf(out, "%*s%s%s%s%*s%s", left, "", before, text, after, last ? 0 : room - left, "",
            last ? "\n" : GAP);
}

void table_print(const struct table *table, FILE *out)
{
    bool colour = output_has_colour(out);
    size_t *widths = xgrow(NULL, table->column_count, sizeof(*widths));
    for (size_t i = 0; i < table->column_count; i++)
        widths[i] = column_width(table, i);
    for (size_t i = 0; i < table->column_count; i++)
        print_cell(table, i, widths[i], table->columns[i].title, colour ? "\x1b[1m" : "",
                   colour ? "\x1b[0m" : "", out);
    for (size_t i = 0; i < table->cell_count; i++) {
        const struct table_cell *cell = &table->cells[i];
        size_t column = i % table->column_count;
        print_cell(table, column, widths[column], cell->text, output_tint(cell->tint, colour),
                   output_tint_end(cell->tint, colour), out);
    }
    mem_free(widths);
}

void table_print_json(const struct table *table, FILE *out)
{
    struct cel_value *rows = cel_list();
    struct cel_value *row = NULL;
    int status = rows ? 0 : -1;
    for (size_t i = 0; i < table->cell_count && !status; i++) {
        size_t column = i % table->column_count;
        if (column == 0)
            row = cel_map();
        status = cel_map_set(row, table->columns[column].key, cel_value_dup(table->cells[i].value));
        if (column + 1 == table->column_count && !status) {
            status = cel_list_add(rows, row);
            row = NULL;
        }
    }
    char *text = status ? NULL : cel_value_to_json(rows);
    ASSERT(text);
    fprintf(out, "%s\n", text);
    free(text);
    cel_value_free(row);
    cel_value_free(rows);
}
