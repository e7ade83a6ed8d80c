/*
 * What the files that spell commands share.
 */
#pragma once

#include "commands/redis_command.h"
#include "redis/write.h"

enum redis_script_number {
    SCRIPT_ack,
    SCRIPT_claim,
    SCRIPT_complete,
    SCRIPT_complete_canvas,
    SCRIPT_dead_end,
    SCRIPT_dead_list,
    SCRIPT_dead_nodes,
    SCRIPT_delayed_end,
    SCRIPT_delayed_list,
    SCRIPT_fire,
    SCRIPT_give_back,
    SCRIPT_leave,
    SCRIPT_page,
    SCRIPT_park,
    SCRIPT_promote,
    SCRIPT_publish,
    SCRIPT_purge,
    SCRIPT_push,
    SCRIPT_push_once,
    SCRIPT_renew,
    SCRIPT_reply,
    SCRIPT_rescue,
    SCRIPT_results,
    SCRIPT_revocations,
    SCRIPT_revoke,
    SCRIPT_stats,
    SCRIPT_store,
    SCRIPT_take_over,
    SCRIPT_track,
    SCRIPT_unstage,
};

/* Begins a call of `script`; `payload` is a guess of the bytes of its keys and arguments. */
struct buf script_begin(struct redis_request *request,
                        enum redis_script_number script,
                        size_t keys,
                        size_t args,
                        size_t payload);
void command_add_list(struct buf *buf,
                      const struct key_space *space,
                      const struct broker_message *message);
void command_add_counts(struct buf *buf, const struct key_space *space, struct str queue);
void command_add_tag(struct buf *buf, const struct broker_claim *claim);
void command_add_delayed_head(struct buf *buf,
                              const struct queue_keys *keys,
                              const struct broker_claim *claim);
void command_add_dead(struct buf *buf, const struct broker_dead *dead);
void command_add_limits(struct buf *buf, const struct dead_limits *limits);
void command_add_result(struct buf *buf, const struct key_space *space, struct str id);
void command_add_group(struct buf *buf,
                       const struct key_space *space,
                       struct str group,
                       const char *suffix);
/* A chord that is opened, as an action of part_chord.lua. */
enum { COMMAND_CHORD_KEYS = 3, COMMAND_CHORD_ARGS = 4 };
void command_add_chord_keys(struct buf *buf,
                            const struct key_space *space,
                            const struct plan_chord *chord);
void command_add_chord(struct buf *buf, const struct plan_chord *chord);
void command_add_lists(struct buf *buf, const struct str *lists); /* STEP_COUNT of them */

static inline uint64_t ms_up(usec_t time)
{
    return time / USEC_PER_MSEC + (time % USEC_PER_MSEC != 0);
}

static inline uint64_t seconds_up(usec_t time)
{
    return time / USEC_PER_SEC + (time % USEC_PER_SEC != 0);
}
