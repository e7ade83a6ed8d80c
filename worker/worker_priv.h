/*
 * The inside of the daemon, for worker.c, which lives its life, and report.c, which tells of it.
 */
#pragma once

#include <signal.h>

#include "intake/credit.h"
#include "intake/presence.h"
#include "intake/queues.h"
#include "keeper/promoter.h"
#include "keeper/releaser.h"
#include "keeper/revocations.h"
#include "worker/autoscale.h"
#include "worker/dispatch.h"
#include "worker/remote.h"
#include "worker/startup.h"

enum { WORKER_SIGNALS = 5 };

struct worker {
    struct startup startup;
    uv_loop_t loop;
    struct broker *broker;
    struct pool pool;
    struct dispatch dispatch;
    struct recorder recorder;
    struct credit credit;
    struct queues queues;
    struct autoscale autoscale;
    struct promoter promoter;
    struct releaser releaser;
    struct rescuer rescuer;
    struct presence presence;
    struct revocations revocations;
    struct result_rows rows;
    struct remote remote;
    uv_signal_t signals[WORKER_SIGNALS];
    uv_timer_t status, watchdog, stop_limit;
    enum {
        CONNECTING,
        JOINING,
        STARTING,
        RUNNING,
        DRAINING,
        LEAVING,
        ABANDONING,
        CLOSING,
    } phase;
    bool cold, children_gone, dispatch_gone;
    bool gives_up; /* Redis cannot be told */
    bool again;    /* run once more, under a new incarnation */
    usec_t started_mono;
    enum exit_status exit;
};

enum { WORKER_STATUS_SIZE = 256 };
/* One line about what it does, for the service manager. */
void worker_describe(const struct worker *worker, char buffer[WORKER_STATUS_SIZE]);
void worker_log_banner(const struct worker *worker);
/* All numbers, in the log. */
void worker_report(const struct worker *worker);
