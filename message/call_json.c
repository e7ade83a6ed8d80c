#include "message/call_json.h"

#include <errno.h>

#include "core/json.h"
#include "core/value.h"

static const char *text_of(const struct cel_value *value)
{
    return cel_value_text(value, NULL);
}

static int64_t ms_of(const struct cel_value *seconds)
{
    return (int64_t)(cel_value_float(seconds, 0) * 1000);
}

static void take_headers(struct cel_call *call, const struct cel_value *headers)
{
    for (size_t i = 0; i < cel_value_count(headers); i++)
        cel_call_header(call, cel_value_key(headers, i), cel_value_dup(cel_value_at(headers, i)));
}

/* False for an option that is not known. What a setter refuses stays in the call. */
static bool take_option(struct cel_call *call, struct str name, const struct cel_value *value)
{
    if (str_equal(name, STR("queue")))
        cel_call_queue(call, text_of(value));
    else if (str_equal(name, STR("priority")))
        cel_call_priority(call, (int)cel_value_int(value, -1));
    else if (str_equal(name, STR("eta_ms")))
        cel_call_eta_ms(call, cel_value_int(value, -1));
    else if (str_equal(name, STR("expires_ms")))
        cel_call_expires_at_ms(call, cel_value_int(value, -1));
    else if (str_equal(name, STR("retries")))
        cel_call_retries(call, cel_value_int(value, -1));
    else if (str_equal(name, STR("ignore_result")))
        cel_call_ignore_result(call, cel_value_bool(value, false));
    else if (str_equal(name, STR("shadow")))
        cel_call_shadow(call, text_of(value));
    else if (str_equal(name, STR("headers")))
        take_headers(call, value);
    else
        return str_equal(name, STR("time_limit")) || str_equal(name, STR("soft_time_limit"));
    return true;
}

static int
take_options(struct cel_call *call, const struct cel_value *options, struct cel_error *err)
{
    for (size_t i = 0; i < cel_value_count(options); i++) {
        const char *name = cel_value_key(options, i);
        if (!take_option(call, str_of(name), cel_value_at(options, i)))
            return error_set(err, -EINVAL, "there is no option \"%.60s\"", name);
    }
    cel_call_time_limit_ms(call, ms_of(cel_value_get(options, "soft_time_limit")),
                           ms_of(cel_value_get(options, "time_limit")));
    return 0;
}

int call_from_json(struct str json, struct cel_call **ret_call, struct cel_error *err)
{
    struct cel_value *from = NULL;
    int status = json_decode(json, &from, err);
    if (status)
        return status;
    struct cel_call *call = cel_call_new(text_of(cel_value_get(from, "task")));
    if (call) {
        call_add_arguments(call, cel_value_get(from, "args"), cel_value_get(from, "kwargs"));
        status = take_options(call, cel_value_get(from, "options"), err);
    } else {
        status = error_no_memory(err);
    }
    cel_value_free(from);
    if (!status && call->error.code) {
        *err = call->error;
        status = err->code;
    }
    if (status)
        cel_call_free(call);
    else
        *ret_call = call;
    return status;
}
