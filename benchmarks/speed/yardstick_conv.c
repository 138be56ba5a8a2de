/* A hand-written AVX-512 run of one kind of program: the mark that the engine's convolutions are measured against.

   Convolutional LIF layers whose weight rows take 32 * V bytes, V = 3, 5 or 9, INT8 weights, counts up to 127, one gain
   per layer whose products fit 32 bits, one leak, a saturating membrane and a delayed reset by subtraction. Same integers
   as every engine. Build: cc -O3 -march=native -shared -fPIC yardstick_conv.c -o yardstick_conv.so */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const int8_t *weight;  /* [rows][32 * vectors], columns as the instruction below gives them back in order */
    const int32_t *bias;   /* [padded] */
    const int32_t *nonzero; /* [inputs], operations on non-zero weights that a value triggers */
    const int32_t *run_start, *run_low, *run_high, *run_offset;
    int32_t vectors, width, padded, positions, budget, multiplier, shift, threshold, leak, leak_shift, leak_half, leak_negative, low, high;
} layer;

#define SUM_ROWS(V)                                                                                                   \
    static void sum_rows_##V(const layer *l, const int32_t *row, const uint8_t *value, int64_t n, int32_t *acc) {     \
        if (n > l->budget) memset(acc, 0, 128 * V);                                                                   \
        for (int64_t first = 0; first == 0 || first < n; first += l->budget) {                                        \
            int64_t end = first + l->budget < n ? first + l->budget : n, k = first;                                   \
            __m256i sum[2 * V];                                                                                       \
            for (int v = 0; v < 2 * V; v++) sum[v] = _mm256_setzero_si256();                                          \
            for (; k < end; k += 2) {                                                                                 \
                int more = k + 1 < end;                                                                               \
                const int8_t *a = l->weight + (int64_t)row[k] * 32 * V, *b = more ? l->weight + (int64_t)row[k + 1] * 32 * V : a; \
                int both = value ? value[k] | (more ? value[k + 1] << 8 : 0) : (more ? 257 : 1);                      \
                __m256i factors = _mm256_set1_epi16((short)both);                                                     \
                for (int v = 0; v < V; v++) {                                                                         \
                    __m256i x = _mm256_load_si256((const __m256i *)(a + 32 * v)), y = _mm256_load_si256((const __m256i *)(b + 32 * v)); \
                    sum[2 * v] = _mm256_add_epi16(sum[2 * v], _mm256_maddubs_epi16(factors, _mm256_unpacklo_epi8(x, y)));         \
                    sum[2 * v + 1] = _mm256_add_epi16(sum[2 * v + 1], _mm256_maddubs_epi16(factors, _mm256_unpackhi_epi8(x, y))); \
                }                                                                                                     \
            }                                                                                                         \
            for (int v = 0; v < 2 * V; v++) {                                                                         \
                __m512i whole = _mm512_cvtepi16_epi32(sum[v]);                                                        \
                if (n > l->budget) whole = _mm512_add_epi32(whole, _mm512_loadu_si512(acc + 16 * v));                 \
                _mm512_storeu_si512(acc + 16 * v, whole);                                                             \
            }                                                                                                         \
        }                                                                                                             \
    }
SUM_ROWS(3)
SUM_ROWS(5)
SUM_ROWS(9)

static int64_t total(const int32_t *table, const int32_t *name, int64_t n) {
    int64_t a = 0, b = 0, c = 0, d = 0, k = 0;
    for (; k + 3 < n; k += 4) { a += table[name[k]]; b += table[name[k + 1]]; c += table[name[k + 2]]; d += table[name[k + 3]]; }
    for (; k < n; k++) a += table[name[k]];
    return a + b + c + d;
}

/* The active inputs (sorted by pixel), where each pixel's begin, and their values (0: spikes). Room for 16 more. */
typedef struct { int32_t *active, *first; uint8_t *value; } list;

/* Take one step of a layer; return the number of neurons that fired. named: where to note all rows that are added, or 0. */
static int64_t step(const layer *l, const list *in, int graded, int32_t *membrane, int32_t *count, const list *out, int32_t *rows,
                    uint8_t *values, int32_t **named) {
    int64_t fired = 0;
    __m512i threshold = _mm512_set1_epi32(l->threshold), low = _mm512_set1_epi32(l->low), high = _mm512_set1_epi32(l->high);
    __m512i multiplier = _mm512_set1_epi32(l->multiplier), half = _mm512_set1_epi32((1 << l->shift) >> 1);
    __m512i leak = _mm512_set1_epi32(l->leak), leak_half = _mm512_set1_epi32(l->leak_half), negative = _mm512_set1_epi32(l->leak_negative);
    __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), one = _mm512_set1_epi32(1);
    _Alignas(64) int32_t acc[288];
    for (int p = 0; p < l->positions; p++) {
        int64_t listed = 0;
        for (int r = l->run_start[p]; r < l->run_start[p + 1]; r++) {
            int64_t k = in->first[l->run_low[r]], stop = in->first[l->run_high[r]];
            __m512i offset = _mm512_set1_epi32(l->run_offset[r]);
            for (int64_t i = 0; i < stop - k; i += 16)
                _mm512_storeu_si512(rows + listed + i, _mm512_add_epi32(_mm512_loadu_si512(in->active + k + i), offset));
            if (graded) for (int64_t i = 0; i < stop - k; i++) values[listed + i] = in->value[k + i];
            listed += stop - k;
        }
        if (named) {
            memcpy(*named, rows, sizeof(int32_t) * listed);
            *named += listed;
        }
        const uint8_t *factors = graded ? values : 0;
        if (l->vectors == 3) sum_rows_3(l, rows, factors, listed, acc);
        else if (l->vectors == 5) sum_rows_5(l, rows, factors, listed, acc);
        else sum_rows_9(l, rows, factors, listed, acc);
        out->first[p] = (int32_t)fired;
        for (int o = 0; o < l->padded; o += 16) {
            int32_t *at = membrane + p * l->padded + o, *counted = count + p * l->padded + o;
            __m512i before = _mm512_loadu_si512(at);
            __mmask16 spiked = _mm512_cmpge_epi32_mask(before, threshold);
            __m512i product = _mm512_mullo_epi32(before, leak);
            product = _mm512_add_epi32(_mm512_add_epi32(product, leak_half), _mm512_and_si512(_mm512_srai_epi32(product, 31), negative));
            __m512i current = _mm512_add_epi32(_mm512_mullo_epi32(_mm512_load_si512(acc + o), multiplier), half);
            __m512i v = _mm512_add_epi32(_mm512_srai_epi32(product, l->leak_shift), _mm512_srai_epi32(current, l->shift));
            v = _mm512_add_epi32(v, _mm512_loadu_si512(l->bias + o));
            v = _mm512_mask_sub_epi32(v, spiked, v, threshold);
            v = _mm512_min_epi32(_mm512_max_epi32(v, low), high);
            _mm512_storeu_si512(at, v);
            __mmask16 real = o + 16 <= l->width ? 0xffff : (__mmask16)((1 << (l->width - o)) - 1);
            __mmask16 now = _mm512_mask_cmpge_epi32_mask(real, v, threshold);
            __m512i was = _mm512_loadu_si512(counted);
            _mm512_storeu_si512(counted, _mm512_mask_add_epi32(was, now, was, one));
            __m512i number = _mm512_add_epi32(lanes, _mm512_set1_epi32(p * l->width + o));
            _mm512_storeu_si512(out->active + fired, _mm512_maskz_compress_epi32(now, number));
            fired += __builtin_popcount(now);
        }
    }
    out->first[l->positions] = (int32_t)fired;
    return fired;
}

/* Sort one step's inputs by pixel. */
static void by_pixel(const uint16_t *index, const uint8_t *value, int64_t n, const int32_t *pixel, const int32_t *number, int pixels, const list *out) {
    int32_t *first = out->first;
    memset(first, 0, sizeof(int32_t) * (pixels + 1));
    for (int64_t k = 0; k < n; k++) first[pixel[index[k]]]++;
    for (int p = 0, sum = 0; p <= pixels; p++) first[p] = sum += first[p];
    for (int64_t k = n - 1; k >= 0; k--) {
        int32_t slot = --first[pixel[index[k]]];
        out->active[slot] = number[index[k]];
        out->value[slot] = value[k];
    }
}

/* lists: one per layer's input, one for the last's output. membranes, counts: one per layer, [positions * padded].
   last: int32 [n][positions * padded], spikes of the last layer. facts: int64 [n][2 * (layers + 1)]: values and operations
   on non-zero weights per source (of the last: values only). named: per layer, where the rows are noted, or 0. */
void run(const layer *l, int layers, int64_t n, int64_t steps, const int64_t *start, const uint16_t *index, const uint8_t *value,
         int graded, const int32_t *pixel, const int32_t *number, int pixels, const list *lists, int32_t **membranes, int32_t **counts,
         int32_t *rows, uint8_t *values, int32_t *last, int64_t *facts, int32_t **named) {
    memset(facts, 0, sizeof(int64_t) * n * 2 * (layers + 1));
    for (int64_t i = 0; i < n; i++) {
        int64_t *fact = facts + i * 2 * (layers + 1);
        for (int k = 0; k < layers; k++) {
            memset(membranes[k], 0, sizeof(int32_t) * l[k].positions * l[k].padded);
            memset(counts[k], 0, sizeof(int32_t) * l[k].positions * l[k].padded);
        }
        for (int64_t t = 0; t < steps; t++) {
            int64_t begin = start[i * steps + t], active = start[i * steps + t + 1] - begin;
            by_pixel(index + begin, value + begin, active, pixel, number, pixels, lists);
            for (int k = 0; k < layers; k++) {
                fact[2 * k] += active;
                fact[2 * k + 1] += total(l[k].nonzero, lists[k].active, active);
                active = step(l + k, lists + k, graded && k == 0, membranes[k], counts[k], lists + k + 1, rows, values, named ? named + k : 0);
            }
            fact[2 * layers] += active;
        }
        const layer *end = l + layers - 1;
        memcpy(last + i * end->positions * end->padded, counts[layers - 1], sizeof(int32_t) * end->positions * end->padded);
    }
}

/* The bound: load the weight rows that a layer's inputs reach and its membranes once per step, and do nothing else. */
int64_t touch(const layer *l, int64_t n, const int32_t *row, int64_t steps, const int32_t *membrane) {
    __m256i all = _mm256_setzero_si256();
    for (int64_t k = 0; k < n; k++)
        for (int v = 0; v < l->vectors; v++)
            all = _mm256_xor_si256(all, _mm256_load_si256((const __m256i *)(l->weight + ((int64_t)row[k] * l->vectors + v) * 32)));
    for (int64_t t = 0; t < steps; t++)
        for (int64_t o = 0; o < (int64_t)l->positions * l->padded; o += 8)
            all = _mm256_xor_si256(all, _mm256_loadu_si256((const __m256i *)(membrane + o)));
    return _mm256_extract_epi64(all, 0) + _mm256_extract_epi64(all, 2);
}
