/*
 * Sends the canvas that is named by the first argument and prints what came of it, as one line of JSON:
 * its handle, and, with "wait", the documents of its results.
 */
#include <celeriac/client.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cel_signature *task(const char *name)
{
    return cel_signature(cel_call_new(name));
}

static struct cel_signature *task_with(const char *name, struct cel_value *a, struct cel_value *b)
{
    struct cel_call *call = cel_call_new(name);
    cel_call_arg(call, a);
    if (b)
        cel_call_arg(call, b);
    return cel_signature(call);
}

static struct cel_signature *add(int64_t a, int64_t b)
{
    return task_with("pytasks.add", cel_int(a), cel_int(b));
}

static struct cel_signature *plus(int64_t a)
{
    return task_with("pytasks.add", cel_int(a), NULL);
}

static struct cel_signature *
put(struct cel_signature *into, struct cel_signature *a, struct cel_signature *b)
{
    cel_signature_add(into, a);
    cel_signature_add(into, b);
    return into;
}

/* --- the canvases ------------------------------------------------------------------------------ */

static struct cel_signature *chain(void)
{
    struct cel_signature *canvas = put(cel_chain(), add(1, 2), plus(10));
    cel_signature_add(canvas, task("pytasks.echo"));
    return canvas;
}

static struct cel_signature *group(void)
{
    return put(cel_group(), add(1, 2), put(cel_group(), add(3, 4), add(5, 6)));
}

static struct cel_signature *chord(void)
{
    return cel_chord(put(cel_group(), add(1, 2), add(3, 4)), task("pytasks.tsum"));
}

static struct cel_signature *nested_chord(void)
{
    struct cel_signature *header = put(cel_group(), chord(), put(cel_chain(), add(1, 1), plus(5)));
    cel_signature_add(header, put(cel_group(), add(0, 1), add(0, 2)));
    return put(cel_chain(), cel_chord(header, task("pytasks.tsum")), plus(100));
}

static struct cel_signature *group_in_chain(void)
{
    struct cel_signature *canvas = put(cel_chain(), add(1, 1), put(cel_group(), plus(1), plus(2)));
    cel_signature_add(canvas, task("pytasks.tsum"));
    cel_signature_add(canvas, put(cel_group(), plus(1), plus(2)));
    return canvas;
}

static struct cel_signature *broken_chord(void)
{
    struct cel_signature *broken = task_with("pytasks.fail", cel_text("on purpose"), NULL);
    struct cel_signature *body = task("pytasks.tsum");
    cel_link_error(body, task("pytasks.errback"));
    return cel_chord(put(cel_group(), broken, add(3, 4)), body);
}

static struct cel_signature *broken_chain(void)
{
    struct cel_signature *broken = task_with("pytasks.fail", cel_text("on purpose"), NULL);
    struct cel_signature *canvas = put(cel_chain(), broken, plus(1));
    cel_link_error(canvas, task("pytasks.errback"));
    return canvas;
}

static struct cel_signature *linked(void)
{
    struct cel_signature *canvas = add(20, 22), *fixed;
    cel_link(canvas, task_with("pytasks.mark", cel_text("callback"), NULL));
    fixed = task_with("pytasks.mark", cel_text("fixed"), cel_text("immutable"));
    cel_immutable(fixed);
    cel_link(canvas, fixed);
    return canvas;
}

static struct cel_value *pairs(void)
{
    struct cel_value *list = cel_list();
    for (int64_t i = 0; i < 5; i++) {
        struct cel_value *pair = cel_list();
        cel_list_add(pair, cel_int(i));
        cel_list_add(pair, cel_int(i));
        cel_list_add(list, pair);
    }
    return list;
}

static struct cel_signature *maps(void)
{
    struct cel_signature *canvas = put(cel_group(), cel_xmap(task("pytasks.tsum"), pairs()),
                                       cel_xstarmap(task("pytasks.add"), pairs()));
    cel_signature_add(canvas, cel_chunks(task("pytasks.add"), pairs(), 2));
    return canvas;
}

static struct cel_signature *empty_chord(void)
{
    return cel_chord(cel_group(), task("pytasks.tsum"));
}

static const struct {
    const char *name;
    struct cel_signature *(*make)(void);
} canvases[] = {
    {"chain", chain},
    {"group", group},
    {"chord", chord},
    {"nested_chord", nested_chord},
    {"group_in_chain", group_in_chain},
    {"broken_chord", broken_chord},
    {"broken_chain", broken_chain},
    {"linked", linked},
    {"maps", maps},
    {"empty_chord", empty_chord},
};

static struct cel_signature *make(const char *name)
{
    for (size_t i = 0; i < sizeof(canvases) / sizeof(canvases[0]); i++) {
        if (strcmp(canvases[i].name, name) == 0)
            return canvases[i].make();
    }
    fprintf(stderr, "there is no canvas %s\n", name);
    exit(2);
}

/* --- what came of it --------------------------------------------------------------------------- */

static int complain(const struct cel_error *err)
{
    fprintf(stderr, "%s\n", err->text);
    return EXIT_FAILURE;
}

static int show_results(struct cel_client *client, const struct cel_handle *handle)
{
    size_t count = cel_handle_tasks(handle);
    struct cel_result **results = calloc(count + 1, sizeof(struct cel_result *));
    struct cel_error err = {0};
    if (!results || cel_handle_wait(client, handle, 20000, results, &err)) {
        free(results);
        return complain(&err);
    }
    for (size_t i = 0; i < count; i++) {
        char *json = cel_value_to_json(cel_result_document(results[i]));
        const struct cel_value *id = cel_value_get(cel_result_document(results[i]), "task_id");
        if (strcmp(cel_value_text(id, NULL), cel_handle_task_id(handle, i)) != 0)
            fprintf(stderr, "result %zu is of another task\n", i);
        printf("%s%s", i > 0 ? ", " : "", json);
        free(json);
        cel_result_free(results[i]);
    }
    free(results);
    return EXIT_SUCCESS;
}

static int run(struct cel_client *client, const struct cel_signature *canvas, const char *what)
{
    struct cel_error err = {0};
    struct cel_handle *handle = NULL;
    int status = EXIT_SUCCESS;
    if (cel_send_canvas(client, canvas, &handle, &err))
        return complain(&err);
    char *tuple = cel_handle_to_json(handle);
    printf("{\"handle\": %s, \"results\": [", tuple);
    if (strcmp(what, "save") == 0)
        status = cel_group_save(client, handle, &err) ? complain(&err) : EXIT_SUCCESS;
    else if (strcmp(what, "wait") == 0)
        status = show_results(client, handle);
    printf("]}\n");
    free(tuple);
    cel_handle_free(handle);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s CANVAS wait|save|send\n", argv[0]);
        return 2;
    }
    struct cel_error err;
    struct cel_client *client;
    if (cel_client_open(NULL, &client, &err))
        return complain(&err);
    struct cel_signature *canvas = make(argv[1]);
    int status = run(client, canvas, argv[2]);
    cel_signature_free(canvas);
    cel_client_close(client);
    return status;
}
