/*
 * A signature as JSON text. What the check finds good can be published, or the error says why not; what
 * is published can be read, its signatures are good again, and when its first message fails, that can be
 * followed.
 */
#include "canvas/follow.h"
#include "canvas/join.h"
#include "canvas/replace.h"
#include "canvas/signature.h"
#include "core/json.h"
#include "message/body.h"
#include "tests/fuzz/fuzz.h"

static const struct canvas_sender sender = {
    .origin = STR("fuzz"), .default_queue = STR("celery"), .now_wall = 1893456000000000};

/* Ends the call in each state; with a chord of its own that is joined then. */
static void end(const struct envelope *envelope, const struct cel_value *embed)
{
    static const char *const states[] = {"SUCCESS", "FAILURE", "REVOKED"};
    struct str part = STR("[1, \"x\", \"FAILURE\", {\"exc_type\": \"E\"}]");
    struct plan_joined joined = {.group = envelope->group, .parts = &part, .part_count = 1};
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        struct plan plan = PLAN_INIT;
        struct ended ended = {.envelope = envelope,
                              .embed = embed,
                              .state = str_of(states[i]),
                              .result_json = STR("[1]")};
        struct cel_error err = {0};
        int r = canvas_follow(&ended, &sender, &plan, &err);
        ASSERT(r == 0 || (err.code == r && plan_is_empty(&plan)));
        if (envelope->group.ptr)
            ASSERT(canvas_join(&ended, &joined, 1, &sender, &plan, &err) <= 0);
        plan_deinit(&plan);
    }
}

static void replace(const struct envelope *envelope,
                    const struct cel_value *embed,
                    const struct cel_value *signature)
{
    struct plan plan = PLAN_INIT;
    struct cel_error err = {0};
    int r = canvas_replace(envelope, embed, signature, &sender, &plan, &err);
    ASSERT(r == 0 || (err.code == r && plan_is_empty(&plan)));
    r = canvas_add_to_chord(envelope, embed, signature, &sender, &plan, &err);
    ASSERT(r == 0 || err.code == r);
    plan_deinit(&plan);
}

static void look_at_first(const struct plan *plan, const struct cel_value *signature)
{
    struct str text = str_of(plan->messages[0].text);
    struct envelope envelope;
    struct body body;
    ASSERT(envelope_decode(text, &envelope, NULL) == 0);
    if (body_decode(&envelope, &body, NULL) == 0) { /* not when it is too large to be read */
        end(&envelope, body.embed);
        replace(&envelope, body.embed, signature);
        body_deinit(&body);
    }
    envelope_deinit(&envelope);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cel_value *signature, *pre = cel_int(1);
    struct plan plan = PLAN_INIT;
    struct buf handle = BUF_INIT(1 << 24);
    struct cel_error err = {0};
    if (json_decode(str_n(data, size), &signature, NULL) == 0) {
        const struct cel_value *before[] = {pre};
        int checked = signature_check(signature, NULL);
        int r = canvas_publish(signature, before, 1, &sender, &plan, &handle, &err);
        ASSERT(r == 0 || (err.code == r && err.text[0] && plan_is_empty(&plan)));
        ASSERT(checked == 0 || r == checked);
        if (r == 0 && plan.message_count > 0)
            look_at_first(&plan, signature);
        cel_value_free(signature);
    }
    cel_value_free(pre);
    buf_deinit(&handle);
    plan_deinit(&plan);
    return 0;
}
