#include "pool/job.h"

#include <stdio.h>
#include <string.h>

void death_describe(const struct death *death, char *buffer, size_t size)
{
    const char *name = death->term_signal ? sigabbrev_np(death->term_signal) : NULL;
    if (!death->term_signal)
        snprintf(buffer, size, "exitcode %lld", (long long)death->exit_status);
    else if (name)
        snprintf(buffer, size, "signal %d (SIG%s)", death->term_signal, name);
    else
        snprintf(buffer, size, "signal %d (%d)", death->term_signal, death->term_signal);
}
