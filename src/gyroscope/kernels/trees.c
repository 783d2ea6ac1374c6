/* Trees: the margins of rows, and their exact Shapley values by quadrature.
 *
 * Rows are seen as the training library saw them, each value twice: as it is, and with the lowest
 * number in the place of NaN. A split reads the one that sends a missing value where it belongs, so
 * that one comparison decides it. All sums run in the order of the trees: a row gets the same bits
 * whatever rows it comes with.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "processors.h"

#define LANES 8  /* walks at once: each waits for its own loads */
#define BLOCK 64 /* rows that share the loads of a tree; a multiple of LANES */

/* Four numbers, wherever they lie. */
typedef double quad __attribute__((vector_size(32), aligned(8)));

/* What decides a split. */
struct test {
    double threshold;
    int32_t slot; /* of the row as seen: 2 * column, + 1 where a missing value goes left */
    int32_t set;  /* offset in the sets of codes; 0, a set without codes, at a numeric split */
};

/* A leaf is its own child on both sides: no branch in the walk. */
struct node {
    struct test test;
    int32_t child[2]; /* right, left */
};

/* What the factors of a split are made of, by the side that a row takes: */
struct way {
    double rest; /* 1 - share of the training rows on that side */
    double cold; /* share of those on the other */
};

/* A split on a feature that no split above it is on. Positions are in bytes. */
struct split {
    struct way way[2]; /* right, left */
    uint32_t child[3]; /* right, left, right: the other side is the next */
    uint32_t column;
};

/* A split on a feature that was split on before. The third way is that of a row that took the other
 * side there: its factor lies above, whatever it does here. Shares are of all splits on the feature
 * together, but those of the third way. */
struct again {
    struct way way[3];
    double lost[2];     /* 1 - share of the earlier splits; 0 on the third way */
    uint32_t child[4];
    uint32_t column[2]; /* on the third way one that nobody reads */
    uint32_t inverse[2]; /* of the factor so far; ones on the third way */
    int32_t before;     /* the last earlier split, and its side on which this one lies */
    int32_t side;
};

/* A split above leaves only: what is below it is value - t * gain. */
struct twig {
    uint32_t column;
};

struct twig_again {
    double lost[2];
    uint32_t column;
    uint32_t inverse[2];
    int32_t before, side;
};

struct ends {
    double value, gain;
};

struct coded {
    int32_t place, column, set;
};

/* Trees that are explained as one: of the same outputs and number of quadrature points. */
struct grove {
    int32_t first_test, n_splits, first_coded, n_coded, first_run, n_runs, n_roots;
    int32_t first_split, first_again, first_twig, n_twigs, first_twig_again, n_twigs_again;
    int32_t first_ends, first_ends_again;
    int32_t first_leaf, n_leaves; /* of inner splits */
    int32_t quads;   /* a quarter of the quadrature points, rounded up */
    int32_t first_output;
};

/* A row has one margin or, with several classes, one for each. The leaves of a tree hold values for
 * ``width`` of them, from the ``first_output`` of the tree on: all, where the classes share their
 * splits, or else one. */
struct trees {
    const struct node *nodes;
    const double *values; /* of leaves, by node: width of them */
    const int32_t *roots;
    const int32_t *first_output; /* of each tree */
    const struct grove *groves;
    const struct test *tests;
    const struct coded *coded_splits;
    const int32_t *runs; /* where each run of splits of one kind ends: first come splits */
    const struct split *splits; /* grove by grove */
    const struct again *agains;
    const struct twig *twigs;
    const struct twig_again *twigs_again;
    const struct ends *ends, *ends_again; /* first for the first output, then for the second */
    const double *leaves;
    const quad *inverses;
    const quad *points;         /* Gauss-Legendre on [0, 1]: for k quads from k * (k - 1) / 2 on */
    const quad *weights;
    const uint8_t *sets;        /* per set and code: goes left; the last code is for missing */
    const int32_t *coded;       /* columns with splits on codes */
    const double *bases;        /* of each margin */
    int32_t n_outputs, width, n_trees, n_groves, n_leaves, n_coded, n_codes, single;
    int32_t n_ends, n_ends_again, most_places, most_splits;
};

#define INLINE static inline __attribute__((always_inline))

static inline int goes_left(const struct test *test, const double *seen, const int32_t *codes,
                            const uint8_t *sets, int by_code)
{
    int below = seen[test->slot] <= test->threshold;
    if (!by_code)
        return below;
    return (below & (test->set == 0)) | sets[test->set + codes[test->slot >> 1]];
}

/* Returns 1 if a code is none that the sets know. */
static int see(const struct trees *m, const double *x, int32_t p, double *seen, int32_t *codes)
{
    for (int32_t j = 0; j < p; j++) {
        double v = x[j];
        if (m->single) { /* numbers beyond float32 were cut off at its ends */
            v = v < -FLT_MAX ? -FLT_MAX : v > FLT_MAX ? FLT_MAX : v;
            v = (double)(float)v;
        }
        seen[2 * j] = v;
        seen[2 * j + 1] = v != v ? -INFINITY : v;
        codes[j] = 0;
    }
    for (int32_t k = 0; k < m->n_coded; k++) {
        double v = seen[2 * m->coded[k]];
        if (v == v && !(v >= 0.0 && v < m->n_codes))
            return 1;
        codes[m->coded[k]] = v == v ? (int32_t)v : m->n_codes;
    }
    return 0;
}

/* Goes down LANES ways at once until all have come to a leaf. */
static inline void walk(const struct trees *m, int32_t *at, const double *const *seen,
                        const int32_t *const *codes, int by_code)
{
    int32_t moved;
    do {
        moved = 0;
        for (int k = 0; k < LANES; k++) {
            const struct node *node = &m->nodes[at[k]];
            int left = goes_left(&node->test, seen[k], codes[k], m->sets, by_code);
            int32_t next = node->child[left];
            moved |= next ^ at[k];
            at[k] = next;
        }
    } while (moved);
}

/* Adds the values of the leaf that one row has come to in a tree. */
static inline void add_leaf(const struct trees *m, int32_t tree, int32_t leaf, double *margins,
                            int only)
{
    if (only) {
        margins[0] += m->values[leaf];
        return;
    }
    const double *values = m->values + (int64_t)leaf * m->width;
    margins += m->first_output[tree];
    for (int32_t k = 0; k < m->width; k++)
        margins[k] += values[k];
}

static inline void one_row(const struct trees *m, const double *seen, const int32_t *codes,
                           double *restrict margins, int by_code, int only)
{
    const double *rows[LANES];
    const int32_t *coded[LANES];
    int32_t at[LANES];
    for (int k = 0; k < LANES; k++) {
        rows[k] = seen;
        coded[k] = codes;
    }
    for (int32_t tree = 0; tree < m->n_trees; tree += LANES) {
        int32_t left = m->n_trees - tree;
        for (int k = 0; k < LANES; k++)
            at[k] = m->roots[k < left ? tree + k : tree];
        walk(m, at, rows, coded, by_code);
        for (int k = 0; k < LANES && k < left; k++)
            add_leaf(m, tree + k, at[k], margins, only);
    }
}

/* The margins of n rows as seen, a multiple of LANES and at most BLOCK of them. */
static inline void many_rows(const struct trees *m, const double *seen, const int32_t *codes,
                             int n, int32_t p, double *restrict margins, int by_code, int only)
{
    const double *rows[BLOCK];
    const int32_t *coded[BLOCK];
    int32_t at[LANES], outputs = only ? 1 : m->n_outputs;
    for (int i = 0; i < n; i++) {
        rows[i] = seen + (int64_t)i * 2 * p;
        coded[i] = codes + (int64_t)i * p;
    }
    for (int32_t tree = 0; tree < m->n_trees; tree++)
        for (int i = 0; i < n; i += LANES) {
            for (int k = 0; k < LANES; k++)
                at[k] = m->roots[tree];
            walk(m, at, rows + i, coded + i, by_code);
            for (int k = 0; k < LANES; k++)
                add_leaf(m, tree, at[k], margins + (int64_t)(i + k) * outputs, only);
        }
}

static void score(const struct trees *m, const double *seen, const int32_t *codes, int n,
                  int32_t p, double *margins)
{
#define SCORE(BY_CODE, ONLY)                                              \
    if (n == 1)                                                           \
        one_row(m, seen, codes, margins, BY_CODE, ONLY);                  \
    else                                                                  \
        many_rows(m, seen, codes, n, p, margins, BY_CODE, ONLY)
    if (m->n_outputs == 1 && m->n_coded) {
        SCORE(1, 1);
    } else if (m->n_outputs == 1) {
        SCORE(0, 1);
    } else if (m->n_coded) {
        SCORE(1, 0);
    } else {
        SCORE(0, 0);
    }
}

/* The margins[n][outputs] of rows[n][p]. Returns 0, 1 for a code that is none, 2 if memory is
 * short. */
int gyro_tree_margins(const struct trees *m, const double *rows, int32_t n, int32_t p,
                      double *margins)
{
    int block = n < LANES ? 1 : BLOCK, status = 0;
    int64_t outputs = m->n_outputs;
    double *found = malloc((size_t)block * outputs * sizeof(double)
                           + (size_t)block * p * (2 * sizeof(double) + sizeof(int32_t)));
    if (found == NULL)
        return 2;
    double *seen = found + block * outputs;
    int32_t *codes = (int32_t *)(seen + (int64_t)block * 2 * p);
    for (int32_t first = 0; first < n && !status; first += block) {
        int taken = n - first < block ? n - first : block;
        int padded = block == 1 ? 1 : (taken + LANES - 1) / LANES * LANES;
        for (int i = 0; i < padded && !status; i++) {
            int32_t row = first + (i < taken ? i : 0);
            status = see(m, rows + (int64_t)row * p, p, seen + (int64_t)i * 2 * p,
                         codes + (int64_t)i * p);
        }
        if (status)
            break;
        for (int i = 0; i < padded; i++)
            memcpy(found + i * outputs, m->bases, (size_t)outputs * sizeof(double));
        score(m, seen, codes, padded, p, found);
        memcpy(margins + first * outputs, found, (size_t)(taken * outputs) * sizeof(double));
    }
    free(found);
    return status;
}


#define AT(TYPE, BASE, BYTES) ((TYPE *)((char *)(BASE) + (BYTES)))

struct scratch {
    quad *nodes; /* of each place: outside, below */
    const quad *u[2]; 
    uint8_t *hot;
};

INLINE void decide(const struct trees *m, const struct grove *g, uint8_t *hot, const double *seen,
                   const int32_t *codes, int by_code)
{
    const struct test *tests = m->tests + g->first_test;
    for (int32_t i = 0; i < g->n_splits; i++)
        hot[i] = seen[tests[i].slot] <= tests[i].threshold;
    if (!by_code)
        return;
    const struct coded *coded = m->coded_splits + g->first_coded;
    for (int32_t i = 0; i < g->n_coded; i++)
        hot[coded[i].place] = m->sets[coded[i].set + codes[coded[i].column]];
}

INLINE void go_down(const struct trees *m, const struct grove *g, const struct scratch *s, const quad *w, int quads)
{
    const struct split *split = m->splits + g->first_split;
    const struct again *again = m->agains + g->first_again;
    const int32_t *ends = m->runs + g->first_run;
    const quad *u = s->u[0];
    uint8_t *hots = s->hot;
    quad *own = s->nodes;
    for (int32_t i = 0; i < g->n_roots; i++)
        for (int k = 0; k < quads; k++)
            own[2 * i * quads + k] = w[k];
    int32_t i = 0;
    for (int run = 0; run < g->n_runs; run++) {
        int32_t end = ends[run];
        if (run & 1)
            for (; i < end; i++, again++, own += 2 * quads) {
                int off = hots[again->before] != again->side;
                int hot = (hots[i] & (off - 1)) | off << 1;
                hots[i] = (uint8_t)hot;
                quad *taken = AT(quad, s->nodes, again->child[hot]);
                quad *other = AT(quad, s->nodes, again->child[hot + 1]);
                const quad *v = s->u[off];
                const quad *inverse = AT(const quad, m->inverses, again->inverse[off]);
                double rest = again->way[hot].rest, cold = again->way[hot].cold;
                for (int k = 0; k < quads; k++) {
                    own[k] *= inverse[k];
                    quad part = own[k] * v[k];
                    taken[k] = own[k] - part * rest;
                    other[k] = part * cold;
                }
            }
        else
            for (; i < end; i++, split++, own += 2 * quads) {
                size_t hot = hots[i];
                quad *taken = AT(quad, s->nodes, split->child[hot]);
                quad *other = AT(quad, s->nodes, split->child[hot + 1]);
                double rest = split->way[hot].rest, cold = split->way[hot].cold;
                for (int k = 0; k < quads; k++) {
                    quad part = own[k] * u[k];
                    taken[k] = own[k] - part * rest;
                    other[k] = part * cold;
                }
            }
    }
}

INLINE void go_up(const struct trees *m, const struct grove *g, const struct scratch *s, int32_t which, quad *phi, int quads)
{
    const int32_t *ends = m->runs + g->first_run;
    const quad *u = s->u[0];
    uint8_t *hots = s->hot;
    int32_t i = g->n_runs ? ends[g->n_runs - 1] : 0;
    quad *own = s->nodes + 2 * (int64_t)i * quads;
    {
        const struct twig *twig = m->twigs + g->first_twig;
        const struct ends *e = m->ends + (int64_t)which * m->n_ends + g->first_ends;
        for (int32_t j = 0; j < g->n_twigs; j++, i++, own += 2 * quads, twig++, e += 2) {
            size_t hot = hots[i];
            double value = e[hot].value, gain = e[hot].gain;
            quad sum = own[0];
            own[quads] = value - u[0] * gain;
            for (int k = 1; k < quads; k++) {
                own[quads + k] = value - u[k] * gain;
                sum += own[k];
            }
            *AT(quad, phi, twig->column) += sum * gain;
        }
    }
    {
        const struct twig_again *twig = m->twigs_again + g->first_twig_again;
        const struct ends *e = m->ends_again + (int64_t)which * m->n_ends_again + g->first_ends_again;
        for (int32_t j = 0; j < g->n_twigs_again; j++, i++, own += 2 * quads, twig++, e += 3) {
            int off = hots[twig->before] != twig->side;
            int hot = (hots[i] & (off - 1)) | off << 1;
            double value = e[hot].value, gain = e[hot].gain, lost = twig->lost[off];
            const quad *inverse = AT(const quad, m->inverses, twig->inverse[off]);
            quad sum;
            for (int k = 0; k < quads; k++) {
                quad below = (value - u[k] * gain) * inverse[k];
                quad part = own[k] * inverse[k] * (gain - below * lost);
                own[quads + k] = below;
                sum = k ? sum + part : part;
            }
            *AT(quad, phi, twig->column) += sum;
        }
    }
    {
        const double *leaves = m->leaves + (int64_t)which * m->n_leaves + g->first_leaf;
        for (int32_t j = 0; j < g->n_leaves; j++, own += 2 * quads)
            for (int k = 0; k < quads; k++)
                own[quads + k] = (quad){0.0} + leaves[j];
    }
    const struct again *again = m->agains + g[1].first_again;
    const struct split *split = m->splits + g[1].first_split;
    i = g->n_runs ? ends[g->n_runs - 1] : 0;
    own = s->nodes + 2 * (int64_t)i * quads;
    for (int run = g->n_runs - 1; run >= 0; run--) {
        int32_t first = run ? ends[run - 1] : 0;
        if (run & 1)
            while (i > first) {
                i--, again--, own -= 2 * quads;
                size_t hot = hots[i], off = hot >> 1;
                const quad *taken = AT(quad, s->nodes, again->child[hot]) + quads;
                const quad *other = AT(quad, s->nodes, again->child[hot + 1]) + quads;
                const quad *v = s->u[off];
                const quad *inverse = AT(const quad, m->inverses, again->inverse[off]);
                double rest = again->way[hot].rest, cold = again->way[hot].cold, lost = again->lost[off];
                quad sum;
                for (int k = 0; k < quads; k++) {
                    quad gain = taken[k] * rest - other[k] * cold;
                    quad below = (taken[k] - v[k] * gain) * inverse[k];
                    quad part = own[k] * (gain - below * lost);
                    own[quads + k] = below;
                    sum = k ? sum + part : part;
                }
                *AT(quad, phi, again->column[off]) += sum;
            }
        else
            while (i > first) {
                i--, split--, own -= 2 * quads;
                size_t hot = hots[i];
                const quad *taken = AT(quad, s->nodes, split->child[hot]) + quads;
                const quad *other = AT(quad, s->nodes, split->child[hot + 1]) + quads;
                double rest = split->way[hot].rest, cold = split->way[hot].cold;
                quad sum;
                for (int k = 0; k < quads; k++) {
                    quad gain = taken[k] * rest - other[k] * cold;
                    quad part = own[k] * gain;
                    own[quads + k] = taken[k] - u[k] * gain;
                    sum = k ? sum + part : part;
                }
                *AT(quad, phi, split->column) += sum;
            }
    }
}

/* Adds the Shapley values of one grove to those of some rows: of the output that is wanted of each,
 * phi[n][p], or of all, phi[n][outputs][p]; by column, in four parts. */
INLINE void explain(const struct trees *m, const struct grove *grove, struct scratch *s,
                    int n, int32_t p, const double *seen, const int32_t *codes,
                    const int32_t *wanted, quad *phi, int quads, int by_code)
{
    s->u[0] = m->points + (int64_t)quads * (quads - 1) / 2;
    const quad *weights = m->weights + (int64_t)quads * (quads - 1) / 2;
    for (int i = 0; i < n; i++) {
        int32_t which = wanted == NULL ? 0 : wanted[i] - grove->first_output;
        int32_t end = wanted == NULL ? m->width : which + 1;
        if (which < 0 || end > m->width)
            continue;
        decide(m, grove, s->hot, seen + (int64_t)i * 2 * p, codes + (int64_t)i * p, by_code);
        go_down(m, grove, s, weights, quads);
        for (; which < end; which++) {
            int64_t at = wanted == NULL ? (int64_t)i * m->n_outputs + grove->first_output + which : i;
            go_up(m, grove, s, which, phi + at * (p + 1), quads);
        }
    }
}

/* The usual numbers of quads are unrolled. */
INLINE void explain_grove(const struct trees *m, const struct grove *grove,
                          struct scratch *s, int n, int32_t p, const double *seen,
                          const int32_t *codes, const int32_t *wanted, quad *phi)
{
#define EXPLAIN(QUADS)                                                    \
    if (m->n_coded)                                                       \
        explain(m, grove, s, n, p, seen, codes, wanted, phi, QUADS, 1);   \
    else                                                                  \
        explain(m, grove, s, n, p, seen, codes, wanted, phi, QUADS, 0);   \
    break
    switch (grove->quads) {
    case 1: EXPLAIN(1);
    case 2: EXPLAIN(2);
    default: EXPLAIN(grove->quads);
    }
}

INLINE int shapley(const struct trees *m, const double *rows, int32_t n, int32_t p,
                   const int32_t *wanted, double *values)
{
    int block = n < BLOCK ? n : BLOCK, status = 0;
    int64_t places = m->most_places;
    int64_t per_row = wanted == NULL ? (int64_t)m->n_outputs : 1;
    size_t bytes = (size_t)(2 * places + block * per_row * (p + 1)) * sizeof(quad)
                   + (size_t)((int64_t)block * p) * (2 * sizeof(double) + sizeof(int32_t))
                   + (size_t)m->most_splits;
    quad *memory = aligned_alloc(64, (bytes / 64 + 1) * 64);
    if (memory == NULL)
        return 2;
    struct scratch s = {.nodes = memory, .u = {NULL, m->inverses}};
    quad *phi = memory + 2 * places;
    double *seen = (double *)(phi + block * per_row * (p + 1));
    int32_t *codes = (int32_t *)(seen + (int64_t)block * 2 * p);
    s.hot = (uint8_t *)(codes + (int64_t)block * p);
    for (int32_t first = 0; first < n && !status; first += block) {
        int taken = n - first < block ? n - first : block;
        for (int i = 0; i < taken && !status; i++)
            status = see(m, rows + ((int64_t)first + i) * p, p, seen + (int64_t)i * 2 * p,
                         codes + (int64_t)i * p);
        if (status)
            break;
        for (int64_t j = 0; j < taken * per_row * (p + 1); j++)
            phi[j] = (quad){0.0};
        for (int32_t grove = 0; grove < m->n_groves; grove++)
            explain_grove(m, &m->groves[grove], &s, taken, p, seen, codes,
                          wanted == NULL ? NULL : wanted + first, phi);
        double *out = values + first * per_row * p;
        const quad *parts = phi;
        for (int64_t i = 0; i < taken * per_row; i++, parts++) /* the first is nobody's */
            for (int32_t j = 0; j < p; j++) {
                quad part = *++parts;
                *out++ = (part[0] + part[1]) + (part[2] + part[3]);
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
