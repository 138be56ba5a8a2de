{
    const uint32_t first = ((channel * @height@u + (uint32_t)ky) * @width@u + (uint32_t)kx) * @outputs@u;
    @type@ *sums = state->@sums@ + place * @outputs@u;

    for (n = 0; n < @outputs@u; n++) {
        sums[n] = (@type@)(sums[n] + count * @weight@);
    }
}
COUNT(synops[@source@], @outputs@);
COUNT(synops_events[@source@], @outputs@ * (int64_t)count);
