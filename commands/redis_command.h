/*
 * Every command and every key that Celeriac spells (docs/keys.md): what the broker's files mean,
 * put into the bytes of a request; and what words of the server mean.
 *
 * The redis_command_* functions set `bytes` and `script` of a request. They return 0, -ENOMEM, or
 * CEL_E_LIMIT for a command that no server takes.
 */
#pragma once

#include "commands/redis_key.h"
#include "commands/types.h"
#include "redis/connection.h"

/* --- messages --------------------------------------------------------------------------------- */

/* All `messages` are of the queue and step of the first. */
int redis_command_push(struct redis_request *request,
                       const struct key_space *space,
                       const struct broker_message *messages,
                       size_t count) MUST_CHECK;
/* The same for those whose mark is not there; each has an id. Replies how many were pushed. */
int redis_command_push_once(struct redis_request *request,
                            const struct key_space *space,
                            const struct broker_message *messages,
                            size_t count,
                            usec_t window) MUST_CHECK;
/* Pushes all and opens the chords in one script, once by the promises of `p`; replies how many were pushed. */
int redis_command_publish(struct redis_request *request,
                          const struct key_space *space,
                          const struct broker_publication *p,
                          usec_t result_ttl) MUST_CHECK;
/* Takes the marks of messages away. */
int redis_command_forget_sent(struct redis_request *request,
                              const struct key_space *space,
                              const struct broker_message *messages,
                              size_t count) MUST_CHECK;
/* Both wait in the server at most `limit` for what this connection has written. Replies how many
 * replicas have it; an array that begins with 1 when it is on the server's own disk. */
int redis_command_wait_replicas(struct redis_request *request,
                                unsigned replicas,
                                usec_t limit) MUST_CHECK;
int redis_command_wait_disk(struct redis_request *request, usec_t limit) MUST_CHECK;
/* Asks for the second of them, which Redis has since 7.2; and what the reply means. */
int redis_command_knows_wait_disk(struct redis_request *request) MUST_CHECK;
bool redis_knows_command(const struct redis_reply *reply);
int redis_command_declare(struct redis_request *request,
                          const struct key_space *space,
                          struct str queue) MUST_CHECK;
int redis_command_fire(struct redis_request *request,
                       const struct key_space *space,
                       struct str entry,
                       usec_t slot_wall,
                       usec_t mark_ttl,
                       const struct broker_message *message) MUST_CHECK;

struct redis_tags {
    uint64_t first;
    size_t count;
};
/* Replies 0, or the id of the newest revocation, tag, message, tag, message ... */
int redis_command_claim(struct redis_request *request,
                        const struct key_space *space,
                        const struct queue_keys *keys,
                        struct redis_tags tags,
                        bool look_at_staged,
                        const struct redis_tags *unanswered,
                        size_t unanswered_count) MUST_CHECK;
/* Waits in the server at most `server_wait`; replies the message or nil. */
int redis_command_wait(struct redis_request *request,
                       const struct queue_keys *keys,
                       unsigned list,
                       usec_t server_wait) MUST_CHECK;
int redis_command_unblock(struct redis_request *request, int64_t client_id) MUST_CHECK;
int redis_command_unstage(struct redis_request *request, const struct queue_keys *keys) MUST_CHECK;

/* What is kept in quarantine. */
struct dead_limits {
    size_t count;
    usec_t age; /* 0: whatever the age */
};
/* `result_ttl` 0: for ever. `completion->result_id` absent: no result. */
int redis_command_complete(struct redis_request *request,
                           const struct key_space *space,
                           const struct queue_keys *keys,
                           const struct broker_completion *completion,
                           usec_t result_ttl,
                           const struct dead_limits *limits) MUST_CHECK;
/* What a completion does among the results, where these live on a server of their own; and the end of
 * the chords that it closes, when the rest has been done. */
int redis_command_results(struct redis_request *request,
                          const struct key_space *space,
                          const struct broker_completion *completion,
                          usec_t result_ttl) MUST_CHECK;
int redis_command_close_chords(struct redis_request *request,
                               const struct key_space *space,
                               const struct plan_results *results) MUST_CHECK;
int redis_command_holds(struct redis_request *request,
                        const struct queue_keys *keys,
                        const struct broker_claim *claim) MUST_CHECK;
/* Replies the numbers of those that are lost, 1 for the first, in order. */
int redis_command_ack(struct redis_request *request,
                      const struct queue_keys *keys,
                      const struct broker_claim *claims,
                      size_t count) MUST_CHECK;
/* Notes in the ledger that this node has the claim's task, while it has. */
int redis_command_track(struct redis_request *request,
                        const struct queue_keys *keys,
                        const struct broker_claim *claim) MUST_CHECK;
int redis_command_give_back(struct redis_request *request,
                            const struct queue_keys *keys,
                            const struct broker_claim *claim) MUST_CHECK;
int redis_command_park(struct redis_request *request,
                       const struct queue_keys *keys,
                       const struct broker_claim *claim,
                       usec_t due_wall) MUST_CHECK;
/* Replies the number moved and when the next is due, in ms. */
int redis_command_promote(struct redis_request *request,
                          const struct queue_keys *keys,
                          usec_t now_wall,
                          unsigned max) MUST_CHECK;

/* --- the lease -------------------------------------------------------------------------------- */

/* Replies 0, or the tags in flight. */
int redis_command_renew(struct redis_request *request,
                        const struct key_space *space,
                        const struct queue_keys *keys,
                        usec_t ttl,
                        bool is_new) MUST_CHECK;
/* Replies names. */
int redis_command_known_queues(struct redis_request *request,
                               const struct key_space *space) MUST_CHECK;
/* Replies messages and nils. */
int redis_command_show(struct redis_request *request,
                       const struct queue_keys *keys,
                       const struct broker_claim *claims,
                       size_t count) MUST_CHECK;
int redis_command_leave(struct redis_request *request, const struct queue_keys *keys) MUST_CHECK;
/* Replies names. */
int redis_command_dead_nodes(struct redis_request *request,
                             const struct queue_keys *keys,
                             unsigned max) MUST_CHECK;
/* `theirs` are the keys of the queue for that node. Replies 0, or a number, tag, message ... */
int redis_command_take_over(struct redis_request *request,
                            const struct queue_keys *theirs,
                            size_t max,
                            usec_t remembered) MUST_CHECK;
/* Without `space` no result is stored. Replies the numbers of those moved, 1 for the first. */
int redis_command_rescue(struct redis_request *request,
                         const struct key_space *space,
                         const struct queue_keys *theirs,
                         const struct broker_rescued *rescued,
                         size_t count,
                         usec_t result_ttl,
                         const struct dead_limits *limits) MUST_CHECK;

/* --- what is set aside ------------------------------------------------------------------------ */

/* Both reply a cursor; then lists of eight; due (ms), member, due, member ... */
int redis_command_dead_list(struct redis_request *request,
                            const struct queue_keys *keys,
                            struct str cursor,
                            unsigned max,
                            bool with_messages) MUST_CHECK;
int redis_command_delayed_list(struct redis_request *request,
                               const struct queue_keys *keys,
                               struct str cursor,
                               const struct broker_delayed_range *range,
                               unsigned max) MUST_CHECK;
/* Replies how many. */
int redis_command_dead_end(struct redis_request *request,
                           const struct queue_keys *keys,
                           const struct broker_dead_choice *choices,
                           size_t count,
                           bool are_dropped) MUST_CHECK;
/* Replies the numbers of those that were there. Results are stored in `space`; NULL: they are not. */
int redis_command_delayed_end(struct redis_request *request,
                              const struct key_space *space,
                              const struct queue_keys *keys,
                              const struct broker_delayed_end *end) MUST_CHECK;

/* --- revocations ------------------------------------------------------------------------------ */

int redis_command_revoke(struct redis_request *request,
                         const struct key_space *space,
                         const struct broker_revocation *revocations,
                         size_t count,
                         usec_t kept) MUST_CHECK;
/* Replies [id of the newest, ms of the server's clock, id after which these come, [[id, fields] ...]]. */
int redis_command_revocations(struct redis_request *request,
                              const struct key_space *space,
                              struct broker_revocation_id after,
                              unsigned max) MUST_CHECK;
/* Replies when there is one after `after`, or after `server_wait`. */
int redis_command_await_revocations(struct redis_request *request,
                                    const struct key_space *space,
                                    struct broker_revocation_id after,
                                    usec_t server_wait) MUST_CHECK;

/* --- results ---------------------------------------------------------------------------------- */

int redis_command_store(struct redis_request *request,
                        const struct key_space *space,
                        struct str id,
                        struct str document,
                        usec_t ttl) MUST_CHECK;
int redis_command_store_group(struct redis_request *request,
                              const struct key_space *space,
                              struct str group,
                              struct str document,
                              usec_t ttl) MUST_CHECK;
/* Only while `claim` stands in `in_flight`; that absent: unless any final state is there. */
int redis_command_store_state(struct redis_request *request,
                              const struct key_space *space,
                              struct str in_flight,
                              const struct broker_claim *claim,
                              struct str id,
                              struct str document,
                              usec_t ttl) MUST_CHECK;
int redis_command_get(struct redis_request *request,
                      const struct key_space *space,
                      struct str id) MUST_CHECK;
int redis_command_forget(struct redis_request *request,
                         const struct key_space *space,
                         struct str id) MUST_CHECK;
int redis_command_subscribe(struct redis_request *request,
                            const struct key_space *space,
                            struct str id) MUST_CHECK;
int redis_command_unsubscribe(struct redis_request *request,
                              const struct key_space *space,
                              struct str id) MUST_CHECK;
/* The channel and the document of a pushed message; false when it is none. */
bool redis_push_message(const struct redis_reply *push,
                        struct str *ret_channel,
                        struct str *ret_document);

/* --- looking ---------------------------------------------------------------------------------- */

enum redis_scan { REDIS_SCAN_OURS, REDIS_SCAN_BINDINGS };
/* Replies the next cursor and keys. */
int redis_command_scan(struct redis_request *request,
                       const struct key_space *space,
                       enum redis_scan what,
                       struct str cursor) MUST_CHECK;
int redis_command_members(struct redis_request *request, struct str key) MUST_CHECK;
int redis_command_stats(struct redis_request *request,
                        const struct queue_keys *keys,
                        const struct str *in_flight,
                        size_t in_flight_count,
                        const struct str *staging,
                        size_t staging_count) MUST_CHECK;
/* Replies where to go on, "" at the end, then texts: messages, or a hash's fields. */
int redis_command_page(struct redis_request *request,
                       struct str key,
                       struct str cursor,
                       unsigned max,
                       bool wants_fields) MUST_CHECK;
int redis_command_unlink(struct redis_request *request, struct str key) MUST_CHECK;
int redis_command_purge(struct redis_request *request,
                        const struct queue_keys *keys,
                        bool delayed) MUST_CHECK;
