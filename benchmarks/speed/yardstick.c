/* A hand-written AVX-512 run of one kind of program: the mark that the Numba engine is measured against.

   Two dense LIF layers of at most 192 and 64 neurons, INT8 weights, counts up to 127, one gain per layer, one leak, a
   saturating membrane and a reset by subtraction, delayed or at once. Same integers as every engine.
   Build: cc -O3 -march=native -shared -fPIC yardstick.c -o yardstick.so */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const int8_t *weight;   /* [inputs][64 * vectors], bytes of a row in the order of `weave` */
    const int32_t *bias;    /* [64 * vectors] */
    const int32_t *nonzero; /* [inputs] */
    int32_t vectors, width, budget, multiplier, shift, threshold, before, after, leak, leak_shift, leak_half, leak_negative, low, high;
} layer;

#define SUM_ROWS(V)                                                                                                  \
    static void sum_rows_##V(const layer *l, const uint16_t *row, const uint8_t *value, int64_t n, int32_t *acc) {   \
        memset(acc, 0, 256 * V);                                                                                     \
        for (int64_t first = 0; first < n; first += l->budget) {                                                     \
            int64_t end = first + l->budget < n ? first + l->budget : n, k = first;                                  \
            __m512i sum[2 * V];                                                                                      \
            for (int v = 0; v < 2 * V; v++) sum[v] = _mm512_setzero_si512();                                         \
            for (; k < end; k += 2) {                                                                                \
                int more = k + 1 < end;                                                                              \
                const int8_t *a = l->weight + (int64_t)row[k] * 64 * V;                                              \
                const int8_t *b = more ? l->weight + (int64_t)row[k + 1] * 64 * V : a;                               \
                int both = value ? value[k] | (more ? value[k + 1] << 8 : 0) : (more ? 257 : 1);                     \
                __m512i factors = _mm512_set1_epi16((short)both);                                                    \
                for (int v = 0; v < V; v++) {                                                                        \
                    __m512i x = _mm512_load_si512(a + 64 * v), y = _mm512_load_si512(b + 64 * v);                    \
                    __m512i lo = _mm512_maddubs_epi16(factors, _mm512_unpacklo_epi8(x, y));                          \
                    __m512i hi = _mm512_maddubs_epi16(factors, _mm512_unpackhi_epi8(x, y));                          \
                    sum[2 * v] = _mm512_add_epi16(sum[2 * v], lo);                                                   \
                    sum[2 * v + 1] = _mm512_add_epi16(sum[2 * v + 1], hi);                                           \
                }                                                                                                    \
            }                                                                                                        \
            for (int v = 0; v < 4 * V; v++) {                                                                        \
                __m256i half = v & 1 ? _mm512_extracti64x4_epi64(sum[v / 2], 1) : _mm512_castsi512_si256(sum[v / 2]);  \
                __m512i before = _mm512_load_si512(acc + 16 * v);                                                    \
                _mm512_store_si512(acc + 16 * v, _mm512_add_epi32(before, _mm512_cvtepi16_epi32(half)));             \
            }                                                                                                        \
        }                                                                                                            \
    }
SUM_ROWS(1)
SUM_ROWS(3)

static __m256i gain(__m256i acc, __m512i multiplier, __m512i half, int shift) {
    __m512i wide = _mm512_mul_epi32(_mm512_cvtepi32_epi64(acc), multiplier);
    return _mm512_cvtepi64_epi32(_mm512_srai_epi64(_mm512_add_epi64(wide, half), shift));
}

static int64_t lif(const layer *l, const int32_t *acc, int32_t *membrane, int32_t *count, uint16_t *fired) {
    int64_t n = 0;
    __m512i threshold = _mm512_set1_epi32(l->threshold), low = _mm512_set1_epi32(l->low);
    __m512i high = _mm512_set1_epi32(l->high), multiplier = _mm512_set1_epi64(l->multiplier);
    __m512i half = _mm512_set1_epi64(((int64_t)1 << l->shift) >> 1), one = _mm512_set1_epi32(1);
    __m512i subtract_before = _mm512_set1_epi32(l->before), subtract_after = _mm512_set1_epi32(l->after);
    __m512i leak_half = _mm512_set1_epi32(l->leak_half), negative = _mm512_set1_epi32(l->leak_negative), leak = _mm512_set1_epi32(l->leak);
    for (int o = 0; o < 64 * l->vectors; o += 16) {
        __m512i before = _mm512_load_si512(membrane + o), sums = _mm512_load_si512(acc + o);
        __mmask16 spiked = _mm512_cmpge_epi32_mask(before, threshold);
        __m512i product = _mm512_mullo_epi32(before, leak);
        product = _mm512_add_epi32(_mm512_add_epi32(product, leak_half), _mm512_and_si512(_mm512_srai_epi32(product, 31), negative));
        __m512i v = _mm512_srai_epi32(product, l->leak_shift);
        __m256i first = gain(_mm512_castsi512_si256(sums), multiplier, half, l->shift);
        __m256i second = gain(_mm512_extracti64x4_epi64(sums, 1), multiplier, half, l->shift);
        v = _mm512_add_epi32(v, _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1));
        v = _mm512_add_epi32(v, _mm512_load_si512(l->bias + o));
        v = _mm512_mask_sub_epi32(v, spiked, v, subtract_before);
        v = _mm512_min_epi32(_mm512_max_epi32(v, low), high);
        unsigned now = _mm512_cmpge_epi32_mask(v, threshold);
        _mm512_store_si512(membrane + o, _mm512_mask_sub_epi32(v, (__mmask16)now, v, subtract_after));
        __m512i counted = _mm512_load_si512(count + o);
        _mm512_store_si512(count + o, _mm512_mask_add_epi32(counted, (__mmask16)now, counted, one));
        for (; now; now &= now - 1) fired[n++] = (uint16_t)(o + __builtin_ctz(now));
    }
    return n;
}

static int64_t total(const int32_t *table, const uint16_t *name, int64_t n) {
    int64_t a = 0, b = 0, c = 0, d = 0, k = 0;
    for (; k + 3 < n; k += 4) { a += table[name[k]]; b += table[name[k + 1]]; c += table[name[k + 2]]; d += table[name[k + 3]]; }
    for (; k < n; k++) a += table[name[k]];
    return a + b + c + d;
}

/* counts: int32 [n][64], spikes of the second layer. facts: int64 [n][4]: events, their sum, spikes of layer 1,
   input operations on non-zero weights. value: clipped counts. */
void run(const layer *one, const layer *two, int64_t n, int64_t steps, const int64_t *start, const uint16_t *index,
         const uint8_t *value, int32_t *counts, int64_t *facts) {
    _Alignas(64) int32_t acc[192], membrane[192], deep[64], spikes[192];
    uint16_t fired[192], none[64];
    for (int64_t i = 0; i < n; i++) {
        int32_t *count = counts + 64 * i;
        memset(membrane, 0, sizeof membrane);
        memset(deep, 0, sizeof deep);
        memset(spikes, 0, sizeof spikes);
        int64_t events = 0, between = 0;
        for (int64_t t = 0; t < steps; t++) {
            int64_t begin = start[i * steps + t], length = start[i * steps + t + 1] - begin;
            if (one->vectors == 3) sum_rows_3(one, index + begin, value + begin, length, acc);
            else sum_rows_1(one, index + begin, value + begin, length, acc);
            int64_t active = lif(one, acc, membrane, spikes, fired);
            sum_rows_1(two, fired, 0, active, acc);
            lif(two, acc, deep, count, none);
            between += active;
        }
        int64_t begin = start[i * steps], end = start[(i + 1) * steps];
        for (int64_t k = begin; k < end; k++) events += value[k];
        facts[4 * i] = end - begin;
        facts[4 * i + 1] = events;
        facts[4 * i + 2] = between;
        facts[4 * i + 3] = total(one->nonzero, index + begin, end - begin);
    }
}

/* The bound: only load the first layer's rows of every event, nothing else. */
int64_t touch(const layer *one, int64_t events, const uint16_t *index) {
    __m512i a = _mm512_setzero_si512(), b = a, c = a;
    for (int64_t k = 0; k < events; k++) {
        const int8_t *row = one->weight + (int64_t)index[k] * 192;
        a = _mm512_xor_si512(a, _mm512_load_si512(row));
        b = _mm512_xor_si512(b, _mm512_load_si512(row + 64));
        c = _mm512_xor_si512(c, _mm512_load_si512(row + 128));
    }
    return _mm512_reduce_add_epi64(_mm512_xor_si512(a, _mm512_xor_si512(b, c)));
}

/* Parts of `run`, apart. The first layer's sums of every step and nothing else; `out`: int32 [192], what the last step gives. */
void sums(const layer *one, int64_t rows, const int64_t *start, const uint16_t *index, const uint8_t *value, int32_t *out) {
    _Alignas(64) int32_t acc[192];
    for (int64_t r = 0; r < rows; r++) sum_rows_3(one, index + start[r], value + start[r], start[r + 1] - start[r], acc);
    memcpy(out, acc, sizeof acc);
}

/* The same sums in another order: a row is loaded and widened once per recording and added for every step in which its input is
   active. The events of a recording come sorted by input, `step` says when; sums stay in int16, without the widening that INT8
   weights need, so that this is less work than a run has. steps: at most 64. out: int16 [steps][192] of the last recording. */
void once(const layer *one, int64_t n, int64_t steps, const int64_t *start, const uint16_t *index, const uint8_t *value,
          const uint8_t *step, int16_t *out) {
    _Alignas(64) int16_t acc[64 * 192];
    for (int64_t i = 0; i < n; i++) {
        memset(acc, 0, steps * 192 * sizeof(int16_t));
        int64_t k = start[i * steps], end = start[(i + 1) * steps];
        while (k < end) {
            uint16_t input = index[k];
            const __m256i *row = (const __m256i *)(one->weight + (int64_t)input * 192);
            __m512i wide[6];
            for (int v = 0; v < 6; v++) wide[v] = _mm512_cvtepi8_epi16(_mm256_load_si256(row + v));
            for (; k < end && index[k] == input; k++) {
                __m512i factor = _mm512_set1_epi16(value[k]), *to = (__m512i *)(acc + 192 * step[k]);
                for (int v = 0; v < 6; v++) to[v] = _mm512_add_epi16(to[v], _mm512_mullo_epi16(wide[v], factor));
            }
        }
    }
    memcpy(out, acc, steps * 192 * sizeof(int16_t));
}
