#include "keeper/refusal.h"

#include "core/mem.h"

bool refusal_is(int status)
{
    return status == CEL_E_SERVER || status == CEL_E_AUTH;
}

bool refusal_is_wrong_type(const struct cel_error *err)
{
    return err->code == CEL_E_SERVER && strstr(err->text, "WRONGTYPE");
}

bool refusal_lasts(const struct cel_error *err)
{
    /* Others pass: no memory left, a full disk. */
    return err->code == CEL_E_AUTH || refusal_is_wrong_type(err);
}

bool refusal_note(struct refusal *refusal, const struct cel_error *err)
{
    if (refusal->words && strcmp(refusal->words, err->text) == 0)
        return false;
    mem_free(refusal->words);
    refusal->words = xstrdup(err->text);
    return true;
}

bool refusal_end(struct refusal *refusal)
{
    bool was_refused = refusal->words != NULL;
    mem_free(refusal->words);
    refusal->words = NULL;
    return was_refused;
}
