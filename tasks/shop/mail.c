#include "shop/mail.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_SCHEME "file://"
enum { RECIPIENTS_MAX = 100, CONNECT_TIMEOUT_S = 15, TRANSFER_TIMEOUT_S = 60 };

struct transfer {
    struct cel_task *task;
    const char *bytes;
    size_t length, sent;
};

static size_t on_read(char *buffer, size_t size, size_t count, void *data)
{
    struct transfer *transfer = data;
    size_t part = transfer->length - transfer->sent;

    if (part > size * count)
        part = size * count;
    memcpy(buffer, transfer->bytes + transfer->sent, part);
    transfer->sent += part;
    return part;
}

static int
on_progress(void *data, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow)
{
    struct transfer *transfer = data;

    (void)dltotal, (void)dlnow, (void)ultotal, (void)ulnow;
    return cel_cancelled(transfer->task); /* nonzero ends the transfer */
}

/* What the server's last answer, or its silence, means for the task. */
static int smtp_outcome(struct cel_task *task, CURL *curl, CURLcode code, const char *reason)
{
    long answer = 0;

    if (code == CURLE_OK)
        return CEL_OK;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return CEL_CANCELLED;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer);
    if (reason[0] == 0)
        reason = curl_easy_strerror(code);
    if (answer >= 500 || code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
        return cel_failf(task, "SMTPException", "mail refused: %s", reason);
    return cel_retryf(task, -1, "mail not delivered: %s", reason);
}

static int smtp_options(struct cel_task *task, CURL *curl, struct transfer *transfer)
{
    const char *starttls = cel_setting(task, "mail_starttls");
    const char *user = cel_setting(task, "mail_user");
    long tls;

    if (strcmp(starttls, "require") == 0)
        tls = CURLUSESSL_ALL;
    else if (strcmp(starttls, "try") == 0)
        tls = CURLUSESSL_TRY;
    else if (strcmp(starttls, "no") == 0)
        tls = CURLUSESSL_NONE;
    else
        return cel_failf(task, "ValueError",
                         "setting mail_starttls: \"%s\" is not no, try or require", starttls);

    curl_easy_setopt(curl, CURLOPT_URL, cel_setting(task, "mail_url"));
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(curl, CURLOPT_USE_SSL, tls);
    if (user[0]) {
        curl_easy_setopt(curl, CURLOPT_USERNAME, user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, cel_setting(task, "mail_password"));
    }
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TRANSFER_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
    return CEL_OK;
}

static struct curl_slist *smtp_recipients(const struct mail *mail)
{
    struct curl_slist *list = NULL;

    for (size_t i = 0; i < mail->recipient_count; i++) {
        struct curl_slist *longer = curl_slist_append(list, mail->recipients[i]);
        if (!longer) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
    }
    return list;
}

static int
smtp_send(struct cel_task *task, const struct mail *mail, const char *bytes, size_t length)
{
    struct transfer transfer = {task, bytes, length, 0};
    char reason[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    struct curl_slist *recipients = smtp_recipients(mail);
    int rc;

    if (!curl || !recipients) {
        rc = cel_fail(task, "MemoryError", "no memory for the mail");
    } else {
        rc = smtp_options(task, curl, &transfer);
        curl_easy_setopt(curl, CURLOPT_MAIL_FROM, mail->from);
        curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients);
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
        if (!rc)
            rc = smtp_outcome(task, curl, curl_easy_perform(curl), reason);
    }
    curl_slist_free_all(recipients);
    curl_easy_cleanup(curl);
    return rc;
}

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

/* The file appears whole or not at all, under the task's id: a second delivery replaces it. */
static int file_write(
    struct cel_task *task, const char *folder, const char *id, const char *bytes, size_t length)
{
    char path[4096], draft[4096 + 8];

    if (snprintf(path, sizeof path, "%s/%s.eml", folder, id) >= (int)sizeof path)
        return cel_fail(task, "ValueError", "setting mail_url: the path is too long");
    snprintf(draft, sizeof draft, "%s.part", path);
    int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0)
        return cel_failf(task, "OSError", "%s: %s", draft, strerror(errno));
    int rc = write_whole(fd, bytes, length);
    close(fd);
    if (!rc && rename(draft, path) < 0)
        rc = -errno;
    if (rc) {
        unlink(draft);
        return cel_failf(task, "OSError", "%s: %s", path, strerror(-rc));
    }
    return CEL_OK;
}

int mail_deliver(struct cel_task *task, const struct mail *mail)
{
    const char *url = cel_setting(task, "mail_url");
    char problem[512];
    size_t length = 0;

    message_check(mail, problem, sizeof problem);
    if (problem[0])
        return cel_fail(task, "ValueError", problem);
    char *bytes = message_build(mail, &length);
    if (!bytes)
        return cel_fail(task, "MemoryError", "no memory for the mail");
    int rc = strncmp(url, FILE_SCHEME, strlen(FILE_SCHEME)) == 0
                 ? file_write(task, url + strlen(FILE_SCHEME), mail->id, bytes, length)
                 : smtp_send(task, mail, bytes, length);
    free(bytes);
    return rc;
}

int send_email_notification(struct cel_task *task)
{
    const struct cel_value *list = cel_arg_value(task, "recipient_list");
    const char *recipients[RECIPIENTS_MAX];
    struct mail mail = {
        .id = cel_request(task)->id,
        .from = cel_setting(task, "mail_from"),
        .recipients = recipients,
        .recipient_count = cel_value_count(list),
    };

    if (cel_arg_text(task, "subject", &mail.subject) || cel_arg_text(task, "message", &mail.text))
        return CEL_FAIL;
    if (!mail.subject || !mail.text || cel_value_type(list) != CEL_LIST)
        return cel_fail(task, "TypeError",
                        "subject and message must be text, recipient_list a list");
    if (mail.recipient_count > RECIPIENTS_MAX)
        return cel_failf(task, "ValueError", "recipient_list: %zu entries, at most %d",
                         mail.recipient_count, RECIPIENTS_MAX);
    for (size_t i = 0; i < mail.recipient_count; i++) {
        size_t length = 0;
        recipients[i] = cel_value_text(cel_value_at(list, i), &length);
        if (!recipients[i] || strlen(recipients[i]) != length)
            return cel_failf(task, "TypeError", "recipient_list: entry %zu is not text", i + 1);
    }
    int rc = mail_deliver(task, &mail);
    return rc ? rc : cel_return(task, cel_int((int64_t)mail.recipient_count));
}
