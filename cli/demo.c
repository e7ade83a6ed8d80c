/*
 * The demonstration.
 *
 *     migrate, seed -> worker with 4 processes, beat -> 500 orders -> results and mails -> summary
 *
 * It writes into the database it is given, so it runs only beside the private servers that
 * scripts/private-servers starts (CELERIAC_PRIVATE_DIR names their folder). Worker and beat are
 * this executable in sessions of their own: an interrupt reaches the demo, which ends them and
 * waits for them.
 */
#include "cli/demo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/process.h"
#include "store/pg.h"

#define ORDERS_LIMIT (40 * USEC_PER_SEC)
#define BEAT_LIMIT   (10 * USEC_PER_SEC)

extern char **environ;

struct demo {
    const char *folder; /* of the private servers */
    const char *database_url;
    char executable[PATH_MAX];
    char module[PATH_MAX], sql[PATH_MAX], seed[PATH_MAX];
    char ini[PATH_MAX], mails[PATH_MAX], log[PATH_MAX];
    pid_t worker, beat; /* 0: not running */
    struct cel_client *client;
    struct demo_figures figures;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    interrupted = number;
}

/* --- places ----------------------------------------------------------------------------------- */

static int
path_join(char path[PATH_MAX], const char *folder, const char *name, struct cel_error *err)
{
    if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
        return error_set(err, -ENAMETOOLONG, "%s/%s: the path is too long", folder, name);
    return 0;
}

/* The module and its SQL stand at fixed places beside the executable, built or installed. */
static int demo_find_shop(struct demo *demo, struct cel_error *err)
{
    char folder[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", demo->executable, sizeof demo->executable - 1);

    if (length < 0)
        return error_set(err, -errno, "/proc/self/exe: %s", strerror(errno));
    demo->executable[length] = 0;
    snprintf(folder, sizeof folder, "%s", demo->executable);
    *strrchr(folder, '/') = 0;
    int rc = path_join(demo->module, folder, "../modules/shop.so", err);
    if (!rc && access(demo->module, R_OK) != 0)
        rc =
            path_join(demo->module, folder, "../" CELERIAC_LIBDIR "/celeriac/modules/shop.so", err);
    if (!rc)
        rc = path_join(demo->sql, folder, "../share/celeriac/shop/sql", err);
    if (!rc)
        rc = path_join(demo->seed, folder, "../share/celeriac/shop/seed.sql", err);
    if (rc)
        return rc;
    char *plain = realpath(demo->module, NULL); /* without the "..": it is printed */
    if (!plain)
        return error_set(err, -errno, "%s: %s", demo->module, strerror(errno));
    snprintf(demo->module, sizeof demo->module, "%s", plain);
    free(plain);
    return 0;
}

static int demo_open(struct demo *demo, struct cel_error *err)
{
    demo->folder = getenv("CELERIAC_PRIVATE_DIR");
    demo->database_url = getenv("CELERIAC_DATABASE_URL");
    if (!demo->folder || !demo->database_url || !getenv("CELERIAC_BROKER_URL"))
        return error_set(err, CEL_E_CONFIG,
                         "the demo runs beside private servers only: make demo, or "
                         "scripts/private-servers %s demo",
                         program_invocation_name);
    int rc = demo_find_shop(demo, err);
    if (!rc)
        rc = path_join(demo->ini, demo->folder, "demo.ini", err);
    if (!rc)
        rc = path_join(demo->mails, demo->folder, "mails", err);
    if (!rc)
        rc = path_join(demo->log, demo->folder, "demo.log", err);
    if (!rc && mkdir(demo->mails, 0755) != 0)
        rc = error_set(err, -errno, "%s: %s", demo->mails, strerror(errno));
    return rc ? rc : cel_client_open(NULL, &demo->client, err);
}

static int demo_write_ini(const struct demo *demo, struct cel_error *err)
{
    char today[ISOTIME_SIZE];
    FILE *file = fopen(demo->ini, "w");

    if (!file)
        return error_set(err, -errno, "%s: %s", demo->ini, strerror(errno));
    fprintf(file,
            "[settings]\n"
            "mail_url = file://%s\n"
            "mail_from = shop@example.com\n"
            "report_recipients = owner@example.com\n"
            "gateway_busy_percent = 10\n"
            "order_retry_ms = 1000\n"
            "\n[beat prices]\n"
            "task = products.tasks.update_product_prices\n"
            "every = 3s\n"
            "kwargs = {\"percentage\": 1, \"category\": \"books\"}\n"
            "\n[beat report]\n"
            "task = products.tasks.send_daily_report\n"
            "every = 5s\n"
            "kwargs = {\"day\": \"%.10s\"}\n",
            demo->mails, isotime_format(clock_wall(), today).ptr);
    return fclose(file) == 0 ? 0 : error_set(err, -errno, "%s: %s", demo->ini, strerror(errno));
}

/* --- processes -------------------------------------------------------------------------------- */

static int demo_spawn(struct demo *demo, char *const argv[], pid_t *ret_pid, struct cel_error *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, demo->log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    int failure = posix_spawn(ret_pid, demo->executable, &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failure
               ? error_set(err, -failure, "%s %s: %s", demo->executable, argv[1], strerror(failure))
               : 0;
}

static int demo_run(struct demo *demo, char *const argv[], struct cel_error *err)
{
    pid_t pid;
    int status;
    int rc = demo_spawn(demo, argv, &pid, err);

    if (rc)
        return rc;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0)
        return error_set(err, CEL_E_SERVER, "%s %s failed; its output: %s", demo->executable,
                         argv[1], demo->log);
    return 0;
}

static int demo_start(struct demo *demo, struct cel_error *err)
{
    char *worker[] = {
        demo->executable, "worker", "--config", demo->ini, "-A", demo->module, "-c", "4", "-n",
        "demo@%h",        NULL};
    char *beat[] = {demo->executable, "beat", "--config", demo->ini, NULL};

    int rc = demo_spawn(demo, worker, &demo->worker, err);
    return rc ? rc : demo_spawn(demo, beat, &demo->beat, err);
}

static void demo_stop_one(pid_t *pid)
{
    if (*pid <= 0)
        return;
    kill(*pid, SIGTERM);
    while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
        ;
    *pid = 0;
}

/* Neither of the two is expected to end by itself. */
static int demo_check_processes(struct demo *demo, struct cel_error *err)
{
    if (waitpid(demo->worker, NULL, WNOHANG) == demo->worker) {
        demo->worker = 0;
        return error_set(err, CEL_E_SERVER, "the worker ended; its log: %s", demo->log);
    }
    if (waitpid(demo->beat, NULL, WNOHANG) == demo->beat) {
        demo->beat = 0;
        return error_set(err, CEL_E_SERVER, "the beat ended; its log: %s", demo->log);
    }
    return interrupted ? error_set(err, -EINTR, "interrupted") : 0;
}

static void demo_close(struct demo *demo)
{
    demo_stop_one(&demo->beat);
    demo_stop_one(&demo->worker);
    demo->client = cel_client_close(demo->client);
}

/* --- steps
 * ---------------------------------------------------------------------------------------- */

static int demo_seed(struct demo *demo, struct cel_error *err)
{
    char *migrate[] = {demo->executable, "migrate", "--dir", demo->sql, NULL};
    char text[64 * 1024];

    int rc = demo_run(demo, migrate, err);
    if (rc)
        return rc;
    FILE *file = fopen(demo->seed, "r");
    if (!file)
        return error_set(err, -errno, "%s: %s", demo->seed, strerror(errno));
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    struct pg *pg = pg_new("demo", demo->database_url, 0, NULL);
    rc = pg ? pg_exec(pg, text, err) : error_no_memory(err);
    pg_free(pg);
    return rc > 0 ? CEL_E_DATABASE : rc;
}

static int demo_enqueue(struct demo *demo, struct cel_error *err)
{
    struct cel_call *calls[DEMO_ORDERS];
    char ids[DEMO_ORDERS][CEL_ID_SIZE];

    for (int i = 0; i < DEMO_ORDERS; i++) {
        calls[i] = cel_call_new("products.tasks.process_order");
        if (calls[i])
            cel_call_arg(calls[i], cel_int(i + 1));
    }
    demo->figures.begun_mono = clock_mono();
    usec_t sent_wall = clock_wall();
    int rc = cel_send_bulk(demo->client, calls, DEMO_ORDERS, ids, NULL, err);
    for (int i = 0; i < DEMO_ORDERS; i++) {
        struct demo_order *order = &demo->figures.orders[i];
        memcpy(order->id, ids[i], CEL_ID_SIZE);
        order->sent_wall = sent_wall;
        cel_call_free(calls[i]);
    }
    return rc;
}

static void pause_briefly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
}

/* Every order has a result, every processed one its mail, and beat has fired report and price
 * update. */
static int demo_wait(struct demo *demo, struct cel_error *err)
{
    struct demo_figures *figures = &demo->figures;
    usec_t orders_deadline_mono = figures->begun_mono + ORDERS_LIMIT;
    usec_t end_mono = figures->begun_mono + BEAT_LIMIT;

    while (figures->ended < DEMO_ORDERS || clock_mono() < end_mono) {
        int rc = demo_check_processes(demo, err);
        if (!rc)
            rc = demo_collect(demo->client, figures, err);
        if (rc)
            return rc;
        if (figures->ended == DEMO_ORDERS && !figures->ended_mono)
            figures->ended_mono = clock_mono();
        if (figures->ended < DEMO_ORDERS && clock_mono() > orders_deadline_mono)
            return error_set(err, -ETIMEDOUT, "%zu orders have not ended within %d s; the log: %s",
                             DEMO_ORDERS - figures->ended, (int)(ORDERS_LIMIT / USEC_PER_SEC),
                             demo->log);
        demo_progress(figures, demo_count_mails(demo->mails));
        pause_briefly();
    }
    return 0;
}

static void print_what_next(const struct demo *demo)
{
    printf("\nWhat to try next:\n"
           "  scripts/private-servers sh     a shell beside private servers of its own; in it:\n"
           "  %s worker -A %s &\n"
           "  %s call products.tasks.send_email_notification Hello 'It works' "
           "'[\"you@example.com\"]' --wait\n",
           program_invocation_name, demo->module, program_invocation_name);
}

static int demo_play(struct demo *demo, struct cel_error *err)
{
    int rc = demo_open(demo, err);
    if (!rc)
        rc = demo_write_ini(demo, err);
    if (!rc) {
        printf("Migrating and seeding: 2,000 products, 500 orders\n");
        rc = demo_seed(demo, err);
    }
    if (!rc) {
        printf("Starting a worker with 4 processes, and beat\n");
        rc = demo_start(demo, err);
    }
    if (!rc) {
        printf("Sending %d orders; the payment gateway fails 10 %% of the time\n", DEMO_ORDERS);
        rc = demo_enqueue(demo, err);
    }
    return rc ? rc : demo_wait(demo, err);
}

int demo_main(int argc, char **argv)
{
    static struct demo demo;
    struct cel_error err = {0};
    struct sigaction action = {.sa_handler = on_interrupt};

    (void)argc, (void)argv;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    int rc = demo_play(&demo, &err);
    demo_close(&demo); /* the worker finishes what it has begun: mails of the last orders */
    int adds_up =
        rc ? 0 : demo_summary(&demo.figures, demo_count_mails(demo.mails), demo.database_url, &err);
    if (rc || adds_up < 0) {
        fprintf(stderr, "\nceleriac demo: %s\n", err.text);
        return interrupted ? 128 + interrupted : (int)process_exit_status(err.code);
    }
    print_what_next(&demo);
    return adds_up ? EXIT_OK : EXIT_FAILED;
}
