/* Trees laid out for a block of rows side by side, a line of bytes for each of their values.
 *
 * Of a row no more is needed than on which side of each threshold its values are. So each column is
 * put into ranks, a byte a row, and a split compares a line of them in a few instructions. All
 * splits of a tree are decided, also those that a row never comes to, from the leaves upwards: what
 * a split has for a row is what the one of its children has that the row would go on to; a leaf has
 * its own number. Nothing is looked up by what a row decides, but the value of the leaf at the end.
 *
 * Ranks in bytes, and splits that are decided for many rows whether they come there or not, are as
 * in Ye et al. (2018), RapidScorer, KDD; there, leaves that cannot be reached are struck out.
 */
#include <stdint.h>

#define MOST_LEAVES 128 /* of a tree, as in strips.py: the first lines of results are leaves */

/* The thresholds of one column, in ascending order, filled up with infinity to 2^steps - 1. */
struct scale {
    int32_t column, first, steps;
};

/* What splits on codes ask. */
struct choice {
    int32_t column;     /* of the codes, among those with such splits */
    int32_t first, end; /* the codes of one side */
};

/* A split. Lines are, of each scale, the ranks with those of missing values highest, and lowest;
 * then of each choice 255 for the codes listed, and 0 for others. */
struct fork {
    uint16_t line;
    uint16_t most;  /* up to this number a row goes on ... */
    uint16_t below; /* ... to this line of results */
    uint16_t above; /* or else to this one */
};

/* Where the first of each lies; the tree that follows says where they end. Forks stand before those
 * above them. */
struct strip_tree {
    int32_t forks, leaves;
};

struct strips {
    const double *cuts;
    const struct scale *scales;
    const uint8_t *codes;
    const struct choice *choices;
    const struct fork *forks;
    const struct strip_tree *trees;
    const double *leaves; /* values of them, as in struct trees */
    int32_t n_scales, n_lines;
    int32_t few; /* fewer rows walk down all trees before a strip is through */
};

struct trees;

/* The bytes that gyro_strip needs for its work. */
int64_t gyro_strip_bytes(const struct trees *m);

/* Adds the leaves of n rows as seen to their margins[n][outputs]. There must be BLOCK rows; those
 * from n on may be any. */
void gyro_strip(const struct trees *m, const double *seen, const int32_t *codes, int n, int32_t p,
                uint8_t *work, double *margins);
