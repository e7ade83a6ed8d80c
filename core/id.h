/*
 * Random ids: task ids (uuid4 text) and node incarnations. From the kernel's random source.
 */
#pragma once

#include "core/str.h"

enum { UUID_SIZE = 37 };

/* Writes a version 4 UUID, terminated; gives a view of it. Safe in every thread and after fork. */
struct str uuid_new(char buffer[UUID_SIZE]);
