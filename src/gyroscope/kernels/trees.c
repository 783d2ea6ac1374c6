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

/* A split as the paths see it. Its feature may have been split on before, on the way to it. */
struct split {
    struct test test;
    double ratio[2];  /* share of its training rows that each child got: right, left */
    double share;     /* product of the ratios of earlier splits on the feature, on the way here */
    int32_t child[2]; /* in its grove */
    int32_t before;   /* the last earlier split on the feature; -1 if there is none */
    int32_t side;     /* of that split, on which this one lies */
    int64_t inverse;  /* if there is one: where the inverse of its factor is */
};

/* Trees that are explained as one: of the same outputs and number of quadrature points. Places in
 * it are of splits above others, level by level, the roots first; then of splits above leaves only;
 * then of leaves, in the order of the splits above them. */
struct grove {
    int32_t first_split, n_roots, n_inner, n_splits, first_leaf;
    int32_t n_shown; /* leaves of inner splits */
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
    const struct split *splits; /* grove by grove */
    const double *leaves;       /* values, grove by grove: the first of each leaf, then the second */
    const quad *inverses;
    const quad *points;         /* Gauss-Legendre on [0, 1]: for k quads from k * (k - 1) / 2 on */
    const quad *weights;
    const uint8_t *sets;        /* per set and code: goes left; the last code is for missing */
    const int32_t *coded;       /* columns with splits on codes */
    const double *bases;        /* of each margin */
    int32_t n_outputs, width, n_trees, n_groves, n_leaves, n_coded, n_codes, single;
    int32_t most_places, most_splits; /* of a grove, places that need memory times its quads */
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

/* Where the numbers of one grove are worked out: one element, or one row of quads, a place. */
struct scratch {
    quad *outside; /* product of the factors of all features on the way to a node, but of its own */
    quad *below;   /* value of the game of the leaves below a node, relative to that product */
    int8_t *hot;   /* the side of a split that the row takes; 2 if the row does not get so far */
};

INLINE void go_down(const struct grove *grove, const struct split *splits, int quads, const quad *u,
                    const quad *w, const quad *inverses, const struct scratch *s,
                    const double *seen, const int32_t *codes, const uint8_t *sets, int by_code)
{
    for (int32_t i = 0; i < grove->n_roots; i++)
        for (int k = 0; k < quads; k++)
            s->outside[i * quads + k] = w[k];
    for (int32_t i = 0; i < grove->n_inner; i++) {
        const struct split *split = &splits[i];
        int hot = goes_left(&split->test, seen, codes, sets, by_code);
        quad *own = s->outside + (int64_t)i * quads;
        quad *taken = s->outside + (int64_t)split->child[hot] * quads;
        quad *other = s->outside + (int64_t)split->child[!hot] * quads;
        double p = split->ratio[hot], q = split->ratio[!hot], share = split->share;
        if (split->before >= 0) {
            if (s->hot[split->before] != split->side) { /* one factor whatever lies below */
                s->hot[i] = 2;
                for (int k = 0; k < quads; k++) {
                    taken[k] = own[k] * p;
                    other[k] = own[k] * q;
                }
                continue;
            }
            const quad *inverse = inverses + split->inverse;
            for (int k = 0; k < quads; k++)
                own[k] *= inverse[k];
            p *= share;
            q *= share;
        }
        s->hot[i] = (int8_t)hot;
        for (int k = 0; k < quads; k++) {
            quad part = own[k] * u[k];
            taken[k] = own[k] - part * (1.0 - p);
            other[k] = part * q;
        }
    }
    for (int32_t i = grove->n_inner; i < grove->n_splits; i++) {
        const struct split *split = &splits[i];
        int hot = goes_left(&split->test, seen, codes, sets, by_code);
        int off = split->before >= 0 && s->hot[split->before] != split->side;
        s->hot[i] = (int8_t)(off ? 2 : hot);
    }
}

INLINE void go_up(const struct grove *grove, const struct split *splits, int quads, const quad *u,
                  const quad *inverses, const struct scratch *s, const double *leaves, quad *phi)
{
    for (int32_t i = 0; i < grove->n_shown; i++)
        for (int k = 0; k < quads; k++)
            s->below[(int64_t)(grove->n_splits + i) * quads + k] = (quad){0.0} + leaves[i];
    leaves -= grove->n_splits;
    for (int32_t i = grove->n_splits - 1; i >= grove->n_inner; i--) {
        const struct split *split = &splits[i];
        int hot = s->hot[i];
        quad *own = s->below + (int64_t)i * quads;
        const quad *outside = s->outside + (int64_t)i * quads;
        if (hot == 2) {
            double mean = leaves[split->child[0]] * split->ratio[0] + leaves[split->child[1]] * split->ratio[1];
            for (int k = 0; k < quads; k++)
                own[k] = (quad){0.0} + mean;
            continue;
        }
        double taken = leaves[split->child[hot]], other = leaves[split->child[!hot]];
        double share = split->share, p = share * split->ratio[hot], q = share * split->ratio[!hot];
        double gain = taken * (1.0 - p) - other * q;
        quad derivative = {0.0};
        if (split->before < 0) {
            for (int k = 0; k < quads; k++) {
                own[k] = taken - u[k] * gain;
                derivative += outside[k];
            }
            derivative *= gain;
        } else {
            const quad *inverse = inverses + split->inverse;
            for (int k = 0; k < quads; k++) {
                own[k] = (taken - u[k] * gain) * inverse[k];
                derivative += outside[k] * inverse[k] * (gain - own[k] * (1.0 - share));
            }
        }
        phi[split->test.slot >> 1] += derivative;
    }
    for (int32_t i = grove->n_inner - 1; i >= 0; i--) {
        const struct split *split = &splits[i];
        int hot = s->hot[i];
        quad *own = s->below + (int64_t)i * quads;
        const quad *outside = s->outside + (int64_t)i * quads;
        quad derivative = {0.0};
        if (hot == 2) {
            const quad *right = s->below + (int64_t)split->child[0] * quads;
            const quad *left = s->below + (int64_t)split->child[1] * quads;
            for (int k = 0; k < quads; k++)
                own[k] = right[k] * split->ratio[0] + left[k] * split->ratio[1];
            continue;
        }
        const quad *taken = s->below + (int64_t)split->child[hot] * quads;
        const quad *other = s->below + (int64_t)split->child[!hot] * quads;
        double share = split->share, p = share * split->ratio[hot], q = share * split->ratio[!hot];
        if (split->before < 0) {
            for (int k = 0; k < quads; k++) {
                quad gain = taken[k] * (1.0 - p) - other[k] * q;
                own[k] = taken[k] - u[k] * gain;
                derivative += outside[k] * gain;
            }
        } else {
            const quad *inverse = inverses + split->inverse;
            for (int k = 0; k < quads; k++) {
                quad gain = taken[k] * (1.0 - p) - other[k] * q;
                own[k] = (taken[k] - u[k] * gain) * inverse[k];
                derivative += outside[k] * (gain - own[k] * (1.0 - share));
            }
        }
        phi[split->test.slot >> 1] += derivative;
    }
}

/* Adds the Shapley values of one grove to those of some rows: of the output that is wanted of each,
 * phi[n][p], or of all, phi[n][outputs][p]; by column, in four parts. */
INLINE void explain(const struct trees *m, const struct grove *grove, const struct scratch *s,
                    int n, int32_t p, const double *seen, const int32_t *codes,
                    const int32_t *wanted, quad *phi, int quads, int by_code)
{
    const struct split *splits = m->splits + grove->first_split;
    const quad *points = m->points + (int64_t)quads * (quads - 1) / 2;
    const quad *weights = m->weights + (int64_t)quads * (quads - 1) / 2;
    for (int i = 0; i < n; i++) {
        int32_t which = wanted == NULL ? 0 : wanted[i] - grove->first_output;
        int32_t end = wanted == NULL ? m->width : which + 1;
        if (which < 0 || end > m->width)
            continue;
        go_down(grove, splits, quads, points, weights, m->inverses, s, seen + (int64_t)i * 2 * p,
                codes + (int64_t)i * p, m->sets, by_code);
        for (; which < end; which++) {
            const double *leaves = m->leaves + (int64_t)which * m->n_leaves + grove->first_leaf;
            int64_t at = wanted == NULL ? (int64_t)i * m->n_outputs + grove->first_output + which : i;
            go_up(grove, splits, quads, points, m->inverses, s, leaves, phi + at * p);
        }
    }
}

/* The usual numbers of quads are unrolled. */
INLINE void explain_grove(const struct trees *m, const struct grove *grove,
                          const struct scratch *s, int n, int32_t p, const double *seen,
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
    int64_t per_row = wanted == NULL ? (int64_t)m->n_outputs * p : p;
    size_t bytes = (size_t)(2 * places + block * per_row) * sizeof(quad)
                   + (size_t)((int64_t)block * p) * (2 * sizeof(double) + sizeof(int32_t))
                   + (size_t)m->most_splits;
    quad *memory = aligned_alloc(sizeof(quad), (bytes / sizeof(quad) + 1) * sizeof(quad));
    if (memory == NULL)
        return 2;
    struct scratch s = {.outside = memory, .below = memory + places};
    quad *phi = s.below + places;
    double *seen = (double *)(phi + block * per_row);
    int32_t *codes = (int32_t *)(seen + (int64_t)block * 2 * p);
    s.hot = (int8_t *)(codes + (int64_t)block * p);
    for (int32_t first = 0; first < n && !status; first += block) {
        int taken = n - first < block ? n - first : block;
        for (int i = 0; i < taken && !status; i++)
            status = see(m, rows + ((int64_t)first + i) * p, p, seen + (int64_t)i * 2 * p,
                         codes + (int64_t)i * p);
        if (status)
            break;
        for (int64_t j = 0; j < taken * per_row; j++)
            phi[j] = (quad){0.0};
        for (int32_t grove = 0; grove < m->n_groves; grove++)
            explain_grove(m, &m->groves[grove], &s, taken, p, seen, codes,
                          wanted == NULL ? NULL : wanted + first, phi);
        for (int64_t j = 0; j < taken * per_row; j++)
            values[first * per_row + j] = (phi[j][0] + phi[j][1]) + (phi[j][2] + phi[j][3]);
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
