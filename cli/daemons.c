/*
 * How the verbs that run in other rooms describe themselves.
 */
#include "beat/beat.h"
#include "child/child.h"
#include "cli/demo.h"
#include "cli/verbs.h"
#include "worker/worker.h"

/* The worker starts its pool processes as `celeriac worker --child`. */
static int run_worker(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--child"))
        return child_main();
    return worker_main(argc, argv);
}

static int run_demo(int argc, char **argv)
{
    if (argc > 1)
        return verb_misused(&demo_verb, "it takes no options and no arguments: \"%s\"", argv[1]);
    return demo_main(argc, argv);
}

const struct verb worker_verb = {
    .name = "worker",
    .run = run_worker,
    .mask = VERB_WORKER,
    .summary = "Run tasks",
    .usage = "-A MODULE.so [OPTION...]",
    .about =
        "One supervisor and a number of processes that load the modules and run their tasks.\n"
        "Signals: TERM and INT stop when the running tasks have ended; again, or QUIT, at once "
        "(their\n"
        "tasks go back to the queue); HUP starts new processes with new code; USR1 logs a report.",
    .examples = "celeriac worker -A ./shop.so\n"
                "celeriac worker -A ./shop.so -Q celery,mail -c 8 -l info -n shop@%h",
    .ok = "stopped as asked",
};

const struct verb beat_verb = {
    .name = "beat",
    .run = beat_main,
    .mask = VERB_BEAT,
    .summary = "Send periodic tasks",
    .usage = "[OPTION...]",
    .about =
        "The schedule stands in the sections [beat NAME] of the configuration file. Any number of\n"
        "beats may run: each moment of an entry is sent once.",
    .examples = "celeriac beat --config /etc/celeriac/shop.ini",
    .ok = "stopped as asked",
};

const struct verb demo_verb = {
    .name = "demo",
    .run = run_demo,
    .mask = VERB_DEMO,
    .summary = "Show the whole project at work on private servers",
    .usage = "",
    .about = "Runs beside the servers that scripts/private-servers starts: use `make demo`.",
    .examples = "make demo\n"
                "scripts/private-servers celeriac demo",
    .ok = "all numbers add up",
    .failed = "something did not add up",
};
