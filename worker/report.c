#include <stdio.h>

#include "core/log.h"
#include "worker/worker_priv.h"

void worker_describe(const struct worker *worker, char buffer[WORKER_STATUS_SIZE])
{
    const struct dispatch *dispatch = &worker->dispatch;
    snprintf(buffer, WORKER_STATUS_SIZE,
             "%zu running, %zu idle; %llu succeeded, %llu failed, %llu retried%s",
             pool_busy(&worker->pool), pool_idle(&worker->pool),
             (unsigned long long)dispatch->ends[END_SUCCEEDED],
             (unsigned long long)dispatch->ends[END_FAILED],
             (unsigned long long)dispatch->ends[END_RETRIED],
             worker->rows.failures > 0 ? "; PostgreSQL does not take results"
             : worker->credit.failures > 0 || dispatch->completions.failures > 0
                 ? "; Redis does not answer"
                 : "");
}

void worker_log_banner(const struct worker *worker)
{
    CLEANUP(buf_deinit) struct buf queues = BUF_INIT(64 * 1024);
    queue_plans_list(&worker->startup.queues, &queues);
    log_info("Worker ready", F_C("node", worker->startup.name), F_C("version", CELERIAC_VERSION),
             F_C("broker", worker->startup.display), F_STR("queues", buf_str(&queues)),
             F_U64("concurrency", worker->startup.concurrency),
             F_U64("tasks", worker->pool.registry.count));
}

void worker_report(const struct worker *worker)
{
    const struct dispatch *dispatch = &worker->dispatch;
    log_info(
        "Report", F_C("node", worker->startup.name),
        F_USEC("uptime", clock_mono() - worker->started_mono),
        F_U64("received", dispatch->received), F_U64("held", dispatch_held(dispatch)),
        F_U64("limited", dispatch->requests.lists[REQUEST_LIMITED].count),
        F_U64("running", pool_busy(&worker->pool)), F_U64("idle", pool_idle(&worker->pool)),
        F_U64("untold", dispatch->requests.lists[REQUEST_SETTLING].count),
        F_U64("succeeded", dispatch->ends[END_SUCCEEDED]),
        F_U64("failed", dispatch->ends[END_FAILED]), F_U64("retried", dispatch->ends[END_RETRIED]),
        F_U64("expired", dispatch->ends[END_EXPIRED]),
        F_U64("revoked", dispatch->ends[END_REVOKED]),
        F_U64("redelivered", dispatch->ends[END_REDELIVERED]),
        F_U64("rejected", dispatch->ends[END_REJECTED]),
        F_U64("requeued", dispatch->ends[END_REQUEUED]),
        F_U64("buried", dispatch->ends[END_BURIED]), F_U64("parked", dispatch->ends[END_PARKED]),
        F_U64("given_back", dispatch->ends[END_GIVEN_BACK]), F_U64("lost", dispatch->lost),
        F_U64("promoted", worker->promoter.promoted), F_U64("released", worker->releaser.released),
        F_U64("rescued", worker->rescuer.rescued), F_U64("rows", worker->rows.written),
        F_U64("rows_kept", worker->rows.kept), F_U64("rows_lost", worker->rows.lost),
        F_U64("ledger_written", worker->recorder.written),
        F_U64("ledger_waiting", worker->recorder.backlog.waiting),
        F_U64("ledger_lost", worker->recorder.backlog.lost),
        F_U64("events", worker->remote.events.sent),
        F_U64("events_lost", remote_lost(&worker->remote)),
        F_USEC("average_run", worker->credit.meter.average), F_U64("rss", process_rss()));
    pool_report(&worker->pool);
}
