#!/bin/sh
# check_json_reader.sh OBJECT: the object file of core/json_reader.cpp asks for nothing of the C++ run time.
set -eu
wanted=$(nm --undefined-only --demangle --format=posix "$1" | sed 's/ U.*//')
[ -n "$wanted" ] || { echo "$1 has no symbols: not the right file" >&2; exit 1; }
foreign=$(echo "$wanted" | grep -E 'std::|operator (new|delete)|__cxa|__gxx|typeinfo|vtable|^(malloc|realloc|calloc|free)$' || true)
[ -z "$foreign" ] || { echo "core/json_reader.cpp needs:" "$foreign" >&2; exit 1; }
