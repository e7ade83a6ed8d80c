#include "redis/greeting.h"

#include "redis/words.h"
#include "redis/write.h"

enum { HELLO_BYTES_MAX = 8192 }; /* a URL's parts are shorter */

int redis_hello(const struct url *url,
                bool wants_id,
                struct buf *buf,
                enum redis_hello *ret_steps,
                unsigned *ret_count)
{
    unsigned count = 0;
    struct buf hello = BUF_INIT(HELLO_BYTES_MAX);
    if (url->user || url->password) {
        write_next(&hello, url->user ? 3 : 2);
        write_arg(&hello, STR("AUTH"));
        if (url->user)
            write_arg(&hello, str_of(url->user));
        write_arg(&hello, url->password ? str_of(url->password) : STR(""));
        ret_steps[count++] = REDIS_HELLO_AUTH;
    }
    if (url->db) {
        write_next(&hello, 2);
        write_arg(&hello, STR("SELECT"));
        write_u64(&hello, url->db);
        ret_steps[count++] = REDIS_HELLO_SELECT;
    }
    if (wants_id) {
        write_next(&hello, 2);
        write_arg(&hello, STR("CLIENT"));
        write_arg(&hello, STR("ID"));
        ret_steps[count++] = REDIS_HELLO_ID;
    }
    if (url->sentinel_count) {
        write_next(&hello, 1);
        write_arg(&hello, STR("ROLE"));
        ret_steps[count++] = REDIS_HELLO_ROLE;
    }
    write_next(&hello, 1);
    write_arg(&hello, STR("PING"));
    ret_steps[count++] = REDIS_HELLO_PING;
    *buf = hello;
    *ret_count = count;
    return buf_status(&hello);
}

bool redis_hello_may_fail(enum redis_hello step, struct str words)
{
    bool is_extra = step == REDIS_HELLO_ID || step == REDIS_HELLO_ROLE || step == REDIS_HELLO_PING;
    return is_extra && str_starts(words, STR("NOPERM"));
}

int redis_hello_refusal(enum redis_hello step, struct str words)
{
    const struct redis_words *known = redis_words(words);
    if (known->status == CEL_E_AUTH)
        return CEL_E_AUTH;
    if (known->reaction != REDIS_TELL)
        return 0;
    if (step == REDIS_HELLO_AUTH)
        return CEL_E_AUTH;
    return step == REDIS_HELLO_SELECT ? CEL_E_SERVER : 0;
}

bool redis_hello_is_master(const struct redis_reply *reply)
{
    struct str role = reply_text(reply_item(reply, 0));
    return !role.ptr || str_equal(role, STR("master"));
}

bool redis_reply_is_push(const struct redis_reply *reply)
{
    struct str kind = reply_text(reply_item(reply, 0));
    return str_equal(kind, STR("message")) || str_equal(kind, STR("pmessage"));
}

int redis_load(struct redis_request *request, const struct redis_script *script)
{
    struct buf buf = write_begin(3, script->text.len + 32);
    write_arg(&buf, STR("SCRIPT"));
    write_arg(&buf, STR("LOAD"));
    write_arg(&buf, script->text);
    return redis_request_finish(request, &buf);
}

int redis_ping(struct redis_request *request)
{
    struct buf buf = write_begin(1, 8);
    write_arg(&buf, STR("PING"));
    return redis_request_finish(request, &buf);
}
