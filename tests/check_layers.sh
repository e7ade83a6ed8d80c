#!/bin/sh
# The walls of docs/architecture.md, read off the includes: a room includes only what it may know, and a
# foreign library has its doors.
set -eu
cd "$(dirname "$0")/.."
failed=0

complain() {
    echo "$1" >&2
    failed=1
}

# room: the rooms whose headers it may include
allow() {
    room=$1
    allowed=$2
    for file in $(git ls-files "$room/*.c" "$room/*.h" "$room/*.cpp"); do
        grep -oE '^#include "[a-z]+/' "$file" | sed 's/#include "//; s,/,,' | sort -u | while read -r used; do
            case " $room $allowed " in
            *" $used "*) ;;
            *) echo "$file includes $used/: $room may include $allowed" ;;
            esac
        done
    done
}

violations=$(
    allow core "celeriac"
    allow message "core celeriac"
    allow canvas "core message celeriac"
    allow redis "core"
    allow commands "core redis message"
    allow broker "core redis message commands"
    allow bus "core redis commands"
    allow keeper "core message broker store"
    allow intake "core message broker keeper"
    allow store "core message celeriac"
    allow ledger "core store"
    allow client "core message canvas broker celeriac"
    allow child "core message canvas store celeriac"
    allow pool "core child"
    allow control "core message redis broker bus"
    allow worker "core redis message broker bus keeper intake store ledger child pool control"
    allow beat "core message broker keeper store celeriac"
    allow tasks "shop"
    allow cli "core redis message broker bus store client child worker beat celeriac"
)
[ -z "$violations" ] || complain "$violations"

# library: the files that may include it
door() {
    pattern=$1
    shift
    for file in $(git ls-files 'core/*' 'message/*' 'canvas/*' 'redis/*' 'commands/*' 'broker/*' 'bus/*' 'keeper/*' 'intake/*' 'store/*' 'ledger/*' 'client/*' 'child/*' 'pool/*' 'control/*' 'worker/*' 'beat/*' 'cli/*' 'include/*' |
        grep -E '\.(c|h|cpp)$' | xargs grep -lE "^#include <($pattern)" || true); do
        case " $* " in
        *" $file "*) ;;
        *) complain "$file includes <$pattern>: only $* may" ;;
        esac
    done
}
door 'libpq|pg_config|postgresql' store/pg.c store/pg_priv.h include/celeriac/outbox.h
door 'hiredis' redis/reply.c
door 'rapidjson' core/json_reader.cpp
door 'msgpack' core/msgpack.c child/frame.c
door 'ini\.h' core/config.c
door 'systemd' core/process.c
door 'zlib|bzlib|lzma|zstd' message/compression.c
door 'pcre2' control/match.c

# the supervisor shares the frames with its pool processes, and nothing else
if git ls-files 'pool/*.[ch]' 'worker/*.[ch]' | xargs grep -nE '^#include "child/' | grep -v '"child/frame.h"'; then
    complain "pool/ and worker/: of child/ only frame.h"
fi
# the bus shares the names of keys with the broker; remote control shows bodies in one place; who decides
# what becomes of a call opens none
if git ls-files 'control/*.[ch]' | xargs grep -nE '^#include "message/body\.h"' | grep -v '^control/call_info.c:'; then
    complain "control/: bodies are opened in call_info.c alone"
fi
# the broker looks at headers of messages, never at bodies; tasks see the public headers alone
if git ls-files 'commands/*.[ch]' 'broker/*.[ch]' | xargs grep -nE '^#include "message/(body|call|result|envelope)\.h"'; then
    complain "commands/ and broker/: a call is headers and bytes"
fi
if git ls-files 'tasks/*.[ch]' | xargs grep -nE '^#include "(core|redis|message|canvas|commands|broker|bus|keeper|intake|store|ledger|client|child|pool|control|worker|beat)/'; then
    complain "tasks/: public headers alone"
fi
exit $failed
