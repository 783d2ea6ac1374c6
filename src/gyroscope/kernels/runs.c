/* The runs of one value in a column, and whether it ascends, descends or rises by equal steps. */
#include <math.h>

#include "numbers.h"

/* See `Runs` in runs.py. */
struct runs {
    int64_t longest, length, careful, up, down, even, n, runs, run;
    double last, present, step, log_orders;
};

/* Copies values to v, NaN for those that are missing or larger than most. */
static inline void gather(const struct numbers *s, enum type type, int64_t first, int n, double most,
                   double *v)
{
    load_block(s, type, first, n, v);
    if (most < INFINITY)
        for (int i = 0; i < n; i++)
            v[i] = v[i] > most ? NAN : v[i];
    if (s->valid)
        for (int i = 0; i < n; i++)
            v[i] = is_valid(s, first + i) ? v[i] : NAN;
}

/* All that is asked of values in some order. */
static void scan(struct runs *r, const double *v, int n)
{
    for (int i = 0; i < n; i++) {
        double x = v[i];
        r->length = x == r->last ? r->length + 1 : x == x;
        r->longest = r->length > r->longest ? r->length : r->longest;
        r->last = x;
        if (x != x)
            continue;
        if (r->n) {
            double step = x - r->present;
            r->up &= x >= r->present;
            r->down &= x <= r->present;
            r->step = r->n == 1 ? step : r->step;
            r->even &= step == r->step && isfinite(step);
        }
        if (r->n && x == r->present) {
            r->run++;
        } else {
            r->log_orders += r->run > 1 ? lgamma((double)r->run + 1.0) : 0.0;
            r->runs++;
            r->run = 1;
        }
        r->present = x;
        r->n++;
    }
}

/* Only the longest run. */
static inline void scan_longest(struct runs *r, const double *v, int n)
{
    int64_t same = v[0] == r->last;
    for (int i = 1; i < n; i++)
        same += v[i] == v[i - 1];
    if (same) {
        int64_t length = r->length, longest = r->longest;
        double last = r->last;
        for (int i = 0; i < n; i++) {
            length = length * (v[i] == last) + (v[i] == v[i]);
            longest = length > longest ? length : longest;
            last = v[i];
        }
        r->length = length;
        r->longest = longest;
    } else { /* as in nearly all columns of measurements */
        r->length = v[n - 1] == v[n - 1];
    }
    r->last = v[n - 1];
}

/* Reads the next values, of which those larger than most count as missing. What their order says
 * is of use only while it may be that of the values, or while they may stand in so many groups. */
FOR_EACH_PROCESSOR
void gyro_scan_runs(const struct numbers *s, int32_t type, double most, int64_t groups,
                    struct runs *r)
{
    double v[BLOCK];
    if (s->n && r->longest == 0)
        r->longest = 1; /* a missing value is a run by itself */
    for (int64_t first = 0; first < s->n; first += BLOCK) {
        int taken = s->n - first < BLOCK ? (int)(s->n - first) : BLOCK;
        const double *some = v;
        if (type == FLOAT64 && !s->valid && most == INFINITY)
            some = (const double *)s->values + first;
        else
            gather(s, (enum type)type, first, taken, most, v);
        r->careful = r->careful && (r->up || r->down || r->runs <= groups);
        if (r->careful)
            scan(r, some, taken);
        else
            scan_longest(r, some, taken);
    }
}
