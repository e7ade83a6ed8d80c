#include "tests/support/vectors.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/json.h"

#define FOLDER TEST_DATA "/wire-vectors/"

static struct cel_value *load(const char *path)
{
    struct buf text = BUF_INIT(VALUE_BYTES_MAX);
    struct cel_value *vector = NULL;
    struct cel_error err = {0};
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("cannot open %s", path);
    for (size_t got = 1; got > 0;) {
        char part[4096];
        got = fread(part, 1, sizeof(part), file);
        buf_add(&text, part, got);
    }
    fclose(file);
    if (buf_status(&text) < 0 || json_decode(buf_str(&text), &vector, &err) < 0)
        fail_msg("%s: %s", path, err.text);
    buf_deinit(&text);
    return vector;
}

struct cel_value *vectors_load(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s%s.json", FOLDER, name);
    return load(path);
}

size_t vectors_each(void (*fn)(const char *name, const struct cel_value *vector))
{
    glob_t files;
    if (glob(FOLDER "*.json", 0, NULL, &files) != 0)
        fail_msg("no files in %s", FOLDER);
    size_t count = files.gl_pathc;
    for (size_t i = 0; i < count; i++) {
        struct cel_value *vector = load(files.gl_pathv[i]);
        fn(files.gl_pathv[i] + sizeof(FOLDER) - 1, vector);
        cel_value_free(vector);
    }
    globfree(&files);
    return count;
}
