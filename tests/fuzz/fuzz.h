/*
 * What every fuzz target is: it takes any bytes, and ASSERTs what must hold of them. The bytes
 * stand in a block of exactly their size, so that the address sanitizer sees a read beyond them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* 0 */
