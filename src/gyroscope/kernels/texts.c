/* Codes for texts: the position of each among the distinct ones, in order of first appearance. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HEAD 16 /* bytes of a text that are compared as two words */
#define FEWEST_BITS 8

struct slot {
    uint64_t first, second; /* the head of a text, padded with zeros */
    int64_t length;
    int32_t code; /* -1 for an empty slot */
};

struct table {
    struct slot *slots;
    int bits; /* 2^bits slots, at least twice as many as distinct texts */
};

struct texts {
    const uint8_t *bytes;
    const void *offsets;
    int32_t wide; /* whether offsets are of 64 bits, not 32 */
};

static inline int64_t begin_of(const struct texts *t, int64_t row)
{
    return t->wide ? ((const int64_t *)t->offsets)[row] : ((const int32_t *)t->offsets)[row];
}

static inline uint64_t stirred(uint64_t h)
{
    h *= UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 32);
}

static inline uint64_t hash_of(const struct slot *text, const uint8_t *bytes)
{
    uint64_t h = stirred(stirred(text->first ^ (uint64_t)text->length) ^ text->second), word;
    for (int64_t k = HEAD; k < text->length; k += 8) { /* the last word begins before, if need be */
        memcpy(&word, bytes + (k + 8 <= text->length ? k : text->length - 8), 8);
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
static inline struct slot *found(const struct table *table, const struct slot *text,
                                 const uint8_t *bytes, const struct texts *t, const int64_t *rows)
{
    uint64_t at = hash_of(text, bytes) >> (64 - table->bits); /* its best bits */
    for (;; at++) {
        struct slot *s = &table->slots[at & ((UINT64_C(1) << table->bits) - 1)];
        if (s->code < 0)
            return s;
        if (s->first == text->first && s->second == text->second && s->length == text->length &&
            (text->length <= HEAD || !memcmp(t->bytes + begin_of(t, rows[s->code]) + HEAD,
                                             bytes + HEAD, (size_t)text->length - HEAD)))
            return s;
    }
}

static int grow(struct table *table, const struct texts *t, const int64_t *rows)
{
    struct table larger = empty_table(table->bits + 2);
    if (!larger.slots)
        return 1;
    for (uint64_t i = 0; i >> table->bits == 0; i++) {
        struct slot *s = &table->slots[i];
        if (s->code >= 0)
            *found(&larger, s, t->bytes + begin_of(t, rows[s->code]), t, rows) = *s;
    }
    free(table->slots);
    *table = larger;
    return 0;
}

/* Sets codes[n] of texts, -1 where one is missing, and rows[k] where each of the k distinct ones
 * stands first. Text i is bytes[offsets[i]] .. bytes[offsets[i + 1] - 1]; valid, if not NULL, is a
 * bitmap of those that are not missing, whose first bit is `offset`. Returns k, or -1 if there is
 * no memory. */
int64_t gyro_encode_texts(const uint8_t *bytes, const void *offsets, int32_t wide,
                          const uint8_t *valid, int64_t offset, int64_t n, int32_t *codes,
                          int64_t *rows)
{
    struct texts t = {bytes, offsets, wide};
    struct table table = empty_table(FEWEST_BITS);
    uint64_t masks[HEAD + 1][2];
    int64_t end = n ? begin_of(&t, n) : 0, k = 0;
    memset(masks, 0, sizeof masks);
    for (int length = 0; length <= HEAD; length++)
        memset(masks[length], 0xff, (size_t)length);
    for (int64_t i = 0; table.slots && i < n; i++) {
        if (valid && !(valid[(offset + i) >> 3] >> ((offset + i) & 7) & 1)) {
            codes[i] = -1;
            continue;
        }
        int64_t begin = begin_of(&t, i), length = begin_of(&t, i + 1) - begin;
        int64_t head = length < HEAD ? length : HEAD;
        uint64_t words[2] = {0, 0};
        if (end - begin >= HEAD)
            memcpy(words, bytes + begin, HEAD);
        else if (head)
            memcpy(words, bytes + begin, (size_t)head);
        struct slot text = {words[0] & masks[head][0], words[1] & masks[head][1], length,
                            (int32_t)k};
        struct slot *s = found(&table, &text, bytes + begin, &t, rows);
        if (s->code < 0) {
            *s = text;
            rows[k++] = i;
            if (k >> (table.bits - 1) && grow(&table, &t, rows)) {
                k = -1;
                break;
            }
            codes[i] = text.code;
        } else {
            codes[i] = s->code;
        }
    }
    k = table.slots ? k : -1;
    free(table.slots);
    return k;
}
