#include "shop/mail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shop/smtp.h"

#define FILE_SCHEME  "file://"
#define DRAFT_SUFFIX ".part"
enum { PATH_SIZE = 4096 };

/* --- into a folder ---------------------------------------------------------------------------- */

static int write_whole(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        bytes += written;
        length -= (size_t)written;
    }
    return 0;
}

/* Fills the draft and closes it. */
static int draft_finish(int fd, const char *bytes, size_t length)
{
    int rc = write_whole(fd, bytes, length);

    if (!rc && fchmod(fd, 0640) < 0)
        rc = -errno;
    if (close(fd) < 0 && !rc)
        rc = -errno;
    return rc;
}

/* The file appears whole or not at all, under the task's id: a second delivery replaces it, and two
 * at the same time each write a draft of their own. */
static int
file_write(struct cel_task *task, const struct mail *mail, const char *bytes, size_t length)
{
    const char *folder = cel_setting(task, "mail_url") + strlen(FILE_SCHEME);
    char name[MESSAGE_NAME_SIZE], path[PATH_SIZE], draft[PATH_SIZE];

    message_name(mail, name);
    if (folder[0] != '/')
        return cel_failf(task, "ValueError", "setting mail_url: file://%s: not file:///folder",
                         folder);
    if (snprintf(path, sizeof path, "%s/%s.eml", folder, name) >= (int)sizeof path ||
        snprintf(draft, sizeof draft, "%s/XXXXXX" DRAFT_SUFFIX, folder) >= (int)sizeof draft)
        return cel_fail(task, "ValueError", "setting mail_url: the path is too long");
    int fd = mkostemps(draft, (int)strlen(DRAFT_SUFFIX), O_CLOEXEC);
    if (fd < 0)
        return cel_failf(task, "OSError", "setting mail_url: %s: %s", folder, strerror(errno));
    int rc = draft_finish(fd, bytes, length);
    if (!rc && rename(draft, path) < 0)
        rc = -errno;
    if (rc) {
        unlink(draft);
        return cel_failf(task, "OSError", "%s: %s", path, strerror(-rc));
    }
    return CEL_OK;
}

/* --- either way ------------------------------------------------------------------------------- */

int mail_deliver(struct cel_task *task, const struct mail *mail)
{
    bool into_folder =
        strncmp(cel_setting(task, "mail_url"), FILE_SCHEME, strlen(FILE_SCHEME)) == 0;
    char problem[512];
    size_t length = 0;

    message_check(mail, problem, sizeof problem);
    if (problem[0])
        return cel_fail(task, "ValueError", problem);
    char *bytes = message_build(mail, &length);
    if (!bytes)
        return cel_fail(task, "MemoryError", "no memory for the mail");
    int rc =
        into_folder ? file_write(task, mail, bytes, length) : smtp_send(task, mail, bytes, length);
    free(bytes);
    return rc;
}

/* --- the task --------------------------------------------------------------------------------- */

static int text_argument(struct cel_task *task, const char *name, const char **ret_text)
{
    if (cel_arg_text(task, name, ret_text))
        return CEL_FAIL;
    return *ret_text ? CEL_OK : cel_failf(task, "TypeError", "%s must be text, not null", name);
}

static int
recipients_read(struct cel_task *task, const char **recipients, size_t max, size_t *ret_count)
{
    const struct cel_value *list = cel_arg_value(task, "recipient_list");
    size_t count = cel_value_count(list);

    if (cel_value_type(list) != CEL_LIST)
        return cel_failf(task, "TypeError", "recipient_list must be a list, not %s",
                         cel_type_name(cel_value_type(list)));
    if (count > max)
        return cel_failf(task, "ValueError", "recipient_list: %zu entries, at most %zu", count,
                         max);
    for (size_t i = 0; i < count; i++) {
        size_t length = 0;
        recipients[i] = cel_value_text(cel_value_at(list, i), &length);
        if (!recipients[i] || strlen(recipients[i]) != length)
            return cel_failf(task, "TypeError", "recipient_list: entry %zu is not text", i + 1);
    }
    *ret_count = count;
    return CEL_OK;
}

int send_email_notification(struct cel_task *task)
{
    const char *recipients[MAIL_RECIPIENTS_MAX];
    struct mail mail = {
        .id = cel_request(task)->id,
        .from = cel_setting(task, "mail_from"),
        .recipients = recipients,
        .recipients_place = "recipient_list",
    };

    if (text_argument(task, "subject", &mail.subject) ||
        text_argument(task, "message", &mail.text) ||
        recipients_read(task, recipients, MAIL_RECIPIENTS_MAX, &mail.recipient_count))
        return CEL_FAIL;
    int rc = mail_deliver(task, &mail);
    return rc ? rc : cel_return(task, cel_int((int64_t)mail.recipient_count));
}
