/* The runs of one value in a column, and whether it ascends, descends or rises by equal steps. */
#include <math.h>
#include <stdint.h>

#define BLOCK 512

enum type { FLOAT64, FLOAT32, INT64, INT32 };

/* See `Runs` in runs.py. */
struct runs {
    int64_t longest, length, careful, up, down, even, n, runs, run;
    double last, present, step, log_orders;
};

#define GATHER(T)                                         \
    {                                                     \
        const T *x = (const T *)values + first;           \
        for (int i = 0; i < n; i++)                       \
            v[i] = (double)x[i];                          \
    }

/* Copies values to v, NaN for those that are missing or larger than most. */
static void gather(const void *values, enum type type, int64_t first, int n, const uint8_t *valid,
                   int64_t offset, double most, double *v)
{
    switch (type) {
    case FLOAT64: GATHER(double) break;
    case FLOAT32: GATHER(float) break;
    case INT64: GATHER(int64_t) break;
    case INT32: GATHER(int32_t) break;
    }
    if (most < INFINITY)
        for (int i = 0; i < n; i++)
            v[i] = v[i] > most ? NAN : v[i];
    if (valid)
        for (int i = 0; i < n; i++) {
            int64_t bit = offset + first + i;
            v[i] = valid[bit >> 3] >> (bit & 7) & 1 ? v[i] : NAN;
        }
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
static void scan_longest(struct runs *r, const double *v, int n)
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

/* Reads the next n values, of which those larger than most count as missing. What their order says
 * is of use only while it may be that of the values, or while they may stand in so many groups. */
void gyro_scan_runs(const void *values, int32_t type, const uint8_t *valid, int64_t offset,
                    int64_t n, double most, int64_t groups, struct runs *r)
{
    double v[BLOCK];
    if (n && r->longest == 0)
        r->longest = 1; /* a missing value is a run by itself */
    for (int64_t first = 0; first < n; first += BLOCK) {
        int taken = n - first < BLOCK ? (int)(n - first) : BLOCK;
        const double *some = v;
        if (type == FLOAT64 && !valid && most == INFINITY)
            some = (const double *)values + first;
        else
            gather(values, (enum type)type, first, taken, valid, offset, most, v);
        r->careful = r->careful && (r->up || r->down || r->runs <= groups);
        if (r->careful)
            scan(r, some, taken);
        else
            scan_longest(r, some, taken);
    }
}
