/*
 * Compressed bodies, by kombu's names: zlib, bzip2, lzma (.xz) and zstd. The only file that knows
 * these libraries.
 */
#pragma once

#include "celeriac/call.h"
#include "core/buf.h"
#include "core/error.h"

/* The method of a header `compression`, or of any other of its names; CEL_UNCOMPRESSED: there is
 * none of that name here. */
enum cel_compression compression_find(struct str name);
/* Its name in the header; absent for CEL_UNCOMPRESSED and what is none. */
struct str compression_name(enum cel_compression compression);

/* Appends the bytes that `packed` holds, up to the ceiling of `buf`. CEL_E_FORMAT: it holds none;
 * CEL_E_LIMIT, also when the decoder wants too much memory; -ENOMEM. `err` begins "The body". */
int compression_unpack(enum cel_compression compression,
                       struct str packed,
                       struct buf *buf,
                       struct cel_error *err) MUST_CHECK;
/* Appends them packed. -ENOMEM, CEL_E_LIMIT. */
int compression_pack(enum cel_compression compression,
                     struct str bytes,
                     struct buf *buf) MUST_CHECK;
