/*
 * What the two files of a slot share: slot.c is the process, slot_frames.c its socket.
 */
#pragma once

#include "pool/slot.h"

/* To STOPPING, if it is not there yet, with a signal; 0: the child sees the end of its descriptor. */
void slot_begin_stop(struct slot *slot, enum death_cause cause, int number);
/* The job that the slot has, or NULL; its clocks stop. */
struct job *slot_take_job(struct slot *slot);

int slot_listen(struct slot *slot) MUST_CHECK; /* begins to read; 0 or what libuv says */
/* 1: written; 0: being written; negative: the child does not take it. */
int slot_write(struct slot *slot, struct str bytes) MUST_CHECK;
/* Takes what a dead process left in its socket. */
void slot_drain(struct slot *slot);
