/* Numbers of a column as Arrow keeps them: see `Stretch` in values.py. */
#include <stddef.h>
#include <stdint.h>

#include "processors.h"

#define BLOCK 512 /* numbers that stay in the first cache */

enum type { FLOAT64, FLOAT32, INT64, INT32 };

struct numbers {
    const void *values;
    const uint8_t *valid; /* bitmap of those that are not missing; NULL if all are */
    int64_t offset;       /* the bit of the first */
    int64_t n;
};

#define LOAD(T)                                                    \
    for (int i = 0; i < n; i++) {                                  \
        v[i] = (double)((const T *)s->values)[first + i] + 0.0;    \
        absent += v[i] != v[i];                                    \
    }                                                              \
    break

/* Copies n numbers to v, whatever stands where they are missing; none is -0.0. Returns how many of
 * them are NaN. */
static inline int64_t load_block(const struct numbers *s, enum type type, int64_t first, int n,
                                 double *v)
{
    int64_t absent = 0;
    switch (type) {
    case FLOAT64: LOAD(double);
    case FLOAT32: LOAD(float);
    case INT64: LOAD(int64_t);
    case INT32: LOAD(int32_t);
    }
    return absent;
}

static inline int is_valid(const struct numbers *s, int64_t i)
{
    return s->valid == NULL || s->valid[(s->offset + i) >> 3] >> ((s->offset + i) & 7) & 1;
}
