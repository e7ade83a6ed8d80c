/*
 * The confirmation of one push: WAIT and WAITAOF behind it, on the connection that took it. For
 * push.c alone.
 *
 *   confirm_new --not known to be able--> confirm_probe --on_able--+
 *        |                                                         v
 *        +--confirm_is_able--> confirm_format --> (the push goes) --> confirm_send --> on_end
 */
#pragma once

#include "broker/broker_priv.h"

struct confirm;

struct confirm_events {
    /* The connection is made and its server can confirm, or why not. */
    void (*on_able)(void *data, int status, const struct cel_error *err);
    /* 0, or CEL_E_UNCONFIRMED with what is missing; `is_cut` as in struct broker_pushed. */
    void (*on_end)(void *data, int status, bool is_cut, const struct cel_error *err);
};

/* NULL when memory is short. confirm_free only while nothing of it is under way. */
struct confirm *confirm_new(struct broker *broker,
                            const struct broker_promises *promises,
                            usec_t deadline_mono,
                            const struct confirm_events *events,
                            void *data);
void confirm_free(struct confirm *confirm); /* takes NULL */

bool confirm_is_able(const struct confirm *confirm);
int confirm_probe(struct confirm *confirm) MUST_CHECK;
int confirm_format(struct confirm *confirm) MUST_CHECK;
/* In the same turn as the push, after it. */
void confirm_send(struct confirm *confirm);
/* A part of the push was answered on the present connection. */
void confirm_note_push(struct confirm *confirm);
/* Takes back what was not written; true when on_end will not come any more. */
bool confirm_abandon(struct confirm *confirm);
