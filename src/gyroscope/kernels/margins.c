/* The margins of rows: a few walk down the trees, many go through them side by side. */
#include <stdlib.h>
#include <string.h>

#include "strips.h"
#include "trees.h"

#define LANES 8 /* walks at once: each waits for its own loads; BLOCK is a multiple of it */

static inline int goes_left(const struct test *test, const double *seen, const int32_t *codes,
                            const uint8_t *sets, int by_code)
{
    int below = seen[test->slot] <= test->threshold;
    if (!by_code)
        return below;
    return (below & (test->set == 0)) | sets[test->set + codes[test->slot >> 1]];
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

static void walk_all(const struct trees *m, const double *seen, const int32_t *codes, int n,
                     int32_t p, double *margins)
{
#define WALK(BY_CODE, ONLY)                                               \
    if (n == 1)                                                           \
        one_row(m, seen, codes, margins, BY_CODE, ONLY);                  \
    else                                                                  \
        many_rows(m, seen, codes, n, p, margins, BY_CODE, ONLY)
    if (m->n_outputs == 1 && m->n_coded) {
        WALK(1, 1);
    } else if (m->n_outputs == 1) {
        WALK(0, 1);
    } else if (m->n_coded) {
        WALK(1, 0);
    } else {
        WALK(0, 0);
    }
}

/* The margins[n][outputs] of rows[n][p]. Returns 0, 1 for a code that is none, 2 if memory is
 * short. */
int gyro_tree_margins(const struct trees *m, const double *rows, int32_t n, int32_t p,
                      double *margins)
{
    const struct strips *strips = m->strips;
    int strip = strips != NULL && n >= strips->few, status = 0;
    int block = strip || n >= LANES ? BLOCK : 1;
    int64_t outputs = m->n_outputs;
    double *found = malloc((size_t)block * outputs * sizeof(double)
                           + (size_t)block * p * (2 * sizeof(double) + sizeof(int32_t))
                           + (strip ? (size_t)gyro_strip_bytes(m) : 0));
    if (found == NULL)
        return 2;
    double *seen = found + block * outputs;
    int32_t *codes = (int32_t *)(seen + (int64_t)block * 2 * p);
    for (int32_t first = 0; first < n && !status; first += block) {
        int taken = n - first < block ? n - first : block;
        int together = !strip || taken < strips->few ? LANES : BLOCK;
        int padded = block == 1 ? 1 : (taken + together - 1) / together * together;
        for (int i = 0; i < padded && !status; i++) {
            int32_t row = first + (i < taken ? i : 0);
            status = see(m, rows + (int64_t)row * p, p, seen + (int64_t)i * 2 * p,
                         codes + (int64_t)i * p);
        }
        if (status)
            break;
        for (int i = 0; i < padded; i++)
            memcpy(found + i * outputs, m->bases, (size_t)outputs * sizeof(double));
        if (together == BLOCK)
            gyro_strip(m, seen, codes, taken, p, (uint8_t *)(codes + (int64_t)block * p), found);
        else
            walk_all(m, seen, codes, padded, p, found);
        memcpy(margins + first * outputs, found, (size_t)(taken * outputs) * sizeof(double));
    }
    free(found);
    return status;
}
