/*
 * What commands are made of: messages, claims, and what becomes of them, as the port (broker/broker.h) takes them. All text is
 * borrowed.
 */
#pragma once

#include "core/clock.h"
#include "core/str.h"
#include "message/plan.h"

struct broker_message {
    struct str queue;
    unsigned step; /* priority step: 0, 3, 6, 9 */
    struct str bytes;
    struct str id; /* of the task; only a push "once" looks at it */
};

/* What a push promises beyond having been pushed; 0 and false: nothing. */
struct broker_promises {
    usec_t once_within; /* a message whose id went to the same queue within this time is not pushed
                           again; at least 1 ms */
    unsigned replicas;  /* so many replicas have it */
    bool disk;          /* it is on the disk of the server itself (its append-only file) */
};

/* A canvas: the messages that it begins with, and the chords that they are members of. */
struct broker_publication {
    const struct broker_message *messages; /* pushed in order; at least one */
    size_t count;
    const struct plan_chord *chords;
    size_t chord_count;
    struct broker_promises promises;
};

/* One message held by this node: in flight under `tag` in celeriac:inflight:{queue}:<node>. */
struct broker_claim {
    struct str queue;
    uint64_t tag;  /* unique in this node's life; 0: already acknowledged */
    unsigned step; /* the priority list it came from */
    struct str id; /* of its task, when the ledger has it: struck out when the claim ends */
};

struct broker_dead {
    struct str reason;        /* "undecodable", "content type", "unregistered" ... */
    struct str detail;        /* a sentence, or absent */
    struct str task_id, task; /* or absent */
    struct str evidence;      /* a JSON object: how it came to that; or absent */
};

/* What a call came to, for the counts of its queue. */
enum broker_ending { BROKER_DONE, BROKER_EXPIRED, BROKER_REVOKED };

/*
 * One step that ends a claim: all of it happens, or (BROKER_E_LOST, tag gone) nothing.
 * With results on another server or in a result store the result is stored first, then the step is
 * made. A claim with tag 0 was acknowledged before: everything is done unless it was to be buried
 * (-EINVAL). Told again after CEL_E_UNCERTAIN such a one would be done twice, so it can be told as
 * `is_uncertain`; then a condition is BROKER_E_SPARED (but from a result store, which does not say it).
 */
struct broker_completion {
    struct broker_claim claim;
    /* What follows among the results; without these nothing of it happens. Condition BROKER_E_JOINED, when a part
     * is the last one of its chord: `on_joined` is told what stands there, before `cb`; the same completion, with
     * what follows from that and the chord to be closed, makes the step. BROKER_E_CLOSED: somebody else has. */
    struct plan_results results;
    void (*on_joined)(void *data, const struct plan_joined *joined, size_t count);
    enum broker_ending ending;               /* does not matter with a retry or a burial */
    struct str result_id;                    /* absent: no document to store */
    struct str result_document;              /* stored unless a SUCCESS is there, and published */
    struct str message;                      /* the call, for a result store; or absent */
    const struct broker_message *follow_ups; /* pushed */
    size_t follow_up_count;
    struct str retry; /* message of the next attempt, or absent; goes to claim.queue and step */
    usec_t retry_due_wall; /* 0: pushed at once; else parked until then */
    /* The document alone is stored, unless a final one is there, or (results on the same server) the
     * retry is found parked. */
    bool is_uncertain;
    const struct broker_dead
        *dead; /* not NULL: the claimed message itself is moved to quarantine */
};
/* Whether its document covers no final one, where it is not stored in the step itself. A next
 * attempt is no end: others may have made one, whom this node does not know yet. */
static inline bool broker_spares_final(const struct broker_completion *completion)
{
    return completion->is_uncertain || (completion->retry.ptr && completion->claim.tag);
}

struct broker_rescued {
    struct broker_claim claim;             /* of `node` */
    struct str bytes;                      /* the message to push; absent: as it is */
    const struct broker_dead *dead;        /* not NULL: to quarantine, as it is */
    struct str result_id, result_document; /* of a buried one; absent: none is stored */
};

struct broker_dead_choice {
    struct str entry;
    struct str bytes; /* to push instead of the message; absent: as it is */
};

struct broker_delayed_range {
    usec_t from_wall, to_wall; /* due then; USEC_NEVER as the second: however late */
    struct str holding;        /* a text that stands in the member as it is; empty: any */
};

struct broker_delayed_choice {
    struct str member;
    struct str id;                         /* of the task, if it is known */
    struct str bytes;                      /* to push; the member's message, with no due time */
    struct str result_id, result_document; /* of a cancelled one; absent: none is stored */
};

struct broker_delayed_end {
    const struct broker_delayed_choice *choices;
    size_t count; /* BROKER_ENDED_MAX at most */
    bool are_cancelled;
    usec_t result_ttl; /* of the results; 0: for ever */
};

/* Written by the server; no two revocations ever have the same, also when a failover has lost one.
 * 0, 0: none. */
struct broker_revocation_id {
    uint64_t number, made_usec;
};

/* One task, or all with that value of a stamp (Celery's stamped headers). */
struct broker_revocation {
    struct str id;           /* of a task, or empty */
    struct str stamp, value; /* or empty */
    struct str signal;       /* "TERM": a running one is ended by it; empty: it may run on */
    usec_t until_wall;       /* written by the server */
};
