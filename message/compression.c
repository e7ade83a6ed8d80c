/*
 * Each method is a step: from the bytes that are left into the room that is there. One loop takes
 * all of them from chunk to chunk, until the stream ends or the ceiling is met, so that a small
 * message cannot fill the memory.
 */
#include "message/compression.h"

#include <errno.h>

#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "core/value.h"

enum { CHUNK = 16 * 1024, ZLIB_OR_GZIP = 32 + MAX_WBITS };
enum { DECODER_MIB_MAX = 128, WINDOW_LOG_MAX = 27 }; /* xz -9 takes half of it */

/* What a step sees; it moves on in both. */
struct flow {
    const char *in;
    size_t in_len;
    char *out;
    size_t room;
};

/* Condition of a step: the stream is complete. */
enum { STEP_END = 1 };

/* 0: there is more to do; STEP_END; CEL_E_FORMAT, CEL_E_LIMIT, -ENOMEM. */
typedef int step_fn(void *decoder, struct flow *flow);

static int unpack_all(step_fn *step, void *decoder, struct str packed, struct buf *buf)
{
    struct flow flow = {.in = packed.ptr, .in_len = packed.len};
    int r = 0;
    while (r == 0) {
        size_t left = buf->max - buf->len, room = left < CHUNK && left > 0 ? left : CHUNK;
        flow.out = buf_reserve(buf, room);
        if (!flow.out)
            return buf_status(buf);
        flow.room = room;
        bool had_nothing = flow.in_len == 0;
        r = step(decoder, &flow);
        buf_added(buf, room - flow.room);
        if (r == 0 && had_nothing && flow.room == room)
            return CEL_E_FORMAT; /* it breaks off */
    }
    return r == STEP_END ? 0 : r;
}

/* --- zlib ------------------------------------------------------------------------------------- */

static int step_zlib(void *decoder, struct flow *flow)
{
    z_stream *stream = decoder;
    stream->next_in = (z_const Bytef *)flow->in;
    stream->avail_in = (uInt)flow->in_len;
    stream->next_out = (Bytef *)flow->out;
    stream->avail_out = (uInt)flow->room;
    int r = inflate(stream, Z_NO_FLUSH);
    flow->in = (const char *)stream->next_in;
    flow->in_len = stream->avail_in;
    flow->room = stream->avail_out;
    return r == Z_OK ? 0 : r == Z_STREAM_END ? STEP_END : r == Z_MEM_ERROR ? -ENOMEM : CEL_E_FORMAT;
}

static int unpack_zlib(struct str packed, struct buf *buf)
{
    z_stream stream = {0};
    if (inflateInit2(&stream, ZLIB_OR_GZIP) != Z_OK)
        return -ENOMEM;
    int r = unpack_all(step_zlib, &stream, packed, buf);
    inflateEnd(&stream);
    return r;
}

static int pack_zlib(struct str bytes, struct buf *buf)
{
    uLongf len = compressBound(bytes.len);
    char *to = buf_reserve(buf, len);
    if (!to)
        return buf_status(buf);
    if (compress2((Bytef *)to, &len, (const Bytef *)bytes.ptr, bytes.len, Z_DEFAULT_COMPRESSION) !=
        Z_OK)
        return -ENOMEM;
    buf_added(buf, len);
    return 0;
}

/* --- bzip2 ------------------------------------------------------------------------------------ */

static int step_bzip2(void *decoder, struct flow *flow)
{
    bz_stream *stream = decoder;
    stream->next_in = (char *)(uintptr_t)flow->in; /* only read */
    stream->avail_in = (unsigned)flow->in_len;
    stream->next_out = flow->out;
    stream->avail_out = (unsigned)flow->room;
    int r = BZ2_bzDecompress(stream);
    flow->in = stream->next_in;
    flow->in_len = stream->avail_in;
    flow->room = stream->avail_out;
    return r == BZ_OK           ? 0
           : r == BZ_STREAM_END ? STEP_END
           : r == BZ_MEM_ERROR  ? -ENOMEM
                                : CEL_E_FORMAT;
}

static int unpack_bzip2(struct str packed, struct buf *buf)
{
    bz_stream stream = {0};
    if (BZ2_bzDecompressInit(&stream, 0, 0) != BZ_OK)
        return -ENOMEM;
    int r = unpack_all(step_bzip2, &stream, packed, buf);
    BZ2_bzDecompressEnd(&stream);
    return r;
}

static int pack_bzip2(struct str bytes, struct buf *buf)
{
    enum { BEST = 9 };
    unsigned len = (unsigned)(bytes.len + bytes.len / 100 + 600); /* as its manual has it */
    char *to = buf_reserve(buf, len);
    if (!to)
        return buf_status(buf);
    if (BZ2_bzBuffToBuffCompress(to, &len, (char *)(uintptr_t)bytes.ptr, (unsigned)bytes.len, BEST,
                                 0, 0) != BZ_OK)
        return -ENOMEM;
    buf_added(buf, len);
    return 0;
}

/* --- lzma ------------------------------------------------------------------------------------- */

static int step_lzma(void *decoder, struct flow *flow)
{
    lzma_stream *stream = decoder;
    stream->next_in = (const uint8_t *)flow->in;
    stream->avail_in = flow->in_len;
    stream->next_out = (uint8_t *)flow->out;
    stream->avail_out = flow->room;
    lzma_ret r = lzma_code(stream, LZMA_FINISH);
    flow->in = (const char *)stream->next_in;
    flow->in_len = stream->avail_in;
    flow->room = stream->avail_out;
    return r == LZMA_OK               ? 0
           : r == LZMA_STREAM_END     ? STEP_END
           : r == LZMA_MEM_ERROR      ? -ENOMEM
           : r == LZMA_MEMLIMIT_ERROR ? CEL_E_LIMIT
                                      : CEL_E_FORMAT;
}

static int unpack_lzma(struct str packed, struct buf *buf)
{
    lzma_stream stream = LZMA_STREAM_INIT;
    if (lzma_auto_decoder(&stream, UINT64_C(1048576) * DECODER_MIB_MAX, 0) != LZMA_OK)
        return -ENOMEM;
    int r = unpack_all(step_lzma, &stream, packed, buf);
    lzma_end(&stream);
    return r;
}

static int pack_lzma(struct str bytes, struct buf *buf)
{
    size_t room = lzma_stream_buffer_bound(bytes.len), len = 0;
    char *to = buf_reserve(buf, room);
    if (!to)
        return buf_status(buf);
    if (lzma_easy_buffer_encode(LZMA_PRESET_DEFAULT, LZMA_CHECK_CRC64, NULL,
                                (const uint8_t *)bytes.ptr, bytes.len, (uint8_t *)to, &len,
                                room) != LZMA_OK)
        return -ENOMEM;
    buf_added(buf, len);
    return 0;
}

/* --- zstd ------------------------------------------------------------------------------------- */

static int step_zstd(void *decoder, struct flow *flow)
{
    ZSTD_inBuffer in = {flow->in, flow->in_len, 0};
    ZSTD_outBuffer out = {flow->out, flow->room, 0};
    size_t r = ZSTD_decompressStream(decoder, &out, &in);
    flow->in += in.pos;
    flow->in_len -= in.pos;
    flow->room -= out.pos;
    if (!ZSTD_isError(r))
        return r == 0 ? STEP_END : 0;
    ZSTD_ErrorCode code = ZSTD_getErrorCode(r);
    return code == ZSTD_error_memory_allocation               ? -ENOMEM
           : code == ZSTD_error_frameParameter_windowTooLarge ? CEL_E_LIMIT
                                                              : CEL_E_FORMAT;
}

static int unpack_zstd(struct str packed, struct buf *buf)
{
    ZSTD_DStream *stream = ZSTD_createDStream();
    if (!stream)
        return -ENOMEM;
    ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
    int r = unpack_all(step_zstd, stream, packed, buf);
    ZSTD_freeDStream(stream);
    return r;
}

/* With its size at the front, which Python's readers need. */
static int pack_zstd(struct str bytes, struct buf *buf)
{
    size_t room = ZSTD_compressBound(bytes.len);
    char *to = buf_reserve(buf, room);
    if (!to)
        return buf_status(buf);
    size_t len = ZSTD_compress(to, room, bytes.ptr, bytes.len, ZSTD_CLEVEL_DEFAULT);
    if (ZSTD_isError(len))
        return -ENOMEM;
    buf_added(buf, len);
    return 0;
}

/* --- by name ---------------------------------------------------------------------------------- */

static const struct method {
    const char *name;       /* in the header; kombu's "gzip" is zlib's format, not gzip's */
    const char *aliases[2]; /* the last is what one calls it */
    int (*unpack)(struct str packed, struct buf *buf);
    int (*pack)(struct str bytes, struct buf *buf);
} methods[] = {
    [CEL_ZLIB] = {"application/x-gzip", {"gzip", "zlib"}, unpack_zlib, pack_zlib},
    [CEL_BZIP2] = {"application/x-bz2", {"bzip", "bzip2"}, unpack_bzip2, pack_bzip2},
    [CEL_LZMA] = {"application/x-lzma", {"xz", "lzma"}, unpack_lzma, pack_lzma},
    [CEL_ZSTD] = {"application/zstd", {"zstandard", "zstd"}, unpack_zstd, pack_zstd},
};

static const struct method *method_of(enum cel_compression compression)
{
    bool is_one = (size_t)compression < ARRAY_SIZE(methods) && methods[compression].name;
    return is_one ? &methods[compression] : NULL;
}

enum cel_compression compression_find(struct str name)
{
    for (size_t i = CEL_ZLIB; i < ARRAY_SIZE(methods); i++) {
        const struct method *method = &methods[i];
        if (str_equal(name, str_of(method->name)) || str_equal(name, str_of(method->aliases[0])) ||
            str_equal(name, str_of(method->aliases[1])))
            return (enum cel_compression)i;
    }
    return CEL_UNCOMPRESSED;
}

struct str compression_name(enum cel_compression compression)
{
    const struct method *method = method_of(compression);
    return method ? str_of(method->name) : STR_NONE;
}

int compression_unpack(enum cel_compression compression,
                       struct str packed,
                       struct buf *buf,
                       struct cel_error *err)
{
    const struct method *method = method_of(compression);
    int r = method ? method->unpack(packed, buf) : -EINVAL;
    if (r == -ENOMEM)
        return error_no_memory(err);
    if (r == CEL_E_LIMIT && buf_status(buf) == CEL_E_LIMIT)
        return error_set(err, r, "The body exceeds %zu bytes when it is decompressed", buf->max);
    if (r == CEL_E_LIMIT)
        return error_set(err, r, "The body takes more than %d MiB to be decompressed with %s",
                         (int)DECODER_MIB_MAX, method->aliases[1]);
    if (r)
        return error_set(err, r, "The body is not compressed with %s",
                         method ? method->aliases[1] : "anything known");
    return 0;
}

int compression_pack(enum cel_compression compression, struct str bytes, struct buf *buf)
{
    const struct method *method = method_of(compression);
    return method ? method->pack(bytes, buf) : -EINVAL;
}
