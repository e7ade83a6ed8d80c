/*
 * Frames come from a process that runs code which is not ours. What is read borrows from the bytes
 * alone, asks for no more memory than the bytes can pay for, and can be written again.
 */
#include <errno.h>

#include "child/frame.h"
#include "core/mem.h"
#include "tests/fuzz/fuzz.h"

static void write_again(struct buf *buf, const struct frame *frame)
{
    switch (frame->type) {
    case FRAME_SETUP:
        frame_add_setup(buf, &frame->setup);
        break;
    case FRAME_HELLO:
        frame_add_hello(buf, &frame->hello);
        break;
    case FRAME_RUN:
        frame_add_run(buf, &frame->run);
        break;
    case FRAME_PROGRESS:
        frame_add_progress(buf, &frame->progress);
        break;
    case FRAME_OUTCOME:
        frame_add_outcome(buf, &frame->outcome);
        break;
    case FRAME_FOLLOW:
        frame_add_follow(buf, &frame->follow);
        break;
    case FRAME_AWAITED:
        frame_add_awaited(buf, frame->awaited_seq);
        break;
    case FRAME_DYING:
        frame_add_dying(buf, &frame->dying);
        break;
    }
}

/* Writing is one to one: what was written, read and written again is the same. */
static void check_written(const struct frame *frame)
{
    struct buf bytes = BUF_INIT(SIZE_MAX), again = BUF_INIT(SIZE_MAX);
    struct frame back;
    size_t len = 0;
    write_again(&bytes, frame);
    ASSERT(buf_status(&bytes) == 0);
    ASSERT(frame_decode(buf_str(&bytes), &back, &len, NULL) == 0);
    ASSERT(len == bytes.len && back.type == frame->type);
    write_again(&again, &back);
    ASSERT(str_equal(buf_str(&bytes), buf_str(&again)));
    frame_deinit(&back);
    buf_deinit(&bytes);
    buf_deinit(&again);
}

static void check_short_memory(struct str bytes)
{
    struct frame frame;
    size_t len;
    mem_fail_after(1 + (unsigned char)bytes.ptr[bytes.len / 2] % 3);
    int r = frame_decode(bytes, &frame, &len, NULL);
    mem_fail_after(0);
    ASSERT(r == 0 || r == -ENOMEM);
    if (r == 0)
        frame_deinit(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_n(data, size);
    struct cel_error err = {0};
    struct frame frame;
    size_t len = 0;
    int r = frame_decode(bytes, &frame, &len, &err);
    ASSERT(r == 0 || r == -EAGAIN || r == CEL_E_FORMAT || r == CEL_E_LIMIT);
    ASSERT(err.code == (r == -EAGAIN ? 0 : r));
    if (r)
        return 0;
    ASSERT(len >= FRAME_HEADER && len <= size);
    check_written(&frame);
    check_short_memory(bytes);
    frame_deinit(&frame);
    return 0;
}
