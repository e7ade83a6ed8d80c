/*
 * URLs come from people. What is understood is complete and can be shown; a reason for refusing
 * holds no password: "hunter2" in the place of one is never in an error or in what is displayed.
 */
#include <errno.h>
#include <stdio.h>

#include "core/mem.h"
#include "redis/url.h"
#include "tests/fuzz/fuzz.h"

static void check_url(const struct url *url)
{
    ASSERT(!!url->host + !!url->path + !!url->sentinel_count == 1);
    ASSERT(url->display && *url->display);
    ASSERT(!url->path || url->path[0] == '/');
    ASSERT(!url->host || (url->port > 0 && *url->host));
    ASSERT(url->sentinel_count <= URL_SENTINELS_MAX);
    for (unsigned i = 0; i < url->sentinel_count; i++)
        ASSERT(url->sentinels[i].port > 0 && *url->sentinels[i].name);
    ASSERT(!url->master_name == !url->sentinel_count);
    ASSERT(url->sentinel_count || (!url->sentinel_user && !url->sentinel_password));
    ASSERT(!url->user || *url->user);
    ASSERT(!url->password || *url->password);
    ASSERT(url_same(url, url));
}

/* What is displayed is itself a URL of the same server, when it needs no escapes. */
static void check_display(const struct url *url)
{
    struct url again;
    if (url->path && strpbrk(url->path, "%?#;"))
        return;
    ASSERT(url_parse(str_of(url->display), NULL, &again, NULL) == 0);
    ASSERT(again.port == url->port && again.db == url->db);
    ASSERT(again.sentinel_count == url->sentinel_count);
    ASSERT(strcmp(again.display, url->display) == 0);
    url_deinit(&again);
}

static void check_password(const char *begin, struct str text)
{
    static char with[4096];
    struct cel_error err = {0};
    struct url url;
    if (text.len > 2048)
        return;
    int len = snprintf(with, sizeof(with), "%s" STR_FORMAT, begin, STR_ARGS(text));
    if (url_parse(str_n(with, (size_t)len), NULL, &url, &err) == 0) {
        ASSERT(!strstr(url.display, "hunter2"));
        url_deinit(&url);
    }
    ASSERT(!strstr(err.text, "hunter2"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const begins[] = {
        "redis://:hunter2@",
        "sentinel://:hunter2@a;",
        "sentinel://a?master_name=m&sentinel_password=hunter2&",
    };
    struct str text = str_n(data, size);
    struct cel_error err = {0};
    struct url url;
    int r = url_parse(text, NULL, &url, &err);
    ASSERT(r == 0 || r == -EINVAL || r == CEL_E_UNSUPPORTED);
    ASSERT(err.code == r);
    if (r == 0) {
        check_url(&url);
        check_display(&url);
        url_deinit(&url);
    }
    if (size && !memchr(data, '\0', size) && !memmem(data, size, "hunter2", 7))
        for (size_t i = 0; i < ARRAY_SIZE(begins); i++)
            check_password(begins[i], text);
    return 0;
}
