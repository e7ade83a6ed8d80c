#!/bin/sh
# Sizes that ask for a second look: a file with a second noun, a room with a second room in it.
set -eu
cd "$(dirname "$0")/.."
failed=0
for file in $(git ls-files 'core/*.c' 'message/*.c' 'canvas/*.c' 'redis/*.c' 'commands/*.c' 'broker/*.c' 'bus/*.c' 'keeper/*.c' 'intake/*.c' 'store/*.c' 'ledger/*.c' 'client/*.c' 'child/*.c' 'pool/*.c' 'control/*.c' 'worker/*.c' 'beat/*.c' \
    'cli/*.c' 'tasks/*.c'); do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 800 ]; then
        echo "$file: $lines lines; a file has one subject (800 is the limit)" >&2
        failed=1
    fi
done
for room in core redis message canvas commands broker bus keeper intake store ledger client child pool control worker beat cli tasks; do
    lines=$(git ls-files "$room/*.c" | xargs cat 2>/dev/null | wc -l)
    if [ "$lines" -gt 5000 ]; then
        echo "$room/: $lines lines; there is a second room in it" >&2
        failed=1
    fi
done
exit $failed
