#!/bin/sh
# check_child_alone.sh EXECUTABLE INCLUDE: the child's side knows no Redis and no event loop, and task
# modules find every function of the public headers in it.
set -eu
executable=$1
include=$2
failed=0

if readelf -d "$executable" | grep -E 'NEEDED.*(hiredis|libuv)'; then
    echo "the child's side needs a library that it must not know" >&2
    failed=1
fi
exported=$(nm -D --defined-only "$executable" | awk '{print $3}')
for header in error value call task db; do
    for name in $(tr '\n' ' ' <"$include/celeriac/$header.h" |
        grep -oE 'CEL_API [^;({]*[ *]cel_[a-z_0-9]+\(' | grep -oE 'cel_[a-z_0-9]+\($' | tr -d '('); do
        if ! echo "$exported" | grep -qx "$name"; then
            echo "$header.h: $name is not exported" >&2
            failed=1
        fi
    done
done
[ "$(echo "$exported" | grep -c '^cel_')" -ge 60 ] || failed=1
exit $failed
