#include "tests/support/redis_server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 32, START_SECONDS = 20, REPLY_SECONDS = 10 };

static bool complain(const char *what)
{
    fprintf(stderr, "redis_server: %s: %s\n", what, strerror(errno));
    return false;
}

/* In the child: redis-server, with its output in the folder's log. */
static void become_server(const struct redis_server *server)
{
    char log[96];
    const char *arguments[ARGUMENTS_MAX] = {"redis-server",
                                            "--port",
                                            "0",
                                            "--unixsocket",
                                            server->socket,
                                            "--dir",
                                            server->folder,
                                            "--save",
                                            "",
                                            "--appendonly",
                                            "no"};
    size_t count = 11;
    for (size_t i = 0; server->extras && server->extras[i] && count + 1 < ARGUMENTS_MAX; i++)
        arguments[count++] = server->extras[i];
    snprintf(log, sizeof(log), "%s/log", server->folder);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || null < 0 || dup2(null, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(126);
    execvp("redis-server", (char **)(void *)arguments);
    _exit(127);
}

static int connect_socket(const struct redis_server *server)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", server->socket);
    const struct timeval limit = {.tv_sec = REPLY_SECONDS};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool send_command(int fd, const char *const *words)
{
    size_t count = 0;
    while (words[count])
        count++;
    if (dprintf(fd, "*%zu\r\n", count) < 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (dprintf(fd, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]) < 0)
            return false;
    }
    return true;
}

bool redis_server_command(const struct redis_server *server,
                          char *reply,
                          size_t size,
                          const char *const *words)
{
    const char *const authenticate[] = {"AUTH", server->password, NULL};
    char greeting[64];
    int fd = connect_socket(server);
    if (fd < 0)
        return false;
    bool good = !server->password ||
                (send_command(fd, authenticate) && read(fd, greeting, sizeof(greeting)) > 0);
    ssize_t len = good && send_command(fd, words) ? read(fd, reply, size - 1) : -1;
    close(fd);
    reply[len > 0 ? len : 0] = '\0';
    return len > 0;
}

static bool wait_until_it_answers(struct redis_server *server)
{
    static const char *const ping[] = {"PING", NULL};
    char reply[64];
    for (unsigned i = 0; i < START_SECONDS * 200; i++) {
        if (redis_server_command(server, reply, sizeof(reply), ping) && reply[0] == '+')
            return true;
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            server->pid = 0;
            break;
        }
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    }
    fprintf(stderr, "redis_server: it does not start: see %s/log\n", server->folder);
    return false;
}

bool redis_server_start(struct redis_server *server)
{
    pid_t parent = getpid();
    server->pid = fork();
    if (server->pid < 0)
        return complain("fork");
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(126);
        become_server(server);
    }
    return wait_until_it_answers(server);
}

bool redis_server_open(struct redis_server *server, const char *const *extras)
{
    *server = (struct redis_server){.extras = extras};
    for (size_t i = 0; extras && extras[i]; i++) {
        if (!strcmp(extras[i], "--requirepass"))
            server->password = extras[i + 1];
    }
    snprintf(server->folder, sizeof(server->folder), "/tmp/celeriac-redis-XXXXXX");
    if (!mkdtemp(server->folder))
        return complain("mkdtemp");
    snprintf(server->socket, sizeof(server->socket), "%s/redis.sock", server->folder);
    snprintf(server->url, sizeof(server->url), "redis+socket://%s", server->socket);
    return redis_server_start(server);
}

void redis_server_stop(struct redis_server *server, int number)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, number);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

void redis_server_freeze(struct redis_server *server)
{
    kill(server->pid, SIGSTOP);
    waitpid(server->pid, NULL, WUNTRACED);
}

void redis_server_thaw(struct redis_server *server)
{
    kill(server->pid, SIGCONT);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void redis_server_close(struct redis_server *server)
{
    redis_server_stop(server, SIGTERM);
    if (server->folder[0])
        nftw(server->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
