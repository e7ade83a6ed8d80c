/*
 * The reply that decides is the one to the last command, so the dialogue is listened to: libcurl
 * itself tells the number of a reply and not its text, and its error does not name the recipient
 * that was refused. What is sent to log in is never kept.
 *
 * Encryption, by the setting mail_starttls (smtps:// encrypts from the first byte, always):
 *
 *     no       never
 *     try      if the server offers it, whoever it is: as mail servers do among themselves
 *     require  or no mail; the server proves its name by a certificate
 *
 * A password is worth more than that: with mail_user, try means require.
 */
#include "shop/smtp.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { CONNECT_TIMEOUT_S = 15, TRANSFER_TIMEOUT_S = 60 };

/* What was said last. */
struct dialogue {
    char command[300]; /* "RCPT TO:<a@example.com>"; of a login only "AUTH" */
    char reply[500];   /* the lines of the last answer, printable; empty when a command is sent */
    bool more;         /* and another line of it follows */
    bool over;         /* QUIT was sent: its reply does not count */
};

struct transfer {
    struct cel_task *task;
    CURL *curl;
    const char *bytes;
    size_t length, sent;
    struct dialogue dialogue;
    char reason[CURL_ERROR_SIZE]; /* libcurl's */
};

/* --- the dialogue ----------------------------------------------------------------------------- */

static bool begins(const char *text, size_t length, const char *word)
{
    return length >= strlen(word) && strncasecmp(text, word, strlen(word)) == 0;
}

/* Appends a line without its end to what stands in `to`, as printable ASCII. */
static void line_add(char *to, size_t size, const char *line, size_t length)
{
    size_t end = strlen(to);

    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
        length--;
    for (size_t i = 0; i < length && end + 1 < size; i++)
        to[end++] = line[i] >= ' ' && line[i] <= '~' ? line[i] : '?';
    to[end] = 0;
}

static void command_note(struct dialogue *dialogue, const char *line, size_t length)
{
    static const char *const shown[] = {"EHLO", "HELO", "STARTTLS", "MAIL", "RCPT", "DATA"};

    dialogue->over = dialogue->over || begins(line, length, "QUIT");
    if (dialogue->over)
        return;
    dialogue->command[0] = dialogue->reply[0] = 0;
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
        if (begins(line, length, shown[i])) {
            line_add(dialogue->command, sizeof dialogue->command, line, length);
            return;
        }
    snprintf(dialogue->command, sizeof dialogue->command, "AUTH");
}

/* "550-one", "550 two": a line of the number and a dash is not the last. */
static void reply_note(struct dialogue *dialogue, const char *line, size_t length)
{
    if (dialogue->more)
        line_add(dialogue->reply, sizeof dialogue->reply, " / ", 3);
    else
        dialogue->reply[0] = 0;
    line_add(dialogue->reply, sizeof dialogue->reply, line, length);
    dialogue->more = length > 3 && line[3] == '-';
}

static int on_dialogue(CURL *curl, curl_infotype type, char *text, size_t length, void *data)
{
    struct dialogue *dialogue = data;

    (void)curl;
    if (type == CURLINFO_HEADER_OUT)
        command_note(dialogue, text, length);
    else if (type == CURLINFO_HEADER_IN && !dialogue->over)
        reply_note(dialogue, text, length);
    return 0;
}

/* --- options ---------------------------------------------------------------------------------- */

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

static int encryption_set(struct cel_task *task, CURL *curl)
{
    const char *starttls = cel_setting(task, "mail_starttls");
    const char *url = cel_setting(task, "mail_url");
    const char *ca_file = cel_setting(task, "mail_ca_file");
    bool login = cel_setting(task, "mail_user")[0];
    long tls;

    if (strcmp(starttls, "require") == 0 || (strcmp(starttls, "try") == 0 && login))
        tls = CURLUSESSL_ALL;
    else if (strcmp(starttls, "try") == 0)
        tls = CURLUSESSL_TRY;
    else if (strcmp(starttls, "no") == 0)
        tls = CURLUSESSL_NONE;
    else
        return cel_failf(task, "ValueError",
                         "setting mail_starttls: \"%s\" is not no, try or require", starttls);
    curl_easy_setopt(curl, CURLOPT_USE_SSL, tls);
    if (tls == CURLUSESSL_TRY && !begins(url, strlen(url), "smtps:")) {
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (ca_file[0])
        curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
    return CEL_OK;
}

static void transfer_set(struct cel_task *task, CURL *curl, struct transfer *transfer)
{
    const char *user = cel_setting(task, "mail_user");

    curl_easy_setopt(curl, CURLOPT_URL, cel_setting(task, "mail_url"));
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(curl, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    if (user[0]) {
        curl_easy_setopt(curl, CURLOPT_USERNAME, user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, cel_setting(task, "mail_password"));
    }
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TRANSFER_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)TRANSFER_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, transfer);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->reason);
    curl_easy_setopt(curl, CURLOPT_VERBOSE, 1L); /* to on_dialogue, nowhere else */
    curl_easy_setopt(curl, CURLOPT_DEBUGFUNCTION, on_dialogue);
    curl_easy_setopt(curl, CURLOPT_DEBUGDATA, &transfer->dialogue);
}

/* --- the outcome ------------------------------------------------------------------------------ */

static int outcome_of_reply(const struct transfer *transfer)
{
    const struct dialogue *dialogue = &transfer->dialogue;
    const char *command = dialogue->command[0] ? dialogue->command : "greeting";
    const char *address = NULL;
    long port = 0;

    curl_easy_getinfo(transfer->curl, CURLINFO_PRIMARY_IP, &address);
    curl_easy_getinfo(transfer->curl, CURLINFO_PRIMARY_PORT, &port);
    if (dialogue->reply[0] == '5')
        return cel_failf(transfer->task, "smtplib.SMTPException",
                         "the mail server at %s port %ld refuses: %s: %s", address, port, command,
                         dialogue->reply);
    return cel_retryf(transfer->task, -1, "the mail server at %s port %ld says not now: %s: %s",
                      address, port, command, dialogue->reply);
}

static int outcome_of(const struct transfer *transfer, CURLcode code)
{
    struct cel_task *task = transfer->task;
    const char *reason = transfer->reason[0] ? transfer->reason : curl_easy_strerror(code);
    char first = transfer->dialogue.reply[0];

    if (code == CURLE_OK)
        return CEL_OK;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return CEL_CANCELLED;
    if (first == '4' || first == '5')
        return outcome_of_reply(transfer);
    switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return cel_failf(task, "ValueError",
                         "setting mail_url: not smtp://host, smtps://host or file:///folder: %s",
                         reason);
    case CURLE_LOGIN_DENIED: /* and no reply: nobody was asked */
        return cel_fail(task, "ValueError",
                        "setting mail_url: user and password belong into mail_user, mail_password");
    case CURLE_SSL_CACERT_BADFILE:
        return cel_failf(task, "ValueError", "setting mail_ca_file: %s", reason);
    case CURLE_USE_SSL_FAILED:
        return cel_failf(task, "smtplib.SMTPException", "the mail server does not encrypt: %s",
                         reason);
    default:
        return cel_retryf(task, -1, "mail not delivered: %s", reason);
    }
}

static struct curl_slist *recipients_new(const struct mail *mail)
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

/* When it frees a handle, libcurl says QUIT and waits for the reply, up to two minutes and whatever
 * on_progress answers. A connection that cannot be read any more ends that at once: the mail is
 * delivered, or is not, by now. */
static void goodbye_hasten(CURL *curl, bool delivered)
{
    curl_socket_t connection = CURL_SOCKET_BAD;

    if (curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &connection) == CURLE_OK &&
        connection != CURL_SOCKET_BAD)
        shutdown(connection, delivered ? SHUT_RD : SHUT_RDWR);
}

int smtp_send(struct cel_task *task, const struct mail *mail, const char *bytes, size_t length)
{
    CURL *curl = curl_easy_init();
    struct transfer transfer = {.task = task, .curl = curl, .bytes = bytes, .length = length};
    struct curl_slist *recipients = recipients_new(mail);
    int rc;

    if (!curl || !recipients) {
        rc = cel_fail(task, "MemoryError", "no memory for the mail");
    } else {
        transfer_set(task, curl, &transfer);
        curl_easy_setopt(curl, CURLOPT_MAIL_FROM, mail->from);
        curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients);
        rc = encryption_set(task, curl);
        if (!rc)
            rc = outcome_of(&transfer, curl_easy_perform(curl));
        goodbye_hasten(curl, rc == CEL_OK);
    }
    curl_slist_free_all(recipients);
    curl_easy_cleanup(curl);
    return rc;
}
