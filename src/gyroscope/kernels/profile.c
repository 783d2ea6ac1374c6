/* One pass over a column of numbers: counts in cells, moments, extremes, magnitudes, distinct values.
 *
 * A column comes in parts, each tallied by itself. Values are taken in blocks that stay in the
 * first cache, so that the loops over a block cost little and its moments can take two passes.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "numbers.h"

#define GRID 8192 /* fields at most */
#define REGISTERS 1024
#define REFRESH 32 /* blocks after which it is looked again what the sketch knows already */
#define MAX_EDGES 16384
#define MAGNITUDES 8192
#define INFINITE 8188 /* the magnitude of infinity: an exponent of ones, a fraction of zeros */

/* Where to begin to look for the cell of a value: a grid over the range of the edges. Values and
 * edges are laid onto it by the same arithmetic, which never descends; so an edge in an earlier
 * field lies surely below the value, one in a later field surely not, whatever the rounding. */
struct grid {
    double low, high, origin, scale;
    const double *edges;        /* ascending, padded by as many infinities as a search looks at */
    int fields;                 /* fewer for few values, to which laying a grid would be the work */
    int steps;                  /* of a binary search among the edges of one field */
    uint16_t start[GRID];       /* edges in earlier fields */
};

static inline int field_of(const struct grid *g, double x)
{
    double inside = x < g->low ? g->low : x;
    inside = inside > g->high ? g->high : inside;
    return (int)((inside - g->origin) * g->scale); /* below their number, whatever the rounding */
}

static void lay_grid(struct grid *g, const double *edges, int32_t n, int64_t values)
{
    for (g->fields = 256; g->fields < GRID && g->fields < values / 4; g->fields *= 2)
        ;
    g->edges = edges;
    g->low = n ? edges[0] : 0.0;
    g->high = n ? edges[n - 1] : 0.0;
    g->origin = g->low;
    g->scale = (g->fields - 1) / (g->high - g->low);
    if (!isfinite(g->high - g->low) || !isfinite(g->scale)) { /* one field must do */
        g->origin = 0.0;
        g->scale = 0.0;
    }
    int32_t held[GRID], most = 0, before = 0;
    memset(held, 0, g->fields * sizeof held[0]);
    for (int32_t i = 0; i < n; i++)
        held[field_of(g, edges[i])]++;
    for (int f = 0; f < g->fields; f++) {
        g->start[f] = (uint16_t)before;
        before += held[f];
        most = held[f] > most ? held[f] : most;
    }
    for (g->steps = 0; (1 << g->steps) <= most; g->steps++)
        ;
}

/* The number of edges below x, the cell of x, which lies in a known field of the grid. */
static inline int32_t cell_of(const struct grid *g, double x, int field, int steps)
{
    int32_t cell = g->start[field];
    for (int s = steps - 1; s >= 0; s--)
        cell += (int32_t)(g->edges[cell + (1 << s) - 1] < x) << s;
    return cell;
}

/* The finalizer of MurmurHash3, a bijection of 64 bits (Appleby 2011, public domain), in two steps,
 * of which the second leaves the upper 33 bits as they are. */
static inline uint64_t half_mixed(uint64_t h)
{
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    return h * UINT64_C(0xc4ceb9fe1a85ec53);
}

static inline uint64_t mixed(uint64_t h)
{
    h = half_mixed(h);
    return h ^ (h >> 33);
}

/* HyperLogLog (Flajolet et al. 2007) with 1024 registers: ten bits choose the register, which keeps
 * the largest rank of the first one among the next 53 bits. */
static inline void sketch_hash(uint64_t h, uint8_t *sketch)
{
    uint64_t rest = (h << 10) >> 11;
    uint8_t rank = (uint8_t)(rest ? __builtin_clzll(rest) - 10 : 54);
    if (rank > sketch[h >> 54])
        sketch[h >> 54] = rank;
}

/* From which hash on, its first ten bits aside, the rank is in every register already; told by no
 * more than the 22 bits after these. */
static uint64_t known_from(const uint8_t *sketch)
{
    uint8_t least = 255;
    for (int r = 0; r < REGISTERS; r++)
        least = sketch[r] < least ? sketch[r] : least;
    return least ? UINT64_C(1) << (64 - (least < 22 ? least : 22)) : UINT64_MAX;
}

struct tables {
    int64_t *counts; /* counts[2][cells], in turns: to count in a cell again need not wait for the
                        first to be written */
    int32_t cells;
    int64_t *magnitudes;
    uint8_t *sketch;
    uint64_t known;   /* by the sketch, see above */
    uint64_t *recent; /* values, 64 of them; while registers are empty it pays to ask them */
};

/* Counts the cell of a value, and sketches it: together, as neither keeps a processor busy. */
static inline void count_value(const struct grid *g, double x, int field, int steps, int64_t *counts,
                               const struct tables *t, int ask)
{
    uint64_t bits;
    memcpy(&bits, &x, 8);
    counts[cell_of(g, x, field, steps)]++;
    t->magnitudes[(bits << 1) >> 51]++;
    if (ask) {
        uint64_t *seen = &t->recent[(bits * UINT64_C(0x9e3779b97f4a7c15)) >> 58];
        if (*seen != bits) {
            *seen = bits;
            sketch_hash(mixed(bits), t->sketch);
        }
    } else {
        uint64_t h = half_mixed(bits);
        if ((h << 10) < t->known)
            sketch_hash(h ^ (h >> 33), t->sketch);
    }
}

static inline void count_values(const struct grid *g, const double *v, const int32_t *fields, int n,
                                int steps, struct tables t, int ask)
{
    int i = 0;
    for (; i + 2 <= n; i += 2) {
        count_value(g, v[i], fields[i], steps, t.counts, &t, ask);
        count_value(g, v[i + 1], fields[i + 1], steps, t.counts + t.cells, &t, ask);
    }
    if (i < n)
        count_value(g, v[i], fields[i], steps, t.counts, &t, ask);
}

static inline void count_block(const struct grid *g, const double *v, int n, struct tables t,
                               int ask)
{
    int32_t fields[BLOCK];
    for (int i = 0; i < n; i++)
        fields[i] = field_of(g, v[i]);
    switch (g->steps) { /* searches of a known length are unrolled */
    case 0: count_values(g, v, fields, n, 0, t, ask); break;
    case 1: count_values(g, v, fields, n, 1, t, ask); break;
    case 2: count_values(g, v, fields, n, 2, t, ask); break;
    case 3: count_values(g, v, fields, n, 3, t, ask); break;
    case 4: count_values(g, v, fields, n, 4, t, ask); break;
    default: count_values(g, v, fields, n, g->steps, t, ask);
    }
}

/* Copies the values that are not missing to v and returns how many there are. */
static inline int gather(const struct numbers *s, enum type type, int64_t first, int n, double *v)
{
    int64_t absent = load_block(s, type, first, n, v);
    int k = 0;
    if (!absent && s->valid == NULL)
        return n;
    for (int i = 0; i < n; i++) {
        double value = v[i];
        v[k] = value;
        k += (value == value) & is_valid(s, first + i);
    }
    return k;
}

struct moments {
    int64_t n;
    double mean, m2, low, high;
};

#define LANES 4 /* sums and extremes that do not wait for one another */

struct extent {
    double sum, low, high;
};

static inline struct extent extent_of(const double *v, int n)
{
    double sum[LANES] = {0}, low[LANES], high[LANES];
    int i = 0;
    for (int j = 0; j < LANES; j++)
        low[j] = high[j] = v[0];
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            sum[j] += v[i + j];
            low[j] = v[i + j] < low[j] ? v[i + j] : low[j];
            high[j] = v[i + j] > high[j] ? v[i + j] : high[j];
        }
    for (; i < n; i++) {
        sum[0] += v[i];
        low[0] = v[i] < low[0] ? v[i] : low[0];
        high[0] = v[i] > high[0] ? v[i] : high[0];
    }
    for (int j = 1; j < LANES; j++) {
        sum[0] += sum[j];
        low[0] = low[j] < low[0] ? low[j] : low[0];
        high[0] = high[j] > high[0] ? high[j] : high[0];
    }
    return (struct extent){sum[0], low[0], high[0]};
}

static inline double squares_about(const double *v, int n, double mean)
{
    double sum[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            sum[j] += (v[i + j] - mean) * (v[i + j] - mean);
    for (; i < n; i++)
        sum[0] += (v[i] - mean) * (v[i] - mean);
    for (int j = 1; j < LANES; j++)
        sum[0] += sum[j];
    return sum[0];
}

/* Counts the zeros among n values and lowers *least to the least |x| of the others. */
static inline int64_t zeros_of(const double *v, int n, double *least)
{
    double nearest[LANES], zeros[LANES] = {0}; /* as numbers: they are compared as such */
    int i = 0;
    for (int j = 0; j < LANES; j++)
        nearest[j] = *least;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            double size = fabs(v[i + j]);
            zeros[j] += size == 0.0 ? 1.0 : 0.0;
            size = size == 0.0 ? INFINITY : size;
            nearest[j] = size < nearest[j] ? size : nearest[j];
        }
    for (; i < n; i++) {
        double size = fabs(v[i]);
        zeros[0] += size == 0.0 ? 1.0 : 0.0;
        size = size == 0.0 ? INFINITY : size;
        nearest[0] = size < nearest[0] ? size : nearest[0];
    }
    for (int j = 0; j < LANES; j++)
        *least = nearest[j] < *least ? nearest[j] : *least;
    for (int j = 1; j < LANES; j++)
        zeros[0] += zeros[j];
    return (int64_t)zeros[0];
}

/* A mean is no larger than the largest number, though its sum, or rounding, may say so. */
static inline double bounded(double mean)
{
    return mean > DBL_MAX ? DBL_MAX : mean < -DBL_MAX ? -DBL_MAX : mean;
}

/* Adds n finite numbers: two passes over the block, then the rule of Chan, Golub and LeVeque (1983)
 * for blocks. Lowers *least to the least |x| > 0 of them; returns how many are zero. */
FOR_EACH_PROCESSOR
static int64_t add_block(struct moments *m, const double *v, int n, double *least)
{
    struct extent e = extent_of(v, n);
    double mean = e.sum / n;
    m->low = e.low < m->low ? e.low : m->low;
    m->high = e.high > m->high ? e.high : m->high;
    if (!isfinite(mean)) { /* the sum has overflown, the mean cannot */
        mean = 0.0;
        for (int i = 0; i < n; i++)
            mean += v[i] / n;
        mean = bounded(mean);
    }
    double before = (double)m->n, after = before + n, gap = mean - m->mean;
    m->mean = bounded(m->mean * (before / after) + mean * (n / after));
    m->m2 += squares_about(v, n, mean) + (m->n ? gap * (before * n / after) * gap : 0.0);
    m->m2 = m->m2 < DBL_MAX ? m->m2 : DBL_MAX;
    m->n += n;
    if (e.low <= 0.0 && e.high >= 0.0)
        return zeros_of(v, n, least);
    double nearest = e.low > 0.0 ? e.low : -e.high;
    *least = nearest < *least ? nearest : *least;
    return 0;
}

static int32_t magnitude_of(double size)
{
    uint64_t bits;
    memcpy(&bits, &size, 8);
    return (int32_t)((bits << 1) >> 51);
}

static int finite_only(const double *v, int n, double *finite)
{
    int k = 0;
    for (int i = 0; i < n; i++) {
        finite[k] = v[i];
        k += isfinite(v[i]) != 0;
    }
    return k;
}

/* Adds the counts of a part, held[2][cells], to those of all parts and, joined, to those of bins. */
static void add_part(int64_t *held, int32_t cells, const int32_t *bins, int32_t n_bins,
                     int64_t *counts, int64_t *binned)
{
    for (int32_t c = 0; c < cells; c++) {
        held[c] += held[cells + c];
        counts[c] += held[c];
    }
    for (int32_t bin = 0; bin < n_bins; bin++)
        for (int32_t c = bins[bin]; c < (bin + 1 < n_bins ? bins[bin + 1] : cells); c++)
            binned[bin] += held[c];
    memset(held, 0, 2 * (size_t)cells * sizeof *held);
}

/* Tallies the rows bounds[0] .. bounds[parts] of a column, which stands in stretches. The magnitudes of part i are counted in
 * row groups[i], which ascend.
 *
 * counts[edges + 1] and, as scratch, twice as many more; binned[parts][bins], counts of the parts in
 * bins of the cells from bins[i] on; magnitudes[groups][8192]; missing[parts]; totals[4] (infinite,
 * finite, and the magnitudes all lie in totals[2] .. totals[3] - 1); moments[4] (mean, sum of squared
 * deviations, least, largest) and sketch[1024] come filled with zeros.
 * The edges are followed by as many infinities again, one more.
 * Returns 0, or 1 if there are more edges than it can tell apart. */
FOR_EACH_PROCESSOR
int gyro_tally_numbers(const struct numbers *s, int32_t type, const int64_t *bounds,
                       const int32_t *groups, int32_t parts, const double *edges, int32_t n_edges,
                       const int32_t *bins, int32_t n_bins, int64_t *counts, int64_t *binned,
                       int64_t *all_magnitudes, int64_t *missing, int64_t *totals,
                       double *moments, uint8_t *sketch)
{
    struct grid grid;
    struct moments m = {0, 0.0, 0.0, INFINITY, -INFINITY};
    double v[BLOCK], finite[BLOCK], least = INFINITY;
    uint64_t recent[64], known = UINT64_MAX;
    int64_t *held = counts + n_edges + 1, blocks = 0, begin = 0;
    if (n_edges > MAX_EDGES)
        return 1;
    memset(recent, 0xff, sizeof recent); /* the bits of no number */
    lay_grid(&grid, edges, n_edges, bounds[parts] - bounds[0]);
    for (int32_t part = 0; part < parts; part++) {
        int64_t *magnitudes = all_magnitudes + groups[part] * MAGNITUDES;
        int taken;
        for (int64_t first = bounds[part]; first < bounds[part + 1]; first += taken) {
            if (++blocks % REFRESH == 0)
                known = known_from(sketch);
            while (first >= begin + s->n)
                begin += s++->n;
            int64_t end = begin + s->n < bounds[part + 1] ? begin + s->n : bounds[part + 1];
            taken = end - first < BLOCK ? (int)(end - first) : BLOCK;
            int n = gather(s, (enum type)type, first - begin, taken, v);
            int64_t infinite = magnitudes[INFINITE];
            missing[part] += taken - n;
            struct tables t = {held, n_edges + 1, magnitudes, sketch, known, recent};
            if (known == UINT64_MAX)
                count_block(&grid, v, n, t, 1);
            else
                count_block(&grid, v, n, t, 0);
            const double *some = v;
            if (magnitudes[INFINITE] != infinite) {
                totals[0] += magnitudes[INFINITE] - infinite;
                magnitudes[INFINITE] = infinite;
                n = finite_only(v, n, finite);
                some = finite;
            }
            if (n)
                magnitudes[0] -= add_block(&m, some, n, &least);
        }
        add_part(held, n_edges + 1, bins, n_bins, counts, binned + (int64_t)part * n_bins);
    }
    totals[1] = m.n;
    moments[0] = m.mean;
    moments[1] = m.m2;
    moments[2] = m.low;
    moments[3] = m.high;
    double most = -m.low > m.high ? -m.low : m.high;
    if (m.n && most > 0.0) {
        totals[2] = magnitude_of(least);
        totals[3] = magnitude_of(most) + 1;
    }
    return 0;
}

/* The cell of each of n values, edges + 1 for a missing one; edges as above. Returns as above. */
int gyro_cells_of_numbers(const double *values, int64_t n, const double *edges, int32_t n_edges,
                          uint16_t *cells)
{
    struct grid grid;
    if (n_edges > MAX_EDGES)
        return 1;
    lay_grid(&grid, edges, n_edges, n);
    for (int64_t i = 0; i < n; i++) {
        double x = values[i];
        cells[i] = (uint16_t)(x == x ? cell_of(&grid, x, field_of(&grid, x), grid.steps)
                                     : n_edges + 1);
    }
    return 0;
}

/* Adds n texts to a sketch; text i is bytes[offsets[i]] .. bytes[offsets[i + 1] - 1].
 * The hash is FNV-1a (Fowler, Noll and Vo), mixed once more. */
void gyro_sketch_texts(const uint8_t *bytes, const int64_t *offsets, int64_t n, uint8_t *sketch)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t h = UINT64_C(0xcbf29ce484222325);
        for (int64_t k = offsets[i]; k < offsets[i + 1]; k++)
            h = (h ^ bytes[k]) * UINT64_C(0x100000001b3);
        sketch_hash(mixed(h), sketch);
    }
}

#define FEW 256 /* cells */

/* Puts its cell in place of each of the codes bounds[i] .. bounds[i + 1] - 1, for -1 the last one of
 * lookup[known + 1], and counts it in counts[i][k], which come filled with zeros. */
void gyro_count_codes(int32_t *codes, const int32_t *lookup, int32_t known,
                      const int64_t *bounds, int32_t parts, int64_t k, int64_t *counts)
{
    for (int32_t part = 0; part < parts; part++, counts += k) {
        int64_t i = bounds[part], end = bounds[part + 1];
        if (k <= FEW) { /* the same cell again must not wait for its count to be written */
            int64_t held[4][FEW];
            memset(held, 0, sizeof held);
            for (; i + 4 <= end; i += 4)
                for (int j = 0; j < 4; j++) {
                    codes[i + j] = lookup[codes[i + j] < 0 ? known : codes[i + j]];
                    held[j][codes[i + j]]++;
                }
            for (int64_t c = 0; c < k; c++)
                counts[c] = held[0][c] + held[1][c] + held[2][c] + held[3][c];
        }
        for (; i < end; i++) {
            codes[i] = lookup[codes[i] < 0 ? known : codes[i]];
            counts[codes[i]]++;
        }
    }
}
