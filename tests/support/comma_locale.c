#include "tests/support/comma_locale.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* What localedef makes of: decimal_point ","; thousands_sep "."; grouping 3;3. Magic number, number
 * of fields, their six offsets; the texts, the two points as characters, the name of the charset.
 */
static const unsigned char lc_numeric[] = {
    0x14, 0x11, 0x03, 0x20, 6,    0,   0,   0,   0x20, 0,   0,   0,   0x22, 0,   0, 0, //
    0x24, 0,    0,    0,    0x28, 0,   0,   0,   0x2c, 0,   0,   0,   0x30, 0,   0, 0, //
    ',',  0,    '.',  0,    3,    3,   0,   0,   ',',  0,   0,   0,   '.',  0,   0, 0, //
    'A',  'N',  'S',  'I',  '_',  'X', '3', '.', '4',  '-', '1', '9', '6',  '8', 0,
};

void comma_locale_enter(void)
{
    char folder[] = "/tmp/celeriac-locale-XXXXXX", path[64], file[80];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/comma", folder);
    snprintf(file, sizeof(file), "%s/LC_NUMERIC", path);
    assert_int_equal(mkdir(path, 0700), 0);
    FILE *stream = fopen(file, "w");
    assert_non_null(stream);
    assert_int_equal(fwrite(lc_numeric, sizeof(lc_numeric), 1, stream), 1);
    assert_int_equal(fclose(stream), 0);
    setenv("LOCPATH", folder, 1);
    const char *name = setlocale(LC_NUMERIC, "comma");
    unsetenv("LOCPATH");
    unlink(file);
    rmdir(path);
    rmdir(folder);
    assert_non_null(name);
    assert_string_equal(localeconv()->decimal_point, ",");
}

void comma_locale_leave(void)
{
    setlocale(LC_NUMERIC, "C");
}
