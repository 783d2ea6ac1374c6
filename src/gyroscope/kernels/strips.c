/* The margins of rows side by side, see strips.h. */
#include "strips.h"
#include "processors.h"
#include "trees.h"

#define LINE(LINES, I) ((LINES) + (int64_t)BLOCK * (I))

/* Counts the numbers of the scale that are below each value, or not comparable to it. */
INLINE void rank(const struct strips *s, const struct scale *scale, const double *seen, int32_t p,
                 uint8_t *restrict high, uint8_t *restrict low)
{
    const double *values = seen + 2 * (int64_t)scale->column, *cuts = s->cuts + scale->first;
    int32_t found[BLOCK] = {0};
    for (int32_t step = 1 << scale->steps >> 1; step; step >>= 1)
        for (int i = 0; i < BLOCK; i++) /* all at once: each search waits for its own loads */
            found[i] += step & -!(values[(int64_t)i * 2 * p] <= cuts[found[i] + step - 1]);
    for (int i = 0; i < BLOCK; i++) {
        double value = values[(int64_t)i * 2 * p];
        high[i] = (uint8_t)found[i];
        low[i] = value == value ? (uint8_t)found[i] : 0;
    }
}

INLINE void choose(const struct strips *s, const struct choice *choice,
                   const uint8_t *restrict codes, uint8_t *restrict line)
{
    for (int i = 0; i < BLOCK; i++)
        line[i] = 0;
    for (const uint8_t *code = s->codes + choice->first; code < s->codes + choice->end; code++)
        for (int i = 0; i < BLOCK; i++)
            line[i] |= codes[i] == *code ? 255 : 0;
}

INLINE void decide(uint8_t most, const uint8_t *restrict line, const uint8_t *restrict below,
                   const uint8_t *restrict above, uint8_t *restrict result)
{
    for (int i = 0; i < BLOCK; i++) { /* with masks: a choice of what to load is a branch */
        uint8_t low = line[i] <= most ? 255 : 0;
        result[i] = (uint8_t)((below[i] & low) | (above[i] & ~low));
    }
}

INLINE void add(const double *leaves, const uint8_t *at, int n, int32_t width, int32_t outputs,
                double *restrict margins)
{
    for (int i = 0; i < n; i++)
        for (int32_t k = 0; k < width; k++)
            margins[(int64_t)i * outputs + k] += leaves[(int64_t)at[i] * width + k];
}

int64_t gyro_strip_bytes(const struct trees *m)
{
    return (int64_t)BLOCK * (m->strips->n_lines + m->n_coded + 2 * MOST_LEAVES);
}

FOR_EACH_PROCESSOR
void gyro_strip(const struct trees *m, const double *seen, const int32_t *codes, int n, int32_t p,
                uint8_t *work, double *margins)
{
    const struct strips *s = m->strips;
    uint8_t *coded = LINE(work, s->n_lines), *results = LINE(coded, m->n_coded);
    for (int32_t k = 0; k < s->n_scales; k++)
        rank(s, s->scales + k, seen, p, LINE(work, 2 * k), LINE(work, 2 * k + 1));
    for (int32_t k = 0; k < m->n_coded; k++)
        for (int i = 0; i < BLOCK; i++)
            LINE(coded, k)[i] = (uint8_t)codes[(int64_t)i * p + m->coded[k]];
    for (int32_t k = 2 * s->n_scales; k < s->n_lines; k++) {
        const struct choice *choice = s->choices + (k - 2 * s->n_scales);
        choose(s, choice, LINE(coded, choice->column), LINE(work, k));
    }
    for (int k = 0; k < MOST_LEAVES; k++)
        for (int i = 0; i < BLOCK; i++)
            LINE(results, k)[i] = (uint8_t)k;
    for (int32_t t = 0; t < m->n_trees; t++) {
        const struct strip_tree *tree = s->trees + t;
        uint8_t *forked = LINE(results, MOST_LEAVES), *result = forked;
        for (int32_t f = tree->forks; f < tree[1].forks; f++, result += BLOCK) {
            const struct fork *fork = s->forks + f;
            decide((uint8_t)fork->most, LINE(work, fork->line), LINE(results, fork->below),
                   LINE(results, fork->above), result);
        }
        const uint8_t *at = result == forked ? results : result - BLOCK;
        const double *leaves = s->leaves + (int64_t)tree->leaves * m->width;
        double *first = margins + m->first_output[t];
        if (m->n_outputs == 1)
            add(leaves, at, n, 1, 1, first);
        else
            add(leaves, at, n, m->width, m->n_outputs, first);
    }
}
