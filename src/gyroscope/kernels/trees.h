/* Trees as the kernels see them, and rows as the trees see them.
 *
 * Rows are seen as the training library saw them, each value twice: as it is, and with the lowest
 * number in the place of NaN. A split reads the one that sends a missing value where it belongs, so
 * that one comparison decides it. All sums run in the order of the trees: a row gets the same bits
 * whatever rows it comes with.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>

#define BLOCK 64 /* rows that go through the trees together */
#define INLINE static inline __attribute__((always_inline))

/* Two numbers, wherever they lie. */
typedef double pair __attribute__((vector_size(16), aligned(8)));

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

/* A row has one margin or, with several classes, one for each. The leaves of a tree hold values for
 * ``width`` of them, from the ``first_output`` of the tree on: all, where the classes share their
 * splits, or else one. */
struct trees {
    const struct node *nodes;
    const double *values; /* of leaves, by node: width of them */
    const int32_t *roots;
    const int32_t *first_output; /* of each tree */
    const struct grove *groves;
    const struct test *tests; /* of all splits, grove by grove, as are all that follow */
    const struct coded *coded_splits;
    const int32_t *runs; /* the place where each ends: of splits, of those again, of splits ... */
    const struct split *splits;
    const struct again *agains;
    const struct twig *twigs;
    const struct twig_again *twigs_again;
    const struct end *ends, *ends_again; /* of twigs, two and three each, output by output */
    const double *leaves;                /* of splits above other splits; output by output */
    const pair *inverses;
    const pair *points; /* Gauss-Legendre on [0, 1]: for k pairs from k * (k - 1) / 2 on */
    const pair *weights;
    const uint8_t *sets;         /* per set and code: goes left; the last code is for missing */
    const int32_t *coded;        /* columns with splits on codes */
    const double *bases;         /* of each margin */
    const struct strips *strips; /* the same trees for many rows at once; NULL if there are none */
    int32_t n_outputs, width, n_trees, n_groves, n_coded, n_codes, single;
    int32_t most_places, most_splits; /* of a grove, places times its pairs */
};

/* Returns 1 if a code is none that the sets know. */
static inline int see(const struct trees *m, const double *x, int32_t p, double *seen,
                      int32_t *codes)
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
