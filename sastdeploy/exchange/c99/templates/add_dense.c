static void add@i@(@name@_state *state, uint32_t input, int32_t count)
{
    const uint32_t first = @first@ * @outputs@u;
    uint32_t n;

    for (n = 0; n < @outputs@u; n++) {
        state->@sums@[n] = (@type@)(state->@sums@[n] + count * @weight@);
    }
    COUNT(synops[@source@], @outputs@);
    COUNT(synops_events[@source@], @outputs@ * (int64_t)count);
}
