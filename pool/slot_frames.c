/*
 * Frames are decoded where they were read, in a buffer shared by all slots; only the beginning of
 * an unfinished frame is kept. Frames out are written at once; what the socket does not take is
 * copied and written by libuv.
 */
#include "pool/slot_priv.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "core/log.h"
#include "core/mem.h"

/* --- frames in -------------------------------------------------------------------------------- */

/* The child broke the protocol: a stray write by task code, most likely. It cannot be trusted. */
static void condemn(struct slot *slot, const char *why)
{
    slot->deaf = true;
    log_error("Child sent nonsense and is killed", F_I64("pid", slot->pid),
              F_U64("slot", slot->number), F_C("err", why));
    uv_read_stop((uv_stream_t *)&slot->pipe);
    slot_begin_stop(slot, DEATH_CRASH, SIGKILL);
}

static int take_hello(struct slot *slot, const struct frame_hello *hello)
{
    if (slot->has_hello || hello->version != FRAME_VERSION)
        return -EPROTO;
    slot->has_hello = slot->proven = true;
    if (slot->state == SLOT_STARTING) {
        slot_set_state(slot, SLOT_IDLE);
        slot->shared->events->on_hello(slot, hello);
    }
    return 0;
}

/* Whether the child may speak of that run: it has its whole frame. (The socket may have taken the
 * rest of it while libuv has not yet said so.) */
static bool is_at_work_on(const struct slot *slot, uint64_t seq)
{
    return slot->job && slot->job->seq == seq &&
           uv_stream_get_write_queue_size((const uv_stream_t *)&slot->pipe) == 0;
}

static int take_progress(struct slot *slot, const struct frame_progress *progress)
{
    if (!is_at_work_on(slot, progress->seq))
        return -EPROTO;
    slot->shared->events->on_progress(slot, slot->job, progress);
    return 0;
}

static int take_outcome(struct slot *slot, const struct frame_outcome *outcome)
{
    if (!is_at_work_on(slot, outcome->seq))
        return -EPROTO;
    struct job *job = slot_take_job(slot);
    if (slot->writes > 0)
        slot->shared->events->on_written(slot, job);
    slot->tasks++;
    slot->bad_starts = 0;
    if (slot->state == SLOT_BUSY)
        slot_set_state(slot, SLOT_IDLE);
    else if (slot->state == SLOT_RETIRING)
        slot_stop(slot, DEATH_CRASH);
    slot->shared->events->on_outcome(slot, job, outcome);
    return 0;
}

static int take_awaited(struct slot *slot, uint64_t seq)
{
    if (!is_at_work_on(slot, seq))
        return -EPROTO;
    slot->job->is_awaited = true;
    return 0;
}

static int take_dying(struct slot *slot, const struct frame_dying *dying)
{
    if (!is_at_work_on(slot, dying->seq))
        return -EPROTO;
    if (slot->state != SLOT_STOPPING)
        slot->cause = DEATH_MEMORY_LIMIT;
    return 0;
}

static int take_frame(struct slot *slot, const struct frame *frame)
{
    switch (frame->type) {
    case FRAME_HELLO:
        return take_hello(slot, &frame->hello);
    case FRAME_PROGRESS:
        return take_progress(slot, &frame->progress);
    case FRAME_OUTCOME:
        return take_outcome(slot, &frame->outcome);
    case FRAME_AWAITED:
        return take_awaited(slot, frame->awaited_seq);
    case FRAME_DYING:
        return take_dying(slot, &frame->dying);
    case FRAME_SETUP:
    case FRAME_RUN:
    case FRAME_FOLLOW:
        break;
    }
    return -EPROTO;
}

/* Takes the whole frames at the beginning of `bytes`; `*ret_used` counts theirs. */
static int take_frames(struct slot *slot, struct str bytes, size_t *ret_used)
{
    size_t used = 0;
    int r = 0;
    while (r == 0 && used < bytes.len) {
        struct frame frame;
        size_t len;
        struct cel_error err = {0};
        r = frame_decode(str_n(bytes.ptr + used, bytes.len - used), &frame, &len, &err);
        if (r == -EAGAIN) {
            r = 0;
            break;
        }
        if (r < 0) {
            condemn(slot, err.text);
            break;
        }
        used += len;
        r = take_frame(slot, &frame);
        frame_deinit(&frame);
        if (r < 0)
            condemn(slot, "a frame that was not its turn");
    }
    *ret_used = used;
    return r;
}

static void feed(struct slot *slot, struct str bytes)
{
    size_t used;
    if (slot->deaf)
        return;
    if (slot->in.len == 0) {
        if (take_frames(slot, bytes, &used) == 0)
            buf_add(&slot->in, bytes.ptr + used, bytes.len - used);
    } else {
        buf_add_str(&slot->in, bytes);
        if (buf_status(&slot->in) == 0 && take_frames(slot, buf_str(&slot->in), &used) == 0)
            buf_consume(&slot->in, used);
    }
    if (buf_status(&slot->in) < 0 && !slot->deaf)
        condemn(slot, "a frame that is too long");
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct slot *slot = handle->data;
    (void)suggested;
    *buf = uv_buf_init(slot->shared->in, SLOT_READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct slot *slot = stream->data;
    if (len > 0)
        feed(slot, str_n(buf->base, (size_t)len));
    if (len >= 0)
        return;
    /* It ends, or closed its descriptor and is of no use any more. */
    uv_read_stop(stream);
    slot_begin_stop(slot, slot->cause, 0);
}

int slot_listen(struct slot *slot)
{
    return uv_read_start((uv_stream_t *)&slot->pipe, on_alloc, on_read);
}

/* A grandchild may hold the other end open, so this ends at the first EAGAIN. */
void slot_drain(struct slot *slot)
{
    uv_os_fd_t fd;
    if (uv_fileno((const uv_handle_t *)&slot->pipe, &fd) < 0)
        return;
    uv_read_stop((uv_stream_t *)&slot->pipe);
    for (;;) {
        ssize_t len = read(fd, slot->shared->in, SLOT_READ_BYTES);
        if (len < 0 && errno == EINTR)
            continue;
        if (len <= 0)
            return;
        feed(slot, str_n(slot->shared->in, (size_t)len));
    }
}

/* --- frames out ------------------------------------------------------------------------------- */

struct slot_write {
    uv_write_t request;
    struct slot *slot;
    char bytes[];
};

static void on_write_done(uv_write_t *request, int status)
{
    struct slot_write *write = container_of(request, struct slot_write, request);
    struct slot *slot = write->slot;
    mem_free(write);
    if (status < 0) {
        slot->deaf = true; /* the process ends, or has ended, and has nothing to answer to */
        return;            /* counted as not written */
    }
    slot->writes--;
    if (slot->writes == 0 && slot->job)
        slot->shared->events->on_written(slot, slot->job);
}

int slot_write(struct slot *slot, struct str bytes)
{
    uv_stream_t *stream = (uv_stream_t *)&slot->pipe;
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes.ptr, (unsigned)bytes.len);
    int r = slot->writes == 0 ? uv_try_write(stream, &buf, 1) : UV_EAGAIN;
    if (r == (int)bytes.len)
        return 1;
    if (r < 0 && r != UV_EAGAIN)
        return r;
    size_t done = r > 0 ? (size_t)r : 0;
    size_t rest = bytes.len - done;
    struct slot_write *write = mem_alloc(sizeof(*write) + rest);
    if (!write)
        return -ENOMEM;
    write->slot = slot;
    memcpy(write->bytes, bytes.ptr + done, rest);
    buf = uv_buf_init(write->bytes, (unsigned)rest);
    r = uv_write(&write->request, stream, &buf, 1, on_write_done);
    if (r < 0) {
        mem_free(write);
        return r;
    }
    slot->writes++;
    return 0;
}

static void arm_limits(struct slot *slot, const struct job *job)
{
    if (job->soft_limit == 0 && job->hard_limit == 0)
        return;
    usec_t now = clock_mono();
    if (job->soft_limit)
        slot->soft_mono = now + job->soft_limit;
    if (job->hard_limit)
        slot->hard_mono = now + job->hard_limit;
    slot->shared->events->on_wake(slot, slot->soft_mono < slot->hard_mono ? slot->soft_mono
                                                                          : slot->hard_mono);
}

static void add_job(struct buf *out, const struct job *job)
{
    if (job->follow)
        frame_add_follow(out, job->follow);
    else
        frame_add_run(out, &(struct frame_run){.seq = job->seq,
                                               .soft_limit = job->soft_limit,
                                               .hard_limit = job->hard_limit,
                                               .envelope = job->envelope});
}

int slot_run(struct slot *slot, struct job *job)
{
    struct buf *out = &slot->shared->out;
    buf_clear(out);
    add_job(out, job);
    int r = buf_status(out);
    if (r < 0)
        return r; /* nothing was written; the child is as it was */
    r = slot_write(slot, buf_str(out));
    if (r < 0) {
        slot_stop(slot, DEATH_CRASH);
        return r;
    }
    slot->cause = DEATH_CRASH;
    slot->job = job;
    slot_set_state(slot, SLOT_BUSY);
    arm_limits(slot, job);
    return r;
}
