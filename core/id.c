#include "core/id.h"

#include <stdlib.h>

static bool is_dash_place(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

struct str uuid_new(char buffer[UUID_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[16];
    arc4random_buf(bytes, sizeof(bytes));
    bytes[6] = (unsigned char)((bytes[6] & 0x0F) | 0x40); /* version 4 */
    bytes[8] = (unsigned char)((bytes[8] & 0x3F) | 0x80); /* variant of RFC 4122 */
    size_t nibble = 0;
    for (size_t at = 0; at < UUID_SIZE - 1; at++) {
        if (is_dash_place(at)) {
            buffer[at] = '-';
            continue;
        }
        unsigned char byte = bytes[nibble / 2];
        buffer[at] = hex[nibble % 2 ? byte & 0x0F : byte >> 4];
        nibble++;
    }
    buffer[UUID_SIZE - 1] = '\0';
    return str_n(buffer, UUID_SIZE - 1);
}
