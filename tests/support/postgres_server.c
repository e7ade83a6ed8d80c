#include "tests/support/postgres_server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/attr.h"
#include "store/pg.h"

enum { PATH_SIZE = 192, START_SECONDS = 60 };

static bool complain(const char *what)
{
    fprintf(stderr, "postgres_server: %s: %s\n", what, strerror(errno));
    return false;
}

/* The newest installed server's folder of programs. */
static bool find_programs(char *buffer, size_t size)
{
    glob_t found;
    if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &found))
        return complain("no /usr/lib/postgresql/*/bin");
    snprintf(buffer, size, "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    return true;
}

static void become_postgres(void)
{
    const struct passwd *user = getpwnam("postgres");
    if (getuid() != 0)
        return;
    if (!user || setgid(user->pw_gid) || initgroups("postgres", user->pw_gid) ||
        setuid(user->pw_uid))
        _exit(126);
}

/* Starts a program of PostgreSQL's with its output in the folder's log. */
static pid_t spawn(const struct postgres_server *server, const char *program, char **arguments)
{
    char programs[PATH_SIZE], path[2 * PATH_SIZE], log[PATH_SIZE];
    if (!find_programs(programs, sizeof(programs)))
        return -1;
    snprintf(path, sizeof(path), "%s/%s", programs, program);
    snprintf(log, sizeof(log), "%s/log", server->folder);
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    become_postgres();
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    if (getppid() != parent)
        _exit(126);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (fd < 0 || null < 0 || chdir("/") || dup2(null, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(126);
    arguments[0] = path; /* initdb looks for postgres beside itself, and else on the PATH */
    execv(path, arguments);
    _exit(127);
}

static bool run(const struct postgres_server *server, const char *program, char **arguments)
{
    pid_t pid = spawn(server, program, arguments);
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return complain(program);
    errno = 0;
    return status == 0 ? true : complain("initdb failed");
}

static bool write_access_rules(const struct postgres_server *server)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/data/pg_hba.conf", server->folder);
    FILE *file = fopen(path, "w");
    if (!file)
        return complain(path);
    fputs("local all celeriac trust\nlocal all all scram-sha-256\n", file);
    return fclose(file) == 0;
}

static bool make_folder(struct postgres_server *server)
{
    snprintf(server->folder, sizeof(server->folder), "/tmp/celeriac-pg-XXXXXX");
    if (!mkdtemp(server->folder))
        return complain("mkdtemp");
    const struct passwd *user = getuid() == 0 ? getpwnam("postgres") : NULL;
    if (user && chown(server->folder, user->pw_uid, user->pw_gid))
        return complain("chown");
    postgres_server_uri(server, "celeriac", NULL, server->uri, sizeof(server->uri));
    return true;
}

static bool init_cluster(struct postgres_server *server)
{
    char data[PATH_SIZE];
    snprintf(data, sizeof(data), "%s/data", server->folder);
    char *arguments[] = {"initdb", "-D",        data, "-U",   "celeriac",         "-A",
                         "trust",  "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", NULL};
    return run(server, "initdb", arguments) && write_access_rules(server);
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
}

static bool wait_until_it_answers(struct postgres_server *server)
{
    struct cel_error err = {0};
    for (unsigned i = 0; i < START_SECONDS * 50; i++, nap()) {
        struct pg *pg = pg_new("test", server->uri, 0, NULL);
        int r = pg ? pg_connect(pg, &err) : -1;
        pg_free(pg);
        if (r == 0)
            return true;
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            server->pid = 0;
            break;
        }
    }
    fprintf(stderr, "postgres_server: it does not start: %s\n", err.text);
    return false;
}

bool postgres_server_start(struct postgres_server *server)
{
    char data[PATH_SIZE];
    snprintf(data, sizeof(data), "%s/data", server->folder);
    char *arguments[] = {"postgres",
                         "-D",
                         data,
                         "-k",
                         server->folder,
                         "-F", /* no fsync */
                         "-c",
                         "listen_addresses=",
                         "-c",
                         "synchronous_commit=off",
                         "-c",
                         "full_page_writes=off",
                         "-c",
                         "max_connections=30",
                         "-c",
                         "deadlock_timeout=50ms",
                         NULL};
    server->pid = spawn(server, "postgres", arguments);
    return server->pid > 0 && wait_until_it_answers(server);
}

void postgres_server_stop(struct postgres_server *server)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGINT); /* fast shutdown */
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

bool postgres_server_open(struct postgres_server *server)
{
    *server = (struct postgres_server){0};
    return make_folder(server) && init_cluster(server) && postgres_server_start(server);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void postgres_server_close(struct postgres_server *server)
{
    postgres_server_stop(server);
    if (server->folder[0])
        nftw(server->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void postgres_server_uri(const struct postgres_server *server,
                         const char *user,
                         const char *password,
                         char *buffer,
                         size_t size)
{
    char host[PATH_SIZE];
    size_t len = 0;
    for (const char *at = server->folder; *at && len + 4 < sizeof(host); at++)
        len += (size_t)snprintf(host + len, sizeof(host) - len, *at == '/' ? "%%2F" : "%c", *at);
    host[len] = '\0';
    snprintf(buffer, size, "postgresql://%s%s%s@/postgres?host=%s", user, password ? ":" : "",
             password ? password : "", host);
}
