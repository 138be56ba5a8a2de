/*
 * value / 2^places, rounded down. C99 leaves >> of a negative number to the compiler; ~value is never negative, and ~
 * of the result is exact, as intN_t is two's complement.
 */
static int32_t floor_shift32(int32_t value, uint32_t places)
{
    return value < 0 ? ~(~value >> places) : value >> places;
}

/* value / 2^places in 64 bits, rounded down: written with ~ as C99 leaves >> of a negative number to the compiler. */
static int64_t floor_shift64(int64_t value, uint32_t places)
{
    return value < 0 ? ~(~value >> places) : value >> places;
}

/* value / 2^places, rounded toward zero. */
static int32_t toward_zero32(int32_t value, uint32_t places)
{
    return value < 0 ? -(-value >> places) : value >> places;
}

/* value / 2^places, rounded toward zero. */
static int64_t toward_zero64(int64_t value, uint32_t places)
{
    return value < 0 ? -(-value >> places) : value >> places;
}

/* value modulo mask + 1, counted from low; unsigned numbers wrap by definition. */
static int32_t wrap(int32_t value, int32_t low, uint32_t mask)
{
    return (int32_t)(((uint32_t)value - (uint32_t)low) & mask) + low;
}

/* How many thresholds a value holds, at most `most` and none below the first: the spikes of a step. */
static int32_t spikes(int32_t value, int32_t threshold, int32_t most)
{
    const int32_t number = value < threshold ? 0 : value / threshold;

    return number < most ? number : most;
}

/* Weight number `place` of a table with two to a byte, the first in the low half. */
static int32_t int4(const uint8_t *table, uint32_t place)
{
    return (int32_t)(((table[place >> 1] >> (place & 1u) * 4u) & 15u) ^ 8u) - 8;
}
