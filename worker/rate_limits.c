#include "worker/rate_limits.h"

#include <errno.h>
#include <string.h>

#include "core/mem.h"
#include "core/rate.h"

static usec_t later(usec_t a, usec_t b)
{
    return a > b ? a : b;
}

/* --- a bucket --------------------------------------------------------------------------------- */

usec_t rate_reserve(struct rate_bucket *bucket, usec_t now_mono)
{
    /* Those that have turns were revoked, or are others' by now. */
    if (bucket->held == 0 && now_mono >= bucket->next_mono + RATE_UNUSED_USEC)
        bucket->tail_mono = 0;
    usec_t free = bucket->next_mono + bucket->held * bucket->interval;
    usec_t turn = later(later(now_mono, free), bucket->tail_mono);
    bucket->tail_mono = turn + bucket->interval;
    return turn;
}

usec_t rate_ready_mono(const struct rate_bucket *bucket, usec_t turn_mono)
{
    return later(turn_mono, bucket->next_mono);
}

static void take_token(struct rate_bucket *bucket, usec_t now_mono)
{
    usec_t due = now_mono > RATE_LATE_USEC ? now_mono - RATE_LATE_USEC : 0;
    bucket->next_mono = later(bucket->next_mono, due) + bucket->interval;
}

enum rate_verdict rate_ask(struct rate_bucket *bucket, usec_t now_mono, usec_t *turn_mono)
{
    const usec_t near = now_mono + RATE_AHEAD_USEC;
    if (bucket->interval == 0)
        return RATE_NOW;
    /* One that comes much too early was brought here by hand, or its turn is of another limit. */
    if (*turn_mono == 0 || *turn_mono > near)
        *turn_mono = rate_reserve(bucket, now_mono);
    if (rate_ready_mono(bucket, *turn_mono) <= now_mono) {
        take_token(bucket, now_mono);
        return RATE_NOW;
    }
    if (*turn_mono <= near && bucket->held < RATE_HELD_MAX)
        return RATE_HOLD;
    bucket->parked++;
    return RATE_PARK;
}

usec_t rate_back_mono(const struct rate_bucket *bucket, usec_t now_mono, usec_t turn_mono)
{
    usec_t away = later(bucket->held * bucket->interval, RATE_AWAY_USEC);
    if (turn_mono > now_mono + away + RATE_LEAD_USEC)
        return turn_mono - RATE_LEAD_USEC;
    return now_mono + (now_mono > turn_mono ? later(away, now_mono - turn_mono) : away);
}

/* --- all buckets ------------------------------------------------------------------------------ */

/* Where `name` stands, or belongs. */
static size_t place_of(const struct rate_limits *limits, struct str name)
{
    size_t low = 0, high = limits->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_compare(str_of(limits->buckets[middle]->task), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct rate_bucket *
find(const struct rate_limits *limits, struct str name, size_t *ret_place)
{
    *ret_place = place_of(limits, name);
    if (*ret_place == limits->count)
        return NULL;
    struct rate_bucket *bucket = limits->buckets[*ret_place];
    return str_equal(str_of(bucket->task), name) ? bucket : NULL;
}

static struct rate_bucket *add(struct rate_limits *limits, struct str name, size_t place)
{
    struct rate_bucket *bucket = xnew(struct rate_bucket);
    bucket->task = xalloc(name.len + 1);
    memcpy(bucket->task, name.ptr, name.len);
    limits->buckets = xgrow(limits->buckets, limits->count + 1, sizeof(*limits->buckets));
    memmove(limits->buckets + place + 1, limits->buckets + place,
            (limits->count - place) * sizeof(*limits->buckets));
    limits->buckets[place] = bucket;
    limits->count++;
    return bucket;
}

/* A full bucket; nobody has a turn. */
static void change(struct rate_bucket *bucket, usec_t interval)
{
    bucket->interval = interval;
    bucket->next_mono = bucket->tail_mono = 0;
}

struct rate_bucket *
rate_limits_find(struct rate_limits *limits, struct str name, const struct frame_task *rules)
{
    size_t place;
    if (limits->count == 0 && rules->rate_interval == 0)
        return NULL;
    struct rate_bucket *bucket = find(limits, name, &place);
    if (!bucket && rules->rate_interval == 0)
        return NULL;
    if (!bucket)
        bucket = add(limits, name, place);
    if (!bucket->is_told && bucket->interval != rules->rate_interval)
        change(bucket, rules->rate_interval); /* new, or the code is */
    return bucket->interval ? bucket : NULL;
}

int rate_limits_tell(struct rate_limits *limits,
                     struct str name,
                     struct str text,
                     struct rate_bucket **ret_bucket,
                     struct cel_error *err)
{
    usec_t interval;
    size_t place;
    int r = text.len < RATE_TEXT_SIZE ? rate_parse(text, &interval) : -EINVAL;
    if (r < 0)
        return error_set(err, r,
                         "rate limit \"" STR_FORMAT "\": a number of calls and, behind a slash, "
                         "s, m or h are wanted, as in \"10/s\"",
                         STR_ARGS(text));
    struct rate_bucket *bucket = find(limits, name, &place);
    if (!bucket)
        bucket = add(limits, name, place);
    change(bucket, interval);
    bucket->is_told = true;
    memset(bucket->text, 0, sizeof(bucket->text));
    if (text.len > 0)
        memcpy(bucket->text, text.ptr, text.len);
    *ret_bucket = bucket;
    return 0;
}

void rate_limits_deinit(struct rate_limits *limits)
{
    for (size_t i = 0; i < limits->count; i++) {
        mem_free(limits->buckets[i]->task);
        mem_free(limits->buckets[i]);
    }
    mem_free(limits->buckets);
    *limits = (struct rate_limits){0};
}
