/* The exact Shapley values of the margins of rows, by quadrature. */
#include <stdlib.h>

#include "processors.h"
#include "trees.h"

#define CACHE_LINE 64
#define NEAR (1 << 17) /* bytes of rows that are explained at once: all find room in a cache */

/* What the factors of a split are made of, by the side that a row takes. Shares are of training
 * rows, of all splits on the feature on the way here together. */
struct way {
    double rest; /* 1 - the share of that side */
    double cold; /* the share of the other */
};

/* Shapley values are worked out tree by tree; several that are for the same outputs, and need as
 * many quadrature points, are a grove and count as one tree. A processor waits less if neighbours
 * have nothing to do with one another, and nothing that a row decides should be a branch. So
 * splits are put by kind: first those above other splits, level by level, and within a level as
 * long as possible only splits, or only splits ``again``; then those above leaves only: twigs, and
 * twigs again. The leaves of the first follow. Positions and columns are in bytes. */

/* A split on a feature that is new on the way. */
struct split {
    struct way way[2]; /* right, left */
    uint32_t child[3]; /* right, left, right: the other one of each is the next */
    uint32_t column;
};

/* A split on a feature that was split on before. Its third way is that of a row that took the
 * other side there, and has that factor whatever it does here: shares are of this split alone. */
struct again {
    struct way way[3];
    double lost[2];      /* 1 - the share of the earlier splits; 0 on the third way */
    uint32_t inverse[2]; /* of the factor of these; ones on the third way */
    int32_t before;      /* the last one, and its side that leads here */
    int32_t side;
    uint32_t child[4];
    uint32_t column[2]; /* on the third way one that nobody reads */
};

/* A split above leaves only. */
struct twig {
    uint32_t column;
};

struct twig_again {
    double lost[2];
    uint32_t inverse[2];
    int32_t before, side;
    uint32_t column;
};

/* What is below a twig, by way: value - (1 - t) gain. */
struct end {
    double value, gain;
};

/* A split on codes. */
struct coded {
    int32_t place, column, set;
};

/* Where the first of each lies; the grove that follows says where they end. */
struct grove {
    int32_t tests, coded, runs, splits, agains, twigs, twigs_again, leaves;
    int32_t n_roots; /* these come first */
    int32_t pairs;   /* half of the quadrature points, rounded up */
    int32_t first_output;
};

/* Where the numbers of one grove are worked out. Each place has two rows of pairs:
 * - the product of the factors of all features on the way to it, but of its own split; times the
 *   weights;
 * - the value of the game of the leaves below, relative to that product. */
struct scratch {
    pair *places;
    const pair *u[2]; /* 1 - t at the points; on the third way 1 */
    uint8_t *ways;    /* which each split goes: right, left, or away from both */
};

#define AT(BASE, BYTES) ((pair *)((char *)(BASE) + (BYTES)))

/* The Shapley values of one grove, in two passes.
 *
 * For each distinct feature j on the path to a leaf let o_j in {0, 1} say whether the row follows
 * the path on j, and p_j be the product of the ratios of j's splits. The path-dependent game of
 * Lundberg et al. (2020), Nature Machine Intelligence 2, has the multilinear extension
 *     v * prod_j f_j,   f_j = p_j + t (o_j - p_j),
 * summed over leaves, and by Owen (1972), Management Science 18, the Shapley value of j is the
 * integral over t in [0, 1] of its derivative along j, a polynomial: quadrature is exact.
 *
 * Let p be the share of the side that the row takes of a split on j, if it took the sides of the
 * earlier ones too, and q that of the other; A and B the values below, R the product of the factors
 * of all other features, u = 1 - t. The factors are 1 - u (1 - p) and u q. The derivative is R
 * times gain = (1 - p) A - q B without the earlier splits on j, and A - u gain the value here; for
 * these the same leaves were counted with the factor 1 - u (1 - share), which is taken back.
 *
 * The pass down is one for all classes that share the splits; the pass up is for one of them.
 */

INLINE void decide(const struct trees *m, const struct grove *grove, uint8_t *ways,
                   const double *seen, const int32_t *codes, int by_code)
{
    const struct test *tests = m->tests + grove->tests;
    int32_t n = grove[1].tests - grove->tests;
    for (int32_t i = 0; i < n; i++)
        ways[i] = seen[tests[i].slot] <= tests[i].threshold;
    if (!by_code)
        return;
    const struct coded *end = m->coded_splits + grove[1].coded;
    for (const struct coded *coded = m->coded_splits + grove->coded; coded < end; coded++)
        ways[coded->place] = m->sets[coded->set + codes[coded->column]];
}

/* Whether a row took the other side at the split before. */
INLINE int is_off(const uint8_t *ways, int32_t before, int32_t side)
{
    return ways[before] != side;
}

/* The third way if so, or else the side taken here; worked out, for a branch would be a guess. */
INLINE int way_of(int side, int off)
{
    return (side & (off - 1)) | off << 1;
}

INLINE void go_down(const struct trees *m, const struct grove *grove, const struct scratch *s,
                    const pair *weights, int pairs)
{
    const struct split *split = m->splits + grove->splits;
    const struct again *again = m->agains + grove->agains;
    const int32_t *end = m->runs + grove->runs, *last = m->runs + grove[1].runs;
    const pair *u = s->u[0];
    uint8_t *ways = s->ways;
    pair *own = s->places;
    for (int32_t i = 0; i < grove->n_roots; i++)
        for (int k = 0; k < pairs; k++)
            own[2 * (int64_t)i * pairs + k] = weights[k];
    for (int32_t i = 0; end < last; end++) { /* a run of splits */
        for (; i < *end; i++, split++, own += 2 * pairs) {
            size_t way = ways[i];
            pair *taken = AT(s->places, split->child[way]);
            pair *other = AT(s->places, split->child[way + 1]);
            double rest = split->way[way].rest, cold = split->way[way].cold;
            for (int k = 0; k < pairs; k++) {
                pair part = own[k] * u[k];
                taken[k] = own[k] - part * rest;
                other[k] = part * cold;
            }
        }
        if (++end == last)
            break;
        for (; i < *end; i++, again++, own += 2 * pairs) { /* and one of those again */
            int off = is_off(ways, again->before, again->side), way = way_of(ways[i], off);
            const pair *v = s->u[off], *inverse = AT(m->inverses, again->inverse[off]);
            pair *taken = AT(s->places, again->child[way]);
            pair *other = AT(s->places, again->child[way + 1]);
            double rest = again->way[way].rest, cold = again->way[way].cold;
            ways[i] = (uint8_t)way;
            for (int k = 0; k < pairs; k++) {
                own[k] *= inverse[k];
                pair part = own[k] * v[k];
                taken[k] = own[k] - part * rest;
                other[k] = part * cold;
            }
        }
    }
}

/* Puts the values of one output at leaves, where no row changes them. */
INLINE void set_leaves(const struct trees *m, const struct grove *grove, const struct scratch *s,
                       int32_t which, int pairs)
{
    int64_t n_splits = grove[1].tests - grove->tests, n = grove[1].leaves - grove->leaves;
    int64_t all = m->groves[m->n_groves].leaves;
    const double *leaves = m->leaves + which * all + grove->leaves;
    pair *own = s->places + 2 * n_splits * pairs;
    for (int64_t i = 0; i < n; i++, own += 2 * pairs)
        for (int k = 0; k < pairs; k++)
            own[pairs + k] = leaves[i] + (pair){0.0};
}

/* Sums over the points are begun with the first, not with nought. */
#define ADD(SUM, PART, K) SUM = (K) == 0 ? (PART) : (SUM) + (PART)

INLINE void go_up_from_twigs(const struct trees *m, const struct grove *grove,
                             const struct scratch *s, int32_t which, pair *phi, int pairs)
{
    const struct grove *last = m->groves + m->n_groves;
    const struct twig *twig = m->twigs + grove->twigs, *twigs = m->twigs + grove[1].twigs;
    const struct twig_again *again = m->twigs_again + grove->twigs_again;
    const struct twig_again *agains = m->twigs_again + grove[1].twigs_again;
    const struct end *end = m->ends + 2 * ((int64_t)which * last->twigs + grove->twigs);
    const pair *u = s->u[0];
    int64_t n = grove[1].tests - grove->tests;
    const uint8_t *ways = s->ways, *side = ways + (n - (twigs - twig) - (agains - again));
    pair *own = s->places + 2 * pairs * (side - ways);
    for (; twig < twigs; twig++, side++, end += 2, own += 2 * pairs) {
        double value = end[*side].value, gain = end[*side].gain;
        pair sum = own[0];
        for (int k = 0; k < pairs; k++) {
            ADD(sum, own[k], k);
            own[pairs + k] = value - u[k] * gain;
        }
        *AT(phi, twig->column) += sum * gain;
    }
    end = m->ends_again + 3 * ((int64_t)which * last->twigs_again + grove->twigs_again);
    for (; again < agains; again++, side++, end += 3, own += 2 * pairs) {
        int off = is_off(ways, again->before, again->side), way = way_of(*side, off);
        const pair *inverse = AT(m->inverses, again->inverse[off]);
        double value = end[way].value, gain = end[way].gain, lost = again->lost[off];
        pair sum = own[0];
        for (int k = 0; k < pairs; k++) {
            pair below = (value - u[k] * gain) * inverse[k];
            ADD(sum, own[k] * inverse[k] * (gain - below * lost), k);
            own[pairs + k] = below;
        }
        *AT(phi, again->column) += sum;
    }
}

INLINE void go_up(const struct trees *m, const struct grove *grove, const struct scratch *s,
                  pair *phi, int pairs)
{
    const struct split *split = m->splits + grove[1].splits;
    const struct again *again = m->agains + grove[1].agains;
    const int32_t *ends = m->runs + grove->runs;
    int32_t run = grove[1].runs - grove->runs, i = run ? ends[run - 1] : 0;
    const pair *u = s->u[0];
    pair *own = s->places + 2 * (int64_t)i * pairs;
    while (run--) {
        int32_t first = run ? ends[run - 1] : 0;
        while (run % 2 && i > first) {
            i--, again--, own -= 2 * pairs;
            size_t way = s->ways[i], off = way >> 1;
            const pair *v = s->u[off], *inverse = AT(m->inverses, again->inverse[off]);
            const pair *taken = AT(s->places, again->child[way]) + pairs;
            const pair *other = AT(s->places, again->child[way + 1]) + pairs;
            double rest = again->way[way].rest, cold = again->way[way].cold;
            double lost = again->lost[off];
            pair sum = own[0];
            for (int k = 0; k < pairs; k++) {
                pair gain = taken[k] * rest - other[k] * cold;
                pair below = (taken[k] - v[k] * gain) * inverse[k];
                ADD(sum, own[k] * (gain - below * lost), k);
                own[pairs + k] = below;
            }
            *AT(phi, again->column[off]) += sum;
        }
        while (i > first) {
            i--, split--, own -= 2 * pairs;
            size_t way = s->ways[i];
            const pair *taken = AT(s->places, split->child[way]) + pairs;
            const pair *other = AT(s->places, split->child[way + 1]) + pairs;
            double rest = split->way[way].rest, cold = split->way[way].cold;
            pair sum = own[0];
            for (int k = 0; k < pairs; k++) {
                pair gain = taken[k] * rest - other[k] * cold;
                ADD(sum, own[k] * gain, k);
                own[pairs + k] = taken[k] - u[k] * gain;
            }
            *AT(phi, split->column) += sum;
        }
    }
}

/* Adds the Shapley values of one grove to those of some rows: of the output that is wanted of each,
 * phi[n][1 + p], or of all, phi[n][outputs][1 + p]; by column, the first of which is nobody's, in
 * two parts. */
INLINE void explain(const struct trees *m, const struct grove *grove, struct scratch *s, int n,
                    int32_t p, const double *seen, const int32_t *codes, const int32_t *wanted,
                    pair *phi, int pairs, int by_code)
{
    int64_t rule = (int64_t)pairs * (pairs - 1) / 2;
    int32_t put = -1;
    s->u[0] = m->points + rule; /* they are the same from both ends */
    for (int i = 0; i < n; i++) {
        int32_t first = grove->first_output, which = wanted == NULL ? 0 : wanted[i] - first;
        int32_t end = wanted == NULL ? m->width : which + 1;
        if (which < 0 || end > m->width)
            continue;
        decide(m, grove, s->ways, seen + (int64_t)i * 2 * p, codes + (int64_t)i * p, by_code);
        go_down(m, grove, s, m->weights + rule, pairs);
        for (; which < end; which++) {
            int64_t at = wanted == NULL ? (int64_t)i * m->n_outputs + first + which : i;
            if (which != put)
                set_leaves(m, grove, s, which, pairs);
            put = which;
            go_up_from_twigs(m, grove, s, which, phi + at * (1 + p), pairs);
            go_up(m, grove, s, phi + at * (1 + p), pairs);
        }
    }
}

/* The usual numbers of pairs are unrolled. */
INLINE void explain_grove(const struct trees *m, const struct grove *grove, struct scratch *s,
                          int n, int32_t p, const double *seen, const int32_t *codes,
                          const int32_t *wanted, pair *phi)
{
#define EXPLAIN(PAIRS)                                                    \
    if (m->n_coded)                                                       \
        explain(m, grove, s, n, p, seen, codes, wanted, phi, PAIRS, 1);   \
    else                                                                  \
        explain(m, grove, s, n, p, seen, codes, wanted, phi, PAIRS, 0);   \
    break
    switch (grove->pairs) {
    case 1: EXPLAIN(1);
    case 2: EXPLAIN(2);
    case 3: EXPLAIN(3);
    default: EXPLAIN(grove->pairs);
    }
}

INLINE int shapley(const struct trees *m, const double *rows, int32_t n, int32_t p,
                   const int32_t *wanted, double *values)
{
    int status = 0;
    int64_t per_row = wanted == NULL ? m->n_outputs : 1, places = m->most_places;
    size_t row = (size_t)(per_row * (1 + p)) * sizeof(pair)
                 + (size_t)p * (2 * sizeof(double) + sizeof(int32_t));
    int64_t fit = (int64_t)(NEAR / row) + 1, most = fit < BLOCK ? fit : BLOCK;
    int block = (int)(n < most ? n : most);
    size_t bytes = (size_t)(2 * places) * sizeof(pair) + (size_t)block * row
                   + (size_t)m->most_splits;
    pair *memory = aligned_alloc(CACHE_LINE, (bytes / CACHE_LINE + 1) * CACHE_LINE);
    if (memory == NULL)
        return 2;
    struct scratch s = {.places = memory, .u = {NULL, m->inverses}};
    pair *phi = memory + 2 * places;
    double *seen = (double *)(phi + block * per_row * (1 + p));
    int32_t *codes = (int32_t *)(seen + (int64_t)block * 2 * p);
    s.ways = (uint8_t *)(codes + (int64_t)block * p);
    for (int32_t first = 0; first < n && !status; first += block) {
        int taken = n - first < block ? n - first : block;
        for (int i = 0; i < taken && !status; i++)
            status = see(m, rows + ((int64_t)first + i) * p, p, seen + (int64_t)i * 2 * p,
                         codes + (int64_t)i * p);
        if (status)
            break;
        for (int64_t j = 0; j < taken * per_row * (1 + p); j++)
            phi[j] = (pair){0.0};
        for (int32_t grove = 0; grove < m->n_groves; grove++)
            explain_grove(m, &m->groves[grove], &s, taken, p, seen, codes,
                          wanted == NULL ? NULL : wanted + first, phi);
        for (int64_t i = 0; i < taken * per_row; i++)
            for (int32_t j = 0; j < p; j++) {
                pair parts = phi[i * (1 + p) + 1 + j];
                *values++ = parts[0] + parts[1];
            }
    }
    free(memory);
    return status;
}

/* The Shapley values[n][outputs][p] of rows[n][p]. Returns as gyro_tree_margins. */
FOR_EACH_PROCESSOR
int gyro_tree_shapley(const struct trees *m, const double *rows, int32_t n, int32_t p,
                      double *values)
{
    return shapley(m, rows, n, p, NULL, values);
}

/* Those of the output wanted[n] of each row, values[n][p]. */
FOR_EACH_PROCESSOR
int gyro_tree_shapley_of(const struct trees *m, const double *rows, int32_t n, int32_t p,
                         const int32_t *wanted, double *values)
{
    return shapley(m, rows, n, p, wanted, values);
}
