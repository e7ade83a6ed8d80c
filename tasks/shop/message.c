#include "shop/message.h"

#include <gmime/gmime.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void library_start(void)
{
    static bool started;

    if (!started)
        g_mime_init();
    started = true;
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

/* One plain address, nothing around it: what a reader takes for one recipient is one recipient. A
 * domain of other letters stands there in its ASCII form (xn--...), as it does on the wire. */
static bool is_address(const char *text)
{
    size_t length = strlen(text);

    if (length > 254 || strpbrk(text, " <>,;:\"()[]\\"))
        return false;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] >= 0x7f)
            return false;
    const char *at = strchr(text, '@');
    return at && at > text && at[1] && !strchr(at + 1, '@');
}

void message_check(const struct mail *mail, char *problem, size_t size)
{
    problem[0] = 0;
    if (has_control(mail->subject))
        snprintf(problem, size, "subject: a line break or control character may not stand in it");
    else if (!is_address(mail->from))
        snprintf(problem, size, "setting mail_from: \"%s\" is not an address", mail->from);
    else if (mail->recipient_count == 0)
        snprintf(problem, size, "%s: there is no recipient", mail->recipients_place);
    for (size_t i = 0; i < mail->recipient_count && !problem[0]; i++)
        if (has_control(mail->recipients[i]))
            snprintf(problem, size, "%s: entry %zu has a line break or control character",
                     mail->recipients_place, i + 1);
        else if (!is_address(mail->recipients[i]))
            snprintf(problem, size, "%s: \"%s\" is not an address", mail->recipients_place,
                     mail->recipients[i]);
}

void message_name(const struct mail *mail, char name[MESSAGE_NAME_SIZE])
{
    const char *safe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t length = strlen(mail->id);

    if (length > 0 && length < MESSAGE_NAME_SIZE - 1 && strspn(mail->id, safe) == length) {
        memcpy(name, mail->id, length + 1);
        return;
    }
    char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, mail->id, -1);
    memcpy(name, digest, MESSAGE_NAME_SIZE);
    g_free(digest);
}

/* UTF-8 it stays: GMime's own way to set a text picks a smaller charset, which a saved attachment
 * would not say. */
static GMimeObject *part_new(const char *text, const char *subtype, const char *file_name)
{
    GMimeTextPart *part = g_mime_text_part_new_with_subtype(subtype);
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer(text, strlen(text));
    GMimeDataWrapper *content =
        g_mime_data_wrapper_new_with_stream(stream, GMIME_CONTENT_ENCODING_DEFAULT);

    g_mime_text_part_set_charset(part, "utf-8");
    g_mime_part_set_content(GMIME_PART(part), content);
    g_mime_part_set_content_encoding(GMIME_PART(part), GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE);
    if (file_name) {
        g_mime_object_set_disposition(GMIME_OBJECT(part), GMIME_DISPOSITION_ATTACHMENT);
        g_mime_part_set_filename(GMIME_PART(part), file_name);
    }
    g_object_unref(content);
    g_object_unref(stream);
    return GMIME_OBJECT(part);
}

static GMimeObject *content_new(const struct mail *mail)
{
    GMimeObject *text = part_new(mail->text, "plain", NULL);

    if (!mail->attachment)
        return text;
    GMimeObject *attachment = part_new(mail->attachment, "csv", mail->attachment_name);
    GMimeMultipart *both = g_mime_multipart_new_with_subtype("mixed");
    g_mime_multipart_add(both, text);
    g_mime_multipart_add(both, attachment);
    g_object_unref(text);
    g_object_unref(attachment);
    return GMIME_OBJECT(both);
}

static GMimeMessage *message_new(const struct mail *mail)
{
    GMimeMessage *message = g_mime_message_new(TRUE);
    GMimeObject *content = content_new(mail);
    GDateTime *now = g_date_time_new_now_utc();
    char name[MESSAGE_NAME_SIZE];

    message_name(mail, name);
    char *id = g_strdup_printf("%s@%s", name, strchr(mail->from, '@') + 1);
    g_mime_message_add_mailbox(message, GMIME_ADDRESS_TYPE_FROM, NULL, mail->from);
    for (size_t i = 0; i < mail->recipient_count; i++)
        g_mime_message_add_mailbox(message, GMIME_ADDRESS_TYPE_TO, NULL, mail->recipients[i]);
    g_mime_message_set_subject(message, mail->subject, "utf-8");
    g_mime_message_set_date(message, now);
    g_mime_message_set_message_id(message, id);
    g_mime_message_set_mime_part(message, content);
    g_free(id);
    g_date_time_unref(now);
    g_object_unref(content);
    return message;
}

char *message_build(const struct mail *mail, size_t *ret_length)
{
    library_start();
    GMimeMessage *message = message_new(mail);
    GMimeFormatOptions *format = g_mime_format_options_new();
    GMimeStream *stream = g_mime_stream_mem_new();

    g_mime_format_options_set_newline_format(format, GMIME_NEWLINE_FORMAT_DOS);
    g_mime_object_write_to_stream(GMIME_OBJECT(message), format, stream);
    GByteArray *bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream));
    char *text = malloc(bytes->len + 1);
    if (text) {
        memcpy(text, bytes->data, bytes->len);
        text[bytes->len] = 0;
        *ret_length = bytes->len;
    }
    g_object_unref(stream);
    g_mime_format_options_free(format);
    g_object_unref(message);
    return text;
}
