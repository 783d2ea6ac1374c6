/* Codes for texts: the position of each among the distinct ones, in order of first appearance. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HEAD 16 /* bytes of a text that are compared as two words */
#define FEWEST_BITS 8

struct texts {
    const uint8_t *bytes;
    const void *offsets;  /* text i is bytes[offsets[i]] .. bytes[offsets[i + 1] - 1] */
    const uint8_t *valid; /* bitmap of those that are not missing; NULL if all are */
    int64_t offset;       /* the bit of the first */
    int64_t n;
};

struct slot {
    uint64_t first, second; /* the head of a text, padded with zeros */
    const uint8_t *bytes;
    int64_t length;
    int32_t code; /* -1 for an empty slot */
};

struct table {
    struct slot *slots;
    int bits; /* 2^bits slots, at least twice as many as distinct texts */
};

static inline int64_t begin_of(const struct texts *t, int64_t i, int32_t wide)
{
    return wide ? ((const int64_t *)t->offsets)[i] : ((const int32_t *)t->offsets)[i];
}

static inline uint64_t stirred(uint64_t h)
{
    h *= UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 32);
}

static inline uint64_t hash_of(const struct slot *text)
{
    uint64_t h = stirred(stirred(text->first ^ (uint64_t)text->length) ^ text->second), word;
    for (int64_t k = HEAD; k < text->length; k += 8) { /* the last word begins before, if need be */
        memcpy(&word, text->bytes + (k + 8 <= text->length ? k : text->length - 8), 8);
        h = stirred(h ^ word);
    }
    return h;
}

static struct table empty_table(int bits)
{
    uint64_t n = UINT64_C(1) << bits;
    struct table table = {malloc(n * sizeof(struct slot)), bits};
    for (uint64_t i = 0; table.slots && i < n; i++)
        table.slots[i].code = -1;
    return table;
}

/* The slot of a text, or the empty one where it belongs. */
static inline struct slot *found(const struct table *table, const struct slot *text)
{
    uint64_t at = hash_of(text) >> (64 - table->bits); /* its best bits */
    for (;; at++) {
        struct slot *s = &table->slots[at & ((UINT64_C(1) << table->bits) - 1)];
        if (s->code < 0)
            return s;
        if (s->first == text->first && s->second == text->second && s->length == text->length &&
            (s->length <= HEAD ||
             !memcmp(s->bytes + HEAD, text->bytes + HEAD, (size_t)s->length - HEAD)))
            return s;
    }
}

/* Makes four times as many slots; returns whether there is memory. */
static int grow(struct table *table)
{
    struct table larger = empty_table(table->bits + 2);
    for (uint64_t i = 0; larger.slots && i >> table->bits == 0; i++)
        if (table->slots[i].code >= 0)
            *found(&larger, &table->slots[i]) = table->slots[i];
    free(table->slots);
    *table = larger;
    return larger.slots != NULL;
}

/* Sets codes of the texts of all stretches, one after the other, -1 where one is missing, and
 * rows[k] where each of the k distinct ones stands first. Offsets are of 64 bits if wide, else 32.
 * Returns k, or -1 if there is no memory. */
int64_t gyro_encode_texts(const struct texts *stretches, int32_t n_stretches, int32_t wide,
                          int32_t *codes, int64_t *rows)
{
    struct table table = empty_table(FEWEST_BITS);
    uint64_t masks[HEAD + 1][2];
    int64_t k = 0, row = 0;
    if (!table.slots)
        return -1;
    memset(masks, 0, sizeof masks);
    for (int length = 0; length <= HEAD; length++)
        memset(masks[length], 0xff, (size_t)length);
    for (int32_t of = 0; of < n_stretches; of++) {
        const struct texts t = stretches[of];
        const int64_t last = t.n ? begin_of(&t, t.n, wide) : 0;
        for (int64_t i = 0; i < t.n; i++, row++) {
            if (t.valid && !(t.valid[(t.offset + i) >> 3] >> ((t.offset + i) & 7) & 1)) {
                codes[row] = -1;
                continue;
            }
            int64_t begin = begin_of(&t, i, wide), length = begin_of(&t, i + 1, wide) - begin;
            int64_t head = length < HEAD ? length : HEAD;
            uint64_t words[2] = {0, 0};
            if (last - begin >= HEAD)
                memcpy(words, t.bytes + begin, HEAD);
            else if (head)
                memcpy(words, t.bytes + begin, (size_t)head);
            struct slot text = {words[0] & masks[head][0], words[1] & masks[head][1],
                                t.bytes + begin, length, (int32_t)k};
            struct slot *s = found(&table, &text);
            codes[row] = s->code < 0 ? text.code : s->code;
            if (s->code < 0) {
                *s = text;
                rows[k++] = row;
                if (k >> (table.bits - 1) && !grow(&table))
                    return -1;
            }
        }
    }
    free(table.slots);
    return k;
}
